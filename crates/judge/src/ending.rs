//! Why a subject is gone, in a learner's words.

use std::time::Duration;

use checks::Death;
use jail::{Ending, How, Output};
use report::Verdict;

use crate::process::Budget;

const SIGILL: i32 = 4;
const SIGABRT: i32 = 6;
const SIGBUS: i32 = 7;
const SIGFPE: i32 = 8;
const SIGKILL: i32 = 9;
const SIGSEGV: i32 = 11;
const SIGXCPU: i32 = 24;
const SIGSYS: i32 = 31;

/// Says why a subject whose channel closed has ended, or that it closed the channel itself.
pub(crate) fn diagnose(ended: Option<Ending>, output: &Output, budget: Budget) -> Death {
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.over_limit {
        return death(
            Verdict::OutputLimit,
            "It printed more than an answer may. Print less, or only for one part at a time.",
        );
    }
    if stderr.contains("has overflowed its stack") {
        return death(
            Verdict::RuntimeError,
            "Stack overflow: a function calls itself without end, or too deep.",
        );
    }
    if let Some(death) = ran_out_of_memory(output) {
        return death;
    }
    let Some(ended) = ended else {
        return death(Verdict::RuntimeError, "It closed its channel to the judge.");
    };
    match ended.how {
        How::Signalled(SIGXCPU) => too_much_cpu(budget.cpu),
        How::Signalled(SIGKILL) => {
            death(Verdict::Memory, "The system ended it; most likely it ran out of memory.")
        }
        How::Signalled(signal) => {
            death(Verdict::RuntimeError, &format!("It was ended by {}.", signal_name(signal)))
        }
        How::Exited(code) => death(
            Verdict::RuntimeError,
            &format!(
                "It ended its process with exit code {code} before it answered; a part returns \
                 its result and never calls `exit`."
            ),
        ),
        How::Lost => death(Verdict::RuntimeError, "It is gone, and nobody knows why."),
    }
}

/// Says that an allocation failed, if the last words say so.
pub(crate) fn ran_out_of_memory(output: &Output) -> Option<Death> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let line = stderr.lines().find(|line| line.starts_with("memory allocation of"))?;
    Some(death(Verdict::Memory, &format!("It ran out of memory: {line}.")))
}

pub(crate) fn too_much_cpu(limit: Duration) -> Death {
    let seconds = limit.as_secs_f64();
    death(
        Verdict::TimeCpu,
        &format!("It computed for more than {seconds} s on one question: an endless loop?"),
    )
}

pub(crate) fn grew_without_end(held_bytes: u64) -> Death {
    let mebibytes = held_bytes >> 20;
    death(
        Verdict::Memory,
        &format!("It held {mebibytes} MiB and was still growing when its time was up."),
    )
}

pub(crate) fn waited_too_long(waited: Duration) -> Death {
    let seconds = waited.as_secs();
    death(
        Verdict::TimeWall,
        &format!("It did not answer for {seconds} s and hardly computed: does it sleep or wait?"),
    )
}

fn death(verdict: Verdict, sentence: &str) -> Death {
    Death { verdict, what: vec![sentence.to_owned()] }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        SIGILL => "SIGILL, an illegal instruction",
        SIGABRT => "SIGABRT, an abort",
        SIGBUS => "SIGBUS, a bad memory access",
        SIGFPE => "SIGFPE, a division that has no result",
        SIGSEGV => "SIGSEGV, a bad memory access",
        SIGSYS => "SIGSYS, a system call that an answer may not make",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}
