//! The state word of a task: one `usize` that says what the task is doing, who may touch which of its fields, and how
//! many references to it exist.
//!
//! ```text
//!   63                        7     6      5      4      3      2      1      0
//!  +---------------------------+------+------+------+------+------+------+------+
//!  |        references         |  LI  |  JW  |  JH  |  CA  |  CO  |  RU  |  SC  |
//!  +---------------------------+------+------+------+------+------+------+------+
//!                               LISTED JOIN_  JOIN_  CANCEL COMPL. RUNNG. SCHED.
//!                                      WAKER  HANDLE
//! ```
//!
//! Every transition is a method below that makes one atomic read-modify-write (or none, when there is nothing to
//! change) and returns what its caller now owes. `README.md` beside this file argues that they fit together.

use crate::sync::{AtomicUsize, Ordering, twin};

/// A [`Runnable`](super::Runnable) of the task exists (in a queue, or in the hands of whoever moves it), or, while
/// `RUNNING`, must be made as soon as the poll has returned. Set at birth and by a wake or an abort; cleared when a poll
/// starts. It stays set for good when the task is cancelled before its turn. At most one `Runnable` exists at a time
/// because only the one who sets this bit makes one.
const SCHEDULED: usize = 1 << 0;

/// Somebody has the future to himself: a worker that polls it, or whoever drops it. Set when a poll starts, and by
/// [`cancel`](State::cancel) when it finds the task at rest; cleared when a poll returned `Pending`, and at completion.
/// Can't be set while it is set, nor together with `COMPLETE`.
const RUNNING: usize = 1 << 1;

/// The future is gone and the result, if anybody wants it, is in its place. Set once, by whoever had `RUNNING`, and
/// never cleared. From here on the word changes only in its references (and `JOIN_HANDLE`), and a wake does nothing.
const COMPLETE: usize = 1 << 2;

/// The task is to be dropped instead of polled. Set by an abort or a cancel, at any time before `COMPLETE`; never
/// cleared. Whoever has `RUNNING` looks at it when the poll starts and when it has returned `Pending`; a poll that
/// returned `Ready` has finished first, and wins.
const CANCELLED: usize = 1 << 3;

/// The [`JoinHandle`](super::JoinHandle) exists and has not given up: the result is kept for it. Set at birth, cleared
/// once when the handle is dropped before the task is complete; never set again.
const JOIN_HANDLE: usize = 1 << 4;

/// The join waker's slot is full and belongs to the completing side. Set by the handle after it has filled the slot;
/// taken back by the handle before it replaces the waker. It can't change any more once `COMPLETE` is set: who finds it
/// set in the transition to `COMPLETE` takes the waker out and wakes it. While it is clear, the slot is the handle's.
const JOIN_WAKER: usize = 1 << 5;

/// The task was taken into the list of the scheduler's tasks (it may have been taken out since), and the list was given its reference. Set at birth, or by
/// who ends the first poll that returned `Pending`, which is the first moment at which no queue has the task; never cleared.
/// While it is clear, the list's reference is that of whoever has the future.
const LISTED: usize = 1 << 6;

/// One reference, in the bits above the flags.
const REFERENCE: usize = 1 << 7;

/// A count this high can only come from references leaked in a loop. One more could wrap it to zero and free a task in
/// use, so the process ends, as it does for [`std::sync::Arc`].
const MAX_REFERENCES: usize = isize::MAX as usize;

/// References at birth: the `Runnable`'s, the `JoinHandle`'s, and the list's.
const FIRST_REFERENCES: usize = 3 * REFERENCE;

/// A value that the state word had.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Snapshot(usize);

/// The state word.
pub(super) struct State(AtomicUsize);

/// What [`State::start`] leaves to whoever wanted to run the task.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Poll the future; it is yours.
    Poll,
    /// The task was cancelled while it waited: drop the future; it is yours.
    Cancel,
    /// It was cancelled in place before its turn. The reference is given back.
    Nothing,
    /// Like `Nothing`, and the reference was the last: deallocate.
    Deallocate,
}

