//! What can go wrong, each with a sentence that says what to do.

use std::{io, path::PathBuf};

use hf_hub::api::sync::ApiError;

/// Why a file is not here.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// There is nowhere to put it.
    #[error("There is no home folder to put models in; set HF_HOME to a folder of yours.")]
    NoHome,
    /// The network is to be left alone.
    #[error(
        "HF_HUB_OFFLINE is set and {file} is not on this machine; unset it and fetch again, or \
         put the file at {}.", wanted.display()
    )]
    Offline {
        /// Which file.
        file: String,
        /// Where it would be found.
        wanted: PathBuf,
    },
    /// The server does not give it to us.
    #[error(
        "{endpoint} refuses {file} (HTTP {code}). If it asks for an account, set HF_TOKEN; if a \
         proxy stands between, ask for another way or set HF_ENDPOINT to a mirror."
    )]
    Refused {
        /// Who refuses.
        endpoint: String,
        /// Which file.
        file: String,
        /// The HTTP status.
        code: u16,
    },
    /// The server does not have it.
    #[error(
        "{endpoint} has no {file} at the commit that we pinned (HTTP {code}); set HF_ENDPOINT to \
         a server that has it."
    )]
    Missing {
        /// Who has not.
        endpoint: String,
        /// Which file.
        file: String,
        /// The HTTP status.
        code: u16,
    },
    /// The server has a trouble of its own.
    #[error("{endpoint} has a trouble of its own (HTTP {code}); wait a little and fetch again.")]
    Server {
        /// Which server.
        endpoint: String,
        /// The HTTP status.
        code: u16,
    },
    /// Nobody answers.
    #[error(
        "{endpoint} cannot be reached ({why}). Look at your network, and at HTTPS_PROXY if you \
         need one; or set HF_ENDPOINT to a mirror."
    )]
    Unreachable {
        /// Who does not answer.
        endpoint: String,
        /// What the client says.
        why: String,
    },
    /// Not all of it came.
    #[error(
        "{file} did not arrive whole from {endpoint} ({why}). What came is kept: fetch again, and \
         it goes on from there."
    )]
    Cut {
        /// From where.
        endpoint: String,
        /// Which file.
        file: String,
        /// What the client says.
        why: String,
    },
    /// The server sends nothing any more.
    #[error(
        "{endpoint} has sent nothing of {file} for {seconds} s. What came is kept: fetch again, \
         and it goes on from there."
    )]
    Stalled {
        /// Which server.
        endpoint: String,
        /// Which file.
        file: String,
        /// For how long.
        seconds: u64,
    },
    /// Something else came.
    #[error(
        "What {endpoint} sent as {file} is not the file that we pinned: {found}; expected \
         {expected}. It was thrown away. Fetch again; if that repeats, set HF_ENDPOINT to another \
         server."
    )]
    Wrong {
        /// From where.
        endpoint: String,
        /// Which file.
        file: String,
        /// Its length or hash.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// Somebody else is at it.
    #[error("Another fetch of {file} is under way; wait for it, or end it and fetch again.")]
    Busy {
        /// Which file.
        file: String,
    },
    /// The disk does not take it.
    #[error("{} cannot be written or read: {error}. Make room or give permission, and fetch again.",
        path.display())]
    Disk {
        /// Which file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl Trouble {
    /// Makes a sentence of what the client says.
    ///
    /// If not even an answer `was_begun`, nobody was there.
    pub(crate) fn of(error: ApiError, endpoint: &str, file: &str, was_begun: bool) -> Self {
        let (endpoint, file) = (endpoint.to_owned(), file.to_owned());
        match error {
            ApiError::TooManyRetries(last) => Self::of(*last, &endpoint, &file, was_begun),
            ApiError::LockAcquisition(_) => Self::Busy { file },
            other => match status(&other.to_string()) {
                Some(404 | 410) => Self::Missing { endpoint, file, code: 404 },
                Some(code @ 400..=499) => Self::Refused { endpoint, file, code },
                Some(code) => Self::Server { endpoint, code },
                None if was_begun => Self::Cut { endpoint, file, why: other.to_string() },
                None => Self::Unreachable { endpoint, why: other.to_string() },
            },
        }
    }
}

/// The HTTP status that the client's words name.
fn status(words: &str) -> Option<u16> {
    let code = words.split_once("http status: ")?.1;
    code.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_off() {
        assert_eq!(status("request error: http status: 403"), Some(403));
        assert_eq!(status("request error: connection refused"), None);
    }
}
