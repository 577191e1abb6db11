//! A [`Gpt`] across the process border: its tensors by name, and `n_heads` as one more.

use answer::{Arg, Argument, Weights, to_raw};
use anyhow::bail;
use candle_core::Tensor;
use protocol::{RawTensor, Value};

use crate::Gpt;

/// The name under which the number of heads crosses, as a whole number of type `u32`.
const N_HEADS: &str = "n_heads";

impl<'a> Argument<'a> for &'a Gpt {
    fn from_arg(arg: &'a Arg) -> anyhow::Result<Self> {
        match arg {
            Arg::Named(tensors, made) => made.get_or_make(|| from_tensors(tensors)),
            other => bail!("expected &Gpt, found {other:?}"),
        }
    }
}

fn from_tensors(tensors: &Weights) -> anyhow::Result<Gpt> {
    let n_heads = tensors.get(N_HEADS)?.to_scalar::<u32>()? as usize;
    let others = tensors.iter().filter(|(name, _)| *name != N_HEADS);
    let weights = others.map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
    Ok(Gpt::new(weights, n_heads)?)
}

impl From<&Gpt> for Value {
    /// Writes a model for the border.
    ///
    /// # Panics
    ///
    /// Panics if a tensor cannot be read from its device.
    fn from(gpt: &Gpt) -> Self {
        let raw = |tensor: &Tensor| to_raw(tensor).expect("invariant: a model's tensors are read");
        let tensors = gpt.weights().iter().map(|(name, tensor)| (name.to_owned(), raw(tensor)));
        let n_heads = (gpt.n_heads() as u32).to_le_bytes().to_vec();
        let n_heads = RawTensor::new(protocol::DType::U32, &[], n_heads);
        Self::Named(tensors.chain([(N_HEADS.to_owned(), n_heads)]).collect())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};
    use protocol::{RawTensor, Reply};

    use super::*;

    fn example() -> Gpt {
        let wte = Tensor::new(&[[1f32, 0.], [0., 1.], [2., 2.]], &Device::Cpu).unwrap();
        Gpt::new([("wte.weight".to_owned(), wte)].into_iter().collect(), 2).unwrap()
    }

    #[test]
    fn a_model_is_an_argument() {
        let decoded = answer::decode(&Value::from(&example()), &Device::Cpu, None).unwrap();
        let args = [decoded];
        let gpt = answer::Args::new(&args).take::<&Gpt>("model").unwrap();
        assert_eq!((gpt.n_heads(), gpt.d_vocab(), gpt.n_layers()), (2, 3, 0));
        assert!(answer::Args::new(&[Arg::Bool(true)]).take::<&Gpt>("model").is_err());
    }

    #[test]
    fn gradients_reach_its_tensors() {
        let part = answer::answer!(|model: &Gpt, tokens: &Tensor| model.forward(tokens, &mut ()));
        let token = RawTensor::new(protocol::DType::U32, &[1, 1], 2u32.to_le_bytes().to_vec());
        let ones = [1f32; 3].into_iter().flat_map(f32::to_le_bytes).collect();
        let ones = RawTensor::new(protocol::DType::F32, &[1, 1, 3], ones);
        let args = [Value::from(&example()), Value::Tensor(token)];
        let answered = answer::reply(part, &args, Some(&[ones]), &Device::Cpu);
        let Reply::Gradients(gradients) = answered else { panic!("no gradients") };
        let protocol::Gradient::Named(named) = &gradients[0] else { panic!("no named gradients") };
        let found = answer::from_raw(named["wte.weight"].as_ref().unwrap(), &Device::Cpu).unwrap();
        // As a table it gets the query's stream each, as the query's row the sum of all rows too.
        assert_eq!(found.to_vec2::<f32>().unwrap(), [[2., 2.], [2., 2.], [5., 5.]]);
    }
}
