//! Networks with a known fault, and the exact measurements that prove it, by index in `f64`.
//!
//! **Invariant:** every network is far from every limit of the list that decides: gradients and
//! losses by a factor of 5 or more, the share of silent units by 0.4.

use protocol::{DType, Value};

use crate::{Array, Generator, Named, named};

/// What a network is said to have: a word of the list, and where.
pub(super) type Verdict = (&'static str, Option<usize>);

/// A network, and the batch that it is examined on.
#[derive(Clone, Debug)]
pub(super) struct Patient {
    pub(super) weights: Named,
    pub(super) x: Array,
    pub(super) targets: Array,
    pub(super) lr: f64,
    pub(super) steps: usize,
}

/// What was found, and the number that tells.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    pub(super) why: String,
}

/// Lengths of the axes.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) d_in: usize,
    /// Units of each hidden layer.
    pub(super) hidden: Vec<usize>,
    pub(super) n_classes: usize,
}

/// A rate at which a healthy network of [`Sizes::usual`] learns its batch by heart.
pub(super) const LR: f64 = 0.5;

impl Sizes {
    /// Four layers, wide enough that one silent unit is a small share.
    pub(super) fn usual() -> Self {
        Self { batch: 24, d_in: 6, hidden: vec![20, 21, 22], n_classes: 4 }
    }
}

impl Patient {
    /// A network as He et al. scale it, with a small last layer, small biases and random classes.
    pub(super) fn healthy(rng: &mut Generator, sizes: &Sizes) -> Self {
        let mut widths = vec![sizes.d_in];
        widths.extend(&sizes.hidden);
        widths.push(sizes.n_classes);
        let mut weights = Named::new();
        for (layer, width) in widths.windows(2).enumerate() {
            let gain = if layer == sizes.hidden.len() { 0.3 } else { 2f64.sqrt() };
            let spread = gain / (width[0] as f64).sqrt();
            let mut draw = |shape: &[usize], spread: f64| {
                rng.normal_array(shape).to(DType::F64).map(|x| x * spread)
            };
            weights.insert(weight(layer), draw(&[width[1], width[0]], spread));
            weights.insert(bias(layer), draw(&[width[1]], 0.02));
        }
        let classes = rng.permutation(sizes.batch);
        let targets =
            Array::from_fn(&[sizes.batch], |at| (classes[at[0]] % sizes.n_classes) as f64);
        let x = rng.normal_array(&[sizes.batch, sizes.d_in]).to(DType::F64);
        Self { weights, x, targets: targets.to(DType::U32), lr: LR, steps: 12 }
    }

    /// Rounds everything to a dtype, and lays `x` out by columns.
    pub(super) fn to(mut self, dtype: DType) -> Self {
        self.weights.values_mut().for_each(|weight| *weight = weight.to(dtype));
        self.x = self.x.to(dtype).laid_out(&[1, 0]);
        self
    }

    /// The question's arguments.
    pub(super) fn args(&self) -> Vec<(&'static str, Value)> {
        crate::args![
            weights: named::to_value(&self.weights),
            x: &self.x,
            targets: &self.targets,
            lr: self.lr,
            steps: self.steps,
        ]
    }

    pub(super) fn n_layers(&self) -> usize {
        self.weights.len() / 2
    }

    fn n_classes(&self) -> usize {
        self.weights[&bias(self.n_layers() - 1)].dim(0)
    }

    /// Replaces a layer's weight or bias, number by number.
    pub(super) fn change(&mut self, name: &str, to: impl Fn(&[usize], f64) -> f64) {
        let old = &self.weights[name];
        let new = Array::from_fn(old.shape(), |at| to(at, old.at(at)));
        self.weights.insert(name.to_owned(), new.to(old.dtype()));
    }

    /// Makes a layer's weights so much larger, and takes the biases from there on.
    pub(super) fn scale(&mut self, layer: usize, factor: f64) {
        self.change(&weight(layer), |_, w| w * factor);
        for layer in layer..self.n_layers() - 1 {
            self.change(&bias(layer), |_, _| 0.0);
        }
    }

    /// Puts hidden units and examples into another order: each layer's first half goes behind.
    pub(super) fn reordered(&self) -> Self {
        let mut other = self.clone();
        let turned = |n: usize| (0..n).map(|i| (i + n / 2) % n).collect::<Vec<_>>();
        for layer in 0..self.n_layers() - 1 {
            let order = turned(self.weights[&bias(layer)].dim(0));
            for (name, axis) in [(weight(layer), 0), (bias(layer), 0), (weight(layer + 1), 1)] {
                let moved = other.weights[&name].select(axis, &order);
                other.weights.insert(name, moved);
            }
        }
        let order = turned(self.x.dim(0));
        other.x = self.x.select(0, &order).laid_out(&[1, 0]);
        other.targets = self.targets.select(0, &order);
        other
    }

