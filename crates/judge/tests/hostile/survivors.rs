//! No survivors: nothing that a hostile answer started outlives its judge.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::{Arguments, Failed, Trial};

/// How long the system's list of processes may lag behind what was started and killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Trials at once; most of them wait for an answer that does nothing.
const AT_ONCE: usize = 8;

/// Runs all trials, then looks for trampolines and answers that were left behind.
pub(crate) fn run(trials: Vec<Trial>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(AT_ONCE));
    let conclusion = libtest_mimic::run(&arguments, trials);
    let ours = [Path::new(env!("CARGO_BIN_EXE_judge")).to_owned(), own_program()];
    let left = await_none(|process| {
        let program = fs::read_link(process.join("exe")).unwrap_or_default();
        ours.contains(&program) && number_of(process) != Some(std::process::id())
    });
    match left.as_slice() {
        [] => conclusion.exit_code(),
        survivors => {
            println!("These processes survived their judges: {survivors:?}");
            ExitCode::FAILURE
        }
    }
}

/// Makes sure that nothing that was started in `scene` lives.
pub(crate) fn check_none(scene: &Path) -> Result<(), Failed> {
    let left = await_none(|process| names(process, scene));
    if left.is_empty() { Ok(()) } else { Err(format!("{left:?} survived").into()) }
}

/// Waits until a process names `scene` on its command line, as every answer in it does; whether
/// one came to. A process that has just been started has no command line for a moment.
pub(crate) fn await_one(scene: &Path) -> bool {
    await_that(|| processes().any(|process| names(&process, scene)))
}

fn names(process: &Path, scene: &Path) -> bool {
    let command = fs::read(process.join("cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command).contains(&*scene.to_string_lossy())
}

fn processes() -> impl Iterator<Item = PathBuf> {
    let paths = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    paths.filter(|path| number_of(path).is_some())
}

fn number_of(process: &Path) -> Option<u32> {
    process.file_name()?.to_str()?.parse().ok()
}

/// Waits until no process is `ours`; those that remain.
fn await_none(ours: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut left = Vec::new();
    await_that(|| {
        left = processes().filter(|process| ours(process)).collect();
        left.is_empty()
    });
    left
}

/// Asks until it `holds` or patience ends; whether it held.
fn await_that(mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
    true
}

fn own_program() -> PathBuf {
    env::current_exe().unwrap_or_default()
}
