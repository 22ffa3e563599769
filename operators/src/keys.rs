//! Key-ordered mode: records whose key is busy wait in line, in front of the stage.
//!
//! A key is busy from the moment one of its records is accepted until that record leaves, and has a line for as long.
//! Records of other keys pass those that wait. A record that waits is not accepted yet: it takes no place of the
//! stage's capacity, and its time does not run. So a hot key fills its line and not the stage. The lines have a bound
//! of their own, all together; once it is reached the stage takes no input, for the next record's key is known only
//! when it is taken.
//!
//! When a key's record leaves, the next one in its line may be accepted; when there is none, the key is forgotten.
//!
//! # Why a mark does not shut the stage
//!
//! What came in behind a mark leaves behind it, and the mark leaves when all that came in front of it has. If one of those waits for its
//! key, and all places are taken by results from behind the mark, that wait for it, then nothing ever moves. So, while a record waits,
//! no record from behind a mark that it is in front of gets the last place, or gives its own back in a back-off, from which it would return
//! whether there is one or not; and of those whose turn it is, the one that came in front of most marks is first. Then those from behind the
//! mark have all places but one at most, whoever came in front of it and is at work leaves, and there is a place.

use crate::order::Place;
use crate::panics::caught;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::Hash;

/// As many as the default capacity: no one has measured the keys yet.
const DEFAULT_WAITING: usize = 100;

/// How long a line's memory may be that is kept for the next key: most lines are short, and few keys are hot.
const KEPT: usize = 4;

/// Whether a stage keeps records of the same key in order, and by which key: [`NoKey`] or [`KeyOf`].
pub trait KeyBy<T>: Send + 'static {
    #[doc(hidden)]
    fn lines<Time: Send + 'static>(self) -> Option<Box<dyn Lines<T, Time>>>;
}

/// A record that came in, and has its place in the order of the stage.
pub struct Entered<T, Time> {
    pub(crate) record: T,
    pub(crate) time: Time,
    pub(crate) place: Place,
}

/// Records have no key: the stage is ordered or unordered as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKey;

impl<T> KeyBy<T> for NoKey {
    fn lines<Time: Send + 'static>(self) -> Option<Box<dyn Lines<T, Time>>> {
        None
    }
}

/// Records have the key that a function names: what
/// [`AsyncOptions::key_ordered`](crate::AsyncOptions::key_ordered) stands for.
#[derive(Clone, Copy, Debug)]
pub struct KeyOf<F> {
    key: F,
    pub(crate) waiting: usize,
}

impl<F> KeyOf<F> {
    pub(crate) fn new(key: F) -> Self {
        let waiting = DEFAULT_WAITING;
        Self { key, waiting }
    }
}

impl<T, K, F> KeyBy<T> for KeyOf<F>
where
    T: Send + 'static,
    K: Hash + Eq + Clone + Send + 'static,
    F: FnMut(&T) -> K + Send + 'static,
{
    fn lines<Time: Send + 'static>(self) -> Option<Box<dyn Lines<T, Time>>> {
        Some(Box::new(LinesByKey {
            key: self.key,
            bound: self.waiting,
            waiting: 0,
            busy: HashMap::new(),
            lines: Vec::new(),
            free: Vec::new(),
            places: VecDeque::new(),
            next: BinaryHeap::new(),
            turns: 0,
        }))
    }
}

/// What becomes of a record that comes from the input.
pub enum Arrival<T, Time> {
    /// Its key was free, and now is busy: it may be accepted. The number is its line's.
    Accept(Entered<T, Time>, usize),
    /// It waits in line.
    Waits,
    /// The function that names keys panicked with this message.
    Refuse(Entered<T, Time>, String),
}

/// The lines of a stage, one for each busy key. A line is named by an index.
pub trait Lines<T, Time>: Send {
    /// A record comes.
    fn arrive(&mut self, entered: Entered<T, Time>) -> Arrival<T, Time>;

    /// The record that made a line's key busy has left the stage. True: there is a `next`.
    #[must_use]
    fn leave(&mut self, line: usize) -> bool;

    /// The record that waited and may be accepted now, and its line.
    fn next(&mut self) -> Option<(Entered<T, Time>, usize)>;

    /// The place of the record that is next.
    fn next_place(&self) -> Option<Place>;

    /// Whether a record waits that has an earlier place.
    fn has_earlier(&self, place: Place) -> bool;

    /// How many records wait.
    fn waiting(&self) -> usize;

    /// Whether no record may come.
    fn is_full(&self) -> bool;

    /// Shows every record that waits; those of one key in their order.
    #[cfg(feature = "pipeline")]
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&'a Entered<T, Time>));
}

struct LinesByKey<T, Time, K, F> {
    key: F,
    bound: usize,
    waiting: usize,
    busy: HashMap<K, usize>,
    lines: Vec<Line<Entered<T, Time>, K>>,
    free: Vec<usize>,
    /// The places of those that wait, the earliest first, and how many have each.
    places: VecDeque<(Place, usize)>,
    /// Lines whose first may be accepted; by its place, and for the same place in the order in which that came true.
    next: BinaryHeap<Reverse<(Place, u64, usize)>>,
    /// How often it came true.
    turns: u64,
}

struct Line<E, K> {
    /// None: the line is free.
    key: Option<K>,
    records: VecDeque<E>,
}

