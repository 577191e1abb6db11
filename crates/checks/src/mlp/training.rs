//! Training by index in `f64`: the exact answer, for networks so small that it takes no time.

use std::collections::BTreeMap;

use protocol::{DType, Value};

use crate::{Array, Generator};

/// Names of the weights, in the order of their layers.
pub(super) const NAMES: [&str; 4] =
    ["hidden.weight", "hidden.bias", "output.weight", "output.bias"];

/// How to train.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) epochs: usize,
    pub(super) batch: usize,
    pub(super) lr: f64,
    pub(super) weight_decay: f64,
    pub(super) dropout: f64,
    pub(super) patience: usize,
}

impl From<Settings> for Value {
    fn from(settings: Settings) -> Self {
        let numbers = [
            ("epochs", settings.epochs as f64),
            ("batch", settings.batch as f64),
            ("lr", settings.lr),
            ("weight_decay", settings.weight_decay),
            ("dropout", settings.dropout),
            ("patience", settings.patience as f64),
        ];
        Self::Numbers(numbers.map(|(name, number)| (name.to_owned(), number)).into())
    }
}

/// Lengths of the axes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) n: usize,
    pub(super) n_valid: usize,
    pub(super) d_in: usize,
    pub(super) d_mlp: usize,
    pub(super) n_classes: usize,
}

/// Everything that training is given.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) images: Array,
    pub(super) labels: Array,
    pub(super) valid_images: Array,
    pub(super) valid_labels: Array,
    pub(super) weights: BTreeMap<String, Array>,
    pub(super) shuffle: Array,
    pub(super) dropout: Array,
    pub(super) settings: Settings,
}

impl Task {
    /// Random examples with random classes, which a network can only learn by heart.
    pub(super) fn random(
        rng: &mut Generator,
        sizes: Sizes,
        settings: Settings,
        dtype: DType,
    ) -> Self {
        let Sizes { n, n_valid, d_in, d_mlp, n_classes } = sizes;
        let mut labels = |n: usize| {
            let classes = Array::from_fn(&[n], |_| rng.below(n_classes) as f64);
            classes.to(DType::U32)
        };
        let (labels, valid_labels) = (labels(n), labels(n_valid));
        let images = rng.normal_array(&[n, d_in]).to(dtype).laid_out(&[1, 0]);
        let valid_images = rng.normal_array(&[n_valid, d_in]).to(dtype).laid_out(&[1, 0]);
        let weights = start(rng, [d_in, d_mlp, n_classes], dtype);
        let (shuffle, dropout) = noise(rng, settings.epochs, n, d_mlp);
        let (shuffle, dropout) = (shuffle.to(dtype), dropout.to(dtype));
        Self { images, labels, valid_images, valid_labels, weights, shuffle, dropout, settings }
    }

    /// The question's arguments.
    pub(super) fn args(&self) -> Vec<(&'static str, Value)> {
        let set = |set: &BTreeMap<String, Array>| {
            Value::Named(set.iter().map(|(name, array)| (name.clone(), array.to_raw())).collect())
        };
        let noise = [("shuffle", &self.shuffle), ("dropout", &self.dropout)];
        let noise = noise.map(|(name, array)| (name.to_owned(), array.to_raw()));
        crate::args![
            images: &self.images,
            labels: &self.labels,
            valid_images: &self.valid_images,
            valid_labels: &self.valid_labels,
            weights: set(&self.weights),
            noise: Value::Named(noise.into()),
            config: self.settings,
        ]
    }

    /// What training must return: the best weights, and every validation loss.
    pub(super) fn solve(&self) -> (BTreeMap<String, Array>, Vec<f64>) {
        let mut net = Net::new(&self.weights);
        let mut adam = Adam::new(&net);
        let (mut best, mut losses): (Net, Vec<f64>) = (net.clone(), Vec::new());
        for epoch in 0..self.settings.epochs {
            let mut order: Vec<usize> = (0..self.labels.values().len()).collect();
            order.sort_by(|&a, &b| {
                self.shuffle.at(&[epoch, a]).total_cmp(&self.shuffle.at(&[epoch, b]))
            });
            for batch in order.chunks(self.settings.batch) {
                let slopes = self.slopes(&net, epoch, batch);
                adam.step(&mut net, &slopes, self.settings);
            }
            losses.push(net.loss(&self.valid_images, &self.valid_labels));
            let (first, last) = first_best(&losses);
            if first == last {
                best = net.clone();
            }
            if last - first == self.settings.patience {
                break;
            }
        }
        (best.named(&self.weights), losses)
    }

    /// The slopes of the mean loss of a batch, weight by weight.
    fn slopes(&self, net: &Net, epoch: usize, batch: &[usize]) -> Net {
        let mut slopes = Net { values: net.values.each_ref().map(|v| vec![0.0; v.len()]), ..*net };
        let keep = 1.0 - self.settings.dropout;
        for &i in batch {
            let image: Vec<f64> = (0..net.d_in).map(|d| self.images.at(&[i, d])).collect();
            let scale: Vec<f64> = (0..net.d_mlp)
                .map(|j| {
                    let drops = self.dropout.at(&[epoch, i, j]) < self.settings.dropout;
                    if drops { 0.0 } else { 1.0 / keep }
                })
                .collect();
            let (hidden, logits) = net.forward(&image, &scale);
            let mut up = softmax(&logits);
            up[self.labels.values()[i] as usize] -= 1.0;
            for (c, up) in up.iter().map(|up| up / batch.len() as f64).enumerate() {
                slopes.values[3][c] += up;
                for j in 0..net.d_mlp {
                    slopes.values[2][c * net.d_mlp + j] += up * hidden[j];
                    if hidden[j] > 0.0 {
                        let down = up * net.values[2][c * net.d_mlp + j] * scale[j];
                        slopes.values[1][j] += down;
                        for (d, x) in image.iter().enumerate() {
                            slopes.values[0][j * net.d_in + d] += down * x;
                        }
                    }
                }
            }
        }
        slopes
    }
}

