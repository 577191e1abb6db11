//! What an answer imports, and the answering end of the protocol.
//!
//! A learner needs one thing of it: the attribute [`part`], which stands on every function that
//! the judge may ask for.
//! Values are candle's own tensors; named weights are [`Weights`], and a model to look into is a
//! [`Gpt`] with [`hook`]s.
//!
//! **Invariant:** nothing here knows what a right answer is.

#[cfg(feature = "shared")]
use bundle as _;

mod channel;
pub mod fused;
mod line;
mod serve;
mod stack;
mod tensor_file;
mod words;

pub use answer::{
    Arg, Args, Argument, Call, IntoOutputs, Numbers, Outputs, Program, Step, Weights, settings,
};
#[doc(hidden)]
pub use inventory;
pub use line::progress;
pub use models::{Gpt, hook};
pub use serve::serve;
pub use stack::on_small_stack;
pub use tensor_file::{load_weights, save_weights};
pub use wick_macros::{part, piece};
pub use words::words;

/// A registered part; the attribute [`part`] makes one.
#[derive(Debug)]
pub struct Part {
    /// The function's name.
    pub name: &'static str,
    /// The function, behind decoding and encoding.
    pub call: Call,
}

inventory::collect!(Part);

/// Makes the `main` of an exercise: serves the parts of the named library to the judge.
#[macro_export]
macro_rules! serve {
    ($exercise:ident) => {
        fn main() -> ::std::process::ExitCode {
            use $exercise as _;
            $crate::serve()
        }
    };
}
