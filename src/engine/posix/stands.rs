//! Records of the last backup that stand tonight: of what did not change, and of what cannot be read.

use repo_format::file_tree::{FileRecord, Lacks};
use rustix::fs::Stat;

use super::memory::Known;

/// The remembered record of a file that did not change. `None` where it does not say all that is to be said tonight.
pub fn as_before(known: &Known, lacks: Lacks, stat: &Stat) -> Option<Vec<u8>> {
    let record = FileRecord::parse(&known.body).ok()?;
    // Without times of change of status a mode and an owner may change alone.
    let says_same = (record.mode, record.owner) == (stat.st_mode, (stat.st_uid, stat.st_gid));
    let is_same = says_same && record.lacks == lacks && !lacks.unread;
    if !is_same {
        return None;
    }
    if record.first.is_none() {
        return Some(known.body.clone());
    }
    let mut body = Vec::new();
    FileRecord { first: None, ..record }.put(&mut body);
    Some(body)
}

/// What is remembered of something that cannot be read tonight.
pub fn unread(known: Known) -> Option<Known> {
    let record = FileRecord::parse(&known.body).ok()?;
    let lacks = Lacks { unread: true, ..record.lacks };
    let mut body = Vec::new();
    // Its first name may be another file by now.
    FileRecord { first: None, lacks, ..record }.put(&mut body);
    Some(Known { body, young: true, ..known })
}
