//! Gives records their event times, and the stream its watermarks.
//!
//! A watermark says: nothing that happened earlier comes any more, but for what is late. No one can know that, so it is a
//! guess: records are out of order by at most so much. A watermark holds up what is behind it in every unordered
//! stage, so there is not one behind each record: one now and then will do.

use super::host::Host;
use super::metrics::Tally;
use super::opening::{Opening, name_of};
use super::operator::{Ask, Operator, Step};
use crate::alarm::Alarm;
use crate::element::{Element, EventTime, Mark};
use crate::error::{Cause, StageError};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Flink's own default: often enough for windows of seconds, seldom enough to cost nothing.
const DEFAULT_EVERY: Duration = Duration::from_millis(200);

/// How many records pass between two looks at the clock while records keep coming: a look costs about as much as one.
const RECORDS_PER_LOOK: u32 = 64;

/// When watermarks are sent, and what they say.
///
/// # Examples
///
/// ```
/// use peu_operators::pipeline::Watermarks;
/// use std::time::Duration;
///
/// let watermarks = Watermarks::bounded(Duration::from_secs(30 * 60))
///     .every(Duration::from_millis(50))
///     .idle_after(Duration::from_secs(10));
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "watermarks do nothing until a pipeline has them"]
pub struct Watermarks {
    disorder: Duration,
    every: Duration,
    idle_after: Option<Duration>,
}

impl Watermarks {
    /// A record may happen up to `disorder` before one that came earlier. What happened even before that is late.
    pub fn bounded(disorder: Duration) -> Self {
        Self {
            disorder,
            every: DEFAULT_EVERY,
            idle_after: None,
        }
    }

    /// Records come in the order in which they happened.
    pub fn ascending() -> Self {
        Self::bounded(Duration::ZERO)
    }

    /// A watermark is sent at most once in this time, by the runtime's clock, and only when it says something new; and one
    /// before a source is called idle. 200 ms by default.
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// A source that gives no record for this long, by the runtime's clock, is called idle, and where streams come
    /// together the others no longer wait for its watermarks.
    pub fn idle_after(mut self, silence: Duration) -> Self {
        self.idle_after = Some(silence);
        self
    }
}

/// What [`Pipeline::event_time`](super::Pipeline::event_time) makes.
pub struct EventTimes<O: Operator, F> {
    input: O,
    time_of: F,
    watermarks: Watermarks,
    clock: Option<Clock>,
    /// The highest time of any record.
    highest: Option<EventTime>,
    /// The watermark that was sent last.
    sent: Option<EventTime>,
    is_idle: bool,
    /// To be sent before the input is asked again.
    held: Option<Element<O::Item>>,
    records: u32,
    tally: Tally,
    is_over: bool,
}

struct Clock {
    name: Arc<str>,
    alarm: Alarm<Host>,
    /// When a watermark was sent last, or the job began.
    sent_at: Option<Instant>,
    /// When a record came last, as far as the clock was looked at, or could have come since.
    heard_at: Option<Instant>,
}

impl<O: Operator, F> EventTimes<O, F> {
    pub(super) fn new(input: O, time_of: F, watermarks: Watermarks) -> Self {
        Self {
            input,
            time_of,
            watermarks,
            clock: None,
            highest: None,
            sent: None,
            is_idle: false,
            held: None,
            records: 0,
            tally: Tally::new(),
            is_over: false,
        }
    }

    /// The watermark that is due, if one is. The last before the source is called idle is due with that: from then on it would
    /// count for nothing.
    fn due_watermark(&mut self, is_silent: bool) -> Option<Mark> {
        let next = self.news()?;
        let clock = self.clock.as_mut()?;
        let now = clock.alarm.after(Duration::ZERO)?;
        let since = clock.sent_at.get_or_insert(now);
        let due = since.checked_add(self.watermarks.every);
        if !is_silent && due.is_none_or(|due| now < due) {
            return None;
        }
        *since = now;
        self.sent = Some(next);
        self.tally.watermark(next);
        Some(Mark::Watermark(next))
    }

