//! Three nodes of a cluster that is written to, compacted and captured, out of a seed.

use std::fs;
use std::path::{Path, PathBuf};

use onefold::engine::cassandra::comparable::{self, Clustering};
use onefold::engine::cassandra::schema::Table;
use onefold::engine::cassandra::sstable::write::{Options, SsTableWriter};
use onefold::merge::Deletion;
use onefold::run::Record;
use repo_format::record::Class;

use super::schema::{self, TABLES};
use crate::dice::Dice;
use crate::user::files_below;
use crate::world::{PLACES, Plain, Version, Write, model};

pub const NODES: usize = 3;
pub const PARTITIONS: u8 = 12;
/// Where each node's range ends, which begins where that of the node before does.
pub const TOKENS: [i64; NODES] = [-3_000_000_000_000_000_000, 3_000_000_000_000_000_000, 9_000_000_000_000_000_000];
/// The first night, seconds since 1970.
const BEGIN: u32 = 1_780_000_000;
/// `gc_grace_seconds`.
pub const GRACE: u32 = 100;
/// Between two write times, microseconds.
const UNIT: i64 = 1000;

/// Columns of both tables, by number: `number_columns` counts their names in order.
pub mod column {
    pub const M: u32 = 1;
    pub const S: u32 = 2;
    pub const SM: u32 = 3;
    pub const V: u32 = 4;
    pub const W: u32 = 5;
    /// Added on the way, and dropped again.
    pub const X: u32 = 6;
}

pub type Writes = Vec<(u8, Write)>;

/// An SSTable.
#[derive(Clone)]
pub struct File {
    pub writes: Writes,
    /// What its own deletions cover was left out.
    tidy: bool,
    generation: u64,
    written: bool,
}

/// What is done to the captures of a night.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Nodes that are not given to the backup.
    pub away: Vec<usize>,
    /// An SSTable that is damaged: node, table, and its place among those of the table.
    pub damaged: Option<(usize, usize, usize)>,
}

pub struct Cluster {
    pub dice: Dice,
    dir: PathBuf,
    pub clock: u32,
    unit: i64,
    pub stage: schema::Stage,
    /// By node and table.
    pub files: [[Vec<File>; 2]; NODES],
    generation: u64,
}

/// The key of a partition: what stands before all its records.
pub fn group(partition: u8) -> Vec<u8> {
    let mut key = Vec::new();
    comparable::put_group(&mut key, &key_value(partition).to_be_bytes());
    key
}

/// The partition's key.
pub fn key_value(partition: u8) -> i32 {
    i32::from(partition) * 7
}

/// The clustering value of a place where rows stand.
pub fn clustering(place: u8) -> i32 {
    i32::from(place)
}

/// The nodes that answer for a partition of a table: all, or two that follow one another.
pub fn owners(partition: u8, table: usize) -> Vec<usize> {
    if TABLES[table].replicas == NODES {
        return (0..NODES).collect();
    }
    let ordered = u64::from_be_bytes(*group(partition).first_chunk().unwrap());
    let token = (ordered ^ (1 << 63)) as i64;
    let first = TOKENS.iter().position(|end| token <= *end).unwrap_or(0);
    (0..TABLES[table].replicas).map(|n| (first + n) % NODES).collect()
}

/// A record of the model as Cassandra has it.
pub fn translate(table: &Table, plain: Plain) -> Plain {
    let mut key = group(plain.key[1]);
    let group_len = key.len();
    let of = Clustering::of(table).unwrap();
    match (plain.class, plain.key.get(3)) {
        (Class::Group, _) => comparable::put_group_record(&mut key),
        (Class::Static, _) => comparable::put_static(&mut key),
        (Class::Row, Some(place)) => drop(of.row(&mut key, &[Some(&clustering(*place).to_be_bytes())]).unwrap()),
        (_, Some(place)) => of.bound(&mut key, &[Some(&clustering(place + 1).to_be_bytes())], false).unwrap(),
        (_, None) => unreachable!("a row has a place"),
    }
    Plain { key, group_len, ..plain }
}

