//! What a run of a model came to, read from its exit and its output.

use crate::explorer::{is_crash, panics};
use std::fmt::{Display, Formatter, Result};

/// How much of a model a run has explored, as loom-tests/src/explore.rs tells it for each test.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Explored {
    interleavings: u64,
    /// The smallest and the largest bound; a file's tests may have different ones.
    preemptions: Option<(usize, usize)>,
}

impl Explored {
    /// The sum over all tests; of a run that failed, what the failing test had explored by then.
    pub(super) fn of(output: &str, succeeded: bool) -> Explored {
        let parts = output.lines().filter_map(Part::parse);
        let parts: Vec<Part> = if succeeded {
            parts.filter(|part| !part.failed).collect()
        } else {
            parts.filter(|part| part.failed).take(1).collect()
        };
        let bounds = parts.iter().map(|part| part.preemptions);
        Explored {
            interleavings: parts.iter().map(|part| part.interleavings).sum(),
            preemptions: bounds.clone().min().zip(bounds.max()),
        }
    }

    /// `interleavings` and `preemptions` for the table.
    pub(super) fn columns(&self) -> (String, String) {
        match self.preemptions {
            None => ("-".to_owned(), "-".to_owned()),
            Some((least, most)) if least == most => {
                (self.interleavings.to_string(), most.to_string())
            }
            Some((least, most)) => (self.interleavings.to_string(), format!("{least} to {most}")),
        }
    }
}

/// What one test has explored.
struct Part {
    failed: bool,
    interleavings: u64,
    preemptions: usize,
}

impl Part {
    /// Of a line that ends in `explored interleavings: 12, preemptions: 3`, or in `failed in …`.
    fn parse(line: &str) -> Option<Part> {
        let (before, numbers) = line.split_once(" interleavings: ")?;
        let (interleavings, preemptions) = numbers.split_once(", preemptions: ")?;
        Some(Part {
            failed: before.ends_with("failed in"),
            interleavings: interleavings.parse().ok()?,
            preemptions: preemptions.trim_end().parse().ok()?,
        })
    }
}

/// How a run ended.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Passed,
    /// A test failed by a panic, with its message.
    Caught(String),
    /// It crashed by this signal, before anything was asserted: broken `unsafe` code that the model does not watch.
    Crashed(i32),
    /// Loom gave up on an execution that went on and on: a livelock, or a model that is too large.
    Endless,
    /// The time limit came first.
    Late,
    /// It failed, and nothing says by what.
    Unclear,
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Verdict::Passed => f.write_str("passed"),
            Verdict::Caught(message) => write!(f, "failed: {message}"),
            Verdict::Crashed(signal) => write!(f, "crashed: signal {signal}"),
            Verdict::Endless => f.write_str("gave up: an execution does not end"),
            Verdict::Late => f.write_str("ran into its time limit"),
            Verdict::Unclear => f.write_str("failed without a panic"),
        }
    }
}

/// Judges a run by whether it succeeded (`None`: it ran into its limit), by the signal that ended it, and by what it
/// printed.
pub(super) fn judge(succeeded: Option<bool>, signal: Option<i32>, output: &str) -> Verdict {
    match succeeded {
        None => Verdict::Late,
        // A run that explored nothing proves nothing.
        Some(true) if Explored::of(output, true) == Explored::default() => Verdict::Unclear,
        Some(true) => Verdict::Passed,
        Some(false) => match panics(output)
            .find(|message| !message.contains("exceeded maximum number of branches"))
        {
            Some(message) => Verdict::Caught(without_threads(message).to_owned()),
            None if panics(output).next().is_some() => Verdict::Endless,
            None => match signal {
                Some(signal) if is_crash(signal) => Verdict::Crashed(signal),
                _ => Verdict::Unclear,
            },
        },
    }
}

/// Whether a test has failed already, while others may still run.
pub(super) fn has_failed(output: &str) -> bool {
    output
        .lines()
        .any(|line| line.trim_end().ends_with("FAILED") && !line.starts_with("test result"))
}

/// Of a deadlock loom lists all threads, which says little without its trace.
fn without_threads(message: &str) -> &str {
    message.split("; threads = ").next().unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSED: &str = "running 2 tests\nsteal explored interleavings: 40, preemptions: 3\ntest push ... push explored interleavings: 2, preemptions: 1\nok\ntest steal ... ok\n";
    const CAUGHT: &str = "running 2 tests\ntest push ... push explored interleavings: 40, preemptions: 3\nok\nthread 'steal' (7) panicked at src/a.rs:1:2:\ntaken twice; threads = []\nsteal failed in interleavings: 2, preemptions: 1\nFAILED\n";
    const ENDLESS: &str = "thread 'steal' panicked at a.rs:1:2:\nModel exceeded maximum number of branches. This is often caused by\n";

    #[test]
    fn a_run_is_judged_by_its_panic() {
        assert_eq!(judge(Some(true), None, PASSED), Verdict::Passed);
        assert_eq!(
            judge(Some(false), None, CAUGHT),
            Verdict::Caught("taken twice".to_owned())
        );
    }

    #[test]
    fn what_is_no_catch_is_told_apart() {
        assert_eq!(judge(Some(false), Some(6), ENDLESS), Verdict::Endless);
        assert_eq!(judge(None, None, CAUGHT), Verdict::Late);
        assert_eq!(judge(Some(false), None, "failed"), Verdict::Unclear);
        assert_eq!(judge(Some(false), Some(9), "killed"), Verdict::Unclear);
        assert_eq!(
            judge(Some(true), None, "running 1 test\nok\n"),
            Verdict::Unclear,
            "nothing was explored"
        );
    }

    #[test]
    fn what_was_explored_is_summed_up_or_that_of_the_failure() {
        let columns = |output, succeeded| Explored::of(output, succeeded).columns();
        assert_eq!(
            columns(PASSED, true),
            ("42".to_owned(), "1 to 3".to_owned())
        );
        assert_eq!(columns(CAUGHT, false), ("2".to_owned(), "1".to_owned()));
        assert_eq!(columns("running", false), ("-".to_owned(), "-".to_owned()));
    }

    #[test]
    fn a_crash_is_no_catch_unless_a_panic_came_first() {
        assert_eq!(
            judge(Some(false), Some(11), "running"),
            Verdict::Crashed(11)
        );
        // Unwinding out of the middle of a model often ends in an abort.
        assert_eq!(
            judge(Some(false), Some(6), CAUGHT),
            Verdict::Caught("taken twice".to_owned())
        );
    }

    #[test]
    fn a_failed_test_is_seen_before_the_end() {
        assert!(has_failed(CAUGHT) && has_failed("test a ... FAILED\n"));
        assert!(!has_failed(PASSED) && !has_failed("test result: FAILED. 0 passed"));
    }
}
