//! One `ssh` that speaks SFTP with a host: requests in, replies out, many at once.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::address::Address;
use super::answer::{Answer, Fault, Pending};
use super::packet::{self, Malformed, REPLY_MAX, Reply, Request};
use super::refusal;
use crate::error::{Error, Kind, Result};
use crate::pace::{Clock, Latency};

/// How long a host may take to let us in; somebody may have to touch a key.
const ENTRY: Duration = Duration::from_secs(120);
/// How long words on standard error are waited for after the end of standard output.
const WORDS: Duration = Duration::from_secs(2);
/// What is kept of these words, in bytes: their end.
const WORDS_MAX: usize = 4096;
/// What any server takes in one read or write, in bytes.
const PIECE_LEAST: u32 = 32 << 10;
/// What is asked for at most: larger pieces save nothing.
const PIECE_MOST: u32 = 128 << 10;

/// What the owner's settings may not change: nothing is asked on a terminal, a host that is gone is noticed within a minute,
/// no connection is shared with other programs, and nothing but ours goes over it.
const OPTIONS: [&str; 13] = [
    "BatchMode=yes",
    "ConnectTimeout=20",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
    "ControlMaster=no",
    "ControlPath=none",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
    "LogLevel=ERROR",
];

/// `ssh`, told to whom, and what must hold for each that is started.
pub(super) fn program(address: &Address, settings: Option<&Path>) -> Command {
    let mut command = Command::new("ssh");
    if let Some(file) = settings {
        command.arg("-F").arg(file);
    }
    for option in OPTIONS {
        command.args(["-o", option]);
    }
    if let Some(user) = &address.user {
        command.args(["-l", user]);
    }
    if let Some(port) = address.port {
        command.args(["-p", &port.to_string()]);
    }
    // A group of its own: Ctrl-C in a terminal is for us, and we end what we started.
    command.process_group(0);
    command
}

/// What the threads of a connection share.
pub(super) struct Shared {
    /// Who it is with, for messages.
    pub(super) shown: String,
    child: Mutex<Child>,
    /// Who waits for which reply; `None` after the end.
    waiting: Mutex<Option<HashMap<u32, Asked>>>,
    /// How long the host works on reads.
    latency: Arc<Latency>,
    clock: Clock,
    /// The end of what `ssh` said.
    said: Mutex<Vec<u8>>,
    /// Something came that is not SFTP.
    pub(super) nonsense: AtomicBool,
}

/// Who waits for a reply, and since when.
type Asked = (SyncSender<Reply>, Duration);

