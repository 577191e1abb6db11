//! Gradients of an oracle by central differences in `f64`.

use std::collections::BTreeMap;

use protocol::{DType, Value};

use crate::Array;

/// The tensors among a question's arguments, by name; those of a named set as `weights.q`.
#[derive(Clone, Debug)]
pub struct Inputs(BTreeMap<String, Array>);

impl Inputs {
    /// Collects the tensors, floats as `f64`.
    ///
    /// # Panics
    ///
    /// Panics if a tensor that we made ourselves is none.
    pub(crate) fn of(args: &[(&'static str, Value)]) -> Self {
        let read = |raw| {
            let array = Array::from_raw(raw).expect("invariant: our own tensors are valid");
            if array.dtype().is_float() { array.to(DType::F64) } else { array }
        };
        let mut inputs = BTreeMap::new();
        for (name, value) in args {
            match value {
                Value::Tensor(raw) => {
                    inputs.insert((*name).to_owned(), read(raw));
                }
                Value::Named(set) => inputs
                    .extend(set.iter().map(|(inner, raw)| (format!("{name}.{inner}"), read(raw)))),
                _ => {}
            }
        }
        Self(inputs)
    }

    /// Looks a tensor up.
    ///
    /// # Panics
    ///
    /// Panics if there is none of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> &Array {
        &self.0[name]
    }

    /// Looks up a tensor that may be absent.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Array> {
        self.0.get(name)
    }

    /// Replaces one tensor.
    pub(crate) fn with(&self, name: &str, array: Array) -> Self {
        let mut inputs = self.0.clone();
        inputs.insert(name.to_owned(), array);
        Self(inputs)
    }

    /// Names of the tensors that can be differentiated.
    pub(crate) fn differentiable(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, array)| array.dtype().is_float()).map(|(name, _)| name.as_str())
    }
}

/// Differentiates `f` at `point` by central differences.
#[must_use]
pub fn numeric_gradient(point: &Array, f: impl Fn(&Array) -> f64) -> Array {
    let mut moved = point.to(DType::F64);
    let mut slopes = Vec::with_capacity(point.values().len());
    for (n, &value) in point.values().iter().enumerate() {
        let step = 1e-5 * value.abs().max(1.0);
        let at = point.position(n);
        let mut ask = |x: f64| {
            moved.set(&at, x);
            f(&moved)
        };
        let slope = (ask(value + step) - ask(value - step)) / (2.0 * step);
        moved.set(&at, value);
        slopes.push(slope);
    }
    Array::new(point.shape(), slopes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_of_a_cube_is_three_squares() {
        let point = Array::vector(&[1.0, -2.0]);
        let gradient = numeric_gradient(&point, |x| x.values().iter().map(|v| v.powi(3)).sum());
        for (found, exact) in gradient.values().iter().zip([3.0, 12.0]) {
            assert!((found - exact).abs() < 1e-8, "{found} is not {exact}");
        }
    }
}
