//! The job on peu: rows flow through an async stage that keeps the look-ups of many of them in flight.
//!
//! ```text
//! flights.csv -> rows -> stage: clean, four look-ups at once, join -> sink: output, dead letters
//! a thread that may block   a task of its own on a worker             this thread
//! ```

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::{Stream, StreamExt as _, future, stream};
use peu::Runtime;
use peu::operators::{AsyncOptions, Cause, StageError, StreamExt as _};

use crate::clean::{Flight, clean};
use crate::cli::{Args, Order};
use crate::client::Client;
use crate::failure::{Context, Failure};
use crate::flights::{Flights, Row};
use crate::join::{Answer, Answers, DeadLetter, Keys, Outcome};
use crate::progress::Gauge;
use crate::sink::Sink;

/// So many rows are read at once: the way to the thread and back takes as long as reading some ten of them.
const BLOCK: usize = 256;

/// Cleans, looks up and writes, many rows at a time.
pub(crate) fn run(
    flights: Flights,
    address: &str,
    patience: Duration,
    args: &Args,
    in_flight: &Gauge,
    sink: &mut Sink,
) -> Result<(), Failure> {
    let runtime = runtime(args.workers).context(|| "cannot start the event loop".to_owned())?;
    let options = match args.order() {
        Order::Ordered => AsyncOptions::ordered(),
        Order::Unordered => AsyncOptions::unordered(),
    };
    let options = options.capacity(args.capacity());
    let done = runtime.block_on(async {
        let connections = args.connections();
        let client = Client::connect(address, connections, patience, in_flight.clone()).await?;
        let client = Arc::new(client);
        let mut outcomes = rows(flights).try_async_map(
            runtime.handle(),
            "enrich",
            move |row| enrich(row, Arc::clone(&client)),
            options,
        );
        while let Some(outcome) = outcomes.next().await {
            sink.take(&outcome.map_err(|error| explain(&error))?)?;
        }
        Ok(())
    });
    // A run that failed may leave a read of a silent pipe behind: the process ends without it.
    let _still_reading = runtime.shutdown(Duration::from_secs(1));
    done
}

/// All rows, a block at a time. Reading is for a thread that may block: a pipe can be slow, and a worker that waits for it
/// looks nothing up.
fn rows(flights: Flights) -> impl Stream<Item = Result<Row, Failure>> {
    let blocks = stream::unfold(Some(flights), |flights| async {
        let mut flights = flights?;
        let read = peu::spawn_blocking(move || {
            let block: Vec<_> = flights.by_ref().take(BLOCK).collect();
            (block, flights)
        });
        match read.await {
            Ok((block, _)) if block.is_empty() => None,
            Ok((block, flights)) => Some((block, Some(flights))),
            Err(error) => Some((
                vec![Err(error).context(|| "cannot read rows".to_owned())],
                None,
            )),
        }
    });
    blocks.map(stream::iter).flatten()
}

fn runtime(workers: Option<NonZeroUsize>) -> std::io::Result<Runtime> {
    let builder = Runtime::builder().thread_name("enrich");
    match workers {
        Some(workers) => builder.workers(workers.get()).build(),
        None => builder.build(),
    }
}

/// What becomes of one row. A dead letter asks nothing of the server.
async fn enrich(row: Row, client: Arc<Client>) -> Result<Outcome, Failure> {
    match clean(&row.columns()?) {
        Ok(flight) => {
            let answers = look_up(&client, &flight).await;
            let answers = answers.context(|| format!("row {}", row.number))?;
            answers.join(row.number, flight)
        }
        Err(reason) => Ok(DeadLetter::outcome(row, reason)),
    }
}

/// The four look-ups of a flight, at the same time. The first that fails ends them all.
async fn look_up(client: &Client, flight: &Flight) -> Result<Answers, Failure> {
    let keys = Keys::of(flight);
    let plane = async {
        match keys.plane {
            Some(key) => get(client, key).await.map(Some),
            None => Ok(None),
        }
    };
    let of_route = future::try_zip(get(client, keys.airport), get(client, keys.airline));
    let of_day = future::try_zip(plane, get(client, keys.weather));
    let ((airport, airline), (plane, weather)) = future::try_zip(of_route, of_day).await?;
    Ok(Answers {
        plane,
        airport,
        airline,
        weather,
    })
}

/// The failure of a row names that row; the stage's own words would only repeat it. Of a row that had no time to fail,
/// the stage alone knows.
fn explain(error: &StageError) -> Failure {
    match (error.cause(), error.record_debug()) {
        (Cause::Failed(failure) | Cause::Input(failure), _) => Failure::new(failure.to_string()),
        (cause, Some(row)) => Failure::new(format!("{row}: {cause}")),
        (cause, None) => Failure::new(cause.to_string()),
    }
}

async fn get(client: &Client, key: String) -> Result<Answer, Failure> {
    let started = Instant::now();
    let value = client.get(&key).await?;
    Ok(Answer {
        key,
        value,
        took: started.elapsed(),
    })
}
