//! Golden vectors: every structure, byte for byte, in `vectors/*.hex`. `ONEFOLD_BLESS=1` writes them anew, which is a
//! change of the format and belongs into SPEC "Changes".
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)]

mod support;

use repo_format::id::ChunkKind;
use repo_format::names::Name;
use repo_format::record::Class;
use repo_format::run_digest::{Head, RunDigest};
use std::fmt::Write;
use std::path::PathBuf;
use support::chunks::chunks;
use support::files::files;
use support::*;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for line in bytes.chunks(64) {
        line.iter().for_each(|b| write!(out, "{b:02x}").unwrap());
        out.push('\n');
    }
    out
}

/// The objects, and what is derived from fixed keys.
fn vectors() -> Vec<(String, String)> {
    let keys = ring().repo;
    let gear: Vec<u8> = keys.cut.gear().iter().flat_map(|w| w.to_le_bytes()).collect();
    let mut derived = String::new();
    let mut line = |what: &str, bytes: &[u8]| {
        let bytes: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        writeln!(derived, "{what} {bytes}").unwrap();
    };
    line("chunk-id-key", keys.chunk_id.expose());
    line("cut-key", keys.cut.expose());
    line("fingerprint-key", keys.fingerprint.expose());
    line("index-key", keys.index.expose());
    line("tree-key", &keys.cut.tree()[..]);
    line("gear-hash", blake3::hash(&gear).as_bytes());
    line("gear-first", &gear[..8]);
    line("leaf-abc", &keys.chunk_id.id(ChunkKind::Leaf, b"abc").0);
    line("data-abc", &keys.chunk_id.id(ChunkKind::Data, b"abc").0);
    line("fingerprint-abc", &keys.fingerprint.fingerprint(b"abc").to_le_bytes());
    line("run-digest-key", keys.fingerprint.run_digest().expose());
    line("run-digest-none", &RunDigest::new(&keys.fingerprint.run_digest()).finish());
    line("run-digest-two", &digest_of_two());
    line("admin-public", &admin().id().0);
    line("writer-public", &writer().id().0);
    line("content-public", &ring().read[0].public().key);
    line("identity-public", &identity().recipient().0);
    line("password-public", &credential(by_password()).public.0);
    line("key-file-public", &credential(repo_format::credential::NewLock::KeyFile(&key_file())).public.0);
    line("frame-list-hash", &repo_format::frame::FrameHeader::parse(&objects()[8].1).unwrap().list_hash.0);
    let mut all = vec![("derived".to_string(), derived), ("groups-murmur3".to_string(), groups())];
    all.extend(
        objects().into_iter().chain(chunks()).chain(files()).map(|(name, bytes)| (name.to_string(), hex(&bytes))),
    );
    all
}

/// The digest of two records: a group `aster` of key `aster/1` and body `abc`, and a marker `rose` without group or body.
fn digest_of_two() -> [u8; 32] {
    let mut digest = RunDigest::new(&ring().repo.fingerprint.run_digest());
    let heads = [
        Head { key_len: 7, group_len: 5, class: Class::Row, body_len: 3 },
        Head { key_len: 4, group_len: 0, class: Class::Marker, body_len: 0 },
    ];
    digest.update(heads.into_iter(), b"aster/1abcrose");
    digest.finish()
}

/// Keys of every length up to two blocks and a tail, their tokens and groups.
fn groups() -> String {
    let mut out = String::new();
    for n in (0..=18).chain([31, 32, 33, 47]) {
        let key: Vec<u8> = (0..n).map(|i| (i * 37 + n * 11) as u8 ^ 0x80).collect();
        let text = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let token = repo_format::murmur3::token(&key);
        writeln!(out, "token \"{}\" {token} {}", text(&key), text(&records::group(&key))).unwrap();
    }
    out
}

#[test]
fn vectors_are_as_they_were() {
    let bless = std::env::var_os("ONEFOLD_BLESS").is_some();
    let mut known: Vec<String> = Vec::new();
    for (name, now) in vectors() {
        let path = folder().join(format!("{name}.hex"));
        if bless {
            std::fs::write(&path, &now).unwrap();
        }
        let then = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(then == now, "{name} is no longer written as its vector says");
        known.push(format!("{name}.hex"));
    }
    for file in std::fs::read_dir(folder()).unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&file), "vectors/{file} belongs to no structure");
    }
}

#[test]
fn names_have_one_spelling() {
    let names = [
        Name::Config,
        Name::Key(credential(by_password()).id),
        Name::Log(7),
        Name::Log(u64::MAX),
        checkpoint().0,
        Name::Snapshot(snapshot_object().0),
        Name::Pack(pack().name),
        Name::Index(index().0),
        Name::Trim(3000),
    ];
    for name in names {
        let text = name.to_string();
        assert!(text.starts_with(name.kind().prefix()));
        assert_eq!(Name::parse(&text).unwrap(), name);
        for wrong in [text.to_uppercase(), format!("{text} "), format!("/{text}"), format!("{text}0")] {
            assert!(Name::parse(&wrong).is_err(), "{wrong:?}");
        }
    }
    assert!(Name::Pack(pack().name).verify(&pack().bytes).is_ok());
    assert!(Name::Pack(pack().name).verify(&index().1).is_err());
    for wrong in ["", "log/1", "log/+0000000000000000001", "log/99999999999999999999", "pack/12-34", "lock/1"] {
        assert!(Name::parse(wrong).is_err(), "{wrong:?}");
    }
}
