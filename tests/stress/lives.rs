//! Runtimes that begin and end, and what outlives them: wakers, handles, and tasks that were asked for too late.

use crate::HANGS;
use crate::actions::{nap, step_aside};
use crate::census::Census;
use crate::random::Random;
use crate::tree::grow;
use crate::world::World;
use peu::{Handle, LocalRuntime, Runtime};
use std::sync::Arc;

/// How many handles are kept beyond their runtimes.
const KEPT_HANDLES: usize = 8;

/// A tenth of so many lives, then all of them. After the second time nothing is left that was not there before.
pub(crate) fn live(random: &mut Random, lives: usize) {
    let before = Census::take();
    generations(random, lives / 10);
    let before = before.after_a_little();
    generations(random, lives);
    before.is_restored();
}

/// So many lives, one after the other. The strangers go on to wake tasks of those that have ended.
fn generations(random: &mut Random, lives: usize) {
    let (world, strangers) = World::with_strangers(2, random);
    let mut handles = Vec::new();
    for _ in 0..lives {
        let handle = if random.one_in(4) {
            local_life(random, &world)
        } else {
            life(random, &world)
        };
        world.is_deserted();
        refuses(&handle);
        handles.push(handle);
        if handles.len() > KEPT_HANDLES {
            drop(handles.swap_remove(random.below(KEPT_HANDLES)));
        }
    }
    drop(handles);
    world.close(strangers);
}

/// A runtime that ends in the middle of what it does.
fn life(random: &mut Random, world: &Arc<World>) -> Handle {
    let runtime = Runtime::builder()
        .workers(1 + random.below(4))
        .max_blocking_threads(2)
        .blocking_keep_alive(random.micros(500))
        .build()
        .expect("threads and descriptors enough");
    for _ in 0..random.below(4) {
        drop(runtime.spawn(grow(random.fork(), world.clone(), 2, None)));
    }
    if random.one_in(2) {
        runtime.block_on(step_aside(random));
    } else {
        std::thread::sleep(random.micros(2000));
    }
    let handle = runtime.handle().clone();
    match random.below(4) {
        0 => drop(runtime),
        1 => {
            let report = runtime.shutdown(HANGS);
            assert!(report.is_complete(), "{report}");
        }
        2 => drop(std::thread::spawn(move || drop(runtime)).join()),
        _ => end_from_within(runtime, world),
    }
    handle
}

/// A runtime that is dropped by one of its own tasks, on its own worker.
fn end_from_within(runtime: Runtime, world: &Arc<World>) {
    let (handle, living) = (runtime.handle().clone(), world.enter());
    drop(handle.spawn(async move {
        let _living = living;
        drop(runtime);
    }));
}

/// A runtime on this thread, given some turns and dropped with what is unfinished.
fn local_life(random: &mut Random, world: &Arc<World>) -> Handle {
    let runtime = LocalRuntime::new().expect("descriptors enough");
    for _ in 0..random.below(4) {
        drop(runtime.spawn_local(grow(random.fork(), world.clone(), 2, None)));
        let tree = grow(random.fork(), world.clone(), 1, None);
        drop(runtime.handle().spawn(tree));
    }
    for _ in 0..random.below(20) {
        runtime.turn(1 + random.below(10));
    }
    if random.one_in(3) {
        runtime.block_on(nap(random));
    }
    runtime.handle().clone()
}

/// A task that comes too late is dropped, and says so.
fn refuses(handle: &Handle) {
    let late = handle.spawn(async {});
    let outcome = futures_lite::future::block_on(late);
    assert!(outcome.is_err_and(|error| error.is_cancelled()));
}
