//! Many tasks, awaited in the order in which they end.
//!
//! Polling every handle at every wake would cost the square of their number. Each entry has a waker of its own instead,
//! which puts the entry's place into a queue of those to look at, and wakes who waits for the set.
//!
//! Who waits leaves its waker under the lock under which it found the queue empty. A task that ends puts its place there under that
//! lock, and takes the waker: so it comes before that look, and is seen, or it wakes. A task that has ended before it got the
//! entry's waker wakes nobody; who puts it in sees that, and does it in its stead.

use super::{AbortHandle, JoinError, JoinHandle};
use crate::handle::Handle;
use crate::sync::{Mutex, twin};
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// A set of tasks with results of one type, taken in the order in which they end.
///
/// Dropping the set aborts its tasks, without waiting for their ends: [`shutdown`](JoinSet::shutdown) waits. To let them
/// run on, call [`detach_all`](JoinSet::detach_all).
///
/// # Cost
///
/// One allocation per task beside the task's own. A task that ends costs the set a constant effort, however many others
/// there are.
///
/// # Examples
///
/// ```
/// use peu_scheduler::{Handle, task::JoinSet};
///
/// async fn sum_of_squares(handle: Handle) -> u64 {
///     let mut squares = JoinSet::new();
///     for n in 1..=3_u64 {
///         squares.spawn_on(async move { n * n }, &handle);
///     }
///     let mut sum = 0;
///     while let Some(square) = squares.join_next().await {
///         sum += square.expect("squaring doesn't panic");
///     }
///     sum
/// }
/// # let _ = sum_of_squares;
/// ```
pub struct JoinSet<T> {
    /// A task's place is its index, also in the queue of ended ones. Places are used again. Only a task that has ended names
    /// its place in the queue, and once: its handle, which nobody else polls, has its only waker.
    places: Vec<Option<JoinHandle<T>>>,
    free: Vec<usize>,
    ended: Arc<Ended>,
}

/// Who has ended, and who wants to know.
#[derive(Default)]
struct Ended {
    state: Mutex<EndedState>,
}

#[derive(Default)]
struct EndedState {
    places: VecDeque<usize>,
    waiting: Option<Waker>,
}

/// The join waker of one entry.
struct EntryWaker {
    place: usize,
    ended: Arc<Ended>,
}

impl<T> JoinSet<T> {
    /// An empty set.
    pub fn new() -> JoinSet<T> {
        JoinSet {
            places: Vec::new(),
            free: Vec::new(),
            ended: Arc::new(Ended::default()),
        }
    }

