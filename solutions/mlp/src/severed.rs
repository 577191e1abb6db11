//! The trap that says nothing: weights that no gradient reaches.
//!
//! Some operations of candle have no backward pass, and give no error either: `backward` just stops
//! there. Training then runs, the loss falls a little, and the layers below never learn.
//!
//! Source: issues 2168, 2977 and 3011 of candle, whose authors searched for days.

use candle_core::{Result, Tensor, Var, bail};
use wick::piece;

/// Proves that a gradient of `loss` reaches every variable.
///
/// One call of this behind the first loss of a new model finds what would cost days.
///
/// # Contract
///
/// - It returns `Ok` if `loss.backward()` has a gradient for each of `vars`.
/// - A gradient of 0 is a gradient: a unit may be dead today and alive tomorrow.
/// - Of no variable at all, nothing is missing.
///
/// # Errors
///
/// Fails if a gradient is missing, and names every variable that has none, and no other.
///
/// # Example: a fused norm between two layers
///
/// ```text
/// loss = mean(below → fused_layer_norm → above)
/// error: no gradient reaches `below.weight`, `below.bias`, `norm.weight`, `norm.bias`
/// ```
#[piece(plan = "backward, collect what is missing")]
pub fn assert_all_gradients(vars: &[(String, Var)], loss: &Tensor) -> Result<()> {
    let store = loss.backward()?;
    let is_missing = |(_, var): &&(String, Var)| store.get(var).is_none();
    let missing: Vec<String> =
        vars.iter().filter(is_missing).map(|(name, _)| format!("`{name}`")).collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("no gradient reaches {}", missing.join(", "))
}

// given: networks that the judge describes, built in your process, for gradients cannot leave it
pub mod planted {
    //! Builds a described network, and hands its variables and its loss to your function.

    use candle_core::{D, Result, Tensor, Var, bail};
    use candle_nn::ops;
    use wick::{Weights, part};

    /// Builds the network and asks [`super::assert_all_gradients`]; if that is content, returns how
    /// many variables there were.
    ///
    /// `network` has one step a line, such as `linear below`, with weights `below.weight` and
    /// `below.bias`; `x` goes in, and the loss is the mean of the squares of what comes out.
    ///
    /// # Errors
    ///
    /// Fails if [`super::assert_all_gradients`] does, or a step is unknown.
    #[part]
    pub fn assert_all_gradients(
        network: &[String],
        weights: &Weights,
        x: &Tensor,
    ) -> Result<usize> {
        let mut vars = Vec::new();
        for (name, weight) in weights.iter() {
            vars.push((name.to_owned(), Var::from_tensor(weight)?));
        }
        let live: Weights =
            vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
        let (mut h, mut kept) = (x.clone(), x.clone());
        for line in network {
            let (step, name) = line.split_once(' ').unwrap_or((line, ""));
            let of = |kind: &str| live.get(&format!("{name}.{kind}"));
            h = match step {
                "keep" => {
                    kept = h.clone();
                    h
                }
                "add_kept" => (h + &kept)?,
                "linear" => h.matmul(&of("weight")?.t()?)?.broadcast_add(of("bias")?)?,
                "dead_unit" => h.broadcast_add(&of("weight")?.sqr()?.neg()?.relu()?)?,
                other => step_without_weights(other, &h, name, &live)?,
            };
        }
        super::assert_all_gradients(&vars, &h.sqr()?.mean_all()?)?;
        Ok(vars.len())
    }

    /// Norms, softmax, and ways out of the graph.
    #[expect(clippy::disallowed_methods, reason = "these are the operations that sever")]
    fn step_without_weights(step: &str, h: &Tensor, name: &str, live: &Weights) -> Result<Tensor> {
        let weight = || live.get(&format!("{name}.weight"));
        match step {
            "relu" => h.relu(),
            "softmax" => ops::softmax(h, D::Minus1),
            "fused_softmax" => ops::softmax_last_dim(h),
            "rms_norm" => ops::rms_norm_slow(h, weight()?, 1e-5),
            "fused_rms_norm" => ops::rms_norm(h, weight()?, 1e-5),
            "layer_norm" => {
                ops::layer_norm_slow(h, weight()?, live.get(&format!("{name}.bias"))?, 1e-5)
            }
            "fused_layer_norm" => {
                ops::layer_norm(h, weight()?, live.get(&format!("{name}.bias"))?, 1e-5)
            }
            "detach" => Ok(h.detach()),
            "copy_out" => {
                Tensor::from_vec(h.flatten_all()?.to_vec1::<f32>()?, h.shape(), h.device())
            }
            other => bail!("there is no step `{other}`"),
        }
    }
}
