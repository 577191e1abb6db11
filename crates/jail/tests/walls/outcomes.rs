//! What becomes of each probe: refused behind the walls, and mostly possible without them.

use std::{io, path::Path, process::Command, time::Duration};

use jail::How;
use libtest_mimic::{Failed, Trial};

use crate::{
    behaviours::command,
    probes::{Outside, PROBES, Probe},
};

const DONE: &str = "done";

/// Answers that count as a refusal.
const REFUSALS: &[i32] = &[libc::EPERM, libc::EACCES, libc::ENOENT, libc::EAGAIN, libc::ENOSYS];

/// Tries the probe `name`, as a subject, and says what came of it.
pub(crate) fn report(name: &str, scene: &str) {
    // What `itself_with_preload` becomes if it gets that far.
    if name == "nothing" {
        return println!("{DONE}");
    }
    let probe = PROBES.iter().find(|probe| probe.name == name).expect("the probe exists");
    match (probe.attempt)(Path::new(scene)) {
        Ok(()) => println!("{DONE}"),
        Err(error) => println!("{}", error.raw_os_error().unwrap_or(0)),
    }
}

/// A test behind the walls for each probe, and one without where that is safe and telling.
pub(crate) fn trials() -> Vec<Trial> {
    let name = |side: &str, probe: &Probe| format!("{side}::{}_{}", probe.row, probe.name);
    let behind =
        |probe: &'static Probe| Trial::test(name("refused", probe), || refused(probe, true));
    let without = |probe: &'static Probe| {
        Trial::test(name("possible_without_walls", probe), || check_possible(probe))
    };
    let telling = |probe: &&Probe| matches!(probe.outside, Outside::Works);
    PROBES.iter().map(behind).chain(PROBES.iter().filter(telling).map(without)).collect()
}

/// Tells whether `probe` is refused and changes nothing.
pub(crate) fn refused(probe: &Probe, strict: bool) -> Result<(), Failed> {
    let scene = scene()?;
    let before = std::fs::metadata(scene.path().join("victim"))?;
    let command = command(["probe", probe.name, path(&scene)]);
    let mut prisoner = jail::spawn(&jail::Command { strict, ..command })?;
    let ending = prisoner.wait(Duration::from_secs(10)).ok_or("it did not end")?;
    let said = String::from_utf8(prisoner.output().stdout)?;
    let errno = said.trim().parse().unwrap_or(0);
    let expected = if probe.row == "r31" { &[libc::ENOSYS] } else { REFUSALS };
    if ending.how != How::Exited(0) || !expected.contains(&errno) {
        return Err(format!("it said {said:?} and ended as {ending:?}").into());
    }
    let after = std::fs::metadata(scene.path().join("victim"))?;
    let untouched = after.permissions() == before.permissions()
        && after.modified()? == before.modified()?
        && after.len() == before.len()
        && std::fs::read_dir(scene.path())?.count() == 1;
    if untouched { Ok(()) } else { Err("the scene has changed".into()) }
}

fn check_possible(probe: &Probe) -> Result<(), Failed> {
    let scene = scene()?;
    let output = Command::new(std::env::current_exe()?)
        .args(["probe", probe.name, path(&scene)])
        .current_dir(std::env::temp_dir())
        .output()?;
    let said = String::from_utf8(output.stdout)?;
    if said.trim() == DONE {
        return Ok(());
    }
    let error = said
        .trim()
        .parse()
        .map_or_else(|_| said.clone(), |errno| io::Error::from_raw_os_error(errno).to_string());
    Err(format!("the probe proves nothing, since it fails without walls, too: {error}").into())
}

/// A folder with one file, which anybody may read and change.
fn scene() -> io::Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let scene = tempfile::tempdir()?;
    let victim = scene.path().join("victim");
    std::fs::write(&victim, "secret")?;
    std::fs::set_permissions(scene.path(), PermissionsExt::from_mode(0o777))?;
    std::fs::set_permissions(victim, PermissionsExt::from_mode(0o666))?;
    Ok(scene)
}

fn path(scene: &tempfile::TempDir) -> &str {
    scene.path().to_str().expect("temporary folders have plain names")
}