    /// What is wrong, with the number that tells; nothing if some number is near its limit.
    pub(super) fn finding(&self) -> Option<Finding> {
        let net = Net::of(self);
        let given = net.given(&self.x);
        let found = |word, layer, why| Some(Finding { verdict: (word, layer), why });
        let is_number = |layer: &Rows| layer.iter().flatten().all(|y| y.is_finite());
        if let Some(layer) = given.iter().position(|given| !is_number(given)) {
            let why = format!("layer {layer} is the first to give a NaN or an infinity");
            return found("nan", Some(layer), why);
        }
        let hidden = &given[..given.len() - 1];
        let largest = |rows: &Rows| rows.iter().flatten().copied().fold(0.0, f64::max);
        for (layer, rows) in hidden.iter().enumerate() {
            let difference = largest_difference(rows) / largest(rows);
            if largest(rows) > 0.0 && difference < 1e-3 {
                let why = format!("all {} units of layer {layer} give the same", rows[0].len());
                return (difference < 1e-4)
                    .then_some(())
                    .and_then(|()| found("twins", Some(layer), why));
            }
            if largest(rows) > 0.0 && difference < 1e-2 {
                return None;
            }
        }
        for (layer, rows) in hidden.iter().enumerate() {
            let (n, silent) = (rows[0].len(), n_silent(rows));
            let share = silent as f64 / n as f64;
            if share >= 0.5 {
                let why = format!(
                    "{silent} of the {n} units of layer {layer} ({:.0} %) are 0 on every example",
                    100.0 * share
                );
                return (share >= 0.9).then_some(()).and_then(|()| found("dead", Some(layer), why));
            }
            if share > 0.06 {
                return None;
            }
        }
        self.by_gradients(&net, &given)
    }

    fn by_gradients(&self, net: &Net, given: &[Rows]) -> Option<Finding> {
        let norms: Vec<f64> = net.slopes(given, &self.targets).iter().map(norm).collect();
        let ratios: Vec<f64> = norms.iter().map(|norm| norm / norms[norms.len() - 1]).collect();
        let is_near = |ratio: f64| (2e-4..5e-3).contains(&ratio) || (2e2..5e3).contains(&ratio);
        if ratios.iter().any(|&ratio| is_near(ratio)) {
            return None;
        }
        for (word, is_so) in [
            ("vanishing", (|ratio: &f64| *ratio < 1e-3) as fn(&f64) -> bool),
            ("exploding", |ratio: &f64| *ratio > 1e3),
        ] {
            if let Some(layer) = ratios.iter().rposition(is_so) {
                let why = format!(
                    "layer {layer} is the last whose gradient is that far from the output's: its \
                     norm is {:.1e}, that of the last layer {:.1e}",
                    norms[layer],
                    norms[norms.len() - 1]
                );
                return Some(Finding { verdict: (word, Some(layer)), why });
            }
        }
        self.by_losses()
    }

    fn by_losses(&self) -> Option<Finding> {
        let losses = self.losses();
        let (start, last) = (losses[0], losses[losses.len() - 1]);
        let guess = (self.n_classes() as f64).ln();
        let found = |word, why| Some(Finding { verdict: (word, None), why });
        match (start - guess) / guess {
            10.0.. => {
                let n = self.n_classes();
                let why = format!(
                    "the first loss is {start:.1}; guessing one of {n} classes gives {guess:.2}"
                );
                return found("overconfident", why);
            }
            ..0.2 => {}
            _ => return None,
        }
        let worst = losses.iter().copied().fold(start, |worst: f64, loss| {
            if loss.is_finite() { worst.max(loss) } else { f64::INFINITY }
        });
        // A start that is not left at once could go either way, in another dtype.
        let is_soon = losses[1..3.min(losses.len())]
            .iter()
            .any(|loss| !loss.is_finite() || *loss > 11.0 * start);
        match (worst - start) / start {
            10.0.. if is_soon => {
                let why = format!("the loss rises from {start:.2} to {worst:.1e} while learning");
                return found("too_fast", why);
            }
            ..0.1 => {}
            _ => return None,
        }
        let steps = self.steps;
        let why = format!("{steps} steps take the loss from {start:.3} to {last:.3}");
        match (start - last) / start {
            ..0.005 => found("too_slow", why),
            0.25.. => found("healthy", why),
            _ => None,
        }
    }

    /// The loss at the start and after each step.
    fn losses(&self) -> Vec<f64> {
        let mut net = Net::of(self);
        let mut losses = Vec::new();
        for step in 0..=self.steps {
            let given = net.given(&self.x);
            losses.push(loss(&given[given.len() - 1], &self.targets));
            if step < self.steps {
                let slopes = net.slopes(&given, &self.targets);
                net.step(&self.x, &given, &slopes, self.lr);
            }
        }
        losses
    }

