//! Exit codes (README "Exit codes"), and the last word on standard error.

use std::process::ExitCode;

use serde_json::json;

use super::output::{CLOSED, Output};
use crate::error::{Error, Kind, Result};

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything asked for is done: 0.
    Fine,
    /// Some source files could not be decoded; they are kept byte for byte: 3.
    SourceUnread,
    /// A replica of some range was not read, or the ring is not known: 4.
    Incomplete,
    /// Damage was found: 5.
    Damage,
    /// The last complete snapshot is too old, or there is none: 6.
    Late,
}

impl Outcome {
    fn code(self) -> u8 {
        match self {
            Outcome::Fine => 0,
            Outcome::SourceUnread => 3,
            Outcome::Incomplete => 4,
            Outcome::Damage => 5,
            Outcome::Late => 6,
        }
    }
}

fn code_of(kind: Kind) -> u8 {
    match kind {
        Kind::Damaged => 5,
        Kind::NoRepository => 10,
        Kind::Busy => 11,
        Kind::Denied => 12,
        Kind::Interrupted => 130,
        _ => 1,
    }
}

/// Prints an error, if there is one, and gives the exit code.
pub fn report(outcome: Result<Outcome>, output: &Output) -> ExitCode {
    let code = code(&outcome, output);
    if let Err(error) = outcome
        && code != PIPE
    {
        complain(&error, code, output);
    }
    ExitCode::from(code)
}

/// The code of a reader that has seen enough, as `head` ends any program: no reason to complain.
const PIPE: u8 = 141;

/// The exit code.
pub fn code(outcome: &Result<Outcome>, output: &Output) -> u8 {
    match outcome {
        Ok(_) if output.saw_damage() => Outcome::Damage.code(),
        Ok(outcome) => outcome.code(),
        Err(error) if error.kind() == Kind::Interrupted && error.subject() == CLOSED => PIPE,
        Err(error) => code_of(error.kind()),
    }
}

fn complain(error: &Error, code: u8, output: &Output) {
    if output.is_json() {
        output.error_line(&json!({
            "message_type": "exit_error",
            "code": code,
            "subject": error.subject(),
            "message": error.message(),
            "hint": error.advice(),
        }));
    } else {
        output.note(&format!("onefold: {}: {}", error.subject(), error.message()));
        if let Some(hint) = error.advice() {
            output.note(&format!("  {hint}"));
        }
    }
}
