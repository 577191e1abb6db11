//! Training as its definition says: a tiny GPT on a tape, and `AdamW` by loops in `f64`.

use std::collections::BTreeMap;

use protocol::{DType, Value};

use super::{
    drawing::{self, Sizes, Widths},
    tape::{Num, Tape},
};
use crate::{Array, Trial, named::Named};

pub(super) mod answers;

/// How to train.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) n_heads: usize,
    pub(super) steps: usize,
    pub(super) accumulation: usize,
    pub(super) batch: usize,
    pub(super) seq: usize,
    pub(super) warmup: usize,
    pub(super) peak: f64,
    pub(super) floor: f64,
    pub(super) weight_decay: f64,
    pub(super) max_norm: f64,
}

impl From<Settings> for Value {
    fn from(settings: Settings) -> Self {
        let numbers = [
            ("n_heads", settings.n_heads as f64),
            ("steps", settings.steps as f64),
            ("accumulation", settings.accumulation as f64),
            ("batch", settings.batch as f64),
            ("seq", settings.seq as f64),
            ("warmup", settings.warmup as f64),
            ("peak", settings.peak),
            ("floor", settings.floor),
            ("weight_decay", settings.weight_decay),
            ("max_norm", settings.max_norm),
        ];
        Self::Numbers(numbers.map(|(name, number)| (name.to_owned(), number)).into())
    }
}

/// A model so small that training it takes no time.
pub(super) const SIZES: Sizes =
    Sizes { d_vocab: 5, n_ctx: 3, n_layers: 1, widths: Widths { d_model: 4, d_mlp: 3 } };

/// A few steps, of two batches of two windows each.
pub(super) const SETTINGS: Settings = Settings {
    n_heads: 2,
    steps: 5,
    accumulation: 2,
    batch: 2,
    seq: 3,
    warmup: 2,
    peak: 0.05,
    floor: 0.01,
    weight_decay: 0.5,
    max_norm: 1e9,
};

/// Everything that training is given.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) tokens: Array,
    pub(super) weights: Named,
    pub(super) noise: Array,
    pub(super) settings: Settings,
}

impl Task {
    /// Random weights, and a random text of some twenty tokens.
    pub(super) fn random(trial: &mut Trial, settings: Settings) -> Self {
        let weights = drawing::gpt(trial, SIZES);
        let weights = weights.into_iter().map(|(name, weight)| (name, weight.to(DType::F64)));
        let weights = weights.collect();
        let tokens = drawing::tokens(trial, [1, 23], SIZES.d_vocab).reshape(&[23]);
        let shape = [settings.steps, settings.accumulation, settings.batch];
        let noise = trial.rng.uniform_array(&shape, 0.0, 1.0).to(DType::F64);
        Self { tokens, weights, noise, settings }
    }

    /// The example of the documentation: no blocks, two tokens, one step.
    pub(super) fn documented() -> Self {
        let settings = Settings {
            n_heads: 1,
            steps: 1,
            accumulation: 1,
            batch: 1,
            seq: 1,
            warmup: 0,
            peak: 0.1,
            floor: 0.0,
            weight_decay: 0.0,
            max_norm: 1.0,
        };
        let weights = [
            ("wte.weight", Array::matrix(&[[0., 0.], [0., 0.]])),
            ("wpe.weight", Array::matrix(&[[0., 0.]])),
            ("ln_f.weight", Array::vector(&[1., 1.])),
            ("ln_f.bias", Array::vector(&[1., 0.])),
        ];
        let single = |(name, array): (&str, Array)| (name.to_owned(), array.to(DType::F32));
        Self {
            tokens: Array::vector(&[1., 1., 1.]).to(DType::U32),
            weights: weights.map(single).into(),
            noise: Array::new(&[1, 1, 1], vec![0.25]),
            settings,
        }
    }

