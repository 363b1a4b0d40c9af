//! Programs that are run, here or on another machine, and what they say.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::connection::program;
use super::host::Host;
use super::refusal;
use crate::error::{Error, Kind, Result};

/// What is kept of each that it writes, in bytes.
const WRITTEN_MAX: usize = 64 << 10;
/// With this code `ssh` says that it failed itself.
const OF_SSH: i32 = 255;
/// With this code a shell says that there is no such program.
const NO_PROGRAM: i32 = 127;

/// So often is looked whether the work was asked to stop.
const LOOKS: Duration = Duration::from_millis(100);

/// How long a program is waited for.
#[derive(Clone, Copy)]
pub struct Patience<'w> {
    /// At most so long.
    pub limit: Duration,
    /// Whether the work goes on.
    pub goes_on: &'w (dyn Fn() -> Result<()> + Sync),
    /// So long a program may still take to end where it does not.
    pub grace: Duration,
}

impl Patience<'static> {
    /// So long, whatever happens.
    pub fn of(limit: Duration) -> Patience<'static> {
        Patience { limit, goes_on: &|| Ok(()), grace: Duration::ZERO }
    }
}

impl Patience<'_> {
    /// Waits until nobody holds the other end of `ended`.
    fn wait(self, ended: &Receiver<()>) -> std::result::Result<(), Failed> {
        let (mut left, mut stopped) = (self.limit, None);
        // Nothing is ever sent.
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(left.min(LOOKS)) {
            left = left.saturating_sub(LOOKS);
            if stopped.is_none() {
                stopped = (self.goes_on)().err();
                left = if stopped.is_some() { left.min(self.grace) } else { left };
            }
            if left.is_zero() {
                return Err(stopped.map_or(Failed::Late(self.limit), Failed::Stopped));
            }
        }
        Ok(())
    }
}

/// A program that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// What it wrote, from the start on.
    pub out: String,
    /// What it wrote on standard error.
    pub err: String,
}

impl Ran {
    /// Errors: it ended otherwise than well. `what` names it, with its machine.
    pub fn well(self, what: &str) -> Result<Ran> {
        if self.code == Some(0) {
            return Ok(self);
        }
        if self.code == Some(NO_PROGRAM) {
            return Err(Error::new(Kind::Unsupported, what, "there is no such program"));
        }
        let said = [&self.err, &self.out].into_iter().flat_map(|text| text.lines().rev());
        let said = said.map(str::trim).find(|line| !line.is_empty()).unwrap_or("without a word");
        let code = self.code.map_or("by a signal".to_owned(), |code| format!("with {code}"));
        Err(Error::new(Kind::Io, what, format_args!("ended {code}: {said}")))
    }
}

/// Runs a program of this machine. It gets nothing to read, and is ended where it takes longer than `patience` lasts.
pub fn here(words: &[&str], patience: Patience<'_>) -> Result<Ran> {
    let (name, rest) = words.split_first().ok_or_else(|| Error::new(Kind::Usage, "a program", "has no name"))?;
    let mut command = Command::new(name);
    // The password is no business of its.
    command.args(rest).process_group(0).env_remove("ONEFOLD_PASSWORD");
    match run(command, patience) {
        Err(Failed::Start(e)) if e.kind() == io::ErrorKind::NotFound => {
            Ok(Ran { code: Some(NO_PROGRAM), out: String::new(), err: String::new() })
        }
        ran => ran.map_err(|failed| failed.of(name)),
    }
}

impl Host {
    /// Runs a program of the host, for whom a shell there takes the words as they are. It gets nothing to read. Where it
    /// takes longer than `patience` lasts it is given up; it may go on there.
    pub fn run(&self, words: &[&str], patience: Patience<'_>) -> Result<Ran> {
        let mut command = program(self.address(), self.settings());
        command.args(["--", &self.address().host, &quoted(words)?]);
        match run(command, patience) {
            Ok(ran) if ran.code == Some(OF_SSH) => Err(refusal::ended(self.shown(), &ran.err)),
            Err(Failed::Start(e)) => Err(refusal::not_started(self.shown(), e)),
            ran => ran.map_err(|failed| failed.of(self.shown())),
        }
    }
}

/// Words as a shell takes them for what they are.
///
/// Errors: [`Kind::Usage`] for one with a control character: no name of ours has one, and a line's end would end the command.
pub fn quoted(words: &[&str]) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    let quote = |word: &&str| {
        if word.chars().any(char::is_control) {
            return Err(Error::new(Kind::Usage, format_args!("{word:?}"), "has a control character"));
        }
        match !word.is_empty() && word.chars().all(plain) {
            true => Ok((*word).to_owned()),
            false => Ok(format!("'{}'", word.replace('\'', r"'\''"))),
        }
    };
    Ok(words.iter().map(quote).collect::<Result<Vec<_>>>()?.join(" "))
}

