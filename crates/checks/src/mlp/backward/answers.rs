//! Wrong and right ways back through the network.

use answer::{Weights, answer};
use candle_core::{D, DType, Result, Tensor, Var, bail};
use candle_nn::ops;

use super::super::steps::{project, with_bias};
use crate::{Alternative, Impostor};

/// An answer that spoils one step of the way.
macro_rules! spoiled {
    ($($step:ident: $wrong:expr),* $(,)?) => {
        answer!(|weights: &Weights, x: &Tensor, targets: &Tensor, eps: f64| {
            Steps { $($step: $wrong,)* ..Steps::HONEST }.run(weights, x, targets, eps)
        })
    };
}

pub(super) const IMPOSTORS: &[Impostor] = &[
    Impostor {
        name: "uphill",
        diagnosis: "the sign is wrong from the logits on: it is softmax minus one-hot",
        caught_by: "documented_example",
        answer: spoiled!(logits: |f| honest_logits(f)?.neg()),
    },
    Impostor {
        name: "softmax_alone",
        diagnosis: "the 1 at the target is not subtracted from the softmax",
        caught_by: "documented_example",
        answer: spoiled!(logits: |f| ops::softmax(f.logits, 1)? / f.batch()),
    },
    Impostor {
        name: "weight_transposed",
        diagnosis: "the gradient of a weight is `(d_in, d_out)`; it has the shape of the weight",
        caught_by: "documented_example",
        answer: spoiled!(weight: |d, x| x.t()?.matmul(d)),
    },
    Impostor {
        name: "bias_not_summed",
        diagnosis: "the gradient of a bias is not summed over the batch: every row moves it",
        caught_by: "documented_example",
        answer: spoiled!(bias: |d| Ok(d.clone())),
    },
    Impostor {
        name: "relu_forgotten",
        diagnosis: "`relu` passes its gradient on where it was closed; there it is 0",
        caught_by: "documented_example",
        answer: spoiled!(relu: |_, d_hidden| Ok(d_hidden.clone())),
    },
    Impostor {
        name: "relu_open_by_gradient",
        diagnosis: "`relu` is closed where the gradient is negative; it is what went in that \
                    decides",
        caught_by: "documented_example",
        answer: spoiled!(relu: |_, d_hidden| d_hidden.relu()),
    },
    Impostor {
        name: "relu_as_value",
        diagnosis: "the gradient is multiplied by the result of `relu`, not by its slope, 0 or 1",
        caught_by: "documented_example",
        answer: spoiled!(relu: |f, d_hidden| d_hidden * f.hidden),
    },
    Impostor {
        name: "gain_by_norm",
        diagnosis: "the gradient of `norm.weight` is made with `norm`; it multiplies `unit`",
        caught_by: "documented_example",
        answer: spoiled!(gain: |f, d_norm| (d_norm * f.norm)?.sum(0)),
    },
    Impostor {
        name: "batch_not_averaged",
        diagnosis: "1 / batch is missing: the loss is the mean over the batch",
        caught_by: "repeated_batches_weigh_the_same",
        answer: spoiled!(logits: |f| honest_logits(f)? * f.batch()),
    },
    Impostor {
        name: "bias_averaged",
        diagnosis: "the gradient of a bias is averaged over the batch after 1 / batch was applied \
                    already; the rows are summed",
        caught_by: "repeated_batches_weigh_the_same",
        answer: spoiled!(bias: |d| d.mean(0)),
    },
    Impostor {
        name: "weight_averaged",
        diagnosis: "1 / batch is applied twice to the gradient of a weight: once at the logits, \
                    once more here",
        caught_by: "repeated_batches_weigh_the_same",
        answer: spoiled!(weight: |d, x| d.t()?.matmul(x)? / d.dim(0)? as f64),
    },
    Impostor {
        name: "mean_held_still",
        diagnosis: "the mean inside layer norm is taken for a constant; it moves with every \
                    number of its row",
        caught_by: "documented_example",
        answer: spoiled!(norm: |f, d_unit| {
            let along = (d_unit * f.unit)?.mean_keepdim(1)?;
            (d_unit - f.unit.broadcast_mul(&along)?)?.broadcast_div(f.std)
        }),
    },
    Impostor {
        name: "deviation_held_still",
        diagnosis: "the standard deviation inside layer norm is taken for a constant; it moves \
                    with every number of its row",
        caught_by: "documented_example",
        answer: spoiled!(norm: |f, d_unit| {
            d_unit.broadcast_sub(&d_unit.mean_keepdim(1)?)?.broadcast_div(f.std)
        }),
    },
    Impostor {
        name: "mean_and_deviation_held_still",
        diagnosis: "layer norm is passed by a division alone; its mean and its deviation move \
                    with every number of their row too",
        caught_by: "documented_example",
        answer: spoiled!(norm: |f, d_unit| d_unit.broadcast_div(f.std)),
    },
    Impostor {
        name: "normalised_over_the_batch",
        diagnosis: "the way back takes means over the batch, as batch norm does; layer norm's are \
                    over the units of a row",
        caught_by: "documented_example",
        answer: spoiled!(norm: |f, d_unit| {
            let along_mean = d_unit.mean_keepdim(0)?;
            let along_unit = f.unit.broadcast_mul(&(d_unit * f.unit)?.mean_keepdim(0)?)?;
            (d_unit.broadcast_sub(&along_mean)? - along_unit)?.broadcast_div(f.std)
        }),
    },
    Impostor {
        name: "means_over_everything",
        diagnosis: "the means inside layer norm's way back run over the whole batch; each row has \
                    its own, over its units",
        caught_by: "layer_norm_takes_out_mean_and_size",
        answer: spoiled!(norm: |f, d_unit| {
            let along_mean = d_unit.mean_all()?;
            let along_unit = f.unit.broadcast_mul(&(d_unit * f.unit)?.mean_all()?)?;
            (d_unit.broadcast_sub(&along_mean)? - along_unit)?.broadcast_div(f.std)
        }),
    },
    Impostor {
        name: "gain_not_passed",
        diagnosis: "the gain `norm.weight` is left out on the way back to `pre`",
        caught_by: "every_gradient_is_right",
        answer: spoiled!(unit: |_, d_norm| Ok(d_norm.clone())),
    },
    Impostor {
        name: "relu_at_pre",
        diagnosis: "`relu` is closed where `pre` was not positive; it got `norm`, not `pre`",
        caught_by: "every_gradient_is_right",
        answer: spoiled!(relu: |f, d_hidden| {
            f.pre.gt(0.0)?.where_cond(d_hidden, &d_hidden.zeros_like()?)
        }),
    },
    Impostor {
        name: "division_forgotten",
        diagnosis: "the division by the standard deviation is missing on the way back",
        caught_by: "every_gradient_is_right",
        answer: spoiled!(norm: |f, d_unit| honest_norm(f, d_unit)?.broadcast_mul(f.std)),
    },
    Impostor {
        name: "epsilon_forgotten",
        diagnosis: "eps is not added to the variance",
        caught_by: "every_gradient_is_right",
        answer: answer!(|weights: &Weights, x: &Tensor, targets: &Tensor, _eps: f64| {
            Steps::HONEST.run(weights, x, targets, 0.0)
        }),
    },
    Impostor {
        name: "epsilon_outside_the_root",
        diagnosis: "eps is added to the standard deviation; it is added to the variance, inside \
                    the root",
        caught_by: "every_gradient_is_right",
        answer: spoiled!(deviation: |centred, eps| {
            centred.sqr()?.mean_keepdim(1)?.sqrt()? + eps
        }),
    },
    Impostor {
        name: "hidden_weight_by_norm",
        diagnosis: "the gradient of `output.weight` is made with `norm`; the weight multiplies \
                    `hidden`",
        caught_by: "documented_example",
        answer: spoiled!(output_input: |f| f.norm.clone()),
    },
    Impostor {
        name: "computed_in_f32",
        diagnosis: "the gradients are computed in `f32` whatever the weights are",
        caught_by: "layer_norm_takes_out_mean_and_size",
        answer: answer!(|weights: &Weights, x: &Tensor, targets: &Tensor, eps: f64| {
            let to = |set: &Weights, dtype: DType| -> Result<Weights> {
                set.iter().map(|(name, t)| Ok((name.to_owned(), t.to_dtype(dtype)?))).collect()
            };
            let single = to(weights, DType::F32)?;
            let gradients = Steps::HONEST.run(&single, &x.to_dtype(DType::F32)?, targets, eps)?;
            to(&gradients, x.dtype())
        }),
    },
    Impostor {
        name: "read_in_memory_order",
        diagnosis: "`x` is read in the order in which it lies in memory; it may be a transposed \
                    view",
        caught_by: "shapes_and_dtypes_do_not_matter",
        answer: answer!(|weights: &Weights, x: &Tensor, targets: &Tensor, eps: f64| {
            let (batch, d_in) = x.dims2()?;
            let in_memory = if x.is_contiguous() { x.clone() } else { x.t()? };
            let x = in_memory.flatten_all()?.reshape((batch, d_in))?;
            Steps::HONEST.run(weights, &x, targets, eps)
        }),
    },
    Impostor {
        name: "targets_not_counted",
        diagnosis: "targets that are fewer than the rows are stretched or left out without an \
                    error",
        caught_by: "other_batches_are_refused",
        answer: answer!(|weights: &Weights, x: &Tensor, targets: &Tensor, eps: f64| {
            let batch = x.dim(0)?;
            let repeated = targets.repeat(batch)?.narrow(0, 0, batch)?;
            Steps::HONEST.run(weights, x, &repeated, eps)
        }),
    },
];

