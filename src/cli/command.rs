//! Commands that print a secret: split into words, run without a shell, bounded in time and length.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};

/// So much is read at most, bytes.
const LENGTH_MAX: u64 = 64 << 10;
/// So long it may take: somebody may have to confirm it by hand.
const TIME_MAX: Duration = Duration::from_secs(120);

const NO_SHELL: &str = "it is split into words at blanks and run without a shell; `sh -c '…'` runs one";

/// What `command` prints. `what` names it in errors.
///
/// Errors: [`Kind::Usage`] for one that cannot be split; [`Kind::Denied`] where it fails, prints too much or takes too long.
pub fn output(command: &OsStr, what: &'static str) -> Result<Zeroizing<Vec<u8>>> {
    output_within(command, what, TIME_MAX)
}

fn output_within(command: &OsStr, what: &'static str, time: Duration) -> Result<Zeroizing<Vec<u8>>> {
    let text = command.to_str().ok_or_else(|| Error::new(Kind::Usage, what, "is not UTF-8"))?;
    let words = words(text).map_err(|why| Error::new(Kind::Usage, what, why).hint(NO_SHELL))?;
    let (program, rest) = words.split_first().ok_or_else(|| Error::new(Kind::Usage, what, "is empty"))?;
    let mut command = Command::new(program);
    // A group of its own, so that what it starts ends with it.
    command.args(rest).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).process_group(0);
    let failed = |e| Error::io(format!("{what} {program:?}"), e).of_kind(Kind::Denied).hint(NO_SHELL);
    let mut child = command.spawn().map_err(failed)?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let end = || group.map(|group| kill_process_group(group, Signal::KILL));
    let Some(pipe) = child.stdout.take() else { return Err(Error::new(Kind::Io, what, "gave no output")) };
    let (done, wait) = mpsc::channel();
    thread::spawn(move || done.send(read_to_end(child, pipe)));
    let Ok(read) = wait.recv_timeout(time) else {
        let _ = end();
        let message = format!("did not end within {} seconds", time.as_secs());
        return Err(Error::new(Kind::Denied, what, message).hint("run it by hand: it may wait for an answer"));
    };
    let (bytes, status) = read.map_err(|e| Error::io(what, e))?;
    if bytes.len() as u64 > LENGTH_MAX {
        let message = format!("printed more than {LENGTH_MAX} bytes");
        return Err(Error::new(Kind::Denied, what, message).hint("it must print the secret and nothing else"));
    }
    match status.success() {
        true => Ok(bytes),
        false => Err(Error::new(Kind::Denied, what, format!("ended with {status}"))),
    }
}

/// What it prints, one byte more than is allowed at most, and how it ended: one that prints more is ended by the closed pipe.
fn read_to_end(mut child: Child, pipe: ChildStdout) -> std::io::Result<(Zeroizing<Vec<u8>>, ExitStatus)> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(LENGTH_MAX as usize + 1));
    let mut limited = pipe.take(LENGTH_MAX + 1);
    limited.read_to_end(&mut bytes)?;
    drop(limited);
    Ok((bytes, child.wait()?))
}

/// Words as a shell splits them, and nothing else that a shell does: blanks separate; '…' stands for itself; in "…" and outside, a
/// backslash takes its meaning from the character after it.
fn words(text: &str) -> std::result::Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"') | None, '\\') => {
                word.get_or_insert_default().push(rest.next().ok_or("ends with a backslash")?);
            }
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match quote {
        None => Ok(words),
        Some(_) => Err("has a quote that is not closed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command: &str, time: Duration) -> Result<Vec<u8>> {
        output_within(OsStr::new(command), "key command", time).map(|bytes| bytes.to_vec())
    }

    #[test]
    fn a_command_is_split_as_by_a_shell_and_nothing_in_it_is_expanded() {
        for (text, expected) in [
            ("vault kv  get\t-field=key", &["vault", "kv", "get", "-field=key"][..]),
            ("a 'b c' \"d \\\" e\" f\\ g", &["a", "b c", "d \" e", "f g"]),
            ("a '' \"\" 'x'y\"z\"", &["a", "", "", "xyz"]),
            ("a '\\' $HOME `id` ;", &["a", "\\", "$HOME", "`id`", ";"]),
            ("  ", &[]),
        ] {
            assert_eq!(words(text).unwrap(), expected, "{text}");
        }
        assert!(words("a 'b").is_err() && words("a \"b").is_err() && words("a\\").is_err());
        assert_eq!(run("printf %s $HOME;ls", Duration::from_secs(60)).unwrap(), b"$HOME;ls");
        assert_eq!(run(" ", Duration::from_secs(60)).unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn what_fails_prints_too_much_or_does_not_end_is_refused() {
        let minute = Duration::from_secs(60);
        for (command, time, word) in [
            ("sh -c 'echo hunter2; exit 3'", minute, "exit status: 3"),
            ("no-such-program x", minute, "no-such-program"),
            ("head -c 65537 /dev/zero", minute, "more than 65536 bytes"),
            ("yes", minute, "more than 65536 bytes"),
            ("sh -c 'sleep 600 & sleep 600'", Duration::from_millis(200), "did not end"),
        ] {
            let refused = run(command, time).unwrap_err();
            assert_eq!(refused.kind(), Kind::Denied, "{command}");
            assert!(refused.to_string().contains(word) && !refused.to_string().contains("hunter2"), "{refused}");
        }
        assert_eq!(run("head -c 65536 /dev/zero", minute).unwrap().len(), 65536);
    }
}
