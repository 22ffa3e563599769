//! The timers of a reactor: a hierarchical timing wheel that is exact to the nanosecond.
//!
//! Most timers are timeouts, and most timeouts are cancelled: a request is answered long before its limit. So what must
//! be cheap is to insert a timer and to remove it again, whatever their number. A heap pays O(log n) for both, and moves
//! entries all over its array; a wheel pays O(1).
//!
//! # The wheel
//!
//! Time is counted in nanoseconds since the reactor was made, in a `u64`: 584 years. A *tick* is 2^16 of them (65.5 µs),
//! which leaves 48 bits, read as eight digits of six bits. Each digit has a *level* of 64 slots:
//!
//! ```text
//!   63    58 57    52 51    46 45    40 39    34 33    28 27    22 21    16 15            0   bits of a deadline
//!  +--------+--------+--------+--------+--------+--------+--------+--------+---------------+
//!  | level 7| level 6| level 5| level 4| level 3| level 2| level 1| level 0| within a tick |
//!  +--------+--------+--------+--------+--------+--------+--------+--------+---------------+
//!    9.1 y     52 d    19.5 h   18.3 m   17.2 s   268 ms   4.2 ms   65.5 µs                   width of one slot
//! ```
//!
//! A timer lives on the level of the highest digit in which its tick differs from the tick that the wheel has reached
//! (`elapsed`), in the slot that this digit names. All digits above are equal, so slots never wrap around, and three
//! facts follow that make everything else short:
//!
//! - every timer of a level is due before every timer of the levels above, and slots of one level are in order of time,
//!   so **the first occupied slot of the lowest occupied level holds the next deadline**;
//! - when `elapsed` enters a slot above level 0, its timers agree with it in one digit more: they are linked anew and
//!   come to lie on a lower level (they *cascade*), at most seven times in a life, and usually fewer: a timeout of ten
//!   seconds cascades two or three times if it fires, and mostly not at all if it is soon cancelled;
//! - empty time costs nothing: one bitmap per level says which slots are occupied, and [`Wheel::advance`] goes from one
//!   occupied slot to the next, however long the gap.
//!
//! # Exactness
//!
//! The tick decides how timers are filed, never when they fire. Each slot keeps the earliest deadline of its timers, so
//! [`Wheel::next_deadline`] is exact; and a timer whose tick has come, but whose nanosecond has not, stays. Timers fire in
//! the order of their ticks, and timers of equal deadline in the order of their insertion.
//!
//! # Admitted limits
//!
//! - Removing a timer leaves the slot's earliest deadline as it was, because finding the new one would mean to walk the
//!   slot. It may then be too early, never too late, and costs at most one wake-up with nothing to do: that
//!   [`Wheel::advance`] finds the exact one.
//! - The entries are one `Vec` that grows by doubling and never shrinks: the steady state allocates nothing, but a
//!   program keeps the memory of its busiest moment (40 bytes per timer), and a doubling copies all entries at once: at a
//!   million timers that is a pause of some milliseconds, once.
//!
//! The scheme is "hierarchical timing wheels" of Varghese and Lauck (SOSP 1987), with the level found by exclusive-or as
//! in tokio's timers. They round a deadline up to their tick of 1 ms; the earliest deadline of each slot is what makes it
//! possible not to.

use std::task::Waker;

/// Bits of a deadline below its tick. 16 leave 48 bits, eight whole digits, so that no deadline needs a special case. The
/// tick also suits the work: the 4.2 ms of level 0 hold what a loaded loop meets in a few turns.
const TICK_BITS: u32 = 16;
/// Bits per digit: 64 slots, because a level's bitmap is then one word and finding a slot is one instruction.
const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = ((u64::BITS - TICK_BITS) / DIGIT_BITS) as usize;
/// The end of a list. An entry never has this index.
const NONE: u32 = u32::MAX;
/// A generation that no key carries: an entry that has reached it is never used again.
const RETIRED: u32 = u32::MAX;

/// Names one insertion of a timer. It stays valid until that timer fires or is removed, and names nothing afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimerKey {
    index: u32,
    generation: u32,
}

/// What [`Wheel::reset_waker`] found, and what its caller now owes.
#[must_use = "a replaced waker is dropped after the lock is released"]
#[derive(Debug)]
pub(crate) enum Reset {
    /// The timer has fired or was removed.
    Gone,
    /// The timer would wake this task already.
    Same,
    /// The timer wakes the new waker. The old one is handed out, because dropping it may run any code.
    Replaced(Waker),
}

