//! Lazy answers: those of somebody who wants the point without the work.
//!
//! They are made from a right answer, so that they have its shapes and its errors: as good as a
//! lazy answer can be. The judge makes them; no exercise has to write them.

use std::collections::BTreeMap;

use answer::Call;
use protocol::{Gradient, Question, RawTensor, Reply, Value};

use crate::{Array, Death, Local, Subject};

/// A way to be lazy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lazy {
    /// Results with nothing in them.
    Empty,
    /// Zeros in the right shape.
    Zeros,
    /// Ones in the right shape.
    Ones,
    /// The first argument, as it came.
    FirstArgument,
    /// The right answer to the first question, as an answer to all: the documented example, by
    /// heart.
    FirstAnswer,
    /// An error, whatever is asked.
    Refusal,
}

impl Lazy {
    /// Every way.
    pub const ALL: [Self; 6] = [
        Self::Empty,
        Self::Zeros,
        Self::Ones,
        Self::FirstArgument,
        Self::FirstAnswer,
        Self::Refusal,
    ];

    /// What it answers, as the object of "an answer that gives …".
    #[must_use]
    pub fn gives(self) -> &'static str {
        match self {
            Self::Empty => "empty results",
            Self::Zeros => "zeros in the right shape",
            Self::Ones => "ones in the right shape",
            Self::FirstArgument => "its first argument",
            Self::FirstAnswer => "the documented example's result again and again",
            Self::Refusal => "an error, whatever is asked,",
        }
    }
}

/// A lazy answer as a subject.
#[derive(Debug)]
pub struct Idler {
    lazy: Lazy,
    right: Local,
    first: Option<Reply>,
}

impl Idler {
    /// Makes a lazy answer of a right one.
    #[must_use]
    pub fn new(lazy: Lazy, right: Call) -> Self {
        Self { lazy, right: Local::new(right), first: None }
    }
}

impl Subject for Idler {
    fn ask(&mut self, question: &Question) -> Result<Reply, Death> {
        let right = self.right.ask(question)?;
        let argument = match question {
            Question::Call { args, .. } | Question::Gradient { args, .. } => args.first(),
            Question::Open { .. } => None,
        };
        Ok(match (self.lazy, right) {
            (Lazy::Refusal, _) => Reply::Error("no".to_owned()),
            (Lazy::FirstAnswer, right) => self.first.get_or_insert(right).clone(),
            (lazy, Reply::Values(values, usage)) => {
                let value = |value| lazily(lazy, value, argument);
                Reply::Values(values.into_iter().map(value).collect(), usage)
            }
            (lazy, Reply::Gradients(gradients)) => {
                // What does not depend on the arguments has no gradient that could reach them.
                let mut gradients: Vec<_> = gradients.into_iter().map(severed).collect();
                if let (Lazy::FirstArgument, Question::Gradient { cotangents, .. }) =
                    (lazy, question)
                    && let Some(Gradient::Tensor(first)) = gradients.first_mut()
                {
                    *first = cotangents.first().cloned();
                }
                Reply::Gradients(gradients)
            }
            (_, other) => other,
        })
    }
}

fn lazily(lazy: Lazy, right: Value, argument: Option<&Value>) -> Value {
    match lazy {
        Lazy::Empty => emptied(right),
        Lazy::Zeros => filled(right, 0),
        Lazy::Ones => filled(right, 1),
        Lazy::FirstArgument => argument.cloned().unwrap_or(Value::None),
        Lazy::FirstAnswer | Lazy::Refusal => right,
    }
}

fn emptied(value: Value) -> Value {
    match value {
        Value::Tensor(raw) => Value::Tensor(RawTensor::new(raw.dtype, &[0], Vec::new())),
        Value::Named(_) => Value::Named(BTreeMap::new()),
        Value::Numbers(_) => Value::Numbers(BTreeMap::new()),
        Value::Ints(_) => Value::Ints(Vec::new()),
        Value::Texts(_) => Value::Texts(Vec::new()),
        Value::Text(_) => Value::Text(String::new()),
        Value::Bytes(_) => Value::Bytes(Vec::new()),
        Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => Value::None,
    }
}

/// Every number in a value, replaced by one.
fn filled(value: Value, number: u8) -> Value {
    let tensor = |raw: RawTensor| {
        let shape = raw.validate().unwrap_or_default();
        Array::full(&shape, f64::from(number)).to(raw.dtype).to_raw()
    };
    match value {
        Value::Tensor(raw) => Value::Tensor(tensor(raw)),
        Value::Named(set) => {
            Value::Named(set.into_iter().map(|(name, raw)| (name, tensor(raw))).collect())
        }
        Value::Numbers(set) => {
            Value::Numbers(set.into_keys().map(|name| (name, number.into())).collect())
        }
        Value::Ints(ints) => Value::Ints(vec![number.into(); ints.len()]),
        Value::Bytes(bytes) => Value::Bytes(vec![number; bytes.len()]),
        Value::Texts(texts) => Value::Texts(vec![String::new(); texts.len()]),
        Value::Text(_) => Value::Text(String::new()),
        Value::Bool(_) => Value::Bool(number > 0),
        Value::Int(_) => Value::Int(number.into()),
        Value::Float(_) => Value::Float(number.into()),
        Value::None => Value::None,
    }
}

fn severed(gradient: Gradient) -> Gradient {
    match gradient {
        Gradient::NotDifferentiable => Gradient::NotDifferentiable,
        Gradient::Tensor(_) => Gradient::Tensor(None),
        Gradient::Named(set) => Gradient::Named(set.into_keys().map(|name| (name, None)).collect()),
    }
}
