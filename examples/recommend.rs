//! Recommends routes: with each booking a traveller's profile grows, and tells where the traveller may like to fly next.
//!
//! What it teaches: state that lives elsewhere, in a keyed store behind a socket that takes its time.
//!
//! - A profile is read, changed and written back, which are two requests. Done for two bookings of one traveller at a time, one booking
//!   would be lost; done for one booking at a time, the job would take hours. A **key-ordered** stage does it for many travellers
//!   at a time and for each of them in turn.
//! - The store is not part of a **checkpoint** (`--state`). A job that was killed and goes on makes again what was unfinished, and reads what it
//!   has itself written since. So bookings have numbers: to add one again changes nothing, and a profile tells what it was at any of them. The
//!   recommendations are then those of a job that was left alone.
//! - What goes with a destination is asked for again and again: a **cache** asks once, however many wait.
//! - A recommendation that comes late is worth nothing: after a **timeout** the traveller gets what everybody likes, the **fallback**.
//!
//! ```text
//! cargo run --release --example recommend
//! cargo run --release --example recommend -- --delay 20 --timeout 10
//! cargo run --release --example recommend -- --store 127.0.0.1:7000 --state recommend.state
//! cargo run --release --example recommend -- --help
//! ```
//!
//! Nobody publishes who sat in an aircraft. So the aircraft themselves are the travellers here: each flight is a booking of the one that
//! flew it, and as people they keep to the routes that they know.
//!
//! | file | what it does |
//! |---|---|
//! | `recommend/taste.rs` | bookings, profiles, which destinations go together, and the rule |
//! | `recommend/store.rs` | a client of the keyed store, and the store inside of this program |

#[path = "recommend/store.rs"]
mod store;
#[path = "recommend/taste.rs"]
mod taste;

use std::error::Error;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use peu::operators::{AsyncOptions, Cache, CacheOptions, Fallback};
use peu::pipeline::{CsvFile, JsonLines, Pipeline, Report, every};
use peu::{Handle, Runtime};

use crate::store::Store;
use crate::taste::{Booking, Flight, Likes, Profile, Row, Similar, Together, Visited};

/// What goes with a destination changes once a night, so an hour is soon enough.
const FRESH: Duration = Duration::from_secs(3_600);

type Tables = Cache<String, Similar, io::Error>;

/// Recommend routes to travellers, from the bookings that they have made.
#[derive(Parser)]
#[command(name = "recommend", max_term_width = 110, args_override_self = true)]
struct Args {
    /// Flights, as CSV: each is a booking
    #[arg(long, value_name = "FILE", default_value = "examples/data/flights.csv")]
    input: PathBuf,
    /// A recommendation for each booking, one JSON object a line
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/recommend/likes.jsonl"
    )]
    output: PathBuf,
    /// Stop after this many rows
    #[arg(long, value_name = "ROWS", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
    /// The keyed store; by default one inside of this program
    #[arg(long, value_name = "HOST:PORT")]
    store: Option<SocketAddr>,
    /// Milliseconds after which the store inside of this program answers
    #[arg(long, value_name = "MS", default_value_t = 2)]
    delay: u64,
    /// Milliseconds that a recommendation may take, before it is the fallback
    #[arg(long, value_name = "MS", default_value_t = 250)]
    timeout: u64,
    /// The folder of the checkpoints: with it, a run that was killed is gone on with. The store must outlive it as well
    #[arg(long, value_name = "DIR", requires = "store")]
    state: Option<PathBuf>,
    /// Milliseconds between two checkpoints
    #[arg(long, value_name = "MS", default_value_t = 1_000)]
    every: u64,
    /// How many bookings are dealt with at a time
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    capacity: u16,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match Runtime::new()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run(&args)))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("recommend: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let address = match args.store {
        Some(address) => address,
        None => store::start(Duration::from_millis(args.delay)).await?,
    };
    let (store, input, limit) = (Store::at(address), args.input.clone(), args.limit);
    let together = peu::spawn_blocking(move || Together::learn(&input, limit)).await??;
    for (destination, similar) in together.similar() {
        store
            .put(&format!("similar:{destination}"), &similar)
            .await?;
    }
    let tables = tables(&store);
    let report = recommend(args, &store, &tables, together.popular()).await?;
    tell(args, &report, &tables);
    Ok(())
}

