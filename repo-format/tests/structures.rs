//! Every structure: what was written is read back, and what was changed in any byte is refused.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use proptest::prelude::*;
use repo_format::config::Config;
use repo_format::error::FormatError;
use repo_format::frame::{FrameHeader, FramePlain, Opener, Sealer};
use repo_format::id::*;
use repo_format::index::{INDEX_HEADER_LEN, Index, IndexBuilder, IndexHead};
use repo_format::key::Signed;
use repo_format::keyfile::KeyFile;
use repo_format::limits::*;
use repo_format::log::Entry;
use repo_format::log_state::State;
use repo_format::names::{Name, PackClass, PackName};
use repo_format::pack::{BuiltPack, PackBuilder, TRAILER_LEN, footer_range, open_footer, open_pack};
use repo_format::snapshot::{Says, Snapshot};
use support::*;

#[test]
fn config_round_trip_and_damage() {
    let bytes = config_object();
    let (hash, parsed) = Config::parse(&bytes).unwrap();
    assert_eq!((hash, &parsed), (ObjectHash::of(&bytes), &config()));
    damage(&bytes, |b| Config::parse(b).is_err());
}

#[test]
fn where_the_log_lies_is_part_of_the_configuration() {
    for (create_atomic, log_store) in [(false, false), (true, false), (false, true), (true, true)] {
        let config = Config { create_atomic, log_store, ..config() };
        let bytes = config.encode(&admin()).unwrap();
        assert_eq!(bytes[42], u8::from(create_atomic) | u8::from(log_store) << 1);
        assert_eq!(Config::parse(&bytes).unwrap().1, config);
    }
    let mut other = config_object();
    let signed = other.len() - 64;
    other[42] |= 4;
    let signature = admin().sign(Signed::Config, &repo(), &other[..signed]);
    other[signed..].copy_from_slice(&signature);
    assert!(matches!(Config::parse(&other), Err(FormatError::Unsupported(_))));
}

#[test]
fn what_is_newer_is_refused_by_name() {
    let unsupported = |bytes: &[u8]| match Config::parse(bytes) {
        Err(FormatError::Unsupported(what)) => what,
        other => panic!("{other:?}"),
    };
    let mut newer = config_object();
    newer[8] = 1;
    assert_eq!(unsupported(&newer), "config version 1");
    let mut feature = config_object();
    feature.splice(9..10, [1, 4].into_iter().chain(*b"ring"));
    assert_eq!(unsupported(&feature), "config feature \"ring\"");
    let chunker = Config { chunker: 2, ..config() };
    assert_eq!(chunker.encode(&admin()), Err(FormatError::Unsupported("chunker 2".into())));
    let mut frame = frame(&plain(ChunkKind::Leaf, &[text(10)]), 1);
    frame[0] = 9;
    assert_eq!(FrameHeader::parse(&frame), Err(FormatError::Unsupported("frame version 9".into())));
}

#[test]
fn secrets_print_nothing() {
    let shown = format!("{:?} {:?} {:?}", ring(), content(), key_file());
    for secret in [0x33u8, 0x44, 0x55, 0x66, 0x77, 0xee] {
        assert!(
            !shown.contains(&format!("{secret}, {secret}")) && !shown.contains(&format!("{secret:02x}{secret:02x}"))
        );
    }
}

#[test]
fn key_file_survives_editors_and_notices_typos() {
    let text = key_file().to_text();
    assert_eq!(KeyFile::from_text(&text).unwrap().expose(), key_file().expose());
    assert!(KeyFile::from_text(&text.replace('\n', "\r\n")).is_ok());
    assert!(KeyFile::from_text(&text.replacen("ee", "ef", 1)).is_err());
    assert!(KeyFile::from_text(&text.replace("version 0", "version 1")).is_err());
    assert!(KeyFile::from_text("").is_err());
}

#[test]
fn session_keys_open_for_their_session_only() {
    let wrapped = wrapped(&session());
    let secrets = ring().read;
    assert_eq!(wrapped.unwrap(&secrets, &repo(), &session()).unwrap(), content());
    assert!(wrapped.unwrap(&secrets, &repo(), &SessionId([0; 16])).is_err());
    assert!(wrapped.unwrap(&secrets, &RepoId([0; 32]), &session()).is_err());
    assert!(matches!(wrapped.unwrap(&[], &repo(), &session()), Err(FormatError::WrongKey(_))));
}

