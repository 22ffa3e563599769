//! The way into a scheduler: spawning, from any thread, and knowing which scheduler one is in.

use crate::block_on::block_on;
use crate::blocking::Blocking;
use crate::local::LocalShared;
use crate::metrics::WorkerMetrics;
use crate::shared::Shared;
use crate::sync::{Arc, thread_local};
use crate::task::{self, JoinHandle, Schedule};
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::rc::Rc;

/// Spawns tasks on a scheduler. Cheap to clone; any thread may hold one, also beyond the scheduler's end.
///
/// # Example
///
/// ```
/// # use peu_scheduler::Handle;
/// async fn both(handle: Handle) -> Result<u32, peu_scheduler::task::JoinError> {
///     let left = handle.spawn(async { 20 });
///     let right = handle.spawn_blocking(|| 22);
///     Ok(left.await? + right.await?)
/// }
/// # let _ = both;
/// ```
#[derive(Clone)]
pub struct Handle {
    flavor: Flavor,
}

#[derive(Clone)]
enum Flavor {
    Stealing(Arc<Shared>),
    Local(Arc<LocalShared>),
}

impl Handle {
    pub(crate) fn stealing(shared: Arc<Shared>) -> Self {
        Handle {
            flavor: Flavor::Stealing(shared),
        }
    }

    pub(crate) fn local(shared: Arc<LocalShared>) -> Self {
        Handle {
            flavor: Flavor::Local(shared),
        }
    }

    /// Starts a task. It runs whether or not the handle is awaited; dropping the handle detaches it.
    ///
    /// After the scheduler has shut down, the future is dropped at once and the handle says cancelled.
    ///
    /// Costs one allocation. From a worker of the same scheduler none, while it has the memory of a task of the same size that ended there (it keeps up to 256 of
    /// 512 bytes at most), no lock but the shard of the task list, no system
    /// call unless a sleeping sibling is worth waking; from elsewhere: a push to the shared queue, and a wake if
    /// everybody sleeps.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match &self.flavor {
            Flavor::Stealing(shared) => {
                let (task, handle) = task::spawn(future, shared);
                shared.schedule_fresh(task);
                handle
            }
            Flavor::Local(shared) => {
                let (task, handle) = task::spawn(future, shared);
                shared.schedule(task);
                handle
            }
        }
    }

    /// Runs a closure that may block on a thread of the small pool for such things.
    ///
    /// The pool is bounded, and more closures wait in order: closures that wait for each other can deadlock it. Aborting
    /// takes effect only before the closure has begun. After the scheduler has shut down, or if the system gives no
    /// thread, the closure is dropped unrun and the handle says cancelled.
    pub fn spawn_blocking<F, T>(&self, job: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.blocking().spawn(job)
    }

    /// Runs `future` on the calling thread, inside the scheduler: see [`block_on`](crate::block_on()).
    ///
    /// # Panics
    ///
    /// When called on a worker, inside a local scheduler, or on the thread of this scheduler if it is a local one,
    /// which would wait for itself; and when the future panics.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        if let Flavor::Local(shared) = &self.flavor {
            assert!(
                !shared.is_own_thread(),
                "Handle::block_on was called on the thread of its own peu LocalRuntime, which would then run nothing: \
                 use LocalRuntime::block_on"
            );
        }
        let _inside = self.enter();
        block_on(future)
    }

    /// Makes this the current scheduler of the calling thread until the guard is dropped. Guards nest, and must be
    /// dropped in reverse order.
    pub fn enter(&self) -> EnterGuard<'_> {
        let entered = Some(Rc::new(self.clone()));
        let previous = CURRENT.with(|current| current.replace(entered));
        EnterGuard {
            previous,
            not_send: PhantomData,
        }
    }

    /// The scheduler that the calling thread is inside of, if any.
    pub fn try_current() -> Option<Handle> {
        inside().map(|handle| Handle::clone(&handle))
    }

    /// The scheduler that the calling thread is inside of.
    ///
    /// # Panics
    ///
    /// Outside of any.
    #[track_caller]
    pub fn current() -> Handle {
        Self::with_current(Handle::clone)
    }

    /// Calls `f` with the scheduler that the calling thread is inside of, without cloning its handle.
    ///
    /// # Panics
    ///
    /// Outside of any.
    #[track_caller]
    pub fn with_current<R>(f: impl FnOnce(&Handle) -> R) -> R {
        match inside() {
            Some(handle) => f(&handle),
            None => panic!("{OUTSIDE}"),
        }
    }

    /// The workers' counters, added up. All 0 for a local scheduler but `polls` and `turns`.
    pub fn metrics(&self) -> WorkerMetrics {
        match &self.flavor {
            Flavor::Stealing(shared) => {
                WorkerMetrics::sum(shared.workers.iter().map(|worker| &*worker.stats))
            }
            Flavor::Local(shared) => WorkerMetrics::sum(std::iter::once(&shared.stats)),
        }
    }

    /// How many threads the pool for blocking closures has now.
    pub fn blocking_threads(&self) -> usize {
        self.blocking().threads()
    }

    fn blocking(&self) -> &Arc<Blocking> {
        match &self.flavor {
            Flavor::Stealing(shared) => &shared.blocking,
            Flavor::Local(shared) => &shared.blocking,
        }
    }
}

/// So that what takes a handle takes that of a runtime around the scheduler as well.
impl AsRef<Handle> for Handle {
    fn as_ref(&self) -> &Handle {
        self
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flavor = match &self.flavor {
            Flavor::Stealing(_) => "stealing",
            Flavor::Local(_) => "local",
        };
        f.debug_struct("Handle")
            .field("flavor", &flavor)
            .finish_non_exhaustive()
    }
}

const OUTSIDE: &str = "there is no current peu runtime on this thread: call this inside `block_on` or a task of a \
                       runtime, or while a guard of `Handle::enter` lives, or use a `Handle`";

thread_local! {
    /// In an `Rc`, so that who uses it need not borrow the cell meanwhile (a spawn may run destructors, and they may
    /// enter another scheduler), nor count in a line that other threads share.
    static CURRENT: RefCell<Option<Rc<Handle>>> = const { RefCell::new(None) };
}

#[inline]
fn inside() -> Option<Rc<Handle>> {
    CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten()
}

/// Restores the thread's previous scheduler when dropped.
#[must_use = "the scheduler is the current one only while the guard lives"]
pub struct EnterGuard<'a> {
    previous: Option<Rc<Handle>>,
    /// A thread's own, and bound to the handle that was entered.
    not_send: PhantomData<(*const (), &'a Handle)>,
}

impl Drop for EnterGuard<'_> {
    fn drop(&mut self) {
        // The one that leaves is dropped after the cell is released. A thread that is ending has no current scheduler
        // any more.
        let left = CURRENT.try_with(|current| current.replace(self.previous.take()));
        drop(left);
    }
}

impl fmt::Debug for EnterGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnterGuard").finish_non_exhaustive()
    }
}
