//! Settings: a struct that crosses the border as named numbers.

use crate::Numbers;

/// An argument that was read, or why it was not.
pub type Decoded<T> = anyhow::Result<T>;

/// A type that a setting may have.
pub trait Setting: Sized {
    /// Reads it from the number of its name.
    ///
    /// # Errors
    ///
    /// Fails if there is none, or it cannot be one of these.
    fn read(numbers: &Numbers, name: &str) -> Decoded<Self>;
}

impl Setting for f64 {
    fn read(numbers: &Numbers, name: &str) -> Decoded<Self> {
        numbers.get(name)
    }
}

impl Setting for usize {
    fn read(numbers: &Numbers, name: &str) -> Decoded<Self> {
        numbers.count(name)
    }
}

/// Declares a struct of numbers that a part can take as an argument.
///
/// # Example: how long to train
///
/// ```
/// answer::settings! {
///     /// How to train.
///     pub struct Config {
///         /// The most rounds through all examples.
///         pub epochs: usize,
///         /// Size of a step.
///         pub lr: f64,
///     }
/// }
/// ```
#[macro_export]
macro_rules! settings {
    (
        $(#[$about:meta])*
        $public:vis struct $name:ident {
            $($(#[$field_about:meta])* $field_public:vis $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug)]
        $public struct $name {
            $($(#[$field_about])* $field_public $field: $type,)*
        }

        impl<'a> $crate::Argument<'a> for $name {
            fn from_arg(arg: &'a $crate::Arg) -> $crate::Decoded<Self> {
                let numbers = <&$crate::Numbers as $crate::Argument>::from_arg(arg)?;
                Ok(Self {
                    $($field: <$type as $crate::Setting>::read(numbers, stringify!($field))?,)*
                })
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use candle_core::Device;
    use protocol::Value;

    use crate::{Args, decode};

    settings! {
        /// How to train.
        struct Config {
            /// Rounds.
            epochs: usize,
            /// Step.
            lr: f64,
        }
    }

    #[track_caller]
    fn check(numbers: &[(&str, f64)], said: &str) {
        let numbers: BTreeMap<String, f64> =
            numbers.iter().map(|&(name, number)| (name.to_owned(), number)).collect();
        let arg = decode(&Value::from(numbers), &Device::Cpu, None).unwrap();
        let read = Args::new(&[arg]).take::<Config>("config");
        let found = read.map_or_else(|e| format!("{e:#}"), |c| format!("{} {}", c.epochs, c.lr));
        assert!(found.contains(said), "{found}");
    }

    #[test]
    fn fields_come_by_name() {
        check(&[("lr", 0.5), ("epochs", 3.0)], "3 0.5");
    }

    #[test]
    fn a_missing_field_is_named() {
        check(&[("lr", 0.5)], "there is no number `epochs`");
    }
}
