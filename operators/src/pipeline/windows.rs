//! Windows: what the records of a key come to, in one stretch of event time after the other.
//!
//! A window is complete when the watermark says that nothing of it comes any more; then, and only then, its result leaves, and
//! it is forgotten. What comes later all the same is late: it is given to whoever wants it, and changes nothing. So a
//! result does not depend on how fast records come, nor in which order, as long as none is late.
//!
//! What is kept is one value for each key and each window that is open, and a checkpoint holds it.

use super::opening::{Opening, name_of};
use super::operator::{Ask, Operator, Step};
use super::side_output::LateRecords;
use super::state::{Holding, Ready, Timed};
use super::{Keyed, Pipeline};
use crate::element::{EventTime, Mark};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::task::{Context, Poll};
use std::time::Duration;

/// Which windows there are. They begin at whole multiples of their step, counted from the time 0.
///
/// # Examples
///
/// ```
/// use peu_operators::pipeline::Windows;
/// use std::time::Duration;
///
/// let hour = Duration::from_secs(3_600);
/// let hourly = Windows::tumbling(hour);
/// let the_last_day_every_hour = Windows::sliding(24 * hour, hour);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Milliseconds.
    length: i64,
    step: i64,
}

impl Windows {
    /// One behind the other: each record is in one.
    ///
    /// # Panics
    ///
    /// If `length` is less than a millisecond.
    #[track_caller]
    pub fn tumbling(length: Duration) -> Self {
        Self::sliding(length, length)
    }

    /// A window of this length begins with each step: a record is in as many as it takes steps to make a length.
    ///
    /// # Panics
    ///
    /// If `step` is less than a millisecond, or longer than `length`: then some records would be in no window.
    #[track_caller]
    pub fn sliding(length: Duration, step: Duration) -> Self {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let (length, step) = (millis(length), millis(step));
        assert!(step > 0, "windows must be at least 1 ms apart");
        assert!(
            step <= length,
            "windows of {length} ms that begin every {step} ms would leave records out"
        );
        Self { length, step }
    }

    /// The windows that this time is in, each by its start; the last first.
    fn starts(self, time: EventTime) -> impl Iterator<Item = i64> {
        let time = time.as_millis();
        let last = time.saturating_sub(time.rem_euclid(self.step));
        let starts = std::iter::successors(Some(last), move |start| start.checked_sub(self.step));
        starts.take_while(move |start| start.saturating_add(self.length) > time)
    }
}

impl<O: Operator, F> Keyed<O, F> {
    /// What the records of each key come to in each window of event time: `add` adds a record to what came before, which
    /// begins with the default. The result leaves when the watermark has passed the window; those of one window in the order of
    /// their keys.
    ///
    /// A record that comes after its windows are complete is given to `late`, a function or a [`SideOutput`](super::SideOutput), and changes no result. A closure that asks the record for anything names its
    /// type, as in the example. Memory: one value for
    /// each key and open window.
    ///
    /// # Errors
    ///
    /// A record without event time ends the pipeline.
    ///
    /// # Examples
    ///
    /// Departures by airport and hour:
    ///
    /// ```
    /// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
    /// # use threads::Threads;
    /// use futures_lite::future::block_on;
    /// use peu_operators::EventTime;
    /// use peu_operators::pipeline::{Pipeline, Watermarks, Windows, collect, iterate};
    /// use std::time::Duration;
    ///
    /// let minute = Duration::from_secs(60);
    /// let (sink, hourly) = collect();
    /// let departures = Pipeline::source(iterate([("JFK", 5), ("LGA", 20), ("JFK", 50), ("JFK", 70)]))
    ///     .event_time(|(_, at)| EventTime::from_millis(at * 60_000), Watermarks::bounded(10 * minute))
    ///     .map(|(airport, _)| airport.to_owned())
    ///     .key_by(|airport: &String| airport.clone())
    ///     .aggregate(
    ///         Windows::tumbling(60 * minute),
    ///         |count: &mut u32, _| *count += 1,
    ///         |late: String| eprintln!("{}: too late to be counted", late.to_lowercase()),
    ///     );
    /// block_on(departures.map(|hour| (hour.key, hour.value)).sink(sink).run_on(&Threads))?;
    /// let counts = [("JFK", 2), ("LGA", 1), ("JFK", 1)];
    /// assert_eq!(hourly.take(), counts.map(|(airport, count)| (airport.to_owned(), count)));
    /// # Ok::<(), peu_operators::pipeline::PipelineError>(())
    /// ```
    pub fn aggregate<K, A, G, L>(
        self,
        windows: Windows,
        add: G,
        late: L,
    ) -> Pipeline<Aggregate<O, F, K, A, G, L>>
    where
        O::Item: Clone,
        F: FnMut(&O::Item) -> K + Send + 'static,
        K: Ord + Clone + Serialize + DeserializeOwned + Send + 'static,
        A: Default + Serialize + DeserializeOwned + Send + 'static,
        G: FnMut(&mut A, O::Item) + Send + 'static,
        L: LateRecords<O::Item>,
    {
        let key = self.key;
        self.pipeline.then(|input| Aggregate {
            input,
            key,
            windows,
            add,
            late,
            open: Open::new(),
            ready: Ready::new(),
        })
    }
}