/// A set of timers, each a deadline and the waker that it calls. See the [module](self).
///
/// It calls no waker and drops none (except with itself): it hands them out, and its owner wakes or drops them after
/// releasing the lock that guards the wheel.
pub(crate) struct Wheel {
    /// The tick that the wheel has reached. No timer is filed below it.
    elapsed: u64,
    /// For each level, the set of its slots that hold a timer.
    occupied: [u64; LEVELS],
    /// The slots of all levels, level 0 first.
    slots: [Slot; SLOTS * LEVELS],
    entries: Vec<Entry>,
    /// First of the free entries, linked through `next`.
    free: u32,
    len: usize,
}

/// A list of entries in order of insertion.
#[derive(Clone, Copy)]
struct Slot {
    /// No deadline in the list is earlier.
    earliest: u64,
    head: u32,
    tail: u32,
}

impl Slot {
    const EMPTY: Slot = Slot {
        earliest: u64::MAX,
        head: NONE,
        tail: NONE,
    };
}

/// A timer, or a free entry. 40 bytes.
struct Entry {
    deadline: u64,
    /// `None` in a free entry.
    waker: Option<Waker>,
    prev: u32,
    next: u32,
    /// Counts the timers that this entry has held.
    generation: u32,
    /// Index of the slot that the entry is linked into.
    slot: u16,
}

impl Wheel {
    pub(crate) fn new() -> Wheel {
        Wheel {
            elapsed: 0,
            occupied: [0; LEVELS],
            slots: [Slot::EMPTY; SLOTS * LEVELS],
            entries: Vec::new(),
            free: NONE,
            len: 0,
        }
    }

    /// Adds a timer, in O(1). One whose deadline has passed is handed out by the next [`advance`](Self::advance).
    ///
    /// # Panics
    /// With 2^32 timers at once, which are 172 GB.
    #[inline]
    pub(crate) fn insert(&mut self, deadline: u64, waker: Waker) -> TimerKey {
        let index = self.allocate();
        let entry = &mut self.entries[index as usize];
        entry.deadline = deadline;
        entry.waker = Some(waker);
        let generation = entry.generation;
        self.link(index);
        self.len += 1;
        TimerKey { index, generation }
    }

    /// Changes whom a timer wakes, in O(1). Clones `waker` only if the timer would wake another task.
    pub(crate) fn reset_waker(&mut self, key: TimerKey, waker: &Waker) -> Reset {
        match self.get_mut(key).and_then(|entry| entry.waker.as_mut()) {
            None => Reset::Gone,
            Some(current) if current.will_wake(waker) => Reset::Same,
            Some(current) => Reset::Replaced(std::mem::replace(current, waker.clone())),
        }
    }

    /// Takes a timer out before it fires, in O(1). `None` if it has fired or was removed.
    #[inline]
    pub(crate) fn remove(&mut self, key: TimerKey) -> Option<Waker> {
        self.get_mut(key)?;
        self.unlink(key.index);
        self.release(key.index)
    }

    /// Moves the wheel to `now` and adds the wakers of all timers that are due to `due`. Returns how many.
    ///
    /// A timer costs O(1) here, and O(1) each time that it cascades. A `now` before that of an earlier call is no error:
    /// whatever is due by then is found.
    pub(crate) fn advance(&mut self, now: u64, due: &mut Vec<Waker>) -> usize {
        let before = due.len();
        let target = self.elapsed.max(now >> TICK_BITS);
        while let Some((level, slot)) = self.first_occupied() {
            let tick = self.first_tick(level, slot);
            let not_yet = level == 0 && self.slots[slot].earliest > now;
            if tick > target || not_yet {
                break;
            }
            self.elapsed = tick;
            self.visit(level, slot, now, due);
        }
        self.elapsed = target;
        due.len() - before
    }

