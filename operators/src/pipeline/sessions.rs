//! Session windows: what the records of a key come to between two silences.
//!
//! Each record is a window of its own at first, from its time until the gap behind it; windows of a key that overlap are
//! one. So a record may begin a session, make one longer, or be the bridge that makes one of two. A session is
//! complete when the watermark has reached its end, for by then no record can come that would make it longer. The model, and its
//! merging of windows, is that of the Dataflow paper (Akidau et al., 2015), and of Beam and Flink. As in Beam, and other than in
//! Flink, windows that merely touch stay two: a record exactly at the end comes before the watermark that completes the session, or behind it,
//! and the result must not depend on that.

use super::opening::{Opening, name_of};
use super::operator::{Ask, Operator, Step};
use super::side_output::LateRecords;
use super::state::{Holding, Ready, Timed};
use super::windows::Windowed;
use super::{Keyed, Pipeline};
use crate::element::{EventTime, Mark};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::task::{Context, Poll};
use std::time::Duration;

impl<O: Operator, F> Keyed<O, F> {
    /// What the records of each key come to in each session: a stretch of event time with no silence as long as `gap`. `add` adds
    /// a record to what came before, which begins with the default. When a record bridges two sessions, `merge` adds what
    /// the later one has come to, to the earlier. The result leaves when the watermark has reached the session's end, which is `gap`
    /// behind its last record; results that leave together do so in the order of their ends, then of their keys.
    ///
    /// A record so old that a session of it alone would be complete is given to `late`, a function or a [`SideOutput`](super::SideOutput), and changes no result, unless it falls into
    /// a session that is still open. Memory: one value, and two copies of the key, for each open session. Time: logarithmic in their number.
    ///
    /// # Panics
    ///
    /// If `gap` is less than a millisecond.
    ///
    /// # Errors
    ///
    /// A record without event time ends the pipeline.
    ///
    /// # Examples
    ///
    /// How many pages each visitor reads at a time:
    ///
    /// ```
    /// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
    /// # use threads::Threads;
    /// use futures_lite::future::block_on;
    /// use peu_operators::EventTime;
    /// use peu_operators::pipeline::{Pipeline, Watermarks, collect, iterate};
    /// use std::time::Duration;
    ///
    /// let minute = Duration::from_secs(60);
    /// let (sink, visits) = collect();
    /// let pages = Pipeline::source(iterate([("ann", 0), ("bob", 2), ("ann", 40), ("ann", 20)]))
    ///     .event_time(|(_, at)| EventTime::from_millis(at * 60_000), Watermarks::bounded(30 * minute))
    ///     .map(|(visitor, _)| visitor.to_owned())
    ///     .key_by(|visitor: &String| visitor.clone())
    ///     .aggregate_sessions(
    ///         30 * minute,
    ///         |count: &mut u32, _| *count += 1,
    ///         |count, later| *count += later,
    ///         |late: String| eprintln!("{}: too late to be counted", late.to_lowercase()),
    ///     );
    /// block_on(pages.map(|visit| (visit.key, visit.value)).sink(sink).run_on(&Threads))?;
    /// assert_eq!(visits.take(), [("bob".to_owned(), 1), ("ann".to_owned(), 3)]);
    /// # Ok::<(), peu_operators::pipeline::PipelineError>(())
    /// ```
    #[track_caller]
    pub fn aggregate_sessions<K, A, G, M, L>(
        self,
        gap: Duration,
        add: G,
        merge: M,
        late: L,
    ) -> Pipeline<AggregateSessions<O, F, K, A, G, M, L>>
    where
        F: FnMut(&O::Item) -> K + Send + 'static,
        K: Ord + Clone + Serialize + DeserializeOwned + Send + 'static,
        A: Default + Serialize + DeserializeOwned + Send + 'static,
        G: FnMut(&mut A, O::Item) + Send + 'static,
        M: FnMut(&mut A, A) + Send + 'static,
        L: LateRecords<O::Item>,
    {
        assert!(
            gap >= Duration::from_millis(1),
            "sessions must be at least 1 ms apart"
        );
        let key = self.key;
        self.pipeline.then(|input| AggregateSessions {
            input,
            key,
            gap,
            add,
            merge,
            late,
            open: Open::new(),
            ready: Ready::new(),
        })
    }
}

/// What [`Keyed::aggregate_sessions`] makes.
pub struct AggregateSessions<O: Operator, F, K: Ord, A, G, M, L> {
    input: O,
    key: F,
    gap: Duration,
    add: G,
    merge: M,
    late: L,
    open: Open<K, A>,
    /// Results of sessions that are complete, and the mark behind them.
    ready: Ready<Windowed<K, A>>,
}

