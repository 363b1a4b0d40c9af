//! The order of the project, as tests: who may import whom, how long a file and a function may be, which calls have one
//! home. Every rule is a function from sources to complaints; `planted.rs` shows that each catches what it is for.

mod planted;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use source::Source;

/// Modules of `src` by layer: imports only go down (`docs/architecture.md`). Modules of one layer do not import each
/// other, but for the pairs in `SIBLINGS`.
const LAYERS: [(usize, &[&str]); 6] = [
    (1, &["error", "watch", "report", "whole", "pace", "patterns", "ssh"]),
    (2, &["run", "store", "volume"]),
    (3, &["merge", "blob", "repo"]),
    (4, &["engine", "tree"]),
    (
        5,
        &[
            "snapshot", "view", "backup", "restore", "check", "drift", "status", "forget", "prune", "maintain",
            "repair", "stats", "prices", "capture", "diff", "history", "find", "browse",
        ],
    ),
    (6, &["cli", "serve", "mount", "main"]),
];
/// (from, to): imports within a layer.
const SIBLINGS: [(&str, &str); 30] = [
    ("ssh", "error"),
    ("ssh", "pace"),
    ("patterns", "error"),
    ("watch", "error"),
    ("whole", "error"),
    ("backup", "snapshot"),
    ("restore", "snapshot"),
    ("check", "snapshot"),
    ("check", "view"),
    ("status", "snapshot"),
    ("forget", "snapshot"),
    ("prune", "snapshot"),
    ("repair", "check"),
    ("stats", "snapshot"),
    ("maintain", "forget"),
    ("maintain", "prune"),
    ("view", "snapshot"),
    ("restore", "view"),
    ("browse", "restore"),
    ("browse", "view"),
    ("drift", "view"),
    ("diff", "snapshot"),
    ("diff", "view"),
    ("history", "diff"),
    ("history", "snapshot"),
    ("history", "view"),
    ("find", "diff"),
    ("find", "snapshot"),
    ("find", "view"),
    ("main", "cli"),
];

/// Files outside the engines' folders that still name one. The list only ever gets shorter.
const ENGINE_NAMED: &[&str] = &[];

/// Words of single databases, lower-case. Ours are others: shard, group, record, place.
const ENGINE_WORDS: [&str; 7] = ["keyspace", "token", "partition", "clustering", "sstable", "nodetool", "cql"];
/// Where these are parts of something else.
const OTHER_WORDS: [&str; 11] = [
    // Those of Keystone and Swift.
    "-token\"",
    "/tokens\"",
    "get(\"token\")",
    "partition_point",
    // What proves a session to S3.
    "session_token",
    // And to Azure.
    "sas_token",
    "identity_token",
    "with_token",
    "expiredtoken",
    "tokenrefresh",
    "invalidtoken",
];

const FILE_LINES: usize = 400;
const FILE_LINES_HARD: usize = 600;
const FUNCTION_LINES: usize = 70;
const FUNCTION_LINES_HARD: usize = 100;
/// Files above the soft limit, and how long each is allowed to be. Numbers here only ever fall.
const LONG_FILES: &[(&str, usize)] = &[];
/// Functions above the soft limit, and how long each is allowed to be. Numbers here only ever fall.
const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[];

