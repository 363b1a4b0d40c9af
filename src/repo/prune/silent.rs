//! Sessions whose process will never commit: left open, they would keep their packs, and what is condemned, for ever.

use repo_format::id::SessionId;
use repo_format::log::Body;
use repo_format::log_state::{Session, State};

use super::MEANWHILE;
use super::carry::Done;
use super::recent::{entry, is_over};
use crate::error::{Error, Kind, Result};
use crate::repo::{Core, Repo, world};
use crate::store::fetched::Fetched;

/// How long a session is open before it counts as silent, milliseconds: 30 days.
const SILENT_MS: u64 = 30 * 86_400_000;
/// Entries of the log that are looked at around the beginning of a session, to each side.
const AROUND: u64 = 64;

impl Repo {
    /// Ends sessions that were opened more than 30 days ago: what they uploaded is then taken away as anything else is that nobody needs.
    /// With `is_dry` counts them. Needs *admin* but for that.
    ///
    /// A clock that is wrong can make it end one that lives: that backup is told so and begins anew, and nothing is lost.
    pub fn end_silent(&self, is_dry: bool, done: &mut Done) -> Result<()> {
        let state = self.refresh()?;
        for (id, session) in state.open_sessions() {
            if !self.core.is_silent(&state, id, session)? {
                continue;
            }
            if !is_dry {
                // It may end by itself meanwhile.
                let ended = self.administer(&mut |state| match state.open_sessions().contains_key(id) {
                    true => Ok(Body::Fence { session: *id }),
                    false => Err(Error::new(Kind::Busy, self.core.store.place(), MEANWHILE)),
                });
                match ended {
                    Err(e) if e.kind() == Kind::Busy && !self.state().open_sessions().contains_key(id) => continue,
                    other => drop(other?),
                }
            }
            done.sessions_ended += 1;
        }
        Ok(())
    }
}

/// Whether a session is so old by its writer's clock.
pub(super) fn may_be(state: &State) -> bool {
    let now = world::now_ms();
    state.open_sessions().values().any(|session| is_over(session.time_ms, SILENT_MS, now))
}

impl Core {
    /// Whether a session was opened so long ago. The clock of the writer alone is not believed: entries of the administrator or of one's
    /// own before it may say that it is younger, entries after it that it is old.
    fn is_silent(&self, state: &State, id: &SessionId, session: &Session) -> Result<bool> {
        let now = world::now_ms();
        let opened = id.opened();
        match is_over(session.time_ms, SILENT_MS, now) {
            true => {
                let before = (opened.saturating_sub(AROUND).max(1)..opened).rev();
                Ok(self.known_time(state, before)?.is_none_or(|time| is_over(time, SILENT_MS, now)))
            }
            false => {
                let after = opened + 1..=state.n().min(opened.saturating_add(AROUND));
                Ok(self.known_time(state, after)?.is_some_and(|time| is_over(time, SILENT_MS, now)))
            }
        }
    }

    /// The time of the first of these entries that the administrator or this writer made.
    fn known_time(&self, state: &State, numbers: impl Iterator<Item = u64>) -> Result<Option<u64>> {
        let own = self.ring.writer.as_ref().map(|key| key.id());
        for n in numbers {
            // What is trimmed is old, and says nothing more.
            let Some(entry) = entry(self, n, &mut Fetched::default())? else { return Ok(None) };
            if entry.writer == state.admin() || Some(entry.writer) == own {
                return Ok(Some(entry.time_ms));
            }
        }
        Ok(None)
    }
}
