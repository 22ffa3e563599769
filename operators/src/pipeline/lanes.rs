//! Parallelism: one stream becomes several lanes, each with tasks of its own, which come together again.
//!
//! ```text
//!                      ┌─ queue ─ operators of lane 0 ─┐
//!     input ─ router ──┤                                 ├─ merge ─
//!                      └─ queue ─ operators of lane 1 ─┘
//! ```
//!
//! The router is a task. It gives each record to one lane, in turn or by its key, and each mark to all of them. The queues
//! are bounded (`lane_queue.rs`): a lane that is slow holds the router up, and that the input. Records of one lane stay in order; those of
//! different lanes don't, but for what the marks keep apart.

use super::budget::Budget;
use super::checkpoint::Requests;
use super::lane_queue::{Entry, Exit, LaneClosed, lane_queue};
use super::merge::Merge;
use super::opening::Opening;
use super::operator::{Ask, Operator, Step};
use crate::element::{Element, MarkOf as _};
use crate::error::{Cause, StageError};
use crate::panics::caught;
use std::future::poll_fn;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::task::{Context, Poll};

/// How many records a lane's queue holds: enough that router and lane seldom wait for each other, few enough that a
/// checkpoint, which waits behind them, does not wait long.
const PLACES: usize = 64;

/// How a router chooses the lane of a record.
pub(super) trait Route<T>: Send + 'static {
    fn lane(&mut self, record: &T, lanes: usize) -> usize;
}

/// Each lane in turn.
#[derive(Default)]
pub(super) struct InTurn(usize);

impl<T> Route<T> for InTurn {
    fn lane(&mut self, _record: &T, lanes: usize) -> usize {
        self.0 = (self.0 + 1) % lanes;
        self.0
    }
}

/// Records with the same key have the same lane, in this run and in every other.
pub(super) struct ByKey<F>(pub(super) F);

impl<T, K, F> Route<T> for ByKey<F>
where
    K: Hash,
    F: FnMut(&T) -> K + Send + 'static,
{
    fn lane(&mut self, record: &T, lanes: usize) -> usize {
        let mut hasher = Fnv::default();
        (self.0)(record).hash(&mut hasher);
        // Less than `lanes`, so it fits.
        (hasher.finish() % lanes as u64) as usize
    }
}

/// FNV-1a. What a lane holds must come to the same lane after a restart, perhaps of a program made by another compiler, and the
/// standard library does not promise that of its hasher.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        // The offset that the algorithm prescribes, as the prime below.
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        // The low bits of FNV-1a are its weak ones; this brings the high ones down.
        self.0 ^ (self.0 >> 32)
    }
}

/// The beginning of a lane: what the router gives it.
pub struct Lane<T>(Exit<T>);

impl<T: Send + 'static> Operator for Lane<T> {
    type Item = T;

    fn open(&mut self, _opening: &mut Opening) {}

    fn poll_next(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<T>> {
        self.0.poll_take(cx, ask)
    }
}

/// What [`Pipeline::parallelism`](super::Pipeline::parallelism) makes.
pub struct Parallel<O> {
    /// Opens the router and its input, and hands the router over.
    router: Option<OpenRouter>,
    lanes: Merge<O>,
}

type OpenRouter = Box<dyn FnOnce(&mut Opening) + Send>;

impl<O: Operator> Parallel<O> {
    pub(super) fn new<I: Operator>(
        input: I,
        route: impl Route<I::Item>,
        count: usize,
        lane: impl FnMut(Lane<I::Item>) -> O,
    ) -> Self {
        let (entries, exits): (Vec<_>, Vec<_>) = (0..count).map(|_| lane_queue(PLACES)).unzip();
        let lanes = exits.into_iter().map(Lane).map(lane).collect();
        Self {
            router: Some(Box::new(|opening| {
                let mut input = input;
                input.open(opening);
                let requests = Arc::clone(&opening.requests);
                opening.task(run_router(input, route, entries, requests));
            })),
            lanes: Merge::of_lanes(lanes),
        }
    }
}

