//! The one allocation of a task, and what is done to it by code that knows its types.
//!
//! Everything outside this file holds a `NonNull<Header>` and goes through the [`Vtable`]. The functions behind it are
//! the only ones that touch the future and the result.

use super::error::{Failure, Payload};
use super::id::Id;
use super::owned::Links;
use super::polling::{self, IN_ADVANCE};
use super::runnable::Runnable;
use super::state::{Complete, Pause, Start, State};
use super::stock::{Blank, Stock};
use super::{Schedule, waker};
use crate::sync::{Arc, UnsafeCell, twin};
use std::alloc::Layout;
use std::any::Any;
use std::future::Future;
use std::mem::{ManuallyDrop, MaybeUninit, offset_of};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::task::{Context, Poll, Waker};

/// What a task ended with, as it lies in the cell.
pub(super) type Outcome<T> = Result<T, Failure>;

/// The part of a task that doesn't depend on its types. The table in the module's documentation says who may touch what.
pub(crate) struct Header {
    pub(super) state: State,
    pub(super) vtable: &'static Vtable,
    /// Neighbours in the list of owned tasks; under the lock of the list's shard.
    pub(super) links: UnsafeCell<Links>,
    /// From the list; it also says which shard of it the task is in.
    pub(super) id: Id,
    /// Who waits for the task. Full exactly while `JOIN_WAKER` is set and the task isn't complete.
    pub(super) join_waker: UnsafeCell<MaybeUninit<Waker>>,
}

/// The whole task. `repr(C)`: a pointer to it is a pointer to its header.
#[repr(C)]
struct Cell<F: Future, S> {
    header: Header,
    /// Lives as long as the cell, not only as long as the future: a wake that has just set `SCHEDULED` still calls it.
    scheduler: Arc<S>,
    stage: UnsafeCell<Stage<F>>,
}

/// The future until it is dropped; then, if somebody wants it, the result. The state word says which, so no tag is needed.
union Stage<F: Future> {
    future: ManuallyDrop<F>,
    outcome: ManuallyDrop<Outcome<F::Output>>,
}

impl<F: Future> Stage<F> {
    fn of(future: F) -> UnsafeCell<Stage<F>> {
        UnsafeCell::new(Stage {
            future: ManuallyDrop::new(future),
        })
    }
}

/// What needs the types. Every function wants a pointer to a live cell of its own types; what else it wants is said here.
pub(crate) struct Vtable {
    /// Runs a `Runnable`, whose reference it takes.
    pub(super) run: unsafe fn(NonNull<Header>),
    /// Drops the future and completes the task. The caller has claimed `RUNNING`, and gives up one reference.
    pub(super) cancel: unsafe fn(NonNull<Header>),
    /// Makes a `Runnable` of one reference, with `SCHEDULED` just set by the caller, and hands it to the scheduler. The
    /// caller has another reference to the task, or is inside the scheduler.
    pub(super) schedule: unsafe fn(NonNull<Header>),
    /// Moves the result out to an `Outcome<F::Output>`. Once at most, by the handle, after completion.
    pub(super) take_outcome: unsafe fn(NonNull<Header>, *mut ()),
    /// Drops the result. Once at most and never after `take_outcome`.
    pub(super) drop_outcome: unsafe fn(NonNull<Header>),
    /// [`Schedule::is_inside`].
    pub(super) is_inside: unsafe fn(NonNull<Header>) -> bool,
    /// [`Schedule::may_drop_here`].
    pub(super) may_drop_here: unsafe fn(NonNull<Header>) -> bool,
    /// Frees the memory, or keeps it for the next task. The caller gave back the last reference.
    pub(super) deallocate: unsafe fn(NonNull<Header>),
}

