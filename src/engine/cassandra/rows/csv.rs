//! Rows as RFC 4180 has them: fields with separators in quotes, quotes doubled, lines that end with CR and LF.

use super::json::write_times;
use super::row::Row;
use super::{Layout, Show, is_key};
use crate::engine::cassandra::text::write_text;
use crate::error::Result;

/// Appends the names of the columns.
pub(super) fn header(out: &mut String, layout: &Layout, show: Show) {
    for (i, (column, _)) in layout.columns().enumerate() {
        out.push_str(if i > 0 { "," } else { "" });
        field(out, &column.name);
    }
    for (column, _) in layout.columns().filter(|(c, _)| !is_key(c.role)) {
        for (function, shown) in [("writetime", show.write_times), ("ttl", show.ttls)] {
            if shown {
                out.push(',');
                field(out, &format!("{function}({})", column.name));
            }
        }
    }
    out.push_str("\r\n");
}

/// Appends a row. Null is nothing, an empty value two quotes.
pub(super) fn write(out: &mut String, row: &Row, show: Show) -> Result<()> {
    let mut text = String::new();
    for (i, ((column, t), slot)) in row.columns().enumerate() {
        out.push_str(if i > 0 { "," } else { "" });
        let Some(value) = &slot.value else { continue };
        text.clear();
        write_text(&mut text, t, value).map_err(|e| e.within(format!("column {}", column.name)))?;
        field(out, &text);
    }
    for ((_, t), slot) in row.columns().filter(|((c, _), _)| !is_key(c.role)) {
        if show.write_times {
            text.clear();
            write_times(&mut text, t, slot, "", |(time, _)| Some(*time));
            times(out, &text);
        }
        if show.ttls {
            text.clear();
            write_times(&mut text, t, slot, "", |(_, left)| left.map(i64::from));
            times(out, &text);
        }
    }
    out.push_str("\r\n");
    Ok(())
}

fn times(out: &mut String, text: &str) {
    out.push(',');
    if !text.is_empty() {
        field(out, text);
    }
}

fn field(out: &mut String, text: &str) {
    if !text.is_empty() && !text.contains([',', '"', '\r', '\n']) {
        return out.push_str(text);
    }
    out.push('"');
    out.push_str(&text.replace('"', "\"\""));
    out.push('"');
}
