//! The rows of a CSV file.

use super::reader::{ReadAhead, Reader, still_has};
use crate::error::BoxError;
use csv::StringRecord;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::marker::PhantomData;
use std::path::PathBuf;

/// Far more than any row that somebody meant to write, with a long text in a column or two.
const DEFAULT_LONGEST: u64 = 16 << 20;

/// How much is read at a time. The `csv` crate's own default, said here because a row's bound can't be told more exactly.
const PIECE: usize = 8 * 1024;

/// The rows of a CSV file whose first row names the columns, each read as a `T`.
///
/// A row that is no `T` ends the pipeline with an error that names the file, the line and the column. So does one of more than some 16 MiB, unless
/// [`longest_row`](ReadAhead::longest_row) allows it: behind a quote that is not closed, all that follows is one row. To repair rows
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
    longest: u64,
    opened: Option<(csv::Reader<Bounded>, StringRecord)>,
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
            longest: DEFAULT_LONGEST,
            opened: None,
            row: StringRecord::new(),
            record: PhantomData,
        })
    }

    fn error(&self, error: csv::Error) -> BoxError {
        format!("cannot read {}: {error}", self.path.display()).into()
    }
}

impl<T: DeserializeOwned + Send + 'static> ReadAhead<CsvFile<T>> {
    /// A row of more bytes than this, give or take some thousand, ends the pipeline. 16 MiB by default.
    #[must_use]
    pub fn longest_row(self, bytes: u64) -> Self {
        self.with_reader(|csv| csv.longest = bytes)
    }
}

/// A file of which each row has a bound.
struct Bounded {
    file: File,
    longest: u64,
    /// How much was read since the row began, and before it with what it begins in.
    read: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read += count as u64;
        if self.read <= self.longest.saturating_add(PIECE as u64) {
            return Ok(count);
        }
        Err(io::Error::other(format!(
            "it has more than {} bytes: allow more with `longest_row`, or a quote is not closed",
            self.longest
        )))
    }
}

impl Seek for Bounded {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl<T: DeserializeOwned + Send + 'static> Reader for CsvFile<T> {
    type Item = T;
    type Position = CsvPosition;

    fn open(&mut self, from: Option<&CsvPosition>) -> Result<(), BoxError> {
        let open = || {
            let file = Bounded {
                file: File::open(&self.path)?,
                longest: self.longest,
                read: 0,
            };
            let mut rows = csv::ReaderBuilder::new();
            let mut reader = rows.buffer_capacity(PIECE).from_reader(file);
            let columns = reader.headers()?.clone();
            if let Some(from) = from {
                still_has(&reader.get_ref().file, from.byte)?;
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
        reader.get_mut().read = 0;
        let begins = reader.position().line();
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
            // Others name their line themselves.
            Err(error) if error.is_io_error() => {
                let path = self.path.display();
                Err(format!("cannot read the row at line {begins} of {path}: {error}").into())
            }
            Err(error) => Err(self.error(error)),
        }
    }

    fn reads(&self) -> Option<String> {
        Some(self.path.display().to_string())
    }
}
