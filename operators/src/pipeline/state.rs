//! What operators with a state have in common: it goes into the checkpoint, and most need event times.

use super::budget::{ELEMENTS_PER_POLL, rest};
use super::checkpoint::Requests;
use super::metrics::Tally;
use super::opening::Opening;
use super::operator::{Ask, Operator, Step};
use super::side_output::LateRecords;
use crate::barrier::CheckpointBarrier;
use crate::element::{Element, EventTime, Mark};
use crate::error::{Cause, StageError};
use crate::stage_state::{Saved, saved_mark};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Puts the state into the checkpoint if this mark is a barrier, and the operator is open, so has a name.
pub(super) fn save(
    mark: &Mark,
    name: Option<&Arc<str>>,
    state: &impl Serialize,
) -> Result<(), StageError> {
    if let (Mark::Checkpoint(barrier), Some(name)) = (mark, name) {
        let state = postcard::to_stdvec(state).map_err(|error| {
            StageError::of_stage(Arc::clone(name), Cause::Snapshot(error.into()))
        })?;
        barrier.put(name, state);
    }
    Ok(())
}

/// An operator that takes records by their event times, and after each record or mark may have any number of elements ready.
pub(super) trait Timed {
    type Input: Operator;
    type Out: Serialize;
    /// What it keeps, besides what is ready.
    type State: Serialize + Holding;

    /// What it is, in front of which event times have to be given.
    const WHAT: &'static str;

    fn input(&mut self) -> &mut Self::Input;

    fn state(&mut self) -> (&Self::State, &mut Ready<Self::Out>);

    /// What is given the records that come too late.
    fn late(&mut self) -> &mut impl LateRecords<<Self::Input as Operator>::Item>;

    /// Works on a record, or gives it back: it is too late.
    fn take(
        &mut self,
        record: <Self::Input as Operator>::Item,
        time: EventTime,
    ) -> Option<<Self::Input as Operator>::Item>;

    /// Any mark but a barrier.
    fn pass(&mut self, mark: Mark);

    fn ready(&mut self) -> &mut Ready<Self::Out> {
        self.state().1
    }

    /// Enters the operator. Returns what it kept in the checkpoint, if the job goes on from one.
    fn enter(&mut self, opening: &mut Opening, what: String) -> Option<Self::State>
    where
        Self::State: DeserializeOwned,
        Self::Out: DeserializeOwned,
    {
        let (name, restored) = self.ready().open(opening, Self::WHAT, what);
        self.late().open(&name, opening);
        restored
    }

