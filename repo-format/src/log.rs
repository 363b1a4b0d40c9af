//! Log entries (SPEC "Log"): every change of state, numbered, chained by hash, signed. What they do is `log_state`'s.
//!
//! ```text
//! header │ n u64 │ hash of n-1 32 │ writer 32 │ unix ms u64 │ kind u8 │ body │ signature 64
//! ```

use crate::credential::Sets;
use crate::error::{FormatError, Result};
use crate::header;
use crate::id::{CredentialId, ObjectHash, RepoId, SessionId, SnapshotId, WriterId};
use crate::key::{ContentPublic, SIGNATURE_LEN, SignKey, Signed, WrappedKey};
use crate::limits::LOG_ENTRY_MAX;
use crate::log_lists::{
    put_grant, put_index, put_list, put_list_unsorted, put_listed, put_lost, put_option, put_pack, read_grant,
    read_index, read_list, read_listed, read_lost, read_named, read_option, read_pack, sorted,
};
use crate::names::{IndexName, ObjectKind, PackName};
use crate::recipient::{Grant, Recipient};
use crate::remark::Sealed;
use crate::wire::{Put, Reader};

/// What the administrator says of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// What it holds; nothing takes it off the list.
    pub sets: Sets,
    /// Its public key: secrets of later epochs are granted to it, where it holds *read*.
    pub public: Recipient,
}

impl Listed {
    /// No longer on the list.
    pub const GONE: Listed = Listed { sets: Sets(0), public: Recipient([0; 32]) };
}

/// What a writer may do, as the administrator says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Roles(pub u8);

impl Roles {
    /// No longer a writer.
    pub const NONE: Roles = Roles(0);
    /// May open and commit sessions and report losses.
    pub const WRITE: Roles = Roles(1);
    /// Holds *read*: what it commits or vouches for, others may deduplicate against.
    pub const VOUCH: Roles = Roles(2);
    /// Both.
    pub const WRITE_VOUCH: Roles = Roles(3);

    /// Whether all of `other` is in it.
    pub fn has(self, other: Roles) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Frames of one pack that are damaged or missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostFrames {
    /// The pack.
    pub pack: PackName,
    /// Offsets in bytes of its lost frames, ascending; empty means the whole pack.
    pub frames: Vec<u32>,
}

/// What an entry does. Lists ascend strictly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Starts a session.
    Open {
        /// The new session: [`SessionId::new`] of this entry.
        session: SessionId,
        /// Its content key, as it stands in everything that it seals.
        key: WrappedKey,
        /// The session of the same writer that it takes over, which can then no longer commit.
        adopts: Option<SessionId>,
        /// Snapshots it builds on: everything under them stays until it ends.
        bases: Vec<SnapshotId>,
    },
    /// Ends a session; its index objects, and those of the sessions it adopted, now count.
    Commit {
        /// The session.
        session: SessionId,
        /// The snapshot it made, if it made one.
        snapshot: Option<SnapshotId>,
        /// Index objects.
        indexes: Vec<IndexName>,
        /// Standing index objects that these replace: every pack of theirs that is not condemned is covered anew.
        replaces: Vec<IndexName>,
    },
    /// Takes snapshots off the list. Administrator only.
    Forget {
        /// Which.
        snapshots: Vec<SnapshotId>,
    },
    /// Marks packs that no snapshot needs, for deletion after the grace. Administrator only.
    Condemn {
        /// Number of the entry after which it was computed.
        computed: u64,
        /// Which.
        packs: Vec<PackName>,
    },
    /// Ends a session for ever. Administrator only.
    Fence {
        /// Which.
        session: SessionId,
    },
    /// Says what is damaged or missing, so that it is stored anew. Of packs of others only by who may vouch.
    Lost {
        /// Which frames, by pack.
        lost: Vec<LostFrames>,
    },
    /// Countersigns index objects and snapshots whose chunks a holder of *read* has opened.
    Vouch {
        /// Which index objects.
        indexes: Vec<IndexName>,
        /// Which snapshots.
        snapshots: Vec<SnapshotId>,
    },
    /// Adds, changes and (with [`Roles::NONE`]) removes writers; adds and (with [`Listed::GONE`]) removes credentials.
    /// Administrator only.
    Writers {
        /// Who, and what each may do from now on.
        writers: Vec<(WriterId, Roles)>,
        /// The credentials, and what is said of each.
        credentials: Vec<(CredentialId, Listed)>,
    },
    /// Takes condemned packs, now deleted, off the list. Administrator only.
    Retire {
        /// Packs that no standing index object covers any more.
        packs: Vec<PackName>,
    },
    /// The content key of the next epoch, to which sessions wrap theirs from now on. Administrator only.
    Epoch {
        /// Its public half.
        content: ContentPublic,
        /// Its secret half, for each credential on the list that holds *read*.
        grants: Vec<(CredentialId, Grant)>,
    },
    /// Takes a loss back: these packs are whole. Of packs of others only by who may vouch, and has opened them.
    Found {
        /// Which packs.
        packs: Vec<PackName>,
    },
    /// What is said of snapshots, in place of what was said before. Administrator only.
    Remark {
        /// Of which, and what ([`Sealed::NONE`]: nothing any more).
        remarks: Vec<(SnapshotId, Sealed)>,
    },
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number; the first is 1.
    pub n: u64,
    /// Hash of entry n-1, or of the configuration for n = 1.
    pub previous: ObjectHash,
    /// Who signed it: a writer or the administrator.
    pub writer: WriterId,
    /// When, in milliseconds since 1970, by the writer's clock. No rule depends on it.
    pub time_ms: u64,
    /// What it does.
    pub body: Body,
}

