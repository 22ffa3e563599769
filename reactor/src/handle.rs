//! Handles on a reactor, which are counted, but mostly not one by one.
//!
//! Every timer and every source has a handle, and mostly it is made and dropped on a thread that is inside the reactor. With an
//! `Arc` that is two locked instructions for each timeout. So a thread that enters counts [`IN_ADVANCE`] references more than
//! there are, and gives back on leaving what it has left. In between it makes a handle of one of these, and one that is dropped there leaves its
//! own.
//!
//! # Why nothing is freed too early, nor kept
//!
//! - The count is never lower than the number of references that exist, because each is counted before it is made, and one that was left
//!   is counted until its thread gives it back. To count what was taken on leaving would not do: handles may be sent to other threads
//!   and dropped there meanwhile, and bring the count to zero while this one still has some.
//! - What is current on a thread has a reference of its own beside the spare ones, so it is alive, whether or not any handle is left, and whatever becomes of
//!   the guard: one that is forgotten keeps the reactor until the thread ends.
//! - All that a thread has taken or counted it gives back when what is current changes, and when it ends. Whoever brings the count to zero frees, and nobody else can have a
//!   reference then.

use crate::reactor::Inner;
use crate::sync::{AtomicUsize, thread_local, twin};
use std::cell::Cell;
use std::ops::Deref;
use std::process::abort;
use std::ptr::{self, NonNull};
use std::sync::atomic::{Ordering, fence};

/// References that are counted at a time: a locked instruction for a thousand handles is nothing, and a thousand references too
/// many are nothing to a count that holds 2^31.
const IN_ADVANCE: usize = 1 << 10;

/// A count this high can only come from handles leaked in a loop. Some more could wrap it to zero and free what is in use,
/// so the process ends, as it does for [`std::sync::Arc`].
const MAX_REFERENCES: usize = isize::MAX as usize;

/// A reference to a reactor.
pub(crate) struct Handle(NonNull<Counted>);

struct Counted {
    /// How many references there are, and how many more are counted in advance.
    references: AtomicUsize,
    inner: Inner,
}

// SAFETY: as an Arc's: the handles share what they point to, which may be shared and sent, and whoever frees it is the last.
unsafe impl Send for Handle where Inner: Send + Sync {}
// SAFETY: as above.
unsafe impl Sync for Handle where Inner: Send + Sync {}

/// What a thread is inside of. One that is not the null one has a reference, and `spare` more.
#[derive(Clone, Copy)]
pub(crate) struct Stay {
    of: *const Counted,
    spare: usize,
}

thread_local! {
    static CURRENT: Cell<Stay> = const { Cell::new(Stay::NOWHERE) };
}

// By itself, so that what is looked at for each handle needs no destructor.
thread_local! {
    static AT_END: AtEnd = const { AtEnd };
}

/// Leaves what its thread is inside of: a worker's guard is forgotten.
struct AtEnd;

impl Drop for AtEnd {
    fn drop(&mut self) {
        Stay::NOWHERE.restore();
    }
}

impl Handle {
    pub(crate) fn new(inner: Inner) -> Handle {
        let counted = Counted {
            references: AtomicUsize::new(1),
            inner,
        };
        Handle(NonNull::from(Box::leak(Box::new(counted))))
    }

    pub(crate) fn is(&self, other: &Handle) -> bool {
        self.0 == other.0
    }

    /// Another handle on what this thread is inside of.
    pub(crate) fn current() -> Option<Handle> {
        let current = CURRENT.try_with(Cell::get).ok()?;
        let counted = NonNull::new(current.of.cast_mut())?;
        // SAFETY: what is current has a reference.
        Some(unsafe { Handle::to(counted) })
    }

    /// Puts this thread inside. Returns where it was before.
    pub(crate) fn enter(&self) -> Stay {
        let late = twin("handle-references-late");
        self.counted()
            .acquire(1 + if late { 0 } else { IN_ADVANCE });
        let inside = Stay {
            of: self.0.as_ptr(),
            spare: IN_ADVANCE,
        };
        // The first look has it dropped when the thread ends. One that is ending leaves by the guard.
        let _ = AT_END.try_with(|_| ());
        CURRENT.with(|current| current.replace(inside))
    }

    /// # Safety
    ///
    /// The caller has a reference, or what is current has.
    unsafe fn to(counted: NonNull<Counted>) -> Handle {
        if !Stay::take(counted) {
            // SAFETY: as the caller promises.
            unsafe { counted.as_ref() }.acquire(1);
        }
        Handle(counted)
    }

    fn counted(&self) -> &Counted {
        // SAFETY: our reference keeps it alive.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for Handle {
    fn clone(&self) -> Handle {
        // SAFETY: our reference keeps it alive.
        unsafe { Handle::to(self.0) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !Stay::leave(self.0) {
            // SAFETY: the reference is ours, and gone with us.
            unsafe { release(self.0, 1) };
        }
    }
}

impl Deref for Handle {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.counted().inner
    }
}

impl Stay {
    const NOWHERE: Stay = Stay {
        of: ptr::null(),
        spare: 0,
    };

    /// Puts this thread back to where it was before it entered, and gives back what it has of where it is.
    pub(crate) fn restore(self) {
        // A thread that is ending may have no thread-local any more, and nothing to restore.
        let Ok(left) = CURRENT.try_with(|current| current.replace(self)) else {
            return;
        };
        if let Some(counted) = NonNull::new(left.of.cast_mut()) {
            // SAFETY: these are the references of what was current, and nothing is any more.
            unsafe {
                if twin("handle-references-late") {
                    counted.as_ref().acquire(IN_ADVANCE);
                }
                release(counted, 1 + left.spare);
            }
        }
    }

