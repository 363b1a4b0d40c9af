//! Many files, few of them open: one is opened when bytes of it are read, and closed again when others are wanted more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Identity, OpenFile, Place, changed};
use crate::error::{Kind, Result};

/// Files that are open at once, at most; fewer where the process may open less than four times as many.
pub const OPEN_MAX: usize = 256;

/// Files of which a stated number is open.
pub struct Pool {
    most: usize,
    numbers: AtomicU64,
    /// By number; the last was used last.
    open: Mutex<Vec<(u64, Arc<dyn OpenFile>)>>,
}

impl Pool {
    /// Keeps `most` files open, one at least.
    pub fn new(most: usize) -> Arc<Pool> {
        Arc::new(Pool { most: most.max(1), numbers: AtomicU64::new(0), open: Mutex::default() })
    }

    /// Keeps as many files open as a quarter of what the process may open, at most [`OPEN_MAX`].
    pub fn of_process() -> Arc<Pool> {
        let soft = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let quarter = soft.map_or(OPEN_MAX, |n| usize::try_from(n / 4).unwrap_or(OPEN_MAX));
        Pool::new(quarter.clamp(4, OPEN_MAX))
    }

    fn open_files(&self) -> MutexGuard<'_, Vec<(u64, Arc<dyn OpenFile>)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open file of this number, opened at `place` unless it is open still. It must be what it was before, if it was.
    fn get(&self, number: u64, place: &Place, before: Option<Identity>) -> Result<Arc<dyn OpenFile>> {
        let mut open = self.open_files();
        if let Some(at) = open.iter().rposition(|(n, _)| *n == number) {
            let found = open.remove(at);
            let file = Arc::clone(&found.1);
            open.push(found);
            return Ok(file);
        }
        let left = shrink(&mut open, self.most - 1);
        // Opening and closing may take round trips, and others read on meanwhile.
        drop(open);
        drop(left);
        let file: Arc<dyn OpenFile> = loop {
            match place.open() {
                // Whatever else the program has open leaves less room than was thought.
                Err(e) if e.kind() == Kind::Full => {
                    let mut open = self.open_files();
                    let half = open.len() / 2;
                    let left = shrink(&mut open, half);
                    drop(open);
                    if left.is_empty() {
                        return Err(e);
                    }
                }
                opened => break opened?.into(),
            }
        };
        if before.is_some_and(|before| before != file.identity()) {
            return Err(changed(place));
        }
        let mut open = self.open_files();
        let left = shrink(&mut open, self.most - 1);
        open.push((number, Arc::clone(&file)));
        drop(open);
        drop(left);
        Ok(file)
    }
}

/// Takes all but the `most` that were used last.
fn shrink(open: &mut Vec<(u64, Arc<dyn OpenFile>)>, most: usize) -> Vec<(u64, Arc<dyn OpenFile>)> {
    let more = open.len().saturating_sub(most);
    open.drain(..more).collect()
}

/// One file, open or not.
pub struct Pooled {
    pool: Arc<Pool>,
    number: u64,
    place: Place,
    identity: Identity,
}

impl Pooled {
    /// Opens a file for the first time.
    pub fn open(pool: &Arc<Pool>, place: &Place) -> Result<Pooled> {
        let number = pool.numbers.fetch_add(1, Ordering::Relaxed);
        let identity = pool.get(number, place, None)?.identity();
        Ok(Pooled { pool: Arc::clone(pool), number, place: place.clone(), identity })
    }

    /// Where it lies.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Bytes in all.
    pub fn length(&self) -> u64 {
        self.identity.length
    }

    /// Reads bytes from `offset` on. Gives their number, 0 at the end. Fails where another file took this one's place.
    pub fn read_at(&self, to: &mut [u8], offset: u64) -> Result<usize> {
        self.pool.get(self.number, &self.place, Some(self.identity))?.read_at(to, offset)
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let mut open = self.pool.open_files();
        let left: Vec<_> = open.extract_if(.., |(number, _)| *number == self.number).collect();
        drop(open);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn few_files_are_open_and_all_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let place = |i: usize| Place::local(folder.path().join(format!("f{i}")));
        (0..40).for_each(|i| fs::write(place(i).path(), [i as u8; 8]).unwrap());
        let pool = Pool::new(4);
        let pooled: Vec<Pooled> = (0..40).map(|i| Pooled::open(&pool, &place(i)).unwrap()).collect();
        for round in 0..8u64 {
            for (i, file) in pooled.iter().enumerate() {
                let mut byte = [0xff];
                assert_eq!(file.read_at(&mut byte, round).unwrap(), 1);
                assert_eq!(usize::from(byte[0]), i);
                assert!(pool.open_files().len() <= 4);
            }
        }
        assert_eq!(pooled[0].read_at(&mut [0], 8).unwrap(), 0);
        drop(pooled);
        assert!(pool.open_files().is_empty());
    }

    #[test]
    fn another_file_in_its_place_is_an_error_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["a", "b", "c", "d"] {
            fs::write(path(name), name).unwrap();
        }
        let pool = Pool::new(1);
        let [a, b, c]: [Pooled; 3] = ["a", "b", "c"].map(|name| Pooled::open(&pool, &path(name).into()).unwrap());
        fs::rename(path("d"), path("a")).unwrap();
        fs::remove_file(path("b")).unwrap();
        let said = |pooled: &Pooled| pooled.read_at(&mut [0], 0).unwrap_err();
        assert!(said(&a).subject().ends_with("/a") && said(&a).kind() == Kind::Io, "{}", said(&a));
        assert!(said(&b).subject().ends_with("/b") && said(&b).kind() == Kind::NotFound, "{}", said(&b));
        assert_eq!(c.read_at(&mut [0], 0).unwrap(), 1);
        // Written to in its place: open or opened again, it is not what it was.
        fs::write(path("c"), "longer").unwrap();
        assert!(said(&c).subject().ends_with("/c") && said(&c).to_string().contains("written to"), "{}", said(&c));
        assert!(!said(&a).is_of_bytes() && !said(&b).is_of_bytes() && !said(&c).is_of_bytes());
    }
}
