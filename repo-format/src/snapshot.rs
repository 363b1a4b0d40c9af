//! Snapshots (SPEC "Snapshots"): the sealed root of one backup. Only *read* opens one.
//!
//! ```text
//! header │ session 16 │ wrapped key 84 │ writer 32 │ nonce 24 │ sealed length u32
//!        │ sealed, tag 16 │ zeros │ signature 64
//! sealed = codec u8 │ plain length u32 │ bytes
//! plain  = roots varint │ roots × (kind u8 │ id 32) │ body string │ description string │ shards varint │ shards × string
//! ```

use crate::error::{FormatError, Result};
use crate::header::{self, NONCE_LEN, Nonce, TAG_LEN};
use crate::id::{ChunkId, ChunkKind, RepoId, SessionId, SnapshotId, WriterId};
use crate::key::{ContentKey, SIGNATURE_LEN, SessionKey, SignKey, Signed, WrappedKey};
use crate::limits::{SNAPSHOT_BODY_MAX, SNAPSHOT_MAX, SNAPSHOT_ROOTS_MAX, SNAPSHOT_SHARDS_MAX, padme};
use crate::names::ObjectKind;
use crate::wire::{Put, Reader};

/// Bytes before the sealed part.
const HEADER_LEN: usize = 10 + SessionId::LEN + WrappedKey::LEN + WriterId::LEN + NONCE_LEN + 4;
/// What the plaintext can be at most.
const PLAIN_MAX: usize = SNAPSHOT_ROOTS_MAX * 33 + SNAPSHOT_BODY_MAX + SNAPSHOT_SHARDS_MAX * 5 + 64;
/// Level of compression: snapshots are small and rare.
const LEVEL: i32 = 6;

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The session that made it.
    pub session: SessionId,
    /// Who signed it.
    pub writer: WriterId,
    /// Where marking starts: every chunk that the body names. Chunks that these name in turn are not listed.
    pub roots: Vec<(ChunkKind, ChunkId)>,
    /// What it says.
    pub says: Says,
}

/// What a snapshot says: JSON documents (SPEC "Snapshot body"), together [`SNAPSHOT_BODY_MAX`] bytes at most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Says {
    /// The document of the backup as a whole.
    pub body: Vec<u8>,
    /// The engine's word on all shards together.
    pub description: Vec<u8>,
    /// The document of each shard.
    pub shards: Vec<Vec<u8>>,
}

impl Says {
    fn fits(&self) -> bool {
        let bytes = self.body.len() + self.description.len() + self.shards.iter().map(Vec::len).sum::<usize>();
        bytes <= SNAPSHOT_BODY_MAX && self.shards.len() <= SNAPSHOT_SHARDS_MAX
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.put_string(&self.body);
        out.put_string(&self.description);
        out.put_varint(self.shards.len() as u64);
        self.shards.iter().for_each(|shard| out.put_string(shard));
    }

    fn read(r: &mut Reader<'_>) -> Result<Says> {
        let (body, description) = (r.string()?.to_vec(), r.string()?.to_vec());
        let count = r.count(1)?;
        if count > SNAPSHOT_SHARDS_MAX {
            return Err(FormatError::TooLarge("snapshot"));
        }
        let mut says = Says { body, description, shards: Vec::with_capacity(count) };
        for _ in 0..count {
            says.shards.push(r.string()?.to_vec());
        }
        if says.fits() { Ok(says) } else { Err(FormatError::TooLarge("snapshot")) }
    }
}

