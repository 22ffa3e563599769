//! The input: a CSV file of flights, read row by row.
//!
//! A file that is not what it should be (no such file, a column missing, a row with too few columns) ends the run: what
//! follows in it can't be trusted. A row that has all its columns but says something impossible is a matter for
//! [`clean`](crate::clean), which puts it aside and goes on.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use csv::{ErrorKind, StringRecord};
use peu::operators::EventTime;
use peu::pipeline::Reader;
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use crate::clean::parts_of_hour;
use crate::failure::{Context, Failure};

const HOUR_MS: i64 = 3_600_000;

/// The rows of a file of flights, in order.
pub(crate) struct Flights {
    reader: csv::Reader<File>,
    header: Arc<StringRecord>,
    /// Where in a row its `time_hour` is.
    hour_column: usize,
    path: PathBuf,
    /// Rows read so far.
    read: u64,
    /// No more rows than this.
    limit: u64,
}

impl Flights {
    /// Opens a file and checks its header.
    pub(crate) fn open(path: &Path, limit: Option<u64>) -> Result<Flights, Failure> {
        let file =
            File::open(path).context(|| format!("cannot open the flights, {}", path.display()))?;
        let mut reader = csv::Reader::from_reader(file);
        let header = reader
            .headers()
            .context(|| format!("cannot read the header of {}", path.display()))?
            .clone();
        check(&header).context(|| format!("cannot use {}", path.display()))?;
        let hour_column = header.iter().position(|name| name == "time_hour");
        Ok(Flights {
            reader,
            header: Arc::new(header),
            hour_column: hour_column.unwrap_or_default(),
            path: path.to_owned(),
            read: 0,
            limit: limit.unwrap_or(u64::MAX),
        })
    }

    /// Goes on behind the rows that an earlier run has read.
    fn seek(&mut self, position: &Position) -> Result<(), Failure> {
        let path = self.path.display();
        let file = self.reader.get_ref().metadata();
        let length = file.context(|| format!("cannot look at {path}"))?.len();
        if length < position.byte {
            return Err(Failure::new(format!(
                "{path} has {length} bytes, and an earlier run has read {}: it was changed since",
                position.byte
            )));
        }
        let mut behind = csv::Position::new();
        behind.set_byte(position.byte).set_line(position.line);
        let found = self.reader.seek(behind);
        found.context(|| format!("cannot go on in {path}"))?;
        self.read = position.row;
        Ok(())
    }

    fn here(&self) -> Position {
        let next = self.reader.position();
        Position {
            row: self.read,
            byte: next.byte(),
            line: next.line(),
        }
    }

    fn explain(&self, error: &csv::Error) -> Failure {
        let path = self.path.display();
        let row = self.read + 1;
        let line = error.position().map_or(row + 1, csv::Position::line);
        Failure::new(match error.kind() {
            ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => {
                format!(
                    "row {row} (line {line}) of {path} has {len} columns where the header has {expected_len}"
                )
            }
            ErrorKind::Utf8 { .. } => format!("row {row} (line {line}) of {path} is not UTF-8"),
            _ => format!("cannot read row {row} (line {line}) of {path}: {error}"),
        })
    }
}

/// Checks that a header has each column once.
pub(crate) fn check(header: &StringRecord) -> Result<(), Failure> {
    if header.is_empty() {
        return Err(Failure::new("it is empty"));
    }
    for column in COLUMNS {
        match header.iter().filter(|name| *name == column).count() {
            0 => return Err(Failure::new(format!("it has no column `{column}`"))),
            1 => {}
            times => {
                return Err(Failure::new(format!("it has {times} columns `{column}`")));
            }
        }
    }
    Ok(())
}

impl Iterator for Flights {
    type Item = Result<Row, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.read >= self.limit {
            return None;
        }
        let mut values = StringRecord::new();
        match self.reader.read_record(&mut values) {
            Ok(false) => None,
            Ok(true) => {
                self.read += 1;
                let line = values.position().map_or(self.read + 1, csv::Position::line);
                Some(Ok(Row {
                    number: self.read,
                    line,
                    hour: hour(&values, self.hour_column),
                    header: Arc::clone(&self.header),
                    values: Arc::new(values),
                }))
            }
            Err(error) => Some(Err(self.explain(&error))),
        }
    }
}

/// When a flight was due, to the hour; the earliest time if that can't be read, which [`clean`](crate::clean) will tell.
fn hour(values: &StringRecord, column: usize) -> EventTime {
    let parts = values.get(column).and_then(parts_of_hour);
    parts.map_or(EventTime::MIN, |(day, hour)| {
        let days = day.map_or(0, |day| day.days_since_1970());
        EventTime::from_millis((days * 24 + i64::from(hour)) * HOUR_MS)
    })
}

