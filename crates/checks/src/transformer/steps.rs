//! The honest steps of a GPT, for impostors to leave out, swap, or spoil one of.

use answer::Weights;
use candle_core::{D, DType, Result, Tensor, bail};

/// Distances from the mean of each vector.
pub(super) fn centred(x: &Tensor) -> Result<Tensor> {
    x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)
}

/// Vectors of mean 0 and variance 1.
pub(super) fn normed(x: &Tensor, eps: f64) -> Result<Tensor> {
    let centred = centred(x)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    centred.broadcast_div(&(variance + eps)?.sqrt()?)
}

/// Scales and moves every vector by what was learned, which has to be of its width.
pub(super) fn affine(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let width = [x.dim(D::Minus1)?];
    if weight.dims() != width || bias.dims() != width {
        bail!("{:?} and {:?} do not fit {:?}", weight.dims(), bias.dims(), x.dims());
    }
    x.broadcast_mul(weight)?.broadcast_add(bias)
}

/// Does the work in `f32` whatever came, and casts back, as an answer with a fixed dtype does.
pub(super) fn in_single(
    work: impl FnOnce(&[Tensor]) -> Result<Tensor>,
    tensors: &[&Tensor],
) -> Result<Tensor> {
    let single: Vec<Tensor> =
        tensors.iter().map(|t| t.to_dtype(DType::F32)).collect::<Result<_>>()?;
    work(&single)?.to_dtype(tensors[0].dtype())
}

/// The steps of a GPT, each to be spoiled by some impostor.
#[derive(Clone, Copy)]
pub(super) struct Steps {
    /// A learned norm, by its name.
    pub(super) norm: fn(&Weights, &str, &Tensor) -> Result<Tensor>,
    /// A learned projection, by its name.
    pub(super) conv: fn(&Weights, &str, &Tensor) -> Result<Tensor>,
    pub(super) gelu: fn(&Tensor) -> Result<Tensor>,
    /// From three widths side by side to q, k and v in heads.
    pub(super) split: fn(&Tensor, usize) -> Result<[Tensor; 3]>,
    /// What came before, and what is new.
    pub(super) extend: fn(Option<&Tensor>, &Tensor) -> Result<Tensor>,
    pub(super) pattern: fn(&Tensor, &Tensor) -> Result<Tensor>,
    pub(super) merge: fn(&Tensor) -> Result<Tensor>,
    /// How the sub-blocks hang on the stream.
    pub(super) arrange: fn(&Self, &Weights, &Tensor, &mut Attend) -> Result<Tensor>,
}

/// Attention as one step: from a normed copy of the stream to what is added to it.
pub(super) type Attend<'a> = dyn FnMut(&Tensor) -> Result<Tensor> + 'a;

/// The two caches of a block, if there are any.
pub(super) type Caches<'a> = [Option<&'a Tensor>; 2];

impl Steps {
    pub(super) const HONEST: Self = Self {
        norm: |weights, name, x| {
            let of = |end| weights.get(&format!("{name}.{end}"));
            affine(&normed(x, 1e-5)?, of("weight")?, of("bias")?)
        },
        conv: conv1d,
        gelu: gelu_by_tanh,
        split: split_qkv,
        extend: |past, new| match past {
            None => Ok(new.clone()),
            Some(past) => Tensor::cat(&[past, new], 2),
        },
        pattern: causal_pattern,
        merge: |z| {
            let (batch, n_heads, seq, d_head) = z.dims4()?;
            z.transpose(1, 2)?.reshape((batch, seq, n_heads * d_head))
        },
        arrange: |steps, weights, resid_pre, attend| {
            let resid_mid = (resid_pre + attend(&(steps.norm)(weights, "ln_1", resid_pre)?)?)?;
            let mlp_out =
                steps.mlp(weights, "mlp.", &(steps.norm)(weights, "ln_2", &resid_mid)?)?;
            resid_mid + mlp_out
        },
    };

    pub(super) fn mlp(&self, weights: &Weights, prefix: &str, x: &Tensor) -> Result<Tensor> {
        let inside = (self.conv)(weights, &format!("{prefix}c_fc"), x)?;
        (self.conv)(weights, &format!("{prefix}c_proj"), &(self.gelu)(&inside)?)
    }

