//! Bodies of the fuzz targets, one for each parser: any bytes, no panic, and what is accepted is written back as it was.
//! Where a hash, tag or signature stands before a parser, it is made to fit, so that the parser is reached.
//! Each says whether it accepted the bytes, so that a test can see that the corpus reaches what it is for.

mod chunks;

pub use chunks::*;

use crate::config::Config;
use crate::credential::{Credential, KeyRing};
use crate::frame::{FRAME_HEADER_LEN, Opener, list_hash, read_list};
use crate::id::{ChunkKind, CredentialId, ObjectHash, RepoId, SessionId, SnapshotId};
use crate::index::{Index, read_head, read_table};
use crate::key::{ContentKey, ContentPublic, RepoKeys, SignKey, Signed, WrappedKey};
use crate::keyfile::KeyFile;
use crate::log::Entry;
use crate::log_state::State;
use crate::names::{IndexName, Name, PackClass, PackName};
use crate::pack::{open_pack, parse_list, salvage};
use crate::recipient::{Identity, Recipient};
use crate::remark::Remark;
use crate::snapshot::Snapshot;
use crate::wire::{Put, Reader};
use crate::{header, machine, paper, snapshot, trim};

/// A target: its name, which is that of its corpus folder, and its body.
pub type Target = (&'static str, fn(&[u8]) -> bool);

/// All targets.
pub const TARGETS: [Target; 28] = [
    ("blob", blob_list),
    ("branch", branch),
    ("checkpoint", checkpoint),
    ("config", config),
    ("credential", credential),
    ("file_tree", file_tree),
    ("frame", frame),
    ("frame_sealed", frame_sealed),
    ("index", index),
    ("identity", identity),
    ("index_parts", index_parts),
    ("ints", integers),
    ("key_file", key_file),
    ("key_ring", key_ring),
    ("leaf", leaf),
    ("log", log),
    ("machine", machine_state),
    ("name", name),
    ("pack", pack),
    ("pack_list", pack_list),
    ("paper", on_paper),
    ("patch", leaf_patch),
    ("recipient", recipient),
    ("record", record_body),
    ("reference", reference),
    ("remark", remark),
    ("snapshot", snapshot_object),
    ("trim", trim_mark),
];

const REPO: RepoId = RepoId([0x11; 32]);

fn signer() -> SignKey {
    SignKey::from_bytes(&[0x33; 32])
}

fn keys() -> RepoKeys {
    RepoKeys::derive(&[0x44; 32])
}

fn content() -> ContentKey {
    ContentKey::from_bytes([0x77; 32])
}

/// The session that objects name right after their header.
fn session(data: &[u8]) -> SessionId {
    SessionId(data.get(10..26).and_then(|b| b.try_into().ok()).unwrap_or([0; 16]))
}

/// `data` and a signature that fits, if its signer is the one that is used here.
fn signed(what: Signed, repo: &RepoId, data: &[u8]) -> Vec<u8> {
    let mut object = data.to_vec();
    object.extend_from_slice(&signer().sign(what, repo, data));
    object
}

/// Object names: one spelling each.
pub fn name(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    match (Name::parse(text), Name::parse_copy(text)) {
        (Ok(name), Err(_)) => assert_eq!(name.to_string(), text),
        (Err(_), Ok(name)) => assert_eq!(name.copy(), text),
        (one, other) => {
            assert!(one.is_err() && other.is_err());
            return false;
        }
    }
    true
}

/// Configurations, without their signature.
pub fn config(data: &[u8]) -> bool {
    let repo = data.get(10..42).and_then(|b| b.try_into().ok()).map_or(REPO, RepoId);
    let object = signed(Signed::Config, &repo, data);
    let Ok((_, config)) = Config::parse(&object) else { return Config::parse(data).is_ok() };
    assert_eq!(config.encode(&signer()).as_deref(), Ok(&object[..]));
    true
}

/// Credential objects; not opened, for that costs what Argon2id costs.
pub fn credential(data: &[u8]) -> bool {
    Credential::parse(&CredentialId(*blake3::hash(data).as_bytes()), data).is_ok()
}

/// What a credential seals.
pub fn key_ring(data: &[u8]) -> bool {
    let Ok(ring) = KeyRing::parse(data) else { return false };
    assert_eq!(KeyRing::parse(&ring.put()).map(|r| r.sets()), Ok(ring.sets()));
    true
}

/// Key files.
pub fn key_file(data: &[u8]) -> bool {
    let Some(file) = std::str::from_utf8(data).ok().and_then(|text| KeyFile::from_text(text).ok()) else {
        return false;
    };
    assert_eq!(KeyFile::from_text(&file.to_text()).map(|f| *f.expose()), Ok(*file.expose()));
    true
}

/// Keys typed from paper.
pub fn on_paper(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(file) = paper::from_text(text) else {
        assert!(!paper::faults(text).is_empty());
        return false;
    };
    assert!(paper::faults(text).is_empty());
    assert_eq!(paper::from_text(&paper::to_text(&file)).map(|f| *f.expose()), Ok(*file.expose()));
    true
}

/// What a machine keeps for itself. Any bytes are kept, and given back as they were.
pub fn machine_state(data: &[u8]) -> bool {
    let sealed = machine::seal(&signer(), &REPO, b"fuzz", &[0; 24], data);
    assert_eq!(sealed.and_then(|bytes| machine::open(&signer(), &REPO, b"fuzz", &bytes)).as_deref(), Ok(data));
    machine::open(&signer(), &REPO, b"fuzz", data).is_ok()
}

/// Public keys as text. What is accepted is the one text of its key.
pub fn recipient(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(recipient) = Recipient::from_text(text) else { return false };
    assert_eq!(recipient.to_text(), text.trim());
    true
}

/// Files of secrets of such keys.
pub fn identity(data: &[u8]) -> bool {
    let Some(all) = std::str::from_utf8(data).ok().and_then(|text| Identity::all_from_text(text).ok()) else {
        return false;
    };
    for one in &all {
        let again = Identity::all_from_text(&one.to_text());
        assert_eq!(again.map(|found| found.iter().map(Identity::recipient).collect()), Ok(vec![one.recipient()]));
    }
    true
}

/// Frames as they come.
pub fn frame(data: &[u8]) -> bool {
    Opener::new().is_ok_and(|mut opener| opener.open(&content(), &keys().chunk_id, data).is_ok())
}

/// The sealed part of a frame: sealed, with a header that fits its list.
pub fn frame_sealed(data: &[u8]) -> bool {
    let nonce = [0; 24];
    let mut list = Vec::new();
    let mut r = Reader::new(data, "frame");
    let kind = r.u8().and_then(ChunkKind::from_u8).unwrap_or(ChunkKind::Leaf);
    _ = r.bytes(5).and_then(|_| read_list(&mut r, &mut list));
    let length = (FRAME_HEADER_LEN + data.len() + header::TAG_LEN).next_multiple_of(4096);
    let mut object = vec![0; 17 + WrappedKey::LEN];
    object.extend_from_slice(&nonce);
    object.put_u32(length as u32);
    object.extend_from_slice(&list_hash(&nonce, kind, &list).0);
    let aad = object.clone();
    object.extend_from_slice(data);
    object.resize(length - header::TAG_LEN, 0);
    header::seal(content().expose(), &nonce, &aad, &mut object, aad.len()).is_ok() && frame(&object)
}

/// The pack of that class whose bytes these are.
fn named(data: &[u8], class: PackClass) -> PackName {
    PackName { session: session(data), class, hash: ObjectHash::of(data) }
}

/// Whole packs under the name of their hash.
pub fn pack(data: &[u8]) -> bool {
    // What a pack of these bytes would be looked through for lies in it, and follows one another.
    let mut end = 0;
    salvage(data, &mut |at, sealed| {
        assert!(at as usize >= end && at as usize + sealed.len() <= data.len());
        end = at as usize + sealed.len();
        true
    });
    let opens = |class| open_pack(&named(data, class), data, &keys().index).is_ok();
    PackClass::ALL.map(opens).contains(&true)
}

/// The list of a pack; the first four bytes say where it lies.
pub fn pack_list(data: &[u8]) -> bool {
    let Some((at, plain)) = data.split_first_chunk::<4>() else { return false };
    let parses = |class| parse_list(plain, u64::from(u32::from_le_bytes(*at)), class).is_ok();
    PackClass::ALL.map(parses).contains(&true)
}

/// Index objects as they come.
pub fn index(data: &[u8]) -> bool {
    let name = IndexName { session: session(data), hash: ObjectHash::of(data) };
    let Ok(index) = Index::open(&name, data, &REPO, &keys().index) else { return false };
    assert!(index.iter().all(|e| index.find(&e.id).any(|found| found == e)));
    true
}

/// What an index object seals: the head or the table.
pub fn index_parts(data: &[u8]) -> bool {
    read_head(data).is_ok() | read_table(data, &[(named(data, PackClass::Content), 0)]).is_ok()
}

/// Marks of trimming, without their signature.
pub fn trim_mark(data: &[u8]) -> bool {
    let object = signed(Signed::Trim, &REPO, data);
    let n = data.get(10..18).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
    let config = Config::new(REPO, ContentPublic { epoch: 1, key: [0; 32] }, signer().id(), true);
    if trim::verify(n, &object, &config).is_err() {
        return false;
    }
    assert_eq!(trim::encode(n, &REPO, &signer()), Ok((Name::Trim(n), object)));
    true
}

/// What a remark seals.
pub fn remark(data: &[u8]) -> bool {
    let Ok(remark) = Remark::of_plain(data) else { return false };
    let (of, key) = (SnapshotId([1; 32]), keys().index);
    let sealed = remark.seal(&of, &REPO, &key, [2; 24]);
    assert!(
        data.len() > crate::limits::REMARK_MAX
            || sealed.and_then(|sealed| Remark::open(&sealed, &of, &REPO, &key)) == Ok(remark)
    );
    true
}

/// Log entries, without their signature; what is accepted is applied.
pub fn log(data: &[u8]) -> bool {
    _ = Entry::parse(data, &REPO);
    let object = signed(Signed::LogEntry, &REPO, data);
    let Ok((hash, entry)) = Entry::parse(&object, &REPO) else { return false };
    assert_eq!(entry.encode(&REPO, &signer()), Ok((hash, object)));
    let content = ContentPublic { epoch: 1, key: [0; 32] };
    let config = Config::new(REPO, content, signer().id(), true);
    State::new(entry.previous, &config).apply(hash, &Entry { n: 1, ..entry }).is_ok()
}

/// Checkpoints, without their signature.
pub fn checkpoint(data: &[u8]) -> bool {
    let object = signed(Signed::Checkpoint, &REPO, data);
    let n = data.get(42..50).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
    let name = Name::Checkpoint(n, ObjectHash::of(&object));
    let config = Config::new(REPO, ContentPublic { epoch: 1, key: [0; 32] }, signer().id(), true);
    let Ok(state) = State::from_checkpoint(&name, &object, &config, None) else { return false };
    assert_eq!(state.to_checkpoint(&REPO, &signer()), Ok((name, object)));
    true
}

/// Snapshots as they come, and what one seals.
pub fn snapshot_object(data: &[u8]) -> bool {
    let id = SnapshotId(*blake3::hash(data).as_bytes());
    Snapshot::open(&id, data, &REPO, &content()).is_ok() | snapshot::parse(data).is_ok()
}
