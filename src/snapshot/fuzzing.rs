//! Body of the fuzz target of snapshot bodies.

use super::Snapshot;

/// What a snapshot says. What is accepted is written to be read again, and names the same chunks.
pub fn snapshot_body(bytes: &[u8]) {
    let Ok(body) = Snapshot::decode(bytes) else { return };
    let again = body.encode().and_then(|again| Snapshot::decode(&again));
    let roots = |s: &Snapshot| s.roots().ok();
    assert!(again.is_ok_and(|again| roots(&again) == roots(&body) && again.shards.len() == body.shards.len()));
    let _ = (body.shard("a"), body.node("a"));
    for part in body.shards.iter().flat_map(|s| &s.nodes) {
        let _ = part.patch();
    }
}
