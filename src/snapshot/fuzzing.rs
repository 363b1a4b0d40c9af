//! Body of the fuzz target of what snapshots say.

use repo_format::snapshot::Says;

use super::Snapshot;

/// What a snapshot says: the body in the first line, the description in the second, a shard in each other one. What is accepted
/// is written to be read again, and names the same chunks.
pub fn snapshot_body(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
    let (body, description) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let Ok(snapshot) = Snapshot::decode(&Says { body, description, shards: lines.collect() }) else { return };
    let again = snapshot.encode().and_then(|again| Snapshot::decode(&again));
    assert!(again.as_ref().is_ok_and(|again| *again == snapshot && again.roots().ok() == snapshot.roots().ok()));
    let _ = (snapshot.shard("a"), snapshot.node("a"));
}

/// A record of the tree of patches, or of that of files: the length of its key in a byte, the key, the body.
pub fn snapshot_record(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first() else { return };
    let Some((key, body)) = rest.split_at_checked(usize::from(*length)) else { return };
    super::patches::fuzz(body);
    super::files::fuzz(key, body);
}
