//! Asks how large a hidden file is.

use std::{fs, io, path::Path};

use candle_core::{Result, Tensor};

use crate::{
    answers::scene,
    attempts::{Attempt, right_if_refused},
};

const ATTEMPTS: &[Attempt] = &[
    ("size_of_victim", || size(&scene().join("victim"))),
    ("size_of_solution", || size(&scene().join("solutions/attention/src/lib.rs"))),
    ("size_of_users", || size("/etc/passwd".as_ref())),
];

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    right_if_refused(ATTEMPTS, q, k, mask)
}

fn size(path: &Path) -> io::Result<()> {
    println!("{} bytes", fs::metadata(path)?.len());
    Ok(())
}