/// What [`State::pause`] leaves to whoever has polled the task.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// The task is at rest. The reference is given back: don't touch the task again.
    Idle,
    /// It was woken while it ran: make a `Runnable` of the reference and hand it to the scheduler.
    Reschedule,
    /// It was cancelled while it ran: drop the future; it is still yours.
    Cancel,
}

/// What [`State::complete`] leaves to whoever has finished the task.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Complete {
    /// The references are given back: don't touch the task again.
    Nothing,
    /// The references were the last: deallocate.
    Deallocate,
    /// Take the join waker out, then give the references back, then wake.
    WakeJoiner,
    /// The handle has left meanwhile: drop the result, then give the references back.
    DropOutput,
}

/// What a wake or an abort leaves to its caller.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// Make a `Runnable` (its reference is counted) and hand it to the scheduler.
    Schedule,
    /// Nothing is owed.
    Nothing,
    /// The reference that was given back was the last: deallocate.
    Deallocate,
}

/// What [`State::cancel`] leaves to its caller.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cancel {
    /// The future is yours: drop it and complete the task.
    Claimed,
    /// It is complete, or who has the future now will drop it.
    Elsewhere,
}

/// Who has the join waker's slot after the handle tried to change it.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JoinSlot {
    /// The change was made.
    Done,
    /// The task completed first; the slot stays with who has it.
    Complete,
}

/// What [`State::leave`] leaves to the handle that is being dropped.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// The reference is given back.
    Nothing,
    /// The slot is the handle's again: drop the waker, then give the reference back.
    DropWaker,
    /// The task is complete: drop the result, then give the reference back.
    DropOutput,
}

impl Snapshot {
    fn is(self, flag: usize) -> bool {
        self.0 & flag != 0
    }

    fn with(self, flags: usize) -> Snapshot {
        Snapshot(self.0 | flags)
    }

    fn without(self, flags: usize) -> Snapshot {
        Snapshot(self.0 & !flags)
    }

    #[inline]
    fn more(self, references: usize) -> Snapshot {
        check_overflow(self.0);
        Snapshot(self.0 + references * REFERENCE)
    }

    #[inline]
    fn fewer(self, references: usize) -> Snapshot {
        debug_assert!(
            self.references() >= references,
            "a reference given back twice"
        );
        Snapshot(self.0 - references * REFERENCE)
    }

    fn references(self) -> usize {
        self.0 / REFERENCE
    }

    #[inline]
    pub(super) fn is_complete(self) -> bool {
        self.is(COMPLETE)
    }

    #[inline]
    pub(super) fn is_listed(self) -> bool {
        self.is(LISTED)
    }

    #[inline]
    pub(super) fn has_join_handle(self) -> bool {
        self.is(JOIN_HANDLE)
    }

    #[inline]
    pub(super) fn has_join_waker(self) -> bool {
        self.is(JOIN_WAKER)
    }
}

impl State {
    /// A task just born: scheduled, with a handle, and three references.
    pub(super) fn new(listed: bool) -> State {
        let listed = if listed { LISTED } else { 0 };
        let flags = SCHEDULED | JOIN_HANDLE | listed;
        State(AtomicUsize::new(flags | FIRST_REFERENCES))
    }

