//! `causal_mask`: a query sees its own position and the past.

use answer::answer;
use candle_core::{D, DType as CandleDType, Device, Result, Tensor, bail};
use protocol::DType;

use crate::{
    Alternative, Array, Check, Homebound, Impostor, Kind, Outcome, Part, Tolerance, Trial, args,
};

pub(super) const CAUSAL_MASK: Part = Part {
    name: "causal_mask",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "one_query_sees_every_key",
            promise: "A single query is the last position, so it may attend to every key.",
            kind: Kind::Property,
            run: one_query_sees_every_key,
        },
        Check {
            name: "each_query_sees_one_key_more",
            promise: "Each query may attend to the keys of the query before it, and its own.",
            kind: Kind::Property,
            run: each_query_sees_one_key_more,
        },
        Check {
            name: "more_queries_than_keys_are_refused",
            promise: "More queries than keys give an error.",
            kind: Kind::Errors,
            run: more_queries_than_keys_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "aligned_to_the_first_key",
            diagnosis: "query 0 is taken for position 0; the queries are the last positions",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor| {
                let (seq_q, seq_k) = lengths(q, k)?;
                compare(seq_q, seq_k, |i, j| j <= i, q)
            }),
        },
        Impostor {
            name: "transposed",
            diagnosis: "the triangle is upside down: queries see the future and not the past",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor| {
                let (seq_q, seq_k) = lengths(q, k)?;
                compare(seq_q, seq_k, |i, j| j >= i + seq_k - seq_q, q)
            }),
        },
        Impostor {
            name: "strict_diagonal",
            diagnosis: "a query may not attend to its own position; use <= instead of <",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor| {
                let (seq_q, seq_k) = lengths(q, k)?;
                compare(seq_q, seq_k, |i, j| j < i + seq_k - seq_q, q)
            }),
        },
        Impostor {
            name: "inverted",
            diagnosis: "1 marks what is hidden; in this course 1 marks what may be attended to",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor| {
                let (seq_q, seq_k) = lengths(q, k)?;
                compare(seq_q, seq_k, |i, j| j > i + seq_k - seq_q, q)
            }),
        },
        Impostor {
            name: "queries_and_keys_swapped",
            diagnosis: "rows stand for keys and columns for queries; it is the other way round",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor| right_mask(q, k)?.t()),
        },
        Impostor {
            name: "additive_mask",
            diagnosis: "it returns 0 and −∞ to be added to scores; a mask here is `u8`, 0 or 1",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor| {
                right_mask(q, k)?.to_dtype(CandleDType::F32)?.log()
            }),
        },
        Impostor {
            name: "float_mask",
            diagnosis: "the 0s and 1s are floating-point numbers; `where_cond` needs `u8`",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor| right_mask(q, k)?.to_dtype(q.dtype())),
        },
        Impostor {
            name: "axes_of_length_one_dropped",
            diagnosis: "a `squeeze` drops the query axis when there is only one query",
            caught_by: "one_query_sees_every_key",
            answer: answer!(|q: &Tensor, k: &Tensor| right_mask(q, k)?.squeeze(0)),
        },
        Impostor {
            name: "four_axes_only",
            diagnosis: "it takes only four axes, but a residual stream has three; count from the \
                        end with `D::Minus2`",
            caught_by: "each_query_sees_one_key_more",
            answer: answer!(|q: &Tensor, k: &Tensor| {
                let ((_, _, _, _), (_, _, _, _)) = (q.dims4()?, k.dims4()?);
                right_mask(q, k)
            }),
        },
        Impostor {
            name: "width_for_length",
            diagnosis: "the lengths are read from the last axis, which is the width of a head; \
                        positions are the axis before it",
            caught_by: "documented_example",
            answer: answer!(|q: &Tensor, k: &Tensor| {
                let (seq_q, seq_k) = (q.dim(D::Minus1)?, k.dim(D::Minus1)?);
                compare(seq_q, seq_k, |i, j| j + seq_q <= i + seq_k, q)
            }),
        },
        Impostor {
            name: "more_queries_than_keys_accepted",
            diagnosis: "with more queries than keys the first queries get no key, and no error \
                        says so",
            caught_by: "more_queries_than_keys_are_refused",
            answer: answer!(|q: &Tensor, k: &Tensor| {
                let (seq_q, seq_k) = (q.dim(D::Minus2)?, k.dim(D::Minus2)?);
                compare(seq_q, seq_k, |i, j| j + seq_q <= i + seq_k, q)
            }),
        },
        Impostor {
            name: "subtraction_overflows",
            diagnosis: "`seq_k - seq_q` is computed before it is known that there are enough keys",
            caught_by: "more_queries_than_keys_are_refused",
            answer: answer!(|q: &Tensor, k: &Tensor| {
                let (seq_q, seq_k) = (q.dim(D::Minus2)?, k.dim(D::Minus2)?);
                let cached = seq_k - seq_q;
                compare(seq_q, seq_k, |i, j| j <= i + cached, q)
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_lower_triangle",
        answer: answer!(|q: &Tensor, k: &Tensor| {
            let (seq_q, seq_k) = lengths(q, k)?;
            let square = Tensor::tril2(seq_k, CandleDType::U8, q.device())?;
            square.narrow(0, seq_k - seq_q, seq_q)
        }),
    }],
};

