//! Numbers that remember where they come from: exact gradients of whole models by the chain rule,
//! one number at a time.
//!
//! Beside `candle`'s tensors and beside central differences this is a third route to a gradient. It
//! is fast enough to train with, as long as the model is tiny.

/// A number on a tape, by its place there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Num(u32);

impl Num {
    /// Its place on the tape, and in a gradient.
    pub(super) fn place(self) -> usize {
        self.0 as usize
    }
}

/// Every number that was computed, in order, with the slopes towards what it was computed from.
#[derive(Default)]
pub(super) struct Tape {
    values: Vec<f64>,
    /// Where each number's slopes end.
    ends: Vec<usize>,
    slopes: Vec<(u32, f64)>,
}

impl Tape {
    /// Puts numbers on the tape that come from nowhere.
    pub(super) fn leaves(&mut self, values: &[f64]) -> Vec<Num> {
        values.iter().map(|value| self.push(*value, [])).collect()
    }

    fn push(&mut self, value: f64, slopes: impl IntoIterator<Item = (Num, f64)>) -> Num {
        let place = Num(self.values.len() as u32);
        self.values.push(value);
        self.slopes.extend(slopes.into_iter().map(|(from, slope)| (from.0, slope)));
        self.ends.push(self.slopes.len());
        place
    }

    pub(super) fn value(&self, x: Num) -> f64 {
        self.values[x.0 as usize]
    }

    pub(super) fn add(&mut self, a: Num, b: Num) -> Num {
        self.push(self.value(a) + self.value(b), [(a, 1.0), (b, 1.0)])
    }

    pub(super) fn subtract(&mut self, a: Num, b: Num) -> Num {
        self.push(self.value(a) - self.value(b), [(a, 1.0), (b, -1.0)])
    }

    pub(super) fn multiply(&mut self, a: Num, b: Num) -> Num {
        let (x, y) = (self.value(a), self.value(b));
        self.push(x * y, [(a, y), (b, x)])
    }

    /// The mean of some numbers.
    pub(super) fn mean(&mut self, of: &[Num]) -> Num {
        let share = 1.0 / of.len() as f64;
        let sum: f64 = of.iter().map(|x| self.value(*x)).sum();
        self.push(sum * share, of.iter().map(|x| (*x, share)).collect::<Vec<_>>())
    }

    /// The sum of the products of pairs.
    pub(super) fn dot(&mut self, pairs: impl IntoIterator<Item = (Num, Num)>) -> Num {
        let mut sum = 0.0;
        let mut slopes = Vec::new();
        for (a, b) in pairs {
            let (x, y) = (self.value(a), self.value(b));
            sum += x * y;
            slopes.extend([(a, y), (b, x)]);
        }
        self.push(sum, slopes)
    }

    /// A function of one number, by its value and its slope there.
    pub(super) fn apply(&mut self, x: Num, function: impl Fn(f64) -> (f64, f64)) -> Num {
        let (value, slope) = function(self.value(x));
        self.push(value, [(x, slope)])
    }

    /// Shares that sum to one, larger for larger numbers.
    pub(super) fn softmax(&mut self, of: &[Num]) -> Vec<Num> {
        let largest = of.iter().map(|x| self.value(*x)).fold(f64::NEG_INFINITY, f64::max);
        let powers: Vec<f64> = of.iter().map(|x| (self.value(*x) - largest).exp()).collect();
        let total: f64 = powers.iter().sum();
        let shares: Vec<f64> = powers.iter().map(|power| power / total).collect();
        let slope = |i: usize, j: usize| shares[i] * (f64::from(u8::from(i == j)) - shares[j]);
        (0..of.len())
            .map(|i| {
                let slopes: Vec<_> =
                    of.iter().enumerate().map(|(j, x)| (*x, slope(i, j))).collect();
                self.push(shares[i], slopes)
            })
            .collect()
    }

    /// The surprise at one of several outcomes, by their logits.
    pub(super) fn surprise(&mut self, logits: &[Num], at: usize) -> Num {
        let largest = logits.iter().map(|x| self.value(*x)).fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = logits.iter().map(|x| (self.value(*x) - largest).exp()).sum();
        let value = largest + total.ln() - self.value(logits[at]);
        let slope = |(i, x): (usize, &Num)| {
            let share = (self.value(*x) - largest).exp() / total;
            (*x, share - f64::from(u8::from(i == at)))
        };
        let slopes: Vec<_> = logits.iter().enumerate().map(slope).collect();
        self.push(value, slopes)
    }

    /// The slope of one number with regard to every number before it, from `Num` 0 on.
    pub(super) fn gradient(&self, of: Num) -> Vec<f64> {
        let mut gradient = vec![0.0; of.0 as usize + 1];
        gradient[of.0 as usize] = 1.0;
        for place in (0..gradient.len()).rev() {
            let start = if place == 0 { 0 } else { self.ends[place - 1] };
            for (from, slope) in &self.slopes[start..self.ends[place]] {
                gradient[*from as usize] += slope * gradient[place];
            }
        }
        gradient
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares a gradient with central differences.
    #[track_caller]
    fn check(at: &[f64], function: impl Fn(&mut Tape, &[Num]) -> Num) {
        let run = |at: &[f64]| {
            let mut tape = Tape::default();
            let leaves = tape.leaves(at);
            let result = function(&mut tape, &leaves);
            (tape.value(result), tape.gradient(result))
        };
        let (_, gradient) = run(at);
        for i in 0..at.len() {
            let moved = |by: f64| {
                let mut at = at.to_vec();
                at[i] += by;
                run(&at).0
            };
            let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((gradient[i] - expected).abs() < 1e-8, "{i}: {} {expected}", gradient[i]);
        }
    }

    #[test]
    fn slopes_are_right() {
        check(&[0.3, -0.7], |tape, x| tape.multiply(x[0], x[1]));
        check(&[0.3, -0.7], |tape, x| tape.subtract(x[0], x[1]));
        check(&[0.3, -0.7, 2.0], Tape::mean);
        check(&[0.3, -0.7, 2.0], |tape, x| tape.dot([(x[0], x[1]), (x[2], x[2])]));
        check(&[0.3, -0.7, 2.0], |tape, x| tape.surprise(x, 1));
        check(&[0.3], |tape, x| tape.apply(x[0], |x| (x.sin(), x.cos())));
    }

    #[test]
    fn slopes_add_up_over_several_ways() {
        check(&[0.3, -0.7, 2.0], |tape, x| {
            let shares = tape.softmax(x);
            let sum = tape.dot(shares.into_iter().zip(x.iter().copied()));
            tape.multiply(sum, x[1])
        });
    }
}
