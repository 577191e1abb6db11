//! `padding_mask`: nobody attends to padding.

use answer::answer;
use candle_core::{DType as CandleDType, Result, Tensor, bail};
use protocol::DType;

use super::oracle;
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

pub(super) const PADDING_MASK: Part = Part {
    name: "padding_mask",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "without_mask_one_row_serves_all",
            promise: "Without another mask, one row serves every head and query.",
            kind: Kind::Reference,
            run: without_mask_one_row_serves_all,
        },
        Check {
            name: "only_the_padding_token_is_hidden",
            promise: "Every token but `pad` may be attended to, whatever its number and place.",
            kind: Kind::Property,
            run: only_the_padding_token_is_hidden,
        },
        Check {
            name: "padded_queries_still_look",
            promise: "Padding is hidden as a key; as a query it keeps the row of `mask`.",
            kind: Kind::Property,
            run: padded_queries_still_look,
        },
        Check {
            name: "another_length_is_refused",
            promise: "A mask for another number of keys gives an error.",
            kind: Kind::Errors,
            run: another_length_is_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "inverted",
            diagnosis: "1 marks the padding; in this course 1 marks what may be attended to",
            caught_by: "documented_example",
            answer: answer!(|tokens: &Tensor, pad: u32, mask: Option<&Tensor>| {
                combine(&rows(&tokens.eq(pad)?)?, mask)
            }),
        },
        Impostor {
            name: "other_mask_forgotten",
            diagnosis: "`mask` is not used, so a causal model would see the future again",
            caught_by: "documented_example",
            answer: answer!(|tokens: &Tensor, pad: u32, _mask: Option<&Tensor>| {
                rows(&tokens.ne(pad)?)
            }),
        },
        Impostor {
            name: "either_mask_is_enough",
            diagnosis: "a key passes if one of the masks allows it; both must",
            caught_by: "documented_example",
            answer: answer!(|tokens: &Tensor, pad: u32, mask: Option<&Tensor>| {
                let is_token = rows(&tokens.ne(pad)?)?;
                mask.map_or_else(|| Ok(is_token.clone()), |mask| is_token.broadcast_maximum(mask))
            }),
        },
        Impostor {
            name: "masks_added",
            diagnosis: "the masks are added, so that 1 + 0 still lets a key through; multiply them",
            caught_by: "documented_example",
            answer: answer!(|tokens: &Tensor, pad: u32, mask: Option<&Tensor>| {
                let is_token = rows(&tokens.ne(pad)?)?;
                mask.map_or_else(|| Ok(is_token.clone()), |mask| is_token.broadcast_add(mask))
            }),
        },
        Impostor {
            name: "padding_on_the_right_assumed",
            diagnosis: "it counts the tokens and hides what stands behind that many; padding may \
                        stand on the left",
            caught_by: "documented_example",
            answer: answer!(|tokens: &Tensor, pad: u32, mask: Option<&Tensor>| {
                let lengths = tokens.ne(pad)?.to_dtype(CandleDType::U32)?.sum_keepdim(1)?;
                let places = Tensor::arange(0, tokens.dim(1)? as u32, tokens.device())?;
                combine(&rows(&places.unsqueeze(0)?.broadcast_lt(&lengths)?)?, mask)
            }),
        },
        Impostor {
            name: "no_axis_for_heads",
            diagnosis: "the axis of length 1 for the heads is missing, so `batch` would be taken \
                        for `n_heads`",
            caught_by: "documented_example",
            answer: answer!(|tokens: &Tensor, pad: u32, mask: Option<&Tensor>| {
                combine(&rows(&tokens.ne(pad)?)?, mask)?.squeeze(1)
            }),
        },
        Impostor {
            name: "queries_hidden_for_keys",
            diagnosis: "the rows of padding are hidden; columns must be, since rows are queries",
            caught_by: "documented_example",
            answer: answer!(|tokens: &Tensor, pad: u32, mask: Option<&Tensor>| {
                combine(&rows(&tokens.ne(pad)?)?.t()?, mask)
            }),
        },
        Impostor {
            name: "square_without_mask",
            diagnosis: "without `mask` it repeats the row for seq_k queries, though nobody said \
                        how many queries there are",
            caught_by: "without_mask_one_row_serves_all",
            answer: answer!(|tokens: &Tensor, pad: u32, mask: Option<&Tensor>| {
                let (seq, is_token) = (tokens.dim(1)?, rows(&tokens.ne(pad)?)?);
                combine(
                    &is_token,
                    Some(&mask.map_or_else(|| ones(seq, tokens), |m| Ok(m.clone()))?),
                )
            }),
        },
        Impostor {
            name: "mask_required",
            diagnosis: "it panics if there is no other mask; `mask` is optional",
            caught_by: "without_mask_one_row_serves_all",
            answer: answer!(|tokens: &Tensor, pad: u32, mask: Option<&Tensor>| {
                combine(&rows(&tokens.ne(pad)?)?, Some(mask.expect("a mask")))
            }),
        },
        Impostor {
            name: "padding_is_zero",
            diagnosis: "it takes 0 for the padding token; the number of that token is `pad`",
            caught_by: "only_the_padding_token_is_hidden",
            answer: answer!(|tokens: &Tensor, _pad: u32, mask: Option<&Tensor>| {
                combine(&rows(&tokens.ne(0u32)?)?, mask)
            }),
        },
        Impostor {
            name: "tokens_cut_to_a_byte",
            diagnosis: "the tokens become `u8` before they are compared, so tokens 256 apart look \
                        the same",
            caught_by: "only_the_padding_token_is_hidden",
            answer: answer!(|tokens: &Tensor, pad: u32, mask: Option<&Tensor>| {
                combine(&rows(&tokens.to_dtype(CandleDType::U8)?.ne(pad as u8)?)?, mask)
            }),
        },
        Impostor {
            name: "queries_hidden_too",
            diagnosis: "the rows of padding are hidden as well as the columns; only keys must be",
            caught_by: "padded_queries_still_look",
            answer: answer!(|tokens: &Tensor, pad: u32, mask: Option<&Tensor>| {
                let is_token = rows(&tokens.ne(pad)?)?;
                match mask {
                    Some(_) => combine(&combine(&is_token, mask)?, Some(&is_token.t()?)),
                    None => Ok(is_token),
                }
            }),
        },
        Impostor {
            name: "any_length_broadcast",
            diagnosis: "a mask with one key is silently stretched over all keys",
            caught_by: "another_length_is_refused",
            answer: answer!(|tokens: &Tensor, pad: u32, mask: Option<&Tensor>| {
                combine(&rows(&tokens.ne(pad)?)?, mask)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_choice",
        answer: answer!(|tokens: &Tensor, pad: u32, mask: Option<&Tensor>| by_choice(
            tokens, pad, mask
        )),
    }],
};