/// A call, why it is banned, and the places (prefixes of paths) where it may stand.
const BANNED: &[(&str, &str, &[&str])] = &[
    ("SystemTime::now", "the clock's home is src/repo/world.rs", &["src/repo/world.rs"]),
    ("Instant::now", "the clock's home is src/repo/world.rs", CLOCK),
    (".elapsed()", "the clock's home is src/repo/world.rs", CLOCK),
    // Stores lie below `repo`; the folder tells its temporary names apart, machines wait for different lengths.
    (
        "getrandom",
        "the home of randomness is src/repo/world.rs",
        &["src/repo/world.rs", "src/store/folder.rs", "src/store/retry.rs"],
    ),
    ("rand", "the home of randomness is src/repo/world.rs", &[]),
    ("RandomState", "the home of randomness is src/repo/world.rs", &[]),
    (".unwrap()", "a panic is no answer to bad input: return an error", &[]),
    (".expect(", "a panic is no answer to bad input: return an error", &[]),
    ("panic!", "a panic is no answer to bad input: return an error", &[]),
    ("todo!", "finish it", &[]),
    ("unimplemented!", "finish it", &[]),
    ("println!", "only the command line prints", FACES),
    ("eprintln!", "only the command line prints", FACES),
    ("print!", "only the command line prints", FACES),
    ("eprint!", "only the command line prints", FACES),
    ("dbg!", "only the command line prints", &[]),
    ("env::var", "only the command line reads the environment", ENVIRONMENT),
    ("env::var_os", "only the command line reads the environment", ENVIRONMENT),
    ("env::vars_os", "only the command line reads the environment", ENVIRONMENT),
    ("process::exit", "only main ends the process", &["src/main.rs"]),
    ("Command::new", "only the command line starts programs, and `ssh` is its own", PROGRAMS),
    ("unsafe", "nothing here needs it", &[]),
    ("async", "the core is blocking; a runtime may only live inside a store or a client", ASYNC),
    ("await", "the core is blocking; a runtime may only live inside a store or a client", ASYNC),
];
const FACES: &[&str] = &["src/cli/", "src/cli.rs", "src/main.rs"];
/// `ssh` is the transport of what lies on other machines.
const PROGRAMS: &[&str] = &["src/cli/", "src/cli.rs", "src/main.rs", "src/ssh/connection.rs", "src/ssh/command.rs"];
/// A provider's credentials are where all its programs look for them, and `ssh` finds its settings by a place.
const ENVIRONMENT: &[&str] = &[
    "src/cli/",
    "src/cli.rs",
    "src/main.rs",
    "src/store/azure.rs",
    "src/store/gcs.rs",
    "src/store/s3/mod.rs",
    "src/store/swift/mod.rs",
    "src/ssh/host.rs",
];
/// Measures how long something took, or how old it is in this process; never what time it is.
const CLOCK: &[&str] = &[
    "src/repo/world.rs",
    "src/repo/packer.rs",
    "src/pace.rs",
    "src/store/retry.rs",
    "src/engine/cassandra/client",
    "src/cli/",
    "src/cli.rs",
    "src/main.rs",
];
/// Clients that have no blocking form: each hides its runtime behind calls that block.
const ASYNC: &[&str] = &["src/engine/cassandra/client", "src/store/bucket/", "src/store/s3/"];

/// What reads captures: it asks a [`Volume`](onefold::volume::Volume), for they need not lie on this machine.
const OF_CAPTURES: [&str; 2] = ["src/engine/", "src/backup/"];
/// What asks the file system of this machine instead.
const OF_MACHINE: [&str; 10] = [
    "fs::",
    "std::fs",
    "File::open",
    ".exists()",
    ".try_exists()",
    ".is_dir()",
    ".is_file()",
    ".metadata()",
    ".read_dir()",
    ".canonicalize()",
];
/// Files and folders among them that have to do with this machine's files, and with which.
const MACHINE_FILES: &[(&str, &str)] = &[
    ("src/engine/params.rs", "whether a folder's own name has a comma"),
    ("src/engine/cassandra/capture/freeze.rs", "links to the files of a live directory"),
    ("src/engine/cassandra/source/taken/record.rs", "what is remembered of snapshots that are to be cleared"),
    ("src/engine/cassandra/sstable/write/", "SSTables that are written"),
    ("src/engine/cassandra/placing/folders.rs", "the folders that they are written into"),
    ("src/engine/cassandra/into_sstables/", "the same, what they say of themselves, and --ring"),
    ("src/engine/cassandra/into_cql/state.rs", "what a restore remembers"),
    ("src/engine/posix/", "files of this machine are what it backs up"),
    ("src/backup/state.rs", "what this machine keeps of its own backups"),
    ("src/backup/seen/", "what this machine remembers of the records that it stored"),
];

