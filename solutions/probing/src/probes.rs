//! Probes: a question to the activations, and the controls without which no answer counts.
//!
//! A probe that reads a feature off the activations proves little by itself. It may have seen the
//! same game in training ([`train_probe`] splits by game), it may have learned which token is
//! which ([`control_task`]), and an untrained model may serve it as well; [`probe_verdict`] weighs
//! all of that.

use candle_core::{DType, Result, Tensor, bail};
use candle_nn::ops;
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
#[part(plan = "split games, descend, accuracy by game")]
pub fn train_probe(
    activations: &Tensor,
    labels: &Tensor,
    games: &Tensor,
    noise: &Tensor,
    config: ProbeConfig,
) -> Result<(Tensor, Tensor, Tensor)> {
    let (n, d_model) = activations.dims2()?;
    if labels.dims() != [n] || games.dims() != [n] || noise.dims() != [n] {
        bail!("`labels`, `games` and `noise` need one entry for each of {n} rows");
    }
    if labels.to_vec1::<u8>()?.iter().any(|&label| label > 1) {
        bail!("a label is neither 0 nor 1");
    }
    let (dtype, device) = (activations.dtype(), activations.device());
    let (train, held_out) = split_by_game(games, noise, config.held_out)?;
    let rows = |t: &Tensor, at: &[u32]| {
        t.contiguous()?.index_select(&Tensor::new(at, device)?, 0)?.to_dtype(dtype)
    };
    let (x, y) = (rows(activations, &train)?, rows(labels, &train)?);
    let mut weight = Tensor::zeros((d_model, 1), dtype, device)?;
    let mut bias = Tensor::zeros((), dtype, device)?;
    for _ in 0..config.steps {
        let logits = x.matmul(&weight)?.squeeze(1)?.broadcast_add(&bias)?;
        // The slope of −ln p for the logit.
        let error = ((ops::sigmoid(&logits)? - &y)? / train.len() as f64)?;
        let slope = (x.t()?.matmul(&error.unsqueeze(1)?)? + (&weight * config.l2)?)?;
        weight = (weight - (slope * config.lr)?)?;
        bias = (bias - (error.sum_all()? * config.lr)?)?;
    }
    let mut accuracies = Vec::new();
    for game in &held_out {
        let logits = rows(activations, game)?.matmul(&weight)?.squeeze(1)?.broadcast_add(&bias)?;
        let right = logits.gt(0.0)?.to_dtype(dtype)?.eq(&rows(labels, game)?)?;
        accuracies.push(right.to_dtype(dtype)?.mean_all()?);
    }
    Ok((weight.squeeze(1)?, bias, Tensor::stack(&accuracies, 0)?))
}

/// The rows to train on, and those of each game that is held out.
pub(crate) fn split_by_game(
    games: &Tensor,
    noise: &Tensor,
    share: f64,
) -> Result<(Vec<u32>, Vec<Vec<u32>>)> {
    let noise = noise.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let mut order: Vec<(u32, bool, Vec<u32>)> = Vec::new();
    for (row, game) in games.to_vec1::<u32>()?.into_iter().enumerate() {
        match order.iter_mut().find(|(known, ..)| *known == game) {
            Some((.., rows)) => rows.push(row as u32),
            None => order.push((game, noise[row] < share, vec![row as u32])),
        }
    }
    let (held_out, train): (Vec<_>, Vec<_>) = order.into_iter().partition(|(_, out, _)| *out);
    if held_out.is_empty() || train.is_empty() {
        bail!("{} games are held out and {} are left", held_out.len(), train.len());
    }
    let rows = |games: Vec<(u32, bool, Vec<u32>)>| games.into_iter().map(|(.., rows)| rows);
    Ok((rows(train).flatten().collect(), rows(held_out).collect()))
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
#[part(plan = "lots by type, three probes, majority")]
pub fn control_task(
    activations: &Tensor,
    untrained: &Tensor,
    labels: &Tensor,
    tokens: &Tensor,
    games: &Tensor,
    noise: &Weights,
    config: ProbeConfig,
) -> Result<(Tensor, Tensor, Tensor)> {
    let (n, split) = (labels.dim(0)?, noise.get("split")?);
    if tokens.dims() != [n] {
        bail!("`tokens` is {:?} for {n} rows", tokens.dims());
    }
    let drawn = (noise.get("types")?.to_dtype(DType::F64)? * n as f64)?.to_dtype(DType::U32)?;
    let by_type = labels.contiguous()?.index_select(&drawn, 0)?;
    let control = by_type.index_select(&tokens.contiguous()?, 0)?; // (n)
    let (.., task) = train_probe(activations, labels, games, split, config)?;
    let (.., of_control) = train_probe(activations, &control, games, split, config)?;
    let (.., of_untrained) = train_probe(untrained, labels, games, split, config)?;
    let majority = majority_by_game(labels, games, split, config.held_out)?;
    let majority = Tensor::new(majority, labels.device())?.to_dtype(task.dtype())?;
    let selectivity = (task.mean_all()? - of_control.mean_all()?)?;
    let accuracies = Tensor::stack(&[task, of_control, of_untrained, majority], 0)?;
    Ok((control, accuracies, selectivity))
}

/// How often the commoner label of the training rows is right in each game held out.
fn majority_by_game(
    labels: &Tensor,
    games: &Tensor,
    noise: &Tensor,
    held_out: f64,
) -> Result<Vec<f64>> {
    let labels = labels.to_vec1::<u8>()?;
    let (train, held_out) = split_by_game(games, noise, held_out)?;
    let n_ones = |rows: &[u32]| rows.iter().filter(|&&row| labels[row as usize] == 1).count();
    let one_is_common = 2 * n_ones(&train) >= train.len();
    let share = |rows: &Vec<u32>| {
        let ones = n_ones(rows) as f64 / rows.len() as f64;
        if one_is_common { ones } else { 1.0 - ones }
    };
    Ok(held_out.iter().map(share).collect())
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
#[part(plan = "differences by game, bounds, verdict")]
pub fn probe_verdict(accuracies: &Tensor, margin: f64) -> Result<(String, Tensor)> {
    let (n_rows, n_games) = accuracies.dims2()?;
    if n_rows != 4 || n_games < 2 {
        bail!("there are {n_rows} rows of {n_games} games; 4 rows of 2 or more are needed");
    }
    let ahead = accuracies.narrow(0, 0, 1)?.broadcast_sub(&accuracies.narrow(0, 1, 3)?)?;
    let mean = ahead.mean_keepdim(1)?; // (3, 1)
    let squares = ahead.broadcast_sub(&mean)?.sqr()?.sum_keepdim(1)?;
    let error = (squares / ((n_games - 1) * n_games) as f64)?.sqrt()?;
    let bounds = (mean - (error * 2.0)?)?.squeeze(1)?;
    let [control, untrained, majority] =
        [0, 1, 2].map(|k| bounds.get(k)?.to_dtype(DType::F64)?.to_scalar::<f64>());
    // The question that needs the least of an answer comes first.
    let verdict = match (majority? > margin, control? > margin, untrained? > margin) {
        (false, ..) => "absent",
        (_, false, _) => "memorised",
        (.., false) => "architecture",
        _ => "feature",
    };
    Ok((verdict.to_owned(), bounds))
}
