//! A second reader of leaves, branches and patches: slow, plain, and made from the text of SPEC.md alone. It shares no
//! code with the library, and panics where the library returns an error.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

pub mod files;
pub mod hash;

/// What is in force: nothing, a deletion (time and ldt), or, inside, what lies below a layer.
pub type Deletion = Result<Option<(i64, u32)>, Below>;

/// A layer says nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Below;

/// Bytes not yet read.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, n: u64) -> &'a [u8] {
        let (head, rest) = self.0.split_at(usize::try_from(n).unwrap());
        self.0 = rest;
        head
    }

    fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn little_endian(&mut self, bytes: u64) -> u64 {
        self.take(bytes).iter().rev().fold(0, |n, b| n * 256 + u64::from(*b))
    }

    fn varint(&mut self) -> u64 {
        let mut value = 0u128;
        for i in 0..10 {
            let byte = self.u8();
            value += u128::from(byte % 128) << (7 * i);
            if byte < 128 {
                assert!(i == 0 || byte > 0, "not the shortest form");
                return u64::try_from(value).unwrap();
            }
        }
        panic!("a varint of more than ten bytes")
    }

    fn string(&mut self) -> Vec<u8> {
        let n = self.varint();
        self.take(n).to_vec()
    }

    fn deletion(&mut self) -> Deletion {
        match self.u8() {
            0 => Ok(None),
            1 => Ok(Some((self.little_endian(8) as i64, self.little_endian(4) as u32))),
            2 => Err(Below),
            n => panic!("{n} is no deletion"),
        }
    }

    /// `ints = mode u8 │ base varint │ if mode is not 0: width u8 │ width × (count bytes)`
    pub fn ints(&mut self, count: u64) -> Vec<u64> {
        let (mode, base) = (self.u8(), self.varint());
        if mode == 0 {
            return vec![base; count as usize];
        }
        let width = self.u8();
        assert!((1..=8).contains(&width));
        let mut numbers = vec![0u64; count as usize];
        for plane in 0..width {
            for number in &mut numbers {
                *number += u64::from(self.u8()) << (8 * plane);
            }
        }
        let mut before = base;
        for number in &mut numbers {
            match mode {
                1 => *number = number.wrapping_add(base),
                2 => {
                    before = before.wrapping_add(zigzag_back(*number) as u64);
                    *number = before;
                }
                _ => panic!("{mode} is no mode of ints"),
            }
        }
        numbers
    }

    /// `strings = ints lengths │ bytes varint │ mode u8 │ bytes`
    fn strings(&mut self, count: u64) -> Vec<Vec<u8>> {
        let lengths = self.ints(count);
        let total = self.varint();
        assert_eq!(total, lengths.iter().sum::<u64>());
        let mode = self.u8();
        let bytes = self.take(total);
        match mode {
            0 => {
                let mut rest = Input(bytes);
                lengths.iter().map(|n| rest.take(*n).to_vec()).collect()
            }
            1 => {
                let (each, count) = (lengths[0] as usize, count as usize);
                assert!((2..=16).contains(&each) && lengths.iter().all(|n| *n == lengths[0]));
                (0..count).map(|i| (0..each).map(|place| bytes[place * count + i]).collect()).collect()
            }
            _ => panic!("{mode} is no mode of strings"),
        }
    }
}

fn zigzag_back(n: u64) -> i64 {
    if n & 1 == 0 { (n / 2) as i64 } else { -1 - (n / 2) as i64 }
}

fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 128 {
        out.push((n % 128) as u8 + 128);
        n /= 128;
    }
    out.push(n as u8);
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend(bytes);
}

