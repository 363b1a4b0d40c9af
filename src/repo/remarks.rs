//! What the administrator says of snapshots (SPEC "Remarks").

use std::collections::BTreeSet;

use repo_format::id::SnapshotId;
use repo_format::log::Body;
use repo_format::log_state::State;
use repo_format::remark::{Remark, Sealed};

use super::{Core, Repo, world};
use crate::error::{Error, Result};

/// Remarks of one entry of the log, so that it stays below its limit whatever they say.
const TOGETHER: usize = 500;

impl Repo {
    /// What the administrator says of a snapshot. One that cannot be opened is noted, and says only whether the snapshot is pinned.
    pub fn remark(&self, id: &SnapshotId) -> Remark {
        self.core.remark(&self.state(), id)
    }

    /// Says of snapshots what `change` makes of what was said so far. Needs *admin*. Returns of how many something else is said
    /// now.
    ///
    /// Errors: a reason or label is too long; one of the snapshots is not there.
    pub fn remark_on(
        &self,
        ids: &BTreeSet<SnapshotId>,
        change: &dyn Fn(&SnapshotId, &mut Remark),
    ) -> Result<Vec<SnapshotId>> {
        let all: Vec<SnapshotId> = ids.iter().copied().collect();
        let mut changed = Vec::new();
        for some in all.chunks(TOGETHER) {
            let state = self.state();
            if self.core.remarks(&state, some, change)?.is_empty() {
                continue;
            }
            let mut last = Vec::new();
            self.administer(&mut |state| {
                // Another administrator may have said something meanwhile.
                let remarks = self.core.remarks(state, some, change)?;
                last = remarks.iter().map(|(id, _)| *id).collect();
                Ok(Body::Remark { remarks })
            })?;
            changed.append(&mut last);
        }
        Ok(changed)
    }
}

impl Core {
    fn remark(&self, state: &State, id: &SnapshotId) -> Remark {
        let Some(sealed) = state.remarks().get(id) else { return Remark::default() };
        Remark::open(sealed, id, &self.ring.repo_id, &self.ring.repo.index).unwrap_or_else(|e| {
            self.log.note(Error::from(e).within(format_args!("remark on snapshot {id}")));
            Remark { pinned: sealed.pinned, ..Remark::default() }
        })
    }

    /// What is to be said anew.
    fn remarks(
        &self,
        state: &State,
        ids: &[SnapshotId],
        change: &dyn Fn(&SnapshotId, &mut Remark),
    ) -> Result<Vec<(SnapshotId, Sealed)>> {
        let mut remarks = Vec::new();
        for id in ids {
            let before = self.remark(state, id);
            let mut after = before.clone();
            change(id, &mut after);
            if after != before {
                let sealed = after.seal(id, &self.ring.repo_id, &self.ring.repo.index, world::random()?)?;
                remarks.push((*id, sealed));
            }
        }
        Ok(remarks)
    }
}
