//! The input of a stage: what was given to it, and a barrier when one is asked for.

use super::world::World;
use super::{Item, Sign, time_of};
use crate::element::{Element, LatencyMarker, Mark};
use crate::pipeline::checkpoint::Requests;
use crate::pipeline::opening::Opening;
use crate::pipeline::operator::{Ask, Operator, Step};
use crate::runtime::Timer as _;
use futures_core::Stream;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

/// What the test gives, and the stage takes.
#[derive(Clone, Default)]
pub(super) struct Inlet(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    taken: usize,
    is_over: bool,
    /// The end was told.
    is_told: bool,
    is_dropped: bool,
    waker: Option<Waker>,
}

impl Inlet {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// How many things were taken.
    pub(super) fn taken(&self) -> usize {
        self.state().taken
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.state().is_dropped
    }

    pub(super) fn add(&self, item: Item) {
        self.change(|state| state.items.push_back(item));
    }

    pub(super) fn end(&self) {
        self.change(|state| state.is_over = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.state();
            change(&mut state);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll_item(&self, cx: &Context<'_>) -> Poll<Option<Item>> {
        let mut state = self.state();
        assert!(!state.is_told, "the input was polled after its end");
        if let Some(item) = state.items.pop_front() {
            state.taken += 1;
            return Poll::Ready(Some(item));
        }
        state.waker = Some(cx.waker().clone());
        state.is_told = state.is_over;
        match state.is_over {
            true => Poll::Ready(None),
            false => Poll::Pending,
        }
    }
}

/// Records alone.
pub(super) struct Records(pub(super) Inlet);

impl Stream for Records {
    type Item = u64;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        self.0.poll_item(cx).map(|item| match item? {
            Item::Record(record) => Some(record),
            Item::Sign(_) => panic!("records alone"),
        })
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        self.0.state().is_dropped = true;
    }
}

/// Records, marks and barriers, as a source gives them: a barrier stands in front of what has not been taken.
pub(super) struct Elements {
    inlet: Inlet,
    requests: Option<Arc<Requests>>,
    /// The number of the last barrier that was given.
    passed: u64,
}

impl Elements {
    pub(super) fn new(inlet: Inlet) -> Self {
        Self {
            inlet,
            requests: None,
            passed: 0,
        }
    }
}

impl Operator for Elements {
    type Item = u64;

    fn open(&mut self, opening: &mut Opening) {
        self.requests = Some(Arc::clone(&opening.requests));
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<u64>> {
        let requests = self.requests.as_ref().expect("it is open");
        if !requests.wait(self.passed, cx.waker()) {
            self.passed = requests.newest();
            let barrier = Mark::Checkpoint(requests.barrier());
            return Poll::Ready(Some(Ok(Element::Mark(barrier))));
        }
        match ask {
            Ask::OnlyBarrier => Poll::Pending,
            Ask::Next => self
                .inlet
                .poll_item(cx)
                .map(|item| Some(Ok(element(item?)))),
        }
    }
}

impl Drop for Elements {
    fn drop(&mut self) {
        self.inlet.state().is_dropped = true;
    }
}

fn element(item: Item) -> Element<u64> {
    match item {
        Item::Record(record) => Element::Record(record, Some(time_of(record))),
        Item::Sign(sign) => Element::Mark(match sign {
            Sign::Watermark(number) => Mark::Watermark(time_of(number)),
            Sign::Idle => Mark::Idle,
            Sign::Active => Mark::Active,
            Sign::Latency => Mark::Latency(LatencyMarker {
                born: World::new().now(),
            }),
        }),
    }
}
