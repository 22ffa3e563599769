//! A flight and the answers of its four look-ups become a record. Both modes end here, so their records are equal.

use std::time::Duration;

use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clean::{Flight, Reason, Rule, Status};
use crate::failure::{Context, Failure};
use crate::flights::{Row, columns_by_name};
use crate::tables::{Airline, Airport, Plane, Stored, Table, Weather};

/// What became of a row: a line for one of the two outputs, and what the report counts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) row: u64,
    pub(crate) line: Line,
    pub(crate) kind: Kind,
}

/// Which of the two outputs it is for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Kind {
    Record {
        is_cancelled: bool,
        lookups: Vec<Lookup>,
    },
    DeadLetter(Rule),
}

/// A line to be. It becomes text where it is written, and in a checkpoint: what comes from there is text already.
#[derive(Debug)]
pub(crate) enum Line {
    Record(Box<Record>),
    DeadLetter(Box<DeadLetter>),
    Text(String),
}

impl Line {
    /// Appends it as a JSON object.
    pub(crate) fn append_to(&self, bytes: &mut Vec<u8>) -> serde_json::Result<()> {
        match self {
            Line::Record(record) => serde_json::to_writer(bytes, record),
            Line::DeadLetter(letter) => serde_json::to_writer(bytes, letter),
            Line::Text(text) => {
                bytes.extend_from_slice(text.as_bytes());
                Ok(())
            }
        }
    }

    pub(crate) fn to_text(&self) -> serde_json::Result<String> {
        match self {
            Line::Record(record) => serde_json::to_string(record),
            Line::DeadLetter(letter) => serde_json::to_string(letter),
            Line::Text(text) => Ok(text.clone()),
        }
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.to_text().map_err(S::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Line, D::Error> {
        String::deserialize(deserializer).map(Line::Text)
    }
}

impl Outcome {
    /// The row is put aside.
    pub(crate) fn dead_letter(row: Row, reason: Reason) -> Outcome {
        Outcome {
            row: row.number,
            kind: Kind::DeadLetter(reason.rule),
            line: Line::DeadLetter(Box::new(DeadLetter {
                row: row.number,
                line: row.line,
                reason,
                flight: row,
            })),
        }
    }
}

/// A line of the output. What a look-up did not find is `null`.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    row: u64,
    #[serde(flatten)]
    flight: Flight,
    plane: Option<Plane>,
    airport: Option<Airport>,
    airline: Option<Airline>,
    weather: Option<Weather>,
}

/// A line of the dead letters: which row, why, and the row itself.
#[derive(Debug, Serialize)]
pub(crate) struct DeadLetter {
    row: u64,
    line: u64,
    #[serde(flatten)]
    reason: Reason,
    #[serde(serialize_with = "columns_by_name")]
    flight: Row,
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
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
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
        let is_cancelled = matches!(record.flight.status, Status::Cancelled);
        Ok(Outcome {
            row,
            line: Line::Record(Box::new(record)),
            kind: Kind::Record {
                is_cancelled,
                lookups,
            },
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
