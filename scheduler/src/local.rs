//! The single-threaded scheduler: tasks that need not be `Send`, driven by `block_on` or, turn by turn, by a host.
//!
//! # Protocol
//!
//! The thread has a queue of its own, which only code that runs inside the scheduler touches. Every other wake goes
//! to the injector: from foreign threads, and from the own thread between two turns. Whoever pushes there then rings
//! the driver's bell if the thread may not be looking (`asleep`), once per sleep.
//!
//! The thread: set `asleep`; `fence(SeqCst)`; look at the injector; sleep in the driver only if it is empty. The
//! pusher: push; `fence(SeqCst)`; if `asleep`, ring. Of the two fences one comes first: either the thread finds the
//! task, or the pusher finds it asleep. Between two turns of a host `asleep` stays set, so that a wake makes the
//! driver's descriptor readable, and the host knows to take a turn.

use crate::block_on::refuse_inside;
use crate::blocking::{Blocking, BlockingPool};
use crate::budget;
use crate::driver::{Driver, Polled, Turns};
use crate::handle::Handle;
use crate::injector::Injector;
use crate::main_waker::MainWaker;
use crate::metrics::Stats;
use crate::scheduler::Shutdown;
use crate::sync::thread::{self, ThreadId};
use crate::sync::{Arc, AtomicBool, Ordering, fence, thread_local, twin};
use crate::task::{self, JoinHandle, Owned, Runnable, Schedule, Stock};
use crate::turn::DRIVER_INTERVAL;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::pin;
use std::ptr;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How long the thread waits for a turn that another thread has claimed. That happens only when a host lends the
/// driver to others; their claim lasts as long as their sleep, so this is polling, at a rate that costs little.
const CLAIMED_RETRY: Duration = Duration::from_millis(1);

/// What wakers and handles of a local scheduler share with it.
pub(crate) struct LocalShared {
    driver: std::sync::Arc<dyn Driver>,
    thread: ThreadId,
    injector: Injector<Runnable>,
    owned: Owned,
    pub(crate) blocking: Arc<Blocking>,
    pub(crate) stats: Stats,
    /// The thread may not be looking at the injector: ring when you push.
    asleep: AtomicBool,
    closing: AtomicBool,
}

/// A scheduler on one thread. It is not `Send`: the thread that makes it runs it and drops it.
///
/// # Example
///
/// ```
/// # use peu_scheduler::{Driver, Polled, Turns};
/// # use std::{sync::Arc, time::{Duration, Instant}};
/// # struct Silent;
/// # impl Driver for Silent {
/// #     fn turns(&self) -> Box<dyn Turns> { Box::new(Silent) }
/// #     fn unpark(&self) {}
/// #     fn now(&self) -> Instant { Instant::now() }
/// # }
/// # impl Turns for Silent {
/// #     fn poll(&mut self, _: Option<Duration>, _: &dyn Fn() -> bool) -> Polled { Polled::Ready(0) }
/// #     fn update(&mut self) {}
/// # }
/// use peu_scheduler::{Builder, LocalScheduler, spawn_local};
/// use std::rc::Rc;
///
/// let local = LocalScheduler::new(Arc::new(Silent), Builder::new().blocking_pool().unwrap());
/// let shared = Rc::new(20);
/// let sum = local.block_on(async {
///     let other = shared.clone(); // not Send
///     let task = spawn_local(async move { *other + 2 });
///     *shared + task.await.unwrap()
/// });
/// assert_eq!(sum, 42);
/// ```
pub struct LocalScheduler {
    shared: Arc<LocalShared>,
    queue: RefCell<VecDeque<Runnable>>,
    turns: RefCell<Box<dyn Turns>>,
    /// For the tasks that are spawned inside.
    stock: Stock<LocalShared>,
    running: Cell<bool>,
    ended: bool,
    not_send: PhantomData<*const ()>,
}

/// What a [`LocalScheduler::turn`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTurn {
    /// Polls of tasks made.
    pub polls: usize,
    /// Tasks are still queued: take another turn before sleeping.
    pub more: bool,
}

