//! Body of the fuzz target of what is remembered of files.

use super::before::Before;
use super::memory::{Known, MAGIC, Remembered, put_block, put_entry};

/// A file as it comes; one with a block of these bytes; and one whose entries they are, compressed. What is read of those is the one
/// encoding of what they say.
pub fn files_memory(bytes: &[u8]) {
    read(bytes);
    read(&one_block(bytes));
    let Ok(compressed) = zstd::bulk::compress(bytes, 1) else { return };
    let mut again = Vec::new();
    read(&one_block(&compressed)).iter().for_each(|known| put_entry(&mut again, known));
    assert!(bytes.starts_with(&again));
}

fn one_block(compressed: &[u8]) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    put_block(&mut file, compressed);
    file
}

/// All that a file gives. Where its keys ascend, each is found by its own.
fn read(file: &[u8]) -> Vec<Known> {
    let Some(remembered) = Remembered::of(file) else { return Vec::new() };
    let all: Vec<Known> = remembered.collect();
    let ascend = all.is_sorted_by(|a, b| a.key < b.key);
    for each in [1, 3] {
        let Some(remembered) = Remembered::of(file) else { continue };
        let mut before = Before::new(remembered, true);
        let found = all.iter().step_by(each).all(|known| before.find(&known.key).as_ref() == Some(known));
        assert!(found || !ascend);
    }
    all
}
