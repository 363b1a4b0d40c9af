//! What engines may use of the world around them: this machine's name, secrets in files, standard input, and commands that write.

use std::ffi::OsString;
use std::io::{self, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::access::state_dir;
use super::secret::password_in;
use crate::engine::{Env, Stream};
use crate::error::{Error, Kind, Result};
use crate::watch::Watch;

/// The world as it is; work counts in `watch`.
pub fn env(watch: &Watch) -> Env<'_> {
    Env { watch, state: state_dir(), secret: &password_in, host: host(), stream: &stream }
}

/// The name of this machine, where the system tells it.
fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

fn stream(command: &[OsString]) -> Result<Box<dyn Stream>> {
    let Some((program, arguments)) = command.split_first() else { return Ok(Box::new(Input(io::stdin()))) };
    let mut one = Command::new(program);
    one.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    let name = program.display().to_string();
    let mut child = one.spawn().map_err(|e| {
        Error::io(format_args!("command {name}"), e)
            .of_kind(Kind::Usage)
            .hint("look whether it is installed, and for its name")
    })?;
    let Some(output) = child.stdout.take() else { return Err(Error::new(Kind::Io, name, "has no output")) };
    Ok(Box::new(Output { name, child, output: Some(output) }))
}

struct Input(io::Stdin);

impl Read for Input {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.0.lock().read(to)
    }
}

impl Stream for Input {
    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// What a command writes. Dropped before its end, the command is ended.
struct Output {
    name: String,
    child: Child,
    output: Option<ChildStdout>,
}

impl Read for Output {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.output.as_mut().map_or(Ok(0), |output| output.read(to))
    }
}

impl Stream for Output {
    fn finish(mut self: Box<Self>) -> Result<()> {
        drop(self.output.take());
        let subject = format!("command {}", self.name);
        let status = self.child.wait().map_err(|e| Error::io(&subject, e))?;
        match status.success() {
            true => Ok(()),
            false => Err(Error::new(Kind::Io, subject, format_args!("failed ({status}): what it wrote is not kept"))),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // It ended by itself where it was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
