//! The job on peu: a pipeline, with a stage that keeps the look-ups of many rows in flight.
//!
//! ```text
//! flights.csv -> rows -> event times -> stage: clean, four look-ups at once, join -> sink: output, dead letters
//! a thread that may block               a task                                        a task; its writes block elsewhere
//! ```
//!
//! With `--state` there are checkpoints: the position in the file, the rows whose look-ups are unfinished, and how much of
//! both outputs is safe. A run that was killed goes on from the last.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use peu::Runtime;
use peu::operators::{
    AsyncOptions, Cause, ErrorPolicy, Failure as Failed, Jitter, Recovery, Retry, StageError,
};
use peu::pipeline::{
    Job, Operator, Pipeline, PipelineError, ReadAhead, Report, Restored, Sink, Watermarks, every,
};

use crate::clean::{Rule, clean};
use crate::cli::{Args, Order};
use crate::client::Client;
use crate::failure::{Context, Failure};
use crate::flights::{Flights, Row};
use crate::join::Outcome;
use crate::lookups::Lookups;
use crate::progress::Gauge;
use crate::report::{Effort, Totals};
use crate::sink::{Files, Kept, Unnamed};

/// The flights of a day come in the order in which they left, and behind them those that were cancelled.
const DISORDER: Duration = Duration::from_secs(24 * 3600);

/// Between two tries of a row: at first a connection's time to come back, at last as long as people wait.
const FIRST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// Where the outcomes of a run go.
pub(crate) enum Ends {
    Unnamed(Unnamed),
    /// And the folder of the checkpoints.
    Kept(Kept, PathBuf),
}

impl Ends {
    /// Makes the files, or, for a run with checkpoints, sees that they can be made.
    pub(crate) fn create(args: &Args, totals: &Totals) -> Result<Ends, Failure> {
        let (output, dead_letters, inputs) = (&args.output, &args.dead_letters, args.inputs());
        let totals = totals.clone();
        match &args.state {
            None => {
                let files = Files::create(output, dead_letters, &inputs)?;
                Ok(Ends::Unnamed(Unnamed::new(files, totals)))
            }
            Some(state) => {
                let kept = Kept::new(output, dead_letters, &inputs, totals)?;
                Ok(Ends::Kept(kept, state.clone()))
            }
        }
    }
}

/// Cleans, looks up and writes, many rows at a time.
pub(crate) fn run(
    flights: Flights,
    address: &str,
    patience: Duration,
    args: &Args,
    in_flight: &Gauge,
    ends: Ends,
    totals: &Totals,
) -> Result<Effort, Failure> {
    let runtime = runtime(args.workers).context(|| "cannot start the event loop".to_owned())?;
    let done = runtime.block_on(async {
        let connections = args.connections();
        let client = Client::connect(address, connections, patience, in_flight.clone()).await?;
        let lookups = Arc::new(Lookups::new(client, args.cache));
        let outcomes = outcomes(flights, Arc::clone(&lookups), args);
        let report = match ends {
            Ends::Unnamed(sink) => finish(outcomes.sink(sink), &runtime, totals).await?,
            Ends::Kept(sink, state) => {
                let job = outcomes.sink(sink);
                let job = job.checkpoint(every(args.every()).restore(), state);
                finish(job, &runtime, totals).await?
            }
        };
        let stages = report.stages.iter();
        Ok(Effort {
            retries: stages.map(|(_, metrics)| metrics.retries).sum(),
            spared: lookups.spared(),
        })
    });
    // A run that failed may leave a read of a silent pipe behind: the process ends without it.
    let _still_reading = runtime.shutdown(Duration::from_secs(1));
    done
}

fn runtime(workers: Option<NonZeroUsize>) -> std::io::Result<Runtime> {
    let builder = Runtime::builder().thread_name("enrich");
    match workers {
        Some(workers) => builder.workers(workers.get()).build(),
        None => builder.build(),
    }
}

/// The whole of the work, from rows to what becomes of them.
fn outcomes(
    flights: Flights,
    lookups: Arc<Lookups>,
    args: &Args,
) -> Pipeline<impl Operator<Item = Outcome>> {
    let again = Retry::exponential(FIRST_DELAY..LONGEST_DELAY)
        .jitter(Jitter::Full)
        .max_retries(args.retries())
        .when(Failure::may_pass);
    let options = match args.order() {
        Order::Ordered => AsyncOptions::ordered(),
        Order::Unordered => AsyncOptions::unordered(),
    };
    let on_error = match args.keep_going {
        true => OnError::PutAside,
        false => OnError::End,
    };
    Pipeline::source(ReadAhead::new(flights))
        .event_time(|row: &Row| row.hour, Watermarks::bounded(DISORDER))
        .async_map(
            "enrich",
            move |row| enrich(row, Arc::clone(&lookups)),
            options
                .capacity(args.capacity())
                .retry(again)
                .on_error(on_error),
        )
}

/// What becomes of one row. A dead letter asks nothing of the server.
async fn enrich(row: Row, lookups: Arc<Lookups>) -> Result<Outcome, Failure> {
    match clean(&row.columns()?) {
        Ok(flight) => {
            let answers = lookups.of(&flight).await;
            let answers = answers.map_err(|failure| failure.within(&format!("{row:?}")))?;
            answers.join(row.number, flight)
        }
        Err(reason) => Ok(Outcome::dead_letter(row, reason)),
    }
}

/// What is done with a row whose look-ups failed for good.
enum OnError {
    End,
    PutAside,
}

impl ErrorPolicy<Row, Outcome> for OnError {
    fn judge(&mut self, failed: Failed<Row>) -> Recovery<Row, Outcome> {
        match (self, &failed.cause) {
            (OnError::PutAside, Cause::Failed(cause)) => {
                let reason = Rule::Unanswered.because(cause.to_string());
                Recovery::Output(Outcome::dead_letter(failed.record, reason))
            }
            _ => Recovery::Fail(failed),
        }
    }
}

/// Runs the job to its end, and says where it goes on from.
async fn finish<O, K>(job: Job<O, K>, runtime: &Runtime, totals: &Totals) -> Result<Report, Failure>
where
    O: Operator,
    K: Sink<O::Item>,
{
    let running = job.start(runtime.handle()).await;
    let running = running.map_err(|error| explain(&error))?;
    if let Some(restored) = running.restored() {
        totals.say(&goes_on(restored, totals.counts().rows()));
    }
    running.await.map_err(|error| explain(&error))
}

fn goes_on(restored: &Restored, rows: u64) -> String {
    let refused = restored.refused.iter();
    let refused: String = refused
        .map(|refused| format!("; not from {refused}"))
        .collect();
    let from = restored.path.display();
    match restored.is_last {
        true => format!(
            "there is nothing left to do: {from} is of a run that has ended, with {rows} rows{refused}"
        ),
        false => format!("goes on from {from}, behind {rows} rows{refused}"),
    }
}

/// The failure of a row names that row, and that of an output the output; the pipeline's own words would only repeat it.
fn explain(error: &PipelineError) -> Failure {
    match error {
        PipelineError::Stage(error) => explain_stage(error),
        PipelineError::Sink(error) => Failure::new(error.to_string()),
        other => Failure::new(other.to_string()),
    }
}

/// Of a row that had no time to fail, the stage alone knows.
fn explain_stage(error: &StageError) -> Failure {
    match (error.cause(), error.record_debug()) {
        (Cause::Failed(failure) | Cause::Input(failure), _) => Failure::new(failure.to_string()),
        (cause, Some(row)) => Failure::new(format!("{row}: {cause}")),
        (cause, None) => Failure::new(cause.to_string()),
    }
}
