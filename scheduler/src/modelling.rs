//! Parts of the scheduler put together for models, which have few threads and can't wait for a system's.

#![allow(unreachable_pub, reason = "the models of loom-tests drive this module")]

use crate::blocking::{Blocking, BlockingPool, Settings};
use crate::driver::Driver;
use crate::handle::Handle;
use crate::ring::{Owner, ring};
use crate::shared::Shared;
use crate::sync::{Arc, thread};
use crate::task::Header;
use crate::worker::Worker;
use std::time::Duration;

/// A scheduler without its builder: real workers, on the explorer's threads.
pub struct Workers {
    shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Workers {
    /// So many workers, not started.
    pub fn new(count: usize, driver: std::sync::Arc<dyn Driver>) -> (Workers, Vec<Start>) {
        let (owners, thieves): (Vec<Owner<Header>>, Vec<_>) = (0..count).map(|_| ring()).unzip();
        let shared = Arc::new(Shared::new(
            driver,
            thieves,
            blocking_pool(1, Duration::ZERO).0,
        ));
        let start = |(index, owner)| Start {
            index,
            owner,
            shared: shared.clone(),
        };
        let starts = owners.into_iter().enumerate().map(start).collect();
        let threads = Vec::new();
        (Workers { shared, threads }, starts)
    }

    /// So many workers, running.
    pub fn start(count: usize, driver: std::sync::Arc<dyn Driver>) -> Workers {
        let (mut workers, starts) = Workers::new(count, driver);
        let run = |start: Start| thread::spawn(move || start.worker().run());
        workers.threads = starts.into_iter().map(run).collect();
        workers
    }

    /// The way in.
    pub fn handle(&self) -> Handle {
        Handle::stealing(self.shared.clone())
    }

    /// Tasks that are not complete.
    pub fn alive(&self) -> usize {
        self.shared.owned.len()
    }

    /// What `Scheduler::shutdown` does.
    pub fn shutdown(self) {
        self.shared.close();
        for thread in self.threads {
            thread.join().expect("a worker panicked");
        }
        assert_eq!(self.shared.blocking.close(None), 0);
        self.shared.drain_injector();
    }
}

/// A pool for blocking closures, of so many threads at most, each kept for so long.
pub fn blocking_pool(max_threads: usize, keep_alive: Duration) -> BlockingPool {
    BlockingPool(Blocking::new(Settings {
        max_threads,
        keep_alive,
        name: String::new(),
    }))
}

/// Ends the pool as a scheduler does.
pub fn close_blocking_pool(pool: &BlockingPool) {
    assert_eq!(pool.0.close(None), 0);
}

/// A worker that is to be started.
pub struct Start {
    index: usize,
    owner: Owner<Header>,
    shared: Arc<Shared>,
}

impl Start {
    fn worker(self) -> Worker {
        Worker::new(self.index, self.shared, self.owner)
    }
}
