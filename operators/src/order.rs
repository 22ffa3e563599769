//! The order in which entries leave a stage.
//!
//! An entry is a record that came in and has not left. It is *settled* once its outcome is known; this module
//! decides when a settled entry may leave: in ordered mode when it is the oldest, in unordered mode as soon as it is
//! settled, but never across a mark.
//!
//! So unordered mode is a queue of *segments*: what lies between two marks. Only the oldest lets its settled entries
//! leave. When it has none left, settled or not, the mark behind it leaves, and the next segment is the oldest. A stage
//! without marks has one segment, which never ends.
//!
//! ```text
//!     came in:    r1 r2 W1 r3 r4 W2 r5 r6
//!     segments:   [r1 r2]  [r3 r4]  [r5 r6]       r6 and r3 are settled, and wait; r2 is, and leaves
//! ```
//!
//! A mark takes a few words, whatever the capacity, and its segment's queue is used again by the next.

use crate::error::StageError;
use std::collections::VecDeque;

/// What leaves the stage for one record.
pub(crate) enum Verdict<Out, Time> {
    Output(Out, Time),
    Nothing,
    /// The last to leave: the stage ends with it.
    Failed(StageError),
}

/// What leaves the stage.
pub(crate) enum Departure<Out, Time, M> {
    Record(Verdict<Out, Time>),
    Mark(M),
}

/// What has come so far that it waits only for its turn.
#[cfg(feature = "pipeline")]
pub(crate) enum Waiting<'a, Out, Time, M> {
    /// Leaves before the entry in its place.
    MarkBefore(&'a M),
    Output(&'a Out, &'a Time),
    /// Leaves behind the entries in its place.
    MarkBehind(&'a M),
}

/// Where an entry stands: given to it when it comes in, and never again.
pub(crate) type Place = u64;

/// Every entry and every mark, by mode.
pub(crate) enum Order<Out, Time, M> {
    Ordered(Line<Out, Time, M>),
    Unordered(Segments<Out, Time, M>),
}

impl<Out, Time, M> Order<Out, Time, M> {
    pub(crate) fn ordered() -> Self {
        Self::Ordered(Line::new())
    }

    pub(crate) fn unordered() -> Self {
        Self::Unordered(Segments::new())
    }

    /// Whether a record that came in now, and had its outcome at once, would leave at once.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Ordered(line) => line.entries.is_empty() && line.marks.is_empty(),
            Self::Unordered(segments) => segments.is_open(),
        }
    }

    /// A record comes in, behind all others.
    pub(crate) fn enter(&mut self) -> Place {
        match self {
            Self::Ordered(line) => line.enter(),
            Self::Unordered(segments) => segments.enter(),
        }
    }

    /// The place of a record that comes in now.
    pub(crate) fn next_place(&self) -> Place {
        match self {
            Self::Ordered(line) => line.next_place(),
            Self::Unordered(segments) => segments.next_place(),
        }
    }

    /// A mark comes in, behind all others.
    pub(crate) fn mark(&mut self, mark: M) {
        match self {
            Self::Ordered(line) => line.mark(mark),
            Self::Unordered(segments) => segments.mark(mark),
        }
    }

    /// The outcome of the record in this place is known. It comes back if nothing keeps it from leaving: then it is gone from here.
    #[inline]
    #[must_use]
    pub(crate) fn settle(
        &mut self,
        place: Place,
        verdict: Verdict<Out, Time>,
    ) -> Option<Verdict<Out, Time>> {
        match self {
            Self::Ordered(line) => line.settle(place, verdict),
            Self::Unordered(segments) => segments.settle(place, verdict),
        }
    }

    /// Whether there is a `next`.
    #[inline]
    pub(crate) fn has_next(&self) -> bool {
        match self {
            Self::Ordered(line) => line.has_next(),
            Self::Unordered(segments) => segments.has_next(),
        }
    }

    /// Takes the next that may leave, of those that had to wait.
    pub(crate) fn next(&mut self) -> Option<Departure<Out, Time, M>> {
        match self {
            Self::Ordered(line) => line.next(),
            Self::Unordered(segments) => segments.next(),
        }
    }

    /// The record in this place is to be the last to leave: in ordered mode, drops all that came in behind it. In
    /// unordered mode it leaves at once, and there is nothing to drop.
    pub(crate) fn cut_after(&mut self, place: Place) {
        if let Self::Ordered(line) = self {
            line.cut_after(place);
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = match self {
            Self::Ordered(_) => Self::ordered(),
            Self::Unordered(_) => Self::unordered(),
        };
    }

    /// Shows the outputs that wait to leave and the marks, with their places, each segment's mark behind its outputs.
    #[cfg(feature = "pipeline")]
    pub(crate) fn visit<'a>(&'a self, visitor: &mut dyn FnMut(Place, Waiting<'a, Out, Time, M>)) {
        match self {
            Self::Ordered(line) => line.visit(visitor),
            Self::Unordered(segments) => segments.visit(visitor),
        }
    }

    /// How many entries there are, settled or not.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Ordered(line) => line.entries.len(),
            Self::Unordered(segments) => segments.len,
        }
    }
}

/// All entries, oldest first; `None` is one that is not settled.
pub(crate) struct Line<Out, Time, M> {
    entries: VecDeque<Option<Verdict<Out, Time>>>,
    /// The place of the oldest.
    oldest: Place,
    /// Each with the place of the entry that it stands before.
    marks: VecDeque<(Place, M)>,
}

