use super::*;
use std::fs::{create_dir_all, write};

const ID: &str = "00000000000000000000000000000001";

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
    let root = tempfile::tempdir().unwrap();
    let path = table(root.path(), "ks", "t-x");
    sstable(&path, 10);
    sstable(&path, 9);
    write(path.join("manifest.json"), r#"{"files":[], "created_at": "2026-11-21T10:13:54.994Z"}"#).unwrap();
    write(path.join("schema.cql"), "CREATE").unwrap();
    write(path.join("notes.txt"), "?").unwrap();
    create_dir_all(path.join(".t_idx")).unwrap();
    let (capture, frozen) = open(root.path(), None).unwrap();
    assert!(frozen.is_none() && !capture.unflushed);
    assert_eq!(capture.taken, Some((1_795_256_034_994, 1_795_256_034_994)));
    let [table] = &capture.tables[..] else { panic!("{capture:?}") };
    assert_eq!((table.keyspace.as_str(), table.name.as_str(), table.id.as_str()), ("ks", "t-x", ID));
    let generations: Vec<_> = table.sstables.iter().map(|s| s.descriptor.generation.to_string()).collect();
    assert_eq!(generations, ["9", "10"]);
    assert_eq!(
        table.sstables[0].files.iter().map(|f| f.0).collect::<Vec<_>>(),
        [Component::Data, Component::Statistics, Component::CompressionInfo, Component::Toc]
    );
    assert!(table.schema_cql.is_some() && table.unknown.len() == 1 && table.index_bytes == 2 * 17);
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
    create_dir_all(outer.path().join(".data.onefold-1-0")).unwrap();
    let (capture, frozen) = open(&root, None).unwrap();
    let frozen = frozen.unwrap();
    assert!(capture.unflushed);
    assert!(capture.notes.iter().any(|note| note.contains(".data.onefold-1-0")), "{:?}", capture.notes);
    let generations: Vec<_> = capture.tables[0].sstables.iter().map(|s| s.descriptor.generation.to_string()).collect();
    assert_eq!(generations, ["2", "3"]);
    std::fs::remove_dir_all(&path).unwrap();
    let data = &capture.tables[0].sstables[0].files[0].1;
    assert_eq!(std::fs::read(&data.path).unwrap(), b"Data.db");
    let left = frozen.path().to_path_buf();
    drop(frozen);
    assert!(!left.exists());
}

#[test]
fn snapshots_are_found_under_their_tag() {
    let root = tempfile::tempdir().unwrap();
    let path = table(root.path(), "ks", "t").join("snapshots/tag");
    create_dir_all(&path).unwrap();
    sstable(&path, 1);
    table(root.path(), "ks", "empty");
    let capture = list(root.path(), Place::Snapshot("tag")).unwrap();
    assert_eq!(capture.tables.len(), 1);
    assert_eq!(list(root.path(), Place::Snapshot("other")).unwrap_err().kind(), Kind::Usage);
}

#[test]
fn missing_and_foreign_folders_are_errors_with_a_remedy() {
    let root = tempfile::tempdir().unwrap();
    let error = open(&root.path().join("absent"), None).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.subject().ends_with("absent") && error.advice().is_some());
    create_dir_all(root.path().join("holiday/photos")).unwrap();
    let error = open(root.path(), None).unwrap_err();
    assert_eq!((error.kind(), error.advice()), (Kind::Usage, Some(REMEDY)));
}
