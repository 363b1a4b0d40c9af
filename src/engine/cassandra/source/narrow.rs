//! What the operator leaves out by name: it is neither expected nor counted, nor in the snapshot.

use std::collections::BTreeSet;
use std::path::Path;

use super::Captured;
use crate::engine::Narrowed;
use crate::engine::cassandra::capture::{Frozen, table_folder};
use crate::engine::cassandra::read_schema::Schema;
use crate::engine::cassandra::ring::Ring;
use crate::engine::cassandra::whose::{is_local, is_own};
use crate::error::{Error, Kind, Result};
use crate::volume::Place;

/// What tells the schema and the ring cannot be left out.
const NEEDED: [&str; 2] = ["system", "system_schema"];

/// Whether a table was left out by name. What is each node's own is only where it is named itself.
pub fn leaves_out(narrowed: &Narrowed, keyspace: &str, table: &str) -> bool {
    let is_excluded = |name: &String| name == keyspace || name.split_once('.') == Some((keyspace, table));
    let only = !narrowed.only.is_empty() && !is_local(keyspace) && !narrowed.only.iter().any(|name| name == keyspace);
    only || narrowed.excluded.iter().any(is_excluded)
}

/// Whether the tables of a keyspace are data that every owner is expected to have. Cassandra's own are where they are named, or
/// as soon as one node's capture has them: who takes a snapshot of some keyspaces does not name these.
pub fn counts(narrowed: &Narrowed, captured: &[Captured], keyspace: &str) -> bool {
    let named = || narrowed.only.iter().any(|name| name == keyspace);
    let any = || captured.iter().any(|c| c.capture.tables.iter().any(|t| t.keyspace == keyspace));
    !is_local(keyspace) && (!is_own(keyspace) || named() || any())
}

/// Takes what is left out by name out of a capture whose folders are `roots`.
pub fn apply(narrowed: &Narrowed, roots: &[Place], c: &mut Captured) {
    if narrowed.only.is_empty() && narrowed.excluded.is_empty() {
        return;
    }
    let capture = &mut c.capture;
    capture.tables.retain(|t| !leaves_out(narrowed, &t.keyspace, &t.name));
    capture.untagged.retain(|(keyspace, _, place)| !leaves_out(narrowed, keyspace, &table_of(place.path())));
    capture.strays.retain(|s| !leaves_out(narrowed, s.name.split('/').next().unwrap_or_default(), ""));
    let frozen = c.frozen.iter().map(Frozen::path);
    let roots: Vec<&Path> = roots.iter().map(Place::path).chain(frozen).collect();
    let below = |path: &'_ Path| roots.iter().find_map(|root| Some(path.strip_prefix(root).ok()?.to_path_buf()));
    capture.holes.retain(|hole| !below(hole.place.path()).is_some_and(|path| is_within(narrowed, &path)));
}

/// The table whose folder a path ends with.
fn table_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    table_folder(&name).map_or_else(|| name.to_string(), |(table, _)| table.to_string())
}

/// Whether a path, from the root of a capture on, is that of a keyspace's or a table's folder that is left out by `--exclude`, or
/// lies below it.
fn is_within(narrowed: &Narrowed, path: &Path) -> bool {
    let mut parts = path.iter().map(Path::new);
    let keyspace = parts.next().map(|part| part.to_string_lossy());
    let table = parts.next().map(table_of);
    let excluded = |name: &String| match name.split_once('.') {
        Some((of, name)) => keyspace.as_deref() == Some(of) && table.as_deref() == Some(name),
        None => keyspace.as_deref() == Some(name),
    };
    narrowed.excluded.iter().any(excluded)
}

