//! A flight and the answers of its four look-ups become a record. Both modes end here, so their records are equal.

use std::time::Duration;

use serde::Serialize;

use crate::clean::{Flight, Reason};
use crate::failure::{Context, Failure};
use crate::flights::Row;
use crate::tables::{Airline, Airport, Plane, Stored, Table, Weather};

/// What became of a row.
#[derive(Debug)]
pub(crate) enum Outcome {
    Record {
        record: Box<Record>,
        lookups: Vec<Lookup>,
    },
    DeadLetter(Box<DeadLetter>),
}

/// A line of the output. What a look-up did not find is `null`.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    pub(crate) row: u64,
    #[serde(flatten)]
    pub(crate) flight: Flight,
    plane: Option<Plane>,
    airport: Option<Airport>,
    airline: Option<Airline>,
    weather: Option<Weather>,
}

/// A line of the dead letters: which row, why, and the row itself.
#[derive(Debug, Serialize)]
pub(crate) struct DeadLetter {
    pub(crate) row: u64,
    pub(crate) line: u64,
    #[serde(flatten)]
    pub(crate) reason: Reason,
    flight: Row,
}

impl DeadLetter {
    pub(crate) fn outcome(row: Row, reason: Reason) -> Outcome {
        Outcome::DeadLetter(Box::new(DeadLetter {
            row: row.number,
            line: row.line,
            reason,
            flight: row,
        }))
    }
}

/// What a flight asks for. A cancelled one may have no aircraft to ask for.
pub(crate) struct Keys {
    pub(crate) plane: Option<String>,
    pub(crate) airport: String,
    pub(crate) airline: String,
    pub(crate) weather: String,
}

impl Keys {
    pub(crate) fn of(flight: &Flight) -> Keys {
        Keys {
            plane: flight.tailnum.as_deref().map(Plane::key_of),
            airport: Airport::key_of(&flight.dest),
            airline: Airline::key_of(&flight.carrier),
            weather: Weather::key_of(&flight.origin, &flight.time_hour),
        }
    }
}

/// What the server said to one look-up.
pub(crate) struct Answer {
    /// What was looked up.
    pub(crate) key: String,
    /// A row as JSON, or nothing: the table has no such row.
    pub(crate) value: Option<Vec<u8>>,
    /// From the request to its answer.
    pub(crate) took: Duration,
}

/// The answers of a flight's look-ups.
pub(crate) struct Answers {
    pub(crate) plane: Option<Answer>,
    pub(crate) airport: Answer,
    pub(crate) airline: Answer,
    pub(crate) weather: Answer,
}

/// What the report needs to know of a look-up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookup {
    pub(crate) table: Table,
    pub(crate) found: bool,
    pub(crate) took: Duration,
}

impl Answers {
    /// Joins a flight with its answers.
    pub(crate) fn join(self, row: u64, flight: Flight) -> Result<Outcome, Failure> {
        let mut lookups = Vec::with_capacity(Table::ALL.len());
        let record = Record {
            row,
            plane: match self.plane {
                Some(plane) => read(row, plane, &mut lookups)?,
                None => None,
            },
            airport: read(row, self.airport, &mut lookups)?,
            airline: read(row, self.airline, &mut lookups)?,
            weather: read(row, self.weather, &mut lookups)?,
            flight,
        };
        Ok(Outcome::Record {
            record: Box::new(record),
            lookups,
        })
    }
}

/// Reads the row that a look-up found. A server that answers with another than it was asked for has lost count.
fn read<T: Stored>(
    row: u64,
    answer: Answer,
    lookups: &mut Vec<Lookup>,
) -> Result<Option<T>, Failure> {
    let Answer { key, value, took } = answer;
    lookups.push(Lookup {
        table: T::TABLE,
        found: value.is_some(),
        took,
    });
    let Some(json) = value else { return Ok(None) };
    let found: T = serde_json::from_slice(&json).context(|| {
        format!("row {row}: the answer to its look-up of {key} is not such a row as JSON")
    })?;
    match found.key() {
        same if same == key => Ok(Some(found)),
        other => Err(Failure::new(format!(
            "row {row}: the answer to its look-up of {key} is {other}"
        ))),
    }
}
