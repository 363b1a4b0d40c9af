//! From tables of parameters to options, and from what was given back to values.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::{NonEmptyStringValueParser, PossibleValue, PossibleValuesParser, ValueParser};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, value_parser};

use super::Args;
use crate::backup;
use crate::cli::profile::Profile;
use crate::engine::params::{Group, InWords, Param, Params, Takes, Value};
use crate::engine::{self, Engine, form};
use crate::error::{Error, Kind, Result};
use crate::restore::forms::{self, FormOf};
use crate::whole;

/// A form that was chosen, and what was given for it.
pub struct Chosen<'e> {
    /// Whose form it is.
    pub engine: &'e dyn Engine,
    /// The form.
    pub form: &'static engine::Form,
    /// What was given for it and for the operation.
    pub params: Params,
}

/// A form in which data come back, and what was given for it.
pub struct Form<'e> {
    /// The form.
    pub of: FormOf<'e>,
    /// What was given.
    pub params: Params,
}

/// Where parameters are read from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// The command line alone: clap refuses what does not fit together, in its own words.
    Words,
    /// A file as well ([`PARAMS`], [`PROFILE`]): what fits together is known once both are read.
    File,
}

/// The option that names a file of parameters.
const PARAMS: &str = "params";
/// The option that names a profile.
const PROFILE: &str = "profile";
/// The longest such file.
const PARAMS_MAX: u64 = 1 << 20;

impl Given {
    /// As the words of a command line say.
    pub fn of(mut words: impl Iterator<Item = OsString>) -> Given {
        let names = |word: &OsString| {
            let word = word.to_string_lossy();
            let name = word.strip_prefix("--").map(|word| word.split('=').next().unwrap_or_default());
            name.is_some_and(|name| name == PARAMS || name == PROFILE)
        };
        if words.any(|word| names(&word)) { Given::File } else { Given::Words }
    }
}

/// The program, which knows `engines`.
pub fn command(engines: &[&dyn Engine], from: Given) -> Command {
    let extended = |one: Command| match one.get_name() {
        "backup" | "plan" => backups(one, engines, from),
        "restore" => restores(one, engines, from),
        "ls" | "drift" | "diff" | "find" => in_outer(one, engines),
        _ => one,
    };
    // What is changed goes to the end: all are, so that they keep their order.
    let program = Args::command();
    let names: Vec<String> = program.get_subcommands().map(|one| one.get_name().to_owned()).collect();
    names.iter().fold(program, |program, name| program.mut_subcommand(name, extended))
}

/// `backup` or `plan`, with a command for each way in.
fn backups(all: Command, engines: &[&dyn Engine], from: Given) -> Command {
    let all = all.subcommand_required(true).arg_required_else_help(true);
    let forms = engines.iter().flat_map(|engine| engine.sources().iter().map(move |form| (*engine, form)));
    forms.fold(all, |all, (engine, form)| {
        let one = with_groups(Command::new(form.name).about(form.help), form.groups.iter().copied(), from);
        all.subcommand(with_groups(one, [backup::takes(engine)], from).arg(file()))
    })
}

/// `restore`, with what each form takes.
fn restores(all: Command, engines: &[&dyn Engine], from: Given) -> Command {
    let forms = forms::all(engines);
    let names = forms.iter().map(|of| PossibleValue::new(of.form.name).help(of.form.help));
    let to = Arg::new("to").long("to").value_name("FORM").help("In which form").help_heading(None::<&str>);
    let to = to.value_parser(PossibleValuesParser::new(names));
    forms.iter().fold(all.arg(to).arg(file()), |all, of| with_groups(all, of.groups(), from))
}

/// `--in` under the engines' own words, too.
fn in_outer(one: Command, engines: &[&dyn Engine]) -> Command {
    let words: BTreeSet<&str> = engines.iter().filter_map(|engine| engine.words().outer).collect();
    one.mut_arg("outer", |arg| words.into_iter().fold(arg, |arg, word| arg.visible_alias(word)))
}

/// The form that `backup` or `plan` was told, by the matches of that subcommand.
///
/// Errors: what is given does not fit; the profile names a form that there is not.
pub fn source<'e>(engines: &[&'e dyn Engine], given: &ArgMatches, profile: &Profile) -> Result<Option<Chosen<'e>>> {
    let Some((name, given)) = given.subcommand() else { return Ok(None) };
    let Some((engine, form)) = form(engines, |engine| engine.sources(), name) else { return Ok(None) };
    let takes: Vec<&Param> = form.params().chain(backup::takes(engine).params).collect();
    let params = values(given, &takes, known(engines, profile, name)?)?;
    Ok(Some(Chosen { engine, form, params }))
}

/// What a profile says of `backup NAME`.
///
/// Errors: there is no such form; an option that it does not take.
pub fn known(engines: &[&dyn Engine], profile: &Profile, name: &str) -> Result<Params> {
    let Some(said) = profile.of_backup(name) else { return Ok(Params::default()) };
    let Some((engine, form)) = form(engines, |engine| engine.sources(), name) else {
        let names: Vec<&str> = engines.iter().flat_map(|engine| engine.sources()).map(|form| form.name).collect();
        return Err(Error::new(
            Kind::Usage,
            format_args!("{}: backup.{name}", profile.name()),
            "there is no such way in",
        )
        .hint(format_args!("there are {}", names.join(", "))));
    };
    let takes: Vec<&Param> = form.params().chain(backup::takes(engine).params).collect();
    let said = Params::given(&takes, said.to_string().as_bytes());
    said.map_err(|e| e.within(format_args!("{}: backup.{name}", profile.name())))
}

