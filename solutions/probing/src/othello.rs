//! A model that plays Othello without having seen a board: is there one inside?
//!
//! The board can be read off the residual stream, but not as black and white: the model keeps it as
//! *mine* and *theirs*, from the side of whoever moves ([`othello_probe`]). And it is not only
//! there: flip a disc in it, and the moves that the model plays are those of the other board
//! ([`othello_intervene`]).

use candle_core::{D, Result, Tensor, bail};
use candle_nn::ops;
use wick::{
    Gpt, Weights,
    hook::{Hook, Place},
    part,
};

use crate::probes::{ProbeConfig, split_by_game};

/// Trains a probe for every square of a board, in the colours and from the mover's side.
///
/// # Shapes
///
/// | tensor                      | shape                    | dtype                              |
/// |-----------------------------|--------------------------|------------------------------------|
/// | `activations`               | `(n, d_model)`           | `f32` or `f64`                     |
/// | `boards`                    | `(n, n_squares)`         | `u8`: 0 empty, 1 black, 2 white    |
/// | `movers`                    | `(n)`                    | `u8`: who moves, 1 black or 2 white |
/// | `games`                     | `(n)`                    | `u32`                              |
/// | `noise`                     | `(n)`                    | as `activations`, in `[0, 1)`      |
/// | `weight` in the first result | `(n_squares, 3, d_model)` | as `activations`                 |
/// | `bias`                      | `(n_squares, 3)`         | as `activations`                   |
/// | second result, accuracies   | `(2)`                    | as `activations`                   |
///
/// # Contract
///
/// - Seen from the mover, a square is 0 empty, 1 mine, 2 theirs: a disc of the mover's colour is
///   mine.
/// - The probe of a square says `softmax(weight · x + bias)` over its three classes. The loss is
///   the mean over the training rows of the sum over the squares of `−ln p(class)`, plus
///   `l2 / 2 · |weight|²`; the bias is not penalised.
/// - Zeros, `steps` steps of size `lr`, and games held out as in
///   [`train_probe`](crate::probes::train_probe).
/// - The first result is the probe for mine and theirs. Of the accuracies, the first is that of a
///   probe of the same kind for `boards` as they are (empty, black, white), the second that of the
///   probe returned. Each is the share of all squares of all rows held out whose class has the
///   largest logit.
/// - Inputs may be non-contiguous.
///
/// # Errors
///
/// Fails if `boards`, `movers`, `games` or `noise` have not one entry for each row, a square is
/// above 2, or either no game or every game is held out.
///
/// # Example: one step, one square
///
/// ```text
/// activations = [[1], [-1], [-2], [2]]    boards = [[1], [1], [2], [2]]    movers = [1, 2, 1, 2]
/// games = [0, 0, 1, 1], of which 1 is held out    steps = 1, lr = 1, l2 = 0
///
/// mine/theirs: 1, 2 and (held out) 2, 1    before the step, p = 1/3 everywhere
/// weight = [[[0], [0.5], [-0.5]]]          bias = [[-1/3, 1/6, 1/6]]
/// accuracies = [0, 1]: of colours it has seen only black, but mine and theirs it tells apart
/// ```
///
/// Source: Li et al. (2023), "Emergent World Representations", arXiv:2210.13382; Nanda, Lee and
/// Wattenberg (2023), "Emergent Linear Representations in World Models of Self-Supervised Sequence
/// Models", §3, arXiv:2309.00941.
#[part(plan = "mine and theirs, descend, two accuracies")]
pub fn othello_probe(
    activations: &Tensor,
    boards: &Tensor,
    movers: &Tensor,
    games: &Tensor,
    noise: &Tensor,
    config: ProbeConfig,
) -> Result<(Weights, Tensor)> {
    let (n, n_squares) = boards.dims2()?;
    let one_each = [movers, games, noise].iter().all(|t| t.dims() == [n]);
    if activations.dim(0)? != n || !one_each {
        bail!("`movers`, `games` and `noise` need one entry for each of {n} boards");
    }
    let squares = boards.contiguous()?.flatten_all()?.to_vec1::<u8>()?;
    if let Some(square) = squares.iter().find(|&&square| square > 2) {
        bail!("a square is {square}");
    }
    let movers = movers.to_vec1::<u8>()?;
    let seen = squares.iter().enumerate().map(|(at, &disc)| match disc {
        0 => 0,
        disc if disc == movers[at / n_squares] => 1,
        _ => 2,
    });
    let relative = Tensor::from_vec(seen.collect::<Vec<u8>>(), (n, n_squares), boards.device())?;
    let split = split_by_game(games, noise, config.held_out)?;
    let (_, absolute) = board_probe(activations, boards, &split, config)?;
    let (probe, relative) = board_probe(activations, &relative, &split, config)?;
    Ok((probe, Tensor::stack(&[absolute, relative], 0)?))
}

