//! The tier *ring*: calls on their way to the kernel, and back.
//!
//! # The way there
//!
//! A call that is handed to the ring waits in a line on our side. A turn takes the line, as far as there is room, and tells
//! the kernel of all of it in one system call, before it goes to sleep. Who puts in the [`GATHERED`]th tells the kernel at once:
//! tasks that a turn has woken, and that each hand in a call, keep the disk busy while the others still run.
//!
//! # No call is slept through
//!
//! Whoever puts a call into the line looks, **after** that, whether a turn is asleep; if one is, he submits the line
//! himself. A turn first announces that it goes to sleep and **then** takes the line. The line's lock orders the two: if
//! the turn had it first, its announcement came before, and is seen; if it had it last, it finds the call. Every turn, also
//! one that does not sleep, takes the line, and a thread that finds the turn claimed by another submits before it goes away.
//! A thread that sleeps without having tried for a turn [flushes](crate::Reactor::flush) the line before.
//!
//! # A kernel that takes only a part
//!
//! It stops at the first call that it finds wrong, and where it is out of memory, and says how many it took. So the kernel
//! is told until its queue is empty, whoever had put the rest there. If it takes nothing, the ring is *stalled*: a turn then
//! sleeps for 1 ms at most before it tries again, and new calls go to the pool.
//!
//! # A kernel that refuses
//!
//! A process may lock itself in after it has used the ring, with a filter that forbids the system call. Then the kernel is never
//! told again, and what it has not taken goes to the pool: not before the last of those who are telling it is back, for
//! until then it may take it.
//!
//! # A full ring
//!
//! At most [`IN_FLIGHT`] calls are with the kernel, as many as it has room to report. More go to the pool; where there is
//! none they stay in the line, and move up when a turn has collected what is done. None is lost, and none is refused.
//! Cancellations go before all calls and beyond that bound, because they are what makes room when nothing else does.
//!
//! # Long copies
//!
//! What is in the page cache is copied while the kernel is told, by the thread that tells it: the one that has the turn, or the one that puts in the
//! [`GATHERED`]th. So one submission copies
//! [`COPIED`] bytes at most; the reads and writes after that, and those that are longer than [`LONGEST_NOW`] anyway, are done by
//! the kernel's own threads.
//!
//! # Memory
//!
//! A call in the ring is in the slab of events, with all that it owns, and only one may take it out: who has taken its entry
//! out of the line, so that the kernel will never hear of it; or who has collected the kernel's report of it. Who drops the
//! future that waits for it, or cancels it, makes the kernel end it, and no more. A reactor that is closed, or dropped, waits
//! until the kernel has ended them all: a report counts as in flight until what it means is done, so when nothing is in
//! flight, nothing is in the slab. After [`PATIENCE`] it leaves those behind that have not ended, with their memory, which is
//! then never freed, and tells who waits. Whoever closes a second time meanwhile leaves all of them to the first.
//!
//! # A thread that ends
//!
//! The kernel may end the calls of a thread that exits (before 5.12 all of them, later those that wait for one of the
//! kernel's own threads), and reports them as cancelled. A call that was cancelled by nobody here goes on to the pool.

use super::now::LONGEST_NOW;
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

/// Calls that wait in the line for more of their kind, so that each costs a part of a system call. Measured with 64 tasks that read
/// 4 KiB at random from a cold cache: 17.6 µs a read when a whole turn's are gathered, 16.4, 15.2 and 13.9 with 16, 8 and 4,
/// and no better with fewer, at 8 to 9 µs of CPU time each; in the same rounds 64 blocking threads took 13.0 to 14.0. A
/// disk that gets 64 at once has them done at once, and then waits.
const GATHERED: usize = 4;

/// Calls with the kernel at most: it has room to report so many, and a cancellation for each. Measured, 64 in flight keep a
/// fast disk busy.
pub(crate) const IN_FLIGHT: usize = 2 * ENTRIES as usize;

