//! The tensors of a [`Gpt`](crate::Gpt): which there must be, and of which shape.
//!
//! **Invariant:** a set that passes is whole: each tensor has its shape, is finite, and is used.

use std::collections::BTreeMap;

use answer::Weights;
use candle_core::{DType, Result, Tensor, bail};

/// Proves that the tensors are those of a model, each whole, and counts its blocks.
pub(crate) fn check(weights: &Weights, n_heads: usize) -> Result<usize> {
    let n_layers = blocks(weights)?;
    let expected = expected_shapes(weights, n_layers, n_heads)?;
    let wte = weights.get("wte.weight")?;
    for (name, shape) in &expected {
        let tensor = weights.get(name)?;
        if tensor.dims() != shape {
            bail!("`{name}` has shape {:?}; expected {shape:?}", tensor.dims());
        }
        if tensor.dtype() != wte.dtype() || !tensor.dtype().is_float() {
            let (found, other) = (tensor.dtype(), wte.dtype());
            bail!("`{name}` has dtype {found:?}; all must have one, and `wte.weight` has {other:?}")
        }
        // Zero times anything finite is zero; a sum of the numbers themselves could overflow.
        let zero = (tensor.detach() * 0.0)?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        if zero != 0.0 {
            bail!("`{name}` holds a number that is not finite");
        }
    }
    let is_mask = |name: &str| name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
    let foreign = |(name, _): &(&str, &Tensor)| !expected.contains_key(*name) && !is_mask(name);
    if let Some((name, _)) = weights.iter().find(foreign) {
        bail!("there is a tensor `{name}`, which nothing uses");
    }
    Ok(n_layers)
}

/// Counts the blocks, of which none may be left out.
fn blocks(weights: &Weights) -> Result<usize> {
    let number = |name: &str| name.strip_prefix("h.")?.split('.').next()?.parse::<usize>().ok();
    let mut found: Vec<usize> = weights.iter().filter_map(|(name, _)| number(name)).collect();
    found.sort_unstable();
    found.dedup();
    if let Some(missing) = (0..found.len()).find(|&layer| found[layer] != layer) {
        bail!("there is no tensor of block `h.{missing}`, but there are of `h.{}`", found[missing]);
    }
    Ok(found.len())
}

/// The shape of every tensor that there must be, if those are there that are.
fn expected_shapes(
    weights: &Weights,
    n_layers: usize,
    n_heads: usize,
) -> Result<BTreeMap<String, Vec<usize>>> {
    let (d_vocab, d_model) = matrix(weights, "wte.weight")?;
    let mut shapes = Shapes { weights, expected: BTreeMap::new() };
    shapes.must("wte.weight", &[d_vocab, d_model]);
    for name in ["wpe.weight", "lm_head.weight"] {
        if weights.find(name).is_some() {
            shapes.must(name, &[matrix(weights, name)?.0, d_model]);
        }
    }
    shapes.norm("ln_f", d_model);
    for layer in 0..n_layers {
        let block = format!("h.{layer}");
        for norm in ["ln_1", "ln_2"] {
            shapes.norm(&format!("{block}.{norm}"), d_model);
        }
        let attn = format!("{block}.attn.c_");
        if shapes.has(&attn) {
            let (_, width) = matrix(weights, &format!("{attn}attn.weight"))?;
            if !width.is_multiple_of(3 * n_heads) || width == 0 {
                bail!(
                    "`{attn}attn.weight` has {width} columns, which are not q, k and v of \
                       {n_heads} heads"
                );
            }
            shapes.linear(&format!("{attn}attn"), d_model, width);
            shapes.linear(&format!("{attn}proj"), width / 3, d_model);
        }
        let mlp = format!("{block}.mlp.c_");
        if shapes.has(&mlp) {
            let (_, d_mlp) = matrix(weights, &format!("{mlp}fc.weight"))?;
            shapes.linear(&format!("{mlp}fc"), d_model, d_mlp);
            shapes.linear(&format!("{mlp}proj"), d_mlp, d_model);
        } else if shapes.has(&format!("{block}.ln_2.")) {
            bail!("there is `{block}.ln_2`, but no MLP that would read it");
        }
    }
    Ok(shapes.expected)
}

fn matrix(weights: &Weights, name: &str) -> Result<(usize, usize)> {
    weights.get(name)?.dims2().map_err(|error| error.context(format!("`{name}` is no matrix")))
}

/// The shapes so far, and what is there.
struct Shapes<'a> {
    weights: &'a Weights,
    expected: BTreeMap<String, Vec<usize>>,
}

impl Shapes<'_> {
    /// Whether any tensor's name begins so.
    fn has(&self, prefix: &str) -> bool {
        self.weights.iter().any(|(name, _)| name.starts_with(prefix))
    }

    fn must(&mut self, name: &str, shape: &[usize]) {
        self.expected.insert(name.to_owned(), shape.to_vec());
    }

    /// A matrix as `(d_in, d_out)`, and its bias if there is one.
    fn linear(&mut self, name: &str, d_in: usize, d_out: usize) {
        self.must(&format!("{name}.weight"), &[d_in, d_out]);
        self.bias(name, d_out);
    }

    /// A norm, if there is anything of it.
    fn norm(&mut self, name: &str, d_model: usize) {
        if self.has(&format!("{name}.")) {
            self.must(&format!("{name}.weight"), &[d_model]);
            self.bias(name, d_model);
        }
    }

    fn bias(&mut self, name: &str, width: usize) {
        let name = format!("{name}.bias");
        if self.weights.find(&name).is_some() {
            self.must(&name, &[width]);
        }
    }
}
