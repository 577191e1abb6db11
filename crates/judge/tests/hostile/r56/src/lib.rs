//! Prints control sequences, a formula and a script.

use candle_core::{Result, Tensor};

use crate::answers::honest;

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    println!("\x1b[2J\x1b[1;1H\x1b[32mall passed\x1b[0m\r\x07\u{202e}\u{9b}31m");
    println!("=HYPERLINK(\"http://127.0.0.1/\",\"click\")");
    println!("<script>alert(1)</script>");
    honest(q, k, mask)
}
