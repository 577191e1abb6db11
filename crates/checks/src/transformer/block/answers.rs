//! Wrong and right answers to `block`.

use answer::{Weights, answer};
use candle_core::{D, DType, Result, Tensor, bail};

use super::super::steps::{
    Caches, Steps, affine, causal_pattern, conv1d, hidden, may_attend, normed, scores, single,
    split_qkv,
};
use crate::{Alternative, Impostor};

/// An answer with one step that may differ from the honest one.
macro_rules! block {
    ($($step:ident: $function:expr),* $(,)?) => {
        answer!(|weights: &Weights,
                 resid_pre: &Tensor,
                 n_heads: usize,
                 cache_k: Option<&Tensor>,
                 cache_v: Option<&Tensor>| {
            let steps = Steps { $($step: $function,)* ..Steps::HONEST };
            checked(&steps, weights, resid_pre, n_heads, [cache_k, cache_v])
        })
    };
}

/// Refuses one cache without the other, as an honest answer does.
fn checked(
    steps: &Steps,
    weights: &Weights,
    resid_pre: &Tensor,
    n_heads: usize,
    caches: Caches,
) -> Result<(Tensor, Tensor, Tensor)> {
    if caches[0].is_some() != caches[1].is_some() {
        bail!("one cache came without the other");
    }
    steps.block(weights, resid_pre, n_heads, caches)
}

