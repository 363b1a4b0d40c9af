//! The keys of a repository that is made: drawn, and some of them shared with another one.

use repo_format::config::Config;
use repo_format::credential::{KeyRing, NewLock, PasswordCost, Unlock};
use repo_format::id::RepoId;
use repo_format::key::{ChunkIdKey, ContentSecret, CutKey, RepoKeys, SignKey};
use repo_format::recipient::Identity;
use zeroize::Zeroizing;

use super::{InitOptions, Repo, world};
use crate::error::{Error, Kind, Result};

/// What two repositories share so that what is equal is cut alike and named alike in both: chunks then go from one to the other as
/// they are.
#[derive(Debug, Clone)]
pub struct Like {
    chunk_id: ChunkIdKey,
    cut: CutKey,
    config: Config,
}

impl Like {
    /// That of an open repository, whatever roles opened it.
    pub fn of(repo: &Repo) -> Like {
        let keys = &repo.ring().repo;
        Like { chunk_id: keys.chunk_id.clone(), cut: keys.cut.clone(), config: repo.config().clone() }
    }
}

/// What the first credential is locked by, so that `unlock` opens it; and the secret of that where it is a recipient's.
pub(super) fn first_lock(unlock: Unlock<'_>, cost: PasswordCost) -> Result<(NewLock<'_>, Option<Identity>)> {
    Ok(match unlock {
        Unlock::Password(password) => (NewLock::Password(password, cost), None),
        Unlock::KeyFile(file) => (NewLock::KeyFile(file), None),
        Unlock::Identities(all) => {
            let none = || Error::new(Kind::Usage, "identity", "none was given");
            let first = all.first().ok_or_else(none)?;
            (NewLock::Recipient(first.recipient()), Some(first.clone()))
        }
    })
}

/// All keys of a new repository, and its configuration.
pub(super) fn new_keys(log_store: bool, options: &InitOptions) -> Result<(KeyRing, Config)> {
    let secret = Zeroizing::new(world::random::<32>()?);
    let content = ContentSecret::from_bytes(1, world::random()?);
    let admin = SignKey::from_bytes(&world::random()?);
    let writer = SignKey::from_bytes(&world::random()?);
    let repo_id = RepoId(world::random()?);
    let mut config = Config { log_store, ..Config::new(repo_id, content.public(), admin.id(), true) };
    let mut repo = RepoKeys::derive(&secret);
    if let Some(Like { chunk_id, cut, config: other }) = &options.like {
        // The others are this repository's own: what its indexes and digests show must not open there, nor be compared.
        (repo.chunk_id, repo.cut) = (chunk_id.clone(), cut.clone());
        config.chunker = other.chunker;
        config.cut_average = other.cut_average;
        config.frame_target = other.frame_target;
        config.pack_target = other.pack_target;
        config.leaf_target = other.leaf_target;
        config.branch_children = other.branch_children;
    }
    if let Some(sizes) = options.sizes {
        config.cut_average = sizes.cut_average;
        config.frame_target = sizes.frame_target;
        config.pack_target = sizes.pack_target;
    }
    let ring =
        KeyRing { repo_id, admin: admin.id(), repo, writer: Some(writer), read: vec![content], admin_key: Some(admin) };
    Ok((ring, config))
}
