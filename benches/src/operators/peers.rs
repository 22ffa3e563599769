//! The peer's side: `buffer_unordered` of the futures crate, on tokio.

use super::{LATENCY, Load, Work, start_tokio};
use futures_util::stream::{self, Stream, StreamExt as _};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The stream, driven by a task.
pub fn buffer_unordered(load: Load) -> io::Result<Duration> {
    let runtime = start_tokio(load.workers)?;
    load.timed(|load| {
        let sum = runtime.spawn(run(load));
        runtime.block_on(sum).map_err(io::Error::other)
    })
}

async fn run(load: Load) -> u64 {
    let numbers = stream::iter(0..load.numbers);
    match load.work {
        Work::HandedOver => sum(numbers.map(hand_over).buffer_unordered(load.capacity)).await,
        Work::AtOnce => sum(numbers.map(at_once).buffer_unordered(load.capacity)).await,
        Work::Waits => sum(numbers.map(wait).buffer_unordered(load.capacity)).await,
    }
}

async fn sum<E>(doubles: impl Stream<Item = Result<u64, E>>) -> u64 {
    doubles
        .fold(0, |sum, double| ready(sum + double.unwrap_or_default()))
        .await
}

fn hand_over(number: u64) -> JoinHandle<u64> {
    tokio::spawn(async move { 2 * number })
}

fn at_once(number: u64) -> Ready<Result<u64, Infallible>> {
    ready(Ok(2 * number))
}

async fn wait(number: u64) -> Result<u64, Infallible> {
    tokio::time::sleep(LATENCY).await;
    Ok(2 * number)
}
