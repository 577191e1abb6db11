//! What this machine has to compute with, and how to mend what is missing.
//!
//! Nothing of CUDA is linked here: the driver's library is opened when it is asked about, so that
//! this crate builds and runs where there is none.
//!
//! **Invariant:** looking changes nothing; only [`Kit::set_up`] writes, and only below the kit's
//! folder.

mod cpu;
mod cuda;
mod driver;
mod kit;
mod metal;
mod system;

pub use cpu::cpu;
pub use cuda::{Cuda, cuda};
pub use driver::{Card, Driver};
pub use kit::{Kit, KitError, Libraries};
pub use metal::metal;
pub use system::System;

/// Something that a device needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// What it is, in a word or two, such as `driver`.
    pub name: &'static str,
    /// What was found, or what is lacking.
    pub found: Result<String, Lack>,
}

/// Something that is needed and is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What is wrong, or what was looked for, as a fragment.
    pub what: String,
    /// What to do about it, as a fragment.
    pub mend: String,
}

impl Need {
    fn met(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, found: Ok(found.into()) }
    }

    fn lacking(name: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, found: Err(Lack { what: what.into(), mend: mend.into() }) }
    }

    /// Whether it is there.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.found.is_ok()
    }
}
