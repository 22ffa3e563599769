//! Texts as lines.

use super::part_file::{PartFile, PreparedFile};
use crate::error::BoxError;
use crate::pipeline::host::Host;
use crate::pipeline::sink::Sink;
use std::path::PathBuf;

/// A text file with a record on each line: what [`Lines`](crate::pipeline::Lines) reads back. For records whose form is
/// made before they come here.
///
/// A record is written as it is. One that ends in `\r` makes a line that ends in `\r\n`, as some readers want it; `Lines` takes both for
/// the end, and gives the record back without it.
///
/// It becomes visible as [`JsonLines`](super::JsonLines) does. A record that has a line break would be two, so it ends the
/// pipeline with an error.
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::future::block_on;
/// use peu_operators::pipeline::{LinesWriter, Pipeline, iterate};
///
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("loop.txt");
/// let words = Pipeline::source(iterate(["poll", "execute", "update"]));
/// block_on(words.sink(LinesWriter::create(&path)).run_on(&Threads))?;
/// assert_eq!(std::fs::read_to_string(path)?, "poll\nexecute\nupdate\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LinesWriter {
    file: PartFile,
}

impl LinesWriter {
    /// The file is made when the pipeline runs.
    pub fn create(path: impl Into<PathBuf>) -> Self {
        Self {
            file: PartFile::new(path.into()),
        }
    }
}

impl<T: AsRef<str> + Send + 'static> Sink<T> for LinesWriter {
    type Prepared = PreparedFile;
    type Error = BoxError;

    async fn open(&mut self, host: &Host, restored: Option<&PreparedFile>) -> Result<(), BoxError> {
        self.file.open(host, restored).await
    }

    async fn write(&mut self, record: T) -> Result<(), BoxError> {
        let line = record.as_ref();
        let is_line = match line.contains('\n') {
            true => Err(format!("it has a line break, so it is no line: {line:?}")),
            false => Ok(()),
        };
        self.file.record(is_line)?;
        let buffer = self.file.buffer();
        buffer.extend_from_slice(line.as_bytes());
        buffer.push(b'\n');
        self.file.gathered().await
    }

    async fn prepare(&mut self, is_last: bool) -> Result<PreparedFile, BoxError> {
        self.file.prepare(is_last).await
    }

    async fn commit(&mut self, prepared: &PreparedFile) -> Result<(), BoxError> {
        self.file.commit(prepared).await
    }

    fn writes(&self) -> Option<String> {
        Some(self.file.described("lines"))
    }

    async fn abort(&mut self) {
        self.file.abort().await;
    }
}
