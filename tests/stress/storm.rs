//! Many trees on one runtime of eight workers, with a local runtime beside it, round after round.

use crate::HANGS;
use crate::actions::{calm, nap, step_aside};
use crate::census::{Census, until};
use crate::random::Random;
use crate::tree::grow;
use crate::world::World;
use peu::task::spawn_local;
use peu::time::timeout;
use peu::{Handle, LocalRuntime, Runtime};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Four times as many as the cores of a small machine.
const WORKERS: usize = 8;

/// Trees per round: some hundred tasks, few enough for the usual limit of 1,024 descriptors.
const TREES: usize = 8;

/// Generations of a tree.
const DEPTH: usize = 3;

/// Rounds for a tenth of `length`, then for all of it. After each round nothing is left of it, and after the second storm
/// nothing that was not there before.
pub(crate) fn rage(random: &mut Random, length: Duration) {
    let before = Census::take();
    storm(random, length / 10);
    let before = before.after_a_little();
    storm(random, length);
    before.is_restored();
}

fn storm(random: &mut Random, length: Duration) {
    let (world, strangers) = World::with_strangers(2, random);
    let beside = Beside::start(world.clone(), random.fork());
    let runtime = Runtime::builder()
        .workers(WORKERS)
        .max_blocking_threads(4)
        .blocking_keep_alive(Duration::from_millis(1))
        .build()
        .expect("threads and descriptors enough");
    let (begin, mut rounds) = (Instant::now(), 0);
    while begin.elapsed() < length {
        round(&runtime, &beside.handle, &world, random);
        rounds += 1;
    }
    println!("{rounds} rounds, {:?}", runtime.metrics());
    drop(runtime);
    beside.end();
    world.close(strangers);
}

fn round(runtime: &Runtime, beside: &Handle, world: &Arc<World>, random: &mut Random) {
    let trees: Vec<_> = (0..TREES)
        .map(|_| {
            let tree = grow(random.fork(), world.clone(), DEPTH, Some(beside.clone()));
            runtime.spawn(tree)
        })
        .collect();
    runtime.block_on(async {
        for tree in trees {
            let ended = timeout(HANGS, tree).await;
            ended.expect("a tree hangs").expect("nobody aborts a tree");
        }
    });
    world.is_deserted();
    is_quiet(runtime.handle());
}

/// Waits until a runtime has no source, no timer and no operation any more.
fn is_quiet(handle: &Handle) {
    let reactor = handle.reactor();
    until(
        || {
            let metrics = reactor.metrics();
            metrics.registrations == metrics.deregistrations
                && metrics.operations_submitted == metrics.operations_completed
                && reactor.next_deadline().is_none()
        },
        || format!("{:?}, {:?}", reactor.metrics(), reactor.next_deadline()),
    );
}

/// A local runtime on a thread of its own. It serves tasks that others give it, and some that are not `Send`.
struct Beside {
    handle: Handle,
    ending: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Beside {
    fn start(world: Arc<World>, mut random: Random) -> Beside {
        let (tell, told) = mpsc::channel();
        let ending = Arc::new(AtomicBool::new(false));
        let asked = ending.clone();
        let thread = std::thread::spawn(move || {
            let runtime = LocalRuntime::new().expect("descriptors enough");
            let handle = runtime.handle().clone();
            tell.send(handle.clone()).expect("who started it waits");
            while !asked.load(Ordering::Acquire) {
                runtime.block_on(local_round(&mut random, &world));
            }
            is_quiet(&handle);
        });
        let handle = told.recv().expect("it starts");
        Beside {
            handle,
            ending,
            thread,
        }
    }

    fn end(self) {
        self.ending.store(true, Ordering::Release);
        self.thread.join().expect("the local runtime is well");
    }
}

async fn local_round(random: &mut Random, world: &Arc<World>) {
    let count = Rc::new(Cell::new(0));
    let tasks: Vec<_> = (0..random.below(5))
        .map(|_| {
            let (count, world, mut random) = (count.clone(), world.clone(), random.fork());
            spawn_local(async move {
                let _living = world.enter();
                step_aside(&mut random).await;
                world.wait_for_stranger().await;
                nap(&mut random).await;
                count.set(count.get() + 1);
            })
        })
        .collect();
    let mut finished = 0;
    for task in tasks {
        if random.one_in(3) {
            task.abort();
        }
        finished += usize::from(calm(task.await).is_some());
    }
    assert!(
        finished <= count.get(),
        "an abort may come too late, never too early"
    );
    nap(random).await;
}
