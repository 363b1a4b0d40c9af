//! A small repository with fixed keys, nonces and times, from which the tests make one object of every kind.
#![allow(dead_code, clippy::unwrap_used)]

pub mod chunks;
pub mod files;
pub mod records;

use repo_format::config::Config;
use repo_format::credential::{Credential, KeyRing, Made, NewLock, PasswordCost};
use repo_format::frame::{FramePlain, Sealer};
use repo_format::id::*;
use repo_format::index::IndexBuilder;
use repo_format::key::*;
use repo_format::keyfile::KeyFile;
use repo_format::log::{Body, Entry, Listed, LostFrames, Roles};
use repo_format::log_state::State;
use repo_format::names::{IndexName, Name, PackClass, PackName};
use repo_format::pack::{BuiltPack, PackBuilder};
use repo_format::recipient::Identity;
use repo_format::remark::{Remark, Sealed};
use repo_format::snapshot::{Says, Snapshot};

pub const PASSWORD: &[u8] = b"correct horse battery staple";
/// The cheapest cost a reader accepts.
pub const CHEAP: PasswordCost = PasswordCost { memory_kib: 8 << 10, passes: 1, lanes: 1 };

pub fn repo() -> RepoId {
    RepoId([0x11; 32])
}

pub fn session() -> SessionId {
    SessionId::new(2, &writer().id())
}

pub fn ring() -> KeyRing {
    let admin = SignKey::from_bytes(&[0x33; 32]);
    KeyRing {
        repo_id: repo(),
        admin: admin.id(),
        repo: RepoKeys::derive(&[0x44; 32]),
        writer: Some(SignKey::from_bytes(&[0x55; 32])),
        read: vec![ContentSecret::from_bytes(1, [0x66; 32])],
        admin_key: Some(admin),
    }
}

pub fn writer() -> SignKey {
    ring().writer.unwrap()
}

pub fn admin() -> SignKey {
    ring().admin_key.unwrap()
}

pub fn content() -> ContentKey {
    ContentKey::from_bytes([0x77; 32])
}

pub fn wrapped(session: &SessionId) -> WrappedKey {
    WrappedKey::wrap(&ring().read[0].public(), &repo(), session, &content(), [0x88; 32]).unwrap()
}

pub fn session_key() -> SessionKey {
    SessionKey { session: session(), content: content(), wrapped: wrapped(&session()) }
}

pub fn config() -> Config {
    Config::new(repo(), ring().read[0].public(), admin().id(), true)
}

pub fn config_object() -> Vec<u8> {
    config().encode(&admin()).unwrap()
}

/// Bytes that zstd cannot shrink.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

pub fn text(length: usize) -> Vec<u8> {
    b"the same words again and again, ".iter().copied().cycle().take(length).collect()
}

pub fn plain(kind: ChunkKind, chunks: &[Vec<u8>]) -> FramePlain {
    let mut plain = FramePlain::new(kind);
    for chunk in chunks {
        plain.push(ring().repo.chunk_id.id(kind, chunk), chunk).unwrap();
    }
    plain
}

pub fn frame(plain: &FramePlain, nonce: u8) -> Vec<u8> {
    let mut out = Vec::new();
    Sealer::new(3).unwrap().seal(&session_key(), &[nonce; 24], plain, &mut out).unwrap();
    out
}

fn pack_of(class: PackClass, frames: &[FramePlain], nonce: u8) -> BuiltPack {
    let mut builder = PackBuilder::new(session(), class);
    for (nonce, plain) in frames.iter().enumerate() {
        builder.push(&frame(plain, nonce as u8), plain.kind(), plain.list()).unwrap();
    }
    builder.finish(&ring().repo.index, &[nonce; 24]).unwrap()
}

pub fn pack() -> BuiltPack {
    let leaves = plain(ChunkKind::Leaf, &[text(5000), text(70), Vec::new()]);
    let data = plain(ChunkKind::Data, &[noise(1, 9000), noise(2, 100)]);
    pack_of(PackClass::Content, &[leaves, data], 0x99)
}

pub fn metadata_pack() -> BuiltPack {
    let branches = plain(ChunkKind::Branch, &[text(500), text(7)]);
    let lists = plain(ChunkKind::BlobList, &[noise(3, 90)]);
    let leaves = plain(ChunkKind::MetadataLeaf, &[text(900)]);
    pack_of(PackClass::Metadata, &[branches, lists, leaves], 0x9a)
}

