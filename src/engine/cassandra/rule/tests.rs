use Ordering::{Equal, Greater};
use proptest::prelude::*;

use super::*;

const CELL: Entry<'_> =
    Entry { column: 1, kind: EntryKind::Cell, element: None, time: 100, ldt: 0, ttl: 0, value: Some(b"m") };

fn cell(time: i64, value: &[u8]) -> Entry<'_> {
    Entry { time, value: Some(value), ..CELL }
}

fn expiring(time: i64, ttl: u32, ldt: u32, value: &[u8]) -> Entry<'_> {
    Entry { time, ttl, ldt, value: Some(value), ..CELL }
}

fn tombstone(time: i64, ldt: u32) -> Entry<'static> {
    Entry { time, ldt, kind: EntryKind::Tombstone, value: None, ..CELL }
}

fn liveness(time: i64, ttl: u32, ldt: u32) -> Entry<'static> {
    Entry { column: 0, time, ttl, ldt, value: None, ..CELL }
}

fn deletion(time: i64, ldt: u32) -> Entry<'static> {
    Entry { kind: EntryKind::Deletion, ..tombstone(time, ldt) }
}

/// Each: what survives, what does not. The reverse order must say the same.
#[test]
fn ties() {
    let cases = [
        // Cells.resolveRegular: the time comes first, whatever else.
        (cell(101, b"a"), tombstone(100, 9)),
        (cell(101, b"a"), cell(100, b"z")),
        (tombstone(101, 1), cell(100, b"z")),
        // "Tombstones always win reconciliation with live cells of the same timestamp", and so do expiring cells.
        (tombstone(100, 1), cell(100, b"z")),
        (expiring(100, 10, 5, b"a"), cell(100, b"z")),
        // "we still prefer tombstones over expiring cells", even those that end later.
        (tombstone(100, 1), expiring(100, 10, 999, b"z")),
        // Both expire or are tombstones: the greater local deletion time.
        (expiring(100, 99, 51, b"a"), expiring(100, 10, 50, b"z")),
        (tombstone(100, 6), tombstone(100, 5)),
        // Then the lower TTL, then the greater bytes, unsigned, longer over its own prefix.
        (expiring(100, 9, 50, b"a"), expiring(100, 10, 50, b"z")),
        (expiring(100, 9, 50, b"b"), expiring(100, 9, 50, b"a")),
        (cell(100, b"\x80"), cell(100, b"\x7f")),
        (cell(100, b"ab"), cell(100, b"a")),
        (cell(100, b"a"), cell(100, b"")),
        (cell(-1, b"a"), cell(i64::MIN, b"z")),
        // LivenessInfo.supersedes.
        (liveness(101, 0, 0), liveness(100, 10, 50)),
        (liveness(100, EXPIRED_LIVENESS_TTL, 1), liveness(100, 10, 50)),
        (liveness(100, 10, 50), liveness(100, 0, 0)),
        (liveness(100, 10, 51), liveness(100, 9, 50)),
        (liveness(100, 9, 50), liveness(100, 10, 50)),
        // DeletionTime.supersedes.
        (deletion(101, 1), deletion(100, 9)),
        (deletion(100, 9), deletion(100, 1)),
    ];
    for (winner, loser) in cases {
        assert_eq!(resolve(&winner, &loser), Greater, "{winner:?} over {loser:?}");
        assert_eq!(resolve(&loser, &winner), Ordering::Less, "{winner:?} over {loser:?}");
        assert_eq!(resolve(&winner, &winner), Equal);
    }
}

#[test]
fn expiry() {
    let e = expiring(100, 10, 50, b"v");
    assert!(is_live(&e, 49) && !is_live(&e, 50));
    assert_eq!(expired(&e, 49), None);
    assert_eq!(expired(&e, 50), Some(tombstone(100, 40)));
    assert_eq!(expired(&cell(100, b"v"), u32::MAX), None);
    assert_eq!(expired(&liveness(100, 10, 50), 60), None);
    assert!(!is_live(&tombstone(100, 40), 0));
    assert!(!is_live(&liveness(100, EXPIRED_LIVENESS_TTL, u32::MAX), 0));
    assert!(covers(100, &e) && !covers(99, &e));
}

/// (id, clock, count, form).
fn context(shards: &[(u8, i64, i64, char)]) -> Vec<u8> {
    let marked: Vec<u16> = (0_u16..)
        .zip(shards)
        .filter_map(|(i, s)| match s.3 {
            'g' => Some(i + 0x8000),
            'l' => Some(i),
            _ => None,
        })
        .collect();
    let mut out = (marked.len() as u16).to_be_bytes().to_vec();
    marked.iter().for_each(|m| out.extend(m.to_be_bytes()));
    for (id, clock, count, _) in shards {
        out.extend([*id; 16]);
        out.extend(clock.to_be_bytes());
        out.extend(count.to_be_bytes());
    }
    out
}