enum Failed {
    Start(io::Error),
    Wait(io::Error),
    Late(Duration),
    Stopped(Error),
}

impl Failed {
    fn of(self, what: &str) -> Error {
        match self {
            Failed::Start(e) | Failed::Wait(e) => Error::io(what, e),
            Failed::Late(limit) => {
                Error::new(Kind::Io, what, format_args!("did not end within {} seconds", limit.as_secs()))
            }
            Failed::Stopped(e) => e,
        }
    }
}

fn run(mut command: Command, patience: Patience<'_>) -> std::result::Result<Ran, Failed> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(Failed::Start)?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let end = || group.map(|group| kill_process_group(group, Signal::KILL));
    let (sender, ended) = channel::<()>();
    let (out, err) = (child.stdout.take().map(boxed), child.stderr.take().map(boxed));
    let listen = |pipe: Option<Pipe>| {
        let sender = sender.clone();
        thread::spawn(move || {
            let text = pipe.map(keep).unwrap_or_default();
            drop(sender);
            text
        })
    };
    let (out, err) = (listen(out), listen(err));
    drop(sender);
    // Both have heard all then.
    let waited = patience.wait(&ended);
    if waited.is_err() {
        end();
    }
    let status = child.wait().map_err(Failed::Wait);
    // What left the group may hold the pipes for ever: nobody waits for who listens.
    waited?;
    let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
    Ok(Ran { code: status?.code(), out, err })
}

type Pipe = Box<dyn Read + Send>;

fn boxed(pipe: impl Read + Send + 'static) -> Pipe {
    Box::new(pipe)
}

/// All that comes is read, and its start kept.
fn keep(mut pipe: Pipe) -> String {
    let mut kept = Vec::new();
    let _ = pipe.by_ref().take(WRITTEN_MAX as u64).read_to_end(&mut kept);
    let _ = io::copy(&mut pipe, &mut io::sink());
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_quoted_words_for_what_they_are() {
        let words = ["printf", "%s|", "a b", "$HOME", "it's", "`id`", "", "-x", "\\", "*", "\"", "ä;&"];
        let line = quoted(&words).unwrap();
        let ran = here(&["sh", "-c", &line], Patience::of(Duration::from_secs(10))).unwrap().well("sh").unwrap();
        assert_eq!(ran.out, "a b|$HOME|it's|`id`||-x|\\|*|\"|ä;&|");
        assert_eq!(quoted(&["a\nb"]).unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn what_ends_badly_or_not_at_all_is_said() {
        let sh = |line: &str| here(&["sh", "-c", line], Patience::of(Duration::from_secs(10))).unwrap().well("it");
        assert_eq!(sh("echo yes").unwrap().out, "yes\n");
        let error = sh("echo no; echo why >&2; exit 3").unwrap_err();
        assert!(error.message().contains("with 3: why"), "{error}");
        assert_eq!(
            here(&["no-such-program"], Patience::of(Duration::from_secs(9))).unwrap().well("it").unwrap_err().kind(),
            Kind::Unsupported
        );
        let brief = Patience::of(Duration::from_millis(50));
        let late = here(&["sleep", "60"], brief).unwrap_err();
        assert!(late.message().contains("did not end"), "{late}");
        let escaped = here(&["sh", "-c", "setsid sleep 20 & sleep 60"], brief).unwrap_err();
        assert!(escaped.message().contains("did not end"), "{escaped}");
        assert_eq!(sh("yes | head -c 1000000").unwrap().out.len(), WRITTEN_MAX);
    }

    #[test]
    fn a_program_that_hangs_is_given_up_when_its_work_is_to_stop() {
        let looked = std::sync::atomic::AtomicU32::new(0);
        let goes_on = || match looked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 | 1 => Ok(()),
            _ => Err(Error::new(Kind::Interrupted, "it", "is to stop")),
        };
        let with = |grace| Patience { limit: Duration::from_secs(3600), goes_on: &goes_on, grace };
        for grace in [Duration::ZERO, Duration::from_millis(200)] {
            assert_eq!(here(&["sleep", "3600"], with(grace)).unwrap_err().kind(), Kind::Interrupted);
        }
        // What ends by itself meanwhile has ended well.
        assert_eq!(here(&["sleep", "1"], with(Duration::from_secs(3600))).unwrap().code, Some(0));
    }
}
