//! Structured concurrency: tasks that never outlive the future that started them.

use super::{JoinError, JoinHandle, JoinSet};
use crate::handle::Handle;
use crate::sync::Mutex;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

/// Runs `body`, which may spawn tasks into a group, and returns when **all of them have ended**.
///
/// `Ok` means that the body and every task returned `Ok`. The first that doesn't (an error of the body or of a task, a
/// panic or a cancellation of a task) ends the group: the body is dropped, the tasks are aborted, and when the last of
/// them has ended, that first error is returned. Panics and cancellations become an `E` by its `From<JoinError>`; to go on
/// panicking instead, see [`JoinError::try_into_panic`]. Errors that come after the first are dropped.
///
/// Tasks run in parallel on their runtime, so they can't borrow from the body (`'static`); what they may rely on is that
/// nothing of them is left when the group returns.
///
/// # Cancel safety
///
/// Dropping the future cancels every task *in place*: the body and the futures of all tasks are dropped before `drop` returns,
/// on the dropping thread. The exceptions are a task that another thread is polling at that instant, which ends when that one
/// poll returns; a task of a local runtime, when the group is dropped on another thread; and a blocking closure that has
/// begun.
///
/// # Panics
///
/// A panic of the body goes through, after the tasks have been cancelled in place.
///
/// # Cost
///
/// That of a [`JoinSet`]: one allocation per task beside the task's own.
///
/// # Examples
///
/// ```
/// use peu_scheduler::task;
/// use std::io;
///
/// /// Copies every source to its target, all at once; if one fails, none goes on.
/// async fn copy_all(pairs: Vec<(String, String)>) -> io::Result<usize> {
///     task::group(async |group| {
///         let count = pairs.len();
///         for (source, target) in pairs {
///             group.spawn(async move { copy(source, target).await });
///         }
///         Ok(count)
///     })
///     .await
/// }
/// # async fn copy(_: String, _: String) -> io::Result<()> { Ok(()) }
/// # let _ = copy_all;
/// ```
///
/// The idea is that of Trio's nurseries and of Kotlin's coroutine scopes.
pub async fn group<T, E, B>(body: B) -> Result<T, E>
where
    B: AsyncFnOnce(&TaskGroup<E>) -> Result<T, E>,
    E: From<JoinError>,
{
    let group = TaskGroup {
        members: Mutex::new(JoinSet::new()),
    };
    let mut result = {
        let mut body = pin!(body(&group));
        poll_fn(|cx| {
            if let Poll::Ready(result) = body.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            // After the body, whose poll may have put the first task in.
            match group.poll_members(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                _ => Poll::Pending,
            }
        })
        .await
    };
    if result.is_ok()
        && let Err(error) = poll_fn(|cx| group.poll_members(cx)).await
    {
        result = Err(error);
    }
    if result.is_err() {
        group.members.lock().abort_all();
        while poll_fn(|cx| group.poll_members(cx)).await.is_err() {}
    }
    result
}

/// Where the body of a [`group`] spawns its tasks.
pub struct TaskGroup<E> {
    members: Mutex<JoinSet<Result<(), E>>>,
}

