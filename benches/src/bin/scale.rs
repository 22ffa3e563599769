//! How cost grows with size: tasks alive, timers set, sources registered, connections open, stages in a row, from 10 on.
//!
//! `cargo xtask scale`. The method is in benches/README.md.

#![forbid(unsafe_code)]

use clap::Parser;
use futures_channel::oneshot;
use futures_lite::{
    AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _, future::poll_fn, stream,
};
use peu::net::{TcpListener, TcpStream, UnixStream};
use peu::operators::{AsyncOptions, StreamExt as _};
use peu_benches::os;
use peu_benches::stats::{median, table};
use serde::Serialize;
use std::convert::Infallible;
use std::future::Future;
use std::io::{self, BufRead, BufReader, Write as _};
use std::pin::Pin;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::task::Poll;
use std::time::Duration;

/// Measure what one of something costs while there are many of it.
#[derive(Debug, Parser)]
struct Args {
    /// What to measure, all unless named
    #[arg(long, value_enum, value_delimiter = ',')]
    things: Vec<Thing>,

    /// Rounds; in each of them every size has its turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,

    /// Print the results as JSON
    #[arg(long)]
    json: bool,

    /// Be one of the processes that hold sources
    #[arg(long, hide = true)]
    part: bool,
}

/// What there are many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Thing {
    /// Tasks: spawned, at rest all at once, woken, joined.
    Tasks,
    /// Timers: set, all waiting at once, removed.
    Timers,
    /// The same, but removed in an order that neither caches nor prefetchers foresee.
    Scattered,
    /// Sources: sockets made in pairs, a byte through each while all are open, closed.
    Sources,
    /// Connections: opened and accepted, a byte there and back through each while all are open, closed.
    Connections,
    /// Stages: async stages in a row, each a task, through which a hundred records flow.
    Stages,
}

#[derive(Debug, Serialize)]
struct Row {
    thing: Thing,
    sizes: Vec<usize>,
    /// CPU time of one, at each size: the medians over the rounds.
    nanoseconds: Vec<f64>,
    /// The cost of all grows with this power of their number.
    exponent: f64,
    /// What one costs at the largest size, as a multiple of what it costs among a thousand, or at the size next to it.
    growth: f64,
}

/// So many are made in a round at each size, at least: small sizes are repeated.
const WORK: usize = 20_000;
/// Records that flow through the stages.
const RECORDS: u32 = 100;
/// Pairs of sockets that one process holds at most: two descriptors each, of 20,000 that a process commonly may have.
const PART: usize = 9000;
/// From here on the cost of one shall be flat: below it what is there once is shared by few.
const BASE: usize = 1000;

impl Thing {
    const ALL: [Thing; 6] = [
        Thing::Tasks,
        Thing::Timers,
        Thing::Scattered,
        Thing::Sources,
        Thing::Connections,
        Thing::Stages,
    ];

    /// Connections have two descriptors each, and stay within what one process may have.
    fn sizes(self) -> &'static [usize] {
        match self {
            Thing::Tasks | Thing::Timers | Thing::Scattered => {
                &[10, 100, 1000, 10_000, 100_000, 1_000_000]
            }
            Thing::Sources => &[10, 100, 1000, PART, 10 * PART, 100 * PART],
            Thing::Connections => &[10, 100, 1000, 9000],
            Thing::Stages => &[10, 100, 1000, 10_000],
        }
    }

    async fn many(self, number: usize) -> io::Result<()> {
        match self {
            Thing::Tasks => tasks(number).await,
            Thing::Timers => timers(number).await,
            Thing::Scattered => scattered(number).await,
            Thing::Sources => sources(number).await,
            Thing::Connections => connections(number).await,
            Thing::Stages => stages(number).await,
        }
    }
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    if args.part {
        return hold_part();
    }
    let things = match &args.things[..] {
        [] => Thing::ALL.to_vec(),
        chosen => chosen.to_vec(),
    };
    let rows = things
        .into_iter()
        .map(|thing| measure(thing, args.rounds))
        .collect::<io::Result<Vec<_>>>()?;
    match args.json {
        true => println!(
            "{}",
            serde_json::to_string_pretty(&rows).map_err(io::Error::other)?
        ),
        false => rows.iter().for_each(|row| println!("{}", render(row))),
    }
    Ok(())
}

