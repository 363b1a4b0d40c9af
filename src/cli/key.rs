//! `onefold key`: who gets in, and who may add.

use std::fs;

use repo_format::credential::{Lock, Sets};
use repo_format::id::CredentialId;
use repo_format::log::Roles;
use repo_format::paper;
use serde_json::json;
use zeroize::Zeroizing;

use super::args::{AddKey, ExportKey, Global, KeyCommand, Role};
use super::init::new_secret_file;
use super::output::time;
use super::secret::{New, Secret};
use super::{Outcome, Output, access};
use crate::error::{Error, Kind, Result};
use crate::repo::Repo;
use crate::repo::epochs::Rotated;
use crate::repo::keys::{Added, CredentialInfo, Removed, WriterInfo};
use crate::snapshot::short;

/// Lists, adds, removes, rotates and exports.
pub fn run(global: &Global, command: &KeyCommand, output: &Output) -> Result<Outcome> {
    let (repo, secret) = access::open_by(global, output)?;
    match command {
        KeyCommand::List => list(&repo, output)?,
        KeyCommand::Add(args) => add(&repo, args, output)?,
        KeyCommand::Remove { id } => remove(&repo, id, output)?,
        KeyCommand::Rotate { dry_run } => rotate(&repo, *dry_run, output)?,
        KeyCommand::Export(args) => export(&repo, &secret, args, output)?,
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
        Lock::Recipient => "recipient",
        Lock::Unknown(_) => "of a newer version",
    };
    if output.is_json() {
        return output.object(&json!({
            "message_type": "credential", "id": one.id.to_string(), "roles": sets, "opened_by": lock, "own": one.own,
            "listed": one.listed, "recipient": one.recipient.map(|to| to.to_text()),
        }));
    }
    let to = one.recipient.map(|to| format!(" {}", to.to_text())).unwrap_or_default();
    let listed = if one.listed { "" } else { "  (not listed: reads nothing written after a rotation)" };
    let id = one.id.to_string();
    output.line(&format!("credential  {}  {}  {lock}{to}{listed}{}", short(&id), sets.join(","), own(one.own)))
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
    let new = New::of(args)?;
    let Added { credential, writer, listed } = repo.add_key(sets, new.lock()).inspect_err(|e| {
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
            "listed": listed,
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
    if !listed {
        output.warn("key add", UNLISTED);
    }
    Ok(())
}

const UNLISTED: &str = "no admin stands for this credential: after the next `onefold key rotate` it reads nothing of what is \
     written from then on";

fn rotate(repo: &Repo, dry_run: bool, output: &Output) -> Result<()> {
    let Rotated { epoch, granted, left_out, open_sessions } = repo.rotate(dry_run)?;
    let texts = |ids: &[CredentialId]| ids.iter().map(CredentialId::to_string).collect::<Vec<_>>();
    let done = match dry_run {
        true => format!("epoch {epoch} would begin: nothing was changed"),
        false => format!("epoch {epoch} has begun: what is written from now on is closed to what was removed"),
    };
    let printed = match output.is_json() {
        true => output.object(&json!({
            "message_type": "rotated", "epoch": epoch, "dry_run": dry_run, "granted": texts(&granted),
            "left_out": texts(&left_out), "open_sessions": open_sessions,
        })),
        false => output.line(&done).and_then(|()| {
            let lines = [("granted to", &granted), ("not granted to", &left_out)];
            let mut lines = lines.iter().flat_map(|(what, ids)| ids.iter().map(move |id| (*what, id)));
            lines.try_for_each(|(what, id)| output.line(&format!("{what} credential {}", short(&id.to_string()))))
        }),
    };
    output.told(printed, &done);
    if !left_out.is_empty() {
        output.warn(
            "key rotate",
            "no admin stands for some credentials that read: remove them, or have an admin add them anew",
        );
    }
    if open_sessions > 0 {
        let message = format!("{open_sessions} sessions are open now and end under the former key");
        output.warn("key rotate", &message);
    }
    Ok(())
}

/// The key file that the repository was opened with, for paper. This one command prints a secret: it is what it is for.
fn export(repo: &Repo, secret: &Secret, args: &ExportKey, output: &Output) -> Result<()> {
    let Secret::KeyFile(file) = secret else {
        return Err(Error::new(Kind::Usage, "key export", "the repository was not opened with a key file")
            .hint("make one by `onefold key add --new-key-file`, open the repository with that, and export it"));
    };
    let roles = roles_of(repo.ring().sets()).join(",");
    let (id, place) = (short(&repo.credential().to_string()).to_owned(), repo.store().place());
    let text = Zeroizing::new(format!(
        "# repository {}\n# at {}\n# this opens its credential {id} ({roles}); type the lines below into a file, and give it by \
         --key-file\n{}",
        repo.ring().repo_id,
        place.escape_debug(),
        *paper::to_text(file)
    ));
    match &args.out {
        Some(path) => new_secret_file(path, &text),
        None if output.is_json() => output.object(&json!({
            "message_type": "paper_key", "id": repo.credential().to_string(), "lines": text.lines().collect::<Vec<_>>(),
        })),
        None => output.text(text.as_bytes()),
    }
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
     holds its keys. What it could write ends when its writer is removed; what it could read stays readable to it. Run \
     `onefold key rotate`, so that what is written from then on is not";
const WRITER_GONE: &str = "nothing that it signs from now on counts; its snapshots stay";
