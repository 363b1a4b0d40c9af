//! What can be asked of an engine or an operation, as tables. The command line makes options, help, completions and man
//! pages of them; the values come back by name, from there or from JSON. Nothing here knows of a command line.

mod check;
pub mod fuzzing;
mod json;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// One way into an engine (`backup NAME`), or out of it (`restore --to NAME`).
#[derive(Debug)]
pub struct Form {
    /// Its name, of lower-case letters: no two ways in, and no two ways out, have the same.
    pub name: &'static str,
    /// One line that says what it is.
    pub help: &'static str,
    /// What it takes besides what the operation itself takes.
    pub groups: &'static [&'static Group],
    /// What to do where this build lacks it: `build with the feature …`. It is shown with its parameters all the same.
    pub lacking: Option<&'static str>,
}

/// Parameters that belong together. Several forms may take the same group.
#[derive(Debug)]
pub struct Group {
    /// Above them in the help; `None`: among the options of the command.
    pub heading: Option<&'static str>,
    /// The parameters.
    pub params: &'static [Param],
}

/// One parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param {
    /// `name` of `--name`. One name means one thing, whichever form of a command takes it.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// What its value is called: `FILE`. Of a flag nothing.
    pub value: &'static str,
    /// What it does; without a full stop at its end.
    pub help: &'static str,
    /// It may be given several times.
    pub many: bool,
    /// Nothing works without it.
    pub required: bool,
    /// What it is where it is not given; said after the help.
    pub default: Option<&'static str>,
    /// Names of others that must be given with it.
    pub requires: &'static [&'static str],
    /// Names of others that cannot be given with it.
    pub conflicts: &'static [&'static str],
    /// Where it stands among the words of a command.
    pub place: InWords,
}

/// Where a parameter stands among the words of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InWords {
    /// Behind `--name`.
    Named,
    /// By itself.
    Bare,
    /// By itself, behind `--`, with all words that follow.
    Trailing,
}

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: it is given or not.
    Nothing,
    /// Text.
    Text,
    /// Text that is not empty.
    Word,
    /// Texts with commas between them.
    List,
    /// A path, which may be no text.
    Path,
    /// A node and the folders of its capture: `NAME[@ADDRESS]=DIR[,DIR…]`.
    Node,
    /// Bytes: a whole number, or one with K, M, G or T behind it.
    Bytes,
    /// A whole number, both ends inclusive.
    Number(i64, i64),
    /// A point in time: RFC 3339, or seconds since 1970; before 2106.
    Time,
    /// One of these, each with its help.
    Choice(&'static [(&'static str, &'static str)]),
}

/// A node and the folders of its capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFolders {
    /// What the operator calls it.
    pub name: String,
    /// Its address, where the operator says it.
    pub address: Option<String>,
    /// At least one.
    pub dirs: Vec<PathBuf>,
}

/// What was given for a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A flag.
    Given,
    /// [`Takes::Text`], [`Takes::Word`], one text of a [`Takes::List`], a [`Takes::Choice`].
    Text(String),
    /// [`Takes::Path`].
    Path(PathBuf),
    /// [`Takes::Node`].
    Node(NodeFolders),
    /// [`Takes::Number`], [`Takes::Bytes`], and [`Takes::Time`] in seconds since 1970.
    Number(i64),
}

impl Form {
    /// What it takes.
    pub fn params(&self) -> impl Iterator<Item = &'static Param> {
        self.groups.iter().flat_map(|group| group.params)
    }
}

impl Param {
    /// A parameter that takes a value, once.
    pub const fn new(name: &'static str, takes: Takes, value: &'static str, help: &'static str) -> Param {
        let (many, required, default) = (false, false, None);
        Param {
            name,
            takes,
            value,
            help,
            many,
            required,
            default,
            requires: &[],
            conflicts: &[],
            place: InWords::Named,
        }
    }

    /// A flag.
    pub const fn flag(name: &'static str, help: &'static str) -> Param {
        Param::new(name, Takes::Nothing, "", help)
    }

    /// It may be given several times.
    #[must_use]
    pub const fn many(mut self) -> Param {
        self.many = true;
        self
    }

    /// It stands by itself.
    #[must_use]
    pub const fn positional(mut self) -> Param {
        self.place = InWords::Bare;
        self
    }

    /// It stands behind `--`, with all words that follow.
    #[must_use]
    pub const fn trailing(mut self) -> Param {
        self.place = InWords::Trailing;
        self
    }

    /// Nothing works without it.
    #[must_use]
    pub const fn required(mut self) -> Param {
        self.required = true;
        self
    }

    /// What it is where it is not given.
    #[must_use]
    pub const fn or(mut self, default: &'static str) -> Param {
        self.default = Some(default);
        self
    }

