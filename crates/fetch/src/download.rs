//! One file: found, or downloaded beside, verified, and only then given its name.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
};

use hf_hub::{
    Cache, Repo, RepoType,
    api::{
        Progress,
        sync::{ApiBuilder, ApiError},
    },
};
use indicatif::ProgressBar;

use crate::{Fetched, Model, Remote, Settings, Trouble, verified::difference};

/// Where files wait until they are verified, below the folder of their model.
const ARRIVALS: &str = "arrivals";

/// What hf-hub adds to the name of a file that is still coming.
const PART: &str = "part";

/// Finds a file, or brings it here.
pub(crate) fn file(
    model: &Model,
    remote: &Remote,
    settings: &Settings,
    bar: &ProgressBar,
) -> Result<Fetched, Trouble> {
    let folder = settings.home.join("wick").join(model.repository.replace('/', "--"));
    let path = folder.join(model.commit).join(remote.name);
    let repo = repo(model);
    // What Hugging Face's own tools have brought will do, if it is the same.
    let theirs = Cache::new(settings.home.join("hub")).repo(repo.clone());
    let theirs = theirs.pointer_path(model.commit).join(remote.name);
    for candidate in [&path, &theirs] {
        if candidate.exists() && at(candidate, difference(candidate, remote))?.is_none() {
            return Ok(Fetched { path: candidate.clone(), was_there: true });
        }
    }
    if settings.offline {
        return Err(Trouble::Offline { file: remote.name.to_owned(), wanted: path });
    }
    let arrivals = folder.join(ARRIVALS);
    discard_overlong(&arrivals, remote)?;
    bar.set_length(remote.bytes);
    bar.set_position(0);
    bar.set_message(remote.name);
    let arrived = download(repo, remote, settings, &arrivals, bar)?;
    settle(&arrivals, &arrived, &path, remote, settings)
}

fn repo(model: &Model) -> Repo {
    Repo::with_revision(model.repository.to_owned(), RepoType::Model, model.commit.to_owned())
}

/// Verifies what arrived, and gives it its name.
fn settle(
    arrivals: &Path,
    arrived: &Path,
    path: &Path,
    remote: &Remote,
    settings: &Settings,
) -> Result<Fetched, Trouble> {
    // A link into the folder of the bytes; those are what is verified and moved.
    let bytes = at(arrived, arrived.canonicalize())?;
    if let Some(wrong) = at(&bytes, difference(&bytes, remote))? {
        at(arrivals, fs::remove_dir_all(arrivals))?;
        return Err(Trouble::Wrong {
            endpoint: settings.endpoint.clone(),
            file: remote.name.to_owned(),
            found: wrong.found,
            expected: wrong.expected,
        });
    }
    let folder = path.parent().unwrap_or(path);
    at(folder, fs::create_dir_all(folder))?;
    at(path, fs::rename(&bytes, path))?;
    at(arrivals, fs::remove_dir_all(arrivals))?;
    Ok(Fetched { path: path.to_owned(), was_there: false })
}

/// Throws away arrivals that have as many bytes as they ever may and yet no name: asked to go on
/// from the end, a server has nothing to send.
fn discard_overlong(arrivals: &Path, remote: &Remote) -> Result<(), Trouble> {
    let mut folders = vec![arrivals.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let is_part = path.extension().is_some_and(|ending| ending == PART);
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if is_part && entry.metadata().is_ok_and(|about| about.len() >= remote.bytes) {
                at(&path, fs::remove_file(&path))?;
            }
        }
    }
    Ok(())
}

/// What the download has to say.
enum Heard {
    /// So many bytes more, or a sign of life.
    Bytes(usize),
    /// The server claims another length.
    Claims(usize),
    /// It is over.
    Done(Result<PathBuf, ApiError>),
}

/// Downloads in a thread of its own, because the client waits forever for a silent server.
fn download(
    repo: Repo,
    remote: &Remote,
    settings: &Settings,
    arrivals: &Path,
    bar: &ProgressBar,
) -> Result<PathBuf, Trouble> {
    let api = ApiBuilder::from_cache(Cache::new(arrivals.to_owned()))
        .with_endpoint(settings.endpoint.clone())
        .with_token(settings.token.clone())
        .with_retries(settings.retries)
        .build();
    let fail = |error| Trouble::of(error, &settings.endpoint, remote.name, false);
    let (api, name) = (api.map_err(fail)?.repo(repo), remote.name);
    let (to_us, heard) = channel();
    thread::spawn(move || {
        let meter = Meter { to_us: to_us.clone() };
        let done = api.download_with_progress(name, meter);
        let _ = to_us.send(Heard::Done(done));
    });
    follow(&heard, remote, settings, bar)
}

/// Waits for the end, for silence, or for too much.
fn follow(
    heard: &Receiver<Heard>,
    remote: &Remote,
    settings: &Settings,
    bar: &ProgressBar,
) -> Result<PathBuf, Trouble> {
    let (endpoint, file) = (settings.endpoint.clone(), remote.name.to_owned());
    let wrong = |bytes: u64| {
        let (found, expected) = (format!("{bytes} bytes"), format!("{} bytes", remote.bytes));
        Trouble::Wrong { endpoint: endpoint.clone(), file: file.clone(), found, expected }
    };
    let (mut n_bytes, mut was_begun) = (0, false);
    loop {
        match heard.recv_timeout(settings.patience) {
            Ok(Heard::Bytes(more)) => {
                n_bytes += more as u64;
                bar.set_position(n_bytes);
                if n_bytes > remote.bytes {
                    return Err(wrong(n_bytes));
                }
            }
            Ok(Heard::Claims(bytes)) => {
                // A retry says it again, and counts anew what is there.
                (n_bytes, was_begun) = (0, true);
                if bytes as u64 != remote.bytes {
                    return Err(wrong(bytes as u64));
                }
            }
            Ok(Heard::Done(done)) => {
                return done.map_err(|error| Trouble::of(error, &endpoint, &file, was_begun));
            }
            Err(RecvTimeoutError::Timeout) => {
                let seconds = settings.patience.as_secs();
                return Err(Trouble::Stalled { endpoint, file, seconds });
            }
            Err(RecvTimeoutError::Disconnected) => {
                let why = "the client gave up".to_owned();
                return Err(Trouble::Cut { endpoint, file, why });
            }
        }
    }
}

/// Tells what hf-hub does.
struct Meter {
    to_us: Sender<Heard>,
}

impl Progress for Meter {
    fn init(&mut self, size: usize, _filename: &str) {
        let _ = self.to_us.send(Heard::Claims(size));
    }

    fn update(&mut self, size: usize) {
        let _ = self.to_us.send(Heard::Bytes(size));
    }

    fn finish(&mut self) {}
}

/// Names the file that the system complains about.
fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, Trouble> {
    result.map_err(|error| Trouble::Disk { path: path.to_owned(), error })
}
