//! Parts of a pipeline for models, which drive them without the rest.

#![allow(
    unreachable_pub,
    missing_docs,
    reason = "the models of loom-tests drive this module"
)]

use super::checkpoint::Requests;
use super::lane_queue::{Entry, Exit, lane_queue};
use super::operator::Ask;
use super::shelf::{Place, Shelf};
use crate::barrier::CheckpointBarrier;
use crate::element::{Element, EventTime, Mark};
use crate::error::StageError;
use crate::latency::Recent;
use crate::metrics::Metrics;
use crate::outlet::{Consumer, Offer, Outlet, Room};
use crate::outputs::Outputs;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The router's end of a lane's queue, which carries numbers.
pub struct ModelEntry(Entry<usize>);

/// The lane's end.
pub struct ModelExit(Exit<usize>);

impl ModelEntry {
    /// A queue with so many places, and its two ends.
    pub fn queue(places: usize) -> (ModelEntry, ModelExit) {
        let (entry, exit) = lane_queue(places);
        (ModelEntry(entry), ModelExit(exit))
    }

    /// `false`: the lane has left.
    pub fn poll_place(&mut self, cx: &Context<'_>) -> Poll<bool> {
        self.0.poll_place(cx).map(|place| place.is_ok())
    }

    pub fn put(&mut self, number: usize) {
        self.0.put(Element::Record(number, None));
    }

    pub fn put_mark(&mut self) {
        self.0.put(Element::Mark(Mark::Idle));
    }

    pub fn end(self) {
        self.0.end(Ok(()));
    }
}

impl ModelExit {
    /// The next element, or the end. A mark is none.
    pub fn poll_take(&self, cx: &Context<'_>) -> Poll<Option<Result<Option<usize>, StageError>>> {
        self.poll(cx, Ask::Next)
    }

    /// As one without room asks, who is given what stands in front of the barrier.
    pub fn poll_barrier(
        &self,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Option<usize>, StageError>>> {
        self.poll(cx, Ask::OnlyBarrier)
    }

    fn poll(&self, cx: &Context<'_>, ask: Ask) -> Poll<Option<Result<Option<usize>, StageError>>> {
        let number = |element| match element {
            Element::Record(number, _) => Some(number),
            Element::Mark(_) => None,
        };
        let polled = self.0.poll_take(cx, ask);
        polled.map(|step| step.map(|taken| taken.map(number)))
    }
}

/// The shelf of a side output, which carries numbers: the sink's end.
pub struct ModelShelf(Arc<Shelf<usize>>);

/// An operator's part of it.
pub struct ModelPlace(Place<usize>);

impl ModelShelf {
    /// As soon as so many records are unwritten, operators have no room.
    pub fn new(places: usize) -> ModelShelf {
        ModelShelf(Arc::new(Shelf::new(places)))
    }

    pub fn place(&self) -> ModelPlace {
        ModelPlace(Place::on(&self.0))
    }

    pub fn take(&self, cx: &Context<'_>) -> VecDeque<usize> {
        self.0.take(cx)
    }

    pub fn take_to_barrier(&self) -> VecDeque<usize> {
        self.0.take_to_barrier()
    }

    pub fn hold(&self, count: usize) {
        self.0.hold(count);
    }

    pub fn leave(&self) {
        self.0.leave();
    }
}

impl ModelPlace {
    pub fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.0.poll_room(cx)
    }

    /// As an operator that may give: whether or not there is room.
    pub fn give(&mut self, number: usize) {
        self.0.give(number);
    }

    pub fn pass_barrier(&self) {
        self.0.pass_barrier();
    }
}

/// Who asks for checkpoints, and who answers.
pub struct ModelRequests(Requests);

impl ModelRequests {
    /// The first barrier is the first.
    #[allow(clippy::new_without_default, reason = "for models only")]
    pub fn new() -> ModelRequests {
        ModelRequests(Requests::after(0))
    }

    pub fn ask(&self) {
        self.0.ask();
    }

    /// As a source that has no records, or a task that has no room for them: the number of the barrier behind the one that
    /// has `passed`.
    pub fn poll_barrier(&self, passed: u64, cx: &Context<'_>) -> Poll<u64> {
        if self.0.newest() == passed && self.0.wait(passed, cx.waker()) {
            return Poll::Pending;
        }
        Poll::Ready(self.0.barrier().number())
    }

