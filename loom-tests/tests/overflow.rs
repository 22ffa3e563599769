//! A worker whose ring is full moves half of it to the injector.
//!
//! Whatever the order in which its tasks end and a thread waits for them: each runs once, and none is left in the ring, in the
//! injector or between them. What a thief does meanwhile is shown with the ring alone, in `loom-tests/tests/ring.rs`: two whole workers
//! would take hours here.
//!
//! twin: ring-overflow-dropped

#![cfg(loom)]

use peu_loom_tests::driver::ModelDriver;
use peu_loom_tests::model;
use peu_scheduler::internals::Workers;
use peu_scheduler::{Handle, block_on};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One more than fit into the ring of a model and the LIFO slot.
const TASKS: usize = 6;

/// Spawns them in one poll, then waits for each.
async fn parent(scheduler: Handle, runs: Arc<[AtomicUsize; TASKS]>) {
    let children: Vec<_> = (0..TASKS)
        .map(|n| {
            let runs = runs.clone();
            scheduler.spawn(async move { runs[n].fetch_add(1, Ordering::Relaxed) })
        })
        .collect();
    for child in children {
        child.await.unwrap();
    }
}

#[test]
fn a_worker_that_overflows() {
    model(|| {
        let workers = Workers::start(1, Arc::new(ModelDriver::new()));
        // Not atomics of loom's, which would only add interleavings.
        let runs = Arc::new([const { AtomicUsize::new(0) }; TASKS]);
        let handle = workers.handle();
        block_on(workers.handle().spawn(parent(handle, runs.clone()))).unwrap();
        let once = runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1);
        assert!(once, "a task has run twice, or not at all");
        loom::stop_exploring();
        workers.shutdown();
    });
}
