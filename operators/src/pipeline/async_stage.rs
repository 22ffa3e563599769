//! The async stage as an operator: a task of its own, and the consumer's end of its outlet.

use super::budget::{ELEMENTS_PER_POLL, rest};
use super::opening::{Opening, name_of};
use super::operator::{Ask, Operator, Step};
use super::side_output::RoomLeft;
use crate::barrier::CheckpointBarrier;
use crate::element::{Element, EventTime, Mark};
use crate::error::{BoxError, Cause, StageError};
use crate::failure::ErrorPolicy as _;
use crate::input::{Fed, Feed, Input};
use crate::metrics::Monitor;
use crate::options::AsyncOptions;
use crate::outputs::Outputs;
use crate::policies::StagePolicies;
use crate::stage::Stage;
use crate::stage_state::{Saved, saved_mark};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A record of a pipeline that a checkpoint may have to hold: any that can be cloned, shown, sent, written and read.
/// It need not be implemented.
pub trait Keepable: Clone + Debug + Serialize + DeserializeOwned + Send + 'static {}

impl<T: Clone + Debug + Serialize + DeserializeOwned + Send + 'static> Keepable for T {}

/// What [`Pipeline::async_map`](super::Pipeline::async_map) makes.
///
/// The stage's types are gone from here on: what follows sees its outputs and no more.
pub struct AsyncStage<Out> {
    open: Option<Open<Out>>,
    opened: Option<Opened<Out>>,
}

/// Opens the stage's input, and hands the stage over.
type Open<Out> = Box<dyn FnOnce(&mut Opening) -> Opened<Out> + Send>;

/// What a checkpoint holds of a stage, once from itself, and behind that from its consumer.
type Kept<T, Out> = Vec<Saved<T, Out>>;

/// A stage that runs elsewhere.
struct Opened<Out> {
    name: Arc<str>,
    outputs: Outputs<Out, Option<EventTime>, Mark>,
}

impl<Out> AsyncStage<Out>
where
    Out: Serialize + DeserializeOwned + Send + 'static,
{
    pub(super) fn new<O, F, Fut, E, P>(
        input: O,
        name: Arc<str>,
        function: F,
        options: AsyncOptions<P>,
    ) -> Self
    where
        O: Operator<Item: Keepable>,
        F: FnMut(O::Item) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Out, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
        P: StagePolicies<O::Item, Out, E>,
    {
        Self {
            open: Some(Box::new(|opening| {
                open(input, name, function, options, opening)
            })),
            opened: None,
        }
    }

    fn open(&mut self, opening: &mut Opening) {
        self.opened = self.open.take().map(|open| open(opening));
    }

    #[inline]
    fn opened(&mut self) -> &mut Opened<Out> {
        self.opened
            .as_mut()
            .expect("a pipeline opens its operators before it asks them")
    }
}

impl<Out: Serialize> Opened<Out> {
    /// The next element; if it is a record, its place stays taken until it is released.
    fn poll_borrow(&mut self, cx: &Context<'_>, ask: Ask) -> Poll<Step<Out>> {
        let polled = match ask {
            Ask::Next => self.outputs.poll_borrow(cx),
            Ask::OnlyBarrier => self.outputs.poll_barrier(cx),
        };
        self.passed(polled)
    }

    /// The next element, whose place is given back.
    #[inline]
    fn poll_take(&mut self, cx: &Context<'_>, ask: Ask) -> Poll<Step<Out>> {
        let polled = match ask {
            Ask::Next => self.outputs.poll_take(cx),
            Ask::OnlyBarrier => self.outputs.poll_barrier(cx),
        };
        self.passed(polled)
    }

    /// What comes when the batch has no next record.
    #[inline(never)]
    fn poll_other(&mut self, cx: &Context<'_>) -> Poll<Step<Out>> {
        let polled = self.outputs.poll_other(cx, 1);
        self.passed(polled)
    }

    /// A barrier takes along what was taken over of the stage's outputs, and stands behind it.
    #[inline]
    fn passed(&self, polled: Poll<Step<Out>>) -> Poll<Step<Out>> {
        if let Poll::Ready(Some(Ok(Element::Mark(Mark::Checkpoint(barrier))))) = &polled
            && let Err(error) = self.save(barrier)
        {
            return Poll::Ready(Some(Err(error)));
        }
        polled
    }

    #[cold]
    fn save(&self, barrier: &CheckpointBarrier) -> Result<(), StageError> {
        let untaken = self.outputs.untaken().filter_map(|element| match element {
            Element::Record(output, time) => Some(Saved::Output(output, *time)),
            Element::Mark(mark) => saved_mark(mark),
        });
        let untaken: Vec<Saved<(), &Out>> = untaken.collect();
        let state = postcard::to_stdvec(&untaken).map_err(|error| {
            StageError::of_stage(Arc::clone(&self.name), Cause::Snapshot(error.into()))
        })?;
        barrier.put_behind(&self.name, &state);
        Ok(())
    }
}

