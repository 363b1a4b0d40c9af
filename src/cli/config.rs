//! `onefold show-config`: what holds when a command is run as this one, and who said so.

use std::collections::BTreeMap;
use std::path::Path;

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde_json::{Map, Value, json};

use super::args::Global;
use super::hooks::Hook;
use super::profile::Profile;
use super::{Outcome, Output, access, args, ping};
use crate::engine::Engine;
use crate::error::Result;

/// Prints what holds. A profile that a backup would refuse is refused here. No secret is shown: of a URL its host.
pub fn run(
    global: &Global,
    given: &ArgMatches,
    profile: &Profile,
    engines: &[&dyn Engine],
    output: &Output,
) -> Result<Outcome> {
    for name in profile.backup.keys() {
        args::known(engines, profile, name)?;
    }
    profile.forget()?;
    let options = options(global, given);
    let backup: Map<String, Value> =
        profile.backup.keys().filter_map(|name| Some((name.clone(), profile.of_backup(name)?))).collect();
    let hooks: BTreeMap<&str, Value> = profile.hooks.all().map(|(name, hook)| (name, shown(hook))).collect();
    let status =
        json!({ "max_age_seconds": profile.status.max_age.map(|age| age.0 / 1000), "cluster": profile.status.cluster });
    let forget =
        profile.forget.as_ref().map_or(Value::Null, |table| super::profile::json(&toml::Value::Table(table.clone())));
    let ping = profile.hooks.ping.as_deref().map(ping::host);
    if output.is_json() {
        let options: Map<String, Value> = options
            .into_iter()
            .map(|(name, value, from)| (name.to_owned(), json!({ "value": value, "from": from })))
            .collect();
        output.object(&json!({
            "message_type": "config", "profile": profile.path, "options": options, "backup": backup, "status": status,
            "forget": forget, "hooks": hooks, "ping": ping,
        }))?;
        return Ok(Outcome::Fine);
    }
    output.line(&format!("profile  {}", profile.path.as_deref().map_or("none".into(), Path::to_string_lossy)))?;
    for (name, value, from) in options {
        output.line(&format!("{name}  {value}  ({from})"))?;
    }
    for (name, values) in &backup {
        for (key, value) in values.as_object().into_iter().flatten() {
            output.line(&format!("backup {name}  {key} = {value}"))?;
        }
    }
    for (key, value) in status.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        output.line(&format!("status  {key} = {value}"))?;
    }
    for (key, value) in forget.as_object().into_iter().flatten() {
        output.line(&format!("forget  {key} = {value}"))?;
    }
    for (name, hook) in hooks {
        output.line(&format!("hook {name}  {hook}"))?;
    }
    if let Some(host) = ping {
        output.line(&format!("ping  {host}"))?;
    }
    Ok(Outcome::Fine)
}

fn shown(hook: &Hook) -> Value {
    match hook {
        Hook::Line(line) => line.as_str().into(),
        Hook::Words(words) => words.clone().into(),
    }
}

/// Options of every command that are given, their values, and by whom.
fn options(global: &Global, given: &ArgMatches) -> Vec<(&'static str, String, &'static str)> {
    let from = |name: &str| match given.value_source(name) {
        Some(ValueSource::CommandLine) => "command line",
        Some(ValueSource::EnvVariable) => "environment",
        _ => "profile",
    };
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let text = |text: &Option<std::ffi::OsString>| text.as_ref().map(|text| text.display().to_string());
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    let all = [
        ("repository", "repository", text(&global.repository)),
        ("log-store", "log_store", text(&global.log_store)),
        ("key-file", "key_file", path(&global.key_file)),
        ("identity", "identity", path(&global.identity)),
        ("key-command", "key_command", text(&global.key_command)),
        ("password-file", "password_file", path(&global.password_file)),
        ("password-command", "password_command", text(&global.password_command)),
        ("cache-dir", "cache_dir", path(&global.cache_dir)),
        ("limit-upload", "limit_upload", number(global.limit_upload)),
        ("limit-download", "limit_download", number(global.limit_download)),
        ("limit-requests", "limit_requests", number(global.limit_requests)),
        ("retry-for", "retry_for", number(global.retry_for)),
    ];
    let mut options: Vec<_> = all.into_iter().filter_map(|(name, id, value)| Some((name, value?, from(id)))).collect();
    if access::has_password() {
        options.push(("password", "set, and not shown".to_owned(), "environment"));
    }
    options
}
