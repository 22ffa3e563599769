//! What runtimes with nothing to do cost: memory, accepting, wake-ups and CPU time of servers whose connections are silent.
//!
//! `cargo run --release -p peu-benches --bin idle -- --help`. The method is in benches/README.md.

#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use peu_benches::process::Server;
use peu_benches::serve::{Beside, Kind, Serve};
use peu_benches::stats::{median, table};
use serde::Serialize;
use std::fs;
use std::io;
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Measure servers with silent connections.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,

    /// The servers to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Kind::Mio, Kind::Tokio, Kind::Smol, Kind::Peu])]
    servers: Vec<Kind>,

    /// Workers of the runtimes
    #[arg(long, default_value_t = 2)]
    workers: usize,

    /// Connections on which a task waits that nothing will ever arrive on; each is a descriptor here and one in the server
    #[arg(long, default_value_t = 100)]
    connections: usize,

    /// Seconds to settle, and then to count
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,

    /// Rounds; in each of them every server has its turn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,

    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Serve echo: what the measurement starts as processes of their own
    #[command(hide = true)]
    Serve(Serve),
}

/// A server, the medians over the rounds.
#[derive(Debug, Serialize)]
struct Row {
    server: Kind,
    /// From the first connection to the last one's being accepted.
    accepted_ms: f64,
    /// The server's CPU time until then, per connection.
    accept_cpu_us: f64,
    /// Resident, in user space.
    bytes_per_connection: f64,
    wakeups_per_second: f64,
    cpu_us_per_second: f64,
}

/// How long all connections may take to be accepted. Far beyond what an overloaded machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.role {
        Some(Role::Serve(serve)) => serve.run(),
        None => measure(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("idle: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> io::Result<()> {
    let servers = &args.servers;
    let mut seen: Vec<Vec<Row>> = servers.iter().map(|_| Vec::new()).collect();
    for round in 0..args.rounds as usize {
        for turn in 0..servers.len() {
            let place = (round + turn) % servers.len();
            seen[place].push(one(servers[place], args)?);
        }
    }
    let rows: Vec<Row> = seen.iter().map(|rows| summarize(rows)).collect();
    match args.json {
        true => println!(
            "{}",
            serde_json::to_string_pretty(&rows).map_err(io::Error::other)?
        ),
        false => print!("{}", render(&rows)),
    }
    Ok(())
}

/// One server's turn, with one more task that sleeps for an hour.
fn one(kind: Kind, args: &Args) -> io::Result<Row> {
    let server = Serve::start(kind, args.workers, Beside::Timer)?;
    let (empty, before) = (server.memory()?, server.usage()?);
    let descriptors = descriptors(&server)?;
    let begin = Instant::now();
    let connections = (0..args.connections)
        .map(|_| TcpStream::connect(server.address()))
        .collect::<io::Result<Vec<_>>>()?;
    while self::descriptors(&server)? < descriptors + args.connections {
        if begin.elapsed() > PATIENCE {
            let text = format!("{} did not accept all connections", server.name());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let (accepted, accepting) = (begin.elapsed(), server.usage()?);
    std::thread::sleep(Duration::from_secs_f64(args.seconds));
    let (memory, settled) = (server.memory()?, server.usage()?);
    std::thread::sleep(Duration::from_secs_f64(args.seconds));
    let end = server.usage()?;
    drop(connections);
    let each = |value: f64| value / args.connections.max(1) as f64;
    Ok(Row {
        server: kind,
        accepted_ms: accepted.as_secs_f64() * 1e3,
        accept_cpu_us: each((accepting.cpu - before.cpu).as_secs_f64() * 1e6),
        bytes_per_connection: each(memory.saturating_sub(empty) as f64),
        wakeups_per_second: end.sleeps.saturating_sub(settled.sleeps) as f64 / args.seconds,
        cpu_us_per_second: (end.cpu - settled.cpu).as_secs_f64() * 1e6 / args.seconds,
    })
}

/// How many descriptors the server has: one more for each connection that it accepted.
fn descriptors(server: &Server) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{}/fd", server.id()))?.count())
}

fn summarize(rows: &[Row]) -> Row {
    let medians = |value: fn(&Row) -> f64| median(&rows.iter().map(value).collect::<Vec<_>>());
    Row {
        server: rows[0].server,
        accepted_ms: medians(|row| row.accepted_ms),
        accept_cpu_us: medians(|row| row.accept_cpu_us),
        bytes_per_connection: medians(|row| row.bytes_per_connection),
        wakeups_per_second: medians(|row| row.wakeups_per_second),
        cpu_us_per_second: medians(|row| row.cpu_us_per_second),
    }
}

fn render(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        vec![
            row.server.name().to_owned(),
            format!("{:.0}", row.accepted_ms),
            format!("{:.2}", row.accept_cpu_us),
            format!("{:.0}", row.bytes_per_connection),
            format!("{:.1}", row.wakeups_per_second),
            format!("{:.0}", row.cpu_us_per_second),
        ]
    };
    let rows: Vec<_> = rows.iter().map(cells).collect();
    let headline = [
        "server",
        "accepted ms",
        "accept CPU us/conn",
        "bytes/conn",
        "wake-ups/s",
        "CPU us/s",
    ];
    table(&headline, &rows, 1)
}
