//! What flows between operators: records, and the marks between them.
//!
//! A mark says something about the place in the stream at which it stands, so it means nothing elsewhere: no record
//! crosses a watermark, either way. Marks are not work. They take no place of a stage's capacity, and a stage that
//! is full still lets them pass.

use crate::barrier::CheckpointBarrier;
use std::convert::Infallible;
use std::fmt::{self, Display, Formatter};
use std::time::Instant;

/// When something happened, by the clock of the world that the records speak of: milliseconds since 1970, or since
/// whatever moment a job counts from.
///
/// # Examples
///
/// ```
/// use peu_operators::EventTime;
/// use std::time::Duration;
///
/// let departure = EventTime::from_millis(1_357_034_400_000);
/// assert_eq!((departure - Duration::from_secs(60)).as_millis(), 1_357_034_340_000);
/// assert!(EventTime::MIN < departure && departure < EventTime::MAX);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "pipeline", derive(serde::Serialize, serde::Deserialize))]
pub struct EventTime(i64);

impl EventTime {
    /// Before everything: the watermark of a stream that has said nothing yet.
    pub const MIN: Self = Self(i64::MIN);
    /// After everything: the watermark at the end of a stream.
    pub const MAX: Self = Self(i64::MAX);

    /// The time so many milliseconds after the moment that the job counts from.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// How many milliseconds after the moment that the job counts from.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }
}

/// Whole milliseconds later, but never later than [`EventTime::MAX`].
impl std::ops::Add<std::time::Duration> for EventTime {
    type Output = Self;

    fn add(self, by: std::time::Duration) -> Self {
        Self(self.0.saturating_add(whole_millis(by)))
    }
}

/// Whole milliseconds earlier, but never earlier than [`EventTime::MIN`].
impl std::ops::Sub<std::time::Duration> for EventTime {
    type Output = Self;

    fn sub(self, by: std::time::Duration) -> Self {
        Self(self.0.saturating_sub(whole_millis(by)))
    }
}

fn whole_millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Display for EventTime {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// One thing that flows between operators. The end of the stream is the end of the [`Stream`](futures_core::Stream).
///
/// The other two parameters let a stage that knows neither time nor marks go without: `Element<T, (), Infallible>` is
/// a `T` and nothing else, in memory too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Element<T, Time = Option<EventTime>, M = Mark> {
    /// A record, and when what it tells of happened, if that is known. The outputs of an operator carry the time of
    /// their input.
    Record(T, Time),
    /// Something between two records.
    Mark(M),
}

/// What stands between two records.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mark {
    /// No record behind this one happened before this time, but for those that are late.
    Watermark(EventTime),
    /// The source has nothing to say for now: whoever waits for its watermarks shall not.
    Idle,
    /// The source speaks again.
    Active,
    /// Tells how long the way was.
    Latency(LatencyMarker),
    /// A barrier: a checkpoint holds what came of the records before it, and nothing of those behind it.
    Checkpoint(CheckpointBarrier),
}

/// When something left the source: who gets it at the end knows how long the way was.
///
/// It waits in every queue as a record would, and so takes as long. No operator sends any: a stream of yours may, into a stage
/// over elements ([`StreamExt::async_map_elements`](crate::StreamExt::async_map_elements)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyMarker {
    /// When it left the source, by the job's [`Timer`](crate::Timer).
    pub born: Instant,
}

impl<T, Time, M> Element<T, Time, M> {
    pub(crate) fn is_mark(&self) -> bool {
        matches!(self, Self::Mark(_))
    }
}

/// A record of a stage without time and marks, as it flows inside.
pub(crate) type Plain<T> = Element<T, (), Infallible>;

impl<T> Plain<T> {
    pub(crate) fn into_record(self) -> T {
        match self {
            Element::Record(record, ()) => record,
            Element::Mark(never) => match never {},
        }
    }
}

/// What a stage may take for a mark.
pub(crate) trait MarkOf: Send + 'static {
    /// Whether there are any. If so, a stage without room looks one element ahead, lest it hold a mark up.
    const EXIST: bool;

    /// The barrier, if it is one.
    fn barrier(&self) -> Option<&CheckpointBarrier>;
}

impl MarkOf for Infallible {
    const EXIST: bool = false;

    fn barrier(&self) -> Option<&CheckpointBarrier> {
        match *self {}
    }
}

impl MarkOf for Mark {
    const EXIST: bool = true;

    fn barrier(&self) -> Option<&CheckpointBarrier> {
        match self {
            Self::Checkpoint(barrier) => Some(barrier),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{EventTime, Plain};
    use std::mem::size_of;
    use std::time::Duration;

    #[test]
    fn a_record_without_time_and_marks_is_the_record_alone() {
        assert_eq!(size_of::<Plain<u64>>(), size_of::<u64>());
        assert_eq!(size_of::<Plain<String>>(), size_of::<String>());
    }

    #[test]
    fn times_stop_at_their_ends() {
        let hour = Duration::from_secs(3_600);
        assert_eq!(EventTime::MAX + hour, EventTime::MAX);
        assert_eq!(EventTime::MIN - hour, EventTime::MIN);
        assert_eq!(
            EventTime::from_millis(0) - Duration::MAX,
            EventTime::from_millis(-i64::MAX)
        );
    }
}
