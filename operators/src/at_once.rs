//! Records whose requests are ready at their first poll: they pass the stage by, and are never entered into its books.
//!
//! Most of what a stage keeps of a request is for one that it has to wait for: who is older, when its time is up, where it
//! stands in the order. One that is ready when it is first polled needs none of that. So the future is made and polled
//! in a slot that is still free, and only if that was not all does the record get the slot, and goes the way of all others.
//!
//! # Runs
//!
//! Records pass in runs, for what is done once for each of them costs more than the call of a function that is ready at once. What a run
//! needs, it looks up once, and what it has done, it counts once. A panic is caught around the run and not around each call, and the
//! run tells what it was at: so it is known whose the panic is. A run ends with whatever does not pass, and that is worked on
//! outside of it.
//!
//! # Why nobody sees a difference
//!
//! - *Order.* Records pass only while nothing that came before them has to leave first. One that passes leaves nothing behind
//!   that the next would have to look at.
//! - *Turns.* A run begins only while no token waits to be looked at, and each record takes one of the turns of the poll, as if the
//!   input had been listed again and had come at once. A token that a function of the run raises is looked at when the run
//!   ends, which it does after at most the turns that the poll has left.
//! - *Capacity.* Each takes its place before the function is called, and its output keeps it.
//! - *Outcomes.* What is not an output, an error, a panic, or a result that is to be tried again, is worked on where all are.
//!
//! Stages with keys, guards, or second calls do more for each call, and let no record pass.

use crate::attempts::Outcome;
use crate::element::{Element, MarkOf};
use crate::error::{BoxError, Cause};
use crate::input::{Fed, Feed};
use crate::keys::Entered;
use crate::panics::caught;
use crate::policies::StagePolicies;
use crate::retry::RetryPolicy;
use crate::runtime::Timer;
use crate::signals::{FIRST_REQUEST, INPUT};
use crate::stage::Stage;
use crate::turn::Event;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

/// A run of records that pass.
struct Run<T, Time> {
    /// How many may pass.
    limit: usize,
    passed: usize,
    at: At,
    /// The last record that came, unless it has passed.
    begun: Option<Begun<T, Time>>,
}

/// What a run is at: whose a panic is.
enum At {
    /// The input is asked.
    Input,
    /// A record came: the function is called, or what it returned is polled, or its result looked at.
    Call,
    /// A record has passed, and is dropped with its future. Should that panic, it changes nothing any more.
    Drop,
    /// The stage's clock and its books: a record's time is limited, or one whose request is waited for is entered.
    Entry,
}

/// A record whose request has begun.
struct Begun<T, Time> {
    record: T,
    time: Time,
    deadline: Option<Instant>,
}

/// Why a run ended.
enum End<T, Time, M, Out> {
    /// As many have passed as may.
    Limit,
    /// The input had no record.
    Came(Poll<Fed<T, Time, M>>),
    /// The record that the run is at does not pass.
    Stays(Outcome<Out>),
}

