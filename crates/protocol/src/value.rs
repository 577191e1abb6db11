//! Plain Rust values as protocol values.

use std::collections::BTreeMap;

use crate::{RawTensor, Value};

macro_rules! into_value {
    ($($type:ty: $value:ident => $variant:expr;)*) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $variant
            }
        }
    )*};
}

into_value! {
    bool: flag => Self::Bool(flag);
    i64: number => Self::Int(number);
    usize: number => Self::Int(number as i64);
    f64: number => Self::Float(number);
    &str: text => Self::Text(text.to_owned());
    Vec<u8>: bytes => Self::Bytes(bytes);
    Vec<i64>: ints => Self::Ints(ints);
    Vec<usize>: sizes => Self::Ints(sizes.into_iter().map(|n| n as i64).collect());
    &[usize]: sizes => Self::Ints(sizes.iter().map(|&n| n as i64).collect());
    &[[usize; 2]]: pairs => Self::from(pairs.as_flattened());
    Vec<String>: texts => Self::Texts(texts);
    RawTensor: raw => Self::Tensor(raw);
    BTreeMap<String, RawTensor>: tensors => Self::Named(tensors);
    BTreeMap<String, f64>: numbers => Self::Numbers(numbers);
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}
