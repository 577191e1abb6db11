//! Every way in which a server can behave, by a small server on this machine.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod server;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Duration,
};

use fetch::{Fetched, Model, Remote, Settings, Trouble, fetch};
use indicatif::ProgressBar;
use server::{Mode, Server};
use sha2::{Digest as _, Sha256};

/// What the file should hold.
static BODY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    (0..200_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
});

/// A model of one file, with the hash of [`BODY`].
fn model() -> Model {
    let sha256: String = Sha256::digest(&*BODY).iter().map(|byte| format!("{byte:02x}")).collect();
    let remote =
        Remote { name: "model.bin", bytes: BODY.len() as u64, sha256: String::leak(sha256) };
    Model {
        name: "toy",
        repository: "us/toy",
        commit: server::COMMIT,
        licence: "MIT",
        files: Vec::leak(vec![remote]),
    }
}

/// A machine with nothing on it yet.
struct Scene {
    home: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn settings(&self, server: &Server) -> Settings {
        Settings {
            endpoint: server.endpoint(),
            home: self.home.path().to_owned(),
            token: None,
            offline: false,
            patience: Duration::from_secs(20),
            retries: 0,
        }
    }

    fn fetch(&self, server: &Server) -> Result<Vec<Fetched>, Trouble> {
        fetch(&model(), &self.settings(server), &ProgressBar::hidden())
    }

    fn final_path(&self) -> PathBuf {
        self.home.path().join("wick/us--toy").join(server::COMMIT).join("model.bin")
    }

    /// Proves that the file came whole, and that nothing is left beside it.
    #[track_caller]
    fn holds(&self, fetched: &[Fetched], was_there: bool) {
        assert_eq!(fetched, [Fetched { path: self.final_path(), was_there }]);
        assert!(fs::read(self.final_path()).unwrap() == *BODY, "its bytes");
        assert!(!self.home.path().join("wick/us--toy/arrivals").exists(), "nothing waits");
    }

    /// Proves that nothing has the final name.
    #[track_caller]
    fn holds_nothing(&self) {
        assert!(!self.final_path().exists(), "nothing has the final name");
    }
}

/// Proves what is said, and that nothing half-verified has the final name.
#[track_caller]
fn check(mode: Mode, said: &[&str]) {
    let (scene, server) = (Scene::new(), Server::start(mode, &BODY));
    let trouble = scene.fetch(&server).unwrap_err().to_string();
    for text in said.iter().chain(&[server.endpoint().as_str()]) {
        assert!(trouble.contains(text), "{text:?} is not in: {trouble}");
    }
    scene.holds_nothing();
}

#[test]
fn a_good_file_arrives_and_is_not_fetched_twice() {
    let (scene, server) = (Scene::new(), Server::start(Mode::Ok, &BODY));
    scene.holds(&scene.fetch(&server).unwrap(), false);
    let n_asked = server.n_asked();
    scene.holds(&scene.fetch(&server).unwrap(), true);
    assert_eq!(server.n_asked(), n_asked);
}

#[test]
fn a_slow_file_arrives() {
    let (scene, server) = (Scene::new(), Server::start(Mode::Slow, &BODY));
    scene.holds(&scene.fetch(&server).unwrap(), false);
}

#[test]
fn a_refusal_is_no_model() {
    check(Mode::Status(403), &["refuses model.bin (HTTP 403)", "HF_TOKEN"]);
    check(Mode::Status(401), &["refuses model.bin (HTTP 401)"]);
}

#[test]
fn what_is_not_there_and_what_is_broken_are_told_apart() {
    check(Mode::Status(404), &["has no model.bin at the commit that we pinned"]);
    check(Mode::Status(503), &["trouble of its own (HTTP 503)", "fetch again"]);
}

#[test]
fn wrong_bytes_are_thrown_away() {
    check(Mode::Corrupt, &["not the file that we pinned: SHA-256", "It was thrown away"]);
    check(Mode::Longer, &["200001 bytes; expected 200000 bytes"]);
}

#[test]
fn after_wrong_bytes_right_ones_are_taken() {
    let (scene, server) = (Scene::new(), Server::start(Mode::Corrupt, &BODY));
    scene.fetch(&server).unwrap_err();
    let server = Server::start(Mode::Ok, &BODY);
    scene.holds(&scene.fetch(&server).unwrap(), false);
}

