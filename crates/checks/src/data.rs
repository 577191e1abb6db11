//! What checks read from disk: the data of the course, and the models that we trained and ship.

use std::fmt::Display;

use report::Verdict;
use safetensors::SafeTensors;

use crate::{Array, Death, Stop, named::Named};

/// A model of ours.
pub(crate) struct Trained {
    /// Its weights, stored in half precision, so each is a number of `f32` as well.
    pub(crate) weights: Named,
    /// Heads of each block.
    pub(crate) n_heads: usize,
    /// How many blocks it has.
    pub(crate) n_layers: usize,
}

/// Reads a model, such as `char_gpt`.
///
/// # Errors
///
/// Stops with a fault of ours if its file is missing or damaged.
pub(crate) fn trained(model: &str) -> Result<Trained, Stop> {
    let bytes = datasets::model(model).map_err(|error| not_judged(&error))?;
    let (_, words) = SafeTensors::read_metadata(&bytes).map_err(|error| not_judged(&error))?;
    let n_heads = words.metadata().as_ref().and_then(|words| words.get("n_heads")?.parse().ok());
    let n_heads = n_heads
        .ok_or_else(|| not_judged(&format!("{model} does not say how many heads it has")))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| not_judged(&error))?;
    let mut weights = Named::new();
    for (name, tensor) in tensors.iter() {
        let halves = tensor.data().chunks_exact(2);
        let numbers = halves.map(|half| half::f16::from_le_bytes([half[0], half[1]]).to_f64());
        weights.insert(name.to_owned(), Array::new(tensor.shape(), numbers.collect()));
    }
    let n_layers = weights.keys().filter(|name| name.ends_with(".attn.c_attn.weight")).count();
    Ok(Trained { weights, n_heads, n_layers })
}

/// Why a check could not look: a fault of ours, never of the answer.
pub(crate) fn not_judged(error: &dyn Display) -> Stop {
    Stop::Died(Death { verdict: Verdict::JudgeFault, what: vec![format!("{error}.")] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shipped_model_is_read() {
        let Ok(model) = trained("char_gpt") else { panic!("it is there") };
        assert_eq!((model.n_layers, model.n_heads), (2, 4));
        assert_eq!(model.weights["wte.weight"].shape(), [256, 64]);
        assert!(trained("no_such_model").is_err());
    }
}
