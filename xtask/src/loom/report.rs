//! What a run of a model came to, read from its exit and its output.

use std::fmt::{Display, Formatter, Result};

/// How a run ended.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Passed,
    /// A test failed by a panic, with its message.
    Caught(String),
    /// It crashed by this signal: a twin that breaks `unsafe` code may come to this before an assertion does.
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

/// Signals of a crash. SIGKILL is none: the system may have been short of memory.
const CRASHES: [i32; 4] = [4, 6, 7, 11]; // SIGILL, SIGABRT, SIGBUS, SIGSEGV

/// Judges a run by whether it succeeded (`None`: it ran into its limit), by the signal that ended it, and by what it
/// printed.
pub(super) fn judge(succeeded: Option<bool>, signal: Option<i32>, output: &str) -> Verdict {
    match succeeded {
        None => Verdict::Late,
        // A run of no tests would prove nothing.
        Some(true) if output.contains("running 0 tests") => Verdict::Unclear,
        Some(true) => Verdict::Passed,
        Some(false) => match panics(output)
            .find(|message| !message.contains("exceeded maximum number of branches"))
        {
            Some(message) => Verdict::Caught(message.to_owned()),
            None if panics(output).next().is_some() => Verdict::Endless,
            None => match signal {
                Some(signal) if CRASHES.contains(&signal) => Verdict::Crashed(signal),
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

/// The messages of the panics: each stands on the line after the one that says where.
fn panics(output: &str) -> impl Iterator<Item = &str> {
    output
        .lines()
        .zip(output.lines().skip(1))
        .filter(|(place, _)| place.contains("panicked at"))
        .map(|(_, message)| message.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSED: &str = "running 1 test\ntest steal ... ok\n";
    const CAUGHT: &str = "running 1 test\ntest steal ... \nthread 'steal' (7) panicked at src/a.rs:1:2:\ntaken twice\nFAILED\n";
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
            judge(Some(true), None, "running 0 tests\n"),
            Verdict::Unclear
        );
    }

    #[test]
    fn a_crash_is_a_catch_of_its_own() {
        assert_eq!(
            judge(Some(false), Some(11), "running"),
            Verdict::Crashed(11)
        );
    }

    #[test]
    fn a_failed_test_is_seen_before_the_end() {
        assert!(has_failed(CAUGHT) && has_failed("test a ... FAILED\n"));
        assert!(!has_failed(PASSED) && !has_failed("test result: FAILED. 0 passed"));
    }
}