/// A task in its first state, with three references that belong to the caller, in a cell that this thread has kept or in a
/// new one.
pub(super) fn allocate<F: Future, S: Schedule>(
    future: F,
    scheduler: &Arc<S>,
    listed: bool,
) -> NonNull<Header> {
    let layout = Layout::new::<Cell<F, S>>();
    let (id, kept) = scheduler.with_stock(|stock| match stock {
        Some(stock) => {
            let kept = match Stock::<S>::keeps(layout) {
                true => stock.take(layout),
                false => None,
            };
            (stock.number(scheduler.owned()), kept)
        }
        None => (scheduler.owned().number(), None),
    });
    let header = Header {
        state: State::new(listed),
        vtable: &Cell::<F, S>::VTABLE,
        links: UnsafeCell::new(Links::new()),
        id,
        join_waker: UnsafeCell::new(MaybeUninit::uninit()),
    };
    let stage = Stage::of(future);
    let Some(blank) = kept else {
        let cell = Box::new(Cell {
            header,
            scheduler: Arc::clone(scheduler),
            stage,
        });
        return NonNull::from(Box::leak(cell)).cast();
    };
    const { assert!(offset_of!(Cell<F, S>, scheduler) == offset_of!(Blank<S>, scheduler)) };
    let cell = blank.cast::<Cell<F, S>>();
    // SAFETY: memory of this layout, ours alone, in which all is gone but the scheduler: a reference to the same one.
    unsafe {
        (&raw mut (*cell.as_ptr()).header).write(header);
        (&raw mut (*cell.as_ptr()).stage).write(stage);
    }
    cell.cast()
}

/// How many bytes a task of these types takes.
#[cfg(test)]
pub(super) const fn bytes<F: Future, S>() -> usize {
    size_of::<Cell<F, S>>()
}

/// Gives back `references` of the caller's, and the memory with the last of all.
///
/// # Safety
///
/// They are the caller's, and it doesn't touch the task again.
#[inline]
pub(super) unsafe fn release(task: NonNull<Header>, references: usize) {
    // SAFETY: the caller's references keep the task alive up to here, and the last one up to the deallocation.
    unsafe {
        if task.as_ref().state.release(references) {
            (task.as_ref().vtable.deallocate)(task);
        }
    }
}

/// Drops a value of the user's, whose destructor may panic, and hands back what that panic carries.
///
/// Nothing is dropped twice: a destructor that panics has run, and the compiler drops the value's other fields all the same.
fn drop_caught<T>(value: T) -> Option<Payload> {
    catch_unwind(AssertUnwindSafe(|| drop(value)))
        .err()
        .map(Payload::new)
}

/// Drops a value of the user's where nobody is left to be told of a panic. The panic hook has told it already.
pub(super) fn discard<T>(value: T) {
    let Some(payload) = drop_caught(value) else {
        return;
    };
    // A payload is of the user's too. One whose destructor panics with yet another: leaked, there must be an end.
    if let Some(second) = drop_caught(payload) {
        std::mem::forget(second);
    }
}

impl<F: Future, S: Schedule> Cell<F, S> {
    const VTABLE: Vtable = Vtable {
        run: Self::run,
        cancel: Self::cancel,
        schedule: Self::schedule,
        take_outcome: Self::take_outcome,
        drop_outcome: Self::drop_outcome,
        is_inside: Self::is_inside,
        may_drop_here: Self::may_drop_here,
        deallocate: Self::deallocate,
    };

    /// # Safety
    ///
    /// `task` is a cell of these types and stays alive for `'a`.
    unsafe fn of<'a>(task: NonNull<Header>) -> &'a Self {
        // SAFETY: the header is the first field of a `repr(C)` cell, and the pointer came from the whole cell.
        unsafe { task.cast::<Self>().as_ref() }
    }

    /// See [`Vtable::run`].
    unsafe fn run(task: NonNull<Header>) {
        // SAFETY: the `Runnable`'s reference keeps the cell alive up to the transition that gives it back, and nothing
        // touches the cell after that. `start` answering Poll or Cancel, and `pause` answering Cancel, make the future
        // ours (RUNNING), which `poll` and `cancel` want.
        unsafe {
            let late = twin("task-references-late");
            let in_advance = if late { 0 } else { IN_ADVANCE };
            match Self::of(task).header.state.start(in_advance) {
                Start::Poll => Self::poll(task),
                Start::Cancel => Self::cancel(task),
                Start::Nothing => {}
                Start::Deallocate => Self::deallocate(task),
            }
        }
    }

