//! The tables make a sound command line, and its words and JSON say the same.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;
use serde_json::{Value as Json, json};

use super::*;

/// clap looks whether ids, requirements and values fit together.
#[test]
fn the_tables_of_all_engines_make_a_sound_command_line() {
    command(engine::ALL, Given::Words).debug_assert();
    command(engine::ALL, Given::File).debug_assert();
}

/// Forms share options by name, so one name must mean one thing.
#[test]
fn a_parameter_of_several_forms_is_the_same_in_all() {
    let all = forms::all(engine::ALL);
    let params: Vec<&Param> = all.iter().flat_map(FormOf::groups).flat_map(|group| group.params).collect();
    for (i, param) in params.iter().enumerate() {
        let other = params[..i].iter().find(|other| other.name == param.name);
        assert!(other.is_none_or(|other| other == param), "--{}", param.name);
    }
    let names = |forms: Vec<&str>| forms.iter().collect::<BTreeSet<_>>().len() == forms.len();
    assert!(names(all.iter().map(|of| of.form.name).collect()), "two forms of one name");
    assert!(names(engine::ALL.iter().flat_map(|e| e.sources()).map(|form| form.name).collect()));
}

/// A default is there whether or not it is given, so nothing may hang on that; and of the forms of `restore` it would be another's.
#[test]
fn nothing_hangs_on_a_default() {
    let params: Vec<Vec<&Param>> = commands().into_iter().map(|one| one.params).collect();
    for all in &params {
        let related = |param: &&Param| {
            all.iter().flat_map(|other| other.requires.iter().chain(other.conflicts)).any(|name| *name == param.name)
        };
        for param in all.iter().filter(|param| param.default.is_some()) {
            assert!(!related(param) && param.requires.is_empty() && param.conflicts.is_empty(), "--{}", param.name);
            assert!(!param.required, "--{}", param.name);
        }
        assert!(all.iter().all(|param| {
            param.requires.iter().chain(param.conflicts).all(|name| all.iter().any(|other| other.name == *name))
        }));
    }
    assert!(
        forms::all(engine::ALL)
            .iter()
            .flat_map(FormOf::groups)
            .flat_map(|group| group.params)
            .all(|param| param.default.is_none())
    );
}

/// A command with a form, and all that can be given with it.
#[derive(Debug, Clone)]
struct One {
    words: Vec<String>,
    params: Vec<&'static Param>,
}

/// A parameter, and the words that are given for it.
type Words = (&'static Param, Vec<String>);

fn commands() -> Vec<One> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let sources = engine::ALL.iter().flat_map(|engine| engine.sources().iter().map(move |form| (*engine, form)));
    let ways_in = sources.map(|(engine, form)| One {
        words: words(&["onefold", "backup", form.name]),
        params: form.params().chain(backup::takes(engine).params).collect(),
    });
    let all = forms::all(engine::ALL);
    let groups = all.iter().flat_map(FormOf::groups).flat_map(|group| group.params);
    let params: BTreeMap<&str, &'static Param> = groups.map(|param| (param.name, param)).collect();
    let ways_out = all.iter().map(|of| One {
        words: words(&["onefold", "restore", "--to", of.form.name]),
        params: params.values().copied().collect(),
    });
    ways_in.chain(ways_out).collect()
}

/// Words that could stand for a value, most of them good.
fn words(param: &Param) -> Vec<String> {
    let of = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    match param.takes {
        Takes::Nothing => of(&["true"]),
        Takes::Text => of(&["x", "größe 2", "--x", ""]),
        Takes::Word => of(&["x", "a,b", ""]),
        Takes::List => of(&["x", "a,b", "a,,b", ""]),
        Takes::Path => of(&["/no/such", "p q"]),
        Takes::Node => of(&["n1=/no/a", "n2@10.0.0.1=/no/a,/no/b", "n3", "=x"]),
        Takes::Number(least, most) => {
            [least, most, (least + most) / 2, least - 1, most + 1].map(|n| n.to_string()).into()
        }
        Takes::Bytes => of(&["10M", "0", "3k", "-1", "1X", "99999999999T", ""]),
        Takes::Time => of(&["2026-01-31T23:59:59Z", "5", "tomorrow"]),
        Takes::Choice(choices) => choices.iter().map(|(name, _)| (*name).to_owned()).chain(of(&["nonesuch"])).collect(),
    }
}

/// For some of the parameters, the words that are given for each.
fn given() -> impl Strategy<Value = (One, Vec<Words>)> {
    select(commands()).prop_flat_map(|one| {
        let each = one.params.iter().map(|param| {
            let times = prop_oneof![3 => Just(0), 6 => Just(1), 1 => Just(2)];
            let (param, likely) = (*param, if param.required { 0.95 } else { 0.15 });
            (proptest::bool::weighted(likely), times, any::<[Index; 2]>()).prop_map(move |(is_given, times, which)| {
                let (all, times) = (words(param), if param.takes == Takes::Nothing { times.min(1) } else { times });
                // The first words are good, and taken more often.
                let pick = |index: &Index| all[index.index(3 * all.len()).saturating_sub(2 * all.len())].clone();
                (param, if is_given { which[..times].iter().map(pick).collect() } else { Vec::new() })
            })
        });
        (Just(one.clone()), each.collect::<Vec<_>>())
    })
}

