//! Canonical records out of a seed: every kind, in every order that a merge could leave.

use std::collections::{BTreeMap, BTreeSet};

use onefold::engine::cassandra::comparable::{self, Clustering};
use onefold::engine::cassandra::schema::Table;
use repo_format::record::{BodyWriter, Class, Entry, EntryKind};

use crate::dice::Dice;
use crate::world::Plain;

impl Dice {
    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize].clone()
    }

    fn time(&mut self) -> i64 {
        let near = 1_790_000_000_000_000 + self.below(5) as i64;
        self.of(&[near, near, near, 5, -7, 1_400_000_000_000_000, i64::MAX, i64::MIN + 1])
    }

    fn ldt(&mut self) -> u32 {
        let near = 1_790_000_000 + self.below(100_000) as u32;
        self.of(&[near, near, near, 1_000_000_000, i32::MAX as u32 - 1, u32::MAX - 1])
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        let n = if self.one_in(20) { self.below(40 * most) } else { self.below(most) };
        (0..n).map(|_| self.below(256) as u8).collect()
    }

    /// A value of a CQL type that the tables have.
    fn value(&mut self, cql_type: &str) -> Vec<u8> {
        if self.one_in(12) {
            return Vec::new();
        }
        match cql_type {
            "int" => (self.below(50) as i32 - 25).to_be_bytes().to_vec(),
            "bigint" => (self.below(50) as i64 - 25).to_be_bytes().to_vec(),
            "boolean" => vec![self.below(2) as u8],
            // Scales and signs that compare equal in different bytes.
            "decimal" => {
                [&(self.below(3) as u32).to_be_bytes()[..], &self.of(&[vec![0], vec![10], vec![0xff], vec![0, 10]])]
                    .concat()
            }
            "varint" => (self.below(700) as i16 - 350).to_be_bytes().to_vec(),
            "timeuuid" => {
                let mut id = (u128::from(self.below(1 << 30)) << 100 | u128::from(self.below(1 << 30))).to_be_bytes();
                id[6] = 0x10 | id[6] & 0xf;
                id.to_vec()
            }
            _ => self.bytes(12),
        }
    }

    /// An element of a multi-cell column and the type of its value.
    fn element(&mut self, cql_type: &str) -> (Vec<u8>, &'static str) {
        match cql_type {
            "set<int>" => ((self.below(60) as i32 - 30).to_be_bytes().to_vec(), ""),
            "set<varint>" => {
                // Of each number one form, since Cassandra would merge two.
                let n = self.below(100) as i8;
                (vec![n as u8], "")
            }
            "map<int, text>" => ((self.below(60) as i32 - 30).to_be_bytes().to_vec(), "text"),
            "map<text, blob>" => (self.bytes(4), "blob"),
            "list<bigint>" => {
                let id = self.value("timeuuid");
                (if id.is_empty() { vec![0; 16] } else { id }, "bigint")
            }
            _ => (self.of(&[vec![0, 0], vec![0, 1]]), "text"),
        }
    }

    fn cell<'e>(&mut self, column: u32, element: Option<&'e [u8]>, value: &'e [u8]) -> Entry<'e> {
        let (time, mut ldt) = (self.time(), self.ldt());
        let kind = self.of(&[EntryKind::Cell, EntryKind::Cell, EntryKind::Tombstone]);
        let ttl = if kind == EntryKind::Cell && self.one_in(3) { 1 + self.below(600_000_000) as u32 } else { 0 };
        if kind == EntryKind::Cell && ttl == 0 {
            ldt = 0;
        }
        let value = if kind == EntryKind::Cell { Some(value) } else { None };
        Entry { column, kind, element, time, ldt, ttl, value }
    }
}

pub fn deletion(column: u32, time: i64, ldt: u32) -> Entry<'static> {
    Entry { column, kind: EntryKind::Deletion, element: None, time, ldt, ttl: 0, value: None }
}

pub fn body_of(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut writer = BodyWriter::new(&mut body);
    entries.iter().for_each(|e| writer.push(e));
    body
}