impl<S, T, Time, M, F, Fut, Out, E, P, R> Stage<S, T, Time, M, F, Fut, Out, E, P, R>
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
            let mut run = Run {
                limit: self.turns_left.min(self.room.records),
                passed: 0,
                at: At::Input,
                begun: None,
            };
            let end = caught(|| self.run(&mut run));
            self.count(run.passed);
            let outcome = match (end, run.at) {
                (Ok(End::Came(polled)), _) => return self.came_of(Ok(polled)),
                (Err(message), At::Input) => return self.came_of(Err(message)),
                (Err(message), At::Entry) => {
                    self.fail(message);
                    return None;
                }
                (Err(message), At::Call) => Outcome::Failed(Cause::Panicked(message)),
                (Ok(End::Stays(outcome)), _) => outcome,
                (Err(_), At::Drop) | (Ok(End::Limit), _) => continue,
            };
            if let Some(begun) = run.begun {
                let request = self.enter(begun);
                self.update(request, outcome);
            }
            if !self.may_pass() {
                break;
            }
        }
        self.signals.raise(INPUT);
        None
    }

    fn came_of(&mut self, polled: Result<Poll<Fed<T, Time, M>>, String>) -> Option<Event<T, Time>> {
        let polled = self.input.conclude(&self.name, polled);
        self.came(polled)
    }

    /// Takes records until one does neither pass nor wait for its request.
    fn run(&mut self, run: &mut Run<T, Time>) -> End<T, Time, M, Out> {
        loop {
            let end = self.stretch(run);
            let waits = matches!(end, End::Stays(Outcome::Unfinished));
            if !waits || !self.goes_on_behind(run) {
                return end;
            }
        }
    }

    /// The request that the run is at is waited for: its record is entered. False: the run ends with it.
    fn goes_on_behind(&mut self, run: &mut Run<T, Time>) -> bool {
        run.at = At::Entry;
        if run.passed > 0 {
            self.count(std::mem::take(&mut run.passed));
        }
        if let Some(begun) = run.begun.take() {
            let request = self.enter(begun);
            self.wait_for(request);
        }
        run.limit = self.turns_left.min(self.room.records);
        run.at = At::Input;
        // Of what `may_pass` asks for, a record that is waited for changes this and nothing else.
        let may_pass = self.order.is_open() && self.requests.running() < self.bounds.capacity;
        run.limit > 0 && may_pass
    }

    /// Takes records, one by one, until one does not pass. What is not ready stays in the next slot, and so does what panicked.
    fn stretch(&mut self, run: &mut Run<T, Time>) -> End<T, Time, M, Out> {
        let (request, future) = self.requests.next_future();
        let tokens = [INPUT, FIRST_REQUEST + request];
        let [of_input, of_request] = self.signals.wakers(tokens);
        let Some(stream) = self.input.stream() else {
            return End::Came(Poll::Ready(None));
        };
        let (retry, timeout) = (&mut self.policies.retry, self.bounds.timeout);
        let cx = &mut Context::from_waker(of_request);
        let mut stays = None;
        let mut take = |record, time| {
            let deadline = timeout.and_then(|limit| {
                run.at = At::Entry;
                self.alarm.after(limit)
            });
            run.at = At::Call;
            let begun = run.begun.insert(Begun {
                record,
                time,
                deadline,
            });
            retry.record();
            future.set(Some((self.function)(begun.record.clone())));
            match first_poll(future, retry, cx) {
                Outcome::Output(output) => self.outgoing.push_back(Element::Record(output, time)),
                other => {
                    stays = Some(other);
                    return false;
                }
            }
            run.at = At::Drop;
            run.passed += 1;
            future.set(None);
            run.begun = None;
            run.at = At::Input;
            run.passed < run.limit
        };
        let other = stream.feed_records(&mut Context::from_waker(of_input), &mut take);
        match (stays, other) {
            (Some(outcome), _) => End::Stays(outcome),
            (None, Some(polled)) => End::Came(polled),
            (None, None) => End::Limit,
        }
    }

    /// So many records have passed.
    fn count(&mut self, passed: usize) {
        self.turns_left -= passed;
        self.room.records -= passed;
        self.metrics.accepted += passed as u64;
        self.metrics.attempts += passed as u64;
        self.metrics.completed += passed as u64;
        self.metrics.over_budget = self.policies.retry.over_budget();
        self.latencies.add_at_once(passed as u64);
    }

    /// A record could not pass: it is entered.
    fn enter(&mut self, begun: Begun<T, Time>) -> usize {
        self.turns_left -= 1;
        self.room.records -= 1;
        self.metrics.accepted += 1;
        self.metrics.attempts += 1;
        let entered = Entered {
            record: begun.record,
            time: begun.time,
            place: self.order.enter(),
        };
        let number = self.metrics.accepted;
        self.requests.insert_begun(entered, number, begun.deadline)
    }
}

/// Polls the future of a first attempt, and asks the retry policy about the result.
#[inline]
fn first_poll<Fut, Out, E, Policy>(
    future: &mut Pin<Box<Option<Fut>>>,
    retry: &mut Policy,
    cx: &mut Context<'_>,
) -> Outcome<Out>
where
    Fut: Future<Output = Result<Out, E>>,
    E: Into<BoxError>,
    Policy: RetryPolicy<Out, E>,
{
    let polled = future.as_mut().as_pin_mut().map(|first| first.poll(cx));
    let Some(Poll::Ready(result)) = polled else {
        return Outcome::Unfinished;
    };
    match (retry.next_delay(1, &result), result) {
        (Some(delay), _) => Outcome::Again(delay),
        (None, Ok(output)) => Outcome::Output(output),
        (None, Err(error)) => Outcome::Failed(Cause::Failed(error.into())),
    }
}
