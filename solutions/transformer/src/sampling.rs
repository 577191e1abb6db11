//! From logits to the next token.

use candle_core::{DType, Result, Tensor, bail};
use wick::{Numbers, part};

/// Draws the next token of every sequence from its logits.
///
/// # Shapes
///
/// | value    | shape              | dtype or meaning                                  |
/// |----------|--------------------|---------------------------------------------------|
/// | `logits` | `(batch, d_vocab)` | `f32` or `f64`; −∞ for a token that may not come  |
/// | `tokens` | `(batch, seq)`     | `u32`: each sequence so far; `seq` may be 0       |
/// | `noise`  | `(batch)`          | as `logits`, uniform in `[0, 1)`                  |
/// | result   | `(batch)`          | `u32`                                             |
///
/// `settings` may hold these numbers; one that is absent changes nothing:
///
/// | name                 | range    | what it does                                               |
/// |----------------------|----------|------------------------------------------------------------|
/// | `repetition_penalty` | above 0  | makes tokens that are in `tokens` less likely              |
/// | `temperature`        | 0 or up  | divides the logits; 0 takes the likeliest token, no noise  |
/// | `top_k`              | 1 or up  | keeps so many of the likeliest tokens                      |
/// | `top_p`              | `(0, 1]` | keeps the likeliest tokens that together reach `top_p`     |
/// | `min_p`              | `[0, 1]` | keeps tokens of at least `min_p` times the likeliest's     |
///
/// # Contract
///
/// - They act in the order of that table. What is kept is made to sum to 1 again before the next.
/// - The penalty divides a positive logit and multiplies a negative one, once for each token that
///   is in the sequence, however often it is there.
/// - Of equally likely tokens the one with the smaller id counts as likelier.
/// - `top_p` keeps the token with which the sum reaches `top_p`, so at least one is kept.
/// - The token is the first, by id, at which the sum of the kept probabilities is above `noise`:
///   with probabilities 0.5, 0.25, 0.25, noise 0.49 gives token 0 and 0.5 gives token 1.
/// - A token that was not kept never comes, even if rounding leaves the whole sum below `noise`;
///   then the last kept one does.
///
/// # Errors
///
/// Fails if `settings` has a name that is not in the table or a number that is out of range, if
/// a shape does not fit the others, if a token of the sequence is no id of the vocabulary, or if a
/// row of `logits` has a NaN, +∞, or nothing but −∞.
///
/// # Example: the crossing token is kept
///
/// ```text
/// logits = [[ln 4, ln 3, ln 2, ln 1]]    probabilities 0.4, 0.3, 0.2, 0.1
/// top_p = 0.8        0.4 + 0.3 is below 0.8, and with 0.2 it is reached: keep 4/9, 3/9, 2/9, 0
/// noise = [0.5]  → [1]
/// noise = [0.43] → [0]
/// noise = [0.9]  → [2]
/// ```
///
/// Source: Fan et al. (2018), §5, arXiv:1805.04833 (top-k); Holtzman et al. (2020), §3.1,
/// arXiv:1904.09751 (top-p); Nguyen et al. (2024), arXiv:2407.01082 (min-p); Keskar et al. (2019),
/// §4.1, arXiv:1909.05858 (penalty). The order is that of Hugging Face's `transformers`.
#[part(plan = "penalty, temperature, cuts, inverse CDF")]
pub fn sample(
    logits: &Tensor,
    tokens: &Tensor,
    settings: &Numbers,
    noise: &Tensor,
) -> Result<Tensor> {
    let settings = Settings::read(settings)?;
    let (batch, d_vocab) = logits.dims2()?;
    if tokens.dims2()?.0 != batch || noise.dims() != [batch] {
        let (tokens, noise) = (tokens.dims(), noise.dims());
        bail!("`logits` has {batch} rows, `tokens` has shape {tokens:?} and `noise` {noise:?}");
    }
    // One row at a time, and on the processor: a vocabulary is small, and its order is what counts.
    let rows = logits.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let noise = noise.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let mut drawn = Vec::with_capacity(batch);
    for ((mut row, noise), n) in rows.into_iter().zip(noise).zip(0..) {
        if row.iter().any(|logit| logit.is_nan() || *logit == f64::INFINITY)
            || row.iter().all(|logit| *logit == f64::NEG_INFINITY)
        {
            bail!("row {n} of `logits` is no distribution: it has NaN, +∞, or only −∞");
        }
        let seen = tokens.get(n)?.to_vec1::<u32>()?;
        if let Some(token) = seen.iter().find(|token| **token as usize >= d_vocab) {
            bail!("`tokens` has {token}, but there are only {d_vocab}");
        }
        settings.penalise(&mut row, &seen);
        drawn.push(settings.draw(&row, noise));
    }
    Tensor::from_vec(drawn, batch, logits.device())
}

