//! The shapes of work: who spawns, wakes and waits for whom. Several are those of the benchmarks that tokio's scheduler has
//! been measured with for years, done again with the same channels for all runtimes.

use futures_channel::oneshot;
use futures_lite::future::poll_fn;
use peu_benches::os;
use peu_benches::peers::Peer;
use peu_benches::stats::quantile;
use serde::Serialize;
use smol::channel::{Receiver, Sender, bounded};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

/// What is measured, per operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Shape {
    /// A task spawns one and awaits it, then the next.
    OneByOne,
    /// A task spawns a batch and then awaits all of it.
    Batches,
    /// The thread in `block_on`, which is no worker, spawns one and awaits it: each crosses threads twice.
    Outside,
    /// A task spawns many and waits until the last one has run.
    SpawnManyLocal,
    /// A thread that is no worker does.
    SpawnManyRemote,
    /// Each task spawns the next.
    ChainedSpawn,
    /// Many tasks let others run, again and again.
    YieldMany,
    /// Many pairs of tasks, each of which sends a message there and one back.
    PingPong,
    /// Eight tasks that compute for a millisecond each; the operation is all of them.
    Compute,
    /// Timers far ahead are set, and removed.
    TimersCancelled,
    /// Timers are set, and waited for: a second goes by meanwhile, so only the CPU time tells something.
    TimersFired,
    /// By how much a sleep of 100 µs takes longer: the 99th percentile.
    Overshoot,
}

/// Nanoseconds per operation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
}

/// Tasks in flight at once in [`Shape::Batches`]: more than a worker's ring holds, so overflow is part of the price.
const BATCH: usize = 500;
/// Yields of a task in [`Shape::YieldMany`].
const YIELDS: usize = 1000;
/// Tasks of [`Shape::Compute`], and for how long each computes.
const COMPUTING: usize = 8;
const COMPUTATION: Duration = Duration::from_millis(1);

impl Shape {
    pub(crate) const ALL: [Shape; 12] = [
        Shape::OneByOne,
        Shape::Batches,
        Shape::Outside,
        Shape::SpawnManyLocal,
        Shape::SpawnManyRemote,
        Shape::ChainedSpawn,
        Shape::YieldMany,
        Shape::PingPong,
        Shape::Compute,
        Shape::TimersCancelled,
        Shape::TimersFired,
        Shape::Overshoot,
    ];

    /// Operations of a run: some tens of milliseconds' worth, timers aside.
    fn operations(self) -> usize {
        match self {
            Shape::OneByOne | Shape::Batches => 100_000,
            // A crossing of threads costs so much more than a task that fewer of them give as good a median.
            Shape::Outside => 5_000,
            Shape::SpawnManyLocal | Shape::SpawnManyRemote => 50_000,
            Shape::ChainedSpawn => 50_000,
            Shape::YieldMany => 200 * YIELDS,
            Shape::PingPong => 20_000,
            Shape::Compute => 10,
            Shape::TimersCancelled | Shape::TimersFired => 1_000_000,
            Shape::Overshoot => 500,
        }
    }

    /// How many times longer than others a round is, for there to be fewer of them.
    pub(crate) fn weight(self) -> usize {
        match self {
            Shape::TimersCancelled | Shape::TimersFired => 3,
            _ => 1,
        }
    }
}

/// Runs the shape on a new runtime; first a tenth of it, which warms up threads, allocator and caches and is not counted.
pub(crate) fn cost<P: Peer>(shape: Shape, workers: usize) -> io::Result<Cost> {
    let peer = P::start(workers)?;
    let operations = shape.operations();
    run(&peer, shape, operations.div_ceil(10));
    let pid = std::process::id();
    let (cpu, begin) = (os::cpu_time(pid)?, Instant::now());
    let own = run(&peer, shape, operations);
    let per_operation = |time: Duration| time.as_secs_f64() * 1e9 / operations as f64;
    Ok(Cost {
        wall: own.unwrap_or(per_operation(begin.elapsed())),
        cpu: per_operation(os::cpu_time(pid)? - cpu),
    })
}

/// Returns nanoseconds where they are not those of the wall clock over all of it.
fn run<P: Peer>(peer: &P, shape: Shape, operations: usize) -> Option<f64> {
    match shape {
        Shape::OneByOne => on_worker(peer, one_by_one::<P>(operations)),
        Shape::Batches => on_worker(peer, batches::<P>(operations)),
        Shape::Outside => peer.block_on(one_by_one::<P>(operations)),
        Shape::SpawnManyLocal => on_worker(peer, spawn_many::<P>(operations)),
        Shape::SpawnManyRemote => peer.block_on(spawn_many::<P>(operations)),
        Shape::ChainedSpawn => on_worker(peer, chained_spawn::<P>(operations)),
        Shape::YieldMany => on_worker(peer, yield_many::<P>(operations)),
        Shape::PingPong => on_worker(peer, ping_pong::<P>(operations)),
        Shape::Compute => on_worker(peer, compute::<P>(operations)),
        Shape::TimersCancelled => on_worker(peer, timers_cancelled::<P>(operations)),
        Shape::TimersFired => on_worker(peer, timers_fired::<P>(operations)),
        Shape::Overshoot => return Some(overshoot(peer, operations)),
    }
    None
}

