//! What every operator of a pipeline is: something that is opened once, and then asked for its next element.

use super::opening::Opening;
use crate::element::{Element, EventTime};
use crate::error::StageError;
use std::task::{Context, Poll};

/// An operator, with all that stands before it: what a [`Pipeline`](super::Pipeline) is made of.
///
/// Operators are asked, as iterators are: one that needs an element asks the one before it. Those between two tasks thus
/// become one function, each step a call that the compiler can see through, and no record is boxed. Users meet this
/// trait in types only; its methods belong to the pipeline.
pub trait Operator: Send + 'static {
    /// Its records.
    type Item: Send + 'static;

    /// Makes itself ready, the operator before it first: takes its name, its state if the job is restored, and hands
    /// over the tasks that it needs. None of them runs before all operators and the sink are open.
    #[doc(hidden)]
    fn open(&mut self, opening: &mut Opening);

    /// The next element. After the end, or an error, which is an end, it is not asked again.
    #[doc(hidden)]
    fn poll_next(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<Self::Item>>;

    /// Gives records away, one by one, for as long as `take` says that it wants more. None: it wants no more. Else what came
    /// in place of a record. Should `take` panic, it has had its record, and the operator goes on when it is asked again: so whatever an
    /// operator does for a record, it has done before it gives it away.
    ///
    /// Operators through which very many records pass have a loop of their own for it: a record then goes from function to
    /// function, and is not wrapped by each of them and unwrapped by the next.
    #[doc(hidden)]
    #[inline]
    fn poll_records(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut impl FnMut(Self::Item, Option<EventTime>) -> bool,
    ) -> Option<Poll<Step<Self::Item>>> {
        loop {
            match self.poll_next(cx, Ask::Next) {
                Poll::Ready(Some(Ok(Element::Record(record, time)))) => {
                    if !take(record, time) {
                        return None;
                    }
                }
                other => return Some(other),
            }
        }
    }
}

/// What an operator is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Whatever comes next.
    Next,
    /// The barrier, by one who has no room for records: of those, only what can't stay where it is, because no one could put
    /// it into the checkpoint there. It keeps its place there until the next element is asked for.
    OnlyBarrier,
}

/// An element; none at the end; or what ended the stream early.
pub(crate) type Step<T> = Option<Result<Element<T>, StageError>>;
