//! Transaction logs of a live table: which SSTables do not count, because they are being written or were replaced.
//!
//! ```text
//! nb_txn_compaction_ID.log = lines: add|remove:[PREFIX,time,files][checksum]   PREFIX ends with `nb-48-big-`
//!                                   commit|abort:[time,,][checksum]
//! ```
//! Until the commit, what was added does not count; after it, what was removed does not. Sources: `LogFile`,
//! `LogRecord`, `LogAwareFileLister`.

use super::look::Looked;
use crate::error::Result;

/// Whether a file's name is that of a transaction log.
pub fn is_log(name: &str) -> bool {
    name.contains("_txn_") && name.ends_with(".log")
}

/// Largest log that is read, bytes: one of ten thousand SSTables has some three million.
pub const LOG_MAX: u64 = 64 << 20;

/// Leaves out of a folder that changes no more the logs, and what they say does not count.
///
/// Errors: a log cannot be read.
pub fn leave_out(looked: &mut Looked) -> Result<()> {
    let mut without = Vec::new();
    for (_, log, _) in looked.files.extract_if(.., |(name, ..)| is_log(name)) {
        without.extend(excluded(&String::from_utf8_lossy(&log.read(LOG_MAX)?)));
    }
    looked.files.retain(|(name, ..)| !without.iter().any(|prefix| name.starts_with(prefix.as_str())));
    Ok(())
}

/// The beginnings of the names of files that do not count, by the text of one log. A last line that was cut off while
/// it was written is as if it were not there.
pub fn excluded(log: &str) -> Vec<String> {
    let (mut added, mut removed, mut committed) = (Vec::new(), Vec::new(), false);
    for line in log.lines() {
        let Some((kind, rest)) = line.split_once(":[") else { continue };
        let Some((fields, checksum)) = rest.split_once("][") else { continue };
        if !checksum.ends_with(']') {
            continue;
        }
        let path = fields.split(',').next().unwrap_or_default();
        let prefix = path.rsplit('/').next().unwrap_or_default().to_string();
        match kind.to_ascii_lowercase().as_str() {
            "add" if !prefix.is_empty() => added.push(prefix),
            "remove" if !prefix.is_empty() => removed.push(prefix),
            "commit" => committed = true,
            _ => {}
        }
    }
    if committed { removed } else { added }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_and_what_was_replaced_do_not_count() {
        let open = "add:[/d/ks/t-1/nb-5-big-,0,8][111]\nremove:[/d/ks/t-1/nb-3-big-,1,8][222]\n";
        assert_eq!(excluded(open), ["nb-5-big-"]);
        assert_eq!(excluded(&format!("{open}commit:[1700000000000,0,0][333]\n")), ["nb-3-big-"]);
        assert_eq!(excluded(&format!("{open}abort:[1700000000000,0,0][333]\n")), ["nb-5-big-"]);
        assert_eq!(excluded(&format!("{open}commit:[17000")), ["nb-5-big-"]);
        assert_eq!(excluded("ADD:[nb-7-big-,0,8][1]"), ["nb-7-big-"]);
        assert!(excluded("nonsense\n:[][]\n").is_empty());
        assert!(is_log("nb_txn_flush_4fa1.log") && !is_log("nb-1-big-Data.db"));
    }
}
