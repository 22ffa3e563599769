//! Tasks that start tasks, on three workers, from within and from outside: each runs once, whoever steals it.
//!
//! twin: idle-no-last-look
//! twin: ring-steal-unverified
//! twin: ring-push-no-room
//! twin: lifo-take-by-load
//! twin: park-leave-by-store

use crate::parts::{World, below, one_in, step_aside};
use peu_scheduler::Handle;
use peu_scheduler::block_on;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

crate::scenario!(grow_trees);

/// Two trees, each of at most 15 tasks, planted by threads that are no workers.
fn grow_trees() {
    let world = World::new(3);
    let ran = Arc::new(AtomicUsize::new(0));
    let (handle, living) = (world.workers.handle(), world.living.clone());
    let other = shuttle::thread::spawn({
        let (handle, ran) = (handle.clone(), ran.clone());
        move || block_on(handle.spawn(grow(handle.clone(), living, ran, 2))).expect("it ends well")
    });
    let tree = grow(handle.clone(), world.living.clone(), ran.clone(), 3);
    let mut started = block_on(handle.spawn(tree)).expect("it ends well");
    started += other.join().expect("it ends well");
    drop(handle);
    world.end();
    assert_eq!(ran.load(Ordering::Relaxed), started, "each once");
}

/// A task that starts up to three others, each with a tree of its own, and says how many tasks there were in all.
fn grow(
    handle: Handle,
    living: crate::parts::Living,
    ran: Arc<AtomicUsize>,
    depth: usize,
) -> Pin<Box<dyn Future<Output = usize> + Send>> {
    Box::pin(async move {
        let _living = living.clone();
        ran.fetch_add(1, Ordering::Relaxed);
        let count = if depth == 0 { 0 } else { below(4) };
        let mut children = Vec::new();
        for _ in 0..count {
            let child = grow(handle.clone(), living.clone(), ran.clone(), depth - 1);
            children.push(handle.spawn(child));
            if one_in(3) {
                step_aside().await;
            }
        }
        let mut started = 1;
        for child in children {
            started += child.await.expect("it ends well");
        }
        started
    })
}
