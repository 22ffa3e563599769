//! The tier *ring*: calls on their way to the kernel, and back.
//!
//! # The way there
//!
//! A call that is handed to the ring waits in a line on our side. A turn takes the line, as far as there is room, and tells
//! the kernel of all of it in one system call, before it goes to sleep; so tasks that a turn has woken, and that each
//! hand in a call, cost one system call together, however many they are.
//!
//! # No call is slept through
//!
//! Whoever puts a call into the line looks, **after** that, whether a turn is asleep; if one is, he submits the line
//! himself. A turn first announces that it goes to sleep and **then** takes the line. The line's lock orders the two: if
//! the turn had it first, its announcement came before, and is seen; if it had it last, it finds the call. Nobody who
//! leaves a call to "the next turn" is left without one: a thread that finds the turn claimed by another submits before it
//! goes away, and every turn, also one that does not sleep, takes the line.
//!
//! # A full ring
//!
//! At most [`IN_FLIGHT`] calls are with the kernel, as many as it has room to report. The others stay in the line, and
//! move up when a turn has collected what is done. None is lost, and none is refused.
//!
//! # Memory
//!
//! A call in the ring is in the slab of events, with all that it owns, until the kernel has reported it: nobody else
//! takes it out. Who drops the future that waits for it, or cancels it, makes the kernel end it, and no more. A reactor
//! that is closed, or dropped, waits until the kernel has ended them all; after [`PATIENCE`] it leaves those behind that have
//! not ended, with their memory, which is then never freed.
//!
//! # A thread that ends
//!
//! The kernel may end the calls of a thread that exits (before 5.12 all of them, later those that wait for one of the
//! kernel's own threads), and reports them as cancelled. A call that was cancelled by nobody here goes on to the pool.

use crate::events::Key;
use crate::os::{self, Bell, Completion, Entry, Submission};
use crate::park::Parking;
use crate::sync::{Mutex, twin};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::Duration;

/// Calls that one system call can tell the kernel of. A turn that submits more makes several; few turns have so many, for
/// a scheduler's local queue holds as many tasks.
const ENTRIES: u32 = 256;

/// Calls with the kernel at most: it has room to report twice as many as it can be told of at once. Measured, 64 in
/// flight keep a fast disk busy.
pub(crate) const IN_FLIGHT: usize = 2 * ENTRIES as usize;

/// How long a reactor that is closed waits for the kernel to end calls: a thousand times what a disk takes. What takes
/// longer hangs in a driver, and can't be ended by anyone.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// See the [module](self).
pub(crate) struct Ring {
    line: Line<Entry, Submission>,
    bell: Bell,
    done: Mutex<Completion>,
}

impl Ring {
    pub(crate) fn new(registry: &mio::Registry) -> io::Result<Ring> {
        let (submission, completion) = os::ring(registry, ENTRIES)?;
        Ok(Ring {
            bell: submission.bell(),
            line: Line::new(submission),
            done: Mutex::new(completion),
        })
    }

    /// Puts a call into the line. `enter` gives the call its place in the slab, and is not called when the ring is closed;
    /// then this returns none.
    pub(crate) fn push<T>(
        &self,
        parking: &Parking,
        enter: impl FnOnce() -> (Option<Entry>, T),
    ) -> Option<(Pushed, T)> {
        self.line.push(parking, enter)
    }

    /// Tells the kernel of what waits in the line. Returns by how many system calls.
    pub(crate) fn submit(&self) -> usize {
        let mut calls = 0;
        loop {
            // SAFETY: an entry in the line points to what its call owns. The call is in the slab of events as one that is
            // in the ring, and such a one is only taken out when the completion with its key was collected, or, when the
            // reactor is closed, forgotten. A cancellation points to nothing.
            let put = |kernel: &mut Submission, entry: &Entry| unsafe { kernel.push(entry) };
            let loaded = self.line.load(IN_FLIGHT, put);
            if !loaded.ring {
                return calls;
            }
            calls += 1;
            if self.bell.ring().is_err() {
                // The kernel is out of memory for calls. What was loaded stays in its queue; the next turn rings again.
                self.line.stall();
                return calls;
            }
            if !loaded.more {
                return calls;
            }
        }
    }

