//! The second reader of file trees, made from SPEC "File trees" and "Records".

use super::{Input, Reference, reference};

/// Here, or what refers to them.
pub type Bytes = Result<Vec<u8>, Reference>;

/// A record, column by column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct File {
    pub mode: u32,
    pub content: Option<Bytes>,
    pub owner: [u32; 2],
    pub names: [Option<Vec<u8>>; 2],
    pub modified: (i64, u32),
    pub target: Option<Vec<u8>>,
    pub device: Option<[u32; 2]>,
    pub attributes: Option<Bytes>,
    pub holes: Option<Bytes>,
    pub first: Option<Vec<u8>>,
    pub lacks: [bool; 2],
}

fn numbers(value: &[u8]) -> [u32; 2] {
    assert_eq!(value.len(), 8);
    let mut input = Input(value);
    [input.little_endian(4) as u32, input.little_endian(4) as u32]
}

/// Columns of a body, each with its value, and whether that is a reference.
fn columns(body: &[u8]) -> Vec<(u64, Vec<u8>, bool)> {
    let mut input = Input(body);
    let mut out: Vec<(u64, Vec<u8>, bool)> = Vec::new();
    while !input.0.is_empty() {
        let (head, column) = (input.u8(), input.varint());
        let is_reference = match head {
            0b01 => true,
            // The first cell says its time, of the others it is equal.
            0b10 => {
                assert!(out.iter().all(|one| one.2), "a time that was said");
                assert_eq!(input.little_endian(8), 0, "time 0");
                false
            }
            0b1_0010 => {
                assert!(!out.iter().all(|one| one.2), "a time that was not said");
                false
            }
            _ => panic!("{head:#b} is no head of an entry of a file"),
        };
        out.push((column, input.string(), is_reference));
    }
    assert!(out.is_sorted_by(|a, b| a.0 < b.0), "columns ascend");
    out
}

/// Reads a record.
pub fn file(body: &[u8]) -> File {
    let mut file = File::default();
    let columns = columns(body);
    for (column, value, is_reference) in &columns {
        let here_up_to = |most: usize| match is_reference {
            false => {
                assert!(value.len() <= most, "more than {most} bytes here");
                Ok(value.clone())
            }
            true => {
                let reference = reference(value);
                match reference {
                    Reference::Blob(length, _) | Reference::Chunk(length, _) => assert!(length > most as u64),
                    Reference::Tree(..) => panic!("a tree is no content"),
                }
                Err(reference)
            }
        };
        assert!(!is_reference || [2, 9, 10].contains(column), "a reference in column {column}");
        match column {
            1 => {
                assert_eq!(value.len(), 4);
                file.mode = Input(value).little_endian(4) as u32;
            }
            2 => file.content = Some(here_up_to(256)),
            3 => file.owner = numbers(value),
            4 | 5 => {
                assert!((1..=1024).contains(&value.len()));
                file.names[*column as usize - 4] = Some(value.clone());
            }
            6 => {
                assert_eq!(value.len(), 12);
                let mut input = Input(value);
                file.modified = (input.little_endian(8) as i64, input.little_endian(4) as u32);
                assert!(file.modified.1 < 1_000_000_000);
            }
            7 => file.target = Some(value.clone()),
            8 => file.device = Some(numbers(value)),
            9 => file.attributes = Some(here_up_to(4096)),
            10 => file.holes = Some(here_up_to(4096)),
            11 => {
                assert!(value.len() <= 16384 && !key(value).is_empty());
                file.first = Some(value.clone());
            }
            12 => {
                assert!(value.len() == 1 && (1..4).contains(&value[0]));
                file.lacks = [value[0] & 1 == 1, value[0] & 2 == 2];
            }
            _ => panic!("{column} is no column of a file"),
        }
    }
    let has = |wanted: u64| columns.iter().any(|one| one.0 == wanted);
    let kind = file.mode >> 12;
    assert!([1, 3, 6].into_iter().all(has), "what all have");
    assert!([0o1, 0o2, 0o4, 0o6, 0o10, 0o12, 0o14].contains(&(kind & 0o17)), "kind");
    let (is_file, is_link) = (kind & 0o17 == 0o10, kind & 0o17 == 0o12);
    assert!(is_file || !(has(2) || has(10)), "content of what is no file");
    assert!(has(2) || !has(10), "holes without content");
    assert_eq!(has(7), is_link);
    assert_eq!(has(8), [0o2, 0o6].contains(&(kind & 0o17)));
    assert!(!has(11) || kind & 0o17 != 0o4, "folders have one name");
    file
}

/// The parts of the path of a key.
pub fn key(bytes: &[u8]) -> Vec<Vec<u8>> {
    assert_eq!(bytes[0], 0);
    assert!(bytes.len() <= 65536);
    if bytes.len() == 1 {
        return Vec::new();
    }
    let parts: Vec<Vec<u8>> = bytes[1..].split(|b| *b == 0).map(<[u8]>::to_vec).collect();
    for part in &parts {
        assert!((1..=4095).contains(&part.len()) && !part.contains(&b'/') && part != b"." && part != b"..");
    }
    parts
}

/// `attributes = attribute │ attribute …`, `attribute = name string │ value string`
pub fn attributes(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut input = Input(bytes);
    let mut out: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    while !input.0.is_empty() {
        out.push((input.string(), input.string()));
    }
    assert!(out.is_sorted_by(|a, b| a.0 < b.0), "names ascend");
    assert!(out.iter().all(|(name, _)| !name.is_empty() && !name.contains(&0)));
    out
}

/// `holes = length of the whole varint │ piece │ piece …`, `piece = bytes of the hole before it varint │ bytes of data varint`
pub fn holes(bytes: &[u8]) -> (u64, Vec<(u64, u64)>) {
    let mut input = Input(bytes);
    let whole = input.varint();
    let (mut out, mut at, mut data) = (Vec::new(), 0, 0);
    while !input.0.is_empty() {
        let (hole, length) = (input.varint(), input.varint());
        assert!(length > 0 && (hole > 0 || out.is_empty()));
        out.push((at + hole, length));
        at += hole + length;
        data += length;
        assert!(at <= whole);
    }
    assert!(data < whole, "no holes");
    (whole, out)
}
