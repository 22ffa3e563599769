//! A small pool of threads for what can only block: name look-ups, files without a better way, a library's blocking call.
//!
//! Threads are started on demand, up to a bound, and end when they have been idle for a while. What finds no thread
//! waits in the queue, in order. Everything is under one mutex: a job costs far more than the lock.
//!
//! # No job is lost
//!
//! Who submits notifies an idle thread, if there is one. Under the same lock it looks at the number of idle threads
//! against the number of queued jobs: if not every queued job has an idle thread to itself, it starts one more, or leaves
//! the job to those that run, when there are as many as may be. A thread that wants to end (its wait timed out) decides so under the same
//! lock, and only when the queue is empty; from that moment it is no longer counted, so no submitter relies on it.
//!
//! # What is mandatory is done
//!
//! Most jobs are tasks, which the end of the pool cancels if they have not begun. A *mandatory* job does what somebody was
//! told is done, such as a write that was accepted, and nobody may wait for it any more. So the end leaves those in the queue,
//! and waits until the queue is empty as well as for the threads: who has queued a job may not have started its thread yet.
//! A queue that is not empty has a thread that will look at it, or a submitter on his way to start one, by the rule above; when
//! the system gives none, he empties the queue, and says so to who waits for the end. And what comes after the end has
//! begun is dropped under the lock that the end begins under. So a job that was taken has run when the end is over, unless
//! the end had a deadline. A job that ends its own pool can't leave this to its thread, and does it itself.

use crate::sync::{Arc, Condvar, Mutex, MutexGuard, thread, thread_local, twin};
use crate::task::{self, JoinHandle, Owned, Runnable, Schedule};
use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Settings of the pool.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) max_threads: usize,
    pub(crate) keep_alive: Duration,
    pub(crate) name: String,
}

/// A handle of the pool of threads for what can only block; from
/// [`Builder::blocking_pool`](crate::Builder::blocking_pool).
///
/// It knows nothing of the scheduler that it is given to, so a driver may hold one and leave blocking work to it.
#[derive(Clone)]
pub struct BlockingPool(pub(crate) Arc<Blocking>);

impl BlockingPool {
    /// Runs a closure that may block: see [`Handle::spawn_blocking`](crate::Handle::spawn_blocking).
    pub fn spawn<F, T>(&self, job: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.0.spawn(job)
    }

    /// Runs a job that may block, for whom nobody waits, also when the scheduler shuts down meanwhile: what has not begun by
    /// then is run before the shutdown is over, as far as that has time. For what somebody was told is done.
    ///
    /// `false`: the pool was closed already, and the job was dropped. It is dropped as well if the system gives no thread. One
    /// that panics harms no other.
    pub fn spawn_mandatory(&self, job: Box<dyn FnOnce() + Send>) -> bool {
        let is_taken = self.0.queue(Queued::Mandatory(job));
        self.0.staff();
        is_taken
    }

    /// Whether the scheduler has shut down, and with it the pool: closures are cancelled at once.
    pub fn is_closed(&self) -> bool {
        self.0.state.lock().closed
    }
}

impl fmt::Debug for BlockingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingPool")
            .field("threads", &self.0.threads())
            .finish_non_exhaustive()
    }
}

/// The pool. Shared by the runtime and its handles.
pub(crate) struct Blocking {
    settings: Settings,
    owned: Owned,
    state: Mutex<State>,
    /// A job was queued, or the pool closes.
    jobs: Condvar,
    /// A thread has ended.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Queued>,
    /// Threads that wait for a job.
    idle: usize,
    /// Threads that have not ended.
    threads: usize,
    started: usize,
    closed: bool,
}

/// What waits for a thread.
enum Queued {
    /// The list of tasks has it as well, so that the end cancels it.
    Task(Runnable),
    Mandatory(Box<dyn FnOnce() + Send>),
}

impl Queued {
    fn run(self) {
        match self {
            Queued::Task(task) => task.run(),
            // The panic was reported when it was raised, and nobody waits to hear of it.
            Queued::Mandatory(job) => drop(catch_unwind(AssertUnwindSafe(job))),
        }
    }

