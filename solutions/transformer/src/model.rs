//! The whole model: a block, a GPT made of blocks, and what such a model costs.

use std::collections::BTreeMap;

use anyhow::ensure;
use candle_core::{D, DType, Result, Tensor, bail};
use candle_nn::ops;
use wick::{Numbers, Weights, part};

use crate::{conv1d, embed, layer_norm, mlp_block, unembed};

/// What GPT-2 adds under the root of its layer norms.
const EPS: f64 = 1e-5;

/// Lets every position read from those before it, and then think for itself.
///
/// # Shapes
///
/// | tensor                       | shape                                    | dtype             |
/// |------------------------------|------------------------------------------|-------------------|
/// | `ln_1.weight`, `ln_1.bias`   | `(d_model)`                              | `f32` or `f64`    |
/// | `attn.c_attn.weight`         | `(d_model, 3 * d_model)`                 | makes q, k and v  |
/// | `attn.c_attn.bias`           | `(3 * d_model)`                          |                   |
/// | `attn.c_proj.weight`         | `(d_model, d_model)`                     |                   |
/// | `attn.c_proj.bias`           | `(d_model)`                              |                   |
/// | `ln_2.weight`, `ln_2.bias`   | `(d_model)`                              |                   |
/// | `mlp.c_fc.…`, `mlp.c_proj.…` | as in `mlp_block`                        |                   |
/// | `resid_pre`                  | `(batch, seq, d_model)`                  | as the weights    |
/// | `cache_k`, `cache_v`         | `(batch, n_heads, cached, d_head)`       | absent at first   |
/// | `resid_post`                 | `(batch, seq, d_model)`                  | as the weights    |
/// | `k`, `v`                     | `(batch, n_heads, cached + seq, d_head)` | as the weights    |
///
/// # Contract
///
/// - The result is `(resid_post, k, v)`.
/// - `resid_mid = resid_pre + attention(ln_1(resid_pre))` and
///   `resid_post = resid_mid + mlp_block(ln_2(resid_mid))`: what is normalised is a copy; the
///   stream itself only ever gets something added. Each norm has `eps` 1e-5.
/// - Attention is causal, in `n_heads` heads of width `d_model / n_heads`; scores are divided by
///   the root of that width. `attn.c_attn` makes all of q first, then all of k, then all of v, and
///   head `h` has the columns from `h · d_head` on of each.
/// - Weights are `(d_in, d_out)`, as in `mlp_block`.
/// - With a cache, `resid_pre` holds the newest positions: they read all cached ones too, and `k`
///   and `v` are the cached ones with the new ones behind them. A text in pieces, each with the
///   cache of the last, gives what the whole text gives at once.
/// - Gradients flow back to `resid_pre`, to the caches and to every weight. (The true gradient of
///   the k-part of `attn.c_attn.bias` is 0: moving all keys together changes no pattern.)
///
/// # Errors
///
/// Fails, naming it, if a weight is missing or of a shape that does not fit; if `n_heads` is 0 or
/// does not divide `d_model`; or if one cache comes without the other.
///
/// # Example: one position, which can read from itself alone
///
/// ```text
/// resid_pre = [[[3, 5]]]    n_heads = 1
/// ln_1.weight = [0, 0], ln_1.bias = [1, 2]: attention reads [1, 2], whatever the stream is
/// c_attn: v = [1, 2] (the last two columns are the identity); attn.c_proj: the identity
/// resid_mid = [3, 5] + [1, 2] = [4, 7]
/// mlp.c_proj.weight = 0, mlp.c_proj.bias = [10, 20]
/// resid_post = [[[14, 27]]]    v = [[[[1, 2]]]]
/// ```
///
/// Source: Radford et al. (2019), §2.3, for the norm before each sub-block ("pre-norm"); Vaswani et
/// al. (2017), arXiv:1706.03762, put it behind. The names are those of GPT-2's files.
#[part(plan = "norm, attend, add; norm, MLP, add")]
pub fn block(
    weights: &Weights,
    resid_pre: &Tensor,
    n_heads: usize,
    cache_k: Option<&Tensor>,
    cache_v: Option<&Tensor>,
) -> Result<(Tensor, Tensor, Tensor)> {
    let normed = norm(weights, "ln_1", resid_pre)?; // (batch, seq, d_model)
    let [q, k, v] = queries_keys_values(weights, &normed, n_heads)?;
    let (k, v) = match (cache_k, cache_v) {
        (None, None) => (k, v),
        (Some(past_k), Some(past_v)) => {
            (Tensor::cat(&[past_k, &k], 2)?, Tensor::cat(&[past_v, &v], 2)?)
        }
        _ => bail!("`cache_k` and `cache_v` come together or not at all"),
    };
    let z = attend(&q, &k, &v)?; // (batch, n_heads, seq, d_head)
    let attn_out = conv1d(weights, "attn.c_proj", &z.transpose(1, 2)?.flatten_from(2)?)?;
    let resid_mid = (resid_pre + attn_out)?;
    let mlp_out = mlp_block(&below(weights, "mlp."), &norm(weights, "ln_2", &resid_mid)?)?;
    Ok(((resid_mid + mlp_out)?, k, v))
}