impl Snapshot {
    /// The object and its id. `key` must be that of `self.session`, `writer` the secret of `self.writer`, `nonce` fresh
    /// and random.
    pub fn seal(
        &self,
        repo: &RepoId,
        key: &SessionKey,
        nonce: &Nonce,
        writer: &SignKey,
    ) -> Result<(SnapshotId, Vec<u8>)> {
        if writer.id() != self.writer || key.session != self.session {
            return Err(FormatError::WrongKey("snapshot"));
        }
        if self.roots.len() > SNAPSHOT_ROOTS_MAX || !self.says.fits() {
            return Err(FormatError::TooLarge("snapshot"));
        }
        let mut plain = Vec::new();
        plain.put_varint(self.roots.len() as u64);
        for (kind, id) in &self.roots {
            plain.push(*kind as u8);
            plain.extend_from_slice(&id.0);
        }
        self.says.put(&mut plain);
        let packed = zstd::bulk::compress(&plain, LEVEL).ok().filter(|p| p.len() < plain.len());
        let mut out = Vec::new();
        header::put(&mut out, ObjectKind::Snapshot);
        out.extend_from_slice(&self.session.0);
        key.wrapped.put(&mut out);
        out.extend_from_slice(&self.writer.0);
        out.extend_from_slice(nonce);
        let stored = packed.as_ref().unwrap_or(&plain);
        out.put_u32((1 + 4 + stored.len() + TAG_LEN) as u32);
        let aad = out.clone();
        out.push(u8::from(packed.is_some()));
        out.put_u32(plain.len() as u32);
        out.extend_from_slice(stored);
        header::seal(key.content.expose(), nonce, &aad, &mut out, aad.len())?;
        out.resize(padme(out.len() + SIGNATURE_LEN) - SIGNATURE_LEN, 0);
        let signature = writer.sign(Signed::Snapshot, repo, &out);
        out.extend_from_slice(&signature);
        if out.len() > SNAPSHOT_MAX {
            return Err(FormatError::TooLarge("snapshot"));
        }
        Ok((SnapshotId(*blake3::hash(&out).as_bytes()), out))
    }

    /// The session that made it, and that session's wrapped content key, which opens it. Checks the id, so that a
    /// damaged snapshot is known as one without any key.
    pub fn sealed_by(id: &SnapshotId, bytes: &[u8]) -> Result<(SessionId, WrappedKey)> {
        if bytes.len() > SNAPSHOT_MAX {
            return Err(FormatError::TooLarge("snapshot"));
        }
        if blake3::hash(bytes).as_bytes() != &id.0 {
            return Err(FormatError::Mismatch("snapshot's name"));
        }
        let mut r = Reader::new(bytes, "snapshot");
        header::read(&mut r, ObjectKind::Snapshot)?;
        Ok((SessionId(r.array()?), WrappedKey::read(&mut r)?))
    }

    /// Checks id and signature and opens. Whether the writer was one is the log's to say.
    pub fn open(id: &SnapshotId, bytes: &[u8], repo: &RepoId, key: &ContentKey) -> Result<Snapshot> {
        let (session, _) = Snapshot::sealed_by(id, bytes)?;
        let Some((signed, signature)) = bytes.split_last_chunk::<SIGNATURE_LEN>() else {
            return Err(FormatError::Truncated("snapshot"));
        };
        let aad = signed.get(..HEADER_LEN).ok_or(FormatError::Truncated("snapshot"))?;
        let mut r = Reader::new(&signed[10 + SessionId::LEN + WrappedKey::LEN..], "snapshot");
        let (writer, nonce, length) = (WriterId(r.array()?), r.array()?, r.u32()?);
        writer.verify(Signed::Snapshot, repo, signed, signature)?;
        let mut sealed = r.bytes(length as usize)?.to_vec();
        if r.bytes(r.remaining())?.iter().any(|b| *b != 0) {
            return Err(FormatError::Invalid("padding of a snapshot"));
        }
        header::open(key.expose(), &nonce, aad, &mut sealed, "snapshot")?;
        let mut r = Reader::new(&sealed, "snapshot");
        let (codec, length) = (r.u8()?, r.u32()? as usize);
        if length > PLAIN_MAX {
            return Err(FormatError::TooLarge("snapshot"));
        }
        let stored = r.bytes(r.remaining())?;
        let plain = match codec {
            0 => stored.to_vec(),
            1 => zstd::bulk::decompress(stored, length).map_err(|_| FormatError::Mismatch("compressed snapshot"))?,
            _ => return Err(FormatError::Unsupported(format!("snapshot codec {codec}"))),
        };
        if plain.len() != length {
            return Err(FormatError::Invalid("length of a snapshot"));
        }
        let (roots, says) = parse(&plain)?;
        Ok(Snapshot { session, writer, roots, says })
    }
}

pub(crate) type Parts = (Vec<(ChunkKind, ChunkId)>, Says);

pub(crate) fn parse(plain: &[u8]) -> Result<Parts> {
    let mut r = Reader::new(plain, "snapshot");
    let count = r.count(33)?;
    if count > SNAPSHOT_ROOTS_MAX {
        return Err(FormatError::TooLarge("snapshot"));
    }
    let mut roots = Vec::with_capacity(count);
    for _ in 0..count {
        roots.push((ChunkKind::from_u8(r.u8()?)?, ChunkId(r.array()?)));
    }
    let says = Says::read(&mut r)?;
    r.end()?;
    Ok((roots, says))
}
