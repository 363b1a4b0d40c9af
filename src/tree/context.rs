//! Which deletions are in force at a place in a run.

use repo_format::leaf::InForce;
use repo_format::record::{BodyWriter, Class, Entries, Entry, EntryKind, Traits};

use crate::error::{Error, Kind, Result};
use crate::run::{Record, RecordBatch};

/// The deletions in force after a record (or where a leaf begins), and the group that they belong to.
#[derive(Default)]
pub(super) struct Context {
    /// What is not said is as below: the run is that of a layer.
    layer: bool,
    /// Whether a group was entered; one may be empty.
    known: bool,
    group: Vec<u8>,
    group_deletion: InForce,
    open: InForce,
}

impl Context {
    /// Before the first record of a layer, or of any other run.
    pub(super) fn new(layer: bool) -> Context {
        Context { layer, ..Context::default() }
    }

    /// Whether the run is that of a layer.
    pub(super) fn is_layer(&self) -> bool {
        self.layer
    }

    /// Enters the run where a leaf begins, in the group of its first record, with the deletions that the leaf says.
    pub(super) fn begin(&mut self, group: &[u8], (group_deletion, open): (InForce, InForce)) {
        self.enter(group);
        (self.group_deletion, self.open) = (group_deletion, open);
    }

    /// Steps over a record. Only deletions of groups and markers are looked into.
    ///
    /// Errors: one group begins another while a deletion is in force. A key would then not say which of them it lies in, nor
    /// a reader that begins there what is deleted.
    pub(super) fn follow(&mut self, r: &Record<'_>) -> Result<()> {
        let group = r.group();
        if !self.known || group != self.group {
            let deleted = self.group_deletion.deletion().is_some() || self.open.deletion().is_some();
            if deleted && (group.starts_with(&self.group) || self.group.starts_with(group)) {
                return Err(Error::damaged("run", "has a group that begins another, and deletions in one of them"));
            }
            self.enter(group);
        }
        if matches!(r.class, Class::Group | Class::Marker) {
            let deletion: InForce = Entries::new(r.body).next_entry()?.map(|e| (e.time, e.ldt)).into();
            match r.class {
                Class::Group => self.group_deletion = deletion,
                _ if r.traits.has(Traits::RESUMES) => self.open = InForce::Unsaid,
                _ => self.open = deletion,
            }
        }
        Ok(())
    }

    /// What is in force in a group of which nothing was read.
    fn nothing(&self) -> InForce {
        if self.layer { InForce::Unsaid } else { InForce::Nothing }
    }

    fn enter(&mut self, group: &[u8]) {
        self.known = true;
        self.group.clear();
        self.group.extend_from_slice(group);
        (self.group_deletion, self.open) = (self.nothing(), self.nothing());
    }

    /// The deletion of the group and that of its markers, as far as they reach into `group`.
    pub(super) fn within(&self, group: &[u8]) -> (InForce, InForce) {
        if self.known && self.group == group {
            (self.group_deletion, self.open)
        } else {
            (self.nothing(), self.nothing())
        }
    }

    /// Whether `key` lies in the group.
    pub(super) fn reaches(&self, key: &[u8]) -> bool {
        self.known && key.len() > self.group.len() && key.starts_with(&self.group)
    }

    /// Adds the deletions in force as records, for a reader that begins at `from`: the group's deletion at the key that is the
    /// group itself, and the open marker's deletion at `from`. What a layer says is in force no more is said by records that are gone.
    /// `next` is the next record, by key and class. If it is a marker at
    /// `from`, it says itself what is deleted from there on, and the open deletion is left out.
    ///
    /// Errors: a row stands at `from`, so that the deletion that is open there has no key of its own. Nothing can say it,
    /// and to leave it out would bring rows of other runs back that it covers.
    pub(super) fn say(&self, from: &[u8], next: Option<(&[u8], Class)>, out: &mut RecordBatch) -> Result<()> {
        let at_from = next.filter(|(key, _)| *key == from).map(|(_, class)| class);
        if at_from.is_some_and(|class| class != Class::Marker) && self.open.deletion().is_some() {
            let message = "begins at a row, where a deletion of a range is in force";
            return Err(Error::new(Kind::Unsupported, "range of a tree", message).hint("begin before the row"));
        }
        let mut said = |class: Class, key: &[u8], in_force: InForce| {
            let lifted = self.layer && in_force == InForce::Nothing;
            if !lifted && in_force.deletion().is_none() {
                return;
            }
            let Ok(()) = out.push_with(key, self.group.len(), class, |buffer| {
                let mut writer = BodyWriter::new(buffer);
                if let Some((time, ldt)) = in_force.deletion() {
                    let kind = EntryKind::Deletion;
                    writer.push(&Entry { column: 0, kind, element: None, time, ldt, ttl: 0, value: None });
                }
                Ok::<Traits, std::convert::Infallible>(if lifted { Traits::GONE } else { writer.traits() })
            });
        };
        said(Class::Group, &self.group, self.group_deletion);
        if at_from.is_none() {
            said(Class::Marker, from, self.open);
        }
        Ok(())
    }
}