fn open<O, F, Fut, Out, E, P>(
    mut input: O,
    name: Arc<str>,
    function: F,
    options: AsyncOptions<P>,
    opening: &mut Opening,
) -> Opened<Out>
where
    O: Operator<Item: Keepable>,
    F: FnMut(O::Item) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Out, E>> + Send + 'static,
    Out: Serialize + DeserializeOwned + Send + 'static,
    E: Into<BoxError> + 'static,
    P: StagePolicies<O::Item, Out, E>,
{
    input.open(opening);
    let (from, to) = (name_of::<O::Item>(), name_of::<Out>());
    let name = opening.enter(&name, format!("a stage from {from} to {to}"));
    let saved: Option<[Kept<O::Item, Out>; 2]> = opening.state(&name);
    let [held, untaken] = saved.unwrap_or_default();
    let host = opening.host.clone();
    let (mut stage, outputs) = Stage::new(
        Arc::clone(&name),
        Input::new(Elements {
            input,
            room_left: None,
        }),
        function,
        options,
        host,
    );
    let room_left = stage.policies.failure.open(&name, opening);
    if let Some(elements) = stage.input.stream() {
        elements.room_left = room_left;
    }
    stage.restore(untaken.into_iter().chain(held));
    let requests = Arc::clone(&opening.requests);
    let waker = stage.keep_state(
        |elements, cx| elements.poll(cx, Ask::OnlyBarrier),
        requests.newest(),
        move |passed| requests.newer(passed),
    );
    opening.requests.add_stage(waker);
    opening.task(stage);
    let monitor = Monitor::new(outputs.outlet().clone());
    opening.monitors.push((Arc::clone(&name), monitor));
    Opened { name, outputs }
}

/// An operator as a stage knows its input.
struct Elements<O> {
    input: O,
    /// For the records that fail.
    room_left: Option<RoomLeft>,
}

impl<O: Operator> Elements<O> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        ask: Ask,
    ) -> Poll<Fed<O::Item, Option<EventTime>, Mark>> {
        let ask = if self.has_room(cx) {
            ask
        } else {
            Ask::OnlyBarrier
        };
        self.input.poll_next(cx, ask).map(fed)
    }

    /// Without room for a record that fails none is taken in.
    #[inline]
    fn has_room(&mut self, cx: &Context<'_>) -> bool {
        let room_left = self.room_left.as_mut();
        room_left.is_none_or(|room_left| room_left(cx).is_ready())
    }
}

impl<O: Operator> Feed<O::Item, Option<EventTime>, Mark> for Elements<O> {
    fn poll_feed(&mut self, cx: &mut Context<'_>) -> Poll<Fed<O::Item, Option<EventTime>, Mark>> {
        self.poll(cx, Ask::Next)
    }

    #[inline]
    fn feed_records(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut impl FnMut(O::Item, Option<EventTime>) -> bool,
    ) -> Option<Poll<Fed<O::Item, Option<EventTime>, Mark>>> {
        if !self.has_room(cx) {
            return Some(self.poll(cx, Ask::OnlyBarrier));
        }
        let polled = self.input.poll_records(cx, take)?;
        Some(polled.map(fed))
    }
}

fn fed<T>(step: Step<T>) -> Fed<T, Option<EventTime>, Mark> {
    step.map(|element| Ok(element?))
}

impl<Out> Operator for AsyncStage<Out>
where
    Out: Serialize + DeserializeOwned + Send + 'static,
{
    type Item = Out;

    fn open(&mut self, opening: &mut Opening) {
        self.open(opening);
    }

    #[inline]
    fn poll_next(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<Out>> {
        self.opened().poll_take(cx, ask)
    }

    #[inline]
    fn poll_records(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut impl FnMut(Out, Option<EventTime>) -> bool,
    ) -> Option<Poll<Step<Out>>> {
        let opened = self.opened();
        loop {
            while let Some((output, time)) = opened.outputs.take_record(1) {
                if !take(output, time) {
                    return None;
                }
            }
            match opened.poll_other(cx) {
                Poll::Ready(Some(Ok(Element::Record(output, time)))) => {
                    if !take(output, time) {
                        return None;
                    }
                }
                other => return Some(other),
            }
        }
    }
}

/// What [`Pipeline::async_flat_map`](super::Pipeline::async_flat_map) makes.
pub struct AsyncFlat<Outs: IntoIterator> {
    pub(super) stage: AsyncStage<Outs>,
    /// The outputs of the record that was taken last, which still has its place, and its time.
    pub(super) current: Option<(Outs::IntoIter, Option<EventTime>)>,
}

impl<Outs> Operator for AsyncFlat<Outs>
where
    Outs: IntoIterator<Item: Send + 'static, IntoIter: Send + 'static>,
    Outs: Serialize + DeserializeOwned + Send + 'static,
{
    type Item = Outs::Item;

    fn open(&mut self, opening: &mut Opening) {
        self.stage.open(opening);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<Outs::Item>> {
        for _ in 0..ELEMENTS_PER_POLL {
            if let Some((outputs, time)) = &mut self.current {
                if let Some(output) = outputs.next() {
                    return Poll::Ready(Some(Ok(Element::Record(output, *time))));
                }
                self.current = None;
                self.stage.opened().outputs.release();
            }
            match ready!(self.stage.opened().poll_borrow(cx, ask)) {
                Some(Ok(Element::Record(outputs, time))) => {
                    self.current = Some((outputs.into_iter(), time));
                }
                Some(Ok(Element::Mark(mark))) => return Poll::Ready(Some(Ok(Element::Mark(mark)))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        rest(cx)
    }
}