    /// How many tasks are in the set: spawned, and not yet returned by [`join_next`](JoinSet::join_next).
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// No task is in the set.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Spawns a task on the current runtime and puts it into the set.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    #[track_caller]
    pub fn spawn<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        self.insert(Handle::with_current(|handle| handle.spawn(future)))
    }

    /// Spawns a task on the runtime of `handle` and puts it into the set.
    pub fn spawn_on<F>(&mut self, future: F, handle: &impl AsRef<Handle>) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        self.insert(handle.as_ref().spawn(future))
    }

    /// Runs a closure that may block on the current runtime's pool for that, and puts it into the set.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    #[track_caller]
    pub fn spawn_blocking<F>(&mut self, job: F) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.insert(Handle::with_current(|handle| handle.spawn_blocking(job)))
    }

    /// Spawns a task, which need not be `Send`, on the local runtime that this thread is inside of, and puts it into the set.
    ///
    /// # Panics
    ///
    /// Outside of `block_on` and `turn` of a local runtime.
    #[track_caller]
    pub fn spawn_local<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        self.insert(crate::spawn_local(future))
    }

    /// Puts a task into the set that was spawned elsewhere: on a local runtime, or as a blocking closure.
    pub fn insert(&mut self, task: JoinHandle<T>) -> AbortHandle {
        let abort_handle = task.abort_handle();
        if let Some(ended) = self.add(task) {
            ended.wake();
        }
        abort_handle
    }

    /// Puts a task in, and returns a waker for the caller to wake if it has ended already.
    #[must_use]
    pub(super) fn add(&mut self, mut task: JoinHandle<T>) -> Option<Waker> {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        let waker = Waker::from(Arc::new(EntryWaker {
            place,
            ended: self.ended.clone(),
        }));
        let waits = task.set_waker(&waker) || twin("set-insert-unlooked");
        self.places[place] = Some(task);
        (!waits).then_some(waker)
    }

    /// The result of the next task that ends, or of one that has; `None` when the set is empty.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the task stays in the set until its result has been returned.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        poll_fn(|cx| self.poll_join_next(cx)).await
    }

    /// The result of a task that has ended, if there is one; never waits.
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        match self.poll_join_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => None,
        }
    }

    /// What [`join_next`](JoinSet::join_next) does, for use in a hand-written future. `Pending` only if a task is running;
    /// the waker is then woken when one ends, also one that is put in later.
    pub fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        if self.is_empty() {
            return Poll::Ready(None);
        }
        while let Some(place) = self.ended.next(cx) {
            if let Some(result) = self.places[place]
                .as_mut()
                .and_then(JoinHandle::take_if_finished)
            {
                self.places[place] = None;
                self.free.push(place);
                return Poll::Ready(Some(result));
            }
        }
        Poll::Pending
    }

    /// Waits for all tasks, and returns their results in the order in which they ended.
    ///
    /// Dropping the future aborts the tasks that have not ended.
    pub async fn join_all(mut self) -> Vec<Result<T, JoinError>> {
        let mut results = Vec::with_capacity(self.len());
        while let Some(result) = self.join_next().await {
            results.push(result);
        }
        results
    }

    /// Asks all tasks to end: see [`JoinHandle::abort`]. They stay in the set until their ends have been returned.
    pub fn abort_all(&self) {
        self.places.iter().flatten().for_each(JoinHandle::abort);
    }

    /// Aborts all tasks and waits until each has ended, and its future is dropped. The set is empty after it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves those tasks in the set that have not ended; all are aborted at the first poll.
    pub async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }

    /// Takes all tasks out and lets them run on.
    pub fn detach_all(&mut self) {
        self.places.clear();
        self.free.clear();
        // The tasks' wakers name places in the old queue, where nobody looks any more.
        self.ended = Arc::new(Ended::default());
    }

    /// Drops the futures of all tasks here and now where that can be: see [`AbortHandle::cancel_now`].
    pub(super) fn cancel_all_now(&mut self) {
        for task in self.places.iter().flatten() {
            task.abort_handle().cancel_now();
        }
    }
}

