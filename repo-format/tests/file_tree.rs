//! File trees: what fits is read back as it was, in one encoding, and lies whole in its leaf; what does not fit is refused.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use proptest::prelude::*;
use repo_format::file_tree::{FileRecord, attributes, extents, parts_of};
use repo_format::fuzz::file_tree;
use repo_format::leaf::{BODY_INLINE_MAX, Stored, VALUE_INLINE_MAX, stored};
use repo_format::limits::*;
use repo_format::record::check;
use support::files::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_fits_is_read_back_and_nothing_else(file in any_file()) {
        let record = file.record();
        let mut body = Vec::new();
        let traits = record.put(&mut body);
        prop_assert_eq!(check(&body), Ok(traits));
        match FileRecord::parse(&body) {
            Ok(read) => {
                prop_assert_eq!(&read, &record);
                // What refers to chunks has no blob beside its leaf.
                prop_assert_eq!(stored(&body), Ok(Stored::Whole));
                prop_assert!(record.fits());
            }
            Err(_) => prop_assert!(!record.fits()),
        }
    }
}

/// The largest record that there is lies whole in its leaf, and one byte more anywhere makes none.
#[test]
fn no_record_of_a_file_lies_beside_its_leaf() {
    use repo_format::file_tree::{Bytes, Lacks};
    let (name, first) = (vec![b'n'; USER_NAME_MAX + 1], [&b"\0"[..], &b"x\0".repeat(VALUE_INLINE_MAX)].concat());
    let (content, aside) = (vec![1; CONTENT_INLINE_MAX + 1], vec![1; ASIDE_INLINE_MAX + 1]);
    let target = vec![b't'; TARGET_MAX + 1];
    let largest = FileRecord {
        mode: 0o100_644,
        owner: (u32::MAX, u32::MAX),
        user: Some(&name[1..]),
        group: Some(&name[1..]),
        modified: (i64::MIN, 999_999_999),
        content: Some(Bytes::Here(&content[1..])),
        target: None,
        device: None,
        attributes: Some(Bytes::Here(&aside[1..])),
        sparse: Some(Bytes::Here(&aside[1..])),
        first: Some(&first[..VALUE_INLINE_MAX]),
        lacks: Lacks { unread: true, left_out: true },
    };
    let link =
        FileRecord { mode: 0o120_777, content: None, sparse: None, target: Some(&target[1..]), ..largest.clone() };
    for record in [&largest, &link] {
        let mut body = Vec::new();
        record.put(&mut body);
        assert_eq!(FileRecord::parse(&body).as_ref(), Ok(record));
        assert!(body.len() > VALUE_INLINE_MAX && body.len() < BODY_INLINE_MAX);
        assert_eq!(stored(&body), Ok(Stored::Whole));
    }
    for more in [
        FileRecord { user: Some(&name), ..largest.clone() },
        FileRecord { group: Some(&name), ..largest.clone() },
        FileRecord { content: Some(Bytes::Here(&content)), ..largest.clone() },
        FileRecord { attributes: Some(Bytes::Here(&aside)), ..largest.clone() },
        FileRecord { sparse: Some(Bytes::Here(&aside)), ..largest.clone() },
        FileRecord { first: Some(&first[..VALUE_INLINE_MAX + 2]), ..largest.clone() },
        FileRecord { target: Some(&target), ..link },
    ] {
        let mut body = Vec::new();
        more.put(&mut body);
        assert!(!more.fits() && FileRecord::parse(&body).is_err());
    }
}

/// What is damaged is refused, or is the one encoding of something else: the target of fuzzing asserts that.
#[test]
fn every_byte_flipped_and_every_length_cut() {
    for (name, bytes) in files() {
        for which in 0..4 {
            let input = [&[which][..], &bytes].concat();
            (1..input.len()).for_each(|length| _ = file_tree(&input[..length]));
            for at in 1..input.len() {
                for bits in 1..=255 {
                    let mut changed = input.clone();
                    changed[at] ^= bits;
                    file_tree(&changed);
                }
            }
        }
        let read = [parts_of(&bytes).is_ok(), FileRecord::parse(&bytes).is_ok()];
        let read = [read[0], read[1], attributes(&bytes).is_ok(), extents(&bytes).is_ok()];
        assert!(read.contains(&true), "{name}");
        let cut = (0..bytes.len()).filter(|n| FileRecord::parse(&bytes[..*n]).is_ok());
        // Columns behind those that all have may be lacking.
        assert!(cut.count() <= 3, "{name}");
    }
}

/// Two encodings of one meaning: the second is refused.
#[test]
fn a_record_has_one_encoding() {
    let (_, body) = records().swap_remove(0);
    assert!(FileRecord::parse(&body).is_ok());
    // The first cell is of the mode: its head, its column, its time.
    assert_eq!(body[..10], [2, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let same_time = [&[0x12, 1][..], &body[10..]].concat();
    // The second one, or a reference, without a time of its own; with one.
    let owner = body.windows(3).position(|three| three == [0x12, 3, 8]).unwrap();
    let mut own_time = body.clone();
    own_time.splice(owner..owner + 2, [2, 3, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut expiring = body.clone();
    expiring.splice(owner..owner + 2, [0x1a, 3, 0, 0, 0, 0, 0, 0, 0, 0]);
    let reference = body.windows(2).position(|two| two == [1, 2]).unwrap();
    let mut timed_reference = body.clone();
    timed_reference[reference] = 0x11;
    let no_names = body.windows(6).position(|name| name == b"\x12\x04\x03ann").unwrap();
    let mut empty_name = body.clone();
    empty_name.splice(no_names..no_names + 6, [0x12, 4, 0]);
    let no_attributes = [&body[..], &[0x12, 9, 0]].concat();
    for other in [same_time, own_time, expiring, timed_reference, empty_name, no_attributes] {
        assert!(FileRecord::parse(&other).is_err(), "{other:x?}");
    }
    let newer = [&body[..], &[0x12, 13, 0]].concat();
    assert!(matches!(FileRecord::parse(&newer), Err(repo_format::FormatError::Unsupported(_))));
}