/// Where the lowest loss first was, and where the last loss is.
fn first_best(losses: &[f64]) -> (usize, usize) {
    let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let first = losses.iter().position(|&loss| loss <= lowest).unwrap_or(0);
    (first, losses.len() - 1)
}

/// Weights to start from, as He et al. scale them for a `ReLU`.
pub(super) fn start(
    rng: &mut Generator,
    [d_in, d_mlp, n_classes]: [usize; 3],
    dtype: DType,
) -> BTreeMap<String, Array> {
    let shapes = [vec![d_mlp, d_in], vec![d_mlp], vec![n_classes, d_mlp], vec![n_classes]];
    let mut weight = |shape: &Vec<usize>| {
        let spread = shape.get(1).map_or(0.1, |&fan_in| (2.0 / fan_in as f64).sqrt());
        rng.normal_array(shape).to(DType::F64).map(|x| x * spread).to(dtype)
    };
    NAMES.iter().zip(&shapes).map(|(name, shape)| ((*name).to_owned(), weight(shape))).collect()
}

/// Noise for the order of examples and for dropout.
pub(super) fn noise(rng: &mut Generator, epochs: usize, n: usize, d_mlp: usize) -> (Array, Array) {
    (rng.uniform_array(&[epochs, n], 0.0, 1.0), rng.uniform_array(&[epochs, n, d_mlp], 0.0, 1.0))
}

/// The network's numbers, in the order of [`NAMES`].
#[derive(Clone, Debug)]
pub(super) struct Net {
    values: [Vec<f64>; 4],
    d_in: usize,
    d_mlp: usize,
}

impl Net {
    /// Takes the weights, which must have their shapes.
    pub(super) fn new(weights: &BTreeMap<String, Array>) -> Self {
        let [d_mlp, d_in] = weights[NAMES[0]].shape() else { unreachable!("invariant: rank 2") };
        let values = NAMES.map(|name| weights[name].values().to_vec());
        Self { values, d_in: *d_in, d_mlp: *d_mlp }
    }

    fn named(self, like: &BTreeMap<String, Array>) -> BTreeMap<String, Array> {
        let array = |(name, values): (&&str, _)| {
            let like = &like[*name];
            ((*name).to_owned(), Array::new(like.shape(), values).to(like.dtype()))
        };
        NAMES.iter().zip(self.values).map(array).collect()
    }

    /// Hidden units after `ReLU` and `scale`, and logits.
    fn forward(&self, image: &[f64], scale: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let [w1, b1, w2, b2] = &self.values;
        let dot = |row: &[f64], x: &[f64]| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
        let hidden = w1.chunks(self.d_in).zip(b1).zip(scale);
        let hidden: Vec<f64> =
            hidden.map(|((row, b), scale)| (dot(row, image) + b).max(0.0) * scale).collect();
        let logits = w2.chunks(self.d_mlp).zip(b2).map(|(row, b)| dot(row, &hidden) + b).collect();
        (hidden, logits)
    }

    /// Logits of one example, without dropout.
    pub(super) fn logits(&self, image: &[f64]) -> Vec<f64> {
        self.forward(image, &vec![1.0; self.d_mlp]).1
    }

    /// Mean cross entropy, without dropout.
    pub(super) fn loss(&self, images: &Array, labels: &Array) -> f64 {
        let n = labels.values().len();
        let loss = |i: usize| {
            let image: Vec<f64> = (0..self.d_in).map(|d| images.at(&[i, d])).collect();
            -softmax(&self.logits(&image))[labels.values()[i] as usize].ln()
        };
        (0..n).map(loss).sum::<f64>() / n as f64
    }
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = logits.iter().map(|x| (x - largest).exp()).collect();
    let total: f64 = exps.iter().sum();
    exps.iter().map(|x| x / total).collect()
}

/// What `AdamW` remembers.
struct Adam {
    m: [Vec<f64>; 4],
    v: [Vec<f64>; 4],
    n_steps: i32,
}

impl Adam {
    fn new(net: &Net) -> Self {
        let zeros = || net.values.each_ref().map(|values| vec![0.0; values.len()]);
        Self { m: zeros(), v: zeros(), n_steps: 0 }
    }

    fn step(&mut self, net: &mut Net, slopes: &Net, settings: Settings) {
        self.n_steps += 1;
        for k in 0..4 {
            // Biases do not decay.
            let decay = if k % 2 == 0 { settings.weight_decay } else { 0.0 };
            for (i, &slope) in slopes.values[k].iter().enumerate() {
                self.m[k][i] = 0.9 * self.m[k][i] + 0.1 * slope;
                self.v[k][i] = 0.999 * self.v[k][i] + 0.001 * slope * slope;
                let m = self.m[k][i] / (1.0 - 0.9f64.powi(self.n_steps));
                let v = self.v[k][i] / (1.0 - 0.999f64.powi(self.n_steps));
                let weight = net.values[k][i];
                net.values[k][i] = weight - settings.lr * (decay * weight + m / (v.sqrt() + 1e-8));
            }
        }
    }
}