    /// What the example says that comes of it.
    pub(super) fn documented_weights(&self) -> Named {
        let mut weights = self.weights.clone();
        let wte = Array::matrix(&[[-0.1, 0.], [0.1, 0.]]).to(DType::F32);
        weights.insert("wte.weight".to_owned(), wte);
        weights
    }

    /// The same with weights in another dtype.
    pub(super) fn to(&self, dtype: DType) -> Self {
        let weights = self.weights.iter().map(|(name, weight)| (name.clone(), weight.to(dtype)));
        Self { weights: weights.collect(), ..self.clone() }
    }

    /// The question's arguments.
    pub(super) fn args(&self) -> Vec<(&'static str, Value)> {
        crate::args![
            tokens: &self.tokens,
            weights: crate::named::to_value(&self.weights),
            noise: &self.noise,
            config: self.settings,
        ]
    }

    /// How long all gradients together are in the first step.
    pub(super) fn first_norm(&self) -> f64 {
        let (_, slopes) = self.slopes(&self.weights, 0);
        slopes.values().flat_map(Array::values).map(|g| g * g).sum::<f64>().sqrt()
    }

    /// The weights after so many steps, and the loss before each.
    pub(super) fn solve(&self, n_steps: usize) -> (Named, Vec<f64>) {
        let mut weights = self.weights.clone();
        let (mut mean, mut square) = (BTreeMap::new(), BTreeMap::new());
        let mut losses = Vec::new();
        for step in 0..n_steps {
            let (loss, slopes) = self.slopes(&weights, step);
            losses.push(loss);
            let all = slopes.values().flat_map(Array::values);
            let norm = all.map(|g| g * g).sum::<f64>().sqrt();
            let clip = (self.settings.max_norm / norm).min(1.0);
            let rate = self.rate(step);
            for (name, weight) in &mut weights {
                let decay = if weight.rank() == 2 { rate * self.settings.weight_decay } else { 0. };
                let n = weight.values().len();
                let mean = mean.entry(name.clone()).or_insert_with(|| vec![0.0; n]);
                let square = square.entry(name.clone()).or_insert_with(|| vec![0.0; n]);
                let mut next = weight.values().to_vec();
                for (i, slope) in slopes[name].values().iter().enumerate() {
                    let slope = slope * clip;
                    mean[i] = 0.9 * mean[i] + 0.1 * slope;
                    square[i] = 0.95 * square[i] + 0.05 * slope * slope;
                    let m: f64 = mean[i] / (1.0 - 0.9f64.powi(step as i32 + 1));
                    let v: f64 = square[i] / (1.0 - 0.95f64.powi(step as i32 + 1));
                    next[i] = next[i] * (1.0 - decay) - rate * m / (v.sqrt() + 1e-8);
                }
                *weight = Array::new(weight.shape(), next).to(DType::F64);
            }
        }
        (weights, losses)
    }

    /// The learning rate of a step.
    pub(super) fn rate(&self, step: usize) -> f64 {
        let Settings { steps, warmup, peak, floor, .. } = self.settings;
        if step < warmup {
            return peak * (step + 1) as f64 / (warmup + 1) as f64;
        }
        let progress = (step - warmup) as f64 / (steps - warmup) as f64;
        floor + (peak - floor) * (1.0 + (std::f64::consts::PI * progress).cos()) / 2.0
    }

    /// The loss of a step, and its slopes, weight by weight.
    fn slopes(&self, weights: &Named, step: usize) -> (f64, Named) {
        let Settings { accumulation, batch, seq, n_heads, .. } = self.settings;
        let n_starts = self.tokens.values().len() - seq;
        let mut sums: Named = weights
            .iter()
            .map(|(name, weight)| (name.clone(), Array::full(weight.shape(), 0.0)))
            .collect();
        let mut loss = 0.0;
        let share = 1.0 / (accumulation * batch) as f64;
        for (a, b) in (0..accumulation).flat_map(|a| (0..batch).map(move |b| (a, b))) {
            let start = (self.noise.at(&[step, a, b]) * n_starts as f64) as usize;
            let window = &self.tokens.values()[start..=start + seq];
            let window: Vec<usize> = window.iter().map(|token| *token as usize).collect();
            let (surprise, slopes) = Taped::new(weights, n_heads).surprise(&window);
            loss += share * surprise;
            for (name, sum) in &mut sums {
                *sum = sum.zip_map(&slopes[name], |sum, slope| sum + share * slope);
            }
        }
        (loss, sums)
    }
}

