//! A program that knows the toy engine besides all others, and what it is held to: every command, run on clusters of which a plain
//! model says what comes of them. Started with `TOYLAND` in its environment it is the program; otherwise it tests itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod cases;
mod model;
mod past;
mod toy;

use std::process::ExitCode;

use onefold::engine::Engine;

/// All engines of the program, and this one.
const ENGINES: &[&dyn Engine] = &[&onefold::engine::cassandra::Cassandra, &toy::Toy];

fn main() -> ExitCode {
    if std::env::var_os(cases::PROGRAM).is_some() {
        return onefold::cli::main(ENGINES);
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    let mut failed = false;
    for (name, case) in cases::ALL.iter().filter(|(name, _)| is_wanted(name)) {
        let fine = std::panic::catch_unwind(case).is_ok();
        println!("test {name} ... {}", if fine { "ok" } else { "FAILED" });
        failed |= !fine;
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