    /// Collects what the kernel has done. `false`: nothing.
    pub(crate) fn collect(&self, into: &mut Vec<(Key, i32)>) -> bool {
        let count = self.done.lock().collect(into);
        if count > 0 {
            self.line.landed(count);
        }
        count > 0
    }

    /// Lets no more calls in, and forgets those that the kernel does not know of. `false`: it was closed before.
    pub(crate) fn close(&self) -> bool {
        self.line.close()
    }

    /// Makes the kernel end these calls, also when the ring is closed.
    pub(crate) fn end(&self, keys: &[Key]) {
        self.line.force(keys.iter().map(|key| Entry::cancel(*key)));
        self.submit();
    }

    /// Waits until something is done, for at most `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) {
        self.bell.wait(timeout);
    }

    /// Calls that are with the kernel.
    pub(crate) fn in_flight(&self) -> usize {
        self.line.in_flight()
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// Calls on their way to the kernel's queue.
pub(crate) struct Line<E, K>(Mutex<State<E, K>>);

struct State<E, K> {
    waiting: VecDeque<E>,
    /// The kernel's queue.
    kernel: K,
    /// Given to the kernel and not collected yet.
    in_flight: usize,
    /// There is something in the kernel's queue that it could not be told of.
    stalled: bool,
    closed: bool,
}

/// What the one owes who has put a call into the line.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "a turn that is asleep does not see the call: it has to be submitted now"]
pub(crate) enum Pushed {
    /// Nothing: the next turn submits it.
    ForTurn,
    /// To submit, because the turn is asleep.
    ToSubmit,
}

/// What has moved from the line to the kernel's queue.
pub(crate) struct Loaded {
    /// The kernel has to be told.
    pub(crate) ring: bool,
    /// More waits for room in its queue.
    pub(crate) more: bool,
}

impl<E, K> Line<E, K> {
    pub(crate) fn new(kernel: K) -> Line<E, K> {
        Line(Mutex::new(State {
            waiting: VecDeque::new(),
            kernel,
            in_flight: 0,
            stalled: false,
            closed: false,
        }))
    }

    /// Puts in what `enter` makes, if it makes anything.
    pub(crate) fn push<T>(
        &self,
        parking: &Parking,
        enter: impl FnOnce() -> (Option<E>, T),
    ) -> Option<(Pushed, T)> {
        let early = twin("ring-looked-too-early") && parking.is_asleep();
        let mut state = self.0.lock();
        if state.closed {
            return None;
        }
        let (entry, value) = enter();
        state.waiting.extend(entry);
        drop(state);
        let asleep = if twin("ring-looked-too-early") {
            early
        } else {
            parking.is_asleep()
        };
        Some(match asleep {
            true => (Pushed::ToSubmit, value),
            false => (Pushed::ForTurn, value),
        })
    }

    /// Moves what waits into the kernel's queue, until `put` finds it full or `most` are with the kernel.
    pub(crate) fn load(&self, most: usize, mut put: impl FnMut(&mut K, &E) -> bool) -> Loaded {
        let mut state = self.0.lock();
        let mut ring = std::mem::take(&mut state.stalled);
        while state.in_flight < most
            && let Some(entry) = state.waiting.pop_front()
        {
            if !put(&mut state.kernel, &entry) {
                state.waiting.push_front(entry);
                return Loaded {
                    ring: true,
                    more: true,
                };
            }
            state.in_flight += 1;
            ring = true;
        }
        Loaded { ring, more: false }
    }

    /// What the kernel has, as far as the model's kernel can tell.
    #[cfg(loom)]
    pub(crate) fn kernel(&self) -> K
    where
        K: Copy,
    {
        self.0.lock().kernel
    }

    fn stall(&self) {
        self.0.lock().stalled = true;
    }

    /// The kernel has reported so many.
    pub(crate) fn landed(&self, count: usize) {
        self.0.lock().in_flight -= count;
    }

    fn in_flight(&self) -> usize {
        self.0.lock().in_flight
    }

    fn close(&self) -> bool {
        let mut state = self.0.lock();
        state.waiting.clear();
        !std::mem::replace(&mut state.closed, true)
    }

    fn force(&self, entries: impl Iterator<Item = E>) {
        self.0.lock().waiting.extend(entries);
    }
}