/// Bytes that one submission copies at most: at 5 to 9 µs for 128 KiB, less than a tenth of a millisecond. As many as
/// 256 reads of 4 KiB, which is a whole queue of those that a ring is good for.
pub(crate) const COPIED: usize = 1 << 20;

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
            line: Line::new(submission, IN_FLIGHT),
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

    /// Takes a call out of the line, and with `leave` out of the slab. None: it is not there, so the kernel may have it.
    pub(crate) fn take<T>(&self, key: Key, leave: impl FnOnce() -> Option<T>) -> Option<T> {
        self.line.take(|entry| entry.key() == key, leave)
    }

    /// Tells the kernel of what waits in the line.
    pub(crate) fn submit(&self) -> Submitted {
        let (mut calls, mut copied) = (0, 0);
        let mut outcome = Told::Taken;
        let mut put = |kernel: &mut Submission, entry: &Entry| {
            copied += entry.bytes();
            let aside = entry.bytes() > LONGEST_NOW || copied > COPIED;
            // SAFETY: an entry in the line points to what its call owns. The call is in the slab of events as one that is in
            // the ring. From now on, because the entry has left the line, it is only taken out when the completion with its
            // key was collected; or when the line has returned it, because the kernel has not taken it and is not told any more;
            // or, when the reactor is closed, forgotten. A cancellation points to nothing.
            unsafe { kernel.push(entry, aside) }
        };
        while outcome == Told::Taken && self.line.load(&mut put) {
            calls += 1;
            outcome = self.line.told(match self.bell.ring() {
                Err(error) if is_refusal(&error) => Err(Refused),
                taken => Ok(taken.unwrap_or(0)),
            });
        }
        Submitted {
            calls,
            again: outcome == Told::Again,
        }
    }

    /// Collects what the kernel has done. `false`: nothing. Each is to be brought to [`land`](Self::land).
    pub(crate) fn collect(&self, into: &mut Vec<(Key, i32)>) -> bool {
        let before = into.len();
        self.done.lock().collect(into);
        let returned = self.line.returned();
        let returned = returned.iter().map(Entry::key);
        // As the kernel would report what it has not done.
        let returned = returned.map(|key| (key, -libc::ECANCELED));
        into.extend(returned.filter(|(key, _)| *key != Key::RING));
        into.len() > before
    }

    /// Whether the kernel will never be told again.
    pub(crate) fn is_refused(&self) -> bool {
        self.line.is_refused()
    }

    /// So many reports were collected, and `leave` does what they mean. `true`: calls for which there was no room can move up now.
    #[must_use = "a turn that is asleep does not see that there is room: they have to be submitted now"]
    pub(crate) fn land(&self, count: usize, leave: impl FnOnce()) -> bool {
        self.line.land(count, leave)
    }

    /// Whether another call would have to wait for room, or for a kernel that takes nothing.
    pub(crate) fn is_crowded(&self) -> bool {
        self.line.is_crowded()
    }

    /// Lets no more calls in, and hands out those that the kernel does not know of, which are the caller's then. None: it
    /// was closed before.
    pub(crate) fn close(&self) -> Option<Vec<Key>> {
        let unsent = self.line.close()?;
        Some(unsent.iter().map(Entry::key).collect())
    }

    /// Makes the kernel end these calls, also when the ring is closed.
    pub(crate) fn end(&self, keys: &[Key]) {
        self.line.end(keys.iter().map(|key| Entry::cancel(*key)));
        self.submit();
    }

    /// Waits until something is done, for at most `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) {
        self.bell.wait(timeout);
    }

    /// Calls that are with the kernel, or reported by it and not landed.
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

/// What telling the kernel has come to.
pub(crate) struct Submitted {
    /// System calls.
    pub(crate) calls: usize,
    /// A turn is to come back, soon: the kernel did not take all and is to be told again, or has refused.
    pub(crate) again: bool,
}

/// What became of the kernel's queue.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// The kernel has taken something: there may be room for more.
    Taken,
    /// It has taken all, or another thread tells it.
    Over,
    /// A turn is to come back.
    Again,
}

