//! How impostors and alternatives go through weights and state: rightly, and in usual wrong ways.

use answer::Weights;
use candle_core::{DType, Result, Tensor, bail};

/// What is remembered for one weight.
pub(super) struct Memory<'a> {
    state: &'a mut Weights,
    name: &'a str,
    /// Steps so far, if all weights are counted together.
    together: Option<f64>,
}

impl Memory<'_> {
    /// The name of the weight.
    pub(super) fn name(&self) -> &str {
        self.name
    }

    fn place(&self, what: &str) -> String {
        format!("{}.{what}", self.name)
    }

    /// What was kept, or zeros.
    pub(super) fn recall(&self, what: &str, like: &Tensor) -> Result<Tensor> {
        self.state.find(&self.place(what)).cloned().map_or_else(|| like.zeros_like(), Ok)
    }

    /// Keeps a tensor.
    pub(super) fn keep(&mut self, what: &str, tensor: &Tensor) {
        self.state.insert(&self.place(what), tensor.clone());
    }

    /// Keeps and returns `factor · (what was kept) + more`.
    pub(super) fn add(&mut self, what: &str, factor: f64, more: &Tensor) -> Result<Tensor> {
        let sum = ((self.recall(what, more)? * factor)? + more)?;
        self.keep(what, &sum);
        Ok(sum)
    }

    /// Counts this step, and returns which it is.
    pub(super) fn count(&mut self) -> Result<f64> {
        if let Some(count) = self.together {
            return Ok(count);
        }
        let place = self.place("count");
        count_at(self.state, &place)
    }
}

/// Counts one up in the state.
fn count_at(state: &mut Weights, place: &str) -> Result<f64> {
    let zero = Tensor::zeros((), DType::F64, &candle_core::Device::Cpu)?;
    let count = (state.find(place).unwrap_or(&zero) + 1.0)?;
    state.insert(place, count.clone());
    count.to_scalar()
}

/// Weights, gradients and state, as they came.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) weights: &'a Weights,
    pub(super) gradients: &'a Weights,
    pub(super) state: &'a Weights,
}

/// What a step returns: weights and state.
pub(super) type Stepped = Result<(Weights, Weights)>;

/// Goes through the gradients as the contracts ask.
pub(super) fn each(
    given: Given,
    step: impl Fn(&Tensor, &Tensor, &mut Memory) -> Result<Tensor>,
) -> Stepped {
    let (mut weights, mut state) = (given.weights.clone(), given.state.clone());
    for (name, gradient) in given.gradients.iter() {
        let weight = fitting(given.weights, name, gradient)?;
        let mut memory = Memory { state: &mut state, name, together: None };
        weights.insert(name, step(weight, gradient, &mut memory)?);
    }
    Ok((weights, state))
}

fn fitting<'a>(weights: &'a Weights, name: &str, gradient: &Tensor) -> Result<&'a Tensor> {
    let weight = weights.get(name)?;
    if weight.dims() != gradient.dims() {
        bail!("{name} is {:?} and its gradient {:?}", weight.dims(), gradient.dims());
    }
    Ok(weight)
}

/// Takes a missing gradient for one of zeros.
pub(super) fn missing_as_zeros(
    given: Given,
    step: impl Fn(&Tensor, &Tensor, &mut Memory) -> Result<Tensor>,
) -> Stepped {
    let mut gradients = given.gradients.clone();
    for (name, weight) in given.weights.iter() {
        if gradients.find(name).is_none() {
            gradients.insert(name, weight.zeros_like()?);
        }
    }
    each(Given { gradients: &gradients, ..given }, step)
}

/// Returns memories of the weights that had a gradient, and no others.
pub(super) fn state_begun_anew(
    given: Given,
    step: impl Fn(&Tensor, &Tensor, &mut Memory) -> Result<Tensor>,
) -> Stepped {
    let (weights, state) = each(given, step)?;
    Ok((weights, of_these(&state, given.gradients)))
}

/// Returns memories of the weights that came, and no others.
pub(super) fn others_forgotten(
    given: Given,
    step: impl Fn(&Tensor, &Tensor, &mut Memory) -> Result<Tensor>,
) -> Stepped {
    let (weights, state) = each(given, step)?;
    Ok((weights, of_these(&state, given.weights)))
}

fn of_these(state: &Weights, names: &Weights) -> Weights {
    let belongs =
        |place: &str| place.rsplit_once('.').is_some_and(|(name, _)| names.find(name).is_some());
    let kept = state.iter().filter(|(place, _)| belongs(place));
    kept.map(|(place, tensor)| (place.to_owned(), tensor.clone())).collect()
}

/// Goes through the weights, and never sees a gradient that has none.
pub(super) fn strangers_ignored(
    given: Given,
    step: impl Fn(&Tensor, &Tensor, &mut Memory) -> Result<Tensor>,
) -> Stepped {
    let known = given.gradients.iter().filter(|(name, _)| given.weights.find(name).is_some());
    let gradients = known.map(|(name, gradient)| (name.to_owned(), gradient.clone())).collect();
    each(Given { gradients: &gradients, ..given }, step)
}

/// Stretches a gradient to its weight.
pub(super) fn shapes_stretched(
    given: Given,
    step: impl Fn(&Tensor, &Tensor, &mut Memory) -> Result<Tensor>,
) -> Stepped {
    let mut gradients = Weights::new();
    for (name, gradient) in given.gradients.iter() {
        let shape = given.weights.get(name)?.shape();
        gradients.insert(name, gradient.broadcast_as(shape)?.contiguous()?);
    }
    each(Given { gradients: &gradients, ..given }, step)
}

/// Counts the steps of all weights together, one a call.
pub(super) fn counted_together(
    given: Given,
    step: impl Fn(&Tensor, &Tensor, &mut Memory) -> Result<Tensor>,
) -> Stepped {
    let (mut weights, mut state) = (given.weights.clone(), given.state.clone());
    let together = Some(count_at(&mut state, "count")?);
    for (name, gradient) in given.gradients.iter() {
        let weight = fitting(given.weights, name, gradient)?;
        let mut memory = Memory { state: &mut state, name, together };
        weights.insert(name, step(weight, gradient, &mut memory)?);
    }
    Ok((weights, state))
}

/// Does a step in `f32` whatever the weight is.
pub(super) fn in_single(
    weight: &Tensor,
    gradient: &Tensor,
    step: impl FnOnce(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let single = |tensor: &Tensor| tensor.to_dtype(DType::F32);
    step(&single(weight)?, &single(gradient)?)?.to_dtype(weight.dtype())
}
