//! `assert_all_gradients`: variables that no gradient reaches, in networks that we planted.

use std::collections::{BTreeMap, BTreeSet};

use answer::{Weights, answer};
use candle_core::{D, Result, Tensor, Var, bail};
use candle_nn::ops;
use protocol::{DType, Value};

use crate::{Alternative, Array, Check, Impostor, Kind, Outcome, Part, Trial, args};

/// Makes an answer from what it says to the variables, their gradients in a store, and the loss.
macro_rules! verdict {
    (|$vars:ident, $loss:ident| $body:expr) => {
        answer!(|network: &[String], weights: &Weights, x: &Tensor| {
            let ($vars, $loss) = build(network, weights, x)?;
            let n_vars = $vars.len();
            let said: Result<Vec<String>> = $body;
            let said = said?;
            if !said.is_empty() {
                anyhow::bail!("no gradient reaches {}", said.join(", "));
            }
            Ok::<_, candle_core::Error>(n_vars)
        })
    };
}

pub(super) const ASSERT_ALL_GRADIENTS: Part = Part {
    name: "assert_all_gradients",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation is found as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "whole_graphs_pass",
            promise: "Networks whose every variable is reached give no error.",
            kind: Kind::Property,
            run: whole_graphs_pass,
        },
        Check {
            name: "severed_graphs_are_found",
            promise: "Fused norms, a fused softmax, a detached or copied value are all found.",
            kind: Kind::Property,
            run: severed_graphs_are_found,
        },
        Check {
            name: "skipped_norms_are_found",
            promise: "Behind a skip connection only the norm's own variables are missing.",
            kind: Kind::Property,
            run: skipped_norms_are_found,
        },
    ],
    impostors: &[
        Impostor {
            name: "backward_believed",
            diagnosis: "it is content if `backward` gives no error; candle gives none where an \
                        operation has no backward pass",
            caught_by: "documented_example",
            answer: verdict!(|_vars, loss| loss.backward().map(|_| Vec::new())),
        },
        Impostor {
            name: "first_one_named",
            diagnosis: "the error names only the first variable that has no gradient",
            caught_by: "documented_example",
            answer: verdict!(
                |vars, loss| missing(&vars, &loss).map(|m| m[..m.len().min(1)].to_vec())
            ),
        },
        Impostor {
            name: "biases_forgotten",
            diagnosis: "only variables called `weight` are looked at",
            caught_by: "documented_example",
            answer: verdict!(|vars, loss| {
                missing(&vars, &loss)
                    .map(|m| m.into_iter().filter(|n| n.ends_with("weight")).collect())
            }),
        },
        Impostor {
            name: "all_named",
            diagnosis: "the error names every variable, those that have a gradient as well",
            caught_by: "documented_example",
            answer: verdict!(|vars, loss| missing(&vars, &loss).map(|m| {
                if m.is_empty() { m } else { vars.iter().map(|(name, _)| name.clone()).collect() }
            })),
        },
        Impostor {
            name: "zero_is_missing",
            diagnosis: "a gradient of 0 is taken for none; a dead unit has one",
            caught_by: "whole_graphs_pass",
            answer: verdict!(|vars, loss| {
                let store = loss.backward()?;
                let is_zero = |var: &Var| match store.get(var) {
                    Some(slope) => slope.abs()?.sum_all()?.to_scalar::<f32>().map(|sum| sum == 0.0),
                    None => Ok(true),
                };
                let mut said = Vec::new();
                for (name, var) in &vars {
                    if is_zero(var)? {
                        said.push(name.clone());
                    }
                }
                Ok(said)
            }),
        },
        Impostor {
            name: "norms_left_out",
            diagnosis: "variables of norms are left out, as if they were no weights; theirs are \
                        the gradients that go missing alone",
            caught_by: "documented_example",
            answer: verdict!(|vars, loss| {
                missing(&vars, &loss)
                    .map(|m| m.into_iter().filter(|n| !n.starts_with("norm")).collect())
            }),
        },
        Impostor {
            name: "counted_by_rank",
            diagnosis: "only matrices are looked at, and the rest named with them; a norm's \
                        vectors can go missing alone",
            caught_by: "skipped_norms_are_found",
            answer: verdict!(|vars, loss| {
                let missing = missing(&vars, &loss)?;
                let is_matrix = |name: &String| {
                    vars.iter().any(|(other, var)| other == name && var.rank() == 2)
                };
                let any = missing.iter().any(is_matrix);
                Ok(if any { missing } else { Vec::new() })
            }),
        },
        Impostor {
            name: "first_variable_asked",
            diagnosis: "the first variable stands for all: if a gradient reaches it, the rest is \
                        believed",
            caught_by: "severed_graphs_are_found",
            answer: verdict!(|vars, loss| {
                let missing = missing(&vars, &loss)?;
                let first = vars.first().map(|(name, _)| name.clone()).unwrap_or_default();
                Ok(if missing.contains(&first) { missing } else { Vec::new() })
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_removal",
        answer: verdict!(|vars, loss| {
            let mut store = loss.backward()?;
            let gone = vars.iter().filter(|(_, var)| store.remove(var).is_none());
            Ok(gone.map(|(name, _)| name.clone()).collect())
        }),
    }],
};

fn missing(vars: &[(String, Var)], loss: &Tensor) -> Result<Vec<String>> {
    let store = loss.backward()?;
    let missing = vars.iter().filter(|(_, var)| store.get(var).is_none());
    Ok(missing.map(|(name, _)| name.clone()).collect())
}

/// Builds what the steps describe.
#[expect(clippy::disallowed_methods, reason = "these are the operations that sever")]
fn build(
    network: &[String],
    weights: &Weights,
    x: &Tensor,
) -> Result<(Vec<(String, Var)>, Tensor)> {
    let vars =
        weights.iter().map(|(name, weight)| Ok((name.to_owned(), Var::from_tensor(weight)?)));
    let vars: Vec<(String, Var)> = vars.collect::<Result<_>>()?;
    let (mut h, mut kept) = (x.clone(), x.clone());
    for line in network {
        let (step, name) = line.split_once(' ').unwrap_or((line, ""));
        let of = |kind: &str| {
            let name = format!("{name}.{kind}");
            let found = vars.iter().find(|(other, _)| *other == name);
            found.map(|(_, var)| var.as_tensor().clone()).ok_or(candle_core::Error::Msg(name))
        };
        h = match step {
            "keep" => {
                kept = h.clone();
                h
            }
            "add_kept" => (h + &kept)?,
            "linear" => h.matmul(&of("weight")?.t()?)?.broadcast_add(&of("bias")?)?,
            "dead_unit" => h.broadcast_add(&of("weight")?.sqr()?.neg()?.relu()?)?,
            "relu" => h.relu()?,
            "softmax" => ops::softmax(&h, D::Minus1)?,
            "fused_softmax" => ops::softmax_last_dim(&h)?,
            "rms_norm" => ops::rms_norm_slow(&h, &of("weight")?, 1e-5)?,
            "fused_rms_norm" => ops::rms_norm(&h, &of("weight")?, 1e-5)?,
            "layer_norm" => ops::layer_norm_slow(&h, &of("weight")?, &of("bias")?, 1e-5)?,
            "fused_layer_norm" => ops::layer_norm(&h, &of("weight")?, &of("bias")?, 1e-5)?,
            "detach" => h.detach(),
            "copy_out" => Tensor::new(h.to_vec2::<f32>()?, h.device())?,
            other => bail!("there is no step {other}"),
        };
    }
    Ok((vars, h.sqr()?.mean_all()?))
}

/// Width of every planted network.
const WIDTH: usize = 3;

fn documented_example(trial: &mut Trial) -> Outcome {
    is_told(trial, &["linear below", "fused_layer_norm norm", "linear top"])
}

fn whole_graphs_pass(trial: &mut Trial) -> Outcome {
    is_told(trial, &[])?;
    is_told(trial, &["linear below", "relu", "linear top"])?;
    is_told(
        trial,
        &["linear below", "layer_norm norm", "softmax", "rms_norm norm2", "linear top"],
    )?;
    // A gradient that is there, and 0.
    is_told(trial, &["linear below", "dead_unit idle", "linear top"])
}

fn severed_graphs_are_found(trial: &mut Trial) -> Outcome {
    let cuts =
        ["fused_layer_norm norm", "fused_rms_norm norm", "fused_softmax", "detach", "copy_out"];
    for cut in cuts {
        is_told(trial, &["linear zero", cut, "linear above", "relu", "linear top"])?;
    }
    // Nothing at all is reached.
    is_told(trial, &["linear below", "relu", "detach"])?;
    // The first of the variables is reached, others are not.
    is_told(trial, &["linear below", "fused_softmax", "linear above"])
}

fn skipped_norms_are_found(trial: &mut Trial) -> Outcome {
    for norm in ["fused_layer_norm norm", "fused_rms_norm norm"] {
        let block = ["linear below", "keep", norm, "linear inner", "add_kept", "linear top"];
        is_told(trial, &block)?;
    }
    let whole = ["linear below", "keep", "layer_norm norm", "linear inner", "add_kept"];
    is_told(trial, &whole)
}

/// Asks about a network, and compares what is named with the truth.
fn is_told(trial: &mut Trial, network: &[&str]) -> Outcome {
    let weights = weights(trial, network);
    let severed = severed(network, &weights);
    let x = trial.rng.normal_array(&[2, WIDTH]);
    let lines: Vec<String> = network.iter().map(|line| (*line).to_owned()).collect();
    let set = weights.iter().map(|(name, array)| (name.clone(), array.to_raw())).collect();
    let args = args![network: lines, weights: Value::Named(set), x: &x];
    let drawn = if network.is_empty() { "no layer".to_owned() } else { network.join(" → ") };
    if severed.is_empty() {
        let n_vars = trial.ints(args)?;
        return trial.equal("number of variables", &n_vars, &[weights.len() as i64]);
    }
    let case = format!("in {drawn} no gradient reaches {}", quoted(&severed));
    let said = trial.refuses(&case, args)?;
    let named: BTreeSet<&str> =
        weights.keys().map(String::as_str).filter(|name| said.contains(name)).collect();
    let (unnamed, wrongly): (Vec<_>, Vec<_>) = (
        severed.difference(&named).copied().collect(),
        named.difference(&severed).copied().collect(),
    );
    trial.ensure(unnamed.is_empty() && wrongly.is_empty(), || {
        format!(
            "In {drawn} no gradient reaches {}. The error leaves out [{}] and names [{}], which \
             have one.",
            quoted(&severed),
            unnamed.join(", "),
            wrongly.join(", ")
        )
    })
}

fn quoted(names: &BTreeSet<&str>) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Random weights for every step that has some.
fn weights(trial: &mut Trial, network: &[&str]) -> BTreeMap<String, Array> {
    let mut weights = BTreeMap::new();
    for line in network {
        let (step, name) = line.split_once(' ').unwrap_or((line, ""));
        let mut add = |kind: &str, shape: &[usize]| {
            let weight = trial.rng.normal_array(shape).to(DType::F32);
            weights.insert(format!("{name}.{kind}"), weight);
        };
        match step.trim_start_matches("fused_") {
            "linear" => {
                add("weight", &[WIDTH, WIDTH]);
                add("bias", &[WIDTH]);
            }
            "layer_norm" => {
                add("weight", &[WIDTH]);
                add("bias", &[WIDTH]);
            }
            "rms_norm" | "dead_unit" => add("weight", &[WIDTH]),
            _ => {}
        }
    }
    weights
}

/// The variables that no gradient reaches, by following what each value depends on.
fn severed<'a>(network: &[&str], weights: &'a BTreeMap<String, Array>) -> BTreeSet<&'a str> {
    let (mut reached, mut kept) = (BTreeSet::new(), BTreeSet::new());
    for line in network {
        let (step, name) = line.split_once(' ').unwrap_or((line, ""));
        let own = weights
            .keys()
            .map(String::as_str)
            .filter(|weight| weight.rsplit_once('.').is_some_and(|(layer, _)| layer == name));
        match step {
            "keep" => kept.clone_from(&reached),
            "add_kept" => reached.extend(kept.iter().copied()),
            "detach" | "copy_out" => reached.clear(),
            fused if fused.starts_with("fused_") => reached.clear(),
            _ => reached.extend(own),
        }
    }
    weights.keys().map(String::as_str).filter(|name| !reached.contains(name)).collect()
}
