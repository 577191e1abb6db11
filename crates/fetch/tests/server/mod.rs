//! A server of one file that behaves as it is told, on a loopback address.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// The commit that it says it has.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Well.
    Ok,
    /// It sends small pieces with pauses between them.
    Slow,
    /// It answers everything with a status.
    Status(u16),
    /// One bit is another.
    Corrupt,
    /// There is a byte too many.
    Longer,
    /// It closes the line in the middle of the file, always.
    Cut,
    /// It does so once.
    CutOnce,
    /// It takes the call and says nothing.
    Silent,
}

/// What was asked.
#[derive(Debug, Default)]
struct Seen {
    /// Where the ranges begin.
    ranges: Vec<usize>,
    tokens: Vec<String>,
    was_cut: bool,
}

/// The server; its threads end with the test's process.
pub(crate) struct Server {
    port: u16,
    seen: Arc<Mutex<Seen>>,
}

impl Server {
    /// Starts it on a free port.
    pub(crate) fn start(mode: Mode, body: &[u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (notes, mut body) = (Arc::clone(&seen), body.to_vec());
        match mode {
            Mode::Corrupt => body[777] ^= 4,
            Mode::Longer => body.push(0),
            _ => {}
        }
        thread::spawn(move || {
            for line in listener.incoming().flatten() {
                let (notes, body) = (Arc::clone(&notes), body.clone());
                // A client that goes away is no concern of the server's.
                thread::spawn(move || drop(answer(&line, mode, &body, &notes)));
            }
        });
        Self { port, seen }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many requests came.
    pub(crate) fn n_asked(&self) -> usize {
        self.ranges().len()
    }

    /// From where on the file was asked for, request by request.
    pub(crate) fn ranges(&self) -> Vec<usize> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).ranges.clone()
    }

    pub(crate) fn tokens(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).tokens.clone()
    }
}

/// Answers requests on one line until it is closed.
fn answer(
    mut line: &TcpStream,
    mode: Mode,
    body: &[u8],
    seen: &Mutex<Seen>,
) -> std::io::Result<()> {
    let mut requests = BufReader::new(line).lines();
    loop {
        let head: Vec<String> =
            requests.by_ref().map_while(Result::ok).take_while(|row| !row.is_empty()).collect();
        if head.is_empty() {
            return Ok(());
        }
        let (from, to) = range(&head, body.len());
        let is_probe = to < body.len();
        let mut notes = seen.lock().unwrap_or_else(PoisonError::into_inner);
        notes.ranges.push(from);
        notes.tokens.extend(field(&head, "authorization"));
        let cuts = !is_probe && (mode == Mode::Cut || mode == Mode::CutOnce && !notes.was_cut);
        notes.was_cut |= cuts;
        drop(notes);
        match mode {
            Mode::Silent => loop {
                thread::park();
            },
            Mode::Status(code) => {
                write!(line, "HTTP/1.1 {code} Said so\r\nContent-Length: 6\r\n\r\nsorry\n")?;
                continue;
            }
            _ => {}
        }
        write!(
            line,
            "HTTP/1.1 206 Partial Content\r\nETag: \"toy\"\r\nX-Repo-Commit: {COMMIT}\r\n\
             Content-Range: bytes {from}-{}/{}\r\nContent-Length: {}\r\n\r\n",
            to.saturating_sub(1),
            body.len(),
            to - from
        )?;
        if cuts {
            line.write_all(&body[from..body.len() / 2])?;
            return line.shutdown(std::net::Shutdown::Both);
        }
        for piece in body[from..to].chunks(40_000) {
            line.write_all(piece)?;
            if mode == Mode::Slow {
                thread::sleep(Duration::from_millis(30));
            }
        }
    }
}

/// The bytes that are asked for.
fn range(head: &[String], length: usize) -> (usize, usize) {
    let asked = field(head, "range").unwrap_or_default();
    let (from, to) = asked.trim_start_matches("bytes=").split_once('-').unwrap_or_default();
    let to = to.parse().map_or(length, |last: usize| last + 1);
    (from.parse().unwrap_or(0).min(length), to.min(length))
}

fn field(head: &[String], name: &str) -> Option<String> {
    let mut fields = head.iter().filter_map(|row| row.split_once(": "));
    fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
}
