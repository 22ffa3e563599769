//! Chance for tests that kill: the same kills and troubles in each run, as far as the kernel's scheduler allows.

/// Knuth's linear congruential generator.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// From 1 to `most`.
    pub(crate) fn up_to(&mut self, most: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        1 + (self.0 >> 33) % most
    }
}
