//! A worker: one thread with its ring, and where it puts the tasks that wake while it runs.

use crate::context;
use crate::driver::Turns;
use crate::meter::Meter;
use crate::metrics::Stats;
use crate::ring::{CAPACITY, Owner};
use crate::shared::{Remote, Shared};
use crate::sync::{Arc, twin};
use crate::task::{Header, Runnable, Stock};
use crate::turn::DRIVER_INTERVAL;
use crate::watch::Watch;
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

/// What one worker owns. It lives on its thread's stack; the part that others may touch is [`Remote`].
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) ring: Owner<Header>,
    pub(crate) turns: RefCell<Box<dyn Turns>>,
    pub(crate) watch: RefCell<Watch>,
    pub(crate) meter: RefCell<Meter>,
    /// How many tasks in a row came out of the LIFO slot.
    pub(crate) lifo_streak: Cell<u32>,
    /// Memory for what comes out of the injector, between two visits there.
    pub(crate) batch: Cell<Vec<Runnable>>,
    /// Cells for the tasks that are spawned here.
    pub(crate) stock: Stock<Shared>,
    /// Polls since the start, for what is due every so many of them.
    pub(crate) polls: Cell<u32>,
    /// Polls until the next look at the driver.
    pub(crate) until_glance: Cell<u32>,
    /// Tasks that the current poll has spawned here.
    pub(crate) fresh: Cell<usize>,
    /// The driver's wakers are being called: what they wake goes behind each other, in the order of the events.
    pub(crate) delivering: Cell<bool>,
    /// Risen from sleep and has not found a task since.
    pub(crate) risen: Cell<bool>,
    /// Counted as searching by the idle protocol.
    pub(crate) searching: Cell<bool>,
}

impl Worker {
    pub(crate) fn new(index: usize, shared: Arc<Shared>, ring: Owner<Header>) -> Self {
        let now = shared.driver.now();
        Worker {
            index,
            ring,
            turns: RefCell::new(shared.driver.turns()),
            watch: RefCell::new(Watch::new(shared.workers.len())),
            meter: RefCell::new(Meter::new(now)),
            lifo_streak: Cell::new(0),
            batch: Cell::default(),
            stock: Stock::new(),
            polls: Cell::new(0),
            until_glance: Cell::new(DRIVER_INTERVAL),
            fresh: Cell::new(0),
            delivering: Cell::new(false),
            risen: Cell::new(false),
            searching: Cell::new(false),
            shared,
        }
    }

    /// The worker's life: turns until the scheduler closes.
    pub(crate) fn run(self) {
        self.here().parker.bind();
        context::enter_worker(&self, || {
            let _end = End(&self);
            while !self.shared.is_closing() {
                self.turn();
            }
        });
    }

    /// This worker's part that others may touch.
    pub(crate) fn here(&self) -> &Remote {
        &self.shared.workers[self.index]
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.here().stats
    }

    /// A task was woken or spawned on this worker: it runs next, and the one that was to run next goes behind the others.
    pub(crate) fn push(&self, task: Runnable) {
        if self.delivering.get() {
            return self.push_behind(task);
        }
        if let Some(displaced) = self.here().lifo.replace(task.into_raw()) {
            self.push_ring(displaced);
            self.offer_help(0);
        }
    }

    /// A task was spawned on this worker. Who spawns several in one poll means them to run side by side.
    pub(crate) fn push_fresh(&self, task: Runnable) {
        self.fresh.set(self.fresh.get() + 1);
        self.push(task);
    }

    /// A task goes behind the others.
    pub(crate) fn push_behind(&self, task: Runnable) {
        self.push_ring(task.into_raw());
    }

    /// How many tasks wait on this worker.
    pub(crate) fn queued(&self) -> usize {
        self.ring.len() + usize::from(!self.here().lifo.is_empty())
    }

    /// Wakes a sleeper if what is queued here, and so many tasks in the injector, are worth it. Looks at what others
    /// write only when the answer would be yes.
    pub(crate) fn offer_help(&self, injected: usize) {
        let (queued, fresh) = (self.queued(), self.fresh.get() + injected);
        let is_worth = queued + fresh > 0 && self.meter.borrow().is_worth_help(queued, fresh);
        if is_worth && self.shared.idle.could_help() {
            self.wake_one();
        }
    }

    pub(crate) fn wake_one(&self) {
        if self.shared.wake_one() {
            self.stats().wakes.add(1);
        }
    }

    /// Makes a pointer from ring or slot the task again that it was.
    pub(crate) fn task(raw: NonNull<Header>) -> Runnable {
        // SAFETY: ring and slot hold what `Runnable::into_raw` gave, and hand out each pointer once (see their
        // protocols).
        unsafe { Runnable::from_raw(raw) }
    }

    fn push_ring(&self, task: NonNull<Header>) {
        if let Err(task) = self.ring.push(task) {
            self.overflow(task);
        }
    }

    /// The ring is full: its older half goes to the injector, where everybody finds it, and the task behind it, so
    /// that the order is kept.
    #[cold]
    fn overflow(&self, task: NonNull<Header>) {
        let mut half = Vec::with_capacity(CAPACITY / 2 + 1);
        self.ring.pop_half(&mut half);
        if !twin("ring-overflow-dropped") {
            half.push(task);
        }
        self.shared.inject_all(half.into_iter().map(Self::task));
    }
}

/// The end of a worker: what is queued here is dropped, which cancels it. If it ends by a panic, which can only be
/// the driver's, as tasks and hooks are contained, then the scheduler has lost its events, and ends as a whole:
/// better that every handle says "cancelled" than that they wait for a worker that is gone.
struct End<'a>(&'a Worker);

impl Drop for End<'_> {
    fn drop(&mut self) {
        if twin("shutdown-worker-undrained") {
            return;
        }
        let worker = self.0;
        while let Some(task) = worker.here().lifo.take().or_else(|| worker.ring.pop()) {
            drop(Worker::task(task));
        }
        if std::thread::panicking() {
            worker.shared.close();
            worker.shared.drain_injector();
        }
    }
}
