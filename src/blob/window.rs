//! What a cut looks at of an input.

use std::io::{ErrorKind, Read, Result};

/// Bytes that one read asks for, at least.
const LEAST: usize = 8 << 10;

/// Bytes of one input, from where it is to be cut next. Memory is kept from one input to the next.
#[derive(Default)]
pub struct Window {
    /// What was read lies in `start..end`; what follows is room.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
}

impl Window {
    /// Begins with another input.
    pub fn begin(&mut self) {
        (self.start, self.end, self.ended) = (0, 0, false);
    }

    /// What was read and not cut.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Whether the input has no more than [`Window::bytes`].
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes the first bytes away.
    pub(super) fn skip(&mut self, n: usize) {
        self.start += n;
    }

    /// Reads until there are `most` bytes, or the input has ended.
    pub fn read(&mut self, input: &mut dyn Read, most: usize) -> Result<()> {
        if self.ended {
            // What is left lies well where it lies.
            return Ok(());
        }
        if self.start > 0 && most > self.bytes.len() - self.start {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let until = self.start + most;
        while !self.ended && self.end < until {
            if self.end == self.bytes.len() {
                // Of most inputs there is little.
                self.bytes.resize((2 * self.end).max(LEAST).min(until), 0);
            }
            let to = self.bytes.len().min(until);
            match input.read(&mut self.bytes[self.end..to]) {
                Ok(n) => (self.end, self.ended) = (self.end + n, n == 0),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives so many bytes at a time, and is interrupted now and then.
    struct Slow<'a>(&'a [u8], usize, u32);

    impl Read for Slow<'_> {
        fn read(&mut self, to: &mut [u8]) -> Result<usize> {
            self.2 += 1;
            if self.2.is_multiple_of(3) {
                return Err(ErrorKind::Interrupted.into());
            }
            let n = self.1.min(to.len());
            self.0.read(&mut to[..n])
        }
    }

    #[test]
    fn whatever_is_read_and_skipped_the_bytes_are_those_of_the_input() {
        let all: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        let mut window = Window::default();
        for (piece, most, step) in [(1 << 20, 40_000, 39_999), (7000, 20_000, 1), (8192, 8192, 8192), (100, 257, 200)] {
            let (mut input, mut at) = (Slow(&all, piece, 0), 0);
            window.begin();
            // A small step is taken a few times only.
            for _ in 0..1000 {
                window.read(&mut input, most).unwrap();
                let there = window.bytes();
                assert_eq!(there, &all[at..all.len().min(at + most)]);
                if there.is_empty() {
                    assert!(window.has_ended());
                    break;
                }
                let n = step.min(there.len());
                window.skip(n);
                at += n;
            }
            assert!(step == 1 || at == all.len());
        }
    }

    #[test]
    fn an_input_of_nothing_ends() {
        let mut window = Window::default();
        window.read(&mut &[][..], 257).unwrap();
        assert!(window.has_ended() && window.bytes().is_empty());
    }
}