pub fn index() -> (IndexName, Vec<u8>) {
    let pack = pack();
    let mut builder = IndexBuilder::new();
    builder.add(pack.name, pack.bytes.len() as u32, &pack.frames).unwrap();
    builder.finish(session(), &repo(), &ring().repo.index, &[[0xaa; 24], [0xab; 24]], &writer()).unwrap()
}

pub fn snapshot() -> Snapshot {
    Snapshot {
        session: session(),
        writer: writer().id(),
        roots: vec![(ChunkKind::Branch, ChunkId([1; 32])), (ChunkKind::BlobList, ChunkId([2; 32]))],
        says: Says {
            body: br#"{"cluster":"prod"}"#.to_vec(),
            description: b"{}".to_vec(),
            shards: vec![br#"{"name":"a.b"}"#.to_vec(), br#"{"name":"a.c"}"#.to_vec()],
        },
    }
}

pub fn snapshot_object() -> (SnapshotId, Vec<u8>) {
    snapshot().seal(&repo(), &session_key(), &[0xbb; 24], &writer()).unwrap()
}

pub fn credential(by: NewLock<'_>) -> Made {
    Credential::seal(&ring(), by, [0xcc; 32], &[0xdd; 24]).unwrap()
}

pub fn by_password() -> NewLock<'static> {
    NewLock::Password(PASSWORD, CHEAP)
}

/// The secret of a credential that is locked to its public key.
pub fn identity() -> Identity {
    Identity::from_bytes([0xef; 32])
}

pub fn by_recipient() -> NewLock<'static> {
    NewLock::Recipient(identity().recipient())
}

/// What the administrator says of a credential of that lock.
pub fn listed(by: NewLock<'_>) -> (CredentialId, Listed) {
    let made = credential(by);
    (made.id, Listed { sets: ring().sets(), public: made.public })
}

/// The secret of the second epoch.
pub fn second() -> ContentSecret {
    ContentSecret::from_bytes(2, [0x67; 32])
}

fn sorted<T>(mut items: Vec<(CredentialId, T)>) -> Vec<(CredentialId, T)> {
    items.sort_by_key(|item| item.0);
    items
}

/// The entry that begins the second epoch.
pub fn epoch() -> Body {
    let grant =
        |(id, listed): (CredentialId, Listed)| (id, second().grant(&listed.public, &repo(), &id, [0x89; 32]).unwrap());
    let grants = sorted([by_recipient(), by_password()].map(|by| grant(listed(by))).to_vec());
    Body::Epoch { content: second().public(), grants }
}

pub fn remark() -> Remark {
    let labels = Some(["audit-2026".to_owned(), "nightly".to_owned()].into());
    Remark { pinned: true, reason: "kept for the auditors".to_owned(), labels }
}

pub fn sealed_remark() -> Sealed {
    remark().seal(&snapshot_object().0, &repo(), &ring().repo.index, [0xac; 24]).unwrap()
}

pub fn key_file() -> KeyFile {
    KeyFile::from_bytes([0xee; 32])
}

pub fn pack_name(session: u8, hash: u8) -> PackName {
    PackName { session: SessionId([session; 16]), class: PackClass::Content, hash: ObjectHash([hash; 32]) }
}

/// One body of every kind, in an order in which all of them apply.
pub fn bodies() -> Vec<(&'static str, Body)> {
    let (s, s2, s3) = (session(), SessionId::new(5, &writer().id()), SessionId::new(6, &writer().id()));
    let (snapshot, _) = snapshot_object();
    let (index, _) = index();
    let packs = vec![pack().name];
    let frames = vec![26, 4122];
    let remarks = |sealed| Body::Remark { remarks: vec![(snapshot, sealed)] };
    vec![
        (
            "log-writers",
            Body::Writers {
                writers: vec![(writer().id(), Roles::WRITE)],
                credentials: sorted(
                    [by_recipient(), by_password(), NewLock::KeyFile(&key_file())].map(listed).to_vec(),
                ),
            },
        ),
        ("log-open", Body::Open { session: s, key: wrapped(&s), adopts: None, bases: vec![] }),
        ("log-commit", Body::Commit { session: s, snapshot: Some(snapshot), indexes: vec![index], replaces: vec![] }),
        ("log-vouch", Body::Vouch { indexes: vec![index], snapshots: vec![snapshot] }),
        ("log-open-base", Body::Open { session: s2, key: wrapped(&s2), adopts: None, bases: vec![snapshot] }),
        ("log-adopt", Body::Open { session: s3, key: wrapped(&s3), adopts: Some(s2), bases: vec![snapshot] }),
        ("log-lost", Body::Lost { lost: vec![LostFrames { pack: pack().name, frames }] }),
        ("log-found", Body::Found { packs: packs.clone() }),
        ("log-remark", remarks(sealed_remark())),
        ("log-remark-gone", remarks(Sealed::NONE)),
        ("log-forget", Body::Forget { snapshots: vec![snapshot] }),
        ("log-fence", Body::Fence { session: s3 }),
        ("log-condemn", Body::Condemn { computed: 12, packs: packs.clone() }),
        ("log-retire", Body::Retire { packs }),
        (
            "log-removed",
            Body::Writers {
                writers: vec![],
                credentials: vec![(listed(NewLock::KeyFile(&key_file())).0, Listed::GONE)],
            },
        ),
        ("log-epoch", epoch()),
    ]
}

