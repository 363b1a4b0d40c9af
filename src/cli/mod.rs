//! The command line: arguments in, lines and an exit code out. No logic of its own.

mod access;
mod args;
mod backup;
mod check;
mod drift;
mod exit;
mod init;
mod output;
mod progress;
mod restore;
mod show;
mod stats;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::error::{Error, Kind, Result};
use args::{Args, Command};
pub use exit::Outcome;
use output::Output;

/// Runs the program on its arguments.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(told) => {
            // Help and version come here too; if nobody reads them, there is nobody to tell.
            let json = std::env::args_os().any(|word| word == "--json");
            if told.use_stderr() && json {
                let text = told.to_string();
                let message = text.trim_end().trim_start_matches("error: ").to_owned();
                return exit::report(Err(Error::new(Kind::Usage, "command line", message)), &Output::new(true));
            }
            let _ = told.print();
            return if told.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let output = Output::new(args.global.json);
    let outcome = run(&args, &output);
    exit::report(outcome, &output)
}

fn run(args: &Args, output: &Output) -> Result<Outcome> {
    let global = &args.global;
    match &args.command {
        Command::Init(a) => init::run(global, a, output),
        Command::Backup(a) => backup::run(global, a, output),
        Command::Snapshots => show::snapshots(global, output),
        Command::Show(a) => show::show(global, a, output),
        Command::Ls(a) => show::ls(global, a, output),
        Command::Drift(a) => drift::run(global, a, output),
        Command::Stats(a) => stats::run(global, a, output),
        Command::Check(a) => check::run(global, a, output),
        Command::Restore(a) => restore::run(global, a, output),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Args::command(), "onefold", &mut std::io::stdout());
            Ok(Outcome::Fine)
        }
        Command::Man { out } => {
            clap_mangen::generate_to(Args::command(), out).map_err(|e| Error::io(out.display(), e))?;
            Ok(Outcome::Fine)
        }
    }
}
