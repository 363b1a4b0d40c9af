//! A store that fails as told: for tests of everything above it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Mutex;

use bytes::Bytes;

use super::{Store, cut, lock};
use crate::error::{Error, Kind, Result};

/// Which request is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `create`
    Create,
    /// `read`
    Read,
    /// `read_range`
    ReadRange,
    /// `list`
    List,
    /// `delete`
    Delete,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Refused with this kind; nothing is done.
    Error(Kind),
    /// Done, and answered with an I/O error.
    LostReply,
    /// A read answers only the first part: so many bytes less.
    Short(usize),
    /// A read answers with the byte at this offset (modulo the length) flipped.
    Flip(usize),
    /// A read answers the first so many bytes (modulo the length) twice.
    Repeat(usize),
    /// A listing leaves out the objects that were created last: so many of them.
    Stale(usize),
}

/// Created objects that are remembered.
const LATEST: usize = 64;

type Script = dyn FnMut(Operation, &str) -> Option<Fault> + Send;

/// A store that asks a script before every request.
pub struct Faulty<S> {
    inner: S,
    script: Mutex<Box<Script>>,
    /// The newest last.
    created: Mutex<VecDeque<String>>,
}

impl<S: Store> Faulty<S> {
    /// `script` sees every request in turn and says what goes wrong with it.
    pub fn new(inner: S, script: impl FnMut(Operation, &str) -> Option<Fault> + Send + 'static) -> Faulty<S> {
        Faulty { inner, script: Mutex::new(Box::new(script)), created: Mutex::default() }
    }

    /// The `n`-th request (from 0) fails in this way, all others pass.
    pub fn nth(inner: S, n: usize, fault: Fault) -> Faulty<S> {
        let mut seen = 0;
        Faulty::new(inner, move |_, _| {
            seen += 1;
            (seen == n + 1).then(|| fault.clone())
        })
    }

    fn ask(&self, operation: Operation, name: &str) -> Option<Fault> {
        (lock(&self.script))(operation, name)
    }
}

fn refuse(kind: Kind, name: &str) -> Error {
    Error::new(kind, name, "scripted fault")
}

/// A request that changes something.
fn change(fault: Option<Fault>, name: &str, request: impl FnOnce() -> Result<()>) -> Result<()> {
    match fault {
        Some(Fault::Error(kind)) => Err(refuse(kind, name)),
        Some(Fault::LostReply) => {
            request()?;
            Err(refuse(Kind::Io, name))
        }
        _ => request(),
    }
}

/// A request that answers bytes.
fn answer(fault: Option<Fault>, name: &str, request: impl FnOnce() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
    match fault {
        Some(Fault::Error(kind)) => Err(refuse(kind, name)),
        Some(Fault::LostReply) => Err(refuse(Kind::Io, name)),
        Some(Fault::Short(less)) => {
            let bytes = request()?;
            cut(name, &bytes, 0..bytes.len().saturating_sub(less) as u64)
        }
        Some(Fault::Flip(at)) => {
            let mut bytes = request()?;
            let len = bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at % len) {
                *byte ^= 1;
            }
            Ok(bytes)
        }
        Some(Fault::Repeat(count)) => {
            let bytes = request()?;
            let again = bytes[..count % bytes.len().max(1)].to_vec();
            Ok([again, bytes].concat())
        }
        Some(Fault::Stale(_)) | None => request(),
    }
}

impl<S: Store> Store for Faulty<S> {
    fn create(&self, name: &str, bytes: Bytes) -> Result<()> {
        let mut created = lock(&self.created);
        created.push_back(name.to_string());
        if created.len() > LATEST {
            created.pop_front();
        }
        drop(created);
        change(self.ask(Operation::Create, name), name, || self.inner.create(name, bytes))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        answer(self.ask(Operation::Read, name), name, || self.inner.read(name))
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        answer(self.ask(Operation::ReadRange, name), name, || self.inner.read_range(name, range))
    }

    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        match self.ask(Operation::List, folder) {
            Some(Fault::Error(kind)) => Err(refuse(kind, folder)),
            Some(Fault::Stale(count)) => {
                let late: Vec<String> = lock(&self.created).iter().rev().take(count).cloned().collect();
                let mut shown =
                    |name: &str, len| if late.iter().any(|l| l == name) { Ok(()) } else { visit(name, len) };
                self.inner.list(folder, &mut shown)
            }
            Some(_) => Err(refuse(Kind::Io, folder)),
            None => self.inner.list(folder, visit),
        }
    }

    fn delete(&self, name: &str) -> Result<()> {
        change(self.ask(Operation::Delete, name), name, || self.inner.delete(name))
    }

    fn delete_all(&self, names: &[String]) -> Result<()> {
        let first = names.first().map_or("", String::as_str);
        change(self.ask(Operation::Delete, first), first, || self.inner.delete_all(names))
    }

    fn concurrency(&self) -> usize {
        self.inner.concurrency()
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn under(&self) -> Option<&dyn Store> {
        Some(&self.inner)
    }
}
