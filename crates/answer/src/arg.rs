//! Arguments: from protocol values to the types that a part declares.

use std::{
    any::Any,
    sync::{Arc, OnceLock},
};

use anyhow::{Context as _, bail, ensure};
use candle_core::{Device, Result as CandleResult, Tensor, Var};
use protocol::Value;

use crate::{Numbers, Program, Weights, tensor};

/// One decoded argument.
#[derive(Clone, Debug)]
pub enum Arg {
    /// An optional argument that is absent.
    None,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A real number.
    Float(f64),
    /// A string.
    Text(String),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// Whole numbers; also as sizes, if none is negative.
    Ints(Vec<i64>, Vec<usize>),
    /// Strings; also as a program, if they are one.
    Texts(Vec<String>, Option<Program>),
    /// A tensor.
    Tensor(Tensor),
    /// Tensors by name; also as what is made of them, once something is.
    Named(Weights, Made),
    /// Real numbers by name.
    Numbers(Numbers),
}

/// What a crate above makes of an argument, such as a model of its tensors: at most one thing.
#[derive(Clone, Debug, Default)]
pub struct Made(OnceLock<Arc<dyn Any + Send + Sync>>);

impl Made {
    /// Gives what was made, and makes it the first time.
    ///
    /// # Errors
    ///
    /// Fails if the recipe does, or something of another type was made before.
    pub fn get_or_make<T: Any + Send + Sync>(
        &self,
        recipe: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<&T> {
        if self.0.get().is_none() {
            let fresh = recipe()?;
            self.0.get_or_init(|| Arc::new(fresh));
        }
        let made = self.0.get().context("nothing was made")?;
        made.downcast_ref().context("something else was made of this argument before")
    }
}

/// Takes a variable, with the name that it has inside its argument.
type Track<'a> = dyn FnMut(&str, Tracked) + 'a;

/// Decodes one argument onto `device`.
///
/// With `tracked`, floating-point tensors become variables, which are handed to it with the name
/// they have inside the argument (empty for a plain tensor).
///
/// # Errors
///
/// Fails if a tensor's bytes do not fill its shape, or the device does not take it.
pub fn decode(
    value: &Value,
    device: &Device,
    mut tracked: Option<&mut Track<'_>>,
) -> anyhow::Result<Arg> {
    let mut place = |name: &str, raw: &protocol::RawTensor| -> anyhow::Result<Tensor> {
        let buffer = tensor::memory_buffer(raw, device)?;
        let view = tensor::View::of(raw);
        let Some(track) = tracked.as_mut().filter(|_| raw.dtype.is_float()) else {
            return Ok(view.apply(&buffer)?);
        };
        let variable = Var::from_tensor(&buffer)?;
        let seen = view.apply(variable.as_tensor())?;
        track(name, Tracked { variable, view });
        Ok(seen)
    };
    Ok(match value {
        Value::None => Arg::None,
        Value::Bool(flag) => Arg::Bool(*flag),
        Value::Int(number) => Arg::Int(*number),
        Value::Float(number) => Arg::Float(*number),
        Value::Text(text) => Arg::Text(text.clone()),
        Value::Bytes(bytes) => Arg::Bytes(bytes.clone()),
        Value::Texts(texts) => Arg::Texts(texts.clone(), Program::parse(texts).ok()),
        Value::Numbers(numbers) => Arg::Numbers(Numbers::from(numbers.clone())),
        Value::Ints(ints) => {
            let sizes = ints.iter().filter_map(|&n| usize::try_from(n).ok()).collect();
            Arg::Ints(ints.clone(), sizes)
        }
        Value::Tensor(raw) => Arg::Tensor(place("", raw)?),
        Value::Named(tensors) => {
            let place = |(name, raw): (&String, _)| Ok((name.clone(), place(name, raw)?));
            let tensors = tensors.iter().map(place).collect::<anyhow::Result<_>>()?;
            Arg::Named(tensors, Made::default())
        }
    })
}

/// A variable behind an argument, and the view of it that the answer was given.
#[derive(Debug)]
pub struct Tracked {
    variable: Var,
    view: tensor::View,
}

impl Tracked {
    /// Looks up the gradient, in the argument's own shape.
    pub(crate) fn gradient(
        &self,
        store: &candle_core::backprop::GradStore,
    ) -> CandleResult<Option<Tensor>> {
        store.get(&self.variable).map(|gradient| self.view.apply(gradient)).transpose()
    }
}

/// Hands decoded arguments to a function, one by one.
#[derive(Debug)]
pub struct Args<'a> {
    rest: &'a [Arg],
}

