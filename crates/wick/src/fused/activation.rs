//! `GELU` in both forms, and `SiLU`.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use kernels::Activation;

use super::{
    numbers::{Numbers, contiguous, have_kernels, like},
    plain,
};

/// ½x(1 + tanh(√(2/π)(x + 0.044715x³))), as GPT-2 has it; `Tensor::gelu` is the same.
pub fn gelu_tanh(x: &Tensor) -> Result<Tensor> {
    apply(x, Activation::GeluTanh, plain::gelu_tanh)
}

/// x · Φ(x), with the normal distribution's Φ; `Tensor::gelu_erf` is the same.
pub fn gelu_erf(x: &Tensor) -> Result<Tensor> {
    apply(x, Activation::GeluErf, plain::gelu_erf)
}

/// x / (1 + e⁻ˣ), also called swish; `Tensor::silu` is the same.
pub fn silu(x: &Tensor) -> Result<Tensor> {
    apply(x, Activation::Silu, plain::silu)
}

fn apply(x: &Tensor, f: Activation, plain: fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    if !have_kernels(&[x]) {
        return plain(x);
    }
    x.contiguous()?.apply_op1(ActivationOp(f))
}

struct ActivationOp(Activation);

impl CustomOp1 for ActivationOp {
    fn name(&self) -> &'static str {
        "fused-activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = contiguous(x, layout)?;
        let mut y = vec![0.0; x.len()];
        kernels::activate(self.0, x, &mut y);
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        let (xs, dy) = (Numbers::of(x)?, Numbers::of(&dy)?);
        let mut dx = vec![0.0; xs.len()];
        kernels::slope(self.0, &xs, &dy, &mut dx);
        Ok(Some(like(x, dx)?))
    }
}
