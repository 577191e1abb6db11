//! Typed Rust functions as answers that can be called with protocol values.
//!
//! A plain function `fn(&Tensor, Option<&Tensor>, usize) -> Result<Tensor>` becomes a [`Call`] by
//! [`answer!`]: its arguments are decoded, its results encoded, and [`reply`] can differentiate it.
//! The learner's parts come through here (by `wick`), and so do the impostors (by `checks`), so
//! that a wrong answer that we wrote meets exactly the border that the learner's meets.
//!
//! **Invariant:** this crate knows neither judging nor learning, and starts no process or thread.

mod arg;
mod numbers;
mod output;
mod program;
mod reply;
mod settings;
mod tensor;
mod usage;
mod weights;

pub use arg::{Arg, Args, Argument, Made, decode};
pub use numbers::Numbers;
pub use output::{IntoOutputs, Output, Outputs};
pub use program::{Program, Step};
pub use reply::reply;
pub use settings::{Decoded, Setting};
pub use tensor::{from_raw, to_raw};
pub use weights::Weights;

/// An answer to one part: takes decoded arguments, gives results.
pub type Call = fn(&[Arg]) -> Outputs;

/// Makes a [`Call`] of a closure with typed parameters.
///
/// # Example: an answer that scales
///
/// ```
/// use answer::{Call, answer};
/// use candle_core::Tensor;
///
/// const DOUBLE: Call = answer!(|x: &Tensor, times: usize| x * (2 * times) as f64);
/// ```
#[macro_export]
macro_rules! answer {
    (|$($name:ident : $type:ty),* $(,)?| $body:expr) => {{
        fn call(args: &[$crate::Arg]) -> $crate::Outputs {
            let mut args = $crate::Args::new(args);
            $(let $name: $type = args.take(stringify!($name))?;)*
            args.finish()?;
            $crate::IntoOutputs::into_outputs($body)
        }
        call as $crate::Call
    }};
}
