//! The home of randomness and of the clock.
#![allow(clippy::disallowed_methods)]

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Kind, Result};

/// So many random bytes from the operating system.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| Error::new(Kind::Io, "operating system's randomness", e))?;
    Ok(bytes)
}

thread_local! {
    static SHIFT: Cell<i64> = const { Cell::new(0) };
}

/// Milliseconds since 1970. For people to read, and for the grace of readers: no chunk is lost by a clock that is wrong.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX).saturating_add_signed(SHIFT.get())
}

/// Makes this thread's clock wrong by so many milliseconds: for simulations.
pub fn shift(ms: i64) {
    SHIFT.set(ms);
}
