//! The attack corpus: what hostile answers do, and what they must get.
//!
//! One program plays all roles: the tests, the hostile answers, and a judge with two parts.
//! Started under a row's name it is that row's answer; see `README.md`.
//!
//! **Invariant:** nothing hostile runs unless the program was started under the name of its row.

#[cfg(target_os = "linux")]
mod answers;
#[cfg(target_os = "linux")]
mod attempts;
#[cfg(target_os = "linux")]
mod corpus;
#[cfg(target_os = "linux")]
mod judged;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(target_os = "linux")]
mod own_eyes;
#[cfg(target_os = "linux")]
mod own_suite;
#[cfg(target_os = "linux")]
mod scene;
#[cfg(target_os = "linux")]
mod survivors;
#[cfg(target_os = "linux")]
mod unconfined;

/// Declares the rows: a `part` is called by `wick`, a `program` has the process to itself.
macro_rules! rows {
    ($($id:ident $kind:ident;)*) => {
        $(
            #[cfg(target_os = "linux")]
            mod $id {
                pub(crate) mod src {
                    pub(crate) mod lib;
                }
            }
        )*
        /// Every row, by its name.
        #[cfg(target_os = "linux")]
        const PROBES: &[(&str, answers::Probe)] = &[$((stringify!($id), rows!(@$kind $id))),*];
    };
    (@part $id:ident) => { answers::Probe::Part($id::src::lib::attention_pattern) };
    (@program $id:ident) => { answers::Probe::Program($id::src::lib::main) };
}

rows! {
    r01 part;
    r02 part;
    r03 part;
    r04 part;
    r05 part;
    r06 part;
    r07 part;
    r08 part;
    r09 part;
    r10 part;
    r11 part;
    r12 program;
    r13 part;
    r14 part;
    r15 part;
    r16 part;
    r17 part;
    r18 part;
    r19 part;
    r20 part;
    r21 part;
    r22 part;
    r23 part;
    r24 part;
    r25 part;
    r26 part;
    r27 part;
    r28 part;
    r29 part;
    r30 part;
    r31 part;
    r32 part;
    r33 part;
    r34 part;
    r35 part;
    r36 part;
    r37 part;
    r38 part;
    r39 part;
    r40 part;
    r41 part;
    r42 part;
    r43 part;
    r44 program;
    r45 program;
    r46 program;
    r47 program;
    r48 program;
    r49 program;
    r49b program;
    r50 program;
    r50b program;
    r51 program;
    r52 program;
    r53 program;
    r54 part;
    r55 part;
    r56 part;
    r57 part;
    r58 part;
    r59 part;
    r60 program;
    r61 program;
    r62 program;
    r63 program;
    r64 part;
    r65 program;
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    jail::enter_if_asked();
    if let Some(probe) = answers::probe() {
        return answers::play(probe);
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [role, rest @ ..] = args.as_slice()
        && role == own_suite::ROLE
    {
        return own_suite::judge(rest);
    }
    let mut trials = own_eyes::trials();
    for row in corpus::rows() {
        trials.extend(judged::trial(row));
        trials.extend(own_suite::trial(row));
        trials.extend(unconfined::trial(row));
    }
    survivors::run(trials)
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("The corpus attacks the walls of Linux; there is nothing to test here.");
}
