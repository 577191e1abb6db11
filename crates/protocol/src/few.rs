//! Lists that are short in every honest message: arguments, results, parts.
//!
//! One byte can stand for a whole [`crate::Value`], so without this a reply of a few megabytes
//! would become hundreds of them in the judge's memory.
//!
//! **Invariant:** a longer list is refused before its elements are kept.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};

/// The most arguments, results or parts that a message may list.
pub const MAX_LISTED: usize = 1024;

pub(crate) fn deserialize<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_seq(Few(PhantomData))
}

struct Few<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Few<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX_LISTED}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut taken = Vec::new();
        while let Some(element) = list.next_element()? {
            if taken.len() == MAX_LISTED {
                return Err(A::Error::invalid_length(MAX_LISTED + 1, &self));
            }
            taken.push(element);
        }
        Ok(taken)
    }
}
