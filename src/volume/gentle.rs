//! A node's files, read no faster than is allowed, and no further where its machine is in need.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use super::{Entry, Identity, OpenFile, Place, Volume, if_there};
use crate::error::{Error, Kind, Result};
use crate::pace::{Clock, Latency, Pace};
use crate::ssh::{Patience, Ran};

/// The longest sleep before it is looked whether the node is let go of.
const SLEEP: Duration = Duration::from_millis(500);

/// What a node is spared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes a second that are read of it, at most.
    pub read: Option<u64>,
    /// How full its disks may be, in percent.
    pub disk: Option<u8>,
    /// How long its reads may take: the middle one of the last.
    pub latency: Option<Duration>,
}

/// Looks after one node. Once a bound is passed it is let go of for good.
pub struct Guard {
    bounds: Bounds,
    pace: Option<Pace>,
    clock: Clock,
    /// Where its own reads are all that tells.
    latency: Latency,
    why: OnceLock<Error>,
}

impl Guard {
    /// Of a node that is not read yet.
    pub fn new(bounds: Bounds) -> Arc<Guard> {
        let pace = bounds.read.map(Pace::new);
        Arc::new(Guard { bounds, pace, clock: Clock::default(), latency: Latency::default(), why: OnceLock::new() })
    }

    /// A place of the node, from now on read as the guard says.
    pub fn of(self: &Arc<Guard>, place: Place) -> Place {
        let volume = Gentle { inner: place.volume, guard: Arc::clone(self) };
        Place { volume: Arc::new(volume), path: place.path }
    }

    /// Fails where the node is let go of, and says why.
    pub fn check(&self) -> Result<()> {
        self.why.get().map_or(Ok(()), |why| Err(why.again()))
    }

    /// Looks how full the disks are on which places lie; what is not there yet lies on none.
    pub fn look(&self, places: &[Place]) -> Result<()> {
        self.check()?;
        let Some(most) = self.bounds.disk.filter(|most| *most < 100) else { return Ok(()) };
        for place in places {
            let full = if_there(place.volume.fill(&place.path))?.unwrap_or(0);
            if full > most {
                let what = format_args!("its disk is {full} % full, and more than {most} % is too much");
                return Err(
                    self.let_go(Error::new(Kind::Io, place, what).hint("--node-disk-max says how full it may be"))
                );
            }
        }
        Ok(())
    }

    /// The first reason stands.
    fn let_go(&self, why: Error) -> Error {
        self.why.get_or_init(|| why).again()
    }

    /// Waits until what was read is paid for.
    fn wait(&self) -> Result<()> {
        let Some(pace) = &self.pace else { return self.check() };
        loop {
            self.check()?;
            match pace.owe(0, self.clock.now()) {
                Duration::ZERO => return Ok(()),
                wait => thread::sleep(wait.min(SLEEP)),
            }
        }
    }

