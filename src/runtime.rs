//! The work-stealing runtime.

use crate::handle::EnterGuard;
use crate::{Builder, Handle};
use peu_reactor::Reactor;
use peu_reactor::file::FileMetrics;
use peu_scheduler::task::JoinHandle;
use peu_scheduler::{Scheduler, Shutdown, WorkerMetrics};
use std::future::Future;
use std::io;
use std::time::Duration;

/// A reactor and worker threads that share tasks.
///
/// Any number of runtimes may live side by side; there is no global one. "The current runtime", for
/// [`peu::spawn`](crate::spawn) and the constructors of sockets and timers, is the one that the thread is inside of.
///
/// Dropping a runtime cancels its tasks and waits for its threads, without a limit: for a poll or a blocking closure that
/// does not return, [`shutdown`](Runtime::shutdown) has one.
///
/// # Example
///
/// ```
/// use peu::net::TcpListener;
///
/// let runtime = peu::Runtime::new()?;
/// let port = runtime.block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     Ok::<_, std::io::Error>(listener.local_addr()?.port())
/// })?;
/// assert_ne!(port, 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Runtime {
    scheduler: Option<Scheduler>,
    handle: Handle,
}

impl Runtime {
    /// A runtime with one worker per core that the process may use.
    ///
    /// # Errors
    ///
    /// When the system gives no thread or no descriptor.
    pub fn new() -> io::Result<Runtime> {
        Runtime::builder().build()
    }

    /// For other settings.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn from_parts(scheduler: Scheduler, reactor: Reactor) -> Runtime {
        let handle = Handle::new(scheduler.handle(), reactor);
        Runtime {
            scheduler: Some(scheduler),
            handle,
        }
    }

    /// Runs `future` on the calling thread, inside the runtime, and returns its output. Tasks that it spawns run on the
    /// workers, and go on after it has returned.
    ///
    /// # Panics
    ///
    /// When called on a worker of a runtime, whose other tasks it would block; and when the future panics.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }

    /// Starts a task: see [`Handle::spawn`].
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Runs a closure that may block: see [`Handle::spawn_blocking`].
    pub fn spawn_blocking<F, T>(&self, job: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.handle.spawn_blocking(job)
    }

    /// The way into this runtime for other threads.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Makes this the current runtime of the calling thread until the guard is dropped.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.handle.enter()
    }

    /// What reactor and workers have counted so far.
    pub fn metrics(&self) -> Metrics {
        self.handle.metrics()
    }

    /// Ends the runtime and waits at most `timeout` for its threads. Reports what was still running then.
    ///
    /// Every task is cancelled: its future is dropped, at the latest when the poll that is under way returns.
    /// Blocking closures that have not begun are dropped; writes that a [`File`](crate::fs::File) or a standard stream has
    /// accepted are done, if there is time. Then the reactor is closed. Whatever outlives this (wakers,
    /// handles, sockets) is harmless: a spawn is cancelled at once, a socket that would wait says that its runtime is
    /// gone.
    ///
    /// Two things may make it longer, by a second each: a kernel that does not let go of a file's buffer, and children that were
    /// [to be killed](crate::process::Command::kill_on_drop) and do not end. A server that is silent does not: what waits for
    /// it is left to the threads that wait. What may is a destructor of your own: futures and closures are dropped by this thread.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = peu::Runtime::new()?;
    /// runtime.spawn(std::future::pending::<()>());
    /// let report = runtime.shutdown(Duration::from_secs(1));
    /// assert!(report.is_complete(), "{report}");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shutdown(mut self, timeout: Duration) -> Shutdown {
        let scheduler = self.scheduler.take().expect("taken only here and by drop");
        scheduler.shutdown(Some(timeout))
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // In this order: tasks are dropped while their sockets still have a reactor to leave.
        drop(self.scheduler.take());
        self.handle.reactor().close();
    }
}

/// What a runtime has counted so far: see the two halves. A snapshot for reading and comparing; taking it disturbs
/// nobody.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// Turns, events, wakes, timers, registrations.
    pub reactor: peu_reactor::Metrics,
    /// Polls, steals, sleeps, looks of the watch.
    pub workers: WorkerMetrics,
    /// Operations on files, by the way they were done.
    pub files: FileMetrics,
}
