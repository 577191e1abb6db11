//! Tests of the walls, from both sides.
//!
//! One program plays all roles: the tests (judge), the trampoline, and the subject.
//! `walls subject ROLE ..` is a subject of [`behaviours`]; `walls probe NAME ..` tries one
//! forbidden thing, behind the walls and, to prove that the probe works, without them.

#[cfg(target_os = "linux")]
mod behaviours;
#[cfg(target_os = "linux")]
mod degraded;
#[cfg(target_os = "linux")]
mod outcomes;
#[cfg(target_os = "linux")]
mod probes;
#[cfg(target_os = "linux")]
mod subjects;

#[cfg(target_os = "linux")]
fn main() {
    jail::enter_if_asked();
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[1..] {
        ["subject", role, ref rest @ ..] => subjects::play(role, rest),
        ["probe", name, scene] => outcomes::report(name, scene),
        ["degraded"] => degraded::judge().unwrap_or_else(|failed| println!("{failed:?}")),
        _ => {
            let mut trials = behaviours::trials();
            trials.extend(outcomes::trials());
            trials.extend(degraded::trials());
            libtest_mimic::run(&libtest_mimic::Arguments::from_args(), trials).exit();
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("The walls stand on Linux only; there is nothing to test here.");
}
