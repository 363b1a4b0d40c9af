//! Times, dates and durations from text (`TimestampSerializer`, `SimpleDateSerializer`, `TimeSerializer`, `Duration`).

use repo_format::wire::zigzag;

use crate::engine::cassandra::value::put_vint;

const DAY_MS: i64 = 86_400_000;
const DAY_NS: i64 = DAY_MS * 1_000_000;

/// Days since 1970-01-01; `None` for days that no month has.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) || !(-6_000_000..=6_000_000).contains(&year) {
        return None;
    }
    // Years that start on 1 March, months of 153 days in five.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + day - 1 - 719_468)
}

/// `2026-01-31`, `2026-01-31 23:59`, `2026-01-31T23:59:59.999+01:00`: milliseconds since 1970. No zone is UTC.
pub(super) fn timestamp(text: &str) -> Option<i64> {
    let text = text.trim();
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    if let (true, Ok(ms)) = (plain, text.parse()) {
        return Some(ms);
    }
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (year, rest) = number(unsigned)?;
    let (month, rest) = number(rest.strip_prefix('-')?)?;
    let (day, rest) = number(rest.strip_prefix('-')?)?;
    let day = days(sign * year, month, day)?;
    let (ms, zone) = match rest.strip_prefix(['T', ' ']) {
        Some(clock) if clock.starts_with(|c: char| c.is_ascii_digit()) => {
            let (ns, zone) = clock_ns(clock, false)?;
            (ns / 1_000_000, zone)
        }
        _ => (0, rest),
    };
    Some(day * DAY_MS + ms - zone_ms(zone.trim_start())?)
}

/// `2026-01-31`: days, 2³¹ being 1970-01-01.
pub(super) fn date(text: &str) -> Option<u32> {
    let ms = timestamp(text).filter(|_| text.matches('-').count() >= 2 && !text.contains([':', 'T', ' ']))?;
    u32::try_from(ms.div_euclid(DAY_MS) + (1 << 31)).ok()
}

/// `23:59:59.999999999`: nanoseconds.
pub(super) fn time(text: &str) -> Option<i64> {
    let (ns, rest) = clock_ns(text.trim(), true)?;
    rest.is_empty().then_some(ns)
}

/// A time of day in nanoseconds.
pub(super) fn in_day(ns: i64) -> Option<i64> {
    (0..DAY_NS).contains(&ns).then_some(ns)
}

/// Hours, minutes, seconds and a fraction; what follows.
fn clock_ns(text: &str, seconds_needed: bool) -> Option<(i64, &str)> {
    let (hours, rest) = number(text)?;
    let (minutes, mut rest) = number(rest.strip_prefix(':')?)?;
    let (mut seconds, mut fraction) = (0, 0);
    match rest.strip_prefix(':') {
        Some(more) => (seconds, rest) = number(more)?,
        None if seconds_needed => return None,
        None => {}
    }
    if let Some(more) = rest.strip_prefix('.') {
        let digits = more.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 || digits > 9 {
            return None;
        }
        fraction = more[..digits].parse::<i64>().ok()? * 10_i64.pow(9 - digits as u32);
        rest = &more[digits..];
    }
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    Some((((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + fraction, rest))
}

/// `Z`, `UTC`, `GMT`, `+01`, `+0100`, `+01:00`: milliseconds east.
fn zone_ms(text: &str) -> Option<i64> {
    if matches!(text, "" | "Z" | "UTC" | "GMT") {
        return Some(0);
    }
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits.replace(':', "")),
        ("-", digits) => (-1, digits.replace(':', "")),
        _ => return None,
    };
    let (hours, minutes) = match digits.len() {
        2 => (digits.parse::<u8>().ok()?, 0),
        4 => (digits.get(..2)?.parse::<u8>().ok()?, digits.get(2..)?.parse::<u8>().ok()?),
        _ => return None,
    };
    (hours <= 18 && minutes < 60).then(|| sign * (i64::from(hours) * 60 + i64::from(minutes)) * 60_000)
}

/// At most nine digits; what follows.
fn number(text: &str) -> Option<(i64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || digits > 9 {
        return None;
    }
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

/// `1y2mo3w4d5h6m7s8ms9us10ns`, each part once and in that order; a minus holds for all.
pub(super) fn duration(text: &str) -> Option<Vec<u8>> {
    const UNITS: [(&str, usize, i64); 11] = [
        ("y", 0, 12),
        ("mo", 0, 1),
        ("w", 1, 7),
        ("d", 1, 1),
        ("h", 2, 3_600_000_000_000),
        ("m", 2, 60_000_000_000),
        ("s", 2, 1_000_000_000),
        ("ms", 2, 1_000_000),
        ("us", 2, 1000),
        ("µs", 2, 1000),
        ("ns", 2, 1),
    ];
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let mut totals = [0_i64; 3];
    let mut next = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let n: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let len = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let name = rest[..len].to_lowercase();
        let unit = UNITS.iter().position(|(unit, ..)| *unit == name).filter(|i| *i >= next)?;
        next = unit + 1;
        let (_, total, size) = UNITS[unit];
        totals[total] = totals[total].checked_add(n.checked_mul(size)?)?;
        rest = &rest[len..];
    }
    if next == 0 || totals[..2].iter().any(|n| *n > i64::from(i32::MAX)) {
        return None;
    }
    let mut out = Vec::new();
    totals.iter().for_each(|n| put_vint(&mut out, zigzag(sign * n)));
    Some(out)
}