impl Entry {
    /// The object and its hash. `key` must be the secret of `self.writer`.
    pub fn encode(&self, repo: &RepoId, key: &SignKey) -> Result<(ObjectHash, Vec<u8>)> {
        if key.id() != self.writer {
            return Err(FormatError::WrongKey("log entry"));
        }
        let mut out = Vec::new();
        header::put(&mut out, ObjectKind::Log);
        out.put_u64(self.n);
        out.extend_from_slice(&self.previous.0);
        out.extend_from_slice(&self.writer.0);
        out.put_u64(self.time_ms);
        self.body.put(&mut out)?;
        let signature = key.sign(Signed::LogEntry, repo, &out);
        out.extend_from_slice(&signature);
        if out.len() > LOG_ENTRY_MAX {
            return Err(FormatError::TooLarge("log entry"));
        }
        Ok((ObjectHash::of(&out), out))
    }

    /// Parses an entry and checks its signature. Whether its writer may do this, and whether it follows the one
    /// before, is checked when it is applied.
    pub fn parse(bytes: &[u8], repo: &RepoId) -> Result<(ObjectHash, Entry)> {
        if bytes.len() > LOG_ENTRY_MAX {
            return Err(FormatError::TooLarge("log entry"));
        }
        let Some((signed, signature)) = bytes.split_last_chunk::<SIGNATURE_LEN>() else {
            return Err(FormatError::Truncated("log entry"));
        };
        let mut r = Reader::new(signed, "log entry");
        header::read(&mut r, ObjectKind::Log)?;
        let n = r.u64()?;
        let (previous, writer) = (ObjectHash(r.array()?), WriterId(r.array()?));
        writer.verify(Signed::LogEntry, repo, signed, signature)?;
        let time_ms = r.u64()?;
        let body = Body::read(&mut r)?;
        r.end()?;
        Ok((ObjectHash::of(bytes), Entry { n, previous, writer, time_ms, body }))
    }
}

