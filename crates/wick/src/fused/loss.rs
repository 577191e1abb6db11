//! Cross-entropy from logits.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use kernels::Buffer;

use super::{
    numbers::{self, Kept, contiguous, have_kernels, like},
    plain,
};

/// The mean over rows of −log softmax(row) at the target, a tensor without axes.
///
/// # Shapes
///
/// | tensor | shape | dtype |
/// |---|---|---|
/// | `logits` | `(rows, d_vocab)` | |
/// | `targets` | `rows` numbers in any shape | integers below `d_vocab` |
///
/// # Errors
///
/// Fails if there are not as many targets as rows, or if one is not below `d_vocab`.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let (rows, d_vocab) = logits.dims2()?;
    if targets.elem_count() != rows {
        bail!("there are {} targets for {rows} rows of logits", targets.elem_count())
    }
    if !have_kernels(&[logits]) {
        return plain::cross_entropy(logits, targets);
    }
    let targets = numbers::ids(targets, d_vocab)?;
    let op = CrossEntropy { targets, d_vocab, gradient: Kept::nothing() };
    logits.contiguous()?.apply_op1(op)
}

struct CrossEntropy {
    targets: Vec<u32>,
    d_vocab: usize,
    gradient: Kept<Buffer>,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "fused-cross-entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let logits = contiguous(logits, layout)?;
        let mut gradient = kernels::buffer(logits.len());
        gradient.copy_from_slice(logits);
        let loss = kernels::cross_entropy(&mut gradient, &self.targets, self.d_vocab);
        self.gradient.keep(gradient);
        Ok((CpuStorage::F32(vec![loss]), Shape::from(())))
    }

    fn bwd(&self, logits: &Tensor, _: &Tensor, d_loss: &Tensor) -> Result<Option<Tensor>> {
        let factor = d_loss.to_scalar::<f32>()?;
        let mut gradient = self.gradient.with(|gradient| Ok(gradient.to_vec()))?;
        kernels::scale(&mut gradient, factor);
        Ok(Some(like(logits, gradient)?))
    }
}
