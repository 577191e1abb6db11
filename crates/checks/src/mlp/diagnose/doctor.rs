//! Examinations in candle, differentiated by hand, whose steps an impostor can spoil one at a time.

use answer::Weights;
use candle_core::{D, DType, Result, Tensor, bail};
use candle_nn::ops;

use super::patient::Verdict;

/// One entry of the list that decides.
pub(super) type Test = fn(&Chart) -> Option<Verdict>;

/// What may go wrong; [`RIGHT`] is how it should be.
#[derive(Clone, Copy)]
pub(super) struct Doctor {
    /// Of which the first that says something decides.
    pub(super) list: &'static [Test],
    /// The share of silent units, from what each gives on each example.
    pub(super) silent: fn(&[Vec<f64>]) -> f64,
    /// The size of a layer's gradient: of what it gives, and of its weight.
    pub(super) size: fn(&Tensor, &Tensor) -> Result<f64>,
    /// The names of the layers, in order.
    pub(super) layers: fn(usize) -> Vec<usize>,
    /// Whether each step goes on from the one before.
    pub(super) goes_on: bool,
    pub(super) dtype: fn(DType) -> DType,
    pub(super) refuses_data: bool,
    pub(super) refuses_lengths: bool,
}

pub(super) const RIGHT: Doctor = Doctor {
    list: &[nan, twins, dead, vanishing, exploding, overconfident, too_fast, too_slow],
    silent: |units| share(units, |unit| unit.iter().all(|y| *y <= 0.0)),
    size: |gradient, _| norm(gradient),
    layers: |n| (0..n).collect(),
    goes_on: true,
    dtype: |dtype| dtype,
    refuses_data: true,
    refuses_lengths: true,
};

/// Everything that was measured.
pub(super) struct Chart {
    /// For each layer, each unit's results on each example, before `relu`.
    pub(super) given: Vec<Vec<Vec<f64>>>,
    /// The root of the mean square of each layer's weights.
    pub(super) spreads: Vec<f64>,
    pub(super) silent: Vec<f64>,
    pub(super) gradients: Vec<f64>,
    pub(super) losses: Vec<f64>,
    pub(super) n_classes: usize,
}

/// Weight and bias of each layer.
type Layers = Vec<(Tensor, Tensor)>;

impl Doctor {
    pub(super) fn examine(
        &self,
        weights: &Weights,
        x: &Tensor,
        targets: &Tensor,
        lr: f64,
        steps: usize,
    ) -> Result<(String, Option<usize>, Weights)> {
        let (dtype, inner) = (x.dtype(), (self.dtype)(x.dtype()));
        if self.refuses_data && !doubles(x)?.iter().all(|x| x.is_finite()) {
            bail!("there are numbers in the data that are none");
        }
        if self.refuses_lengths && (steps < 1 || targets.dim(0)? != x.dim(0)?) {
            bail!("the lengths do not fit");
        }
        let x = x.to_dtype(inner)?.contiguous()?;
        let n_layers = weights.iter().count() / 2;
        let of = |layer, kind| weights.get(&format!("layers.{layer}.{kind}"))?.to_dtype(inner);
        let start: Layers = (self.layers)(n_layers)
            .into_iter()
            .map(|layer| Ok((of(layer, "weight")?, of(layer, "bias")?)))
            .collect::<Result<_>>()?;
        let (chart, next) = self.look(&start, &x, targets, lr)?;
        let (mut chart, mut now) = (chart, next);
        for _ in 0..steps {
            let (later, next) = self.look(&now, &x, targets, lr)?;
            chart.losses.extend(later.losses);
            if self.goes_on {
                now = next;
            }
        }
        let (word, layer) = self.list.iter().find_map(|test| test(&chart)).unwrap_or(HEALTHY);
        let mut measured = Weights::new();
        for (name, numbers) in
            [("silent", chart.silent), ("gradients", chart.gradients), ("losses", chart.losses)]
        {
            measured.insert(name, Tensor::new(numbers, x.device())?.to_dtype(dtype)?);
        }
        Ok((word.to_owned(), layer, measured))
    }

