//! Records of a fixed length, sorted and each once, of which there may be more than fit into memory: sorted runs in files, merged.
//!
//! Memory: [`MEMORY`] while records come in, then 64 KiB for each run and 32 bytes for each block of 64 KiB.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::world;
use crate::error::{Error, Result};

/// Bytes of records that are kept until they are written as a run.
const MEMORY: usize = 64 << 20;
/// About so many bytes of a sorted file are looked at at a time.
const BLOCK: usize = 64 << 10;

/// Takes records of `N` bytes in any order.
pub struct Sorter<const N: usize> {
    dir: PathBuf,
    memory: usize,
    held: Vec<[u8; N]>,
    runs: Vec<File>,
}

/// Records in ascending order, each once.
pub struct Sorted<const N: usize> {
    dir: PathBuf,
    count: u64,
    kept: Kept<N>,
}

enum Kept<const N: usize> {
    Memory(Vec<[u8; N]>),
    /// A file, and the first record of each block of it.
    File(File, Vec<[u8; N]>),
}

impl<const N: usize> Sorter<N> {
    /// Files lie in `dir`, where nobody sees them: they are gone when this process ends, however it does.
    pub fn new(dir: &Path) -> Sorter<N> {
        Sorter::with_memory(dir, MEMORY)
    }

    fn with_memory(dir: &Path, memory: usize) -> Sorter<N> {
        Sorter { dir: dir.to_owned(), memory, held: Vec::new(), runs: Vec::new() }
    }

    /// Adds a record.
    ///
    /// Errors: a run could not be written.
    pub fn add(&mut self, record: [u8; N]) -> Result<()> {
        self.held.push(record);
        if self.held.len() * N < self.memory {
            return Ok(());
        }
        self.sort();
        // Many alike: there is room again.
        if self.held.len() * N < self.memory / 2 {
            return Ok(());
        }
        let file = scratch(&self.dir)?;
        let mut out = BufWriter::with_capacity(BLOCK, &file);
        let written = self.held.iter().try_for_each(|record| out.write_all(record)).and_then(|()| out.flush());
        written.map_err(|e| Error::io(self.dir.display(), e))?;
        drop(out);
        self.held.clear();
        self.runs.push(file);
        Ok(())
    }

    fn sort(&mut self) {
        self.held.sort_unstable();
        self.held.dedup();
    }

    /// All records that were added.
    pub fn finish(mut self) -> Result<Sorted<N>> {
        self.sort();
        let dir = self.dir;
        if self.runs.is_empty() {
            return Ok(Sorted { dir, count: self.held.len() as u64, kept: Kept::Memory(self.held) });
        }
        let failed = |e| Error::io(dir.display(), e);
        let file = scratch(&dir)?;
        let mut out = BufWriter::with_capacity(BLOCK, &file);
        let (mut firsts, mut count) = (Vec::new(), 0);
        let mut runs: Vec<Source<N>> = self.runs.iter().map(Source::file).collect();
        runs.push(Source::Memory(self.held.iter()));
        merge(&mut runs, &dir, &mut |record| {
            if count % Sorted::<N>::PER_BLOCK == 0 {
                firsts.push(record);
            }
            count += 1;
            out.write_all(&record).map_err(failed)
        })?;
        out.flush().map_err(failed)?;
        drop(out);
        Ok(Sorted { dir, count, kept: Kept::File(file, firsts) })
    }
}

impl<const N: usize> Sorted<N> {
    const PER_BLOCK: u64 = (BLOCK / N) as u64;

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Shows them in order.
    ///
    /// Errors: those of `visit`; a file could not be read.
    pub fn each(&self, visit: &mut dyn FnMut([u8; N]) -> Result<()>) -> Result<()> {
        match &self.kept {
            Kept::Memory(all) => all.iter().try_for_each(|record| visit(*record)),
            Kept::File(..) => {
                let mut block = Vec::new();
                for at in 0..self.count.div_ceil(Self::PER_BLOCK) {
                    self.read(at, &mut block)?;
                    block.iter().try_for_each(|record| visit(*record))?;
                }
                Ok(())
            }
        }
    }

    /// Looks for what begins with given bytes. The fastest where these ascend.
    pub fn finder(&self) -> Finder<'_, N> {
        Finder { of: self, at: None, block: Vec::new() }
    }

    fn read(&self, at: u64, block: &mut Vec<[u8; N]>) -> Result<()> {
        let Kept::File(file, _) = &self.kept else { return Ok(()) };
        let from = at * Self::PER_BLOCK;
        let n = Self::PER_BLOCK.min(self.count.saturating_sub(from));
        let mut bytes = vec![0; n as usize * N];
        file.read_exact_at(&mut bytes, from * N as u64).map_err(|e| Error::io(self.dir.display(), e))?;
        block.clear();
        block.extend(bytes.as_chunks::<N>().0);
        Ok(())
    }
}

/// See [`Sorted::finder`].
pub struct Finder<'a, const N: usize> {
    of: &'a Sorted<N>,
    at: Option<u64>,
    block: Vec<[u8; N]>,
}

