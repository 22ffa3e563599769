//! Runs models, and says how much of them was explored: `cargo xtask loom` reads it from the output.

use loom::model::Builder;
use std::cell::Cell;
use std::sync::Once;
use std::{panic, thread};

/// Bugs of protocols need few preemptions; three find those known in practice, and keep most models within seconds.
const PREEMPTIONS: usize = 3;

/// The most steps of one interleaving. A scheduler with its workers takes a few hundred; what goes on beyond this is
/// going round in circles.
const STEPS: usize = 10_000;

/// Runs `model` in every interleaving with at most three preemptions.
pub fn model(model: impl Fn() + Send + Sync + 'static) {
    bounded(PREEMPTIONS, model);
}

/// Runs `model` in every interleaving with at most so many preemptions.
///
/// For models with so many steps that three preemptions take more than a minute; they say so.
pub fn bounded(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    check(builder(preemptions), model);
}

/// Like [`bounded`], but from the model's [`loom::explore`] on: what comes before it, up to a state of interest, takes the
/// same way each time.
pub fn bounded_from_explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = builder(preemptions);
    builder.expect_explicit_explore = true;
    check(builder, model);
}

/// `LOOM_MAX_PREEMPTIONS`, where it is set, has the last word: for those who have hours.
fn builder(preemptions: usize) -> Builder {
    let mut builder = Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = STEPS;
    builder
}

fn check(builder: Builder, model: impl Fn() + Send + Sync + 'static) {
    tell_of_panics();
    let preemptions = builder.preemption_bound.unwrap_or(usize::MAX);
    RUN.set(Run {
        interleavings: 0,
        preemptions,
    });
    builder.check(move || {
        let mut run = RUN.get();
        run.interleavings += 1;
        RUN.set(run);
        model();
    });
    RUN.get().tell("explored");
}

/// How far a model has come.
#[derive(Clone, Copy)]
struct Run {
    /// Those begun so far.
    interleavings: u64,
    preemptions: usize,
}

thread_local! {
    /// That of the test that runs on this thread: loom runs all threads of a model on the one that it was called on.
    static RUN: Cell<Run> = const { Cell::new(Run { interleavings: 0, preemptions: 0 }) };
}

impl Run {
    fn tell(self, what: &str) {
        let test = thread::current();
        let test = test.name().unwrap_or("a model");
        let Run {
            interleavings,
            preemptions,
        } = self;
        println!("{test} {what} interleavings: {interleavings}, preemptions: {preemptions}");
    }
}

/// From a hook, and not where the unwinding ends, because in the middle of a model it often ends in an abort.
fn tell_of_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            report(info);
            RUN.get().tell("failed in");
        }));
    });
}
