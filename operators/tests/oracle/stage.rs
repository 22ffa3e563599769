//! The real stage, with a scripted input, scripted calls and a consumer that takes when it is told to.

use super::guards::{AnyGuard, GuardBy};
use super::inlet::{Elements, Inlet, Records};
use super::policies::{AnyKey, AnyRetry, AnyTimeout, Skipped, recovery};
use super::service::{Refused, Request, Service};
use super::setting::{HEDGE, Mode, Setting, TIMEOUT};
use super::tap::Count;
use super::world::World;
use super::{Item, Kept, Left, Reason, Sign, record_of, time_of};
use crate::AsyncMap;
use crate::element::{Element, Mark};
use crate::error::{Cause, StageError};
use crate::guard::{Guard, NoGuard};
use crate::hedge::{Hedge, Hedging, NoHedge};
use crate::metrics::{Metrics, Monitor};
use crate::options::AsyncOptions;
use crate::pipeline::AsyncStage;
use crate::pipeline::checkpoint::{Requests, read};
use crate::pipeline::host::Host;
use crate::pipeline::opening::Opening;
use crate::pipeline::operator::{Ask, Operator as _, Step};
use crate::policies::{Policies, StagePolicies};
use crate::runtime::Spawn as _;
use crate::stage_state::Saved;
use crate::stream_ext::StreamExt as _;
use futures_core::Stream as _;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const NAME: &str = "stage";

/// What a barrier took along: as it is written, and what that says.
#[derive(Clone, Default)]
pub(super) struct Snapshot {
    bytes: Option<Vec<u8>>,
    pub(super) kept: Vec<Kept>,
}

/// The stage in a world of its own. What happens next is said by the methods, which let it run.
pub(super) struct Subject {
    pub(super) world: World,
    pub(super) service: Service,
    inlet: Inlet,
    out: Option<Out>,
    skipped: Skipped,
    requests: Arc<Requests>,
    /// Whether the consumer was told to wait, and how often it was woken since.
    waits: bool,
    woken: Arc<Count>,
}

enum Out {
    Plain(Pin<Box<AsyncMap<u64>>>, Monitor),
    Marked(AsyncStage<u64>, Monitor),
}

impl Out {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step<u64>> {
        match self {
            Self::Marked(stage, _) => stage.poll_next(cx, Ask::Next),
            Self::Plain(stream, _) => stream.as_mut().poll_next(cx).map(|next| {
                let record = |output| Element::Record(output, Some(time_of(record_of(output))));
                next.map(|output| output.map(record))
            }),
        }
    }

    fn monitor(&self) -> &Monitor {
        match self {
            Self::Marked(_, monitor) | Self::Plain(_, monitor) => monitor,
        }
    }
}

impl Subject {
    /// A stage that goes on with what a barrier took along.
    pub(super) fn new(setting: &Setting, snapshot: &Snapshot) -> Self {
        let subject = Self {
            world: World::new(),
            service: Service::default(),
            inlet: Inlet::default(),
            out: None,
            skipped: Skipped::default(),
            requests: Arc::new(Requests::after(0)),
            waits: false,
            woken: Arc::default(),
        };
        let subject = match (setting.guard, setting.hedges) {
            (GuardBy::None, false) => subject.with(setting, NoGuard, NoHedge, snapshot),
            (by, false) => subject.with(setting, AnyGuard::new(by), NoHedge, snapshot),
            (by, true) => {
                let hedge = Hedge::after(Duration::from_millis(HEDGE));
                subject.with(setting, AnyGuard::new(by), hedge, snapshot)
            }
        };
        subject.world.run();
        subject
    }

    fn with<G, H>(self, setting: &Setting, guard: G, hedge: H, snapshot: &Snapshot) -> Self
    where
        G: Guard<u64, Refused>,
        H: Hedging,
    {
        let (policy, limit) = (setting.on_error, setting.timeout);
        let (by_policy, by_fallback) = (self.skipped.clone(), self.skipped.clone());
        let mut options = match setting.mode {
            Mode::Ordered => AsyncOptions::ordered(),
            _ => AsyncOptions::unordered(),
        };
        options.bounds.timeout = limit.map(|_| Duration::from_millis(TIMEOUT));
        let policies = Policies {
            timeout: AnyTimeout(limit, by_fallback),
            retry: AnyRetry::new(setting),
            failure: move |failure| recovery(policy, &by_policy, failure),
            key: AnyKey(setting.mode),
            guard,
            hedge,
        };
        let options = AsyncOptions {
            bounds: options.bounds,
            policies,
        };
        match setting.marks {
            true => self.with_marks(options.capacity(setting.capacity), snapshot),
            false => self.without_marks(options.capacity(setting.capacity)),
        }
    }