    /// Others that must be given with it.
    #[must_use]
    pub const fn with(mut self, names: &'static [&'static str]) -> Param {
        self.requires = names;
        self
    }

    /// Others that cannot be given with it.
    #[must_use]
    pub const fn without(mut self, names: &'static [&'static str]) -> Param {
        self.conflicts = names;
        self
    }

    /// Whether it may have several values.
    pub fn is_list(&self) -> bool {
        self.many || self.takes == Takes::List
    }

    /// What `word` says. The word of a list is one of its texts.
    ///
    /// Errors: `Usage`, with the parameter and the word as subject.
    pub fn read(&self, word: &OsStr) -> Result<Value> {
        let bad = |message: &str| Error::new(Kind::Usage, format_args!("--{} {}", self.name, word.display()), message);
        let text = || word.to_str().map(str::to_owned).ok_or_else(|| bad("is not UTF-8"));
        match self.takes {
            Takes::Nothing => Ok(Value::Given),
            Takes::Word if word.is_empty() => Err(bad("is empty")),
            Takes::Text | Takes::Word | Takes::List => Ok(Value::Text(text()?)),
            Takes::Path => Ok(Value::Path(word.into())),
            Takes::Node => {
                node(word).map(Value::Node).map_err(|message| bad(message).hint(format_args!("write {NODE}")))
            }
            Takes::Number(least, most) => {
                let number: i64 = text()?.parse().map_err(|_| bad("not a whole number"))?;
                match (least..=most).contains(&number) {
                    true => Ok(Value::Number(number)),
                    false => Err(bad(&format!("{number} is not in {least}..={most}"))),
                }
            }
            Takes::Bytes => {
                let what = "give bytes, or a number with K, M, G or T behind it, like 10M";
                bytes(&text()?).map(Value::Number).ok_or_else(|| bad(what))
            }
            Takes::Time => {
                let what = "give a time like 2026-01-31T23:59:59Z, or seconds since 1970, before 2106";
                time(&text()?).map(Value::Number).ok_or_else(|| bad(what))
            }
            Takes::Choice(choices) => {
                let text = text()?;
                if choices.iter().any(|(name, _)| *name == text) {
                    return Ok(Value::Text(text));
                }
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                Err(bad("is none of its values").hint(format_args!("give one of {}", names.join(", "))))
            }
        }
    }
}

/// How a [`Takes::Node`] is written.
const NODE: &str = "NAME[@ADDRESS]=DIR[,DIR…]";

/// [`NODE`]; a folder whose own name has a comma is one folder.
fn node(text: &OsStr) -> std::result::Result<NodeFolders, &'static str> {
    let bytes = text.as_bytes();
    let at = bytes.iter().position(|b| *b == b'=').ok_or("has no folder")?;
    // Folders are any bytes; a name is text.
    let name = std::str::from_utf8(&bytes[..at]).map_err(|_| "has a name that is not UTF-8")?;
    let dir = OsStr::from_bytes(&bytes[at + 1..]);
    let (name, address) = match name.split_once('@') {
        Some((name, address)) => (name, Some(address.to_owned())),
        None => (name, None),
    };
    let dirs: Vec<PathBuf> = match Path::new(dir).exists() {
        true => vec![PathBuf::from(dir)],
        false => dir.as_bytes().split(|b| *b == b',').map(|d| PathBuf::from(OsStr::from_bytes(d))).collect(),
    };
    if name.is_empty() || dirs.iter().any(|d| d.as_os_str().is_empty()) || address.as_deref() == Some("") {
        return Err("lacks a name, an address or a folder");
    }
    Ok(NodeFolders { name: name.to_owned(), address, dirs })
}

/// Bytes, by units of 1024.
fn bytes(text: &str) -> Option<i64> {
    let units = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
    let unit = units.into_iter().find(|(unit, _)| text.ends_with([*unit, unit.to_ascii_lowercase()]));
    let (digits, shift) = unit.map_or((text, 0), |(_, shift)| (&text[..text.len() - 1], shift));
    let number: i64 = digits.parse().ok().filter(|n| *n >= 0)?;
    number.checked_mul(1 << shift)
}

/// Seconds since 1970.
fn time(text: &str) -> Option<i64> {
    let time = text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
    let seconds: i64 = time.or_else(|| text.parse().ok())?;
    u32::try_from(seconds).ok().map(i64::from)
}

/// What was given, by the names of parameters. A name that no table has was not given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(BTreeMap<&'static str, Vec<Value>>);

impl Params {
    /// Adds a value to those of `param`.
    pub fn add(&mut self, param: &Param, value: Value) {
        self.0.entry(param.name).or_default().push(value);
    }

    /// Puts values in place of those of `param`.
    pub fn replace(&mut self, param: &Param, values: Vec<Value>) {
        self.0.insert(param.name, values);
    }