/// Integers as the writer lays them out.
pub fn put_ints(values: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    let first = values.first().copied().unwrap_or(0);
    if values.iter().all(|v| *v == first) {
        out.push(0);
        put_varint(&mut out, first);
        return out;
    }
    let least = *values.iter().min().unwrap();
    let above: Vec<u64> = values.iter().map(|v| v - least).collect();
    let before = std::iter::once(&first).chain(values);
    let steps: Vec<u64> = values
        .iter()
        .zip(before)
        .map(|(v, b)| {
            let step = v.wrapping_sub(*b) as i64;
            if step >= 0 { step as u64 * 2 } else { !(step as u64) * 2 + 1 }
        })
        .collect();
    let bits = |numbers: &[u64]| numbers.iter().map(|n| 64 - n.leading_zeros()).sum::<u32>();
    let (mode, base, numbers) = if bits(&steps) < bits(&above) { (2, first, steps) } else { (1, least, above) };
    out.push(mode);
    put_varint(&mut out, base);
    let width = numbers.iter().map(|n| (64 - n.leading_zeros()).div_ceil(8)).max().unwrap();
    out.push(width as u8);
    for plane in 0..width {
        out.extend(numbers.iter().map(|n| (n >> (8 * plane)) as u8));
    }
    out
}

/// A record: key, length of its group, class, body.
pub type Plain = (Vec<u8>, usize, u8, Vec<u8>);

/// A leaf: the two deletions, the records.
pub fn leaf(bytes: &[u8]) -> (Deletion, Deletion, Vec<Plain>) {
    let mut input = Input(bytes);
    assert_eq!(input.u8(), 0, "version");
    let (codec, unit) = (input.u8(), input.u8());
    assert!(codec < 2 && unit < 4, "group codec, time unit");
    let (of_group, of_marker) = (input.deletion(), input.deletion());
    let (records, groups) = (input.varint(), input.varint());
    let sizes = input.ints(groups);
    let groups = input.strings(groups);
    let shared = input.ints(records);
    let rests = input.strings(records);
    let ends = input.ints(records);
    let shapes: Vec<Vec<u8>> = (0..input.varint()).map(|_| input.string()).collect();
    let numbers = input.ints(records);
    let mut streams = Streams::read(&mut input);
    assert!(input.0.is_empty(), "more than a leaf");

    let groups: Vec<Vec<u8>> = groups.iter().map(|g| if codec == 1 { group(g) } else { g.clone() }).collect();
    let owners = groups.iter().zip(&sizes).flat_map(|(g, n)| std::iter::repeat_n(g, *n as usize));
    let mut out: Vec<Plain> = Vec::new();
    let mut before: Vec<u8> = Vec::new();
    for (i, group) in owners.enumerate() {
        let mut rest = before[..shared[i] as usize].to_vec();
        rest.extend(&rests[i]);
        before.clone_from(&rest);
        if ends[i] > 0 {
            rest.push(u8::try_from(ends[i] - 1).unwrap());
        }
        let shape = &shapes[numbers[i] as usize];
        let key = [&group[..], &rest].concat();
        out.push((key, group.len(), shape[0], streams.body(unit, &shape[1..])));
    }
    assert_eq!(out.len() as u64, records);
    assert!(streams.are_empty(), "a stream holds more than the records took");
    (of_group, of_marker, out)
}

/// Number, elements, values.
type Column = (u64, Vec<Vec<u8>>, Vec<Vec<u8>>);

/// What lies apart from keys and shapes, each stream with its next item last.
struct Streams {
    times: Vec<u64>,
    dates: Vec<u64>,
    ttls: Vec<u64>,
    columns: Vec<Column>,
}

fn reversed<T>(mut items: Vec<T>) -> Vec<T> {
    items.reverse();
    items
}

impl Streams {
    fn read(input: &mut Input<'_>) -> Streams {
        let mut ints = || {
            let n = input.varint();
            reversed(input.ints(n))
        };
        let (times, dates, ttls) = (ints(), ints(), ints());
        let mut columns = Vec::new();
        for _ in 0..input.varint() {
            let number = input.varint();
            let mut strings = || {
                let n = input.varint();
                reversed(input.strings(n))
            };
            columns.push((number, strings(), strings()));
        }
        assert!(columns.is_sorted_by(|a, b| a.0 < b.0));
        Streams { times, dates, ttls, columns }
    }

