//! The stage against an oracle: thousands of random schedules, in which all that may happen to a stage happens together, must
//! give what the oracle gives.
//!
//! A schedule is a list of [`Step`]s: records and marks come, calls get answers, the clock moves, the consumer takes or
//! stalls, a barrier passes, the process dies and a fresh stage goes on from what the barrier took along, the input ends, the
//! consumer leaves. Requests and clock are scripted, one thread does it all, and nothing sleeps.
//!
//! Two that know nothing of each other judge what the stage does, after each step:
//!
//! - The [`Rules`](rules::Rules) hold for whatever options a stage has: each record has one outcome; nothing leaves out of order,
//!   across a mark, or twice, restarts included; no more than the capacity is held, and no more calls are made than the options
//!   allow; what a barrier took along and what had left before it are together what had come.
//! - The [`Model`](model::Model) is a stage that is so slow and plain that it is right: a list that is looked through from the start
//!   whenever anything happens. It tells every call, every output and every counter, exactly. Options for which more than one
//!   answer is right ([`Setting::has_one_answer`](setting::Setting::has_one_answer)) are left to the rules, and so is what follows in a
//!   schedule once the stage may go either way.
//!
//! The stage is the operator that a pipeline has, asked as its successor would ask it, but with an input and a consumer of the test's: so
//! a schedule decides between which two records a mark or a barrier stands, and sees what the barrier took along. `tests/c_checkpoints.rs`
//! has the way through files and sink. One in five settings has the plain combinator instead, which knows no marks.

mod guards;
mod inlet;
mod model;
mod policies;
mod rules;
mod run;
mod service;
mod setting;
mod stage;
#[path = "../kit/tap.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod tap;
#[path = "../kit/world.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod world;

use crate::element::EventTime;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use run::Run;
use service::Answer;
use setting::LONGEST_PAUSE;

/// One step of a schedule; the stage runs after each.
#[derive(Clone, Debug)]
enum Step {
    /// A record comes. Of its calls, the first few have these answers at their first polls, unless there is none.
    Push(Vec<Option<Answer>>),
    Mark(Sign),
    /// Calls get answers, and the clock moves, behind that or in front of it, before the stage can look.
    Progress(Vec<(Index, Answer)>, u64, First),
    /// The consumer takes so many things. Between these steps it stalls.
    Take(usize),
    Barrier,
    /// The process dies; a fresh stage with this capacity goes on from the last barrier.
    Crash(usize),
    End,
    /// The consumer leaves.
    Leave,
}

/// What the stage hears of first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Answers,
    Clock,
}

/// Something between two records. Watermarks have numbers, each higher than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Watermark(u64),
    Idle,
    Active,
    Latency,
}

/// What comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Record(u64),
    Sign(Sign),
}

/// What the consumer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Output(u64),
    Sign(Sign),
    /// The record that ends the stage, and why.
    Failed(u64, Reason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Refused,
    Panicked,
    TimedOut,
    FallbackTimedOut,
    CircuitOpen,
}

/// What a barrier takes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// A record that is asked for again.
    Input(u64),
    Output(u64),
    Sign(Sign),
}

/// What an output or a mark says of where it came from: a thousand times its record, and how it came to be.
fn output(record: u64, how: u64) -> u64 {
    1_000 * record + how
}

fn record_of(output: u64) -> u64 {
    output / 1_000
}

/// The event time of a record, and of the watermark with this number.
fn time_of(record: u64) -> EventTime {
    EventTime::from_millis(record as i64)
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        12 => (0_u64..100).prop_map(Answer::Output),
        3 => Just(Answer::Refused),
        1 => Just(Answer::Panic),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let at_once = prop_oneof![
        16 => Just(None),
        6 => answers().prop_map(Some),
        1 => Just(Some(Answer::PanicInCall)),
    ];
    let sign = prop_oneof![
        4 => Just(Sign::Watermark(0)),
        1 => Just(Sign::Idle),
        1 => Just(Sign::Active),
        1 => Just(Sign::Latency),
    ];
    let completions = vec((any::<Index>(), answers()), 0..4);
    let first = prop_oneof![3 => Just(First::Answers), 1 => Just(First::Clock)];
    prop_oneof![
        30 => vec(at_once, 0..3).prop_map(Step::Push),
        8 => sign.prop_map(Step::Mark),
        30 => (completions, prop_oneof![Just(0), 1..LONGEST_PAUSE], first)
            .prop_map(|(completions, by, first)| Step::Progress(completions, by, first)),
        20 => (1_usize..4).prop_map(Step::Take),
        4 => Just(Step::Barrier),
        3 => (1_usize..6).prop_map(Step::Crash),
        1 => Just(Step::End),
        1 => Just(Step::Leave),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        // More, if the environment asks for more.
        cases: ProptestConfig::default().cases.max(8_000),
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_schedule_gives_what_the_oracle_gives(
        setting in setting::settings(),
        schedule in vec(steps(), 1..60),
    ) {
        let mut run = Run::new(setting);
        let outcome = schedule.iter().try_for_each(|step| run.step(step)).and_then(|()| run.run_down());
        if let Err(difference) = outcome {
            return Err(TestCaseError::fail(run.tell(&difference)));
        }
    }
}
