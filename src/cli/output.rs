//! Where lines go: results to standard output, everything else to standard error.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::error::{Error, Kind, Result};

/// Subject of the error that says that the reader of a pipe has seen enough.
pub const CLOSED: &str = "standard output";

/// Prints for people or, with `--json`, one object a line.
pub struct Output {
    json: bool,
}

impl Output {
    /// `json`: objects in place of text.
    pub fn new(json: bool) -> Output {
        Output { json }
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
        write(io::stdout().lock(), text)
    }

    /// An object of the result, for programs.
    pub fn object(&self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value).map_err(|e| Error::damaged("output", e))?;
        write(io::stdout().lock(), &text)
    }

    /// A remark on standard error.
    pub fn note(&self, text: &str) {
        // Nobody is left to be told if standard error is closed.
        let _ = write(io::stderr().lock(), text);
    }

    /// An object on standard error.
    pub fn error_line(&self, value: &serde_json::Value) {
        self.note(&value.to_string());
    }
}

fn write(mut to: impl Write, text: &str) -> Result<()> {
    writeln!(to, "{text}").map_err(|e| match e.kind() {
        io::ErrorKind::BrokenPipe => Error::new(Kind::Interrupted, CLOSED, "closed by its reader"),
        _ => Error::io("standard output", e),
    })
}

/// Bytes for people: `1.5 GB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{n} B"),
        _ if value < 10.0 => format!("{value:.2} {}", UNITS[unit]),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// Seconds since 1970 for people, in UTC.
pub fn time(seconds: u64) -> String {
    let timestamp = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    timestamp.map_or_else(|| format!("{seconds} s"), |t| t.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}