pub(super) const ALTERNATIVES: &[Alternative] = &[
    Alternative {
        name: "by_autograd",
        answer: answer!(|weights: &Weights, x: &Tensor, targets: &Tensor, eps: f64| {
            by_autograd(weights, x, targets, eps)
        }),
    },
    Alternative { name: "step_by_step", answer: spoiled!(norm: through_mean_and_variance) },
];

/// What the forward run left.
struct Forward<'a> {
    targets: &'a Tensor,
    pre: &'a Tensor,
    unit: &'a Tensor,
    std: &'a Tensor,
    norm: &'a Tensor,
    hidden: &'a Tensor,
    logits: &'a Tensor,
}

impl Forward<'_> {
    fn batch(&self) -> f64 {
        self.pre.dims()[0] as f64
    }
}

/// The steps of the way back, each to be spoiled by some impostor.
struct Steps {
    deviation: fn(&Tensor, f64) -> Result<Tensor>,
    logits: fn(&Forward) -> Result<Tensor>,
    weight: fn(&Tensor, &Tensor) -> Result<Tensor>,
    bias: fn(&Tensor) -> Result<Tensor>,
    output_input: fn(&Forward) -> Tensor,
    relu: fn(&Forward, &Tensor) -> Result<Tensor>,
    gain: fn(&Forward, &Tensor) -> Result<Tensor>,
    unit: fn(&Tensor, &Tensor) -> Result<Tensor>,
    norm: fn(&Forward, &Tensor) -> Result<Tensor>,
}

