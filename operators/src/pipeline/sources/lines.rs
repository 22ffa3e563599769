//! The lines of a text file.

use super::reader::{ReadAhead, Reader, still_has};
use crate::error::BoxError;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;

/// The lines of a text file, without their ends, `\n` or `\r\n`.
///
/// A last line needs no end. Bytes that are no UTF-8 end the pipeline with an error that names the line.
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
        let mut line = String::new();
        let read = file.read_line(&mut line).map_err(|error| {
            let number = self.position.lines + 1;
            format!(
                "cannot read line {number} of {}: {error}",
                self.path.display()
            )
        })?;
        if read == 0 {
            return Ok(None);
        }
        self.position.byte += read as u64;
        self.position.lines += 1;
        if line.ends_with('\n') {
            line.pop();
            if line.ends_with('\r') {
                line.pop();
            }
        }
        Ok(Some((line, self.position.clone())))
    }

    fn reads(&self) -> Option<String> {
        Some(self.path.display().to_string())
    }
}
