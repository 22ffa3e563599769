//! A CSV file that nobody has promised anything about: its delimiter may be a comma, a semicolon or a tab; its columns come in any
//! order, spelled in any way; a row may have too few or too many of them; and bytes that are no text become `\u{fffd}`, which
//! no rule lets pass.
//!
//! What can't be made sense of ends the job, for it belongs to somebody's attention: a file that has not all columns, and a row of
//! more than 16 MiB, which is what there is behind a quote that nobody has closed.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use csv::{ByteRecord, StringRecord};
use peu::pipeline::{ReadAhead, Reader};
use serde::{Deserialize, Serialize};

use crate::clean::{Reason, Rule};
use crate::flights::{RawFlight, check};
use crate::repair::{Kind, column_name, repair};

type BoxError = Box<dyn Error + Send + Sync>;

/// Far more than any row that somebody meant to write.
const LONGEST: u64 = 16 << 20;

/// How much is read at a time: by so much a row's bound may be missed.
const PIECE: usize = 8 * 1024;

/// A file, row by row.
pub(crate) struct MessyFile {
    path: PathBuf,
    opened: Option<(csv::Reader<Bounded>, Arc<Header>)>,
}

/// What all rows of a file have in common.
struct Header {
    /// The file's name.
    file: String,
    columns: StringRecord,
    kinds: Vec<Kind>,
}

/// Where the next row begins.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Position {
    byte: u64,
    line: u64,
    row: u64,
}

impl MessyFile {
    pub(crate) fn open(path: PathBuf) -> ReadAhead<MessyFile> {
        ReadAhead::new(MessyFile { path, opened: None })
    }

    fn begin(&self) -> Result<(csv::Reader<Bounded>, Arc<Header>), BoxError> {
        let file = File::open(&self.path)?;
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter(&self.path)?)
            .flexible(true)
            .buffer_capacity(PIECE)
            .from_reader(Bounded { file, read: 0 });
        let columns = reader.byte_headers().map_err(|error| in_row(0, &error))?;
        let columns = columns.iter();
        let columns: StringRecord = columns
            .map(|name| column_name(&String::from_utf8_lossy(name)))
            .collect();
        check(&columns)?;
        let header = Header {
            file: self
                .path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            kinds: columns.iter().map(Kind::of).collect(),
            columns,
        };
        Ok((reader, Arc::new(header)))
    }

    fn error(&self, error: impl Into<BoxError>) -> BoxError {
        format!("cannot clean {}: {}", self.path.display(), error.into()).into()
    }
}

fn in_row(number: u64, error: &csv::Error) -> BoxError {
    match number {
        0 => format!("its header: {error}").into(),
        _ => format!("row {number}: {error}").into(),
    }
}

/// A file of which each row has a bound.
struct Bounded {
    file: File,
    /// How much was read since the row began, and before it with what it begins in.
    read: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read += count as u64;
        if self.read <= LONGEST + PIECE as u64 {
            return Ok(count);
        }
        Err(io::Error::other(format!(
            "it has more than {LONGEST} bytes: is a quote not closed?"
        )))
    }
}

impl Seek for Bounded {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// That of which there are most in the first line.
fn delimiter(path: &Path) -> io::Result<u8> {
    let mut first = Vec::new();
    let mut file = BufReader::new(File::open(path)?).take(LONGEST);
    file.read_until(b'\n', &mut first)?;
    let count = |delimiter: &u8| first.iter().filter(|byte| *byte == delimiter).count();
    let candidates = [b',', b';', b'\t'];
    Ok(candidates.into_iter().max_by_key(count).unwrap_or(b','))
}

impl Reader for MessyFile {
    type Item = MessyRow;
    type Position = Position;

    fn open(&mut self, from: Option<&Position>) -> Result<(), BoxError> {
        let (mut reader, header) = self.begin().map_err(|error| self.error(error))?;
        if let Some(from) = from {
            let mut position = csv::Position::new();
            position
                .set_byte(from.byte)
                .set_line(from.line)
                .set_record(from.row);
            reader.seek(position).map_err(|error| self.error(error))?;
        }
        self.opened = Some((reader, header));
        Ok(())
    }

    fn read(&mut self) -> Result<Option<(MessyRow, Position)>, BoxError> {
        let Some((reader, header)) = &mut self.opened else {
            return Ok(None);
        };
        reader.get_mut().read = 0;
        let number = reader.position().record();
        let mut record = ByteRecord::new();
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => return Err(self.error(in_row(number, &error))),
        }
        let row = MessyRow {
            header: Arc::clone(header),
            number,
            values: StringRecord::from_byte_record_lossy(record),
        };
        let next = reader.position();
        let position = Position {
            byte: next.byte(),
            line: next.line(),
            row: next.record(),
        };
        Ok(Some((row, position)))
    }

    fn reads(&self) -> Option<String> {
        Some(self.path.display().to_string())
    }
}

/// A row as it was read.
pub(crate) struct MessyRow {
    header: Arc<Header>,
    /// Counted from 1; the header is no row.
    pub(crate) number: u64,
    pub(crate) values: StringRecord,
}

impl MessyRow {
    /// The name of the file that it is from.
    pub(crate) fn file(&self) -> &str {
        &self.header.file
    }

    /// The row with all its values in the form that the rules know.
    pub(crate) fn repaired(&self) -> Result<Repaired, Reason> {
        let (has, wants) = (self.values.len(), self.header.columns.len());
        if has != wants {
            let reason = format!("the row has {has} columns where the header has {wants}");
            return Err(Rule::Unreadable.because(reason));
        }
        let values = self.values.iter().zip(&self.header.kinds);
        Ok(Repaired {
            header: Arc::clone(&self.header),
            values: values.map(|(value, kind)| repair(value, *kind)).collect(),
        })
    }
}

/// A row that may be checked.
pub(crate) struct Repaired {
    header: Arc<Header>,
    values: StringRecord,
}

impl Repaired {
    pub(crate) fn columns(&self) -> Result<RawFlight<'_>, Reason> {
        let columns = self.values.deserialize(Some(&self.header.columns));
        columns.map_err(|error| Rule::Unreadable.because(error.to_string()))
    }
}
