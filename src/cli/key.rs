//! `onefold key`: who gets in, and who may add.

use std::fs;

use repo_format::credential::{Lock, PasswordCost, Sets};
use repo_format::log::Roles;
use serde_json::json;

use super::access::{self, Secret};
use super::args::{AddKey, Global, KeyCommand, Role};
use super::init::new_key_file;
use super::output::time;
use super::{Outcome, Output};
use crate::error::{Kind, Result};
use crate::repo::Repo;
use crate::repo::keys::{Added, CredentialInfo, Removed, WriterInfo};

/// Lists, adds and removes.
pub fn run(global: &Global, command: &KeyCommand, output: &Output) -> Result<Outcome> {
    let repo = access::open(global, output)?;
    match command {
        KeyCommand::List => list(&repo, output)?,
        KeyCommand::Add(args) => add(&repo, args, output)?,
        KeyCommand::Remove { id } => remove(&repo, id, output)?,
    }
    access::notes(&repo, output);
    Ok(Outcome::Fine)
}

/// The roles that a credential holds, as `--role` takes them.
fn roles_of(sets: Sets) -> Vec<&'static str> {
    let words = [(Sets::WRITE, "write"), (Sets::READ, "read"), (Sets::ADMIN, "admin")];
    words.iter().filter(|(set, _)| sets.has(*set)).map(|(_, word)| *word).collect()
}

fn list(repo: &Repo, output: &Output) -> Result<()> {
    for one in repo.credentials()? {
        credential(&one, output)?;
    }
    repo.writers().iter().try_for_each(|one| writer(one, output))
}

fn credential(one: &CredentialInfo, output: &Output) -> Result<()> {
    let (sets, lock) = match &one.says {
        Ok((sets, lock)) => (roles_of(*sets), *lock),
        Err(e) => {
            output.damage(&e.again());
            return Ok(());
        }
    };
    let lock = match lock {
        Lock::Password(_) => "password",
        Lock::KeyFile => "key file",
        Lock::Unknown(_) => "of a newer version",
    };
    if output.is_json() {
        return output.object(&json!({
            "message_type": "credential", "id": one.id.to_string(), "roles": sets, "opened_by": lock, "own": one.own,
        }));
    }
    output.line(&format!("credential  {}  {}  {lock}{}", short(&one.id.to_string()), sets.join(","), own(one.own)))
}

fn writer(one: &WriterInfo, output: &Output) -> Result<()> {
    let vouches = one.roles.has(Roles::VOUCH);
    if output.is_json() {
        return output.object(&json!({
            "message_type": "writer", "id": one.id.to_string(), "vouches": vouches, "snapshots": one.snapshots,
            "last_ms": one.last_ms, "own": one.own,
        }));
    }
    let last = one.last_ms.map(|ms| format!(", last {}", time(ms / 1000))).unwrap_or_default();
    let vouches = if vouches { "  vouches" } else { "" };
    let id = one.id.to_string();
    output.line(&format!("writer      {}  {} snapshots{last}{vouches}{}", short(&id), one.snapshots, own(one.own)))
}

/// The first digits of an id, enough to name it.
fn short(id: &str) -> &str {
    id.get(..10).unwrap_or(id)
}

fn own(own: bool) -> &'static str {
    if own { "  (opened this)" } else { "" }
}

fn add(repo: &Repo, args: &AddKey, output: &Output) -> Result<()> {
    let sets = args.role.iter().fold(Sets(0), |sets, role| {
        sets.with(match role {
            Role::Write => Sets::WRITE,
            Role::Read => Sets::READ,
            Role::Admin => Sets::ADMIN,
        })
    });
    // Before anything is asked for or made.
    repo.may_add(sets)?;
    let secret = match (&args.new_key_file, &args.new_password_file) {
        (Some(path), _) => Secret::KeyFile(new_key_file(path)?),
        (None, Some(path)) => Secret::Password(access::password_in(path)?),
        (None, None) => Secret::Password(access::new_password()?),
    };
    let Added { credential, writer } =
        repo.add_key(sets, secret.unlock(), PasswordCost::default()).inspect_err(|e| {
            // Refused, so nothing was stored that it opens. After another error it may open something: it stays.
            if let (Kind::Denied, Some(path)) = (e.kind(), &args.new_key_file) {
                let _ = fs::remove_file(path);
            }
        })?;
    let id = credential.to_string();
    let made = format!("added credential {}: {}", short(&id), roles_of(sets).join(","));
    let printed = match output.is_json() {
        true => output.object(&json!({
            "message_type": "added", "id": id, "roles": roles_of(sets), "writer": writer.map(|id| id.to_string()),
        })),
        false => output.line(&made).and_then(|()| match writer {
            Some(writer) => output.line(&format!(
                "its writer is {}: note it, for only `onefold key remove` of the writer stops a stolen one",
                short(&writer.to_string())
            )),
            None => Ok(()),
        }),
    };
    output.told(printed, &made);
    Ok(())
}

fn remove(repo: &Repo, id: &str, output: &Output) -> Result<()> {
    let removed = repo.remove_key(id)?;
    let (kind, id, means) = match removed {
        Removed::Credential(id) => ("credential", id.to_string(), CREDENTIAL_GONE),
        Removed::Writer(id) => ("writer", id.to_string(), WRITER_GONE),
    };
    let done = format!("removed {kind} {}", short(&id));
    let printed = match output.is_json() {
        true => output.object(&json!({ "message_type": "removed", "kind": kind, "id": id, "means": means })),
        false => output.line(&done).and_then(|()| output.line(means)),
    };
    output.told(printed, &done);
    Ok(())
}

const CREDENTIAL_GONE: &str = "this revokes nothing by itself: whoever has a copy of the object, and what opens it, still \
     holds its keys. What it could write ends when its writer is removed; what it could read stays readable to it";
const WRITER_GONE: &str = "nothing that it signs from now on counts; its snapshots stay";
