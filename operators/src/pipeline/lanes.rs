//! Parallelism: one stream becomes several lanes, each with tasks of its own, which come together again.
//!
//! ```text
//!                      ┌─ channel ─ operators of lane 0 ─┐
//!     input ─ router ──┤                                 ├─ merge ─
//!                      └─ channel ─ operators of lane 1 ─┘
//! ```
//!
//! The router is a task. It gives each record to one lane, in turn or by its key, and each mark to all of them. The channels
//! are bounded: a lane that is slow holds the router up, and that the input. Records of one lane stay in order; those of
//! different lanes don't, but for what the marks keep apart.

use super::budget::Budget;
use super::checkpoint::Requests;
use super::merge::Merge;
use super::opening::Opening;
use super::operator::{Operator, Step};
use crate::element::{Element, Mark};
use crate::error::{Cause, StageError};
use crate::panics::caught;
use futures_channel::mpsc::{Receiver, Sender, channel};
use futures_core::Stream;
use std::future::poll_fn;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// How many elements a lane's channel holds: enough that router and lane seldom wait for each other, few enough that a
/// checkpoint, which waits behind them, does not wait long.
const CHANNEL: usize = 64;

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
pub struct Lane<T>(Receiver<Routed<T>>);

type Routed<T> = Result<Element<T>, StageError>;

impl<T: Send + 'static> Operator for Lane<T> {
    type Item = T;

    fn open(&mut self, _opening: &mut Opening) {}

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Step<T>> {
        Pin::new(&mut self.0).poll_next(cx)
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
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| channel(CHANNEL)).unzip();
        let lanes = receivers.into_iter().map(Lane).map(lane).collect();
        Self {
            router: Some(Box::new(|opening| {
                let mut input = input;
                input.open(opening);
                let requests = Arc::clone(&opening.requests);
                opening.task(run_router(input, route, senders, requests));
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

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Step<O::Item>> {
        self.lanes.poll_next(cx)
    }
}

/// Until the input has ended or failed, or the pipeline has.
async fn run_router<I: Operator>(
    mut input: I,
    mut route: impl Route<I::Item>,
    mut lanes: Vec<Sender<Routed<I::Item>>>,
    requests: Arc<Requests>,
) {
    let mut budget = Budget::default();
    let mut poll = |cx: &mut Context<'_>| match budget.poll(cx, |cx| poll_caught(&mut input, cx)) {
        // Lanes that have ended tell only those who send.
        Poll::Pending => requests.poll_end(cx).map(|()| None),
        step => step,
    };
    while let Some(step) = poll_fn(&mut poll).await {
        let sent = match step {
            Ok(Element::Record(record, time)) => {
                match caught(|| route.lane(&record, lanes.len())) {
                    Ok(lane) => send(&mut lanes[lane], Ok(Element::Record(record, time))).await,
                    Err(message) => {
                        let error = failure(Cause::Panicked(message));
                        return drop(send(&mut lanes[0], Err(error)).await);
                    }
                }
            }
            Ok(Element::Mark(mark)) => send_to_all(&mut lanes, &mark).await,
            Err(error) => return drop(send(&mut lanes[0], Err(error)).await),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// A panic of the input is an error of it.
fn poll_caught<I: Operator>(input: &mut I, cx: &mut Context<'_>) -> Poll<Step<I::Item>> {
    let polled = caught(|| input.poll_next(cx));
    polled.unwrap_or_else(|message| Poll::Ready(Some(Err(failure(Cause::InputPanicked(message))))))
}

fn failure(cause: Cause) -> StageError {
    StageError::of_stage(Arc::from("parallelism"), cause)
}

/// Nobody listens in this lane any more.
struct LaneClosed;

async fn send<T>(lane: &mut Sender<T>, item: T) -> Result<(), LaneClosed> {
    let ready = poll_fn(|cx| lane.poll_ready(cx)).await;
    ready
        .and_then(|()| lane.start_send(item))
        .map_err(|_| LaneClosed)
}

async fn send_to_all<T>(lanes: &mut [Sender<Routed<T>>], mark: &Mark) -> Result<(), LaneClosed> {
    for lane in lanes {
        send(lane, Ok(Element::Mark(mark.clone()))).await?;
    }
    Ok(())
}