    /// Polls the future once. The caller has claimed `RUNNING`, and gives up one reference and those counted in advance.
    unsafe fn poll(task: NonNull<Header>) {
        // SAFETY: as in `run`.
        unsafe {
            let cell = Self::of(task);
            let current = polling::enter(task, IN_ADVANCE);
            let polled = cell.poll_future(task);
            let spare = current.settle();
            if twin("task-references-late") {
                cell.header.state.acquire(IN_ADVANCE);
            }
            let outcome = match polled {
                Ok(Poll::Pending) => match cell.header.state.pause(spare, cell.is_listed_now(task))
                {
                    Pause::Idle => return,
                    Pause::Reschedule => return Self::reschedule(task),
                    Pause::Cancel => return Self::cancel(task),
                },
                Ok(Poll::Ready(output)) => Ok(output),
                Err(panic) => Err(Failure::Panicked(panic)),
            };
            Self::finish(task, outcome, spare);
        }
    }

    /// Takes the task into the list, if that is still to be done. No: the list is closed.
    ///
    /// # Safety
    ///
    /// The caller has claimed `RUNNING`.
    #[inline]
    unsafe fn is_listed_now(&self, task: NonNull<Header>) -> bool {
        // SAFETY: as the caller promises; whoever has listed it had RUNNING before, and said so when he gave that up.
        self.header.state.load().is_listed() || unsafe { self.scheduler.owned().list(task) }
    }