pub(super) const IMPOSTORS: &[Impostor] = &[
    Impostor {
        name: "norm_on_the_residual",
        diagnosis: "the stream itself is replaced by its norm; only the copy that a sub-block \
                    reads is normed",
        caught_by: "documented_example",
        answer: block!(arrange: |steps, weights, resid_pre, attend| {
            let resid_pre = (steps.norm)(weights, "ln_1", resid_pre)?;
            let resid_mid = (&resid_pre + attend(&resid_pre)?)?;
            let resid_mid = (steps.norm)(weights, "ln_2", &resid_mid)?;
            &resid_mid + steps.mlp(weights, "mlp.", &resid_mid)?
        }),
    },
    Impostor {
        name: "norm_behind_the_sum",
        diagnosis: "the norms stand behind the sums, as in the first transformer; GPT-2 norms what \
                    a sub-block reads",
        caught_by: "documented_example",
        answer: block!(arrange: |steps, weights, resid_pre, attend| {
            let resid_mid = (resid_pre + attend(resid_pre)?)?;
            let resid_mid = (steps.norm)(weights, "ln_1", &resid_mid)?;
            let resid_post = (&resid_mid + steps.mlp(weights, "mlp.", &resid_mid)?)?;
            (steps.norm)(weights, "ln_2", &resid_post)
        }),
    },
    Impostor {
        name: "stream_not_carried_on",
        diagnosis: "the sub-blocks replace the stream; what they compute is added to it",
        caught_by: "documented_example",
        answer: block!(arrange: |steps, weights, resid_pre, attend| {
            let resid_mid = attend(&(steps.norm)(weights, "ln_1", resid_pre)?)?;
            steps.mlp(weights, "mlp.", &(steps.norm)(weights, "ln_2", &resid_mid)?)
        }),
    },
    Impostor {
        name: "weights_of_linear",
        diagnosis: "weights are taken as `(d_out, d_in)` and transposed; GPT-2's `Conv1D` keeps \
                    them as `(d_in, d_out)`",
        caught_by: "documented_example",
        answer: block!(conv: |weights, name, x| {
            let weight = weights.get(&format!("{name}.weight"))?;
            x.contiguous()?.broadcast_matmul(&weight.t()?)?
                .broadcast_add(weights.get(&format!("{name}.bias"))?)
        }),
    },
    Impostor {
        name: "no_mask",
        diagnosis: "nothing hides the future",
        caught_by: "future_cannot_change_past",
        answer: block!(pattern: |q, k| softmax(&scaled(q, k)?, D::Minus1)),
    },
    Impostor {
        name: "mask_transposed",
        diagnosis: "the mask is transposed, so every position sees the future and not the past",
        caught_by: "future_cannot_change_past",
        answer: block!(pattern: |q, k| {
            let scores = scaled(q, k)?;
            let (seq_q, seq_k) = (q.dim(2)?, k.dim(2)?);
            let before = may_attend(seq_q, seq_k, seq_k - seq_q, &scores)?;
            let itself = Tensor::eye(seq_k, scores.dtype(), scores.device())?
                .narrow(0, seq_k - seq_q, seq_q)?
                .broadcast_as(scores.shape())?
                .gt(0.0)?;
            let other = (before.ones_like()? - before)?.maximum(&itself)?;
            softmax(&hidden(&scores, &other)?, D::Minus1)
        }),
    },
    Impostor {
        name: "mask_after_softmax",
        diagnosis: "the mask is applied after the softmax, so later positions still take a share \
                    of each row",
        caught_by: "future_cannot_change_past",
        answer: block!(pattern: |q, k| {
            let scores = scaled(q, k)?;
            let may = may_attend(q.dim(2)?, k.dim(2)?, k.dim(2)? - q.dim(2)?, &scores)?;
            softmax(&scores, D::Minus1)? * may.to_dtype(q.dtype())?
        }),
    },
    Impostor {
        name: "softmax_over_queries",
        diagnosis: "the softmax runs over the queries, so later ones change earlier results; it \
                    has to run over the keys",
        caught_by: "future_cannot_change_past",
        answer: block!(pattern: |q, k| {
            let scores = scaled(q, k)?;
            let may = may_attend(q.dim(2)?, k.dim(2)?, k.dim(2)? - q.dim(2)?, &scores)?;
            softmax(&hidden(&scores, &may)?, D::Minus2)
        }),
    },
    Impostor {
        name: "merged_without_transpose",
        diagnosis: "the heads are joined while they still stand before the positions; transpose \
                    first",
        caught_by: "future_cannot_change_past",
        answer: block!(merge: |z| {
            let (batch, n_heads, seq, d_head) = z.dims4()?;
            z.reshape((batch, seq, n_heads * d_head))
        }),
    },
    Impostor {
        name: "mask_from_the_first_key",
        diagnosis: "with a cache, the new queries are masked as if they stood at the start; they \
                    stand behind all cached keys",
        caught_by: "pieces_make_the_whole",
        answer: block!(pattern: |q, k| {
            let scores = scaled(q, k)?;
            let may = may_attend(q.dim(2)?, k.dim(2)?, 0, &scores)?;
            softmax(&hidden(&scores, &may)?, D::Minus1)
        }),
    },
    Impostor {
        name: "cache_ignored",
        diagnosis: "the cache is not read, so the new positions do not know what came before",
        caught_by: "pieces_make_the_whole",
        answer: block!(extend: |_, new| Ok(new.clone())),
    },
    Impostor {
        name: "cache_behind_the_new",
        diagnosis: "the cached keys and values are put behind the new ones; they came before",
        caught_by: "pieces_make_the_whole",
        answer: block!(extend: |past, new| match past {
            None => Ok(new.clone()),
            Some(past) => Tensor::cat(&[new, past], 2),
        }),
    },
    Impostor {
        name: "one_norm_shared",
        diagnosis: "`ln_1` stands before the MLP, too; that has its own norm, `ln_2`",
        caught_by: "matches_definition",
        answer: block!(norm: |weights, _, x| (Steps::HONEST.norm)(weights, "ln_1", x)),
    },
    Impostor {
        name: "side_by_side",
        diagnosis: "attention and MLP both read `resid_pre`, side by side, as in GPT-J; in GPT-2 \
                    the MLP reads what attention has added to",
        caught_by: "matches_definition",
        answer: block!(arrange: |steps, weights, resid_pre, attend| {
            let attn_out = attend(&(steps.norm)(weights, "ln_1", resid_pre)?)?;
            let mlp_out = steps.mlp(weights, "mlp.", &(steps.norm)(weights, "ln_2", resid_pre)?)?;
            (resid_pre + attn_out)? + mlp_out
        }),
    },
    Impostor {
        name: "mlp_reads_the_stream_itself",
        diagnosis: "the MLP reads the stream as it is; `ln_2` stands before it",
        caught_by: "matches_definition",
        answer: block!(norm: |weights, name, x| {
            let out = (Steps::HONEST.norm)(weights, name, x)?;
            if name == "ln_2" { Ok(x.clone()) } else { Ok(out) }
        }),
    },
    Impostor {
        name: "norms_not_scaled",
        diagnosis: "the norms do without their `weight` and `bias`",
        caught_by: "documented_example",
        answer: block!(norm: |weights, name, x| {
            (Steps::HONEST.norm)(weights, name, x)?;
            normed(x, 1e-5)
        }),
    },
    Impostor {
        name: "eps_of_its_own",
        diagnosis: "the norms add 1e-12 under the root, as BERT does; GPT-2 adds 1e-5",
        caught_by: "matches_definition",
        answer: block!(norm: |weights, name, x| {
            let of = |end| weights.get(&format!("{name}.{end}"));
            affine(&normed(x, 1e-12)?, of("weight")?, of("bias")?)
        }),
    },
    Impostor {
        name: "output_not_projected",
        diagnosis: "the merged heads go into the stream as they are; `attn.c_proj` mixes them \
                    first",
        caught_by: "matches_definition",
        answer: block!(conv: |weights, name, x| {
            let out = conv1d(weights, name, x)?;
            if name == "attn.c_proj" { Ok(x.clone()) } else { Ok(out) }
        }),
    },
    Impostor {
        name: "square_weight_transposed",
        diagnosis: "`attn.c_proj.weight` is transposed, which its square shape lets pass; GPT-2's \
                    `Conv1D` keeps `(d_in, d_out)`",
        caught_by: "matches_definition",
        answer: block!(conv: |weights, name, x| {
            let out = conv1d(weights, name, x)?;
            if name != "attn.c_proj" {
                return Ok(out);
            }
            let weight = weights.get("attn.c_proj.weight")?.t()?;
            x.broadcast_matmul(&weight)?.broadcast_add(weights.get("attn.c_proj.bias")?)
        }),
    },
    Impostor {
        name: "scores_not_scaled",
        diagnosis: "the scores are not divided by √`d_head`",
        caught_by: "matches_definition",
        answer: block!(pattern: |q, k| causal_pattern(&(q * (q.dim(3)? as f64).sqrt())?, k)),
    },
    Impostor {
        name: "scaled_by_d_model",
        diagnosis: "the scores are divided by √`d_model`; each head has only `d_head` numbers",
        caught_by: "matches_definition",
        answer: block!(pattern: |q, k| causal_pattern(&(q / (q.dim(1)? as f64).sqrt())?, k)),
    },
    Impostor {
        name: "one_wide_head",
        diagnosis: "the width is not cut into heads, so one wide head attends for all",
        caught_by: "pieces_make_the_whole",
        answer: block!(split: |qkv, _| split_qkv(qkv, 1)),
    },
    Impostor {
        name: "heads_before_thirds",
        diagnosis: "the projection is cut into heads first, and each head into q, k and v; in \
                    GPT-2's files all of q stands first, then all of k, then all of v",
        caught_by: "matches_definition",
        answer: block!(split: |qkv, n_heads| {
            let (batch, seq, width) = qkv.dims3()?;
            split_qkv(qkv, n_heads)?;
            let d_head = width / 3 / n_heads;
            let heads = qkv.reshape((batch, seq, n_heads, 3, d_head))?;
            let part = |n| heads.narrow(3, n, 1)?.squeeze(3)?.transpose(1, 2)?.contiguous();
            Ok([part(0)?, part(1)?, part(2)?])
        }),
    },
    Impostor {
        name: "thirds_in_another_order",
        diagnosis: "the thirds of `attn.c_attn` are taken as k, q, v; they are q, k, v",
        caught_by: "matches_definition",
        answer: block!(split: |qkv, n_heads| {
            let [q, k, v] = split_qkv(qkv, n_heads)?;
            Ok([k, q, v])
        }),
    },
    Impostor {
        name: "computed_in_f32",
        diagnosis: "the result is computed in `f32` whatever the weights are",
        caught_by: "matches_definition",
        answer: answer!(|weights: &Weights,
                         resid_pre: &Tensor,
                         n_heads: usize,
                         cache_k: Option<&Tensor>,
                         cache_v: Option<&Tensor>| {
            let narrow = |t: &Tensor| t.to_dtype(DType::F32);
            let caches = [cache_k.map(narrow).transpose()?, cache_v.map(narrow).transpose()?];
            let caches = [caches[0].as_ref(), caches[1].as_ref()];
            let (steps, weights) = (Steps::HONEST, single(weights)?);
            let (post, k, v) = checked(&steps, &weights, &narrow(resid_pre)?, n_heads, caches)?;
            let back = |t: Tensor| t.to_dtype(resid_pre.dtype());
            Ok::<_, candle_core::Error>((back(post)?, back(k)?, back(v)?))
        }),
    },
    Impostor {
        name: "softmax_without_backward",
        diagnosis: "`softmax_last_dim` passes no gradient and no error, so q and k learn nothing",
        caught_by: "gradient_reaches_every_weight",
        answer: block!(pattern: |q, k| {
            let scores = scaled(q, k)?;
            let may = may_attend(q.dim(2)?, k.dim(2)?, k.dim(2)? - q.dim(2)?, &scores)?;
            #[expect(clippy::disallowed_methods, reason = "this is the mistake")]
            candle_nn::ops::softmax_last_dim(&hidden(&scores, &may)?)
        }),
    },
    Impostor {
        name: "cache_detached",
        diagnosis: "the caches are taken out of the graph; only who fills them may do that",
        caught_by: "gradient_reaches_every_weight",
        answer: block!(extend: |past, new| match past {
            None => Ok(new.clone()),
            Some(past) => Tensor::cat(&[&past.detach(), new], 2),
        }),
    },
    Impostor {
        name: "biases_optional",
        diagnosis: "a bias that is missing is left out without an error, so a damaged file runs",
        caught_by: "what_does_not_fit_is_refused",
        answer: block!(
            norm: |weights, name, x| {
                let weight = weights.get(&format!("{name}.weight"))?;
                let out = normed(x, 1e-5)?.broadcast_mul(weight)?;
                let bias = weights.find(&format!("{name}.bias"));
                bias.map_or_else(|| Ok(out.clone()), |bias| out.broadcast_add(bias))
            },
            conv: |weights, name, x| match weights.find(&format!("{name}.bias")) {
                Some(_) => conv1d(weights, name, x),
                None => {
                    x.contiguous()?.broadcast_matmul(weights.get(&format!("{name}.weight"))?)
                }
            },
        ),
    },
    Impostor {
        name: "one_cache_is_enough",
        diagnosis: "one cache without the other is ignored without an error",
        caught_by: "what_does_not_fit_is_refused",
        answer: answer!(|weights: &Weights,
                         resid_pre: &Tensor,
                         n_heads: usize,
                         cache_k: Option<&Tensor>,
                         cache_v: Option<&Tensor>| {
            let both = cache_k.zip(cache_v);
            let caches = [both.map(|both| both.0), both.map(|both| both.1)];
            Steps::HONEST.block(weights, resid_pre, n_heads, caches)
        }),
    },
];