/// As a source of a pipeline: what a checkpoint has to hold.
impl Reader for Flights {
    type Item = Row;
    type Position = Position;

    fn open(&mut self, from: Option<&Position>) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(from.map_or(Ok(()), |position| self.seek(position))?)
    }

    fn read(&mut self) -> Result<Option<(Row, Position)>, Box<dyn Error + Send + Sync>> {
        let row = self.next().transpose()?;
        Ok(row.map(|row| (row, self.here())))
    }

    fn reads(&self) -> Option<String> {
        let path = self.path.display();
        Some(match self.limit {
            u64::MAX => path.to_string(),
            limit => format!("the first {limit} rows of {path}"),
        })
    }
}

/// Behind so many rows: what comes next begins here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Position {
    row: u64,
    byte: u64,
    line: u64,
}

/// One row, as it was read. A clone is the same row: cheap.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "KeptRow", into = "KeptRow")]
pub(crate) struct Row {
    /// Counted from 1; the header is no row.
    pub(crate) number: u64,
    /// Where it begins in the file, counted from 1.
    pub(crate) line: u64,
    /// When the flight was due.
    pub(crate) hour: EventTime,
    header: Arc<StringRecord>,
    values: Arc<StringRecord>,
}

impl Row {
    /// Its columns by name.
    pub(crate) fn columns(&self) -> Result<RawFlight<'_>, Failure> {
        self.values
            .deserialize(Some(&self.header))
            .context(|| format!("cannot read row {}", self.number))
    }
}

/// How errors name it.
impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {}", self.number)
    }
}

/// A row as a checkpoint keeps it.
#[derive(Serialize, Deserialize)]
struct KeptRow {
    number: u64,
    line: u64,
    hour: EventTime,
    header: Vec<String>,
    values: Vec<String>,
}

impl From<Row> for KeptRow {
    fn from(row: Row) -> KeptRow {
        let texts = |record: &StringRecord| record.iter().map(ToOwned::to_owned).collect();
        KeptRow {
            number: row.number,
            line: row.line,
            hour: row.hour,
            header: texts(&row.header),
            values: texts(&row.values),
        }
    }
}

impl From<KeptRow> for Row {
    fn from(kept: KeptRow) -> Row {
        Row {
            number: kept.number,
            line: kept.line,
            hour: kept.hour,
            header: Arc::new(kept.header.into()),
            values: Arc::new(kept.values.into()),
        }
    }
}

/// A row is written to the dead letters as its columns, by name, each as it was.
pub(crate) fn columns_by_name<S: Serializer>(row: &Row, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(row.values.len()))?;
    for (name, value) in row.header.iter().zip(&*row.values) {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

/// The columns of a row, as text: `NA` is a missing value.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RawFlight<'a> {
    pub(crate) year: &'a str,
    pub(crate) month: &'a str,
    pub(crate) day: &'a str,
    pub(crate) dep_time: &'a str,
    pub(crate) sched_dep_time: &'a str,
    pub(crate) dep_delay: &'a str,
    pub(crate) arr_time: &'a str,
    pub(crate) sched_arr_time: &'a str,
    pub(crate) arr_delay: &'a str,
    pub(crate) carrier: &'a str,
    pub(crate) flight: &'a str,
    pub(crate) tailnum: &'a str,
    pub(crate) origin: &'a str,
    pub(crate) dest: &'a str,
    pub(crate) air_time: &'a str,
    pub(crate) distance: &'a str,
    pub(crate) time_hour: &'a str,
}

/// The columns of [`RawFlight`]. A file may have others: they are ignored.
const COLUMNS: [&str; 17] = [
    "year",
    "month",
    "day",
    "dep_time",
    "sched_dep_time",
    "dep_delay",
    "arr_time",
    "sched_arr_time",
    "arr_delay",
    "carrier",
    "flight",
    "tailnum",
    "origin",
    "dest",
    "air_time",
    "distance",
    "time_hour",
];

/// The number of rows in a file, for the progress bar: nothing if it can be read only once (a pipe). An estimate: a
/// quoted value may hold a line break.
pub(crate) fn count(path: &Path) -> io::Result<Option<u64>> {
    if !path.metadata()?.is_file() {
        return Ok(None);
    }
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path)?);
    let mut lines = 0;
    loop {
        let block = reader.fill_buf()?;
        if block.is_empty() {
            return Ok(Some(u64::saturating_sub(lines, 1)));
        }
        lines += block.iter().filter(|byte| **byte == b'\n').count() as u64;
        let length = block.len();
        reader.consume(length);
    }
}