impl LocalScheduler {
    /// A scheduler on this thread. Dropping it cancels its tasks, closes the pool, and waits, without a limit, for
    /// blocking closures that are running: see [`shutdown`](LocalScheduler::shutdown) for one with a limit.
    pub fn new(driver: std::sync::Arc<dyn Driver>, pool: BlockingPool) -> Self {
        let turns = driver.turns();
        let shared = LocalShared {
            driver,
            thread: thread::current().id(),
            injector: Injector::new(),
            owned: Owned::for_one_thread(),
            blocking: pool.0,
            stats: Stats::default(),
            asleep: AtomicBool::new(true),
            closing: AtomicBool::new(false),
        };
        LocalScheduler {
            shared: Arc::new(shared),
            queue: RefCell::default(),
            turns: RefCell::new(turns),
            stock: Stock::new(),
            running: Cell::new(false),
            ended: false,
            not_send: PhantomData,
        }
    }

    /// The way in, for any thread. What is spawned through it must be `Send`, and runs here.
    pub fn handle(&self) -> Handle {
        Handle::local(self.shared.clone())
    }

    /// Starts a task on this thread. It runs during `block_on` and `turn`.
    pub fn spawn_local<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        // SAFETY: `self` is not Send, so this is its thread, the only one on which its tasks are run (`run_tasks` needs
        // `self`) and on which `may_drop_here` is true.
        let (task, handle) = unsafe { task::spawn_local(future, &self.shared) };
        self.shared.schedule(task);
        handle
    }

    /// Runs `future` on this thread, and the tasks beside it, until it is done. Tasks that are not done by then stay,
    /// and go on in the next call.
    ///
    /// # Panics
    ///
    /// When this thread is inside this or another local scheduler already, or is a worker; and when the future panics.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        if !self.running.get() {
            refuse_inside("LocalRuntime::block_on");
        }
        let _inside = self.enter("block_on");
        let mut future = pin!(future);
        let main = std::sync::Arc::new(MainWaker::new(self.shared.clone()));
        let waker = Waker::from(main.clone());
        let mut cx = Context::from_waker(&waker);
        let (mut polls, most) = (0, DRIVER_INTERVAL as usize);
        loop {
            if main.take()
                && let Poll::Ready(output) = budget::with_budget(|| future.as_mut().poll(&mut cx))
            {
                return output;
            }
            // One round of the queue as it is now, so that `future` has its turn among the tasks.
            let round = self.queue.borrow().len().clamp(1, most);
            polls += 1 + self.run_tasks(round);
            if polls >= most {
                polls = 0;
                let polled = self.turns.borrow_mut().glance();
                self.deliver(polled);
            } else {
                self.sleep_unless(|| main.is_woken());
            }
        }
    }

    /// One turn, for a host with a loop of its own: delivers the driver's events without waiting, then polls tasks,
    /// `budget` of them at most. Between turns the host waits for the driver's descriptor, or its next deadline, by
    /// its own means.
    ///
    /// # Panics
    ///
    /// When this thread is inside the scheduler already.
    pub fn turn(&self, budget: usize) -> LocalTurn {
        let _inside = self.enter("turn");
        self.take_events();
        let polls = self.run_tasks(budget);
        let more = !self.queue.borrow().is_empty() || !self.shared.injector.is_empty();
        LocalTurn { polls, more }
    }

    /// Runs up to `limit` queued tasks; says how many.
    fn run_tasks(&self, limit: usize) -> usize {
        for ran in 0..limit {
            let Some(task) = self.next() else { return ran };
            budget::with_budget(|| task.run());
            self.shared.stats.polls.add(1);
        }
        limit
    }

    /// What came from outside is moved behind what is queued: as much as is there now, so that neither starves the other.
    fn next(&self) -> Option<Runnable> {
        let mut queue = self.queue.borrow_mut();
        self.shared.injector.pop_share(|all| all, &mut *queue);
        queue.pop_front()
    }

    /// A turn of the driver that does not wait.
    fn take_events(&self) {
        let polled = self
            .turns
            .borrow_mut()
            .poll(Some(Duration::ZERO), &|| false);
        self.deliver(polled);
    }

    fn sleep_unless(&self, has_work: impl Fn() -> bool) {
        let asleep = Asleep::new(&self.shared);
        let injected = !twin("local-no-last-look") && !self.shared.injector.is_empty();
        if injected || has_work() || !self.queue.borrow().is_empty() {
            return;
        }
        // The last look: a bell that another thread's turn has swallowed has cleared `asleep`.
        let polled = self
            .turns
            .borrow_mut()
            .poll(None, &|| self.shared.is_asleep());
        // Whoever the update wakes finds the thread awake, and rings no bell.
        drop(asleep);
        if polled == Polled::Claimed {
            thread::sleep(CLAIMED_RETRY);
        }
        self.deliver(polled);
    }

    fn deliver(&self, polled: Polled) {
        if let Polled::Ready(n) = polled {
            self.shared.stats.turns.add(1);
            if n > 0 {
                self.turns.borrow_mut().update();
            }
        }
    }

    /// Ends the scheduler, and waits at most `timeout` (`None`: without a limit) for blocking closures that are running.
    /// Tasks are cancelled: their futures are dropped here and now. Closures that have not begun are dropped, but for
    /// [mandatory](BlockingPool::spawn_mandatory) ones, which are run. Drop does the same, without a limit.
    pub fn shutdown(mut self, timeout: Option<Duration>) -> Shutdown {
        self.ended = true;
        self.end(timeout)
    }

    fn end(&self, timeout: Option<Duration>) -> Shutdown {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.close();
        let (workers, closures) = (Vec::new(), self.shared.blocking.close(deadline));
        Shutdown { workers, closures }
    }

    fn enter(&self, what: &str) -> Inside<'_> {
        assert!(
            !self.running.replace(true),
            "{what} was called inside the peu LocalRuntime that it is called on. `.await` the future instead, or spawn it"
        );
        // ORDERING: Relaxed: only this thread stores it; a pusher that still reads `true` rings once too often.
        self.shared.asleep.store(false, Ordering::Relaxed);
        Inside {
            local: self,
            outer: LOCAL.with(|outer| outer.replace(self)),
        }
    }

    /// Shutdown: cancels every task here, on their own thread, then ends the pool.
    fn close(&self) {
        // ORDERING: Release pairs with the Acquire in `schedule`.
        self.shared.closing.store(true, Ordering::Release);
        if !twin("shutdown-local-close-no-fence") {
            // ORDERING: SeqCst fence pairs with the fence in `ring`: who pushes after the last drain sees `closing`.
            fence(Ordering::SeqCst);
        }
        self.shared.owned.close_and_cancel_all();
        let queued = self.queue.take();
        drop(queued);
        self.shared.drain();
    }
}