fn documented_example(trial: &mut Trial) -> Outcome {
    let tokens = Array::matrix(&[[5., 6.], [0., 7.]]).to(DType::U32);
    let causal = oracle::causal_mask(2);
    let mask = trial.array(args![tokens: &tokens, pad: 0usize, mask: &causal])?;
    let expected = Array::new(&[2, 1, 2, 2], vec![1., 0., 1., 1., 0., 0., 0., 1.]);
    trial.close("mask", &mask, &expected.to(DType::U8), Tolerance::EXACT)
}

fn without_mask_one_row_serves_all(trial: &mut Trial) -> Outcome {
    for shape in [[3, 5], [1, 1]] {
        let tokens = random_tokens(trial, shape, 3, 0);
        let mask = trial.array(args![tokens: &tokens, pad: 0usize, mask: None::<&Array>])?;
        trial.close("mask", &mask, &expected_padding(&tokens, 0, None), Tolerance::EXACT)?;
    }
    Ok(())
}

fn only_the_padding_token_is_hidden(trial: &mut Trial) -> Outcome {
    let pad = trial.rng.between(1, 255);
    let mut tokens = random_tokens(trial, [3, 7], 50_257, pad);
    for (at, token) in [([0, 0], pad), ([1, 3], pad), ([2, 6], pad), ([1, 1], 0)] {
        tokens.set(&at, token as f64);
    }
    // The same number in its lowest byte, but another token.
    tokens.set(&[0, 2], (pad + 256) as f64);
    for tokens in [tokens.clone(), tokens.laid_out(&[1, 0])] {
        let mask = trial.array(args![tokens: &tokens, pad: pad, mask: None::<&Array>])?;
        trial.close("mask", &mask, &expected_padding(&tokens, pad, None), Tolerance::EXACT)?;
    }
    Ok(())
}

