//! `othello_intervene`: a disc flipped in the board that a model has in mind.

use answer::{Weights, answer};
use anyhow::{Result, ensure};
use candle_core::{DType as CandleDType, Tensor};
use datasets::othello;
use models::{
    Gpt,
    hook::{Hook, Place},
};
use protocol::DType;

use super::{
    border::{array, tensor},
    siblings::{repeated_tokens, siblings},
    strip_othello::{LEGAL, SQUARES, Strip, StripModel, legal, strip_model, tokens},
    trained_othello::{Games, LAYER, class_means, trained_othello},
};
use crate::{
    Alternative, Array, Check, Generator, Impostor, Kind, Named, Outcome, Part, Tolerance, Trial,
    args, data, named,
};

/// Makes an answer that has one slip.
macro_rules! slip {
    ($($field:ident: $value:expr),*) => {
        answer!(|model: &Gpt, tokens: &Tensor, layers: &[usize], probe: &Weights, square: usize,
                 scale: f64| {
            let weight = array(probe.get("weight")?)?;
            let (tokens, layers) = (array(tokens)?, layers.to_vec());
            let asked = Asked { tokens, layers, weight, square, scale };
            tensor(&Slips { $($field: $value,)* ..RIGHT }.intervene(model, &asked)?)
        })
    };
}

pub(super) const OTHELLO_INTERVENE: Part = Part {
    name: "othello_intervene",
    rule: None,
    checks: &[
        Check {
            name: "moves_follow_edited_board",
            promise: "On games held out, the model plays the legal moves of the board with the \
                      disc flipped.",
            kind: Kind::Property,
            run: moves_follow_edited_board,
        },
        Check {
            name: "mirror_twice_is_nothing",
            promise: "With a scale of −1, or without layers, the model says what it says by \
                      itself, and another length of the probe changes nothing.",
            kind: Kind::Property,
            run: mirror_twice_is_nothing,
        },
        Check {
            name: "trained_model_changes_its_mind",
            promise: "In a model that we trained on moves alone, moves that the flip makes legal \
                      gain on those that it takes away, as much as by the contract.",
            kind: Kind::Property,
            run: trained_model_changes_its_mind,
        },
        Check {
            name: "matches_definition",
            promise: "The logits are those of the contract, for any scale and any layers.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "bad_requests_are_refused",
            promise: "A layer or a square that is not there, or a probe that does not tell mine \
                      from theirs, gives an error.",
            kind: Kind::Errors,
            run: bad_requests_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "nothing_changed",
            diagnosis: "the stream behind the block is not changed at the last position (but not \
                        at all, before the block, or elsewhere), so the model plays on the board \
                        that there was",
            caught_by: "moves_follow_edited_board",
            answer: slip!(changes: false),
        },
        Impostor {
            name: "wrong_square",
            diagnosis: "the squares are counted from 1",
            caught_by: "moves_follow_edited_board",
            answer: slip!(shift: 1),
        },
        Impostor {
            name: "empty_for_theirs",
            diagnosis: "the direction goes from empty to mine; a flip goes from theirs to mine",
            caught_by: "moves_follow_edited_board",
            answer: slip!(from: 0),
        },
        Impostor {
            name: "direction_not_unit",
            diagnosis: "the direction is not of length 1, so the mirror overshoots by its squared \
                        length",
            caught_by: "moves_follow_edited_board",
            answer: slip!(is_unit: false),
        },
        Impostor {
            name: "scale_for_one_plus_scale",
            diagnosis: "`scale` times what lies along the direction is taken away; that of 1 only \
                        removes it, so take away 1 + scale times as much",
            caught_by: "moves_follow_edited_board",
            answer: slip!(removes: 0.0),
        },
        Impostor {
            name: "scale_is_one",
            diagnosis: "`scale` is not used",
            caught_by: "mirror_twice_is_nothing",
            answer: slip!(fixed_scale: true),
        },
        Impostor {
            name: "every_position",
            diagnosis: "every position is changed, not only the last",
            caught_by: "trained_model_changes_its_mind",
            answer: slip!(positions: Positions::All),
        },
        Impostor {
            name: "first_layer_alone",
            diagnosis: "only the first of `layers` is changed; later blocks write the old board \
                        again",
            caught_by: "matches_definition",
            answer: slip!(first_layer: true),
        },
        Impostor {
            name: "requests_believed",
            diagnosis: "what comes is not looked at: a layer that is not there changes nothing, \
                        and a probe with one row for mine and theirs gives NaN",
            caught_by: "bad_requests_are_refused",
            answer: slip!(checks: false),
        },
    ],
    alternatives: &[Alternative {
        name: "by_householder",
        answer: answer!(|model: &Gpt,
                         tokens: &Tensor,
                         layers: &[usize],
                         probe: &Weights,
                         square: usize,
                         scale: f64| {
            by_householder(model, tokens, layers, probe, square, scale)
        }),
    }],
};

