//! A stream as a file: standard input, or what a command writes.

use std::ffi::OsString;
use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use repo_format::file_tree::{FileRecord, key_of};
use repo_format::record::{Class, check};
use serde_json::{Value, json};

use super::SHARD;
use super::content::Kept;
use super::names::Names;
use super::source::{shard, this_machine};
use super::text::escaped;
use crate::blob::Window;
use crate::engine::{
    CaptureTime, Contents, Env, Narrowed, Node, NodeParts, Params, Part, Shard, Source, Stream, Taking, Without,
};
use crate::error::{Error, Kind, Result};
use crate::merge::Owned;
use crate::run::{RecordBatch, Run};
use crate::store::lock;
use crate::watch::Watch;

/// File systems have no longer names.
const NAME_MAX: usize = 255;

/// See the module.
pub struct OneStream {
    name: String,
    node: [Node; 1],
    shard: [Shard; 1],
    times: [CaptureTime; 1],
    narrowed: Narrowed,
    input: Mutex<Input>,
    /// Bytes of it.
    bytes: AtomicU64,
}

/// A stream can be read once; its record as often as one likes.
enum Input {
    Open(Box<dyn Stream>),
    Failed,
    Stored(Vec<u8>),
}

impl OneStream {
    /// As the parameters say. What it is read from begins now.
    ///
    /// Errors: a name that no file has; a command that does not start.
    pub fn open(params: &Params, host: &str, env: &Env<'_>) -> Result<OneStream> {
        let name = params.text("name").unwrap_or_default().to_owned();
        let is_name =
            !matches!(name.as_str(), "" | "." | "..") && !name.contains(['/', '\0']) && name.len() <= NAME_MAX;
        if !is_name {
            return Err(Error::new(Kind::Usage, format_args!("--name {name}"), "is no name of a file")
                .hint("give a name without /, like db.sql"));
        }
        let command: Vec<OsString> = params.paths("command").map(|word| word.as_os_str().to_owned()).collect();
        let (node, time) = this_machine(host, name.as_ref());
        let input = Mutex::new(Input::Open((env.stream)(&command)?));
        let narrowed = Narrowed::default();
        let bytes = AtomicU64::new(0);
        Ok(OneStream { name, node: [node], shard: [shard()], times: [time], narrowed, input, bytes })
    }

    /// The record of the stream, which is read now.
    fn record(&self, taking: Taking<'_>) -> Result<Vec<u8>> {
        let mut input = lock(&self.input);
        let stream = match std::mem::replace(&mut *input, Input::Failed) {
            Input::Open(stream) => stream,
            Input::Stored(body) => {
                *input = Input::Stored(body.clone());
                return Ok(body);
            }
            Input::Failed => {
                return Err(Error::new(Kind::Io, &self.name, "was read already, and cannot be read again"));
            }
        };
        let contents = taking.contents.ok_or_else(|| Error::new(Kind::Usage, &self.name, "has no place to go"))?;
        let body = self.stored(stream, contents, taking.watch)?;
        *input = Input::Stored(body.clone());
        Ok(body)
    }

    fn stored(&self, stream: Box<dyn Stream>, contents: Contents<'_>, watch: &Watch) -> Result<Vec<u8>> {
        let mut counted = Counted { stream, watch };
        let kept = Kept::of(&mut counted, &self.name, 0, contents, &mut Window::default())?;
        let content = kept.bytes();
        watch.check()?;
        // Only who wrote it knows whether this is all of it.
        counted.stream.finish().map_err(|e| e.within(format_args!("stream {}", self.name)))?;
        self.bytes.store(content.length(), Ordering::Relaxed);
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let names = Names::default();
        let (user, group) = (names.user(uid), names.group(gid));
        let record = FileRecord {
            mode: 0o100_600,
            owner: (uid, gid),
            user: user.as_deref(),
            group: group.as_deref(),
            modified: (i64::try_from(self.times[0].seconds).unwrap_or_default(), 0),
            content: Some(content),
            ..FileRecord::default()
        };
        let mut body = Vec::new();
        record.put(&mut body);
        Ok(body)
    }
}

struct Counted<'a> {
    stream: Box<dyn Stream>,
    watch: &'a Watch,
}

impl Read for Counted<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.watch.check().map_err(io::Error::other)?;
        let n = self.stream.read(to)?;
        self.watch.advance(n as u64);
        Ok(n)
    }
}

/// The one record.
struct One<'a> {
    stream: &'a OneStream,
    taking: Taking<'a>,
    given: bool,
}

impl Run for One<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        if self.given {
            return Ok(false);
        }
        self.given = true;
        let body = self.stream.record(self.taking).map_err(|e| match self.taking.watch.check() {
            Err(interrupted) => interrupted,
            Ok(()) => e,
        })?;
        let key = key_of([self.stream.name.as_bytes()]);
        out.push_with(&key, 0, Class::Row, |to| {
            to.extend_from_slice(&body);
            check(&body).map_err(Error::from)
        })?;
        Ok(true)
    }
}

impl Source for OneStream {
    fn nodes(&self) -> &[Node] {
        &self.node
    }

    fn shards(&self) -> &[Shard] {
        &self.shard
    }

    fn lists_all(&self) -> bool {
        true
    }

    fn bytes(&self, _: &Shard) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn times(&self) -> &[CaptureTime] {
        &self.times
    }

    fn parts<'a>(&'a self, _: &Shard, _: &Without, taking: Taking<'a>) -> Result<Vec<NodeParts<'a>>> {
        let open = Box::new(move |_: &_| -> Result<Box<dyn Run + 'a>> {
            Ok(Box::new(One { stream: self, taking, given: false }))
        });
        let part = Part { name: SHARD.to_owned(), files: Vec::new(), bytes: 0, rank: 0, from: Ok(Vec::new()), open };
        Ok(vec![NodeParts { node: 0, owned: Owned::All, parts: vec![part] }])
    }

    fn captured(&self, _: &Shard) -> Vec<bool> {
        vec![true]
    }

    fn narrowed(&self) -> &Narrowed {
        &self.narrowed
    }

    fn describe(&self, shard: Option<&Shard>) -> Result<Value> {
        let path = format!("/{}", escaped(self.name.as_bytes()));
        Ok(if shard.is_some() { json!({}) } else { json!({ "paths": [path] }) })
    }
}