/// What writes come to, as Cassandra has it.
pub fn records(table: &Table, writes: &Writes, tidy: bool, cut: Option<u32>) -> Vec<Plain> {
    let mut all: Vec<Plain> = model(writes, tidy, cut).into_iter().map(|plain| translate(table, plain)).collect();
    all.sort_by(|a, b| a.key.cmp(&b.key));
    all
}

impl Cluster {
    pub fn new(dir: &Path, seed: u64) -> Cluster {
        let dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d);
        let (dir, stage) = (dir.to_owned(), schema::Stage::Narrow);
        let cluster = Cluster { dice, dir, clock: BEGIN, unit: 100, stage, files: Default::default(), generation: 0 };
        (0..NODES).for_each(|node| cluster.schema(node));
        schema::write_ring(&cluster.dir.join("ring.txt"));
        cluster
    }

    pub fn node(&self, node: usize) -> PathBuf {
        self.dir.join(format!("node{}", node + 1))
    }

    fn schema(&self, node: usize) {
        // Every time that a file gives counts for the cut: the schema is captured with the tables.
        schema::write(&self.node(node), self.stage, self.clock);
    }

    fn value(&mut self) -> Vec<u8> {
        let length = match self.dice.below(40) {
            0 => 40_000,
            1..4 => 6_000,
            _ => self.dice.below(40),
        };
        vec![b'a' + self.dice.below(26) as u8; length as usize]
    }

    fn time(&mut self) -> i64 {
        (self.unit + self.dice.below(12) as i64 - 6) * UNIT
    }

    fn deletion(&mut self) -> Deletion {
        Deletion { time: self.time(), ldt: self.clock - self.dice.below(30) as u32 }
    }

    fn version(&mut self) -> Version {
        let (time, value) = (self.time(), Some(self.value()));
        match self.dice.below(9) {
            0 | 1 => Version { time, ldt: self.clock - self.dice.below(30) as u32, ttl: 0, value: None, dead: true },
            2 | 3 => self.expiring(time, value),
            _ => Version { time, ldt: 0, ttl: 0, value, dead: false },
        }
    }

    fn expiring(&mut self, time: i64, value: Option<Vec<u8>>) -> Version {
        let ttl = 1 + self.dice.below(200) as u32;
        Version { time, ldt: self.clock - self.dice.below(10) as u32 + ttl, ttl, value, dead: false }
    }

    /// A statement: what it writes to one partition.
    fn statement(&mut self) -> Vec<Write> {
        let place = Some(1 + 2 * self.dice.below(u64::from(PLACES / 2)) as u8);
        let element = Some(self.dice.below(4) as u8);
        let wide = self.stage == schema::Stage::Wide;
        match self.dice.below(24) {
            0..6 => {
                let time = self.time();
                let live = Version { time, ldt: 0, ttl: 0, value: None, dead: false };
                let expiring = self.dice.one_in(3);
                let live = if expiring { self.expiring(time, None) } else { live };
                let cell = |value| Version { value: Some(value), ..live.clone() };
                let (v, w) = (cell(self.value()), cell(self.value()));
                vec![
                    Write::Cell(place, 0, None, live),
                    Write::Cell(place, column::V, None, v),
                    Write::Cell(place, column::W, None, w),
                ]
            }
            6..10 => vec![Write::Cell(place, column::V, None, self.version())],
            10..12 => {
                let of = if wide { column::X } else { column::W };
                vec![Write::Cell(place, of, None, self.version())]
            }
            12..15 => vec![Write::Cell(place, column::M, element, self.version())],
            15 => vec![Write::Column(place, column::M, self.deletion())],
            16 => vec![Write::Cell(None, column::S, None, self.version())],
            17 => vec![Write::Cell(None, column::SM, element, self.version())],
            18 => vec![Write::Column(None, column::SM, self.deletion())],
            19 | 20 => vec![Write::Row(place, self.deletion())],
            21 | 22 => {
                let from = self.dice.below(u64::from(PLACES / 2)) as u8;
                let length = 1 + self.dice.below(3) as u8;
                vec![Write::Interval(2 * from, (2 * (from + length)).min(PLACES), self.deletion())]
            }
            _ => vec![Write::Partition(self.deletion())],
        }
    }

    /// Writes every row of both tables, so large that leaves have few records for ever.
    pub fn fill(&mut self) {
        for table in 0..2 {
            let mut new: [Writes; NODES] = Default::default();
            for partition in 0..PARTITIONS {
                for place in (1..PLACES).step_by(2).map(Some) {
                    let cell = |value| Version { time: 50 * UNIT, ldt: 0, ttl: 0, value, dead: false };
                    let value = || Some(vec![b'a' + place.unwrap_or(0); 6000]);
                    for node in owners(partition, table) {
                        new[node].push((partition, Write::Cell(place, 0, None, cell(None))));
                        new[node].push((partition, Write::Cell(place, column::V, None, cell(value()))));
                        new[node].push((partition, Write::Cell(place, column::W, None, cell(value()))));
                    }
                }
            }
            self.flush(table, new);
        }
    }

    /// A day's statements, each of which reaches some replicas, and seldom somebody else.
    pub fn day(&mut self, statements: u64) {
        self.unit += 4;
        for table in 0..2 {
            let mut new: [Writes; NODES] = Default::default();
            for _ in 0..self.dice.below(statements + 1) {
                let partition = self.dice.below(u64::from(PARTITIONS)) as u8;
                let writes = self.statement();
                let owners = owners(partition, table);
                let surely = owners[self.dice.below(owners.len() as u64) as usize];
                for (node, new) in new.iter_mut().enumerate() {
                    let reached = match owners.contains(&node) {
                        true => node == surely || !self.dice.one_in(4),
                        false => self.dice.one_in(25),
                    };
                    if reached {
                        new.extend(writes.iter().map(|write| (partition, write.clone())));
                    }
                }
            }
            self.flush(table, new);
        }
    }

    fn flush(&mut self, table: usize, new: [Writes; NODES]) {
        for (node, mut writes) in new.into_iter().enumerate() {
            let second = if self.dice.one_in(4) { writes.split_off(writes.len() / 2) } else { Writes::new() };
            for writes in [writes, second] {
                self.add(node, table, writes, false);
            }
        }
    }

    fn add(&mut self, node: usize, table: usize, writes: Writes, tidy: bool) {
        if !writes.is_empty() {
            self.generation += 1;
            let generation = self.generation;
            self.files[node][table].push(File { writes, tidy, generation, written: false });
        }
    }

    /// One SSTable of all that a node has of a table. What covers nothing any more is dropped, and what it covered.
    pub fn compact(&mut self, node: usize, table: usize) {
        let files = std::mem::take(&mut self.files[node][table]);
        let mut all: Writes = files.iter().flat_map(|file| file.writes.iter().cloned()).collect();
        if self.dice.one_in(2) {
            all = purged(&all, self.clock.saturating_sub(GRACE));
        }
        // A node that was restored from an older disk, or repaired by hand.
        if self.dice.one_in(8) {
            all.retain(|_| !self.dice.one_in(6));
        }
        self.add(node, table, all, true);
        self.remove(node, table, &files);
    }

    /// Brings all that one owner has to another one.
    pub fn repair(&mut self, table: usize) {
        let (from, to) = (self.dice.below(NODES as u64) as usize, self.dice.below(NODES as u64) as usize);
        let of_both = |(partition, _): &&(u8, Write)| {
            let owners = owners(*partition, table);
            owners.contains(&from) && owners.contains(&to)
        };
        if from != to {
            let all = self.files[from][table].iter().flat_map(|file| &file.writes).filter(of_both).cloned().collect();
            self.add(to, table, all, false);
        }
    }

    fn folder(&self, node: usize, table: usize) -> PathBuf {
        self.node(node).join(TABLES[table].folder())
    }

    fn remove(&self, node: usize, table: usize, files: &[File]) {
        for path in files_below(&self.folder(node, table)) {
            let name = path.file_name().unwrap().to_str().unwrap();
            if files.iter().any(|file| name.starts_with(&format!("nb-{}-", file.generation))) {
                fs::remove_file(path).unwrap();
            }
        }
    }

    /// Leaves the captures as they are on this night.
    pub fn capture(&mut self, trouble: &Trouble) {
        for node in 0..NODES {
            self.schema(node);
            for (table, named) in TABLES.iter().enumerate() {
                let folder = self.folder(node, table);
                fs::create_dir_all(&folder).unwrap();
                let of = named.read(self.stage);
                for file in self.files[node][table].iter_mut().filter(|file| !file.written) {
                    write(&folder, &of, file);
                }
                let files = &self.files[node][table];
                let names: Vec<String> = files.iter().map(|f| format!("nb-{}-big-Data.db", f.generation)).collect();
                schema::write_manifest(&folder, &names, self.clock);
            }
        }
        if let Some((node, table, at)) = trouble.damaged {
            let folder = self.folder(node, table);
            let file = &mut self.files[node][table][at];
            let path = folder.join(format!("nb-{}-big-Data.db", file.generation));
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x55;
            fs::write(&path, bytes).unwrap();
        }
    }

    /// Takes what was damaged away, so that it is written anew.
    pub fn mend(&mut self, trouble: &Trouble) {
        if let Some((node, table, at)) = trouble.damaged {
            let file = self.files[node][table][at].clone();
            self.remove(node, table, &[file]);
            self.files[node][table][at].written = false;
        }
    }
}