/// What goes with each destination, as the store has it.
fn tables(store: &Store) -> Tables {
    let options = CacheOptions::entries(1_000)
        .expire_after_write(FRESH)
        .keep_misses(FRESH);
    let store = store.clone();
    Cache::new(&Handle::current(), options, move |destination: String| {
        let store = store.clone();
        async move { store.get(&format!("similar:{destination}")).await }
    })
}

/// The whole of the work.
async fn recommend(
    args: &Args,
    store: &Store,
    tables: &Tables,
    popular: Similar,
) -> Result<Report, Box<dyn Error>> {
    if let Some(folder) = args.output.parent() {
        let made = fs::create_dir_all(folder);
        made.map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    }
    let (store, tables) = (store.clone(), tables.clone());
    let capacity = usize::from(args.capacity);
    let by_traveller = AsyncOptions::key_ordered(|booking: &Booking| booking.traveller.clone());
    let in_time = AsyncOptions::ordered().capacity(capacity).timeout_with(
        Duration::from_millis(args.timeout),
        move |visited: &Visited| Fallback::Output(Likes::fallback(visited, &popular)),
    );
    let limit = args.limit;
    let job = Pipeline::source(CsvFile::<Flight>::open(&args.input))
        .map(Row::new)
        // Numbers that a checkpoint has: a counter in a closure would begin anew.
        .key_by(|_| ())
        .reduce(Row::follow)
        .filter(move |row| row.number <= limit)
        .flat_map(Booking::of)
        .async_map(
            "profile",
            move |booking| book(store.clone(), booking),
            by_traveller.capacity(capacity),
        )
        .async_map(
            "likes",
            move |visited| likes(tables.clone(), visited),
            in_time,
        )
        .sink(JsonLines::create(&args.output));
    let job = match &args.state {
        Some(state) => job.checkpoint(every(Duration::from_millis(args.every)).restore(), state),
        None => job,
    };
    let job = job.start(&Handle::current()).await?;
    if let Some(restored) = job.restored() {
        println!("goes on from {}", restored.path.display());
    }
    Ok(job.await?)
}

/// Adds a booking to its traveller's profile.
async fn book(store: Store, booking: Booking) -> io::Result<Visited> {
    let key = format!("profile:{}", booking.traveller);
    let mut profile: Profile = store.get(&key).await?.unwrap_or_default();
    profile.add(&booking);
    store.put(&key, &profile).await?;
    let visits = profile.visits(&booking);
    Ok(Visited { booking, visits })
}

/// Where the traveller may like to fly.
async fn likes(tables: Tables, visited: Visited) -> Result<Likes, Arc<io::Error>> {
    let mut similar = Vec::new();
    for (destination, visits) in visited.visits.favourites() {
        if let Some(table) = tables.get(destination).await? {
            similar.push((visits, table));
        }
    }
    Ok(Likes::new(&visited, &similar))
}

fn tell(args: &Args, report: &Report, tables: &Tables) {
    for (name, stage) in &report.stages {
        if **name == *"likes" {
            println!(
                "made {} recommendations, {} of them what everybody likes since there was no time",
                stage.accepted, stage.timed_out
            );
        }
    }
    let cache = tables.metrics();
    println!(
        "asked {} times what goes with a destination: {} found in the cache, {} waited, {} loads",
        cache.hits + cache.misses,
        cache.hits,
        cache.misses,
        cache.loads
    );
    println!("they are in {}", args.output.display());
}
