//! Whole runtimes under shuttle: the real workers, more of them and with more to do than a model could explore, in a great
//! many orders that chance chooses.
//!
//! loom proves a protocol, for the few threads of its model. What happens where protocols meet (a shutdown in the middle of a
//! steal, a join waker that moves while its task is aborted) has too many orders to go through. Here each scenario is run
//! with [`schedules`] orders from each of two sources:
//!
//! - *by chance*: at each step, any thread that can go on may go on;
//! - *by priorities* (PCT: Burckhardt and others, "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs",
//!   ASPLOS 2010): a thread goes on for as long as it can, but for a few changes at random points. It finds what
//!   needs one thread to be held up for long, as chance hardly ever does.
//!
//! The steps are atomic operations and locks, each of which everybody sees at once: shuttle knows no weak memory, which
//! is loom's part. A scenario makes its own choices by `shuttle::rand`, so that an order, written down, is a run that can
//! be repeated: `cargo xtask shuttle` says how.
//!
//! Each scenario has twins, as a model has.
//!
//! | module | what is in it |
//! |---|---|
//! | `aborts` | tasks that are joined, aborted and dropped by several at once |
//! | `channels` | tasks and threads that wake each other all the time |
//! | `local` | a runtime of one thread, which others give work and wake |
//! | `shutdown` | a runtime that ends in the middle of everything |
//! | `stolen_turns` | workers that are stuck, and what waits behind them |
//! | `timers` | tasks that sleep, and change their minds |
//! | `tree` | tasks that start tasks |
//! | `driver`, `parts` | what takes the place of the reactor; gates, channels, and counts of the living |

#![cfg(shuttle)]

mod aborts;
mod channels;
mod driver;
mod local;
mod parts;
mod shutdown;
mod stolen_turns;
mod timers;
mod tree;

use shuttle::scheduler::{
    PctScheduler, RandomScheduler, ReplayScheduler, Scheduler,
    UncontrolledNondeterminismCheckScheduler,
};
use shuttle::{Config, MaxSteps, Runner};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How many orders of each kind, unless `PEU_SCHEDULES` says otherwise.
const SCHEDULES: usize = 100_000;

/// Points at which priorities change, plus one. Bugs that are known of such protocols need one or two changes.
const DEPTH: usize = 3;

/// The most steps of one run. The longest that come to an end take a few thousand; what takes more goes round in circles.
const STEPS: usize = 100_000;

/// The exit code of a test program that has failed.
const FAILED: i32 = 101;

/// A thread's stack: a worker polls futures that poll futures, without optimisation when somebody debugs it.
const STACK: usize = 256 * 1024;

/// Runs a scenario in orders that chance chooses.
fn by_chance(scenario: fn()) {
    run(RandomScheduler::new(schedules()), scenario);
}

/// Runs a scenario in orders that priorities with few changes give.
fn by_priorities(scenario: fn()) {
    run(PctScheduler::new(DEPTH, schedules()), scenario);
}

/// A failure can be repeated only if a scenario does the same whenever it is run in the same order.
fn repeatedly(scenario: fn()) {
    const ORDERS: usize = 100;
    let scheduler = UncontrolledNondeterminismCheckScheduler::new(RandomScheduler::new(ORDERS));
    run(scheduler, scenario);
}

/// Runs the one order that is in the file which `PEU_REPLAY` names, else those that the scheduler gives. The first failure
/// ends the program: the other orders, and the other tests, have nothing to add.
fn run(scheduler: impl Scheduler + 'static, scenario: fn()) {
    let run = || match std::env::var_os("PEU_REPLAY") {
        Some(file) => {
            let replay = ReplayScheduler::new_from_file(&file);
            let replay = replay.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            Runner::new(replay, config()).run(scenario)
        }
        None => Runner::new(scheduler, config()).run(scenario),
    };
    if catch_unwind(AssertUnwindSafe(run)).is_err() {
        std::process::exit(FAILED);
    }
}

fn schedules() -> usize {
    match std::env::var("PEU_SCHEDULES") {
        Ok(text) => text.parse().expect("PEU_SCHEDULES is a whole number"),
        Err(_) => SCHEDULES,
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK;
    config.max_steps = MaxSteps::FailAfter(STEPS);
    // It warns that it knows no weak memory.
    config.silence_warnings = true;
    config
}

/// The tests of a scenario.
macro_rules! scenario {
    ($scenario:path) => {
        #[test]
        fn by_chance() {
            crate::by_chance($scenario);
        }

        #[test]
        fn by_priorities() {
            crate::by_priorities($scenario);
        }

        #[test]
        fn repeatedly() {
            crate::repeatedly($scenario);
        }
    };
}
use scenario;
