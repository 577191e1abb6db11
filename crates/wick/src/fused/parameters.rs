//! A model's weights in one buffer, and their gradients in another.
//!
//! A node of candle's graph has three arguments at most, and its gradients are each added to a
//! fresh tensor of zeros.
//! Here a node takes all weights as one argument, and its backward pass adds to the gradient where
//! the optimiser will read it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use candle_core::{DType, Result, Shape, Tensor, Var, backprop::GradStore, bail};
use kernels::Write;

use super::{
    AdamWSettings,
    numbers::{Numbers, have_kernels},
    optimiser::{Moments, Update, clip_factor},
};
use crate::Weights;

/// The weights of a model, their gradients, and what `AdamW` remembers of them.
#[derive(Debug)]
pub struct Parameters {
    flat: Var,
    places: BTreeMap<String, Place>,
    sink: Arc<Sink>,
    moments: Moments,
    step: i32,
}

#[derive(Clone, Debug)]
struct Place {
    slot: Slot,
    shape: Shape,
}

/// Where a tensor lies among all numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    index: usize,
    start: usize,
    length: usize,
}

impl Slot {
    /// The numbers of this tensor.
    pub(super) fn of(self, flat: &[f32]) -> &[f32] {
        &flat[self.start..][..self.length]
    }
}

impl Parameters {
    /// Copies the weights into one buffer, in the order of their names.
    ///
    /// # Errors
    ///
    /// Fails if they are none, or not all of one dtype on one device.
    pub fn new(weights: &Weights) -> Result<Self> {
        let mut places = BTreeMap::new();
        let (mut tensors, mut start) = (Vec::new(), 0);
        for (index, (name, tensor)) in weights.iter().enumerate() {
            let length = tensor.elem_count();
            let place =
                Place { slot: Slot { index, start, length }, shape: tensor.shape().clone() };
            places.insert(name.to_owned(), place);
            tensors.push(tensor.detach().flatten_all()?);
            start += length;
        }
        if start == 0 {
            bail!("there are no weights")
        }
        let flat = Var::from_tensor(&Tensor::cat(&tensors, 0)?)?;
        let length = if have_kernels(&[&flat]) { start } else { 0 };
        let sink = Gradients { flat: vec![0.0; length], written: vec![false; places.len()] };
        let moments = Moments::of(&flat)?;
        Ok(Self { flat, places, sink: Arc::new(Sink(Mutex::new(sink))), moments, step: 0 })
    }

    /// A weight as a view, through which gradients flow as through any tensor.
    ///
    /// # Errors
    ///
    /// Fails if there is none of this name.
    pub fn get(&self, name: &str) -> Result<Tensor> {
        let Place { slot, shape } = self.place(name)?;
        self.flat.narrow(0, slot.start, slot.length)?.reshape(shape)
    }

    /// Copies of all weights, detached.
    ///
    /// # Errors
    ///
    /// Fails if candle does.
    pub fn weights(&self) -> Result<Weights> {
        let copy = |name: &String| Ok((name.clone(), self.get(name)?.detach().copy()?));
        self.places.keys().map(copy).collect()
    }

    /// Copies of the gradients so far: of `backward`'s result, and of what kernels have added up.
    ///
    /// # Errors
    ///
    /// Fails if candle does.
    pub fn gradients(&self, store: &GradStore) -> Result<Weights> {
        let flat = if self.has_kernels() {
            let flat = self.sink.complete(&self.places, store.get(&self.flat))?.flat.clone();
            Tensor::from_vec(flat, self.flat.shape(), self.flat.device())?
        } else {
            store.get(&self.flat).cloned().map_or_else(|| self.flat.zeros_like(), Ok)?
        };
        let part = |(name, Place { slot, shape }): (&String, &Place)| {
            Ok((name.clone(), flat.narrow(0, slot.start, slot.length)?.reshape(shape)?))
        };
        self.places.iter().map(part).collect()
    }

    /// Forgets the gradients so far; [`Parameters::step`] does so too.
    pub fn clear_gradients(&self) {
        self.sink.lock().written.fill(false);
    }