/// Tests that print figures and prove nothing, and those that another test starts, may wait to be asked for.
const ASKED: [&str; 3] = ["#[ignore = \"a measurement\"]", "#[ignore = \"prints a table\"]", "#[ignore = \"run by "];

/// What the format crate must not touch.
const NO_IO: [&str; 9] =
    ["std::fs", "std::io", "std::net", "std::time", "std::thread", "std::env", "std::process", "getrandom", "rand"];

/// Paths that exist on somebody's machine only.
const MACHINE: [&str; 4] = ["/work/", "/root/", "/home/", "/Users/"];

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().find(|(_, modules)| modules.contains(&module)).map(|(layer, _)| *layer)
}

/// Every path below the crate's root that the code outside tests names, with its place.
fn imports(source: &Source) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let own = source.module();
    for (word, keep) in [("crate::", Some(0)), ("onefold::", Some(0)), ("super::", None)] {
        for at in source.places(word) {
            let rest = &source.code[at + word.len()..];
            let chained = source.code[..at].ends_with("::");
            match keep {
                Some(_) if chained => {}
                Some(_) => found.extend(leaves(rest).into_iter().map(|path| (at, path))),
                None if chained => {}
                None => {
                    let more = rest.split("super::").take_while(|part| part.is_empty()).count();
                    let rest = &rest[more * "super::".len()..];
                    let base: Vec<String> =
                        own[..own.len().saturating_sub(1 + more)].iter().map(|s| (*s).to_owned()).collect();
                    found.extend(leaves(rest).into_iter().map(|path| (at, [base.clone(), path].concat())));
                }
            }
        }
    }
    found
}

/// The names of each path in `a::b`, `{a::b, c}` or `a::{b, c}`.
fn leaves(rest: &str) -> Vec<Vec<String>> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let name: String = rest.chars().take_while(|c| is_name(*c)).collect();
    if !name.is_empty() {
        let after = &rest[name.len()..];
        return match after.strip_prefix("::") {
            // Behind the last name nothing, `*`, or the names of types.
            Some(after) => match leaves(after) {
                below if below.is_empty() => vec![vec![name]],
                below => below.into_iter().map(|p| [vec![name.clone()], p].concat()).collect(),
            },
            None => vec![vec![name]],
        };
    }
    let Some(inner) = rest.strip_prefix('{') else { return Vec::new() };
    let (mut depth, mut part, mut parts) = (0, String::new(), Vec::new());
    for c in inner.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => parts.push(std::mem::take(&mut part)),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                part.push(c);
            }
        }
    }
    parts.push(part);
    parts.iter().flat_map(|p| leaves(p.trim())).collect()
}

/// The engines: folders of `src/engine` that are modules of their own. A folder beside a file holds the file's modules.
fn engines(sources: &[Source]) -> BTreeSet<&str> {
    sources
        .iter()
        .filter_map(|s| s.path.strip_prefix("src/engine/")?.strip_suffix("/mod.rs"))
        .filter(|e| !e.contains('/'))
        .collect()
}

/// Whether a file is the program's, and no engine's.
fn is_core(source: &Source, engines: &BTreeSet<&str>) -> bool {
    let folder = source.path.strip_prefix("src/engine/").and_then(|path| path.split_once('/'));
    source.path.starts_with("src/") && folder.is_none_or(|(folder, _)| !engines.contains(folder))
}