impl Steps {
    const HONEST: Self = Self {
        deviation: |centred, eps| (centred.sqr()?.mean_keepdim(1)? + eps)?.sqrt(),
        logits: honest_logits,
        weight: |d, x| d.t()?.matmul(x),
        bias: |d| d.sum(0),
        output_input: |f| f.hidden.clone(),
        relu: |f, d_hidden| f.norm.gt(0.0)?.where_cond(d_hidden, &d_hidden.zeros_like()?),
        gain: |f, d_norm| (d_norm * f.unit)?.sum(0),
        unit: |gain, d_norm| d_norm.broadcast_mul(gain),
        norm: honest_norm,
    };

    fn run(&self, weights: &Weights, x: &Tensor, targets: &Tensor, eps: f64) -> Result<Weights> {
        fits(x, targets)?;
        let x = &x.contiguous()?;
        let pre = &layer(weights, "hidden", x)?;
        let centred = pre.broadcast_sub(&pre.mean_keepdim(1)?)?;
        let std = &(self.deviation)(&centred, eps)?;
        let unit = &centred.broadcast_div(std)?;
        let gain = weights.get("norm.weight")?;
        let norm = &unit.broadcast_mul(gain)?.broadcast_add(weights.get("norm.bias")?)?;
        let hidden = &norm.relu()?;
        let logits = &layer(weights, "output", hidden)?;
        let forward = &Forward { targets, pre, unit, std, norm, hidden, logits };

        let d_logits = (self.logits)(forward)?;
        let d_hidden = d_logits.matmul(weights.get("output.weight")?)?;
        let d_norm = (self.relu)(forward, &d_hidden)?;
        let d_pre = (self.norm)(forward, &(self.unit)(gain, &d_norm)?)?;
        let mut gradients = Weights::new();
        gradients.insert("output.weight", (self.weight)(&d_logits, &(self.output_input)(forward))?);
        gradients.insert("output.bias", (self.bias)(&d_logits)?);
        gradients.insert("norm.weight", (self.gain)(forward, &d_norm)?);
        gradients.insert("norm.bias", (self.bias)(&d_norm)?);
        gradients.insert("hidden.weight", (self.weight)(&d_pre, x)?);
        gradients.insert("hidden.bias", (self.bias)(&d_pre)?);
        gradients.insert("x", d_pre.matmul(weights.get("hidden.weight")?)?);
        gradients.insert("pre", d_pre);
        gradients.insert("norm", d_norm);
        gradients.insert("hidden", d_hidden);
        gradients.insert("logits", d_logits);
        Ok(gradients)
    }
}

