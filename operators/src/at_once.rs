//! Records whose requests are ready at their first poll: they pass the stage by, and are never entered into its books.
//!
//! Most of what a stage keeps of a request is for one that it has to wait for: who is older, when its time is up, where it
//! stands in the order. One that is ready when it is first polled needs none of that. So the future is made and polled
//! in a slot that is still free, and only if that was not all does the record get the slot, and goes the way of all others.
//!
//! # Why nobody sees a difference
//!
//! - *Order.* Records pass only while nothing that came before them has to leave first. One that passes leaves nothing behind
//!   that the next would have to look at.
//! - *Turns.* They pass only while no token waits to be looked at, and each takes one of the turns of the poll, as if the
//!   input had been listed again and had come at once.
//! - *Capacity.* Each takes its place before the function is called, and its output keeps it.
//! - *Outcomes.* What is not an output, an error, a panic, or a result that is to be tried again, is worked on where all are.
//!
//! Stages with keys, guards, or second calls do more for each call, and let no record pass.

use crate::attempts::Outcome;
use crate::element::{Element, MarkOf};
use crate::error::{BoxError, Cause};
use crate::keys::Entered;
use crate::panics::caught;
use crate::policies::StagePolicies;
use crate::retry::RetryPolicy as _;
use crate::runtime::Timer;
use crate::signals::{FIRST_REQUEST, INPUT};
use crate::stage::Stage;
use crate::turn::Event;
use std::fmt::Debug;
use std::future::Future;
use std::task::{Context, Poll};

impl<S, T, Time, M, F, Fut, Out, E, P, R> Stage<S, T, Time, M, F, Fut, Out, E, P, R>
where
    T: Clone + Debug,
    Time: Copy,
    M: MarkOf,
    F: FnMut(T) -> Fut,
    Fut: Future<Output = Result<Out, E>>,
    E: Into<BoxError>,
    P: StagePolicies<T, Out, E>,
    R: Timer,
{
    /// Whether the next record, for which there is room, may pass.
    pub(crate) fn may_pass(&self) -> bool {
        !Self::TIMED
            && self.lines.is_none()
            && self.held.is_empty()
            && self.room.marks > 0
            && self.without_place == 0
            && self.shut.is_none()
            && self.requests.running() < self.bounds.capacity
            && self.order.is_open()
            && self.signals.is_quiet()
            && !self.is_over()
    }

    /// Takes records in until the stream has none, or they may no longer pass.
    pub(crate) fn pass(&mut self) -> Option<Event<T, Time>> {
        while self.turns_left > 0 && self.room.records > 0 {
            let waker = self.signals.waker(INPUT);
            match self.input.poll_next(&self.name, waker) {
                Poll::Ready(Ok(Some(Element::Record(record, time)))) => {
                    self.turns_left -= 1;
                    if !self.passes(record, time) && !self.may_pass() {
                        break;
                    }
                }
                other => return self.came(other),
            }
        }
        self.signals.raise(INPUT);
        None
    }

    /// False: the record could not pass, and was entered.
    fn passes(&mut self, record: T, time: Time) -> bool {
        let deadline = self.deadline();
        self.room.records -= 1;
        self.metrics.accepted += 1;
        self.metrics.attempts += 1;
        self.policies.retry.record();
        let outcome = self.ask(&record);
        if let Outcome::Output(output) = outcome {
            self.metrics.completed += 1;
            self.latencies.add_at_once();
            self.outgoing.push_back(Element::Record(output, time));
            return true;
        }
        let place = self.order.enter();
        let entered = Entered {
            record,
            time,
            place,
        };
        let number = self.metrics.accepted;
        let request = self.requests.insert_begun(entered, number, deadline);
        self.update(request, outcome);
        false
    }

    /// Calls the user's function, polls what it returns, and asks the retry policy about the result. What is not ready stays in the
    /// next slot, and so does what panicked.
    fn ask(&mut self, record: &T) -> Outcome<Out> {
        let mut outcome = Outcome::Unfinished;
        let asked = caught(|| {
            let slot = FIRST_REQUEST + self.requests.next_slot();
            let mut cx = Context::from_waker(self.signals.waker(slot));
            let future = self.requests.next_future();
            future.set(Some((self.function)(record.clone())));
            if let Some(first) = future.as_mut().as_pin_mut()
                && let Poll::Ready(result) = first.poll(&mut cx)
            {
                outcome = self.outcome(Some(1), result);
                self.requests.next_future().set(None);
            }
        });
        match (asked, outcome) {
            (Err(message), Outcome::Unfinished) => Outcome::Failed(Cause::Panicked(message)),
            // Should the future's `drop` panic, that changes nothing any more.
            (_, outcome) => outcome,
        }
    }
}