    /// One step of `AdamW`, with gradients clipped to `max_norm` if there is one; gives their norm
    /// before.
    ///
    /// # Errors
    ///
    /// Fails if candle does.
    pub fn step(
        &mut self,
        store: &GradStore,
        settings: AdamWSettings,
        max_norm: Option<f64>,
    ) -> Result<f64> {
        self.step += 1;
        let factor = |norm: f64| max_norm.map_or(1.0, |max_norm| clip_factor(norm, max_norm));
        let with = |norm| Update { settings, step: self.step, factor: factor(norm) };
        if self.has_kernels() {
            let gradients = self.sink.complete(&self.places, store.get(&self.flat))?;
            let norm = kernels::sum_of_squares(&gradients.flat).sqrt();
            self.moments.step_numbers(&self.flat, &gradients.flat, with(norm))?;
            drop(gradients);
            self.clear_gradients();
            return Ok(norm);
        }
        let Some(gradient) = store.get(&self.flat) else { return Ok(0.0) };
        let squares = gradient.sqr()?.sum_all()?.to_dtype(DType::F64)?;
        let norm = squares.to_scalar::<f64>()?.sqrt();
        self.moments.step(&self.flat, gradient, with(norm))?;
        Ok(norm)
    }

    /// Names, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    pub(super) fn has_kernels(&self) -> bool {
        have_kernels(&[&self.flat])
    }

    pub(super) fn flat(&self) -> &Tensor {
        &self.flat
    }

    pub(super) fn sink(&self) -> Arc<Sink> {
        Arc::clone(&self.sink)
    }

    /// Where a weight lies; fails if its shape is another.
    pub(super) fn slot(&self, name: &str, shape: &[usize]) -> Result<Slot> {
        let place = self.place(name)?;
        if place.shape.dims() != shape {
            bail!("`{name}` is {:?}, not {shape:?}", place.shape)
        }
        Ok(place.slot)
    }

    pub(super) fn shape(&self, name: &str) -> Result<&Shape> {
        Ok(&self.place(name)?.shape)
    }

    fn place(&self, name: &str) -> Result<&Place> {
        match self.places.get(name) {
            Some(place) => Ok(place),
            None => bail!("there is no tensor `{name}`; there are {:?}", self.places.keys()),
        }
    }
}

/// Where backward passes add gradients up.
#[derive(Debug)]
pub(super) struct Sink(Mutex<Gradients>);

#[derive(Debug)]
pub(super) struct Gradients {
    flat: Vec<f32>,
    /// For each slot, whether it holds a gradient; else what it holds is old.
    written: Vec<bool>,
}

impl Sink {
    pub(super) fn lock(&self) -> MutexGuard<'_, Gradients> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gradients with zeros where none came, and with what candle itself found of them.
    fn complete(
        &self,
        places: &BTreeMap<String, Place>,
        more: Option<&Tensor>,
    ) -> Result<MutexGuard<'_, Gradients>> {
        let mut gradients = self.lock();
        for place in places.values() {
            gradients.add(place.slot, |slot, write| {
                if write == Write::Replace {
                    slot.fill(0.0);
                }
            });
        }
        if let Some(more) = more {
            let more = more.contiguous()?;
            for (to, from) in gradients.flat.iter_mut().zip(Numbers::of(&more)?.iter()) {
                *to += from;
            }
        }
        Ok(gradients)
    }
}

impl Gradients {
    /// Lets `add` write or add to a slot, according to what it holds.
    pub(super) fn add(&mut self, slot: Slot, add: impl FnOnce(&mut [f32], Write)) {
        let write = if self.written[slot.index] { Write::Add } else { Write::Replace };
        self.written[slot.index] = true;
        add(&mut self.flat[slot.start..][..slot.length], write);
    }

    /// Writes or adds these numbers.
    pub(super) fn add_numbers(&mut self, slot: Slot, numbers: &[f32]) {
        self.add(slot, |to, write| match write {
            Write::Replace => to.copy_from_slice(numbers),
            Write::Add => to.iter_mut().zip(numbers).for_each(|(to, from)| *to += from),
        });
    }
}