    fn is_mandatory(&self) -> bool {
        matches!(self, Queued::Mandatory(_)) && !twin("blocking-end-mandatory-unrun")
    }
}

impl Blocking {
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Blocking {
            settings,
            owned: Owned::for_one_thread(),
            state: Mutex::new(State::default()),
            jobs: Condvar::new(),
            ended: Condvar::new(),
        })
    }

    /// Queues a job. After [`close`](Self::close) it is cancelled at once.
    pub(crate) fn spawn<F, T>(self: &Arc<Self>, job: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (runnable, handle) = task::spawn(Job(Some(job)), self);
        self.schedule(runnable);
        self.staff();
        handle
    }

    /// Takes no more jobs, cancels those that have not begun, has the mandatory ones done, and waits for the threads, until
    /// `deadline` if there is one. What has not begun by then is dropped. Returns how many are still in a job. Called in one of
    /// its own jobs, it does not wait for that one.
    pub(crate) fn close(&self, deadline: Option<Instant>) -> usize {
        self.owned.close_and_cancel_all();
        let mut state = self.state.lock();
        state.closed = true;
        let queue = std::mem::take(&mut state.queue);
        let (mandatory, unrun): (_, VecDeque<_>) =
            queue.into_iter().partition(Queued::is_mandatory);
        state.queue = mandatory;
        if !twin("blocking-end-unrung") {
            self.jobs.notify_all();
        }
        drop(state);
        drop(unrun);
        let own = usize::from(WORKS_FOR.with(Cell::get) == std::ptr::from_ref(self));
        if own == 1 {
            self.run_mandatory(deadline);
        }
        self.wait_for_end(own, deadline)
    }

    /// Until the queue is empty, and no other threads are left than `own`.
    fn wait_for_end(&self, own: usize, deadline: Option<Instant>) -> usize {
        let mut state = self.state.lock();
        let is_over = |state: &State| {
            let is_empty = state.queue.is_empty() || twin("blocking-end-queue-unlooked");
            state.threads == own && is_empty
        };
        while !is_over(&state) {
            match deadline {
                None => self.ended.wait(&mut state),
                Some(deadline) => {
                    if self.ended.wait_until(&mut state, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        let too_late = std::mem::take(&mut state.queue);
        let left = state.threads - own;
        drop(state);
        drop(too_late);
        left
    }

    /// The end, in one of the pool's own jobs: there may be no other thread.
    fn run_mandatory(&self, deadline: Option<Instant>) {
        while deadline.is_none_or(|deadline| Instant::now() < deadline) {
            // In a statement of its own, so that the lock is released before the job is run.
            let job = self.state.lock().queue.pop_front();
            let Some(job) = job else { break };
            job.run();
        }
    }

    /// How many threads there are now.
    pub(crate) fn threads(&self) -> usize {
        self.state.lock().threads
    }

    /// A job was queued: sees to it that a thread will take it.
    fn staff(self: &Arc<Self>) {
        let mut state = self.state.lock();
        let enough = state.idle >= state.queue.len();
        if enough || (state.idle > 0 && !twin("blocking-few-unrung")) {
            self.jobs.notify_one();
        }
        if enough || state.threads == self.settings.max_threads {
            return;
        }
        let pool = self.clone();
        let name = format!("{}-{}", self.settings.name, state.started);
        if thread::Builder::new()
            .name(name)
            .spawn(move || pool.work())
            .is_ok()
        {
            state.threads += 1;
            state.started += 1;
        } else if state.threads == 0 {
            // No thread is there, and the system gives none: better cancelled than never run.
            let unrun = std::mem::take(&mut state.queue);
            self.ended.notify_all();
            drop(state);
            drop(unrun);
        }
    }

    /// Puts it into the queue. `false`: the pool is closed, and it was dropped.
    fn queue(&self, job: Queued) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            drop(state);
            drop(job);
            return false;
        }
        state.queue.push_back(job);
        true
    }

    /// A thread's life.
    fn work(&self) {
        WORKS_FOR.with(|pool| pool.set(self));
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.queue.pop_front() {
                drop(state);
                job.run();
                state = self.state.lock();
                continue;
            }
            if state.closed || !self.wait_for_job(&mut state) {
                break;
            }
        }
        state.threads -= 1;
        self.ended.notify_all();
    }

    /// `false`: nothing came for as long as an idle thread is kept.
    fn wait_for_job(&self, state: &mut MutexGuard<'_, State>) -> bool {
        state.idle += 1;
        let timed_out = self
            .jobs
            .wait_for(state, self.settings.keep_alive)
            .timed_out();
        state.idle -= 1;
        !timed_out || (!twin("blocking-end-unlooked") && !state.queue.is_empty())
    }
}

