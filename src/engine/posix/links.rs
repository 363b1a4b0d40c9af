//! Files with several names, of which some were not met yet. Copies that share what did not change have millions of them: their records wait
//! in a file without a name, and memory holds where.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use repo_format::wire::Reader;

use super::memory::{Known, Local, entry, put_entry};
use crate::error::{Error, Result};
use crate::repo::scratch;

/// Which file: its file system, and its number there.
pub type Number = (u64, u64);

/// Where the record of a file waits.
struct Place {
    at: u64,
    length: u32,
    /// Names that were not met yet: as many as the system said.
    left: u32,
}

/// See the module.
pub struct Links {
    dir: PathBuf,
    file: Option<File>,
    end: u64,
    places: HashMap<Number, Place>,
}

impl Links {
    /// None yet; the file will lie in `dir`.
    pub fn new(dir: PathBuf) -> Links {
        Links { dir, file: None, end: 0, places: HashMap::new() }
    }

    /// Whether a name of this file was met.
    pub fn holds(&self, of: Number) -> bool {
        self.places.contains_key(&of)
    }

    /// The first name of a file was met, and `left` more are to come.
    pub fn add(&mut self, of: Number, known: &Known, left: u64) -> Result<()> {
        if left == 0 {
            return Ok(());
        }
        let mut bytes = Vec::new();
        put_entry(&mut bytes, known);
        let file = match self.file.take() {
            Some(file) => file,
            None => scratch(&self.dir)?,
        };
        let file = self.file.insert(file);
        file.write_all_at(&bytes, self.end).map_err(|e| Error::io(self.dir.display(), e))?;
        let length =
            u32::try_from(bytes.len()).map_err(|_| Error::damaged("files", "hold a record that is too long"))?;
        let place = Place { at: self.end, length, left: u32::try_from(left).unwrap_or(u32::MAX) };
        self.end += u64::from(length);
        self.places.insert(of, place);
        Ok(())
    }

    /// Another name of a file was met, of which the system says `now`. Gives its record, by its first name; `None` where the number is
    /// another file's by now.
    pub fn next(&mut self, of: Number, now: Option<&Local>) -> Result<Option<Known>> {
        let (Some(place), Some(file)) = (self.places.get_mut(&of), &self.file) else { return Ok(None) };
        let mut bytes = vec![0; place.length as usize];
        file.read_exact_at(&mut bytes, place.at).map_err(|e| Error::io(self.dir.display(), e))?;
        let known = entry(&mut Reader::new(&bytes, "a file of several names"))?;
        place.left = place.left.saturating_sub(1);
        // A number is used again once all names of its file are gone.
        let is_other = now.is_some_and(|now| (known.local.size, known.local.modified) != (now.size, now.modified));
        if place.left == 0 || is_other {
            self.places.remove(&of);
        }
        Ok((!is_other).then_some(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(number: u64) -> Known {
        let local = Local { inode: number, size: number, modified: (number as i64, 7), ..Local::default() };
        Known { key: number.to_string().into_bytes(), local, young: false, body: vec![3; (number % 100) as usize] }
    }

    #[test]
    fn each_name_has_the_record_of_the_first_until_all_were_met() {
        let dir = tempfile::tempdir().unwrap();
        let mut links = Links::new(dir.path().to_owned());
        for number in 0..1000 {
            links.add((1, number), &known(number), number % 4).unwrap();
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file has no name");
        for number in (0..1000).rev() {
            for _ in 0..number % 4 {
                assert!(links.holds((1, number)));
                assert_eq!(links.next((1, number), Some(&known(number).local)).unwrap(), Some(known(number)));
            }
            assert!(!links.holds((1, number)) && links.next((1, number), None).unwrap().is_none());
        }
        // The number is another file's.
        links.add((1, 1), &known(1), 5).unwrap();
        assert!(links.next((1, 1), Some(&known(2).local)).unwrap().is_none() && !links.holds((1, 1)));
    }
}