    /// As a stage, which is woken for each.
    pub fn add_stage(&self, waker: Waker) {
        self.0.add_stage(waker);
    }

    /// As a stage that was woken.
    pub fn newer(&self, passed: u64) -> bool {
        self.0.newer(passed).is_some()
    }

    pub fn complete(&self) {
        self.0.complete();
    }

    pub fn close(&self) {
        self.0.close();
    }

    pub fn poll_rest(&self, cx: &Context<'_>) -> Poll<bool> {
        self.0.poll_rest(cx)
    }

    pub fn poll_end(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.poll_end(cx)
    }
}

/// The queue between a stage and its consumer, when the stage has told its end and lingers for the sake of barriers: the stage's side.
#[derive(Clone)]
pub struct ModelOutlet(Arc<Outlet<usize, Option<EventTime>, Mark>>);

/// The consumer's side.
pub struct ModelOutputs(Outputs<usize, Option<EventTime>, Mark>);

impl ModelOutlet {
    /// `room` wakes the stage.
    pub fn new(room: Waker) -> (ModelOutlet, ModelOutputs) {
        let outlet = Arc::new(Outlet::new(1, room));
        let outputs = Outputs::new(Arc::clone(&outlet));
        (ModelOutlet(outlet), ModelOutputs(outputs))
    }

    /// The stage hands these over, and tells its end. `false`: everything was taken.
    pub fn tell_end(&self, outputs: impl IntoIterator<Item = usize>) -> bool {
        let records = outputs.into_iter();
        let mut outputs = records
            .map(|number| Element::Record(number, None))
            .collect();
        self.exchange(&mut outputs, Some(Ok(())))
    }

    /// A barrier comes by: takes along what was not taken, and says how many that are. `false`: everything was taken.
    pub fn show_barrier(&self, sees: impl FnOnce(usize)) -> bool {
        let mut outputs = VecDeque::new();
        self.0.take_back(&mut outputs);
        sees(outputs.len());
        outputs.push_front(Element::Mark(Mark::Checkpoint(CheckpointBarrier {
            number: 1,
            states: Arc::default(),
        })));
        self.exchange(&mut outputs, None)
    }

    /// `false`: everything was taken.
    pub fn look(&self) -> bool {
        self.exchange(&mut VecDeque::new(), None)
    }

    /// The stage's task is dropped.
    pub fn abandon(&self) {
        self.0.abandon(&Arc::from("stage"));
    }

    /// As [`show_barrier`](Self::show_barrier), by a stage that is dropped before it has given anything back.
    pub fn abandon_at_barrier(&self) {
        self.0.take_back(&mut VecDeque::new());
        self.abandon();
    }

    fn exchange(
        &self,
        outputs: &mut VecDeque<Element<usize>>,
        end: Option<Result<(), StageError>>,
    ) -> bool {
        let consumer = self.0.exchange(Offer {
            outputs,
            room: &mut Room::new(1, 1),
            starving: false,
            end,
            lingers: true,
            metrics: Metrics::default(),
            latencies: &mut Recent::default(),
        });
        consumer == Consumer::Present
    }
}

type Taken = Poll<Option<Result<Option<usize>, StageError>>>;

impl ModelOutputs {
    /// The next element, or the end. A mark is none.
    pub fn poll_take(&mut self, cx: &Context<'_>) -> Taken {
        numbered(self.0.poll_take(cx))
    }

    /// The barrier, or the end.
    pub fn poll_barrier(&mut self, cx: &Context<'_>) -> Taken {
        numbered(self.0.poll_barrier(cx))
    }

    /// How many were taken over, and are not taken: a barrier that is taken takes them along.
    pub fn untaken(&self) -> usize {
        self.0.untaken().count()
    }
}

fn numbered(polled: Poll<Option<Result<Element<usize>, StageError>>>) -> Taken {
    polled.map(|step| {
        step.map(|element| match element? {
            Element::Record(number, _) => Ok(Some(number)),
            Element::Mark(_) => Ok(None),
        })
    })
}