    /// The deadline of the next timer. It may be too early after a removal, never too late (see the [module](self)).
    /// `None` if there is no timer.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let (_, slot) = self.first_occupied()?;
        Some(self.slots[slot].earliest)
    }

    /// Removes all timers and adds their wakers to `into`, in O(n).
    pub(crate) fn clear(&mut self, into: &mut Vec<Waker>) {
        self.occupied = [0; LEVELS];
        self.slots = [Slot::EMPTY; SLOTS * LEVELS];
        for index in 0..self.entries.len() as u32 {
            if self.entries[index as usize].waker.is_some() {
                into.extend(self.release(index));
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The lowest occupied level and its first occupied slot: where the next deadline is.
    fn first_occupied(&self) -> Option<(usize, usize)> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        Some((
            level,
            level * SLOTS + self.occupied[level].trailing_zeros() as usize,
        ))
    }

    /// The first tick of an occupied slot: the digits above its level are those of `elapsed`.
    fn first_tick(&self, level: usize, slot: usize) -> u64 {
        let shift = level as u32 * DIGIT_BITS;
        let above = self.elapsed >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
        above | ((slot % SLOTS) as u64) << shift
    }

    /// Empties a slot that `elapsed` has entered. Timers that are due fire from level 0 only: those of a higher level
    /// cascade first, which sorts them by tick.
    fn visit(&mut self, level: usize, slot: usize, now: u64, due: &mut Vec<Waker>) {
        let mut next = self.slots[slot].head;
        self.slots[slot] = Slot::EMPTY;
        self.occupied[level] &= !(1 << (slot % SLOTS));
        while next != NONE {
            let index = next;
            let entry = &self.entries[index as usize];
            next = entry.next;
            if level == 0 && entry.deadline <= now {
                due.extend(self.release(index));
            } else {
                self.link(index);
            }
        }
    }

    /// Appends an entry to the slot where its deadline belongs.
    fn link(&mut self, index: u32) {
        let deadline = self.entries[index as usize].deadline;
        let tick = self.elapsed.max(deadline >> TICK_BITS);
        let level = level_of(self.elapsed, tick);
        let digit = (tick >> (level as u32 * DIGIT_BITS)) as usize % SLOTS;
        self.occupied[level] |= 1 << digit;

        let at = level * SLOTS + digit;
        let slot = &mut self.slots[at];
        slot.earliest = slot.earliest.min(deadline);
        let prev = std::mem::replace(&mut slot.tail, index);
        match prev {
            NONE => slot.head = index,
            _ => self.entries[prev as usize].next = index,
        }
        let entry = &mut self.entries[index as usize];
        (entry.prev, entry.next, entry.slot) = (prev, NONE, at as u16);
    }

    /// Takes an entry out of its slot, whose `earliest` stays as it is unless the slot is now empty.
    fn unlink(&mut self, index: u32) {
        let &Entry {
            prev,
            next,
            slot: at,
            ..
        } = &self.entries[index as usize];
        let at = usize::from(at);
        let slot = &mut self.slots[at];
        match prev {
            NONE => slot.head = next,
            _ => self.entries[prev as usize].next = next,
        }
        match next {
            NONE => slot.tail = prev,
            _ => self.entries[next as usize].prev = prev,
        }
        if slot.head == NONE {
            *slot = Slot::EMPTY;
            self.occupied[at / SLOTS] &= !(1 << (at % SLOTS));
        }
    }

    /// A free entry, or a new one.
    fn allocate(&mut self) -> u32 {
        if self.free != NONE {
            let index = self.free;
            self.free = self.entries[index as usize].next;
            return index;
        }
        let index = self.entries.len() as u32;
        assert!(
            self.entries.len() < NONE as usize,
            "more than 2^32 - 1 timers at once"
        );
        self.entries.push(Entry {
            deadline: 0,
            waker: None,
            prev: NONE,
            next: NONE,
            generation: 0,
            slot: 0,
        });
        index
    }

    /// Ends the timer of an unlinked entry: its key is void from here on.
    ///
    /// An entry whose generations are used up is left alone rather than starting over, so that an old key can never name
    /// a new timer: it wastes 40 bytes for every 2^32 timers.
    fn release(&mut self, index: u32) -> Option<Waker> {
        let entry = &mut self.entries[index as usize];
        entry.generation += 1;
        if entry.generation != RETIRED {
            entry.next = std::mem::replace(&mut self.free, index);
        }
        self.len -= 1;
        entry.waker.take()
    }

    /// The entry of a timer that is still to fire. Releasing an entry changes its generation, so an equal one means that
    /// the timer is there.
    fn get_mut(&mut self, key: TimerKey) -> Option<&mut Entry> {
        self.entries
            .get_mut(key.index as usize)
            .filter(|entry| entry.generation == key.generation)
    }
}

/// The level of a timer: the highest digit in which its tick differs from that of the wheel, or 0 if none does.
fn level_of(elapsed: u64, tick: u64) -> usize {
    let differing = (elapsed ^ tick) | 1;
    (differing.ilog2() / DIGIT_BITS) as usize
}

#[cfg(test)]
mod tests;
