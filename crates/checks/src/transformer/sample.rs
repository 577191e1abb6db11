//! `sample`: from logits to the next token.

use answer::{Numbers, answer};
use candle_core::Tensor;
use protocol::{DType, Value};

use super::{
    sample_oracle::{Settings, clear_logits, clear_noise, draw, settings},
    sample_slips::{Slip, drawn},
};
use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Tolerance, Trial, args};

/// An answer that makes one mistake.
macro_rules! slip {
    ($slip:expr) => {
        answer!(|logits: &Tensor, tokens: &Tensor, settings: &Numbers, noise: &Tensor| {
            drawn(logits, tokens, settings, noise, $slip)
        })
    };
}

pub(super) const SAMPLE: Part = Part {
    name: "sample",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "matches_definition",
            promise: "At any temperature each row draws, by its own noise, the defined token.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "zero_temperature_takes_the_likeliest",
            promise: "At temperature 0 the likeliest token comes, whatever the noise.",
            kind: Kind::Property,
            run: zero_temperature_takes_the_likeliest,
        },
        Check {
            name: "cuts_keep_what_they_should",
            promise: "top_k, top_p and min_p, each alone, keep the defined tokens.",
            kind: Kind::Property,
            run: cuts_keep_what_they_should,
        },
        Check {
            name: "settings_act_in_order",
            promise: "Several settings together act in the stated order.",
            kind: Kind::Reference,
            run: settings_act_in_order,
        },
        Check {
            name: "penalty_always_lowers",
            promise: "The penalty makes each token of the row's own sequence less likely, once.",
            kind: Kind::Property,
            run: penalty_always_lowers,
        },
        Check {
            name: "forbidden_tokens_never_come",
            promise: "With noise 0, or as near 1 as it gets, only tokens that may come do.",
            kind: Kind::Property,
            run: forbidden_tokens_never_come,
        },
        Check {
            name: "bad_settings_are_refused",
            promise: "Unknown settings, numbers out of range and unfit inputs give errors.",
            kind: Kind::Errors,
            run: bad_settings_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "cut_before_crossing",
            diagnosis: "top_p drops the token with which the sum reaches it; that one is kept",
            caught_by: "documented_example",
            answer: slip!(Slip::CutBeforeCrossing),
        },
        Impostor {
            name: "kept_not_made_whole",
            diagnosis: "after a cut, what is left is not made to sum to 1 again",
            caught_by: "documented_example",
            answer: slip!(Slip::NotRenormalised),
        },
        Impostor {
            name: "multiplied_by_temperature",
            diagnosis: "the logits are multiplied by the temperature; they should be divided",
            caught_by: "matches_definition",
            answer: slip!(Slip::Multiplied),
        },
        Impostor {
            name: "probabilities_divided",
            diagnosis: "the probabilities are divided by the temperature, which changes nothing \
                        once they sum to 1; it is the logits that are divided",
            caught_by: "matches_definition",
            answer: slip!(Slip::AfterSoftmax),
        },
        Impostor {
            name: "drawn_by_rank",
            diagnosis: "probabilities are added up from the likeliest token on; it should be in \
                        the order of ids",
            caught_by: "matches_definition",
            answer: slip!(Slip::ByRank),
        },
        Impostor {
            name: "one_noise_for_all",
            diagnosis: "every row draws by the first row's noise; each has its own",
            caught_by: "documented_example",
            answer: slip!(Slip::FirstNoise),
        },
        Impostor {
            name: "always_greedy",
            diagnosis: "the likeliest token always comes; the noise is not looked at",
            caught_by: "documented_example",
            answer: slip!(Slip::Greedy),
        },
        Impostor {
            name: "divided_by_zero",
            diagnosis: "temperature 0 divides by 0; it stands for the likeliest token",
            caught_by: "zero_temperature_takes_the_likeliest",
            answer: slip!(Slip::DivideByZero),
        },
        Impostor {
            name: "last_of_equals",
            diagnosis: "of equally likely tokens the one with the larger id counts as likelier",
            caught_by: "zero_temperature_takes_the_likeliest",
            answer: slip!(Slip::LastOfEquals),
        },
        Impostor {
            name: "one_too_many_kept",
            diagnosis: "top_k keeps one token more than it says",
            caught_by: "cuts_keep_what_they_should",
            answer: slip!(Slip::OneTooMany),
        },
        Impostor {
            name: "ties_kept_as_well",
            diagnosis: "top_k keeps every token as likely as the last kept one, so more than k",
            caught_by: "cuts_keep_what_they_should",
            answer: slip!(Slip::TiesKept),
        },
        Impostor {
            name: "min_p_by_itself",
            diagnosis: "min_p is taken for a probability; it is a share of the likeliest one's",
            caught_by: "cuts_keep_what_they_should",
            answer: slip!(Slip::AbsoluteMinP),
        },
        Impostor {
            name: "top_p_before_top_k",
            diagnosis: "top_p acts before top_k; it should act on what top_k has left, made to sum \
                        to 1",
            caught_by: "settings_act_in_order",
            answer: slip!(Slip::TopPFirst),
        },
        Impostor {
            name: "temperature_last",
            diagnosis: "the temperature acts after the cuts; it should act before them",
            caught_by: "settings_act_in_order",
            answer: slip!(Slip::TemperatureLast),
        },
        Impostor {
            name: "penalty_divides_all",
            diagnosis: "the penalty divides negative logits too, which makes their tokens likelier",
            caught_by: "penalty_always_lowers",
            answer: slip!(Slip::DividesAll),
        },
        Impostor {
            name: "penalty_each_time",
            diagnosis: "the penalty acts once for each time that a token is there; it should act \
                        once",
            caught_by: "penalty_always_lowers",
            answer: slip!(Slip::EachTime),
        },
        Impostor {
            name: "penalty_from_all_rows",
            diagnosis: "the penalty lowers what any sequence of the batch has; it should lower \
                        what the row's own has",
            caught_by: "penalty_always_lowers",
            answer: slip!(Slip::AllRows),
        },
        Impostor {
            name: "noise_reached_not_passed",
            diagnosis: "the first token at which the sum is as large as the noise comes, so noise \
                        0 gives token 0 even if it may not come; the sum must be above the noise",
            caught_by: "forbidden_tokens_never_come",
            answer: slip!(Slip::AtLeast),
        },
        Impostor {
            name: "last_id_if_none",
            diagnosis: "if rounding leaves the sum below the noise, the last id of the vocabulary \
                        comes, even if it may not; it should be the last kept token",
            caught_by: "forbidden_tokens_never_come",
            answer: slip!(Slip::LastId),
        },
        Impostor {
            name: "anything_accepted",
            diagnosis: "settings of other names or out of range, and unfit inputs, go unnoticed",
            caught_by: "bad_settings_are_refused",
            answer: slip!(Slip::Unchecked),
        },
    ],
    alternatives: &[Alternative { name: "in_probabilities", answer: slip!(Slip::None) }],
};

