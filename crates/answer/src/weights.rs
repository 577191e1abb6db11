//! Tensors by name.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, bail};

/// Named tensors: the weights of a layer or model, or its activations.
#[derive(Clone, Debug, Default)]
pub struct Weights(BTreeMap<String, Tensor>);

impl Weights {
    /// Makes an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks up a tensor that must be there.
    ///
    /// # Errors
    ///
    /// Fails if it is not, naming what is.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        match self.0.get(name) {
            Some(tensor) => Ok(tensor),
            None => bail!("there is no tensor `{name}`; there are {:?}", self.0.keys()),
        }
    }

    /// Looks up a tensor that may be absent, such as a bias.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// Adds or replaces a tensor.
    pub fn insert(&mut self, name: &str, tensor: Tensor) {
        self.0.insert(name.to_owned(), tensor);
    }

    /// Goes through the tensors in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }
}

impl FromIterator<(String, Tensor)> for Weights {
    fn from_iter<I: IntoIterator<Item = (String, Tensor)>>(tensors: I) -> Self {
        Self(tensors.into_iter().collect())
    }
}