/// The result of a window, for one key. Its event time is the window's last millisecond.
///
/// It is what [`Keyed::aggregate`](super::Keyed::aggregate) and
/// [`Keyed::aggregate_sessions`](super::Keyed::aggregate_sessions) give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windowed<K, A> {
    /// The key.
    pub key: K,
    /// The first millisecond of the window.
    pub start: EventTime,
    /// The first millisecond behind it.
    pub end: EventTime,
    /// What its records came to.
    pub value: A,
}

/// What [`Keyed::aggregate`](super::Keyed::aggregate) makes.
pub struct Aggregate<O: Operator, F, K: Ord, A, G, L> {
    input: O,
    key: F,
    windows: Windows,
    add: G,
    late: L,
    open: Open<K, A>,
    /// Results of windows that are complete, and the mark behind them.
    ready: Ready<Windowed<K, A>>,
}

/// The windows that are open, by their starts, and what each key has in them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Open<K: Ord, A> {
    windows: BTreeMap<i64, BTreeMap<K, A>>,
    watermark: EventTime,
    /// How many values all windows have. Follows from `windows`.
    #[serde(skip)]
    held: usize,
}

impl<K: Ord, A> Open<K, A> {
    fn new() -> Self {
        Self {
            windows: BTreeMap::new(),
            watermark: EventTime::MIN,
            held: 0,
        }
    }

    /// As a checkpoint had it.
    fn restored(mut self) -> Self {
        self.held = self.windows.values().map(BTreeMap::len).sum();
        self
    }
}

impl<K: Ord, A> Holding for Open<K, A> {
    fn held(&self) -> usize {
        self.held
    }

    fn watermark(&self) -> EventTime {
        self.watermark
    }
}

impl<O, F, K, A, G, L> Aggregate<O, F, K, A, G, L>
where
    O: Operator<Item: Clone>,
    F: FnMut(&O::Item) -> K,
    K: Ord + Clone + Serialize,
    A: Default + Serialize,
    G: FnMut(&mut A, O::Item),
    L: LateRecords<O::Item>,
{
    /// The watermark has come so far: what ends up to it is complete.
    fn complete(&mut self, watermark: EventTime) {
        self.open.watermark = self.open.watermark.max(watermark);
        while let Some(window) = self.open.windows.first_entry() {
            let (start, length) = (*window.key(), self.windows.length);
            let end = EventTime::from_millis(start.saturating_add(length));
            if end > self.open.watermark {
                break;
            }
            let time = end - Duration::from_millis(1);
            let start = EventTime::from_millis(start);
            let of_window = window.remove();
            self.open.held -= of_window.len();
            let results = of_window.into_iter().map(|(key, value)| {
                let result = Windowed {
                    key,
                    start,
                    end,
                    value,
                };
                (result, time)
            });
            self.ready.records(results);
        }
        self.ready.mark(Mark::Watermark(watermark));
    }
}

