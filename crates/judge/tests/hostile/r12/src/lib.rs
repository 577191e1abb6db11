//! Says that it passed, and exits with code 0.

use std::process::ExitCode;

pub(crate) fn main() -> ExitCode {
    println!("test result: ok. 6 passed; 0 failed");
    println!(r#"{{"event":"part","part":"attention_pattern","verdict":"passed"}}"#);
    ExitCode::SUCCESS
}
