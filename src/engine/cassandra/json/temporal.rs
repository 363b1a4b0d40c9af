//! Times, dates and durations.

use std::fmt::Write;

use super::super::value::{damaged, vints};
use crate::error::Result;

const DAY_MS: i64 = 86_400_000;

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
fn civil(day: i64) -> (i64, i64, i64) {
    // Years that start on 1 March: the leap day stands last, and months have 153 days in five.
    let day = day + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + carry, month, day)
}

/// `yyyy-MM-dd HH:mm:ss.SSSX` in UTC: years before 1 count from there back, those from 10000 on have a plus.
pub(super) fn timestamp(out: &mut String, ms: i64) {
    let (year, month, day) = civil(ms.div_euclid(DAY_MS));
    let ms = ms.rem_euclid(DAY_MS);
    let year = if year > 0 { year } else { 1 - year };
    let plus = if year > 9999 { "+" } else { "" };
    let (h, m, s, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
    let _ = write!(out, "{plus}{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02}.{ms:03}Z");
}

/// ISO; day 2³¹ is 1970-01-01.
pub(super) fn date(out: &mut String, day: u32) {
    let (year, month, day) = civil(i64::from(day) - (1 << 31));
    let sign = match year {
        10_000.. => "+",
        ..0 => "-",
        _ => "",
    };
    let _ = write!(out, "{sign}{:04}-{month:02}-{day:02}", year.abs());
}

/// Nanoseconds since midnight.
pub(super) fn time(out: &mut String, ns: i64) -> Result<()> {
    if !(0..DAY_MS * 1_000_000).contains(&ns) {
        return Err(damaged(format!("a time of {ns} ns")));
    }
    let s = ns / 1_000_000_000;
    let _ = write!(out, "{:02}:{:02}:{:02}.{:09}", s / 3600, s / 60 % 60, s % 60, ns % 1_000_000_000);
    Ok(())
}

/// Months, days and nanoseconds, each a signed variable integer (`Duration.toString`).
pub(super) fn duration(out: &mut String, value: &[u8]) -> Result<()> {
    let [months, days, ns] = vints(value)?;
    if months < 0 || days < 0 || ns < 0 {
        out.push('-');
    }
    let mut part = |rest: u64, unit: u64, name: &str| {
        if rest >= unit {
            let _ = write!(out, "{}{name}", rest / unit);
        }
        rest % unit
    };
    let months = part(months.unsigned_abs(), 12, "y");
    part(months, 1, "mo");
    part(days.unsigned_abs(), 1, "d");
    let mut rest = ns.unsigned_abs();
    for (unit, name) in [(3_600_000_000_000, "h"), (60_000_000_000, "m"), (1_000_000_000, "s"), (1_000_000, "ms")] {
        rest = part(rest, unit, name);
    }
    let rest = part(rest, 1000, "us");
    part(rest, 1, "ns");
    Ok(())
}
