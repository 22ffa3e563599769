//! The async stage as an operator: a task of its own, and the outlet that it fills.

use super::budget::{ELEMENTS_PER_POLL, rest};
use super::opening::{Opening, name_of};
use super::operator::{Ask, Operator, Step};
use crate::element::{Element, EventTime, Mark};
use crate::error::BoxError;
use crate::input::Input;
use crate::metrics::Monitor;
use crate::options::AsyncOptions;
use crate::outlet::Outlet;
use crate::policies::StagePolicies;
use crate::stage::Stage;
use crate::stage_state::{Barriers, Saved};
use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
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
    outlet: Option<Outputs<Out>>,
}

type Outputs<Out> = Arc<Outlet<Out, Option<EventTime>, Mark>>;

/// Opens the stage's input, and hands the stage over.
type Open<Out> = Box<dyn FnOnce(&mut Opening) -> Outputs<Out> + Send>;

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
            outlet: None,
        }
    }

    fn open(&mut self, opening: &mut Opening) {
        self.outlet = self.open.take().map(|open| open(opening));
    }

    fn outlet(&self) -> &Outlet<Out, Option<EventTime>, Mark> {
        self.outlet
            .as_ref()
            .expect("a pipeline opens its operators before it asks them")
    }
}

fn open<O, F, Fut, Out, E, P>(
    mut input: O,
    name: Arc<str>,
    function: F,
    options: AsyncOptions<P>,
    opening: &mut Opening,
) -> Outputs<Out>
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
    let saved: Option<Vec<Saved<O::Item, Out>>> = opening.state(&name);
    let input = Input::new(Elements(input), |step| Ok(step?));
    let host = opening.host.clone();
    let (mut stage, outlet) = Stage::new(Arc::clone(&name), input, function, options, host);
    stage.restore(saved.unwrap_or_default());
    let requests = Arc::clone(&opening.requests);
    let waker = stage.keep_state(requests.newest(), move |passed| requests.newer(passed));
    opening.requests.add_stage(waker);
    opening.task(stage);
    opening.monitors.push((name, Monitor::new(outlet.clone())));
    outlet
}

/// An operator as a stage knows its input.
struct Elements<O>(O);

impl<O: Operator> Stream for Elements<O> {
    type Item = Result<Element<O::Item>, crate::StageError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().0.poll_next(cx, Ask::Next)
    }
}

impl<O: Operator> Barriers for Elements<O> {
    fn poll_barrier(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().0.poll_next(cx, Ask::OnlyBarrier)
    }
}

/// An operator is never pinned.
impl<O> Unpin for Elements<O> {}

impl<Out> Operator for AsyncStage<Out>
where
    Out: Serialize + DeserializeOwned + Send + 'static,
{
    type Item = Out;

    fn open(&mut self, opening: &mut Opening) {
        self.open(opening);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<Out>> {
        match ask {
            Ask::Next => self.outlet().poll_take(cx),
            Ask::OnlyBarrier => self.outlet().poll_barrier(cx),
        }
    }
}

/// The consumer is gone: the stage ends.
impl<Out> Drop for AsyncStage<Out> {
    fn drop(&mut self) {
        if let Some(outlet) = &self.outlet {
            outlet.leave();
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
                self.stage.outlet().release();
            }
            let polled = match ask {
                Ask::Next => self.stage.outlet().poll_borrow(cx),
                Ask::OnlyBarrier => self.stage.outlet().poll_barrier(cx),
            };
            match ready!(polled) {
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