/// A probe of three classes for every square, and its accuracy on what is held out.
fn board_probe(
    activations: &Tensor,
    classes: &Tensor,
    (train, held_out): &(Vec<u32>, Vec<Vec<u32>>),
    config: ProbeConfig,
) -> Result<(Weights, Tensor)> {
    let (dtype, device) = (activations.dtype(), activations.device());
    let (d_model, n_squares) = (activations.dim(1)?, classes.dim(1)?);
    let rows = |t: &Tensor, at: &[u32]| t.contiguous()?.index_select(&Tensor::new(at, device)?, 0);
    let x = rows(activations, train)?;
    let classes_here = rows(classes, train)?.unsqueeze(2)?; // (n, n_squares, 1)
    let which = Tensor::new(&[0u8, 1, 2], device)?.reshape((1, 1, 3))?;
    let is_class = classes_here.broadcast_eq(&which)?.to_dtype(dtype)?; // (n, n_squares, 3)
    let mut weight = Tensor::zeros((d_model, 3 * n_squares), dtype, device)?;
    let mut bias = Tensor::zeros((1, 3 * n_squares), dtype, device)?;
    for _ in 0..config.steps {
        let logits = x.matmul(&weight)?.broadcast_add(&bias)?.reshape(is_class.shape())?;
        let error = (ops::softmax(&logits, D::Minus1)? - &is_class)?.flatten_from(1)?;
        let error = (error / train.len() as f64)?;
        let slope = (x.t()?.matmul(&error)? + (&weight * config.l2)?)?;
        weight = (weight - (slope * config.lr)?)?;
        bias = (bias - (error.sum_keepdim(0)? * config.lr)?)?;
    }
    let held_out = held_out.concat();
    let logits = rows(activations, &held_out)?.matmul(&weight)?.broadcast_add(&bias)?;
    let says = logits.reshape((held_out.len(), n_squares, 3))?.argmax(D::Minus1)?;
    let right = says.eq(&rows(classes, &held_out)?.to_dtype(says.dtype())?)?;
    let mut probe = Weights::new();
    probe.insert("weight", weight.t()?.reshape((n_squares, 3, d_model))?);
    probe.insert("bias", bias.reshape((n_squares, 3))?);
    Ok((probe, right.to_dtype(dtype)?.mean_all()?))
}

/// Flips a disc in the board that a model has in mind, and looks at what it then plays.
///
/// # Shapes
///
/// | tensor              | shape                     | dtype        |
/// |---------------------|---------------------------|--------------|
/// | `tokens`            | `(batch, seq)`            | `u32`        |
/// | `weight` in `probe` | `(n_squares, 3, d_model)` | as the model |
/// | result, logits      | `(batch, d_vocab)`        | as the model |
///
/// # Contract
///
/// - The direction of a square is `u`: the probe's row for *mine* (class 1) less that for *theirs*
///   (class 2), with length 1.
/// - On `blocks.{layer}.hook_resid_post`, for every layer in `layers`, at the last position alone,
///   what the stream `x` has along `u` is turned around and multiplied by `scale`:
///   `x − (1 + scale) (x · u) u`. With `scale` 1 that is a mirror: mine becomes theirs, and
///   theirs mine.
/// - What is orthogonal to `u`, and every other position, stays.
/// - The result is the logits at the last position.
/// - Without `layers` it is what the model says by itself.
///
/// # Errors
///
/// Fails if a layer is not one of the model's, `square` is not one of the probe's, or mine and
/// theirs have the same row.
///
/// # Example: a mirror
///
/// ```text
/// x = [3, 4] at the last position    mine = [1, 0], theirs = [-1, 0]: u = [1, 0]    scale = 1
/// x becomes [3, 4] − 2 · 3 · [1, 0] = [-3, 4]
/// ```
///
/// Source: Nanda, Lee and Wattenberg (2023), §4, arXiv:2309.00941.
#[part(plan = "direction, mirror at hooks, last logits")]
pub fn othello_intervene(
    model: &Gpt,
    tokens: &Tensor,
    layers: &[usize],
    probe: &Weights,
    square: usize,
    scale: f64,
) -> Result<Tensor> {
    if let Some(beyond) = layers.iter().find(|&&layer| layer >= model.n_layers()) {
        bail!("layer {beyond} is not one of {}", model.n_layers());
    }
    let weight = probe.get("weight")?;
    if square >= weight.dim(0)? {
        bail!("square {square} is not one of {}", weight.dim(0)?);
    }
    let classes = weight.get(square)?; // (3, d_model)
    let apart = (classes.get(1)? - classes.get(2)?)?;
    let length = apart.sqr()?.sum_all()?.sqrt()?;
    if length.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()? == 0.0 {
        bail!("the probe has one row for mine and theirs on square {square}");
    }
    let unit = apart.broadcast_div(&length)?;
    let last = tokens.dim(1)? - 1;
    let mut mirror = |hook: Hook, resid: Tensor| {
        let Hook { place: Place::ResidPost, layer: Some(layer) } = hook else { return Ok(resid) };
        if !layers.contains(&layer) {
            return Ok(resid);
        }
        let here = resid.narrow(1, last, 1)?; // (batch, 1, d_model)
        let along = here.broadcast_mul(&unit)?.sum_keepdim(D::Minus1)?;
        let change = (along * (-1.0 - scale))?.broadcast_mul(&unit)?;
        Tensor::cat(&[&resid.narrow(1, 0, last)?, &(here + change)?], 1)
    };
    model.forward(tokens, &mut mirror)?.narrow(1, last, 1)?.squeeze(1)
}
