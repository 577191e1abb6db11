//! Probes: a question to the activations, and the controls without which no answer counts.
//!
//! A probe that reads a feature off the activations proves little by itself. It may have seen the
//! same game in training ([`train_probe`] splits by game), it may have learned which token is
//! which ([`control_task`]), and an untrained model may serve it as well; [`probe_verdict`] weighs
//! all of that.

use candle_core::{Result, Tensor};
use wick::{Weights, part};

// given: the judge sends it as named numbers
wick::settings! {
    /// How to train a probe.
    pub struct ProbeConfig {
        /// A game is held out if its noise is below this.
        pub held_out: f64,
        /// Steps of gradient descent, each on all training rows.
        pub steps: usize,
        /// Size of a step.
        pub lr: f64,
        /// How much the loss grows with the weight's squared length.
        pub l2: f64,
    }
}

/// Trains a logistic probe on the rows of some games, and measures it on the other games.
///
/// # Shapes
///
/// | tensor               | shape          | dtype                                        |
/// |----------------------|----------------|----------------------------------------------|
/// | `activations`        | `(n, d_model)` | `f32` or `f64`, one row a token              |
/// | `labels`             | `(n)`          | `u8`, 0 or 1                                 |
/// | `games`              | `(n)`          | `u32`, the game that a row comes from        |
/// | `noise`              | `(n)`          | as `activations`, in `[0, 1)`                |
/// | first result, weight | `(d_model)`    | as `activations`                             |
/// | second result, bias  | `()`           | as `activations`                             |
/// | third result         | `(n_held_out)` | as `activations`, the accuracy in each game held out |
///
/// # Contract
///
/// - Whole games are held out: those whose *first* row has a noise below `held_out`. The noise of
///   their other rows does not count, and rows of one game need not be neighbours.
/// - The probe says that row `x` has label 1 with probability `σ(weight · x + bias)`.
/// - Its loss is the mean of `−ln p(label)` over the training rows, plus
///   `l2 / 2 · |weight|²`; the bias is not penalised.
/// - It starts from zeros, and takes `steps` steps of gradient descent of size `lr`, each on all
///   training rows.
/// - What is held out changes neither weight nor bias.
/// - A row is taken for label 1 if `weight · x + bias > 0`. The accuracies stand in the order in
///   which the games held out first come.
/// - Inputs may be non-contiguous.
///
/// # Errors
///
/// Fails if `labels`, `games` or `noise` have not one entry for each row, a label is neither 0 nor
/// 1, or either no game or every game is held out.
///
/// # Example: one step, one game on each side
///
/// ```text
/// activations = [[1], [-1], [2]]    labels = [1, 0, 1]    games = [0, 0, 7]
/// noise = [0.9, 0.8, 0.2]    held_out = 0.5: game 7     steps = 1, lr = 1, l2 = 0
///
/// before the step, p = 1/2 everywhere: the slope of weight is ((1/2 − 1) · 1 + (1/2 − 0) · −1) / 2
/// weight = [0.5]    bias = 0    accuracies = [1], as 0.5 · 2 + 0 > 0
/// ```
///
/// Source: Alain and Bengio (2016), "Understanding intermediate layers using linear classifier
/// probes", §3, arXiv:1610.01644.
#[part]
pub fn train_probe(
    activations: &Tensor,
    labels: &Tensor,
    games: &Tensor,
    noise: &Tensor,
    config: ProbeConfig,
) -> Result<(Tensor, Tensor, Tensor)> {
    todo!("split games, descend, accuracy by game")
}