pub(super) const ALTERNATIVES: &[Alternative] = &[
    Alternative { name: "ready_gelu", answer: block!(gelu: Tensor::gelu) },
    Alternative {
        name: "query_by_query",
        answer: block!(
            norm: |weights, name, x| {
                let n = x.dim(D::Minus1)? as f64;
                let centred = x.broadcast_sub(&(x.sum_keepdim(D::Minus1)? / n)?)?;
                let variance = ((&centred * &centred)?.sum_keepdim(D::Minus1)? / n)?;
                let normed = centred.broadcast_mul(&(variance + 1e-5)?.powf(-0.5)?)?;
                let of = |end| weights.get(&format!("{name}.{end}"));
                affine(&normed, of("weight")?, of("bias")?)
            },
            pattern: query_by_query,
        ),
    },
];

/// Each query with the keys up to its own alone; a weight of 0 for the others.
fn query_by_query(q: &Tensor, k: &Tensor) -> Result<Tensor> {
    let (batch, n_heads, seq_q, _) = q.dims4()?;
    let seq_k = k.dim(2)?;
    let row = |query: usize| {
        let seen = seq_k - seq_q + query + 1;
        let row = scaled(&q.narrow(2, query, 1)?, &k.narrow(2, 0, seen)?)?;
        let hidden = (batch, n_heads, 1, seq_k - seen);
        let zeros = Tensor::zeros(hidden, q.dtype(), q.device())?;
        let row = softmax(&row, D::Minus1)?;
        if seen == seq_k { Ok(row) } else { Tensor::cat(&[row, zeros], 3) }
    };
    Tensor::cat(&(0..seq_q).map(row).collect::<Result<Vec<_>>>()?, 2)
}

fn scaled(q: &Tensor, k: &Tensor) -> Result<Tensor> {
    scores(q, k)? / (q.dim(3)? as f64).sqrt()
}

fn softmax(scores: &Tensor, axis: D) -> Result<Tensor> {
    candle_nn::ops::softmax(scores, axis)
}
