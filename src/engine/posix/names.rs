//! Names of users and groups, as this machine knows them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use nix::unistd::{Gid, Group, Uid, User};
use repo_format::limits::USER_NAME_MAX;

/// Names by number, each asked for once.
#[derive(Default)]
pub struct Names {
    users: Mutex<HashMap<u32, Option<Vec<u8>>>>,
    groups: Mutex<HashMap<u32, Option<Vec<u8>>>>,
}

impl Names {
    /// Of a user; `None` where nobody is called so, or by a name that no record has.
    pub fn user(&self, number: u32) -> Option<Vec<u8>> {
        once(&self.users, number, || Some(User::from_uid(Uid::from_raw(number)).ok()??.name))
    }

    /// Of a group.
    pub fn group(&self, number: u32) -> Option<Vec<u8>> {
        once(&self.groups, number, || Some(Group::from_gid(Gid::from_raw(number)).ok()??.name))
    }
}

fn once(
    known: &Mutex<HashMap<u32, Option<Vec<u8>>>>,
    number: u32,
    ask: impl FnOnce() -> Option<String>,
) -> Option<Vec<u8>> {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let is_name = |name: &Vec<u8>| (1..=USER_NAME_MAX).contains(&name.len());
    known.entry(number).or_insert_with(|| ask().map(String::into_bytes).filter(is_name)).clone()
}
