//! What a judge sees of subjects that behave, and of those that do not.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use jail::{Command, Ending, How, Limits, Output, Prisoner};
use libtest_mimic::{Failed, Trial};

type Outcome = Result<(), Failed>;

/// This program again, as a subject with the strictest walls.
pub(crate) fn command<const N: usize>(args: [&str; N]) -> Command {
    Command {
        // By this name it can be opened even from a folder that is not ours.
        program: "/proc/self/exe".into(),
        args: args.map(Into::into).to_vec(),
        env: vec![("GREETING".into(), "hello".into())],
        channel_variable: "CHANNEL".to_owned(),
        limits: Limits { cpu: Duration::from_secs(5), ..Limits::default() },
        strict: true,
        libraries: vec![],
        open_to_device: false,
    }
}

macro_rules! trials {
    ($($name:ident $test:expr;)*) => {
        /// Every test of behaviour.
        pub(crate) fn trials() -> Vec<Trial> {
            vec![$(Trial::test(concat!("behaviour::", stringify!($name)), || $test)),*]
        }
    };
}

trials! {
    walls_stand_on_this_machine isolation_is_full();
    the_environment_is_exact prints("environment", "CHANNEL=fd:3,4\nGREETING=hello\n");
    only_five_descriptors_are_open prints("descriptors", "[0, 1, 2, 3, 4]\n");
    eight_threads_may_compute prints("eight_threads", "13986000\n");
    the_folder_is_the_root prints("folder", "/\n");
    arguments_arrive prints("arguments", "[]\n");
    nobody_is_root not_root();
    questions_are_answered echo();
    prints_before_a_reply_are_there_with_it prints_with_reply();
    an_exit_code_is_seen ends(&command(["subject", "exit", "3"]), How::Exited(3), "");
    a_panic_is_told ends(&command(["subject", "panic"]), How::Exited(101), "on purpose");
    an_abort_is_a_signal ends(&command(["subject", "abort"]), How::Signalled(6), "");
    a_null_write_is_a_signal ends(&command(["subject", "null"]), How::Signalled(11), "");
    a_stack_overflow_says_so
        ends(&command(["subject", "recurse"]), How::Signalled(6), "has overflowed its stack");
    a_hundred_gibibytes_are_refused
        ends(&command(["subject", "hoard"]), How::Signalled(6), "memory allocation of 10737418");
    memory_is_bounded hoard_slowly();
    processor_time_is_bounded spin("spin", 24);
    ignoring_the_processor_signal_gains_a_second spin("spin_after_ignoring", 9);
    processor_time_is_seen_from_outside cpu_time();
    on_a_device_time_is_bounded_and_little_else open_to_device();
    on_a_device_nothing_is_strict never_strict();
    a_sleeper_is_killed killed("sleep");
    a_stopped_subject_is_killed killed("stop");
    a_flood_of_stdout_ends_at_once flood("flood_stdout");
    a_flood_of_stderr_ends_at_once flood("flood_stderr");
    a_closed_channel_is_an_end closed_channel();
    dropping_a_prisoner_leaves_nothing drop_leaves_nothing();
    nothing_outlives_its_judge judge_dies();
    the_thread_that_spawned_may_end spawner_ends();
    many_at_once_do_not_mix many();
    a_program_in_a_private_folder_runs private_program(0o700, 0o755);
    a_program_of_its_owner_alone_runs private_program(0o755, 0o700);
    a_library_elsewhere_is_all_that_is_seen_there library_elsewhere(true);
    a_library_that_is_not_there_is_named missing_library();
    a_missing_program_is_named missing_program();
    a_file_that_is_no_program_is_refused not_a_program();
    a_subject_starts_in_25_milliseconds start_time();
}

fn start<const N: usize>(args: [&str; N]) -> Result<Prisoner, Failed> {
    Ok(jail::spawn(&command(args))?)
}

fn end(prisoner: &mut Prisoner) -> Result<(Ending, Output), Failed> {
    let ending = prisoner.wait(Duration::from_secs(10)).ok_or("it did not end")?;
    Ok((ending, prisoner.output()))
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}

