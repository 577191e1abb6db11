//! Wrong and right answers to `gpt`.

use answer::{Weights, answer};
use candle_core::{D, Tensor};

use super::{
    super::steps::{Steps, conv1d, hidden, scores, single},
    model::{
        Fault::{Mask, Missing, NotFinite, Shape, Unused},
        Model, embed, logits, look_up, products,
    },
};
use crate::{Alternative, Impostor};

/// An answer with one piece that may differ from the honest one.
macro_rules! gpt {
    ($($piece:ident: $value:expr),* $(,)?) => {
        answer!(|weights: &Weights, tokens: &Tensor, n_heads: usize| {
            Model { $($piece: $value,)* ..Model::HONEST }.run(weights, tokens, n_heads)
        })
    };
}

/// The honest steps but for some.
macro_rules! steps {
    ($($step:ident: $function:expr),* $(,)?) => {
        Steps { $($step: $function,)* ..Steps::HONEST }
    };
}

pub(super) const IMPOSTORS: &[Impostor] = &[
    Impostor {
        name: "last_norm_forgotten",
        diagnosis: "`ln_f` does not stand before the unembedding",
        caught_by: "documented_example",
        answer: gpt!(unembed: |weights, resid| products(resid, weights.get("wte.weight")?)),
    },
    Impostor {
        name: "positions_not_added",
        diagnosis: "`wpe.weight` is not added, so the model cannot tell an order",
        caught_by: "documented_example",
        answer: gpt!(embed: look_up),
    },
    Impostor {
        name: "position_table_not_sliced",
        diagnosis: "all of `wpe.weight` is added; as many rows of it as there are tokens have to \
                    be cut out first",
        caught_by: "documented_example",
        answer: gpt!(embed: |weights, tokens| {
            look_up(weights, tokens)?.broadcast_add(weights.get("wpe.weight")?)
        }),
    },
    Impostor {
        name: "softmax_taken",
        diagnosis: "a softmax is taken already; the result is logits",
        caught_by: "documented_example",
        answer: gpt!(unembed: |weights, resid| {
            let logits = logits(weights, resid, weights.get("wte.weight")?)?;
            candle_nn::ops::softmax(&logits, D::Minus1)
        }),
    },
    Impostor {
        name: "weights_of_linear",
        diagnosis: "weights are taken as `(d_out, d_in)` and transposed; GPT-2's `Conv1D` keeps \
                    them as `(d_in, d_out)`",
        caught_by: "future_cannot_change_past",
        answer: gpt!(steps: steps!(conv: |weights, name, x| {
            let weight = weights.get(&format!("{name}.weight"))?;
            x.broadcast_matmul(&weight.t()?)?.broadcast_add(weights.get(&format!("{name}.bias"))?)
        })),
    },
    Impostor {
        name: "no_mask",
        diagnosis: "nothing hides the future, so in training the model reads what it should \
                    predict",
        caught_by: "future_cannot_change_past",
        answer: gpt!(steps: steps!(pattern: |q, k| {
            let scaled = (scores(q, k)? / (q.dim(3)? as f64).sqrt())?;
            candle_nn::ops::softmax(&scaled, D::Minus1)
        })),
    },
    Impostor {
        name: "positions_run_through_the_batch",
        diagnosis: "positions count on from one sequence of the batch to the next; each starts at \
                    0",
        caught_by: "sequences_stand_alone",
        answer: gpt!(embed: |weights, tokens| {
            let (batch, seq) = tokens.dims2()?;
            let wpe = weights.get("wpe.weight")?;
            let (n_ctx, d_model) = wpe.dims2()?;
            let positions: Vec<u32> = (0..batch * seq).map(|at| (at % n_ctx) as u32).collect();
            let positions = Tensor::from_vec(positions, batch * seq, tokens.device())?;
            let of_positions = wpe.index_select(&positions, 0)?.reshape((batch, seq, d_model))?;
            look_up(weights, tokens)? + of_positions
        }),
    },
    Impostor {
        name: "first_block_again_and_again",
        diagnosis: "every block runs with the weights of `h.0`",
        caught_by: "matches_definition",
        answer: gpt!(order: |n_layers| vec![0; n_layers]),
    },
    Impostor {
        name: "last_block_skipped",
        diagnosis: "off by one: the last block does not run",
        caught_by: "matches_definition",
        answer: gpt!(order: |n_layers| (0..n_layers.saturating_sub(1)).collect()),
    },
    Impostor {
        name: "blocks_in_order_of_text",
        diagnosis: "the blocks run in the order of their names as text, where h.10 stands before \
                    h.2",
        caught_by: "matches_definition",
        answer: gpt!(order: |n_layers| {
            let mut order: Vec<usize> = (0..n_layers).collect();
            order.sort_by_key(ToString::to_string);
            order
        }),
    },
    Impostor {
        name: "square_weight_transposed",
        diagnosis: "`attn.c_proj.weight` is transposed, which its square shape lets pass; GPT-2's \
                    `Conv1D` keeps `(d_in, d_out)`",
        caught_by: "matches_definition",
        answer: gpt!(steps: steps!(conv: |weights, name, x| {
            let out = conv1d(weights, name, x)?;
            if name != "attn.c_proj" {
                return Ok(out);
            }
            let weight = weights.get("attn.c_proj.weight")?.t()?;
            x.broadcast_matmul(&weight)?.broadcast_add(weights.get("attn.c_proj.bias")?)
        })),
    },
    Impostor {
        name: "masks_taken_for_weights",
        diagnosis: "`h.N.attn.bias` is refused as unused, though it is the mask that GPT-2's own \
                    files hold",
        caught_by: "matches_definition",
        answer: gpt!(notices: &[Missing, Shape, NotFinite, Unused, Mask]),
    },
    Impostor {
        name: "computed_in_f32",
        diagnosis: "the logits are computed in `f32` whatever the weights are",
        caught_by: "matches_definition",
        answer: answer!(|weights: &Weights, tokens: &Tensor, n_heads: usize| {
            let dtype = weights.get("wte.weight")?.dtype();
            Model::HONEST.run(&single(weights)?, tokens, n_heads)?.to_dtype(dtype)
        }),
    },
    Impostor {
        name: "embedding_learns_at_one_end",
        diagnosis: "`wte.weight` is unembedded with a copy outside the graph, so that it learns \
                    from one of its two ends only",
        caught_by: "gradient_reaches_every_weight",
        answer: gpt!(unembed: |weights, resid| {
            logits(weights, resid, &weights.get("wte.weight")?.detach())
        }),
    },
    Impostor {
        name: "positions_detached",
        diagnosis: "the rows of `wpe.weight` are taken out of the graph; in a GPT positions are \
                    learned",
        caught_by: "gradient_reaches_every_weight",
        answer: gpt!(embed: |weights, tokens| {
            let tokens_alone = look_up(weights, tokens)?;
            let positions = (embed(weights, tokens)? - &tokens_alone)?.detach();
            tokens_alone + positions
        }),
    },
    Impostor {
        name: "softmax_without_backward",
        diagnosis: "`softmax_last_dim` passes no gradient and no error, so q and k learn nothing",
        caught_by: "gradient_reaches_every_weight",
        answer: gpt!(steps: steps!(pattern: |q, k| {
            let scaled = (scores(q, k)? / (q.dim(3)? as f64).sqrt())?;
            let may = super::super::steps::may_attend(q.dim(2)?, k.dim(2)?, 0, &scaled)?;
            #[expect(clippy::disallowed_methods, reason = "this is the mistake")]
            candle_nn::ops::softmax_last_dim(&hidden(&scaled, &may)?)
        })),
    },
    Impostor {
        name: "missing_but_not_named",
        diagnosis: "the error does not say which tensor is missing, among the 148 of GPT-2",
        caught_by: "damaged_tensors_are_named",
        answer: gpt!(notices: &[Shape, NotFinite, Unused]),
    },
    Impostor {
        name: "unused_tensors_pass",
        diagnosis: "a tensor that nothing uses passes without an error, so the weights of another \
                    model run as if they were a GPT-2",
        caught_by: "damaged_tensors_are_named",
        answer: gpt!(notices: &[Missing, Shape, NotFinite]),
    },
    Impostor {
        name: "shapes_not_compared",
        diagnosis: "the shapes are left to the operations to complain about, which name no tensor, \
                    and stretch a length of 1 without a word",
        caught_by: "damaged_tensors_are_named",
        answer: gpt!(notices: &[Missing, NotFinite, Unused]),
    },
    Impostor {
        name: "damage_passes",
        diagnosis: "numbers that are not finite pass, and come out as NaN sooner or later",
        caught_by: "damaged_tensors_are_named",
        answer: gpt!(notices: &[Missing, Shape, Unused]),
    },
];