fn layers(sources: &[Source]) -> Vec<String> {
    let engines = engines(sources);
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|s| s.path.starts_with("src/") && s.path != "src/lib.rs") {
        let module = source.module();
        let own = if source.path == "src/main.rs" { "main" } else { module.first().copied().unwrap_or("main") };
        let Some(layer) = layer_of(own) else {
            complaints.push(format!("{}: `{own}` has no layer: give it one in tests/tidy.rs", source.path));
            continue;
        };
        for (at, path) in imports(source) {
            let Some(target) = path.first().map(String::as_str) else { continue };
            let Some(below) = layer_of(target) else { continue }; // a re-export at the root: Error, Result, Kind
            let place = format!("{}:{}", source.path, source.line(at));
            if below > layer {
                complaints.push(format!("{place}: {own} (layer {layer}) imports {target} (layer {below})"));
            } else if below == layer && target != own && !SIBLINGS.contains(&(own, target)) {
                complaints.push(format!("{place}: {own} imports {target}, beside it in layer {layer}"));
            }
            let (here, there) = (module.get(1).copied(), path.get(1).map(String::as_str));
            if own == "engine"
                && target == "engine"
                && let (Some(here), Some(there)) = (here, there)
                && here != "all"
                && here != there
                && engines.contains(there)
            {
                complaints.push(format!("{place}: engine {here} imports engine {there}"));
            }
        }
    }
    complaints.dedup();
    complaints
}

/// Only an engine's own folder and the registry name an engine: `allowed` are files that still do so.
fn engine_names(sources: &[Source], allowed: &[&str]) -> Vec<String> {
    let engines = engines(sources);
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|s| is_core(s, &engines)) {
        let mut named = Vec::new();
        let mut at = 0;
        for line in source.text.split_inclusive('\n') {
            let says = |engine: &&&str| line.to_lowercase().contains(**engine);
            if let Some(engine) = engines.iter().find(says).filter(|_| !source.is_test(at)) {
                let declared = source.path == "src/engine/mod.rs" && line.trim_end() == format!("pub mod {engine};");
                if source.path != "src/engine/all.rs" && !declared {
                    named.push(format!("{}:{}: names engine {engine}: ask its traits", source.path, source.line(at)));
                }
            }
            at += line.len();
        }
        match (allowed.contains(&source.path.as_str()), named.is_empty()) {
            (false, _) => complaints.extend(named),
            (true, true) => {
                complaints.push(format!("{} names no engine now: strike it from ENGINE_NAMED", source.path))
            }
            (true, false) => {}
        }
    }
    complaints
}

/// Only an engine's own folder speaks of what one database alone has.
fn engine_words(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    let engines = engines(sources);
    for source in sources.iter().filter(|s| is_core(s, &engines)) {
        let mut at = 0;
        for line in source.text.split_inclusive('\n') {
            let plain = OTHER_WORDS.iter().fold(line.to_lowercase(), |line, word| line.replace(word, ""));
            if let Some(word) = ENGINE_WORDS.iter().find(|word| plain.contains(*word)).filter(|_| !source.is_test(at)) {
                let place = format!("{}:{}", source.path, source.line(at));
                complaints.push(format!(
                    "{place}: `{word}` is a word of one database: ask `Engine::words`, or say it in ours"
                ));
            }
            at += line.len();
        }
    }
    complaints
}

/// Inside an engine, too, imports go one way: no module reaches itself over others.
fn cycles(sources: &[Source]) -> Vec<String> {
    // By engine and module: the modules that it imports, and where.
    let mut imported: BTreeMap<(String, String), BTreeMap<String, String>> = BTreeMap::new();
    for source in sources.iter().filter(|s| s.path.starts_with("src/engine/")) {
        let ["engine", engine, module, ..] = source.module()[..] else { continue };
        for (at, path) in imports(source) {
            let [first, of, to, ..] = &path[..] else { continue };
            if first == "engine" && of == engine && to != module {
                let place = format!("{}:{}", source.path, source.line(at));
                imported.entry((engine.into(), module.into())).or_default().entry(to.clone()).or_insert(place);
            }
        }
    }
    let mut complaints = Vec::new();
    for ((engine, module), direct) in &imported {
        for (first, place) in direct {
            let (mut reached, mut ahead) = (BTreeSet::from([first.clone()]), vec![first.clone()]);
            while let Some(next) = ahead.pop() {
                let below = imported.get(&(engine.clone(), next)).into_iter().flat_map(BTreeMap::keys);
                ahead.extend(below.filter(|to| reached.insert((*to).clone())).cloned());
            }
            if reached.contains(module) {
                complaints.push(format!("{place}: {engine}::{module} imports {first}, which comes back to it"));
            }
        }
    }
    complaints
}

