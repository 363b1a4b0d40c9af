//! The profile in `~/.aws/credentials` and `~/.aws/config` that `AWS_PROFILE` names.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::{fs, io};

use object_store::aws::AmazonS3Builder;
use zeroize::Zeroizing;

use super::Variables;
use crate::error::{Error, Kind, Result};

/// What a profile says.
#[derive(Default)]
pub struct Profile {
    /// The server's address.
    pub endpoint: Option<String>,
    /// Amazon's region.
    pub region: Option<String>,
    key: Option<(String, Zeroizing<String>)>,
    session: Option<Zeroizing<String>>,
}

type Section = HashMap<String, Zeroizing<String>>;

fn variable<'a>(variables: &'a Variables, name: &str) -> Option<&'a OsString> {
    variables.get(OsStr::new(name)).filter(|v| !v.is_empty())
}

/// The section called by either name in a file, which a variable names or which lies in the home; it may not be there.
fn section(variables: &Variables, file: [&str; 2], names: [&str; 2]) -> Result<Option<Section>> {
    let [file, in_home] = file;
    let home = || variable(variables, "HOME").map(|home| PathBuf::from(home).join(".aws").join(in_home));
    let Some(path) = variable(variables, file).map(PathBuf::from).or_else(home) else { return Ok(None) };
    match fs::read(&path).map(Zeroizing::new) {
        Ok(bytes) => Ok(parse(&String::from_utf8_lossy(&bytes), &names)),
        Err(e) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&e.kind()) => Ok(None),
        Err(e) => Err(Error::io(path.display(), e)),
    }
}

/// The lines `key = value` below `[name]`, for either name. What is indented belongs to the line before, and not to us.
fn parse(text: &str, names: &[&str]) -> Option<Section> {
    let mut found: Option<Section> = None;
    let mut inside = false;
    for line in text.lines().filter(|line| !line.starts_with(['#', ';', ' ', '\t'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            inside = names.contains(&name.trim());
            if inside {
                found.get_or_insert_default();
            }
        } else if let (true, Some((key, value)), Some(section)) = (inside, line.split_once('='), &mut found) {
            section.insert(key.trim().to_ascii_lowercase(), Zeroizing::new(value.trim().to_string()));
        }
    }
    found
}

impl Profile {
    /// Reads the profile, and its credentials where the environment has none.
    ///
    /// Errors: [`Kind::Usage`] for a profile that is named and not there, or has its credentials in a way not known here.
    pub fn load(variables: &Variables) -> Result<Profile> {
        let named = variable(variables, "AWS_PROFILE").map(|name| name.to_string_lossy().into_owned());
        let name = named.as_deref().unwrap_or("default");
        let secrets = section(variables, ["AWS_SHARED_CREDENTIALS_FILE", "credentials"], [name, name])?;
        let config = section(variables, ["AWS_CONFIG_FILE", "config"], [name, &format!("profile {name}")])?;
        let subject = format!("AWS profile {name}");
        if named.is_some() && secrets.is_none() && config.is_none() {
            return Err(Error::new(Kind::Usage, subject, "is in neither ~/.aws/credentials nor ~/.aws/config")
                .hint("set AWS_PROFILE to one that is there, or unset it"));
        }
        let all = [secrets.unwrap_or_default(), config.unwrap_or_default()];
        let get = |key: &str| all.iter().find_map(|section| section.get(key)).filter(|v| !v.is_empty()).cloned();
        let mut profile = Profile {
            endpoint: get("endpoint_url").map(|v| v.to_string()),
            region: get("region").map(|v| v.to_string()),
            ..Profile::default()
        };
        let given = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_WEB_IDENTITY_TOKEN_FILE"];
        if given.iter().any(|name| variable(variables, name).is_some()) {
            return Ok(profile);
        }
        profile.key = get("aws_access_key_id").map(|v| v.to_string()).zip(get("aws_secret_access_key"));
        profile.session = get("aws_session_token");
        let other = ["role_arn", "sso_session", "sso_start_url", "credential_process"];
        if let (None, Some(how)) = (&profile.key, other.iter().find(|key| get(key).is_some())) {
            return Err(Error::new(Kind::Usage, subject, format_args!("has {how}, which onefold does not follow"))
                .hint(format_args!(
                    "eval \"$(aws configure export-credentials --profile {name} --format env)\" before"
                )));
        }
        Ok(profile)
    }

    /// With the profile's credentials, where there are any.
    pub fn credentials(&self, builder: AmazonS3Builder) -> AmazonS3Builder {
        let Some((id, secret)) = &self.key else { return builder };
        let builder = builder.with_access_key_id(id).with_secret_access_key(secret.as_str());
        match &self.session {
            Some(session) => builder.with_token(session.as_str()),
            None => builder,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_section_is_read_and_what_is_indented_is_not() {
        let text =
            "# x\n[default]\nregion=a\n[profile night]\nregion = eu-west-1\ns3 =\n  region = no\n[other]\nregion=b\n";
        let found = parse(text, &["night", "profile night"]).unwrap();
        assert_eq!(found["region"].as_str(), "eu-west-1");
        assert!(parse(text, &["none"]).is_none());
        for broken in ["[", "]", "=", "[]=", "[default", "\u{0}[default]\n=="] {
            parse(broken, &["default"]);
        }
    }
}
