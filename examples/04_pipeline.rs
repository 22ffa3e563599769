//! Rung 4 of the ladder: a pipeline that survives `kill -9`.
//!
//! What it teaches: reading, looking up, and writing exactly once are three lines when the loop, the tasks and the operators are
//! there. The airline of each flight is asked for over TCP, many at a time. Kill the program at any moment, start it again: it goes
//! on from its last checkpoint, and the output has each flight once.
//!
//! ```text
//! cargo run --release --example 04_pipeline -- --output airlines.jsonl --state airlines.state
//! cargo run --release --example 04_pipeline -- --help
//! ```
//!
//! Next: `enrich.rs`, a whole job on the same loop.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use futures_lite::io::BufReader;
use futures_lite::{AsyncBufReadExt, AsyncWriteExt};
use peu::net::{TcpListener, TcpStream};
use peu::operators::{AsyncOptions, EventTime, Jitter, Retry};
use peu::pipeline::{CsvFile, JsonLines, Pipeline, PipelineError, Running, Watermarks, every};
use peu::{Handle, Runtime};
use serde::{Deserialize, Serialize};

#[derive(Parser)]
struct Args {
    /// Flights, as CSV
    #[arg(long, default_value = "examples/data/flights.csv")]
    input: PathBuf,
    /// Flights with the names of their airlines, as lines of JSON
    #[arg(long, default_value = "airlines.jsonl")]
    output: PathBuf,
    /// The folder of the checkpoints
    #[arg(long, default_value = "airlines.state")]
    state: PathBuf,
    /// Milliseconds between two checkpoints
    #[arg(long, default_value_t = 1_000)]
    every: u64,
    /// Write flights in the order of the input
    #[arg(long)]
    ordered: bool,
    /// A server that answers each line, an airline's code, with its name; by default one inside of this program
    #[arg(long)]
    server: Option<SocketAddr>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Flight {
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    carrier: String,
    flight: u32,
    origin: String,
    dest: String,
}

/// A line of the output.
#[derive(Debug, Serialize, Deserialize)]
struct Named {
    flight: Flight,
    airline: String,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match Runtime::new()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run(&args)))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("04_pipeline: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let server = match args.server {
        Some(server) => server,
        None => start_server(Path::new("examples/data/airlines.csv")).await?,
    };
    let job = start(args, server).await?;
    match job.restored() {
        Some(restored) => println!("goes on from {}", restored.path.display()),
        None => println!("begins anew"),
    }
    let report = job.await?;
    println!(
        "wrote {} flights, made {} checkpoints",
        report.written, report.checkpoints
    );
    Ok(())
}

/// The whole of the work.
async fn start(args: &Args, server: SocketAddr) -> Result<Running, PipelineError> {
    let (shortest, longest) = (Duration::from_millis(10), Duration::from_secs(1));
    let options = match args.ordered {
        true => AsyncOptions::ordered(),
        false => AsyncOptions::unordered(),
    };
    let options = options
        .capacity(64)
        .timeout(Duration::from_secs(10))
        .retry(Retry::exponential(shortest..longest).jitter(Jitter::Full));
    let connections = Connections::to(server);
    Pipeline::source(CsvFile::<Flight>::open(&args.input))
        .event_time(
            Flight::departure,
            Watermarks::bounded(Duration::from_secs(3_600)),
        )
        .async_map(
            "airline",
            move |flight| name(connections.clone(), flight),
            options,
        )
        .sink(JsonLines::create(&args.output))
        .checkpoint(
            every(Duration::from_millis(args.every)).restore(),
            &args.state,
        )
        .start(&Handle::current())
        .await
}

impl Flight {
    /// Counted from the start of a year whose months have 31 days: what counts is which flight is earlier.
    fn departure(&self) -> EventTime {
        let days = (self.month - 1) * 31 + self.day - 1;
        let minutes = i64::from((days * 24 + self.hour) * 60 + self.minute);
        EventTime::from_millis(minutes * 60_000)
    }
}

async fn name(connections: Connections, flight: Flight) -> io::Result<Named> {
    let airline = connections.ask(&flight.carrier).await?;
    Ok(Named { flight, airline })
}

/// As many connections as there are requests at a time, each for one request at a time.
#[derive(Clone)]
struct Connections {
    server: SocketAddr,
    idle: Arc<Mutex<VecDeque<BufReader<TcpStream>>>>,
}

impl Connections {
    fn to(server: SocketAddr) -> Self {
        let idle = Arc::default();
        Self { server, idle }
    }

    async fn ask(&self, code: &str) -> io::Result<String> {
        let idle = self
            .idle
            .lock()
            .expect("no one panics with the lock")
            .pop_front();
        let mut connection = match idle {
            Some(connection) => connection,
            None => BufReader::new(TcpStream::connect(self.server).await?),
        };
        connection
            .get_mut()
            .write_all(format!("{code}\n").as_bytes())
            .await?;
        let mut answer = String::new();
        if connection.read_line(&mut answer).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        // One that failed or was given up in the middle does not come back: dropped, it is closed.
        self.idle
            .lock()
            .expect("no one panics with the lock")
            .push_back(connection);
        Ok(answer.trim_end().to_owned())
    }
}

/// Answers on a port of its own, until the runtime ends.
async fn start_server(airlines: &Path) -> Result<SocketAddr, Box<dyn Error>> {
    let names: HashMap<String, String> = csv::Reader::from_path(airlines)?
        .deserialize()
        .collect::<Result<_, _>>()?;
    let names = Arc::new(names);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    drop(peu::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let names = Arc::clone(&names);
            // A client that leaves ends its connection, and nothing else.
            drop(peu::spawn(async move { drop(serve(stream, &names).await) }));
        }
    }));
    Ok(address)
}

async fn serve(stream: TcpStream, names: &HashMap<String, String>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut code = String::new();
    while stream.read_line(&mut code).await? > 0 {
        let name = names.get(code.trim_end()).map_or("", String::as_str);
        stream
            .get_mut()
            .write_all(format!("{name}\n").as_bytes())
            .await?;
        code.clear();
    }
    Ok(())
}
