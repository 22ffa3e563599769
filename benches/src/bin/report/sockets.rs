//! Sockets: the echo servers over connections, sizes of messages, and waiting times of the far end.

use crate::chart::{Axis, Chart, Series, Shape, round};
use crate::plan::Plan;
use peu_benches::load::{Load, Outcome, Pace, all_latencies};
use peu_benches::serve::{Beside, Kind, Serve};
use peu_benches::stats::median;
use serde::Serialize;
use std::io;
use std::time::Duration;

/// Connections while the size of messages varies.
const CONNECTIONS_OF_SIZES: usize = 64;
/// Connections while the waiting time varies: with 10 ms, as many requests as keep a core half busy.
const CONNECTIONS_OF_WAITS: usize = 256;
/// Seconds of a window for each connection, at least: some requests of each, also on the slowest server.
const PER_CONNECTION: f64 = 1e-4;
/// Bytes of a message while something else varies.
const SIZE: usize = 64;

/// What a server did under a load: medians over the rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) server: Kind,
    pub(crate) connections: usize,
    pub(crate) bytes: usize,
    pub(crate) wait_ms: u64,
    pub(crate) requests_per_second: f64,
    pub(crate) cpu_us_per_request: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p99_9_us: f64,
    /// The resident memory of a connection's user space in the first round, when none was left over.
    pub(crate) kib_per_connection: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) by_connections: Vec<Row>,
    pub(crate) by_size: Vec<Row>,
    pub(crate) by_wait: Vec<Row>,
}

/// The runtimes have as many workers as there are cores, as their users' have.
pub(crate) fn measure(plan: &Plan, workers: usize) -> io::Result<Results> {
    let row = |connections, bytes, wait| {
        eprintln!("sockets: {connections} connections, {bytes} bytes, {wait} ms");
        rows(plan, workers, connections, bytes, wait)
    };
    let all = |rows: Vec<io::Result<Vec<Row>>>| -> io::Result<Vec<Row>> {
        Ok(rows
            .into_iter()
            .collect::<io::Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .collect())
    };
    let connections = plan.connections.iter().map(|&n| row(n, SIZE, 0));
    let sizes = plan.sizes.iter().map(|&n| row(CONNECTIONS_OF_SIZES, n, 0));
    let waits = plan
        .waits
        .iter()
        .map(|&n| row(CONNECTIONS_OF_WAITS, SIZE, n));
    Ok(Results {
        by_connections: all(connections.collect())?,
        by_size: all(sizes.collect())?,
        by_wait: all(waits.collect())?,
    })
}

/// All servers under one load. They run at the same time and wait; only the one under load uses CPU.
fn rows(
    plan: &Plan,
    workers: usize,
    connections: usize,
    bytes: usize,
    wait_ms: u64,
) -> io::Result<Vec<Row>> {
    let servers = Kind::ALL
        .into_iter()
        .map(|kind| Serve::start(kind, workers, Beside::Nothing))
        .collect::<io::Result<Vec<_>>>()?;
    let window = Duration::from_secs_f64(plan.window.max(connections as f64 * PER_CONNECTION));
    let load = Load {
        connections,
        size: bytes,
        pace: Pace::Waiting(Duration::from_millis(wait_ms)),
        warm_up: window / 4,
        window,
    };
    let outcomes = load.rounds(&servers, plan.rounds)?;
    let row = |(server, outcomes): (Kind, Vec<Outcome>)| {
        let medians =
            |value: fn(&Outcome) -> f64| median(&outcomes.iter().map(value).collect::<Vec<_>>());
        let latency = all_latencies(&outcomes);
        let percentile = |q| latency.value_at_quantile(q) as f64 / 1e3;
        let grown = outcomes.iter().map(|outcome| outcome.grown).max();
        Row {
            server,
            connections,
            bytes,
            wait_ms,
            requests_per_second: medians(Outcome::rate),
            cpu_us_per_request: medians(Outcome::cpu_per_request),
            p50_us: percentile(0.5),
            p99_us: percentile(0.99),
            p99_9_us: percentile(0.999),
            kib_per_connection: grown.unwrap_or(0) as f64 / 1024.0 / connections as f64,
        }
    };
    Ok(Kind::ALL.into_iter().zip(outcomes).map(row).collect())
}

