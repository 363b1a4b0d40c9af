//! What nodes may have dropped by the time they were captured: where some lack it, that is no drift.

use repo_format::record::{BodyWriter, Class, Entries, Entry, EntryKind};

use super::Rule;
use crate::error::{Error, Result};

/// The rule's word on what is dropped ([`Rule::purged`]), for nodes of which the first was captured at some time.
#[derive(Clone, Copy)]
pub struct Purge<'a> {
    rule: &'a dyn Rule,
    captured: u32,
}

impl<'a> Purge<'a> {
    /// `captured` is the first capture, seconds since 1970; 0 where nothing counts as dropped.
    pub fn new(rule: &'a dyn Rule, captured: u32) -> Purge<'a> {
        Purge { rule, captured }
    }

    /// Whether the entry may be dropped. What lives for ever is not.
    pub(super) fn entry(&self, e: &Entry<'_>) -> bool {
        let may = e.kind != EntryKind::Cell || e.expires();
        may && self.rule.purged(e, self.captured)
    }

    /// Whether all that a body says may be dropped. A marker that says nothing ends a deletion, and goes with it.
    pub(super) fn body(&self, body: &[u8], class: Class) -> Result<bool> {
        if class == Class::Marker && body.is_empty() {
            return Ok(true);
        }
        for entry in Entries::new(body) {
            if !self.entry(&entry.map_err(Error::from)?) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether two bodies differ only in what may be dropped.
    pub(super) fn equal(&self, a: &[u8], b: &[u8]) -> Result<bool> {
        let rest = |body: &[u8]| -> Result<Vec<u8>> {
            let mut out = Vec::with_capacity(body.len());
            let mut writer = BodyWriter::new(&mut out);
            for entry in Entries::new(body) {
                let entry = entry.map_err(Error::from)?;
                if !self.entry(&entry) {
                    writer.push(&entry);
                }
            }
            Ok(out)
        };
        Ok(rest(a)? == rest(b)?)
    }
}