    /// Everything that is to be measured.
    pub(super) fn measured(&self) -> [(&'static str, Array); 3] {
        let net = Net::of(self);
        let given = net.given(&self.x);
        let silent = given[..given.len() - 1].iter();
        let silent: Vec<f64> =
            silent.map(|rows| n_silent(rows) as f64 / rows[0].len() as f64).collect();
        let gradients: Vec<f64> = net.slopes(&given, &self.targets).iter().map(norm).collect();
        let arrays = [("silent", silent), ("gradients", gradients), ("losses", self.losses())];
        arrays.map(|(name, values)| (name, Array::vector(&values).to(self.x.dtype())))
    }
}

pub(super) fn weight(layer: usize) -> String {
    format!("layers.{layer}.weight")
}

pub(super) fn bias(layer: usize) -> String {
    format!("layers.{layer}.bias")
}

/// Numbers of a batch: a row for each example.
type Rows = Vec<Vec<f64>>;

/// Weights and biases, row by row, of each layer.
struct Net {
    layers: Vec<(Rows, Vec<f64>)>,
}

impl Net {
    fn of(patient: &Patient) -> Self {
        let layer = |layer| {
            let weight = &patient.weights[&weight(layer)];
            let rows = weight.values().chunks(weight.dim(1)).map(<[f64]>::to_vec).collect();
            (rows, patient.weights[&bias(layer)].values().to_vec())
        };
        Self { layers: (0..patient.n_layers()).map(layer).collect() }
    }

    /// What each layer gives, before `relu`.
    fn given(&self, x: &Array) -> Vec<Rows> {
        let mut given: Vec<Rows> = Vec::new();
        for (weight, bias) in &self.layers {
            let inputs = given.last().map_or_else(|| rows(x), relu);
            let dot = |w: &[f64], h: &[f64]| w.iter().zip(h).map(|(w, h)| w * h).sum::<f64>();
            let row = |h: &Vec<f64>| weight.iter().zip(bias).map(|(w, b)| dot(w, h) + b).collect();
            given.push(inputs.iter().map(row).collect());
        }
        given
    }

    /// The slope of the loss along every number that a layer gives.
    fn slopes(&self, given: &[Rows], targets: &Array) -> Vec<Rows> {
        let batch = targets.dim(0) as f64;
        let mut slopes: Vec<Rows> = Vec::new();
        for layer in (0..given.len()).rev() {
            let row = |(n, given): (usize, &Vec<f64>)| match slopes.last() {
                None => {
                    let mut beliefs = softmax(given);
                    beliefs[targets.at(&[n]) as usize] -= 1.0;
                    beliefs.iter().map(|belief| belief / batch).collect()
                }
                Some(above) => {
                    let weight = &self.layers[layer + 1].0;
                    let back = |i: usize| weight.iter().zip(&above[n]).map(|(w, d)| w[i] * d).sum();
                    let open = |(i, &y): (usize, &f64)| if y > 0.0 { back(i) } else { 0.0 };
                    given.iter().enumerate().map(open).collect()
                }
            };
            let next = given[layer].iter().enumerate().map(row).collect();
            slopes.push(next);
        }
        slopes.reverse();
        slopes
    }

    fn step(&mut self, x: &Array, given: &[Rows], slopes: &[Rows], lr: f64) {
        for (layer, (weight, bias)) in self.layers.iter_mut().enumerate() {
            let inputs = if layer == 0 { rows(x) } else { relu(&given[layer - 1]) };
            for (h, slope) in inputs.iter().zip(&slopes[layer]) {
                for (j, &slope) in slope.iter().enumerate() {
                    bias[j] -= lr * slope;
                    weight[j].iter_mut().zip(h).for_each(|(w, h)| *w -= lr * slope * h);
                }
            }
        }
    }
}

fn rows(x: &Array) -> Rows {
    x.values().chunks(x.dim(1)).map(<[f64]>::to_vec).collect()
}

fn relu(rows: &Rows) -> Rows {
    let positive = |y: &f64| if *y <= 0.0 { 0.0 } else { *y };
    rows.iter().map(|row| row.iter().map(positive).collect()).collect()
}

fn norm(rows: &Rows) -> f64 {
    rows.iter().flatten().map(|d| d * d).sum::<f64>().sqrt()
}

fn n_silent(rows: &Rows) -> usize {
    (0..rows[0].len()).filter(|&j| rows.iter().all(|row| row[j] <= 0.0)).count()
}

/// The most by which a unit differs from the first one on some example, after `relu`.
fn largest_difference(rows: &Rows) -> f64 {
    let differences = relu(rows).into_iter().flat_map(|row| {
        let first = row[0];
        row.into_iter().map(move |y| (y - first).abs())
    });
    differences.fold(0.0, f64::max)
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = logits.iter().map(|y| (y - largest).exp()).sum();
    logits.iter().map(|y| (y - largest).exp() / total).collect()
}

fn loss(logits: &Rows, targets: &Array) -> f64 {
    let of = |(n, row): (usize, &Vec<f64>)| {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = row.iter().map(|y| (y - largest).exp()).sum();
        total.ln() + largest - row[targets.at(&[n]) as usize]
    };
    logits.iter().enumerate().map(of).sum::<f64>() / logits.len() as f64
}