impl<T> Default for JoinSet<T> {
    fn default() -> JoinSet<T> {
        JoinSet::new()
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.abort_all();
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl Ended {
    /// The next place to look at; if there is none, `cx` is woken when there is.
    fn next(&self, cx: &Context<'_>) -> Option<usize> {
        let mut state = self.state.lock();
        if let Some(place) = state.places.pop_front() {
            return Some(place);
        }
        if state
            .waiting
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            return None;
        }
        if twin("set-waiter-late") {
            drop(state);
            state = self.state.lock();
        }
        let old = state.waiting.replace(cx.waker().clone());
        // Dropping a waker may drop a task, and with it whatever its future holds: not under the lock.
        drop(state);
        drop(old);
        None
    }
}

impl Wake for EntryWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.ended.state.lock();
        state.places.push_back(self.place);
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waker) = waiting
            && !twin("set-end-unrung")
        {
            waker.wake();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::task::testing::TestScheduler;
    use std::future::{pending, ready};
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct CountWakes(AtomicUsize);

    impl Wake for CountWakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll<T>(set: &mut JoinSet<T>) -> Poll<Option<Result<T, JoinError>>> {
        set.poll_join_next(&mut Context::from_waker(Waker::noop()))
    }

    /// The next result, which must be there.
    fn next<T>(set: &mut JoinSet<T>) -> Option<Result<T, JoinError>> {
        match poll(set) {
            Poll::Ready(next) => next,
            Poll::Pending => panic!("no task has ended"),
        }
    }

    #[test]
    fn what_has_ended_is_there_without_waiting() {
        let scheduler = TestScheduler::new();
        let mut set = JoinSet::new();
        assert!(set.try_join_next().is_none());
        set.insert(scheduler.spawn(ready(7)));
        assert!(set.try_join_next().is_none(), "it has not ended");
        scheduler.run_all();
        assert_eq!(set.try_join_next().unwrap().unwrap(), 7);
        assert!(set.try_join_next().is_none(), "it was taken");
    }

    #[test]
    fn results_come_in_the_order_of_the_ends() {
        let scheduler = TestScheduler::new();
        let mut set = JoinSet::new();
        assert!(
            next(&mut set).is_none(),
            "an empty set has nothing to wait for"
        );
        let early = scheduler.spawn(ready(0));
        scheduler.run_all();
        for n in 1..=3 {
            set.insert(scheduler.spawn(ready(n)));
        }
        assert!(poll(&mut set).is_pending());
        set.insert(early);
        assert_eq!(
            next(&mut set).unwrap().unwrap(),
            0,
            "it had ended before it came in"
        );
        assert!(poll(&mut set).is_pending());
        assert_eq!(set.len(), 3);
        scheduler.run_all();
        for n in 1..=3 {
            assert_eq!(next(&mut set).unwrap().unwrap(), n);
        }
        assert!(set.is_empty());
        assert!(next(&mut set).is_none());
        drop(set);
        assert_eq!(scheduler.holders(), 1);
    }

    #[test]
    fn one_end_costs_one_wake_and_one_look() {
        let scheduler = TestScheduler::new();
        let mut set = JoinSet::new();
        for _ in 0..100 {
            set.insert(scheduler.spawn(pending::<()>()));
        }
        let last = set.insert(scheduler.spawn(pending()));
        scheduler.run_all();
        let wakes = Arc::new(CountWakes(AtomicUsize::new(0)));
        let waker = Waker::from(wakes.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(set.poll_join_next(&mut cx).is_pending());
        assert!(set.poll_join_next(&mut cx).is_pending());
        last.abort();
        scheduler.run_all();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert_eq!(set.ended.state.lock().places.len(), 1);
        let Poll::Ready(Some(Err(error))) = set.poll_join_next(&mut cx) else {
            panic!("it has ended")
        };
        assert!(error.is_cancelled());
        assert_eq!(error.id(), last.id());
        assert!(set.poll_join_next(&mut cx).is_pending());
        assert_eq!(set.len(), 100);
        drop(set);
        scheduler.run_all();
        assert_eq!(scheduler.alive(), 0);
    }

    #[test]
    fn a_task_put_in_after_the_poll_wakes_too() {
        let scheduler = TestScheduler::new();
        let mut set = JoinSet::new();
        set.insert(scheduler.spawn(pending::<()>()));
        let wakes = Arc::new(CountWakes(AtomicUsize::new(0)));
        assert!(
            set.poll_join_next(&mut Context::from_waker(&Waker::from(wakes.clone())))
                .is_pending()
        );
        let ended = scheduler.spawn(ready(()));
        scheduler.run_all();
        set.insert(ended);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        scheduler.shutdown();
    }

    #[test]
    fn panics_are_results_like_others() {
        let scheduler = TestScheduler::new();
        let mut set = JoinSet::new();
        set.insert(scheduler.spawn(async { panic!("one of two") }));
        set.insert(scheduler.spawn(ready(())));
        scheduler.run_all();
        let results = futures_lite::future::block_on(set.join_all());
        assert_eq!(results.len(), 2);
        assert!(results[0].as_ref().unwrap_err().is_panic());
        assert!(results[1].is_ok());
    }

    #[test]
    fn dropping_the_set_aborts_and_detaching_does_not() {
        let scheduler = TestScheduler::new();
        let mut set = JoinSet::new();
        let tasks = [
            set.insert(scheduler.spawn(pending::<()>())),
            set.insert(scheduler.spawn(pending())),
        ];
        scheduler.run_all();
        drop(set);
        scheduler.run_all();
        assert!(tasks.iter().all(AbortHandle::is_finished));

        let mut set = JoinSet::new();
        let task = set.insert(scheduler.spawn(pending::<()>()));
        set.detach_all();
        assert!(set.is_empty());
        drop(set);
        scheduler.run_all();
        assert!(!task.is_finished());
        task.abort();
        scheduler.run_all();
        assert!(task.is_finished());
        drop((task, tasks));
        assert_eq!(scheduler.holders(), 1);
    }

    #[test]
    fn a_shut_down_set_is_empty() {
        let scheduler = TestScheduler::new();
        let mut set = JoinSet::new();
        set.insert(scheduler.spawn(pending::<()>()));
        set.insert(scheduler.spawn(ready(())));
        let mut shutdown = std::pin::pin!(set.shutdown());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(shutdown.as_mut().poll(&mut cx).is_pending());
        scheduler.run_all();
        assert!(shutdown.as_mut().poll(&mut cx).is_ready());
        assert_eq!(scheduler.alive(), 0);
    }
}
