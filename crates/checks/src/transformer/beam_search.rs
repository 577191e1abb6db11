//! `beam_search`: the likeliest continuation, `width` candidates at a time.

use answer::answer;
use candle_core::{DType as CandleDType, Tensor};
use protocol::{DType, Value};

use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, Stop, Tolerance, Trial, args,
};

/// An answer that makes one mistake.
macro_rules! slip {
    ($slip:expr) => {
        answer!(|logits: &Tensor, start: usize, end: Option<usize>, width: usize, n_new: usize| {
            answered(logits, Question { start, end, width, n_new }, $slip)
        })
    };
}

pub(super) const BEAM_SEARCH: Part = Part {
    name: "beam_search",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "shifted_logits_change_nothing",
            promise: "A number added to all logits of a row changes neither tokens nor score.",
            kind: Kind::Property,
            run: shifted_logits_change_nothing,
        },
        Check {
            name: "matches_definition",
            promise: "At several widths, with and without an end, the result is the defined one.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "a_wide_beam_finds_the_best",
            promise: "As wide as there are texts, it finds the best of all.",
            kind: Kind::Property,
            run: a_wide_beam_finds_the_best,
        },
        Check {
            name: "equal_scores_follow_the_dictionary",
            promise: "Of equal scores, the tokens that come first in a dictionary win.",
            kind: Kind::Property,
            run: equal_scores_follow_the_dictionary,
        },
        Check {
            name: "bad_questions_are_refused",
            promise: "Tokens that are none, a table that is not square, and zeros are errors.",
            kind: Kind::Errors,
            run: bad_questions_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "always_greedy",
            diagnosis: "only the likeliest token is ever followed; `width` is not looked at",
            caught_by: "documented_example",
            answer: slip!(Slip::Greedy),
        },
        Impostor {
            name: "probabilities_added",
            diagnosis: "probabilities are added up; it should be their logarithms",
            caught_by: "documented_example",
            answer: slip!(Slip::AddsProbabilities),
        },
        Impostor {
            name: "divided_by_length",
            diagnosis: "the score is divided by the number of tokens; it should be the sum",
            caught_by: "documented_example",
            answer: slip!(Slip::DividedByLength),
        },
        Impostor {
            name: "logits_added",
            diagnosis: "logits are added up as they are; they become logarithms of probabilities \
                        by a softmax",
            caught_by: "shifted_logits_change_nothing",
            answer: slip!(Slip::RawLogits),
        },
        Impostor {
            name: "end_not_seen",
            diagnosis: "a candidate that has come to its end is continued",
            caught_by: "matches_definition",
            answer: slip!(Slip::EndIgnored),
        },
        Impostor {
            name: "ended_dropped",
            diagnosis: "a candidate that has come to its end is dropped; it should compete on",
            caught_by: "matches_definition",
            answer: slip!(Slip::EndedDropped),
        },
        Impostor {
            name: "first_ended_wins",
            diagnosis: "the first candidate that comes to its end is the result, though others may \
                        still be better",
            caught_by: "matches_definition",
            answer: slip!(Slip::FirstEnded),
        },
        Impostor {
            name: "end_costs_nothing",
            diagnosis: "the probability of the end itself is left out of the score",
            caught_by: "matches_definition",
            answer: slip!(Slip::EndFree),
        },
        Impostor {
            name: "all_from_the_start",
            diagnosis: "every step looks up what comes after `start`; it should be after the \
                        candidate's last token",
            caught_by: "documented_example",
            answer: slip!(Slip::FromStart),
        },
        Impostor {
            name: "kept_for_each_candidate",
            diagnosis: "the best continuations of each candidate are kept; it should be the \
                        best of all together",
            caught_by: "matches_definition",
            answer: slip!(Slip::KeptForEach),
        },
        Impostor {
            name: "never_wider_than_the_vocabulary",
            diagnosis: "no more candidates than the vocabulary has tokens are kept, whatever \
                        `width` says",
            caught_by: "a_wide_beam_finds_the_best",
            answer: slip!(Slip::Narrow),
        },
        Impostor {
            name: "last_of_equals",
            diagnosis: "of equal scores, the last in the order of a dictionary wins",
            caught_by: "equal_scores_follow_the_dictionary",
            answer: slip!(Slip::LastOfEquals),
        },
        Impostor {
            name: "anything_accepted",
            diagnosis: "tokens that are none, and a width or length of 0, go unnoticed",
            caught_by: "bad_questions_are_refused",
            answer: slip!(Slip::Unchecked),
        },
    ],
    alternatives: &[Alternative { name: "one_list_of_scores", answer: slip!(Slip::None) }],
};