#[test]
fn counters() {
    // First, second, what the merge gives; where it is one of them, that one and no copy.
    for (a, b, want) in [
        // Global over local and remote whatever the clock.
        (&[(1, 1, 5, 'g')][..], &[(1, 9, 9, 'l')][..], &[(1, 1, 5, 'g')][..]),
        (&[(1, 1, 5, 'g')], &[(1, 9, 9, 'r')], &[(1, 1, 5, 'g')]),
        (&[(1, 1, 5, 'l')], &[(1, 9, 9, 'r')], &[(1, 1, 5, 'l')]),
        // The greater clock; at equal clocks the greater count, signed.
        (&[(1, 2, 5, 'g')], &[(1, 1, 9, 'g')], &[(1, 2, 5, 'g')]),
        (&[(1, 2, 5, 'g')], &[(1, 2, -9, 'g')], &[(1, 2, 5, 'g')]),
        (&[(1, 2, 5, 'r')], &[(1, 3, 1, 'r')], &[(1, 3, 1, 'r')]),
        (&[(1, -2, 5, 'r')], &[(1, 3, 1, 'r')], &[(1, -2, 5, 'r')]),
        // Two local shards are added up.
        (&[(1, 2, 5, 'l')], &[(1, 3, 1, 'l')], &[(1, 5, 6, 'l')]),
        // Shards of both.
        (&[(1, 1, 1, 'g')], &[(2, 1, 2, 'g')], &[(1, 1, 1, 'g'), (2, 1, 2, 'g')]),
        (&[(1, 1, 1, 'g'), (3, 1, 1, 'r')], &[(2, 1, 2, 'g')], &[(1, 1, 1, 'g'), (2, 1, 2, 'g'), (3, 1, 1, 'r')]),
        (&[(1, 2, 7, 'g'), (2, 1, 2, 'g')], &[(1, 1, 1, 'g')], &[(1, 2, 7, 'g'), (2, 1, 2, 'g')]),
        (&[(1, 2, 7, 'g'), (2, 1, 2, 'g')], &[(1, 3, 1, 'g')], &[(1, 3, 1, 'g'), (2, 1, 2, 'g')]),
    ] {
        let (a, b, want) = (context(a), context(b), context(want));
        for (a, b) in [(&a, &b), (&b, &a)] {
            let got = match merge_contexts(a, b).unwrap() {
                Survivor::First => a.clone(),
                Survivor::Second => b.clone(),
                Survivor::Merged { context, .. } => {
                    assert!(context != *a && context != *b);
                    context
                }
            };
            assert_eq!(got, want);
        }
        assert_eq!(
            total(&want).unwrap(),
            want[2 + 2 * want[1] as usize..].chunks(32).map(|s| i64::from(s[31] as i8)).sum::<i64>()
        );
    }
    assert!(has_local_shards(&context(&[(1, 1, 1, 'g'), (2, 1, 1, 'l')])).unwrap());
    assert!(!has_local_shards(&context(&[(1, 1, 1, 'g'), (2, 1, 1, 'r')])).unwrap());
    for bad in [&[][..], &[0], &[0, 1, 0, 0], &[0, 0, 1], &[0x80, 0]] {
        assert!(total(bad).is_err());
    }
}

#[test]
fn counter_cells() {
    let [one, two] = [context(&[(1, 1, 1, 'g')]), context(&[(1, 2, 3, 'g')])];
    let resolved = |a: &Entry<'_>, b: &Entry<'_>| resolve_counter(a, b).unwrap();
    // A tombstone wins whatever the times.
    assert_eq!(resolved(&cell(200, &one), &tombstone(100, 1)), Survivor::Second);
    assert_eq!(resolved(&tombstone(100, 1), &tombstone(101, 1)), Survivor::Second);
    assert_eq!(resolved(&cell(100, &one), &cell(200, &two)), Survivor::Second);
    // The context of one, the time of the other.
    let want = Survivor::Merged { time: 200, context: two.clone() };
    assert_eq!(resolved(&cell(200, &one), &cell(100, &two)), want);
    // The same context twice: the later cell, not a copy.
    assert_eq!(resolved(&cell(100, &one), &cell(200, &one)), Survivor::Second);
    assert_eq!(resolved(&cell(100, b""), &cell(200, &one)), Survivor::First);
}

fn any_entry() -> impl Strategy<Value = (u8, i64, u32, u32, Vec<u8>)> {
    (0_u8..3, 0_i64..3, 0_u32..3, 1_u32..3, proptest::collection::vec(0_u8..3, 0..2))
}

fn entry(e: &(u8, i64, u32, u32, Vec<u8>)) -> Entry<'_> {
    match e.0 {
        0 => cell(e.1, &e.4),
        1 => expiring(e.1, e.3, e.2, &e.4),
        _ => tombstone(e.1, e.2),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10_000) })]

    /// A total order: so a merge does not depend on the order of its inputs.
    #[test]
    fn order_is_total(a in any_entry(), b in any_entry(), c in any_entry()) {
        let [a, b, c] = [entry(&a), entry(&b), entry(&c)];
        prop_assert_eq!(resolve(&a, &b), resolve(&b, &a).reverse());
        prop_assert_eq!(resolve(&a, &b) == Equal, a == b);
        if resolve(&a, &b).is_ge() && resolve(&b, &c).is_ge() {
            prop_assert!(resolve(&a, &c).is_ge());
        }
    }

    #[test]
    fn contexts_of_any_bytes(a: Vec<u8>, b: Vec<u8>) {
        let _ = (merge_contexts(&a, &b), total(&a), has_local_shards(&a));
    }

    /// Without local shards, order and grouping do not matter.
    #[test]
    fn contexts_merge_in_any_order(a in shards(), b in shards(), c in shards()) {
        let merge = |a: &[u8], b: &[u8]| match merge_contexts(a, b).unwrap() {
            Survivor::First => a.to_vec(),
            Survivor::Second => b.to_vec(),
            Survivor::Merged { context, .. } => context,
        };
        let [a, b, c] = [context(&a), context(&b), context(&c)];
        prop_assert_eq!(merge(&a, &b), merge(&b, &a));
        prop_assert_eq!(merge(&merge(&a, &b), &c), merge(&a, &merge(&b, &c)));
    }
}

fn shards() -> impl Strategy<Value = Vec<(u8, i64, i64, char)>> {
    let shard = (0_i64..3, -1_i64..2, prop_oneof![Just('g'), Just('r')]);
    proptest::collection::btree_map(0_u8..4, shard, 0..4)
        .prop_map(|map| map.into_iter().map(|(id, (clock, count, form))| (id, clock, count, form)).collect())
}
