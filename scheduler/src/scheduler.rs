//! The work-stealing scheduler as a whole: started by its builder, ended by `shutdown` or drop.

use crate::blocking::{Blocking, BlockingPool, Settings};
use crate::driver::Driver;
use crate::handle::Handle;
use crate::ring::{Owner, ring};
use crate::shared::Shared;
use crate::sync::Arc;
use crate::task::Header;
use crate::worker::Worker;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The most workers that a scheduler has. The idle protocol counts them in halves of a word, and its lock is taken in
/// turn by all of them; beyond a few hundred, several runtimes serve better.
const MAX_WORKERS: usize = 1024;

/// How long a thread for blocking closures stays when it has nothing to do. Long enough that bursts reuse it.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Bound of the pool for blocking closures. It is for names, files and library calls, which a handful of threads serve; a
/// bound well above that leaves room for closures that wait.
const MAX_BLOCKING_THREADS: usize = 64;

type Hook = std::sync::Arc<dyn Fn() + Send + Sync>;

/// Settings of a scheduler.
///
/// # Example
///
/// See [`Driver`].
#[derive(Clone)]
pub struct Builder {
    workers: usize,
    thread_name: String,
    on_start: Option<Hook>,
    on_stop: Option<Hook>,
    blocking: Settings,
}

