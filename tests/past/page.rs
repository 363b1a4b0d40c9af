//! The page of examples: each of its commands is run, and prints what the page shows.

use std::fs;
use std::path::Path;

use crate::user::{User, capture, copy, name_in_manifest, table_dir, three};

/// The captured cluster as it was before some tables were last written: without the newest SSTables of these.
fn earlier(to: &Path) {
    for (n, node) in three(&capture("cassandra-5.0")).iter().enumerate() {
        let own = to.join(format!("node{}", n + 1));
        copy(node, &own, &|_| true);
        for (table, later) in [
            ("users", [&["nb-3"][..], &["nb-2"], &["nb-2"]][n]),
            ("collections", [&["nb-3"][..], &["nb-2"], &["nb-2"]][n]),
            ("deletions", [&["nb-3"][..], &["nb-2"], &["nb-3"]][n]),
            ("statics", [&["nb-2"][..], &[], &["nb-2"]][n]),
        ] {
            let folder = table_dir(&own, "lab", table);
            let mut left = Vec::new();
            for file in fs::read_dir(&folder).unwrap().map(|file| file.unwrap()) {
                let name = file.file_name().into_string().unwrap();
                if later.iter().any(|generation| name.starts_with(&format!("{generation}-"))) {
                    fs::remove_file(file.path()).unwrap();
                } else if name.ends_with("-Data.db") {
                    left.push(name);
                }
            }
            name_in_manifest(&folder, &left);
        }
    }
}

/// Without times of snapshots, and with their ids as numbers.
fn masked(text: &str, ids: &[String]) -> String {
    let mut parts: Vec<String> = text.split(" UTC").map(str::to_owned).collect();
    let last = parts.pop().unwrap();
    for part in &mut parts {
        part.truncate(part.len() - "2026-11-29 02:00:30".len());
        part.push_str("TIME");
    }
    let text = parts.concat() + &last;
    ids.iter()
        .enumerate()
        .fold(text, |text, (n, id)| text.replace(&id[..10], &format!("#{n}")).replace(&id[..8], &format!("#{n}")))
}

/// Words of a command, of which some are in single quotes.
fn words(command: &str) -> Vec<String> {
    let parts = command.split('\'').enumerate();
    let of = |(n, part): (usize, &str)| match n % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    };
    parts.flat_map(of).collect()
}

#[test]
fn every_example_prints_what_the_page_shows() {
    let user = User::new();
    let (before, now) = (user.path("before"), three(&capture("cassandra-5.0")));
    earlier(&before);
    for (nodes, more) in [(three(&before), &[][..]), (now.clone(), &[]), (now, &["--exclude", "lab.deletions"])] {
        let mut backup = user.command();
        backup.args(["backup", "cassandra", "--cluster", "demo"]).args(crate::user::nodes(&nodes)).args(more);
        crate::user::ran(&mut backup).fine();
    }
    let ids = user.snapshots();
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/past.md")).unwrap();
    let of_page = ["633d02cc28", "b16cd8fc14", "f88c0d03d0"].map(str::to_owned);
    let mut run = 0;
    for block in page.split("```text\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
        for example in block.split("$ onefold ").skip(1) {
            let (command, shown) = example.split_once('\n').unwrap();
            let command = of_page
                .iter()
                .zip(&ids)
                .fold(command.to_owned(), |c, (of_page, id)| c.replace(&of_page[..8], &id[..8]));
            let args = words(&command);
            let printed = masked(&user.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).fine(), &ids);
            let shown = masked(shown.trim_end(), &of_page);
            match shown.strip_suffix("\n…") {
                Some(some) => {
                    some.lines().for_each(|line| assert!(printed.lines().any(|l| l == line), "{command}: {line}"))
                }
                None => assert_eq!(printed.trim_end(), shown, "{command}"),
            }
            run += 1;
        }
    }
    assert_eq!(run, 6);
}