fn lengths(sources: &[Source], files: &[(&str, usize)], functions: &[(&str, &str, usize)]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut unused_files: BTreeMap<&str, usize> = files.iter().copied().collect();
    let mut unused: BTreeMap<(&str, &str), usize> = functions.iter().map(|(p, f, n)| ((*p, *f), *n)).collect();
    for source in sources {
        let length = source.length();
        let allowed = unused_files.get(source.path.as_str()).copied().unwrap_or(FILE_LINES);
        if length > allowed || length > FILE_LINES_HARD {
            complaints.push(format!("{}: {length} lines; the limit is {allowed}: take it apart", source.path));
        }
        if length > FILE_LINES {
            unused_files.remove(source.path.as_str());
        }
        for f in source.functions().into_iter().filter(|f| f.lines > FUNCTION_LINES) {
            let listed = functions.iter().find(|(p, name, _)| *p == source.path && *name == f.name);
            let allowed = listed.map_or(FUNCTION_LINES, |(p, name, limit)| {
                unused.remove(&(p, name));
                *limit
            });
            if f.lines > allowed {
                let (path, line, name) = (&source.path, f.line, &f.name);
                let limit = format!("the limit is {allowed} (never above {FUNCTION_LINES_HARD} for new code)");
                complaints.push(format!("{path}:{line}: fn {name} has {} lines; {limit}: take it apart", f.lines));
            }
        }
    }
    complaints.extend(unused_files.keys().map(|p| format!("{p} is short now: strike it from LONG_FILES")));
    complaints.extend(unused.keys().map(|(p, f)| format!("{p}: {f} is short now: strike it from LONG_FUNCTIONS")));
    complaints
}

fn banned(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    let ours = sources.iter().filter(|s| s.path.starts_with("src/") || s.path.starts_with("repo-format/src/"));
    for source in ours {
        for (call, why, homes) in BANNED {
            if homes.iter().any(|h| source.path.starts_with(h)) {
                continue;
            }
            // A parser's own `expect` returns a Result; the one that panics does not.
            let own = |at: usize| *call == ".expect(" && source.code[at..].lines().next().is_some_and(fallible);
            for at in source.places(call).filter(|at| !own(*at)) {
                complaints.push(format!("{}:{}: `{call}`: {why}", source.path, source.line(at)));
            }
        }
        if source.path.starts_with("repo-format/") {
            for word in NO_IO {
                for at in source.places(word) {
                    let place = source.line(at);
                    complaints.push(format!("{}:{place}: `{word}` in the format crate: no I/O, no clock", source.path));
                }
            }
        }
    }
    for source in sources {
        for at in source.all_places("#[ignore").filter(|at| !ASKED.iter().any(|m| source.text[*at..].starts_with(m))) {
            complaints.push(format!("{}:{}: a test that does not run", source.path, source.line(at)));
        }
    }
    complaints
}

/// Engines open no paths: only `allowed` files among those that read captures ask the file system of this machine.
fn machine_files(sources: &[Source], allowed: &[(&str, &str)]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut unused: BTreeSet<&str> = allowed.iter().map(|(home, _)| *home).collect();
    for source in sources.iter().filter(|s| OF_CAPTURES.iter().any(|folder| s.path.starts_with(folder))) {
        let home = allowed.iter().map(|(home, _)| *home).find(|home| source.path.starts_with(home));
        for call in OF_MACHINE {
            for at in source.places(call) {
                match home {
                    Some(home) => drop(unused.remove(home)),
                    None => {
                        let place = format!("{}:{}", source.path, source.line(at));
                        complaints
                            .push(format!("{place}: `{call}`: a capture may lie elsewhere: ask its `volume::Place`"));
                    }
                }
            }
        }
    }
    complaints.extend(unused.iter().map(|home| format!("{home} opens no files now: strike it from MACHINE_FILES")));
    complaints
}