/// A few small blocks, in which a rounding before the edit is carried along.
const TOLERANCE: Tolerance = Tolerance::roundings(4096.0).in_double(1e-8);

/// What is asked of a model.
#[derive(Clone)]
struct Asked {
    tokens: Array,
    layers: Vec<usize>,
    weight: Array,
    square: usize,
    scale: f64,
}

impl Asked {
    fn args(&self, model: &Gpt) -> Vec<(&'static str, protocol::Value)> {
        let probe = Named::from([("weight".to_owned(), self.weight.clone())]);
        args![model: model, tokens: &self.tokens, layers: self.layers.as_slice(),
              probe: named::to_value(&probe), square: self.square, scale: self.scale]
    }
}

fn moves_follow_edited_board(trial: &mut Trial) -> Outcome {
    let StripModel { gpt, probe } = strip_model(&mut trial.rng);
    for _ in 0..6 {
        let (board, square) = telling_board(&mut trial.rng);
        let order = trial.rng.permutation(SQUARES);
        let tokens = Array::new(&[1, SQUARES], tokens(board, &order)).to(DType::U32);
        let asked = Asked { tokens, layers: vec![0], weight: probe.clone(), square, scale: 1.0 };
        let logits = trial.array(asked.args(&gpt))?;
        trial.has_shape("logits", &logits, &[1, SQUARES])?;
        let mut edited = board;
        edited[square] = 3 - board[square];
        let played: Vec<usize> =
            (0..SQUARES).filter(|&at| logits.at(&[0, at]) > 0.5 * LEGAL).collect();
        let (before, after) = (legal(board), legal(edited));
        let exact = RIGHT.intervene(&gpt, &asked).expect("invariant: drawn requests are good");
        let clean = logits.zip_map(&exact, |a, b| a - b).max_abs() < 0.05;
        trial.ensure(played == after && clean, || {
            format!(
                "The model plays Othello on a strip, and has {} in mind. With square {square} \
                 flipped the board is {}, where {after:?} may be played; before it was {before:?}. \
                 After your change the model plays {played:?}, with logits {}.",
                drawn(board),
                drawn(edited),
                logits.values().iter().map(|z| format!("{z:.1}")).collect::<Vec<_>>().join(", ")
            )
        })?;
    }
    Ok(())
}

/// A board in signs: mine, theirs, empty.
fn drawn(board: Strip) -> String {
    board.iter().map(|&disc| ['·', 'm', 't'][usize::from(disc)]).collect()
}

/// A board, and a square on it whose flip changes what may be played.
fn telling_board(rng: &mut Generator) -> (Strip, usize) {
    loop {
        let board: Strip = [(); SQUARES].map(|()| rng.below(3) as u8);
        let square = rng.below(SQUARES - 1);
        let mut edited = board;
        if board[square] == 0 {
            continue;
        }
        edited[square] = 3 - board[square];
        if legal(board) != legal(edited) && !legal(edited).is_empty() {
            return (board, square);
        }
    }
}

fn mirror_twice_is_nothing(trial: &mut Trial) -> Outcome {
    let (model, asked) = draw(trial, DType::F64);
    let plain = trial.array(Asked { layers: Vec::new(), ..asked.clone() }.args(&model))?;
    let idle = trial.array(Asked { scale: -1.0, ..asked.clone() }.args(&model))?;
    trial.close("logits with a scale of −1", &idle, &plain, TOLERANCE)?;
    let mirrored = trial.array(asked.args(&model))?;
    let longer = Asked { weight: asked.weight.map(|w| 5.0 * w), ..asked };
    let again = trial.array(longer.args(&model))?;
    trial.close("logits with a probe five times as long", &again, &mirrored, TOLERANCE)
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (dtype, scale) in [(DType::F64, 1.0), (DType::F32, 2.5)] {
        let (model, asked) = draw(trial, dtype);
        for layers in [vec![0], vec![0, 1]] {
            let asked = Asked { layers, scale, ..asked.clone() };
            let logits = trial.array(asked.args(&model))?;
            let exact =
                RIGHT.intervene(&model, &asked).expect("invariant: drawn requests are good");
            trial.close("logits", &logits, &exact, TOLERANCE)?;
        }
    }
    Ok(())
}

