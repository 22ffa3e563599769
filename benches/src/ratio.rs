//! Ratios, for criterion: both sides have a turn in each iteration, so that what disturbs the machine disturbs both.
//!
//! criterion by itself measures one function after the other, minutes apart. Here what it measures is the quotient of two
//! times, that of peu and that of its peer, of one and the same moment. The method, and why, is in benches/README.md.

use crate::stats::{median, quantile};
use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter};
use std::cell::RefCell;
use std::io;
use std::time::Duration;

/// What criterion measures: peu's time divided by its peer's. Below 1, peu is faster.
#[derive(Clone, Copy, Debug)]
pub struct Ratio;

/// Only what a bench's `iter_custom` returns counts, which is the sum of its rounds' ratios.
impl Measurement for Ratio {
    type Intermediate = ();
    type Value = f64;

    fn start(&self) {}

    fn end(&self, (): ()) -> f64 {
        0.0
    }

    fn add(&self, one: &f64, other: &f64) -> f64 {
        one + other
    }

    fn zero(&self) -> f64 {
        0.0
    }

    fn to_f64(&self, value: &f64) -> f64 {
        *value
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self
    }
}

impl ValueFormatter for Ratio {
    fn scale_values(&self, _typical: f64, _values: &mut [f64]) -> &'static str {
        "of the peer's"
    }

    fn scale_throughputs(
        &self,
        _typical: f64,
        _throughput: &Throughput,
        _values: &mut [f64],
    ) -> &'static str {
        "of the peer's"
    }

    fn scale_for_machines(&self, _values: &mut [f64]) -> &'static str {
        "of the peer's"
    }
}

/// The rounds of one comparison. Who begins alternates.
#[derive(Debug, Default)]
pub struct Rounds(RefCell<Vec<(f64, f64)>>);

impl Rounds {
    /// So many rounds; the sum of their ratios. Both sides return what is compared: a time, say.
    pub fn run(
        &self,
        rounds: u64,
        ours: impl Fn() -> io::Result<f64>,
        peer: impl Fn() -> io::Result<f64>,
    ) -> io::Result<f64> {
        let mut ratios = 0.0;
        for _ in 0..rounds {
            let begins = self.0.borrow().len().is_multiple_of(2);
            let (ours, peer) = match begins {
                true => (ours()?, peer()?),
                false => {
                    let peer = peer()?;
                    (ours()?, peer)
                }
            };
            ratios += ours / peer;
            self.0.borrow_mut().push((ours, peer));
        }
        Ok(ratios)
    }

    /// The medians of both sides, and the median and the quartiles of how many times ours goes into the peer's. Nothing if no
    /// round was run.
    pub fn summary(&self) -> Option<Summary> {
        let rounds = self.0.borrow();
        let [ours, peer, ratios] = [
            |(ours, _): &(f64, f64)| *ours,
            |(_, peer): &(f64, f64)| *peer,
            |(ours, peer): &(f64, f64)| peer / ours,
        ]
        .map(|of| rounds.iter().map(of).collect::<Vec<f64>>());
        (!rounds.is_empty()).then(|| Summary {
            ours: median(&ours),
            peer: median(&peer),
            factor: [0.5, 0.25, 0.75].map(|share| quantile(&ratios, share)),
        })
    }
}

/// What a comparison came to.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// The median of ours.
    pub ours: f64,
    /// The median of the peer's.
    pub peer: f64,
    /// How many times ours goes into the peer's, in the same round: above 1, ours is faster. The median and the quartiles.
    pub factor: [f64; 3],
}

impl Summary {
    /// As tables show it: the median, and the quartiles in brackets.
    pub fn shown_factor(&self) -> String {
        let [median, low, high] = self.factor;
        format!("{median:.2} [{low:.2} {high:.2}]")
    }
}

/// Seconds, as what is compared.
pub fn seconds(took: io::Result<Duration>) -> io::Result<f64> {
    took.map(|took| took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::Rounds;

    #[test]
    fn rounds_are_divided_by_each_other_and_who_begins_alternates() {
        let rounds = Rounds::default();
        let order = std::cell::RefCell::new(String::new());
        let side = |name, value| {
            order.borrow_mut().push(name);
            Ok(value)
        };
        let sum = rounds
            .run(3, || side('o', 2.0), || side('p', 3.0))
            .expect("nothing fails");
        assert_eq!((sum, &**order.borrow()), (2.0, "oppoop"));
        let summary = rounds.summary().expect("there were rounds");
        assert_eq!((summary.ours, summary.peer), (2.0, 3.0));
        assert_eq!(summary.shown_factor(), "1.50 [1.50 1.50]");
        assert!(Rounds::default().summary().is_none());
    }
}