/// Whether the call at the start of `line` is followed by `?`.
fn fallible(line: &str) -> bool {
    line.split_once(')').is_some_and(|(_, after)| after.trim_start_matches([')', ' ']).starts_with('?'))
}

/// `files`: every text file of the project.
fn machine_paths(files: &[(String, String)]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| !path.starts_with("tests/tidy")) {
        for (i, line) in text.lines().enumerate() {
            for word in MACHINE.iter().filter(|w| line.contains(**w)) {
                complaints.push(format!("{path}:{}: `{word}` is a path of one machine", i + 1));
            }
        }
    }
    complaints
}

/// `SPEC "Title"` in a comment must be a heading of SPEC.md; further titles may follow after commas.
fn spec_references(sources: &[Source], spec: &str) -> Vec<String> {
    let titles: Vec<&str> = spec
        .lines()
        .filter(|l| l.starts_with('#'))
        .map(|l| l.trim_start_matches('#').trim().trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim())
        .collect();
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|s| !s.path.starts_with("tests/tidy")) {
        for (at, found) in source.text.match_indices("SPEC \"") {
            let mut rest = &source.text[at + found.len()..];
            while let Some((title, after)) = rest.split_once('"') {
                let flat: Vec<&str> = title.split_whitespace().filter(|w| !w.starts_with("//")).collect();
                if !titles.contains(&flat.join(" ").as_str()) {
                    let line = source.line(at);
                    complaints.push(format!("{}:{line}: SPEC.md has no section \"{}\"", source.path, flat.join(" ")));
                }
                let Some(next) = after.strip_prefix(", \"") else { break };
                rest = next;
            }
        }
    }
    complaints
}

/// Every file under `src` and `tests` is declared by its parent module.
fn orphans(sources: &[Source]) -> Vec<String> {
    let text_of = |path: String| sources.iter().find(|s| s.path == path);
    let mut complaints = Vec::new();
    for source in sources {
        let Some((folder, file)) = source.path.rsplit_once('/') else { continue };
        let roots = ["src", "repo-format/src", "tests", "tests/toyland"];
        let Some(name) = file.strip_suffix(".rs") else { continue };
        if !roots.iter().any(|r| folder == *r || folder.starts_with(&format!("{r}/")))
            || (roots.contains(&folder) && ["lib", "main"].contains(&name))
        {
            continue;
        }
        let (folder, name) =
            if name == "mod" { folder.rsplit_once('/').unwrap_or(("", folder)) } else { (folder, name) };
        let parents = if folder == "tests" {
            vec!["tests/main.rs".to_owned()]
        } else {
            ["/mod.rs", "/lib.rs", "/main.rs", ".rs"].iter().map(|end| format!("{folder}{end}")).collect()
        };
        let declared =
            parents.into_iter().filter_map(text_of).any(|p| p.all_places(&format!("mod {name};")).next().is_some());
        if !declared {
            complaints.push(format!("{}: no module declares it, so nothing compiles it", source.path));
        }
    }
    complaints
}