/// What is asked beside the table.
#[derive(Clone, Copy, Debug)]
struct Question {
    start: usize,
    end: Option<usize>,
    width: usize,
    n_new: usize,
}

/// Tokens and their score.
type Text = (Vec<usize>, f64);

/// A score adds up a few logarithms, each of which an answer may round in `f32`.
const TOLERANCE: Tolerance = Tolerance::relative(1e-4);

fn documented_example(trial: &mut Trial) -> Outcome {
    let rows = [[0.0, 0.6, 0.4], [0.4, 0.3, 0.3], [0.0, 0.1, 0.9]];
    let logits = Array::matrix(&rows).map(f64::ln);
    for (width, tokens, probability) in [(1, vec![1, 0], 0.24f64), (2, vec![2, 2], 0.36)] {
        let question = Question { start: 0, end: None, width, n_new: 2 };
        let got = asked(trial, &logits, question)?;
        same(trial, question, &got, &(tokens, probability.ln()))?;
    }
    Ok(())
}

fn shifted_logits_change_nothing(trial: &mut Trial) -> Outcome {
    let logits = random_logits(trial, 5, 1.5);
    for (end, width) in [(None, 3), (Some(2), 2)] {
        let question = Question { start: 1, end, width, n_new: 4 };
        let plain = asked(trial, &logits, question)?;
        let shifted =
            Array::from_fn(&[5, 5], |at| logits.at(at) + [3.0, -7.0, 0.5, 20.0, -1.0][at[0]]);
        let moved = asked(trial, &shifted, question)?;
        as_good(trial, question, &logits, &moved, &plain)?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for n in 0..24 {
        let d_vocab = trial.rng.between(4, 6);
        let logits = random_logits(trial, d_vocab, 1.0);
        let logits = if n % 2 == 0 { logits.to(DType::F32).laid_out(&[1, 0]) } else { logits };
        let end = (n % 4 > 0).then(|| trial.rng.below(d_vocab));
        let (start, width) = (trial.rng.below(d_vocab), trial.rng.between(1, 3));
        let question = Question { start, end, width, n_new: trial.rng.between(1, 5) };
        let got = asked(trial, &logits, question)?;
        as_good(trial, question, &logits, &got, &search(&table(&logits), question))?;
    }
    pruned_for_good(trial)?;
    let one = Question { start: 0, end: None, width: 1, n_new: 3 };
    let got = asked(trial, &Array::full(&[1, 1], 2.0), one)?;
    same(trial, one, &got, &(vec![0, 0, 0], 0.0))
}

/// What is best in the end, a beam of two has dropped on the way, all candidates together.
fn pruned_for_good(trial: &mut Trial) -> Outcome {
    let rows: [[f64; 5]; 5] = [
        [0.02, 0.5, 0.4, 0.04, 0.04],
        [0.195, 0.195, 0.195, 0.22, 0.195],
        [0.01, 0.01, 0.48, 0.01, 0.49],
        [0.01, 0.01, 0.01, 0.96, 0.01],
        [0.19, 0.2, 0.2, 0.2, 0.21],
    ];
    let places = trial.rng.permutation(5);
    let logits = Array::from_fn(&[5, 5], |at| rows[places[at[0]]][places[at[1]]].ln());
    let start = places.iter().position(|&place| place == 0).unwrap_or(0);
    let question = Question { start, end: None, width: 2, n_new: 4 };
    let got = asked(trial, &logits, question)?;
    as_good(trial, question, &logits, &got, &search(&table(&logits), question))
}

fn a_wide_beam_finds_the_best(trial: &mut Trial) -> Outcome {
    // Three tokens are likely and lead nowhere; the fourth is unlikely, and certain ever after.
    let places = trial.rng.permutation(4);
    let planted = Array::from_fn(&[4, 4], |at| {
        let (from, to) = (places[at[0]], places[at[1]]);
        let p: f64 = match (from, to) {
            (3, 3) => 0.97,
            (3, _) => 0.01,
            (_, 3) => 0.04,
            _ => 0.32,
        };
        p.ln()
    });
    let start = places.iter().position(|&place| place == 0).unwrap_or(0);
    let wide = Question { start, end: None, width: 256, n_new: 4 };
    let got = asked(trial, &planted, wide)?;
    as_good(trial, wide, &planted, &got, &best_of_all(&table(&planted), wide))?;
    for end in [None, Some(1)] {
        let logits = random_logits(trial, 3, 0.7);
        let wide = Question { start: 0, end, width: 243, n_new: 5 };
        let got = asked(trial, &logits, wide)?;
        as_good(trial, wide, &logits, &got, &best_of_all(&table(&logits), wide))?;
    }
    Ok(())
}

fn equal_scores_follow_the_dictionary(trial: &mut Trial) -> Outcome {
    for width in [1, 3] {
        let question = Question { start: 2, end: None, width, n_new: 3 };
        let got = asked(trial, &Array::full(&[4, 4], 0.0), question)?;
        same(trial, question, &got, &(vec![0, 0, 0], 3.0 * 0.25f64.ln()))?;
    }
    Ok(())
}

fn bad_questions_are_refused(trial: &mut Trial) -> Outcome {
    let logits = Array::full(&[3, 3], 0.5);
    let good = Question { start: 0, end: None, width: 2, n_new: 2 };
    let bad = [
        ("`start` is 3 of 3 tokens", Question { start: 3, ..good }),
        ("`end` is 5 of 3 tokens", Question { end: Some(5), ..good }),
        ("`width` is 0", Question { width: 0, ..good }),
        ("`n_new` is 0", Question { n_new: 0, ..good }),
    ];
    for (case, question) in bad {
        trial.refuses(case, arguments(&logits, question))?;
    }
    let case = "`logits` has shape (3, 4)";
    trial.refuses(case, arguments(&Array::full(&[3, 4], 0.5), good)).map(drop)
}

fn arguments(logits: &Array, question: Question) -> Vec<(&'static str, Value)> {
    let Question { start, end, width, n_new } = question;
    args![logits: logits, start: start, end: end, width: width, n_new: n_new]
}

fn asked(trial: &mut Trial, logits: &Array, question: Question) -> Result<Text, Stop> {
    match trial.values(arguments(logits, question))?.as_slice() {
        [Value::Ints(tokens), Value::Float(score)] => {
            let tokens = tokens.iter().map(|&token| usize::try_from(token));
            let tokens: Result<Vec<_>, _> = tokens.collect();
            let tokens = tokens.map_err(|_| trial.wrong("A token is negative.".to_owned()))?;
            Ok((tokens, *score))
        }
        _ => Err(trial.wrong("It did not return tokens and a score.".to_owned())),
    }
}

fn same(trial: &mut Trial, question: Question, got: &Text, expected: &Text) -> Outcome {
    trial.ensure(got.0 == expected.0, || {
        format!(
            "With width {} the tokens are {:?}, score {:.4}; expected {:?}, score {:.4}.",
            question.width, got.0, got.1, expected.0, expected.1
        )
    })?;
    let scale = expected.1.abs().max(1.0);
    let [got, expected] = [got.1, expected.1].map(|score| Array::new(&[], vec![score]));
    trial.close("score", &got, &expected, TOLERANCE.at_scale(scale))
}

/// As [`same`], but with other tokens of the same score too: two texts that take the same steps in
/// another order differ by rounding alone.
fn as_good(
    trial: &mut Trial,
    question: Question,
    logits: &Array,
    got: &Text,
    expected: &Text,
) -> Outcome {
    let table = table(logits);
    let mut last = question.start;
    let mut score = 0.0;
    for &token in &got.0 {
        score += table[last].get(token).copied().unwrap_or(f64::NEG_INFINITY);
        last = token.min(table.len() - 1);
    }
    let whole = got.0.len() == question.n_new || ended(&got.0, question.end);
    let as_good = whole && (score - expected.1).abs() < 1e-9;
    let expected = if as_good { (got.0.clone(), expected.1) } else { expected.clone() };
    same(trial, question, got, &expected)
}

/// Random logits, the larger the spread the surer.
fn random_logits(trial: &mut Trial, d_vocab: usize, spread: f64) -> Array {
    trial.rng.normal_array(&[d_vocab, d_vocab]).map(|x| spread * x).to(DType::F64)
}

/// The logarithms of the rows' softmax.
fn table(logits: &Array) -> Vec<Vec<f64>> {
    let rows = logits.values().chunks(logits.dim(1));
    let normalised = |row: &[f64]| {
        let sum: f64 = row.iter().map(|logit| logit.exp()).sum();
        row.iter().map(|logit| logit - sum.ln()).collect()
    };
    rows.map(normalised).collect()
}

fn ended(tokens: &[usize], end: Option<usize>) -> bool {
    end.is_some() && tokens.last().copied() == end
}

/// Every text, each with its score; the best.
fn best_of_all(table: &[Vec<f64>], question: Question) -> Text {
    let mut texts: Vec<Text> = vec![(Vec::new(), 0.0)];
    let mut done = 0;
    while let Some((tokens, score)) = texts.get(done).cloned() {
        if tokens.len() < question.n_new && !ended(&tokens, question.end) {
            let row = &table[tokens.last().copied().unwrap_or(question.start)];
            let longer = |token: usize| [tokens.as_slice(), &[token]].concat();
            texts.extend(row.iter().enumerate().map(|(t, p)| (longer(t), score + p)));
        }
        done += 1;
    }
    let whole = |text: &&Text| text.0.len() == question.n_new || ended(&text.0, question.end);
    let best = texts.iter().filter(whole).max_by(|a, b| a.1.total_cmp(&b.1));
    best.cloned().unwrap_or_default()
}

/// The search, one step after the other.
fn search(table: &[Vec<f64>], question: Question) -> Text {
    let mut beam: Vec<Text> = vec![(Vec::new(), 0.0)];
    for _ in 0..question.n_new {
        let mut next: Vec<Text> = Vec::new();
        for text in beam {
            if ended(&text.0, question.end) {
                next.push(text);
                continue;
            }
            let row = &table[text.0.last().copied().unwrap_or(question.start)];
            for (token, p) in row.iter().enumerate() {
                next.push(([text.0.as_slice(), &[token]].concat(), text.1 + p));
            }
        }
        // In the order of the dictionary first, which the sort by score then keeps.
        next.sort_by(|a, b| a.0.cmp(&b.0));
        next.sort_by(|a, b| b.1.total_cmp(&a.1));
        next.truncate(question.width);
        beam = next;
    }
    beam.into_iter().next().unwrap_or_default()
}

/// What can go wrong in the search.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slip {
    None,
    Greedy,
    AddsProbabilities,
    DividedByLength,
    RawLogits,
    EndIgnored,
    EndedDropped,
    FirstEnded,
    EndFree,
    FromStart,
    KeptForEach,
    Narrow,
    LastOfEquals,
    Unchecked,
}