impl Drop for LocalScheduler {
    fn drop(&mut self) {
        if !self.ended {
            let _nothing_is_left = self.end(None);
        }
    }
}

impl fmt::Debug for LocalScheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalScheduler")
            .field("tasks", &self.shared.owned.len())
            .finish_non_exhaustive()
    }
}

/// Starts a task on the local scheduler that this thread is inside of: see [`LocalScheduler`] for an example.
///
/// # Panics
///
/// Outside of `block_on` and `turn` of a local scheduler.
#[track_caller]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let Some(handle) = with_local(|local| local.map(|local| local.spawn_local(future))) else {
        panic!(
            "spawn_local was called outside of a peu LocalRuntime: call it inside its `block_on` or one of its tasks"
        )
    };
    handle
}

impl LocalShared {
    fn inject(&self, task: Runnable) {
        self.injector.push(task);
        self.ring();
        // ORDERING: Acquire pairs with the Release in `close`.
        if !twin("shutdown-local-push-unseen") && self.closing.load(Ordering::Acquire) {
            self.drain();
        }
    }

    /// Calls `f` with the scheduler, if this thread is inside it.
    fn with_own<R>(&self, f: impl FnOnce(Option<&LocalScheduler>) -> R) -> R {
        with_local(|local| f(local.filter(|local| ptr::eq(&*local.shared, self))))
    }

    fn is_asleep(&self) -> bool {
        // ORDERING: Relaxed: the driver orders the ringer's swap before the turn that swallowed its bell, and that
        // before ours.
        self.asleep.load(Ordering::Relaxed)
    }

