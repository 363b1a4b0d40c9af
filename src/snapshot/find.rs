//! Which snapshot is meant, and what it says.

use super::Snapshot;
use crate::error::{Error, Kind, Result};
use crate::repo::{Repo, SnapshotInfo};
use repo_format::id::SnapshotId;

/// What a snapshot must be of. By default anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// The cluster, as the operator names it.
    pub cluster: Option<String>,
    /// The machine that made the backup.
    pub host: Option<String>,
    /// Labels: all of them.
    pub tags: Vec<String>,
}

impl Filter {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        *self == Filter::default()
    }

    /// Whether a snapshot is what it asks for.
    pub fn fits(&self, s: &Snapshot) -> bool {
        self.cluster.as_ref().is_none_or(|cluster| *cluster == s.cluster)
            && (self.host.is_none() || self.host == s.host)
            && self.tags.iter().all(|tag| s.tags.contains(tag))
    }
}

/// Reads a snapshot. Labels that the administrator set stand in place of those that the backup was given. Needs *read*.
pub fn read(repo: &Repo, id: &SnapshotId) -> Result<Snapshot> {
    decode(repo, id, repo.snapshot(id))
}

/// Reads many snapshots, some side by side, and shows each in order. Errors: those of `visit`.
pub fn read_each(
    repo: &Repo,
    infos: &[SnapshotInfo],
    visit: &mut dyn FnMut(Result<Snapshot>) -> Result<()>,
) -> Result<()> {
    let ids: Vec<SnapshotId> = infos.iter().map(|info| info.id).collect();
    repo.each_snapshot(&ids, |id, stored| visit(decode(repo, id, stored)))
}

fn decode(repo: &Repo, id: &SnapshotId, stored: Result<repo_format::snapshot::Snapshot>) -> Result<Snapshot> {
    let mut snapshot = Snapshot::decode(&stored?.says).map_err(|e| e.within(format!("snapshot {id}")))?;
    if let Some(labels) = repo.remark(id).labels {
        let given = std::mem::replace(&mut snapshot.tags, labels.into_iter().collect());
        snapshot.given_tags = Some(given);
    }
    Ok(snapshot)
}

/// The snapshot that `name` means: the beginning of an id, or `latest`, the newest one that fits `filter`. Those that cannot
/// be read may fit or not: `passed_over` is told of each that is newer than the one found.
///
/// Errors: none is meant or several are; a filter beside an id; what reading gives.
pub fn find(
    repo: &Repo,
    name: &str,
    filter: &Filter,
    passed_over: &mut dyn FnMut(&Error),
) -> Result<(SnapshotInfo, Snapshot)> {
    if filter.is_empty() {
        let info = repo.find_snapshot(name)?;
        return Ok((info, read(repo, &info.id)?));
    }
    if name != "latest" {
        let message = "names one snapshot: --cluster, --host and --tag choose among those that `latest` may mean";
        return Err(
            Error::new(Kind::Usage, format!("snapshot {name}"), message).hint("leave the id or the options out")
        );
    }
    for info in repo.snapshots().into_iter().rev() {
        match read(repo, &info.id) {
            Ok(s) if filter.fits(&s) => return Ok((info, s)),
            Ok(_) => {}
            Err(e) if e.kind() == Kind::Denied => return Err(e),
            Err(e) => passed_over(&e),
        }
    }
    Err(Error::new(Kind::NotFound, "snapshot latest", "there is none of that cluster, host and tags")
        .hint("`onefold snapshots` lists what is there"))
}
