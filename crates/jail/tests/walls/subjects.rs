//! Subjects of the tests of behaviour: what an answer may do, and how it may die.
#![allow(unsafe_code, reason = "some answers crash on purpose")]

use std::{
    env,
    ffi::CString,
    fs::{self, File},
    io::{Read, Write},
    os::fd::{FromRawFd, RawFd},
    path::Path,
    process, ptr, thread,
    time::Duration,
};

/// Plays `role` and returns or dies.
pub(crate) fn play(role: &str, args: &[&str]) {
    match role {
        "echo" => echo(),
        "echo_loudly" => {
            println!("before the reply");
            echo();
            thread::sleep(Duration::from_mins(1));
        }
        "environment" => env::vars().for_each(|(name, value)| println!("{name}={value}")),
        "descriptors" => println!("{:?}", (0..64).filter(|&n| is_open(n)).collect::<Vec<_>>()),
        "arguments" => println!("{args:?}"),
        "folder" => println!("{}", env::current_dir().expect("a folder").display()),
        "user" => println!("{} {}", unsafe { libc::getuid() }, unsafe { libc::getgid() }),
        "eight_threads" => eight_threads(),
        "exit" => process::exit(args[0].parse().expect("a code")),
        "abort" => process::abort(),
        "panic" => panic!("on purpose"),
        "null" => unsafe { ptr::null_mut::<u8>().write_volatile(1) },
        "recurse" => drop(thread::spawn(|| println!("{}", recurse(0))).join()),
        "spin" => spin(),
        "spin_after_ignoring" => {
            unsafe { libc::signal(libc::SIGXCPU, libc::SIG_IGN) };
            spin();
        }
        "sleep" => thread::sleep(Duration::from_hours(1)),
        "stop" => drop(unsafe { libc::raise(libc::SIGSTOP) }),
        "hoard" => println!("{}", vec![1_u8; 100 << 30].len()),
        "hoard_slowly" => hoard_slowly(),
        "flood_stdout" => flood(&mut std::io::stdout()),
        "flood_stderr" => flood(&mut std::io::stderr()),
        "close_channel" => {
            drop((descriptor(3), descriptor(4)));
            thread::sleep(Duration::from_mins(1));
        }
        "load" => load(args),
        "judge" => judge(),
        _ => process::exit(99),
    }
}

fn descriptor(number: RawFd) -> File {
    unsafe { File::from_raw_fd(number) }
}

fn is_open(number: RawFd) -> bool {
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

fn echo() {
    let (mut questions, mut replies) = (descriptor(3), descriptor(4));
    let mut question = [0; 4];
    questions.read_exact(&mut question).expect("a question");
    replies.write_all(&question).expect("the judge listens");
}

fn eight_threads() {
    let sums = (0..8_u64).map(|part| thread::spawn(move || (0..1000).map(|i| i * part).sum()));
    let threads: Vec<thread::JoinHandle<u64>> = sums.collect();
    println!("{}", threads.into_iter().map(|t| t.join().expect("a sum")).sum::<u64>());
}

#[expect(unconditional_recursion, reason = "to overflow the stack")]
fn recurse(depth: u64) -> u64 {
    let page = std::hint::black_box([depth; 128]);
    recurse(depth + 1) + page[3]
}

fn spin() {
    let mut count = 0_u64;
    loop {
        count = std::hint::black_box(count.wrapping_add(1));
    }
}

fn hoard_slowly() {
    let mut held = Vec::new();
    loop {
        held.push(vec![1_u8; 8 << 20]);
    }
}

/// Ten gibibytes, if it is let.
fn flood(stream: &mut dyn Write) {
    let block = vec![b'x'; 1 << 16];
    for _ in 0..10 << 14 {
        stream.write_all(&block).expect("the stream is open");
    }
}

/// Loads a library, then tries its neighbour, their folder, and to change it.
fn load(paths: &[&str]) {
    let is_loaded = |path: &str| {
        let path = CString::new(path).expect("a path");
        !unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) }.is_null()
    };
    let [library, neighbour] = paths else { process::exit(98) };
    let folder = Path::new(library).parent().expect("a folder");
    println!("{}", if is_loaded(library) { "loaded" } else { "refused" });
    println!("{}", if is_loaded(neighbour) { "loaded" } else { "refused" });
    println!("{}", if fs::read_dir(folder).is_ok() { "open" } else { "closed" });
    println!("{}", if File::options().write(true).open(library).is_ok() { "open" } else { "kept" });
}

/// A judge with a subject, to be killed in the middle: prints the subject's process and waits.
fn judge() {
    let command = crate::behaviours::command(["subject", "sleep"]);
    let prisoner = jail::spawn(&command).expect("it starts");
    println!("{}", prisoner.id().expect("a process"));
    thread::sleep(Duration::from_mins(1));
}
