//! A profile: what the commands of a timer need, in a file of TOML (docs/schedules.md).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value as Json;
use toml::Value as Toml;

use super::access;
use super::args::{Age, Forget, Global};
use super::hooks::Hooks;
use crate::error::{Error, Kind, Result};
use crate::whole;

/// The longest profile, bytes.
const LENGTH_MAX: u64 = 1 << 20;

/// What a profile says. Keys that nobody knows are refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// Where it was read; `None` where none was asked for.
    #[serde(skip)]
    pub path: Option<PathBuf>,
    /// `--repository`
    pub repository: Option<OsText>,
    /// `--log-store`
    pub log_store: Option<OsText>,
    /// `--password-file`
    pub password_file: Option<PathBuf>,
    /// `--password-command`
    pub password_command: Option<OsText>,
    /// `--key-file`
    pub key_file: Option<PathBuf>,
    /// `--identity`
    pub identity: Option<PathBuf>,
    /// `--key-command`
    pub key_command: Option<OsText>,
    /// `--cache-dir`
    pub cache_dir: Option<PathBuf>,
    /// `--limit-upload`
    pub limit_upload: Option<NonZeroU32>,
    /// `--limit-download`
    pub limit_download: Option<NonZeroU32>,
    /// `--limit-requests`
    pub limit_requests: Option<NonZeroU32>,
    /// `--retry-for`
    pub retry_for: Option<u32>,
    /// By the name of a way in: options of `backup NAME`.
    #[serde(default)]
    pub backup: BTreeMap<String, toml::Table>,
    /// Of `status`.
    #[serde(default)]
    pub status: Status,
    /// Options of `forget`: the policy of `maintain --forget`, and of `forget` where none is given.
    #[serde(default)]
    pub forget: Option<toml::Table>,
    /// What a backup runs besides.
    #[serde(default)]
    pub hooks: Hooks,
}

/// Options of `status`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Status {
    /// `--max-age`
    pub max_age: Option<Age>,
    /// `--cluster`
    pub cluster: Option<String>,
}

/// Options of `forget` that say nothing of what is kept.
const NO_POLICY: [&str; 4] = ["dry-run", "simulate", "prune", "unsafe-allow-remove-all"];

/// Text that stands for an option that takes any bytes.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "String")]
pub struct OsText(pub OsString);

impl From<String> for OsText {
    fn from(text: String) -> OsText {
        OsText(text.into())
    }
}

impl Profile {
    /// Reads the profile that `--profile` names: a file, or `NAME.toml` in the user's folder of configurations or in
    /// `/etc/onefold`. Without the option an empty one.
    ///
    /// Errors: there is none of that name; `Usage`, by line, where it is no TOML or has a key or value that nobody knows.
    pub fn load(name: Option<&OsStr>) -> Result<Profile> {
        let Some(name) = name else { return Ok(Profile::default()) };
        let path = find(name)?;
        let text = whole::read_text(&path, LENGTH_MAX, "is longer than 1 MiB: no profile")?;
        let bad = |e: toml::de::Error| {
            let line = e.span().map(|at| text.as_bytes()[..at.start.min(text.len())].split(|b| *b == b'\n').count());
            let place =
                line.map_or_else(|| path.display().to_string(), |line| format!("{} line {line}", path.display()));
            Error::new(Kind::Usage, place, e.message()).hint("docs/schedules.md has an example of a profile")
        };
        let mut profile: Profile = toml::from_str(&text).map_err(bad)?;
        profile.hooks.check().map_err(|e| e.within(path.display()))?;
        profile.path = Some(path);
        Ok(profile)
    }

