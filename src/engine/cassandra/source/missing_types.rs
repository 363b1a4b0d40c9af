//! User-defined types that no captured schema defines, as headers of SSTables have them: without `system_schema` nobody but
//! `schema.cql` tells, and Cassandra leaves out of it types that stand within collections.

use super::Captured;
use crate::engine::cassandra::read_schema::types_in_order;
use crate::engine::cassandra::schema::{Table, UserType, take_type};
use crate::engine::cassandra::sstable;
use crate::engine::cassandra::types::{CqlType, parse_class, parse_cql};

/// Adds to `table` the types that its columns name and that are not among its own, with the most fields that any header
/// gives them. Headers that cannot be read add nothing: their files are refused when it is their turn.
pub fn complete(table: &mut Table, captured: &[Captured]) {
    let is_known = |table: &Table| table.columns.iter().all(|c| c.gone || parse_cql(&c.cql_type, &table.types).is_ok());
    if is_known(table) {
        return;
    }
    let mut found = Vec::new();
    for folder in captured.iter().flat_map(|c| &c.capture.tables).filter(|t| t.id == table.id) {
        for s in &folder.sstables {
            let Ok((statistics, _)) = sstable::read_statistics(&s.folder, &s.descriptor) else { continue };
            let header = &statistics.header;
            let columns = header.statics.iter().chain(&header.regulars).map(|c| &c.marshal);
            for class in header.clustering.iter().chain([&header.key]).chain(columns) {
                if let Ok(t) = parse_class(class) {
                    collect(&t, &mut found);
                }
            }
        }
    }
    found.retain(|t| !table.types.iter().any(|own| own.name == t.name));
    table.types.extend(found);
    types_in_order(&mut table.types);
}

fn collect(t: &CqlType, found: &mut Vec<UserType>) {
    if let CqlType::Udt { udt, .. } = t {
        let fields = udt.fields.iter().map(|(name, of)| (name.clone(), of.to_string())).collect();
        take_type(found, &UserType { name: udt.name.clone(), fields });
    }
    t.parts().into_iter().for_each(|part| collect(part, found));
}
