//! The way into a runtime from any thread, and the functions that use the current one.

use crate::Metrics;
use peu_operators::{Offload, Spawn, Timer};
use peu_reactor::time::Sleep;
use peu_reactor::{Entered, Reactor};
use peu_scheduler::task::JoinHandle;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Instant;

/// Spawns tasks on a runtime and enters it. Cheap to clone; any thread may keep one, also beyond the runtime's end.
///
/// A handle is what the [operators](crate::operators) ask for to run their stages and timeouts.
///
/// # Example
///
/// ```
/// let runtime = peu::Runtime::new()?;
/// let handle = runtime.handle().clone();
/// let answer = std::thread::spawn(move || {
///     let _inside = handle.enter();
///     peu::spawn(async { 6 * 7 })
/// });
/// assert_eq!(runtime.block_on(answer.join().unwrap()).unwrap(), 42);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Handle {
    scheduler: peu_scheduler::Handle,
    reactor: Reactor,
}

impl Handle {
    pub(crate) fn new(scheduler: peu_scheduler::Handle, reactor: Reactor) -> Handle {
        Handle { scheduler, reactor }
    }

    /// The handle of the runtime that this thread is inside of.
    ///
    /// # Panics
    ///
    /// Outside of any runtime.
    #[track_caller]
    pub fn current() -> Handle {
        let scheduler = peu_scheduler::Handle::current();
        let reactor = Reactor::current().expect("a thread inside a peu runtime has its reactor");
        Handle { scheduler, reactor }
    }

    /// The handle of the runtime that this thread is inside of, if any.
    pub fn try_current() -> Option<Handle> {
        let scheduler = peu_scheduler::Handle::try_current()?;
        Some(Handle {
            scheduler,
            reactor: Reactor::current()?,
        })
    }

    /// Starts a task. It runs whether or not its handle is awaited; dropping the handle detaches it. After the runtime has ended it
    /// is cancelled at once.
    ///
    /// Costs one allocation, or none on a worker that has the memory of a task of the same size: see the scheduler's `Handle::spawn`.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.scheduler.spawn(future)
    }

    /// Runs a closure that may block, inside the runtime, on a thread of the small pool for such things.
    ///
    /// The pool is bounded, and more closures wait in order: closures that wait for each other can deadlock it. Aborting
    /// takes effect only before the closure has begun.
    pub fn spawn_blocking<F, T>(&self, job: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let inside = self.clone();
        self.scheduler.spawn_blocking(move || {
            let _inside = inside.enter();
            job()
        })
    }

    /// Makes this the current runtime of the calling thread until the guard is dropped. Guards nest, and are dropped in
    /// reverse order, as scopes do by themselves.
    pub fn enter(&self) -> EnterGuard<'_> {
        EnterGuard {
            _reactor: self.reactor.enter(),
            _scheduler: self.scheduler.enter(),
        }
    }

    /// Runs `future` on the calling thread, inside the runtime.
    ///
    /// # Panics
    ///
    /// When called on a worker of a runtime, or on the thread of a `LocalRuntime`, which has a `block_on` of its own; and when the
    /// future panics.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let _inside = self.enter();
        let mut future = pin!(future);
        self.scheduler.block_on(poll_fn(|context| {
            let polled = future.as_mut().poll(context);
            if polled.is_pending() {
                // This thread takes no turn, and the workers, who do, may be busy.
                self.reactor.flush();
            }
            polled
        }))
    }

    /// The runtime's reactor, for its callback interface: see [`Reactor::submit`].
    pub fn reactor(&self) -> &Reactor {
        &self.reactor
    }

    /// What reactor and workers have counted so far.
    pub fn metrics(&self) -> Metrics {
        Metrics {
            reactor: self.reactor.metrics(),
            workers: self.scheduler.metrics(),
            files: self.reactor.files().metrics(),
        }
    }
}

/// For [`JoinSet::spawn_on`](crate::task::JoinSet::spawn_on) and its kin.
impl AsRef<peu_scheduler::Handle> for Handle {
    fn as_ref(&self) -> &peu_scheduler::Handle {
        &self.scheduler
    }
}

impl Spawn for Handle {
    fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(Handle::spawn(self, task));
    }
}

impl Offload for Handle {
    fn offload<F>(&self, job: F)
    where
        F: FnOnce() + Send + 'static,
    {
        drop(self.scheduler.spawn_blocking(job));
    }
}

impl Timer for Handle {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep::with_reactor(deadline, &self.reactor)
    }
}

/// Keeps a runtime the current one of its thread: see [`Handle::enter`].
#[derive(Debug)]
#[must_use = "the runtime is left as soon as this is dropped"]
pub struct EnterGuard<'a> {
    _reactor: Entered<'a>,
    _scheduler: peu_scheduler::EnterGuard<'a>,
}

/// Starts a task on the current runtime: see [`Handle::spawn`].
///
/// # Panics
///
/// Outside of any runtime.
///
/// # Example
///
/// ```
/// let runtime = peu::Runtime::new()?;
/// let sum = runtime.block_on(async {
///     let left = peu::spawn(async { 20 });
///     let right = peu::spawn(async { 22 });
///     left.await.unwrap() + right.await.unwrap()
/// });
/// assert_eq!(sum, 42);
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    peu_scheduler::Handle::with_current(|handle| handle.spawn(future))
}

/// Runs a closure that may block on the current runtime's pool for that: see [`Handle::spawn_blocking`].
///
/// # Panics
///
/// Outside of any runtime.
///
/// # Example
///
/// ```
/// let runtime = peu::Runtime::new()?;
/// let lines = runtime.block_on(async {
///     let count = || std::fs::read_to_string("Cargo.toml").map(|text| text.lines().count());
///     peu::spawn_blocking(count).await.unwrap()
/// })?;
/// assert!(lines > 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn spawn_blocking<F, T>(job: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Handle::current().spawn_blocking(job)
}
