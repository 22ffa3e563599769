//! peu's side: the stage as a combinator, and in a whole pipeline.

use super::{LATENCY, Load, Work, start_peu};
use futures_util::stream::{self, StreamExt as _};
use peu::operators::{AsyncMap, AsyncOptions, EventTime, StreamExt as _};
use peu::pipeline::{AsyncStage, Pipeline, Run as _, Watermarks, every, for_each, generate};
use peu::task::JoinHandle;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often the pipeline makes a checkpoint: as in Flink's own benchmark.
const CHECKPOINTS: Duration = Duration::from_millis(100);

/// The stage alone; a task takes its outputs.
pub fn combinator(load: Load) -> io::Result<Duration> {
    let runtime = start_peu(load.workers)?;
    load.timed(|load| {
        let sum = runtime.spawn(async move { sum(stage(load)).await });
        runtime.block_on(sum).map_err(io::Error::other)?
    })
}

fn stage(load: Load) -> AsyncMap<u64> {
    let numbers = stream::iter(0..load.numbers);
    let runtime = peu::Handle::current();
    let options = AsyncOptions::unordered().capacity(load.capacity);
    match load.work {
        Work::HandedOver => numbers.async_map(&runtime, "double", hand_over, options),
        Work::AtOnce => numbers.async_map(&runtime, "double", at_once, options),
        Work::Waits => numbers.async_map(&runtime, "double", wait, options),
    }
}

async fn sum(mut doubles: AsyncMap<u64>) -> io::Result<u64> {
    let mut sum = 0;
    while let Some(double) = doubles.next().await {
        sum += double.map_err(io::Error::other)?;
    }
    Ok(sum)
}

/// A source, event time with watermarks, the stage, a sink, and checkpoints on the disk.
pub fn pipeline(load: Load) -> io::Result<Duration> {
    let runtime = start_peu(load.workers)?;
    load.timed(|load| {
        let folder = tempfile::tempdir()?;
        runtime.block_on(run_pipeline(load, folder.path().join("state")))
    })
}

async fn run_pipeline(load: Load, state: PathBuf) -> io::Result<u64> {
    let numbers = generate(move |number| (number < load.numbers).then_some(number));
    let numbers = Pipeline::source(numbers).event_time(
        |number| EventTime::from_millis(*number as i64),
        Watermarks::ascending(),
    );
    let options = AsyncOptions::unordered().capacity(load.capacity);
    match load.work {
        Work::HandedOver => finish(numbers.async_map("double", hand_over, options), state).await,
        Work::AtOnce => finish(numbers.async_map("double", at_once, options), state).await,
        Work::Waits => finish(numbers.async_map("double", wait, options), state).await,
    }
}

async fn finish(doubles: Pipeline<AsyncStage<u64>>, state: PathBuf) -> io::Result<u64> {
    let sum = Arc::new(AtomicU64::new(0));
    let added = Arc::clone(&sum);
    let sink = for_each(move |double| {
        // Only the sink's task adds. ORDERING: Relaxed; the job's end comes between the last addition and the look at the sum.
        added.store(added.load(Ordering::Relaxed) + double, Ordering::Relaxed);
        ready(Ok::<(), Infallible>(()))
    });
    let job = doubles.sink(sink).checkpoint(every(CHECKPOINTS), state);
    job.run().await.map_err(io::Error::other)?;
    // ORDERING: Relaxed, as above.
    Ok(sum.load(Ordering::Relaxed))
}

fn hand_over(number: u64) -> JoinHandle<u64> {
    peu::spawn(async move { 2 * number })
}

fn at_once(number: u64) -> Ready<Result<u64, Infallible>> {
    ready(Ok(2 * number))
}

async fn wait(number: u64) -> Result<u64, Infallible> {
    peu::time::sleep(LATENCY).await;
    Ok(2 * number)
}
