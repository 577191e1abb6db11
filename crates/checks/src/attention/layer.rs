//! One honest layer, step by step, for impostors to spoil one step of.

use answer::Weights;
use candle_core::{Result, Tensor, bail};

use super::steps::{merge, mix, pattern, split};

/// What a layer reads.
#[derive(Clone, Copy)]
pub(super) struct Streams<'a> {
    pub(super) resid_pre: &'a Tensor,
    pub(super) source: Option<&'a Tensor>,
}

impl<'a> Streams<'a> {
    pub(super) fn source(self) -> &'a Tensor {
        self.source.unwrap_or(self.resid_pre)
    }
}

/// The steps of a layer, each to be spoiled by some impostor.
pub(super) struct Steps {
    pub(super) q: fn(&Weights, Streams) -> Result<Tensor>,
    pub(super) k: fn(&Weights, Streams) -> Result<Tensor>,
    pub(super) v: fn(&Weights, Streams) -> Result<Tensor>,
    pub(super) split: fn(&Tensor, usize) -> Result<Tensor>,
    pub(super) attend: fn([&Tensor; 3], Option<&Tensor>) -> Result<Tensor>,
    pub(super) output: fn(&Weights, &Tensor) -> Result<Tensor>,
}

impl Steps {
    pub(super) const HONEST: Self = Self {
        q: |weights, streams| projected(weights, "q", streams.resid_pre),
        k: |weights, streams| projected(weights, "k", streams.source()),
        v: |weights, streams| projected(weights, "v", streams.source()),
        split,
        attend: |[q, k, v], mask| mix(&pattern(q, k, mask)?, v),
        output: |weights, z| projected(weights, "o", &merge(z)?),
    };

    pub(super) fn run(
        &self,
        weights: &Weights,
        streams: Streams,
        n_heads: usize,
        mask: Option<&Tensor>,
    ) -> Result<Tensor> {
        let head_of = |x: Result<Tensor>| (self.split)(&x?, n_heads);
        let q = head_of((self.q)(weights, streams))?;
        let k = head_of((self.k)(weights, streams))?;
        let v = head_of((self.v)(weights, streams))?;
        (self.output)(weights, &(self.attend)([&q, &k, &v], mask)?)
    }
}

pub(super) fn projected(weights: &Weights, name: &str, x: &Tensor) -> Result<Tensor> {
    let weight = weights.get(&format!("{name}.weight"))?;
    linear(x, weight, weights.find(&format!("{name}.bias")))
}

pub(super) fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    with_bias(&x.contiguous()?.broadcast_matmul(&weight.t()?)?, bias)
}

pub(super) fn with_bias(x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    bias.map_or_else(|| Ok(x.clone()), |bias| x.broadcast_add(bias))
}

/// Each head alone, with its rows of the weights; the outputs are added up, not concatenated.
pub(super) fn head_by_head(
    weights: &Weights,
    streams: Streams,
    n_heads: usize,
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    let width = weights.get("q.weight")?.dim(0)?;
    if n_heads == 0 || width % n_heads != 0 {
        bail!("{n_heads} heads do not divide {width}");
    }
    let d_head = width / n_heads;
    let mut total: Option<Tensor> = None;
    for head in 0..n_heads {
        let of_head = |name: &str, x: &Tensor| {
            let rows = weights.get(&format!("{name}.weight"))?.narrow(0, head * d_head, d_head)?;
            let bias = weights.find(&format!("{name}.bias"));
            let bias = bias.map(|bias| bias.narrow(0, head * d_head, d_head)).transpose()?;
            linear(x, &rows, bias.as_ref())?.unsqueeze(1)
        };
        let (q, k) = (of_head("q", streams.resid_pre)?, of_head("k", streams.source())?);
        let z = mix(&pattern(&q, &k, mask)?, &of_head("v", streams.source())?)?.squeeze(1)?;
        let columns = weights.get("o.weight")?.narrow(1, head * d_head, d_head)?;
        let out = linear(&z, &columns, None)?;
        total = Some(total.map_or_else(|| Ok(out.clone()), |total| total + &out)?);
    }
    match total {
        Some(total) => with_bias(&total, weights.find("o.bias")),
        None => bail!("there are no heads"),
    }
}
