//! Files that are known from before, looked up by a walk that goes through the same keys.

use std::cmp::Ordering;
use std::iter::{Fuse, Peekable};

use super::memory::Known;

type Files<'a> = Box<dyn Iterator<Item = Known> + Send + 'a>;

/// See the module. Keys that are asked for ascend.
pub struct Before<'a> {
    files: Peekable<Fuse<Files<'a>>>,
    is_sure: bool,
}

impl<'a> Before<'a> {
    /// Of `files` in the order of their keys; `is_sure`: all contents are stored that their records refer to. Otherwise each has to be
    /// asked for.
    pub fn new(files: impl Iterator<Item = Known> + Send + 'a, is_sure: bool) -> Before<'a> {
        let files: Files<'a> = Box::new(files);
        Before { files: files.fuse().peekable(), is_sure }
    }

    /// Whether all contents are stored that records refer to.
    pub fn is_sure(&self) -> bool {
        self.is_sure
    }

    /// What is known of `key`. Keys before it are passed over.
    pub fn find(&mut self, key: &[u8]) -> Option<Known> {
        loop {
            match self.files.peek()?.key.as_slice().cmp(key) {
                Ordering::Less => drop(self.files.next()),
                Ordering::Equal => return self.files.next(),
                Ordering::Greater => return None,
            }
        }
    }

    /// The key of the next one that begins with `prefix`, after those that were asked for.
    pub fn next_below(&mut self, prefix: &[u8]) -> Option<&[u8]> {
        let is_before = |next: &Known| !next.key.starts_with(prefix) && next.key.as_slice() < prefix;
        while self.files.next_if(is_before).is_some() {}
        self.files.peek().map(|next| next.key.as_slice()).filter(|key| key.starts_with(prefix))
    }
}