    /// The operator's `poll_next`. What is ready leaves before anything else is taken; but where only the barrier is asked for
    /// it stays, and is part of the checkpoint: there may be far more of it than the one who asks has room for.
    fn poll_timed(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<Self::Out>> {
        for _ in 0..ELEMENTS_PER_POLL {
            if self.ready().input_is_over {
                return self.poll_rest(cx, ask);
            }
            if ask == Ask::Next
                && let Some(element) = self.ready().next()
            {
                return Poll::Ready(Some(Ok(element)));
            }
            // Without room for a late record only the barrier is asked for, once there is one.
            let has_room = self.late().poll_room(cx).is_ready();
            if !has_room && ask == Ask::Next && self.ready().waits_for_barrier(cx) {
                return Poll::Pending;
            }
            let ask = if has_room { ask } else { Ask::OnlyBarrier };
            match ready!(self.input().poll_next(cx, ask)) {
                Some(Ok(Element::Record(record, Some(time)))) => self.take_in(record, time),
                Some(Ok(Element::Record(_, None))) => {
                    return Poll::Ready(Some(Err(self.without_time())));
                }
                Some(Ok(Element::Mark(Mark::Checkpoint(barrier)))) => {
                    return Poll::Ready(Some(self.pass_barrier(barrier)));
                }
                Some(Ok(Element::Mark(mark))) => {
                    self.pass(mark);
                    self.tell();
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.ready().input_is_over = true,
            }
        }
        rest(cx)
    }

    fn take_in(&mut self, record: <Self::Input as Operator>::Item, time: EventTime) {
        self.ready().tally.records_in(1);
        match self.take(record, time) {
            Some(late) => {
                self.ready().tally.late_record();
                self.late().take(late);
            }
            None => self.tell(),
        }
    }

    /// Tells whoever watches what is held now.
    fn tell(&mut self) {
        let (state, ready) = self.state();
        ready.tally.holds(state.held());
        ready.tally.watermark(state.watermark());
    }

    /// The input is over. What is ready leaves, and until it all has, this operator makes the barriers itself: for the sources
    /// behind it have ended, and their positions are known.
    fn poll_rest(&mut self, cx: &Context<'_>, ask: Ask) -> Poll<Step<Self::Out>> {
        loop {
            let ready = self.ready();
            if ready.elements.is_empty() {
                return Poll::Ready(None);
            }
            if let Some(barrier) = ready.newer_barrier() {
                return Poll::Ready(Some(self.pass_barrier(barrier)));
            }
            if ask == Ask::Next {
                return Poll::Ready(ready.next().map(Ok));
            }
            if ready.waits_for_barrier(cx) {
                return Poll::Pending;
            }
        }
    }

    /// A barrier passes in front of all that is ready.
    fn pass_barrier(
        &mut self,
        barrier: CheckpointBarrier,
    ) -> Result<Element<Self::Out>, StageError> {
        self.late().pass_barrier();
        let (state, ready) = self.state();
        if let Some(opened) = &mut ready.opened {
            opened.passed = barrier.number;
        }
        let elements: Vec<Saved<(), &Self::Out>> =
            ready.elements.iter().filter_map(saved).collect();
        let mark = Mark::Checkpoint(barrier);
        save(&mark, ready.name(), &(state, elements))?;
        Ok(Element::Mark(mark))
    }

    /// A record came to this operator without event time.
    fn without_time(&mut self) -> StageError {
        let what = Self::WHAT;
        let why = format!("a record has no event time; put `event_time` in front of the {what}");
        let name = self.ready().name().cloned();
        let name = name.unwrap_or_else(|| Arc::from(what));
        StageError::of_stage(name, Cause::Input(why.into()))
    }
}

/// What an operator keeps, as far as it is counted.
pub(super) trait Holding {
    fn held(&self) -> usize;

    fn watermark(&self) -> EventTime;
}

/// What an operator is to give out, before it takes the next element.
pub(super) struct Ready<Out> {
    elements: VecDeque<Element<Out>>,
    opened: Option<Opened>,
    input_is_over: bool,
    tally: Tally,
}

struct Opened {
    name: Arc<str>,
    requests: Arc<Requests>,
    /// The number of the last barrier that passed.
    passed: u64,
}

impl<Out> Ready<Out> {
    pub(super) fn new() -> Self {
        Self {
            elements: VecDeque::new(),
            opened: None,
            input_is_over: false,
            tally: Tally::new(),
        }
    }

    /// Enters the operator. Returns its name, and what it kept in the checkpoint if the job goes on from one.
    fn open<S>(&mut self, opening: &mut Opening, kind: &str, what: String) -> (Arc<str>, Option<S>)
    where
        S: DeserializeOwned,
        Out: DeserializeOwned,
    {
        let name = opening.enter_unnamed(kind, what);
        opening.tally(&name, &self.tally);
        let restored: Option<(S, Vec<Saved<(), Out>>)> = opening.state(&name);
        self.opened = Some(Opened {
            name: Arc::clone(&name),
            passed: opening.requests.newest(),
            requests: Arc::clone(&opening.requests),
        });
        let state = restored.map(|(state, elements)| {
            self.elements = elements.into_iter().filter_map(Saved::into_ready).collect();
            state
        });
        (name, state)
    }

    pub(super) fn records(&mut self, records: impl IntoIterator<Item = (Out, EventTime)>) {
        let records = records.into_iter();
        self.elements
            .extend(records.map(|(record, time)| Element::Record(record, Some(time))));
    }

    pub(super) fn mark(&mut self, mark: Mark) {
        self.elements.push_back(Element::Mark(mark));
    }

    /// The next element, to be given to the operator behind this one.
    fn next(&mut self) -> Option<Element<Out>> {
        let element = self.elements.pop_front()?;
        if let Element::Record(..) = element {
            self.tally.record_out();
        }
        Some(element)
    }

    /// The operator's name, once it is open.
    fn name(&self) -> Option<&Arc<str>> {
        self.opened.as_ref().map(|opened| &opened.name)
    }

    /// A barrier that was asked for, and has not passed.
    fn newer_barrier(&self) -> Option<CheckpointBarrier> {
        let opened = self.opened.as_ref()?;
        let is_newer = opened.requests.newest() != opened.passed;
        is_newer.then(|| opened.requests.barrier())
    }

    /// False: there is a newer barrier.
    fn waits_for_barrier(&self, cx: &Context<'_>) -> bool {
        let opened = self.opened.as_ref();
        opened.is_none_or(|opened| opened.requests.wait(opened.passed, cx.waker()))
    }
}

fn saved<Out>(element: &Element<Out>) -> Option<Saved<(), &Out>> {
    match element {
        Element::Record(record, time) => Some(Saved::Output(record, *time)),
        Element::Mark(mark) => saved_mark(mark),
    }
}

impl<Out> Saved<(), Out> {
    /// Nothing is ready that was not worked on.
    fn into_ready(self) -> Option<Element<Out>> {
        Some(match self {
            Self::Input(..) => return None,
            Self::Output(record, time) => Element::Record(record, time),
            Self::Watermark(time) => Element::Mark(Mark::Watermark(time)),
            Self::Idle => Element::Mark(Mark::Idle),
            Self::Active => Element::Mark(Mark::Active),
        })
    }
}