pub fn needs_admin(body: &Body) -> bool {
    use Body::*;
    matches!(
        body,
        Writers { .. }
            | Vouch { .. }
            | Forget { .. }
            | Fence { .. }
            | Condemn { .. }
            | Retire { .. }
            | Epoch { .. }
            | Remark { .. }
    )
}

/// The log made of [`bodies`], and the state after all of it.
pub fn log() -> (Vec<(&'static str, Vec<u8>)>, State) {
    log_of(bodies())
}

fn log_of(bodies: Vec<(&'static str, Body)>) -> (Vec<(&'static str, Vec<u8>)>, State) {
    let mut state = State::new(ObjectHash::of(&config_object()), &config());
    let mut objects = Vec::new();
    for (name, body) in bodies {
        let key = if needs_admin(&body) { admin() } else { writer() };
        let n = state.n() + 1;
        let entry = Entry { n, previous: state.head(), writer: key.id(), time_ms: 1_700_000_000_000 + n, body };
        let (hash, bytes) = entry.encode(&repo(), &key).unwrap();
        assert_eq!(state.apply(hash, &entry).unwrap(), repo_format::log_rules::Outcome::Applied, "{name}");
        objects.push((name, bytes));
    }
    (objects, state)
}

pub fn checkpoint() -> (Name, Vec<u8>) {
    log().1.to_checkpoint(&repo(), &admin()).unwrap()
}

/// The state while a snapshot stands, and a remark on it.
pub fn checkpoint_with_remark() -> (Name, Vec<u8>) {
    let until = bodies().iter().position(|(name, _)| *name == "log-remark").unwrap();
    log_of(bodies()[..=until].to_vec()).1.to_checkpoint(&repo(), &admin()).unwrap()
}

/// One object of every kind, by the name of its golden vector.
pub fn objects() -> Vec<(&'static str, Vec<u8>)> {
    let mut all = vec![
        ("config", config_object()),
        ("credential-password", credential(by_password()).bytes),
        ("credential-key-file", credential(NewLock::KeyFile(&key_file())).bytes),
        ("credential-recipient", credential(by_recipient()).bytes),
        ("key-file", key_file().to_text().as_bytes().to_vec()),
        ("paper", repo_format::paper::to_text(&key_file()).as_bytes().to_vec()),
        ("recipient", identity().recipient().to_text().into_bytes()),
        ("identity", identity().to_text().as_bytes().to_vec()),
        ("frame-zstd", frame(&plain(ChunkKind::Leaf, &[text(5000), text(70)]), 1)),
        ("frame-raw", frame(&plain(ChunkKind::Data, &[noise(1, 300)]), 2)),
        ("pack", pack().bytes),
        ("pack-metadata", metadata_pack().bytes),
        ("index", index().1),
        ("snapshot", snapshot_object().1),
        ("checkpoint", checkpoint().1),
        ("checkpoint-remark", checkpoint_with_remark().1),
        ("trim", repo_format::trim::encode(3000, &repo(), &admin()).unwrap().1),
    ];
    all.extend(log().0);
    all
}

/// Calls `refused` with every byte of `object` changed in turn (all bits in small objects) and every truncation.
pub fn damage(object: &[u8], refused: impl Fn(&[u8]) -> bool) {
    let masks: &[u8] = if object.len() < 2000 { &[1, 2, 4, 8, 16, 32, 64, 128] } else { &[1] };
    for at in 0..object.len() {
        for mask in masks {
            let mut bad = object.to_vec();
            bad[at] ^= mask;
            assert!(refused(&bad), "byte {at} ^ {mask:#x} went unnoticed");
        }
    }
    for length in 0..object.len() {
        assert!(refused(&object[..length]), "truncation to {length} went unnoticed");
    }
    let mut longer = object.to_vec();
    longer.push(0);
    assert!(refused(&longer), "a byte more went unnoticed");
}