/// A figure of a row.
type Value = fn(&Row) -> f64;

const RATE: (&str, &str, Value) = ("Requests per second", "more is better", |row| {
    row.requests_per_second
});
const CPU: (&str, &str, Value) = (
    "CPU time per request",
    "µs of the server's process; less is better",
    |row| row.cpu_us_per_request,
);
const P99: (&str, &str, Value) = (
    "Latency at the 99th percentile",
    "µs from request to answer; less is better",
    |row| row.p99_us,
);
const MEMORY: (&str, &str, Value) = (
    "Memory per connection",
    "KiB of the server's process; less is better",
    |row| row.kib_per_connection,
);

impl Results {
    pub(crate) fn connections(&self) -> Vec<Chart> {
        let rows = &self.by_connections;
        let axis = || Axis::log("connections", rows.iter().map(|row| row.connections));
        let mut charts = charts(rows, axis, &[RATE, CPU, P99]);
        // With few connections the pages that any process touches are more than the connections'.
        let many = || rows.iter().filter(|row| row.connections >= 64);
        let axis = Axis::log("connections", many().map(|row| row.connections));
        charts.push(chart(many(), axis, MEMORY));
        charts
    }

    pub(crate) fn sizes(&self) -> Vec<Chart> {
        let axis = || Axis::log("bytes", self.by_size.iter().map(|row| row.bytes));
        charts(&self.by_size, axis, &[RATE, CPU])
    }

    pub(crate) fn waits(&self) -> Vec<Chart> {
        let axis = || {
            let names = self.by_wait.iter().map(|row| format!("{} ms", row.wait_ms));
            Axis::names("the far end waits", names)
        };
        charts(&self.by_wait, axis, &[RATE, CPU, P99])
    }

    /// Each row of threads beside that of peu under the same load, with words for the load.
    pub(crate) fn duels(&self) -> impl Iterator<Item = (String, &Row, &Row)> {
        let connections = self.by_connections.chunks(Kind::ALL.len()).map(|rows| {
            let word = |n| if n == 1 { "connection" } else { "connections" };
            let n = rows[0].connections;
            (format!("{} {}", round(n as f64), word(n)), rows)
        });
        let sizes = self.by_size.chunks(Kind::ALL.len()).map(|rows| {
            let text = format!(
                "{} bytes on {CONNECTIONS_OF_SIZES} connections",
                round(rows[0].bytes as f64)
            );
            (text, rows)
        });
        let waits = self.by_wait.chunks(Kind::ALL.len()).map(|rows| {
            let text = format!(
                "{CONNECTIONS_OF_WAITS} connections that wait {} ms",
                rows[0].wait_ms
            );
            (text, rows)
        });
        let of = |rows: &'_ [Row], kind| rows.iter().position(|row| row.server == kind);
        connections
            .chain(sizes)
            .chain(waits)
            .filter_map(move |(load, rows)| {
                let (threads, peu) = (of(rows, Kind::Threads)?, of(rows, Kind::Peu)?);
                Some((load, &rows[threads], &rows[peu]))
            })
    }
}

fn charts(rows: &[Row], axis: impl Fn() -> Axis, values: &[(&str, &str, Value)]) -> Vec<Chart> {
    let chart = |value: &(&str, &str, Value)| chart(rows.iter(), axis(), *value);
    values.iter().map(chart).collect()
}

fn chart<'a>(
    rows: impl Iterator<Item = &'a Row> + Clone,
    axis: Axis,
    (title, unit, value): (&str, &str, Value),
) -> Chart {
    let series = |kind: Kind| Series {
        name: kind.name().to_owned(),
        values: rows
            .clone()
            .filter(|row| row.server == kind)
            .map(value)
            .collect(),
    };
    Chart {
        title: title.to_owned(),
        unit: unit.to_owned(),
        axis,
        shape: Shape::Lines,
        series: Kind::ALL.into_iter().map(series).collect(),
    }
}