/// Refuses names that are in no schema and no capture, and such as cannot be left out.
pub fn check(narrowed: &Narrowed, captured: &[Captured], schemas: &[Schema], ring: Option<&Ring>) -> Result<()> {
    if let Some(name) =
        narrowed.excluded.iter().find(|name| NEEDED.contains(&name.split('.').next().unwrap_or_default()))
    {
        let what = "cannot be left out: it tells the schema and the ring";
        return Err(Error::new(Kind::Usage, format_args!("--exclude {name}"), what));
    }
    let mut keyspaces: BTreeSet<&str> = schemas.iter().flat_map(|s| &s.keyspaces).map(|k| k.name.as_str()).collect();
    let mut tables: BTreeSet<String> = BTreeSet::new();
    for table in schemas.iter().flat_map(|s| &s.tables) {
        keyspaces.insert(&table.keyspace);
        tables.insert(format!("{}.{}", table.keyspace, table.name));
    }
    for table in captured.iter().flat_map(|c| &c.capture.tables) {
        keyspaces.insert(&table.keyspace);
        tables.insert(format!("{}.{}", table.keyspace, table.name));
    }
    let unknown = |option: &str, name: &str, known: &mut dyn Iterator<Item = &str>| {
        let error = Error::new(Kind::Usage, format_args!("--{option} {name}"), "is in no captured schema");
        error.hint(match near(name, known).as_slice() {
            [] => "give its name as `onefold ls` and DESCRIBE show it, without quotes".to_string(),
            names => format!("perhaps {}", names.join(" or ")),
        })
    };
    for name in &narrowed.only {
        if !keyspaces.contains(name.as_str()) {
            return Err(unknown("keyspace", name, &mut keyspaces.iter().copied()));
        }
    }
    // A keyspace that is left out has no tables in the captures any more, but is in the schema, if any is.
    let some_schema = schemas.iter().any(|s| !s.keyspaces.is_empty());
    for name in narrowed.excluded.iter().filter(|_| some_schema) {
        if !keyspaces.contains(name.as_str()) && !tables.contains(name) {
            let known = keyspaces.iter().copied().chain(tables.iter().map(String::as_str));
            return Err(unknown("exclude", name, &mut known.collect::<Vec<_>>().into_iter()));
        }
    }
    let Some(center) = &narrowed.data_center else { return Ok(()) };
    let subject = format!("--data-center {center}");
    let Some(ring) = ring else {
        return Err(Error::new(Kind::Usage, subject, "needs the ring, which is not known")
            .hint("capture `system` too, or give --source-ring FILE"));
    };
    let centers: BTreeSet<&str> = ring.members().iter().map(|m| m.data_center.as_str()).collect();
    if !centers.contains(center.as_str()) {
        let names: Vec<&str> = centers.into_iter().collect();
        return Err(
            Error::new(Kind::Usage, subject, "is not in the ring").hint(format_args!("it has {}", names.join(", ")))
        );
    }
    Ok(())
}

/// Up to three names that are most like `name`.
fn near<'a>(name: &str, known: &mut dyn Iterator<Item = &'a str>) -> Vec<&'a str> {
    let alike = |of: &str| strsim::normalized_levenshtein(&of.to_lowercase(), &name.to_lowercase());
    let mut all: Vec<(f64, &str)> = known.map(|of| (alike(of), of)).filter(|(alike, _)| *alike >= 0.6).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    all.into_iter().take(3).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cassandra::capture;

    #[test]
    fn a_folder_above_the_capture_leaves_nothing_out() {
        const FOLDER: &str = "t-00000000000000000000000000000001";
        let outer = tempfile::tempdir().unwrap();
        // The folders above are called as the keyspace and the table.
        let root = outer.path().join("lab/t");
        for keyspace in ["lab", "other"] {
            std::fs::create_dir_all(root.join(keyspace).join(FOLDER)).unwrap();
            std::os::unix::fs::symlink("/nowhere/at/all", root.join(keyspace).join(FOLDER).join("nb-1-big-Data.db"))
                .unwrap();
        }
        for (excluded, left) in [("lab", 1), ("lab.t", 1), ("t", 2), ("other.t", 1), ("lab.u", 2)] {
            let (capture, frozen) = capture::open(root.clone(), None).unwrap();
            let mut c = Captured { name: "n1".into(), capture, frozen };
            assert_eq!(c.capture.holes.len(), 2);
            let narrowed = Narrowed { excluded: vec![excluded.into()], ..Narrowed::default() };
            apply(&narrowed, &[Place::local(&root)], &mut c);
            assert_eq!(c.capture.holes.len(), left, "{excluded}");
        }
    }
}
