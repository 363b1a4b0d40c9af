//! How much room a file system has: the answer to `statvfs@openssh.com`, and the same of this machine.

use super::packet::{Fields, Parsed};

/// What `statvfs` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Bytes of a block.
    pub block: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks that are free.
    pub free: u64,
    /// Blocks that are free for everybody.
    pub available: u64,
    /// Files that there may be; 0 where nobody counts.
    pub files: u64,
    /// Files that there may be more, for everybody.
    pub files_available: u64,
    /// Nothing can be written.
    pub read_only: bool,
}

impl Counts {
    /// Takes an answer apart.
    pub fn parse(answer: &[u8]) -> Parsed<Counts> {
        let mut fields = Fields(answer);
        let mut numbers = [0; 11];
        for number in &mut numbers {
            *number = fields.u64()?;
        }
        let [_, block, blocks, free, available, files, _, files_available, _, flags, _] = numbers;
        Ok(Counts { block, blocks, free, available, files, files_available, read_only: flags & 1 != 0 })
    }

    fn has_no_names(&self) -> bool {
        self.files > 0 && self.files_available == 0
    }

    /// Bytes that there is room for.
    pub fn room(&self) -> u64 {
        if self.has_no_names() { 0 } else { self.block.saturating_mul(self.available) }
    }

    /// How full it is in percent, rounded up, as `df` says it. What nothing can be written to cannot fill: 0.
    pub fn full(&self) -> u8 {
        let used = u128::from(self.blocks.saturating_sub(self.free));
        let all = used + u128::from(self.available);
        match self.has_no_names() {
            _ if self.read_only => 0,
            true => 100,
            false => u8::try_from((100 * used).div_ceil(all.max(1))).unwrap_or(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fill_is_what_df_says() {
        let of = |blocks, free, available| Counts { block: 4096, blocks, free, available, ..Counts::default() };
        for (counts, full) in
            [(of(0, 0, 0), 0), (of(100, 100, 95), 0), (of(100, 15, 10), 90), (of(100, 14, 9), 91), (of(100, 5, 0), 100)]
        {
            assert_eq!(counts.full(), full, "{counts:?}");
        }
        let names = Counts { files: 9, ..of(100, 90, 90) };
        assert_eq!((names.full(), names.room()), (100, 0));
        assert_eq!(Counts { read_only: true, ..names }.full(), 0);
        assert_eq!(of(u64::MAX, 0, u64::MAX).full(), 50);
    }
}
