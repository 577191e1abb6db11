//! The private channel to the judge, as [`protocol::CHANNEL_VARIABLE`] names it.
//!
//! **Invariant:** standard output and standard error are never part of it; they are the learner's.

#[cfg(unix)]
mod descriptors;

use std::{
    env,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
};

use anyhow::{Context as _, bail};
use protocol::CHANNEL_VARIABLE;

/// Where questions come from, and where replies go to.
pub(crate) type Ends = (Box<dyn Read + Send>, Box<dyn Write + Send>);

/// Opens the channel that the judge has prepared.
///
/// Returns `None` if there is none, since no judge has started this process.
pub(crate) fn open() -> anyhow::Result<Option<Ends>> {
    let Some(channel) = env::var_os(CHANNEL_VARIABLE) else { return Ok(None) };
    let channel = channel.to_str().with_context(|| format!("{CHANNEL_VARIABLE} is not text"))?;
    match channel.split_once(':') {
        #[cfg(unix)]
        Some(("fd", numbers)) => descriptors::open(numbers).map(Some),
        Some(("tcp", place)) => connect(place).map(Some),
        _ => bail!("{CHANNEL_VARIABLE}={channel} names no channel that this system has"),
    }
}

/// Connects to `PORT:TOKEN` on loopback and shows the token.
fn connect(place: &str) -> anyhow::Result<Ends> {
    let (port, token) = place.split_once(':').context("the loopback channel names no token")?;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port.parse()?))?;
    stream.set_nodelay(true)?;
    stream.write_all(token.as_bytes())?;
    Ok((Box::new(stream.try_clone()?), Box::new(stream)))
}