fn padded_queries_still_look(trial: &mut Trial) -> Outcome {
    let pad = 9;
    for (seq_q, seq_k) in [(4, 4), (3, 6), (1, 5)] {
        let mut tokens = random_tokens(trial, [2, seq_k], 8, pad);
        tokens.set(&[0, seq_k - 1], pad as f64);
        tokens.set(&[1, seq_k - 1], 1.0);
        let other = oracle::causal_mask(seq_k).narrow(0, seq_k - seq_q, seq_q);
        let mask = trial.array(args![tokens: &tokens, pad: pad, mask: &other])?;
        let expected = expected_padding(&tokens, pad, Some(&other));
        trial.close("mask", &mask, &expected, Tolerance::EXACT)?;
    }
    Ok(())
}

fn another_length_is_refused(trial: &mut Trial) -> Outcome {
    let tokens = random_tokens(trial, [2, 4], 8, 9);
    for seq_k in [3, 1] {
        let mask = Array::full(&[4, seq_k], 1.0).to(DType::U8);
        let case = format!("`tokens` has seq_k 4 but `mask` has {seq_k}");
        trial.refuses(&case, args![tokens: &tokens, pad: 9usize, mask: &mask])?;
    }
    Ok(())
}

/// Random tokens below `d_vocab`; about a quarter of them are `pad`.
fn random_tokens(trial: &mut Trial, shape: [usize; 2], d_vocab: usize, pad: usize) -> Array {
    let mut draw = || match trial.rng.below(4) {
        0 => pad as f64,
        _ => trial.rng.below(d_vocab) as f64,
    };
    Array::from_fn(&shape, |_| draw()).to(DType::U32)
}

fn expected_padding(tokens: &Array, pad: usize, mask: Option<&Array>) -> Array {
    let seq_q = mask.map_or(1, |mask| mask.dim(0));
    let allowed = Array::from_fn(&[tokens.dim(0), 1, seq_q, tokens.dim(1)], |at| {
        let is_token = (tokens.at(&[at[0], at[3]]) - pad as f64).abs() > 0.5;
        let may = mask.is_none_or(|mask| mask.at(&[at[2], at[3]]) > 0.5);
        f64::from(u8::from(is_token && may))
    });
    allowed.to(DType::U8)
}

/// `(batch, seq_k)` as rows for every head and query.
fn rows(is_token: &Tensor) -> Result<Tensor> {
    is_token.unsqueeze(1)?.unsqueeze(1)
}

fn combine(is_token: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    mask.map_or_else(|| Ok(is_token.clone()), |mask| is_token.broadcast_mul(mask))
}

fn ones(seq: usize, like: &Tensor) -> Result<Tensor> {
    Tensor::ones((seq, seq), CandleDType::U8, like.device())
}

/// Chooses the other mask's row where there is a token, and 0 where there is padding.
fn by_choice(tokens: &Tensor, pad: u32, mask: Option<&Tensor>) -> Result<Tensor> {
    let (batch, seq_k) = tokens.dims2()?;
    let one_row = Tensor::ones((1, seq_k), CandleDType::U8, tokens.device())?;
    let mask = mask.unwrap_or(&one_row);
    let shape = (batch, 1, mask.dim(0)?, seq_k);
    if mask.dim(1)? != seq_k {
        bail!("`tokens` has {seq_k} keys but `mask` has {}", mask.dim(1)?);
    }
    let pad = Tensor::new(pad, tokens.device())?.broadcast_as((batch, seq_k))?;
    let is_pad = tokens.eq(&pad)?.unsqueeze(1)?.unsqueeze(2)?.broadcast_as(shape)?;
    is_pad.where_cond(&mask.zeros_like()?.broadcast_as(shape)?, &mask.broadcast_as(shape)?)
}