fn documented_example(trial: &mut Trial) -> Outcome {
    let row = [4f64.ln(), 3f64.ln(), 2f64.ln(), 0.0];
    let logits = Array::matrix(&[row, row, row]);
    let none = [vec![], vec![], vec![]];
    let got = trial.array(question(&logits, &none, &[("top_p", 0.8)], &[0.5, 0.43, 0.9]))?;
    let expected = Array::vector(&[1.0, 0.0, 2.0]).to(DType::U32);
    trial.close("result", &got, &expected, Tolerance::EXACT)
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (batch, d_vocab, dtype) in [(1, 1, DType::F32), (24, 7, DType::F32), (9, 30, DType::F64)] {
        draws(trial, &vec![vec![0]; batch], d_vocab, &[], dtype)?;
        for temperature in [0.5, 1.0, 3.0] {
            draws(trial, &vec![vec![]; batch], d_vocab, &[("temperature", temperature)], dtype)?;
        }
    }
    Ok(())
}

fn zero_temperature_takes_the_likeliest(trial: &mut Trial) -> Outcome {
    draws(trial, &vec![vec![]; 12], 6, &[("temperature", 0.0)], DType::F32)?;
    let logits =
        Array::matrix(&[[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [f64::NEG_INFINITY, -5.0, -5.0]]);
    let noise = [0.99, 0.5, 0.99];
    let question = question(&logits, &[vec![], vec![], vec![]], &[("temperature", 0.0)], &noise);
    let got = trial.array(question)?;
    let expected = Array::vector(&[1.0, 0.0, 1.0]).to(DType::U32);
    trial.close("result where logits are equal", &got, &expected, Tolerance::EXACT)
}

fn cuts_keep_what_they_should(trial: &mut Trial) -> Outcome {
    let none = vec![vec![]; 24];
    for cut in [("top_k", 1.0), ("top_k", 3.0), ("top_k", 1e9)] {
        draws(trial, &none, 8, &[cut], DType::F32)?;
    }
    for cut in [("top_p", 1e-6), ("top_p", 0.7), ("top_p", 0.95), ("min_p", 0.3), ("min_p", 0.05)] {
        draws(trial, &none, 8, &[cut], DType::F32)?;
    }
    // Four tokens are equally likely; two of them are kept.
    let logits = Array::full(&[4, 4], 1.5);
    let question = question(&logits, &none[..4], &[("top_k", 2.0)], &[0.1, 0.4, 0.6, 0.9]);
    let got = trial.array(question)?;
    let expected = Array::vector(&[0.0, 0.0, 1.0, 1.0]).to(DType::U32);
    trial.close("result where logits are equal", &got, &expected, Tolerance::EXACT)
}

fn settings_act_in_order(trial: &mut Trial) -> Outcome {
    let none = vec![vec![]; 32];
    draws(trial, &none, 9, &[("top_k", 3.0), ("top_p", 0.75)], DType::F32)?;
    draws(trial, &none, 9, &[("temperature", 2.5), ("top_p", 0.7)], DType::F32)?;
    draws(trial, &none, 9, &[("temperature", 2.5), ("min_p", 0.4), ("top_k", 5.0)], DType::F32)?;
    draws(trial, &none, 9, &[("top_p", 0.8), ("min_p", 0.3)], DType::F64)
}

fn penalty_always_lowers(trial: &mut Trial) -> Outcome {
    let seen: Vec<Vec<usize>> =
        (0..24).map(|_| (0..5).map(|_| trial.rng.below(6)).collect()).collect();
    for penalty in [1.8, 4.0] {
        draws(trial, &seen, 6, &[("repetition_penalty", penalty)], DType::F32)?;
    }
    let greedy = [("repetition_penalty", 3.0), ("temperature", 0.0)];
    draws(trial, &seen, 6, &greedy, DType::F32)
}

fn forbidden_tokens_never_come(trial: &mut Trial) -> Outcome {
    let (batch, d_vocab) = (48, 40);
    let logits = trial.rng.normal_array(&[batch, d_vocab]).to(DType::F64);
    let logits = Array::from_fn(&[batch, d_vocab], |at| match at[1] {
        0 | 39 => f64::NEG_INFINITY,
        _ => logits.at(at),
    });
    let nearly_one = 1.0 - f64::EPSILON / 2.0;
    for (noise, token) in [(0.0, 1.0), (nearly_one, 38.0)] {
        let question = question(&logits, &vec![vec![]; batch], &[], &vec![noise; batch]);
        let got = trial.array(question)?;
        let expected = Array::full(&[batch], token).to(DType::U32);
        let name = format!("result at noise {}, where tokens 0 and 39 may not come", noise.round());
        trial.close(&name, &got, &expected, Tolerance::EXACT)?;
    }
    Ok(())
}

fn bad_settings_are_refused(trial: &mut Trial) -> Outcome {
    let logits = Array::matrix(&[[0.5, 1.0, 2.0], [0.1, 0.2, 0.3]]);
    let none = [vec![], vec![]];
    let noise = [0.5, 0.5];
    let bad = [
        ("topk", 2.0),
        ("top_k", 0.0),
        ("top_k", 1.5),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("min_p", -0.1),
        ("min_p", 1.5),
        ("temperature", -1.0),
        ("temperature", f64::NAN),
        ("repetition_penalty", 0.0),
    ];
    for setting in bad {
        let case = format!("`{}` is {}", setting.0, setting.1);
        trial.refuses(&case, question(&logits, &none, &[setting], &noise))?;
    }
    let case = "there are two rows and one noise";
    trial.refuses(case, question(&logits, &none, &[], &noise[..1]))?;
    let case = "a sequence has token 3 of 3";
    trial.refuses(case, question(&logits, &[vec![3], vec![0]], &[], &noise))?;
    for (case, wrong) in [("NaN", [f64::NAN, 0.0]), ("only −∞", [f64::NEG_INFINITY; 2])] {
        let logits = Array::matrix(&[[0.0, 1.0], wrong]);
        trial.refuses(&format!("a row has {case}"), question(&logits, &none, &[], &noise))?;
    }
    Ok(())
}

/// Asks for rows that are clear of every edge, and compares the tokens.
fn draws(
    trial: &mut Trial,
    seen: &[Vec<usize>],
    d_vocab: usize,
    numbers: &[(&str, f64)],
    dtype: DType,
) -> Outcome {
    let settings = settings(numbers);
    let (logits, nexts) = clear_logits(&mut trial.rng, seen, d_vocab, &settings);
    let noise: Vec<f64> =
        nexts.iter().map(|next| clear_noise(&mut trial.rng, &next.probabilities)).collect();
    let expected: Vec<f64> =
        nexts.iter().zip(&noise).map(|(n, noise)| draw(&n.probabilities, *noise) as f64).collect();
    let logits = logits.to(dtype).laid_out(&[1, 0]);
    let got = trial.array(question(&logits, seen, numbers, &noise))?;
    let name = match numbers {
        [] => "result".to_owned(),
        _ => format!("result with {}", words(&settings)),
    };
    trial.close(&name, &got, &Array::vector(&expected).to(DType::U32), Tolerance::EXACT)
}

fn words(settings: &Settings) -> String {
    let each: Vec<_> = settings.iter().map(|(name, number)| format!("{name} {number}")).collect();
    each.join(", ")
}

fn question(
    logits: &Array,
    seen: &[Vec<usize>],
    numbers: &[(&str, f64)],
    noise: &[f64],
) -> Vec<(&'static str, Value)> {
    let seq = seen.first().map_or(0, Vec::len);
    let tokens = seen.iter().flatten().map(|&token| token as f64).collect();
    let tokens = Array::new(&[seen.len(), seq], tokens).to(DType::U32);
    let noise = Array::vector(noise).to(logits.dtype());
    args![logits: logits, tokens: &tokens, settings: settings(numbers), noise: &noise]
}
