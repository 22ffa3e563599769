//! Whether a runtime with nothing to do stays asleep: wake-ups and CPU time per second, of peu and of tokio.
//!
//! `cargo run --release -p peu-benches --bin idle -- --help`. The method is in benches/README.md.

#![forbid(unsafe_code)]

use clap::Parser;
use peu_benches::os;
use peu_benches::stats::table;
use serde::Serialize;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// Count the wake-ups of idle runtimes.
#[derive(Debug, Parser)]
struct Args {
    /// Workers
    #[arg(long, default_value_t = 2)]
    workers: usize,

    /// Connections on which a task waits that nothing will ever arrive on
    #[arg(long, default_value_t = 100)]
    connections: usize,

    /// Seconds to settle, and then to count
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,

    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    runtime: &'static str,
    wakeups_per_second: f64,
    cpu_us_per_second: f64,
}

/// A timer that waits as well, and is due long after the count has ended.
const FAR: Duration = Duration::from_secs(3600);

fn main() -> io::Result<()> {
    let args = Args::parse();
    let rows = [peu(&args)?, tokio(&args)?];
    match args.json {
        true => println!(
            "{}",
            serde_json::to_string_pretty(&rows).map_err(io::Error::other)?
        ),
        false => print!("{}", render(&rows)),
    }
    Ok(())
}

fn peu(args: &Args) -> io::Result<Row> {
    let runtime = peu::Runtime::builder().workers(args.workers).build()?;
    let (ours, _theirs) = pairs(args.connections)?;
    for stream in ours {
        runtime.spawn(async move {
            let stream = peu::net::TcpStream::from_std(stream)?;
            stream.readable().await
        });
    }
    runtime.spawn(async { peu::time::sleep(FAR).await });
    count("peu", args)
}

fn tokio(args: &Args) -> io::Result<Row> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.workers)
        .enable_all()
        .build()?;
    let (ours, _theirs) = pairs(args.connections)?;
    for stream in ours {
        runtime.spawn(async move {
            let stream = tokio::net::TcpStream::from_std(stream)?;
            stream.readable().await
        });
    }
    runtime.spawn(async { tokio::time::sleep(FAR).await });
    count("tokio", args)
}

/// Both ends of so many connections, the first ones not blocking.
fn pairs(number: usize) -> io::Result<(Vec<TcpStream>, Vec<TcpStream>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..number {
        theirs.push(TcpStream::connect(listener.local_addr()?)?);
        let (stream, _) = listener.accept()?;
        stream.set_nonblocking(true)?;
        ours.push(stream);
    }
    Ok((ours, theirs))
}

/// Counts every other thread's wake-ups: a thread that went to sleep once more was awake before.
fn count(runtime: &'static str, args: &Args) -> io::Result<Row> {
    std::thread::sleep(Duration::from_secs_f64(args.seconds));
    let (sleeps, cpu) = (
        os::sleeps_of_other_threads()?,
        os::cpu_time(std::process::id())?,
    );
    std::thread::sleep(Duration::from_secs_f64(args.seconds));
    let (more_sleeps, more_cpu) = (
        os::sleeps_of_other_threads()?,
        os::cpu_time(std::process::id())?,
    );
    Ok(Row {
        runtime,
        wakeups_per_second: (more_sleeps - sleeps) as f64 / args.seconds,
        cpu_us_per_second: (more_cpu - cpu).as_secs_f64() * 1e6 / args.seconds,
    })
}

fn render(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        vec![
            row.runtime.to_owned(),
            format!("{:.1}", row.wakeups_per_second),
            format!("{:.0}", row.cpu_us_per_second),
        ]
    };
    let rows: Vec<_> = rows.iter().map(cells).collect();
    table(
        &["runtime", "wake-ups/s", "CPU us/s, measuring included"],
        &rows,
        1,
    )
}
