//! The interval join: each record of one stream meets those of another that have the same key and happened at about the same time.
//!
//! What comes from either stream meets what has come from the other, and is then kept for what comes later. A pair thus
//! leaves once, when the second of the two comes, whichever that is. Watermarks say when a record can be
//! dropped: when all that it could meet would be late. The operator, its rule for late records and the times of its outputs
//! are Flink's.

use super::merge::{Either, Merge};
use super::opening::{Opening, name_of};
use super::operator::{Ask, Operator, Step};
use super::side_output::LateRecords;
use super::state::{Holding, Ready, Timed};
use super::stateless::Map;
use super::{Keyed, Pipeline};
use crate::element::{EventTime, Mark};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::task::{Context, Poll};
use std::time::Duration;

impl<A: Operator, F> Keyed<A, F> {
    /// A record of this stream, the left, which happened at a time `t`, joins those of the right that have the same key and
    /// happened in `[t - lower, t + upper]`, both ends included, in whole milliseconds. `join` makes a record of each pair, whose
    /// event time is the later of the two.
    ///
    /// The watermark is the lower of the two streams'. A record that happened before it is given to `late`, a function
    /// or a [`SideOutput`](super::SideOutput), and joins nothing. A barrier passes when both streams have brought it; what is kept is part of the checkpoint.
    ///
    /// Memory: each record until the watermark has passed all that it could join, and two copies of its key; and the pairs of one
    /// record, until they are taken. Time: logarithmic in what is kept, and linear in the pairs.
    ///
    /// # Errors
    ///
    /// A record without event time ends the pipeline.
    ///
    /// # Examples
    ///
    /// Clicks, and what was shown in the ten seconds before each:
    ///
    /// ```
    /// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
    /// # use threads::Threads;
    /// use futures_lite::future::block_on;
    /// use peu_operators::EventTime;
    /// use peu_operators::pipeline::{Pipeline, Side, Watermarks, collect, iterate};
    /// use std::time::Duration;
    ///
    /// type Event = (u32, i64, String);
    /// let events = |events: &[(u32, i64, &str)]| {
    ///     let owned = events.iter().map(|(user, second, what)| (*user, *second, what.to_string()));
    ///     Pipeline::source(iterate(owned.collect::<Vec<Event>>()))
    ///         .event_time(|event| EventTime::from_millis(event.1 * 1_000), Watermarks::ascending())
    ///         .key_by(|event| event.0)
    /// };
    /// let clicks = events(&[(1, 12, "buy"), (2, 30, "close")]);
    /// let shown = events(&[(1, 1, "hats"), (1, 2, "shoes"), (1, 14, "ties"), (2, 12, "hats")]);
    ///
    /// let (sink, pairs) = collect();
    /// let join = |click: &Event, shown: &Event| (click.2.clone(), shown.2.clone());
    /// let (lower, upper) = (Duration::from_secs(10), Duration::ZERO);
    /// let late = |late: Side<Event, Event>| match late {
    ///     Side::Left(click) => eprintln!("{} was clicked too late", click.2),
    ///     Side::Right(shown) => eprintln!("{} was shown too late", shown.2),
    /// };
    /// let joined = clicks.interval_join(shown, lower, upper, join, late);
    /// block_on(joined.sink(sink).run_on(&Threads))?;
    /// assert_eq!(pairs.take(), [("buy".to_owned(), "shoes".to_owned())]);
    /// # Ok::<(), peu_operators::pipeline::PipelineError>(())
    /// ```
    #[expect(
        clippy::type_complexity,
        reason = "what the operator is made of; no one writes this type"
    )]
    pub fn interval_join<B, G, K, J, Out, L>(
        self,
        right: Keyed<B, G>,
        lower: Duration,
        upper: Duration,
        join: J,
        late: L,
    ) -> Pipeline<IntervalJoin<A, B, F, G, K, J, Out, L>>
    where
        A::Item: Serialize + DeserializeOwned,
        B: Operator<Item: Serialize + DeserializeOwned>,
        F: FnMut(&A::Item) -> K + Send + 'static,
        G: FnMut(&B::Item) -> K + Send + 'static,
        K: Ord + Clone + Serialize + DeserializeOwned + Send + 'static,
        J: FnMut(&A::Item, &B::Item) -> Out + Send + 'static,
        Out: Serialize + DeserializeOwned + Send + 'static,
        L: LateRecords<Side<A::Item, B::Item>>,
    {
        let keys = (self.key, right.key);
        self.pipeline.then(|left| IntervalJoin {
            input: both(left, right.pipeline.operator),
            keys,
            lower,
            upper,
            join,
            late,
            kept: Kept::new(),
            ready: Ready::new(),
        })
    }
}

