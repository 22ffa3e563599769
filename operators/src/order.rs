//! The order in which entries leave a stage.
//!
//! An entry is a record that was accepted and has not left. It is *settled* once its outcome is known; this module
//! decides when a settled entry may leave: in ordered mode when it is the oldest, in unordered mode at once.
//!
//! A segment is what lies between two things that no record may cross, as a watermark. Today nothing but records
//! comes in, so unordered mode is one segment that never ends: [`Order::Unordered`] is that segment. When watermarks
//! come, it becomes a queue of segments of which only the oldest lets its settled entries leave.

use crate::error::StageError;
use std::collections::VecDeque;

/// What leaves the stage for one record.
pub(crate) enum Verdict<Out> {
    Output(Out),
    Nothing,
    /// The last to leave: the stage ends with it.
    Failed(StageError),
}

/// Every entry, by mode. Numbers are given to records as they are accepted: 1, 2, 3...
pub(crate) enum Order<Out> {
    Ordered(Line<Out>),
    Unordered(Segment<Out>),
}

/// All entries, oldest first; `None` is one that is not settled.
pub(crate) struct Line<Out> {
    entries: VecDeque<Option<Verdict<Out>>>,
    /// The number of the oldest.
    oldest: u64,
}

/// Settled entries in the order in which they were, and the number of those that are not.
pub(crate) struct Segment<Out> {
    settled: VecDeque<Verdict<Out>>,
    unsettled: usize,
}

impl<Out> Order<Out> {
    pub(crate) fn ordered() -> Self {
        Self::Ordered(Line {
            entries: VecDeque::new(),
            oldest: 1,
        })
    }

    pub(crate) fn unordered() -> Self {
        Self::Unordered(Segment {
            settled: VecDeque::new(),
            unsettled: 0,
        })
    }

    /// The next number's record was accepted.
    pub(crate) fn accept(&mut self) {
        match self {
            Self::Ordered(line) => line.entries.push_back(None),
            Self::Unordered(segment) => segment.unsettled += 1,
        }
    }

    /// The outcome of the record with this number is known.
    pub(crate) fn settle(&mut self, number: u64, verdict: Verdict<Out>) {
        match self {
            Self::Ordered(line) => {
                let entry = (number - line.oldest) as usize;
                line.entries[entry] = Some(verdict);
            }
            Self::Unordered(segment) => {
                segment.unsettled -= 1;
                segment.settled.push_back(verdict);
            }
        }
    }

    /// Takes the next entry that may leave.
    pub(crate) fn next(&mut self) -> Option<Verdict<Out>> {
        match self {
            Self::Ordered(line) => {
                let verdict = line.entries.front_mut()?.take()?;
                line.entries.pop_front();
                line.oldest += 1;
                Some(verdict)
            }
            Self::Unordered(segment) => segment.settled.pop_front(),
        }
    }

    /// The record with this number is to be the last to leave: in ordered mode, drops all younger entries. In unordered
    /// mode it leaves at once, and there is nothing to drop.
    pub(crate) fn cut_after(&mut self, number: u64) {
        if let Self::Ordered(line) = self {
            line.entries.truncate((number - line.oldest) as usize + 1);
        }
    }

    pub(crate) fn clear(&mut self) {
        match self {
            Self::Ordered(line) => line.entries.clear(),
            Self::Unordered(segment) => {
                segment.settled.clear();
                segment.unsettled = 0;
            }
        }
    }

    /// How many entries there are, settled or not.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Ordered(line) => line.entries.len(),
            Self::Unordered(segment) => segment.settled.len() + segment.unsettled,
        }
    }
}