pub(super) const HOMEBOUND: Homebound = Homebound {
    part: "causal_mask",
    diagnosis: "the mask is made on the processor, wherever `q` is",
    answer: answer!(|q: &Tensor, k: &Tensor| {
        let (seq_q, seq_k) = lengths(q, k)?;
        let square = Tensor::tril2(seq_k, CandleDType::U8, &Device::Cpu)?;
        square.narrow(0, seq_k - seq_q, seq_q)
    }),
};

fn documented_example(trial: &mut Trial) -> Outcome {
    let (q, k) = (trial.rng.normal_array(&[1, 1, 2, 3]), trial.rng.normal_array(&[1, 1, 4, 3]));
    let mask = trial.array(args![q: &q, k: &k])?;
    let expected = Array::matrix(&[[1., 1., 1., 0.], [1., 1., 1., 1.]]).to(DType::U8);
    trial.close("mask", &mask, &expected, Tolerance::EXACT)
}

fn one_query_sees_every_key(trial: &mut Trial) -> Outcome {
    for seq_k in [1, 5] {
        let (q, k) = (trial.rng.normal_array(&[2, 3, 1, 4]), Array::full(&[2, 3, seq_k, 4], 1.0));
        let mask = trial.array(args![q: &q, k: &k])?;
        let expected = Array::full(&[1, seq_k], 1.0).to(DType::U8);
        trial.close("mask", &mask, &expected, Tolerance::EXACT)?;
    }
    Ok(())
}

fn each_query_sees_one_key_more(trial: &mut Trial) -> Outcome {
    for (leading, seq_q, seq_k) in [(&[2, 3][..], 4, 4), (&[2], 5, 9), (&[], 7, 8)] {
        let shape = |seq| [leading, &[seq, 6]].concat();
        let (q, k) = (trial.rng.normal_array(&shape(seq_q)), Array::full(&shape(seq_k), 1.0));
        let mask = trial.array(args![q: &q, k: &k])?;
        let expected = Array::from_fn(&[seq_q, seq_k], |at| {
            let seen = seq_k - seq_q + at[0] + 1;
            f64::from(u8::from(at[1] < seen))
        });
        trial.close("mask", &mask, &expected.to(DType::U8), Tolerance::EXACT)?;
    }
    Ok(())
}

fn more_queries_than_keys_are_refused(trial: &mut Trial) -> Outcome {
    let (q, k) = (trial.rng.normal_array(&[1, 2, 5, 3]), trial.rng.normal_array(&[1, 2, 4, 3]));
    trial.refuses("there are 5 queries but only 4 keys", args![q: &q, k: &k]).map(drop)
}

fn lengths(q: &Tensor, k: &Tensor) -> Result<(usize, usize)> {
    let (seq_q, seq_k) = (q.dim(D::Minus2)?, k.dim(D::Minus2)?);
    if seq_q > seq_k {
        bail!("there are {seq_q} queries but only {seq_k} keys");
    }
    Ok((seq_q, seq_k))
}

/// A mask from a rule for each query `i` and key `j`.
fn compare(
    seq_q: usize,
    seq_k: usize,
    may: impl Fn(usize, usize) -> bool,
    like: &Tensor,
) -> Result<Tensor> {
    let rows = (0..seq_q).flat_map(|i| (0..seq_k).map(move |j| (i, j)));
    let mask: Vec<u8> = rows.map(|(i, j)| u8::from(may(i, j))).collect();
    Tensor::from_vec(mask, (seq_q, seq_k), like.device())
}

fn right_mask(q: &Tensor, k: &Tensor) -> Result<Tensor> {
    let (seq_q, seq_k) = lengths(q, k)?;
    compare(seq_q, seq_k, |i, j| j + seq_q <= i + seq_k, q)
}