fn fits(x: &Tensor, targets: &Tensor) -> Result<()> {
    if targets.dims() != [x.dim(0)?] {
        bail!("targets {:?} do not fit {:?}", targets.dims(), x.dims());
    }
    Ok(())
}

fn layer(weights: &Weights, name: &str, x: &Tensor) -> Result<Tensor> {
    let out = project(x, weights.get(&format!("{name}.weight"))?)?;
    with_bias(&out, Some(weights.get(&format!("{name}.bias"))?))
}

fn one_hot(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let classes = Tensor::arange(0, logits.dim(1)? as u32, logits.device())?;
    targets.unsqueeze(1)?.broadcast_eq(&classes)?.to_dtype(logits.dtype())
}

fn honest_logits(f: &Forward) -> Result<Tensor> {
    (ops::softmax(f.logits, D::Minus1)? - one_hot(f.logits, f.targets)?)? / f.batch()
}

fn honest_norm(f: &Forward, d_unit: &Tensor) -> Result<Tensor> {
    let along_mean = d_unit.mean_keepdim(1)?;
    let along_unit = f.unit.broadcast_mul(&(d_unit * f.unit)?.mean_keepdim(1)?)?;
    (d_unit.broadcast_sub(&along_mean)? - along_unit)?.broadcast_div(f.std)
}

/// Layer norm in single steps: variance first, then the distances, then the mean.
fn through_mean_and_variance(f: &Forward, d_unit: &Tensor) -> Result<Tensor> {
    let d_mlp = f.pre.dim(1)? as f64;
    let centred = f.pre.broadcast_sub(&f.pre.mean_keepdim(1)?)?;
    // unit = centred · scale, scale = (variance + eps)^(−½)
    let d_scale = (d_unit * &centred)?.sum_keepdim(1)?;
    let d_variance = (d_scale / f.std.powf(3.0)?)?.affine(-0.5, 0.0)?;
    let by_variance = (centred * (2.0 / d_mlp))?.broadcast_mul(&d_variance)?;
    let d_centred = (d_unit.broadcast_div(f.std)? + by_variance)?;
    d_centred.broadcast_sub(&(d_centred.sum_keepdim(1)? / d_mlp)?)
}

/// Everything as candle's autograd has it.
fn by_autograd(weights: &Weights, x: &Tensor, targets: &Tensor, eps: f64) -> Result<Weights> {
    fits(x, targets)?;
    let mut vars = Vec::new();
    let mut track = |name: &str, tensor: &Tensor| -> Result<Tensor> {
        let var = Var::from_tensor(&tensor.contiguous()?)?;
        let tensor = var.as_tensor().clone();
        vars.push((name.to_owned(), var));
        Ok(tensor)
    };
    let mut tracked = Weights::new();
    for (name, tensor) in weights.iter() {
        tracked.insert(name, track(name, tensor)?);
    }
    // A variable of zeros, added to an inner value, has that value's gradient.
    let x = track("x", x)?;
    let pre = layer(&tracked, "hidden", &x)?;
    let pre = (&pre + track("pre", &pre.zeros_like()?)?)?;
    let centred = pre.broadcast_sub(&pre.mean_keepdim(1)?)?;
    let unit = centred.broadcast_div(&(centred.sqr()?.mean_keepdim(1)? + eps)?.sqrt()?)?;
    let norm = unit.broadcast_mul(tracked.get("norm.weight")?)?;
    let norm = norm.broadcast_add(tracked.get("norm.bias")?)?;
    let norm = (&norm + track("norm", &norm.zeros_like()?)?)?;
    let hidden = norm.relu()?;
    let hidden = (&hidden + track("hidden", &hidden.zeros_like()?)?)?;
    let logits = layer(&tracked, "output", &hidden)?;
    let logits = (&logits + track("logits", &logits.zeros_like()?)?)?;
    let logs = ops::log_softmax(&logits, 1)?;
    let store = (logs * one_hot(&logits, targets)?)?.sum(1)?.mean_all()?.neg()?.backward()?;
    vars.into_iter()
        .map(|(name, var)| match store.get(&var) {
            Some(gradient) => Ok((name, gradient.clone())),
            None => bail!("no gradient for {name}"),
        })
        .collect()
}
