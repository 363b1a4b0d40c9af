//! Rows as lines of text: JSON, an object a line, or CSV as RFC 4180 has it: fields with separators in quotes, quotes
//! doubled, lines that end with CR and LF.

use std::io::Write;

use super::rows::{Column, Row, RowSink};
use crate::error::{Error, Result};

/// The form of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TextForm {
    /// An object a line.
    #[default]
    Json,
    /// Under a line with the names of the columns. Null is nothing, an empty value two quotes.
    Csv,
}

impl TextForm {
    /// What the names of its files end with.
    pub fn extension(self) -> &'static str {
        match self {
            TextForm::Json => "jsonl",
            TextForm::Csv => "csv",
        }
    }
}

/// Writes rows as text.
pub struct TextRows<'a> {
    form: TextForm,
    columns: Vec<Column>,
    to: &'a mut dyn Write,
    /// Not yet written.
    text: String,
    /// A field in the making.
    field: String,
    count: u64,
}

impl<'a> TextRows<'a> {
    /// Writes to `to`, some rows at a time.
    pub fn new(form: TextForm, to: &'a mut dyn Write) -> TextRows<'a> {
        TextRows { form, columns: Vec::new(), to, text: String::new(), field: String::new(), count: 0 }
    }

    /// Rows taken so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn json(&mut self, row: &dyn Row) -> Result<()> {
        let out = &mut self.text;
        for (place, column) in self.columns.iter().enumerate() {
            out.push_str(if place == 0 { "{" } else { ", " });
            out.push_str(&column.json);
            out.push_str(": ");
            if !row.json(place, out)? {
                out.push_str("null");
            }
        }
        out.push_str(if self.columns.is_empty() { "{}\n" } else { "}\n" });
        Ok(())
    }

    fn csv(&mut self, row: &dyn Row) -> Result<()> {
        for place in 0..self.columns.len() {
            self.text.push_str(if place > 0 { "," } else { "" });
            self.field.clear();
            if row.text(place, &mut self.field)? {
                push_field(&mut self.text, &self.field);
            }
        }
        self.text.push_str("\r\n");
        Ok(())
    }
}

impl RowSink for TextRows<'_> {
    fn begin(&mut self, columns: &[Column]) -> Result<()> {
        self.columns = columns.to_vec();
        if self.form == TextForm::Csv {
            for (place, column) in columns.iter().enumerate() {
                self.text.push_str(if place > 0 { "," } else { "" });
                push_field(&mut self.text, &column.name);
            }
            self.text.push_str("\r\n");
        }
        Ok(())
    }

    fn row(&mut self, row: &dyn Row) -> Result<()> {
        self.count += 1;
        match self.form {
            TextForm::Json => self.json(row),
            TextForm::Csv => self.csv(row),
        }
    }

    fn pass_on(&mut self) -> Result<()> {
        self.to.write_all(self.text.as_bytes()).map_err(|e| Error::io("output", e))?;
        self.text.clear();
        Ok(())
    }
}

fn push_field(out: &mut String, text: &str) {
    if !text.is_empty() && !text.contains([',', '"', '\r', '\n']) {
        return out.push_str(text);
    }
    out.push('"');
    out.push_str(&text.replace('"', "\"\""));
    out.push('"');
}
