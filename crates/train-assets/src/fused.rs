//! Four operations in one pass each, with their gradients: bias, norm, GELU, causal attention.
//!
//! Written from candle's plain operations, a step of training spends most of its time in copies
//! and in `exp` and `tanh`, one number at a time; these loops are made for the compiler to do
//! several at once. They know `f32` on the CPU only; elsewhere the plain operations do it.
//!
//! **Invariant:** values and gradients are those of the plain operations, up to rounding.

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Device, Layout, Result, Shape, Tensor, bail,
};
use wick::fused::plain;

mod attention;

pub(crate) use attention::attention;

/// What is added under the root of a norm.
const EPS: f32 = 1e-5;

/// Adds a bias to each row.
pub(crate) fn add_bias(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return x.broadcast_add(bias);
    }
    x.contiguous()?.apply_op2(&bias.contiguous()?, Bias)
}

/// Norms each row, and gives it a weight and a bias.
pub(crate) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return plain::layer_norm(x, weight, bias, EPS.into());
    }
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, LayerNorm)
}

/// GELU by tanh, as GPT-2 has it.
pub(crate) fn gelu(x: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return x.gelu();
    }
    x.contiguous()?.apply_op1(Gelu)
}

/// `e` to the `x`, to within a few units in the last place, without a branch.
#[inline(always)]
#[allow(clippy::inline_always, reason = "loops around it are vectorised only if it is inlined")]
fn exp(x: f32) -> f32 {
    // Adding this leaves the nearest whole number in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let whole = rounded - ROUND;
    // ln 2 in two parts, so that nothing is lost in the difference.
    let rest = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let series = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let power = series.into_iter().fold(0.0, |sum, factor| sum * rest + factor);
    let scale = rounded.to_bits().wrapping_add(127) << 23;
    power * f32::from_bits(scale)
}

/// The numbers of a contiguous argument.
fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(all), Some((from, to))) => Ok(&all[from..to]),
        _ => bail!("a fused operation takes contiguous numbers of type f32"),
    }
}

/// All numbers of a gradient or a saved argument.
fn read(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}

fn tensor(values: Vec<f32>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(values, like.shape(), &Device::Cpu)
}

struct Bias;

impl CustomOp2 for Bias {
    fn name(&self) -> &'static str {
        "bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let bias = numbers(bias, bias_layout)?;
        let mut out = numbers(x, x_layout)?.to_vec();
        for row in out.chunks_exact_mut(bias.len()) {
            row.iter_mut().zip(bias).for_each(|(x, b)| *x += b);
        }
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        _x: &Tensor,
        bias: &Tensor,
        _out: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut sums = vec![0.0; bias.elem_count()];
        for row in read(gradient)?.chunks_exact(sums.len()) {
            sums.iter_mut().zip(row).for_each(|(sum, g)| *sum += g);
        }
        Ok((Some(gradient.clone()), Some(tensor(sums, bias)?)))
    }
}

struct LayerNorm;

/// A row's mean, and one over its deviation.
fn moments(row: &[f32]) -> (f32, f32) {
    let mean = row.iter().sum::<f32>() / row.len() as f32;
    let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / row.len() as f32;
    (mean, 1.0 / (variance + EPS).sqrt())
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (weight, bias) = (numbers(weight, weight_layout)?, numbers(bias, bias_layout)?);
        let mut out = numbers(x, x_layout)?.to_vec();
        for row in out.chunks_exact_mut(weight.len()) {
            let (mean, inverse) = moments(row);
            for ((x, w), b) in row.iter_mut().zip(weight).zip(bias) {
                *x = (*x - mean) * inverse * w + b;
            }
        }
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _out: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (mut gradients, weights) = (read(gradient)?, read(weight)?);
        let width = weights.len();
        let (mut to_weight, mut to_bias) = (vec![0.0; width], vec![0.0; width]);
        let mut normed = vec![0.0; width];
        for (g, x) in gradients.chunks_exact_mut(width).zip(read(x)?.chunks_exact(width)) {
            let (mean, inverse) = moments(x);
            for n in 0..width {
                normed[n] = (x[n] - mean) * inverse;
                to_weight[n] += g[n] * normed[n];
                to_bias[n] += g[n];
                g[n] *= weights[n];
            }
            let share = 1.0 / width as f32;
            let sum = g.iter().sum::<f32>() * share;
            let along = g.iter().zip(&normed).map(|(g, n)| g * n).sum::<f32>() * share;
            for (g, n) in g.iter_mut().zip(&normed) {
                *g = (*g - sum - n * along) * inverse;
            }
        }
        let to_x = Some(tensor(gradients, x)?);
        Ok((to_x, Some(tensor(to_weight, weight)?), Some(tensor(to_bias, bias)?)))
    }
}

struct Gelu;

const GELU_ROOT: f32 = 0.797_884_6;
const GELU_CUBE: f32 = 0.044_715;

/// How much of `x` GELU lets through.
#[inline(always)]
#[allow(clippy::inline_always, reason = "loops around it are vectorised only if it is inlined")]
fn gate(x: f32) -> f32 {
    1.0 / (1.0 + exp(-2.0 * GELU_ROOT * (x + GELU_CUBE * x * x * x)))
}

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let out = numbers(x, layout)?.iter().map(|&x| x * gate(x)).collect();
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _out: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let mut gradients = read(gradient)?;
        for (g, x) in gradients.iter_mut().zip(read(x)?) {
            let gate = gate(x);
            let slope = 2.0 * GELU_ROOT * (1.0 + 3.0 * GELU_CUBE * x * x);
            *g *= gate + x * gate * (1.0 - gate) * slope;
        }
        Ok(Some(tensor(gradients, x)?))
    }
}

#[cfg(test)]
mod tests;
