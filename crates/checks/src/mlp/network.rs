//! The network of `mlp_backward` by index in `f64`: its loss, and the slope of every number in it.
//!
//! The slopes of layer norm come from its whole Jacobian, number by number, and not from the
//! formula that is taught; a test holds all slopes against central differences of the loss.

use crate::{Array, Named};

/// What the network is asked with.
#[derive(Clone)]
pub(super) struct Network {
    /// `hidden.weight`, `hidden.bias`, `norm.weight`, `norm.bias`, `output.weight`, `output.bias`.
    pub(super) weights: Named,
    /// `(batch, d_in)`.
    pub(super) x: Array,
    /// `(batch)`, `u32`.
    pub(super) targets: Array,
    /// What layer norm adds to the variance.
    pub(super) eps: f64,
}

/// Every value between the input and the loss.
struct Forward {
    pre: Array,
    unit: Array,
    /// √(variance + eps) of each row.
    std: Vec<f64>,
    norm: Array,
    hidden: Array,
    logits: Array,
}

impl Network {
    fn forward(&self) -> Forward {
        let pre = self.pre();
        let (batch, d_mlp) = (pre.dim(0), pre.dim(1));
        let row = |b: usize| (0..d_mlp).map(move |j| (b, j));
        let mean = |b: usize| row(b).map(|(b, j)| pre.at(&[b, j])).sum::<f64>() / d_mlp as f64;
        let means: Vec<f64> = (0..batch).map(mean).collect();
        let distance = |b: usize, j: usize| pre.at(&[b, j]) - means[b];
        let variance =
            |b: usize| row(b).map(|(b, j)| distance(b, j).powi(2)).sum::<f64>() / d_mlp as f64;
        let std: Vec<f64> = (0..batch).map(|b| (variance(b) + self.eps).sqrt()).collect();
        let unit = Array::from_fn(&[batch, d_mlp], |at| distance(at[0], at[1]) / std[at[0]]);
        let (gain, shift) = (&self.weights["norm.weight"], &self.weights["norm.bias"]);
        let norm = Array::from_fn(&[batch, d_mlp], |at| {
            gain.at(&at[1..]) * unit.at(at) + shift.at(&at[1..])
        });
        let hidden = norm.map(|norm| norm.max(0.0));
        let logits = self.layer("output", &hidden);
        Forward { pre, unit, std, norm, hidden, logits }
    }

    /// The loss, a single number.
    #[cfg(test)]
    pub(super) fn loss(&self) -> f64 {
        super::cross_entropy::oracle(&self.forward().logits, &self.targets).values()[0]
    }

    /// What goes into layer norm, `(batch, d_mlp)`.
    pub(super) fn pre(&self) -> Array {
        self.layer("hidden", &self.x)
    }

    /// `x weightᵀ + bias`.
    fn layer(&self, name: &str, x: &Array) -> Array {
        let weight = &self.weights[&format!("{name}.weight")];
        let bias = &self.weights[&format!("{name}.bias")];
        Array::from_fn(&[x.dim(0), weight.dim(0)], |at| {
            let product = |i| x.at(&[at[0], i]) * weight.at(&[at[1], i]);
            (0..weight.dim(1)).map(product).sum::<f64>() + bias.at(&at[1..])
        })
    }