impl Shared {
    /// Ends `ssh` and whatever it started. The thread that reads notices.
    pub(super) fn end(&self) {
        let child = lock(&self.child);
        if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    pub(super) fn lost(&self) -> Error {
        if self.nonsense.load(Ordering::Relaxed) {
            return refusal::nonsense(&self.shown);
        }
        refusal::ended(&self.shown, &String::from_utf8_lossy(&lock(&self.said)))
    }

    fn is_over(&self) -> bool {
        lock(&self.waiting).is_none()
    }

    fn say(&self, words: &[u8]) {
        let mut said = lock(&self.said);
        said.extend_from_slice(words);
        let more = said.len().saturating_sub(WORDS_MAX);
        said.drain(..more);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection that lives until it is dropped, or breaks.
pub struct Connection {
    shared: Arc<Shared>,
    to: Mutex<ChildStdin>,
    next: AtomicU32,
    threads: Vec<JoinHandle<()>>,
    extensions: Vec<String>,
    read_piece: u32,
    write_piece: u32,
}

impl Connection {
    /// Connects. `shown` names the host in errors; `settings` is read by `ssh` in place of its own files; `latency` hears how long each
    /// read takes.
    pub fn open(address: &Address, settings: Option<&Path>, shown: &str, latency: &Arc<Latency>) -> Result<Connection> {
        let mut command = program(address, settings);
        command.args(["-s", "--", &address.host, "sftp"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| refusal::not_started(shown, e))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(to), Some(from), Some(words)) = pipes else {
            return Err(Error::new(Kind::Io, shown, "ssh has no pipes"));
        };
        let shared = Arc::new(Shared {
            shown: shown.to_owned(),
            child: Mutex::new(child),
            waiting: Mutex::new(Some(HashMap::new())),
            latency: Arc::clone(latency),
            clock: Clock::default(),
            said: Mutex::default(),
            nonsense: AtomicBool::new(false),
        });
        let (first, version) = sync_channel(1);
        let (quiet, silence) = sync_channel::<()>(1);
        let (of_reader, of_listener) = (Arc::clone(&shared), Arc::clone(&shared));
        let listener = thread::spawn(move || {
            listen(words, &of_listener);
            drop(quiet);
        });
        let reader = thread::spawn(move || read(from, &of_reader, &first, &silence));
        let mut connection = Connection {
            shared,
            to: Mutex::new(to),
            next: AtomicU32::new(0),
            threads: vec![reader, listener],
            extensions: Vec::new(),
            read_piece: PIECE_LEAST,
            write_piece: PIECE_LEAST,
        };
        connection.begin(&version)?;
        Ok(connection)
    }

    fn begin(&mut self, version: &Receiver<Vec<u8>>) -> Result<()> {
        let shown = self.shared.shown.clone();
        // Where this fails the reader says why.
        let _ = lock(&self.to).write_all(&packet::init());
        let answer = version.recv_timeout(ENTRY).map_err(|e| match e {
            RecvTimeoutError::Disconnected => self.shared.lost(),
            RecvTimeoutError::Timeout => {
                Error::new(Kind::Io, &shown, "does not let us in: no answer to SFTP's first word")
            }
        })?;
        let (number, extensions) = packet::version(&answer).map_err(|Malformed| refusal::nonsense(&shown))?;
        if number != packet::VERSION {
            let what = format_args!("speaks version {number} of SFTP; this program speaks {}", packet::VERSION);
            return Err(Error::new(Kind::Unsupported, shown, what));
        }
        self.extensions = extensions;
        if self.knows("limits@openssh.com") {
            let limits = self.ask(Request::limits()).and_then(|asked| asked.extended(packet::limits));
            let (read, write) = limits.map_err(|fault| fault.of(&shown))?;
            let piece = |most: u64| match u32::try_from(most.min(u64::from(PIECE_MOST))) {
                Ok(most) if most > 0 => most,
                _ => PIECE_LEAST,
            };
            (self.read_piece, self.write_piece) = (piece(read), piece(write));
        }
        Ok(())
    }

    /// Whether the server knows an extension.
    pub fn knows(&self, extension: &str) -> bool {
        self.extensions.iter().any(|known| known == extension)
    }

    /// Bytes that one read may ask for.
    pub fn read_piece(&self) -> u32 {
        self.read_piece
    }

    /// Bytes that one write may have.
    pub fn write_piece(&self) -> usize {
        self.write_piece as usize
    }

    /// Whether it has not broken yet, as far as is known.
    pub fn is_alive(&self) -> bool {
        !self.shared.is_over()
    }

    /// Sends a request. Those of one file are carried out in the order in which they were sent.
    pub fn ask(&self, request: Request) -> Answer<Pending> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, reply) = sync_channel(1);
        match lock(&self.shared.waiting).as_mut() {
            Some(waiting) => drop(waiting.insert(id, (sender, self.shared.clock.now()))),
            None => return Err(Fault::Lost(self.shared.lost())),
        }
        if lock(&self.to).write_all(&request.packet(id)).is_err() {
            // A part of a packet may have gone out: whatever follows would be nonsense.
            self.shared.end();
        }
        Ok(Pending::new(Arc::clone(&self.shared), reply))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.end();
        let _ = lock(&self.shared.child).wait();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Gives each reply to who waits for it, until the end.
fn read(mut from: ChildStdout, shared: &Shared, first: &SyncSender<Vec<u8>>, silence: &Receiver<()>) {
    let (mut begun, mut before) = (false, Duration::ZERO);
    while let Ok(packet) = next_packet(&mut from) {
        let Ok(packet) = packet else {
            shared.nonsense.store(true, Ordering::Relaxed);
            break;
        };
        if !begun {
            begun = true;
            let _ = first.send(packet);
            continue;
        }
        let parsed = Reply::parse(packet).ok();
        let asked = parsed.and_then(|(id, reply)| Some((lock(&shared.waiting).as_mut()?.remove(&id)?, reply)));
        let Some(((sender, since), reply)) = asked else {
            shared.nonsense.store(true, Ordering::Relaxed);
            break;
        };
        // Requests are carried out one after another: it worked on this one since it had it and was done with the one before.
        let now = shared.clock.now();
        if matches!(reply, Reply::Data(_)) {
            shared.latency.add(now.saturating_sub(since.max(before)));
        }
        before = now;
        // Who asked may have lost interest.
        let _ = sender.send(reply);
    }
    if shared.nonsense.load(Ordering::Relaxed) {
        shared.end();
    }
    let _ = silence.recv_timeout(WORDS);
    *lock(&shared.waiting) = None;
}

/// The next packet, without its length; `Malformed` where it has none that a reply could have.
fn next_packet(from: &mut ChildStdout) -> io::Result<packet::Parsed<Vec<u8>>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if !(5..=REPLY_MAX).contains(&length) {
        return Ok(Err(Malformed));
    }
    let mut packet = vec![0; length];
    from.read_exact(&mut packet)?;
    Ok(Ok(packet))
}

/// Keeps the end of what `ssh` says.
fn listen(mut words: ChildStderr, shared: &Shared) {
    let mut some = [0; 512];
    loop {
        match words.read(&mut some) {
            Ok(n) if n > 0 => shared.say(&some[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}
