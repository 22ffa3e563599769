//! A flight and the answers of its four look-ups become a record. Both modes end here, so their records are equal.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clean::{Flight, Reason};
use crate::failure::{Context, Failure};
use crate::flights::Row;
use crate::tables::{Airline, Airport, Plane, Table, Weather};

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
            plane: flight.tailnum.as_deref().map(Plane::key),
            airport: Airport::key(&flight.dest),
            airline: Airline::key(&flight.carrier),
            weather: Weather::key(&flight.origin, &flight.time_hour),
        }
    }
}

/// What the server said to one look-up.
pub(crate) struct Answer {
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
            plane: self.plane.map_or(Ok(None), |plane| {
                read(row, Table::Plane, plane, &mut lookups)
            })?,
            airport: read(row, Table::Airport, self.airport, &mut lookups)?,
            airline: read(row, Table::Airline, self.airline, &mut lookups)?,
            weather: read(row, Table::Weather, self.weather, &mut lookups)?,
            flight,
        };
        Ok(Outcome::Record {
            record: Box::new(record),
            lookups,
        })
    }
}

fn read<T: DeserializeOwned>(
    row: u64,
    table: Table,
    answer: Answer,
    lookups: &mut Vec<Lookup>,
) -> Result<Option<T>, Failure> {
    let Answer { value, took } = answer;
    lookups.push(Lookup {
        table,
        found: value.is_some(),
        took,
    });
    value
        .map(|json| serde_json::from_slice(&json))
        .transpose()
        .context(|| {
            format!(
                "row {row}: the answer to its look-up of {} is not such a row as JSON",
                table.name()
            )
        })
}
