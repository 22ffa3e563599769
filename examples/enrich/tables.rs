//! The four tables that flights refer to: how each is read from its CSV file, and under which key each of its rows is
//! stored in the look-up server. A value is a row as JSON.

use std::path::Path;

use csv::StringRecord;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::{Context, Failure};

/// A table, named as in keys and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Table {
    Plane,
    Airport,
    Airline,
    Weather,
}

impl Table {
    /// All of them, in the order in which reports name them.
    pub(crate) const ALL: [Table; 4] =
        [Table::Plane, Table::Airport, Table::Airline, Table::Weather];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Table::Plane => "plane",
            Table::Airport => "airport",
            Table::Airline => "airline",
            Table::Weather => "weather",
        }
    }

    /// The file of its rows, in the folder of tables.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Table::Plane => "planes.csv",
            Table::Airport => "airports.csv",
            Table::Airline => "airlines.csv",
            Table::Weather => "weather.csv",
        }
    }
}

/// A row of a table.
pub(crate) trait Stored: Serialize + DeserializeOwned {
    const TABLE: Table;

    /// The key that it is stored under.
    fn key(&self) -> String;
}

/// An aircraft: `plane:N14228`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plane {
    tailnum: String,
    year: Option<u16>,
    r#type: Option<String>,
    manufacturer: Option<String>,
    model: Option<String>,
    engines: Option<u8>,
    seats: Option<u16>,
    speed: Option<u16>,
    engine: Option<String>,
}

impl Plane {
    pub(crate) fn key_of(tailnum: &str) -> String {
        format!("plane:{tailnum}")
    }
}

impl Stored for Plane {
    const TABLE: Table = Table::Plane;

    fn key(&self) -> String {
        Plane::key_of(&self.tailnum)
    }
}

/// An airport: `airport:IAH`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Airport {
    faa: String,
    name: String,
    lat: f64,
    lon: f64,
    alt: i32,
    tz: Option<f64>,
    dst: Option<String>,
    tzone: Option<String>,
}

impl Airport {
    pub(crate) fn key_of(faa: &str) -> String {
        format!("airport:{faa}")
    }
}

impl Stored for Airport {
    const TABLE: Table = Table::Airport;

    fn key(&self) -> String {
        Airport::key_of(&self.faa)
    }
}

/// An airline: `airline:UA`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Airline {
    carrier: String,
    name: String,
}

impl Airline {
    pub(crate) fn key_of(carrier: &str) -> String {
        format!("airline:{carrier}")
    }
}

impl Stored for Airline {
    const TABLE: Table = Table::Airline;

    fn key(&self) -> String {
        Airline::key_of(&self.carrier)
    }
}

/// An hour's weather at an airport: `weather:EWR:2013-01-01T10:00:00Z`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Weather {
    origin: String,
    time_hour: String,
    temp: Option<f64>,
    dewp: Option<f64>,
    humid: Option<f64>,
    wind_dir: Option<u16>,
    wind_speed: Option<f64>,
    wind_gust: Option<f64>,
    precip: Option<f64>,
    pressure: Option<f64>,
    visib: Option<f64>,
}

impl Weather {
    pub(crate) fn key_of(origin: &str, time_hour: &str) -> String {
        format!("weather:{origin}:{time_hour}")
    }
}

impl Stored for Weather {
    const TABLE: Table = Table::Weather;

    fn key(&self) -> String {
        Weather::key_of(&self.origin, &self.time_hour)
    }
}

/// What the look-up server holds for a row: its key, and the row as JSON.
pub(crate) type Entry = (String, Vec<u8>);

/// Reads all four tables from their folder.
pub(crate) fn load(folder: &Path) -> Result<Vec<Entry>, Failure> {
    let mut entries = Vec::new();
    read::<Plane>(folder, &mut entries)?;
    read::<Airport>(folder, &mut entries)?;
    read::<Airline>(folder, &mut entries)?;
    read::<Weather>(folder, &mut entries)?;
    Ok(entries)
}

fn read<T: Stored>(folder: &Path, entries: &mut Vec<Entry>) -> Result<(), Failure> {
    let path = folder.join(T::TABLE.file());
    let mut reader = csv::Reader::from_path(&path)
        .context(|| format!("cannot open the table {}", path.display()))?;
    let header = reader
        .headers()
        .context(|| format!("cannot read the header of {}", path.display()))?
        .clone();
    for (index, record) in reader.records().enumerate() {
        let at = || format!("cannot read row {} of {}", index + 1, path.display());
        let row: T = without_na(&record.context(at)?)
            .deserialize(Some(&header))
            .context(at)?;
        entries.push((row.key(), serde_json::to_vec(&row).context(at)?));
    }
    Ok(())
}

/// The source writes a missing value as `NA`; the csv crate knows it as an empty field.
fn without_na(record: &StringRecord) -> StringRecord {
    record
        .iter()
        .map(|value| if value == "NA" { "" } else { value })
        .collect()
}
