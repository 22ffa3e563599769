//! A stage: the state of one async operator, and the task that drives it.

use crate::alarm::Alarm;
use crate::calls::Shut;
use crate::element::{Element, MarkOf};
use crate::error::{BoxError, Cause, StageError};
use crate::failure::Failure;
use crate::guard::Guard as _;
use crate::input::{Ask, Feed, Input};
use crate::keys::{Entered, KeyBy as _, Lines};
use crate::latency::Recent;
use crate::metrics::Metrics;
use crate::options::{AsyncOptions, Bounds, Mode};
use crate::order::{Order, Place};
use crate::outlet::{Consumer, Offer, Outlet, Room};
use crate::outputs::Outputs;
use crate::panics::caught;
use crate::policies::{Asked, StagePolicies};
use crate::requests::Requests;

use crate::runtime::Timer;
use crate::signals::{INPUT, ROOM, Signals};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// How many marks a stage holds at most, those included that its consumer has not taken.
///
/// Marks come far more seldom than records, so it takes a request that has no outcome for minutes, or a consumer that stalls for
/// as long, to reach this. A mark is a few words. Barriers still pass: they do not stay.
const MOST_MARKS: usize = 1024;

/// Fewer than one in so many of the requests in flight are few: `Stage::lets_others_go_first`.
const FEW: usize = 4;

/// What has its place in the order, and waits for room.
pub(crate) enum Held<T, Time, Out> {
    Record(Entered<T, Time>),
    /// A restored record, whose request had finished.
    #[cfg_attr(
        not(feature = "pipeline"),
        expect(dead_code, reason = "only checkpoints have such")
    )]
    Output(Place, Out, Time),
}

/// How a stage takes part in checkpoints.
pub(crate) struct Keeper<Stage, S, T, Time, M> {
    /// What the stage holds, as bytes, with what its consumer has not taken.
    pub(crate) save: fn(&mut Stage) -> Result<Vec<u8>, BoxError>,
    /// The newest barrier that is to come, or came, if its number is not this one.
    pub(crate) newer: Box<dyn Fn(u64) -> Option<M> + Send>,
    /// The number of the newest barrier that came.
    pub(crate) passed: u64,
    /// Asks the input for the barrier alone.
    pub(crate) poll_barrier: Ask<S, T, Time, M>,
}

/// One async operator: input, requests in flight, entries on their way out.
///
/// `Time` is what a record brings along for its outputs, `M` what a mark may be: nothing and none in a stage over plain
/// records.
pub(crate) struct Stage<S, T, Time, M, F, Fut, Out, E, P, R>
where
    P: StagePolicies<T, Out, E>,
    R: Timer,
{
    pub(crate) name: Arc<str>,
    pub(crate) function: F,
    pub(crate) bounds: Bounds,
    pub(crate) policies: Asked<P, T, Out, E>,
    /// Records that wait for their keys, in key-ordered mode.
    pub(crate) lines: Option<Box<dyn Lines<T, Time>>>,
    pub(crate) input: Input<S>,
    /// What was taken without room for it, looking for a mark or out of a checkpoint: the next to come in.
    pub(crate) held: VecDeque<Held<T, Time, Out>>,
    pub(crate) requests: Requests<T, Time, Fut, Out>,
    pub(crate) order: Order<Out, Time, M>,
    pub(crate) alarm: Alarm<R>,
    /// What woke the stage.
    pub(crate) signals: Signals,
    /// Emitted, and not yet handed over.
    pub(crate) outgoing: VecDeque<Element<Out, Time, M>>,
    pub(crate) outlet: Arc<Outlet<Out, Time, M>>,
    /// How many more records may be accepted: the capacity, less every record that has not left. An output leaves when
    /// the consumer takes it. And the same of marks.
    pub(crate) room: Room,
    /// How many records in back-off have given their places back.
    pub(crate) without_place: usize,
    /// An element may be had, and there is no room for it.
    starving: bool,
    /// A call was to be made, and a guard said to wait.
    pub(crate) shut: Option<Shut>,
    /// It was to be for a new record.
    pub(crate) held_back: bool,
    /// What ends the stage once its entries have left; the end of its input, if that is over.
    pub(crate) last: Result<(), StageError>,
    /// Nothing is left to do but to tell this.
    end: Option<Result<(), StageError>>,
    /// The end was told; the stage stays, for the sake of barriers, until the consumer has taken everything.
    lingers: bool,
    over: bool,
    /// How many more turns this poll may take.
    pub(crate) turns_left: usize,
    /// The last poll let other tasks go first.
    has_let: bool,
    /// How the stage takes part in checkpoints. If it doesn't, a barrier is a mark like any other.
    pub(crate) keeper: Option<Keeper<Self, S, T, Time, M>>,
    /// `in_flight`, `queued`, `waiting` and what guards know are filled in when they are told.
    pub(crate) metrics: Metrics,
    /// How long the requests took that had their outcome since the last exchange.
    pub(crate) latencies: Recent,
}