#[test]
fn frame_damage() {
    let mut opener = Opener::new().unwrap();
    let mut refused = |b: &[u8]| opener.open(&content(), &ring().repo.chunk_id, b).is_err();
    for plain in [plain(ChunkKind::Data, &[noise(1, 300), noise(2, 20)]), plain(ChunkKind::Leaf, &[text(9000)])] {
        let frame = frame(&plain, 3);
        assert_eq!(frame.len() % FRAME_PADDING, 0);
        for at in 0..frame.len() {
            let mut bad = frame.clone();
            bad[at] ^= 1;
            assert!(refused(&bad), "byte {at}");
        }
        for length in 0..frame.len() {
            assert!(refused(&frame[..length]), "{length}");
        }
    }
}

#[test]
fn a_chunk_under_a_wrong_id_is_refused() {
    let mut plain = FramePlain::new(ChunkKind::Leaf);
    plain.push(ChunkId([9; 32]), b"abc").unwrap();
    let frame = frame(&plain, 1);
    let mut opener = Opener::new().unwrap();
    let error = opener.open(&content(), &ring().repo.chunk_id, &frame).unwrap_err();
    assert_eq!(error, FormatError::Mismatch("chunk id"));
}

#[test]
fn pack_round_trip_and_damage() {
    pack_survives(&pack());
    pack_survives(&metadata_pack());
}

fn pack_survives(built: &BuiltPack) {
    let key = ring().repo.index;
    assert_eq!(built.bytes.len(), padme(built.bytes.len()));
    assert_eq!(open_pack(&built.name, &built.bytes, &key).unwrap(), built.frames);
    assert_eq!(PackName::from_bytes(&built.name.to_bytes()), Ok(built.name));
    let other = PackClass::ALL.into_iter().find(|class| *class != built.name.class).unwrap();
    let moved = PackName { class: other, ..built.name };
    assert!(open_pack(&moved, &built.bytes, &key).is_err(), "under a name of the other class");
    let range = footer_range(&built.bytes[built.bytes.len() - TRAILER_LEN..], built.bytes.len() as u64).unwrap();
    let footer = &built.bytes[range.start as usize..range.end as usize];
    assert_eq!(open_footer(footer, range.start, &built.name, &key).unwrap(), built.frames);
    let stranger = PackName { session: SessionId([0; 16]), ..built.name };
    assert!(open_footer(footer, range.start, &stranger, &key).is_err());
    assert!(open_footer(footer, range.start, &moved, &key).is_err());
    damage(&built.bytes, |b| open_pack(&built.name, b, &key).is_err());
    // The same with a name that fits: what is not covered by a key is checked by itself.
    for at in (0..built.bytes.len()).rev().step_by(7) {
        let mut bad = built.bytes.clone();
        bad[at] ^= 0x10;
        let name = PackName { hash: ObjectHash::of(&bad), ..built.name };
        if open_pack(&name, &bad, &key).is_ok() {
            let inside = |f: &repo_format::pack::PackFrame| (f.offset..f.offset + f.length).contains(&(at as u32));
            assert!(built.frames.iter().any(inside), "byte {at}");
        }
    }
}

/// Neither a pack nor an index object mixes what a listing tells apart.
#[test]
fn a_frame_of_the_other_class_is_refused() {
    let (content, metadata) = (pack(), metadata_pack());
    for (one, other) in [(&content, &metadata), (&metadata, &content)] {
        let mut builder = PackBuilder::new(session(), one.name.class);
        for frame in &other.frames {
            let bytes = &other.bytes[frame.offset as usize..][..frame.length as usize];
            let refused = builder.push(bytes, frame.kind, &frame.chunks);
            assert_eq!(refused, Err(FormatError::Mismatch("frame and its pack's class")));
        }
        let mut builder = IndexBuilder::new();
        builder.add(one.name, one.bytes.len() as u32, &other.frames).unwrap();
        let nonces = [[1; 24], [2; 24]];
        let (name, bytes) = builder.finish(session(), &repo(), &ring().repo.index, &nonces, &writer()).unwrap();
        let refused = Index::open(&name, &bytes, &repo(), &ring().repo.index).unwrap_err();
        assert_eq!(refused, FormatError::Mismatch("frame and its pack's class"));
    }
}

#[test]
fn frames_move_as_they_are() {
    let built = pack();
    let other = SessionId([0x23; 16]);
    let mut builder = PackBuilder::new(other, PackClass::Content);
    for frame in &built.frames {
        let bytes = &built.bytes[frame.offset as usize..][..frame.length as usize];
        assert!(builder.push(bytes, ChunkKind::Branch, &frame.chunks).is_err(), "wrong list");
        builder.push(bytes, frame.kind, &frame.chunks).unwrap();
    }
    let moved = builder.finish(&ring().repo.index, &[0; 24]).unwrap();
    let mut opener = Opener::new().unwrap();
    for frame in &moved.frames {
        let bytes = &moved.bytes[frame.offset as usize..][..frame.length as usize];
        let head = FrameHeader::parse(bytes).unwrap();
        assert_eq!((head.session, head.wrapped), (session(), wrapped(&session())));
        assert_eq!(opener.open(&content(), &ring().repo.chunk_id, bytes).unwrap().list(), frame.chunks);
    }
}

