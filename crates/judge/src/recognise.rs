//! Recognition: which known mistake gives exactly this?
//!
//! **Invariant:** an impostor is named only if it fails the same check on the same inputs, and
//! every reply that it gave there agrees with the subject's, but for what is the subject's own.

use std::collections::BTreeMap;

use checks::{Array, Check, Death, Local, Part, Subject, Suite, Trial};
use protocol::{DType, Gradient, Progress, Question, RawTensor, Reply, Value};
use report::Recognised;

/// How far two answers that make the same mistake may be apart, relative to their size.
const SAME: f64 = 1e-3;

/// Keeps the replies that a subject gives, and hands its progress on.
pub(crate) struct Recorder<'a> {
    subject: &'a mut dyn Subject,
    replies: Vec<Reply>,
    /// Takes the number of the question, from 0, and how far it has come.
    live: &'a mut dyn FnMut(usize, &Progress),
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(
        subject: &'a mut dyn Subject,
        live: &'a mut dyn FnMut(usize, &Progress),
    ) -> Self {
        Self { subject, replies: Vec::new(), live }
    }

    pub(crate) fn into_replies(self) -> Vec<Reply> {
        self.replies
    }
}

impl Subject for Recorder<'_> {
    fn ask(&mut self, question: &Question) -> Result<Reply, Death> {
        let number = self.replies.len();
        let reply =
            self.subject.ask_live(question, &mut |progress| (self.live)(number, progress))?;
        self.replies.push(reply.clone());
        Ok(reply)
    }
}

/// Names the impostor that fails `check` as the subject did, if there is one.
pub(crate) fn recognise(
    suite: &Suite,
    part: &Part,
    check: &Check,
    seed: u64,
    replies: &[Reply],
) -> Option<Recognised> {
    let suspects = part.impostors.iter().filter(|impostor| impostor.caught_by == check.name);
    let guilty = suspects.into_iter().find(|impostor| {
        let mut local = Local::new(impostor.answer);
        let mut unheard = |_: usize, _: &Progress| {};
        let mut recorder = Recorder::new(&mut local, &mut unheard);
        let mut trial = Trial::new(&mut recorder, suite.exercise, part.name, check.name, seed);
        let fails = (check.run)(&mut trial).is_err();
        let unread = trial.unread();
        fails && same_replies(&recorder.into_replies(), replies, unread)
    })?;
    Some(Recognised { impostor: guilty.name.to_owned(), diagnosis: guilty.diagnosis.to_owned() })
}

fn same_replies(ours: &[Reply], theirs: &[Reply], unread: Option<usize>) -> bool {
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| same_reply(a, b, unread))
}

fn same_reply(ours: &Reply, theirs: &Reply, unread: Option<usize>) -> bool {
    match (ours, theirs) {
        (Reply::Values(ours, _), Reply::Values(theirs, _)) => {
            let mut pairs = ours.iter().zip(theirs).enumerate();
            ours.len() == theirs.len()
                && pairs.all(|(result, (a, b))| Some(result) == unread || same_value(a, b))
        }
        (Reply::Gradients(ours), Reply::Gradients(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| same_gradient(a, b))
        }
        // Another error is most likely another mistake.
        (Reply::Error(ours), Reply::Error(theirs)) => ours.lines().next() == theirs.lines().next(),
        (Reply::Panic(ours), Reply::Panic(theirs)) => ours.message == theirs.message,
        _ => false,
    }
}

fn same_value(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Tensor(ours), Value::Tensor(theirs)) => same_tensor(ours, theirs),
        (Value::Named(ours), Value::Named(theirs)) => same_named(ours, theirs, same_tensor),
        (Value::Float(ours), Value::Float(theirs)) => same_number(*ours, *theirs, ours.abs()),
        (Value::Numbers(ours), Value::Numbers(theirs)) => {
            same_named(ours, theirs, |a, b| same_number(*a, *b, a.abs()))
        }
        (ours, theirs) => ours == theirs,
    }
}

fn same_gradient(ours: &Gradient, theirs: &Gradient) -> bool {
    match (ours, theirs) {
        (Gradient::NotDifferentiable, Gradient::NotDifferentiable) => true,
        (Gradient::Tensor(ours), Gradient::Tensor(theirs)) => {
            same_optional(ours.as_ref(), theirs.as_ref())
        }
        (Gradient::Named(ours), Gradient::Named(theirs)) => {
            same_named(ours, theirs, |a, b| same_optional(a.as_ref(), b.as_ref()))
        }
        _ => false,
    }
}

fn same_optional(ours: Option<&RawTensor>, theirs: Option<&RawTensor>) -> bool {
    match (ours, theirs) {
        (None, None) => true,
        (Some(ours), Some(theirs)) => same_tensor(ours, theirs),
        _ => false,
    }
}

fn same_named<T>(
    ours: &BTreeMap<String, T>,
    theirs: &BTreeMap<String, T>,
    same: impl Fn(&T, &T) -> bool,
) -> bool {
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|((name, a), (other, b))| name == other && same(a, b))
}

fn same_tensor(ours: &RawTensor, theirs: &RawTensor) -> bool {
    let (Ok(ours), Ok(theirs)) = (Array::from_raw(ours), Array::from_raw(theirs)) else {
        return false;
    };
    if ours.shape() != theirs.shape() || ours.dtype() != theirs.dtype() {
        return false;
    }
    let scale = if matches!(ours.dtype(), DType::U8 | DType::U32 | DType::I64) {
        0.0
    } else {
        ours.max_abs()
    };
    ours.values().iter().zip(theirs.values()).all(|(&a, &b)| same_number(a, b, scale))
}

fn same_number(ours: f64, theirs: f64, scale: f64) -> bool {
    (ours.is_nan() && theirs.is_nan())
        || ours.to_bits() == theirs.to_bits()
        || (ours - theirs).abs() <= SAME * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One step's reply: the weight, and a state under a name of the answer's choice.
    fn step(weight: u8, state: &str) -> [Reply; 1] {
        let raw = |value| RawTensor::new(DType::U8, &[1], vec![value]);
        let set = |name: &str, value| Value::Named([(name.to_owned(), raw(value))].into());
        [Reply::Values(vec![set("weight", weight), set(state, 7)], protocol::Usage::default())]
    }

    #[track_caller]
    fn check(ours: &[Reply; 1], theirs: &[Reply; 1], unread: Option<usize>, are_same: bool) {
        assert_eq!(same_replies(ours, theirs, unread), are_same);
    }

    #[test]
    fn what_is_left_unread_parts_no_answers() {
        check(&step(1, "velocity"), &step(1, "v"), Some(1), true);
        check(&step(1, "velocity"), &step(1, "v"), None, false);
        check(&step(1, "velocity"), &step(2, "v"), Some(1), false);
    }
}