impl<S, T, Time, M, F, Fut, Out, E, P, R> Stage<S, T, Time, M, F, Fut, Out, E, P, R>
where
    P: StagePolicies<T, Out, E>,
    R: Timer,
{
    /// The stage, and its consumer's end, of which there must be no second.
    #[track_caller]
    pub(crate) fn new(
        name: Arc<str>,
        input: Input<S>,
        function: F,
        options: AsyncOptions<P>,
        timer: R,
    ) -> (Self, Outputs<Out, Time, M>)
    where
        Time: Send + 'static,
    {
        let bounds = options.bounds;
        let (policies, key) = options.policies.into_bundle().split();
        bounds.assert_sound(&name, &policies.hedge);
        let mut signals = Signals::new();
        signals.raise(INPUT);
        let outlet = Arc::new(Outlet::new(bounds.capacity, signals.waker(ROOM).clone()));
        let stage = Self {
            name,
            function,
            input,
            lines: key.lines(),
            held: VecDeque::new(),
            keeper: None,
            requests: Requests::new(),
            order: match bounds.mode {
                Mode::Ordered => Order::ordered(),
                Mode::Unordered => Order::unordered(),
            },
            alarm: Alarm::new(timer),
            signals,
            outgoing: VecDeque::new(),
            outlet: Arc::clone(&outlet),
            room: Room::new(bounds.capacity, MOST_MARKS),
            without_place: 0,
            starving: false,
            shut: None,
            held_back: false,
            last: Ok(()),
            end: None,
            lingers: false,
            over: false,
            turns_left: 0,
            has_let: false,
            metrics: Metrics::default(),
            latencies: Recent::default(),
            bounds,
            policies,
        };
        (stage, Outputs::new(outlet))
    }

    /// Hands over what was emitted, and fetches the room that the consumer made.
    pub(crate) fn exchange(&mut self) {
        let mut metrics = self.metrics;
        metrics.in_flight = self.requests.len();
        metrics.waiting = self.waiting();
        metrics.running = self.requests.running();
        let _ = caught(|| self.policies.guard.report(&mut metrics));
        let unfinished = self.requests.len() + self.waiting() + self.held.len();
        metrics.queued = self.order.len() - unfinished;
        let records = self.room.records;
        let consumer = self.outlet.exchange(Offer {
            outputs: &mut self.outgoing,
            room: &mut self.room,
            starving: self.starving,
            end: self.end.take(),
            lingers: self.lingers,
            metrics,
            latencies: &mut self.latencies,
        });
        if consumer == Consumer::Left {
            self.stop();
        } else if self.starving && (!self.room.is_short() || self.room.records > records) {
            // A place that is kept is room for those that it is kept for.
            self.starving = self.room.is_short();
            self.signals.raise(INPUT);
        }
    }

    /// Few of many requests have been woken. The others may be about to be, by tasks that wait for this worker: so the stage goes
    /// behind them, once, and then finds them together. Taken one by one, each costs a poll of the stage and one of its consumer.
    fn lets_others_go_first(&mut self) -> bool {
        let few = self.requests.running() / FEW;
        self.has_let = !self.has_let && self.signals.are_few_requests(few);
        self.has_let
    }

    /// How many records wait for their keys.
    pub(crate) fn waiting(&self) -> usize {
        self.lines.as_ref().map_or(0, |lines| lines.waiting())
    }

    /// The barrier that is on its way, if one is.
    pub(crate) fn awaited_barrier(&self) -> Option<M> {
        let keeper = self.keeper.as_ref()?;
        (keeper.newer)(keeper.passed)
    }

    /// There is something to take in, perhaps, and no room: asks the consumer for some.
    /// True: there is some now, and the input is looked at again; or the consumer has left.
    #[must_use]
    pub(crate) fn starve(&mut self) -> bool {
        self.starving = true;
        self.exchange();
        self.over || !self.starving
    }

    /// Ends the stage if its input is over and all its entries have left.
    pub(crate) fn finish_if_drained(&mut self) {
        if !self.input.is_over() || self.order.len() > 0 || self.lingers || self.over {
            return;
        }
        let last = std::mem::replace(&mut self.last, Ok(()));
        if self.keeper.is_some() && last.is_ok() {
            self.end = Some(last);
            self.lingers = true;
        } else {
            self.finish(last);
        }
    }

    /// Ends the stage, now, with what it has emitted so far.
    pub(crate) fn finish(&mut self, end: Result<(), StageError>) {
        self.end = Some(end);
        self.stop();
    }

    /// Ends the stage because of a panic. What is called for a record is caught there; this was a guard, a policy, a timer, or what writes a
    /// checkpoint.
    #[cold]
    pub(crate) fn fail(&mut self, message: String) {
        let cause = Cause::Panicked(message);
        self.finish(Err(StageError::of_stage(Arc::clone(&self.name), cause)));
    }

    /// Drops the input, what waits, and every request.
    fn stop(&mut self) {
        self.over = true;
        self.input.close();
        self.lines = None;
        self.held.clear();
        self.requests.clear();
        self.order.clear();
        self.alarm.unset();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over
    }
}