    /// A body in the form of SPEC "Records".
    fn body(&mut self, unit: u8, shape: &[u8]) -> Vec<u8> {
        let mut shape = Input(shape);
        let mut out = Vec::new();
        let mut time = 0i64;
        while !shape.0.is_empty() {
            let (head, column) = (shape.u8(), shape.varint());
            let kind = ["deletion", "raw", "cell", "tombstone"][usize::from(head % 4)];
            let bit = |n: u8| head >> n & 1 == 1;
            out.push(head);
            put_varint(&mut out, column);
            let streams = self.columns.iter_mut().find(|c| c.0 == column);
            let (mut elements, mut values) = (None, None);
            if let Some((_, e, v)) = streams {
                (elements, values) = (Some(e), Some(v));
            }
            if bit(2) {
                put_string(&mut out, &elements.as_mut().unwrap().pop().unwrap());
            }
            if kind != "raw" && !bit(4) {
                time = (self.times.pop().unwrap() ^ (1 << 63)) as i64;
                out.extend(time.to_le_bytes());
            }
            if kind == "deletion" || kind == "tombstone" || bit(3) {
                let ttl = if bit(3) { self.ttls.pop().unwrap() } else { 0 };
                let seconds = match unit {
                    0 => 0,
                    1 => time.div_euclid(1_000_000),
                    2 => time.div_euclid(1_000),
                    _ => time,
                };
                let seconds = seconds.wrapping_add(ttl as i64);
                let ldt = zigzag_back(self.dates.pop().unwrap()).wrapping_add(seconds);
                out.extend(u32::try_from(ldt).unwrap().to_le_bytes());
                if bit(3) {
                    out.extend(u32::try_from(ttl).unwrap().to_le_bytes());
                }
            }
            if !bit(5) {
                put_string(&mut out, &values.as_mut().unwrap().pop().unwrap());
            }
        }
        out
    }

    fn are_empty(&self) -> bool {
        let numbers = [&self.times, &self.dates, &self.ttls].iter().all(|s| s.is_empty());
        numbers && self.columns.iter().all(|c| c.1.is_empty() && c.2.is_empty())
    }
}

/// `group = token (i64, sign bit flipped, big-endian) │ partition key, 00 as 00 FF │ 00 00`
pub fn group(partition_key: &[u8]) -> Vec<u8> {
    let mut out = (hash::token(partition_key) as u64 ^ (1 << 63)).to_be_bytes().to_vec();
    for byte in partition_key {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out.extend([0, 0]);
    out
}

/// What hangs under a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// Length, root.
    Blob(u64, [u8; 32]),
    /// Level, records, blobs, root.
    Tree(u8, u64, u64, [u8; 32]),
    /// Length, id.
    Chunk(u64, [u8; 32]),
}

/// `reference = 1 u8 │ length varint │ id 32`, `2 u8 │ level u8 │ records varint │ blobs varint │ id 32`, or
/// `3 u8 │ length varint │ id 32`
pub fn reference(bytes: &[u8]) -> Reference {
    let mut input = Input(bytes);
    let reference = match input.u8() {
        1 => {
            let length = input.varint();
            Reference::Blob(length, input.take(32).try_into().unwrap())
        }
        2 => {
            let (level, records, blobs) = (input.u8(), input.varint(), input.varint());
            Reference::Tree(level, records, blobs, input.take(32).try_into().unwrap())
        }
        3 => {
            let length = input.varint();
            Reference::Chunk(length, input.take(32).try_into().unwrap())
        }
        n => panic!("{n} is no kind of reference"),
    };
    assert!(input.0.is_empty(), "more than a reference");
    reference
}

