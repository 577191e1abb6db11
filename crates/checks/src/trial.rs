//! A trial: what a check asks with, and judges by.

mod words;

use std::collections::BTreeMap;

use protocol::{DType, Gradient, Question, RawTensor, Reply, Usage, Value};
use report::{Exhibit, Finding, Input, Shown};

use crate::{
    Array, Death, Generator, Inputs, Outcome, Stop, Subject, Tolerance,
    compare::{compare, excess},
    numeric_gradient,
};

pub use words::DEVICES_MIXED;
use words::{describe, translate};

/// What Rust says at a `todo!`.
const TODO: &str = "not yet implemented";

/// One check of one part, put to one subject.
pub struct Trial<'a> {
    subject: &'a mut dyn Subject,
    part: &'a str,
    /// The check's own random numbers.
    pub rng: Generator,
    asked: Vec<Input>,
    margins: Vec<Margin>,
    excess: Option<f64>,
    usage: Usage,
    unread: Option<usize>,
    exhibits: Vec<Exhibit>,
}

/// How close a passed comparison came to its bound.
#[derive(Clone, Debug)]
pub struct Margin {
    /// The result that was compared.
    pub name: String,
    /// Its dtype.
    pub dtype: DType,
    /// Largest error, in units of the bound.
    pub used: f64,
    /// Largest error, in units of the tolerance's scale.
    pub difference: f64,
}

impl<'a> Trial<'a> {
    /// Prepares a trial; the same seed and place draw the same numbers.
    pub fn new(
        subject: &'a mut dyn Subject,
        exercise: &str,
        part: &'a str,
        check: &str,
        seed: u64,
    ) -> Self {
        let rng = Generator::new(seed, &[exercise, part, check]);
        let (asked, margins, usage) = (Vec::new(), Vec::new(), Usage::default());
        let exhibits = Vec::new();
        Self { subject, part, rng, asked, margins, excess: None, usage, unread: None, exhibits }
    }

    /// Shows a text beside the verdict, such as `a sample of its text`.
    pub fn show_text(&mut self, title: &str, text: String) {
        self.exhibits.push(Exhibit { title: title.to_owned(), shown: Shown::Text(text) });
    }

    /// Keeps a self-contained HTML page that the verdict names, such as `patterns of every head`.
    ///
    /// Two pages of one part need two titles.
    pub fn show_page(&mut self, title: &str, html: String) {
        self.exhibits.push(Exhibit { title: title.to_owned(), shown: Shown::Page(html) });
    }

    /// What the check has to show so far; it is gone from here then.
    pub fn take_exhibits(&mut self) -> Vec<Exhibit> {
        std::mem::take(&mut self.exhibits)
    }

    /// Declares one of the results the answer's own, to be handed back and never judged.
    ///
    /// What an optimiser remembers is: two answers that keep it differently are no less alike.
    pub fn leave_unread(&mut self, result: usize) {
        self.unread = Some(result);
    }

    /// Which result is the answer's own, if one is.
    #[must_use]
    pub fn unread(&self) -> Option<usize> {
        self.unread
    }

    /// Comparisons that passed, in order.
    #[must_use]
    pub fn margins(&self) -> &[Margin] {
        &self.margins
    }

    /// By how many bounds the comparison that failed did, if one did.
    ///
    /// Infinite for another shape or dtype, a NaN, or where only the exact value passes.
    #[must_use]
    pub fn excess(&self) -> Option<f64> {
        self.excess
    }