    pub(super) fn block(
        &self,
        weights: &Weights,
        resid_pre: &Tensor,
        n_heads: usize,
        caches: Caches,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let mut kept = None;
        let mut attend = |normed: &Tensor| {
            let [q, k, v] = (self.split)(&(self.conv)(weights, "attn.c_attn", normed)?, n_heads)?;
            let (k, v) = ((self.extend)(caches[0], &k)?, (self.extend)(caches[1], &v)?);
            let z = (self.pattern)(&q, &k)?.matmul(&v.contiguous()?)?;
            kept = Some((k, v));
            (self.conv)(weights, "attn.c_proj", &(self.merge)(&z)?)
        };
        let resid_post = (self.arrange)(self, weights, resid_pre, &mut attend)?;
        match kept {
            Some((k, v)) => Ok((resid_post, k, v)),
            None => bail!("nothing was attended to"),
        }
    }
}

/// `x weight + bias`, with the weight as `(d_in, d_out)`.
pub(super) fn conv1d(weights: &Weights, name: &str, x: &Tensor) -> Result<Tensor> {
    let of = |end| weights.get(&format!("{name}.{end}"));
    let (weight, bias) = (of("weight")?, of("bias")?);
    let d_out = weight.dim(1)?;
    if bias.dims() != [d_out] {
        bail!("`{name}.bias` is {:?} for {d_out}", bias.dims());
    }
    if x.dim(D::Minus1)? != weight.dim(0)? {
        bail!("`{name}.weight` is {:?} for {:?}", weight.dims(), x.dims());
    }
    let mut shape = x.dims().to_vec();
    shape[x.rank() - 1] = d_out;
    x.reshape(((), weight.dim(0)?))?.matmul(weight)?.broadcast_add(bias)?.reshape(shape)
}

pub(super) fn gelu_by_tanh(x: &Tensor) -> Result<Tensor> {
    let cubic = (x + (x.powf(3.0)? * 0.044_715)?)?;
    let bend = (cubic * (2.0 / std::f64::consts::PI).sqrt())?.tanh()?;
    (x * (bend + 1.0)?)? * 0.5
}

/// q, k and v in heads, from `(batch, seq, 3 * d_model)`.
pub(super) fn split_qkv(qkv: &Tensor, n_heads: usize) -> Result<[Tensor; 3]> {
    let (batch, seq, width) = qkv.dims3()?;
    let d_model = width / 3;
    if n_heads == 0 || width % 3 != 0 || d_model % n_heads != 0 {
        bail!("{n_heads} heads do not divide {d_model}, a third of {width}");
    }
    let heads = |part: usize| {
        let part = qkv.narrow(2, part * d_model, d_model)?;
        part.reshape((batch, seq, n_heads, d_model / n_heads))?.transpose(1, 2)?.contiguous()
    };
    Ok([heads(0)?, heads(1)?, heads(2)?])
}

/// Attention weights of queries that stand at the last positions of the keys.
pub(super) fn causal_pattern(q: &Tensor, k: &Tensor) -> Result<Tensor> {
    let scores = (scores(q, k)? / (q.dim(3)? as f64).sqrt())?;
    let may = may_attend(q.dim(2)?, k.dim(2)?, k.dim(2)? - q.dim(2)?, &scores)?;
    candle_nn::ops::softmax(&hidden(&scores, &may)?, D::Minus1)
}

pub(super) fn scores(q: &Tensor, k: &Tensor) -> Result<Tensor> {
    q.contiguous()?.matmul(&k.contiguous()?.t()?)
}

/// A causal mask for queries that stand behind so many keys, in the shape of the scores.
pub(super) fn may_attend(
    seq_q: usize,
    seq_k: usize,
    before: usize,
    scores: &Tensor,
) -> Result<Tensor> {
    let may = |at: usize| u8::from(at % seq_k <= at / seq_k + before);
    let mask: Vec<u8> = (0..seq_q * seq_k).map(may).collect();
    Tensor::from_vec(mask, (seq_q, seq_k), scores.device())?.broadcast_as(scores.shape())
}

/// The lowest number where a mask is 0.
pub(super) fn hidden(scores: &Tensor, may: &Tensor) -> Result<Tensor> {
    let low = Tensor::new(f32::MIN, scores.device())?.to_dtype(scores.dtype())?;
    may.where_cond(scores, &low.broadcast_as(scores.shape())?)
}

/// Weights in `f32` whatever came.
pub(super) fn single(weights: &Weights) -> Result<Weights> {
    let single = |(name, t): (&str, &Tensor)| Ok((name.to_owned(), t.to_dtype(DType::F32)?));
    weights.iter().map(single).collect()
}