    #[inline]
    pub(super) fn load(&self) -> Snapshot {
        // ORDERING: Acquire pairs with the Release of the transition to COMPLETE, so that who sees it may read the
        // result; and with that of `publish_waker`, so that the slot's content is visible with its bit.
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// A `Runnable` has its turn. `SCHEDULED` goes, `RUNNING` comes: any wake from here on asks for another poll. So many
    /// references are counted in advance, if there is to be a poll.
    #[inline]
    pub(super) fn start(&self, in_advance: usize) -> Start {
        self.update(|now| {
            if now.is(RUNNING | COMPLETE) {
                let next = now.fewer(1);
                let owed = if next.references() == 0 {
                    Start::Deallocate
                } else {
                    Start::Nothing
                };
                return (next, owed);
            }
            let next = now.without(SCHEDULED).with(RUNNING);
            if now.is(CANCELLED) {
                return (next, Start::Cancel);
            }
            (next.more(in_advance), Start::Poll)
        })
    }

    /// The poll returned `Pending`, and gives back the references that were counted in advance and are `spare`. The task is `listed`, or it
    /// is cancelled.
    #[inline]
    pub(super) fn pause(&self, spare: usize, listed: bool) -> Pause {
        self.update(|now| {
            let now = now.fewer(spare);
            if !listed {
                return (now, Pause::Cancel);
            }
            let now = now.with(LISTED);
            if now.is(CANCELLED) {
                return (now, Pause::Cancel);
            }
            let next = now.without(RUNNING);
            if now.is(SCHEDULED) && !twin("task-pause-forgets-wake") {
                return (next, Pause::Reschedule);
            }
            // Not the last: a task that isn't complete is in the list, or was flagged CANCELLED by who took it out.
            (next.fewer(1), Pause::Idle)
        })
    }

    /// The future is gone. `kept` says that its result was stored (because `JOIN_HANDLE` was seen); `references` are
    /// those of the caller, given back in the same step when nothing more is owed.
    #[inline]
    pub(super) fn complete(&self, kept: bool, references: usize) -> Complete {
        self.update(|now| {
            debug_assert!(now.is(RUNNING) && !now.is(COMPLETE));
            let done = now.without(RUNNING).with(COMPLETE);
            match (now.is(JOIN_HANDLE), now.is(JOIN_WAKER)) {
                (true, true) => (done, Complete::WakeJoiner),
                (false, _) if kept => (done, Complete::DropOutput),
                _ => {
                    let next = done.fewer(references);
                    let last = next.references() == 0;
                    (
                        next,
                        if last {
                            Complete::Deallocate
                        } else {
                            Complete::Nothing
                        },
                    )
                }
            }
        })
    }

    /// A waker is used up: its reference becomes the `Runnable`'s, or is given back, in the same step.
    #[inline]
    pub(super) fn wake(&self) -> Wake {
        self.update(|now| {
            if now.is(RUNNING | COMPLETE | SCHEDULED) {
                let next = now.fewer(1);
                let last = next.references() == 0;
                let owed = if last {
                    Wake::Deallocate
                } else {
                    Wake::Nothing
                };
                let next = if now.is(COMPLETE) {
                    next
                } else {
                    next.with(SCHEDULED)
                };
                return (next, owed);
            }
            (now.with(SCHEDULED), Wake::Schedule)
        })
    }

    /// A waker is used and kept.
    ///
    /// A task that is already scheduled is "changed" to the same value. A load would not do: what the waker wrote before
    /// it woke must be visible to the poll that follows, and only a write that the poll's start reads can carry it there.
    /// A complete task is never polled again, so there the load is enough.
    #[inline]
    pub(super) fn wake_by_ref(&self) -> Wake {
        let now = self.load();
        if now.is(COMPLETE) || (now.is(SCHEDULED) && twin("task-wake-scheduled-by-load")) {
            return Wake::Nothing;
        }
        self.update(|now| {
            if now.is(COMPLETE) {
                return (now, Wake::Nothing);
            }
            if now.is(RUNNING | SCHEDULED) {
                return (now.with(SCHEDULED), Wake::Nothing);
            }
            (now.with(SCHEDULED).more(1), Wake::Schedule)
        })
    }

    /// The task is to end: flagged, and woken if it is at rest, so that a worker drops the future.
    pub(super) fn abort(&self) -> Wake {
        if self.load().is(COMPLETE | CANCELLED) {
            return Wake::Nothing;
        }
        self.update(|now| {
            if now.is(COMPLETE) {
                return (now, Wake::Nothing);
            }
            let flagged = now.with(CANCELLED);
            if now.is(RUNNING | SCHEDULED) {
                return (flagged, Wake::Nothing);
            }
            (flagged.with(SCHEDULED).more(1), Wake::Schedule)
        })
    }

    /// The task is to end here and now: the caller gets the future, unless somebody has it.
    pub(super) fn cancel(&self) -> Cancel {
        if self.load().is(COMPLETE) {
            return Cancel::Elsewhere;
        }
        self.update(|now| {
            if now.is(COMPLETE) {
                return (now, Cancel::Elsewhere);
            }
            if now.is(RUNNING) && !twin("task-cancel-claims-running") {
                return (now.with(CANCELLED), Cancel::Elsewhere);
            }
            (now.with(RUNNING | CANCELLED), Cancel::Claimed)
        })
    }

    /// The handle has filled the slot and gives it to the completing side, unless that has passed already.
    #[inline]
    pub(super) fn publish_waker(&self) -> JoinSlot {
        self.update(|now| {
            debug_assert!(now.is(JOIN_HANDLE) && !now.is(JOIN_WAKER));
            if now.is(COMPLETE) && !twin("join-publish-no-recheck") {
                return (now, JoinSlot::Complete);
            }
            (now.with(JOIN_WAKER), JoinSlot::Done)
        })
    }

    /// The handle wants its slot back, to put another waker in.
    pub(super) fn take_back_waker(&self) -> JoinSlot {
        self.update(|now| {
            debug_assert!(now.is(JOIN_HANDLE) && now.is(JOIN_WAKER));
            if now.is(COMPLETE) {
                return (now, JoinSlot::Complete);
            }
            (now.without(JOIN_WAKER), JoinSlot::Done)
        })
    }

    /// The handle, which has not taken the result, is dropped.
    #[inline]
    pub(super) fn leave(&self) -> Leave {
        self.update(|now| {
            if now.is(COMPLETE) {
                return (now, Leave::DropOutput);
            }
            let left = now.without(JOIN_HANDLE | JOIN_WAKER);
            if now.is(JOIN_WAKER) {
                return (left, Leave::DropWaker);
            }
            // Not the last: a task that isn't complete has the list's reference or its runner's.
            (left.fewer(1), Leave::Nothing)
        })
    }

    /// So many references more.
    #[inline]
    pub(super) fn acquire(&self, references: usize) {
        // ORDERING: Relaxed, as for Arc: the new reference comes from one that exists, and whatever hands it to
        // another thread orders it.
        let before = self.0.fetch_add(references * REFERENCE, Ordering::Relaxed);
        check_overflow(before);
    }

    /// So many references fewer; true if they were the last and the caller must deallocate.
    #[inline]
    #[must_use]
    pub(super) fn release(&self, references: usize) -> bool {
        // They are all there are, so nobody else can take or give one, and nothing is left to be counted. The load's Acquire is what the
        // subtraction's would be: it reads what the last of the others' read-modify-writes wrote.
        if self.load().references() == references {
            return true;
        }
        // ORDERING: Release hands this holder's accesses to whoever deallocates; Acquire makes the deallocating
        // one see those of all the others, whose releases precede in the same chain of read-modify-writes.
        let before = self.0.fetch_sub(references * REFERENCE, Ordering::AcqRel);
        Snapshot(before).fewer(references).references() == 0
    }

    /// Replaces the word by what `change` makes of it, and returns what that says is owed.
    ///
    /// `change` may return the word as it is. It is written all the same: see [`wake_by_ref`](State::wake_by_ref).
    #[inline]
    fn update<R>(&self, mut change: impl FnMut(Snapshot) -> (Snapshot, R)) -> R {
        let mut now = self.load();
        loop {
            let (next, owed) = change(now);
            let order = if twin("task-relaxed-transitions") {
                Ordering::Relaxed
            } else {
                Ordering::AcqRel
            };
            // ORDERING: every transition both hands something over and takes something over, so one rule serves all.
            // Release: what this thread did with the fields it gives up (the future after a poll, the result, the
            // waker in the slot, and for a wake whatever the waker wrote) happens before the next transition of the
            // word. Acquire: the reverse, for the fields it gets. Every write of the word is a read-modify-write, so a
            // chain of releases is never broken, whichever transition came between.
            let swapped = self
                .0
                .compare_exchange_weak(now.0, next.0, order, Ordering::Acquire);
            match swapped {
                Ok(_) => return owed,
                Err(other) => now = Snapshot(other),
            }
        }
    }
}

#[inline]
fn check_overflow(word: usize) {
    if word > MAX_REFERENCES {
        std::process::abort();
    }
}
