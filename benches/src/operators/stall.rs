//! A consumer that stalls: what becomes of the requests in flight?
//!
//! Each request takes [`LATENCY`]. The consumer takes as many outputs as there are places, and then does something else for
//! [`STALL`]. A request that is polled only when the consumer polls ends no sooner than that.

use super::{LATENCY, start_peu, start_tokio};
use crate::stats::quantile;
use futures_util::stream::{self, Stream, StreamExt as _};
use peu::operators::{AsyncOptions, StreamExt as _};
use std::convert::Infallible;
use std::io;
use std::time::{Duration, Instant};

/// How many requests may be in flight.
const CAPACITY: usize = 100;

/// How long the consumer does something else.
pub const STALL: Duration = Duration::from_millis(20);

/// How often it does.
const STALLS: usize = 20;

/// How long requests took, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Tail {
    /// Half took no longer.
    pub median: f64,
    /// 99 in 100 took no longer.
    pub p99: f64,
    /// None took longer.
    pub longest: f64,
}

impl Tail {
    fn of(took: Vec<Duration>) -> Self {
        let took: Vec<f64> = took.iter().map(|took| took.as_secs_f64() * 1e3).collect();
        let [median, p99, longest] = [0.5, 0.99, 1.0].map(|share| quantile(&took, share));
        Self {
            median,
            p99,
            longest,
        }
    }
}

/// An ordered stage.
pub fn ours() -> io::Result<Tail> {
    let runtime = start_peu(2)?;
    let took = runtime.spawn(async {
        let requests = stream::iter(0..CAPACITY * STALLS);
        let options = AsyncOptions::ordered().capacity(CAPACITY);
        let stage = requests.async_map(
            &peu::Handle::current(),
            "request",
            |_| async {
                let begin = Instant::now();
                peu::time::sleep(LATENCY).await;
                Ok::<_, Infallible>(begin.elapsed())
            },
            options,
        );
        let took = stage.filter_map(|took| std::future::ready(took.ok()));
        consume(took, || peu::time::sleep(STALL)).await
    });
    Ok(Tail::of(runtime.block_on(took).map_err(io::Error::other)?))
}

/// `buffered` of the futures crate.
pub fn buffered() -> io::Result<Tail> {
    let runtime = start_tokio(2)?;
    let took = runtime.spawn(async {
        let requests = stream::iter(0..CAPACITY * STALLS).map(|_| async {
            let begin = Instant::now();
            tokio::time::sleep(LATENCY).await;
            begin.elapsed()
        });
        consume(requests.buffered(CAPACITY), || tokio::time::sleep(STALL)).await
    });
    Ok(Tail::of(runtime.block_on(took).map_err(io::Error::other)?))
}

async fn consume<Pause: Future>(
    took: impl Stream<Item = Duration>,
    mut pause: impl FnMut() -> Pause,
) -> Vec<Duration> {
    let mut took = std::pin::pin!(took.chunks(CAPACITY));
    let mut all = Vec::new();
    while let Some(taken) = took.next().await {
        all.extend(taken);
        pause().await;
    }
    all
}
