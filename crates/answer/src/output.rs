//! Results: from what a part returns to protocol values.

use candle_core::{Device, Tensor, bail};
use protocol::Value;

use crate::{Numbers, Weights, tensor::to_raw};

/// One result.
#[derive(Clone, Debug)]
pub enum Output {
    /// A tensor, still on its device and in its graph.
    Tensor(Tensor),
    /// Tensors by name.
    Named(Weights),
    /// Anything else.
    Plain(Value),
}

/// What an answer gives: results, or the error that it returned.
pub type Outputs = anyhow::Result<Vec<Output>>;

impl Output {
    /// Encodes the result.
    ///
    /// # Errors
    ///
    /// Fails if a tensor cannot be read from its device.
    pub fn encode(&self) -> candle_core::Result<Value> {
        Ok(match self {
            Self::Plain(value) => value.clone(),
            Self::Tensor(tensor) => Value::Tensor(to_raw(tensor)?),
            Self::Named(weights) => {
                let encode = |(name, tensor): (&str, _)| Ok((name.to_owned(), to_raw(tensor)?));
                Value::Named(weights.iter().map(encode).collect::<candle_core::Result<_>>()?)
            }
        })
    }

    /// Makes sure that its tensors are on the device of the arguments.
    ///
    /// A named tensor without axes may be elsewhere: a count is cheaper to read on the processor.
    pub(crate) fn stays_on(&self, device: &Device) -> candle_core::Result<()> {
        let elsewhere = |tensor: &&Tensor| !tensor.device().same_device(device);
        let strayed = match self {
            Self::Plain(_) => None,
            Self::Tensor(tensor) => Some(tensor).filter(elsewhere),
            Self::Named(weights) => {
                let mut tensors = weights.iter().map(|(_, tensor)| tensor);
                tensors.find(|tensor| tensor.rank() > 0 && elsewhere(tensor))
            }
        };
        match strayed {
            None => Ok(()),
            Some(tensor) => bail!(
                "device mismatch in what came back, arguments: {:?}, result: {:?}",
                device.location(),
                tensor.device().location()
            ),
        }
    }
}

/// What a part may return.
pub trait IntoOutputs {
    /// Converts it.
    ///
    /// # Errors
    ///
    /// Fails if it is an error.
    fn into_outputs(self) -> Outputs;
}

impl<T: IntoOutputs, E: Into<anyhow::Error>> IntoOutputs for Result<T, E> {
    fn into_outputs(self) -> Outputs {
        self.map_err(Into::into)?.into_outputs()
    }
}

impl<T: IntoOutputs> IntoOutputs for Option<T> {
    fn into_outputs(self) -> Outputs {
        self.map_or_else(|| Ok(vec![Output::Plain(Value::None)]), T::into_outputs)
    }
}

macro_rules! into_outputs {
    ($($type:ty: $value:ident => $output:expr;)*) => {$(
        impl IntoOutputs for $type {
            fn into_outputs(self) -> Outputs {
                let $value = self;
                Ok(vec![$output])
            }
        }
    )*};
}

into_outputs! {
    Tensor: tensor => Output::Tensor(tensor);
    Weights: weights => Output::Named(weights);
    bool: flag => Output::Plain(Value::Bool(flag));
    i64: number => Output::Plain(Value::Int(number));
    u32: number => Output::Plain(Value::Int(number.into()));
    usize: number => Output::Plain(Value::Int(number as i64));
    f64: number => Output::Plain(Value::Float(number));
    f32: number => Output::Plain(Value::Float(number.into()));
    String: text => Output::Plain(Value::Text(text));
    Numbers: numbers => Output::Plain(Value::Numbers(numbers.into()));
    Vec<u8>: bytes => Output::Plain(Value::Bytes(bytes));
    Vec<i64>: ints => Output::Plain(Value::Ints(ints));
    Vec<u32>: ints => Output::Plain(Value::Ints(ints.into_iter().map(i64::from).collect()));
    Vec<usize>: ints => Output::Plain(Value::Ints(ints.into_iter().map(|n| n as i64).collect()));
    Vec<[usize; 2]>: pairs =>
        Output::Plain(Value::Ints(pairs.into_flattened().into_iter().map(|n| n as i64).collect()));
    Vec<String>: texts => Output::Plain(Value::Texts(texts));
}

macro_rules! tuple_into_outputs {
    ($($name:ident)*) => {
        impl<$($name: IntoOutputs),*> IntoOutputs for ($($name,)*) {
            #[allow(non_snake_case)]
            fn into_outputs(self) -> Outputs {
                let ($($name,)*) = self;
                let mut outputs = Vec::new();
                $(outputs.extend($name.into_outputs()?);)*
                Ok(outputs)
            }
        }
    };
}

tuple_into_outputs!(A B);
tuple_into_outputs!(A B C);
tuple_into_outputs!(A B C D);