    /// Gives the options of every command that neither the command line nor the environment gave. Where these say what opens
    /// the repository, the profile has no word in that.
    pub fn fill(&self, global: &mut Global) {
        let text = |text: &Option<OsText>| text.as_ref().map(|text| text.0.clone());
        global.repository = global.repository.take().or_else(|| text(&self.repository));
        global.log_store = global.log_store.take().or_else(|| text(&self.log_store));
        global.cache_dir = global.cache_dir.take().or_else(|| self.cache_dir.clone());
        let number = |given: Option<u32>, own: Option<NonZeroU32>| given.or(own.map(NonZeroU32::get));
        global.limit_upload = number(global.limit_upload, self.limit_upload);
        global.limit_download = number(global.limit_download, self.limit_download);
        global.limit_requests = number(global.limit_requests, self.limit_requests);
        global.retry_for = global.retry_for.or(self.retry_for);
        if !access::is_opened_by(global) {
            global.password_file = self.password_file.clone();
            global.password_command = text(&self.password_command);
            global.key_file = self.key_file.clone();
            global.identity = self.identity.clone();
            global.key_command = text(&self.key_command);
        }
    }

    /// What it says of a way in, as an object of names and values.
    pub fn of_backup(&self, name: &str) -> Option<Json> {
        self.backup.get(name).map(|table| json(&Toml::Table(table.clone())))
    }

    /// The policy that it gives.
    ///
    /// Errors: `Usage` where an option of `forget` is not known, or is none of a policy.
    pub fn forget(&self) -> Result<Option<Forget>> {
        let Some(table) = &self.forget else { return Ok(None) };
        let wrong = |message: String| Error::new(Kind::Usage, format_args!("{}: [forget]", self.name()), message);
        let mut words = Vec::new();
        for (key, value) in table {
            if NO_POLICY.contains(&key.as_str()) {
                return Err(wrong(format!("{key} is no part of a policy: give it on the command line")));
            }
            let all = match value {
                Toml::Array(all) => &all[..],
                one => std::slice::from_ref(one),
            };
            for value in all {
                let text = match value {
                    Toml::String(text) => text.clone(),
                    Toml::Integer(number) => number.to_string(),
                    _ => return Err(wrong(format!("{key} is neither text nor a number"))),
                };
                words.extend([format!("--{key}={text}")]);
            }
        }
        let policy = Forget::of_words(&words).map_err(|e| wrong(e.to_string().trim_end().to_owned()))?;
        match policy.snapshots.is_empty() {
            true => Ok(Some(policy)),
            false => Err(wrong("names snapshots".to_owned())),
        }
    }

    /// Its place, for errors.
    pub fn name(&self) -> String {
        self.path.as_ref().map_or_else(|| "profile".to_owned(), |path| path.display().to_string())
    }
}

/// The file of a profile.
fn find(name: &OsStr) -> Result<PathBuf> {
    let given = Path::new(name);
    let is_path =
        given.components().count() > 1 || given.is_absolute() || given.extension() == Some(OsStr::new("toml"));
    if is_path {
        return Ok(given.to_owned());
    }
    let mut file = name.to_owned();
    file.push(".toml");
    let system = Path::new("/etc/onefold").join(&file);
    let all: Vec<PathBuf> = access::config_dir().map(|dir| dir.join(&file)).into_iter().chain([system]).collect();
    let there = all.iter().find(|path| path.exists()).cloned();
    there.ok_or_else(|| {
        let places: Vec<String> = all.iter().map(|path| path.display().to_string()).collect();
        Error::new(Kind::NotFound, format_args!("profile {}", name.display()), "there is no such profile")
            .hint(format_args!("write {}, or give the path of a file", places.join(" or ")))
    })
}

/// The same value in JSON; times as text.
pub fn json(value: &Toml) -> Json {
    match value {
        Toml::String(text) => text.as_str().into(),
        Toml::Integer(number) => (*number).into(),
        Toml::Float(number) => (*number).into(),
        Toml::Boolean(yes) => (*yes).into(),
        Toml::Datetime(time) => time.to_string().into(),
        Toml::Array(all) => all.iter().map(json).collect(),
        Toml::Table(table) => table.iter().map(|(key, value)| (key.clone(), json(value))).collect(),
    }
}
