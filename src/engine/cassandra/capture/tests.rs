use super::*;
use std::fs::{create_dir_all, write};
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

const ID: &str = "00000000000000000000000000000001";

/// A line for each reason.
fn lines(notes: &Notes) -> Vec<String> {
    notes.iter().map(|(why, places)| line(why, &places.iter().collect::<Vec<_>>())).collect()
}

fn table(root: &Path, keyspace: &str, name: &str) -> PathBuf {
    let path = root.join(keyspace).join(format!("{name}-{ID}"));
    create_dir_all(&path).unwrap();
    path
}

fn sstable(table: &Path, generation: u32) {
    for component in ["Data.db", "Statistics.db", "CompressionInfo.db", "Index.db", "Filter.db", "TOC.txt"] {
        write(table.join(format!("nb-{generation}-big-{component}")), component).unwrap();
    }
}

#[test]
fn a_copied_snapshot_is_listed_by_generation() {
    use Component::{CompressionInfo, Data, Index, Statistics, Toc};
    let root = tempfile::tempdir().unwrap();
    let path = table(root.path(), "ks", "t-x");
    sstable(&path, 10);
    sstable(&path, 9);
    write(path.join("manifest.json"), r#"{"files":[], "created_at": "2026-11-21T10:13:54.994Z"}"#).unwrap();
    write(path.join("schema.cql"), "CREATE").unwrap();
    write(path.join("notes.txt"), "?").unwrap();
    create_dir_all(path.join(".t_idx")).unwrap();
    let (capture, frozen) = open(root.path(), None).unwrap();
    assert!(frozen.is_empty() && !capture.unflushed);
    assert_eq!(capture.taken, Some((1_795_256_034_994, 1_795_256_034_994)));
    let [table] = &capture.tables[..] else { panic!("{capture:?}") };
    assert_eq!((table.keyspace.as_str(), table.name.as_str(), table.id.as_str()), ("ks", "t-x", ID));
    let generations: Vec<_> = table.sstables.iter().map(|s| s.descriptor.generation.to_string()).collect();
    assert_eq!(generations, ["9", "10"]);
    assert_eq!(
        table.sstables[0].files.iter().map(|f| f.0).collect::<Vec<_>>(),
        [Data, Statistics, CompressionInfo, Toc, Index, Index]
    );
    assert!(table.schema_cql.is_some() && table.unknown.len() == 1);
    let read = "Data.db Statistics.db CompressionInfo.db TOC.txt".replace(' ', "").len() as u64;
    assert_eq!(table.sstables[0].bytes(), read, "indexes are kept where the rows are not understood, and not read");
    assert_eq!(capture.notes.len(), 1, "{:?}", capture.notes);
}

#[test]
fn a_live_directory_is_frozen_and_the_links_go_away() {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("data");
    let path = table(&root, "ks", "t");
    create_dir_all(path.join("backups")).unwrap();
    create_dir_all(path.join("snapshots/s1")).unwrap();
    (1..=4).for_each(|n| sstable(&path, n));
    let log = format!("add:[{0}/nb-3-big-,0,6][1]\nremove:[{0}/nb-1-big-,0,6][1]\n", path.display());
    write(path.join("nb_txn_compaction_1.log"), format!("{log}commit:[1,0,0][1]\n")).unwrap();
    write(path.join("nb_txn_flush_2.log"), format!("add:[{}/nb-4-big-,0,6][1]\n", path.display())).unwrap();
    table(&root, "ks", "empty");
    std::os::unix::fs::symlink("/nowhere/at/all", root.join(format!("ks/away-{ID}"))).unwrap();
    create_dir_all(outer.path().join(".data.onefold-1-0")).unwrap();
    let (capture, frozen) = open(&root, None).unwrap();
    let frozen = frozen.into_iter().next().unwrap();
    assert!(capture.unflushed);
    let notes = lines(&capture.notes);
    assert!(notes.iter().any(|note| note.contains(".data.onefold-1-0")), "{notes:?}");
    assert!(notes.iter().any(|note| note.starts_with(SNAPSHOTS)), "{notes:?}");
    // That an empty table's folder is there says that nothing is missing; a link to nothing says that it is.
    assert_eq!(capture.tables.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["empty", "t"]);
    assert!(
        capture.holes.len() == 1 && capture.holes[0].place.path().ends_with(format!("away-{ID}")),
        "{:?}",
        capture.holes
    );
    let generations: Vec<_> = capture.tables[1].sstables.iter().map(|s| s.descriptor.generation.to_string()).collect();
    assert_eq!(generations, ["2", "3"]);
    std::fs::remove_dir_all(&path).unwrap();
    let data = &capture.tables[1].sstables[0].files[0].1;
    assert_eq!(data.place.read(7).unwrap(), b"Data.db");
    let left = frozen.path().to_path_buf();
    drop(frozen);
    assert!(!left.exists());
}

#[test]
fn links_are_removed_once_their_run_is_dead() {
    use rustix::fs::{FlockOperation, flock};
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("data");
    create_dir_all(table(&root, "ks", "t").join("backups")).unwrap();
    sstable(&table(&root, "ks", "t"), 1);
    // No process has that number; one has the number 1; names of other folders are not ours.
    let folders = [
        ".data.onefold-4194305-0",
        ".data.onefold-1-0",
        ".data.onefold-1-1",
        ".data.onefold-1-2",
        ".data2.onefold-4194305-0",
    ];
    let folders = folders.map(|name| outer.path().join(name));
    folders.iter().for_each(|folder| create_dir_all(folder.join("ks")).unwrap());
    write(folders[2].join("onefold.lock"), "").unwrap();
    let alive = std::fs::File::create(folders[3].join("onefold.lock")).unwrap();
    flock(&alive, FlockOperation::LockExclusive).unwrap();
    let (capture, frozen) = open(&root, None).unwrap();
    assert_eq!(folders.each_ref().map(|folder| folder.exists()), [false, true, false, true, true]);
    let notes = lines(&capture.notes);
    assert!(notes.iter().any(|n| n.contains("killed, removed") && n.contains("and 1 more")), "{notes:?}");
    assert!(notes.iter().any(|n| n.contains("perhaps still at work") && n.contains("and 1 more")), "{notes:?}");
    // Nor are those of this process, while it needs them.
    let (_, second) = open(&root, None).unwrap();
    assert!(frozen[0].path().exists() && second[0].path().exists() && frozen[0].path() != second[0].path());
}

#[test]
fn snapshots_are_found_under_their_tag() {
    let root = tempfile::tempdir().unwrap();
    let path = table(root.path(), "ks", "t").join("snapshots/tag");
    create_dir_all(&path).unwrap();
    sstable(&path, 1);
    table(root.path(), "ks", "empty");
    let capture = open_all(&[root.path().into()], Some("tag"), None).unwrap().0;
    assert_eq!(capture.tables.len(), 1);
    assert_eq!(open_all(&[root.path().into()], Some("other"), None).unwrap_err().kind(), Kind::Usage);
}

#[test]
fn missing_and_foreign_folders_are_errors_with_a_remedy() {
    let root = tempfile::tempdir().unwrap();
    let error = open(root.path().join("absent"), None).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.subject().ends_with("absent") && error.advice().is_some());
    create_dir_all(root.path().join("holiday/photos")).unwrap();
    let error = open(root.path(), None).unwrap_err();
    assert_eq!((error.kind(), error.advice()), (Kind::Usage, Some(REMEDY)));
}