impl<O: Operator> Operator for Parallel<O> {
    type Item = O::Item;

    fn open(&mut self, opening: &mut Opening) {
        if let Some(router) = self.router.take() {
            router(opening);
        }
        self.lanes.open(opening);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<O::Item>> {
        self.lanes.poll_next(cx, ask)
    }
}

/// Until the input has ended or failed, or the pipeline has. Dropped before that, it leaves lanes that tell so.
async fn run_router<I: Operator>(
    mut input: I,
    mut route: impl Route<I::Item>,
    mut lanes: Vec<Entry<I::Item>>,
    requests: Arc<Requests>,
) {
    let mut passed = requests.newest();
    let mut budget = Budget::default();
    loop {
        let poll = |cx: &mut Context<'_>| {
            let step = match poll_room(&mut lanes, &requests, passed, cx) {
                Poll::Ready(Ok(ask)) => budget.poll(cx, |cx| poll_caught(&mut input, cx, ask)),
                Poll::Ready(Err(closed)) => return Poll::Ready(Err(closed)),
                Poll::Pending => Poll::Pending,
            };
            match step {
                // Lanes that have ended tell only those who need a place.
                Poll::Pending => requests.poll_end(cx).map(|()| Err(LaneClosed)),
                Poll::Ready(step) => Poll::Ready(Ok(step)),
            }
        };
        let Ok(step) = poll_fn(poll).await else {
            return;
        };
        let routed = match step {
            Some(Ok(Element::Record(record, time))) => caught(|| route.lane(&record, lanes.len()))
                .map(|lane| lanes[lane].put(Element::Record(record, time)))
                .map_err(|message| failure(Cause::Panicked(message))),
            Some(Ok(Element::Mark(mark))) => {
                if let Some(barrier) = mark.barrier() {
                    passed = barrier.number();
                }
                lanes
                    .iter_mut()
                    .for_each(|lane| lane.put(Element::Mark(mark.clone())));
                Ok(())
            }
            Some(Err(error)) => Err(error),
            None => return lanes.into_iter().for_each(|lane| lane.end(Ok(()))),
        };
        if let Err(error) = routed {
            return fail(lanes, error, &requests).await;
        }
    }
}

/// The first lane tells the error, and the pipeline ends with it. Until then the others are told nothing: another error might come
/// earlier than this one, and an end would pass for that of the input, so that windows gave out what is only a part.
async fn fail<T>(mut lanes: Vec<Entry<T>>, error: StageError, requests: &Requests) {
    lanes.swap_remove(0).end(Err(error));
    poll_fn(|cx| requests.poll_end(cx)).await;
}

/// Ready if every lane has a place, for nobody knows which the next record is for; and when a barrier is to come, which
/// needs none. An error: somebody listens no more, for the pipeline has ended.
fn poll_room<T>(
    lanes: &mut [Entry<T>],
    requests: &Requests,
    passed: u64,
    cx: &Context<'_>,
) -> Poll<Result<Ask, LaneClosed>> {
    let mut has_room = true;
    for lane in lanes {
        match lane.poll_place(cx) {
            Poll::Ready(place) => place?,
            Poll::Pending => has_room = false,
        }
    }
    match has_room {
        true => Poll::Ready(Ok(Ask::Next)),
        false if requests.wait(passed, cx.waker()) => Poll::Pending,
        false => Poll::Ready(Ok(Ask::OnlyBarrier)),
    }
}

/// A panic of the input is an error of it.
fn poll_caught<I: Operator>(input: &mut I, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<I::Item>> {
    let polled = caught(|| input.poll_next(cx, ask));
    polled.unwrap_or_else(|message| Poll::Ready(Some(Err(failure(Cause::InputPanicked(message))))))
}

fn failure(cause: Cause) -> StageError {
    StageError::of_stage(Arc::from("parallelism"), cause)
}
