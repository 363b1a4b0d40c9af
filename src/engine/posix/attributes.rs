//! Extended attributes, ACLs among them.

use repo_format::file_tree::{Attribute, put_attributes};
use repo_format::limits::ASIDE_MAX;
use rustix::io::Errno;

/// An extended attribute is no longer than this on any file system that is known.
const ATTRIBUTE_MAX: usize = 1 << 20;

/// All extended attributes, encoded. None where the file system has none. Errors: those of the system, and more than a record has.
pub fn attributes(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    let mut names = [0; 1024];
    let listed = match list(&mut names) {
        Ok(0) | Err(Errno::NOTSUP | Errno::BADF | Errno::PERM) => return Ok(Vec::new()),
        Ok(n) => names[..n].to_vec(),
        Err(Errno::RANGE) => {
            let mut names = vec![0; 64 << 10];
            let n = list(&mut names)?;
            names.truncate(n);
            names
        }
        Err(e) => return Err(e),
    };
    let mut all: Vec<(&[u8], Vec<u8>)> = Vec::new();
    let mut left = ASIDE_MAX;
    for name in listed.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 4 << 10];
        let mut got = get(name, &mut value);
        if got == Err(Errno::RANGE) {
            value = vec![0; ATTRIBUTE_MAX];
            got = get(name, &mut value);
        }
        match got {
            Ok(n) => value.truncate(n),
            // It was taken away meanwhile, or is not for us.
            Err(Errno::NODATA | Errno::NOTSUP) => continue,
            Err(e) => return Err(e),
        }
        // Lengths take three bytes each at most.
        left = left.checked_sub(name.len() + value.len() + 6).ok_or(Errno::TOOBIG)?;
        all.push((name, value));
    }
    all.sort();
    let all: Vec<Attribute<'_>> = all.iter().map(|(name, value)| Attribute { name, value }).collect();
    let mut bytes = Vec::new();
    put_attributes(&mut bytes, &all);
    Ok(bytes)
}