fn on_worker<P: Peer>(peer: &P, task: impl Future<Output = ()> + Send + 'static) {
    peer.block_on(async {
        P::spawn(task).await;
    });
}

async fn one_by_one<P: Peer>(tasks: usize) {
    for _ in 0..tasks {
        P::spawn(async {}).await;
    }
}

async fn batches<P: Peer>(tasks: usize) {
    let mut left = tasks;
    while left > 0 {
        let batch = left.min(BATCH);
        let handles: Vec<_> = (0..batch).map(|_| P::spawn(async {})).collect();
        for handle in handles {
            handle.await;
        }
        left -= batch;
    }
}

/// Tells the receiver when the last of so many is done.
#[derive(Clone)]
struct Countdown {
    left: Arc<AtomicUsize>,
    done: Sender<()>,
}

impl Countdown {
    fn new(number: usize) -> (Countdown, Receiver<()>) {
        let (done, receiver) = bounded(1);
        let left = Arc::new(AtomicUsize::new(number));
        (Countdown { left, done }, receiver)
    }

    fn one_done(&self) {
        // ORDERING: Relaxed: nothing but the count itself is told by it; the message goes through the channel.
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.done.try_send(()).expect("room for the one message");
        }
    }
}

async fn spawn_many<P: Peer>(tasks: usize) {
    let (countdown, done) = Countdown::new(tasks);
    for _ in 0..tasks {
        let countdown = countdown.clone();
        P::detach(async move { countdown.one_done() });
    }
    done.recv().await.expect("the last one sends");
}

async fn chained_spawn<P: Peer>(tasks: usize) {
    fn link<P: Peer>(left: usize, done: Sender<()>) {
        P::detach(async move {
            match left {
                0 => done.try_send(()).expect("room for the one message"),
                left => link::<P>(left - 1, done),
            }
        });
    }
    let (sender, done) = bounded(1);
    link::<P>(tasks, sender);
    done.recv().await.expect("the last one sends");
}

async fn yield_many<P: Peer>(yields: usize) {
    let tasks = yields.div_ceil(YIELDS);
    let (countdown, done) = Countdown::new(tasks);
    for _ in 0..tasks {
        let countdown = countdown.clone();
        P::detach(async move {
            for _ in 0..YIELDS {
                P::yield_now().await;
            }
            countdown.one_done();
        });
    }
    done.recv().await.expect("the last one sends");
}

async fn ping_pong<P: Peer>(pairs: usize) {
    // As many pairs at once as a busy server has requests.
    let mut left = pairs;
    while left > 0 {
        let batch = left.min(1000);
        let (countdown, done) = Countdown::new(batch);
        for _ in 0..batch {
            let countdown = countdown.clone();
            P::detach(async move {
                let ((ping, pinged), (pong, ponged)) = (oneshot::channel(), oneshot::channel());
                P::detach(async move {
                    pinged.await.expect("a ping");
                    pong.send(()).expect("a receiver");
                });
                ping.send(()).expect("a receiver");
                ponged.await.expect("a pong");
                countdown.one_done();
            });
        }
        done.recv().await.expect("the last one sends");
        left -= batch;
    }
}

async fn compute<P: Peer>(times: usize) {
    for _ in 0..times {
        let compute = |_| {
            P::spawn(async {
                let end = Instant::now() + COMPUTATION;
                while Instant::now() < end {
                    std::hint::spin_loop();
                }
            })
        };
        let handles: Vec<_> = (0..COMPUTING).map(compute).collect();
        for handle in handles {
            handle.await;
        }
    }
}

/// Timers that have been polled once, which sets them. One that is due already is left out.
async fn timers<P: Peer>(
    times: impl Iterator<Item = Duration>,
) -> Vec<Pin<Box<impl Future + Send + 'static>>> {
    let mut timers: Vec<_> = times.map(|time| Box::pin(P::sleep(time))).collect();
    poll_fn(|context| {
        timers.retain_mut(|timer| timer.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    timers
}

async fn timers_cancelled<P: Peer>(number: usize) {
    let far = |place: usize| Duration::from_secs(60 + place as u64 % 60);
    drop(timers::<P>((0..number).map(far)).await);
}

async fn timers_fired<P: Peer>(number: usize) {
    // Late enough that none is due before all are set.
    let soon = |place: usize| Duration::from_millis(1000 + place as u64 % 64);
    for timer in timers::<P>((0..number).map(soon)).await {
        timer.await;
    }
}

fn overshoot<P: Peer>(peer: &P, sleeps: usize) -> f64 {
    const SLEEP: Duration = Duration::from_micros(100);
    let (sender, receiver) = bounded(1);
    on_worker(peer, async move {
        let mut late = Vec::with_capacity(sleeps);
        for _ in 0..sleeps {
            let begin = Instant::now();
            P::sleep(SLEEP).await;
            late.push((begin.elapsed() - SLEEP).as_secs_f64() * 1e9);
        }
        sender.try_send(quantile(&late, 0.99)).expect("room");
    });
    receiver.try_recv().expect("it was sent")
}