impl Body {
    fn put(&self, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Body::Open { session, key, adopts, bases } => {
                out.push(1);
                out.extend_from_slice(&session.0);
                key.put(out);
                put_option(out, adopts.as_ref().map(|s| &s.0[..]));
                put_list(out, bases, |out, id| out.extend_from_slice(&id.0))
            }
            Body::Commit { session, snapshot, indexes, replaces } => {
                out.push(2);
                out.extend_from_slice(&session.0);
                put_option(out, snapshot.as_ref().map(|s| &s.0[..]));
                put_list(out, indexes, put_index)?;
                put_list(out, replaces, put_index)
            }
            Body::Forget { snapshots } => {
                out.push(3);
                put_list(out, snapshots, |out, id| out.extend_from_slice(&id.0))
            }
            Body::Condemn { computed, packs } => {
                out.push(4);
                out.put_u64(*computed);
                put_list(out, packs, put_pack)
            }
            Body::Fence { session } => {
                out.push(5);
                out.extend_from_slice(&session.0);
                Ok(())
            }
            Body::Lost { lost } => put_lost(out, lost),
            Body::Vouch { indexes, snapshots } => {
                out.push(7);
                put_list(out, indexes, put_index)?;
                put_list(out, snapshots, |out, id| out.extend_from_slice(&id.0))
            }
            Body::Writers { writers, credentials } => {
                out.push(8);
                put_writers(out, writers, credentials)
            }
            Body::Retire { packs } => {
                out.push(9);
                put_list(out, packs, put_pack)
            }
            Body::Epoch { content, grants } => {
                out.push(10);
                out.put_u32(content.epoch);
                out.extend_from_slice(&content.key);
                sorted(grants.iter().map(|g| g.0))?;
                put_list_unsorted(out, grants, |out, (id, grant)| {
                    out.extend_from_slice(&id.0);
                    put_grant(out, grant);
                })
            }
            Body::Found { packs } => {
                out.push(11);
                put_list(out, packs, put_pack)
            }
            Body::Remark { remarks } => {
                out.push(12);
                sorted(remarks.iter().map(|r| r.0))?;
                put_list_unsorted(out, remarks, |out, (id, remark)| {
                    out.extend_from_slice(&id.0);
                    remark.put(out);
                })
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Body> {
        let kind = r.u8()?;
        Ok(match kind {
            1 => Body::Open {
                session: SessionId(r.array()?),
                key: WrappedKey::read(r)?,
                adopts: read_option(r)?.map(SessionId),
                bases: read_list(r, 32, |r| Ok(SnapshotId(r.array()?)))?,
            },
            2 => Body::Commit {
                session: SessionId(r.array()?),
                snapshot: read_option(r)?.map(SnapshotId),
                indexes: read_list(r, 48, read_index)?,
                replaces: read_list(r, 48, read_index)?,
            },
            3 => Body::Forget { snapshots: read_list(r, 32, |r| Ok(SnapshotId(r.array()?)))? },
            4 => Body::Condemn { computed: r.u64()?, packs: read_list(r, PackName::LEN, read_pack)? },
            5 => Body::Fence { session: SessionId(r.array()?) },
            6 => Body::Lost { lost: read_lost(r)? },
            7 => Body::Vouch {
                indexes: read_list(r, 48, read_index)?,
                snapshots: read_list(r, 32, |r| Ok(SnapshotId(r.array()?)))?,
            },
            8 => read_writers(r)?,
            9 => Body::Retire { packs: read_list(r, PackName::LEN, read_pack)? },
            10 => {
                let content = ContentPublic { epoch: r.u32()?, key: r.array()? };
                Body::Epoch {
                    content,
                    grants: read_named(r, 32 + 80, |r| Ok((CredentialId(r.array()?), read_grant(r)?)))?,
                }
            }
            11 => Body::Found { packs: read_list(r, PackName::LEN, read_pack)? },
            12 => {
                let read = |r: &mut Reader<'_>| Ok((SnapshotId(r.array()?), Sealed::read(r)?));
                Body::Remark { remarks: read_named(r, 32 + 26, read)? }
            }
            _ => return Err(FormatError::Unsupported(format!("log entry kind {kind}"))),
        })
    }
}

fn put_writers(out: &mut Vec<u8>, writers: &[(WriterId, Roles)], credentials: &[(CredentialId, Listed)]) -> Result<()> {
    sorted(writers.iter().map(|w| w.0))?;
    put_list_unsorted(out, writers, |out, (id, roles)| {
        out.extend_from_slice(&id.0);
        out.push(roles.0);
    })?;
    sorted(credentials.iter().map(|c| c.0))?;
    put_list_unsorted(out, credentials, put_listed)
}

fn read_writers(r: &mut Reader<'_>) -> Result<Body> {
    let writers = read_named(r, 33, |r| Ok((WriterId(r.array()?), Roles(r.u8()?))))?;
    if let Some(w) = writers.iter().find(|w| w.1.0 > Roles::WRITE_VOUCH.0) {
        return Err(FormatError::Unsupported(format!("writer role {}", w.1.0)));
    }
    Ok(Body::Writers { writers, credentials: read_named(r, 65, read_listed)? })
}