/// Sets the time of all files in a folder, seconds since 1970.
fn set_time(folder: &Path, seconds: u64) {
    for (_, place, _) in look(&Place::local(folder)).unwrap().files {
        let file = std::fs::File::options().write(true).open(place.path()).unwrap();
        file.set_modified(UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
    }
}

/// Generations, each with whether it is a backup.
fn generations(table: &CapturedTable) -> Vec<(String, bool)> {
    table.sstables.iter().map(|s| (s.descriptor.generation.to_string(), s.backup)).collect()
}

const CREATED: u64 = 1_795_256_034;
const MANIFEST: &str = r#"{"files":[], "created_at": "2026-11-21T10:13:54.994Z"}"#;

/// A snapshot with generations 5 and 9 in `folder`, and what `backups` holds beside it: 5 again, 7 from before, 8 that was
/// streamed meanwhile, and 10.
fn snapshot_and_backups(folder: &Path, backups: &Path) {
    [folder, backups].iter().for_each(|path| create_dir_all(path).unwrap());
    sstable(folder, 5);
    sstable(folder, 9);
    write(folder.join("manifest.json"), MANIFEST).unwrap();
    sstable(backups, 5);
    sstable(backups, 7);
    set_time(backups, CREATED - 100);
    [8, 10].iter().for_each(|n| sstable(backups, *n));
}

#[test]
fn backups_that_came_after_the_snapshot_count() {
    let expected = [("5", false), ("8", true), ("9", false), ("10", true)].map(|(g, backup)| (g.to_string(), backup));
    let root = tempfile::tempdir().unwrap();
    let path = table(root.path(), "ks", "t");
    snapshot_and_backups(&path, &path.join("backups"));
    // Made after the snapshot: it has nothing else, and makes no live directory of the copy.
    let later = table(root.path(), "ks", "later").join("backups");
    create_dir_all(&later).unwrap();
    sstable(&later, 1);
    let (capture, frozen) = open(root.path(), None).unwrap();
    assert!(frozen.is_empty() && !capture.unflushed);
    let [later, t] = &capture.tables[..] else { panic!("{capture:?}") };
    assert_eq!(generations(t), expected);
    assert_eq!(generations(later), [("1".to_string(), true)]);
    assert!(
        t.sstables[1].folder.path().ends_with("backups") && t.sstables[2].folder.path().ends_with(format!("t-{ID}"))
    );
    let notes = lines(&capture.notes);
    assert!(notes.iter().any(|n| n.contains("before the snapshot") && n.contains("nb-7-big-Data.db")), "{notes:?}");
    assert!(capture.taken.unwrap().1 > CREATED as i64 * 1000 + 994, "the window ends with the newest backup");

    // The same in a data directory, where the tag names the snapshot.
    let root = tempfile::tempdir().unwrap();
    let path = table(root.path(), "ks", "t");
    sstable(&path, 11);
    snapshot_and_backups(&path.join("snapshots/night"), &path.join("backups"));
    sstable(&table(root.path(), "ks", "other"), 1);
    sstable(&table(root.path(), "ks2", "third"), 1);
    let (capture, frozen) = open_all(&[root.path().into()], Some("night"), None).unwrap();
    assert!(frozen.is_empty() && !capture.unflushed);
    assert_eq!(capture.tables.iter().map(generations).collect::<Vec<_>>(), [expected]);
    let notes = lines(&capture.notes);
    assert!(notes.iter().any(|n| n.starts_with("incremental backups beside a snapshot")), "{notes:?}");
    let untagged = ["other", "third"].map(|name| format!("{name}-{ID}"));
    assert!(capture.untagged.iter().zip(untagged).all(|(is, name)| is.2.path().ends_with(name)), "{capture:?}");
    assert_eq!(capture.untagged.len(), 2);
    let error = open_all(&[root.path().into()], Some("day"), None).unwrap_err();
    assert!(error.message().contains("day"), "{error}");
}

#[test]
fn a_copy_of_snapshot_folders_asks_for_the_tag() {
    let root = tempfile::tempdir().unwrap();
    let path = table(root.path(), "ks", "t").join("snapshots/night");
    create_dir_all(&path).unwrap();
    sstable(&path, 1);
    let error = open(root.path(), None).unwrap_err();
    assert!(error.kind() == Kind::Usage && error.advice().unwrap().contains("--snapshot-tag"), "{error}");
}

#[test]
fn several_data_directories_are_one_node() {
    let outer = tempfile::tempdir().unwrap();
    let roots = ["d1", "d2"].map(|name| outer.path().join(name));
    for (n, root) in (1..).zip(&roots) {
        let path = table(root, "ks", "t");
        create_dir_all(path.join("backups")).unwrap();
        create_dir_all(path.join(".idx")).unwrap();
        sstable(&path, n);
    }
    sstable(&table(&roots[1], "ks", "second"), 1);
    let places = roots.each_ref().map(Place::local);
    let (capture, frozen) = open_all(&places, None, None).unwrap();
    assert!(frozen.len() == 2 && capture.unflushed);
    let found: Vec<_> = capture.tables.iter().map(|t| (t.name.as_str(), t.sstables.len())).collect();
    assert_eq!(found, [("second", 1), ("t", 2)]);
    let notes = lines(&capture.notes);
    assert!(notes.len() == 1 && notes[0].contains("secondary index") && notes[0].contains("1 more"), "{notes:?}");
    drop(frozen);
    sstable(&table(&roots[1], "ks", "t"), 1);
    let error = open_all(&places, None, None).unwrap_err();
    assert!(error.kind() == Kind::Usage && error.message().contains("nb-1-big"), "{error}");
}

#[test]
fn what_is_no_tables_and_what_is_not_understood_is_listed() {
    let root = tempfile::tempdir().unwrap();
    let path = table(root.path(), "ks", "t");
    sstable(&path, 1);
    for name in ["ks-t-ka-5-Data.db", "ks-t-ka-5-Digest.sha1", "nb-1-big-Data.db.part", "nb-x-big-Data.db"] {
        write(path.join(name), name).unwrap();
    }
    write(path.join("nb-2-big-Index.db"), "x").unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", path.join("nb-3-big-Data.db")).unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", root.path().join(format!("ks/u-{ID}"))).unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", root.path().join("other")).unwrap();
    let dashed = "t-00000000-0000-0000-0000-000000000002";
    create_dir_all(root.path().join("ks").join(dashed)).unwrap();
    create_dir_all(root.path().join("ks/users/deep")).unwrap();
    create_dir_all(root.path().join("ks/.snapshot/hourly")).unwrap();
    create_dir_all(root.path().join("ks/empty")).unwrap();
    for file in ["ks/users/deep/nb-1-big-Data.db", "ks/.snapshot/hourly/x", "ks/nb-9-big-Data.db", "ks/readme"] {
        write(root.path().join(file), file).unwrap();
    }
    let (capture, _) = open(root.path(), None).unwrap();
    let ids: Vec<_> = capture.tables.iter().map(|t| t.id.as_str()).collect();
    assert_eq!(ids, [ID, "00000000000000000000000000000002"]);
    let t = &capture.tables[0];
    let old: Vec<_> =
        t.old.iter().map(|(prefix, old)| (prefix.as_str(), old.version.as_deref(), old.files.len())).collect();
    assert_eq!(old, [("ks-t-ka-5", Some("ka"), 2), ("nb-x-big", None, 1)]);
    assert_eq!(generations(t), ["1", "2"].map(|n| (n.to_string(), false)), "of the second there is an index alone");
    let strays: Vec<_> = capture.strays.iter().map(|s| (s.name.as_str(), s.files.len())).collect();
    assert_eq!(strays, [("ks", 1), ("ks/users", 1)]);
    let holes: Vec<_> = capture.holes.iter().map(|h| h.place.file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(holes, ["other".to_string(), format!("u-{ID}"), "nb-3-big-Data.db".to_string()]);
    assert_eq!(capture.notes["not a table's folder"].len(), 2, "{:?}", capture.notes);
}
