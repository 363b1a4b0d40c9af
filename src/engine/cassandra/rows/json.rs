//! Rows as `SELECT JSON` prints them.

use std::fmt::Write;

use super::row::{Row, Slot, Times};
use super::{Show, is_key};
use crate::engine::cassandra::comparable;
use crate::engine::cassandra::json::{hex, write_name, write_value};
use crate::engine::cassandra::schema::Column;
use crate::engine::cassandra::types::CqlType;
use crate::error::Result;

/// Appends a row as a line.
pub(super) fn write(out: &mut String, row: &Row, show: Show) -> Result<()> {
    let start = out.len();
    for ((column, t), slot) in row.columns() {
        out.push_str(if out.len() == start { "{" } else { ", " });
        write_name(out, &column.name);
        out.push_str(": ");
        match &slot.value {
            Some(value) => {
                write_value(out, t, value).map_err(|e| e.within(format!("column {}", column.name)))?;
            }
            None => out.push_str("null"),
        }
    }
    for ((column, t), slot) in row.columns().filter(|((c, _), _)| !is_key(c.role)) {
        if show.write_times {
            write_named(out, "writetime", column, t, slot, |(time, _)| Some(*time));
        }
        if show.ttls {
            write_named(out, "ttl", column, t, slot, |(_, left)| left.map(i64::from));
        }
    }
    out.push_str("}\n");
    Ok(())
}

impl Row {
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

fn write_named(
    out: &mut String,
    function: &str,
    column: &Column,
    t: &CqlType,
    slot: &Slot,
    number: impl Fn(&Times) -> Option<i64>,
) {
    out.push_str(", ");
    write_name(out, &format!("{function}({})", column.name));
    out.push_str(": ");
    write_times(out, t, slot, "null", number);
}

/// Appends a number for the cell, or a list with one for each cell of the column.
pub(super) fn write_times(
    out: &mut String,
    t: &CqlType,
    slot: &Slot,
    none: &str,
    number: impl Fn(&Times) -> Option<i64>,
) {
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