fn exists(prisoner_id: u32) -> bool {
    Path::new("/proc").join(prisoner_id.to_string()).exists()
}

fn prints(role: &str, expected: &str) -> Outcome {
    let (ending, output) = end(&mut start(["subject", role])?)?;
    let mut lines: Vec<_> = str::from_utf8(&output.stdout)?.split_inclusive('\n').collect();
    lines.sort_unstable();
    ensure(lines.concat() == expected && ending.how == How::Exited(0), || {
        format!("{ending:?} {output:?}")
    })
}

fn ends(command: &Command, how: How, said: &str) -> Outcome {
    let started = Instant::now();
    let (ending, output) = end(&mut jail::spawn(command)?)?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure(ending.how == how && stderr.contains(said), || format!("{ending:?}: {stderr}"))?;
    ensure(started.elapsed() < Duration::from_secs(5), || "it took too long".to_owned())
}

fn isolation_is_full() -> Outcome {
    let isolation = jail::isolation();
    ensure(isolation.full, || isolation.weakness.clone())?;
    let expected = ["namespaces", "landlock", "rlimits", "seccomp"];
    ensure(isolation.layers == expected, || format!("{isolation:?}"))?;
    let prisoner = start(["subject", "sleep"])?;
    ensure(*prisoner.isolation() == isolation, || format!("{:?}", prisoner.isolation()))
}

fn not_root() -> Outcome {
    let (_, output) = end(&mut start(["subject", "user"])?)?;
    let ids = String::from_utf8(output.stdout)?;
    ensure(!ids.split_whitespace().any(|id| id == "0"), || ids.clone())
}

fn echo() -> Outcome {
    let mut prisoner = start(["subject", "echo"])?;
    let (mut replies, mut questions) = prisoner.take_channel();
    questions.write_all(b"why?")?;
    let mut reply = Vec::new();
    replies.read_to_end(&mut reply)?;
    let (ending, _) = end(&mut prisoner)?;
    ensure(reply == b"why?" && ending.how == How::Exited(0), || format!("{reply:?} {ending:?}"))?;
    ensure(questions.write_all(b"more").is_err(), || "a dead subject took a question".to_owned())
}

fn prints_with_reply() -> Outcome {
    for _ in 0..20 {
        let mut prisoner = start(["subject", "echo_loudly"])?;
        let (mut replies, mut questions) = prisoner.take_channel();
        questions.write_all(b"why?")?;
        replies.read_exact(&mut [0; 4])?;
        let output = prisoner.output();
        ensure(output.stdout == b"before the reply\n", || format!("{output:?}"))?;
    }
    Ok(())
}

fn hoard_slowly() -> Outcome {
    let limits = Limits { memory_bytes: 512 << 20, ..command([]).limits };
    let (ending, output) =
        end(&mut jail::spawn(&Command { limits, ..command(["subject", "hoard_slowly"]) })?)?;
    let peak = ending.peak_memory_bytes >> 20;
    ensure((300..512).contains(&peak), || format!("it held {peak} MiB"))?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure(stderr.contains("memory allocation of 8388608 bytes failed"), || stderr.clone())
}

fn spin(role: &str, signal: i32) -> Outcome {
    let limits = Limits { cpu: Duration::from_millis(900), ..command([]).limits };
    let mut prisoner = jail::spawn(&Command { limits, ..command(["subject", role]) })?;
    let ending = prisoner.wait(Duration::from_secs(30)).ok_or("it did not end")?;
    ensure(ending.how == How::Signalled(signal), || format!("{ending:?}"))?;
    // The kernel counts this limit in ticks, and its clocks exactly.
    let millis = ending.cpu_time.as_millis();
    ensure((700..2300).contains(&millis), || format!("it used {millis} ms"))
}

