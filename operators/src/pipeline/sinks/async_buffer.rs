//! What waits to be sent, in the order in which it came, and when it is enough for a request.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A record, until it is written or has failed for good.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) record: T,
    /// The first that the sink was given is 1.
    pub(super) number: u64,
    /// How many of its requests have ended, all without success.
    pub(super) failed: u32,
    pub(super) size: u64,
    /// When it was written.
    pub(super) since: Instant,
}

/// Entries in the order of their numbers. Those that return from a request thus stand before all that were never sent.
pub(super) struct Buffer<T> {
    entries: VecDeque<Entry<T>>,
    bytes: u64,
    most_entries: usize,
    most_bytes: u64,
    age: Duration,
}

impl<T> Buffer<T> {
    /// One whose requests have at most so many entries and bytes, and wait no longer than `age`.
    pub(super) fn new(most_entries: usize, most_bytes: u64, age: Duration) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            most_entries,
            most_bytes,
            age,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry<T>> {
        self.entries.iter()
    }

    /// Puts an entry where its number belongs: a new one to the end, one that returns before all that were never sent.
    pub(super) fn put(&mut self, entry: Entry<T>) {
        self.bytes = self.bytes.saturating_add(entry.size);
        let is_newest = self.entries.back().is_none_or(|b| b.number < entry.number);
        if is_newest {
            return self.entries.push_back(entry);
        }
        let place = self.entries.partition_point(|e| e.number < entry.number);
        self.entries.insert(place, entry);
    }

    /// Whether a request is to be made: there is enough for one, the first has waited long enough, or it has waited already, for
    /// a retry.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let Some(first) = self.entries.front() else {
            return false;
        };
        self.entries.len() >= self.most_entries
            || self.bytes >= self.most_bytes
            || first.failed > 0
            || self.old_at().is_some_and(|at| at <= now)
    }

    /// When the first has waited long enough.
    pub(super) fn old_at(&self) -> Option<Instant> {
        self.entries.front()?.since.checked_add(self.age)
    }

    /// Takes as many as a request may have, from the first on: at least one.
    pub(super) fn take(&mut self) -> Vec<Entry<T>> {
        let (mut count, mut bytes) = (0, 0_u64);
        for entry in self.entries.iter().take(self.most_entries) {
            let more = bytes.saturating_add(entry.size);
            if count > 0 && more > self.most_bytes {
                break;
            }
            (count, bytes) = (count + 1, more);
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        self.entries.drain(..count).collect()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}
