//! A repository made like another: the same chunks under the same names, and nothing else in common.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use onefold::repo::{InitOptions, Like, Repo};
use onefold::store::Store;
use repo_format::credential::Unlock;
use repo_format::id::ChunkId;
use repo_format::keyfile::KeyFile;
use repo_format::names::{Name, PackName};
use repo_format::pack::open_pack;

use crate::repo::{backup, chunks, init, memory, restore};
use crate::user::{User, capture, nodes, ran, three};

fn names_in(store: &dyn Store, repo: &Repo) -> BTreeSet<ChunkId> {
    let mut packs: Vec<PackName> = Vec::new();
    store
        .list("pack", &mut |name, _| {
            packs.extend(match Name::parse(name) {
                Ok(Name::Pack(pack)) => Some(pack),
                _ => None,
            });
            Ok(())
        })
        .unwrap();
    let frames = packs
        .iter()
        .flat_map(|pack| open_pack(pack, &store.read(&pack.to_string()).unwrap(), &repo.ring().repo.index).unwrap());
    frames.flat_map(|frame| frame.chunks.into_iter().map(|chunk| chunk.id)).collect()
}

#[test]
fn equal_chunks_have_equal_names_and_neither_opens_the_other() {
    let (one, two, three): (Arc<dyn Store>, Arc<dyn Store>, Arc<dyn Store>) = (memory(), memory(), memory());
    let first = init(&one, None);
    let file = KeyFile::from_bytes([8; 32]);
    let options = InitOptions { like: Some(Like::of(&first)), ..InitOptions::default() };
    let second = Repo::init(two.clone(), Unlock::KeyFile(&file), None, options).unwrap();
    let other = init(&three, None);
    for repo in [&first, &second, &other] {
        backup(repo, &chunks(1, 60));
    }
    assert_eq!(names_in(&*one, &first), names_in(&*two, &second));
    assert!(names_in(&*one, &first).is_disjoint(&names_in(&*three, &other)), "the test can fail");
    let (a, b) = (&first.ring().repo, &second.ring().repo);
    assert!(a.chunk_id == b.chunk_id && a.cut == b.cut);
    assert!(a.fingerprint != b.fingerprint && a.index != b.index);
    let (a, b) = (first.ring(), second.ring());
    assert!(a.repo_id != b.repo_id && a.admin != b.admin && a.writer != b.writer);
    assert_ne!(a.read[0].expose(), b.read[0].expose());
    let sizes = |repo: &Repo| {
        let c = repo.config();
        (c.cut_average, c.frame_target, c.pack_target, c.leaf_target, c.branch_children)
    };
    assert_eq!(sizes(&first), sizes(&second));
    // With the keys of one nothing of the other opens.
    let mut packs = Vec::new();
    two.list("pack", &mut |name, _| {
        packs.push(name.to_owned());
        Ok(())
    })
    .unwrap();
    for name in packs {
        let Ok(Name::Pack(pack)) = Name::parse(&name) else { continue };
        assert!(open_pack(&pack, &two.read(&name).unwrap(), &first.ring().repo.index).is_err());
    }
    restore(&second, &chunks(1, 60));
}

#[test]
fn two_repositories_of_one_capture_hold_the_same_trees() {
    let user = User::new();
    let machine = user.path("machine");
    let machine = machine.to_str().unwrap();
    user.run(&["key", "add", "--role", "write", "--new-key-file", machine]).fine();
    let at = |name: &str| user.path(name).to_str().unwrap().to_owned();
    // A credential that only writes is enough to make one like it.
    let like =
        ["-r", &at("second"), "init", "--new-key-file", &at("key2"), "--like", &at("repo"), "--like-key-file", machine];
    user.run(&like).fine();
    let nodes = nodes(&three(&capture("cassandra-5.0")));
    for (repo, key) in [("repo", "key"), ("second", "key2")] {
        let mut command = user.command();
        let command = command.args(["-r", &at(repo), "--key-file", &at(key), "backup", "cassandra", "--cluster", "c"]);
        ran(command.args(&nodes)).fine();
    }
    let layers = |repo: &str, key: &str| {
        let ran = user.run(&["-r", &at(repo), "--key-file", &at(key), "show", "--json"]);
        let shown = ran.objects().remove(0);
        let of = |shard: &serde_json::Value| (shard["name"].to_string(), shard["layers"].to_string());
        shown["shards"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    let first = layers("repo", "key");
    assert!(first.len() > 5);
    assert_eq!(first, layers("second", "key2"));

    // Refused before anything is made.
    for (args, code, words) in [
        (&["--like", &at("nowhere")][..], 10, &["--like", "nowhere"][..]),
        (&["--like", &at("repo"), "--like-key-file", &at("key2")], 12, &["--like", "wrong password or key file"]),
        (&["--like-key-file", machine], 1, &["--like <PLACE>"]),
    ] {
        let (place, key) = (at("third"), at("key3"));
        let made = [&["-r", &place, "init", "--new-key-file", &key], args].concat();
        user.run(&made).failed(code, words);
        assert!(!user.path("key3").exists() && fs::read_dir(user.path("third")).is_err());
    }
}