/// Searches with a slip.
fn answered(logits: &Tensor, question: Question, slip: Slip) -> anyhow::Result<(Vec<usize>, f64)> {
    let (n_rows, d_vocab) = logits.dims2()?;
    let mut question = question;
    if slip == Slip::Unchecked {
        question.start = question.start.min(n_rows - 1);
    } else {
        let known = question.start < d_vocab && question.end.is_none_or(|end| end < d_vocab);
        let some = question.width > 0 && question.n_new > 0;
        anyhow::ensure!(n_rows == d_vocab && known && some, "{question:?} of {d_vocab}");
    }
    let logits = logits.to_dtype(CandleDType::F64)?;
    let table = match slip {
        Slip::RawLogits => logits,
        Slip::AddsProbabilities => candle_nn::ops::softmax(&logits, 1)?,
        _ => candle_nn::ops::log_softmax(&logits, 1)?,
    };
    Ok(slipped(&table.to_vec2()?, question, slip))
}

fn slipped(table: &[Vec<f64>], question: Question, slip: Slip) -> Text {
    let Question { start, end, width, n_new } = question;
    let width = match slip {
        Slip::Greedy => 1,
        Slip::Narrow => width.min(table.len()),
        _ => width,
    };
    let over = |tokens: &[usize]| slip != Slip::EndIgnored && ended(tokens, end);
    // Scores and tokens, kept in two lists side by side.
    let mut beam: Vec<(f64, Vec<usize>)> = vec![(0.0, Vec::new())];
    for _ in 0..n_new {
        let mut next = Vec::new();
        for (score, tokens) in beam {
            if over(&tokens) {
                if slip != Slip::EndedDropped {
                    next.push((score, tokens));
                }
                continue;
            }
            let last = tokens.last().copied().filter(|_| slip != Slip::FromStart);
            let row = &table[last.unwrap_or(start).min(table.len() - 1)];
            let mut longer: Vec<_> = row
                .iter()
                .enumerate()
                .map(|(token, p)| {
                    let free = slip == Slip::EndFree && Some(token) == end;
                    let mut tokens = tokens.clone();
                    tokens.push(token);
                    (score + if free { 0.0 } else { *p }, tokens)
                })
                .collect();
            if slip == Slip::KeptForEach {
                longer.sort_by(|a, b| b.0.total_cmp(&a.0));
                longer.truncate(width);
            }
            next.extend(longer);
        }
        next.sort_by(|a, b| {
            let dictionary = a.1.cmp(&b.1);
            let ties = if slip == Slip::LastOfEquals { dictionary.reverse() } else { dictionary };
            b.0.total_cmp(&a.0).then(ties)
        });
        if slip != Slip::KeptForEach {
            next.truncate(width);
        }
        if slip == Slip::FirstEnded
            && let Some(first) = next.iter().find(|c| over(&c.1))
        {
            return (first.1.clone(), first.0);
        }
        beam = next;
    }
    let (score, tokens) = beam.into_iter().next().unwrap_or_default();
    let length = if slip == Slip::DividedByLength { tokens.len() as f64 } else { 1.0 };
    (tokens, score / length)
}