impl<T, Time, K, F> LinesByKey<T, Time, K, F>
where
    K: Hash + Eq + Clone,
{
    fn open(&mut self, key: K) -> usize {
        let line = self.free.pop().unwrap_or_else(|| {
            self.lines.push(Line {
                key: None,
                records: VecDeque::new(),
            });
            self.lines.len() - 1
        });
        self.lines[line].key = Some(key.clone());
        self.busy.insert(key, line);
        line
    }

    /// A record waits. None that came before has a later place.
    fn count(&mut self, place: Place) {
        self.waiting += 1;
        match self.places.back_mut() {
            Some((last, count)) if *last == place => *count += 1,
            _ => self.places.push_back((place, 1)),
        }
    }

    /// A record no longer waits. Places are in order, so that of one behind thousands is found at once.
    fn discount(&mut self, place: Place) {
        self.waiting -= 1;
        let found = self
            .places
            .binary_search_by_key(&place, |(place, _)| *place);
        if let Some((_, count)) = found.ok().and_then(|at| self.places.get_mut(at)) {
            *count -= 1;
        }
        while self.places.front().is_some_and(|(_, count)| *count == 0) {
            self.places.pop_front();
        }
    }

    fn close(&mut self, line: usize) {
        if let Some(key) = self.lines[line].key.take() {
            self.busy.remove(&key);
        }
        self.lines[line].records.shrink_to(KEPT);
        self.free.push(line);
    }
}

impl<T, Time, K, F> Lines<T, Time> for LinesByKey<T, Time, K, F>
where
    T: Send,
    Time: Send,
    K: Hash + Eq + Clone + Send,
    F: FnMut(&T) -> K + Send,
{
    fn arrive(&mut self, entered: Entered<T, Time>) -> Arrival<T, Time> {
        let key = match caught(|| (self.key)(&entered.record)) {
            Ok(key) => key,
            Err(message) => return Arrival::Refuse(entered, message),
        };
        match self.busy.get(&key) {
            Some(line) => {
                let place = entered.place;
                self.lines[*line].records.push_back(entered);
                self.count(place);
                Arrival::Waits
            }
            None => Arrival::Accept(entered, self.open(key)),
        }
    }

    fn leave(&mut self, line: usize) -> bool {
        let Some(first) = self.lines[line].records.front() else {
            self.close(line);
            return false;
        };
        self.turns += 1;
        self.next.push(Reverse((first.place, self.turns, line)));
        true
    }

    fn next(&mut self) -> Option<(Entered<T, Time>, usize)> {
        let Reverse((place, _, line)) = self.next.pop()?;
        let entered = self.lines[line].records.pop_front()?;
        self.discount(place);
        Some((entered, line))
    }

    fn next_place(&self) -> Option<Place> {
        self.next.peek().map(|Reverse((place, ..))| *place)
    }

    fn has_earlier(&self, place: Place) -> bool {
        let first = self.places.front();
        first.is_some_and(|(first, _)| *first < place)
    }

    fn waiting(&self) -> usize {
        self.waiting
    }

    fn is_full(&self) -> bool {
        self.waiting >= self.bound
    }

    #[cfg(feature = "pipeline")]
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&'a Entered<T, Time>)) {
        self.lines
            .iter()
            .flat_map(|line| &line.records)
            .for_each(visitor);
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrival, Entered, KeyOf, LinesByKey};
    use super::{KeyBy, Lines};
    use std::collections::{BinaryHeap, HashMap, VecDeque};

    fn arrive(lines: &mut (impl Lines<u64, ()> + ?Sized), record: u64) -> Arrival<u64, ()> {
        lines.arrive(Entered {
            record,
            time: (),
            place: 0,
        })
    }

    fn accepted(lines: &mut impl Lines<u64, ()>, record: u64) -> Option<usize> {
        match arrive(lines, record) {
            Arrival::Accept(same, line) => {
                assert_eq!(same.record, record);
                Some(line)
            }
            _ => None,
        }
    }

    #[test]
    fn a_key_that_is_idle_leaves_nothing_behind() {
        let mut lines = LinesByKey {
            key: |record: &u64| record % 10,
            bound: 100,
            waiting: 0,
            busy: HashMap::new(),
            lines: Vec::new(),
            free: Vec::new(),
            places: VecDeque::new(),
            next: BinaryHeap::new(),
            turns: 0,
        };
        let one = accepted(&mut lines, 1).expect("its key is free");
        let two = accepted(&mut lines, 2).expect("so is this");
        for record in (11..=91).step_by(10) {
            assert_eq!(accepted(&mut lines, record), None);
        }
        assert!(!lines.leave(two));
        for record in (11..=91).step_by(10) {
            assert!(lines.leave(one));
            let next = lines.next().map(|(entered, line)| (entered.record, line));
            assert_eq!(next, Some((record, one)));
        }
        assert_eq!((lines.waiting(), lines.busy.len()), (0, 1));
        assert!(!lines.leave(one));
        assert_eq!((lines.busy.len(), lines.free.len()), (0, 2));
        assert!(lines.lines.iter().all(|line| line.key.is_none()));
        assert!(lines.lines.iter().all(|line| line.records.capacity() <= 8));
        assert!(accepted(&mut lines, 3).is_some());
        assert_eq!(lines.lines.len(), 2, "lines are used again");
    }

    #[test]
    fn lines_are_full_together() {
        let mut keyed = KeyOf::new(|record: &u64| record % 10);
        keyed.waiting = 2;
        let mut lines = keyed.lines::<()>().expect("there are keys");
        for record in [1, 2, 11] {
            let _ = arrive(&mut *lines, record);
        }
        assert!(!lines.is_full());
        let _ = arrive(&mut *lines, 12);
        assert!(lines.is_full());
    }
}