fn write(folder: &Path, table: &Table, file: &mut File) {
    let mut writer = SsTableWriter::create(folder, file.generation, table, &Options::default()).unwrap();
    for plain in records(table, &file.writes, file.tidy, None) {
        let traits = repo_format::record::check(&plain.body).unwrap();
        let Plain { key, group_len, class, body } = &plain;
        writer.push(&Record { key, group_len: *group_len, class: *class, traits, body }).unwrap();
    }
    writer.finish().unwrap();
    file.written = true;
}

/// Without the deletions and tombstones that are older than `before`, and what they cover.
fn purged(all: &Writes, before: u32) -> Writes {
    let old: Vec<&(u8, Write)> = all
        .iter()
        .filter(|(_, write)| match write {
            Write::Partition(d) | Write::Interval(_, _, d) | Write::Row(_, d) | Write::Column(_, _, d) => {
                d.ldt < before
            }
            Write::Cell(_, column, _, v) => *column != 0 && v.ldt != 0 && v.ldt < before,
        })
        .collect();
    let is_covered = |(p, write): &&(u8, Write)| old.iter().any(|(q, by)| p == q && covers(by, write));
    all.iter().filter(|write| !is_covered(write)).cloned().collect()
}

/// Whether `by`, which is dropped, takes `write` along: itself, too.
fn covers(by: &Write, write: &Write) -> bool {
    let (place, time) = match write {
        Write::Partition(d) => return matches!(by, Write::Partition(by) if d <= by),
        Write::Interval(from, to, d) => {
            return match by {
                Write::Partition(by) => d <= by,
                Write::Interval(a, b, by) => (a, b) == (from, to) && d <= by,
                _ => false,
            };
        }
        Write::Row(place, d) | Write::Column(place, _, d) => (*place, d.time),
        Write::Cell(place, _, _, v) => (*place, v.time),
    };
    match by {
        Write::Partition(by) => time <= by.time,
        Write::Interval(from, to, by) => place.is_some_and(|at| *from <= at && at < *to) && time <= by.time,
        Write::Row(at, by) => *at == place && time <= by.time,
        Write::Column(at, column, by) => {
            let of = match write {
                Write::Column(_, of, _) | Write::Cell(_, of, _, _) => Some(of),
                _ => None,
            };
            *at == place && of == Some(column) && time <= by.time
        }
        Write::Cell(at, column, element, by) => {
            matches!(write, Write::Cell(to, of, part, v) if (to, of, part) == (at, column, element) && v.rank() <= by.rank())
        }
    }
}
