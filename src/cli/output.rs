//! Where lines go: results to standard output, everything else to standard error.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use serde_json::json;

use crate::error::{Error, Kind, Result};
use crate::report::{Report, Said};
pub use crate::report::{bytes, time};

/// Subject of the errors of printing; one of kind `Interrupted` says that the reader of a pipe has seen enough.
pub const CLOSED: &str = "standard output";

/// Prints for people or, with `--json`, one object a line.
pub struct Output {
    json: bool,
    damage: Cell<bool>,
}

impl Output {
    /// `json`: objects in place of text.
    pub fn new(json: bool) -> Output {
        Output { json, damage: Cell::new(false) }
    }

    /// Whether objects are wanted.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person watches standard error.
    pub fn is_watched(&self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    /// Standard output, for results that are neither lines nor objects of ours.
    pub fn pipe(&self) -> io::StdoutLock<'static> {
        io::stdout().lock()
    }

    /// A line of the result, for people.
    pub fn line(&self, text: &str) -> Result<()> {
        write(io::stdout().lock(), &plain(text))
    }

    /// An object of the result, for programs.
    pub fn object(&self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value).map_err(|e| Error::damaged("output", e))?;
        write(io::stdout().lock(), &text)
    }

    /// Text of many lines that is the result itself.
    pub fn text(&self, text: &[u8]) -> Result<()> {
        let mut to = io::stdout().lock();
        to.write_all(text).and_then(|()| to.flush()).map_err(failed)
    }

    /// A remark on standard error.
    pub fn note(&self, text: &str) {
        // Nobody is left to be told if standard error is closed.
        let _ = write(io::stderr().lock(), &plain(text));
    }

    /// Damage beside what was asked for: said on standard error, and by the exit code.
    pub fn damage(&self, error: &Error) {
        self.damage.set(true);
        self.note(&format!("onefold: {error}"));
    }

    /// Whether [`Output::damage`] was called.
    pub fn saw_damage(&self) -> bool {
        self.damage.get()
    }

    /// An object on standard error.
    pub fn error_line(&self, value: &serde_json::Value) {
        let _ = write(io::stderr().lock(), &value.to_string());
    }

    /// What did not stop the work, on standard error.
    pub fn warn(&self, subject: &str, message: &str) {
        if self.json {
            self.error_line(&json!({ "message_type": "warning", "subject": subject, "message": message }));
        } else {
            self.note(&format!("{subject}: {message}"));
        }
    }

    /// All of a report, as it is wanted.
    pub fn report(&self, report: &Report) -> Result<()> {
        report.said.iter().try_for_each(|said| match said {
            Said::Line(text) if !self.json => self.line(text),
            Said::Object(object) if self.json => self.object(object),
            Said::Summary(summary) if self.json => self.object(summary),
            Said::Warning { subject, message } => {
                self.warn(subject, message);
                Ok(())
            }
            Said::Line(_) | Said::Object(_) | Said::Summary(_) => Ok(()),
        })
    }

    /// Of work that is done and stands: that it could not be printed is said, and makes it no failure.
    pub fn told(&self, printed: Result<()>, stands: &str) {
        if let Err(e) = printed {
            self.warn(e.subject(), &format!("{}; {stands}", e.message()));
        }
    }
}

fn write(mut to: impl Write, text: &str) -> Result<()> {
    writeln!(to, "{text}").map_err(failed)
}

/// What printing failed with.
pub fn failed(e: io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::BrokenPipe => Error::new(Kind::Interrupted, CLOSED, "closed by its reader"),
        _ => Error::io(CLOSED, e),
    }
}

/// What a writer to [`Output::pipe`] failed with; that its reader has seen enough is told from all else.
pub fn of_pipe(e: Error) -> Error {
    let source = std::error::Error::source(&e).and_then(|source| source.downcast_ref::<io::Error>());
    match source.map(io::Error::kind) {
        Some(kind @ io::ErrorKind::BrokenPipe) => failed(kind.into()),
        _ => e,
    }
}

/// Names come from captures, and a terminal obeys what is in them: what is no visible sign is spelled out.
fn plain(text: &str) -> Cow<'_, str> {
    // Besides controls, what turns the direction of writing or breaks the line.
    let odd = |c: char| {
        c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(odd) {
        return Cow::Borrowed(text);
    }
    let spelled = |c: char| if odd(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(spelled).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_printed() {
        assert_eq!(plain("größe „x“ 日本 \\"), "größe „x“ 日本 \\");
        for c in ('\0'..='\u{2fff}').filter(|c| c.is_control()).chain(['\u{202e}', '\u{2028}', '\u{2066}']) {
            let said = plain(&format!("a{c}b")).into_owned();
            assert!(said.starts_with("a\\") && said.ends_with('b') && !said.contains(c), "{said:?}");
        }
        assert_eq!(plain("\u{1b}]0;x\u{7}\n"), "\\u{1b}]0;x\\u{7}\\n");
    }
}
