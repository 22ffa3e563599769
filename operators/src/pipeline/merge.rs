//! Several streams become one: for `union`, and where lanes come together.
//!
//! Records come as they come, from each input in turn. Marks are about one stream, so they are worked out anew:
//!
//! - the watermark is the lowest of all inputs, of those that are neither idle nor over; when all are over, the last is the highest;
//! - the stream is idle when all inputs are; before it says so, its watermark becomes the highest of theirs, as in Flink: nobody is
//!   waited for any more;
//! - a barrier passes when every input that is not over has brought it. An input whose barrier came is not asked until then, or
//!   records from behind the barrier would get in front of it.

use super::opening::Opening;
use super::operator::{Ask, Operator, Step};
use crate::element::{Element, EventTime, Mark};
use crate::error::{Cause, StageError};
use std::sync::Arc;
use std::task::{Context, Poll};

/// What [`Pipeline::union`](super::Pipeline::union) and
/// [`Pipeline::parallelism`](super::Pipeline::parallelism) make.
pub struct Merge<O> {
    name: Option<Arc<str>>,
    inputs: Vec<Input<O>>,
    /// Whose turn it is.
    next: usize,
    /// What was said last.
    watermark: EventTime,
    is_idle: bool,
    /// A mark came, or an input ended, since `news` had nothing to say.
    is_stale: bool,
    /// It came from some inputs, and not yet from all.
    barrier: Option<Mark>,
    /// The inputs are lanes, which have names of their own.
    are_lanes: bool,
}

struct Input<O> {
    operator: O,
    watermark: EventTime,
    is_idle: bool,
    is_over: bool,
    /// Its barrier came, and others' did not.
    is_held: bool,
}

/// What an input has told of itself: its watermark, and whether it is idle.
type Told = (EventTime, bool);

impl<O> Input<O> {
    fn told(&self) -> Told {
        (self.watermark, self.is_idle)
    }
}

impl<O: Operator> Merge<O> {
    pub(super) fn of_streams(operators: Vec<O>) -> Self {
        Self::new(operators, false)
    }

    pub(super) fn of_lanes(operators: Vec<O>) -> Self {
        Self::new(operators, true)
    }

    fn new(operators: Vec<O>, are_lanes: bool) -> Self {
        let input = |operator| Input {
            operator,
            watermark: EventTime::MIN,
            is_idle: false,
            is_over: false,
            is_held: false,
        };
        Self {
            name: None,
            inputs: operators.into_iter().map(input).collect(),
            next: 0,
            watermark: EventTime::MIN,
            is_idle: false,
            is_stale: false,
            barrier: None,
            are_lanes,
        }
    }

    /// Takes a mark that came from this input; returns it if it is none that all inputs have a say in.
    fn take(&mut self, index: usize, mark: Mark) -> Option<Mark> {
        let input = &mut self.inputs[index];
        match mark {
            Mark::Watermark(time) => input.watermark = input.watermark.max(time),
            Mark::Idle => input.is_idle = true,
            Mark::Active => input.is_idle = false,
            Mark::Latency(_) => return Some(mark),
            Mark::Checkpoint(_) => {
                input.is_held = true;
                self.barrier = Some(mark);
            }
        }
        self.is_stale = true;
        None
    }

    /// The barrier, once every input that is not over has brought it.
    fn barrier(&mut self) -> Option<Mark> {
        let has_come = |input: &Input<O>| input.is_held || input.is_over;
        if !self.inputs.iter().all(has_come) {
            return None;
        }
        self.inputs
            .iter_mut()
            .for_each(|input| input.is_held = false);
        self.barrier.take()
    }

    /// The barrier passes.
    fn save(&self, mark: &Mark) -> Result<(), StageError> {
        if let (Mark::Checkpoint(barrier), Some(name)) = (mark, &self.name) {
            let told: Vec<Told> = self.inputs.iter().map(Input::told).collect();
            let state = postcard::to_stdvec(&(told, (self.watermark, self.is_idle)));
            barrier.put(
                name,
                state.map_err(|error| {
                    StageError::of_stage(Arc::clone(name), Cause::Snapshot(error.into()))
                })?,
            );
        }
        Ok(())
    }

    fn restore(&mut self, (inputs, own): (Vec<Told>, Told)) {
        for (input, (watermark, is_idle)) in self.inputs.iter_mut().zip(inputs) {
            (input.watermark, input.is_idle) = (watermark, is_idle);
        }
        (self.watermark, self.is_idle) = own;
    }