    /// Whether this is the thread on which the scheduler runs.
    pub(crate) fn is_own_thread(&self) -> bool {
        thread::current().id() == self.thread
    }

    /// Something was made known to the thread; wakes it if it may not be looking.
    pub(crate) fn ring(&self) {
        if !twin("local-push-no-fence") {
            // ORDERING: SeqCst fence pairs with the fence in `Asleep::new` (see the module's protocol).
            fence(Ordering::SeqCst);
        }
        // ORDERING: Relaxed: ordered by the fence. The swap lets one ringer ring per sleep.
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.driver.unpark();
        }
    }

    fn drain(&self) {
        while let Some(task) = self.injector.pop() {
            drop(task);
        }
    }
}

// SAFETY: `may_drop_here` is true on the thread that made the scheduler and nowhere else; the scheduler never leaves
// it. `is_inside` is true while that thread is inside `block_on` or `turn`, which borrow the scheduler and with it
// its `Arc`.
unsafe impl Schedule for LocalShared {
    fn schedule(&self, task: Runnable) {
        let left = self.with_own(|local| match local {
            Some(local) => {
                local.queue.borrow_mut().push_back(task);
                None
            }
            None => Some(task),
        });
        if let Some(task) = left {
            self.inject(task);
        }
    }

    fn reschedule(&self, task: Runnable) {
        self.schedule(task);
    }

    fn owned(&self) -> &Owned {
        &self.owned
    }

    fn may_drop_here(&self) -> bool {
        self.is_own_thread()
    }

    fn is_inside(&self) -> bool {
        self.with_own(|local| local.is_some())
    }

    fn with_stock<R>(&self, f: impl FnOnce(Option<&Stock<LocalShared>>) -> R) -> R {
        self.with_own(|local| f(local.map(|local| &local.stock)))
    }
}

thread_local! {
    static LOCAL: Cell<*const LocalScheduler> = const { Cell::new(ptr::null()) };
}

fn with_local<R>(f: impl FnOnce(Option<&LocalScheduler>) -> R) -> R {
    // `try_with`: wakers are also called by destructors of other thread-locals, when this one may be gone.
    let local = LOCAL.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: null, or set by `enter` on this thread from a borrow that lives as long as the guard that will clear it.
    f(unsafe { local.as_ref() })
}

/// Whether this thread is inside a local scheduler.
pub(crate) fn is_inside() -> bool {
    with_local(|local| local.is_some())
}

/// While it lives this thread is inside the scheduler.
struct Inside<'a> {
    local: &'a LocalScheduler,
    outer: *const LocalScheduler,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        LOCAL.with(|local| local.set(self.outer));
        self.local.running.set(false);
        let shared = &self.local.shared;
        // ORDERING: Relaxed: ordered by the fence, which pairs with the one in `ring`.
        shared.asleep.store(true, Ordering::Relaxed);
        if !twin("local-leave-no-fence") {
            // ORDERING: SeqCst fence pairs with the fence in `ring`: between turns every push rings, also one that came
            // too early to see `asleep` and too late for the last look at the injector.
            fence(Ordering::SeqCst);
        }
        if !shared.injector.is_empty() || !self.local.queue.borrow().is_empty() {
            // ORDERING: Relaxed: who reads it and does not ring leaves it to this bell, which is rung in any case.
            shared.asleep.store(false, Ordering::Relaxed);
            shared.driver.unpark();
        }
    }
}

/// While it lives, pushes ring.
struct Asleep<'a>(&'a LocalShared);

impl<'a> Asleep<'a> {
    fn new(shared: &'a LocalShared) -> Self {
        // ORDERING: Relaxed: ordered by the fence.
        shared.asleep.store(true, Ordering::Relaxed);
        if !twin("local-sleep-no-fence") {
            // ORDERING: SeqCst fence pairs with the fence in `ring` (see the module's protocol).
            fence(Ordering::SeqCst);
        }
        Asleep(shared)
    }
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        // ORDERING: Relaxed: a pusher that still reads `true` rings once too often; the bell ends the next sleep early.
        self.0.asleep.store(false, Ordering::Relaxed);
    }
}