impl<'a> Args<'a> {
    /// Starts at the first argument.
    #[must_use]
    pub fn new(args: &'a [Arg]) -> Self {
        Self { rest: args }
    }

    /// Takes the next argument as a `T`.
    ///
    /// # Errors
    ///
    /// Fails if there is none, or it is not a `T`.
    pub fn take<T: Argument<'a>>(&mut self, name: &str) -> anyhow::Result<T> {
        let (first, rest) =
            self.rest.split_first().with_context(|| format!("argument `{name}` did not come"))?;
        self.rest = rest;
        T::from_arg(first).with_context(|| {
            format!("argument `{name}` is of another type; restore the part's signature")
        })
    }

    /// Proves that no argument is left.
    ///
    /// # Errors
    ///
    /// Fails if one is.
    pub fn finish(self) -> anyhow::Result<()> {
        ensure!(
            self.rest.is_empty(),
            "{} arguments too many came; restore the part's signature",
            self.rest.len()
        );
        Ok(())
    }
}

/// A type that a part may declare as a parameter.
pub trait Argument<'a>: Sized {
    /// Reads it from a decoded argument.
    ///
    /// # Errors
    ///
    /// Fails if the argument is of another type.
    fn from_arg(arg: &'a Arg) -> anyhow::Result<Self>;
}

impl<'a, T: Argument<'a>> Argument<'a> for Option<T> {
    fn from_arg(arg: &'a Arg) -> anyhow::Result<Self> {
        match arg {
            Arg::None => Ok(None),
            present => T::from_arg(present).map(Some),
        }
    }
}

macro_rules! argument {
    ($($type:ty: $pattern:pat $(if $guard:expr)? => $value:expr;)*) => {$(
        impl<'a> Argument<'a> for $type {
            fn from_arg(arg: &'a Arg) -> anyhow::Result<Self> {
                match arg {
                    $pattern $(if $guard)? => Ok($value),
                    other => bail!("expected {}, found {other:?}", stringify!($type)),
                }
            }
        }
    )*};
}

argument! {
    &'a Tensor: Arg::Tensor(tensor) => tensor;
    &'a Weights: Arg::Named(weights, _) => weights;
    &'a str: Arg::Text(text) => text;
    &'a [u8]: Arg::Bytes(bytes) => bytes;
    &'a [i64]: Arg::Ints(ints, _) => ints;
    &'a [usize]: Arg::Ints(ints, sizes) if ints.len() == sizes.len() => sizes;
    &'a [[usize; 2]]: Arg::Ints(ints, sizes) if ints.len() == sizes.len() && sizes.len() % 2 == 0
        => sizes.as_chunks().0;
    &'a [String]: Arg::Texts(texts, _) => texts;
    &'a Program: Arg::Texts(_, Some(program)) => program;
    &'a Numbers: Arg::Numbers(numbers) => numbers;
    usize: Arg::Int(number) => usize::try_from(*number)?;
    i64: Arg::Int(number) => *number;
    u32: Arg::Int(number) => u32::try_from(*number)?;
    f64: Arg::Float(number) => *number;
    f32: Arg::Float(number) => *number as f32;
    bool: Arg::Bool(flag) => *flag;
    // Two numbers that belong together, such as Adam's betas, cross as a tensor of two.
    (f64, f64): Arg::Tensor(pair) if pair.dims() == [2] => (number(pair, 0)?, number(pair, 1)?);
}

fn number(numbers: &Tensor, at: usize) -> CandleResult<f64> {
    numbers.get(at)?.to_scalar()
}