// SAFETY: `may_drop_here` may be true everywhere, for `spawn` takes only what is Send; `is_inside` is never true.
unsafe impl Schedule for Blocking {
    fn schedule(&self, task: Runnable) {
        // One that is dropped is cancelled, and its handle says so.
        let _ = self.queue(Queued::Task(task));
    }

    fn reschedule(&self, task: Runnable) {
        self.schedule(task);
    }

    fn owned(&self) -> &Owned {
        &self.owned
    }

    fn may_drop_here(&self) -> bool {
        true
    }
}

thread_local! {
    /// The pool that this thread belongs to.
    static WORKS_FOR: Cell<*const Blocking> = const { Cell::new(std::ptr::null()) };
}

/// A closure as a task of one poll.
struct Job<F>(Option<F>);

impl<F> Unpin for Job<F> {}

impl<F: FnOnce() -> T, T> Future for Job<F> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        let job = self.0.take().expect("a job is polled once");
        Poll::Ready(job())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::block_on;
    use std::sync::mpsc;

    fn pool(max_threads: usize, keep_alive: Duration) -> Arc<Blocking> {
        Blocking::new(Settings {
            max_threads,
            keep_alive,
            name: "test".into(),
        })
    }

    #[test]
    fn runs_every_job_with_no_more_threads_than_allowed() {
        let pool = pool(3, Duration::from_secs(10));
        let handles: Vec<_> = (0..100).map(|n| pool.spawn(move || n)).collect();
        let sum: i32 = handles
            .into_iter()
            .map(|handle| block_on(handle).unwrap())
            .sum();
        assert_eq!(sum, 4950);
        assert!((1..=3).contains(&pool.threads()));
        assert_eq!(pool.close(None), 0);
    }

    #[test]
    fn idle_threads_end() {
        let pool = pool(2, Duration::ZERO);
        block_on(pool.spawn(|| ())).unwrap();
        while pool.threads() > 0 {
            std::thread::yield_now();
        }
        assert_eq!(block_on(pool.spawn(|| 1)).unwrap(), 1, "and start again");
        assert_eq!(pool.close(None), 0);
    }

    #[test]
    fn an_idle_thread_takes_the_next_job() {
        let pool = pool(1, Duration::from_secs(3600));
        for job in 0..3 {
            assert_eq!(block_on(pool.spawn(move || job)).unwrap(), job);
            while pool.state.lock().idle == 0 {
                std::thread::yield_now();
            }
        }
        assert_eq!((pool.threads(), pool.state.lock().started), (1, 1));
        pool.close(None);
    }

    #[test]
    fn threads_have_names_of_their_own() {
        let pool = pool(2, Duration::from_secs(10));
        let both = Arc::new(std::sync::Barrier::new(2));
        let names = [both.clone(), both].map(|both| {
            pool.spawn(move || {
                both.wait();
                std::thread::current().name().map(str::to_owned)
            })
        });
        let mut names = names.map(|name| block_on(name).unwrap().unwrap());
        names.sort();
        assert_eq!(names, ["test-0", "test-1"]);
        pool.close(None);
    }

    #[test]
    fn a_job_may_close_its_own_pool() {
        let pool = BlockingPool(pool(1, Duration::from_secs(10)));
        assert!(!pool.is_closed());
        assert_eq!(format!("{pool:?}"), "BlockingPool { threads: 0, .. }");
        let own = pool.clone();
        let (tell, told) = mpsc::channel();
        // What it returns would be lost: it is cancelled as it runs.
        drop(pool.spawn(move || tell.send(own.0.close(None))));
        assert_eq!(told.recv(), Ok(0), "it does not wait for itself");
        assert!(pool.is_closed());
        assert_eq!(pool.0.close(None), 0);
    }

    #[test]
    fn a_panic_is_the_jobs_own() {
        let pool = pool(1, Duration::from_secs(10));
        assert!(
            block_on(pool.spawn(|| panic!("on purpose")))
                .unwrap_err()
                .is_panic()
        );
        assert_eq!(block_on(pool.spawn(|| 1)).unwrap(), 1);
        pool.close(None);
    }

    /// Occupies the only thread until the sender is dropped.
    fn occupy(pool: &BlockingPool) -> mpsc::Sender<()> {
        let (release, wait) = mpsc::channel::<()>();
        let (begun, has_begun) = mpsc::channel();
        drop(pool.spawn(move || {
            begun.send(()).unwrap();
            wait.recv()
        }));
        has_begun.recv().unwrap();
        release
    }

    #[test]
    fn what_is_mandatory_is_done_at_the_end() {
        let pool = BlockingPool(pool(1, Duration::from_secs(10)));
        let release = occupy(&pool);
        let (tell, told) = mpsc::channel();
        assert!(pool.spawn_mandatory(Box::new(|| panic!("on purpose"))));
        let job = {
            let tell = tell.clone();
            move || tell.send("done").unwrap()
        };
        assert!(pool.spawn_mandatory(Box::new(job)));
        // The end cancels it, and so lets the thread go on when the end has begun.
        drop(pool.spawn(move || drop(release)));
        assert_eq!(pool.0.close(None), 0);
        assert_eq!(told.try_recv(), Ok("done"));
        assert!(!pool.spawn_mandatory(Box::new(move || tell.send("after the end").unwrap())));
        assert_eq!(told.recv(), Err(mpsc::RecvError), "dropped");
    }

    #[test]
    fn what_is_mandatory_and_comes_too_late_is_dropped() {
        let pool = BlockingPool(pool(1, Duration::from_secs(10)));
        let release = occupy(&pool);
        let (tell, told) = mpsc::channel::<()>();
        pool.spawn_mandatory(Box::new(move || tell.send(()).unwrap()));
        assert_eq!(pool.0.close(Some(Instant::now())), 1);
        assert_eq!(told.recv(), Err(mpsc::RecvError), "dropped");
        drop(release);
        assert_eq!(pool.0.close(None), 0);
    }

    #[test]
    fn a_job_that_closes_its_own_pool_does_what_is_mandatory_while_there_is_time() {
        let minute = Duration::from_secs(60);
        for (deadline, said) in [
            (None, &["done", "closed"][..]),
            (Some(Instant::now() + minute), &["done", "closed"]),
            (Some(Instant::now()), &["closed"]),
        ] {
            let pool = BlockingPool(pool(1, Duration::from_secs(10)));
            let own = pool.clone();
            let (tell, told) = mpsc::channel();
            drop(pool.spawn(move || {
                let job = {
                    let tell = tell.clone();
                    move || tell.send("done").unwrap()
                };
                own.spawn_mandatory(Box::new(job));
                own.0.close(deadline);
                tell.send("closed").unwrap();
            }));
            assert_eq!(told.iter().collect::<Vec<_>>(), said);
            assert_eq!(pool.0.close(None), 0);
        }
    }

    #[test]
    fn closing_cancels_what_has_not_begun_and_reports_what_runs() {
        let pool = pool(1, Duration::from_secs(10));
        let (release, wait) = mpsc::channel::<()>();
        let (begun, has_begun) = mpsc::channel();
        let running = pool.spawn(move || {
            begun.send(()).unwrap();
            wait.recv()
        });
        let waiting = pool.spawn(|| ());
        has_begun.recv().unwrap();
        assert_eq!(pool.close(Some(Instant::now())), 1);
        assert!(block_on(waiting).unwrap_err().is_cancelled());
        drop(release);
        assert!(block_on(running).unwrap().is_err());
        assert!(
            block_on(pool.spawn(|| ())).unwrap_err().is_cancelled(),
            "closed"
        );
        assert_eq!(pool.close(None), 0);
    }
}
