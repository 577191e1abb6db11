//! An honest GPT in pieces, for impostors to spoil one of.

use answer::Weights;
use candle_core::{DType, Result, Tensor, bail};

use super::super::steps::Steps;

/// The pieces of a model.
pub(super) struct Model {
    pub(super) steps: Steps,
    /// Which faults of the tensors are noticed.
    pub(super) notices: &'static [Fault],
    pub(super) embed: fn(&Weights, &Tensor) -> Result<Tensor>,
    /// The numbers of the blocks, in the order in which they run.
    pub(super) order: fn(usize) -> Vec<usize>,
    pub(super) unembed: fn(&Weights, &Tensor) -> Result<Tensor>,
}

/// What can be wrong with a tensor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Missing,
    Shape,
    NotFinite,
    Unused,
    /// Not a fault at all: the masks of GPT-2's files.
    Mask,
}

use Fault::{Missing, NotFinite, Shape, Unused};

impl Model {
    pub(super) const HONEST: Self = Self {
        steps: Steps::HONEST,
        notices: &[Missing, Shape, NotFinite, Unused],
        embed,
        order: |n_layers| (0..n_layers).collect(),
        unembed: |weights, resid| logits(weights, resid, weights.get("wte.weight")?),
    };

    pub(super) fn run(&self, weights: &Weights, tokens: &Tensor, n_heads: usize) -> Result<Tensor> {
        let n_layers = look(weights, self.notices)?;
        let mut resid = (self.embed)(weights, tokens)?;
        for layer in (self.order)(n_layers) {
            let block = below(weights, &format!("h.{layer}."));
            resid = self.steps.block(&block, &resid, n_heads, [None, None])?.0;
        }
        (self.unembed)(weights, &resid)
    }
}

pub(super) fn embed(weights: &Weights, tokens: &Tensor) -> Result<Tensor> {
    let of_tokens = look_up(weights, tokens)?;
    of_tokens.broadcast_add(&weights.get("wpe.weight")?.narrow(0, 0, tokens.dim(1)?)?)
}

pub(in super::super) fn look_up(weights: &Weights, tokens: &Tensor) -> Result<Tensor> {
    let wte = weights.get("wte.weight")?;
    let (batch, seq) = tokens.dims2()?;
    wte.index_select(&tokens.flatten_all()?, 0)?.reshape((batch, seq, wte.dim(1)?))
}

/// A last norm, then the products with the rows of a table.
pub(in super::super) fn logits(
    weights: &Weights,
    resid: &Tensor,
    table: &Tensor,
) -> Result<Tensor> {
    products(&(Steps::HONEST.norm)(weights, "ln_f", resid)?, table)
}

pub(super) fn products(resid: &Tensor, table: &Tensor) -> Result<Tensor> {
    let (batch, seq, d_model) = resid.dims3()?;
    let rows = resid.reshape((batch * seq, d_model))?;
    rows.matmul(&table.t()?)?.reshape((batch, seq, table.dim(0)?))
}

/// The tensors whose names start so, without that start.
pub(in super::super) fn below(weights: &Weights, start: &str) -> Weights {
    let inside = |(name, tensor): (&str, &Tensor)| {
        name.strip_prefix(start).map(|name| (name.to_owned(), tensor.clone()))
    };
    weights.iter().filter_map(inside).collect()
}

/// Looks for the faults that are noticed, and counts the blocks.
fn look(weights: &Weights, notices: &[Fault]) -> Result<usize> {
    let number = |name: &str| name.strip_prefix("h.")?.split('.').next()?.parse::<usize>().ok();
    let n_layers = weights.iter().filter_map(|(name, _)| number(name)).max().map_or(0, |n| n + 1);
    let shapes = shapes(weights, n_layers)?;
    for (name, shape) in &shapes {
        let Some(tensor) = weights.find(name) else {
            if notices.contains(&Missing) {
                bail!("`{name}` is missing");
            }
            bail!("a tensor is missing");
        };
        if notices.contains(&Shape) && tensor.dims() != shape {
            bail!("`{name}` is {:?}, not {shape:?}", tensor.dims());
        }
        if notices.contains(&NotFinite) && !is_finite(tensor)? {
            bail!("`{name}` is not finite");
        }
    }
    for (name, _) in weights.iter().filter(|(name, _)| shapes.iter().all(|(n, _)| n != name)) {
        let is_mask = name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
        let fault = if is_mask { Fault::Mask } else { Unused };
        if notices.contains(&fault) {
            bail!("nothing uses `{name}`");
        }
    }
    Ok(n_layers)
}

fn is_finite(tensor: &Tensor) -> Result<bool> {
    let numbers = tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    Ok(numbers.iter().all(|number| number.is_finite()))
}

/// The names and shapes that a model of these sizes has.
fn shapes(weights: &Weights, n_layers: usize) -> Result<Vec<(String, Vec<usize>)>> {
    let (d_vocab, d) = weights.get("wte.weight")?.dims2()?;
    let n_ctx = weights.get("wpe.weight")?.dim(0)?;
    let mut shapes = vec![
        ("wte.weight".to_owned(), vec![d_vocab, d]),
        ("wpe.weight".to_owned(), vec![n_ctx, d]),
        ("ln_f.weight".to_owned(), vec![d]),
        ("ln_f.bias".to_owned(), vec![d]),
    ];
    for layer in 0..n_layers {
        let bias = weights.find(&format!("h.{layer}.mlp.c_fc.bias"));
        let d_mlp = bias.map_or(0, Tensor::elem_count);
        for (name, [d_in, d_out]) in [
            ("attn.c_attn", [d, 3 * d]),
            ("attn.c_proj", [d, d]),
            ("mlp.c_fc", [d, d_mlp]),
            ("mlp.c_proj", [d_mlp, d]),
        ] {
            shapes.push((format!("h.{layer}.{name}.weight"), vec![d_in, d_out]));
            shapes.push((format!("h.{layer}.{name}.bias"), vec![d_out]));
        }
        for name in ["ln_1", "ln_2"] {
            shapes.push((format!("h.{layer}.{name}.weight"), vec![d]));
            shapes.push((format!("h.{layer}.{name}.bias"), vec![d]));
        }
    }
    Ok(shapes)
}
