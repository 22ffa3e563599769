//! Stress on real threads: what no model sees whole, all at once, in an order that chance chooses.
//!
//! Eight workers on two cores, however many there are, so that the system interrupts them where it hurts. Each test runs in
//! a process of its own ([`alone`]), for two reasons: descriptors, threads and memory are counted before and after, and must
//! be the same; and what hangs is ended, and fails. A storm goes in rounds, and after each round nothing may be left: no task, no
//! source, no timer, no operation.
//!
//! Chance has a seed, which a failing test prints. `PEU_STRESS_SEED=… cargo test --test stress` repeats its decisions; the
//! schedule remains the system's. The long versions (`-- --ignored`) are run by .ci/run. `cargo xtask sanitize` runs these
//! same tests.
//!
//! | module | what is in it |
//! |---|---|
//! | `actions` | what a task may do: sleep, yield, wait, read, hang up on others, use a file, start a child, block, panic |
//! | `tree` | tasks that start tasks, and leave them in every way there is |
//! | `world` | what all tasks share: the count of the living, and threads that wake them from outside |
//! | `storm` | many trees on one runtime, with a local one beside it |
//! | `lives` | runtimes that begin and end, and what outlives them |
//! | `alone`, `census`, `memory`, `random` | the process, what is counted in it, and chance |

#[path = "stress/actions.rs"]
mod actions;
#[path = "stress/alone.rs"]
mod alone;
#[path = "stress/census.rs"]
mod census;
#[path = "stress/lives.rs"]
mod lives;
#[path = "stress/memory.rs"]
mod memory;
#[path = "stress/random.rs"]
mod random;
#[path = "stress/storm.rs"]
mod storm;
#[path = "stress/tree.rs"]
mod tree;
#[path = "stress/world.rs"]
mod world;

use alone::alone;
use random::Random;
use std::time::Duration;

/// Nothing in a test waits longer: by then it hangs. Wide, because a sanitizer makes everything ten times as slow.
const HANGS: Duration = Duration::from_secs(60);

#[test]
fn a_storm_of_tasks_leaves_nothing_behind() {
    alone("a_storm_of_tasks_leaves_nothing_behind", || {
        storm::rage(&mut Random::seeded(), Duration::from_secs(4));
    });
}

#[test]
fn runtimes_that_come_and_go_leave_nothing_behind() {
    alone("runtimes_that_come_and_go_leave_nothing_behind", || {
        lives::live(&mut Random::seeded(), 300);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn what_is_left_behind_is_seen() {
    alone("what_is_left_behind_is_seen", census::sees_what_is_left);
}

#[test]
#[ignore = "takes five minutes, so .ci/run runs it"]
fn a_long_storm_of_tasks_leaves_nothing_behind() {
    alone("a_long_storm_of_tasks_leaves_nothing_behind", || {
        storm::rage(&mut Random::seeded(), Duration::from_secs(300));
    });
}

#[test]
#[ignore = "takes half a minute, and minutes under a sanitizer, so .ci/run runs it"]
fn ten_thousand_runtimes_leave_nothing_behind() {
    alone("ten_thousand_runtimes_leave_nothing_behind", || {
        lives::live(&mut Random::seeded(), 10_000);
    });
}
