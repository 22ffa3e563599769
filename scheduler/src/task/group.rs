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
    pub fn spawn_on<F>(&self, future: F, handle: &Handle)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Send + 'static,
    {
        self.insert(handle.spawn(future));
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
