//! Rows of a table by their number.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::{
    numbers::{self, Numbers, contiguous, have_kernels, like},
    plain,
};

/// Rows of `table` by the numbers in `ids`.
///
/// # Shapes
///
/// | tensor | shape | dtype |
/// |---|---|---|
/// | `table` | `(d_vocab, d_model)` | |
/// | `ids` | any | integers below `d_vocab` |
/// | result | that of `ids`, then `d_model` | |
///
/// # Errors
///
/// Fails if an id is no row of the table.
pub fn embedding(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let (d_vocab, width) = table.dims2()?;
    if !have_kernels(&[table]) || ids.elem_count() == 0 {
        return plain::embedding(table, ids);
    }
    let mut shape = ids.dims().to_vec();
    shape.push(width);
    let op = Embedding { ids: numbers::ids(ids, d_vocab)?, shape: shape.into(), width };
    table.contiguous()?.apply_op1(op)
}

struct Embedding {
    ids: Vec<u32>,
    shape: Shape,
    width: usize,
}

impl CustomOp1 for Embedding {
    fn name(&self) -> &'static str {
        "fused-embedding"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut y = vec![0.0; self.shape.elem_count()];
        kernels::gather(contiguous(table, layout)?, &self.ids, &mut y, self.width);
        Ok((CpuStorage::F32(y), self.shape.clone()))
    }

    fn bwd(&self, table: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        let mut d_table = vec![0.0; table.elem_count()];
        kernels::scatter(&Numbers::of(&dy)?, &self.ids, &mut d_table, self.width);
        Ok(Some(like(table, d_table)?))
    }
}
