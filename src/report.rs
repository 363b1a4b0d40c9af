//! What is said of work: values that an operation or an engine returns, and a face prints.

use serde_json::{Map, Value};

/// What there is to say, in order.
#[derive(Debug, Default)]
pub struct Report {
    /// Each said once.
    pub said: Vec<Said>,
}

/// One thing that is said.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// A line of the result, for people alone.
    Line(String),
    /// An object of the result, for programs alone. It has a `message_type`.
    Object(Value),
    /// The object that sums all up, for programs alone. What runs the work adds what it alone knows.
    Summary(Map<String, Value>),
    /// What did not stop the work, for people and programs.
    Warning {
        /// The object and the place.
        subject: String,
        /// What is wrong, and what to do about it.
        message: String,
    },
}

impl Report {
    /// Adds a line for people.
    pub fn line(&mut self, text: impl Into<String>) {
        self.said.push(Said::Line(text.into()));
    }

    /// Adds an object for programs.
    pub fn object(&mut self, object: Value) {
        self.said.push(Said::Object(object));
    }

    /// Adds the object that sums all up: `summary` is an object.
    pub fn summary(&mut self, summary: Value) {
        if let Value::Object(summary) = summary {
            self.said.push(Said::Summary(summary));
        }
    }

    /// Adds a warning.
    pub fn warn(&mut self, subject: impl Into<String>, message: impl Into<String>) {
        self.said.push(Said::Warning { subject: subject.into(), message: message.into() });
    }
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
