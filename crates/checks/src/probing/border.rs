//! Tensors of an impostor as arrays, and back.

use answer::Weights;
use anyhow::Result;
use candle_core::{Device, Tensor};

use crate::Array;

/// Reads a tensor.
pub(super) fn array(tensor: &Tensor) -> Result<Array> {
    Ok(Array::from_raw(&answer::to_raw(tensor)?)?)
}

/// Results that were computed from arrays, and have to be where the arguments are.
pub(super) trait Sent: Sized {
    /// Sends them to the device of an argument.
    fn sent_to(self, like: &Tensor) -> Result<Self>;
}

impl Sent for Tensor {
    fn sent_to(self, like: &Tensor) -> Result<Self> {
        Ok(self.to_device(like.device())?)
    }
}

impl Sent for Weights {
    fn sent_to(self, like: &Tensor) -> Result<Self> {
        let send = |(name, t): (&str, &Tensor)| Ok((name.to_owned(), t.clone().sent_to(like)?));
        self.iter().map(send).collect()
    }
}

impl<A: Sent, B: Sent> Sent for (A, B) {
    fn sent_to(self, like: &Tensor) -> Result<Self> {
        Ok((self.0.sent_to(like)?, self.1.sent_to(like)?))
    }
}

impl<A: Sent, B: Sent, C: Sent> Sent for (A, B, C) {
    fn sent_to(self, like: &Tensor) -> Result<Self> {
        Ok((self.0.sent_to(like)?, self.1.sent_to(like)?, self.2.sent_to(like)?))
    }
}

/// Writes a tensor on the processor, of the array's dtype.
pub(super) fn tensor(array: &Array) -> Result<Tensor> {
    answer::from_raw(&array.to_raw(), &Device::Cpu)
}