impl<E> TaskGroup<E> {
    /// Spawns a task on the current runtime, as a member of the group.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    #[track_caller]
    pub fn spawn<F>(&self, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Send + 'static,
    {
        self.insert(Handle::with_current(|handle| handle.spawn(future)));
    }

    /// Spawns a task on the runtime of `handle`, as a member of the group.
    pub fn spawn_on<F>(&self, future: F, handle: &impl AsRef<Handle>)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Send + 'static,
    {
        self.insert(handle.as_ref().spawn(future));
    }

    /// Makes a task a member that was spawned elsewhere: on a local runtime, or as a blocking closure.
    pub fn insert(&self, task: JoinHandle<Result<(), E>>) {
        // In a statement of its own, so that the lock is released before the wake.
        let ended = self.members.lock().add(task);
        if let Some(ended) = ended {
            ended.wake();
        }
    }

    /// How many tasks of the group have not ended, or have ended since the group was last polled.
    pub fn len(&self) -> usize {
        self.members.lock().len()
    }

    /// No task of the group is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the members out that have ended: the error of the first that failed, or `Ok` when all have ended well.
    fn poll_members(&self, cx: &mut Context<'_>) -> Poll<Result<(), E>>
    where
        E: From<JoinError>,
    {
        loop {
            let next = self.members.lock().poll_join_next(cx);
            match next {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Ok(Ok(())))) => {}
                Poll::Ready(Some(Ok(Err(error)))) => return Poll::Ready(Err(error)),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl<E> Drop for TaskGroup<E> {
    fn drop(&mut self) {
        self.members.get_mut().cancel_all_now();
    }
}

impl<E> fmt::Debug for TaskGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("len", &self.len())
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::task::testing::TestScheduler;
    use std::future::{pending, ready};
    use std::io;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::task::Waker;

    type Member = Result<(), io::Error>;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn failing() -> Member {
        Err(io::Error::other("the first"))
    }

    /// Holds `token` until it is dropped.
    async fn hold(token: Arc<()>) -> Member {
        pending::<()>().await;
        drop(token);
        Ok(())
    }

    #[test]
    fn all_have_ended_when_the_group_returns() {
        let scheduler = TestScheduler::new();
        let mut group = pin!(group(async |group: &TaskGroup<io::Error>| {
            assert!(group.is_empty());
            for _ in 0..3 {
                group.insert(scheduler.spawn(ready(Ok(()))));
            }
            assert_eq!((group.len(), group.is_empty()), (3, false));
            Ok("the body's")
        }));
        assert!(poll(group.as_mut()).is_pending());
        scheduler.run_one();
        assert!(poll(group.as_mut()).is_pending());
        scheduler.run_all();
        let Poll::Ready(result) = poll(group) else {
            panic!("all have ended")
        };
        assert_eq!(result.unwrap(), "the body's");
        assert_eq!(scheduler.holders(), 1);
    }

    /// Runs a group whose first member holds a token and whose body does not end by itself, lets `second` fail it,
    /// and returns the error.
    fn failed_by(second: impl Future<Output = Member> + Send + 'static) -> io::Error {
        let scheduler = TestScheduler::new();
        let token = Arc::new(());
        let in_body = token.clone();
        let mut group = pin!(group(async |group: &TaskGroup<io::Error>| {
            group.insert(scheduler.spawn(hold(token.clone())));
            group.insert(scheduler.spawn(second));
            let _in_body = in_body;
            pending::<Member>().await
        }));
        assert!(poll(group.as_mut()).is_pending());
        scheduler.run_all();
        assert_eq!(Arc::strong_count(&token), 3);
        assert!(
            poll(group.as_mut()).is_pending(),
            "the first has still to end"
        );
        assert_eq!(Arc::strong_count(&token), 2, "the body is gone");
        scheduler.run_all();
        assert_eq!(Arc::strong_count(&token), 1);
        let Poll::Ready(result) = poll(group) else {
            panic!("all have ended")
        };
        result.unwrap_err()
    }

    #[test]
    fn the_first_error_cancels_the_rest() {
        assert_eq!(failed_by(ready(failing())).to_string(), "the first");
    }

    #[test]
    fn a_panic_cancels_the_rest() {
        let error = failed_by(async { panic!("a member") });
        let error = error.into_inner().unwrap().downcast::<JoinError>().unwrap();
        assert!(error.is_panic());
        assert!(error.to_string().ends_with("panicked: a member"));
    }

    #[test]
    fn the_bodys_error_cancels_the_rest() {
        let scheduler = TestScheduler::new();
        let token = Arc::new(());
        let mut group = pin!(group(async |group: &TaskGroup<io::Error>| {
            group.insert(scheduler.spawn(hold(token.clone())));
            failing()
        }));
        assert!(poll(group.as_mut()).is_pending());
        scheduler.run_all();
        assert_eq!(Arc::strong_count(&token), 1);
        let Poll::Ready(result) = poll(group) else {
            panic!("all have ended")
        };
        assert_eq!(result.unwrap_err().to_string(), "the first");
    }

    #[test]
    fn a_member_that_fails_after_the_body_has_ended_counts() {
        let scheduler = TestScheduler::new();
        let mut group = pin!(group(async |group: &TaskGroup<io::Error>| {
            group.insert(scheduler.spawn(ready(failing())));
            group.insert(scheduler.spawn(hold(Arc::new(()))));
            Ok(())
        }));
        assert!(poll(group.as_mut()).is_pending());
        scheduler.run_all();
        assert!(poll(group.as_mut()).is_pending());
        scheduler.run_all();
        let Poll::Ready(result) = poll(group) else {
            panic!("all have ended")
        };
        assert_eq!(result.unwrap_err().to_string(), "the first");
    }

    #[test]
    fn dropping_the_group_drops_its_futures_before_it_returns() {
        for run in [false, true] {
            let scheduler = TestScheduler::new();
            let token = Arc::new(());
            let mut group = Box::pin(group(async |group: &TaskGroup<io::Error>| {
                group.insert(scheduler.spawn(hold(token.clone())));
                group.insert(scheduler.spawn(hold(token.clone())));
                Ok(())
            }));
            assert!(poll(group.as_mut()).is_pending());
            if run {
                scheduler.run_all();
            }
            assert_eq!(Arc::strong_count(&token), 3);
            drop(group);
            assert_eq!((Arc::strong_count(&token), scheduler.alive()), (1, 0));
            scheduler.run_all();
            assert_eq!(scheduler.holders(), 1);
        }
    }

    #[test]
    fn a_panic_of_the_body_cancels_in_place_and_goes_through() {
        let scheduler = TestScheduler::new();
        let token = Arc::new(());
        let mut group = Box::pin(group(async |group: &TaskGroup<io::Error>| -> Member {
            group.insert(scheduler.spawn(hold(token.clone())));
            panic!("the body")
        }));
        assert!(catch_unwind(AssertUnwindSafe(|| poll(group.as_mut()))).is_err());
        assert_eq!(Arc::strong_count(&token), 1);
        scheduler.run_all();
        assert_eq!(scheduler.holders(), 1);
    }

    #[test]
    fn a_group_may_be_a_task_and_groups_nest() {
        let scheduler = TestScheduler::new();
        let token = Arc::new(());
        let nested = |scheduler: TestScheduler, token| {
            group(async move |group: &TaskGroup<io::Error>| {
                group.insert(scheduler.spawn(hold(token)));
                Ok(())
            })
        };
        let inner = (scheduler.clone(), token.clone());
        let outer = scheduler.clone();
        let handle = scheduler.spawn(group(async move |group: &TaskGroup<io::Error>| {
            group.insert(outer.spawn(nested(inner.0, inner.1)));
            Ok(())
        }));
        scheduler.run_all();
        assert_eq!(Arc::strong_count(&token), 2);
        handle.abort();
        scheduler.run_one();
        assert_eq!(Arc::strong_count(&token), 1, "all the way down, in place");
        assert!(handle.is_finished());
    }
}
