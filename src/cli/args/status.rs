//! What `onefold status` takes.

use std::str::FromStr;

use clap::Args as ClapArgs;
use jiff::{Span, SpanRelativeTo, Unit};
use serde::Deserialize;

use super::Filter;

/// `status`
#[derive(Debug, ClapArgs)]
pub struct Status {
    /// How old the last complete snapshot may be: 26h, 90m, 2d. Older, the exit code is 6.
    #[arg(long, value_name = "AGE")]
    pub max_age: Option<Age>,
    /// Print what Prometheus reads.
    #[arg(long, conflicts_with = "json")]
    pub metrics: bool,
    /// Which snapshots count.
    #[command(flatten)]
    pub filter: Filter,
}

/// So many milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Age(pub u64);

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Age, String> {
        let wrong = |why: String| format!("{text:?} is no age, such as 26h, 90m or 2d: {why}");
        let span: Span = text.parse().map_err(|e: jiff::Error| wrong(e.to_string()))?;
        let days = SpanRelativeTo::days_are_24_hours();
        let ms = span.total((Unit::Millisecond, days)).map_err(|e| wrong(e.to_string()))?;
        if ms < 0.0 { Err(wrong("it is negative".to_owned())) } else { Ok(Age(ms as u64)) }
    }
}

impl TryFrom<String> for Age {
    type Error = String;

    fn try_from(text: String) -> Result<Age, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_numbers_with_a_unit() {
        for (text, hours) in [("26h", 26.0), ("90m", 1.5), ("2d", 48.0), ("1d 2h", 26.0), ("1w", 168.0), ("0s", 0.0)] {
            assert_eq!(text.parse(), Ok(Age((hours * 3_600_000.0) as u64)), "{text}");
        }
        for text in ["", "26", "h", "-1h", "1h ago", "1mo", "1y", "99999999999999999999h"] {
            let refused = text.parse::<Age>().unwrap_err();
            assert!(refused.contains("is no age, such as 26h"), "{refused}");
        }
    }
}
