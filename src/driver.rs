//! Where the two halves meet: the reactor as the scheduler's driver, and the scheduler's pool as the reactor's threads.
//!
//! This is the only file that names both sides' traits. Each side stays ignorant of the other.

use peu_reactor::file::Tiers;
use peu_reactor::{Nap, Offload, Reactor};
use peu_scheduler::{Alarm, BlockingPool, Driver, Polled, Turns};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A reactor whose look-ups block on the threads of `pool`, and whose operations ask for the task's budget.
pub(crate) fn reactor(pool: &BlockingPool, tiers: Tiers) -> io::Result<Reactor> {
    Reactor::builder()
        .offload(Arc::new(Threads(pool.clone())))
        .budget(peu_scheduler::budget::spend)
        .file_tiers(tiers)
        .build()
}

/// The reactor, as a scheduler sees it.
pub(crate) struct ReactorDriver(pub(crate) Reactor);

impl Driver for ReactorDriver {
    fn turns(&self) -> Box<dyn Turns> {
        Box::new(ReactorTurns(self.0.turns()))
    }

    fn unpark(&self) {
        self.0.unpark();
    }

    fn flush(&self) {
        self.0.flush();
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    /// `None` also when no descriptor is left for it: the runtime works without.
    fn alarm(&self) -> Option<Box<dyn Alarm>> {
        Some(Box::new(WatchNap(Nap::new().ok()?)))
    }
}

struct WatchNap(Nap);

impl Alarm for WatchNap {
    fn set(&self, after: Duration) {
        self.0.end_after(after);
    }

    fn wait(&self) {
        self.0.sleep();
    }
}

struct ReactorTurns(peu_reactor::Turns);

impl Turns for ReactorTurns {
    fn poll(&mut self, timeout: Option<Duration>, may_sleep: &dyn Fn() -> bool) -> Polled {
        polled(self.0.poll_if(timeout, may_sleep))
    }

    fn glance(&mut self) -> Polled {
        polled(self.0.glance())
    }

    fn update(&mut self) {
        self.0.update();
    }
}

fn polled(result: io::Result<peu_reactor::Polled>) -> Polled {
    match result {
        Ok(peu_reactor::Polled::Claimed) => Polled::Claimed,
        Ok(peu_reactor::Polled::Ready(n)) => Polled::Ready(n),
        // The reactor's own descriptor was closed behind its back: there is no loop to go on with, and no caller to tell.
        Err(error) => panic!("the reactor cannot ask the operating system for events: {error}"),
    }
}

struct Threads(BlockingPool);

impl Offload for Threads {
    fn offload(&self, job: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        if self.0.is_closed() {
            return Err(gone());
        }
        drop(self.0.spawn(job));
        Ok(())
    }

    fn offload_mandatory(&self, job: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        let is_taken = self.0.spawn_mandatory(job);
        is_taken.then_some(()).ok_or_else(gone)
    }
}

fn gone() -> io::Error {
    io::Error::other("the runtime is gone, and with it its threads for blocking work")
}