impl<Out, Time, M> Line<Out, Time, M> {
    fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            oldest: 0,
            marks: VecDeque::new(),
        }
    }

    fn next_place(&self) -> Place {
        self.oldest + self.entries.len() as Place
    }

    fn enter(&mut self) -> Place {
        let place = self.next_place();
        self.entries.push_back(None);
        place
    }

    fn mark(&mut self, mark: M) {
        self.marks.push_back((self.next_place(), mark));
    }

    fn settle(&mut self, place: Place, verdict: Verdict<Out, Time>) -> Option<Verdict<Out, Time>> {
        let entry = (place - self.oldest) as usize;
        if entry == 0 && !self.is_mark_next() {
            self.entries.pop_front();
            self.oldest += 1;
            return Some(verdict);
        }
        self.entries[entry] = Some(verdict);
        None
    }

    fn has_next(&self) -> bool {
        matches!(self.entries.front(), Some(Some(_))) || self.is_mark_next()
    }

    fn is_mark_next(&self) -> bool {
        let first = self.marks.front();
        first.is_some_and(|(place, _)| *place == self.oldest)
    }

    fn next(&mut self) -> Option<Departure<Out, Time, M>> {
        if self.is_mark_next() {
            return self
                .marks
                .pop_front()
                .map(|(_, mark)| Departure::Mark(mark));
        }
        let verdict = self.entries.front_mut()?.take()?;
        self.entries.pop_front();
        self.oldest += 1;
        Some(Departure::Record(verdict))
    }

    #[cfg(feature = "pipeline")]
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(Place, Waiting<'a, Out, Time, M>)) {
        for (before, mark) in &self.marks {
            visitor(*before, Waiting::MarkBefore(mark));
        }
        for (place, entry) in (self.oldest..).zip(&self.entries) {
            if let Some(Verdict::Output(output, time)) = entry {
                visitor(place, Waiting::Output(output, time));
            }
        }
    }

    fn cut_after(&mut self, place: Place) {
        self.entries.truncate((place - self.oldest) as usize + 1);
        self.marks.retain(|(before, _)| *before <= place);
    }
}

/// The segments, oldest first; there is always one, which takes what comes in. Its place is that of all its entries.
pub(crate) struct Segments<Out, Time, M> {
    segments: VecDeque<Segment<Out, Time, M>>,
    /// The place of the oldest segment.
    oldest: Place,
    /// How many entries there are in all segments.
    len: usize,
}

/// Settled entries in the order in which they were, the number of those that are not, and the mark behind them all.
struct Segment<Out, Time, M> {
    settled: VecDeque<Verdict<Out, Time>>,
    unsettled: usize,
    /// None: the segment goes on.
    end: Option<M>,
}

impl<Out, Time, M> Segments<Out, Time, M> {
    fn new() -> Self {
        Self {
            segments: VecDeque::from([Segment::new()]),
            oldest: 0,
            len: 0,
        }
    }

    fn youngest(&mut self) -> &mut Segment<Out, Time, M> {
        let youngest = self.segments.len() - 1;
        &mut self.segments[youngest]
    }

    fn is_open(&self) -> bool {
        self.segments.len() == 1 && self.segments[0].settled.is_empty()
    }

    fn next_place(&self) -> Place {
        self.oldest + self.segments.len() as Place - 1
    }

    fn enter(&mut self) -> Place {
        self.youngest().unsettled += 1;
        self.len += 1;
        self.next_place()
    }

    fn mark(&mut self, mark: M) {
        self.youngest().end = Some(mark);
        self.segments.push_back(Segment::new());
    }

    fn settle(&mut self, place: Place, verdict: Verdict<Out, Time>) -> Option<Verdict<Out, Time>> {
        let segment = (place - self.oldest) as usize;
        self.segments[segment].unsettled -= 1;
        let leaves_from = match verdict {
            Verdict::Failed(_) => 0,
            _ => segment,
        };
        if leaves_from == 0 && self.segments[0].settled.is_empty() {
            self.len -= 1;
            return Some(verdict);
        }
        self.segments[leaves_from].settled.push_back(verdict);
        None
    }

    fn has_next(&self) -> bool {
        let oldest = &self.segments[0];
        !oldest.settled.is_empty() || (oldest.unsettled == 0 && oldest.end.is_some())
    }

    fn next(&mut self) -> Option<Departure<Out, Time, M>> {
        let oldest = self.segments.front_mut()?;
        if let Some(verdict) = oldest.settled.pop_front() {
            self.len -= 1;
            return Some(Departure::Record(verdict));
        }
        if oldest.unsettled > 0 {
            return None;
        }
        let mark = oldest.end.take()?;
        self.drop_oldest();
        Some(Departure::Mark(mark))
    }

    #[cfg(feature = "pipeline")]
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(Place, Waiting<'a, Out, Time, M>)) {
        for (place, segment) in (self.oldest..).zip(&self.segments) {
            for verdict in &segment.settled {
                if let Verdict::Output(output, time) = verdict {
                    visitor(place, Waiting::Output(output, time));
                }
            }
            if let Some(mark) = &segment.end {
                visitor(place, Waiting::MarkBehind(mark));
            }
        }
    }

    /// The next segment takes the place of the oldest, and its queue's memory if it has none of its own.
    fn drop_oldest(&mut self) {
        let spent = self.segments.pop_front();
        self.oldest += 1;
        if let (Some(spent), Some(next)) = (spent, self.segments.front_mut())
            && next.settled.capacity() == 0
        {
            next.settled = spent.settled;
        }
    }
}

impl<Out, Time, M> Segment<Out, Time, M> {
    fn new() -> Self {
        Self {
            settled: VecDeque::new(),
            unsettled: 0,
            end: None,
        }
    }
}