#[test]
fn index_round_trip_and_damage() {
    let (name, bytes) = index();
    let key = ring().repo.index;
    let index = Index::open(&name, &bytes, &repo(), &key).unwrap();
    let built = pack();
    assert_eq!(index.len(), 5);
    assert_eq!(index.head().packs, [(built.name, built.bytes.len() as u32)]);
    assert_eq!(index.head().writer, writer().id());
    for frame in &built.frames {
        for (position, chunk) in frame.chunks.iter().enumerate() {
            let found: Vec<_> = index.find(&chunk.id).collect();
            assert_eq!(found.len(), 1);
            assert_eq!((found[0].frame_offset, found[0].frame_length), (frame.offset, frame.length));
            assert_eq!((found[0].position as usize, found[0].length), (position, chunk.length));
            assert_eq!((found[0].pack, found[0].kind), (built.name, frame.kind));
            assert!(index.head().may_hold(&chunk.id));
        }
    }
    assert_eq!(index.find(&ChunkId([0; 32])).count(), 0);
    let length = IndexHead::length(&bytes[..INDEX_HEADER_LEN]).unwrap();
    assert_eq!(IndexHead::open(&bytes[..length], &key).unwrap().packs, index.head().packs);
    damage(&bytes, |b| Index::open(&name, b, &repo(), &key).is_err());
}

#[test]
fn filters_are_rarely_wrong() {
    let mut builder = IndexBuilder::new();
    let chunk =
        |i: u64| repo_format::frame::Listed { id: ChunkId(*blake3::hash(&i.to_le_bytes()).as_bytes()), length: 1 };
    let frames: Vec<_> = (0..100)
        .map(|f| repo_format::pack::PackFrame {
            offset: f * 4096,
            length: 4096,
            kind: ChunkKind::Leaf,
            chunks: (0..100).map(|i| chunk(u64::from(f) * 100 + i)).collect(),
        })
        .collect();
    builder.add(pack().name, 1 << 20, &frames).unwrap();
    let (name, bytes) = builder.finish(session(), &repo(), &ring().repo.index, &[[1; 24], [2; 24]], &writer()).unwrap();
    let index = Index::open(&name, &bytes, &repo(), &ring().repo.index).unwrap();
    assert!((0..10_000).all(|i| index.head().may_hold(&chunk(i).id)));
    let wrong = (10_000..110_000).filter(|i| index.head().may_hold(&chunk(*i).id)).count();
    assert!(wrong < 1500, "{wrong} of 100000 false positives");
}

#[test]
fn snapshot_round_trip_and_damage() {
    let (id, bytes) = snapshot_object();
    assert_eq!(Snapshot::sealed_by(&id, &bytes).unwrap(), (session(), wrapped(&session())));
    assert_eq!(Snapshot::open(&id, &bytes, &repo(), &content()).unwrap(), snapshot());
    damage(&bytes, |b| Snapshot::open(&id, b, &repo(), &content()).is_err());
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        let id = SnapshotId(*blake3::hash(&bad).as_bytes());
        assert!(Snapshot::open(&id, &bad, &repo(), &content()).is_err(), "byte {at} with a name that fits");
    }
    let shards = vec![text(100); 1000];
    let large = Snapshot { says: Says { body: text(1 << 20), shards, ..Says::default() }, ..snapshot() };
    let (id, bytes) = large.seal(&repo(), &session_key(), &[1; 24], &writer()).unwrap();
    assert!(bytes.len() < 4096);
    assert_eq!(Snapshot::open(&id, &bytes, &repo(), &content()).unwrap(), large);
}

#[test]
fn log_entries_round_trip_and_damage() {
    for (name, bytes) in log().0 {
        let (hash, entry) = Entry::parse(&bytes, &repo()).unwrap();
        let key = if entry.writer == admin().id() { admin() } else { writer() };
        assert_eq!(entry.encode(&repo(), &key).unwrap(), (hash, bytes.clone()), "{name}");
        assert!(Entry::parse(&bytes, &RepoId([0; 32])).is_err(), "of another repository");
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x20;
            assert!(Entry::parse(&bad, &repo()).is_err(), "{name} byte {at}");
            assert!(Entry::parse(&bytes[..at], &repo()).is_err(), "{name} cut at {at}");
        }
    }
}

