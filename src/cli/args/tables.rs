//! From tables of parameters to options, and from what was given back to values.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::{NonEmptyStringValueParser, PossibleValue, PossibleValuesParser, ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, value_parser};

use super::Args;
use crate::backup;
use crate::engine::params::{Group, Param, Params, Takes, Value};
use crate::engine::{self, Engine, form};
use crate::error::Result;
use crate::restore::forms::{self, FormOf};

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

/// The program, which knows `engines`.
pub fn command(engines: &[&dyn Engine]) -> Command {
    let extended = |one: Command| match one.get_name() {
        "backup" => backups(one, engines),
        "restore" => restores(one, engines),
        _ => one,
    };
    // What is changed goes to the end: all are, so that they keep their order.
    let program = Args::command();
    let names: Vec<String> = program.get_subcommands().map(|one| one.get_name().to_owned()).collect();
    names.iter().fold(program, |program, name| program.mut_subcommand(name, extended))
}

/// `backup`, with a command for each way in.
fn backups(all: Command, engines: &[&dyn Engine]) -> Command {
    let all = all.subcommand_required(true).arg_required_else_help(true);
    engines.iter().flat_map(|engine| engine.sources()).fold(all, |all, form| {
        let one = with_groups(Command::new(form.name).about(form.help), form.groups.iter().copied());
        all.subcommand(with_groups(one, [&backup::TAKES]))
    })
}

/// `restore`, with what each form takes.
fn restores(all: Command, engines: &[&dyn Engine]) -> Command {
    let forms = forms::all(engines);
    let names = forms.iter().map(|of| PossibleValue::new(of.form.name).help(of.form.help));
    let to =
        Arg::new("to").long("to").value_name("FORM").required(true).help("In which form").help_heading(None::<&str>);
    let to = to.value_parser(PossibleValuesParser::new(names));
    forms.iter().fold(all.arg(to), |all, of| with_groups(all, of.groups()))
}

/// The form that `backup` was told, by the matches of that subcommand.
pub fn source<'e>(engines: &[&'e dyn Engine], given: &ArgMatches) -> Result<Option<Chosen<'e>>> {
    let Some((name, given)) = given.subcommand() else { return Ok(None) };
    let Some((engine, form)) = form(engines, |engine| engine.sources(), name) else { return Ok(None) };
    let params = values(given, form.params().chain(backup::TAKES.params))?;
    Ok(Some(Chosen { engine, form, params }))
}

/// The form that `restore` was told, by the matches of that subcommand.
///
/// Errors: what was given belongs to another form.
pub fn target<'e>(engines: &[&'e dyn Engine], given: &ArgMatches) -> Result<Option<Form<'e>>> {
    let all = forms::all(engines);
    let name = given.get_one::<String>("to");
    let Some(of) = all.iter().copied().find(|of| Some(of.form.name) == name.map(String::as_str)) else {
        return Ok(None);
    };
    let params = all.iter().flat_map(FormOf::groups).flat_map(|group| group.params);
    let once: BTreeMap<&str, &Param> = params.map(|param| (param.name, param)).collect();
    let params = values(given, once.into_values())?;
    forms::fits(&all, &of, &params)?;
    Ok(Some(Form { of, params }))
}

/// Adds options. One that is there already, of another form, is the same.
fn with_groups(command: Command, groups: impl IntoIterator<Item = &'static Group>) -> Command {
    let params = groups.into_iter().flat_map(|group| group.params.iter().map(|param| (group.heading, param)));
    params.fold(command, |command, (heading, param)| {
        let is_there = command.get_arguments().any(|arg| arg.get_id() == param.name);
        if is_there { command } else { command.arg(option(param, heading)) }
    })
}

/// The option of a parameter.
fn option(param: &'static Param, heading: Option<&'static str>) -> Arg {
    let arg = Arg::new(param.name).long(param.name).help(param.help).help_heading(heading).required(param.required);
    let arg = param.requires.iter().fold(arg, |arg, other| arg.requires(*other));
    let arg = param.conflicts.iter().fold(arg, |arg, other| arg.conflicts_with(*other));
    if param.takes == Takes::Nothing {
        return arg.action(ArgAction::SetTrue);
    }
    let many = param.many || param.takes == Takes::List;
    let arg = arg.action(if many { ArgAction::Append } else { ArgAction::Set }).value_name(param.value);
    let arg = param.default.iter().fold(arg, |arg, default| arg.default_value(*default));
    match param.takes {
        Takes::Nothing | Takes::Text => arg.value_parser(value_parser!(String)),
        Takes::Word => arg.value_parser(NonEmptyStringValueParser::new()),
        Takes::List => arg.value_parser(value_parser!(String)).value_delimiter(','),
        Takes::Path => arg.value_parser(value_parser!(PathBuf)),
        Takes::Node => arg.value_parser(value_parser!(OsString)),
        Takes::Number(..) | Takes::Time => {
            let read = |text: &str| param.read(OsStr::new(text)).map_err(|e| e.message().to_owned());
            arg.value_parser(ValueParser::from(read)).allow_negative_numbers(true)
        }
        Takes::Choice(choices) => {
            let values = choices.iter().map(|(name, help)| PossibleValue::new(*name).help(*help));
            arg.value_parser(PossibleValuesParser::new(values))
        }
    }
}

/// What was given, or is the default.
fn values<'p>(given: &ArgMatches, params: impl Iterator<Item = &'p Param>) -> Result<Params> {
    let mut all = Params::default();
    for param in params {
        match param.takes {
            Takes::Nothing if given.get_flag(param.name) => all.add(param, Value::Given),
            Takes::Nothing => {}
            Takes::Text | Takes::Word | Takes::List | Takes::Choice(_) => {
                let texts = given.get_many::<String>(param.name).into_iter().flatten();
                texts.for_each(|text| all.add(param, Value::Text(text.clone())));
            }
            Takes::Path => {
                let paths = given.get_many::<PathBuf>(param.name).into_iter().flatten();
                paths.for_each(|path| all.add(param, Value::Path(path.clone())));
            }
            Takes::Node => {
                for word in given.get_many::<OsString>(param.name).into_iter().flatten() {
                    all.add(param, param.read(word)?);
                }
            }
            Takes::Number(..) | Takes::Time => {
                let numbers = given.get_many::<Value>(param.name).into_iter().flatten();
                numbers.for_each(|number| all.add(param, number.clone()));
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// clap looks whether ids, requirements and values fit together.
    #[test]
    fn the_tables_of_all_engines_make_a_sound_command_line() {
        command(engine::ALL).debug_assert();
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
        let names = |forms: Vec<&str>| forms.iter().collect::<std::collections::BTreeSet<_>>().len() == forms.len();
        assert!(names(all.iter().map(|of| of.form.name).collect()), "two forms of one name");
        assert!(names(engine::ALL.iter().flat_map(|e| e.sources()).map(|form| form.name).collect()));
    }
}