pub(super) const ALTERNATIVES: &[Alternative] = &[
    Alternative { name: "ready_gelu", answer: gpt!(steps: steps!(gelu: Tensor::gelu)) },
    Alternative {
        name: "token_by_token_and_all_keys_at_once",
        answer: gpt!(
            embed: |weights, tokens| {
                let (batch, seq) = tokens.dims2()?;
                let (wte, wpe) = (weights.get("wte.weight")?, weights.get("wpe.weight")?);
                let tokens = tokens.to_vec2::<u32>()?;
                let mut vectors = Vec::with_capacity(batch * seq);
                for sequence in &tokens {
                    for (position, &token) in sequence.iter().enumerate() {
                        vectors.push((wte.get(token as usize)? + wpe.get(position)?)?);
                    }
                }
                Tensor::stack(&vectors, 0)?.reshape((batch, seq, wte.dim(1)?))
            },
            steps: steps!(
                gelu: |x| {
                    let cubic = (x * (x.sqr()?.affine(0.044_715, 1.0))?)?;
                    let doubled = (cubic * (8.0 / std::f64::consts::PI).sqrt())?;
                    x * candle_nn::ops::sigmoid(&doubled)?
                },
                pattern: |q, k| {
                    let scaled = (scores(q, k)? * (q.dim(3)? as f64).powf(-0.5))?;
                    let may = super::super::steps::may_attend(q.dim(2)?, k.dim(2)?, 0, &scaled)?;
                    let powers = scaled.broadcast_sub(&scaled.max_keepdim(D::Minus1)?)?.exp()?;
                    let powers = (powers * may.to_dtype(q.dtype())?)?;
                    powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)
                },
            ),
            unembed: |weights, resid| {
                let normed = (Steps::HONEST.norm)(weights, "ln_f", resid)?;
                let table = weights.get("wte.weight")?;
                normed.unsqueeze(2)?.broadcast_mul(table)?.sum(D::Minus1)
            },
        ),
    },
];
