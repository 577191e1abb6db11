//! Looking into a forward pass, and changing it on the way.

use candle_core::{Result, Tensor, bail};
use wick::{
    Gpt, Weights,
    hook::{Hook, Hooks},
    part, piece,
};

/// Runs a model and keeps what it passes on the way.
///
/// # Shapes
///
/// | tensor        | shape                                      | dtype         |
/// |---------------|--------------------------------------------|---------------|
/// | `tokens`      | `(batch, seq)`                             | `u32`         |
/// | first result  | `(batch, seq, d_vocab)`, the logits        | as the model  |
/// | second result | by name, each as [`wick::hook`] lists it   | as the model  |
///
/// # Contract
///
/// - Looking changes nothing: the logits are those of [`Gpt::forward`] without hooks.
/// - The second result has one tensor for each hook that the model stops at, under the name that
///   the hook prints: the value that the model had there, unchanged.
/// - With `only`, it has those names alone. (A cache of everything can be larger than the model.)
///
/// # Errors
///
/// Fails if the model never stops at a name in `only`, and names it; a misspelt name would
/// otherwise show only where the value is missing.
///
/// # Example: a model without blocks
///
/// ```text
/// wte = [[1, 0], [0, 1], [2, 2]]      tokens = [2, 0]
/// cache["hook_embed"] = [[2, 2], [1, 0]]
/// logits = hook_embed · wteᵀ = [[2, 2, 8], [1, 0, 2]]
/// ```
///
/// Source: `TransformerLens`, `HookedTransformer.run_with_cache` and its `names_filter`.
#[part(plan = "forward with hooks that remember")]
pub fn run_with_cache(
    model: &Gpt,
    tokens: &Tensor,
    only: Option<&[String]>,
) -> Result<(Tensor, Weights)> {
    let mut cache = Weights::new();
    let mut keep = |hook: Hook, value: Tensor| {
        let name = hook.to_string();
        if only.is_none_or(|only| only.contains(&name)) {
            cache.insert(&name, value.clone());
        }
        Ok(value)
    };
    let logits = model.forward(tokens, &mut keep)?;
    let missing = only.unwrap_or_default().iter().find(|name| cache.find(name).is_none());
    if let Some(name) = missing {
        bail!("the model has no hook `{name}`");
    }
    Ok((logits, cache))
}

/// A place, and what happens to the value there: the model goes on with what comes back.
pub type Edit<'a> = (Hook, Box<dyn FnMut(Tensor) -> Result<Tensor> + 'a>);

/// Runs a model and changes values on the way; returns the logits, `(batch, seq, d_vocab)`.
///
/// # Contract
///
/// - At each hook, its edits happen in the order of the list, each on what the one before left.
/// - Where there is no edit, the model goes on with its own value; without edits nothing changes.
/// - What stands later in the model is computed from what the edits left.
///
/// # Errors
///
/// Fails if an edit does, or if the model never stops at the hook of an edit, and names it.
///
/// # Example: twice, and one more
///
/// ```text
/// model without blocks: wte = [[1, 0], [0, 1], [2, 2]]      tokens = [0]
/// edits at hook_embed: x → 2 x, then x → x + [0, 1]
/// hook_embed = [1, 0] → [2, 0] → [2, 1]      logits = [[2, 1, 6]]
/// ```
///
/// Source: `TransformerLens`, `HookedTransformer.run_with_hooks`.
#[piece(plan = "forward with hooks that edit")]
pub fn run_with_hooks(model: &Gpt, tokens: &Tensor, edits: &mut [Edit<'_>]) -> Result<Tensor> {
    let mut came_by = vec![false; edits.len()];
    let mut change = |hook: Hook, mut value: Tensor| {
        for ((place, edit), came_by) in edits.iter_mut().zip(&mut came_by) {
            if *place == hook {
                value = edit(value)?;
                *came_by = true;
            }
        }
        Ok(value)
    };
    let logits = model.forward(tokens, &mut change as &mut dyn Hooks)?;
    if let Some(unused) = came_by.iter().position(|came_by| !came_by) {
        bail!("the model has no hook `{}`", edits[unused].0);
    }
    Ok(logits)
}

// given: how the judge reaches your function, since no function can cross; nothing to do here
pub mod judged {
    //! Edits as numbers: `x → factor · x + shift`.

    use candle_core::{Result, Tensor};
    use wick::{Gpt, Weights, part};

    use super::Edit;

    /// Calls [`super::run_with_hooks`] with an edit for each of `names`.
    ///
    /// Edit `n` multiplies by number `n` of `factors` and adds the tensor `n` of `shifts`, if there
    /// is one.
    ///
    /// # Errors
    ///
    /// Fails if a name is that of no hook, or as [`super::run_with_hooks`] does.
    #[part]
    pub fn run_with_hooks(
        model: &Gpt,
        tokens: &Tensor,
        names: &[String],
        factors: &Tensor,
        shifts: &Weights,
    ) -> Result<Tensor> {
        let mut edits = Vec::new();
        for (n, (name, factor)) in names.iter().zip(factors.to_vec1::<f64>()?).enumerate() {
            let shift = shifts.find(&n.to_string());
            let change = move |value: Tensor| match shift {
                Some(shift) => value.affine(factor, 0.0)?.broadcast_add(shift),
                None => value.affine(factor, 0.0),
            };
            let edit: Edit<'_> = (name.parse()?, Box::new(change));
            edits.push(edit);
        }
        super::run_with_hooks(model, tokens, &mut edits)
    }
}
