//! Rows whose columns are read at two places at once give what rows give whose cells are sorted.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::layout::{Clustering, Columns};
use super::super::name::Version;
use super::*;

/// A cell: flags, time, expiry, element and value; each number takes one byte.
#[derive(Debug, Clone)]
struct Made {
    flags: u8,
    numbers: [u8; 3],
    element: Vec<u8>,
    value: Vec<u8>,
}

#[derive(Debug, Clone)]
struct MadeRow {
    /// Whether each column is complex, and the file's order: simple ones first.
    simple: usize,
    numbers: Vec<u32>,
    fixed: Vec<bool>,
    flags: u8,
    head: [u8; 5],
    missing: u8,
    /// Of each column; a simple one has the first.
    cells: Vec<Vec<Made>>,
}

fn cell() -> impl Strategy<Value = Made> {
    let flags = prop_oneof![
        8 => Just(cells::CELL_ROW_TIME),
        3 => Just(cells::CELL_ROW_TIME | cells::CELL_EMPTY),
        2 => Just(0),
        1 => Just(cells::CELL_DELETED | cells::CELL_EMPTY),
        1 => Just(cells::CELL_EXPIRING),
        1 => Just(cells::CELL_EXPIRING | cells::CELL_ROW_TTL | cells::CELL_ROW_TIME),
    ];
    (flags, any::<[u8; 3]>(), vec(any::<u8>(), 0..5), vec(any::<u8>(), 0..40))
        .prop_map(|(flags, numbers, element, value)| Made { flags, numbers: numbers.map(|n| n & 0x7f), element, value })
}

fn row() -> impl Strategy<Value = MadeRow> {
    (0usize..4, 0usize..4).prop_flat_map(|(simple, complex)| {
        let count = simple + complex;
        let places = Just((1..=count as u32).collect::<Vec<_>>()).prop_shuffle();
        let flags = prop_oneof![Just(HAS_TIME), Just(HAS_TIME | HAS_TTL), Just(HAS_TIME | HAS_DELETION), Just(0)];
        let parts = (vec(any::<bool>(), count), flags, any::<[u8; 5]>(), any::<u8>(), any::<[bool; 2]>());
        (places, parts, vec(vec(cell(), 1..5), count)).prop_map(
            move |(mut numbers, (fixed, flags, head, missing, [all, deletions]), cells)| {
                numbers[..simple].sort_unstable();
                numbers[simple..].sort_unstable();
                let more = if all { HAS_ALL_COLUMNS } else { 0 } | if deletions { HAS_COMPLEX_DELETION } else { 0 };
                let missing = if all { 0 } else { missing & ((1u16 << count) - 1) as u8 };
                let head = head.map(|n| n & 0x7f);
                MadeRow { simple, numbers, fixed, flags: flags | more, head, missing: missing & 0x7f, cells }
            },
        )
    })
}

impl MadeRow {
    fn columns(&self) -> Vec<Column> {
        let column = |(place, number): (usize, &u32)| {
            let complex = place >= self.simple;
            Column { number: *number, fixed: (self.fixed[place] && !complex).then_some(3), complex }
        };
        self.numbers.iter().enumerate().map(column).collect()
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut head = self.head.iter().copied();
        let told = [(HAS_TIME, 1), (HAS_TTL, 2), (HAS_DELETION, 2)];
        for (_, n) in told.iter().filter(|(flag, _)| self.flags & flag != 0) {
            out.extend(head.by_ref().take(*n));
        }
        if self.flags & HAS_ALL_COLUMNS == 0 {
            out.push(self.missing);
        }
        for (place, cells) in self.cells.iter().enumerate().filter(|(place, _)| self.missing >> place & 1 == 0) {
            let complex = place >= self.simple;
            if complex && self.flags & HAS_COMPLEX_DELETION != 0 {
                out.extend_from_slice(&cells[0].numbers[..2]);
            }
            if complex {
                out.push(cells.len() as u8);
            }
            for cell in &cells[..if complex { cells.len() } else { 1 }] {
                self.put(cell, complex, self.fixed[place] && !complex, &mut out);
            }
        }
        out
    }

