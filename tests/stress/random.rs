//! Chance with a seed. Each task has its own, forked from its parent's, so that what one does changes nobody else's luck.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// From the seed in `PEU_STRESS_SEED`, else from a new one. Prints it.
    pub(crate) fn seeded() -> Random {
        let seed = match std::env::var("PEU_STRESS_SEED") {
            Ok(text) => text.parse().expect("PEU_STRESS_SEED is a whole number"),
            Err(_) => RandomState::new().hash_one("seed"),
        };
        println!("PEU_STRESS_SEED={seed}");
        Random(seed)
    }

    pub(crate) fn fork(&mut self) -> Random {
        Random(self.next())
    }

    /// From 0 to `bound - 1`. Not quite even, which doesn't matter here.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    /// Up to `most` microseconds.
    pub(crate) fn micros(&mut self, most: usize) -> Duration {
        Duration::from_micros(self.below(most + 1) as u64)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}
