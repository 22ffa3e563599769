//! Settings of a runtime.

use crate::driver::{self, ReactorDriver};
use crate::{LocalRuntime, Runtime};
use peu_reactor::Reactor;
use peu_reactor::file::Tiers;
use peu_scheduler::LocalScheduler;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Settings of a [`Runtime`] or [`LocalRuntime`]; from [`Runtime::builder`].
///
/// # Example
///
/// ```
/// let runtime = peu::Runtime::builder()
///     .workers(2)
///     .thread_name("worker")
///     .on_thread_start(|| println!("hello from {:?}", std::thread::current().name()))
///     .build()?;
/// # drop(runtime);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct Builder {
    scheduler: peu_scheduler::Builder,
    on_start: Hook,
    file_tiers: Option<Tiers>,
}

type HookFn = Arc<dyn Fn() + Send + Sync>;

#[derive(Clone, Default)]
struct Hook(Option<HookFn>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "set" } else { "none" })
    }
}

impl Builder {
    pub(crate) fn new() -> Self {
        Builder {
            scheduler: peu_scheduler::Builder::new(),
            on_start: Hook::default(),
            file_tiers: None,
        }
    }

    /// How many worker threads, from 1 to 1024; one per core that the process may use unless set.
    pub fn workers(mut self, workers: usize) -> Self {
        self.scheduler = self.scheduler.workers(workers);
        self
    }

    /// What the threads are called, `peu` unless set: workers `name-0`, `name-1` and so on, those for blocking closures
    /// `name-blocking-0`. Linux shows the first 15 bytes.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.scheduler = self.scheduler.thread_name(name);
        self
    }

    /// Called on each worker before its first task, inside the runtime.
    pub fn on_thread_start(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_start = Hook(Some(Arc::new(hook)));
        self
    }

    /// Called on each worker after its last task.
    pub fn on_thread_stop(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.scheduler = self.scheduler.on_thread_stop(hook);
        self
    }

    /// The most threads for blocking closures, name look-ups and files: 64 unless set. They start on demand.
    pub fn max_blocking_threads(mut self, threads: usize) -> Self {
        self.scheduler = self.scheduler.max_blocking_threads(threads);
        self
    }

    /// How long such a thread stays when it has nothing to do: 10 seconds unless set.
    pub fn blocking_keep_alive(mut self, keep_alive: Duration) -> Self {
        self.scheduler = self.scheduler.blocking_keep_alive(keep_alive);
        self
    }

    /// The ways in which operations on files may be done, [`fs`](crate::fs) tells which there are. Unless set, it is
    /// those that the environment variable `PEU_FILE_TIER` lists, as in `now,pool`, or all of them.
    ///
    /// # Example
    ///
    /// ```
    /// use peu::fs::Tiers;
    ///
    /// let runtime = peu::Runtime::builder().file_tiers(Tiers::POOL).build()?;
    /// runtime.block_on(peu::fs::read("Cargo.toml"))?;
    /// assert_eq!(runtime.metrics().files.now, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn file_tiers(mut self, tiers: Tiers) -> Self {
        self.file_tiers = Some(tiers);
        self
    }

    /// Makes the reactor and starts the workers.
    ///
    /// # Errors
    ///
    /// When the number of workers is 0 or above 1024, that of blocking threads is 0, the threads' name has a NUL in it,
    /// `PEU_FILE_TIER` names no tiers, or the system gives no thread or no descriptor.
    pub fn build(self) -> io::Result<Runtime> {
        let pool = self.scheduler.blocking_pool()?;
        let reactor = driver::reactor(&pool, self.allowed_tiers()?)?;
        let (entered, on_start) = (reactor.clone(), self.on_start.0);
        let scheduler = self
            .scheduler
            .on_thread_start(move || {
                enter_for_good(&entered);
                on_start.iter().for_each(|hook| hook());
            })
            .build(Arc::new(ReactorDriver(reactor.clone())), pool)?;
        Ok(Runtime::from_parts(scheduler, reactor))
    }

    /// Makes a runtime on the calling thread. Settings of workers do not apply to it.
    ///
    /// # Errors
    ///
    /// When the system gives no descriptor for the reactor, the number of blocking threads is 0, the threads' name has a
    /// NUL in it, or `PEU_FILE_TIER` names no tiers.
    pub fn build_local(self) -> io::Result<LocalRuntime> {
        let pool = self.scheduler.blocking_pool()?;
        let reactor = driver::reactor(&pool, self.allowed_tiers()?)?;
        let scheduler = LocalScheduler::new(Arc::new(ReactorDriver(reactor.clone())), pool);
        Ok(LocalRuntime::from_parts(scheduler, reactor))
    }

    fn allowed_tiers(&self) -> io::Result<Tiers> {
        self.file_tiers.map_or_else(tiers_of_environment, Ok)
    }
}

/// What the environment allows.
fn tiers_of_environment() -> io::Result<Tiers> {
    let Some(list) = std::env::var_os("PEU_FILE_TIER") else {
        return Ok(Tiers::ALL);
    };
    list.to_string_lossy().parse().map_err(|error| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("cannot use the environment variable PEU_FILE_TIER: {error}"),
        )
    })
}

/// A worker is inside its runtime for as long as its thread lives, so the guard that would leave the reactor is not
/// kept. The thread-local gives up its clone of the reactor when the thread ends.
fn enter_for_good(reactor: &Reactor) {
    std::mem::forget(reactor.enter());
}