/// What a remark seals: reason, and labels where there is a list of them.
pub fn remark(bytes: &[u8]) -> (String, Option<Vec<String>>) {
    assert_eq!(bytes.len() % 64, 0, "a multiple of 64");
    let mut input = Input(bytes);
    let text = |input: &mut Input<'_>| String::from_utf8(input.string()).unwrap();
    let reason = text(&mut input);
    let labels = match input.u8() {
        0 => None,
        1 => {
            let count = input.varint();
            Some((0..count).map(|_| text(&mut input)).collect::<Vec<_>>())
        }
        n => panic!("{n} is neither 0 nor 1"),
    };
    assert!(labels.iter().flatten().is_sorted_by(|a, b| a < b), "labels ascend");
    assert!(input.0.len() < 64 && input.0.iter().all(|byte| *byte == 0), "zeros");
    (reason, labels)
}

/// First key, id, records, blobs.
pub type Child = (Vec<u8>, [u8; 32], u64, u64);

/// A branch: its level, the class of its leaves; each child's first key, id, records, blobs.
pub fn branch(bytes: &[u8]) -> (u8, u8, Vec<Child>) {
    let mut input = Input(bytes);
    assert_eq!(input.u8(), 0, "version");
    let (level, class) = (input.u8(), input.u8());
    assert!([1, 2].contains(&class), "class of leaves");
    let children = input.varint();
    let shared = input.ints(children);
    let rests = input.strings(children);
    let ids: Vec<[u8; 32]> = (0..children).map(|_| input.take(32).try_into().unwrap()).collect();
    let records = input.ints(children);
    let blobs = input.ints(children);
    assert!(input.0.is_empty(), "more than a branch");
    assert!(blobs.iter().zip(&records).all(|(blobs, records)| blobs <= records), "more blobs than records");
    let mut out: Vec<Child> = Vec::new();
    for (i, rest) in rests.iter().enumerate() {
        let mut key = out.last().map_or(Vec::new(), |c| c.0[..shared[i] as usize].to_vec());
        key.extend(rest);
        out.push((key, ids[i], records[i], blobs[i]));
    }
    (level, class, out)
}

/// A patch: missing, extra, and of what is stale the ordinal with times and hashes.
pub type Patch = (Vec<u64>, Vec<u64>, Vec<(u64, Vec<(i64, u64)>)>);

/// Reads a patch.
pub fn patch(bytes: &[u8]) -> Patch {
    let mut input = Input(bytes);
    assert_eq!(input.u8(), 0, "version");
    let ordinals = |input: &mut Input<'_>| -> Vec<u64> {
        let count = input.varint();
        let mut at = 0;
        let gaps = input.ints(count);
        gaps.iter()
            .map(|gap| {
                at += gap;
                at
            })
            .collect()
    };
    let (missing, extra, stale) = (ordinals(&mut input), ordinals(&mut input), ordinals(&mut input));
    let counts = input.ints(stale.len() as u64);
    let times = input.ints(counts.iter().sum());
    let mut times = times.iter();
    let stale = stale
        .iter()
        .zip(&counts)
        .map(|(ordinal, n)| {
            let mut other = || (zigzag_back(*times.next().unwrap()), input.little_endian(8));
            (*ordinal, (0..*n).map(|_| other()).collect())
        })
        .collect();
    assert!(input.0.is_empty(), "more than a patch");
    (missing, extra, stale)
}

/// The digest of a run, under the run digest key.
pub fn run_digest(key: &[u8; 32], records: &[Plain]) -> [u8; 32] {
    let (mut heads, mut bytes) = (Vec::new(), Vec::new());
    for (key, group, class, body) in records {
        put_varint(&mut heads, key.len() as u64);
        put_varint(&mut heads, *group as u64);
        heads.push(*class);
        put_varint(&mut heads, body.len() as u64);
        bytes.extend(key);
        bytes.extend(body);
    }
    let hash = |bytes: &[u8]| *blake3::keyed_hash(key, bytes).as_bytes();
    hash(&[hash(&heads), hash(&bytes)].concat())
}
