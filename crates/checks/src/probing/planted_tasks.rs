//! Rows for a probe whose truth is known, because it was planted.

use protocol::DType;

use super::{control_oracle::Task, probe_oracle::Config};
use crate::{Array, Generator};

/// What is true of planted rows.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Truth {
    /// The trained model computes it from the context.
    Feature,
    /// It is a matter of which token stands there.
    Memorised,
    /// A random network shows it as well.
    Architecture,
    /// It is not in the activations.
    Absent,
}

impl Truth {
    /// All of them.
    pub(super) const ALL: [Self; 4] =
        [Self::Feature, Self::Memorised, Self::Architecture, Self::Absent];

    /// What is to be said of it.
    pub(super) fn verdict(self) -> &'static str {
        match self {
            Self::Feature => "feature",
            Self::Memorised => "memorised",
            Self::Architecture => "architecture",
            Self::Absent => "absent",
        }
    }

    /// How it was planted.
    pub(super) fn story(self) -> &'static str {
        match self {
            Self::Feature => "Planted was a feature that the trained model alone has.",
            Self::Memorised => "Planted was a label that depends on the token's type alone.",
            Self::Architecture => "Planted was a feature that the untrained model has as well.",
            Self::Absent => "Planted was a label of which the activations know nothing.",
        }
    }
}

const N_GAMES: usize = 24;
const SEQ: usize = 6;
const N_TYPES: usize = 4;
const D_MODEL: usize = 6;

/// Plants one kind of truth.
pub(super) fn plant(rng: &mut Generator, truth: Truth) -> Task {
    let n = N_GAMES * SEQ;
    let tokens = Array::from_fn(&[n], |_| rng.below(N_TYPES) as f64);
    let labels = match truth {
        Truth::Memorised => tokens.map(|kind| f64::from(u8::from(kind < 2.0))),
        _ => Array::from_fn(&[n], |_| rng.below(2) as f64),
    };
    let direction = rng.normal_array(&[D_MODEL]).to(DType::F64);
    let length = direction.dot(&direction).sqrt();
    let tells_label = |is_trained: bool| match truth {
        Truth::Feature => is_trained,
        Truth::Architecture => true,
        Truth::Memorised | Truth::Absent => false,
    };
    let mut activations = |is_trained: bool| {
        let faces = rng.normal_array(&[N_TYPES, D_MODEL]).to(DType::F64);
        let knows_type = if is_trained && truth == Truth::Memorised { 3.0 } else { 0.3 };
        Array::from_fn(&[n, D_MODEL], |at| {
            let face = faces.at(&[tokens.at(&at[..1]) as usize, at[1]]);
            let sign = 2.0 * labels.at(&at[..1]) - 1.0;
            let feature = if tells_label(is_trained) { 2.5 * sign } else { 0.0 };
            0.7 * rng.normal() + knows_type * face + feature * direction.at(&at[1..]) / length
        })
    };
    let (trained, untrained) = (activations(true), activations(false));
    Task {
        activations: trained,
        untrained,
        labels: labels.to(DType::U8),
        tokens: tokens.to(DType::U32),
        games: Array::from_fn(&[n], |at| (at[0] / SEQ) as f64).to(DType::U32),
        split: Array::from_fn(&[n], |_| rng.uniform()),
        types: Array::from_fn(&[N_TYPES], |_| rng.uniform()),
        config: Config { held_out: 0.5, steps: 25, lr: 0.5, l2: 0.01 },
    }
}
