//! A leaf: some hundreds of records of a tree, by column (SPEC "Leaves").
//!
//! Records are taken apart into streams of one kind each: shapes, keys, times, and per column lengths and values.
//! Equal records in equal order give equal bytes.
//!
//! ```text
//! leaf     = version u8 (0) │ group codec u8 │ time unit u8 │ deletion │ deletion │ records varint │ groups varint
//!          │ ints group sizes │ strings groups │ ints shared │ strings rests │ ints ends
//!          │ shapes varint │ shapes × string │ ints shape numbers
//!          │ times varint, ints │ dates varint, ints │ ttls varint, ints
//!          │ columns varint │ columns × column
//! deletion = 0 u8, or 1 u8 │ time i64 │ ldt u32, or 2 u8
//! column   = number varint │ elements varint │ strings │ values varint │ strings
//! ```

mod build;
mod groups;
mod read;
mod stored;
mod streams;

pub use build::LeafBuilder;
pub use groups::{GroupCodec, TimeUnit};
pub use read::LeafReader;
pub use stored::{Stored, Value, Values, beside, external_body, put_external_body, put_whole, put_without, stored};
pub use streams::streams;

use crate::error::{FormatError, Result};
use crate::record::{Class, Traits};
use crate::wire::{Put, Reader};

/// Most records in a leaf.
pub const RECORDS_MAX: usize = 1 << 16;
/// Largest column number.
pub const COLUMN_MAX: u32 = u16::MAX as u32;
/// A larger value of a cell is stored beside its leaf, as a blob, so that what changes beside it is stored without it.
pub const VALUE_INLINE_MAX: usize = 16 << 10;
/// A body that is larger still is stored beside its leaf, as a blob.
pub const BODY_INLINE_MAX: usize = 128 << 10;
/// Head of the one entry (kind raw, column 0) that stands in a leaf for a body kept outside: its value is a blob reference.
pub const EXTERNAL_BODY: u8 = EXTERNAL | KIND_RAW;

/// In the head of an entry: its value is the reference of a blob.
const EXTERNAL: u8 = 1 << 6;
const VERSION: u8 = 0;
const KIND: u8 = 3;
const KIND_RAW: u8 = 1;
const KIND_CELL: u8 = 2;
const ELEMENT: u8 = 1 << 2;
const EXPIRING: u8 = 1 << 3;
const SAME_TIME: u8 = 1 << 4;
const NO_VALUE: u8 = 1 << 5;

/// What is in force where a leaf begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum InForce {
    /// No deletion; in a layer: none any more, whatever lies below.
    #[default]
    Nothing,
    /// A deletion: its version, and when it was made, seconds since 1970.
    Deleted(i64, u32),
    /// In a layer: as below it.
    Unsaid,
}

impl InForce {
    /// The deletion, if one is said.
    pub fn deletion(self) -> Option<(i64, u32)> {
        match self {
            InForce::Deleted(time, ldt) => Some((time, ldt)),
            InForce::Nothing | InForce::Unsaid => None,
        }
    }
}

impl From<Option<(i64, u32)>> for InForce {
    fn from(deletion: Option<(i64, u32)>) -> InForce {
        deletion.map_or(InForce::Nothing, |(time, ldt)| InForce::Deleted(time, ldt))
    }
}

/// What helps a compressor. It may change from leaf to leaf: a leaf says itself how it is laid out.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// What is kept of groups. A leaf in which it does not fit every group keeps the groups themselves.
    pub groups: GroupCodec,
    /// What versions count.
    pub unit: TimeUnit,
    /// What is kept of groups are numbers.
    pub numeric_groups: bool,
    /// Columns whose values are numbers.
    pub numeric: Vec<u32>,
}

#[inline]
fn has_time(head: u8) -> bool {
    head & KIND != KIND_RAW && head & SAME_TIME == 0
}

/// Whether an entry is a reference ([`crate::reference`]).
#[inline]
fn refers(head: u8, column: u64) -> bool {
    head & KIND == KIND_RAW && column > 0
}

#[inline]
fn is_dated(head: u8) -> bool {
    matches!(head & KIND, 0 | 3) || head & EXPIRING != 0
}

fn put_context(out: &mut Vec<u8>, in_force: InForce) {
    match in_force {
        InForce::Nothing => out.push(0),
        InForce::Deleted(time, ldt) => {
            out.push(1);
            out.put_i64(time);
            out.put_u32(ldt);
        }
        InForce::Unsaid => out.push(2),
    }
}

fn read_context(r: &mut Reader<'_>) -> Result<InForce> {
    match r.u8()? {
        0 => Ok(InForce::Nothing),
        1 => Ok(InForce::Deleted(r.i64()?, r.u32()?)),
        2 => Ok(InForce::Unsaid),
        _ => Err(FormatError::Invalid("leaf context")),
    }
}

/// Class and marks of a record, from the first byte of its shape: the class in bits 0 and 1, marks above.
fn class_and_marks(byte: u8) -> Result<(Class, Traits)> {
    let class = Class::from_u8(byte & 3)?;
    let marks = Traits(byte & !3);
    let sense = marks.0 & !Traits::MARKS.0 == 0
        && !(marks.has(Traits::ADDED) && marks.has(Traits::GONE))
        && (class == Class::Marker || !marks.has(Traits::RESUMES));
    if sense { Ok((class, marks)) } else { Err(FormatError::Invalid("marks of a record")) }
}