    fn function(&self) -> impl FnMut(u64) -> Request + Send + 'static {
        let service = self.service.clone();
        move |record| service.call(record)
    }

    fn without_marks<P>(mut self, options: AsyncOptions<P>) -> Self
    where
        P: StagePolicies<u64, u64, Refused>,
    {
        let input = Records(self.inlet.clone());
        let out = input.async_map(&self.world, NAME, self.function(), options);
        let monitor = out.monitor();
        self.out = Some(Out::Plain(Box::pin(out), monitor));
        self
    }

    fn with_marks<P>(mut self, options: AsyncOptions<P>, snapshot: &Snapshot) -> Self
    where
        P: StagePolicies<u64, u64, Refused>,
    {
        let input = Elements::new(self.inlet.clone());
        let mut stage = AsyncStage::new(input, NAME.into(), self.function(), options);
        let bytes = snapshot.bytes.clone();
        let states = bytes.map(|bytes| BTreeMap::from([(NAME.to_owned(), bytes)]));
        let (host, requests) = (Host::new(self.world.clone()), Arc::clone(&self.requests));
        let mut opening = Opening::new(host, requests, states);
        stage.open(&mut opening);
        assert!(opening.trouble.is_empty(), "the snapshot can't be read");
        opening
            .tasks
            .into_iter()
            .for_each(|task| self.world.spawn(task));
        let (_, monitor) = opening.monitors.pop().expect("that of the stage");
        self.out = Some(Out::Marked(stage, monitor));
        self
    }

    pub(super) fn give(&self, item: Item) {
        self.inlet.add(item);
        self.world.run();
    }

    pub(super) fn end(&self) {
        self.inlet.end();
        self.world.run();
    }

    /// The stage does not run yet.
    pub(super) fn pass_time(&self, milliseconds: u64) {
        self.world.advance(Duration::from_millis(milliseconds));
    }

    /// How many things the stage has taken from its input.
    pub(super) fn taken(&self) -> usize {
        self.inlet.taken()
    }

    /// The next thing, if one is there. A consumer that waits is woken for it.
    pub(super) fn take(&mut self) -> Option<Left> {
        let waker = Waker::from(Arc::clone(&self.woken));
        let (waited, woken) = (self.waits, self.woken.take() > 0);
        let polled = self.out.as_mut()?.poll(&mut Context::from_waker(&waker));
        self.waits = polled.is_pending();
        assert!(self.waits || !waited || woken, "the consumer slept on");
        self.world.run();
        let Poll::Ready(next) = polled else {
            return None;
        };
        Some(match next? {
            Ok(Element::Record(output, time)) => {
                assert_eq!(time, Some(time_of(record_of(output))), "of the record");
                Left::Output(output)
            }
            Ok(Element::Mark(mark)) => Left::Sign(sign(&mark)),
            Err(error) => failed(&error),
        })
    }

    /// Asks for a barrier, and for that alone. What it took along, if it came.
    pub(super) fn pass_barrier(&mut self) -> Option<Snapshot> {
        let Some(Out::Marked(stage, _)) = &mut self.out else {
            return None;
        };
        self.requests.ask();
        self.world.run();
        self.waits = false;
        let waker = Waker::from(Arc::clone(&self.woken));
        let polled = stage.poll_next(&mut Context::from_waker(&waker), Ask::OnlyBarrier);
        let Poll::Ready(Some(Ok(Element::Mark(Mark::Checkpoint(barrier))))) = polled else {
            return None;
        };
        assert_eq!(barrier, self.requests.barrier());
        self.requests.complete();
        self.world.run();
        let bytes = barrier.states.lock()[NAME].clone();
        let [held, untaken]: [Vec<Saved<u64, u64>>; 2] = read(&bytes).expect("it is written");
        let kept = untaken.into_iter().chain(held).map(kept).collect();
        let bytes = Some(bytes);
        Some(Snapshot { bytes, kept })
    }

    /// The consumer leaves.
    pub(super) fn leave(&mut self) {
        self.out = None;
        self.world.run();
    }

    /// Whether there is nothing more to come.
    pub(super) fn is_over(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let Some(out) = &mut self.out else {
            return true;
        };
        matches!(out.poll(&mut cx), Poll::Ready(None))
    }

    /// Whether the stage has let go of its input.
    pub(super) fn has_left_its_input(&self) -> bool {
        self.inlet.is_dropped()
    }

    pub(super) fn metrics(&self) -> Metrics {
        let out = self.out.as_ref();
        out.map(|out| out.monitor().metrics()).unwrap_or_default()
    }

    /// The records that were left out since this was last asked.
    pub(super) fn skipped(&self) -> Vec<u64> {
        self.skipped.take()
    }
}

fn sign(mark: &Mark) -> Sign {
    match mark {
        Mark::Watermark(time) => Sign::Watermark(time.as_millis() as u64),
        Mark::Idle => Sign::Idle,
        Mark::Active => Sign::Active,
        Mark::Latency(_) => Sign::Latency,
        Mark::Checkpoint(_) => panic!("a barrier that nobody asked for"),
    }
}

fn failed(error: &StageError) -> Left {
    let reason = match error.cause() {
        Cause::Failed(_) => Reason::Refused,
        Cause::Panicked(_) => Reason::Panicked,
        Cause::TimedOut(_) => Reason::TimedOut,
        Cause::FallbackTimedOut(_) => Reason::FallbackTimedOut,
        Cause::CircuitOpen => Reason::CircuitOpen,
        other => panic!("an error that no one scripted: {other}"),
    };
    assert_eq!(error.stage(), NAME);
    let record = error.record_debug().expect("a record is to blame");
    Left::Failed(record.parse().expect("records are numbers"), reason)
}

fn kept(saved: Saved<u64, u64>) -> Kept {
    match saved {
        Saved::Input(record, time) => {
            assert_eq!(time, Some(time_of(record)), "of the record");
            Kept::Input(record)
        }
        Saved::Output(output, time) => {
            assert_eq!(time, Some(time_of(record_of(output))), "of the record");
            Kept::Output(output)
        }
        Saved::Watermark(time) => Kept::Sign(Sign::Watermark(time.as_millis() as u64)),
        Saved::Idle => Kept::Sign(Sign::Idle),
        Saved::Active => Kept::Sign(Sign::Active),
    }
}
