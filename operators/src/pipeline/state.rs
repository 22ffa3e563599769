//! What operators with a state have in common: it goes into the checkpoint, and most need event times.

use super::budget::{ELEMENTS_PER_POLL, rest};
use super::operator::{Ask, Operator, Step};
use crate::element::{Element, EventTime, Mark};
use crate::error::{Cause, StageError};
use serde::Serialize;
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
    type Out;

    /// What it is, in front of which event times have to be given.
    const WHAT: &'static str;

    fn input(&mut self) -> &mut Self::Input;

    /// What is to be given out before the next element is taken.
    fn ready(&mut self) -> &mut VecDeque<Element<Self::Out>>;

    /// Its name, once it is open.
    fn name(&self) -> Option<&Arc<str>>;

    fn take(&mut self, record: <Self::Input as Operator>::Item, time: EventTime);

    fn pass(&mut self, mark: Mark) -> Result<(), StageError>;

    /// The operator's `poll_next`.
    fn poll_timed(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<Self::Out>> {
        for _ in 0..ELEMENTS_PER_POLL {
            if let Some(element) = self.ready().pop_front() {
                return Poll::Ready(Some(Ok(element)));
            }
            let passed = match ready!(self.input().poll_next(cx, ask)) {
                Some(Ok(Element::Record(record, Some(time)))) => {
                    self.take(record, time);
                    Ok(())
                }
                Some(Ok(Element::Record(_, None))) => Err(self.without_time()),
                Some(Ok(Element::Mark(mark))) => self.pass(mark),
                Some(Err(error)) => Err(error),
                None => return Poll::Ready(None),
            };
            if let Err(error) = passed {
                return Poll::Ready(Some(Err(error)));
            }
        }
        rest(cx)
    }

    /// A record came to this operator without event time.
    fn without_time(&self) -> StageError {
        let what = Self::WHAT;
        let why = format!("a record has no event time; put `event_time` in front of the {what}");
        let name = self.name().cloned().unwrap_or_else(|| Arc::from(what));
        StageError::of_stage(name, Cause::Input(why.into()))
    }
}
