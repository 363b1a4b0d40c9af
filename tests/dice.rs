//! Choices out of a seed.

/// A stream of them.
pub struct Dice(pub u64);

impl Dice {
    /// One of the numbers below `n`; 0 where there is none.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n.max(1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// How many, by the environment.
pub fn number(name: &str, unless: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(unless)
}