pub(crate) fn norm(weights: &Weights, name: &str, resid: &Tensor) -> Result<Tensor> {
    let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
    layer_norm(resid, weights.get(&weight)?, weights.get(&bias)?, EPS)
        .map_err(|error| error.context(format!("in `{name}`")))
}

/// Projects to three times the width, and cuts that into q, k and v, and each of them into heads.
fn queries_keys_values(weights: &Weights, normed: &Tensor, n_heads: usize) -> Result<[Tensor; 3]> {
    let (batch, seq, d_model) = normed.dims3()?;
    if n_heads == 0 || !d_model.is_multiple_of(n_heads) {
        bail!("a d_model of {d_model} cannot be cut into {n_heads} heads");
    }
    let d_head = d_model / n_heads;
    let qkv = conv1d(weights, "attn.c_attn", normed)?; // (batch, seq, 3 * d_model)
    if qkv.dim(2)? != 3 * d_model {
        bail!("`attn.c_attn.weight` makes {} numbers, not 3 * {d_model}", qkv.dim(2)?);
    }
    let heads = qkv.reshape((batch, seq, 3, n_heads, d_head))?.permute((2, 0, 3, 1, 4))?;
    let part = |n: usize| heads.get(n)?.contiguous(); // (batch, n_heads, seq, d_head)
    Ok([part(0)?, part(1)?, part(2)?])
}

/// Causal attention, with the queries at the last positions of the keys.
fn attend(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    let (_, _, seq_q, d_head) = q.dims4()?;
    let seq_k = k.dim(2)?;
    let scores = (q.matmul(&k.t()?)? / (d_head as f64).sqrt())?; // (batch, n_heads, seq_q, seq_k)
    let keys = Tensor::arange(0, seq_k as u32, q.device())?.unsqueeze(0)?;
    let queries = Tensor::arange((seq_k - seq_q) as u32, seq_k as u32, q.device())?.unsqueeze(1)?;
    let may = keys.broadcast_le(&queries)?.broadcast_as(scores.shape())?;
    // Every query may read itself, so no row is hidden entirely, and −∞ is safe.
    let hidden = Tensor::new(f32::NEG_INFINITY, q.device())?.to_dtype(scores.dtype())?;
    let scores = may.where_cond(&scores, &hidden.broadcast_as(scores.shape())?)?;
    ops::softmax(&scores, D::Minus1)?.matmul(&v.contiguous()?)
}

/// The tensors whose names start so, without that start.
pub(crate) fn below(weights: &Weights, start: &str) -> Weights {
    let inside = |(name, tensor): (&str, &Tensor)| {
        name.strip_prefix(start).map(|name| (name.to_owned(), tensor.clone()))
    };
    weights.iter().filter_map(inside).collect()
}

