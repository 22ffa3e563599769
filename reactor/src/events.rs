//! The set of pending events: every registered source and every operation that has not finished.
//!
//! A [`Key`] names an event from the moment it enters until it leaves, and nothing afterwards: it carries a *generation*
//! beside the index of its slot, so that neither an OS event that was already on its way when its source went, nor a
//! late `cancel`, can ever reach the newcomer that has taken the slot over.

use crate::file::stage::Pending;
use crate::slab::Slab;
use crate::state::State;
use crate::sync::twin;
use crate::{Direction, error};
use std::fmt;
use std::io;
use std::sync::Arc;

/// Names one pending event of a reactor: what [`submit`](crate::Reactor::submit) returns and
/// [`cancel`](crate::Reactor::cancel) takes.
///
/// A key is never used twice for different events, short of 2^32 events (2^12 on machines of 32 bits) that come and go
/// while it is kept, the last of them in the same slot. Of another reactor, it means nothing or another event.
//
// It is the very word that the OS hands back with an event (mio's `Token`, a `usize`):
//
//    63                  32 31                   0        31        20 19                   0
//   +----------------------+----------------------+      +------------+----------------------+
//   |      generation      |        index         |      | generation |        index         |
//   +----------------------+----------------------+      +------------+----------------------+
//              a machine of 64 bits                           a machine of 32 bits
//
// The highest index is never given to an event: the reactor's own descriptors have tokens there.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(usize);

/// 32 on machines of 64 bits. On smaller ones 20: a million sources are more than their address space holds.
const INDEX_BITS: u32 = if usize::BITS == 64 { 32 } else { 20 };
const INDEX_MASK: usize = (1 << INDEX_BITS) - 1;
const GENERATION_MASK: usize = usize::MAX >> INDEX_BITS;

impl Key {
    /// The token of the descriptor through which another thread wakes a turn.
    pub(crate) const UNPARK: Key = Key(usize::MAX);
    /// The token of the descriptor that becomes readable when a timer is due, where there is one.
    #[cfg(any(target_os = "linux", test))]
    pub(crate) const ALARM: Key = Key(usize::MAX - (1 << INDEX_BITS));
    /// The token of the ring, and of what it is asked beside calls.
    pub(crate) const RING: Key = Key(usize::MAX - (2 << INDEX_BITS));

    fn new(index: usize, generation: usize) -> Key {
        debug_assert!(index < INDEX_MASK && generation <= GENERATION_MASK);
        Key(generation << INDEX_BITS | index)
    }

    fn index(self) -> usize {
        self.0 & INDEX_MASK
    }

    fn generation(self) -> usize {
        self.0 >> INDEX_BITS
    }

    /// Whether this is the token of one of the reactor's own descriptors.
    pub(crate) fn is_internal(self) -> bool {
        self.index() == INDEX_MASK
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, generation {})", self.index(), self.generation())
    }
}

impl From<Key> for mio::Token {
    fn from(key: Key) -> mio::Token {
        mio::Token(key.0)
    }
}

impl From<mio::Token> for Key {
    fn from(token: mio::Token) -> Key {
        Key(token.0)
    }
}

/// A pending event: what kind it is, and where its state is.
pub(crate) enum Event {
    /// A descriptor is registered; it stays until it is dropped.
    Source(Arc<State>),
    /// An operation waits in the queue of its source; it stays until it is finished or cancelled.
    Operation(Arc<State>, Direction),
    /// A call on a file waits for a thread.
    CallWaiting(Box<Pending>),
    /// A call is in the ring: the kernel has it, or will have it, and nothing may touch it.
    CallInRing(Box<Pending>),
    /// A thread performs a call, and has it.
    CallOnThread,
}

/// The slab of pending events.
///
/// What it hands out is dropped by its owner after the lock that guards it is released: the last reference to a source
/// drops wakers, which may run any code.
#[derive(Default)]
pub(crate) struct Events {
    slots: Slab<Slot>,
    /// Counts all events that ever came; each takes its number as its generation.
    generation: usize,
    closed: bool,
}

struct Slot {
    generation: usize,
    event: Event,
}

impl Events {
    /// Adds an event.
    ///
    /// # Errors
    /// When the reactor is closed, or all indices are in use.
    pub(crate) fn insert(&mut self, event: Event) -> io::Result<Key> {
        self.room()?;
        self.generation = self.generation.wrapping_add(1) & GENERATION_MASK;
        let generation = self.generation;
        let index = self.slots.insert(Slot { generation, event });
        Ok(Key::new(index, generation))
    }