fn trained_model_changes_its_mind(trial: &mut Trial) -> Outcome {
    let model = trained_othello(&mut trial.rng)?;
    let seen = Games::draw(&mut trial.rng, 40);
    let stream = seen.activations(&model).map_err(|error| data::not_judged(&error))?;
    let means = class_means(&stream, &seen.boards());
    let by_lot = trial.rng.normal_array(means.shape()).to(DType::F32);
    let held_out = Games::draw(&mut trial.rng, 100);
    let squares = trial.rng.permutation(othello::SQUARES).into_iter();
    let telling = squares.map(|square| (square, held_out.telling(square)));
    let telling = telling.filter(|(_, (games, _))| games.len() >= 6).take(3);
    let (mut leads, mut n) = ([0.0; 4], 0);
    for (square, (games, flips)) in telling {
        let (tokens, weight) = (games.tokens(), means.clone());
        let asked = Asked { tokens, layers: vec![LAYER], weight, square, scale: 2.0 };
        let logits = trial.array(asked.args(&model))?;
        trial.has_shape("logits", &logits, &[games.len(), model.d_vocab()])?;
        let unchanged = Asked { layers: Vec::new(), ..asked.clone() };
        let control = Asked { weight: by_lot.clone(), ..asked.clone() };
        let right = |asked| {
            RIGHT.intervene(&model, asked).expect("invariant: requests to our models are good")
        };
        let told = [right(&unchanged), right(&control), right(&asked), logits];
        for (lead, logits) in leads.iter_mut().zip(&told) {
            *lead += flips.iter().enumerate().map(|(n, flip)| flip.lead(logits, n)).sum::<f64>();
        }
        n += flips.len();
    }
    let [before, by_lot, exact, after] = leads.map(|lead| lead / n as f64);
    let told = format!(
        "how far moves that the flip makes legal lie above those that it takes away, {n} boards\n\
         as the model plays       {before:>6.2} nats\n\
         a direction by lot       {by_lot:>6.2} nats\n\
         mine and theirs flipped  {after:>6.2} nats\n"
    );
    trial.show_text("a board edited in a model that saw only moves", told.clone());
    // A right edit counts for 2 nats on average, but on few boards now and then for nothing; so it
    // is held to the contract's.
    trial.ensure((after - exact).abs() < 0.01, || {
        format!(
            "On the trained Othello model, the contract's edit of a disc comes to {exact:.2} \
             nats. Yours:\n{told}"
        )
    })
}

fn bad_requests_are_refused(trial: &mut Trial) -> Outcome {
    let (model, asked) = draw(trial, DType::F64);
    let n_layers = model.n_layers();
    let flat = asked.weight.map(|_| 0.5);
    let cases = [
        ("there is no such layer", Asked { layers: vec![n_layers], ..asked.clone() }),
        ("there is no such square", Asked { square: 3, ..asked.clone() }),
        ("mine and theirs have the same row", Asked { weight: flat, ..asked }),
    ];
    for (case, asked) in cases {
        trial.refuses(case, asked.args(&model))?;
    }
    Ok(())
}

/// A model whose later positions read earlier ones, and a probe by lot.
fn draw(trial: &mut Trial, dtype: DType) -> (Gpt, Asked) {
    let [model, _] = siblings(&mut trial.rng);
    let rng = &mut trial.rng;
    let weight = rng.normal_array(&[3, 3, model.gpt.d_model()]);
    let tokens = repeated_tokens(rng, 2, model.d_vocab);
    let asked =
        Asked { tokens, layers: vec![0, 1], weight: weight.to(dtype), square: 1, scale: 1.0 };
    (model.to(dtype).gpt, asked)
}

/// Which positions are changed.
#[derive(Clone, Copy, PartialEq)]
enum Positions {
    Last,
    All,
}

/// What may go wrong; [`RIGHT`] is how it should be.
#[expect(clippy::struct_excessive_bools, reason = "each is one step that may be spoiled")]
struct Slips {
    changes: bool,
    /// How much is taken away beside the scale.
    removes: f64,
    shift: usize,
    /// The class where the direction begins.
    from: usize,
    positions: Positions,
    is_unit: bool,
    fixed_scale: bool,
    first_layer: bool,
    checks: bool,
}

const RIGHT: Slips = Slips {
    changes: true,
    removes: 1.0,
    shift: 0,
    from: 2,
    positions: Positions::Last,
    is_unit: true,
    fixed_scale: false,
    first_layer: false,
    checks: true,
};