    /// What a read came to.
    fn did_read(&self, bytes: usize, latency: &Latency, volume: &str) -> Result<()> {
        if let Some(pace) = &self.pace {
            pace.owe(bytes as u64, self.clock.now());
        }
        match (self.bounds.latency, latency.median()) {
            (Some(most), Some(median)) if median > most => {
                let what = format_args!(
                    "its reads take {} ms, the middle one of the last, and more than {} ms is too slow",
                    median.as_millis(),
                    most.as_millis()
                );
                let subject = if volume.is_empty() { "this machine" } else { volume };
                Err(self
                    .let_go(Error::new(Kind::Io, subject, what).hint("--node-latency-max says how slow they may be")))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("bounds", &self.bounds).field("why", &self.why).finish_non_exhaustive()
    }
}

struct Gentle {
    inner: Arc<dyn Volume>,
    guard: Arc<Guard>,
}

impl Volume for Gentle {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn list(&self, folder: &Path) -> Result<Vec<Entry>> {
        self.inner.list(folder)
    }

    fn open(&self, file: &Path) -> Result<Box<dyn OpenFile>> {
        self.guard.check()?;
        let file = self.inner.open(file)?;
        Ok(Box::new(GentleFile { file, volume: Arc::clone(&self.inner), guard: Arc::clone(&self.guard) }))
    }

    fn folder_id(&self, folder: &Path) -> Result<String> {
        self.inner.folder_id(folder)
    }

    fn reach(&self) -> Result<()> {
        self.guard.check()?;
        self.inner.reach()
    }

    fn run(&self, words: &[&str], patience: Patience<'_>) -> Result<Ran> {
        self.inner.run(words, patience)
    }

    fn fill(&self, folder: &Path) -> Result<u8> {
        self.inner.fill(folder)
    }

    fn latency(&self) -> Option<&Latency> {
        self.inner.latency()
    }

    fn is_local(&self) -> bool {
        self.inner.is_local()
    }
}

struct GentleFile {
    file: Box<dyn OpenFile>,
    volume: Arc<dyn Volume>,
    guard: Arc<Guard>,
}

impl OpenFile for GentleFile {
    fn identity(&self) -> Identity {
        self.file.identity()
    }

    fn read_at(&self, to: &mut [u8], offset: u64) -> Result<usize> {
        let guard = &self.guard;
        guard.wait()?;
        let begun = guard.clock.now();
        let read = self.file.read_at(to, offset)?;
        let latency = self.volume.latency().unwrap_or_else(|| {
            guard.latency.add(guard.clock.now().saturating_sub(begun));
            &guard.latency
        });
        guard.did_read(read, latency, self.volume.name())?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_node_is_read_no_faster_than_it_may() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), vec![7; 300_000]).unwrap();
        let guard = Guard::new(Bounds { read: Some(200_000), ..Bounds::default() });
        let file = guard.of(Place::local(folder.path())).join("file").open().unwrap();
        let clock = Clock::default();
        let mut at = 0;
        while at < 300_000 {
            at += file.read_at(&mut [0; 10_000], at).unwrap() as u64;
        }
        let took = clock.now();
        assert!(took > Duration::from_millis(1000), "{took:?}");
    }

    /// Takes so long for each read.
    struct Slow(Duration);

    impl Volume for Slow {
        fn name(&self) -> &str {
            "slow:"
        }

        fn list(&self, _: &Path) -> Result<Vec<Entry>> {
            Ok(Vec::new())
        }

        fn open(&self, _: &Path) -> Result<Box<dyn OpenFile>> {
            Ok(Box::new(Slow(self.0)))
        }

        fn folder_id(&self, folder: &Path) -> Result<String> {
            Ok(folder.display().to_string())
        }

        fn fill(&self, _: &Path) -> Result<u8> {
            Ok(91)
        }
    }

    impl OpenFile for Slow {
        fn identity(&self) -> Identity {
            Identity::default()
        }

        fn read_at(&self, to: &mut [u8], _: u64) -> Result<usize> {
            thread::sleep(self.0);
            Ok(to.len())
        }
    }

    #[test]
    fn who_is_slow_or_full_is_let_go_of_for_good() {
        let place = |takes| Place::new(Arc::new(Slow(Duration::from_millis(takes))), "x");
        let bounds = |disk, ms| Bounds { disk, latency: Some(Duration::from_millis(ms)), read: None };
        let guard = Guard::new(bounds(Some(91), 3));
        let slow = guard.of(place(6));
        guard.look(std::slice::from_ref(&slow)).unwrap();
        let file = slow.open().unwrap();
        let reads = (0..1000).take_while(|_| file.read_at(&mut [0], 0).is_ok()).count();
        assert!((30..100).contains(&reads), "{reads}");
        let why = [guard.check().unwrap_err(), slow.reach().unwrap_err(), slow.open().err().unwrap()];
        assert!(why.iter().all(|e| e.subject() == "slow:" && e.message().contains("its reads take ")), "{why:?}");
        let guard = Guard::new(bounds(Some(90), 10_000));
        let error = guard.look(&[guard.of(place(0))]).unwrap_err();
        assert!(error.message().contains("91 % full") && error.advice().is_some(), "{error}");
        assert!(guard.of(place(0)).reach().is_err());
        Guard::new(bounds(Some(100), 1)).look(&[place(0)]).unwrap();
    }
}
