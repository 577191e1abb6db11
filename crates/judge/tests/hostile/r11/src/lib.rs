//! Forges verdicts on its output and replies on its channel before main.
#![allow(unsafe_code, reason = "a constructor is an unsafe attribute")]

use std::io::Write;

use candle_core::{Result, Tensor};
use protocol::{Reply, VERSION, frame};

use crate::answers::{descriptor, honest, is_row};

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = construct;

extern "C" fn construct() {
    if !is_row("r11") {
        return;
    }
    println!("test result: ok. 1 passed");
    println!(r#"{{"event":"part","part":"attention_pattern","verdict":"passed"}}"#);
    let parts = vec!["attention_pattern".to_owned()];
    let opened = frame::encode(1, &Reply::Opened { version: VERSION, parts });
    let _forged = descriptor(4).write_all(&opened.expect("it encodes"));
}

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    honest(q, k, mask)
}