/// Every fuzz body (`pub fn NAME(BYTES: &[u8])` in a file of them) is called by a target; every target is built and has a
/// corpus. `manifest` is fuzz/Cargo.toml, `corpora` the folders of fuzz/corpus that hold something.
fn fuzzing(sources: &[Source], manifest: &str, corpora: &[String]) -> Vec<String> {
    let mut complaints = Vec::new();
    let targets: Vec<&Source> = sources.iter().filter(|s| s.path.starts_with("fuzz/fuzz_targets/")).collect();
    let is_home = |s: &&Source| s.path.ends_with("/fuzzing.rs") || s.path.starts_with("repo-format/src/fuzz");
    for source in sources.iter().filter(is_home) {
        for at in source.places("pub fn") {
            let Some((head, rest)) = source.code[at + "pub fn".len()..].split_once('(') else { continue };
            let arguments = rest.split(')').next().unwrap_or_default();
            let name = head.trim();
            let called = |t: &&Source| t.all_places(&format!("::{name}(")).next().is_some();
            if arguments.ends_with(": &[u8]") && !arguments.contains(',') && !targets.iter().any(called) {
                complaints.push(format!("{}:{}: no fuzz target calls {name}", source.path, source.line(at)));
            }
        }
    }
    for target in targets {
        let file = target.path.trim_start_matches("fuzz/");
        let name = file.trim_start_matches("fuzz_targets/").trim_end_matches(".rs");
        if !manifest.contains(&format!("path = \"{file}\"")) {
            complaints.push(format!("{}: fuzz/Cargo.toml does not build it", target.path));
        }
        if !corpora.iter().any(|c| c == name) {
            complaints.push(format!("{}: fuzz/corpus/{name} holds nothing", target.path));
        }
    }
    complaints
}

// What the rules are applied to.

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Folders that hold nothing of ours to judge, as paths from the root: another folder of such a name is like any other.
const PASSED_OVER: [&str; 7] =
    ["target", ".git", "lab", "fuzz/target", "fuzz/corpus", "fuzz/artifacts", "tests/fixtures"];

/// Every file below `folder`, by its path from `root`.
fn walk(root: &Path, folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap()).collect();
    entries.sort_by_key(|e| e.path());
    for entry in entries {
        let path = entry.path();
        let relative = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && !PASSED_OVER.contains(&relative.as_str()) {
            walk(root, &path, found);
        } else if kind.is_file() && relative != ".git" {
            found.push((relative, fs::read(&path).unwrap()));
        }
    }
}

/// Text files of the project, and the Rust among them.
fn project() -> (Vec<(String, String)>, Vec<Source>) {
    let mut found = Vec::new();
    walk(root(), root(), &mut found);
    let files: Vec<_> = found.into_iter().filter_map(|(p, b)| Some((p, String::from_utf8(b).ok()?))).collect();
    let rust = files.iter().filter(|(path, _)| path.ends_with(".rs"));
    let sources = rust.map(|(path, text)| Source::new(path, text)).collect();
    (files, sources)
}

fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn imports_only_go_down() {
    none(&layers(&project().1));
}

#[test]
fn engines_are_named_at_home_alone() {
    none(&engine_names(&project().1, ENGINE_NAMED));
    none(&engine_words(&project().1));
}

#[test]
fn nothing_comes_back_to_itself_inside_an_engine() {
    none(&cycles(&project().1));
}

#[test]
fn files_and_functions_are_short() {
    none(&lengths(&project().1, LONG_FILES, LONG_FUNCTIONS));
}

#[test]
fn calls_stay_in_their_homes() {
    none(&banned(&project().1));
}

#[test]
fn captures_are_read_through_their_volume() {
    none(&machine_files(&project().1, MACHINE_FILES));
}

#[test]
fn nothing_names_a_machine() {
    none(&machine_paths(&project().0));
}

#[test]
fn sections_of_the_specification_exist() {
    let spec = fs::read_to_string(root().join("SPEC.md")).unwrap();
    none(&spec_references(&project().1, &spec));
}

#[test]
fn every_file_is_compiled() {
    none(&orphans(&project().1));
}

#[test]
fn every_parser_is_fuzzed() {
    let corpora: Vec<String> = fs::read_dir(root().join("fuzz/corpus"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|folder| fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some()))
        .map(|folder| folder.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    none(&fuzzing(&project().1, &manifest, &corpora));
}