    /// # Safety
    ///
    /// The caller has claimed `RUNNING`.
    unsafe fn poll_future(&self, task: NonNull<Header>) -> Result<Poll<F::Output>, Payload> {
        // SAFETY: the caller's reference outlives the waker, which borrows it (ManuallyDrop: it gives nothing back).
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(waker::raw(task)) });
        let mut context = Context::from_waker(&waker);
        self.stage.with_mut(|stage| {
            // SAFETY: RUNNING makes the stage ours; the future is still in it, since the task isn't complete; it has
            // been at this address since before its first poll, and is dropped there.
            let future = unsafe { Pin::new_unchecked(&mut *(*stage).future) };
            catch_unwind(AssertUnwindSafe(|| future.poll(&mut context))).map_err(Payload::new)
        })
    }

    /// See [`Vtable::cancel`].
    unsafe fn cancel(task: NonNull<Header>) {
        // SAFETY: the caller's reference keeps the task alive, and its scheduler is never written.
        let closed = unsafe { Self::of(task).scheduler.owned().is_closed() };
        let why = if closed {
            Failure::RuntimeGone
        } else {
            Failure::Cancelled
        };
        // SAFETY: the caller has RUNNING and one reference, as `finish` wants.
        unsafe { Self::finish(task, Err(why), 0) }
    }

    /// Drops the future, stores the result if it is wanted, leaves the list, completes, wakes the handle. The caller has
    /// claimed `RUNNING`, and gives up one reference and those that are `spare`.
    unsafe fn finish(task: NonNull<Header>, mut outcome: Outcome<F::Output>, spare: usize) {
        // SAFETY: RUNNING makes the stage ours until `complete`. The future is in it, and is dropped once: RUNNING stays
        // set until COMPLETE. The references counted are the caller's, the spare ones and those that were left to them
        // meanwhile, and the list's, if the task is in it or was to be.
        unsafe {
            let cell = Self::of(task);
            let current = polling::enter(task, spare);
            if let Some(panic) = cell.drop_future() {
                // Told rather than swallowed: a thread whose last destructor panics has panicked too.
                discard(std::mem::replace(
                    &mut outcome,
                    Err(Failure::Panicked(panic)),
                ));
            }
            let now = cell.header.state.load();
            let wanted = now.has_join_handle();
            if wanted {
                cell.stage
                    .with_mut(|stage| (*stage).outcome = ManuallyDrop::new(outcome));
            } else {
                discard(outcome);
            }
            let of_list = !now.is_listed() || cell.scheduler.owned().remove(task);
            let references = 1 + usize::from(of_list) + current.settle();
            match cell.header.state.complete(wanted, references) {
                Complete::Nothing => {}
                Complete::Deallocate => Self::deallocate(task),
                Complete::WakeJoiner => {
                    let waker = cell
                        .header
                        .join_waker
                        .with(|slot| (*slot).assume_init_read());
                    release(task, references);
                    discard_wake(waker);
                }
                Complete::DropOutput => {
                    let current = polling::enter(task, references);
                    Self::drop_outcome(task);
                    release(task, current.settle());
                }
            }
        }
    }

    /// # Safety
    ///
    /// The caller has claimed `RUNNING` and does this once.
    unsafe fn drop_future(&self) -> Option<Payload> {
        self.stage.with_mut(|stage| {
            // SAFETY: as the caller promises; dropped in place, since it may be pinned.
            let drop = || unsafe { ManuallyDrop::drop(&mut (*stage).future) };
            catch_unwind(AssertUnwindSafe(drop)).err().map(Payload::new)
        })
    }

    /// See [`Vtable::schedule`].
    unsafe fn schedule(task: NonNull<Header>) {
        // SAFETY: the caller hands over one reference with SCHEDULED set; and it has another one, or is inside the
        // scheduler, so that the scheduler outlives the call even if the task ends meanwhile.
        unsafe { Self::of(task).scheduler.schedule(Runnable::from_raw(task)) }
    }

    /// The task was woken while it ran.
    unsafe fn reschedule(task: NonNull<Header>) {
        // SAFETY: the caller hands over its reference, with SCHEDULED set. Another thread may run the task to its end
        // before `reschedule` has returned, so the scheduler is held on to, unless this thread does so anyway.
        unsafe {
            let scheduler = &Self::of(task).scheduler;
            if scheduler.is_inside() {
                scheduler.reschedule(Runnable::from_raw(task));
            } else {
                let scheduler = Arc::clone(scheduler);
                scheduler.reschedule(Runnable::from_raw(task));
            }
        }
    }

    /// See [`Vtable::take_outcome`].
    unsafe fn take_outcome(task: NonNull<Header>, to: *mut ()) {
        // SAFETY: `to` points to room for this type, as the caller promises; after completion the result is in the
        // stage, and the handle, which calls this once, is the only one to touch it.
        unsafe {
            Self::of(task).stage.with_mut(|stage| {
                let outcome = ManuallyDrop::take(&mut (*stage).outcome);
                to.cast::<Outcome<F::Output>>().write(outcome);
            });
        }
    }

    /// See [`Vtable::drop_outcome`].
    unsafe fn drop_outcome(task: NonNull<Header>) {
        let mut outcome = MaybeUninit::<Outcome<F::Output>>::uninit();
        // SAFETY: as in `take_outcome`, which fills `outcome`.
        unsafe {
            Self::take_outcome(task, outcome.as_mut_ptr().cast());
            discard(outcome.assume_init());
        }
    }

    unsafe fn is_inside(task: NonNull<Header>) -> bool {
        // SAFETY: as the caller promises.
        unsafe { Self::of(task).scheduler.is_inside() }
    }

    unsafe fn may_drop_here(task: NonNull<Header>) -> bool {
        // SAFETY: as the caller promises.
        unsafe { Self::of(task).scheduler.may_drop_here() }
    }

    /// See [`Vtable::deallocate`].
    unsafe fn deallocate(task: NonNull<Header>) {
        // SAFETY: it is still there.
        let header = unsafe { task.as_ref() };
        debug_assert!(
            header.state.load().is_complete(),
            "a task that is not complete is freed"
        );
        let cell = task.cast::<Self>();
        let layout = Layout::new::<Self>();
        // SAFETY: it came from a Box of this type, and the last reference is gone, so it is ours alone. The stage and the join
        // waker's slot are empty (a task is complete before the list lets it go), so that dropping them here, which is for
        // models' sake, runs nothing; the scheduler stays in the cell.
        unsafe {
            let keep = |stock: Option<&Stock<S>>| {
                let Some(stock) = stock.filter(|stock| stock.has_room()) else {
                    return false;
                };
                ptr::drop_in_place(&raw mut (*cell.as_ptr()).header);
                ptr::drop_in_place(&raw mut (*cell.as_ptr()).stage);
                stock.put(cell.cast(), layout);
                true
            };
            let scheduler = &raw const (*cell.as_ptr()).scheduler;
            if !Stock::<S>::keeps(layout) || !S::with_stock(&*scheduler, keep) {
                drop(Box::from_raw(cell.as_ptr()));
            }
        }
    }
}

/// Wakes who waits for a task. The waker may be of a foreign runtime and may panic; that is not this task's business.
#[inline]
fn discard_wake(waker: Waker) {
    let woken: Result<(), Box<dyn Any + Send>> = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    if let Err(payload) = woken {
        discard(payload);
    }
}