impl<O, F, K, A, G, L> Timed for Aggregate<O, F, K, A, G, L>
where
    O: Operator<Item: Clone>,
    F: FnMut(&O::Item) -> K,
    K: Ord + Clone + Serialize,
    A: Default + Serialize,
    G: FnMut(&mut A, O::Item),
    L: LateRecords<O::Item>,
{
    type Input = O;
    type Out = Windowed<K, A>;
    type State = Open<K, A>;

    const WHAT: &'static str = "windows";

    fn input(&mut self) -> &mut Self::Input {
        &mut self.input
    }

    fn late(&mut self) -> &mut impl LateRecords<O::Item> {
        &mut self.late
    }

    fn state(&mut self) -> (&Self::State, &mut Ready<Self::Out>) {
        (&self.open, &mut self.ready)
    }

    /// Adds a record to the windows that it is in and that are open. In none: it is late.
    fn take(&mut self, record: O::Item, time: EventTime) -> Option<O::Item> {
        let end = |start: i64| EventTime::from_millis(start.saturating_add(self.windows.length));
        let watermark = self.open.watermark;
        let is_open = |start: &i64| end(*start) > watermark;
        let mut starts = self.windows.starts(time).filter(is_open).peekable();
        if starts.peek().is_none() {
            return Some(record);
        }
        let key = (self.key)(&record);
        for start in starts {
            let of_window = self.open.windows.entry(start).or_default();
            let before = of_window.len();
            (self.add)(of_window.entry(key.clone()).or_default(), record.clone());
            self.open.held += of_window.len() - before;
        }
        None
    }

    fn pass(&mut self, mark: Mark) {
        match mark {
            Mark::Watermark(time) => self.complete(time),
            mark => self.ready.mark(mark),
        }
    }
}

impl<O, F, K, A, G, L> Operator for Aggregate<O, F, K, A, G, L>
where
    O: Operator<Item: Clone>,
    F: FnMut(&O::Item) -> K + Send + 'static,
    K: Ord + Clone + Serialize + DeserializeOwned + Send + 'static,
    A: Default + Serialize + DeserializeOwned + Send + 'static,
    G: FnMut(&mut A, O::Item) + Send + 'static,
    L: LateRecords<O::Item>,
{
    type Item = Windowed<K, A>;

    fn open(&mut self, opening: &mut Opening) {
        self.input.open(opening);
        let (key, value, Windows { length, step }) = (name_of::<K>(), name_of::<A>(), self.windows);
        let what = format!("{value} by {key} in windows of {length} ms every {step} ms");
        if let Some(open) = self.enter(opening, what) {
            self.open = open.restored();
            self.tell();
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<Self::Item>> {
        self.poll_timed(cx, ask)
    }
}

#[cfg(test)]
mod tests {
    use super::{EventTime, Windows};
    use std::time::Duration;

    fn starts(windows: Windows, millis: i64) -> Vec<i64> {
        windows.starts(EventTime::from_millis(millis)).collect()
    }

    #[test]
    fn a_time_is_in_every_window_that_begins_before_it_and_ends_behind_it() {
        let ms = Duration::from_millis;
        let tumbling = Windows::tumbling(ms(10));
        assert_eq!(starts(tumbling, 0), [0]);
        assert_eq!(starts(tumbling, 9), [0]);
        assert_eq!(starts(tumbling, 10), [10]);
        assert_eq!(starts(tumbling, -1), [-10]);
        let sliding = Windows::sliding(ms(10), ms(4));
        assert_eq!(starts(sliding, 8), [8, 4, 0]);
        assert_eq!(starts(sliding, 10), [8, 4]);
        assert_eq!(starts(sliding, -1), [-4, -8]);
    }

    #[test]
    fn the_ends_of_time_are_in_windows_too() {
        let hour = Windows::tumbling(Duration::from_secs(3_600));
        for time in [EventTime::MIN, EventTime::MAX] {
            assert!(hour.starts(time).count() <= 1);
        }
    }

    #[test]
    #[should_panic(expected = "would leave records out")]
    fn windows_with_gaps_are_refused() {
        let _ = Windows::sliding(Duration::from_secs(1), Duration::from_secs(2));
    }
}