fn measure(thing: Thing, rounds: u64) -> io::Result<Row> {
    let sizes = thing.sizes();
    let mut seen: Vec<Vec<f64>> = sizes.iter().map(|_| Vec::new()).collect();
    // One worker: how many of them there are is no question of size.
    let runtime = peu::Runtime::builder().workers(1).build()?;
    let mut parts = Vec::new();
    for round in 0..=rounds {
        for (&size, seen) in sizes.iter().zip(&mut seen) {
            let (cpu, made) = match thing {
                Thing::Sources if size > PART => (apart(size, &mut parts)?, size),
                _ => {
                    let times = WORK.div_ceil(size);
                    (together(&runtime, thing, size, times)?, times * size)
                }
            };
            // The first round warms up.
            if round > 0 {
                seen.push(cpu.as_secs_f64() * 1e9 / made as f64);
            }
        }
    }
    let nanoseconds: Vec<f64> = seen.iter().map(|seen| median(seen)).collect();
    Ok(Row {
        thing,
        sizes: sizes.to_vec(),
        exponent: 1.0 + slope(sizes, &nanoseconds),
        growth: growth(sizes, &nanoseconds),
        nanoseconds,
    })
}

/// The CPU time of `times` rounds of so many, in this process.
fn together(
    runtime: &peu::Runtime,
    thing: Thing,
    size: usize,
    times: usize,
) -> io::Result<Duration> {
    let begin = os::cpu_time(std::process::id())?;
    run(runtime, async move {
        for _ in 0..times {
            thing.many(size).await?;
        }
        Ok(())
    })?;
    Ok(os::cpu_time(std::process::id())? - begin)
}

/// Runs it as a task, not on the thread that waits for it.
fn run<T: Send + 'static>(
    runtime: &peu::Runtime,
    work: impl Future<Output = io::Result<T>> + Send + 'static,
) -> io::Result<T> {
    runtime
        .block_on(runtime.spawn(work))
        .map_err(io::Error::other)?
}

/// The CPU time of so many sources in processes of [`PART`] each, which take each step together: all are open while they are used.
fn apart(size: usize, parts: &mut Vec<Part>) -> io::Result<Duration> {
    while parts.len() < size / PART {
        parts.push(Part::start()?);
    }
    let parts = &mut parts[..size / PART];
    let mut cpu = Duration::ZERO;
    for step in [Step::Open, Step::Use, Step::Close] {
        for part in &mut *parts {
            let begin = os::cpu_time(part.child.id())?;
            part.take(step)?;
            cpu += os::cpu_time(part.child.id())? - begin;
        }
    }
    Ok(cpu)
}

/// What each part does when it is told to, one line of its standard input for each.
#[derive(Debug, Clone, Copy)]
enum Step {
    Open,
    Use,
    Close,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Open => "open",
            Step::Use => "use",
            Step::Close => "close",
        }
    }
}

/// A process that holds sources. It ends with its standard input.
struct Part {
    child: Child,
    steps: ChildStdin,
    done: BufReader<ChildStdout>,
}

impl Part {
    fn start() -> io::Result<Part> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--part")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let steps = child.stdin.take().expect("stdin is a pipe");
        let done = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut part = Part { child, steps, done };
        // Each warms up by itself, as the other sizes do in their first round.
        for step in [Step::Open, Step::Use, Step::Close] {
            part.take(step)?;
        }
        Ok(part)
    }

    /// Has it take one step, and waits until it has.
    fn take(&mut self, step: Step) -> io::Result<()> {
        let name = step.name();
        writeln!(self.steps, "{name}")?;
        let mut line = String::new();
        self.done.read_line(&mut line)?;
        match line.trim() == name {
            true => Ok(()),
            false => Err(io::Error::other(format!(
                "process {} was to {name} {PART} pairs of sockets, and answered {line:?}: \
                 it says why on the standard error",
                self.child.id()
            ))),
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other side of [`Part`].
fn hold_part() -> io::Result<()> {
    let runtime = peu::Runtime::builder().workers(1).build()?;
    let mut pairs = Vec::new();
    for line in io::stdin().lines() {
        let line = line?;
        let held = std::mem::take(&mut pairs);
        pairs = match &line[..] {
            "open" => run(&runtime, async { open_pairs(PART) })?,
            "use" => run(&runtime, use_pairs(held))?,
            "close" => run(&runtime, async move {
                drop(held);
                Ok(Vec::new())
            })?,
            step => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("a part knows no step {step:?}, only open, use and close"),
                ));
            }
        };
        println!("{line}");
    }
    Ok(())
}

async fn tasks(number: usize) -> io::Result<()> {
    let (senders, handles): (Vec<_>, Vec<_>) = (0..number)
        .map(|_| {
            let (sender, receiver) = oneshot::channel::<()>();
            (sender, peu::spawn(receiver))
        })
        .unzip();
    // The tasks run first, and come to rest.
    peu::task::yield_now().await;
    for sender in senders {
        sender.send(()).expect("its task waits");
    }
    for handle in handles {
        handle
            .await
            .map_err(io::Error::other)?
            .expect("it was sent");
    }
    Ok(())
}

fn far(place: usize) -> peu::time::Sleep {
    peu::time::sleep(Duration::from_secs(60 + place as u64 % 60))
}

