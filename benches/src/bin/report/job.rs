//! The main job: `enrich` on the event loop and with blocking look-ups, by the time that a look-up's answer takes.

use crate::chart::{Axis, Chart, Series, Shape};
use crate::plan::Plan;
use peu_benches::stats::median;
use serde::Serialize;
use serde_json::Value;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// How the job ran, medians over the rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) way: String,
    pub(crate) delay_ms: u64,
    pub(crate) rows_per_second: f64,
    pub(crate) lookup_p99_us: f64,
}

/// The names of the blocking ways, and their threads.
pub(crate) const BLOCKING: [(&str, usize); 3] =
    [("one thread", 1), ("64 threads", 64), ("256 threads", 256)];
/// The name of the event loop on as many workers as there are cores.
pub(crate) const PEU: &str = "peu";
/// One worker is what one blocking thread compares with.
const PEU_ONE: &str = "peu, 1 worker";

pub(crate) fn measure(
    plan: &Plan,
    enrich: &Path,
    folder: &Path,
    cores: usize,
) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for &(delay_ms, limit) in &plan.delays {
        eprintln!("job: answers after {delay_ms} ms");
        let blocking = BLOCKING.map(|(way, threads)| {
            // As many rows for each thread, so that all take about as long.
            let limit = limit * threads;
            let arguments = format!("--mode blocking --threads {threads} --limit {limit}");
            (way, arguments)
        });
        let peu = [(PEU, cores), (PEU_ONE, 1)];
        let peu = peu.map(|(way, workers)| (way, format!("--workers {workers}")));
        let ways: Vec<(&str, String)> = blocking.into_iter().chain(peu).collect();
        let mut seen: Vec<_> = ways.iter().map(|_| (Vec::new(), Vec::new())).collect();
        for round in 0..plan.job_rounds {
            for turn in 0..ways.len() {
                let place = (round + turn) % ways.len();
                let (rate, p99) = run(enrich, folder, delay_ms, &ways[place].1)?;
                seen[place].0.push(rate);
                seen[place].1.push(p99);
            }
        }
        let row = |((way, _), (rates, p99s)): (_, (Vec<f64>, Vec<f64>))| Row {
            way: String::from(way),
            delay_ms,
            rows_per_second: median(&rates),
            lookup_p99_us: median(&p99s),
        };
        rows.extend(ways.into_iter().zip(seen).map(row));
    }
    Ok(rows)
}

/// Rows per second, and the 99th percentile of a look-up in microseconds.
fn run(enrich: &Path, folder: &Path, delay_ms: u64, way: &str) -> io::Result<(f64, f64)> {
    let output = Command::new(enrich)
        .args(["--json", "--quiet", "--delay", &format!("{delay_ms}ms")])
        .args(way.split(' '))
        .arg("--output")
        .arg(folder.join("job/flights.jsonl"))
        .arg("--dead-letters")
        .arg(folder.join("job/dead-letters.jsonl"))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", enrich.display())))?;
    let report: Value = serde_json::from_slice(&output.stdout).map_err(io::Error::other)?;
    let number = |path: &str| {
        let value = report.pointer(path).and_then(Value::as_f64);
        value.ok_or_else(|| io::Error::other(format!("the job's report has no {path}")))
    };
    Ok((
        number("/records_per_second")?,
        number("/lookup_latency_us/p99")?,
    ))
}

pub(crate) fn charts(rows: &[Row]) -> Vec<Chart> {
    if rows.is_empty() {
        return Vec::new();
    }
    let chart = |title: &str, unit: &str, value: fn(&Row) -> f64| {
        let of = |way: &str| Series {
            name: way.to_owned(),
            values: rows
                .iter()
                .filter(|row| row.way == way)
                .map(value)
                .collect(),
        };
        let delays = rows.iter().map(|row| format!("{} ms", row.delay_ms));
        Chart {
            title: title.to_owned(),
            unit: unit.to_owned(),
            axis: Axis::names("an answer takes", delays),
            shape: Shape::Lines,
            series: BLOCKING
                .map(|(way, _)| way)
                .into_iter()
                .chain([PEU, PEU_ONE])
                .map(of)
                .collect(),
        }
    };
    vec![
        chart("Rows per second", "more is better", |row| {
            row.rows_per_second
        }),
        chart(
            "A look-up's 99th percentile",
            "µs from asking to the answer; less is better",
            |row| row.lookup_p99_us,
        ),
    ]
}
