//! Programs that run around a backup, and a URL that hears of its success.

use std::process::{Command, Stdio};

use serde::Deserialize;

use super::exit;
use super::{Outcome, Output};
use crate::error::{Error, Kind, Result};

/// What a profile runs around `backup`. Each hears by `ONEFOLD_HOOK` which it is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Hooks {
    /// Before the backup, which does not begin unless it succeeds.
    pub before: Option<Hook>,
    /// After a backup that made a complete snapshot (exit code 0).
    pub after: Option<Hook>,
    /// After any other, also where `before` failed.
    pub failed: Option<Hook>,
    /// At the end, whatever happened.
    pub finally: Option<Hook>,
    /// A URL that is asked for after a complete snapshot: a service that misses it raises the alarm.
    pub ping: Option<String>,
}

/// A program with its arguments, or a line for the shell.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Hook {
    /// For `sh -c`.
    Line(String),
    /// Without a shell.
    Words(Vec<String>),
}

/// What hooks are told of a backup.
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// The snapshot that was made.
    pub snapshot: Option<String>,
}

impl Hooks {
    /// Whether they can be run at all.
    ///
    /// Errors: `Usage`: one has no program; a `ping` that this build or nobody can ask for.
    pub fn check(&self) -> Result<()> {
        for (name, hook) in self.all() {
            if hook.program().is_none() {
                return Err(Error::new(Kind::Usage, format_args!("hooks.{name}"), "names no program"));
            }
        }
        self.ping.as_deref().map_or(Ok(()), super::ping::check)
    }

    /// Those that there are, by name.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Hook)> {
        let all =
            [("before", &self.before), ("after", &self.after), ("failed", &self.failed), ("finally", &self.finally)];
        all.into_iter().filter_map(|(name, hook)| hook.as_ref().map(|hook| (name, hook)))
    }

    /// Backs up, with what is to be run around it. What the backup itself came to counts; where that is fine and a hook
    /// failed, that is the failure.
    pub fn around(&self, output: &Output, backup: impl FnOnce() -> Result<Ended>) -> Result<Outcome> {
        let done = self.run("before", &self.before, &[]).and_then(|()| backup());
        let snapshot = done.as_ref().ok().and_then(|ended| ended.snapshot.clone());
        let outcome = done.map(|ended| ended.outcome);
        let code = exit::code(&outcome, output).to_string();
        let told =
            [("ONEFOLD_EXIT_CODE", code.as_str()), ("ONEFOLD_SNAPSHOT", snapshot.as_deref().unwrap_or_default())];
        let next = if code == "0" { ("after", &self.after) } else { ("failed", &self.failed) };
        let ran = self.run(next.0, next.1, &told);
        let last = self.run("finally", &self.finally, &told);
        if let Some(url) = self.ping.as_deref().filter(|_| code == "0" && ran.is_ok() && last.is_ok())
            && let Err(e) = super::ping::send(url)
        {
            // Whoever waits for it raises the alarm.
            output.warn(e.subject(), e.message());
        }
        match (outcome, ran.and(last)) {
            (Ok(outcome), Err(e)) if code == "0" => {
                let stands = snapshot.map(|id| format!("snapshot {id} stands all the same")).unwrap_or_default();
                Err(if outcome == Outcome::Fine { e.hint(stands) } else { e })
            }
            (outcome, Err(e)) => {
                output.warn(e.subject(), e.message());
                outcome
            }
            (outcome, Ok(())) => outcome,
        }
    }

    fn run(&self, name: &'static str, hook: &Option<Hook>, told: &[(&str, &str)]) -> Result<()> {
        let Some(hook) = hook else { return Ok(()) };
        let subject = format!("hook {name}");
        let (program, arguments) =
            hook.program().ok_or_else(|| Error::new(Kind::Usage, &subject, "names no program"))?;
        let mut command = Command::new(program);
        // What it prints is no result of ours; the password is no business of its.
        command.args(arguments).stdin(Stdio::null()).stdout(std::io::stderr()).env_remove("ONEFOLD_PASSWORD");
        let status = command.env("ONEFOLD_HOOK", name).envs(told.iter().copied()).status();
        let status = status.map_err(|e| Error::io(format_args!("{subject}: {program}"), e))?;
        match status.success() {
            true => Ok(()),
            false => {
                Err(Error::new(Kind::Io, format_args!("{subject}: {program}"), format_args!("ended with {status}")))
            }
        }
    }
}

impl Hook {
    /// The program and its arguments; `None` where nothing is named.
    pub fn program(&self) -> Option<(&str, Vec<&str>)> {
        match self {
            Hook::Line(line) if line.trim().is_empty() => None,
            Hook::Line(line) => Some(("sh", vec!["-c", line])),
            Hook::Words(words) => {
                let (program, arguments) = words.split_first()?;
                (!program.is_empty()).then(|| (program.as_str(), arguments.iter().map(String::as_str).collect()))
            }
        }
    }
}