/// Says, at each position of each sequence, how likely every token is to come next.
///
/// # Shapes
///
/// | tensor                     | shape                   | dtype                        |
/// |----------------------------|-------------------------|------------------------------|
/// | `wte.weight`               | `(d_vocab, d_model)`    | `f32` or `f64`               |
/// | `wpe.weight`               | `(n_ctx, d_model)`      | as `wte.weight`              |
/// | `h.0.…`, `h.1.…` and so on | as in [`block`]         |                              |
/// | `ln_f.weight`, `ln_f.bias` | `(d_model)`             |                              |
/// | `tokens`                   | `(batch, seq)`          | `u32`, below `d_vocab`       |
/// | result                     | `(batch, seq, d_vocab)` | as `wte.weight`; logits      |
///
/// # Contract
///
/// - Embed, every block in the order of its *number* (10 comes after 9), a last norm with `ln_f`,
///   unembed with the matrix that embedded.
/// - The names are those in GPT-2's own files, so their tensors fit as they are:
///   `candle_core::safetensors::load(…)?.into_iter().collect::<Weights>()`.
///   There are as many blocks as the names say.
/// - `h.N.attn.bias` and `h.N.attn.masked_bias` stand in those files too. They are masks and not
///   weights, and are passed over.
/// - Nothing about a later token changes the logits of an earlier position, and no sequence of a
///   batch changes those of another.
/// - Gradients flow back to every weight. `wte.weight` gets them from both of its ends.
///
/// # Errors
///
/// Fails, with the whole name of the tensor, if one is missing, if one has another shape than it
/// must (`d_mlp` is what `h.N.mlp.c_fc.bias` says), if one holds a number that is not finite, or if
/// one is there that nothing uses. Fails also where `embed` and [`block`] do.
///
/// # Example: no blocks at all
///
/// ```text
/// wte.weight = [[1, 0], [0, 1], [2, 2]]    wpe.weight = [[0, 1], [5, 5]]
/// ln_f.weight = [1, 1]    ln_f.bias = [0, 1]    tokens = [[2]]
/// resid = [2, 2] + [0, 1] = [2, 3], normed [-1, 1] (to four digits), with the bias [-1, 2]
/// logits = [[[-1, 2, 2]]]
/// ```
///
/// Source: Radford et al. (2019), §2.3, and `src/model.py` of `github.com/openai/gpt-2`. A real
/// system looks for damaged tensors once, when it loads them.
#[part(plan = "check names, embed, blocks, norm, unembed")]
pub fn gpt(weights: &Weights, tokens: &Tensor, n_heads: usize) -> Result<Tensor> {
    let n_layers = check_tensors(weights)?;
    let wte = weights.get("wte.weight")?;
    let mut resid = embed(tokens, wte, weights.get("wpe.weight")?, 0)?; // (batch, seq, d_model)
    for layer in 0..n_layers {
        (resid, _, _) = block(&below(weights, &format!("h.{layer}.")), &resid, n_heads, None, None)
            .map_err(|error| error.context(format!("in block `h.{layer}`")))?;
    }
    unembed(&norm(weights, "ln_f", &resid)?, wte) // (batch, seq, d_vocab)
}

/// Proves that the tensors are those of a GPT, each whole, and counts its blocks.
fn check_tensors(weights: &Weights) -> Result<usize> {
    let (d_vocab, d_model) = sizes(weights, "wte.weight")?;
    let (n_ctx, _) = sizes(weights, "wpe.weight")?;
    let number = |name: &str| name.strip_prefix("h.")?.split('.').next()?.parse::<usize>().ok();
    let is_mask = |name: &str| name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
    let n_layers = weights.iter().filter_map(|(name, _)| number(name)).max().map_or(0, |n| n + 1);

    let mut expected = BTreeMap::from([
        ("wte.weight".to_owned(), vec![d_vocab, d_model]),
        ("wpe.weight".to_owned(), vec![n_ctx, d_model]),
        ("ln_f.weight".to_owned(), vec![d_model]),
        ("ln_f.bias".to_owned(), vec![d_model]),
    ]);
    // A number that jumps would make more names than there are tensors; the first one is missing.
    for layer in 0..n_layers.min(weights.iter().count()) {
        let d_mlp = weights.get(&format!("h.{layer}.mlp.c_fc.bias"))?.elem_count();
        let shapes = block_shapes(d_model, d_mlp);
        expected.extend(shapes.map(|(name, shape)| (format!("h.{layer}.{name}"), shape)));
    }
    for (name, shape) in &expected {
        let tensor = weights.get(name)?;
        if tensor.dims() != shape {
            bail!("`{name}` has shape {:?}; expected {shape:?}", tensor.dims());
        }
        // Zero times anything finite is zero; a sum of the numbers themselves could overflow.
        let zero = (tensor.detach() * 0.0)?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        if zero != 0.0 {
            bail!("`{name}` holds a number that is not finite");
        }
    }
    let foreign = |(name, _): &(&str, &Tensor)| !expected.contains_key(*name) && !is_mask(name);
    if let Some((name, _)) = weights.iter().find(foreign) {
        bail!("there is a tensor `{name}`, which nothing uses");
    }
    Ok(n_layers)
}

fn sizes(weights: &Weights, name: &str) -> Result<(usize, usize)> {
    weights.get(name)?.dims2().map_err(|error| error.context(format!("`{name}` is no matrix")))
}

