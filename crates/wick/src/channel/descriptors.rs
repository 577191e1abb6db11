//! The channel as two inherited descriptors.
#![allow(unsafe_code, reason = "only `from_raw_fd` turns an inherited descriptor into a file")]

use std::{fs::File, os::fd::FromRawFd as _};

use anyhow::{Context as _, ensure};

use super::Ends;

/// Takes the descriptors named by `READ,WRITE`.
pub(super) fn open(numbers: &str) -> anyhow::Result<Ends> {
    let (questions, replies) = numbers.split_once(',').context("the channel names one end only")?;
    let (questions, replies): (i32, i32) = (questions.parse()?, replies.parse()?);
    ensure!(questions > 2 && replies > 2 && questions != replies, "the channel is not private");
    // SAFETY: the judge opened both for this process alone, and this is their only owner: `serve`
    // calls this once.
    let ends = unsafe { (File::from_raw_fd(questions), File::from_raw_fd(replies)) };
    Ok((Box::new(ends.0), Box::new(ends.1)))
}
