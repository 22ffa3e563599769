//! What a stage puts into a checkpoint, and how it goes on from there.
//!
//! A barrier does not wait in the stage. When it comes, everything that came before it and that the consumer has not taken is in
//! the stage, its outlet, or the batch that the consumer has taken over, and nothing that comes after it is: so what these hold is what the checkpoint
//! needs, and the barrier goes on at once, in front of it all. The stage puts what it and the outlet hold into the checkpoint, and the
//! consumer, behind that, what is left of its batch (`pipeline/async_stage.rs`). A record whose request is unfinished is kept as it came, to be asked
//! for again; one whose request has finished is kept as its output, so that no finished call is made twice.
//!
//! All is kept in the order in which it stands, marks included. A restored stage takes it in again in that order, as
//! room allows, before it looks at its input; so the capacity may have changed in between.
//!
//! Nor does a barrier wait in front of the stage. A stage without room asks for it alone, and since it stands in front of what
//! the stages further up have ready, that stays where it is: checkpoints move no record, so however many are made, no
//! stage holds more than its capacity, and what can't stay where it is: the outputs of a record that a `flat_map` has begun, and the few that are on
//! their way to a lane. A stage whose
//! input is over makes the barrier itself, until its consumer has taken everything: for the sources behind it have ended, and their
//! positions are known.

use crate::element::{Element, EventTime, Mark, MarkOf};
use crate::error::BoxError;
use crate::failure::ErrorPolicy as _;
use crate::input::{Ask, Feed};
use crate::keys::Entered;
use crate::order::{Place, Waiting};
use crate::policies::StagePolicies;
use crate::runtime::Timer;
use crate::signals::INPUT;
use crate::stage::{Held, Keeper, Stage};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::future::Future;
use std::task::Waker;

/// One thing that a stage held.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Saved<T, Out> {
    Input(T, Option<EventTime>),
    Output(Out, Option<EventTime>),
    Watermark(EventTime),
    Idle,
    Active,
}

/// Where a saved thing stands among those with the same place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    MarkBefore,
    Output,
    InFlight,
    Waiting,
    MarkBehind,
}

type Timed = Option<EventTime>;

impl<S, T, F, Fut, Out, E, P, R> Stage<S, T, Timed, Mark, F, Fut, Out, E, P, R>
where
    T: Serialize,
    Out: Serialize,
    P: StagePolicies<T, Out, E>,
    R: Timer,
{
    /// From now on a barrier takes along what the stage holds. When one is asked for, the waker is to be called.
    /// `newer` is the newest that was asked for, if it has another number than the last to pass, which now is `passed`.
    /// `poll_barrier` asks the input for the barrier alone.
    pub(crate) fn keep_state(
        &mut self,
        poll_barrier: Ask<S, T, Timed, Mark>,
        passed: u64,
        newer: impl Fn(u64) -> Option<Mark> + Send + 'static,
    ) -> Waker {
        self.keeper = Some(Keeper {
            save: Self::save,
            newer: Box::new(newer),
            passed,
            poll_barrier,
        });
        self.signals.waker(INPUT).clone()
    }

    fn save(&mut self) -> Result<Vec<u8>, BoxError> {
        self.policies.failure.pass_barrier();
        self.outlet.take_back(&mut self.outgoing);
        Ok(postcard::to_stdvec(&self.saved())?)
    }

    /// Everything that came in and was not taken, in order.
    fn saved(&self) -> Vec<Saved<&T, &Out>> {
        let emitted = self.outgoing.iter().filter_map(|element| match element {
            Element::Record(output, time) => Some(Saved::Output(output, *time)),
            Element::Mark(mark) => saved_mark(mark),
        });
        let mut saved: Vec<(Place, Rank, Saved<&T, &Out>)> = Vec::new();
        let mut add = |place, rank, thing: Option<_>| {
            saved.extend(thing.map(|thing| (place, rank, thing)));
        };
        self.order.visit(&mut |place, waiting| match waiting {
            Waiting::MarkBefore(mark) => add(place, Rank::MarkBefore, saved_mark(mark)),
            Waiting::Output(output, time) => {
                add(place, Rank::Output, Some(Saved::Output(output, *time)));
            }
            Waiting::MarkBehind(mark) => add(place, Rank::MarkBehind, saved_mark(mark)),
        });
        for entered in self.requests.iter() {
            add(entered.place, Rank::InFlight, Some(saved_input(entered)));
        }
        if let Some(lines) = &self.lines {
            lines.visit(&mut |entered| {
                add(entered.place, Rank::Waiting, Some(saved_input(entered)));
            });
        }
        for held in &self.held {
            match held {
                Held::Record(entered) => {
                    add(entered.place, Rank::Waiting, Some(saved_input(entered)));
                }
                Held::Output(place, output, time) => {
                    add(*place, Rank::Output, Some(Saved::Output(output, *time)));
                }
            }
        }
        // Stable: what has the same place and rank keeps the order in which it was shown.
        saved.sort_by_key(|(place, rank, _)| (*place, *rank));
        emitted
            .chain(saved.into_iter().map(|(_, _, thing)| thing))
            .collect()
    }
}

impl<S, T, F, Fut, Out, E, P, R> Stage<S, T, Timed, Mark, F, Fut, Out, E, P, R>
where
    S: Feed<T, Timed, Mark>,
    T: Clone + Debug,
    F: FnMut(T) -> Fut,
    Fut: Future<Output = Result<Out, E>>,
    E: Into<BoxError>,
    P: StagePolicies<T, Out, E>,
    R: Timer,
{
    /// Takes in again what a checkpoint held, in its order, ahead of all input.
    pub(crate) fn restore(&mut self, saved: impl IntoIterator<Item = Saved<T, Out>>) {
        for thing in saved {
            match thing {
                Saved::Input(record, time) => {
                    let place = self.order.enter();
                    self.held.push_back(Held::Record(Entered {
                        record,
                        time,
                        place,
                    }));
                }
                Saved::Output(output, time) => {
                    let place = self.order.enter();
                    self.held.push_back(Held::Output(place, output, time));
                }
                Saved::Watermark(time) => self.restore_mark(Mark::Watermark(time)),
                Saved::Idle => self.restore_mark(Mark::Idle),
                Saved::Active => self.restore_mark(Mark::Active),
            }
        }
        // Marks that nothing stands before wait for nothing.
        self.emit();
    }

    /// There were no more marks in the checkpoint than a stage has room for.
    fn restore_mark(&mut self, mark: Mark) {
        self.room.marks -= 1;
        self.order.mark(mark);
    }
}

fn saved_input<T, Out>(entered: &Entered<T, Timed>) -> Saved<&T, Out> {
    Saved::Input(&entered.record, entered.time)
}

/// A latency marker is worth nothing after a restart, and a barrier does not wait.
pub(crate) fn saved_mark<T, Out>(mark: &Mark) -> Option<Saved<T, Out>> {
    debug_assert!(
        mark.barrier().is_none(),
        "a barrier never waits in a stage that keeps its state"
    );
    match mark {
        Mark::Watermark(time) => Some(Saved::Watermark(*time)),
        Mark::Idle => Some(Saved::Idle),
        Mark::Active => Some(Saved::Active),
        Mark::Latency(_) | Mark::Checkpoint(_) => None,
    }
}
