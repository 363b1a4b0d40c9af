//! Bodies of fuzz targets of what is written. None may panic, hang or allocate more than a small multiple of its input.

use repo_format::record::{Class, Traits};

use crate::engine::cassandra::comparable::{self, Clustering};
use crate::engine::cassandra::cql;
use crate::engine::cassandra::schema::{ColumnRole, Table};
use crate::error::Result;
use crate::run::Record;

use super::facts::Facts;
use super::layout::Layout;
use super::row::{Context, Encoder};
use super::times::{TIME_EPOCH, Times};
use super::{LateTimes, Version};

const TABLE: &str = "CREATE TYPE ks.u (a int, b text);
    CREATE TABLE ks.t (p int, c int, d decimal, s text static, sm map<uuid, text> static, l list<int>,
    st set<varint>, m map<text, blob>, u u, f frozen<u>, i int, PRIMARY KEY (p, c, d)) WITH CLUSTERING ORDER BY (c DESC)";

/// The body of a record to be written as a row; the bits of the first byte pick class, version and late times.
pub fn row(bytes: &[u8]) {
    let [choices, body @ ..] = bytes else { return };
    let table = cql::parse(TABLE).and_then(|parsed| parsed.into_table());
    if let Ok(table) = table {
        let _ = write(&table, *choices, body);
    }
}

fn write(table: &Table, choices: u8, body: &[u8]) -> Result<Vec<u8>> {
    let (layout, mut facts, mut encoder) = (Layout::of(table)?, Facts::default(), Encoder::default());
    let version = if choices & 2 == 0 { Version::Nb } else { Version::Oa };
    let late = if choices & 4 == 0 { LateTimes::Refuse } else { LateTimes::Cap };
    let mut times = Times::new(version, late, TIME_EPOCH);
    let mut key = Vec::new();
    let group_len = comparable::put_group(&mut key, &[0, 0, 0, 1]);
    let (class, role) = if choices & 1 == 0 {
        Clustering::of(table)?.row(&mut key, &[Some(&[0, 0, 0, 1]), None])?;
        (Class::Row, ColumnRole::Regular)
    } else {
        comparable::put_static(&mut key);
        (Class::Static, ColumnRole::Static)
    };
    let record = Record { key: &key, group_len, class, traits: Traits::default(), body };
    let mut out = Vec::new();
    let mut context = Context { layout: &layout, times: &mut times, facts: &mut facts };
    if encoder.row(&mut context, role, &record)? {
        encoder.put(&mut out, 7);
    }
    Ok(out)
}