    /// The gradient of the loss for every tensor, by name, from the loss back.
    pub(super) fn gradients(&self) -> Vec<(&'static str, Array)> {
        let Forward { pre, unit, std, norm, hidden, logits } = self.forward();
        let (batch, d_mlp) = (pre.dim(0), pre.dim(1));
        let gain = &self.weights["norm.weight"];
        let d_logits = Array::from_fn(logits.shape(), |at| {
            let exp = |c| (logits.at(&[at[0], c]) - logits.at(at)).exp();
            let belief = 1.0 / (0..logits.dim(1)).map(exp).sum::<f64>();
            let is_target = self.targets.at(&at[..1]) as usize == at[1];
            (belief - f64::from(u8::from(is_target))) / batch as f64
        });
        let d_hidden = back(&d_logits, &self.weights["output.weight"]);
        let d_norm = d_hidden.zip_map(&norm, |d, norm| if norm > 0.0 { d } else { 0.0 });
        // ∂unit_i / ∂pre_j = (δ_ij − 1/n − unit_i unit_j / n) / std
        let slope = |b: usize, i: usize, j: usize| {
            let together = 1.0 + unit.at(&[b, i]) * unit.at(&[b, j]);
            (f64::from(u8::from(i == j)) - together / d_mlp as f64) / std[b]
        };
        let d_pre = Array::from_fn(pre.shape(), |at| {
            let through = |i| d_norm.at(&[at[0], i]) * gain.at(&[i]) * slope(at[0], i, at[1]);
            (0..d_mlp).map(through).sum()
        });
        vec![
            ("output.bias", over_rows(&d_logits, |_, _| 1.0)),
            ("output.weight", outer(&d_logits, &hidden)),
            ("norm.bias", over_rows(&d_norm, |_, _| 1.0)),
            ("norm.weight", over_rows(&d_norm, |b, j| unit.at(&[b, j]))),
            ("hidden.bias", over_rows(&d_pre, |_, _| 1.0)),
            ("hidden.weight", outer(&d_pre, &self.x)),
            ("x", back(&d_pre, &self.weights["hidden.weight"])),
            ("logits", d_logits),
            ("hidden", d_hidden),
            ("norm", d_norm),
            ("pre", d_pre),
        ]
    }
}

/// `Σ_j d[b, j] weight[j, i]`.
fn back(d: &Array, weight: &Array) -> Array {
    Array::from_fn(&[d.dim(0), weight.dim(1)], |at| {
        (0..d.dim(1)).map(|j| d.at(&[at[0], j]) * weight.at(&[j, at[1]])).sum()
    })
}

/// `Σ_b d[b, j] factor(b, j)`.
fn over_rows(d: &Array, factor: impl Fn(usize, usize) -> f64) -> Array {
    Array::from_fn(&[d.dim(1)], |at| {
        (0..d.dim(0)).map(|b| d.at(&[b, at[0]]) * factor(b, at[0])).sum()
    })
}

/// `Σ_b d[b, j] x[b, i]`.
fn outer(d: &Array, x: &Array) -> Array {
    Array::from_fn(&[d.dim(1), x.dim(1)], |at| {
        (0..d.dim(0)).map(|b| d.at(&[b, at[0]]) * x.at(&[b, at[1]])).sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generator, numeric_gradient};

    fn network() -> Network {
        let mut rng = Generator::new(5, &["network"]);
        let mut normal = |shape: &[usize]| rng.normal_array(shape).to(protocol::DType::F64);
        let weights = [
            ("hidden.weight", normal(&[5, 3])),
            ("hidden.bias", normal(&[5])),
            ("norm.weight", normal(&[5])),
            ("norm.bias", normal(&[5])),
            ("output.weight", normal(&[4, 5])),
            ("output.bias", normal(&[4])),
        ];
        let weights = weights.map(|(name, array)| (name.to_owned(), array)).into();
        let targets = Array::vector(&[2., 0.]).to(protocol::DType::U32);
        Network { weights, x: normal(&[2, 3]), targets, eps: 0.1 }
    }

    #[track_caller]
    fn check(name: &str, found: &Array, expected: &Array) {
        for (found, expected) in found.values().iter().zip(expected.values()) {
            assert!((found - expected).abs() < 1e-8, "{name}: {found} is not {expected}");
        }
    }

    #[test]
    fn every_slope_is_that_of_the_loss() {
        let network = network();
        for (name, gradient) in network.gradients() {
            let with = |array: &Array| {
                let mut network = network.clone();
                if name == "x" {
                    network.x = array.clone();
                } else {
                    network.weights.insert(name.to_owned(), array.clone());
                }
                network.loss()
            };
            let at = if name == "x" { Some(&network.x) } else { network.weights.get(name) };
            if let Some(at) = at {
                check(name, &gradient, &numeric_gradient(at, with));
            }
        }
    }

    #[test]
    fn every_slope_inside_is_that_of_the_loss() {
        // A bias for each row moves what it is added to, so its slope is that of the inner value.
        let mut network = network();
        network.x = network.x.narrow(0, 0, 1);
        network.targets = network.targets.narrow(0, 0, 1);
        let gradients: Named =
            network.gradients().into_iter().map(|(name, g)| (name.to_owned(), g)).collect();
        for (inner, bias) in
            [("pre", "hidden.bias"), ("norm", "norm.bias"), ("logits", "output.bias")]
        {
            check(inner, &gradients[inner], &gradients[bias]);
        }
    }
}
