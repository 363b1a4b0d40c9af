//! When the nodes were captured, as far as their clocks can be believed.
//!
//! The cut decides for all nodes what has expired, so one clock that is ahead would take living values from all of them.
//! Times are therefore held against one another, against our own clock and against the last snapshot; what does not fit ends
//! the backup by name, and the operator says what counts.

use jiff::Timestamp;

use super::previous::Of;
use crate::engine::{CaptureTime, Source, TimeOf};
use crate::error::{Error, Kind, Result};

/// So far may a clock be ahead of ours, seconds.
const AHEAD: u64 = 300;
/// So far may nodes be captured from one another, seconds.
const APART: u64 = 24 * 3600;
/// January 2008, before any of the databases: such times are what archives and image builders put where they keep none.
const EARLIEST: u64 = 1_199_145_600;

/// The times that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// First and last capture of a node, seconds since 1970.
    pub window: (u64, u64),
    /// The cut, seconds since 1970.
    pub cut: u32,
}

/// The times of a capture; all of them `cut`, where the operator gave one. `last` is the newest snapshot of the cluster, `now` our
/// clock, in seconds since 1970.
///
/// Errors, naming node, file and time: one after now, long before or after the others, or before the last snapshot.
pub fn believed(source: &dyn Source, cut: Option<u32>, last: Option<&Of>, now: u64) -> Result<Times> {
    if let Some(cut) = cut {
        return Ok(Times { window: (cut.into(), cut.into()), cut });
    }
    let times = source.times();
    let captured = |t: &&CaptureTime| t.of != TimeOf::Addition;
    let nodes = 0..source.nodes().len();
    let mut own: Vec<&CaptureTime> = nodes.clone().filter_map(|n| latest(times, n, &captured)).collect();
    own.sort_by_key(|t| t.seconds);
    let mut ends: Vec<&CaptureTime> = nodes.filter_map(|n| latest(times, n, &|_| true)).collect();
    ends.sort_by_key(|t| t.seconds);
    let (Some(first), Some(end), Some(median)) = (ends.first(), ends.last(), own.get(own.len() / 2)) else {
        let what = "no file says when the nodes were captured";
        return Err(Error::new(Kind::Usage, "capture", what).hint(HINT));
    };
    // A file may be much older than the capture that it is in, and one that was added much younger.
    let telling = |t: &&CaptureTime| t.of == TimeOf::Manifest || own.iter().any(|n| n == t);
    let odd = |what: String, of: &mut dyn Iterator<Item = &CaptureTime>| refused(source, what, of);
    odd(format!("after now, {}", shown(now)), &mut times.iter().filter(|t| t.seconds > now + AHEAD))?;
    odd(
        "which is no time of a capture: the files have lost theirs".to_owned(),
        &mut times.iter().filter(telling).filter(|t| t.seconds < EARLIEST),
    )?;
    odd(
        format!("more than a day from the median of the nodes, {}", shown(median.seconds)),
        &mut times.iter().filter(telling).filter(|t| t.seconds.abs_diff(median.seconds) > APART),
    )?;
    // A part of the capture that the last snapshot holds is no older capture.
    if let Some(last) = last.filter(|last| end.seconds + AHEAD < last.since) {
        let what = format!("before the last snapshot {}, {}", last.id, shown(last.since));
        odd(what, &mut std::iter::once(*end))?;
    }
    let cut = u32::try_from(end.seconds).map_err(|_| Error::damaged("capture", "was taken after the year 2106"))?;
    Ok(Times { window: (first.seconds, end.seconds), cut })
}

const HINT: &str = "mend the clock and capture again, or say with --cut TIME which time counts for all files";

/// The latest time of a node, of those that count.
fn latest<'t>(
    times: &'t [CaptureTime],
    node: usize,
    counts: &dyn Fn(&&CaptureTime) -> bool,
) -> Option<&'t CaptureTime> {
    times.iter().filter(|t| t.node == node).filter(counts).max_by_key(|t| t.seconds)
}

/// Names the first of those that are not believed, and how many more there are.
fn refused(source: &dyn Source, what: String, times: &mut dyn Iterator<Item = &CaptureTime>) -> Result<()> {
    let Some(first) = times.next() else { return Ok(()) };
    let node = source.nodes().get(first.node).map_or("?", |n| n.name.as_str());
    let says = if first.of == TimeOf::Manifest { "says that it was captured" } else { "was written" };
    let more = match times.count() {
        0 => String::new(),
        more => format!("; and so {more} more"),
    };
    let message = format!("{says} at {}, {what}{more}", shown(first.seconds));
    Err(Error::new(Kind::Usage, format!("node {node}: {}", first.place), message).hint(HINT))
}

/// As `--cut` takes it.
fn shown(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|s| Timestamp::from_second(s).ok());
    time.map_or_else(|| seconds.to_string(), |time| time.to_string())
}