    /// What a watermark would say now, if that is new.
    fn news(&self) -> Option<EventTime> {
        let next = self.highest? - self.watermarks.disorder;
        self.sent.is_none_or(|sent| sent < next).then_some(next)
    }

    /// Now and then a look at the clock: a watermark may be due. Records come, so there is no silence, however short that may be.
    #[cold]
    fn look(&mut self) {
        self.note_records();
        self.held = self.due_watermark(false).map(Element::Mark);
    }

    /// Notes when the last record came, if any did since this was last called.
    fn note_records(&mut self) {
        if let Some(clock) = &mut self.clock
            && (self.records > 0 || clock.heard_at.is_none())
        {
            self.tally.through(u64::from(self.records));
            self.records = 0;
            clock.heard_at = clock.alarm.after(Duration::ZERO);
        }
    }

    /// Nobody has room for records, so none was asked for: that none came is no silence. That begins when somebody asks again.
    fn listens_later(&mut self) {
        if let Some(clock) = &mut self.clock {
            clock.heard_at = None;
        }
    }

    /// The input is over: the last watermark follows. That of an idle stream would count for nothing.
    #[cold]
    fn end(&mut self) -> Mark {
        self.is_over = true;
        self.note_records();
        self.tally.watermark(EventTime::MAX);
        let last = Mark::Watermark(EventTime::MAX);
        match std::mem::take(&mut self.is_idle) {
            true => {
                self.held = Some(Element::Mark(last));
                Mark::Active
            }
            false => last,
        }
    }

    #[cold]
    fn poll_pending(&mut self, cx: &Context<'_>, ask: Ask) -> Poll<Mark> {
        match ask {
            Ask::Next => self.poll_clock(cx),
            Ask::OnlyBarrier => {
                self.listens_later();
                Poll::Pending
            }
        }
    }

    /// No record is there: a mark may be due, or will be, and then this task is woken.
    fn poll_clock(&mut self, cx: &Context<'_>) -> Poll<Mark> {
        self.note_records();
        loop {
            let is_silent = self.is_silent();
            if let Some(watermark) = self.due_watermark(is_silent) {
                return Poll::Ready(watermark);
            }
            if is_silent {
                self.is_idle = true;
                return Poll::Ready(Mark::Idle);
            }
            let next = self.next_due();
            let Some(clock) = &mut self.clock else {
                return Poll::Pending;
            };
            let Some(next) = next else {
                clock.alarm.unset();
                return Poll::Pending;
            };
            clock.alarm.look(cx.waker());
            if !clock.alarm.set(next, cx.waker()) {
                return Poll::Pending;
            }
        }
    }

    /// When a source that gives no more records is idle.
    fn silence(&self) -> Option<Instant> {
        let heard_at = self.clock.as_ref()?.heard_at?;
        heard_at.checked_add(self.watermarks.idle_after.filter(|_| !self.is_idle)?)
    }

    fn is_silent(&self) -> bool {
        let clock = self.clock.as_ref();
        let passed = |at| clock.is_some_and(|clock| clock.alarm.has_passed(at));
        self.silence().is_some_and(passed)
    }

    fn next_due(&self) -> Option<Instant> {
        let sent_at = self.clock.as_ref()?.sent_at;
        let every = self.watermarks.every;
        let watermark = self
            .news()
            .and(sent_at)
            .and_then(|at| at.checked_add(every));
        watermark.into_iter().chain(self.silence()).min()
    }

    /// A barrier passes: the watermarks of a restored job do not go back, and who was told that the source is idle is told
    /// when it no longer is.
    #[cold]
    fn save(&self, mark: &Mark) -> Result<(), StageError> {
        let (Mark::Checkpoint(barrier), Some(clock)) = (mark, &self.clock) else {
            return Ok(());
        };
        let told = (self.highest, self.sent, self.is_idle);
        let state = postcard::to_stdvec(&told).map_err(|error| {
            StageError::of_stage(Arc::clone(&clock.name), Cause::Snapshot(error.into()))
        })?;
        barrier.put(&clock.name, state);
        Ok(())
    }
}

