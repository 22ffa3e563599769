//! Models of peu's concurrent protocols; empty unless built with `--cfg loom`.

#![forbid(unsafe_code)]

#[cfg(loom)]
pub mod driver;

#[cfg(loom)]
pub use explore::{check, check_from_explore};

#[cfg(loom)]
mod explore {
    use loom::model::Builder;

    /// The most steps of one interleaving. A scheduler with its workers takes a few hundred; what goes on beyond this is
    /// going round in circles.
    const STEPS: usize = 10_000;

    /// Runs `model` in every interleaving with at most so many preemptions.
    ///
    /// For models with whole workers in them: three preemptions, which `cargo xtask loom` sets for the others, can be too
    /// many of them to explore within a minute.
    pub fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
        builder(preemptions).check(model);
    }

    /// Like [`check`], but from the model's [`loom::explore`] on: what comes before it, up to a state of interest, takes the
    /// same way each time.
    pub fn check_from_explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
        let mut builder = builder(preemptions);
        builder.expect_explicit_explore = true;
        builder.check(model);
    }

    fn builder(preemptions: usize) -> Builder {
        let mut builder = Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = STEPS;
        builder
    }
}

#[cfg(loom)]
pub mod parts;