    fn put(&self, cell: &Made, complex: bool, fixed: bool, out: &mut Vec<u8>) {
        let Made { flags, numbers: [time, ldt, ttl], element, value } = cell;
        out.push(*flags);
        if flags & cells::CELL_ROW_TIME == 0 {
            out.push(*time);
        }
        if flags & (cells::CELL_DELETED | cells::CELL_EXPIRING) != 0 && flags & cells::CELL_ROW_TTL == 0 {
            out.push(*ldt);
        }
        if flags & cells::CELL_EXPIRING != 0 && flags & cells::CELL_ROW_TTL == 0 {
            out.push(*ttl);
        }
        if complex {
            out.push(element.len() as u8);
            out.extend_from_slice(element);
        }
        if flags & cells::CELL_EMPTY == 0 {
            let value = if fixed { &[7, 7, 7][..] } else { value };
            if !fixed {
                out.push(value.len() as u8);
            }
            out.extend_from_slice(value);
        }
    }
}

/// Body and traits; `None` inside for a row that says nothing.
type Decoded = std::result::Result<Option<(Vec<u8>, Traits)>, ()>;

fn decode(columns: Columns, flags: u8, body: &[u8]) -> Decoded {
    let clustering = Clustering::new(Vec::new()).map_err(|_| ())?;
    let layout = Layout {
        statics: Columns::default(),
        regulars: columns,
        clustering,
        version: Version::Nb,
        min_time: 1_700_000_000_000_000,
        min_ldt: 1_700_000_000,
        min_ttl: 60,
        counter: false,
    };
    let mut out = Vec::new();
    match RowDecoder::default().row(&layout, flags, false, body, None, &mut out) {
        Ok(traits) => Ok(Some((out, traits))),
        Err(Nothing::Empty) => Ok(None),
        Err(Nothing::Fault(_)) => Err(()),
    }
}

fn both(columns: &[Column], flags: u8, body: &[u8]) -> (Decoded, Decoded) {
    let sorted = Columns { list: columns.to_vec(), order: Order::Any };
    (decode(Columns::new(columns.to_vec()), flags, body), decode(sorted, flags, body))
}

proptest! {
    #[test]
    fn columns_read_at_two_places_are_those_that_are_sorted(row in row(), at in any::<u16>(), byte in any::<u8>()) {
        let (columns, mut body) = (row.columns(), row.bytes());
        prop_assert!(Columns::new(columns.clone()).order != Order::Any);
        let (direct, sorted) = both(&columns, row.flags, &body);
        prop_assert_eq!(direct, sorted);
        if !body.is_empty() {
            let cut = usize::from(at) % body.len();
            let (direct, sorted) = both(&columns, row.flags, &body[..cut]);
            prop_assert_eq!(direct, sorted);
            body[cut] = byte;
            let (direct, sorted) = both(&columns, row.flags, &body);
            prop_assert_eq!(direct, sorted);
        }
    }
}

#[test]
fn elements_that_do_not_ascend_are_sorted_and_twice_is_refused() {
    let columns = [(1, false), (3, false), (2, true)].map(|(number, complex)| Column { number, fixed: None, complex });
    let flags = HAS_TIME | HAS_ALL_COLUMNS;
    let row = |elements: [u8; 2]| {
        let cell = |e: u8| [cells::CELL_ROW_TIME | cells::CELL_EMPTY, 1, e];
        let simple = [cells::CELL_ROW_TIME, 1, b'x'];
        [&[5][..], &simple, &simple, &[2], &cell(elements[0]), &cell(elements[1])].concat()
    };
    let (ascending, sorted) = both(&columns, flags, &row([1, 2]));
    assert!(matches!(&ascending, Ok(Some(_))));
    assert_eq!(ascending, sorted);
    assert_eq!(both(&columns, flags, &row([2, 1])), (sorted.clone(), sorted));
    assert_eq!(both(&columns, flags, &row([2, 2])), (Err(()), Err(())));
}
