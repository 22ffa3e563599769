//! A scheduler that is a queue, for unit tests and models: whoever calls `run_one` is its worker.

#[cfg(any(loom, shuttle))]
use super::AbortHandle;
use super::{JoinHandle, Owned, Runnable, Schedule};
use crate::sync::{Arc, Mutex};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::thread::ThreadId;

/// A handle on the queue; clones are the same queue.
#[derive(Clone)]
pub struct TestScheduler(Arc<Queue>);

pub(super) struct Queue {
    /// `None` once the scheduler is shut down.
    tasks: Mutex<Option<VecDeque<Runnable>>>,
    owned: Owned,
    /// How many tasks came by `reschedule`.
    rescheduled: Mutex<usize>,
    inside: bool,
    home: Option<ThreadId>,
    lists_at_rest: bool,
}

impl TestScheduler {
    /// A scheduler whose wakes by value take the way of a foreign thread.
    pub fn new() -> TestScheduler {
        TestScheduler::with(false, None, false)
    }

    /// One that lists tasks when they come to rest.
    pub fn listing_at_rest() -> TestScheduler {
        TestScheduler::with(false, None, true)
    }

    /// One that says that every thread is inside it. The caller keeps it alive.
    pub fn inside() -> TestScheduler {
        TestScheduler::with(true, None, false)
    }

    /// One for futures that must not leave the calling thread.
    pub fn local() -> TestScheduler {
        TestScheduler::with(false, Some(std::thread::current().id()), false)
    }

    fn with(inside: bool, home: Option<ThreadId>, lists_at_rest: bool) -> TestScheduler {
        TestScheduler(Arc::new(Queue {
            tasks: Mutex::new(Some(VecDeque::new())),
            owned: Owned::new(),
            rescheduled: Mutex::new(0),
            inside,
            home,
            lists_at_rest,
        }))
    }

    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (task, handle) = super::spawn(future, &self.0);
        self.0.schedule(task);
        handle
    }

    /// For a scheduler made by `local`, on its thread.
    pub fn spawn_local<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        assert!(self.0.home.is_some() && self.0.may_drop_here());
        // SAFETY: the scheduler's thread is this one, and `run_one` checks it too.
        let (task, handle) = unsafe { super::spawn_local(future, &self.0) };
        self.0.schedule(task);
        handle
    }

    /// Runs the task that has waited longest; false if there is none.
    pub fn run_one(&self) -> bool {
        assert!(self.0.may_drop_here());
        let next = self.0.tasks.lock().as_mut().and_then(VecDeque::pop_front);
        next.map(Runnable::run).is_some()
    }

    /// Runs tasks until none is scheduled.
    pub fn run_all(&self) {
        while self.run_one() {}
    }

    /// Drops the task that has waited longest without running it; false if there is none.
    pub fn drop_one(&self) -> bool {
        let next = self.0.tasks.lock().as_mut().and_then(VecDeque::pop_front);
        next.map(drop).is_some()
    }

    /// How many tasks are scheduled.
    pub fn scheduled(&self) -> usize {
        self.0.tasks.lock().as_ref().map_or(0, VecDeque::len)
    }

    pub fn rescheduled(&self) -> usize {
        *self.0.rescheduled.lock()
    }

    /// How many tasks are in the list: those that are not complete, and have come to rest where that is when they are listed.
    pub fn alive(&self) -> usize {
        self.0.owned.len()
    }

    /// Closes the list, then the queue: what a runtime does when it ends.
    pub fn shutdown(&self) {
        self.0.owned.close_and_cancel_all();
        let tasks = self.0.tasks.lock().take();
        drop(tasks);
    }

    /// How many handles and tasks hold the scheduler.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

/// What a task group does to its members when it is dropped.
#[cfg(any(loom, shuttle))]
pub fn cancel_now(task: AbortHandle) {
    task.cancel_now();
}

impl fmt::Debug for TestScheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TestScheduler")
    }
}

impl Queue {
    fn push(&self, task: Runnable) {
        let mut tasks = self.tasks.lock();
        if let Some(tasks) = tasks.as_mut() {
            return tasks.push_back(task);
        }
        drop(tasks);
        drop(task);
    }
}

// SAFETY: `inside` is set only where the test keeps the scheduler alive to its end; `home` is compared truly.
unsafe impl Schedule for Queue {
    fn lists_at_rest(&self) -> bool {
        self.lists_at_rest
    }

    fn schedule(&self, task: Runnable) {
        self.push(task);
    }

    fn reschedule(&self, task: Runnable) {
        *self.rescheduled.lock() += 1;
        self.push(task);
    }

    fn owned(&self) -> &Owned {
        &self.owned
    }

    fn may_drop_here(&self) -> bool {
        self.home
            .is_none_or(|home| home == std::thread::current().id())
    }

    fn is_inside(&self) -> bool {
        self.inside
    }
}
