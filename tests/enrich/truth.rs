//! What the job should write, computed from the CSV files by code that shares nothing with it: rows are maps of text,
//! joined by hash maps.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::{Map, Value};

use crate::job::data;

/// A row by column.
pub(crate) type Row = HashMap<String, String>;

/// The rows of a CSV file.
pub(crate) fn rows(path: &Path) -> Vec<Row> {
    csv::Reader::from_path(path)
        .unwrap()
        .deserialize()
        .map(Result::unwrap)
        .collect()
}

/// The four tables, each by the key of its rows.
pub(crate) struct Tables {
    tables: BTreeMap<&'static str, HashMap<String, Row>>,
}

impl Tables {
    pub(crate) fn load() -> Tables {
        let by_key = |file: &str, columns: &[&str]| {
            rows(&data(file))
                .into_iter()
                .map(|row| (key(&row, columns), row))
                .collect()
        };
        Tables {
            tables: BTreeMap::from([
                ("plane", by_key("planes.csv", &["tailnum"])),
                ("airport", by_key("airports.csv", &["faa"])),
                ("airline", by_key("airlines.csv", &["carrier"])),
                ("weather", by_key("weather.csv", &["origin", "time_hour"])),
            ]),
        }
    }

    /// What each table has for a flight; the tables that a flight does not ask are left out.
    pub(crate) fn of(&self, flight: &Row) -> BTreeMap<&'static str, Option<&Row>> {
        let asked = [
            ("plane", key(flight, &["tailnum"])),
            ("airport", key(flight, &["dest"])),
            ("airline", key(flight, &["carrier"])),
            ("weather", key(flight, &["origin", "time_hour"])),
        ];
        let asked = asked.into_iter().filter(|(_, key)| key != "NA");
        asked
            .map(|(name, key)| (name, self.tables[name].get(&key)))
            .collect()
    }
}

fn key(row: &Row, columns: &[&str]) -> String {
    columns
        .iter()
        .map(|column| row[*column].as_str())
        .collect::<Vec<_>>()
        .join(" at ")
}

/// Whether a flight never departed.
pub(crate) fn is_cancelled(flight: &Row) -> bool {
    flight["dep_time"] == "NA"
}

/// Whether a flight departed but lacks what follows. Real data break no other rule.
pub(crate) fn is_dead_letter(flight: &Row) -> bool {
    !is_cancelled(flight)
        && ["arr_time", "arr_delay", "air_time"]
            .iter()
            .any(|column| flight[*column] == "NA")
}

/// Checks a record against the row that it comes from, field by field.
pub(crate) fn check(record: &Value, flight: &Row, tables: &Tables) {
    let date = format!(
        "{}-{:0>2}-{:0>2}",
        flight["year"], flight["month"], flight["day"]
    );
    assert_eq!(record["date"], date.as_str());
    for column in [
        "carrier",
        "flight",
        "tailnum",
        "origin",
        "dest",
        "distance",
        "time_hour",
    ] {
        assert_eq!(
            record[column],
            value(column, &flight[column]),
            "{column} of {record}"
        );
    }
    let cancelled = is_cancelled(flight);
    assert_eq!(
        record["status"],
        if cancelled { "cancelled" } else { "flown" }
    );
    for column in ["sched_dep_time", "sched_arr_time", "dep_time", "arr_time"] {
        assert_eq!(
            record[column],
            clock(&flight[column]),
            "{column} of {record}"
        );
    }
    for column in ["dep_delay", "arr_delay", "air_time"] {
        assert_eq!(
            record[column],
            value(column, &flight[column]),
            "{column} of {record}"
        );
    }
    let found = tables.of(flight);
    for name in ["plane", "airport", "airline", "weather"] {
        check_table(&record[name], found.get(name).copied().flatten(), name);
    }
}

/// A looked-up row has every column of its table but the parts of its hour, and nothing else.
fn check_table(found: &Value, expected: Option<&Row>, name: &str) {
    let Some(expected) = expected else {
        return assert_eq!(*found, Value::Null, "{name}");
    };
    let parts = ["year", "month", "day", "hour"];
    let columns = expected
        .iter()
        .filter(|(column, _)| name != "weather" || !parts.contains(&column.as_str()));
    let expected: Map<_, _> = columns
        .map(|(column, text)| (column.clone(), value(column, text)))
        .collect();
    let found: Map<_, _> = found
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, found)| (name.clone(), float(found)))
        .collect();
    assert_eq!(found, expected, "{name}");
}

/// These are text, though some of their values look like numbers: a Cessna 150 is one model.
const TEXT: [&str; 5] = ["carrier", "faa", "model", "name", "tailnum"];

/// A value as JSON has it: every number as a floating-point one, so that 10 is 10.0.
fn value(column: &str, text: &str) -> Value {
    match text.parse::<f64>() {
        _ if text == "NA" => Value::Null,
        Ok(number) if !TEXT.contains(&column) => Value::from(number),
        _ => Value::from(text),
    }
}

fn float(value: &Value) -> Value {
    value.as_f64().map_or_else(|| value.clone(), Value::from)
}

/// 517 is `05:17`.
fn clock(text: &str) -> Value {
    match text.parse::<u32>() {
        Ok(number) => Value::from(format!("{:02}:{:02}", number / 100, number % 100)),
        Err(_) => Value::Null,
    }
}