/// The settings, with those that are absent at values that change nothing.
struct Settings {
    repetition_penalty: f64,
    temperature: f64,
    top_k: usize,
    top_p: f64,
    min_p: f64,
}

impl Settings {
    fn read(numbers: &Numbers) -> Result<Self> {
        let mut settings = Self {
            repetition_penalty: 1.0,
            temperature: 1.0,
            top_k: usize::MAX,
            top_p: 1.0,
            min_p: 0.0,
        };
        for (name, number) in numbers.iter() {
            // Written so that a NaN is in no range.
            let sound = match name {
                "repetition_penalty" => number > 0.0 && number.is_finite(),
                "temperature" => number >= 0.0 && number.is_finite(),
                "top_k" => number >= 1.0 && number.fract() == 0.0,
                "top_p" => number > 0.0 && number <= 1.0,
                "min_p" => (0.0..=1.0).contains(&number),
                _ => bail!("there is no setting `{name}`"),
            };
            if !sound {
                bail!("the setting `{name}` cannot be {number}");
            }
            match name {
                "repetition_penalty" => settings.repetition_penalty = number,
                "temperature" => settings.temperature = number,
                "top_k" => settings.top_k = number as usize,
                "top_p" => settings.top_p = number,
                _ => settings.min_p = number,
            }
        }
        Ok(settings)
    }

    /// Makes tokens that were there less likely, whatever the sign of their logit.
    fn penalise(&self, logits: &mut [f64], seen: &[u32]) {
        let mut seen = seen.to_vec();
        seen.sort_unstable();
        seen.dedup();
        for token in seen {
            let logit = &mut logits[token as usize];
            *logit = if *logit > 0.0 {
                *logit / self.repetition_penalty
            } else {
                *logit * self.repetition_penalty
            };
        }
    }

    /// Draws one token by the inverse of the cumulative distribution.
    fn draw(&self, logits: &[f64], noise: f64) -> u32 {
        let mut ranked: Vec<usize> = (0..logits.len()).collect();
        // A stable sort leaves equals in the order of their ids.
        ranked.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        if self.temperature == 0.0 {
            return ranked[0] as u32;
        }
        let highest = logits[ranked[0]];
        let weight = |token: usize| ((logits[token] - highest) / self.temperature).exp();
        ranked.truncate(self.top_k);
        ranked.truncate(self.nucleus(ranked.iter().map(|&token| weight(token))));
        // The likeliest has weight 1, so `min_p` is a bound on weights.
        ranked.retain(|&token| weight(token) >= self.min_p && weight(token) > 0.0);
        ranked.sort_unstable();
        let total: f64 = ranked.iter().map(|&token| weight(token)).sum();
        let mut sum = 0.0;
        let found = ranked.iter().find(|&&token| {
            sum += weight(token);
            sum / total > noise
        });
        found.or(ranked.last()).map_or(0, |&token| token as u32)
    }

    /// How many of the falling weights it takes to reach `top_p` of their sum.
    fn nucleus(&self, weights: impl Iterator<Item = f64> + Clone) -> usize {
        let enough = self.top_p * weights.clone().sum::<f64>();
        let mut sum = 0.0;
        let before = weights.take_while(|weight| {
            let short = sum < enough;
            sum += weight;
            short
        });
        before.count()
    }
}
