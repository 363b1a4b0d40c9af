//! The configuration, made anew where it is lost under both its names (SPEC "Second copies").

use repo_format::config::Config;
use repo_format::credential::KeyRing;
use repo_format::log::{Body, Entry};
use repo_format::names::Name;

use super::open::Anchored;
use super::twice;
use crate::store::Store;

/// What a credential that holds *admin* and *read* tells of it, if the first entry of the log proves that it was so: the entry is
/// chained to its hash. Other sizes than the defaults stand nowhere else, so with those it does not come back.
pub(super) fn configuration(store: &dyn Store, ring: &KeyRing) -> Option<Anchored> {
    let admin = ring.admin_key.as_ref()?;
    let content = ring.read.iter().find(|secret| secret.epoch() == 1)?.public();
    let parse = |bytes: &[u8]| Entry::parse(bytes, &ring.repo_id).map(|(_, entry)| entry);
    let first = twice::read(store, &Name::Log(1), parse).ok()??.value;
    if first.n != 1 || first.writer != ring.admin || !matches!(first.body, Body::Writers { .. }) {
        return None;
    }
    [true, false].into_iter().find_map(|atomic| {
        let bytes = Config::new(ring.repo_id, content, ring.admin, atomic).encode(admin).ok()?;
        let (hash, config) = Config::parse(&bytes).ok()?;
        (hash == first.previous).then_some((bytes, hash, config))
    })
}
