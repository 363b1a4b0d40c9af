//! What `onefold forget` and `prune` take.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use clap::{Args as ClapArgs, FromArgMatches, ValueEnum};

use super::{Age, Filter};
use crate::forget::policy::{Period, Policy, Span2};
use crate::forget::{self, By};
use crate::prune;
use crate::repo::check;
use crate::repo::prune::Limits;

/// `forget`
#[derive(Debug, ClapArgs)]
pub struct Forget {
    /// Beginnings of ids, or `latest`: these, and no policy.
    pub snapshots: Vec<String>,
    /// What is kept.
    #[command(flatten)]
    pub keep: Keep,
    /// What makes snapshots one group, each of which the policy is applied to: writer, cluster, host, tags. [default: writer,cluster]
    #[arg(long, value_name = "WHAT", value_delimiter = ',', conflicts_with = "snapshots")]
    pub group_by: Vec<GroupBy>,
    /// A policy forgets nothing that was committed so lately. [default: 7d]
    #[arg(long, value_name = "AGE", conflicts_with = "snapshots")]
    pub grace: Option<Age>,
    /// Say what would be forgotten, and forget nothing.
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// Say what the policy would leave a year from now, if backups are made as before; forget nothing.
    #[arg(long, conflicts_with = "snapshots")]
    pub simulate: bool,
    /// Take away what nobody needs any more, too, as `onefold prune` does.
    #[arg(long, conflicts_with = "simulate")]
    pub prune: bool,
    /// All snapshots may be forgotten.
    #[arg(long)]
    pub unsafe_allow_remove_all: bool,
    /// Only these are judged, or which `latest` may mean.
    #[command(flatten)]
    pub filter: Filter,
}

const GRACE: Age = Age(7 * 86_400_000);

/// What a policy keeps.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "What is kept")]
pub struct Keep {
    /// The last N, of each hour one.
    #[arg(long, value_name = "N")]
    pub keep_last: Option<u32>,
    /// The last of each of the last N hours that have one.
    #[arg(long, value_name = "N")]
    pub keep_hourly: Option<u32>,
    /// The same of days, by the calendar in UTC.
    #[arg(long, value_name = "N")]
    pub keep_daily: Option<u32>,
    /// The same of weeks, from Monday on.
    #[arg(long, value_name = "N")]
    pub keep_weekly: Option<u32>,
    /// The same of months.
    #[arg(long, value_name = "N")]
    pub keep_monthly: Option<u32>,
    /// The same of years.
    #[arg(long, value_name = "N")]
    pub keep_yearly: Option<u32>,
    /// All within this span before the newest: "1y 6mo 7d 12h".
    #[arg(long, value_name = "SPAN")]
    pub keep_within: Option<Within>,
    /// Of each hour the last, within this span.
    #[arg(long, value_name = "SPAN")]
    pub keep_within_hourly: Option<Within>,
    /// Of each day.
    #[arg(long, value_name = "SPAN")]
    pub keep_within_daily: Option<Within>,
    /// Of each week.
    #[arg(long, value_name = "SPAN")]
    pub keep_within_weekly: Option<Within>,
    /// Of each month.
    #[arg(long, value_name = "SPAN")]
    pub keep_within_monthly: Option<Within>,
    /// Of each year.
    #[arg(long, value_name = "SPAN")]
    pub keep_within_yearly: Option<Within>,
    /// Those with this label; with all of several, joined by commas.
    #[arg(long, value_name = "LABELS")]
    pub keep_tag: Vec<Labels>,
}

impl Keep {
    /// As a policy, which forgets nothing that is younger than `grace`.
    pub fn policy(&self, grace: Age) -> Policy {
        let k = self;
        let counts = [k.keep_last, k.keep_hourly, k.keep_daily, k.keep_weekly, k.keep_monthly, k.keep_yearly];
        let within = [
            &k.keep_within,
            &k.keep_within_hourly,
            &k.keep_within_daily,
            &k.keep_within_weekly,
            &k.keep_within_monthly,
            &k.keep_within_yearly,
        ];
        let counts = Period::ALL.into_iter().zip(counts).filter_map(|(period, n)| Some((period, n?)));
        let within = Period::ALL.into_iter().zip(within).filter_map(|(period, span)| Some((period, span.clone()?.0)));
        let tags = k.keep_tag.iter().map(|labels| labels.0.clone()).collect();
        let within: BTreeMap<Period, Span2> = within.collect();
        Policy { counts: counts.collect(), within, tags, grace_ms: grace.0 }
    }
}

/// Labels, all of which a snapshot has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels(pub Vec<String>);

impl FromStr for Labels {
    type Err = String;

    fn from_str(text: &str) -> Result<Labels, String> {
        let labels: Vec<String> = text.split(',').map(|label| label.trim().to_owned()).collect();
        match labels.iter().any(String::is_empty) {
            // It would keep nothing.
            true => Err(format!("{text:?} has an empty label")),
            false => Ok(Labels(labels)),
        }
    }
}

/// A span of the calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Within(pub Span2);

impl FromStr for Within {
    type Err = String;

    fn from_str(text: &str) -> Result<Within, String> {
        let wrong = |why: String| format!("{text:?} is no span, such as 7d, 6mo or \"1y 6mo\": {why}");
        let span: jiff::Span = text.parse().map_err(|e: jiff::Error| wrong(e.to_string()))?;
        // Elsewhere 6m are six months: whoever means that must not lose what is older than six minutes.
        if span.get_minutes() != 0 || span.get_seconds() != 0 || span.get_milliseconds() != 0 {
            return Err(wrong("hours are the shortest; months are mo".to_owned()));
        }
        if span.is_negative() || span.is_zero() {
            return Err(wrong("it is not positive".to_owned()));
        }
        Ok(Within(Span2(span)))
    }
}

