//! Causal attention that keeps no pattern.

use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Tensor, bail};
use kernels::{Buffer, Packed};

use super::{
    numbers::{Kept, Numbers, contiguous, have_kernels, like},
    plain,
};

/// Causal attention: each position attends to itself and to those before it.
///
/// # Shapes
///
/// | tensor | shape |
/// |---|---|
/// | `q`, `k`, `v`, result | `(batch, n_heads, seq, d_head)`, in any layout |
///
/// The result is laid out as `(batch, seq, n_heads, d_head)`, so that merging heads copies nothing.
///
/// # Errors
///
/// Fails if the three do not have one shape.
pub fn causal_attention(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    let (batch, n_heads, seq, d_head) = q.dims4()?;
    for (name, tensor) in [("k", k), ("v", v)] {
        if tensor.dims() != q.dims() {
            bail!("`{name}` is {:?}, but `q` is {:?}", tensor.dims(), q.dims())
        }
    }
    if !have_kernels(&[q, k, v]) {
        return plain::causal_attention(q, k, v);
    }
    q.apply_op3(k, v, Attention::new(batch, seq, n_heads, d_head))?.transpose(1, 2)
}

/// Causal attention from the product that holds q, k and v side by side, as GPT-2's `c_attn` gives
/// it.
///
/// # Shapes
///
/// | tensor | shape |
/// |---|---|
/// | `qkv` | `(batch, seq, 3 · d_model)` |
/// | result | `(batch, seq, d_model)` |
///
/// # Errors
///
/// Fails if the last axis is not three times a multiple of `n_heads`.
pub fn causal_self_attention(qkv: &Tensor, n_heads: usize) -> Result<Tensor> {
    let (batch, seq, width) = qkv.dims3()?;
    if n_heads == 0 || width % (3 * n_heads) != 0 {
        bail!("a last axis of {width} is not q, k and v of {n_heads} heads")
    }
    if !have_kernels(&[qkv]) {
        return plain::causal_self_attention(qkv, n_heads);
    }
    let op = Attention::new(batch, seq, n_heads, width / (3 * n_heads));
    qkv.contiguous()?.apply_op1(op)
}

/// With one argument q, k and v are packed already, with three they are packed first.
struct Attention {
    sizes: Packed,
    kept: Kept<Saved>,
}

struct Saved {
    /// Of three arguments, what they were packed to.
    packed: Option<Buffer>,
    log_sums: Buffer,
}

impl Attention {
    fn new(batch: usize, seq: usize, n_heads: usize, d_head: usize) -> Self {
        let scale = 1.0 / (d_head as f32).sqrt();
        let sizes = Packed { batch, seq, n_heads, d_head, scale };
        Self { sizes, kept: Kept::nothing() }
    }

    fn forward(&self, qkv: &[f32]) -> (Vec<f32>, Buffer) {
        let Packed { batch, seq, n_heads, .. } = self.sizes;
        let mut z = vec![0.0; qkv.len() / 3];
        let mut log_sums = kernels::buffer(batch * n_heads * seq);
        kernels::attend(self.sizes, qkv, &mut z, &mut log_sums);
        (z, log_sums)
    }

    fn backward(&self, qkv: &[f32], log_sums: &[f32], dz: &Tensor) -> Result<Vec<f32>> {
        let dz = dz.contiguous()?;
        let mut d_qkv = vec![0.0; qkv.len()];
        kernels::attend_backward(self.sizes, qkv, log_sums, &Numbers::of(&dz)?, &mut d_qkv);
        Ok(d_qkv)
    }

    /// Copies one of q, k and v to its place.
    fn pack(&self, which: usize, from: &CpuStorage, layout: &Layout, to: &mut [f32]) -> Result<()> {
        let Packed { batch, seq, n_heads, d_head, .. } = self.sizes;
        let (all, stride) = (from.as_slice::<f32>()?, layout.stride());
        for n in 0..batch * n_heads * seq {
            let (head, position, sequence) = (n % n_heads, n / n_heads % seq, n / n_heads / seq);
            let start = layout.start_offset()
                + sequence * stride[0]
                + head * stride[1]
                + position * stride[2];
            let row = ((sequence * seq + position) * 3 + which) * n_heads + head;
            let to = &mut to[row * d_head..][..d_head];
            if stride[3] == 1 {
                to.copy_from_slice(&all[start..][..d_head]);
            } else {
                (0..d_head).for_each(|i| to[i] = all[start + i * stride[3]]);
            }
        }
        Ok(())
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "fused-causal-self-attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (z, log_sums) = self.forward(contiguous(qkv, layout)?);
        self.kept.keep(Saved { packed: None, log_sums });
        let Packed { batch, seq, n_heads, d_head, .. } = self.sizes;
        Ok((CpuStorage::F32(z), (batch, seq, n_heads * d_head).into()))
    }

    fn bwd(&self, qkv: &Tensor, _: &Tensor, dz: &Tensor) -> Result<Option<Tensor>> {
        let numbers = Numbers::of(qkv)?;
        let d_qkv = self.kept.with(|kept| self.backward(&numbers, &kept.log_sums, dz))?;
        Ok(Some(like(qkv, d_qkv)?))
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "fused-causal-attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let Packed { batch, seq, n_heads, d_head, .. } = self.sizes;
        let mut packed = kernels::buffer(3 * batch * seq * n_heads * d_head);
        self.pack(0, q, q_layout, &mut packed)?;
        self.pack(1, k, k_layout, &mut packed)?;
        self.pack(2, v, v_layout, &mut packed)?;
        let (z, log_sums) = self.forward(&packed);
        self.kept.keep(Saved { packed: Some(packed), log_sums });
        Ok((CpuStorage::F32(z), (batch, seq, n_heads, d_head).into()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        dz: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Packed { batch, seq, n_heads, d_head, .. } = self.sizes;
        let d_qkv = self.kept.with(|kept| {
            let packed = kept.packed.as_deref().unwrap_or_default();
            self.backward(packed, &kept.log_sums, dz)
        })?;
        let d_qkv = Tensor::from_vec(d_qkv, (batch, seq, 3, n_heads, d_head), dz.device())?;
        let part = |which| d_qkv.get_on_dim(2, which)?.transpose(1, 2);
        Ok((Some(part(0)?), Some(part(1)?), Some(part(2)?)))
    }
}