/// What the command line makes of words, as the program would.
fn told(words: &[String], from: Given) -> std::result::Result<Params, String> {
    let given = command(engine::ALL, from).try_get_matches_from(words).map_err(|e| e.to_string())?;
    let (name, given) = given.subcommand().unwrap();
    let params = match name {
        "backup" => {
            source(engine::ALL, given, &crate::cli::profile::Profile::default()).map(|chosen| chosen.unwrap().params)
        }
        _ => target(engine::ALL, given).map(|form| form.unwrap().params),
    };
    params.map_err(|e| e.to_string())
}

/// Words as the command line has them.
fn as_words(given: &[Words]) -> Vec<String> {
    let word = |param: &Param, word: &String| match (param.place, param.takes) {
        (InWords::Bare | InWords::Trailing, _) => word.clone(),
        (InWords::Named, Takes::Nothing) => format!("--{}", param.name),
        (InWords::Named, _) => format!("--{}={word}", param.name),
    };
    let all = |is_last: bool| {
        let some = given.iter().filter(move |(param, _)| (param.place == InWords::Trailing) == is_last);
        some.flat_map(|(param, words)| words.iter().map(move |w| word(param, w))).collect::<Vec<_>>()
    };
    let (mut words, last) = (all(false), all(true));
    if !last.is_empty() {
        words.push("--".to_owned());
        words.extend(last);
    }
    words
}

/// Words as an object.
fn object(given: &[Words]) -> Json {
    let value = |param: &Param, word: &String| match param.takes {
        Takes::Nothing => json!(true),
        Takes::Number(..) | Takes::Time => word.parse::<i64>().map_or(json!(word), |number| json!(number)),
        _ => json!(word),
    };
    let values = given.iter().filter(|(_, words)| !words.is_empty()).map(|(param, words)| {
        let mut values: Vec<Json> = words.iter().map(|word| value(param, word)).collect();
        (param.name.to_owned(), if values.len() == 1 { values.remove(0) } else { values.into() })
    });
    Json::Object(values.collect())
}

/// Words, a file, and half of either give the same, or are all refused: whatever clap refuses, the tables refuse.
#[test]
fn words_and_json_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("params.json");
    let mut runner = TestRunner::default();
    let (cases, taken) = (runner.config().cases, Cell::new(0));
    let same = |((one, given), here): ((One, Vec<Words>), [bool; 64])| {
        let words = told(&[&one.words[..], &as_words(&given)].concat(), Given::Words);
        let with_file = |given_here: &[Words], in_file: &[Words]| {
            std::fs::write(&file, object(in_file).to_string()).unwrap();
            let option = vec![format!("--params={}", file.display())];
            told(&[&one.words[..], &option, &as_words(given_here)].concat(), Given::File)
        };
        let mut here = here.iter();
        let (given_here, in_file): (Vec<_>, Vec<_>) = given.iter().cloned().partition(|_| *here.next().unwrap());
        for json in [with_file(&[], &given), with_file(&given_here, &in_file)] {
            prop_assert_eq!(words.is_ok(), json.is_ok(), "{:?} {:?}", words, json);
            if let (Ok(words), Ok(json)) = (&words, &json) {
                prop_assert_eq!(words, json);
            }
        }
        taken.set(taken.get() + u32::from(words.is_ok()));
        Ok(())
    };
    runner.run(&(given(), any::<[bool; 64]>()), same).unwrap();
    let taken = taken.get();
    assert!(taken > cases / 20 && cases - taken > cases / 20, "{taken} of {cases} were taken: nothing is shown");
}

/// What is given as a word counts in place of what the file says.
#[test]
fn words_win() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("params.json");
    let text =
        json!({ "cluster": "prod", "node": ["n1=/no/a", "n2=/no/b"], "compression-level": 3, "tag": ["a", "b"] });
    std::fs::write(&file, text.to_string()).unwrap();
    let told = |more: &[&str]| {
        let words = ["onefold", "backup", engine::ALL[0].sources()[0].name, "--params", file.to_str().unwrap()];
        let words: Vec<String> = words.iter().chain(more).map(|word| (*word).to_owned()).collect();
        told(&words, Given::of(words.iter().map(Into::into))).unwrap()
    };
    let (alone, with) = (told(&[]), told(&["--tag", "c", "--node=n3=/no/c", "--compression-level", "5", "--dry-run"]));
    assert_eq!((alone.number("compression-level"), alone.list("tag")), (Some(3), vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(
        (with.number("compression-level"), with.list("tag"), with.nodes("node").count()),
        (Some(5), vec!["c".to_owned()], 1)
    );
    assert!(with.has("dry-run") && !alone.has("dry-run") && with.text("cluster") == Some("prod"));
}
