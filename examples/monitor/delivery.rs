//! How an alert gets to the webhook: one post each, again and again, until it is taken, refused, or given up.
//!
//! One alert per post, because the answer is about a post: so what is refused is that alert and no other. A webhook that takes lists
//! would get many with each, and answer for each.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use peu::operators::{Cause, Failure, Jitter, Recovery, Retry};
use peu::pipeline::AsyncSinkOptions;
use serde_json::json;

use crate::alerts::Alert;
use crate::http::{self, Endpoint, Undelivered};

/// Soon, for most troubles are short.
const FIRST_RETRY: Duration = Duration::from_millis(20);
/// An alert that is older helps nobody.
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// How many posts may be under way.
const POSTS: usize = 8;

/// What was counted. Only ever Relaxed: numbers that order nothing, read when all is over.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) posts: AtomicU64,
    pub(crate) dead: AtomicU64,
    pub(crate) late: AtomicU64,
}

impl Tally {
    pub(crate) fn counts(&self) -> [u64; 3] {
        [&self.posts, &self.dead, &self.late].map(|count| count.load(Relaxed))
    }
}

/// Posts the alerts of one request of the sink: there is one in each.
pub(crate) async fn post(
    endpoint: Endpoint,
    alerts: Vec<Alert>,
) -> Result<Vec<Result<(), Undelivered>>, Undelivered> {
    let mut results = Vec::new();
    for alert in &alerts {
        let body = serde_json::to_vec(alert).map_err(|error| Undelivered::Failed(error.into()))?;
        results.push(http::post(&endpoint, &body).await);
    }
    Ok(results)
}

/// When an alert is posted again, and what becomes of one that is given up.
pub(crate) fn options(
    retries: u32,
    timeout: Duration,
    mut dead_letters: DeadLetterFile,
    tally: &Arc<Tally>,
) -> AsyncSinkOptions<Alert> {
    let retry = Retry::exponential(FIRST_RETRY..LONGEST_DELAY)
        .jitter(Jitter::Full)
        .max_retries(retries)
        .when(may_succeed_later);
    let tally = Arc::clone(tally);
    let bury = move |mut failure: Failure<Alert>| match dead_letters.add(&failure) {
        Ok(()) => {
            tally.dead.fetch_add(1, Relaxed);
            Recovery::DeadLetter
        }
        // Else nobody would ever know of the alert.
        Err(error) => {
            let cause = format!(
                "{}; and its dead letter was not written: {error}",
                failure.cause
            );
            failure.cause = Cause::Failed(cause.into());
            Recovery::Fail(failure)
        }
    };
    AsyncSinkOptions::new(1, Duration::ZERO)
        .in_flight(POSTS)
        .timeout(timeout)
        .retry(retry)
        .on_error(bury)
}

fn may_succeed_later(cause: &Cause) -> bool {
    match cause {
        // Several retries of one request see the same error, so it is shared.
        Cause::Failed(error) => error
            .downcast_ref::<Arc<Undelivered>>()
            .is_none_or(|error| error.may_succeed_later()),
        Cause::TimedOut(_) => true,
        _ => false,
    }
}

/// The alerts that nobody has.
///
/// They are added by plain blocking writes, in the pipeline's task: a few bytes, into memory, when something went wrong. In turn a
/// letter is in the file before any checkpoint can say that its alert is dealt with, and so survives whatever kills the job.
pub(crate) struct DeadLetterFile(File);

impl DeadLetterFile {
    /// Letters of earlier runs stay: they were not delivered either.
    pub(crate) fn open(path: &Path) -> Result<Self, Box<dyn Error>> {
        let open = || {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            File::options().create(true).append(true).open(path)
        };
        let file = open().map_err(|error| {
            let path = path.display();
            format!("cannot write dead letters to {path}: {error}; name another file with --dead-letters")
        });
        Ok(Self(file?))
    }

    fn add(&mut self, failure: &Failure<Alert>) -> std::io::Result<()> {
        let letter = json!({
            "alert": failure.record,
            "attempts": failure.attempts,
            "cause": failure.cause.to_string(),
        });
        // In one write, so that no line is half there.
        self.0.write_all(format!("{letter}\n").as_bytes())
    }
}
