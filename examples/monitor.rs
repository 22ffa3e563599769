//! Watches departures and weather, and tells a webhook when an airport is in trouble.
//!
//! What it teaches: a job that reads two kinds of events, puts them into windows of event time, and has its results *delivered*: each
//! alert is posted over HTTP until somebody has it. A webhook that is busy, hangs, or is not there yet, is asked again; an
//! alert that it refuses, or that it does not take however often it is asked, becomes a dead letter. With `--state` the job may be
//! killed at any moment and started again: then an alert may come twice (its `id` tells), but none is lost.
//!
//! ```text
//! cargo run --release --example monitor
//! cargo run --release --example monitor -- --webhook http://127.0.0.1:8080/alerts --state monitor.state
//! cargo run --release --example monitor -- --help
//! ```
//!
//! The rule: every hour, the last three hours of each airport are looked at. If at least 10 flights were to leave, and a quarter of
//! them left an hour late or never, that is an alert, and the weather of these hours is told with it.
//!
//! | file | what it does |
//! |---|---|
//! | `monitor/events.rs` | makes events of the rows of both tables |
//! | `monitor/alerts.rs` | what the events of a window come to, and the rule |
//! | `monitor/delivery.rs` | posts an alert; when it is posted again; dead letters |
//! | `monitor/http.rs` | as much of HTTP/1.1 as that takes |
//! | `monitor/webhook.rs` | who gets the alerts, unless `--webhook` names another |

#[path = "monitor/alerts.rs"]
mod alerts;
#[path = "monitor/delivery.rs"]
mod delivery;
#[path = "monitor/events.rs"]
mod events;
#[path = "monitor/http.rs"]
mod http;
#[path = "monitor/webhook.rs"]
mod webhook;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use clap::Parser;
use peu::pipeline::{
    AsyncSink, CsvFile, Operator, Pipeline, Running, Watermarks, Windowed, Windows, every,
};
use peu::{Handle, Runtime};

use crate::alerts::{Alert, Situation};
use crate::delivery::{DeadLetterFile, Tally, options, post};
use crate::events::{Event, Flight, Weather};
use crate::http::Endpoint;
use crate::webhook::Webhook;

const HOUR: Duration = Duration::from_secs(3_600);

/// Flights are listed by day, but not by hour: none is earlier than another of the day before.
const DISORDER: Duration = Duration::from_secs(24 * 3_600);

/// Where flights leave. The weather is listed by airport, so each airport's is a stream of its own: all in one, it would be out of
/// order by a month, and no window complete before the end.
const AIRPORTS: [&str; 3] = ["EWR", "JFK", "LGA"];

/// Raise alerts from departures and weather, and post each to a webhook until it has it.
#[derive(Parser)]
#[command(name = "monitor", max_term_width = 110, args_override_self = true)]
struct Args {
    /// Departures, as CSV
    #[arg(long, value_name = "FILE", default_value = "examples/data/flights.csv")]
    flights: PathBuf,
    /// The hourly weather, as CSV
    #[arg(long, value_name = "FILE", default_value = "examples/data/weather.csv")]
    weather: PathBuf,
    /// Who gets the alerts, http://HOST[:PORT][/PATH]; by default somebody inside of this program, who is often busy
    #[arg(long, value_name = "URL")]
    webhook: Option<Endpoint>,
    /// Alerts that could not be delivered are added to this file, one JSON object a line
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/monitor/dead-letters.jsonl"
    )]
    dead_letters: PathBuf,
    /// Make checkpoints in this folder, and go on from the newest that is there
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Milliseconds between two checkpoints
    #[arg(long, value_name = "MS", default_value_t = 1_000)]
    every: u64,
    /// How often an alert is posted again, before it is a dead letter
    #[arg(long, value_name = "N", default_value_t = 10)]
    retries: u32,
    /// Milliseconds that the webhook has for its answer
    #[arg(long, value_name = "MS", default_value_t = 5_000)]
    timeout: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match Runtime::new()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run(&args)))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("monitor: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let (endpoint, own) = match &args.webhook {
        Some(endpoint) => (endpoint.clone(), None),
        None => {
            let own = Webhook::start().await?;
            (own.endpoint(), Some(own))
        }
    };
    let tally = Arc::new(Tally::default());
    let job = start(args, endpoint, &tally).await?;
    match job.restored() {
        Some(restored) => println!("goes on from {}", restored.path.display()),
        None => println!("begins anew"),
    }
    let report = job.await?;
    let [posts, dead, late] = tally.counts();
    println!(
        "raised {} alerts: {} posts, {dead} dead letters; {late} events came too late",
        report.written, posts
    );
    if dead > 0 {
        println!("the dead letters are in {}", args.dead_letters.display());
    }
    if let Some(webhook) = own {
        webhook.tell(&AIRPORTS);
    }
    Ok(())
}

/// The whole of the work.
async fn start(
    args: &Args,
    endpoint: Endpoint,
    tally: &Arc<Tally>,
) -> Result<Running, Box<dyn Error>> {
    let dead_letters = DeadLetterFile::open(&args.dead_letters)?;
    let options = options(
        args.retries,
        Duration::from_millis(args.timeout),
        dead_letters,
        tally,
    );
    let (posts, lates) = (Arc::clone(tally), Arc::clone(tally));
    let deliver = move |alerts| {
        posts.posts.fetch_add(1, Relaxed);
        post(endpoint.clone(), alerts)
    };
    let job = events(&args.flights, &args.weather)
        .key_by(|event: &Event| event.airport.clone())
        .aggregate(
            Windows::sliding(3 * HOUR, HOUR),
            Situation::add,
            move |_late| {
                lates.late.fetch_add(1, Relaxed);
            },
        )
        .flat_map(|window: Windowed<String, Situation>| Alert::of(&window))
        .sink(AsyncSink::new("webhook", deliver, options));
    let job = match &args.state {
        Some(state) => job.checkpoint(every(Duration::from_millis(args.every)).restore(), state),
        None => job,
    };
    Ok(job.start(&Handle::current()).await?)
}

/// Departures, and the weather of each airport, in one stream.
fn events(flights: &Path, weather: &Path) -> Pipeline<impl Operator<Item = Event> + use<>> {
    let departures = Pipeline::source(CsvFile::<Flight>::open(flights))
        .map(Event::from)
        .event_time(Event::time, Watermarks::bounded(DISORDER));
    let [newark, kennedy, la_guardia] = AIRPORTS.map(|airport| {
        Pipeline::source(CsvFile::<Weather>::open(weather))
            .filter(move |weather| weather.origin == airport)
            .map(Event::from)
            .event_time(Event::time, Watermarks::ascending())
    });
    departures.union(newark).union(kennedy).union(la_guardia)
}