/// Puts a probe beside its controls: random labels, an untrained model, the commoner label.
///
/// The control task gives each *type* of token a label by lot. There is nothing to find out about
/// such labels; a probe that reads them all the same has learned types by heart, and could have
/// done so for the real labels. *Selectivity* is what the real task is read better by.
///
/// # Shapes
///
/// | tensor                     | shape             | dtype                                   |
/// |----------------------------|-------------------|-----------------------------------------|
/// | `activations`              | `(n, d_model)`    | `f32` or `f64`                          |
/// | `untrained`                | `(n, d_model)`    | as `activations`, by random weights |
/// | `labels`                   | `(n)`             | `u8`, 0 or 1                            |
/// | `tokens`                   | `(n)`             | `u32`, below `d_vocab`: the type of a row |
/// | `games`                    | `(n)`             | `u32`                                   |
/// | `split` in `noise`         | `(n)`             | as `activations`, in `[0, 1)`           |
/// | `types` in `noise`         | `(d_vocab)`       | as `activations`, in `[0, 1)`           |
/// | first result, control labels | `(n)`           | `u8`                                    |
/// | second result, accuracies  | `(4, n_held_out)` | as `activations`                        |
/// | third result, selectivity  | `()`              | as `activations`                        |
///
/// # Contract
///
/// - The control label of type `t` is the label of row `⌊types[t] · n⌋`: drawn from the real
///   labels, so that both tasks have the same share of ones, as far as chance allows. Every row of
///   a type has its type's label.
/// - All probes are [`train_probe`]'s, with `config` and the noise `split`, so all hold out the
///   same games.
/// - Row 0 of the accuracies is that of the real labels, row 1 of the control labels, both read
///   from `activations`; row 2 that of the real labels read from `untrained`.
/// - Row 3 is that of an answer which always says the commoner real label of the training rows; 1
///   if both are equally common.
/// - Selectivity is the mean of row 0 over the games, less that of row 1.
///
/// # Errors
///
/// Fails if [`train_probe`] does, `tokens` has not one entry for each row, or a token has no noise.
///
/// # Example: a probe that learned two types by heart
///
/// ```text
/// activations = [[1], [-1], [1], [-1]]    tokens = [0, 1, 0, 1]    labels = [1, 0, 1, 0]
/// games = [0, 0, 1, 1]    types = [0.3, 0.1]: rows 1 and 0     control labels = [0, 1, 0, 1]
///
/// row 0 = [1], row 1 = [1]: selectivity = 0
/// row 3 = [0.5]: labels 1 and 0 are equally common in the training game
/// ```
///
/// Source: Hewitt and Liang (2019), "Designing and Interpreting Probes with Control Tasks", §2,
/// arXiv:1909.03368; Zhang and Bowman (2018), arXiv:1809.10040, for the untrained model.
#[part]
pub fn control_task(
    activations: &Tensor,
    untrained: &Tensor,
    labels: &Tensor,
    tokens: &Tensor,
    games: &Tensor,
    noise: &Weights,
    config: ProbeConfig,
) -> Result<(Tensor, Tensor, Tensor)> {
    todo!("lots by type, three probes, majority")
}

/// Says what the accuracies of a probe and its controls prove.
///
/// # Shapes
///
/// | tensor                | shape          | dtype                                              |
/// |-----------------------|----------------|----------------------------------------------------|
/// | `accuracies`          | `(4, n_games)` | `f32` or `f64`: rows as [`control_task`] gives them |
/// | second result, bounds | `(3)`          | as `accuracies`                                    |
///
/// # Contract
///
/// - Bound `k` asks by how much row 0 beats row `k + 1`, and is on the safe side: over the
///   differences game by game, the mean less two standard errors. The standard error is the
///   standard deviation (with `n_games − 1`) divided by `√n_games`.
/// - A control is beaten if its bound is *above* `margin`.
/// - The verdict is, in this order: `"absent"` if the commoner label (row 3) is not beaten;
///   `"memorised"` if the control task (row 1) is not; `"architecture"` if the untrained model
///   (row 2) is not; else `"feature"`.
///
/// # Errors
///
/// Fails if there are not four rows, or fewer than two games.
///
/// # Example: two games, of which one is read well
///
/// ```text
/// accuracies = [[1, 0.8], [0.5, 0.5], [0.6, 0.4], [0.5, 0.5]]    margin = 0.05
///
/// row 0 − row 1 = [0.5, 0.3]: mean 0.4, standard error 0.1     bound 0.2
/// row 0 − row 2 = [0.4, 0.4]: mean 0.4, standard error 0       bound 0.4
/// row 0 − row 3 = [0.5, 0.3]                                   bound 0.2
/// verdict = "feature"
/// ```
///
/// Source: Belinkov (2022), "Probing Classifiers: Promises, Shortcomings, and Advances", §4,
/// arXiv:2102.12452.
#[part]
pub fn probe_verdict(accuracies: &Tensor, margin: f64) -> Result<(String, Tensor)> {
    todo!("differences by game, bounds, verdict")
}