    fn highest_of_live(&self) -> Option<EventTime> {
        let live = self.inputs.iter().filter(|input| !input.is_over);
        live.map(|input| input.watermark).max()
    }

    /// A mark that tells what has changed for all inputs together.
    fn news(&mut self) -> Option<Mark> {
        let mut live = self.inputs.iter().filter(|input| !input.is_over).peekable();
        let is_idle = live.peek().is_some() && live.all(|input| input.is_idle);
        if is_idle
            && !self.is_idle
            && let Some(highest) = self.highest_of_live()
            && highest > self.watermark
        {
            self.watermark = highest;
            return Some(Mark::Watermark(highest));
        }
        if is_idle != self.is_idle {
            self.is_idle = is_idle;
            return Some(match is_idle {
                true => Mark::Idle,
                false => Mark::Active,
            });
        }
        let is_over = self.inputs.iter().all(|input| input.is_over);
        let inputs = self.inputs.iter();
        let lowest = match is_over {
            true => inputs.map(|input| input.watermark).max()?,
            false => inputs
                .filter(|input| !input.is_idle && !input.is_over)
                .map(|input| input.watermark)
                .min()?,
        };
        if lowest <= self.watermark {
            return None;
        }
        self.watermark = lowest;
        Some(Mark::Watermark(lowest))
    }
}

impl<O: Operator> Operator for Merge<O> {
    type Item = O::Item;

    fn open(&mut self, opening: &mut Opening) {
        for (index, input) in self.inputs.iter_mut().enumerate() {
            match self.are_lanes {
                true => opening.in_lane(index, |opening| input.operator.open(opening)),
                false => input.operator.open(opening),
            }
        }
        let (kind, count) = match self.are_lanes {
            true => ("lanes", self.inputs.len()),
            false => ("union", self.inputs.len()),
        };
        let name = opening.enter_unnamed(kind, format!("{kind} of {count}"));
        if let Some(told) = opening.state(&name) {
            self.restore(told);
        }
        self.name = Some(name);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<O::Item>> {
        loop {
            if self.is_stale {
                if let Some(mark) = self.news() {
                    return Poll::Ready(Some(Ok(Element::Mark(mark))));
                }
                self.is_stale = false;
                if let Some(barrier) = self.barrier() {
                    let saved = self.save(&barrier);
                    return Poll::Ready(Some(saved.map(|()| Element::Mark(barrier))));
                }
            }
            let Poll::Ready((index, step)) = self.poll_inputs(cx, ask) else {
                let is_over = self.inputs.iter().all(|input| input.is_over);
                return if is_over {
                    Poll::Ready(None)
                } else {
                    Poll::Pending
                };
            };
            match step {
                Some(Ok(Element::Mark(mark))) => {
                    if let Some(mark) = self.take(index, mark) {
                        return Poll::Ready(Some(Ok(Element::Mark(mark))));
                    }
                }
                Some(record_or_error) => return Poll::Ready(Some(record_or_error)),
                None => {
                    self.inputs[index].is_over = true;
                    self.is_stale = true;
                }
            }
        }
    }
}

impl<O: Operator> Merge<O> {
    /// What the first input has that has anything, beginning with the one whose turn it is.
    fn poll_inputs(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<(usize, Step<O::Item>)> {
        let count = self.inputs.len();
        for index in (0..count).map(|offset| (self.next + offset) % count) {
            let input = &mut self.inputs[index];
            if input.is_held || input.is_over {
                continue;
            }
            if let Poll::Ready(step) = input.operator.poll_next(cx, ask) {
                self.next = index + 1;
                return Poll::Ready((index, step));
            }
        }
        Poll::Pending
    }
}

/// One of two operators with the same records.
pub enum Either<A, B> {
    /// The one.
    One(A),
    /// The other.
    Other(B),
}

impl<A, B> Operator for Either<A, B>
where
    A: Operator,
    B: Operator<Item = A::Item>,
{
    type Item = A::Item;

    fn open(&mut self, opening: &mut Opening) {
        match self {
            Self::One(one) => one.open(opening),
            Self::Other(other) => other.open(opening),
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<A::Item>> {
        match self {
            Self::One(one) => one.poll_next(cx, ask),
            Self::Other(other) => other.poll_next(cx, ask),
        }
    }
}
