//! Rows, and single records, as `SELECT JSON` prints them.

use std::fmt::Write;

use super::row::{Row, Slot, Times};
use super::{Cell, is_key};
use crate::engine::cassandra::comparable;
use crate::engine::cassandra::json::{hex, write_name, write_value};
use crate::engine::cassandra::types::CqlType;
use crate::error::Result;

impl Row {
    /// Appends the value of the column at `place`; `false` where there is none.
    pub(super) fn value(
        &self,
        place: usize,
        out: &mut String,
        write: impl Fn(&mut String, &CqlType, &[u8]) -> Result<()>,
    ) -> Result<bool> {
        let Some(((column, t), slot)) = self.column(place) else { return Ok(false) };
        let Some(value) = &slot.value else { return Ok(false) };
        write(out, t, value).map_err(|e| e.within(format!("column {}", column.name)))?;
        Ok(true)
    }

    /// Appends write time or seconds left of a column, `none` where a cell has none; `false` where that is nothing at all.
    pub(super) fn time(&self, cell: Cell, none: &str, out: &mut String) -> bool {
        let (Cell::Value(place) | Cell::WriteTime(place) | Cell::Ttl(place)) = cell;
        let Some(((_, t), slot)) = self.column(place) else { return false };
        let before = out.len();
        match cell {
            Cell::Ttl(_) => write_times(out, t, slot, none, |(_, left)| left.map(i64::from)),
            _ => write_times(out, t, slot, none, |(time, _)| Some(*time)),
        }
        out.len() > before
    }

    /// `"name": value` of the key columns that have one.
    pub fn keys_as_json(&self) -> Result<String> {
        let mut out = String::new();
        for ((column, t), slot) in self.columns().filter(|((c, _), _)| is_key(c.role)) {
            if let Some(value) = &slot.value {
                out.push_str(if out.is_empty() { "" } else { ", " });
                write_name(&mut out, &column.name);
                out.push_str(": ");
                write_value(&mut out, t, value).map_err(|e| e.within(format!("column {}", column.name)))?;
            }
        }
        Ok(out)
    }

    /// The key as JSON; the bytes of the partition's key where that cannot be.
    pub(super) fn key_or_bytes(&self, group: &[u8]) -> String {
        match self.keys_as_json() {
            Ok(keys) if !keys.is_empty() => format!("row {{{keys}}}"),
            _ => {
                let mut bytes = String::from("row 0x");
                hex(&mut bytes, &comparable::partition_key(group).unwrap_or_default());
                bytes
            }
        }
    }

    /// `"name": value` and `"name": write time` of the columns outside the key that have a value.
    pub fn values_as_json(&self) -> Result<(String, String)> {
        let (mut values, mut times) = (String::new(), String::new());
        for ((column, t), slot) in self.columns().filter(|((c, _), _)| !is_key(c.role)) {
            let Some(value) = &slot.value else { continue };
            for out in [&mut values, &mut times] {
                out.push_str(if out.is_empty() { "" } else { ", " });
                write_name(out, &column.name);
                out.push_str(": ");
            }
            write_value(&mut values, t, value)?;
            write_times(&mut times, t, slot, "null", |(time, _)| Some(*time));
        }
        Ok((values, times))
    }
}

/// Appends a number for the cell, or a list with one for each cell of the column.
fn write_times(out: &mut String, t: &CqlType, slot: &Slot, none: &str, number: impl Fn(&Times) -> Option<i64>) {
    let list = t.is_multi_cell() && !slot.times.is_empty();
    if slot.times.is_empty() {
        out.push_str(none);
    }
    if list {
        out.push('[');
    }
    for (i, times) in slot.times.iter().enumerate() {
        out.push_str(if i > 0 { ", " } else { "" });
        match times.as_ref().and_then(&number) {
            Some(n) => {
                let _ = write!(out, "{n}");
            }
            None => out.push_str(if list { "null" } else { none }),
        }
    }
    if list {
        out.push(']');
    }
}
