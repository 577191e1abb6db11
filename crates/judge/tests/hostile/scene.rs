//! A folder with things to steal and to break, and a judge at work in it.

use std::{
    collections::BTreeMap,
    env, fs,
    fs::File,
    hash::{BuildHasher, RandomState},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::Failed;

/// What only the judge may know lies here, and in its environment.
pub(crate) struct Scene {
    /// The secret.
    pub(crate) marker: String,
    /// The hostile answer: this program, under its row's name.
    pub(crate) program: PathBuf,
    folder: tempfile::TempDir,
    /// Where the judge's own output goes, out of the answer's sight.
    desk: tempfile::TempDir,
    before: BTreeMap<PathBuf, String>,
}

/// What a process said.
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) status: ExitStatus,
    pub(crate) took: Duration,
}

impl Scene {
    /// Sets the scene for the row `id`; anybody may read and change everything in it.
    pub(crate) fn new(id: &str) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let marker = format!("marker-{:016x}", RandomState::new().hash_one(id));
        let solutions = folder.path().join("solutions/attention/src");
        fs::create_dir_all(&solutions)?;
        for file in [folder.path().join("victim"), solutions.join("lib.rs")] {
            fs::write(&file, &marker)?;
            fs::set_permissions(&file, PermissionsExt::from_mode(0o666))?;
        }
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777))?;
        let program = folder.path().join(id);
        symlink(env::current_exe()?, &program)?;
        let desk = tempfile::tempdir()?;
        let before = snapshot(folder.path())?;
        Ok(Self { marker, program, folder, desk, before })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `command` in the scene, with the secret in its environment.
    pub(crate) fn run(&self, mut command: Command, max_seconds: u64) -> Result<Said, Failed> {
        let (stdout, stderr) = (self.desk.path().join("stdout"), self.desk.path().join("stderr"));
        let begun = Instant::now();
        let child = command
            .current_dir(self.path())
            .env("GRADER_TOKEN", &self.marker)
            .stdin(Stdio::null())
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?)
            .spawn()?;
        let status = wait(child, Duration::from_secs(max_seconds))?;
        let read = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(Said { stdout: read(stdout)?, stderr: read(stderr)?, status, took: begun.elapsed() })
    }

    /// Makes sure that nothing in the scene was changed, made or removed.
    pub(crate) fn check_unchanged(&self) -> Result<(), Failed> {
        let after = snapshot(self.path())?;
        if after == self.before {
            return Ok(());
        }
        Err(format!("the scene was {:?} and is {after:?}", self.before).into())
    }

    /// Makes sure that the secret is not in `said`.
    pub(crate) fn check_secret(&self, said: &Said) -> Result<(), Failed> {
        let leaked = |text: &str| text.contains(&self.marker);
        if leaked(&said.stdout) || leaked(&said.stderr) {
            return Err(format!("the secret is out: {} {}", said.stdout, said.stderr).into());
        }
        Ok(())
    }
}

fn wait(mut child: Child, patience: Duration) -> Result<ExitStatus, Failed> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Err(format!("it took more than {patience:?}").into());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Everything below `folder`: its permissions, times and contents.
fn snapshot(folder: &Path) -> io::Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = fs::symlink_metadata(&path)?;
        let holds = if metadata.is_file() { fs::read_to_string(&path)? } else { String::new() };
        let (mode, n_links) = (metadata.mode(), metadata.nlink());
        let state = format!("{mode:o} {n_links} {:?} {holds}", metadata.modified()?);
        if metadata.is_dir() {
            for entry in fs::read_dir(&path)? {
                waiting.push(entry?.path());
            }
        }
        found.insert(path, state);
    }
    Ok(found)
}