fn open_to_device() -> Outcome {
    let limits = Limits { cpu: Duration::from_millis(900), ..command([]).limits };
    let open = Command { limits, strict: false, open_to_device: true, ..command([]) };
    let mut prisoner = jail::spawn(&Command { args: command(["subject", "spin"]).args, ..open })?;
    let isolation = prisoner.isolation().clone();
    let says = isolation.weakness.contains("is not confined");
    ensure(!isolation.full && isolation.layers == ["rlimits"] && says, || {
        format!("{isolation:?}")
    })?;
    let ending = prisoner.wait(Duration::from_secs(30)).ok_or("it did not end")?;
    ensure(ending.how == How::Signalled(24), || format!("{ending:?}"))
}

fn never_strict() -> Outcome {
    let open = Command { open_to_device: true, ..command(["subject", "sleep"]) };
    ensure(jail::spawn(&open).is_err(), || "it runs without walls".to_owned())
}

fn cpu_time() -> Outcome {
    let mut prisoner = start(["subject", "spin"])?;
    let early = prisoner.cpu_time().ok_or("no time")?;
    let running = prisoner.wait(Duration::from_millis(600)).is_none();
    let late = prisoner.cpu_time().ok_or("no time")?;
    prisoner.kill();
    let last = prisoner.cpu_time().ok_or("no time")?;
    ensure(running && early < late && late <= last + Duration::from_millis(5), || {
        format!("{early:?} {late:?} {last:?}")
    })
}

fn killed(role: &str) -> Outcome {
    let mut prisoner = start(["subject", role])?;
    ensure(prisoner.wait(Duration::from_millis(100)).is_none(), || "it ended".to_owned())?;
    let id = prisoner.id().ok_or("no process")?;
    ensure(exists(id), || "it has no process".to_owned())?;
    let asked = Instant::now();
    prisoner.kill();
    ensure(!exists(id), || "it survived".to_owned())?;
    let ending = prisoner.wait(Duration::ZERO).ok_or("no ending")?;
    ensure(ending.how == How::Signalled(9) && ending.peak_memory_bytes > 0, || {
        format!("{ending:?}")
    })?;
    ensure(asked.elapsed() < Duration::from_secs(1), || format!("{:?}", asked.elapsed()))
}

fn flood(role: &str) -> Outcome {
    let started = Instant::now();
    let mut prisoner = start(["subject", role])?;
    let (ending, output) = end(&mut prisoner)?;
    let kept = output.stdout.len() + output.stderr.len();
    ensure(output.over_limit && kept == 1 << 20, || format!("{kept} {}", output.over_limit))?;
    ensure(ending.how == How::Signalled(9), || format!("{ending:?}"))?;
    ensure(started.elapsed() < Duration::from_secs(1), || format!("{:?}", started.elapsed()))
}

fn closed_channel() -> Outcome {
    let mut prisoner = start(["subject", "close_channel"])?;
    let (mut replies, _questions) = prisoner.take_channel();
    let mut rest = Vec::new();
    replies.read_to_end(&mut rest)?;
    ensure(rest.is_empty() && prisoner.wait(Duration::ZERO).is_none(), || format!("{rest:?}"))
}

fn drop_leaves_nothing() -> Outcome {
    let prisoner = start(["subject", "sleep"])?;
    let id = prisoner.id().ok_or("no process")?;
    drop(prisoner);
    ensure(!exists(id), || "it survived".to_owned())
}