/// A record of one of two streams: what [`Keyed::interval_join`] gives away when it is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side<L, R> {
    /// Of the stream that joins.
    Left(L),
    /// Of the stream that is joined.
    Right(R),
}

/// What [`Keyed::interval_join`] makes.
pub struct IntervalJoin<A: Operator, B: Operator, F, G, K: Ord, J, Out, L> {
    input: Both<A, B>,
    keys: (F, G),
    lower: Duration,
    upper: Duration,
    join: J,
    late: L,
    kept: Kept<K, A::Item, B::Item>,
    /// The pairs of the last records, and marks.
    ready: Ready<Out>,
}

/// Both streams as one, which sees to watermarks and barriers as any union does.
type Both<A, B> = Merge<Either<Sided<A, A, B>, Sided<B, A, B>>>;
type Sided<O, A, B> = Map<O, fn(<O as Operator>::Item) -> SideOf<A, B>>;
type SideOf<A, B> = Side<<A as Operator>::Item, <B as Operator>::Item>;

fn both<A: Operator, B: Operator>(left: A, right: B) -> Both<A, B> {
    let left = Either::One(Map {
        input: left,
        function: Side::Left as fn(_) -> _,
    });
    let right = Either::Other(Map {
        input: right,
        function: Side::Right as fn(_) -> _,
    });
    Merge::of_streams(vec![left, right])
}

impl<A, B, F, G, K, J, Out, L> Timed for IntervalJoin<A, B, F, G, K, J, Out, L>
where
    A: Operator<Item: Serialize>,
    B: Operator<Item: Serialize>,
    F: FnMut(&A::Item) -> K,
    G: FnMut(&B::Item) -> K,
    K: Ord + Clone + Serialize,
    J: FnMut(&A::Item, &B::Item) -> Out,
    Out: Serialize,
    L: LateRecords<SideOf<A, B>>,
{
    type Input = Both<A, B>;
    type Out = Out;
    type State = Kept<K, A::Item, B::Item>;

    const WHAT: &'static str = "interval join";

    fn input(&mut self) -> &mut Self::Input {
        &mut self.input
    }

    fn late(&mut self) -> &mut impl LateRecords<SideOf<A, B>> {
        &mut self.late
    }

    fn state(&mut self) -> (&Self::State, &mut Ready<Out>) {
        (&self.kept, &mut self.ready)
    }

    fn take(&mut self, record: SideOf<A, B>, time: EventTime) -> Option<SideOf<A, B>> {
        if time < self.kept.watermark {
            return Some(record);
        }
        let Kept { left, right, .. } = &mut self.kept;
        let pair = |out, other: EventTime| (out, time.max(other));
        match record {
            Side::Left(record) => {
                let key = (self.keys.0)(&record);
                let met = right.within(&key, time - self.lower..=time + self.upper);
                let pairs = met.map(|(other, at)| pair((self.join)(&record, other), at));
                self.ready.records(pairs);
                left.keep(key, time, record);
            }
            Side::Right(record) => {
                let key = (self.keys.1)(&record);
                let met = left.within(&key, time - self.upper..=time + self.lower);
                let pairs = met.map(|(other, at)| pair((self.join)(other, &record), at));
                self.ready.records(pairs);
                right.keep(key, time, record);
            }
        }
        None
    }

    fn pass(&mut self, mark: Mark) {
        if let Mark::Watermark(time) = mark {
            let Kept {
                left,
                right,
                watermark,
            } = &mut self.kept;
            *watermark = time.max(*watermark);
            left.drop_before(*watermark - self.upper);
            right.drop_before(*watermark - self.lower);
        }
        self.ready.mark(mark);
    }
}