    /// Takes a reference that is counted already. `false`: this thread is not inside.
    fn take(of: NonNull<Counted>) -> bool {
        Stay::change(of, |spare, counted| {
            if spare == 0 {
                counted.acquire(IN_ADVANCE);
                return IN_ADVANCE - 1;
            }
            spare - 1
        })
    }

    /// Leaves a reference, which stays counted. `false`: this thread is not inside.
    fn leave(of: NonNull<Counted>) -> bool {
        Stay::change(of, |spare, counted| {
            // Handles may come from another thread without end. Those that are given back are not the last: what is current has one.
            if spare == 2 * IN_ADVANCE {
                counted.give_back(IN_ADVANCE);
                return IN_ADVANCE + 1;
            }
            spare + 1
        })
    }

    fn change(of: NonNull<Counted>, spare: impl FnOnce(usize, &Counted) -> usize) -> bool {
        let changed = CURRENT.try_with(|current| {
            let mut stay = current.get();
            if !ptr::eq(stay.of, of.as_ptr()) {
                return false;
            }
            // SAFETY: what is current has a reference.
            stay.spare = spare(stay.spare, unsafe { of.as_ref() });
            current.set(stay);
            true
        });
        changed.unwrap_or(false)
    }
}

impl Counted {
    fn acquire(&self, references: usize) {
        // ORDERING: Relaxed, as for Arc: the new references come from one that exists, and whatever hands them to another
        // thread orders them.
        if self.references.fetch_add(references, Ordering::Relaxed) > MAX_REFERENCES {
            abort();
        }
    }

    /// `true`: they were the last.
    fn give_back(&self, references: usize) -> bool {
        // ORDERING: Release pairs with the Acquire fence of whoever frees, who thus sees all accesses through these references.
        let before = self.references.fetch_sub(references, Ordering::Release);
        debug_assert!(before >= references, "a reference given back twice");
        before == references
    }
}

/// Gives references back, and frees what they point to with the last.
///
/// # Safety
///
/// They are the caller's, who doesn't use them again.
unsafe fn release(counted: NonNull<Counted>, references: usize) {
    // SAFETY: the references keep it alive up to here.
    if unsafe { counted.as_ref() }.give_back(references) {
        // ORDERING: pairs with the Release of each `give_back` before, as for Arc.
        fence(Ordering::Acquire);
        // SAFETY: it came from a Box, and the last reference is gone.
        drop(unsafe { Box::from_raw(counted.as_ptr()) });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::Reactor;

    fn references(reactor: &Reactor) -> usize {
        let counted = reactor.handle().counted();
        counted.references.load(Ordering::Relaxed)
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no timerfd")]
    fn handles_inside_are_not_counted_one_by_one() {
        let reactor = Reactor::new().unwrap();
        let entered = reactor.enter();
        let inside = references(&reactor);
        let handles: Vec<_> = (0..IN_ADVANCE)
            .map(|_| Reactor::current().unwrap())
            .collect();
        assert_eq!(references(&reactor), inside);
        let another = reactor.clone();
        assert_eq!(references(&reactor), inside + IN_ADVANCE);
        drop((handles, another));
        assert_eq!(references(&reactor), inside + IN_ADVANCE);
        drop(entered);
        assert_eq!(references(&reactor), 1);
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no timerfd")]
    fn handles_that_come_from_elsewhere_are_given_back_now_and_then() {
        let reactor = Reactor::new().unwrap();
        let handles: Vec<_> = (0..10 * IN_ADVANCE).map(|_| reactor.clone()).collect();
        assert_eq!(references(&reactor), 1 + handles.len());
        let entered = reactor.enter();
        drop(handles);
        assert!(references(&reactor) <= 2 + 2 * IN_ADVANCE);
        drop(entered);
        assert_eq!(references(&reactor), 1);
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no timerfd")]
    fn guards_that_are_dropped_in_the_wrong_order_free_nothing_in_use() {
        let (outer, inner) = (Reactor::new().unwrap(), Reactor::new().unwrap());
        let (left_first, left_last) = (outer.enter(), inner.enter());
        drop(left_first);
        assert!(Reactor::current().is_none());
        assert_eq!(references(&inner), 1);
        drop(left_last);
        let current = Reactor::current().unwrap();
        assert!(current.is(&outer));
        drop(outer);
        assert!(!current.is_closed(), "it is alive");
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no timerfd")]
    fn a_thread_that_ends_inside_leaves() {
        let reactor = Reactor::new().unwrap();
        let (entered, ended) = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                std::mem::forget(reactor.enter());
                let handle = Reactor::current().unwrap();
                let inside = references(&reactor);
                drop(handle);
                inside
            });
            // Not the scope's end, which does not wait for thread-locals.
            (thread.join().unwrap(), references(&reactor))
        });
        assert_eq!((entered, ended), (2 + IN_ADVANCE, 1));
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no timerfd")]
    fn a_guard_that_is_forgotten_keeps_the_reactor() {
        let reactor = Reactor::new().unwrap();
        std::mem::forget(reactor.enter());
        drop(reactor);
        assert!(!Reactor::current().unwrap().is_closed());
        Stay::NOWHERE.restore();
        assert!(Reactor::current().is_none());
    }
}