    /// Whether an event can be added now.
    ///
    /// # Errors
    /// Those of [`insert`](Self::insert).
    pub(crate) fn room(&self) -> io::Result<()> {
        if self.closed {
            return Err(error::gone());
        }
        if self.slots.next_index() >= INDEX_MASK {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                format!(
                    "cannot add an event to the reactor: it holds {INDEX_MASK} already; use a second reactor"
                ),
            ));
        }
        Ok(())
    }

    /// The event of a key, unless it has left.
    pub(crate) fn get(&self, key: Key) -> Option<&Event> {
        self.slots
            .get(key.index())
            .filter(|slot| slot.generation == key.generation() || twin("events-generation-ignored"))
            .map(|slot| &slot.event)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Event> {
        self.slots
            .get_mut(key.index())
            .filter(|slot| slot.generation == key.generation())
            .map(|slot| &mut slot.event)
    }

    /// All events with their keys.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut Event)> {
        self.slots
            .iter_mut()
            .map(|(index, slot)| (Key::new(index, slot.generation), &mut slot.event))
    }

    /// Takes an event out. `None` if it has left.
    pub(crate) fn remove(&mut self, key: Key) -> Option<Event> {
        self.get(key)?;
        self.slots.remove(key.index()).map(|slot| slot.event)
    }

    /// Takes all events out and admits no more. Calls in the ring stay: the kernel may be using their memory, and who has
    /// closed the ring takes them out one by one.
    pub(crate) fn close(&mut self) -> Vec<Event> {
        self.closed = true;
        let all = self.iter_mut();
        let leave = all.filter(|(_, event)| !matches!(event, Event::CallInRing(_)));
        let keys: Vec<Key> = leave.map(|(key, _)| key).collect();
        let taken = keys.into_iter().filter_map(|key| self.remove(key));
        taken.collect()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Event {
        Event::Source(Arc::new(State::new()))
    }

    #[test]
    fn the_masks_share_the_word_without_gap_or_overlap() {
        assert_eq!(INDEX_MASK & (GENERATION_MASK << INDEX_BITS), 0);
        assert_eq!(INDEX_MASK | (GENERATION_MASK << INDEX_BITS), usize::MAX);
        for (index, generation) in [
            (0, 0),
            (1, 2),
            (INDEX_MASK - 1, 0),
            (0, GENERATION_MASK),
            (INDEX_MASK - 1, GENERATION_MASK),
        ] {
            let key = Key::new(index, generation);
            assert_eq!((key.index(), key.generation()), (index, generation));
            assert_eq!(Key::from(mio::Token::from(key)), key);
            assert!(!key.is_internal());
        }
    }

    #[test]
    fn the_internal_keys_are_three_that_no_event_has() {
        let keys = [Key::UNPARK, Key::ALARM, Key::RING];
        assert!(keys.iter().all(|key| key.is_internal()));
        let different: std::collections::HashSet<_> = keys.into();
        assert_eq!(different.len(), 3);
    }

    #[test]
    fn a_key_is_void_once_its_event_has_left() {
        let mut events = Events::default();
        let old = events.insert(source()).unwrap();
        assert!(events.remove(old).is_some());
        let new = events.insert(source()).unwrap();
        assert_eq!(old.index(), new.index(), "the slot is used again");
        assert!(events.get(old).is_none());
        assert!(events.remove(old).is_none());
        assert!(events.get(new).is_some());
    }

    #[test]
    fn a_key_stays_void_however_many_come_after_it() {
        let mut events = Events {
            // The last generation is followed by the first.
            generation: GENERATION_MASK - 500,
            ..Events::default()
        };
        let mut keys = std::collections::HashSet::new();
        for _ in 0..1000 {
            let key = events.insert(source()).unwrap();
            assert!(keys.insert(key), "{key:?} was another's");
            assert!(events.remove(key).is_some());
        }
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_machine_of_64_bits_has_room_for_billions_of_events() {
        let all = u32::MAX as usize;
        assert_eq!((INDEX_MASK, GENERATION_MASK), (all, all));
    }

    #[test]
    fn a_closed_set_is_empty_and_admits_nothing() {
        let mut events = Events::default();
        let key = events.insert(source()).unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events.close().len(), 1);
        assert!(events.get(key).is_none());
        assert!(events.insert(source()).is_err());
        assert_eq!(events.len(), 0);
    }
}