/// The form that `restore` was told, by the matches of that subcommand.
///
/// Errors: what was given belongs to another form.
pub fn target<'e>(engines: &[&'e dyn Engine], given: &ArgMatches) -> Result<Option<Form<'e>>> {
    let all = forms::all(engines);
    let means_files = || {
        let has_path = given.get_one::<String>("snapshot").is_some_and(|snapshot| snapshot.contains(":/"));
        has_path || given.value_source(forms::TARGET) == Some(ValueSource::CommandLine)
    };
    let name = match given.get_one::<String>("to") {
        Some(name) => name.as_str(),
        None if means_files() => forms::FILES,
        None => return Ok(None),
    };
    let Some(of) = all.iter().copied().find(|of| of.form.name == name) else {
        return Ok(None);
    };
    let params = all.iter().flat_map(FormOf::groups).flat_map(|group| group.params);
    let once: BTreeMap<&str, &Param> = params.map(|param| (param.name, param)).collect();
    let params = values(given, &once.into_values().collect::<Vec<_>>(), Params::default())?;
    forms::fits(&all, &of, &params)?;
    Ok(Some(Form { of, params }))
}

/// The option that names a file of parameters.
fn file() -> Arg {
    let help = "Parameters from a file, too: a JSON object with names of options as keys, such as {\"tag\": [\"nightly\"]}. What is \
                given here counts in place of what the file says";
    Arg::new(PARAMS)
        .long(PARAMS)
        .value_name("FILE")
        .help(help)
        .help_heading(None::<&str>)
        .value_parser(value_parser!(PathBuf))
}

/// Adds options. One that is there already, of another form, is the same.
fn with_groups(command: Command, groups: impl IntoIterator<Item = &'static Group>, from: Given) -> Command {
    let params = groups.into_iter().flat_map(|group| group.params.iter().map(|param| (group.heading, param)));
    params.fold(command, |command, (heading, param)| {
        let is_there = command.get_arguments().any(|arg| arg.get_id() == param.name);
        if is_there { command } else { command.arg(option(param, heading, from)) }
    })
}

/// The option of a parameter.
fn option(param: &'static Param, heading: Option<&'static str>, from: Given) -> Arg {
    let mut arg = Arg::new(param.name).help(param.help).help_heading(heading);
    match param.place {
        InWords::Named => arg = arg.long(param.name),
        InWords::Bare => arg = arg.help_heading(None::<&str>),
        InWords::Trailing => arg = arg.last(true).help_heading(None::<&str>),
    }
    if from == Given::Words {
        arg = arg.required(param.required).conflicts_with_all(param.conflicts);
        arg = param.requires.iter().fold(arg, |arg, other| arg.requires(*other));
    }
    if param.takes == Takes::Nothing {
        return arg.action(ArgAction::SetTrue);
    }
    let arg = arg.action(if param.is_list() { ArgAction::Append } else { ArgAction::Set }).value_name(param.value);
    let arg = param.default.iter().fold(arg, |arg, default| arg.default_value(*default));
    match param.takes {
        Takes::Nothing | Takes::Text => arg.value_parser(value_parser!(String)),
        Takes::Word => arg.value_parser(NonEmptyStringValueParser::new()),
        Takes::List => arg.value_parser(value_parser!(String)).value_delimiter(','),
        Takes::Path => arg.value_parser(value_parser!(PathBuf)),
        Takes::Node => arg.value_parser(value_parser!(OsString)),
        Takes::Number(..) | Takes::Time | Takes::Bytes => {
            let read = |text: &str| param.read(OsStr::new(text)).map_err(|e| e.message().to_owned());
            arg.value_parser(ValueParser::from(read)).allow_negative_numbers(true)
        }
        Takes::Choice(choices) => {
            let values = choices.iter().map(|(name, help)| PossibleValue::new(*name).help(*help));
            arg.value_parser(PossibleValuesParser::new(values))
        }
    }
}

/// What was given, here or in a file, or is the default. What is given here counts in place of what the file says, and that in place
/// of what the `profile` says.
///
/// Errors: those of [`Params::given`] and [`Params::check`]; a file that cannot be read.
fn values(given: &ArgMatches, params: &[&Param], profile: Params) -> Result<Params> {
    let mut all = profile;
    if let Some(path) = given.get_one::<PathBuf>(PARAMS) {
        let said =
            Params::given(params, &whole::read(path, PARAMS_MAX, "is longer than 1 MiB: no file of parameters")?);
        all.overlay(said.map_err(|e| e.within(format_args!("{}", path.display())))?);
    }
    for param in params {
        let is_here = given.value_source(param.name) == Some(ValueSource::CommandLine);
        if is_here || !all.has(param.name) {
            let values = values_of(given, param)?;
            if !values.is_empty() {
                all.replace(param, values);
            }
        }
    }
    all.check(params)?;
    Ok(all)
}

/// What the command line gives for one parameter.
fn values_of(given: &ArgMatches, param: &Param) -> Result<Vec<Value>> {
    fn all<T: Clone + Send + Sync + 'static>(
        given: &ArgMatches,
        param: &Param,
        value: impl Fn(T) -> Value,
    ) -> Vec<Value> {
        given.get_many::<T>(param.name).into_iter().flatten().cloned().map(value).collect()
    }
    match param.takes {
        Takes::Nothing => Ok(given.get_flag(param.name).then_some(Value::Given).into_iter().collect()),
        Takes::Text | Takes::Word | Takes::List | Takes::Choice(_) => Ok(all(given, param, Value::Text)),
        Takes::Path => Ok(all(given, param, Value::Path)),
        Takes::Node => {
            given.get_many::<OsString>(param.name).into_iter().flatten().map(|word| param.read(word)).collect()
        }
        Takes::Number(..) | Takes::Time | Takes::Bytes => Ok(all(given, param, |number: Value| number)),
    }
}

#[cfg(test)]
mod tests;
