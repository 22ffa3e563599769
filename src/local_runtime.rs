//! The runtime on one thread.

use crate::handle::EnterGuard;
use crate::{Builder, Handle, Metrics};
use peu_reactor::Reactor;
use peu_scheduler::task::JoinHandle;
use peu_scheduler::{LocalScheduler, LocalTurn, Shutdown};
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// A reactor and a scheduler on the thread that makes them: no worker threads, and futures that need not be `Send`.
///
/// It runs while [`block_on`](LocalRuntime::block_on) does; or turn by turn, from a loop that is not ours (a game's,
/// a database's, a plugin host's): wait until the runtime's descriptor ([`AsFd`]) is readable, among others of the
/// host's own, then take a [`turn`](LocalRuntime::turn).
///
/// # Example
///
/// ```
/// use std::rc::Rc;
///
/// let runtime = peu::LocalRuntime::new()?;
/// let words = Rc::new("not Send".to_string());
/// let length = runtime.block_on(async move {
///     let task = peu::task::spawn_local(async move { words.len() });
///     task.await.unwrap()
/// });
/// assert_eq!(length, 8);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Driven by a host:
///
/// ```
/// use std::{os::fd::{AsFd, AsRawFd}, time::Duration};
///
/// let runtime = peu::LocalRuntime::new()?;
/// let task = runtime.spawn_local(async {
///     peu::time::sleep(Duration::from_millis(1)).await;
/// });
/// let watched = runtime.as_fd().as_raw_fd();      // the host adds it to its own poll
/// while !task.is_finished() {
///     let turned = runtime.turn(100);             // when it is readable, or there was more
///     if !turned.more {
///         std::thread::sleep(Duration::from_micros(100)); // stands for the host's own waiting and work
///     }
/// }
/// # assert!(watched >= 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct LocalRuntime {
    scheduler: Option<LocalScheduler>,
    handle: Handle,
}

impl LocalRuntime {
    /// A runtime on this thread.
    ///
    /// # Errors
    ///
    /// When the system gives no descriptor for the reactor.
    pub fn new() -> io::Result<LocalRuntime> {
        Builder::new().build_local()
    }

    /// For other settings; finish with [`build_local`](Builder::build_local).
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn from_parts(scheduler: LocalScheduler, reactor: Reactor) -> LocalRuntime {
        let handle = Handle::new(scheduler.handle(), reactor.clone());
        // From the start, and after each `turn` and `block_on`: the descriptor tells a host when to take a turn.
        reactor.arm();
        LocalRuntime {
            scheduler: Some(scheduler),
            handle,
        }
    }

    /// Runs `future` on this thread, and the runtime's tasks beside it, until it is done. Tasks that are not done by
    /// then stay, and go on in the next `block_on` or `turn`.
    ///
    /// # Panics
    ///
    /// When this thread is inside this runtime's `block_on` or `turn`, or is a worker of another runtime; and when
    /// the future panics.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let _armed = ArmOnDrop(self.handle.reactor());
        let _inside = self.enter();
        self.scheduler().block_on(future)
    }

    /// One turn, for a host with a loop of its own: tells whoever waits for events that have happened, without
    /// waiting, then polls tasks, at most `budget` of them. With `more` in the answer, take another turn before
    /// waiting.
    ///
    /// Between turns the runtime's descriptor becomes readable when there is something to do; on systems other than
    /// Linux the wait must also end at [`next_deadline`](LocalRuntime::next_deadline).
    ///
    /// # Panics
    ///
    /// When this thread is inside this runtime.
    pub fn turn(&self, budget: usize) -> LocalTurn {
        let _armed = ArmOnDrop(self.handle.reactor());
        let _inside = self.enter();
        self.scheduler().turn(budget)
    }

    /// When the next timer is due, if there is one.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.handle.reactor().next_deadline()
    }

    /// Starts a task on this thread; its future need not be `Send`. It runs during `block_on` and `turn`.
    pub fn spawn_local<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.scheduler().spawn_local(future)
    }

    /// Starts a task on this thread from a future that is `Send`: see [`Handle::spawn`].
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// The way into this runtime for other threads. What they spawn runs here.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Makes this the current runtime of the thread until the guard is dropped, for constructors of sockets and timers.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.handle.enter()
    }

    /// What reactor and scheduler have counted so far.
    pub fn metrics(&self) -> Metrics {
        self.handle.metrics()
    }

    /// Ends the runtime, and waits at most `timeout` for blocking closures that are running. Reports what was still
    /// running then. Dropping the runtime does the same without a limit.
    ///
    /// Every task is cancelled: its future is dropped here and now. Blocking closures that have not begun are dropped; writes
    /// that a [`File`](crate::fs::File) or a standard stream has accepted are done, if there is time. Then the reactor is
    /// closed. Whatever outlives this (wakers, handles, sockets) is harmless, as after
    /// [`Runtime::shutdown`](crate::Runtime::shutdown), whose limits hold here too.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = peu::LocalRuntime::new()?;
    /// runtime.spawn_local(std::future::pending::<()>());
    /// let report = runtime.shutdown(Duration::from_secs(1));
    /// assert!(report.is_complete(), "{report}");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shutdown(mut self, timeout: Duration) -> Shutdown {
        self.end(Some(timeout))
    }

    /// In this order: tasks are dropped, inside the runtime, while their sockets still have a reactor to leave.
    fn end(&mut self, timeout: Option<Duration>) -> Shutdown {
        let Some(scheduler) = self.scheduler.take() else {
            return Shutdown::default();
        };
        let inside = self.handle.enter();
        let report = scheduler.shutdown(timeout);
        drop(inside);
        self.handle.reactor().close();
        report
    }

    fn scheduler(&self) -> &LocalScheduler {
        self.scheduler.as_ref().expect("taken only by the end")
    }
}

/// The descriptor that is readable when a [`turn`](LocalRuntime::turn) has something to do.
impl AsFd for LocalRuntime {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.reactor().as_fd()
    }
}

impl Drop for LocalRuntime {
    fn drop(&mut self) {
        let _nothing_is_left = self.end(None);
    }
}

/// Lets the descriptor tell again when there is something to do, also if a future panicked.
struct ArmOnDrop<'a>(&'a Reactor);

impl Drop for ArmOnDrop<'_> {
    fn drop(&mut self) {
        self.0.arm();
    }
}
