//! Tests of the tests: that they would notice a thief, a vandal, a survivor and a forgotten row.

use std::{collections::BTreeSet, fs, net::TcpListener, process::Command};

use libtest_mimic::{Failed, Trial};
use protocol::CHANNEL_VARIABLE;

use crate::{corpus, scene::Scene, survivors};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("own_eyes::every_folder_is_a_row", every_folder_is_a_row),
        Trial::test("own_eyes::a_leak_is_noticed", a_leak_is_noticed),
        Trial::test("own_eyes::a_change_is_noticed", a_change_is_noticed),
        Trial::test("own_eyes::a_survivor_is_noticed", a_survivor_is_noticed),
    ]
}

fn ensure(holds: bool, otherwise: &str) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

fn every_folder_is_a_row() -> Result<(), Failed> {
    let entries = fs::read_dir(corpus::folder(""))?.collect::<Result<Vec<_>, _>>()?;
    let folders = entries.iter().filter(|entry| entry.path().is_dir());
    let folders: BTreeSet<String> =
        folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let rows: BTreeSet<String> = corpus::rows().iter().map(|row| row.id.to_owned()).collect();
    ensure(folders == rows, &format!("{folders:?} are not {rows:?}"))
}

fn a_leak_is_noticed() -> Result<(), Failed> {
    let scene = Scene::new("r01")?;
    let shell = |script: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        scene.run(shell, 10)
    };
    ensure(scene.check_secret(&shell("echo nothing")?).is_ok(), "nothing was taken for a leak")?;
    for script in ["cat victim", "cat solutions/*/src/lib.rs >&2", "echo $GRADER_TOKEN"] {
        ensure(scene.check_secret(&shell(script)?).is_err(), script)?;
    }
    Ok(())
}

fn a_change_is_noticed() -> Result<(), Failed> {
    for script in ["echo x > victim", "touch victim", "chmod 600 victim", "mkdir a", "rm victim"] {
        let scene = Scene::new("r01")?;
        scene.check_unchanged()?;
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        scene.run(shell, 10)?;
        ensure(scene.check_unchanged().is_err(), script)?;
    }
    Ok(())
}

fn a_survivor_is_noticed() -> Result<(), Failed> {
    let scene = Scene::new("r01")?;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let channel = format!("tcp:{}:x", silent.local_addr()?.port());
    let mut waiting = Command::new(&scene.program).env(CHANNEL_VARIABLE, channel).spawn()?;
    // It waits for a question that nobody asks.
    let seen = survivors::await_one(scene.path());
    waiting.kill()?;
    waiting.wait()?;
    ensure(seen, "a process that lived was not seen")?;
    survivors::check_none(scene.path())
}
