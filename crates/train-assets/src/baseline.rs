//! What counting alone can do: the entropies that a model has to beat.

use std::collections::HashMap;

/// Nats a character of `held_out`, by how often each character is in `train`, plus one.
#[must_use]
pub fn unigram(train: &str, held_out: &str) -> f64 {
    mean_surprise(train, held_out, |_| 0)
}

/// Nats a character of `held_out`, by how often each follows the one before it, plus one.
#[must_use]
pub fn bigram(train: &str, held_out: &str) -> f64 {
    mean_surprise(train, held_out, u32::from)
}

/// Counts what follows what in one text, and is surprised by another.
fn mean_surprise(train: &str, held_out: &str, context: impl Fn(char) -> u32) -> f64 {
    let mut pairs: HashMap<(u32, char), f64> = HashMap::new();
    let mut totals: HashMap<u32, f64> = HashMap::new();
    let neighbours = |text: &str| {
        let next: Vec<char> = text.chars().skip(1).collect();
        text.chars().map(&context).zip(next).collect::<Vec<_>>()
    };
    for pair in neighbours(train) {
        *pairs.entry(pair).or_default() += 1.0;
        *totals.entry(pair.0).or_default() += 1.0;
    }
    let n_letters = train.chars().collect::<std::collections::HashSet<_>>().len() as f64;
    let surprise = |pair: &(u32, char)| {
        let count = pairs.get(pair).copied().unwrap_or_default() + 1.0;
        let total = totals.get(&pair.0).copied().unwrap_or_default() + n_letters;
        -(count / total).ln()
    };
    let held_out = neighbours(held_out);
    held_out.iter().map(surprise).sum::<f64>() / held_out.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_always_follows_is_no_surprise() {
        let train = "ab".repeat(5000);
        assert!((unigram(&train, "abababab") - 2f64.ln()).abs() < 1e-2);
        assert!(bigram(&train, "abababab") < 1e-3);
    }
}
