//! Faults that are planted in a healthy network.

use protocol::DType;

use super::patient::{Finding, LR, Patient, Sizes, bias, weight};
use crate::Generator;

/// What is done to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// One unit of many never fires, which is nothing to worry about.
    OneSilent,
    NanWeight,
    /// A bias of −∞, which `relu` hides.
    MinusInfinity,
    Twins,
    AllDead,
    /// One unit of a layer is left.
    NearlyDead,
    Vanishing,
    /// Each of two layers takes a part of the gradient.
    Fading,
    Exploding,
    Overconfident,
    TooFast,
    TooSlow,
}

/// Every fault that has a name, in no order that would tell.
pub(super) const BROKEN: [Fault; 11] = [
    Fault::TooSlow,
    Fault::AllDead,
    Fault::Overconfident,
    Fault::NanWeight,
    Fault::Fading,
    Fault::Twins,
    Fault::TooFast,
    Fault::NearlyDead,
    Fault::Exploding,
    Fault::MinusInfinity,
    Fault::Vanishing,
];

impl Fault {
    /// The word of the list for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::OneSilent => "healthy",
            Self::NanWeight | Self::MinusInfinity => "nan",
            Self::Twins => "twins",
            Self::AllDead | Self::NearlyDead => "dead",
            Self::Vanishing | Self::Fading => "vanishing",
            Self::Exploding => "exploding",
            Self::Overconfident => "overconfident",
            Self::TooFast => "too_fast",
            Self::TooSlow => "too_slow",
        }
    }

    /// Breaks a network, in hidden layer `layer` where the fault has one.
    pub(super) fn plant(self, patient: &mut Patient, rng: &mut Generator, layer: usize) {
        let unit = rng.below(patient.weights[&bias(layer)].dim(0));
        let last = patient.n_layers() - 1;
        // The gradient is lost or multiplied on its way from the layer above into this one.
        let upper = layer + 1;
        match self {
            Self::OneSilent => {
                patient.change(&bias(layer), |at, b| if at[0] == unit { -100.0 } else { b });
            }
            Self::NanWeight => patient
                .change(&weight(layer), |at, w| if at[..] == [unit, 1] { f64::NAN } else { w }),
            Self::MinusInfinity => patient
                .change(&bias(layer), |at, b| if at[0] == unit { f64::NEG_INFINITY } else { b }),
            Self::Twins => {
                patient.change(&weight(layer), |_, _| 0.25);
                patient.change(&bias(layer), |_, _| 0.0);
            }
            Self::AllDead => patient.change(&bias(layer), |_, _| -100.0),
            Self::NearlyDead => {
                patient.change(&bias(layer), |at, b| if at[0] == unit { b } else { -100.0 });
            }
            Self::Vanishing => patient.scale(upper, 1e-6),
            Self::Exploding => patient.scale(upper, 1e6),
            Self::Fading => {
                patient.scale(last - 1, 0.005);
                patient.scale(last - 2, 0.005);
                patient.change(&weight(last), |_, w| 10.0 * w);
            }
            Self::Overconfident => {
                let class = rng.below(patient.weights[&bias(last)].dim(0));
                patient.change(&bias(last), |at, b| if at[0] == class { b + 100.0 } else { b });
                // Steps that change little: the learning rate is another fault.
                patient.lr = 0.01 * LR;
            }
            Self::TooFast => patient.lr = 1e3 * LR,
            Self::TooSlow => patient.lr = 1e-4 * LR,
        }
    }
}

/// How many networks are drawn before one is taken for lack of a clear one; a test has none so.
const TRIES: usize = 200;

/// Draws a network with these faults, each with its layer, of which the list finds `word` first.
pub(super) fn draw(
    rng: &mut Generator,
    sizes: &Sizes,
    faults: &[(Fault, usize)],
    word: &'static str,
    dtype: DType,
) -> (Patient, Finding) {
    for _ in 0..TRIES {
        let mut patient = Patient::healthy(rng, sizes);
        for &(fault, layer) in faults {
            fault.plant(&mut patient, rng, layer);
        }
        let patient = patient.to(dtype);
        match patient.finding() {
            Some(finding) if finding.verdict.0 == word => return (patient, finding),
            _ => {}
        }
    }
    unreachable!("invariant: a network that is clearly {word} is drawn in {TRIES} tries")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts the tries that a network takes over some seeds.
    #[track_caller]
    fn check(faults: &[(Fault, usize)], word: &str) {
        let mut clear = 0;
        for seed in 0..50 {
            let mut rng = Generator::new(seed, &["faults"]);
            let mut patient = Patient::healthy(&mut rng, &Sizes::usual());
            for &(fault, layer) in faults {
                fault.plant(&mut patient, &mut rng, layer);
            }
            let found = patient.to(DType::F32).finding();
            clear += usize::from(found.is_some_and(|finding| finding.verdict.0 == word));
        }
        assert!(clear >= 15, "{faults:?}: {clear} of 50 are clearly {word}");
    }

    #[test]
    fn every_fault_is_soon_drawn_clearly() {
        check(&[], "healthy");
        for fault in BROKEN.into_iter().chain([Fault::OneSilent]) {
            check(&[(fault, 1)], fault.word());
        }
    }
}
