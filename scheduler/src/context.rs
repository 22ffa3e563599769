//! Which worker this thread is, if it is one: the only thread-local that scheduling needs.

use crate::shared::Shared;
use crate::sync::thread_local;
use crate::worker::Worker;
use std::cell::Cell;
use std::ptr;

thread_local! {
    static WORKER: Cell<*const Worker> = const { Cell::new(ptr::null()) };
}

/// Makes the calling thread `worker` for as long as `body` runs.
pub(crate) fn enter_worker<R>(worker: &Worker, body: impl FnOnce() -> R) -> R {
    struct Leave(*const Worker);
    impl Drop for Leave {
        fn drop(&mut self) {
            WORKER.with(|worker| worker.set(self.0));
        }
    }
    let _leave = Leave(WORKER.with(|outer| outer.replace(worker)));
    body()
}

/// Calls `f` with the worker of `shared` that this thread is, or with `None`.
pub(crate) fn with_worker<R>(shared: &Shared, f: impl FnOnce(Option<&Worker>) -> R) -> R {
    // `try_with`: wakers are also called by destructors of other thread-locals, when this one may be gone.
    let worker = WORKER.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: the pointer is null, or set by `enter_worker` on this thread, whose `body` is still running, so that the
    // borrow it came from is alive.
    let worker = unsafe { worker.as_ref() };
    f(worker.filter(|worker| ptr::eq(&*worker.shared, shared)))
}

/// Whether this thread is a worker of any scheduler.
pub(crate) fn is_worker() -> bool {
    WORKER
        .try_with(|worker| !worker.get().is_null())
        .unwrap_or(false)
}