/// The task: turns while there is something to do, then a pause.
impl<S, T, Time, M, F, Fut, Out, E, P, R> Future for Stage<S, T, Time, M, F, Fut, Out, E, P, R>
where
    S: Feed<T, Time, M>,
    T: Clone + Debug,
    Time: Copy,
    M: MarkOf,
    F: FnMut(T) -> Fut,
    Fut: Future<Output = Result<Out, E>>,
    E: Into<BoxError>,
    P: StagePolicies<T, Out, E>,
    R: Timer,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let stage = self.get_mut();
        stage.alarm.forget_now();
        stage.signals.gather();
        if stage.lets_others_go_first() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Err(message) = caught(|| stage.turns()) {
            stage.fail(message);
        }
        stage.exchange();
        if stage.over {
            return Poll::Ready(());
        }
        stage.set_alarm();
        if !stage.signals.park(cx.waker()) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Nothing is pinned in place: the futures, the input and the sleep have boxes of their own.
impl<S, T, Time, M, F, Fut, Out, E, P, R> Unpin for Stage<S, T, Time, M, F, Fut, Out, E, P, R>
where
    P: StagePolicies<T, Out, E>,
    R: Timer,
{
}

impl<S, T, Time, M, F, Fut, Out, E, P, R> Drop for Stage<S, T, Time, M, F, Fut, Out, E, P, R>
where
    P: StagePolicies<T, Out, E>,
    R: Timer,
{
    /// The requests first, each caught: left to the compiler, a second one that panics then would end the process.
    fn drop(&mut self) {
        if !self.over {
            let _ = caught(|| self.stop());
        }
        self.outlet.abandon(&self.name);
    }
}

impl<S, T, Time, M, F, Fut, Out, E, P, R> Stage<S, T, Time, M, F, Fut, Out, E, P, R>
where
    T: Clone + Debug,
    P: StagePolicies<T, Out, E>,
    R: Timer,
{
    /// The failure of a record in flight.
    pub(crate) fn failure(&self, request: usize, cause: Cause) -> Failure<T> {
        Failure {
            stage: Arc::clone(&self.name),
            record: self.requests.record(request).clone(),
            number: self.requests.number(request),
            attempts: self.requests.calls(request),
            cause,
        }
    }

    /// The error of a record in flight; as `failure`, but without a clone of the record.
    pub(crate) fn error(&self, request: usize, cause: Cause) -> StageError {
        let (number, record) = (self.requests.number(request), self.requests.record(request));
        let attempts = self.requests.calls(request);
        StageError::of_record(Arc::clone(&self.name), number, record, attempts, cause)
    }
}
