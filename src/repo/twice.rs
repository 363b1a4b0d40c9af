//! Objects that all else hangs on are stored twice, under their name and under `copy/` (SPEC "Second copies"): read
//! from whichever is whole, and written again from it.

use std::thread;

use bytes::Bytes;
use repo_format::names::{COPIES, Name, ObjectKind};

use crate::error::{Error, Kind, Result};
use crate::store::{Store, create_or_same};

/// What is found under one of the two names.
#[derive(Debug)]
pub enum Look<T> {
    /// What the bytes mean, and the bytes.
    Whole(T, Vec<u8>),
    /// No object.
    Missing,
    /// An object that is not what it should be, or cannot be read.
    Wrong(Error),
}

/// An object, read.
#[derive(Debug)]
pub struct Found<T> {
    /// What the bytes mean.
    pub value: T,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What was found under the first name, where it had to be read from the second.
    first: Option<Look<()>>,
}

/// Writes both objects of a name that is a hash, or that nobody else can take.
pub fn create(store: &dyn Store, name: &Name, bytes: impl Into<Bytes>) -> Result<()> {
    let bytes = bytes.into();
    thread::scope(|scope| {
        let second = || create_or_same(store, &name.copy(), bytes.clone());
        // Where there is no thread to be had, one after the other.
        let beside = thread::Builder::new().spawn_scoped(scope, second);
        create_or_same(store, &name.to_string(), bytes.clone())?;
        match beside {
            Ok(beside) => {
                beside.join().unwrap_or_else(|_| Err(Error::new(Kind::Io, name.copy(), "its writer panicked")))
            }
            Err(_) => second(),
        }
    })
}

/// Reads the first object, or else the second; `fits` proves the bytes. `None` where neither exists; the error of an
/// object that does not fit where none does.
pub fn read<T, E: Into<Error>>(
    store: &dyn Store,
    name: &Name,
    fits: impl Fn(&[u8]) -> std::result::Result<T, E>,
) -> Result<Option<Found<T>>> {
    read_by(&mut |name| store.read(name), name, fits)
}

/// The same of objects that `read` reads.
pub fn read_by<T, E: Into<Error>>(
    read: &mut dyn FnMut(&str) -> Result<Vec<u8>>,
    name: &Name,
    fits: impl Fn(&[u8]) -> std::result::Result<T, E>,
) -> Result<Option<Found<T>>> {
    let first = match look(read, &name.to_string(), &fits) {
        Look::Whole(value, bytes) => return Ok(Some(Found { value, bytes, first: None })),
        Look::Missing => Look::Missing,
        Look::Wrong(e) => Look::Wrong(e),
    };
    match (first, look(read, &name.copy(), &fits)) {
        (first, Look::Whole(value, bytes)) => Ok(Some(Found { value, bytes, first: Some(first) })),
        (Look::Wrong(e), _) | (_, Look::Wrong(e)) => Err(e),
        _ => Ok(None),
    }
}

/// Writes the first object again, where it had to be read from the second. A damaged one gives way only where its name
/// is the hash of the bytes: while `config` or a log entry is gone for a moment, another could take its name.
pub fn mend<T>(store: &dyn Store, name: &Name, found: &Found<T>) -> Result<()> {
    match &found.first {
        Some(Look::Missing) => create_or_same(store, &name.to_string(), found.bytes.clone()),
        Some(Look::Wrong(_)) if name.hash().is_some() => replace(store, &name.to_string(), found.bytes.clone()),
        _ => Ok(()),
    }
}

/// Shows every object of a kind that is listed under either of its names: what it is, the name, its length in bytes.
pub fn listed(store: &dyn Store, kind: ObjectKind, visit: &mut dyn FnMut(Name, &str, u64)) -> Result<()> {
    for folder in [kind.word().to_owned(), format!("{COPIES}/{}", kind.word())] {
        store.list(&folder, &mut |text, size| {
            if let Ok(name) = Name::parse(text).or_else(|_| Name::parse_copy(text)) {
                visit(name, text, size);
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Shows what is wrong with either of two objects, which `read` reads, and with `mends` writes it again from the other.
pub fn check<T, E: Into<Error>>(
    store: &dyn Store,
    read: &mut dyn FnMut(&str) -> Result<Vec<u8>>,
    name: &Name,
    mends: bool,
    fits: impl Fn(&[u8]) -> std::result::Result<T, E>,
    problem: &mut dyn FnMut(Error),
) -> Result<Option<T>> {
    let (one, two) = (name.to_string(), name.copy());
    match (look(read, &one, &fits), look(read, &two, &fits)) {
        (Look::Whole(value, _), Look::Whole(..)) => Ok(Some(value)),
        (Look::Whole(value, bytes), other) => {
            // The first stands, so nobody can take the name while the second is gone.
            tell(store, &two, other, mends.then_some((bytes, true)), problem)?;
            Ok(Some(value))
        }
        (other, Look::Whole(value, bytes)) => {
            let replaces = name.hash().is_some();
            tell(store, &one, other, mends.then_some((bytes, replaces)), problem)?;
            Ok(Some(value))
        }
        (Look::Wrong(e), _) | (_, Look::Wrong(e)) if !e.is_of_bytes() => Err(e),
        (Look::Wrong(e), _) | (_, Look::Wrong(e)) => {
            problem(e);
            Ok(None)
        }
        _ => {
            problem(Error::damaged(&one, "is missing, and so is its second copy"));
            Ok(None)
        }
    }
}

/// Says what is wrong with one of the two while the other is whole; with `with` (the bytes, and whether they may replace
/// others) writes it again.
fn tell<T>(
    store: &dyn Store,
    name: &str,
    found: Look<T>,
    with: Option<(Vec<u8>, bool)>,
    problem: &mut dyn FnMut(Error),
) -> Result<()> {
    let (wrong, missing) = match found {
        Look::Whole(..) => return Ok(()),
        Look::Missing => ("is missing".to_string(), true),
        Look::Wrong(e) if !e.is_of_bytes() => return Err(e),
        Look::Wrong(e) => (e.message().to_string(), false),
    };
    let done = match with {
        Some((bytes, _)) if missing => Some(create_or_same(store, name, bytes)),
        Some((bytes, true)) => Some(replace(store, name, bytes)),
        _ => None,
    };
    let then = match done {
        Some(Ok(())) => "written again from the other copy".to_string(),
        Some(Err(e)) => format!("the other copy is whole; writing it again failed: {}", e.message()),
        None => "the other copy is whole".to_string(),
    };
    problem(Error::damaged(name, format!("{wrong} ({then})")));
    Ok(())
}

fn replace(store: &dyn Store, name: &str, bytes: Vec<u8>) -> Result<()> {
    store.delete(name)?;
    create_or_same(store, name, bytes)
}

fn look<T, E: Into<Error>>(
    read: &mut dyn FnMut(&str) -> Result<Vec<u8>>,
    name: &str,
    fits: impl Fn(&[u8]) -> std::result::Result<T, E>,
) -> Look<T> {
    let fitting = |bytes: Vec<u8>| match fits(&bytes) {
        Ok(value) => Look::Whole(value, bytes),
        Err(e) => Look::Wrong(e.into().within(name)),
    };
    match read(name) {
        Ok(bytes) => match fitting(bytes) {
            // Perhaps only the answer was wrong.
            Look::Wrong(e) => read(name).map_or(Look::Wrong(e), fitting),
            other => other,
        },
        Err(e) if e.kind() == Kind::NotFound => Look::Missing,
        Err(e) => Look::Wrong(e),
    }
}
