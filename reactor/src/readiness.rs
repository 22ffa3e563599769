//! What is known about a source: one word, changed by the turns of the reactor and by those who use the source.
//!
//! The OS reports an edge once: "became readable". The word remembers it until an attempt finds that it is over. Two
//! writers meet here, so each change is one read-modify-write:
//!
//! - a turn that delivers an event **sets** flags and moves the *tick* on;
//! - whoever tried a syscall and was told `WouldBlock` **clears** the flags of that direction, but only if the tick is
//!   still the one it read *before* the syscall. Otherwise an event came in between, perhaps for data that arrived after
//!   the syscall looked, and clearing would forget it for good: no second edge comes for the same data.
//!
//! A needless retry costs one syscall; a forgotten edge costs a hang. So every doubt is resolved towards "ready".

use crate::Direction;
use crate::sync::{AtomicU64, Ordering, twin};

/// A value of the word.
//
//    63                                         5   4     3     2     1     0
//   +--------------------------------------------+-----+-----+-----+-----+-----+
//   |                    tick                    |gone |w.end|write|r.end|read |
//   +--------------------------------------------+-----+-----+-----+-----+-----+
//
// Each direction has two bits, `READY` and `END`, at the shift that `Direction` gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Readiness(u64);

/// An attempt may succeed. Set by an event and at registration; cleared by an attempt that found nothing more.
const READY: u64 = 0b01;
/// The peer has closed this direction, or an error waits to be read: an attempt does not block, however often it is made.
/// Set by an event; cleared only by an attempt that did block, which proves that it does not hold (any more). A short
/// transfer does not clear it: no further event would come.
const END: u64 = 0b10;
/// The reactor is closed. Set once, never cleared.
const GONE: u64 = 0b1_0000;
/// One step of the tick. It has 59 bits, and a stale one is kept for the time of a syscall: it never comes round.
const TICK: u64 = 0b10_0000;

impl Direction {
    /// Where the direction's two bits are.
    fn shift(self) -> u32 {
        match self {
            Direction::Read => 0,
            Direction::Write => 2,
        }
    }

    fn mask(self, bits: u64) -> u64 {
        bits << self.shift()
    }
}

/// What one event of the OS says: a set of flags, without a tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Edge(u64);

impl Edge {
    /// An error ends both directions, as a hang-up does: the next attempt of either returns it.
    pub(crate) fn of(event: &mio::event::Event) -> Edge {
        let bits = |ready, end| match (ready, end || event.is_error()) {
            (_, true) => READY | END,
            (true, false) => READY,
            (false, false) => 0,
        };
        let read = bits(event.is_readable(), event.is_read_closed());
        let write = bits(event.is_writable(), event.is_write_closed());
        Edge(Direction::Read.mask(read) | Direction::Write.mask(write))
    }

    /// Whether attempts in this direction are worth making now.
    pub(crate) fn concerns(self, direction: Direction) -> bool {
        self.0 & direction.mask(READY | END) != 0
    }

    #[cfg(any(test, loom))]
    pub(crate) fn ready(direction: Direction) -> Edge {
        Edge(direction.mask(READY))
    }

    #[cfg(test)]
    pub(crate) fn end(direction: Direction) -> Edge {
        Edge(direction.mask(READY | END))
    }
}

/// The transitions. They are pure; [`AtomicReadiness`] makes them atomic. `None` means: leave the word as it is.
impl Readiness {
    /// Where a source begins. The first attempt finds out: it often succeeds, and then nobody had to wait for an event.
    const ASSUMED: Readiness = Readiness(READY | READY << 2);

    /// Whether there is something to do for who waits in this direction: an attempt, or to be told that all is over.
    pub(crate) fn is_ready(self, direction: Direction) -> bool {
        self.0 & (direction.mask(READY | END) | GONE) != 0
    }

    pub(crate) fn is_gone(self) -> bool {
        self.0 & GONE != 0
    }

    fn tick(self) -> u64 {
        self.0 / TICK
    }

    fn after_event(self, edge: Edge) -> Readiness {
        Readiness(self.0.wrapping_add(TICK) | edge.0)
    }

    /// An attempt, begun when the word was `seen`, would have blocked.
    fn after_blocked(self, seen: Readiness, direction: Direction) -> Option<Readiness> {
        let over = self.tick() == seen.tick() || twin("readiness-tick-not-compared");
        over.then_some(Readiness(self.0 & !direction.mask(READY | END)))
    }

    /// An attempt, begun when the word was `seen`, transferred less than it asked for. An end stays, and with it the
    /// direction is ready still.
    fn after_short(self, seen: Readiness, direction: Direction) -> Option<Readiness> {
        let over = self.tick() == seen.tick() || twin("readiness-short-tick-not-compared");
        over.then_some(Readiness(self.0 & !direction.mask(READY)))
    }