    /// Takes what another gives in place of its own values.
    pub fn overlay(&mut self, over: Params) {
        self.0.extend(over.0);
    }

    /// The names of what was given.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// Whether it was given, or has a default.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn all(&self, name: &str) -> &[Value] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Its text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts(name).next()
    }

    /// All of its texts.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.all(name).iter().filter_map(|value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// All of its texts, to be kept.
    pub fn list(&self, name: &str) -> Vec<String> {
        self.texts(name).map(str::to_owned).collect()
    }

    /// Its path.
    pub fn path(&self, name: &str) -> Option<&Path> {
        self.all(name).iter().find_map(|value| match value {
            Value::Path(path) => Some(path.as_path()),
            _ => None,
        })
    }

    /// All of its paths.
    pub fn paths(&self, name: &str) -> impl Iterator<Item = &Path> {
        self.all(name).iter().filter_map(|value| match value {
            Value::Path(path) => Some(path.as_path()),
            _ => None,
        })
    }

    /// Its number, or its time in seconds since 1970.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.all(name).iter().find_map(|value| match value {
            Value::Number(number) => Some(*number),
            _ => None,
        })
    }

    /// Its nodes.
    pub fn nodes(&self, name: &str) -> impl Iterator<Item = &NodeFolders> {
        self.all(name).iter().filter_map(|value| match value {
            Value::Node(node) => Some(node),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(takes: Takes, word: &str) -> String {
        Param::new("it", takes, "X", "").read(OsStr::new(word)).unwrap_err().to_string()
    }

    fn taken(takes: Takes, word: &str) -> Value {
        Param::new("it", takes, "X", "").read(OsStr::new(word)).unwrap()
    }

    #[test]
    fn words_are_what_they_say_or_refused_by_name() {
        assert_eq!(taken(Takes::Number(1, 19), "19"), Value::Number(19));
        for word in ["0", "20", "x", "", "1.5", "99999999999999999999"] {
            assert!(refused(Takes::Number(1, 19), word).starts_with(&format!("--it {word}: ")), "{word}");
        }
        assert_eq!(taken(Takes::Time, "1970-01-02T00:00:00Z"), Value::Number(86_400));
        assert_eq!(taken(Takes::Time, "4294967295"), Value::Number(4_294_967_295));
        for word in ["4294967296", "-1", "tomorrow", "2200-01-01T00:00:00Z", ""] {
            assert!(refused(Takes::Time, word).contains("before 2106"), "{word}");
        }
        let choice = Takes::Choice(&[("one", ""), ("two", "")]);
        assert_eq!(taken(choice, "two"), Value::Text("two".into()));
        assert!(refused(choice, "three").contains("one, two"));
        assert!(refused(Takes::Word, "").contains("is empty"));
        assert_eq!(taken(Takes::Text, ""), Value::Text(String::new()));
        assert_eq!(taken(Takes::Path, "a b"), Value::Path("a b".into()));
        let odd = OsStr::from_bytes(b"\xff");
        assert!(Param::new("it", Takes::Text, "X", "").read(odd).unwrap_err().to_string().contains("not UTF-8"));
        assert!(Param::new("it", Takes::Path, "X", "").read(odd).is_ok());
    }

    #[test]
    fn nodes_have_a_name_and_folders() {
        let Value::Node(node) = taken(Takes::Node, "n1@10.0.0.1=/no/a,/no/b=c") else { panic!("no node") };
        assert_eq!((node.name.as_str(), node.address.as_deref()), ("n1", Some("10.0.0.1")));
        assert_eq!(node.dirs, [Path::new("/no/a"), Path::new("/no/b=c")]);
        let folder = tempfile::tempdir().unwrap();
        let comma = folder.path().join("a,b");
        std::fs::create_dir(&comma).unwrap();
        let Value::Node(node) = taken(Takes::Node, &format!("n={}", comma.display())) else { panic!("no node") };
        assert_eq!((node.address, node.dirs), (None, vec![comma]));
        for word in ["n", "=x", "n=", "n@=x", "n=x,,y", ""] {
            assert!(refused(Takes::Node, word).contains(NODE), "{word}");
        }
    }

    #[test]
    fn what_was_not_given_is_not_there() {
        let (many, flag) = (Param::new("many", Takes::Word, "X", "").many(), Param::flag("flag", ""));
        let mut params = Params::default();
        params.add(&many, Value::Text("a".into()));
        params.add(&many, Value::Text("b".into()));
        params.add(&flag, Value::Given);
        assert_eq!((params.text("many"), params.list("many")), (Some("a"), vec!["a".to_owned(), "b".to_owned()]));
        assert!(params.has("flag") && !params.has("other") && params.text("flag").is_none());
        assert_eq!(params.names().collect::<Vec<_>>(), ["flag", "many"]);
    }
}