fn block_shapes(d_model: usize, d_mlp: usize) -> [(&'static str, Vec<usize>); 12] {
    [
        ("ln_1.weight", vec![d_model]),
        ("ln_1.bias", vec![d_model]),
        ("attn.c_attn.weight", vec![d_model, 3 * d_model]),
        ("attn.c_attn.bias", vec![3 * d_model]),
        ("attn.c_proj.weight", vec![d_model, d_model]),
        ("attn.c_proj.bias", vec![d_model]),
        ("ln_2.weight", vec![d_model]),
        ("ln_2.bias", vec![d_model]),
        ("mlp.c_fc.weight", vec![d_model, d_mlp]),
        ("mlp.c_fc.bias", vec![d_mlp]),
        ("mlp.c_proj.weight", vec![d_mlp, d_model]),
        ("mlp.c_proj.bias", vec![d_model]),
    ]
}

/// Counts what a GPT has, computes and keeps, before anybody has built it.
///
/// # Contract
///
/// `config` has `d_vocab`, `n_ctx`, `d_model`, `n_heads`, `n_layers` and `d_mlp`, and for one run
/// `batch`, `seq`, and `bytes`: the length of one number, such as 4 for `f32`. The result has
///
/// - `parameters`: the numbers in the tensors of [`gpt`]. The tied matrix counts once.
/// - `flops`: what the matrix products of one forward pass compute, for all positions, two for each
///   product of two numbers (a multiplication and an addition). Those are the four projections of a
///   block, its scores and its mixing of values, and the unembedding. Scores count in full, though
///   the mask hides half of them. Norms, softmax and GELU count nothing.
/// - `activation_bytes`: what the forward pass keeps for the backward pass. For each position and
///   each block: `resid_pre`, its norm, q, k, v, one pattern row of `seq` for each head, z,
///   `resid_mid`, its norm, and the MLP's inside before and after the GELU; and at the end the
///   stream, its norm, and the logits.
/// - `kv_bytes`: what the caches of all blocks hold behind `seq` positions.
///
/// All four are whole numbers, and exact.
///
/// # Errors
///
/// Fails if a number is missing, is not a whole number, or is 0 (`n_layers` may be); if `n_heads`
/// does not divide `d_model`; or if `seq` is longer than `n_ctx`.
///
/// # Example: one block of width 2, and one position
///
/// ```text
/// d_vocab = 3, n_ctx = 4, d_model = 2, n_heads = 1, n_layers = 1, d_mlp = 5
/// batch = 1, seq = 1, bytes = 4
/// parameters = 6 + 8 + (8 + 12 + 6 + 4 + 2 + 10 + 5 + 10 + 2) + 4 = 77
/// flops = 2 · (12 + 4 + 10 + 10 + 2 + 2 + 6) = 92
/// activation_bytes = 4 · (8 · 2 + 1 + 2 · 5 + 2 + 2 + 3) = 136
/// kv_bytes = 4 · 2 · 2 = 16
/// ```
///
/// Source: Kaplan et al. (2020), "Scaling Laws for Neural Language Models", §2.1, table 1,
/// arXiv:2001.08361; Korthikanti et al. (2022), §4.1, arXiv:2205.05198, for activations. GPT-2 has
/// 124,439,808 parameters.
#[part(plan = "count each tensor, product, activation")]
pub fn accounting(config: &Numbers) -> anyhow::Result<Numbers> {
    let count = |name: &str| {
        let found = config.count(name)?;
        ensure!(found > 0 || name == "n_layers", "`{name}` is 0");
        Ok(found)
    };
    let (d_vocab, n_ctx, d_model) = (count("d_vocab")?, count("n_ctx")?, count("d_model")?);
    let (n_heads, n_layers, d_mlp) = (count("n_heads")?, count("n_layers")?, count("d_mlp")?);
    let (batch, seq, bytes) = (count("batch")?, count("seq")?, count("bytes")?);
    ensure!(
        d_model.is_multiple_of(n_heads),
        "{n_heads} heads do not divide a d_model of {d_model}"
    );
    ensure!(seq <= n_ctx, "`seq` is {seq}, longer than a context of {n_ctx}");

    let in_block: usize =
        block_shapes(d_model, d_mlp).iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    let parameters = (d_vocab + n_ctx + 2) * d_model + n_layers * in_block;

    let positions = batch * seq;
    let projected = 4 * d_model * d_model + 2 * d_model * d_mlp;
    let attended = 2 * seq * d_model;
    let flops = 2 * positions * (n_layers * (projected + attended) + d_model * d_vocab);

    let kept_in_block = 8 * d_model + n_heads * seq + 2 * d_mlp;
    let kept = positions * (n_layers * kept_in_block + 2 * d_model + d_vocab);
    let cached = 2 * n_layers * positions * d_model;

    let results = [
        ("parameters", parameters),
        ("flops", flops),
        ("activation_bytes", kept * bytes),
        ("kv_bytes", cached * bytes),
    ];
    let results = results.map(|(name, number)| (name.to_owned(), number as f64));
    Ok(Numbers::from(BTreeMap::from(results)))
}