/// What is expected, but for the part of each attention's bias that moves the keys, which is taken
/// from what came.
///
/// Moving all keys together changes no pattern, so the true gradient there is 0. What stands there
/// in an honest answer is rounding, which Adam divides by little more than its `eps`.
pub(super) fn but_for_key_biases(got: &Named, expected: &Named) -> Named {
    let mended = |(name, expected): (&String, &Array)| {
        let mut expected = expected.clone();
        let came = got.get(name).filter(|came| came.shape() == expected.shape());
        if let Some(came) = came.filter(|_| name.ends_with("attn.c_attn.bias")) {
            let d_model = expected.dim(0) / 3;
            for i in d_model..2 * d_model {
                expected.set(&[i], came.at(&[i]));
            }
        }
        (name.clone(), expected)
    };
    expected.iter().map(mended).collect()
}

/// A GPT whose weights stand on a tape.
struct Taped<'a> {
    tape: Tape,
    weights: &'a Named,
    places: BTreeMap<&'a str, Vec<Num>>,
    d_model: usize,
    n_heads: usize,
}

impl<'a> Taped<'a> {
    fn new(weights: &'a Named, n_heads: usize) -> Self {
        let mut tape = Tape::default();
        let places = weights.iter().map(|(name, w)| (name.as_str(), tape.leaves(w.values())));
        let places = places.collect();
        Self { tape, weights, places, d_model: weights["wte.weight"].dim(1), n_heads }
    }

    /// The mean surprise in a window at each next token, and its slopes.
    fn surprise(mut self, window: &[usize]) -> (f64, Named) {
        let d = self.d_model;
        let mut resid = Vec::new();
        for (t, token) in window[..window.len() - 1].iter().enumerate() {
            let (wte, wpe) = (self.row("wte.weight", *token), self.row("wpe.weight", t));
            resid.push((0..d).map(|i| self.tape.add(wte[i], wpe[i])).collect::<Vec<_>>());
        }
        let n_layers = self.weights.keys().filter(|name| name.ends_with(".ln_1.bias")).count();
        for layer in 0..n_layers {
            self.block(&format!("h.{layer}."), &mut resid);
        }
        let mut surprises = Vec::new();
        for (stream, target) in resid.iter().zip(&window[1..]) {
            let normed = self.norm("ln_f", stream);
            let d_vocab = self.weights["wte.weight"].dim(0);
            let logits: Vec<Num> = (0..d_vocab)
                .map(|token| {
                    let row = self.row("wte.weight", token);
                    self.tape.dot(row.into_iter().zip(normed.iter().copied()))
                })
                .collect();
            surprises.push(self.tape.surprise(&logits, *target));
        }
        let loss = self.tape.mean(&surprises);
        let gradient = self.tape.gradient(loss);
        let slopes = self.weights.iter().map(|(name, weight)| {
            // Weights are the first numbers on the tape, in the order of their names.
            let start = self.places[name.as_str()][0].place();
            let values = gradient[start..start + weight.values().len()].to_vec();
            (name.clone(), Array::new(weight.shape(), values))
        });
        (self.tape.value(loss), slopes.collect())
    }

    fn row(&self, name: &str, row: usize) -> Vec<Num> {
        let width = self.weights[name].dim(1);
        self.places[name][row * width..][..width].to_vec()
    }