async fn timers(number: usize) -> io::Result<()> {
    let mut timers: Vec<_> = (0..number).map(|place| Box::pin(far(place))).collect();
    // The first poll sets it.
    poll_fn(|context| {
        timers.retain_mut(|timer| timer.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    Ok(())
}

async fn scattered(number: usize) -> io::Result<()> {
    // A prime that divides no size: steps of so many places meet each place once.
    const STEP: usize = 6_700_417;
    let mut timers: Vec<_> = (0..number).map(|place| Some(far(place))).collect();
    poll_fn(|context| {
        for timer in timers.iter_mut().flatten() {
            assert!(Pin::new(timer).poll(context).is_pending());
        }
        Poll::Ready(())
    })
    .await;
    for turn in 0..number {
        timers[turn * STEP % number] = None;
    }
    Ok(())
}

type Pair = (UnixStream, UnixStream);

async fn sources(number: usize) -> io::Result<()> {
    use_pairs(open_pairs(number)?).await.map(drop)
}

fn open_pairs(number: usize) -> io::Result<Vec<Pair>> {
    let mut pairs = Vec::with_capacity(number);
    for _ in 0..number {
        pairs.push(UnixStream::pair()?);
    }
    Ok(pairs)
}

async fn use_pairs(mut pairs: Vec<Pair>) -> io::Result<Vec<Pair>> {
    for (left, right) in &mut pairs {
        left.write_all(&[1]).await?;
        right.read_exact(&mut [0]).await?;
    }
    Ok(pairs)
}

async fn connections(number: usize) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mut pairs = Vec::with_capacity(number);
    for _ in 0..number {
        let near = TcpStream::connect(address).await?;
        pairs.push((near, listener.accept().await?.0));
    }
    for (near, far) in &mut pairs {
        near.write_all(&[1]).await?;
        far.read_exact(&mut [0]).await?;
        far.write_all(&[1]).await?;
        near.read_exact(&mut [0]).await?;
    }
    // Both ends at once leave no port that waits.
    pairs
        .iter()
        .try_for_each(|(near, _)| near.set_linger(Some(Duration::ZERO)))
}

async fn stages(number: usize) -> io::Result<()> {
    let handle = peu::Handle::current();
    let mut records: Pin<Box<dyn stream::Stream<Item = u32> + Send>> =
        Box::pin(stream::iter(0..RECORDS));
    for _ in 0..number {
        let next = async |record: u32| Ok::<u32, Infallible>(record);
        let stage = records.async_map(&handle, "stage", next, AsyncOptions::ordered());
        records = Box::pin(stage.map(|record| record.expect("nothing fails")));
    }
    let count = records.count().await;
    assert_eq!(count, RECORDS as usize);
    Ok(())
}

/// Of the line through the points in logarithms, by least squares.
fn slope(sizes: &[usize], values: &[f64]) -> f64 {
    let points: Vec<(f64, f64)> = sizes
        .iter()
        .zip(values)
        .map(|(&size, value)| ((size as f64).ln(), value.ln()))
        .collect();
    let mean =
        |part: fn(&(f64, f64)) -> f64| points.iter().map(part).sum::<f64>() / points.len() as f64;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let covariance: f64 = points
        .iter()
        .map(|point| (point.0 - x) * (point.1 - y))
        .sum();
    let variance: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    covariance / variance
}

fn growth(sizes: &[usize], values: &[f64]) -> f64 {
    let base = sizes.iter().position(|&size| size >= BASE).unwrap_or(0);
    values[values.len() - 1] / values[base]
}

fn render(row: &Row) -> String {
    let cells =
        |(size, nanoseconds): (&usize, &f64)| vec![size.to_string(), format!("{nanoseconds:.0}")];
    let rows: Vec<_> = row.sizes.iter().zip(&row.nanoseconds).map(cells).collect();
    format!(
        "{:?}: all cost n^{:.2}; one costs {:.2} times as much among the most as among {BASE}\n{}",
        row.thing,
        row.exponent,
        row.growth,
        table(&["n", "CPU ns for one"], &rows, 0)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_the_power() {
        let sizes = [10, 100, 1000];
        assert!(slope(&sizes, &[5.0, 5.0, 5.0]).abs() < 1e-9);
        assert!((slope(&sizes, &[1.0, 10.0, 100.0]) - 1.0).abs() < 1e-9);
        assert!((slope(&sizes, &[4.0, 2.0, 1.0]) + 0.301).abs() < 1e-3);
    }

    #[test]
    fn larger_sizes_are_whole_parts() {
        let apart = Thing::Sources.sizes().iter().filter(|&&size| size > PART);
        assert!(apart.clone().count() > 0);
        apart.for_each(|size| assert_eq!(size % PART, 0, "{size}"));
    }

    #[test]
    fn growth_counts_from_a_thousand() {
        assert_eq!(growth(&[10, 1000, 9000], &[9.0, 2.0, 3.0]), 1.5);
    }
}
