//! Chance, for jitter: enough to keep requests from coming back together, and no more.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): one word of state, any
/// seed will do, and equal seeds give equal sequences. Whoever sees its output can tell what comes next.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Begins where nobody knows: the standard library seeds its hashers from the operating system.
    pub(crate) fn new() -> Self {
        Self(RandomState::new().hash_one(0))
    }

    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// Uniform between zero and `longest`.
    pub(crate) fn up_to(&mut self, longest: Duration) -> Duration {
        // The upper 53 bits are a fraction that an `f64` holds exactly.
        let fraction = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        longest.mul_f64(fraction)
    }

    /// The constants are the paper's: the golden ratio's, and a mix whose every bit depends on every other.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_sequence_is_that_of_the_reference_implementation() {
        let mut random = Random::from_seed(1_234_567);
        let numbers = [(); 3].map(|()| random.next());
        assert_eq!(
            numbers,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }
}
