//! The rows of a CSV file.

use super::reader::{ReadAhead, Reader, still_has};
use crate::error::BoxError;
use csv::StringRecord;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::marker::PhantomData;
use std::path::PathBuf;

/// The rows of a CSV file whose first row names the columns, each read as a `T`.
///
/// A row that is no `T` ends the pipeline with an error that names the file, the line and the column. To repair rows
/// instead, read them as what can't fail, such as a `HashMap<String, String>`, and make your records in a
/// [`flat_map`](crate::pipeline::Pipeline::flat_map).
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::future::block_on;
/// use peu_operators::pipeline::{CsvFile, Pipeline, collect};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Flight {
///     carrier: String,
///     distance: u32,
/// }
///
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("flights.csv");
/// std::fs::write(&path, "carrier,distance\nUA,1400\nAA,1089\n")?;
/// let (sink, far) = collect();
/// let flights = Pipeline::source(CsvFile::<Flight>::open(&path));
/// let far_away = flights.filter(|flight| flight.distance > 1_100).map(|flight| flight.carrier);
/// block_on(far_away.sink(sink).run_on(&Threads))?;
/// assert_eq!(far.take(), ["UA"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct CsvFile<T> {
    path: PathBuf,
    opened: Option<(csv::Reader<File>, StringRecord)>,
    row: StringRecord,
    record: PhantomData<fn() -> T>,
}

/// Where a [`CsvFile`] stands: the byte, the line and the row that come next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsvPosition {
    byte: u64,
    line: u64,
    row: u64,
}

impl<T: DeserializeOwned + Send + 'static> CsvFile<T> {
    /// The file is opened when the pipeline runs.
    pub fn open(path: impl Into<PathBuf>) -> ReadAhead<Self> {
        ReadAhead::new(Self {
            path: path.into(),
            opened: None,
            row: StringRecord::new(),
            record: PhantomData,
        })
    }

    fn error(&self, error: csv::Error) -> BoxError {
        format!("cannot read {}: {error}", self.path.display()).into()
    }
}

impl<T: DeserializeOwned + Send + 'static> Reader for CsvFile<T> {
    type Item = T;
    type Position = CsvPosition;

    fn open(&mut self, from: Option<&CsvPosition>) -> Result<(), BoxError> {
        let open = || {
            let mut reader = csv::Reader::from_path(&self.path)?;
            let columns = reader.headers()?.clone();
            if let Some(from) = from {
                still_has(reader.get_ref(), from.byte)?;
                let mut position = csv::Position::new();
                position
                    .set_byte(from.byte)
                    .set_line(from.line)
                    .set_record(from.row);
                reader.seek(position)?;
            }
            Ok((reader, columns))
        };
        self.opened = Some(open().map_err(|error| self.error(error))?);
        Ok(())
    }

    fn read(&mut self) -> Result<Option<(T, CsvPosition)>, BoxError> {
        let Some((reader, columns)) = &mut self.opened else {
            return Ok(None);
        };
        let read = match reader.read_record(&mut self.row) {
            Ok(true) => self.row.deserialize(Some(columns)).map(Some),
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        };
        let next = reader.position();
        let position = CsvPosition {
            byte: next.byte(),
            line: next.line(),
            row: next.record(),
        };
        match read {
            Ok(record) => Ok(record.map(|record| (record, position))),
            Err(error) => Err(self.error(error)),
        }
    }

    fn reads(&self) -> Option<String> {
        Some(self.path.display().to_string())
    }
}
