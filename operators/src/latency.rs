//! How long things took: a histogram of a few hundred bytes that is right to within a quarter, from a microsecond to
//! more than half an hour.
//!
//! Each doubling of time is split into four buckets of equal width, as in the first HDR histograms. Adding is a few
//! shifts.

use std::fmt::{self, Debug, Formatter};
use std::time::{Duration, Instant};

/// Buckets for each doubling, as a power of two: 2 bits tell them apart.
const SUB_BITS: u32 = 2;
const SUB_BUCKETS: usize = 1 << SUB_BITS;

/// The last doubling ends at 2 to the power of this, in microseconds; what took longer counts as if it ended there.
const LONGEST_BITS: u32 = 32;

const BUCKETS: usize = (LONGEST_BITS - SUB_BITS + 1) as usize * SUB_BUCKETS;

/// How long the requests of a stage took, from the moment their records were accepted until they had an outcome: what
/// [`Monitor::latencies`](crate::Monitor::latencies) returns.
///
/// Time is that of the stage's task, which looks at its clock once in each of its polls. A request that was ready at
/// its first poll took no time at all.
#[derive(Clone, PartialEq, Eq)]
pub struct Latencies {
    counts: [u64; BUCKETS],
    count: u64,
    sum: Duration,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self {
            counts: [0; BUCKETS],
            count: 0,
            sum: Duration::ZERO,
        }
    }

    /// How many requests are in it.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of their times.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// A time that this share of the requests did not exceed, 0.99 being 99 in 100: at most a quarter too long. None
    /// if there are no requests.
    ///
    /// # Panics
    ///
    /// If `share` is not between 0 and 1.
    #[must_use]
    #[track_caller]
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        assert!(
            (0.0..=1.0).contains(&share),
            "a percentile is a share between 0 and 1, such as 0.99, and not {share}"
        );
        let rank = ((share * self.count as f64).ceil() as u64).max(1);
        let mut buckets = self.buckets();
        let bucket = buckets.find(|(_, up_to)| *up_to >= rank);
        bucket.map(|(end, _)| end)
    }

    /// For each bucket that is not empty: a time that its requests did not exceed, and how many requests did not exceed
    /// it, earlier buckets included.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let mut up_to = 0;
        let counts = self.counts.iter().enumerate();
        counts.filter_map(move |(bucket, count)| {
            up_to += count;
            (*count > 0).then_some((end_of(bucket), up_to))
        })
    }

    /// For each doubling of time: its end, and how many requests took less, but not less than half of it.
    #[cfg(feature = "prometheus")]
    pub(crate) fn doublings(&self) -> impl Iterator<Item = (Duration, u64)> {
        let doublings = self.counts.chunks(SUB_BUCKETS).enumerate();
        doublings.map(|(doubling, counts)| {
            let last = doubling * SUB_BUCKETS + SUB_BUCKETS - 1;
            (end_of(last), counts.iter().sum())
        })
    }

    pub(crate) fn add(&mut self, took: Duration) {
        self.add_many(took, 1);
    }

    pub(crate) fn add_many(&mut self, took: Duration, times: u64) {
        self.counts[bucket_of(took)] += times;
        self.count += times;
        let times = u32::try_from(times).unwrap_or(u32::MAX);
        self.sum = self.sum.saturating_add(took.saturating_mul(times));
    }

    /// Halves every count: what comes from now on weighs more.
    pub(crate) fn fade(&mut self) {
        self.counts.iter_mut().for_each(|count| *count /= 2);
        self.count = self.counts.iter().sum();
        self.sum /= 2;
    }
}

impl Debug for Latencies {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.buckets()).finish()
    }
}

/// What came since the stage last told. Requests that were accepted together mostly end together, so equal times that follow each other
/// are one entry.
#[derive(Default)]
pub(crate) struct Recent {
    at_once: u64,
    others: Vec<(Duration, u64)>,
    /// Between which moments the last entry's time is.
    last: Option<(Instant, Instant)>,
}

