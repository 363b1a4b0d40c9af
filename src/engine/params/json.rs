//! Parameters from JSON: an object whose keys are their names, and whose values are the words of a command line.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value as Json;

use super::{Param, Params, Takes, Value};
use crate::error::{Error, Kind, Result};

impl Params {
    /// What [`Params::given`] reads, and the defaults of what is not given.
    ///
    /// Errors: those of [`Params::given`].
    pub fn from_json(of: &[&Param], text: &[u8]) -> Result<Params> {
        let mut params = Params::given(of, text)?;
        for param in of {
            if let Some(default) = param.default.filter(|_| !params.has(param.name)) {
                params.add(param, param.read(OsStr::new(default))?);
            }
        }
        Ok(params)
    }

    /// What a JSON object gives. A flag is `true` or `false`, a number a number, everything
    /// else the text that the command line takes: `{"cluster": "prod", "node": ["n1=/snap/n1"], "dry-run": true}`. What may be given
    /// several times is a list, or one value. `of` are all parameters that could be given; whether they fit together is for
    /// [`Params::check`], once all are there.
    ///
    /// Errors: `Usage`, by the place in the text where it is no object, or by the key: one that no parameter has, or that is there
    /// twice, and values that the parameter does not take.
    pub fn given(of: &[&Param], text: &[u8]) -> Result<Params> {
        let Object(pairs) = serde_json::from_slice(text).map_err(|e| {
            Error::new(Kind::Usage, "parameters", e)
                .hint("write a JSON object, the names of options as keys: {\"tag\": \"x\"}")
        })?;
        let (mut params, mut seen) = (Params::default(), BTreeSet::new());
        for (key, value) in &pairs {
            let param = of.iter().find(|param| param.name == key).ok_or_else(|| unknown(key, of))?;
            if !seen.insert(key) {
                return Err(Error::new(Kind::Usage, format_args!("--{key}"), "is given twice")
                    .hint("give it once; several values are a list"));
            }
            param.of_json(value)?.into_iter().for_each(|value| params.add(param, value));
        }
        Ok(params)
    }
}

/// A key that no parameter has, with the one that is most like it.
fn unknown(key: &str, of: &[&Param]) -> Error {
    let names: BTreeSet<&str> = of.iter().map(|param| param.name).collect();
    let alike = |name: &&str| strsim::normalized_damerau_levenshtein(key.trim_start_matches('-'), name);
    let hint = match names.iter().copied().max_by(|a, b| alike(a).total_cmp(&alike(b))) {
        Some(name) if alike(&name) >= 0.7 => format!("perhaps {name}"),
        _ => format!("there are {}", names.into_iter().collect::<Vec<_>>().join(", ")),
    };
    Error::new(Kind::Usage, format_args!("--{key}"), "is no parameter").hint(hint)
}