    /// What the last call cost.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Calls the part and takes whatever results it gives.
    ///
    /// # Errors
    ///
    /// Stops if the part returns an error, panics, is not started, or no answer comes.
    pub fn values(&mut self, args: Vec<(&'static str, Value)>) -> Result<Vec<Value>, Stop> {
        match self.ask(args)? {
            Ok(values) => Ok(values),
            Err(message) => {
                Err(self.wrong(format!("It returned an error: {}", translate(&message))))
            }
        }
    }

    /// Calls a part that returns one tensor.
    ///
    /// # Errors
    ///
    /// Stops as [`Trial::values`] does, or if something else came.
    pub fn array(&mut self, args: Vec<(&'static str, Value)>) -> Result<Array, Stop> {
        let [array] = self.arrays(args)?;
        Ok(array)
    }

    /// Calls a part that returns `N` tensors.
    ///
    /// # Errors
    ///
    /// Stops as [`Trial::values`] does, or if something else came.
    pub fn arrays<const N: usize>(
        &mut self,
        args: Vec<(&'static str, Value)>,
    ) -> Result<[Array; N], Stop> {
        let values = self.values(args)?;
        let arrays = values.iter().map(|value| self.read(value)).collect::<Result<Vec<_>, _>>()?;
        let count = arrays.len();
        arrays
            .try_into()
            .map_err(|_| self.wrong(format!("It returned {count} results; {N} were expected.")))
    }

    /// Calls a part that returns named tensors.
    ///
    /// # Errors
    ///
    /// Stops as [`Trial::values`] does, or if something else came.
    pub fn named(
        &mut self,
        args: Vec<(&'static str, Value)>,
    ) -> Result<BTreeMap<String, Array>, Stop> {
        match self.values(args)?.as_slice() {
            [Value::Named(tensors)] => {
                tensors.iter().map(|(name, raw)| Ok((name.clone(), read_raw(raw)?))).collect()
            }
            _ => Err(self.wrong("It did not return named tensors.".to_owned())),
        }
    }

    /// Calls a part that returns whole numbers.
    ///
    /// # Errors
    ///
    /// Stops as [`Trial::values`] does, or if something else came.
    pub fn ints(&mut self, args: Vec<(&'static str, Value)>) -> Result<Vec<i64>, Stop> {
        match self.values(args)?.as_slice() {
            [Value::Ints(ints)] => Ok(ints.clone()),
            [Value::Int(int)] => Ok(vec![*int]),
            _ => Err(self.wrong("It did not return whole numbers.".to_owned())),
        }
    }

    /// Calls a part that must return an error, and returns its text.
    ///
    /// # Errors
    ///
    /// Stops if it returns a result or panics; `case` says what was wrong with the input.
    pub fn refuses(
        &mut self,
        case: &str,
        args: Vec<(&'static str, Value)>,
    ) -> Result<String, Stop> {
        match self.ask(args)? {
            Err(message) => Ok(message),
            Ok(_) => Err(self.wrong(format!(
                "It returned a result although {case}; its contract asks for an error."
            ))),
        }
    }

    /// Asks for the gradient of `Σ cotangent · part(args)`, one entry for each tensor by name.
    ///
    /// # Errors
    ///
    /// Stops as [`Trial::values`] does, or if something else came.
    pub fn gradients(
        &mut self,
        args: Vec<(&'static str, Value)>,
        cotangents: &[&Array],
    ) -> Result<BTreeMap<String, Option<Array>>, Stop> {
        self.remember(&args);
        let names: Vec<&str> = args.iter().map(|(name, _)| *name).collect();
        let question = Question::Gradient {
            part: self.part.to_owned(),
            args: args.into_iter().map(|(_, value)| value).collect(),
            cotangents: cotangents.iter().map(|cotangent| cotangent.to_raw()).collect(),
        };
        let gradients = match self.subject.ask(&question).map_err(Stop::Died)? {
            Reply::Gradients(gradients) if gradients.len() == names.len() => gradients,
            Reply::Panic(panic) => return Err(self.panicked(&panic)),
            Reply::Error(message) => {
                let said = translate(&message);
                return Err(
                    self.wrong(format!("Asked for gradients, it returned an error: {said}"))
                );
            }
            _ => return Err(Stop::Died(not_an_answer())),
        };
        let mut found = BTreeMap::new();
        for (name, gradient) in names.into_iter().zip(gradients) {
            match gradient {
                Gradient::NotDifferentiable => {}
                Gradient::Tensor(raw) => {
                    found.insert(name.to_owned(), read_optional(raw)?);
                }
                Gradient::Named(set) => {
                    for (inner, raw) in set {
                        found.insert(format!("{name}.{inner}"), read_optional(raw)?);
                    }
                }
            }
        }
        Ok(found)
    }

    /// Proves that a gradient reaches every tensor in `args`, and is the oracle's.
    ///
    /// Tensors are sent as `f64`; the oracle's gradient comes from central differences.
    ///
    /// # Errors
    ///
    /// Stops as [`Trial::gradients`] does, or if a gradient is missing or wrong.
    pub fn gradient_matches(
        &mut self,
        args: Vec<(&'static str, Value)>,
        oracle: impl Fn(&Inputs) -> Array,
    ) -> Outcome {
        self.gradients_match(args, |at| [oracle(at)])
    }

    /// As [`Trial::gradient_matches`], for a part that returns `N` tensors.
    ///
    /// # Errors
    ///
    /// Stops as [`Trial::gradient_matches`] does.
    pub fn gradients_match<const N: usize>(
        &mut self,
        args: Vec<(&'static str, Value)>,
        oracle: impl Fn(&Inputs) -> [Array; N],
    ) -> Outcome {
        self.gradients_match_within(Tolerance::GRADIENT, args, oracle)
    }

    /// As [`Trial::gradients_match`], with a tolerance for operations whose own slope is rounded.
    ///
    /// # Errors
    ///
    /// Stops as [`Trial::gradient_matches`] does.
    pub fn gradients_match_within<const N: usize>(
        &mut self,
        tolerance: Tolerance,
        args: Vec<(&'static str, Value)>,
        oracle: impl Fn(&Inputs) -> [Array; N],
    ) -> Outcome {
        let args: Vec<_> = args.into_iter().map(|(name, value)| (name, in_double(value))).collect();
        let inputs = Inputs::of(&args);
        let cotangents = oracle(&inputs).map(|a| self.rng.normal_array(a.shape()).to(DType::F64));
        let found = self.gradients(args, &cotangents.each_ref())?;
        for name in inputs.differentiable() {
            let Some(Some(gradient)) = found.get(name) else {
                return Err(self.wrong(format!(
                    "No gradient reaches `{name}`: an operation on the way has no backward pass, \
                     or the value left the graph (detach, to_vec, a new tensor)."
                )));
            };
            let expected = numeric_gradient(inputs.get(name), |point| {
                let results = oracle(&inputs.with(name, point.clone()));
                results.iter().zip(&cotangents).map(|(result, c)| result.dot(c)).sum()
            });
            let scale = expected.max_abs().max(1.0);
            let label = format!("gradient of {name}");
            self.close(&label, gradient, &expected, tolerance.at_scale(scale))?;
        }
        Ok(())
    }

    /// Proves that a result has a shape, before a property takes it apart.
    ///
    /// # Errors
    ///
    /// Stops if it has another.
    pub fn has_shape(&mut self, name: &str, got: &Array, expected: &[usize]) -> Outcome {
        let shape = got.shape();
        self.ensure(shape == expected, || {
            format!("`{name}` has shape {shape:?}; expected {expected:?}.")
        })
    }

    /// Proves that a result is the expected one.
    ///
    /// # Errors
    ///
    /// Stops if dtype, shape or any element differs.
    pub fn close(
        &mut self,
        name: &str,
        got: &Array,
        expected: &Array,
        tolerance: Tolerance,
    ) -> Outcome {
        match compare(name, got, expected, tolerance) {
            Ok(used) => {
                let (name, dtype) = (name.to_owned(), got.dtype());
                // Beside a scale of zero only zero passes.
                let scale = tolerance.scale(expected).max(f64::MIN_POSITIVE);
                let difference = used * tolerance.bound(expected) / scale;
                self.margins.push(Margin { name, dtype, used, difference });
                Ok(())
            }
            Err(finding) => {
                self.excess = Some(excess(got, expected, tolerance));
                Err(Stop::Wrong(Box::new(Finding { inputs: self.asked.clone(), ..*finding })))
            }
        }
    }

    /// Proves that whole numbers are the expected ones.
    ///
    /// # Errors
    ///
    /// Stops if they differ.
    pub fn equal(&mut self, name: &str, got: &[i64], expected: &[i64]) -> Outcome {
        self.excess = (got != expected).then_some(f64::INFINITY);
        self.ensure(got == expected, || format!("`{name}` is {got:?}; expected {expected:?}."))
    }

    /// Proves that something holds.
    ///
    /// # Errors
    ///
    /// Stops with the sentence if it does not.
    pub fn ensure(&mut self, holds: bool, sentence: impl FnOnce() -> String) -> Outcome {
        if holds { Ok(()) } else { Err(self.wrong(sentence())) }
    }

    /// Makes a stop that says what is wrong.
    #[must_use]
    pub fn wrong(&self, sentence: String) -> Stop {
        let (what, inputs) = (vec![sentence], self.asked.clone());
        Stop::Wrong(Box::new(Finding { what, inputs, ..Finding::default() }))
    }

    /// Calls the part; an error that it returned comes back as text.
    fn ask(
        &mut self,
        args: Vec<(&'static str, Value)>,
    ) -> Result<Result<Vec<Value>, String>, Stop> {
        self.remember(&args);
        let args = args.into_iter().map(|(_, value)| value).collect();
        let question = Question::Call { part: self.part.to_owned(), args };
        match self.subject.ask(&question).map_err(Stop::Died)? {
            Reply::Values(values, usage) => {
                self.usage = usage;
                Ok(Ok(values))
            }
            Reply::Error(message) => Ok(Err(message)),
            Reply::Panic(panic) => Err(self.panicked(&panic)),
            Reply::Opened { .. } | Reply::Gradients(_) | Reply::Progress(_) => {
                Err(Stop::Died(not_an_answer()))
            }
        }
    }

    fn panicked(&self, panic: &protocol::Panic) -> Stop {
        if let Some(plan) = panic.message.strip_prefix(TODO) {
            return Stop::NotStarted(plan.trim_start_matches(": ").to_owned());
        }
        Stop::Wrong(Box::new(Finding {
            what: vec![format!("It panicked: {}", translate(&panic.message))],
            location: panic.location.clone(),
            inputs: self.asked.clone(),
            ..Finding::default()
        }))
    }

    fn read(&self, value: &Value) -> Result<Array, Stop> {
        match value {
            Value::Tensor(raw) => read_raw(raw),
            _ => Err(self.wrong("It returned something other than a tensor.".to_owned())),
        }
    }

    fn remember(&mut self, args: &[(&'static str, Value)]) {
        let input = |(name, value): &(&str, Value)| Input {
            name: (*name).to_owned(),
            description: describe(value),
        };
        self.asked = args.iter().map(input).collect();
    }
}

fn read_optional(raw: Option<RawTensor>) -> Result<Option<Array>, Stop> {
    raw.map(|raw| read_raw(&raw)).transpose()
}

fn read_raw(raw: &RawTensor) -> Result<Array, Stop> {
    Array::from_raw(raw)
        .map_err(|error| Stop::Died(Death { what: vec![format!("{error}.")], ..not_an_answer() }))
}

fn not_an_answer() -> Death {
    let what = vec!["What came is not an answer to what was asked.".to_owned()];
    Death { verdict: report::Verdict::ProtocolViolation, what }
}

/// Sends floating-point tensors as `f64`.
fn in_double(value: Value) -> Value {
    let double = |raw: RawTensor| match Array::from_raw(&raw) {
        Ok(array) if array.dtype().is_float() => array.to(DType::F64).to_raw(),
        _ => raw,
    };
    match value {
        Value::Tensor(raw) => Value::Tensor(double(raw)),
        Value::Named(set) => {
            Value::Named(set.into_iter().map(|(name, raw)| (name, double(raw))).collect())
        }
        other => other,
    }
}