impl Recent {
    /// So many requests had their outcomes at once.
    #[inline]
    pub(crate) fn add_at_once(&mut self, requests: u64) {
        self.at_once += requests;
    }

    /// A request that was accepted at `from` had its outcome at `to`.
    #[inline]
    pub(crate) fn add_between(&mut self, from: Instant, to: Instant) {
        match self.others.last_mut() {
            Some((_, times)) if self.last == Some((from, to)) => *times += 1,
            _ => {
                self.add(to.saturating_duration_since(from));
                self.last = Some((from, to));
            }
        }
    }

    /// A request had its outcome after so long.
    pub(crate) fn add(&mut self, took: Duration) {
        self.last = None;
        self.others.push((took, 1));
    }

    pub(crate) fn move_to(&mut self, latencies: &mut Latencies) {
        latencies.add_many(Duration::ZERO, std::mem::take(&mut self.at_once));
        let others = self.others.drain(..);
        others.for_each(|(took, times)| latencies.add_many(took, times));
    }
}

/// The shortest times have a bucket for each microsecond; then the two bits behind the highest one tell.
fn bucket_of(took: Duration) -> usize {
    let longest = (1_u128 << LONGEST_BITS) - 1;
    let microseconds = took.as_micros().min(longest) as usize;
    match microseconds.checked_ilog2() {
        Some(bits) if bits >= SUB_BITS => {
            let doubling = (bits - SUB_BITS) as usize;
            doubling * SUB_BUCKETS + (microseconds >> doubling)
        }
        _ => microseconds,
    }
}

/// The first time that is too long for a bucket.
fn end_of(bucket: usize) -> Duration {
    let (doubling, within) = match bucket {
        0..SUB_BUCKETS => (0, bucket),
        _ => (bucket / SUB_BUCKETS - 1, SUB_BUCKETS + bucket % SUB_BUCKETS),
    };
    Duration::from_micros((within as u64 + 1) << doubling)
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, Latencies, bucket_of, end_of};
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for bucket in 0..BUCKETS {
            let end = end_of(bucket);
            assert_eq!(bucket_of(end - Duration::from_nanos(1)), bucket);
            assert_eq!(bucket_of(end), (bucket + 1).min(BUCKETS - 1));
        }
        assert_eq!(bucket_of(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn fading_keeps_the_shape() {
        let mut latencies = Latencies::new();
        latencies.add_many(Duration::from_millis(1), 80);
        latencies.add_many(Duration::from_millis(9), 20);
        let before = [0.5, 0.8, 0.81].map(|share| latencies.percentile(share));
        latencies.fade();
        assert_eq!(latencies.count(), 50);
        let after = [0.5, 0.8, 0.81].map(|share| latencies.percentile(share));
        assert_eq!(before, after);
        assert!(after[1] < after[2]);
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(Latencies::new().percentile(0.5), None);
    }

    #[test]
    #[should_panic(expected = "a share between 0 and 1")]
    fn a_percentile_in_hundredths_is_refused() {
        let _ = Latencies::new().percentile(99.0);
    }

    proptest! {
        #[test]
        fn a_percentile_is_at_most_a_quarter_too_long(
            mut times in prop::collection::vec(1_u64..3_000_000_000, 1..200),
            share in 0.0_f64..=1.0,
        ) {
            let mut latencies = Latencies::new();
            for time in &times {
                latencies.add(Duration::from_micros(*time));
            }
            times.sort_unstable();
            let rank = ((share * times.len() as f64).ceil() as usize).max(1);
            let exact = times[rank - 1] as f64;
            let found = latencies.percentile(share).unwrap().as_micros() as f64;
            prop_assert!(exact <= found && found <= 1.25 * exact + 1.0);
            prop_assert_eq!(latencies.buckets().last().unwrap().1, times.len() as u64);
        }
    }
}