impl<O, F, K, A, G, M, L> Timed for AggregateSessions<O, F, K, A, G, M, L>
where
    O: Operator,
    F: FnMut(&O::Item) -> K,
    K: Ord + Clone + Serialize,
    A: Default + Serialize,
    G: FnMut(&mut A, O::Item),
    M: FnMut(&mut A, A),
    L: LateRecords<O::Item>,
{
    type Input = O;
    type Out = Windowed<K, A>;
    type State = Open<K, A>;

    const WHAT: &'static str = "sessions";

    fn input(&mut self) -> &mut Self::Input {
        &mut self.input
    }

    fn late(&mut self) -> &mut impl LateRecords<O::Item> {
        &mut self.late
    }

    fn state(&mut self) -> (&Self::State, &mut Ready<Self::Out>) {
        (&self.open, &mut self.ready)
    }

    fn take(&mut self, record: O::Item, time: EventTime) -> Option<O::Item> {
        let key = (self.key)(&record);
        let mut window = time..time + self.gap;
        let so_far = self.open.remove(&key, &mut window, &mut self.merge);
        let is_complete = window.end <= self.open.watermark;
        // Behind the end of time there is no gap. A window without length would overlap none, not even its like.
        if so_far.is_none() && (is_complete || window.is_empty()) {
            return Some(record);
        }
        let mut value = so_far.unwrap_or_default();
        (self.add)(&mut value, record);
        self.open.insert(key, window, value);
        None
    }

    fn pass(&mut self, mark: Mark) {
        if let Mark::Watermark(time) = mark {
            self.ready.records(self.open.complete(time));
        }
        self.ready.mark(mark);
    }
}

impl<O, F, K, A, G, M, L> Operator for AggregateSessions<O, F, K, A, G, M, L>
where
    O: Operator,
    F: FnMut(&O::Item) -> K + Send + 'static,
    K: Ord + Clone + Serialize + DeserializeOwned + Send + 'static,
    A: Default + Serialize + DeserializeOwned + Send + 'static,
    G: FnMut(&mut A, O::Item) + Send + 'static,
    M: FnMut(&mut A, A) + Send + 'static,
    L: LateRecords<O::Item>,
{
    type Item = Windowed<K, A>;

    fn open(&mut self, opening: &mut Opening) {
        self.input.open(opening);
        let (key, value, gap) = (name_of::<K>(), name_of::<A>(), self.gap.as_millis());
        let what = format!("{value} by {key} in sessions with gaps of {gap} ms");
        if let Some(open) = self.enter(opening, what) {
            self.open = open.restored();
            self.tell();
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<Self::Item>> {
        self.poll_timed(cx, ask)
    }
}

/// The sessions that are open: they end behind the watermark.
#[derive(Serialize, Deserialize)]
pub(super) struct Open<K: Ord, A> {
    /// By their starts. Those of one key do not overlap, so the first to begin is the first to end.
    sessions: BTreeMap<K, BTreeMap<EventTime, Session<A>>>,
    watermark: EventTime,
    /// The end of each session, and whose it is. Follows from `sessions`.
    #[serde(skip, default = "BTreeSet::new")]
    ends: BTreeSet<(EventTime, K)>,
}

impl<K: Ord, A> Holding for Open<K, A> {
    fn held(&self) -> usize {
        self.ends.len()
    }

    fn watermark(&self) -> EventTime {
        self.watermark
    }
}

#[derive(Serialize, Deserialize)]
struct Session<A> {
    end: EventTime,
    value: A,
}

impl<K: Ord + Clone, A> Open<K, A> {
    fn new() -> Self {
        Self {
            sessions: BTreeMap::new(),
            watermark: EventTime::MIN,
            ends: BTreeSet::new(),
        }
    }

    /// As a checkpoint had it.
    fn restored(mut self) -> Self {
        for (key, of_key) in &self.sessions {
            let ends = of_key.values().map(|session| (session.end, key.clone()));
            self.ends.extend(ends);
        }
        self
    }

    /// Removes the sessions that this window overlaps, and makes it as long as all of them. Returns what they come to, if there
    /// are any.
    fn remove(
        &mut self,
        key: &K,
        window: &mut Range<EventTime>,
        merge: &mut impl FnMut(&mut A, A),
    ) -> Option<A> {
        let of_key = self.sessions.get_mut(key)?;
        let mut so_far = None;
        while let Some((&start, session)) = of_key.range(..window.end).next_back()
            && session.end > window.start
            && let Some(Session { end, mut value }) = of_key.remove(&start)
        {
            self.ends.remove(&(end, key.clone()));
            *window = start.min(window.start)..end.max(window.end);
            if let Some(later) = so_far.take() {
                merge(&mut value, later);
            }
            so_far = Some(value);
        }
        so_far
    }

    fn insert(&mut self, key: K, window: Range<EventTime>, value: A) {
        let Range { start, end } = window;
        self.ends.insert((end, key.clone()));
        let of_key = self.sessions.entry(key).or_default();
        of_key.insert(start, Session { end, value });
    }

    /// The watermark has come so far: removes the sessions that end up to it.
    fn complete(
        &mut self,
        watermark: EventTime,
    ) -> impl Iterator<Item = (Windowed<K, A>, EventTime)> {
        self.watermark = self.watermark.max(watermark);
        std::iter::from_fn(|| {
            let (end, _) = self.ends.first()?;
            if *end > self.watermark {
                return None;
            }
            let (end, key) = self.ends.pop_first()?;
            let of_key = self.sessions.get_mut(&key)?;
            let (start, Session { value, .. }) = of_key.pop_first()?;
            if of_key.is_empty() {
                self.sessions.remove(&key);
            }
            let time = end - Duration::from_millis(1);
            let result = Windowed {
                key,
                start,
                end,
                value,
            };
            Some((result, time))
        })
    }
}