impl Builder {
    /// One worker per core that the process may use, threads named `peu`.
    #[expect(
        clippy::new_without_default,
        reason = "a builder is begun with `new`, as std's are"
    )]
    pub fn new() -> Self {
        Builder {
            workers: thread::available_parallelism().map_or(1, usize::from),
            thread_name: "peu".into(),
            on_start: None,
            on_stop: None,
            blocking: Settings {
                max_threads: MAX_BLOCKING_THREADS,
                keep_alive: KEEP_ALIVE,
                name: "peu-blocking".into(),
            },
        }
    }

    /// How many worker threads: from 1 to 1024; [`build`](Builder::build) refuses other numbers.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// What the threads are called: workers `name-0`, `name-1` and so on, those for blocking closures `name-blocking-0`.
    /// Linux shows the first 15 bytes.
    #[must_use]
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = name.into();
        self.blocking.name = format!("{}-blocking", self.thread_name);
        self
    }

    /// Called on each worker before its first task. If it panics, the worker runs all the same.
    #[must_use]
    pub fn on_thread_start(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_start = Some(std::sync::Arc::new(hook));
        self
    }

    /// Called on each worker after its last task.
    #[must_use]
    pub fn on_thread_stop(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_stop = Some(std::sync::Arc::new(hook));
        self
    }

    /// The most threads for blocking closures: 64 unless set, and at least 1;
    /// [`blocking_pool`](Builder::blocking_pool) refuses 0.
    #[must_use]
    pub fn max_blocking_threads(mut self, threads: usize) -> Self {
        self.blocking.max_threads = threads;
        self
    }

    /// How long such a thread is kept when it has nothing to do; 10 seconds unless set.
    #[must_use]
    pub fn blocking_keep_alive(mut self, keep_alive: Duration) -> Self {
        self.blocking.keep_alive = keep_alive;
        self
    }

    /// A pool for blocking closures with these settings, to be given to [`build`](Self::build). It starts its threads on
    /// demand, and is closed with the scheduler.
    ///
    /// # Errors
    ///
    /// When it may have no threads, or they can't have their name.
    pub fn blocking_pool(&self) -> io::Result<BlockingPool> {
        self.check_name()?;
        if self.blocking.max_threads == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "cannot run blocking closures on 0 threads: allow at least 1",
            ));
        }
        Ok(BlockingPool(Blocking::new(self.blocking.clone())))
    }

    fn check_name(&self) -> io::Result<()> {
        if self.thread_name.contains('\0') {
            let message = format!(
                "cannot call threads {:?}: leave out the NUL",
                self.thread_name
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(())
    }

    /// Starts the workers.
    ///
    /// # Errors
    ///
    /// When the number of workers is 0 or above 1024, their name has a NUL in it, or the system gives no thread; those
    /// already started are ended again.
    pub fn build(
        self,
        driver: std::sync::Arc<dyn Driver>,
        pool: BlockingPool,
    ) -> io::Result<Scheduler> {
        if self.workers == 0 || self.workers > MAX_WORKERS {
            let message = format!(
                "cannot start {} workers: ask for 1 to {MAX_WORKERS}",
                self.workers
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        self.check_name()?;
        let (owners, thieves): (Vec<Owner<Header>>, Vec<_>) =
            (0..self.workers).map(|_| ring()).unzip();
        let shared = Arc::new(Shared::new(driver, thieves, pool.0));
        let (ended, all_ended) = mpsc::channel();
        let mut scheduler = Scheduler {
            shared,
            threads: Vec::new(),
            all_ended: std::sync::Mutex::new(all_ended),
            ended: false,
        };
        for (index, owner) in owners.into_iter().enumerate() {
            scheduler.start_worker(&self, index, owner, ended.clone())?;
        }
        Ok(scheduler)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("workers", &self.workers)
            .field("thread_name", &self.thread_name)
            .field("max_blocking_threads", &self.blocking.max_threads)
            .finish_non_exhaustive()
    }
}

/// Worker threads that share tasks. Dropping it shuts it down and waits for its threads, without a limit: see
/// [`shutdown`](Scheduler::shutdown) for one with a limit.
pub struct Scheduler {
    shared: Arc<Shared>,
    threads: Vec<Option<thread::JoinHandle<()>>>,
    /// Every worker sends its index as the last thing it does.
    /// In a mutex only so that a scheduler can be shared: nobody receives but who ends it.
    all_ended: std::sync::Mutex<mpsc::Receiver<usize>>,
    ended: bool,
}

impl Scheduler {
    /// The way in.
    pub fn handle(&self) -> Handle {
        Handle::stealing(self.shared.clone())
    }

    /// Ends the scheduler, and waits at most `timeout` for its threads (`None`: without a limit).
    ///
    /// 1. From now on a spawn is cancelled at once.
    /// 2. Every task is cancelled: a future that no worker is polling is dropped here and now; the others are dropped by
    ///    their worker when that poll returns.
    /// 3. The workers are woken; each drops what is left in its queues and ends.
    /// 4. Blocking closures that have not begun are dropped, but for
    ///    [mandatory](BlockingPool::spawn_mandatory) ones, which are run.
    /// 5. The threads are joined. What has not ended by then is left to itself and reported: it holds no lock of the
    ///    scheduler, and ends when its poll or closure returns.
    /// 6. What was pushed to the shared queue meanwhile is dropped.
    ///
    /// Wakers and handles that outlive all this are harmless: a wake finds its task finished. Called on one of its
    /// own workers, it does not wait for that one.
    pub fn shutdown(mut self, timeout: Option<Duration>) -> Shutdown {
        let report = self.end(timeout);
        self.ended = true;
        report
    }

    fn end(&mut self, timeout: Option<Duration>) -> Shutdown {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.shared.close();
        self.join_workers(deadline);
        let name =
            |thread: &thread::JoinHandle<()>| thread.thread().name().unwrap_or_default().to_owned();
        let workers = self.threads.iter().flatten().map(name).collect();
        let closures = self.shared.blocking.close(deadline);
        self.shared.drain_injector();
        Shutdown { workers, closures }
    }

    fn join_workers(&mut self, deadline: Option<Instant>) {
        let me = thread::current().id();
        let is_me = |thread: &Option<thread::JoinHandle<()>>| {
            thread.as_ref().is_some_and(|t| t.thread().id() == me)
        };
        if let Some(own) = self.threads.iter_mut().find(|thread| is_me(thread)) {
            drop(own.take());
        }
        let all_ended = self
            .all_ended
            .get_mut()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        while self.threads.iter().any(Option::is_some) {
            let ended = match deadline {
                None => all_ended.recv().ok(),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    all_ended.recv_timeout(left).ok()
                }
            };
            let Some(index) = ended else { break };
            if let Some(thread) = self.threads[index].take() {
                // A worker catches what its tasks panic with; what is left to lose here is a hook's panic, already
                // reported.
                let _ = thread.join();
            }
        }
    }

    fn start_worker(
        &mut self,
        builder: &Builder,
        index: usize,
        owner: Owner<Header>,
        ended: mpsc::Sender<usize>,
    ) -> io::Result<()> {
        let (shared, on_start, on_stop) = (
            self.shared.clone(),
            builder.on_start.clone(),
            builder.on_stop.clone(),
        );
        let handle = self.handle();
        let life = move || {
            let _ended = SendOnDrop(ended, index);
            let _guard = handle.enter();
            call(&on_start);
            Worker::new(index, shared, owner).run();
            call(&on_stop);
        };
        let thread = thread::Builder::new()
            .name(format!("{}-{index}", builder.thread_name))
            .spawn(life)?;
        self.threads.push(Some(thread));
        Ok(())
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        if !self.ended {
            let _nothing_is_left = self.end(None);
        }
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("workers", &self.threads.len())
            .finish_non_exhaustive()
    }
}

/// Calls a user's hook. Its panic, which has been reported by then, costs nobody a worker.
fn call(hook: &Option<Hook>) {
    let _ = catch_unwind(AssertUnwindSafe(|| hook.iter().for_each(|hook| hook())));
}

/// Says that a worker has ended, also by a panic.
struct SendOnDrop(mpsc::Sender<usize>, usize);

impl Drop for SendOnDrop {
    fn drop(&mut self) {
        // The receiver is gone when the scheduler did not wait for this worker.
        let _ = self.0.send(self.1);
    }
}

/// What had not ended when a shutdown's time was over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "it says what is still running"]
pub struct Shutdown {
    /// The names of workers that are still in a poll.
    pub workers: Vec<String>,
    /// Blocking closures that are still running.
    pub closures: usize,
}

impl Shutdown {
    /// Whether everything has ended.
    pub fn is_complete(&self) -> bool {
        self.workers.is_empty() && self.closures == 0
    }
}

impl fmt::Display for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_complete() {
            return write!(f, "everything has ended");
        }
        write!(f, "still running when the time was over: ")?;
        if !self.workers.is_empty() {
            write!(f, "a poll on {}", self.workers.join(", a poll on "))?;
        }
        if !self.workers.is_empty() && self.closures > 0 {
            write!(f, ", ")?;
        }
        match self.closures {
            0 => Ok(()),
            1 => write!(f, "1 blocking closure"),
            n => write!(f, "{n} blocking closures"),
        }
    }
}