fn judge_dies() -> Outcome {
    let mut judge = std::process::Command::new(std::env::current_exe()?)
        .args(["subject", "judge"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(judge.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let id = line.trim().parse()?;
    ensure(exists(id), || "it never ran".to_owned())?;
    judge.kill()?;
    judge.wait()?;
    let patience = Instant::now() + Duration::from_secs(5);
    while exists(id) && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(1));
    }
    ensure(!exists(id), || "it survived its judge".to_owned())
}

/// A death signal would be bound to the thread that spawned, not to the judge.
fn spawner_ends() -> Outcome {
    let spawner = std::thread::spawn(|| jail::spawn(&command(["subject", "sleep"])));
    let mut prisoner = spawner.join().map_err(|_| "the thread failed")??;
    ensure(prisoner.wait(Duration::from_millis(200)).is_none(), || "it died with it".to_owned())
}

fn many() -> Outcome {
    let one = |code: String| {
        move || ends(&command(["subject", "exit", &code]), How::Exited(code.parse()?), "")
    };
    let all: Vec<_> = (0..16).map(|code| std::thread::spawn(one(code.to_string()))).collect();
    all.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread failed")?)
}

fn private_program(folder_mode: u32, program_mode: u32) -> Outcome {
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("program");
    fs::copy(std::env::current_exe()?, &program)?;
    fs::set_permissions(&program, PermissionsExt::from_mode(program_mode))?;
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(folder_mode))?;
    ends(&Command { program, ..command(["subject", "exit", "7"]) }, How::Exited(7), "")
}

/// Neither its neighbour nor its folder can be read, and it cannot be changed.
pub(crate) fn library_elsewhere(strict: bool) -> Outcome {
    let folder = tempfile::tempdir()?;
    let [library, neighbour] = ["copy.so", "neighbour.so"].map(|name| folder.path().join(name));
    for copy in [&library, &neighbour] {
        fs::copy(system_library()?, copy)?;
    }
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))?;
    let paths = [&library, &neighbour].map(|path| path.to_string_lossy().into_owned());
    for (libraries, expected) in
        [(vec![library.clone()], "loaded\nrefused\nclosed\nkept\n"), (vec![], "refused\n")]
    {
        let command = Command { libraries, strict, ..command(["subject", "load"]) };
        let args = command.args.iter().cloned().chain(paths.iter().map(Into::into)).collect();
        let (ending, output) = end(&mut jail::spawn(&Command { args, ..command })?)?;
        let said = String::from_utf8(output.stdout)?;
        ensure(ending.how == How::Exited(0) && said.starts_with(expected), || {
            format!("{said} {ending:?} {:?}", String::from_utf8_lossy(&output.stderr))
        })?;
    }
    Ok(())
}

/// One that this program does not need itself.
fn system_library() -> Result<PathBuf, Failed> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let libc = maps.lines().find(|line| line.ends_with("/libc.so.6")).ok_or("no libc")?;
    let libc = libc.split_whitespace().last().unwrap_or_default();
    Ok(Path::new(libc).with_file_name("libresolv.so.2"))
}

fn missing_library() -> Outcome {
    let libraries = vec!["/no/such.so".into()];
    let error = jail::spawn(&Command { libraries, ..command(["subject", "sleep"]) }).err();
    let said = error.ok_or("it started")?.to_string();
    ensure(said.contains("/no/such.so cannot be opened: "), || said.clone())
}

fn missing_program() -> Outcome {
    let error = jail::spawn(&Command { program: "/no/such".into(), ..command([]) }).err();
    let said = error.ok_or("it started")?.to_string();
    ensure(said.starts_with("the program /no/such cannot be opened: "), || said.clone())
}

fn not_a_program() -> Outcome {
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("program");
    fs::write(&program, "just text")?;
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755))?;
    let error = jail::spawn(&Command { program, ..command([]) }).err();
    let said = error.ok_or("it started")?.to_string();
    ensure(said.contains("Exec format error"), || said.clone())
}

/// The best of many, so that a busy machine does not decide.
fn start_time() -> Outcome {
    let once = || -> Result<Duration, Failed> {
        let started = Instant::now();
        let mut prisoner = start(["subject", "echo"])?;
        let (mut replies, mut questions) = prisoner.take_channel();
        questions.write_all(b"why?")?;
        replies.read_exact(&mut [0; 4])?;
        Ok(started.elapsed())
    };
    let mut times = (0..20).map(|_| once()).collect::<Result<Vec<_>, _>>()?;
    times.sort_unstable();
    println!("start to first reply: best {:?}, median {:?}", times[0], times[10]);
    ensure(times[0] <= Duration::from_millis(25), || format!("{times:?}"))
}
