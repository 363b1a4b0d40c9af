//! The schema around the data: what must be there before, and what comes after.

use std::fmt::Write;

use super::plan::TablePlan;
use crate::engine::cassandra::schema::statements::{self, Place, Release};
use crate::error::{Kind, Result};

/// The two files, and what of the captured schema is in neither.
pub struct SchemaFiles {
    /// `schema-1.cql`: keyspaces, types, functions, tables.
    pub before: String,
    /// `schema-2.cql`: indexes, views, triggers.
    pub after: String,
    /// Each with its table.
    pub left_out: Vec<String>,
}

/// Writes CQL for all tables; with `functions`, also for those of their keyspaces. A table that no statement makes as it
/// is, is named in `left_out`.
pub fn files(plans: &[&TablePlan<'_>], release: Release, functions: bool) -> Result<SchemaFiles> {
    let (mut before, mut after, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    let mut of_keyspaces = Vec::new();
    for plan in plans {
        let place = Place { keyspace: &plan.table.keyspace, table: &plan.table.name, release };
        match statements::before(&plan.captured, &plan.keyspace, &plan.replication, &place) {
            Ok(made) => {
                before.extend(made.cql);
                left_out.extend(made.left_out.iter().map(|what| format!("{}: {what}", plan.name())));
            }
            Err(e) if e.kind() == Kind::Unsupported => left_out.push(e.to_string().replace("\n  ", "; ")),
            Err(e) => return Err(e),
        }
        if functions && !(plan.keyspace.functions.is_empty() && plan.keyspace.aggregates.is_empty()) {
            // Functions may take types that no table has.
            before.extend(statements::create_types(&plan.captured.types, &plan.table.keyspace));
            of_keyspaces.extend(statements::create_functions(&plan.keyspace, &plan.table.keyspace));
        }
        let made = statements::after(&plan.captured, &place);
        after.extend(made.cql);
        left_out.extend(made.left_out.iter().map(|what| format!("{}: {what}", plan.name())));
    }
    after.splice(0..0, of_keyspaces);
    Ok(SchemaFiles { before: script(&before, &left_out), after: script(&after, &[]), left_out })
}

/// Statements, each once, and what is not among them as comments.
fn script(statements: &[String], left_out: &[String]) -> String {
    let mut text = String::new();
    for (i, statement) in statements.iter().enumerate() {
        if !statements[..i].contains(statement) {
            let _ = writeln!(text, "{statement};\n");
        }
    }
    for what in left_out {
        let _ = writeln!(text, "-- not here: {}", what.replace('\n', " "));
    }
    text
}