/// The kernel does not listen to this thread, for a reason that does not pass.
#[derive(Debug)]
pub(crate) struct Refused;

/// Out of memory, or of room for reports, the kernel is for the moment. Whatever else it says is the end.
fn is_refusal(error: &io::Error) -> bool {
    let passes = [libc::EAGAIN, libc::EBUSY, libc::ENOMEM];
    !error
        .raw_os_error()
        .is_some_and(|number| passes.contains(&number))
}

/// The kernel's queue, seen from this side.
pub(crate) trait Queue {
    /// What is in it that the kernel has not taken.
    fn len(&mut self) -> usize;

    /// Whether the kernel is to be told although nothing is in it.
    fn is_wanted(&mut self) -> bool;
}

impl Queue for Submission {
    fn len(&mut self) -> usize {
        self.pending()
    }

    fn is_wanted(&mut self) -> bool {
        self.keeps_reports()
    }
}

/// Calls on their way to the kernel's queue.
pub(crate) struct Line<E, K>(Mutex<State<E, K>>);

struct State<E, K> {
    /// Cancellations.
    ends: Vec<E>,
    waiting: VecDeque<E>,
    /// The kernel's queue.
    kernel: K,
    /// What is in it, after what the kernel has taken since somebody looked.
    told: VecDeque<E>,
    /// Threads that are telling the kernel.
    tellers: usize,
    /// The kernel is not to be told any more.
    refused: bool,
    /// What it did not take.
    returned: Vec<E>,
    /// Given to the kernel and not landed yet.
    in_flight: usize,
    /// How many may be.
    most: usize,
    /// There is something in the kernel's queue that it did not take.
    stalled: bool,
    closed: bool,
}

/// What the one owes who has put a call into the line.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "a turn that is asleep does not see the call: it has to be submitted now"]
pub(crate) enum Pushed {
    /// Nothing: the next turn submits it.
    ForTurn,
    /// To submit, because the turn is asleep, or because enough have gathered.
    ToSubmit,
}

/// A turn is going to sleep: `announce` says so, and then `submit` takes the line to the kernel. In this order, for who puts a call in looks
/// for a sleeper behind it: either it sees one, or this sees the call.
pub(crate) fn before_sleep<A, S>(
    announce: impl FnOnce() -> A,
    submit: impl FnOnce() -> S,
) -> (A, S) {
    if twin("ring-line-before-sleep") {
        let submitted = submit();
        return (announce(), submitted);
    }
    let announced = announce();
    (announced, submit())
}

impl<E, K: Queue> Line<E, K> {
    pub(crate) fn new(kernel: K, most: usize) -> Line<E, K> {
        Line(Mutex::new(State {
            ends: Vec::new(),
            waiting: VecDeque::new(),
            kernel,
            told: VecDeque::new(),
            tellers: 0,
            refused: false,
            returned: Vec::new(),
            in_flight: 0,
            most,
            stalled: false,
            closed: false,
        }))
    }

    /// Puts in what `enter` makes, if it makes anything. Who takes something out again has to wait until it is in.
    pub(crate) fn push<T>(
        &self,
        parking: &Parking,
        enter: impl FnOnce() -> (Option<E>, T),
    ) -> Option<(Pushed, T)> {
        let early = twin("ring-looked-too-early") && parking.is_asleep();
        let mut state = self.0.lock();
        if state.closed || state.refused {
            return None;
        }
        let (entry, value) = if twin("ring-rest-unlooked") {
            drop(state);
            let entered = enter();
            state = self.0.lock();
            entered
        } else {
            enter()
        };
        state.waiting.extend(entry);
        let many = state.waiting.len() >= GATHERED && state.in_flight < state.most;
        drop(state);
        let asleep = if twin("ring-looked-too-early") {
            early
        } else {
            parking.is_asleep()
        };
        Some(match asleep || many {
            true => (Pushed::ToSubmit, value),
            false => (Pushed::ForTurn, value),
        })
    }

