//! Files: what the program `files` measured, as charts.

use crate::chart::{Axis, Chart, Series, Shape};
use crate::plan::Plan;
use peu_benches::stats::median;
use serde::{Deserialize, Serialize};
use std::io;
use std::process::{Command, Stdio};

/// One candidate at one case: microseconds per operation, in each round.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) candidate: String,
    wall: Vec<f64>,
    cpu: Vec<f64>,
}

impl Row {
    pub(crate) fn wall(&self) -> f64 {
        median(&self.wall)
    }

    pub(crate) fn cpu(&self) -> f64 {
        median(&self.cpu)
    }
}

/// The cases, and what a reader calls them.
const CASES: [(&str, &str); 6] = [
    ("RandomCached", "4 KiB at random, in memory"),
    ("RandomCold", "4 KiB at random, from the disk"),
    ("WholeCached", "Whole files of 4 KiB, in memory"),
    ("WholeCold", "Whole files of 4 KiB, from the disk"),
    ("SequentialCached", "One large file, in memory, per MiB"),
    (
        "WriteSync",
        "Files of 4 KiB made, written, brought to the disk",
    ),
];

/// Runs the program `files`, which is beside this one. Cold cases need the right to empty the system's cache: without it they
/// are left out.
pub(crate) fn measure(plan: &Plan) -> io::Result<Vec<Row>> {
    let program = std::env::current_exe()?.with_file_name("files");
    let may_drop = std::fs::File::options()
        .write(true)
        .open("/proc/sys/vm/drop_caches");
    let arguments = plan.files.iter().map(|argument| match may_drop {
        Ok(_) => (*argument).to_owned(),
        Err(_) => argument
            .replace(",random-cold", "")
            .replace(",whole-cold", ""),
    });
    eprintln!("files: {}", plan.files.join(" "));
    let output = Command::new(&program)
        .args(arguments)
        .arg("--json")
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", program.display())))?;
    if !output.status.success() {
        let text = format!("{} ended with {}", program.display(), output.status);
        return Err(io::Error::other(text));
    }
    serde_json::from_slice(&output.stdout).map_err(io::Error::other)
}

/// What a reader calls a case.
pub(crate) fn title(case: &str) -> &str {
    let found = CASES.iter().find(|(name, _)| *name == case);
    found.map_or(case, |(_, title)| title)
}

/// The rows of each case.
pub(crate) fn cases(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    rows.chunk_by(|a, b| a.case == b.case)
}

pub(crate) fn charts(rows: &[Row]) -> Vec<Chart> {
    let chart = |rows: &[Row]| Chart {
        title: title(&rows[0].case).to_owned(),
        unit: "µs per operation; less is better".to_owned(),
        axis: Axis::names("µs", rows.iter().map(|row| row.candidate.clone())),
        shape: Shape::Rows,
        series: vec![
            Series {
                name: "wall time".to_owned(),
                values: rows.iter().map(Row::wall).collect(),
            },
            Series {
                name: "CPU time".to_owned(),
                values: rows.iter().map(Row::cpu).collect(),
            },
        ],
    };
    cases(rows).map(chart).collect()
}