/// A body for a row of `table` with columns of that role. `None` where it would say nothing.
fn row_body(dice: &mut Dice, table: &Table, is_static: bool, raw: Option<&[u8]>) -> Option<Vec<u8>> {
    use onefold::engine::cassandra::schema::ColumnRole::{Regular, Static};
    let role = if is_static { Static } else { Regular };
    let mut owned = BTreeMap::<(u32, u8, Vec<u8>), _>::new();
    let sparse = dice.of(&[1, 2, 6]);
    for column in table.columns.iter().filter(|c| c.role == role) {
        if !dice.one_in(sparse) {
            continue;
        }
        if column.cql_type.starts_with("frozen") || !column.cql_type.contains('<') && column.cql_type != "u" {
            let value = dice.value(if column.cql_type.starts_with("frozen") { "blob" } else { &column.cql_type });
            owned.insert((column.number, 2, Vec::new()), (value, false));
            continue;
        }
        if dice.one_in(3) {
            owned.insert((column.number, 0, Vec::new()), (Vec::new(), false));
        }
        for _ in 0..dice.below(9) {
            let (element, value_type) = dice.element(&column.cql_type);
            let value = if value_type.is_empty() { Vec::new() } else { dice.value(value_type) };
            owned.insert((column.number, 2, element), (value, true));
        }
    }
    let mut entries = Vec::new();
    if !is_static && dice.one_in(5) {
        entries.push(deletion(0, dice.time(), dice.ldt()));
    }
    let kind = EntryKind::Raw;
    entries.extend(raw.map(|raw| Entry { column: 0, kind, element: None, time: 0, ldt: 0, ttl: 0, value: Some(raw) }));
    if !is_static && !dice.one_in(4) {
        let live = dice.cell(0, None, &[]);
        entries.push(Entry {
            kind: EntryKind::Cell,
            value: None,
            ldt: if live.ttl == 0 { 0 } else { live.ldt },
            ..live
        });
    }
    for ((column, kind, element), (value, complex)) in &owned {
        entries.push(match kind {
            0 => deletion(*column, dice.time(), dice.ldt()),
            _ => dice.cell(*column, complex.then_some(&element[..]), value),
        });
    }
    let says = entries.iter().any(|e| e.kind != EntryKind::Raw);
    says.then(|| body_of(&entries))
}

/// Partitions of canonical records, as a merge would leave them.
pub fn records(seed: u64, table: &Table, partitions: u64, rows: u64) -> Vec<Plain> {
    let mut dice = Dice(seed);
    let clustering = Clustering::of(table).unwrap();
    let types: Vec<String> = clustering.columns().iter().map(|(t, _)| t.to_string()).collect();
    let (mut out, mut groups) = (BTreeMap::new(), BTreeSet::new());
    for _ in 0..partitions {
        let mut group = Vec::new();
        let group_len = comparable::put_group(&mut group, &dice.bytes(8));
        if !groups.insert(group.clone()) {
            continue;
        }
        let mut put = |suffix: &dyn Fn(&mut Vec<u8>), class, body| {
            let mut key = group.clone();
            suffix(&mut key);
            out.insert(key.clone(), Plain { key, group_len, class, body });
        };
        if dice.one_in(3) {
            let time = dice.time().max(0);
            put(&comparable::put_group_record, Class::Group, body_of(&[deletion(0, time, dice.ldt())]));
        }
        if table.columns.iter().any(|c| c.name == "s")
            && dice.one_in(2)
            && let Some(body) = row_body(&mut dice, table, true, None)
        {
            put(&comparable::put_static, Class::Static, body);
        }
        let mut open = None;
        let mut suffixes = BTreeMap::<Vec<u8>, Option<Vec<_>>>::new();
        for _ in 0..rows / 2 + dice.below(rows) {
            let parts: Vec<_> =
                types.iter().map(|t| if dice.one_in(15) { None } else { Some(dice.value(t)) }).collect();
            let refs: Vec<_> = parts.iter().map(Option::as_deref).collect();
            let mut suffix = Vec::new();
            if dice.one_in(4) {
                let n = dice.below(refs.len() as u64 + 1) as usize;
                let after = dice.one_in(2);
                clustering.bound(&mut suffix, &refs[..n], after).unwrap();
                suffixes.insert(suffix, None);
            } else {
                clustering.row(&mut suffix, &refs).unwrap();
                suffixes.insert(suffix, Some(parts));
            }
        }
        for (suffix, parts) in suffixes {
            let append = |key: &mut Vec<u8>| key.extend_from_slice(&suffix);
            match parts {
                None => {
                    let last = suffix == comparable::end_of_rows();
                    let next = if last || dice.one_in(3) { None } else { Some((dice.time(), dice.ldt())) };
                    if next != open {
                        open = next;
                        put(&append, Class::Marker, next.map_or(Vec::new(), |(t, l)| body_of(&[deletion(0, t, l)])));
                    }
                }
                Some(parts) => {
                    let refs: Vec<_> = parts.iter().map(Option::as_deref).collect();
                    let mut raw = Vec::new();
                    if clustering.row(&mut Vec::new(), &refs).unwrap() {
                        comparable::put_raw(&mut raw, &refs);
                    }
                    let raw = Some(&raw[..]).filter(|raw| !raw.is_empty());
                    if let Some(body) = row_body(&mut dice, table, false, raw) {
                        put(&append, Class::Row, body);
                    }
                }
            }
        }
        if open.is_some() {
            put(&|key: &mut Vec<u8>| key.extend_from_slice(&comparable::end_of_rows()), Class::Marker, Vec::new());
        }
    }
    out.into_values().collect()
}