    /// Takes out the one that waits and is meant; what `leave` does, who looks at the line next finds done.
    pub(crate) fn take<T>(
        &self,
        is_meant: impl Fn(&E) -> bool,
        leave: impl FnOnce() -> Option<T>,
    ) -> Option<T> {
        let mut state = self.0.lock();
        let place = state.waiting.iter().position(is_meant)?;
        state.waiting.remove(place)?;
        leave()
    }

    /// Moves what waits into the kernel's queue, cancellations first, until `put` finds it full, or as many calls as may be
    /// are with the kernel. `true`: the kernel is to be told now, and then [`told`](Self::told) is.
    pub(crate) fn load(&self, mut put: impl FnMut(&mut K, &E) -> bool) -> bool {
        let mut state = self.0.lock();
        if state.refused {
            return false;
        }
        let State {
            ends,
            waiting,
            kernel,
            told,
            in_flight,
            most,
            ..
        } = &mut *state;
        while let Some(end) = ends.pop_if(|end| put(kernel, end)) {
            told.push_back(end);
        }
        while *in_flight < *most
            && let Some(entry) = waiting.front()
            && put(kernel, entry)
        {
            told.extend(waiting.pop_front());
            *in_flight += 1;
        }
        let is_due = kernel.len() > 0 || kernel.is_wanted();
        state.tellers += usize::from(is_due);
        is_due
    }

    /// This thread has told the kernel, which has taken so many.
    pub(crate) fn told(&self, taken: Result<usize, Refused>) -> Told {
        let mut state = self.0.lock();
        let left = state.kernel.len();
        let gone = state.told.len().saturating_sub(left);
        state.told.drain(..gone);
        state.tellers -= 1;
        state.refused |= taken.is_err();
        let taken = taken.unwrap_or(0);
        if state.refused {
            if state.tellers == 0 || twin("ring-returned-at-once") {
                state.give_back();
            }
            return Told::Again;
        }
        state.stalled = left > 0 && taken == 0;
        if taken > 0 {
            Told::Taken
        } else if left > 0 || state.kernel.is_wanted() {
            Told::Again
        } else {
            Told::Over
        }
    }

    /// What the kernel did not take, once. It is in flight until it has landed.
    pub(crate) fn returned(&self) -> Vec<E> {
        std::mem::take(&mut self.0.lock().returned)
    }

    fn is_refused(&self) -> bool {
        self.0.lock().refused
    }

    /// For a model, whose kernel is in this struct.
    #[cfg(loom)]
    pub(crate) fn model<T>(&self, look: impl FnOnce(&mut K) -> T) -> T {
        look(&mut self.0.lock().kernel)
    }

    /// So many have landed, and `leave` takes them out of the slab. It does first: who closes the ring takes it that nothing is in the
    /// slab when nothing is in flight.
    pub(crate) fn land(&self, count: usize, leave: impl FnOnce()) -> bool {
        if twin("ring-landed-early") {
            let has_room = self.landed(count);
            leave();
            return has_room;
        }
        leave();
        self.landed(count)
    }

    fn landed(&self, count: usize) -> bool {
        let mut state = self.0.lock();
        let was_full = state.in_flight >= state.most;
        state.in_flight -= count;
        was_full && !state.waiting.is_empty()
    }

    fn is_crowded(&self) -> bool {
        let state = self.0.lock();
        state.stalled || state.refused || state.in_flight + state.waiting.len() >= state.most
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.0.lock().in_flight
    }

    pub(crate) fn close(&self) -> Option<Vec<E>> {
        let mut state = self.0.lock();
        if std::mem::replace(&mut state.closed, true) {
            return None;
        }
        Some(state.waiting.drain(..).collect())
    }

    fn end(&self, ends: impl Iterator<Item = E>) {
        self.0.lock().ends.extend(ends);
    }
}

impl<E, K> State<E, K> {
    fn give_back(&mut self) {
        self.in_flight += self.waiting.len();
        self.returned.extend(self.told.drain(..));
        self.returned.extend(self.waiting.drain(..));
        self.ends.clear();
    }
}