#[test]
fn a_cut_file_goes_on_where_it_was_cut() {
    let (scene, server) = (Scene::new(), Server::start(Mode::Cut, &BODY));
    let trouble = scene.fetch(&server).unwrap_err().to_string();
    assert!(trouble.contains("did not arrive whole"), "{trouble}");
    assert!(trouble.contains("it goes on from there"), "{trouble}");
    scene.holds_nothing();
    let server = Server::start(Mode::Ok, &BODY);
    scene.holds(&scene.fetch(&server).unwrap(), false);
    let asked = server.ranges();
    assert!(asked.contains(&(BODY.len() / 2)), "it asks from the middle on: {asked:?}");
}

#[test]
fn a_cut_is_mended_within_one_fetch() {
    let (scene, server) = (Scene::new(), Server::start(Mode::CutOnce, &BODY));
    let settings = Settings { retries: 2, ..scene.settings(&server) };
    let fetched = fetch(&model(), &settings, &ProgressBar::hidden()).unwrap();
    scene.holds(&fetched, false);
}

#[test]
fn a_silent_server_is_left() {
    let (scene, server) = (Scene::new(), Server::start(Mode::Silent, &BODY));
    let settings = Settings { patience: Duration::from_secs(1), ..scene.settings(&server) };
    let trouble = fetch(&model(), &settings, &ProgressBar::hidden()).unwrap_err().to_string();
    assert!(trouble.contains("has sent nothing of model.bin for 1 s"), "{trouble}");
    scene.holds_nothing();
}

#[test]
fn nobody_there_is_said() {
    let scene = Scene::new();
    let settings = scene.settings(&Server::start(Mode::Ok, &BODY));
    let settings = Settings { endpoint: "http://127.0.0.1:9".to_owned(), ..settings };
    let trouble = fetch(&model(), &settings, &ProgressBar::hidden()).unwrap_err().to_string();
    assert!(trouble.contains("http://127.0.0.1:9 cannot be reached ("), "{trouble}");
}

#[test]
fn offline_asks_nobody() {
    let (scene, server) = (Scene::new(), Server::start(Mode::Ok, &BODY));
    let offline = Settings { offline: true, ..scene.settings(&server) };
    let trouble = fetch(&model(), &offline, &ProgressBar::hidden()).unwrap_err().to_string();
    assert!(trouble.starts_with("HF_HUB_OFFLINE is set and model.bin is not"), "{trouble}");
    assert_eq!(server.n_asked(), 0);
    scene.fetch(&server).unwrap();
    let fetched = fetch(&model(), &offline, &ProgressBar::hidden()).unwrap();
    scene.holds(&fetched, true);
}

#[test]
fn a_damaged_file_is_fetched_anew() {
    let (scene, server) = (Scene::new(), Server::start(Mode::Ok, &BODY));
    scene.fetch(&server).unwrap();
    let mut bytes = BODY.clone();
    bytes[777] ^= 1;
    fs::write(scene.final_path(), bytes).unwrap();
    scene.holds(&scene.fetch(&server).unwrap(), false);
}

#[test]
fn what_other_tools_brought_will_do_if_it_is_right() {
    let (scene, server) = (Scene::new(), Server::start(Mode::Status(403), &BODY));
    let theirs = scene.home.path().join("hub/models--us--toy/snapshots").join(server::COMMIT);
    fs::create_dir_all(&theirs).unwrap();
    let theirs: &Path = &theirs.join("model.bin");
    fs::write(theirs, &*BODY).unwrap();
    let fetched = scene.fetch(&server).unwrap();
    assert_eq!(fetched, [Fetched { path: theirs.to_owned(), was_there: true }]);
    fs::write(theirs, "something else").unwrap();
    assert!(scene.fetch(&server).is_err());
}

#[test]
fn a_token_is_shown_to_the_server() {
    let (scene, server) = (Scene::new(), Server::start(Mode::Ok, &BODY));
    let settings = Settings { token: Some("secret".to_owned()), ..scene.settings(&server) };
    fetch(&model(), &settings, &ProgressBar::hidden()).unwrap();
    assert!(server.tokens().iter().all(|token| token == "Bearer secret"));
}

#[test]
fn a_whole_part_without_its_name_does_not_block() {
    let (scene, server) = (Scene::new(), Server::start(Mode::Cut, &BODY));
    scene.fetch(&server).unwrap_err();
    let blobs = scene.home.path().join("wick/us--toy/arrivals/models--us--toy/blobs");
    let part = fs::read_dir(blobs).unwrap().map(|entry| entry.unwrap().path());
    let part = part.into_iter().find(|path| path.extension().is_some_and(|end| end == "part"));
    fs::write(part.unwrap(), &*BODY).unwrap();
    let server = Server::start(Mode::Ok, &BODY);
    scene.holds(&scene.fetch(&server).unwrap(), false);
}