#[test]
fn checkpoints_round_trip_at_every_entry_and_are_believed_from_few() {
    let mut state = State::new(ObjectHash::of(&config_object()), &config());
    for (what, bytes) in log().0 {
        let (hash, entry) = Entry::parse(&bytes, &repo()).unwrap();
        state.apply(hash, &entry).unwrap();
        let (name, object) = state.to_checkpoint(&repo(), &writer()).unwrap();
        let own = writer().id();
        let from = |own| State::from_checkpoint(&name, &object, &config(), own);
        assert_eq!(from(Some(&own)).unwrap(), state, "{what}");
        assert!(matches!(from(None), Err(FormatError::WrongKey(_))));
    }
    let (name, object) = checkpoint();
    let refused = |b: &[u8]| State::from_checkpoint(&name, b, &config(), None).is_err();
    assert!(!refused(&object));
    for at in 0..object.len() {
        let mut bad = object.clone();
        bad[at] ^= 1;
        assert!(refused(&bad), "byte {at}");
        let Name::Checkpoint(n, _) = name else { panic!() };
        let fitting = Name::Checkpoint(n, ObjectHash::of(&bad));
        assert!(State::from_checkpoint(&fitting, &bad, &config(), None).is_err(), "byte {at}, new name");
    }
}

#[test]
fn a_mark_of_trimming_is_of_its_number_and_the_administrators() {
    use repo_format::trim::{encode, mark_of, verify};
    let (name, mark) = encode(3000, &repo(), &admin()).unwrap();
    assert_eq!((name, mark_of(2000), mark_of(2999)), (Name::Trim(3000), name, name));
    assert_eq!((mark_of(0), mark_of(3000)), (Name::Trim(1000), Name::Trim(4000)));
    assert!(verify(3000, &mark, &config()).is_ok() && verify(4000, &mark, &config()).is_err());
    assert!([0, 1, 999, 3001].iter().all(|n| encode(*n, &repo(), &admin()).is_err()));
    assert!(verify(3000, &encode(3000, &repo(), &writer()).unwrap().1, &config()).is_err());
    damage(&mark, |bytes| verify(3000, bytes, &config()).is_err());
}

#[test]
fn padme_adds_little_and_repeats() {
    for n in (0..100_000).chain([usize::MAX, usize::MAX / 2, 1 << 40]) {
        let padded = padme(n);
        assert!(padded >= n && padded - n <= n / 100 * 12 + 12);
        assert_eq!(padme(padded), padded);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_round_trip(
        sizes in prop::collection::vec((0usize..3000, any::<bool>()), 1..20),
        level in 1i32..5,
        kind in 1u8..5,
    ) {
        let kind = ChunkKind::from_u8(kind).unwrap();
        let chunks: Vec<Vec<u8>> =
            sizes.iter().enumerate().map(|(i, (n, t))| if *t { text(*n) } else { noise(i as u64, *n) }).collect();
        let plain = plain(kind, &chunks);
        let mut frame = vec![7; 3];
        Sealer::new(level).unwrap().seal(&session_key(), &[5; 24], &plain, &mut frame).unwrap();
        let mut opener = Opener::new().unwrap();
        let open = opener.open(&content(), &ring().repo.chunk_id, &frame[3..]).unwrap();
        prop_assert_eq!(open.kind(), kind);
        let back: Vec<Vec<u8>> = open.chunks().map(|(_, b)| b.to_vec()).collect();
        prop_assert_eq!(back, chunks);
        prop_assert_eq!(open.list(), plain.list());
    }

    #[test]
    fn packs_and_indexes_round_trip(frames in prop::collection::vec(prop::collection::vec(0usize..500, 1..6), 0..6)) {
        let mut builder = PackBuilder::new(session(), PackClass::Content);
        for (i, sizes) in frames.iter().enumerate() {
            let chunks: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(j, n)| noise((i * 100 + j) as u64, *n)).collect();
            let plain = plain(ChunkKind::Data, &chunks);
            builder.push(&frame(&plain, i as u8), plain.kind(), plain.list()).unwrap();
        }
        let built = builder.finish(&ring().repo.index, &[3; 24]).unwrap();
        prop_assert_eq!(&open_pack(&built.name, &built.bytes, &ring().repo.index).unwrap(), &built.frames);
        let mut builder = IndexBuilder::new();
        builder.add(built.name, built.bytes.len() as u32, &built.frames).unwrap();
        let (name, bytes) =
            builder.finish(session(), &repo(), &ring().repo.index, &[[1; 24], [2; 24]], &writer()).unwrap();
        let index = Index::open(&name, &bytes, &repo(), &ring().repo.index).unwrap();
        prop_assert_eq!(index.iter().count(), frames.iter().map(Vec::len).sum::<usize>());
        prop_assert!(index.iter().map(|e| e.id).is_sorted());
    }
}
