//! The configuration (SPEC "Configuration"): what is fixed when a repository is created, signed by its administrator.
//!
//! ```text
//! header │ repository 32 │ flags u8 │ chunker u8 │ cut average u32 │ frame target u32 │ pack target u32
//!        │ leaf target u32 │ branch children u32 │ epoch u32 │ content public 32 │ admin public 32 │ signature 64
//! ```

use crate::error::{FormatError, Result};
use crate::header;
use crate::id::{ObjectHash, RepoId, WriterId};
use crate::key::{ContentPublic, SIGNATURE_LEN, SignKey, Signed};
use crate::limits::{
    BRANCH_CHILDREN, BRANCH_CHILDREN_RANGE, CONFIG_MAX, CUT_AVERAGE, CUT_AVERAGE_RANGE, DATA_CHUNK_MAX, FRAME_TARGET,
    FRAME_TARGET_RANGE, LEAF_TARGET, LEAF_TARGET_RANGE, PACK_TARGET, PACK_TARGET_RANGE,
};
use crate::names::ObjectKind;
use crate::wire::{Put, Reader};

/// Chunker 1: FastCDC with a table derived from the cut key.
pub const CHUNKER_FASTCDC: u8 = 1;
/// Flag: of several conditional creates of one name, exactly one wins.
const FLAG_ATOMIC: u8 = 1;
/// Flag: the first names of log and configuration lie in a store of their own.
const FLAG_LOG_STORE: u8 = 2;

/// What is fixed when a repository is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The repository.
    pub repo: RepoId,
    /// Whether the conditional create of the store that holds the log has exactly one winner. Where not, it has one writer.
    pub create_atomic: bool,
    /// Whether the first names of log and configuration lie in a store of their own, the log store.
    pub log_store: bool,
    /// How data is cut; [`CHUNKER_FASTCDC`].
    pub chunker: u8,
    /// Mean length of a data chunk in bytes, a power of two; the minimum is half of it.
    pub cut_average: u32,
    /// Plaintext bytes at which a frame is closed.
    pub frame_target: u32,
    /// Bytes at which a pack is closed.
    pub pack_target: u32,
    /// Mean plaintext bytes of a leaf, where a table does not say otherwise.
    pub leaf_target: u32,
    /// Mean number of children of a branch.
    pub branch_children: u32,
    /// The first content key, of epoch 1.
    pub content: ContentPublic,
    /// The administrator's Ed25519 public key.
    pub admin: WriterId,
}

impl Config {
    /// With default sizes, and the log beside all else.
    pub fn new(repo: RepoId, content: ContentPublic, admin: WriterId, create_atomic: bool) -> Config {
        Config {
            repo,
            create_atomic,
            log_store: false,
            chunker: CHUNKER_FASTCDC,
            cut_average: CUT_AVERAGE,
            frame_target: FRAME_TARGET,
            pack_target: PACK_TARGET,
            leaf_target: LEAF_TARGET,
            branch_children: BRANCH_CHILDREN,
            content,
            admin,
        }
    }

    /// Smallest data chunk in bytes, the last of a blob excepted.
    pub fn cut_min(&self) -> u32 {
        self.cut_average / 2
    }

    /// Largest data chunk in bytes.
    pub fn cut_max(&self) -> u32 {
        self.cut_average.saturating_mul(8).min(DATA_CHUNK_MAX as u32)
    }

    /// The object. `admin` must be the secret of `self.admin`.
    pub fn encode(&self, admin: &SignKey) -> Result<Vec<u8>> {
        if admin.id() != self.admin {
            return Err(FormatError::WrongKey("configuration"));
        }
        self.check()?;
        let mut out = Vec::new();
        header::put(&mut out, ObjectKind::Config);
        out.extend_from_slice(&self.repo.0);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.push(flag(self.create_atomic, FLAG_ATOMIC) | flag(self.log_store, FLAG_LOG_STORE));
        out.push(self.chunker);
        out.put_u32(self.cut_average);
        out.put_u32(self.frame_target);
        out.put_u32(self.pack_target);
        out.put_u32(self.leaf_target);
        out.put_u32(self.branch_children);
        out.put_u32(self.content.epoch);
        out.extend_from_slice(&self.content.key);
        out.extend_from_slice(&self.admin.0);
        let signature = admin.sign(Signed::Config, &self.repo, &out);
        out.extend_from_slice(&signature);
        Ok(out)
    }

    /// Parses and checks the signature against the key in it; returns the object's hash too, where the log starts.
    /// The caller must compare `repo` and `admin` with what its credential says: that is the anchor of trust.
    pub fn parse(bytes: &[u8]) -> Result<(ObjectHash, Config)> {
        if bytes.len() > CONFIG_MAX {
            return Err(FormatError::TooLarge("configuration"));
        }
        let Some((signed, signature)) = bytes.split_last_chunk::<SIGNATURE_LEN>() else {
            return Err(FormatError::Truncated("configuration"));
        };
        let mut r = Reader::new(signed, "configuration");
        header::read(&mut r, ObjectKind::Config)?;
        let repo = RepoId(r.array()?);
        let flags = r.u8()?;
        let config = Config {
            repo,
            create_atomic: flags & FLAG_ATOMIC != 0,
            log_store: flags & FLAG_LOG_STORE != 0,
            chunker: r.u8()?,
            cut_average: r.u32()?,
            frame_target: r.u32()?,
            pack_target: r.u32()?,
            leaf_target: r.u32()?,
            branch_children: r.u32()?,
            content: ContentPublic { epoch: r.u32()?, key: r.array()? },
            admin: WriterId(r.array()?),
        };
        r.end()?;
        config.admin.verify(Signed::Config, &repo, signed, signature)?;
        if flags & !(FLAG_ATOMIC | FLAG_LOG_STORE) != 0 {
            return Err(FormatError::Unsupported(format!("configuration flag {flags:#x}")));
        }
        config.check()?;
        Ok((ObjectHash::of(bytes), config))
    }

    fn check(&self) -> Result<()> {
        if self.chunker != CHUNKER_FASTCDC {
            return Err(FormatError::Unsupported(format!("chunker {}", self.chunker)));
        }
        if !self.cut_average.is_power_of_two() {
            return Err(FormatError::Invalid("mean length of chunks"));
        }
        let within = |value: u32, range: (u32, u32), what| {
            if (range.0..=range.1).contains(&value) { Ok(()) } else { Err(FormatError::Invalid(what)) }
        };
        within(self.cut_average, CUT_AVERAGE_RANGE, "mean length of chunks")?;
        within(self.frame_target, FRAME_TARGET_RANGE, "frame target")?;
        within(self.pack_target, PACK_TARGET_RANGE, "pack target")?;
        within(self.leaf_target, LEAF_TARGET_RANGE, "leaf target")?;
        within(self.branch_children, BRANCH_CHILDREN_RANGE, "children of a branch")?;
        within(self.content.epoch, (1, 1), "epoch of the first content key")
    }
}
