//! The private channel where descriptors cannot be handed down: one loopback connection.
//!
//! The subject finds `tcp:PORT:TOKEN` in its environment, connects to that port of 127.0.0.1 and
//! sends the token before anything else.
//!
//! **Invariant:** only one peer is ever accepted, and only if it knows the token.

use std::{
    hash::{BuildHasher, RandomState},
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// How long a peer may take over its token.
const TOKEN_PATIENCE: Duration = Duration::from_millis(500);

/// A port that waits for one subject.
pub(crate) struct Loopback {
    listener: TcpListener,
    token: String,
}

impl Loopback {
    /// Listens on a free port.
    pub(crate) fn open() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, token: random_token() })
    }

    /// What the subject is told.
    pub(crate) fn address(&self) -> io::Result<String> {
        Ok(format!("tcp:{}:{}", self.listener.local_addr()?.port(), self.token))
    }

    /// Waits for the subject, at most `patience`; strangers are turned away.
    ///
    /// # Errors
    ///
    /// Fails if nobody with the token came in time.
    pub(crate) fn accept(self, patience: Duration) -> io::Result<TcpStream> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            match self.listener.accept() {
                Ok((peer, _)) => {
                    if self.knows_token(&peer) {
                        return Ok(peer);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "the subject did not open its channel"))
    }

    fn knows_token(&self, mut peer: &TcpStream) -> bool {
        let mut said = vec![0; self.token.len()];
        let heard = peer.set_nonblocking(false).is_ok()
            && peer.set_read_timeout(Some(TOKEN_PATIENCE)).is_ok()
            && peer.read_exact(&mut said).is_ok();
        let differing = said.iter().zip(self.token.bytes()).fold(0, |acc, (a, b)| acc | (a ^ b));
        heard
            && differing == 0
            && peer.set_read_timeout(None).is_ok()
            && peer.set_nodelay(true).is_ok()
    }
}

/// Splits a connection into replies and questions.
pub(crate) fn split(peer: TcpStream) -> io::Result<(Box<dyn Read + Send>, Box<dyn Write + Send>)> {
    Ok((Box::new(peer.try_clone()?), Box::new(peer)))
}

/// 128 bits from the keys that the standard library draws from the system for its hash maps.
fn random_token() -> String {
    let half = || RandomState::new().hash_one(Instant::now());
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a peer that says `prefix` of the right token, then `rest`, is let in.
    #[track_caller]
    fn check(token_bytes: usize, rest: &'static str, accepted: bool) {
        let loopback = Loopback::open().unwrap();
        let address = loopback.address().unwrap();
        let mut fields = address.split(':').skip(1);
        let port: u16 = fields.next().unwrap().parse().unwrap();
        let token = fields.next().unwrap()[..token_bytes].to_owned();
        let subject = thread::spawn(move || {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            stream.write_all((token + rest).as_bytes()).unwrap();
            let mut question = [0; 4];
            stream.read_exact(&mut question).map(|()| question)
        });
        let peer = loopback.accept(Duration::from_millis(800));
        assert_eq!(peer.is_ok(), accepted);
        let Ok(peer) = peer else { return };
        let (mut replies, mut questions) = split(peer).unwrap();
        questions.write_all(b"why?").unwrap();
        let mut reply = [0; 3];
        replies.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"yes");
        assert_eq!(&subject.join().unwrap().unwrap(), b"why?");
    }

    #[test]
    fn a_peer_with_the_token_is_the_subject() {
        check(32, "yes", true);
    }

    #[test]
    fn a_stranger_is_turned_away() {
        check(31, "!yes", false);
        check(0, "GET / HTTP/1.1", false);
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(random_token(), random_token());
        assert_eq!(random_token().len(), 32);
    }
}
