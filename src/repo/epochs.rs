//! Epochs of the content key (SPEC "Epochs"): what a credential can read, and how a new one begins.

use repo_format::credential::Sets;
use repo_format::id::CredentialId;
use repo_format::key::{ContentPublic, ContentSecret};
use repo_format::limits::EPOCHS_MAX;
use repo_format::log::Body;
use repo_format::log_state::State;

use super::{Core, Repo, world};
use crate::error::{Error, Kind, Result};

/// What [`Repo::rotate`] did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The epoch that begins.
    pub epoch: u32,
    /// The credentials that read what is written in it.
    pub granted: Vec<CredentialId>,
    /// Those that are there and hold *read*, but are on no list: they do not.
    pub left_out: Vec<CredentialId>,
    /// Sessions that are open now: what they still write is sealed under the former key.
    pub open_sessions: usize,
}

impl Core {
    /// The content secret of an epoch: from the credential, or from what was granted to it since.
    pub(super) fn secret(&self, epoch: u32) -> Result<ContentSecret> {
        if let Some(held) = self.ring.read.iter().find(|held| held.epoch() == epoch) {
            return Ok(held.clone());
        }
        let state = self.log.state();
        let granted = state.content_of(epoch).zip(state.grant(epoch, &self.credential));
        let Some((public, grant)) = granted else {
            let message = format!("what was written in epoch {epoch} is closed to this credential");
            let hint = "it was removed, or added without an admin's credential, before `onefold key rotate`: have an admin add \
                        one anew";
            return Err(Error::new(Kind::Denied, self.store.place(), message).hint(hint));
        };
        ContentSecret::from_grant(grant, &self.own, &self.ring.repo_id, &self.credential, &public)
            .map_err(|e| Error::from(e).within(format!("epoch {epoch}")))
    }

    /// All that can be had, by epoch.
    pub(super) fn secrets(&self, state: &State) -> Vec<ContentSecret> {
        (1..=state.content().epoch).filter_map(|epoch| self.secret(epoch).ok()).collect()
    }
}

impl Repo {
    /// Begins a new epoch: what is written by sessions opened from now on is read by the listed credentials that hold *read*, and
    /// by no other, whatever it holds of earlier epochs. With `dry_run` says what it would do. Needs *admin* and *read*.
    pub fn rotate(&self, dry_run: bool) -> Result<Rotated> {
        self.needs(Sets::ADMIN.with(Sets::READ))?;
        let state = self.refresh()?;
        let listed = |id: &CredentialId| state.credentials().contains_key(id);
        let reads = |sets: Sets| sets.has(Sets::READ);
        let there = self.credentials()?;
        let left_out =
            there.iter().filter(|one| one.says.as_ref().is_ok_and(|(sets, _)| reads(*sets)) && !listed(&one.id));
        let left_out = left_out.map(|one| one.id).collect();
        let mut rotated =
            Rotated { epoch: 0, granted: Vec::new(), left_out, open_sessions: state.open_sessions().len() };
        if dry_run {
            self.next_epoch(&state, &mut rotated)?;
            return Ok(rotated);
        }
        self.administer(&mut |state| self.next_epoch(state, &mut rotated))?;
        Ok(rotated)
    }

    /// The entry that begins the epoch after those of `state`.
    fn next_epoch(&self, state: &State, says: &mut Rotated) -> Result<Body> {
        self.core.still_listed(state)?;
        let epoch = state.content().epoch + 1;
        if epoch as usize > EPOCHS_MAX {
            let message = format!("has begun {EPOCHS_MAX} epochs, which is the most");
            return Err(Error::new(Kind::TooLarge, self.core.store.place(), message));
        }
        let secret = ContentSecret::from_bytes(epoch, world::random()?);
        let grant = |(id, listed): (&CredentialId, &repo_format::log::Listed)| {
            Ok((*id, secret.grant(&listed.public, &self.core.ring.repo_id, id, world::random()?)?))
        };
        let grants = state.readers().map(grant).collect::<Result<Vec<_>>>()?;
        let content: ContentPublic = secret.public();
        (says.epoch, says.granted) = (epoch, grants.iter().map(|(id, _)| *id).collect());
        says.open_sessions = state.open_sessions().len();
        Ok(Body::Epoch { content, grants })
    }
}
