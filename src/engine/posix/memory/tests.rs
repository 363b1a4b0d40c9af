//! What a machine remembers of its files, written, read, cut and changed.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::super::before::Before;
use super::*;

const SNAPSHOT: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// The bytes of a file of these, with its end.
fn written(all: &[Known]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("files");
    let mut to = Remembering::create(&path).unwrap();
    all.iter().for_each(|known| to.add(known).unwrap());
    let aside = to.finish(7).unwrap();
    let pass: Vec<Known> = all_of(&fs::read(aside.place()).unwrap());
    assert_eq!(pass, all);
    assert!(ending(&path).is_none() && Remembered::open(&path).is_none());
    aside.stands(SNAPSHOT).unwrap();
    let end = ending(&path).unwrap();
    assert_eq!((end.bytes, end.snapshot.as_str()), (7, SNAPSHOT));
    fs::read(&path).unwrap()
}

fn all_of(bytes: &[u8]) -> Vec<Known> {
    Remembered::of(bytes).map(Iterator::collect).unwrap_or_default()
}

fn before(bytes: &[u8]) -> Before<'_> {
    Before::new(Remembered::of(bytes).unwrap(), true)
}

fn known(key: &[u8], number: u64, body: Vec<u8>) -> Known {
    let (modified, changed) = ((number as i64, 999_999_999), (-(number as i64), 1));
    let local = Local { device: number, inode: number << 40, size: !number, modified, changed };
    Known { key: key.to_vec(), local, young: number % 2 == 1, body }
}

/// Some of few keys; bodies of which one or a few fill a block.
fn some() -> impl Strategy<Value = Vec<Known>> {
    let key = proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(b'a'), Just(0xff)], 0..5);
    let length = prop_oneof![8 => 0..40_usize, 1 => BLOCK / 3..BLOCK * 2];
    let body = (any::<u8>(), length).prop_map(|(byte, n)| vec![byte; n]);
    proptest::collection::btree_map(key, (any::<u32>(), body), 0..40)
        .prop_map(|all| all.into_iter().map(|(key, (number, body))| known(&key, u64::from(number), body)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn what_was_written_is_found_in_order(
        all in some(),
        asked in proptest::collection::btree_map(proptest::collection::vec(0u8..3, 0..4), any::<bool>(), 0..20),
    ) {
        let bytes = written(&all);
        prop_assert_eq!(&all_of(&bytes), &all);
        let mut each = before(&bytes);
        prop_assert!(all.iter().all(|known| each.find(&known.key).as_ref() == Some(known)));
        prop_assert!(each.next_below(b"").is_none());

        let mut some = before(&bytes);
        let mut left: VecDeque<&Known> = all.iter().collect();
        let keys = asked.iter().map(|(key, below)| {
            (key.iter().map(|n| [0, 1, b'a'][usize::from(*n)]).collect::<Vec<u8>>(), *below)
        });
        let mut keys: Vec<_> = keys.collect();
        keys.sort();
        for (key, below) in keys {
            while left.front().is_some_and(|first| first.key < key) {
                left.pop_front();
            }
            let mut next = || left.pop_front_if(|first| first.key == key || below && first.key.starts_with(&key));
            if below {
                while let Some(expected) = next() {
                    let next = some.next_below(&key).map(<[u8]>::to_vec);
                    prop_assert_eq!(next.as_ref(), Some(&expected.key));
                    prop_assert_eq!(some.find(&expected.key), Some(expected.clone()));
                }
                prop_assert_eq!(some.next_below(&key), None);
            } else {
                prop_assert_eq!(some.find(&key), next().cloned());
            }
        }
    }
}

/// Four blocks, of which the last is not full.
fn sample() -> Vec<Known> {
    let large = |byte| vec![byte; BLOCK];
    vec![
        known(b"\0", 0, b"root".to_vec()),
        known(b"\0a", 1, large(1)),
        known(b"\0a\0b", 2, large(2)),
        known(b"\0b", 300, Vec::new()),
        known(b"\0c", 1 << 30, large(3)),
        known(b"\0d", 5, vec![9; 300]),
    ]
}

#[test]
fn what_is_cut_or_changed_gives_nothing_that_was_not_written() {
    let (all, bytes) = (sample(), written(&sample()));
    let begins = |bytes: &[u8]| all.starts_with(&all_of(bytes));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("files");
    for length in 0..bytes.len() {
        assert!(begins(&bytes[..length]), "cut to {length}");
        fs::write(&path, &bytes[..length]).unwrap();
        assert!(ending(&path).is_none(), "cut to {length}");
    }
    let mut changed = bytes.clone();
    for at in 0..bytes.len() {
        for bits in [1, 0x10, 0x80, 0xff] {
            changed[at] = bytes[at] ^ bits;
            assert!(begins(&changed), "byte {at}");
        }
        changed[at] = bytes[at];
    }
    assert_eq!(all_of(&bytes), all);
}

/// `ONEFOLD_BLESS=1` writes the seeds of the fuzz target: a file, and entries as they are.
#[test]
fn seeds_of_the_fuzz_target_are_read() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/files_memory");
    let mut entries = Vec::new();
    sample()[2..].iter().filter(|known| known.body.len() < BLOCK).for_each(|known| put_entry(&mut entries, known));
    if std::env::var_os("ONEFOLD_BLESS").is_some() {
        fs::create_dir_all(&corpus).unwrap();
        fs::write(corpus.join("four-blocks"), written(&sample())).unwrap();
        fs::write(corpus.join("entries"), &entries).unwrap();
    }
    assert_eq!(all_of(&fs::read(corpus.join("four-blocks")).unwrap()), sample());
    assert_eq!(fs::read(corpus.join("entries")).unwrap(), entries);
}
