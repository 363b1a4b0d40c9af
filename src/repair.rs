//! Makes good what is damaged, as far as the store itself still has it, and says what is lost: by snapshot, table and keys, or path
//! of a kept file. What the source still has, the next backup stores anew.

use repo_format::credential::Sets;

use crate::check::{self, Checked};
use crate::error::Result;
use crate::repo::Repo;
use crate::repo::check::Reads;
use crate::repo::repair::Mended;
use crate::watch::Watch;

/// How to repair.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Which packs are read to find what is damaged. What earlier checks of this machine found is read again in any case.
    pub reads: Reads,
    /// Says what would be done.
    pub dry_run: bool,
}

/// What was done, and what is lost all the same.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Repaired {
    /// What was done; of a dry run what would be.
    #[serde(flatten)]
    pub mended: Mended,
    /// What the trees of the snapshots then lack; after a dry run what they lack now.
    pub checked: Checked,
}

/// Repairs. Damage that was found goes into `watch`, whether it could be made good or not. Needs *read*, and *write* but for a dry
/// run. Never deletes.
///
/// Errors: the log cannot be read to its end, an entry cannot be written; the store cannot be read.
pub fn repair(repo: &Repo, options: Options, watch: &Watch) -> Result<Repaired> {
    repo.needs(if options.dry_run { Sets::READ } else { Sets::READ.with(Sets::WRITE) })?;
    let examined = repo.check(options.reads, watch)?;
    let mended = repo.mend(&examined, options.dry_run, watch)?;
    // What was whole again is declared found, as a check does.
    let declared = if options.dry_run { Vec::new() } else { repo.declare(&examined, false)? };
    let checked = check::trees(repo, &examined, watch)?;
    Ok(Repaired { mended, checked: Checked { declared, ..checked } })
}