    fn after_close(self) -> Readiness {
        Readiness(self.0.wrapping_add(TICK) | GONE)
    }
}

/// The word itself.
#[derive(Debug)]
pub(crate) struct AtomicReadiness(AtomicU64);

impl AtomicReadiness {
    pub(crate) fn new() -> AtomicReadiness {
        AtomicReadiness(AtomicU64::new(Readiness::ASSUMED.0))
    }

    pub(crate) fn load(&self) -> Readiness {
        // ORDERING: Acquire pairs with the Release half of `change`, so that whoever sees an event also sees what the
        // turn did before it. That no event is missed does not depend on it: the second look, under the lock, does that.
        Readiness(self.0.load(Ordering::Acquire))
    }

    pub(crate) fn event(&self, edge: Edge) {
        self.change(|now| Some(now.after_event(edge)));
    }

    pub(crate) fn blocked(&self, seen: Readiness, direction: Direction) {
        self.change(|now| now.after_blocked(seen, direction));
    }

    pub(crate) fn short(&self, seen: Readiness, direction: Direction) {
        self.change(|now| now.after_short(seen, direction));
    }

    pub(crate) fn close(&self) {
        self.change(|now| Some(now.after_close()));
    }

    /// One read-modify-write: no change of another thread is lost between the reading and the writing.
    fn change(&self, transition: impl Fn(Readiness) -> Option<Readiness>) {
        let mut now = self.load();
        while let Some(next) = transition(now) {
            if twin("readiness-change-by-store") {
                // ORDERING: the calibration twin: a store in place of the compare-exchange.
                return self.0.store(next.0, Ordering::Release);
            }
            // ORDERING: Release pairs with the Acquire of `load`; on success Acquire too, because the word is a relay:
            // who reads this value must also see what preceded the one that it replaces.
            match self
                .0
                .compare_exchange_weak(now.0, next.0, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return,
                Err(other) => now = Readiness(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Read, Write};

    #[test]
    fn the_bits_do_not_overlap() {
        let fields = [
            Read.mask(READY),
            Read.mask(END),
            Write.mask(READY),
            Write.mask(END),
            GONE,
        ];
        let all = fields.iter().fold(0, |seen, field| {
            assert_eq!(seen & field, 0);
            seen | field
        });
        assert_eq!(all, TICK - 1, "the flags fill the space below the tick");
    }

    #[test]
    fn an_edge_concerns_its_own_direction() {
        for edge in [Edge::ready, Edge::end] {
            assert!(edge(Read).concerns(Read) && !edge(Read).concerns(Write));
            assert!(edge(Write).concerns(Write) && !edge(Write).concerns(Read));
        }
    }

    #[test]
    fn a_source_is_assumed_ready_until_an_attempt_blocks() {
        let word = AtomicReadiness::new();
        let seen = word.load();
        assert!(seen.is_ready(Read) && seen.is_ready(Write));
        word.blocked(seen, Read);
        assert!(!word.load().is_ready(Read));
        assert!(word.load().is_ready(Write), "the other direction stays");
    }

    #[test]
    fn an_event_during_an_attempt_is_not_forgotten() {
        let word = AtomicReadiness::new();
        let seen = word.load();
        word.event(Edge::ready(Read));
        word.blocked(seen, Read);
        assert!(word.load().is_ready(Read));
        word.short(seen, Read);
        assert!(word.load().is_ready(Read));
        word.blocked(word.load(), Read);
        assert!(!word.load().is_ready(Read));
    }

    #[test]
    fn a_short_transfer_leaves_an_end_to_be_read() {
        let word = AtomicReadiness::new();
        word.event(Edge::end(Read));
        word.short(word.load(), Read);
        assert!(word.load().is_ready(Read));
        word.short(word.load(), Write);
        assert!(!word.load().is_ready(Write));
    }

    #[test]
    fn an_attempt_that_blocks_disproves_an_end() {
        let word = AtomicReadiness::new();
        word.event(Edge::end(Read));
        word.blocked(word.load(), Read);
        assert!(!word.load().is_ready(Read));
    }

    #[test]
    fn a_closed_reactor_stays_closed() {
        let word = AtomicReadiness::new();
        word.blocked(word.load(), Read);
        word.close();
        word.blocked(word.load(), Read);
        assert!(word.load().is_gone() && word.load().is_ready(Read));
    }

    #[test]
    fn the_tick_runs_over_without_touching_the_flags() {
        let last = Readiness(!(TICK - 1));
        let next = last.after_event(Edge::ready(Write));
        assert_eq!(next.tick(), 0);
        assert!(next.is_ready(Write) && !next.is_ready(Read) && !next.is_gone());
    }
}
