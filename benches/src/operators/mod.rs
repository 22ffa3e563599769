//! Async work on a stream of numbers, by peu and by its peers: what the bench `operators` and the program `flink` measure.
//!
//! Every candidate takes the numbers from 0 up, has each doubled, and adds up what comes out, so that none can leave anything
//! out. What differs is who doubles, and when. Each run has a runtime of its own, and does a tenth first that is not counted.

pub mod ours;
pub mod peers;
pub mod stall;

use std::io;
use std::time::{Duration, Instant};

/// How long a request of [`Work::Waits`] takes.
pub const LATENCY: Duration = Duration::from_millis(1);

/// Who doubles a number, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Another task: each number is handed over, and its double comes back.
    HandedOver,
    /// Whoever calls: the request is ready at its first poll.
    AtOnce,
    /// A timer, after [`LATENCY`].
    Waits,
}

/// What is to be done, and with how much.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Who doubles.
    pub work: Work,
    /// How many numbers.
    pub numbers: u64,
    /// How many requests may be in flight.
    pub capacity: usize,
    /// How many threads the runtime has.
    pub workers: usize,
}

impl Load {
    /// A tenth of it, which warms up threads, allocator and caches.
    fn warm_up(self) -> Self {
        let numbers = self.numbers.div_ceil(10);
        Self { numbers, ..self }
    }

    /// Numbers per second.
    pub fn rate(self, took: Duration) -> f64 {
        self.numbers as f64 / took.as_secs_f64()
    }

    /// The share that `took` reaches of what the capacity allows when each request takes [`LATENCY`] and nothing else takes any time.
    pub fn of_ideal(self, took: Duration) -> f64 {
        self.rate(took) * LATENCY.as_secs_f64() / self.capacity as f64
    }

    /// Times `run`, which returns the sum of the doubles, after a warm-up.
    fn timed(self, mut run: impl FnMut(Load) -> io::Result<u64>) -> io::Result<Duration> {
        run(self.warm_up())?;
        let begin = Instant::now();
        let sum = run(self)?;
        let took = begin.elapsed();
        let expected = self.numbers * self.numbers.saturating_sub(1);
        match sum == expected {
            true => Ok(took),
            false => Err(io::Error::other(format!(
                "the doubles add up to {sum} instead of {expected}"
            ))),
        }
    }
}

fn start_peu(workers: usize) -> io::Result<peu::Runtime> {
    peu::Runtime::builder().workers(workers).build()
}

fn start_tokio(workers: usize) -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
}
