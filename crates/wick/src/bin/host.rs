//! Serves an answer that was built as a library: `host LIBRARY`.
//!
//! rustc builds an edited answer as a library in one call, where a program takes it two; this is
//! the rest of the program, which no learner edits.
//! It is linked with the same shared libraries, so that there is one standard library, whose
//! runtime sees a stack overflow here as in any program.
#![allow(unsafe_code, reason = "a library is loaded, and a function of it called by its name")]

use std::{env, mem, process::ExitCode};

use bundle as _;
use libloading::{Error, Library};

/// What `wick` calls its loop in a library.
const SERVE: &[u8] = b"wick_serve\0";

fn main() -> ExitCode {
    let Some(path) = env::args_os().nth(1) else {
        eprintln!("This program serves an answer's library to the judge: host LIBRARY.");
        return ExitCode::from(2);
    };
    let serve = || {
        // SAFETY: what it runs when it is loaded is what the answer would run in a program of its
        // own, behind the same walls.
        let library = unsafe { Library::new(&path) }?;
        // SAFETY: `wick` defines it with this type, and was built by the same compiler.
        let serve = unsafe { library.get::<fn() -> ExitCode>(SERVE) }.map(|serve| *serve)?;
        // An answer's threads may run until the process ends.
        mem::forget(library);
        Ok::<_, Error>(serve)
    };
    match serve() {
        Ok(serve) => serve(),
        Err(error) => {
            eprintln!("The answer's library cannot be used: {error}.");
            ExitCode::from(70)
        }
    }
}