impl<const N: usize> Finder<'_, N> {
    /// Shows every record that begins with `start`, in order.
    pub fn find(&mut self, start: &[u8], visit: &mut dyn FnMut(&[u8; N]) -> Result<()>) -> Result<()> {
        let begins = |record: &&[u8; N]| record.starts_with(start);
        match &self.of.kept {
            Kept::Memory(all) => {
                let first = all.partition_point(|record| &record[..] < start);
                all[first..].iter().take_while(begins).try_for_each(visit)
            }
            Kept::File(_, firsts) => {
                // The block before the first one that begins with or after it may end with some, too.
                let first = firsts.partition_point(|record| &record[..] < start).saturating_sub(1);
                for at in first as u64.. {
                    let is_past = |record: &[u8; N]| !record.starts_with(start) && record[..] > *start;
                    if firsts.get(at as usize).is_none_or(is_past) {
                        break;
                    }
                    if self.at != Some(at) {
                        self.of.read(at, &mut self.block)?;
                        self.at = Some(at);
                    }
                    let from = self.block.partition_point(|record| &record[..] < start);
                    self.block[from..].iter().take_while(begins).try_for_each(&mut *visit)?;
                }
                Ok(())
            }
        }
    }
}

/// A run that is merged.
enum Source<'a, const N: usize> {
    Memory(std::slice::Iter<'a, [u8; N]>),
    File(BufReader<Tail<'a>>),
}

/// Reads a file from its start, whatever its own position is.
struct Tail<'a>(&'a File, u64);

impl Read for Tail<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.read_at(to, self.1)?;
        self.1 += n as u64;
        Ok(n)
    }
}

impl<'a, const N: usize> Source<'a, N> {
    fn file(file: &'a File) -> Source<'a, N> {
        Source::File(BufReader::with_capacity(BLOCK, Tail(file, 0)))
    }

    fn next(&mut self, dir: &Path) -> Result<Option<[u8; N]>> {
        match self {
            Source::Memory(all) => Ok(all.next().copied()),
            Source::File(file) => {
                let mut record = [0; N];
                let mut done = 0;
                while done < N {
                    match file.read(&mut record[done..]).map_err(|e| Error::io(dir.display(), e))? {
                        0 if done == 0 => return Ok(None),
                        0 => return Err(Error::damaged(dir.display(), "a sorted run ends within a record")),
                        n => done += n,
                    }
                }
                Ok(Some(record))
            }
        }
    }
}

fn merge<const N: usize>(
    runs: &mut [Source<'_, N>],
    dir: &Path,
    visit: &mut dyn FnMut([u8; N]) -> Result<()>,
) -> Result<()> {
    let mut heap = BinaryHeap::new();
    for (i, run) in runs.iter_mut().enumerate() {
        heap.extend(run.next(dir)?.map(|record| Reverse((record, i))));
    }
    let mut last = None;
    while let Some(Reverse((record, i))) = heap.pop() {
        if last != Some(record) {
            visit(record)?;
            last = Some(record);
        }
        heap.extend(runs[i].next(dir)?.map(|record| Reverse((record, i))));
    }
    Ok(())
}

/// A file without a name, which lies in `dir`; that is made where it is not there.
pub fn scratch(dir: &Path) -> Result<File> {
    let path = dir.join(format!("sort-{:016x}", u64::from_le_bytes(world::random()?)));
    let failed = |e| Error::io(path.display(), e);
    fs::create_dir_all(dir).map_err(failed)?;
    let file = File::options().read(true).write(true).create_new(true).open(&path).map_err(failed)?;
    fs::remove_file(&path).map_err(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn sorted(memory: usize, records: &[[u8; 6]]) -> Sorted<6> {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::with_memory(dir.path(), memory);
        records.iter().for_each(|record| sorter.add(*record).unwrap());
        let sorted = sorter.finish().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left");
        sorted
    }

    #[test]
    fn in_memory_and_in_files_alike() {
        let mut seed = 7u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for (count, memory) in [(0, 60), (1, 60), (9, 60), (10, 60), (500, 60), (40_000, 1 << 16), (40_000, 1 << 24)] {
            let records: Vec<[u8; 6]> = (0..count)
                .map(|_| {
                    let start = (next(1 + count / 3) as u32).to_be_bytes();
                    [start[0], start[1], start[2], start[3], next(4) as u8, 0]
                })
                .collect();
            let model: BTreeSet<[u8; 6]> = records.iter().copied().collect();
            let all = sorted(memory, &records);
            assert_eq!(all.count(), model.len() as u64);
            let mut shown = Vec::new();
            all.each(&mut |record| {
                shown.push(record);
                Ok(())
            })
            .unwrap();
            assert!(shown.iter().eq(&model), "{count} {memory}");
            let mut finder = all.finder();
            for start in (0..2 + count / 3).chain((0..50).map(|_| next(1 + count))) {
                let start = (start as u32).to_be_bytes();
                let mut found = Vec::new();
                let visit = &mut |record: &[u8; 6]| {
                    found.push(*record);
                    Ok(())
                };
                finder.find(&start, visit).unwrap();
                let wanted: Vec<[u8; 6]> = model.iter().filter(|r| r.starts_with(&start)).copied().collect();
                assert_eq!(found, wanted, "{count} {memory} {start:?}");
            }
        }
    }
}
