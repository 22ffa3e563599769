//! The lines of a text file.

use super::line_buffer::{DEFAULT_LONGEST, NoLine};
use super::reader::{ReadAhead, Reader, still_has};
use crate::error::BoxError;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;

/// The lines of a text file, without their ends, `\n` or `\r\n`.
///
/// A last line needs no end. Bytes that are no UTF-8 end the pipeline with an error that names the line, and so does a line of more than
/// 1 MiB, unless [`longest_line`](ReadAhead::longest_line) allows it: what has no lines, such as a device, would else fill the memory.
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::future::block_on;
/// use peu_operators::pipeline::{Lines, Pipeline, collect};
///
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("loop.txt");
/// std::fs::write(&path, "poll\nexecute\nupdate")?;
/// let (sink, words) = collect();
/// block_on(Pipeline::source(Lines::open(&path)).sink(sink).run_on(&Threads))?;
/// assert_eq!(words.take(), ["poll", "execute", "update"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    longest: usize,
    file: Option<BufReader<File>>,
    position: LinesPosition,
}

/// Where a [`Lines`] stands: the byte and the line that come next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinesPosition {
    byte: u64,
    lines: u64,
}

impl Lines {
    /// The file is opened when the pipeline runs.
    pub fn open(path: impl Into<PathBuf>) -> ReadAhead<Self> {
        ReadAhead::new(Self {
            path: path.into(),
            longest: DEFAULT_LONGEST,
            file: None,
            position: LinesPosition::default(),
        })
    }

    fn open_at(&self) -> io::Result<BufReader<File>> {
        let mut file = File::open(&self.path)?;
        // A FIFO can be read from its start, and gone on with nowhere.
        if self.position.byte > 0 {
            still_has(&file, self.position.byte)?;
            file.seek(SeekFrom::Start(self.position.byte))?;
        }
        Ok(BufReader::new(file))
    }

    fn cannot_read(&self, why: impl Display) -> BoxError {
        let (number, path) = (self.position.lines + 1, self.path.display());
        format!("cannot read line {number} of {path}: {why}").into()
    }
}

impl ReadAhead<Lines> {
    /// A line of more bytes than this, its end aside, ends the pipeline. 1 MiB by default.
    #[must_use]
    pub fn longest_line(self, bytes: usize) -> Self {
        self.with_reader(|lines| lines.longest = bytes)
    }
}

impl Reader for Lines {
    type Item = String;
    type Position = LinesPosition;

    fn open(&mut self, from: Option<&LinesPosition>) -> Result<(), BoxError> {
        self.position = from.cloned().unwrap_or_default();
        let file = self.open_at();
        self.file =
            Some(file.map_err(|error| format!("cannot open {}: {error}", self.path.display()))?);
        Ok(())
    }

    fn read(&mut self) -> Result<Option<(String, LinesPosition)>, BoxError> {
        let Some(file) = &mut self.file else {
            return Ok(None);
        };
        let mut line = Vec::new();
        // One byte too many, or the longest end.
        let most = (self.longest as u64).saturating_add(2);
        let read = file.take(most).read_until(b'\n', &mut line);
        let read = read.map_err(|error| self.cannot_read(error))?;
        if read == 0 {
            return Ok(None);
        }
        if line.pop_if(|last| *last == b'\n').is_some() {
            line.pop_if(|last| *last == b'\r');
        }
        if line.len() > self.longest {
            return Err(self.cannot_read(NoLine::TooLong(self.longest)));
        }
        let line = String::from_utf8(line).map_err(|_| self.cannot_read(NoLine::NotUtf8))?;
        self.position.byte += read as u64;
        self.position.lines += 1;
        Ok(Some((line, self.position.clone())))
    }

    fn reads(&self) -> Option<String> {
        Some(self.path.display().to_string())
    }
}
