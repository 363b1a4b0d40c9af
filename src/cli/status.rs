//! `onefold status`: for monitors, and for who wants to know whether last night went well.

use serde_json::{Value, json};

use super::access;
use super::args::{Global, Status};
use super::output::time;
use super::{Outcome, Output, profile};
use crate::error::Result;
use crate::repo::world;
use crate::snapshot::short;
use crate::status::{self, Cluster, Late, Seen};

/// Says how old the last complete snapshot of each cluster is.
pub fn run(global: &Global, args: &Status, profile: &profile::Status, output: &Output) -> Result<Outcome> {
    let repo = access::open(global, output)?;
    let mut filter = args.filter.of();
    filter.cluster = filter.cluster.or_else(|| profile.cluster.clone());
    let told = status::read(&repo, &filter)?;
    let now = world::now_ms();
    let age_max = args.max_age.or(profile.max_age).map(|age| age.0);
    let mut outcome = Outcome::Fine;
    for (info, error) in &told.unreadable {
        output.damage(&error.again().within(format_args!("passed over: snapshot {}", info.id)));
    }
    if told.clusters.is_empty() {
        outcome = Outcome::Late;
        output.warn(filter.cluster.as_deref().unwrap_or("repository"), "no snapshot was made of it yet");
    }
    for cluster in &told.clusters {
        let late = cluster.late(now, age_max);
        if late.is_some() {
            outcome = Outcome::Late;
        }
        match (output.is_json(), args.metrics) {
            (_, true) => {}
            (true, false) => output.object(&object(cluster, now, late))?,
            (false, false) => output.line(&line(cluster, now, late))?,
        }
    }
    if args.metrics {
        output.text(metrics(&told.clusters).as_bytes())?;
    }
    Ok(outcome)
}

fn line(cluster: &Cluster, now: u64, late: Option<Late>) -> String {
    let Cluster { name, engine, newest, complete, incomplete_since: since } = cluster;
    let shown = |seen: &Seen| {
        let id = seen.id.to_string();
        let narrowed: String = seen.narrowed.iter().map(|line| format!(", narrowed: {line}")).collect();
        format!("{} {}, {} ago{narrowed}", short(&id), time(seen.time_ms / 1000), span(seen.age(now)))
    };
    let last = match complete {
        Some(complete) => format!("complete {}", shown(complete)),
        None => format!("never complete; newest {}", shown(newest)),
    };
    let late = match late {
        Some(Late::Never | Late::Old) => "LATE  ",
        Some(Late::Ahead) => "CLOCK  ",
        None => "",
    };
    let since = if *since > 0 { format!("; {since} incomplete since") } else { String::new() };
    format!("{late}{name} ({engine})  {last}{since}")
}

fn object(cluster: &Cluster, now: u64, late: Option<Late>) -> Value {
    let seen = |seen: &Seen| {
        json!({
            "id": seen.id.to_string(), "time": seen.time_ms / 1000, "age_seconds": seen.age(now) / 1000, "narrowed": seen.narrowed,
        })
    };
    let late = late.map(|late| match late {
        Late::Never => "never",
        Late::Old => "old",
        Late::Ahead => "clock",
    });
    json!({
        "message_type": "status", "cluster": cluster.name, "engine": cluster.engine, "late": late,
        "complete": cluster.complete.as_ref().map(seen), "newest": seen(&cluster.newest),
        "incomplete_since": cluster.incomplete_since,
    })
}

/// In the text format of Prometheus, for its collector of text files.
fn metrics(clusters: &[Cluster]) -> String {
    type Gauge = (&'static str, &'static str, fn(&Cluster) -> Option<u64>);
    const GAUGES: [Gauge; 3] = [
        ("onefold_last_complete_snapshot_timestamp_seconds", "When the last complete snapshot was committed.", |c| {
            c.complete.as_ref().map(|seen| seen.time_ms / 1000)
        }),
        ("onefold_last_snapshot_timestamp_seconds", "When the last snapshot was committed, complete or not.", |c| {
            Some(c.newest.time_ms / 1000)
        }),
        ("onefold_incomplete_snapshots", "Incomplete snapshots since the last complete one.", |c| {
            Some(c.incomplete_since)
        }),
    ];
    let label = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let mut text = String::new();
    for (name, help, value) in GAUGES {
        text += &format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
        for cluster in clusters {
            if let Some(value) = value(cluster) {
                let (cluster, engine) = (label(&cluster.name), label(&cluster.engine));
                text += &format!("{name}{{cluster=\"{cluster}\",engine=\"{engine}\"}} {value}\n");
            }
        }
    }
    text
}

/// Milliseconds for people, in the largest unit of which there are two: `26 h`.
fn span(ms: u64) -> String {
    let (s, min, h, d) = (ms / 1000, ms / 60_000, ms / 3_600_000, ms / 86_400_000);
    match () {
        () if d >= 2 => format!("{d} d"),
        () if h >= 2 => format!("{h} h"),
        () if min >= 2 => format!("{min} min"),
        () => format!("{s} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        for (ms, text) in
            [(999, "0 s"), (119_999, "119 s"), (120_000, "2 min"), (26 * 3_600_000, "26 h"), (172_800_000, "2 d")]
        {
            assert_eq!(span(ms), text);
        }
    }
}
