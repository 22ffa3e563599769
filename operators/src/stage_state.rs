//! What a stage puts into a checkpoint, and how it goes on from there.
//!
//! A barrier does not wait in the stage. When it comes, everything that came before it and has not been emitted is in
//! the stage, and nothing that comes after it is: so what the stage holds is what the checkpoint needs, and the barrier
//! goes on at once, behind all that was emitted. A record whose request is unfinished is kept as it came, to be asked
//! for again; one whose request has finished is kept as its output, so that no finished call is made twice. What the
//! consumer has not taken is before the barrier, and its business.
//!
//! All is kept in the order in which it stands, marks included. A restored stage takes it in again in that order, as
//! room allows, before it looks at its input; so the capacity may have changed in between.
//!
//! Nor does a barrier wait in front of the stage. Once one was sent, a stage without room takes what comes before it all
//! the same, and holds it.

use crate::element::{EventTime, Mark, MarkOf};
use crate::keys::Entered;
use crate::order::{Place, Waiting};
use crate::policies::StagePolicies;
use crate::runtime::Timer;
use crate::signals::INPUT;
use crate::stage::{Held, Keeper, Stage};
use futures_core::Stream;
use serde::{Deserialize, Serialize};
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
    S: Stream,
    T: Serialize,
    Out: Serialize,
    P: StagePolicies<T, Out, E>,
    R: Timer,
{
    /// From now on a barrier takes along what the stage holds. `newest` tells the number of the newest that was asked for,
    /// which now is `passed`; when it changes, the waker is to be called.
    pub(crate) fn keep_state(
        &mut self,
        passed: u64,
        newest: impl Fn() -> u64 + Send + 'static,
    ) -> Waker {
        self.keeper = Some(Keeper {
            save: |stage| Ok(postcard::to_stdvec(&stage.saved())?),
            newest: Box::new(newest),
            passed,
        });
        self.signals.waker(INPUT).clone()
    }

    /// Everything that came in and was not emitted, in order.
    fn saved(&self) -> Vec<Saved<&T, &Out>> {
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
        saved.into_iter().map(|(_, _, thing)| thing).collect()
    }
}

impl<S, T, F, Fut, Out, E, P, R> Stage<S, T, Timed, Mark, F, Fut, Out, E, P, R>
where
    S: Stream,
    P: StagePolicies<T, Out, E>,
    R: Timer,
{
    /// Takes in again what a checkpoint held, ahead of all input.
    pub(crate) fn restore(&mut self, saved: Vec<Saved<T, Out>>) {
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
    }

    /// There were no more marks in the checkpoint than a stage has room for.
    fn restore_mark(&mut self, mark: Mark) {
        self.room.marks = self.room.marks.saturating_sub(1);
        self.order.mark(mark);
    }
}

fn saved_input<T, Out>(entered: &Entered<T, Timed>) -> Saved<&T, Out> {
    Saved::Input(&entered.record, entered.time)
}

/// A latency marker is worth nothing after a restart, and a barrier does not wait.
fn saved_mark<T, Out>(mark: &Mark) -> Option<Saved<T, Out>> {
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
