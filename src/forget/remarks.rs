//! Pins and labels: the administrator's word on snapshots, which stands above what a backup was given.

use std::collections::{BTreeMap, BTreeSet};

use repo_format::credential::Sets;
use repo_format::id::SnapshotId;

use crate::error::{Error, Kind, Result};
use crate::repo::{Repo, SnapshotInfo};
use crate::snapshot;

/// What becomes of labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// These stand in place of all others.
    pub set: Option<BTreeSet<String>>,
    /// These are added.
    pub add: BTreeSet<String>,
    /// These are taken away.
    pub remove: BTreeSet<String>,
}

impl Labels {
    fn of(&self, before: BTreeSet<String>) -> BTreeSet<String> {
        let mut labels = self.set.clone().unwrap_or(before);
        labels.extend(self.add.iter().cloned());
        labels.retain(|label| !self.remove.contains(label));
        labels
    }
}

/// The snapshots that are meant, in the order of the log.
pub fn found(repo: &Repo, names: &[String]) -> Result<Vec<SnapshotInfo>> {
    let mut found = names.iter().map(|name| repo.find_snapshot(name)).collect::<Result<Vec<_>>>()?;
    found.sort_by_key(|info| info.n);
    found.dedup();
    Ok(found)
}

fn ids(found: &[SnapshotInfo]) -> BTreeSet<SnapshotId> {
    found.iter().map(|info| info.id).collect()
}

/// Pins snapshots: nothing forgets them until they are unpinned. Without a reason the one that was given before stands. Needs
/// *admin*.
pub fn pin(repo: &Repo, names: &[String], reason: Option<&str>) -> Result<Vec<SnapshotInfo>> {
    repo.needs(Sets::ADMIN)?;
    repo.refresh()?;
    let found = found(repo, names)?;
    repo.remark_on(&ids(&found), &|_, remark| {
        remark.pinned = true;
        if let Some(reason) = reason {
            reason.clone_into(&mut remark.reason);
        }
    })?;
    Ok(found)
}

/// Unpins snapshots. Needs *admin*.
///
/// Errors: one is not pinned.
pub fn unpin(repo: &Repo, names: &[String]) -> Result<Vec<SnapshotInfo>> {
    repo.needs(Sets::ADMIN)?;
    let state = repo.refresh()?;
    let found = found(repo, names)?;
    if let Some(info) = found.iter().find(|info| !state.is_pinned(&info.id)) {
        return Err(Error::new(Kind::Usage, format_args!("snapshot {}", info.id), "is not pinned"));
    }
    repo.remark_on(&ids(&found), &|_, remark| {
        remark.pinned = false;
        remark.reason.clear();
    })?;
    Ok(found)
}

/// Gives snapshots other labels; each with those that it has then. Needs *admin*; and *read*, where labels are added to those of the
/// backup, or taken from them.
pub fn label(repo: &Repo, names: &[String], labels: &Labels) -> Result<Vec<(SnapshotInfo, BTreeSet<String>)>> {
    repo.needs(Sets::ADMIN)?;
    repo.refresh()?;
    let found = found(repo, names)?;
    let mut given: BTreeMap<SnapshotId, BTreeSet<String>> = BTreeMap::new();
    for info in &found {
        if labels.set.is_none() && repo.remark(&info.id).labels.is_none() {
            given.insert(info.id, snapshot::read(repo, &info.id)?.tags.into_iter().collect());
        }
    }
    repo.remark_on(&ids(&found), &|id, remark| {
        let before = remark.labels.take().or_else(|| given.get(id).cloned()).unwrap_or_default();
        remark.labels = Some(labels.of(before));
    })?;
    Ok(found.into_iter().map(|info| (info, repo.remark(&info.id).labels.unwrap_or_default())).collect())
}