impl<O, F> EventTimes<O, F>
where
    O: Operator,
    F: FnMut(&O::Item) -> EventTime,
{
    /// What the answer of the input is to the operator behind; none if the input is to be asked again.
    fn pass_on(
        &mut self,
        polled: Poll<Step<O::Item>>,
        cx: &Context<'_>,
        ask: Ask,
    ) -> Option<Poll<Step<O::Item>>> {
        let element = match polled {
            Poll::Ready(Some(Ok(Element::Record(record, _)))) => self.stamp(record),
            // Those of an earlier `event_time`: this one knows better.
            Poll::Ready(Some(Ok(Element::Mark(
                Mark::Watermark(_) | Mark::Idle | Mark::Active,
            )))) => return None,
            Poll::Ready(Some(Ok(Element::Mark(mark)))) => match self.save(&mark) {
                Ok(()) => Element::Mark(mark),
                Err(error) => return Some(Poll::Ready(Some(Err(error)))),
            },
            Poll::Ready(Some(Err(error))) => return Some(Poll::Ready(Some(Err(error)))),
            Poll::Ready(None) => Element::Mark(self.end()),
            Poll::Pending => match self.poll_pending(cx, ask) {
                Poll::Ready(mark) => Element::Mark(mark),
                Poll::Pending => return Some(Poll::Pending),
            },
        };
        Some(Poll::Ready(Some(Ok(element))))
    }

    /// A record came. What is due is sent behind it, and before it that the source is no longer idle.
    fn stamp(&mut self, record: O::Item) -> Element<O::Item> {
        let time = (self.time_of)(&record);
        self.highest = self.highest.max(Some(time));
        self.records += 1;
        let record = Element::Record(record, Some(time));
        if self.is_idle {
            self.is_idle = false;
            self.held = Some(record);
            return Element::Mark(Mark::Active);
        }
        if self.records >= RECORDS_PER_LOOK {
            self.look();
        }
        record
    }
}

impl<O, F> Operator for EventTimes<O, F>
where
    O: Operator,
    F: FnMut(&O::Item) -> EventTime + Send + 'static,
{
    type Item = O::Item;

    fn open(&mut self, opening: &mut Opening) {
        self.input.open(opening);
        let what = format!("event times of {}", name_of::<O::Item>());
        let name = opening.enter_unnamed("event time", what);
        let told = opening.state(&name).unwrap_or_default();
        (self.highest, self.sent, self.is_idle) = told;
        opening.tally(&name, &self.tally);
        if let Some(sent) = self.sent {
            self.tally.watermark(sent);
        }
        self.clock = Some(Clock {
            name,
            alarm: Alarm::new(opening.host.clone()),
            sent_at: None,
            heard_at: None,
        });
    }

    #[inline]
    fn poll_next(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<O::Item>> {
        loop {
            // A look first: taking writes, and there seldom is anything.
            if self.held.is_some() {
                return Poll::Ready(self.held.take().map(Ok));
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            let polled = self.input.poll_next(cx, ask);
            if let Some(polled) = self.pass_on(polled, cx, ask) {
                return polled;
            }
        }
    }

    #[inline]
    fn poll_records(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut impl FnMut(O::Item, Option<EventTime>) -> bool,
    ) -> Option<Poll<Step<O::Item>>> {
        loop {
            // Something may have to be sent first.
            if self.held.is_some() || self.is_over || self.is_idle {
                match self.poll_next(cx, Ask::Next) {
                    Poll::Ready(Some(Ok(Element::Record(record, time)))) => {
                        if !take(record, time) {
                            return None;
                        }
                        continue;
                    }
                    other => return Some(other),
                }
            }
            // Also if it was a call of `take` that panicked: what is due stands behind that record, and before all else.
            if self.records >= RECORDS_PER_LOOK {
                self.look();
                continue;
            }
            let mut wants = true;
            let other = self.input.poll_records(cx, &mut |record, _| {
                let time = (self.time_of)(&record);
                self.highest = self.highest.max(Some(time));
                self.records += 1;
                wants = take(record, Some(time));
                wants && self.records < RECORDS_PER_LOOK
            });
            if !wants {
                return None;
            }
            if let Some(other) = other
                && let Some(polled) = self.pass_on(other, cx, Ask::Next)
            {
                return Some(polled);
            }
        }
    }
}