impl<A, B, F, G, K, J, Out, L> Operator for IntervalJoin<A, B, F, G, K, J, Out, L>
where
    A: Operator<Item: Serialize + DeserializeOwned>,
    B: Operator<Item: Serialize + DeserializeOwned>,
    F: FnMut(&A::Item) -> K + Send + 'static,
    G: FnMut(&B::Item) -> K + Send + 'static,
    K: Ord + Clone + Serialize + DeserializeOwned + Send + 'static,
    J: FnMut(&A::Item, &B::Item) -> Out + Send + 'static,
    Out: Serialize + DeserializeOwned + Send + 'static,
    L: LateRecords<SideOf<A, B>>,
{
    type Item = Out;

    fn open(&mut self, opening: &mut Opening) {
        self.input.open(opening);
        let (left, right) = (name_of::<A::Item>(), name_of::<B::Item>());
        let (lower, upper) = (self.lower.as_millis(), self.upper.as_millis());
        let key = name_of::<K>();
        let what = format!("{left} joins {right} by {key}, {lower} ms before to {upper} ms after");
        if let Some(kept) = self.enter(opening, what) {
            self.kept = Kept {
                left: kept.left.restored(),
                right: kept.right.restored(),
                watermark: kept.watermark,
            };
            self.tell();
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<Out>> {
        self.poll_timed(cx, ask)
    }
}

/// What may still join something.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept<K: Ord, L, R> {
    left: Buffer<K, L>,
    right: Buffer<K, R>,
    watermark: EventTime,
}

impl<K: Ord + Clone, L, R> Kept<K, L, R> {
    fn new() -> Self {
        Self {
            left: Buffer::new(),
            right: Buffer::new(),
            watermark: EventTime::MIN,
        }
    }
}

impl<K: Ord, L, R> Holding for Kept<K, L, R> {
    fn held(&self) -> usize {
        self.left.len + self.right.len
    }

    fn watermark(&self) -> EventTime {
        self.watermark
    }
}

/// The records of one stream, by key and time; those of one time as they came.
#[derive(Serialize, Deserialize)]
struct Buffer<K: Ord, T> {
    records: BTreeMap<K, BTreeMap<EventTime, Vec<T>>>,
    /// The same, by time, to be dropped in this order. Follows from `records`.
    #[serde(skip, default = "BTreeSet::new")]
    times: BTreeSet<(EventTime, K)>,
    /// How many records there are. Follows from `records` too.
    #[serde(skip)]
    len: usize,
}

impl<K: Ord + Clone, T> Buffer<K, T> {
    fn new() -> Self {
        Self {
            records: BTreeMap::new(),
            times: BTreeSet::new(),
            len: 0,
        }
    }

    /// As a checkpoint had it.
    fn restored(mut self) -> Self {
        for (key, of_key) in &self.records {
            let times = of_key.keys().map(|time| (*time, key.clone()));
            self.times.extend(times);
            self.len += of_key.values().map(Vec::len).sum::<usize>();
        }
        self
    }

    fn keep(&mut self, key: K, time: EventTime, record: T) {
        self.times.insert((time, key.clone()));
        let of_key = self.records.entry(key).or_default();
        of_key.entry(time).or_default().push(record);
        self.len += 1;
    }

    fn within(
        &self,
        key: &K,
        times: RangeInclusive<EventTime>,
    ) -> impl Iterator<Item = (&T, EventTime)> {
        let of_key = self.records.get(key);
        let of_times = of_key
            .into_iter()
            .flat_map(move |of_key| of_key.range(times.clone()));
        of_times.flat_map(|(time, records)| records.iter().map(|record| (record, *time)))
    }

    fn drop_before(&mut self, time: EventTime) {
        while let Some((first, _)) = self.times.first()
            && *first < time
            && let Some((first, key)) = self.times.pop_first()
            && let Some(of_key) = self.records.get_mut(&key)
        {
            self.len -= of_key.remove(&first).map_or(0, |records| records.len());
            if of_key.is_empty() {
                self.records.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffer, EventTime};

    #[test]
    fn a_buffer_drops_what_is_earlier_and_nothing_else() {
        let mut buffer = Buffer::new();
        let at = EventTime::from_millis;
        for (key, time) in [(1, 5), (2, 5), (1, 7), (1, 5), (2, 4)] {
            buffer.keep(key, at(time), time);
        }
        let bytes = postcard::to_stdvec(&buffer).unwrap();
        let restored = postcard::from_bytes::<Buffer<i32, i64>>(&bytes).unwrap();
        for mut buffer in [buffer, restored.restored()] {
            buffer.drop_before(at(5));
            assert_eq!(buffer.within(&2, at(0)..=at(9)).count(), 1);
            buffer.drop_before(at(6));
            assert_eq!(buffer.within(&1, at(0)..=at(9)).count(), 1);
            assert_eq!(buffer.records.len(), 1, "key 2 is gone");
            assert_eq!(buffer.times.len(), 1);
        }
    }
}