impl Slips {
    fn intervene(&self, model: &Gpt, asked: &Asked) -> Result<Array> {
        let n_squares = asked.weight.dim(0);
        let known = asked.layers.iter().all(|&layer| layer < model.n_layers());
        ensure!(!self.checks || known && asked.square < n_squares, "there is no such thing");
        let square = (asked.square + self.shift).min(n_squares - 1);
        let row = |class: usize, k: usize| asked.weight.at(&[square, class, k]);
        let d_model = asked.weight.dim(2);
        let apart: Vec<f64> = (0..d_model).map(|k| row(1, k) - row(self.from, k)).collect();
        let length = apart.iter().map(|x| x * x).sum::<f64>().sqrt();
        ensure!(!self.checks || length > 0.0, "mine is theirs");
        let length = if self.is_unit { length } else { 1.0 };
        let unit: Vec<f64> = apart.iter().map(|x| x / length).collect();
        let scale = if self.fixed_scale { 1.0 } else { asked.scale };
        let layers = if self.first_layer {
            &asked.layers[..asked.layers.len().min(1)]
        } else {
            &asked.layers
        };
        let mut mirror = |hook: Hook, resid: Tensor| {
            let layer = hook.layer.unwrap_or(usize::MAX);
            if hook.place != Place::ResidPost || !layers.contains(&layer) || !self.changes {
                return Ok(resid);
            }
            let mut values = read(&resid)?;
            let last = values.dim(1) - 1;
            let positions = match self.positions {
                Positions::Last => last..last + 1,
                Positions::All => 0..last + 1,
            };
            for batch in 0..values.dim(0) {
                for at in positions.clone() {
                    let along: f64 =
                        (0..d_model).map(|k| values.at(&[batch, at, k]) * unit[k]).sum();
                    for (k, direction) in unit.iter().enumerate() {
                        let place = [batch, at, k];
                        let change = (self.removes + scale) * along * direction;
                        values.set(&place, values.at(&place) - change);
                    }
                }
            }
            write(&values.to(values.dtype()))
        };
        let logits = array(&model.forward(&tensor(&asked.tokens)?, &mut mirror)?)?;
        let (batch, last, d_vocab) = (logits.dim(0), logits.dim(1) - 1, logits.dim(2));
        Ok(logits.narrow(1, last, 1).reshape(&[batch, d_vocab]))
    }
}

fn read(value: &Tensor) -> candle_core::Result<Array> {
    array(value).map_err(|error| candle_core::Error::Msg(error.to_string()))
}

fn write(values: &Array) -> candle_core::Result<Tensor> {
    tensor(values).map_err(|error| candle_core::Error::Msg(error.to_string()))
}

/// A right answer that multiplies with a mirror matrix.
fn by_householder(
    model: &Gpt,
    tokens: &Tensor,
    layers: &[usize],
    probe: &Weights,
    square: usize,
    scale: f64,
) -> Result<Tensor> {
    let weight = probe.get("weight")?;
    let known = layers.iter().all(|&layer| layer < model.n_layers());
    ensure!(known && square < weight.dim(0)?, "there is no such thing");
    let apart = (weight.get(square)?.get(1)? - weight.get(square)?.get(2)?)?.unsqueeze(1)?;
    let squares = apart.sqr()?.sum_all()?;
    ensure!(squares.to_dtype(CandleDType::F64)?.to_scalar::<f64>()? > 0.0, "mine is theirs");
    let onto = apart.matmul(&apart.t()?)?.broadcast_div(&squares)?; // (d_model, d_model)
    let identity = Tensor::eye(onto.dim(0)?, onto.dtype(), onto.device())?;
    let mirror = (identity - (onto * (1.0 + scale))?)?;
    let last = tokens.dim(1)? - 1;
    let mut hooks = |hook: Hook, resid: Tensor| {
        let is_asked = layers.iter().any(|&n| hook == Hook::in_block(Place::ResidPost, n));
        if !is_asked {
            return Ok(resid);
        }
        let turned = resid.narrow(1, last, 1)?.squeeze(1)?.contiguous()?.matmul(&mirror)?;
        resid.slice_assign(
            &[0..resid.dim(0)?, last..last + 1, 0..resid.dim(2)?],
            &turned.unsqueeze(1)?,
        )
    };
    let logits = model.forward(tokens, &mut hooks)?;
    Ok(logits.narrow(1, last, 1)?.squeeze(1)?)
}
