//! How many HTTP/1.1 requests a second of CPU serves: hyper on peu and hyper on tokio, loaded by wrk.
//!
//! `cargo run --release -p peu-benches --bin hello -- --help`. The method is in benches/README.md.

#![forbid(unsafe_code)]

mod on_peu;
mod on_tokio;

use clap::{Parser, Subcommand, ValueEnum};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use peu_benches::process::{Server, listen};
use peu_benches::stats::{median, quantile, table};
use std::convert::Infallible;
use std::io;
use std::process::Command;

/// Measure hyper's requests per second of CPU, on two runtimes. Needs wrk.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,

    /// Numbers of workers
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    workers: Vec<usize>,

    /// Connections
    #[arg(long, default_value_t = 64)]
    connections: u32,

    /// Rounds; in each of them both servers have their turn
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,

    /// Seconds of a window
    #[arg(long, default_value_t = 1)]
    seconds: u32,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Be one of the servers
    #[command(hide = true)]
    Serve {
        host: Host,
        #[arg(long)]
        workers: usize,
    },
}

/// On what hyper runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Host {
    Peu,
    Tokio,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    match args.role {
        Some(Role::Serve { host, workers }) => match host {
            Host::Peu => on_peu::serve(listen()?, workers),
            Host::Tokio => on_tokio::serve(listen()?, workers),
        },
        None => args
            .workers
            .iter()
            .try_for_each(|&workers| measure(&args, workers)),
    }
}

/// The service that both have.
async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"hello"))))
}

fn measure(args: &Args, workers: usize) -> io::Result<()> {
    let count = workers.to_string();
    let start = |host| Server::start(&["serve", host, "--workers", &count]);
    let servers = [start("peu")?, start("tokio")?];
    // Once without counting.
    servers
        .iter()
        .try_for_each(|server| requests(args, server).map(drop))?;
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..args.rounds as usize {
        for turn in 0..servers.len() {
            // Each round begins with the other server.
            let place = (round + turn) % servers.len();
            rates[place].push(per_cpu_second(args, &servers[place])?);
        }
    }
    print!("{}", render(workers, &rates));
    Ok(())
}

/// Requests for each second of the server's CPU.
fn per_cpu_second(args: &Args, server: &Server) -> io::Result<f64> {
    let before = server.usage()?.cpu;
    let requests = requests(args, server)?;
    let cpu = server.usage()?.cpu - before;
    Ok(requests as f64 / cpu.as_secs_f64())
}

/// How many requests wrk has made, all of which were answered as they should be.
fn requests(args: &Args, server: &Server) -> io::Result<u64> {
    let output = Command::new("wrk")
        .args([
            "--threads",
            "1",
            "--connections",
            &args.connections.to_string(),
        ])
        .args(["--duration", &format!("{}s", args.seconds)])
        .arg(format!("http://{}/", server.address()))
        .output()
        .map_err(|error| io::Error::other(format!("wrk: {error}; is it installed?")))?;
    let told = String::from_utf8_lossy(&output.stdout);
    let unexpected = || io::Error::other(format!("{} under wrk: {told}", server.name()));
    if told.contains("Socket errors") || told.contains("Non-2xx") {
        return Err(unexpected());
    }
    let line = told
        .lines()
        .find_map(|line| line.split_once(" requests in "));
    line.and_then(|(number, _)| number.trim().parse().ok())
        .ok_or_else(unexpected)
}

fn render(workers: usize, [peu, tokio]: &[Vec<f64>; 2]) -> String {
    let ratios: Vec<f64> = peu
        .iter()
        .zip(tokio)
        .map(|(peu, tokio)| peu / tokio)
        .collect();
    let [low, middle, high] = [0.25, 0.5, 0.75].map(|q| quantile(&ratios, q));
    let row = vec![
        workers.to_string(),
        format!("{:.0}", median(peu)),
        format!("{:.0}", median(tokio)),
        format!("{middle:.3} [{low:.3} {high:.3}]"),
    ];
    table(
        &[
            "workers",
            "peu requests/CPU s",
            "tokio requests/CPU s",
            "ratio",
        ],
        &[row],
        1,
    )
}
