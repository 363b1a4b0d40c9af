//! Reading back what was written, or what is there before.

use repo_format::record::{Class, Entries};

use super::Mutations;
use crate::engine::cassandra::rule::is_live;
use crate::error::Result;
use crate::run::Record;

/// A statement that reads one row, or the static columns of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Reads a column of the key, then the write time of each column in `times`.
    pub text: String,
    /// Its values.
    pub keys: Vec<Vec<u8>>,
    /// Write times as captured, of columns of one cell.
    pub times: Vec<i64>,
}

impl Mutations {
    /// What reads the row of the record that was pushed last; `None` for deletions and for rows of which
    /// nothing lives for ever.
    pub fn probe(&self, record: &Record<'_>, now: u32) -> Result<Option<Probe>> {
        if !matches!(record.class, Class::Row | Class::Static) {
            return Ok(None);
        }
        let entries = Entries::new(record.body).collect::<repo_format::Result<Vec<_>>>()?;
        let mut keys = self.keys.clone();
        if record.class == Class::Row {
            let Some(clustering) = self.clustering(record, &entries)? else { return Ok(None) };
            keys.extend(clustering);
        }
        let (mut names, mut times, mut lives) = (Vec::new(), Vec::new(), false);
        for entry in entries.iter().filter(|e| is_live(e, now) && !e.expires()) {
            let place = self.places.get(entry.column as usize).copied().flatten();
            let Some((place, (column, t))) = place.and_then(|p| Some((p, self.layout.column(p)?))) else {
                lives |= entry.column == 0;
                continue;
            };
            if column.dropped_at.is_some_and(|dropped| entry.time <= dropped) {
                continue;
            }
            lives = true;
            if !t.is_multi_cell() {
                names.push(self.texts.column(place).to_string());
                times.push(entry.time);
            }
        }
        let text = self.texts.probe(&names, keys.len());
        Ok(lives.then_some(Probe { text, keys, times }))
    }
}
