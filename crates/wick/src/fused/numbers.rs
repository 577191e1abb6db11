//! The numbers of tensors, as slices; and what the kernels take.

use std::{
    ops::{Deref, Range},
    sync::{Mutex, MutexGuard, PoisonError},
};

use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, bail};

/// Whether kernels take all of these: `f32` on the CPU, and not empty.
pub(super) fn have_kernels(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|tensor| {
        tensor.device().is_cpu() && tensor.dtype() == DType::F32 && tensor.elem_count() > 0
    })
}

/// The numbers of a contiguous tensor of `f32` on the CPU, for as long as this lives.
pub(super) struct Numbers<'a> {
    storage: Box<dyn Deref<Target = Storage> + 'a>,
    range: Range<usize>,
}

impl<'a> Numbers<'a> {
    pub(super) fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("a kernel needs a contiguous tensor, not one with strides {:?}", layout.stride())
        };
        if !matches!(&*storage, Storage::Cpu(CpuStorage::F32(_))) {
            bail!("a kernel needs f32 on the CPU, not {:?}", tensor.dtype())
        }
        Ok(Self { storage: Box::new(storage), range: start..end })
    }
}

impl Deref for Numbers<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &**self.storage {
            Storage::Cpu(CpuStorage::F32(all)) => &all[self.range.clone()],
            _ => &[],
        }
    }
}

/// The numbers of a contiguous argument of an operation.
pub(super) fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("a kernel needs a contiguous tensor, not one with strides {:?}", layout.stride())
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// A tensor of the same shape as another, with numbers of its own.
pub(super) fn like(tensor: &Tensor, numbers: Vec<f32>) -> Result<Tensor> {
    Tensor::from_vec(numbers, tensor.shape(), tensor.device())
}

/// Token ids of any shape, as a list; fails at one that is not below `end`.
pub(super) fn ids(ids: &Tensor, end: usize) -> Result<Vec<u32>> {
    let ids = ids.to_dtype(DType::U32)?.flatten_all()?.to_vec1::<u32>()?;
    if let Some(id) = ids.iter().find(|&&id| id as usize >= end) {
        bail!("the id {id} is not below {end}")
    }
    Ok(ids)
}

/// What a forward pass leaves for the backward pass of the same node.
pub(super) struct Kept<T>(Mutex<Option<T>>);

impl<T> Kept<T> {
    pub(super) fn nothing() -> Self {
        Self(Mutex::new(None))
    }

    pub(super) fn keep(&self, value: T) {
        *self.lock() = Some(value);
    }

    /// What was kept; fails if the forward pass has not run.
    pub(super) fn with<R>(&self, read: impl FnOnce(&T) -> Result<R>) -> Result<R> {
        match &*self.lock() {
            Some(value) => read(value),
            None => bail!("a backward pass ran before its forward pass"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