impl Param {
    fn of_json(&self, value: &Json) -> Result<Vec<Value>> {
        match value {
            Json::Array(all) if self.is_list() => {
                Ok(all.iter().map(|one| self.one(one)).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
            }
            Json::Array(_) => Err(self.wrong("takes one value, and not a list")),
            one => self.one(one),
        }
    }

    /// What one value that is no list says.
    fn one(&self, value: &Json) -> Result<Vec<Value>> {
        let word = match (self.takes, value) {
            (Takes::Nothing, Json::Bool(given)) => return Ok(given.then_some(Value::Given).into_iter().collect()),
            (Takes::Nothing, _) => return Err(self.wrong("takes true or false")),
            (Takes::Number(..) | Takes::Time, Json::Number(number)) => number.to_string(),
            (Takes::Number(..), _) => return Err(self.wrong("takes a whole number, without quotes")),
            (_, Json::String(text)) if text.contains('\0') => return Err(self.wrong("has a character that ends texts")),
            (_, Json::String(text)) => text.clone(),
            _ => return Err(self.wrong("takes text, in quotes")),
        };
        let words = word.split(|c| c == ',' && self.takes == Takes::List);
        words.map(|word| self.read(OsStr::new(word))).collect()
    }

    fn wrong(&self, message: &str) -> Error {
        Error::new(Kind::Usage, format_args!("--{}", self.name), message)
    }
}

/// The pairs of an object as they come: a map would keep the last of two equal keys and lose the other.
struct Object(Vec<(String, Json)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Object, D::Error> {
        from.deserialize_map(Pairs)
    }
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Object, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Object(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF: [Param; 6] = [
        Param::new("name", Takes::Word, "NAME", "").required(),
        Param::new("from", Takes::List, "A,B…", "").with(&["name"]),
        Param::new("rate", Takes::Number(1, 9), "N", "").or("3"),
        Param::new("at", Takes::Time, "TIME", "").without(&["dry"]),
        Param::flag("dry", ""),
        Param::new("tag", Takes::Text, "TAG", "").many().with(&["from"]),
    ];

    fn read(text: &str) -> Result<Params> {
        let params = Params::from_json(&OF.each_ref(), text.as_bytes())?;
        params.check(&OF.each_ref()).map(|()| params)
    }

    #[test]
    fn an_object_gives_what_the_words_would() {
        let all = read(r#"{"name": "x", "from": ["a", "b,c"], "tag": "one", "at": 5, "dry": false}"#).unwrap();
        assert_eq!(
            (all.text("name"), all.list("from"), all.list("tag")),
            (Some("x"), ["a", "b", "c"].map(String::from).into(), vec!["one".into()])
        );
        assert_eq!((all.number("at"), all.number("rate"), all.has("dry")), (Some(5), Some(3), false));
        assert_eq!(read(r#"{"name": "x", "at": "1970-01-01T00:00:05Z", "rate": 9}"#).unwrap().number("at"), Some(5));
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        for (text, words) in [
            ("", &["parameters", "line 1"][..]),
            ("[]", &["an object"]),
            ("{} x", &["trailing"]),
            (r#"{"name": "x", "form": "a"}"#, &["--form: is no parameter", "perhaps from"]),
            (r#"{"--name": "x"}"#, &["----name: is no parameter", "perhaps name"]),
            (r#"{"nonesuch": 1}"#, &["there are at, dry, from, name, rate, tag"]),
            (r#"{"name": "x", "name": "y"}"#, &["--name: is given twice"]),
            (r#"{"name": ["x"]}"#, &["--name: takes one value"]),
            (r#"{"name": 7}"#, &["--name: takes text, in quotes"]),
            (r#"{"name": null}"#, &["--name: takes text"]),
            (r#"{"name": "a\u0000b"}"#, &["--name: has a character"]),
            (r#"{"name": ""}"#, &["--name : is empty"]),
            (r#"{"name": "x", "rate": "5"}"#, &["--rate: takes a whole number"]),
            (r#"{"name": "x", "rate": 1.5}"#, &["--rate 1.5: not a whole number"]),
            (r#"{"name": "x", "rate": 10}"#, &["--rate 10: 10 is not in 1..=9"]),
            (r#"{"name": "x", "dry": "yes"}"#, &["--dry: takes true or false"]),
            (r#"{"name": "x", "dry": {}}"#, &["--dry: takes true or false"]),
            (r#"{"name": "x", "from": [["a"]]}"#, &["--from: takes text"]),
            ("{}", &["--name: is missing", "give --name NAME"]),
            (r#"{"name": "x", "tag": "a"}"#, &["--tag: means nothing without --from", "give --from A,B…, too"]),
            (r#"{"name": "x", "at": 5, "dry": true}"#, &["--at: cannot be given with --dry"]),
        ] {
            let refused = read(text).unwrap_err();
            assert_eq!(refused.kind(), Kind::Usage, "{text}");
            for word in words {
                assert!(refused.to_string().contains(word), "{text}: {refused}");
            }
        }
    }
}