    fn block(&mut self, prefix: &str, resid: &mut [Vec<Num>]) {
        let name = |rest: &str| format!("{prefix}{rest}");
        let d_head = self.d_model / self.n_heads;
        let mut qkv = Vec::new();
        for stream in resid.iter() {
            let normed = self.norm(&name("ln_1"), stream);
            qkv.push(self.project(&name("attn.c_attn"), &normed));
        }
        for t in 0..resid.len() {
            let mut z = Vec::new();
            for head in 0..self.n_heads {
                let part = |row: &[Num], part: usize| {
                    row[part * self.d_model + head * d_head..][..d_head].to_vec()
                };
                let q = part(&qkv[t], 0);
                let keys: Vec<_> = qkv[..=t].iter().map(|row| part(row, 1)).collect();
                let values: Vec<_> = qkv[..=t].iter().map(|row| part(row, 2)).collect();
                let root = (d_head as f64).sqrt();
                let mut scores = Vec::new();
                for k in keys {
                    let product = self.tape.dot(q.iter().copied().zip(k));
                    scores.push(self.tape.apply(product, |x| (x / root, 1.0 / root)));
                }
                let pattern = self.tape.softmax(&scores);
                for e in 0..d_head {
                    let column = values.iter().map(|row| row[e]);
                    z.push(self.tape.dot(pattern.iter().copied().zip(column)));
                }
            }
            let attn_out = self.project(&name("attn.c_proj"), &z);
            self.add_to(&mut resid[t], &attn_out);
            let normed = self.norm(&name("ln_2"), &resid[t]);
            let inside = self.project(&name("mlp.c_fc"), &normed);
            let bent: Vec<Num> = inside.iter().map(|x| self.tape.apply(*x, gelu)).collect();
            let mlp_out = self.project(&name("mlp.c_proj"), &bent);
            self.add_to(&mut resid[t], &mlp_out);
        }
    }

    fn add_to(&mut self, stream: &mut [Num], more: &[Num]) {
        for (x, more) in stream.iter_mut().zip(more) {
            *x = self.tape.add(*x, *more);
        }
    }

    fn project(&mut self, name: &str, x: &[Num]) -> Vec<Num> {
        let weight = self.places[format!("{name}.weight").as_str()].clone();
        let bias = self.places[format!("{name}.bias").as_str()].clone();
        let d_out = bias.len();
        let column = |j: usize| weight.iter().skip(j).step_by(d_out).copied();
        (0..d_out)
            .map(|j| {
                let product = self.tape.dot(x.iter().copied().zip(column(j)));
                self.tape.add(product, bias[j])
            })
            .collect()
    }

    fn norm(&mut self, name: &str, x: &[Num]) -> Vec<Num> {
        let mean = self.tape.mean(x);
        let centred: Vec<Num> = x.iter().map(|x| self.tape.subtract(*x, mean)).collect();
        let squares = self.tape.dot(centred.iter().map(|c| (*c, *c)));
        let n = x.len() as f64;
        let shrink = self.tape.apply(squares, |s| {
            let variance = s / n + 1e-5;
            (variance.powf(-0.5), -0.5 * variance.powf(-1.5) / n)
        });
        let weight = self.places[format!("{name}.weight").as_str()].clone();
        let bias = self.places[format!("{name}.bias").as_str()].clone();
        let scaled = centred.iter().zip(weight.iter().zip(&bias)).map(|(c, (w, b))| {
            let normed = self.tape.multiply(*c, shrink);
            let scaled = self.tape.multiply(normed, *w);
            self.tape.add(scaled, *b)
        });
        scaled.collect()
    }
}

/// The GELU by tanh, and its slope.
fn gelu(x: f64) -> (f64, f64) {
    let root = (2.0 / std::f64::consts::PI).sqrt();
    let bend = (root * (x + 0.044_715 * x.powi(3))).tanh();
    let inner = root * (1.0 + 3.0 * 0.044_715 * x * x);
    (0.5 * x * (1.0 + bend), 0.5 * (1.0 + bend) + 0.5 * x * (1.0 - bend * bend) * inner)
}
