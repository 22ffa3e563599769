//! What is counted: one deed, done many times on a runtime's worker.

use crate::counting::{allocations, bytes};
use futures_lite::future::{poll_fn, poll_once};
use peu_benches::peers::Peer;
use peu_benches::step;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::io::{self, BufRead as _, Write as _};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Deed {
    /// Spawns an empty task and waits for it.
    Spawn,
    /// Lets other tasks run; there are none.
    Yield,
    /// Wakes another task and waits to be woken by it.
    PingPong,
    /// A timer that is set and removed, as a timeout that is not reached.
    Timeout,
    /// Registers a socket, waits for a byte that is there, and closes it.
    Socket,
}

impl Deed {
    pub(crate) const ALL: [Deed; 5] = [
        Deed::Spawn,
        Deed::Yield,
        Deed::PingPong,
        Deed::Timeout,
        Deed::Socket,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Deed::Spawn => "spawn + join",
            Deed::Yield => "yield",
            Deed::PingPong => "ping-pong of two tasks",
            Deed::Timeout => "timeout that is not reached",
            Deed::Socket => "socket: made, read once, closed",
        }
    }
}

/// Of something that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Thing {
    /// A task whose future has 8 bytes.
    Task,
    /// A timer, with the future that waits for it.
    Timer,
    /// A task that waits for a byte on a socket of its own.
    Connection,
}

impl Thing {
    pub(crate) const ALL: [Thing; 3] = [Thing::Task, Thing::Timer, Thing::Connection];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Thing::Task => "idle task with a future of 8 bytes",
            Thing::Timer => "sleeping timer, its future included",
            Thing::Connection => "idle connection, its task included",
        }
    }
}

/// Deeds that are counted, and as many before them. Few enough to step through, and a power of two, so that lists that double
/// don't grow meanwhile.
pub(crate) const TIMES: usize = 64;

/// What the process itself counts.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) allocations: usize,
    pub(crate) bytes: usize,
}

/// The child's side of a count: does the deed on a worker, and prints what it allocated. If it is to be stepped through, it tells
/// its thread and waits for a line before it begins.
pub(crate) fn perform<P: Peer>(deed: Deed, stepped: bool) {
    P::run(async move {
        let mut scene = Scene::new::<P>(deed);
        scene.repeat::<P>(deed).await;
        if stepped {
            meet_tracer();
        }
        step::mark();
        let before = allocations();
        scene.repeat::<P>(deed).await;
        let allocations = allocations() - before;
        step::mark();
        tell(&Memory {
            allocations,
            bytes: 0,
        });
    });
}

/// The child's side: so many things that wait, and prints what each holds.
pub(crate) fn keep<P: Peer>(thing: Thing) {
    P::run(async move {
        let bytes = match thing {
            Thing::Task => hold::<P, _>(|_| P::spawn(Idle(1))).await,
            Thing::Timer => hold::<P, _>(|_| begun(P::sleep(Duration::from_secs(3_600)))).await,
            Thing::Connection => hold::<P, _>(|here| P::spawn(P::receive(here))).await,
        };
        tell(&Memory {
            allocations: 0,
            bytes,
        });
    });
}

async fn hold<P: Peer, T>(mut make: impl FnMut(UnixStream) -> T) -> usize {
    const MANY: usize = 1_024;
    let mut kept = Vec::with_capacity(MANY);
    let mut others = Vec::with_capacity(MANY);
    let before = bytes();
    for _ in 0..MANY {
        let (here, there) = UnixStream::pair().expect("two sockets");
        others.push(there);
        kept.push(make(here));
        P::yield_now().await;
    }
    bytes().wrapping_sub(before) / MANY
}

/// A future in a place of its own, polled once.
fn begun<F: Future>(future: F) -> Pin<Box<F>> {
    let mut future = Box::pin(future);
    let polled = future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    future
}

/// A future of 8 bytes that never ends.
struct Idle(#[expect(dead_code, reason = "its size")] u64);

impl Future for Idle {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// What a deed needs beside the runtime.
struct Scene {
    baton: Arc<Baton>,
}

impl Scene {
    fn new<P: Peer>(deed: Deed) -> Scene {
        let baton = Arc::new(Baton::default());
        if deed == Deed::PingPong {
            let there = baton.clone();
            let partner = P::spawn(async move {
                loop {
                    there.wait_for(1).await;
                    there.pass_to(0);
                }
            });
            // It is kept: for one of the peers, to drop it is to end the task.
            std::mem::forget(partner);
        }
        Scene { baton }
    }

    async fn repeat<P: Peer>(&mut self, deed: Deed) {
        for _ in 0..TIMES {
            match deed {
                Deed::Spawn => drop(P::spawn(async {}).await),
                Deed::Yield => drop(P::yield_now().await),
                Deed::PingPong => {
                    self.baton.pass_to(1);
                    self.baton.wait_for(0).await;
                }
                Deed::Timeout => time_out::<P>().await,
                Deed::Socket => {
                    let (here, mut there) = UnixStream::pair().expect("two sockets");
                    there.write_all(&[1]).expect("room for a byte");
                    P::receive(here).await;
                }
            }
        }
    }
}

/// A timer that is polled once, as beside a request that is answered at once, and dropped.
async fn time_out<P: Peer>() {
    let mut timer = pin!(P::sleep(Duration::from_secs(1)));
    assert!(poll_once(&mut timer).await.is_none());
}

/// Whose turn it is, and who waits for his. Only this worker has it.
#[derive(Default)]
struct Baton {
    turn: AtomicUsize,
    waiting: Mutex<Option<Waker>>,
}

impl Baton {
    fn pass_to(&self, whom: usize) {
        self.turn.store(whom, Ordering::Relaxed);
        let waiting = self.waiting.lock().expect("nobody panics").take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    async fn wait_for(&self, me: usize) {
        poll_fn(|context| {
            if self.turn.load(Ordering::Relaxed) == me {
                return Poll::Ready(());
            }
            *self.waiting.lock().expect("nobody panics") = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Tells the parent which thread it is to hold, and waits until it does.
fn meet_tracer() {
    println!("{}", step::this_thread());
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    assert_ne!(read.expect("a line"), 0, "the parent is gone");
}

fn tell(memory: &Memory) {
    let line = serde_json::to_string(memory).expect("numbers");
    println!("{line}");
    // Without waiting for the peer's threads.
    std::process::exit(0);
}
