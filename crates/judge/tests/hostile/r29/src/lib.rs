//! Writes files wherever it can.

use std::{fs, io, os::unix::fs::symlink, path::Path};

use candle_core::{Result, Tensor};

use crate::{
    answers::scene,
    attempts::{Attempt, right_if_refused},
    kernel::{call_on, own},
};

const ATTEMPTS: &[Attempt] = &[
    ("scene", || fs::write(scene().join("new"), "x")),
    ("temporary_folder", || write_and_remove("/tmp".as_ref())),
    ("other_temporary_folder", || write_and_remove("/var/tmp".as_ref())),
    ("shared_memory", || write_and_remove("/dev/shm".as_ref())),
    ("here", || write_and_remove(".".as_ref())),
    ("folder", || fs::create_dir(scene().join("folder"))),
    ("link", || symlink("/", scene().join("link"))),
    ("pipe", || {
        call_on(libc::SYS_mknod, &scene().join("pipe"), [(libc::S_IFIFO | 0o600).into(), 0])
    }),
    ("nameless", || call_on(libc::SYS_open, "/tmp".as_ref(), [NAMELESS.into(), 0o600])),
];

pub(crate) fn attention_pattern(q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    right_if_refused(ATTEMPTS, q, k, mask)
}

const NAMELESS: i32 = libc::O_TMPFILE | libc::O_RDWR;

fn write_and_remove(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!("hostile-{}", own()));
    fs::write(&path, "x")?;
    fs::remove_file(path)
}
