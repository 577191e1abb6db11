//! `embed`: the vector of a token, plus that of its position.

use answer::answer;
use candle_core::{Device, Result, Tensor, bail};
use protocol::DType;

use super::steps::in_single;
use crate::{
    Alternative, Array, Check, Homebound, Impostor, Kind, Outcome, Part, Tolerance, Trial, args,
};

/// An answer to `embed`.
macro_rules! embedding {
    (|$tokens:ident, $wte:ident, $wpe:ident, $offset:ident| $body:expr) => {
        answer!(|tokens: &Tensor, wte: &Tensor, wpe: &Tensor, offset: usize| {
            fn embed(
                $tokens: &Tensor,
                $wte: &Tensor,
                $wpe: &Tensor,
                $offset: usize,
            ) -> Result<Tensor> {
                $body
            }
            embed(tokens, wte, wpe, offset)
        })
    };
}

pub(super) const EMBED: Part = Part {
    name: "embed",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "sequences_stand_alone",
            promise: "A sequence gets in a batch what it gets alone.",
            kind: Kind::Property,
            run: sequences_stand_alone,
        },
        Check {
            name: "pieces_make_the_whole",
            promise: "A text that fills the context gets in pieces what it gets at once.",
            kind: Kind::Property,
            run: pieces_make_the_whole,
        },
        Check {
            name: "matches_definition",
            promise: "Each vector is its row of `wte` plus its row of `wpe`, in every shape and \
                      layout.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "gradient_reaches_both_tables",
            promise: "The gradient reaches `wte` and `wpe`, adds up where a row was used twice, \
                      and is the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_both_tables,
        },
        Check {
            name: "what_is_not_there_is_refused",
            promise: "Tokens beyond the vocabulary, positions beyond the context and tables of two \
                      widths give an error.",
            kind: Kind::Errors,
            run: what_is_not_there_is_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "offset_ignored",
            diagnosis: "positions count from 0 in every call; they go on behind the `offset` \
                        tokens of earlier calls",
            caught_by: "documented_example",
            answer: embedding!(|tokens, wte, wpe, _offset| add(tokens, wte, wpe, 0)),
        },
        Impostor {
            name: "positions_not_added",
            diagnosis: "the vectors of the positions are not added, so the model cannot tell an \
                        order",
            caught_by: "documented_example",
            answer: embedding!(|tokens, wte, _wpe, _offset| look_up(wte, tokens)),
        },
        Impostor {
            name: "position_table_not_sliced",
            diagnosis: "all of `wpe` is added; `seq` rows of it have to be cut out first",
            caught_by: "documented_example",
            answer: embedding!(|tokens, wte, wpe, _offset| {
                look_up(wte, tokens)?.broadcast_add(wpe)
            }),
        },
        Impostor {
            name: "scaled_by_the_width",
            diagnosis: "token vectors are multiplied by √`d_model`, as in Vaswani et al. (2017); \
                        GPT-2 does not",
            caught_by: "documented_example",
            answer: embedding!(|tokens, wte, wpe, offset| {
                add(tokens, &(wte * (wte.dim(1)? as f64).sqrt())?, wpe, offset)
            }),
        },
        Impostor {
            name: "positions_run_through_the_batch",
            diagnosis: "positions count on from one sequence of the batch to the next; each starts \
                        at `offset`",
            caught_by: "sequences_stand_alone",
            answer: embedding!(|tokens, wte, wpe, offset| {
                let (batch, seq) = tokens.dims2()?;
                let last = (offset + batch * seq) as u32;
                let positions = Tensor::arange(offset as u32, last, tokens.device())?;
                let n_ctx = Tensor::new(wpe.dim(0)? as f64, tokens.device())?;
                // Beyond the table it starts again, as an answer that noticed would do.
                let turns = positions.to_dtype(candle_core::DType::F64)?.broadcast_div(&n_ctx)?;
                let turns = turns.floor()?.broadcast_mul(&n_ctx)?.to_dtype(positions.dtype())?;
                let positions = (positions - turns)?.reshape((batch, seq))?;
                look_up(wte, tokens)? + look_up(wpe, &positions)?
            }),
        },
        Impostor {
            name: "last_position_refused",
            diagnosis: "off by one: the last position of the context is refused",
            caught_by: "pieces_make_the_whole",
            answer: embedding!(|tokens, wte, wpe, offset| {
                if offset + tokens.dim(1)? >= wpe.dim(0)? {
                    bail!("too long");
                }
                add(tokens, wte, wpe, offset)
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "the result is computed in `f32` whatever the tables are",
            caught_by: "matches_definition",
            answer: embedding!(|tokens, wte, wpe, offset| {
                in_single(|t| add(tokens, &t[0], &t[1], offset), &[wte, wpe])
            }),
        },
        Impostor {
            name: "positions_detached",
            diagnosis: "the rows of `wpe` are taken out of the graph; in a GPT positions are \
                        learned",
            caught_by: "gradient_reaches_both_tables",
            answer: embedding!(|tokens, wte, wpe, offset| {
                add(tokens, wte, &wpe.detach(), offset)
            }),
        },
        Impostor {
            name: "tokens_clamped",
            diagnosis: "a token beyond the vocabulary becomes the last one without an error",
            caught_by: "what_is_not_there_is_refused",
            answer: embedding!(|tokens, wte, wpe, offset| {
                let last = Tensor::new(wte.dim(0)? as u32 - 1, tokens.device())?;
                add(&tokens.broadcast_minimum(&last)?, wte, wpe, offset)
            }),
        },
        Impostor {
            name: "positions_stop_at_the_end",
            diagnosis: "a text longer than the context gets the last positions again, without an \
                        error",
            caught_by: "what_is_not_there_is_refused",
            answer: embedding!(|tokens, wte, wpe, offset| {
                let room = wpe.dim(0)?.saturating_sub(tokens.dim(1)?);
                add(tokens, wte, wpe, offset.min(room))
            }),
        },
        Impostor {
            name: "stretched",
            diagnosis: "a `wpe` of width 1 is broadcast over all of `d_model` without an error",
            caught_by: "what_is_not_there_is_refused",
            answer: embedding!(|tokens, wte, wpe, offset| {
                let rows = wpe.narrow(0, offset, tokens.dim(1)?)?;
                look_up(wte, tokens)?.broadcast_add(&rows)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_one_hot_products",
        answer: embedding!(|tokens, wte, wpe, offset| {
            by_one_hot_products(tokens, wte, wpe, offset)
        }),
    }],
};

pub(super) const HOMEBOUND: Homebound = Homebound {
    part: "embed",
    diagnosis: "the positions are counted on the processor, wherever `tokens` is",
    answer: embedding!(|tokens, wte, wpe, offset| {
        if wte.dim(1)? != wpe.dim(1)? {
            bail!("{:?} and {:?} have two widths", wte.dims(), wpe.dims());
        }
        let (first, seq) = (offset as u32, tokens.dim(1)? as u32);
        let positions = Tensor::arange(first, first + seq, &Device::Cpu)?;
        let rows = wpe.contiguous()?.index_select(&positions, 0)?;
        look_up(wte, tokens)?.broadcast_add(&rows)
    }),
};

/// One addition.
const TOLERANCE: Tolerance = Tolerance::roundings(8.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let tokens = Array::matrix(&[[2., 0.]]).to(DType::U32);
    let wte = Array::matrix(&[[1., 1.], [2., 2.], [3., 3.]]).to(DType::F32);
    let wpe = Array::matrix(&[[0., 0.], [10., 0.], [20., 0.], [30., 0.], [40., 0.]]).to(DType::F32);
    let out = trial.array(args![tokens: &tokens, wte: &wte, wpe: &wpe, offset: 2usize])?;
    let expected = Array::new(&[1, 2, 2], vec![23., 3., 31., 1.]).to(DType::F32);
    trial.close("result", &out, &expected, TOLERANCE)
}

fn sequences_stand_alone(trial: &mut Trial) -> Outcome {
    let Drawn { tokens, wte, wpe } = draw(trial, [3, 4], 7, 8, 5, DType::F32);
    let together = trial.array(args![tokens: &tokens, wte: &wte, wpe: &wpe, offset: 1usize])?;
    trial.has_shape("result", &together, &[3, 4, 5])?;
    for sequence in 0..3 {
        let one = tokens.narrow(0, sequence, 1);
        let alone = trial.array(args![tokens: &one, wte: &wte, wpe: &wpe, offset: 1usize])?;
        let name = format!("sequence {sequence} in the batch, against the same alone");
        trial.close(&name, &together.narrow(0, sequence, 1), &alone, TOLERANCE)?;
    }
    Ok(())
}

fn pieces_make_the_whole(trial: &mut Trial) -> Outcome {
    let Drawn { tokens, wte, wpe } = draw(trial, [2, 6], 7, 6, 3, DType::F32);
    let whole = trial.array(args![tokens: &tokens, wte: &wte, wpe: &wpe, offset: 0usize])?;
    trial.has_shape("result", &whole, &[2, 6, 3])?;
    for (offset, length) in [(0, 1), (1, 3), (4, 2)] {
        let piece = tokens.narrow(1, offset, length);
        let out = trial.array(args![tokens: &piece, wte: &wte, wpe: &wpe, offset: offset])?;
        let name = format!("{length} tokens from {offset} on, against the whole text");
        trial.close(&name, &out, &whole.narrow(1, offset, length), TOLERANCE)?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (shape, n_ctx, d_model, offset) in [([2, 3], 9, 5, 4), ([1, 1], 1, 1, 0), ([3, 2], 2, 4, 0)]
    {
        for dtype in [DType::F64, DType::F32] {
            let Drawn { tokens, wte, wpe } = draw(trial, shape, 7, n_ctx, d_model, dtype);
            let out = trial.array(args![
                tokens: &tokens.laid_out(&[1, 0]),
                wte: &wte.laid_out(&[1, 0]),
                wpe: &wpe.laid_out(&[1, 0]),
                offset: offset,
            ])?;
            let expected = oracle(&tokens, &wte, &wpe, offset).to(dtype);
            trial.close("result", &out, &expected, TOLERANCE.at_scale(4.0))?;
        }
    }
    Ok(())
}

fn gradient_reaches_both_tables(trial: &mut Trial) -> Outcome {
    let Drawn { wte, wpe, .. } = draw(trial, [1, 1], 3, 4, 2, DType::F64);
    // Token 2 comes three times, token 1 never.
    let tokens = Array::matrix(&[[2., 0., 2.], [0., 2., 0.]]).to(DType::U32);
    let args = args![tokens: &tokens, wte: &wte, wpe: &wpe, offset: 1usize];
    trial.gradient_matches(args, |at| oracle(&tokens, at.get("wte"), at.get("wpe"), 1))
}

fn what_is_not_there_is_refused(trial: &mut Trial) -> Outcome {
    let Drawn { tokens, wte, wpe } = draw(trial, [2, 3], 5, 4, 6, DType::F32);
    let mut foreign = tokens.clone();
    foreign.set(&[1, 2], 5.0);
    let case = "a token is 5 and the vocabulary has 5, so that 4 is the last";
    trial.refuses(case, args![tokens: &foreign, wte: &wte, wpe: &wpe, offset: 0usize])?;
    let case = "3 tokens from position 2 on do not fit a context of 4";
    trial.refuses(case, args![tokens: &tokens, wte: &wte, wpe: &wpe, offset: 2usize])?;
    let thin = trial.rng.normal_array(&[4, 1]);
    let case = "`wpe` has a width of 1 and `wte` one of 6";
    trial.refuses(case, args![tokens: &tokens, wte: &wte, wpe: &thin, offset: 0usize])?;
    Ok(())
}

struct Drawn {
    tokens: Array,
    wte: Array,
    wpe: Array,
}

fn draw(
    trial: &mut Trial,
    shape: [usize; 2],
    d_vocab: usize,
    n_ctx: usize,
    d_model: usize,
    dtype: DType,
) -> Drawn {
    let tokens = Array::from_fn(&shape, |_| trial.rng.below(d_vocab) as f64).to(DType::U32);
    let wte = trial.rng.normal_array(&[d_vocab, d_model]).to(dtype);
    // Sums of two numbers that fit `f32` mostly do not, so that the dtype shows.
    let wpe = trial.rng.normal_array(&[n_ctx, d_model]).to(dtype);
    Drawn { tokens, wte, wpe }
}

/// `result[b, t, i] = wte[tokens[b, t], i] + wpe[offset + t, i]`.
fn oracle(tokens: &Array, wte: &Array, wpe: &Array, offset: usize) -> Array {
    let shape = [tokens.dim(0), tokens.dim(1), wte.dim(1)];
    Array::from_fn(&shape, |at| {
        let token = tokens.at(&at[..2]) as usize;
        wte.at(&[token, at[2]]) + wpe.at(&[offset + at[1], at[2]])
    })
}

/// The rows of a table, arranged as the numbers that name them.
fn look_up(table: &Tensor, rows: &Tensor) -> Result<Tensor> {
    let (batch, seq) = rows.dims2()?;
    let rows = rows.flatten_all()?;
    table.contiguous()?.index_select(&rows, 0)?.reshape((batch, seq, table.dim(1)?))
}

fn add(tokens: &Tensor, wte: &Tensor, wpe: &Tensor, offset: usize) -> Result<Tensor> {
    if wte.dim(1)? != wpe.dim(1)? {
        bail!("{:?} and {:?} have two widths", wte.dims(), wpe.dims());
    }
    look_up(wte, tokens)?.broadcast_add(&wpe.narrow(0, offset, tokens.dim(1)?)?)
}

/// Rows picked by a product with zeros and a one.
fn by_one_hot_products(
    tokens: &Tensor,
    wte: &Tensor,
    wpe: &Tensor,
    offset: usize,
) -> Result<Tensor> {
    let ((batch, seq), (d_vocab, d_model)) = (tokens.dims2()?, wte.dims2()?);
    let largest = tokens.flatten_all()?.max(0)?.to_scalar::<u32>()? as usize;
    if largest >= d_vocab || offset + seq > wpe.dim(0)? || wpe.dim(1)? != d_model {
        bail!("{largest} of {d_vocab}, {offset} + {seq} of {:?}", wpe.dims());
    }
    let vocabulary = Tensor::arange(0, d_vocab as u32, tokens.device())?;
    let one_hot = tokens.reshape((batch * seq, 1))?.broadcast_eq(&vocabulary)?;
    let picked = one_hot.to_dtype(wte.dtype())?.matmul(&wte.contiguous()?)?;
    let picked = picked.reshape((batch, seq, d_model))?;
    let positions: Vec<Tensor> =
        (offset..offset + seq).map(|position| wpe.get(position)).collect::<Result<_>>()?;
    picked.broadcast_add(&Tensor::stack(&positions, 0)?)
}