    /// Measures, with one loss, and takes one step.
    fn look(
        &self,
        layers: &Layers,
        x: &Tensor,
        targets: &Tensor,
        lr: f64,
    ) -> Result<(Chart, Layers)> {
        let (mut inputs, mut given) = (vec![x.clone()], Vec::new());
        for (weight, bias) in layers {
            let out = inputs[given.len()].matmul(&weight.t()?)?.broadcast_add(bias)?;
            inputs.push(open(&out)?.where_cond(&out, &out.zeros_like()?)?);
            given.push(out);
        }
        let logits = &given[given.len() - 1];
        let (batch, n_classes) = logits.dims2()?;
        let log_beliefs = ops::log_softmax(logits, D::Minus1)?;
        let classes = Tensor::arange(0, n_classes as u32, x.device())?;
        let mut hits = targets.unsqueeze(1)?.broadcast_eq(&classes)?.to_dtype(x.dtype())?;
        if hits.dim(0)? < batch {
            hits = hits.pad_with_zeros(0, 0, batch - hits.dim(0)?)?;
        }
        let chosen = hits.ne(0.0)?.where_cond(&log_beliefs, &log_beliefs.zeros_like()?)?;
        let loss = doubles(&(chosen.sum_all()?.neg()? / batch as f64)?)?[0];
        let mut back = ((log_beliefs.exp()? - hits)? / batch as f64)?; // (batch, n_classes)
        let (mut gradients, mut next) = (Vec::new(), Vec::new());
        for (layer, (weight, bias)) in layers.iter().enumerate().rev() {
            let of_weight = back.t()?.matmul(&inputs[layer])?;
            gradients.insert(0, (self.size)(&back, &of_weight)?);
            let of_bias = back.sum(0)?;
            next.insert(0, ((weight - (of_weight * lr)?)?, (bias - (of_bias * lr)?)?));
            if layer > 0 {
                let through = back.matmul(weight)?;
                back = open(&given[layer - 1])?.where_cond(&through, &through.zeros_like()?)?;
            }
        }
        let units = |out: &Tensor| out.t()?.to_dtype(DType::F64)?.to_vec2::<f64>();
        let given = given.iter().map(units).collect::<Result<Vec<_>>>()?;
        let silent = given[..given.len() - 1].iter().map(|units| (self.silent)(units)).collect();
        let spread = |(weight, _): &(Tensor, Tensor)| {
            Ok(norm(weight)? / (weight.elem_count() as f64).sqrt())
        };
        let spreads = layers.iter().map(spread).collect::<Result<_>>()?;
        let losses = vec![loss];
        Ok((Chart { given, spreads, silent, gradients, losses, n_classes }, next))
    }
}

const HEALTHY: Verdict = ("healthy", None);

pub(super) fn nan(chart: &Chart) -> Option<Verdict> {
    let is_finite = |units: &Vec<Vec<f64>>| units.iter().flatten().all(|y| y.is_finite());
    chart.given.iter().position(|units| !is_finite(units)).map(|layer| ("nan", Some(layer)))
}

pub(super) fn twins(chart: &Chart) -> Option<Verdict> {
    let layer = hidden(chart).position(|units| {
        units.len() > 1 && highest(units) > 0.0 && {
            let (low, high) = (1..units.len()).fold((0.0, 0.0), |(low, high): (f64, f64), unit| {
                let differences =
                    units[unit].iter().zip(&units[0]).map(|(a, b)| a.max(0.0) - b.max(0.0));
                differences.fold((low, high), |(low, high), d| (low.min(d), high.max(d)))
            });
            high.max(-low) <= 1e-3 * highest(units)
        }
    })?;
    Some(("twins", Some(layer)))
}

pub(super) fn dead(chart: &Chart) -> Option<Verdict> {
    chart.silent.iter().position(|&share| share >= 0.5).map(|layer| ("dead", Some(layer)))
}

pub(super) fn vanishing(chart: &Chart) -> Option<Verdict> {
    let limit = chart.gradients.last()? / 1e3;
    let layer = chart.gradients.iter().rposition(|&norm| norm < limit)?;
    Some(("vanishing", Some(layer)))
}

pub(super) fn exploding(chart: &Chart) -> Option<Verdict> {
    let limit = chart.gradients.last()? * 1e3;
    let layer = chart.gradients.iter().rposition(|&norm| norm > limit)?;
    Some(("exploding", Some(layer)))
}

pub(super) fn overconfident(chart: &Chart) -> Option<Verdict> {
    let guess = (chart.n_classes as f64).ln();
    (chart.losses[0] > 2.0 * guess).then_some(("overconfident", None))
}

pub(super) fn too_fast(chart: &Chart) -> Option<Verdict> {
    let limit = 2.0 * chart.losses[0];
    let is_bad = |loss: &f64| !loss.is_finite() || *loss > limit;
    chart.losses.iter().any(is_bad).then_some(("too_fast", None))
}

pub(super) fn too_slow(chart: &Chart) -> Option<Verdict> {
    (*chart.losses.last()? > 0.95 * chart.losses[0]).then_some(("too_slow", None))
}

/// The hidden layers' units.
pub(super) fn hidden(chart: &Chart) -> impl Iterator<Item = &Vec<Vec<f64>>> {
    chart.given[..chart.given.len() - 1].iter()
}

/// The largest number that a layer's units give.
pub(super) fn highest(units: &[Vec<f64>]) -> f64 {
    units.iter().flatten().copied().fold(0.0, f64::max)
}

/// The share of units of which something is true.
pub(super) fn share(units: &[Vec<f64>], is_so: impl Fn(&Vec<f64>) -> bool) -> f64 {
    units.iter().filter(|unit| is_so(unit)).count() as f64 / units.len() as f64
}

pub(super) fn norm(tensor: &Tensor) -> Result<f64> {
    Ok(doubles(tensor)?.iter().map(|x| x * x).sum::<f64>().sqrt())
}

fn open(out: &Tensor) -> Result<Tensor> {
    out.gt(0.0)
}

fn doubles(tensor: &Tensor) -> Result<Vec<f64>> {
    tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}
