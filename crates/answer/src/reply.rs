//! Answering one question: calling a part, or differentiating it.

use anyhow::{Context as _, bail, ensure};
use candle_core::{Device, Tensor};
use protocol::{Gradient, RawTensor, Reply, Value};

use crate::{
    Call, Output,
    arg::{Tracked, decode},
    tensor::{from_raw, to_raw},
    usage,
};

/// Calls `part`, or differentiates it if there are `cotangents`.
///
/// A panic of the part passes through; the caller knows how to report it.
#[must_use]
pub fn reply(
    part: Call,
    args: &[Value],
    cotangents: Option<&[RawTensor]>,
    device: &Device,
) -> Reply {
    let answered = match cotangents {
        None => call(part, args, device),
        Some(cotangents) => gradient(part, args, cotangents, device),
    };
    answered.unwrap_or_else(|error| Reply::Error(format!("{error:#}")))
}

fn call(part: Call, args: &[Value], device: &Device) -> anyhow::Result<Reply> {
    let decoded: Vec<_> =
        args.iter().map(|arg| decode(arg, device, None)).collect::<anyhow::Result<_>>()?;
    let meter = usage::Meter::start();
    let outputs = part(&decoded)?;
    let usage = meter.stop();
    if args.iter().any(|arg| matches!(arg, Value::Tensor(_) | Value::Named(_))) {
        outputs.iter().try_for_each(|output| output.stays_on(device))?;
    }
    let values = outputs.iter().map(Output::encode).collect::<candle_core::Result<_>>()?;
    Ok(Reply::Values(values, usage))
}

fn gradient(
    part: Call,
    args: &[Value],
    cotangents: &[RawTensor],
    device: &Device,
) -> anyhow::Result<Reply> {
    let mut variables: Vec<Vec<(String, Tracked)>> = Vec::new();
    let mut decoded = Vec::new();
    for arg in args {
        let mut tracked = Vec::new();
        let mut track = |name: &str, variable| tracked.push((name.to_owned(), variable));
        decoded.push(decode(arg, device, Some(&mut track))?);
        variables.push(tracked);
    }
    let loss = weighted_sum(&part(&decoded)?, cotangents, device)?;
    let store = loss.backward()?;
    let encode = |variable: &Tracked| -> candle_core::Result<Option<RawTensor>> {
        variable.gradient(&store)?.as_ref().map(to_raw).transpose()
    };
    let mut gradients = Vec::new();
    for (arg, variables) in args.iter().zip(&variables) {
        gradients.push(match (arg, variables.as_slice()) {
            (Value::Named(_), named) => {
                let encode = |(name, v): &(String, _)| Ok((name.clone(), encode(v)?));
                Gradient::Named(named.iter().map(encode).collect::<candle_core::Result<_>>()?)
            }
            (_, [(_, variable)]) => Gradient::Tensor(encode(variable)?),
            _ => Gradient::NotDifferentiable,
        });
    }
    Ok(Reply::Gradients(gradients))
}

/// Computes `Σ cotangent · result` over all results.
fn weighted_sum(
    outputs: &[Output],
    cotangents: &[RawTensor],
    device: &Device,
) -> anyhow::Result<Tensor> {
    ensure!(
        outputs.len() == cotangents.len(),
        "the part returned {} results; {} were expected",
        outputs.len(),
        cotangents.len()
    );
    let mut total: Option<Tensor> = None;
    for (output, cotangent) in outputs.iter().zip(cotangents) {
        let Output::Tensor(output) = output else {
            bail!("the part returned something other than a tensor");
        };
        let cotangent = from_raw(cotangent, device)?;
        ensure!(
            output.dims() == cotangent.dims(),
            "the result has shape {:?}; {:?} was expected",
            output.dims(),
            cotangent.dims()
        );
        let term = (output * cotangent)?.sum_all()?;
        total = Some(match total {
            None => term,
            Some(total) => (total + term)?,
        });
    }
    total.context("the part returned nothing to differentiate")
}