/// What makes a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GroupBy {
    /// Who committed it.
    Writer,
    /// The cluster and its engine.
    Cluster,
    /// The machine that made it.
    Host,
    /// Its labels.
    Tags,
}

impl Forget {
    /// The policy of `profile`, and what this command line says besides.
    pub fn over(&self, profile: Forget) -> Forget {
        let Filter { cluster, host, tags } = self.filter.clone();
        let or = |given: &Vec<GroupBy>, other| if given.is_empty() { other } else { given.clone() };
        Forget {
            group_by: or(&self.group_by, profile.group_by),
            grace: self.grace.or(profile.grace),
            unsafe_allow_remove_all: self.unsafe_allow_remove_all,
            filter: Filter {
                cluster: cluster.or(profile.filter.cluster),
                host: host.or(profile.filter.host),
                tags: if tags.is_empty() { profile.filter.tags } else { tags },
            },
            ..profile
        }
    }

    /// As the operation takes it.
    pub fn options(&self) -> forget::Options {
        let (policy, by, filter) = (self.keep.policy(self.grace.unwrap_or(GRACE)), self.by(), self.filter.of());
        forget::Options { policy, by, filter, allow_nothing: self.unsafe_allow_remove_all }
    }

    /// From words as the command line has them.
    pub fn of_words(words: &[String]) -> Result<Forget, clap::Error> {
        let command = Forget::augment_args(clap::Command::new("[forget]").no_binary_name(true));
        Forget::from_arg_matches(&command.try_get_matches_from(words)?)
    }

    /// What makes a group.
    pub fn by(&self) -> BTreeSet<By> {
        let by = |by: &GroupBy| match by {
            GroupBy::Writer => By::Writer,
            GroupBy::Cluster => By::Cluster,
            GroupBy::Host => By::Host,
            GroupBy::Tags => By::Tags,
        };
        match self.group_by.is_empty() {
            true => BTreeSet::from([By::Writer, By::Cluster]),
            false => self.group_by.iter().map(by).collect(),
        }
    }
}

/// `prune`
#[derive(Debug, ClapArgs)]
pub struct Prune {
    /// Say what would be done, and do nothing.
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// How long after packs were condemned they are deleted: as long as a restore or a mount may take.
    #[arg(long, value_name = "AGE", default_value = "3d")]
    pub grace: Age,
    /// How much of what is needed may lie beside it unneeded in the same packs: percent, or `unlimited`.
    #[arg(long, value_name = "PERCENT", default_value = "3%")]
    pub max_unused: Unused,
    /// Move at most so many bytes out of packs that are partly unneeded: 500M, 20G.
    #[arg(long, value_name = "BYTES")]
    pub max_repack_size: Option<Bytes>,
}

impl Prune {
    /// As the operation takes it.
    pub fn options(&self) -> prune::Options {
        prune::Options { grace_ms: self.grace.0, limits: self.limits(), dry_run: self.dry_run }
    }

    /// How much is moved.
    pub fn limits(&self) -> Limits {
        Limits { unused: self.max_unused.0, moved: self.max_repack_size.map_or(u64::MAX, |bytes| bytes.0) }
    }
}

impl Default for Prune {
    fn default() -> Prune {
        Prune {
            dry_run: false,
            grace: Age(prune::GRACE),
            max_unused: Unused(Limits::default().unused),
            max_repack_size: None,
        }
    }
}

/// A part: 0.05 is 5 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unused(pub f64);

impl FromStr for Unused {
    type Err = String;

    fn from_str(text: &str) -> Result<Unused, String> {
        if text == "unlimited" {
            return Ok(Unused(f64::INFINITY));
        }
        let percent: Option<f64> = text.strip_suffix('%').unwrap_or(text).trim().parse().ok();
        match percent.filter(|percent| (0.0..=1000.0).contains(percent)) {
            Some(percent) => Ok(Unused(percent / 100.0)),
            None => Err(format!("{text:?} is no percentage, such as 5%, nor `unlimited`")),
        }
    }
}

/// So many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Bytes, String> {
        let wrong = || format!("{text:?} is no number of bytes, such as 500M or 20G");
        check::bytes(text).map(Bytes).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_they_say() {
        assert!("1y 6mo 7d 12h".parse::<Within>().is_ok());
        for text in ["6m", "90s", "-1d", "0d", "7", "", "1d 5m"] {
            assert!(text.parse::<Within>().unwrap_err().contains("is no span"), "{text}");
        }
        for (text, part) in [("5%", 0.05), ("5", 0.05), ("0", 0.0), ("unlimited", f64::INFINITY), ("12.5%", 0.125)] {
            assert_eq!(text.parse(), Ok(Unused(part)), "{text}");
        }
        for (text, bytes) in [("7", 7), ("500M", 500_000_000), ("20GB", 20_000_000_000), ("1k", 1000)] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        assert!(["-1%", "x", "%", "NaN", "1e9%"].iter().all(|text| text.parse::<Unused>().is_err()));
        assert!(["-1", "x", "1.5G", "5 G", "M", "99999999999T"].iter().all(|text| text.parse::<Bytes>().is_err()));
    }
}
