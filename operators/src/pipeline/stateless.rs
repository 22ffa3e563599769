//! Operators that look at one record at a time and remember nothing. Marks pass them in their places.

use super::budget::{ELEMENTS_PER_POLL, rest};
use super::opening::Opening;
use super::operator::{Ask, Operator, Step};
use crate::element::{Element, EventTime};
use std::task::{Context, Poll, ready};

/// What [`Pipeline::map`](super::Pipeline::map) makes.
#[derive(Debug)]
pub struct Map<O, F> {
    pub(super) input: O,
    pub(super) function: F,
}

impl<O, F, U> Operator for Map<O, F>
where
    O: Operator,
    F: FnMut(O::Item) -> U + Send + 'static,
    U: Send + 'static,
{
    type Item = U;

    fn open(&mut self, opening: &mut Opening) {
        self.input.open(opening);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<U>> {
        let step = ready!(self.input.poll_next(cx, ask));
        Poll::Ready(step.map(|element| match element? {
            Element::Record(record, time) => Ok(Element::Record((self.function)(record), time)),
            Element::Mark(mark) => Ok(Element::Mark(mark)),
        }))
    }
}

/// What [`Pipeline::filter`](super::Pipeline::filter) makes.
#[derive(Debug)]
pub struct Filter<O, F> {
    pub(super) input: O,
    pub(super) keeps: F,
}

impl<O, F> Operator for Filter<O, F>
where
    O: Operator,
    F: FnMut(&O::Item) -> bool + Send + 'static,
{
    type Item = O::Item;

    fn open(&mut self, opening: &mut Opening) {
        self.input.open(opening);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<O::Item>> {
        for _ in 0..ELEMENTS_PER_POLL {
            match ready!(self.input.poll_next(cx, ask)) {
                Some(Ok(Element::Record(record, _))) if !(self.keeps)(&record) => {}
                step => return Poll::Ready(step),
            }
        }
        rest(cx)
    }
}

/// What [`Pipeline::inspect`](super::Pipeline::inspect) makes.
#[derive(Debug)]
pub struct Inspect<O, F> {
    pub(super) input: O,
    pub(super) look: F,
}

impl<O, F> Operator for Inspect<O, F>
where
    O: Operator,
    F: FnMut(&O::Item) + Send + 'static,
{
    type Item = O::Item;

    fn open(&mut self, opening: &mut Opening) {
        self.input.open(opening);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<O::Item>> {
        let step = ready!(self.input.poll_next(cx, ask));
        if let Some(Ok(Element::Record(record, _))) = &step {
            (self.look)(record);
        }
        Poll::Ready(step)
    }
}

/// What [`Pipeline::flat_map`](super::Pipeline::flat_map) makes.
pub struct FlatMap<O, F, Outs: IntoIterator> {
    pub(super) input: O,
    pub(super) function: F,
    /// The outputs of the current record, and its time. No mark passes before they have all left.
    pub(super) current: Option<(Outs::IntoIter, Option<EventTime>)>,
}

impl<O, F, Outs> Operator for FlatMap<O, F, Outs>
where
    O: Operator,
    F: FnMut(O::Item) -> Outs + Send + 'static,
    Outs: IntoIterator + 'static,
    Outs::IntoIter: Send + 'static,
    Outs::Item: Send + 'static,
{
    type Item = Outs::Item;

    fn open(&mut self, opening: &mut Opening) {
        self.input.open(opening);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<Outs::Item>> {
        for _ in 0..ELEMENTS_PER_POLL {
            if let Some((outputs, time)) = &mut self.current {
                match outputs.next() {
                    Some(output) => return Poll::Ready(Some(Ok(Element::Record(output, *time)))),
                    None => self.current = None,
                }
            }
            match ready!(self.input.poll_next(cx, ask)) {
                Some(Ok(Element::Record(record, time))) => {
                    self.current = Some(((self.function)(record).into_iter(), time));
                }
                Some(Ok(Element::Mark(mark))) => return Poll::Ready(Some(Ok(Element::Mark(mark)))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        rest(cx)
    }
}
