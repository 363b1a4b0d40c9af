//! The command line: arguments in, lines and an exit code out. No logic of its own.

mod access;
mod args;
mod backup;
mod check;
mod command;
mod config;
mod diff;
mod drift;
mod dump;
mod exit;
mod find;
mod forget;
mod history;
mod hooks;
mod init;
mod key;
mod ls;
mod maintain;
mod output;
mod ping;
mod plan;
mod profile;
mod progress;
mod prune;
mod recover;
mod refill;
mod remark;
mod repair;
mod restore;
mod secret;
mod show;
mod stats;
mod status;
mod versions;
mod world;

use std::fs;
use std::process::ExitCode;

use clap::{ArgMatches, FromArgMatches};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use args::{Args, Chosen, Command, Given};
pub use exit::Outcome;
use output::Output;
use profile::Profile;

/// Runs the program, which knows `engines`, on its arguments.
pub fn main(engines: &[&dyn Engine]) -> ExitCode {
    let told = args::command(engines, Given::of(std::env::args_os())).try_get_matches();
    let (args, given) = match told.and_then(|given| Ok((Args::from_arg_matches(&given)?, given))) {
        Ok(parsed) => parsed,
        Err(told) => {
            // Help and version come here, too.
            let json = std::env::args_os().any(|word| word == "--json");
            if told.use_stderr() && json {
                let text = told.to_string();
                let message = text.trim_end().trim_start_matches("error: ").to_owned();
                return exit::report(Err(Error::new(Kind::Usage, "command line", message)), &Output::new(true));
            }
            let printed = told.print();
            return match printed.map_err(output::failed) {
                _ if told.use_stderr() => ExitCode::FAILURE,
                printed => exit::report(printed.map(|()| Outcome::Fine), &Output::new(false)),
            };
        }
    };
    raise_open_files();
    let output = Output::new(args.global.json);
    let mut args = args;
    let profile = Profile::load(args.global.profile.as_deref());
    let outcome = profile.and_then(|profile| {
        profile.fill(&mut args.global);
        run(&args, &given, &profile, engines, &output)
    });
    exit::report(outcome, &output)
}

/// Lets the process open as many files as it may: shells and services start it with a quarter of a per cent of that. Where
/// the system refuses, what is allowed stays.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

fn run(
    args: &Args,
    given: &ArgMatches,
    profile: &Profile,
    engines: &[&dyn Engine],
    output: &Output,
) -> Result<Outcome> {
    let global = &args.global;
    if !matches!(args.command, Command::Man { .. }) {
        // Repository, cache, keys, states and restored rows are for this user alone, whatever the shell allows.
        rustix::process::umask(Mode::RWXG | Mode::RWXO);
    }
    let of_command = given.subcommand().map_or(given, |(_, of_command)| of_command);
    match &args.command {
        Command::Init(a) => init::run(global, a, output),
        Command::Key(a) => key::run(global, a, output),
        Command::Backup => backup::run(global, &source(engines, of_command, profile)?, &profile.hooks, output),
        Command::Plan(a) => plan::run(global, a, &source(engines, of_command, profile)?, output),
        Command::Snapshots(a) => show::snapshots(global, a, output),
        Command::Show(a) => show::show(global, a, output),
        Command::Ls(a) => ls::run(global, a, engines, output),
        Command::Dump(a) => dump::run(global, a, engines, output),
        Command::Drift(a) => drift::run(global, a, engines, output),
        Command::Diff(a) => diff::run(global, a, engines, output),
        Command::History(a) => history::run(global, a, engines, output),
        Command::Find(a) => find::run(global, a, engines, output),
        Command::Status(a) => status::run(global, a, &profile.status, output),
        Command::Stats(a) => stats::run(global, a, output),
        Command::Forget(a) => forget::run(global, a, profile, output),
        Command::Prune(a) => prune::run(global, a, output),
        Command::Check(a) => check::run(global, a, engines, output),
        Command::Recover(a) => recover::run(global, a, output),
        Command::Repair(a) => repair::run(global, a, engines, output),
        Command::Maintain(a) => maintain::run(global, a, profile, output),
        Command::Pin(a) => remark::pin(global, a, output),
        Command::Unpin(a) => remark::unpin(global, a, output),
        Command::Tag(a) => remark::tag(global, a, output),
        Command::RefillLog => refill::run(global, output),
        Command::Restore(a) => {
            let none =
                || Error::new(Kind::Usage, "restore", "needs a form").hint("give --to FORM, or of files --target DIR");
            restore::run(global, a, &args::target(engines, of_command)?.ok_or_else(none)?, engines, output)
        }
        Command::ShowConfig => config::run(global, of_command, profile, engines, output),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut args::command(engines, Given::Words), "onefold", &mut text);
            output.text(&text).map(|()| Outcome::Fine)
        }
        Command::Man { out } => {
            let written = fs::create_dir_all(out)
                .and_then(|()| clap_mangen::generate_to(args::command(engines, Given::Words), out));
            written.map(|()| Outcome::Fine).map_err(|e| Error::io(out.display(), e))
        }
    }
}

/// The way in that a command was told.
fn source<'e>(engines: &[&'e dyn Engine], of_command: &ArgMatches, profile: &Profile) -> Result<Chosen<'e>> {
    let none = || Error::new(Kind::Usage, "backup", "needs a database").hint("`onefold backup --help` lists them");
    args::source(engines, of_command, profile)?.ok_or_else(none)
}
