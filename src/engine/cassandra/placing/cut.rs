//! How a table's compaction wants its files cut.
//! Sources: `TimeWindowCompactionStrategy.getWindowBoundsInMillis`, `TimeWindowCompactionStrategyOptions`,
//! `LeveledCompactionStrategy`, `LeveledManifest.maxBytesForLevel`, `MaxSSTableSizeWriter`.

use std::collections::BTreeMap;

use repo_format::record::{Entries, EntryKind};

use crate::error::{Error, Kind, Result};

/// No file grows larger, but for one partition that does.
pub const FILE_MAX: u64 = 5 << 30;
/// `sstable_size_in_mb` where a table says nothing.
const LEVELED_SIZE: u64 = 160 << 20;
/// A level above the one that a node's files belong to is no use.
const LEVEL_MAX: u32 = 8;

/// Which file a record belongs to, and how large files get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// By size alone: `SizeTieredCompactionStrategy`, `UnifiedCompactionStrategy` and others.
    Size,
    /// One file a window of write times: `TimeWindowCompactionStrategy`.
    Windows {
        /// Length of a window, seconds.
        seconds: i64,
        /// Units of a write time in a second.
        resolution: i64,
    },
    /// Files that do not overlap: `LeveledCompactionStrategy`.
    Levels {
        /// Bytes of `Data.db`.
        size: u64,
        /// How many times larger a level is than the one below.
        fanout: u64,
    },
}

impl Cut {
    /// From a table's option `compaction`, as `system_schema.tables` keeps it. Unsupported: values that Cassandra itself
    /// would refuse.
    pub fn parse(options: &BTreeMap<String, String>) -> Result<Cut> {
        let number = |name: &str, unless: u64| -> Result<u64> {
            let Some(text) = options.get(name) else { return Ok(unless) };
            let parsed = text.parse().ok().filter(|n| (1..=1 << 40).contains(n));
            parsed.ok_or_else(|| refused(name, text))
        };
        let option = |name: &str, unless: &'static str| options.get(name).map_or(unless, String::as_str);
        match option("class", "").rsplit('.').next().unwrap_or_default() {
            "TimeWindowCompactionStrategy" => {
                let unit = match option("compaction_window_unit", "DAYS").to_ascii_uppercase().as_str() {
                    "MINUTES" => 60,
                    "HOURS" => 3600,
                    "DAYS" => 86_400,
                    other => return Err(refused("compaction_window_unit", other)),
                };
                let resolution = match option("timestamp_resolution", "MICROSECONDS").to_ascii_uppercase().as_str() {
                    "SECONDS" => 1,
                    "MILLISECONDS" => 1000,
                    "MICROSECONDS" => 1_000_000,
                    "NANOSECONDS" => 1_000_000_000,
                    other => return Err(refused("timestamp_resolution", other)),
                };
                let seconds = unit * number("compaction_window_size", 1)? as i64;
                Ok(Cut::Windows { seconds, resolution })
            }
            "LeveledCompactionStrategy" => {
                let size = number("sstable_size_in_mb", LEVELED_SIZE >> 20)? << 20;
                Ok(Cut::Levels { size, fanout: number("fanout_size", 10)?.max(2) })
            }
            _ => Ok(Cut::Size),
        }
    }

    /// Bytes of `Data.db` from which on a file ends with its partition.
    pub fn size(&self) -> u64 {
        match self {
            Cut::Levels { size, .. } => *size,
            _ => FILE_MAX,
        }
    }

    /// The window of a write time: its first second. One for all where there are no windows.
    pub fn window(&self, time: i64) -> i64 {
        match self {
            Cut::Windows { seconds, resolution } => {
                let at = time / resolution;
                at - at % seconds
            }
            _ => 0,
        }
    }

    /// The level of a node's files when it gets `bytes` in `stretches` stretches of tokens that lie apart: the first that holds
    /// them all. 0 where there are no levels, or where cutting at every stretch would make crumbs of the files.
    pub fn level(&self, bytes: u64, stretches: usize) -> u32 {
        let Cut::Levels { size, fanout } = self else { return 0 };
        let crumbs = bytes / (stretches.max(1) as u64) < size / 10;
        if bytes <= *size || crumbs {
            return 0;
        }
        let holds = |level: &u32| fanout.saturating_pow(*level).saturating_mul(*size) >= bytes;
        (1..LEVEL_MAX).find(holds).unwrap_or(LEVEL_MAX)
    }
}

fn refused(name: &str, value: &str) -> Error {
    Error::new(Kind::Unsupported, "compaction", format_args!("{name} is {value}"))
}

/// The newest write time in a body, deletions included; `None` where it says nothing.
pub fn newest(body: &[u8]) -> Result<Option<i64>> {
    let mut newest = None;
    for entry in Entries::new(body) {
        let entry = entry?;
        if entry.kind != EntryKind::Raw {
            newest = newest.max(Some(entry.time));
        }
    }
    Ok(newest)
}
