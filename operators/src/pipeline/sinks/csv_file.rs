//! Records as rows of CSV.

use super::part_file::{GATHER, PartFile, PreparedFile};
use crate::error::BoxError;
use crate::pipeline::host::Host;
use crate::pipeline::sink::Sink;
use serde::Serialize;
use std::path::PathBuf;

/// A CSV file with a record on each row. The first row names the columns, if the records are structs.
///
/// It becomes visible as [`JsonLines`](super::JsonLines) does.
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::future::block_on;
/// use peu_operators::pipeline::{CsvWriter, Pipeline, iterate};
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// struct Point {
///     x: u32,
///     y: u32,
/// }
///
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("points.csv");
/// let points = Pipeline::source(iterate(0..2)).map(|x| Point { x, y: 2 * x });
/// block_on(points.sink(CsvWriter::create(&path)).run_on(&Threads))?;
/// assert_eq!(std::fs::read_to_string(path)?, "x,y\n0,0\n1,2\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct CsvWriter {
    file: PartFile,
    /// Rows that the file has not gathered yet.
    rows: csv::Writer<Vec<u8>>,
}

impl CsvWriter {
    /// The file is made when the pipeline runs.
    pub fn create(path: impl Into<PathBuf>) -> Self {
        Self {
            file: PartFile::new(path.into()),
            rows: rows(true),
        }
    }

    /// Hands the rows over to the file.
    fn gather(&mut self) -> Result<(), BoxError> {
        let full = std::mem::replace(&mut self.rows, rows(false));
        let full = full.into_inner().map_err(|error| error.into_error())?;
        self.file.buffer().extend(full);
        Ok(())
    }
}

fn rows(with_columns: bool) -> csv::Writer<Vec<u8>> {
    csv::WriterBuilder::new()
        .has_headers(with_columns)
        .from_writer(Vec::new())
}

impl<T: Serialize + Send + 'static> Sink<T> for CsvWriter {
    type Prepared = PreparedFile;
    type Error = BoxError;

    async fn open(&mut self, host: &Host, restored: Option<&PreparedFile>) -> Result<(), BoxError> {
        self.file.open(host, restored).await?;
        self.rows = rows(self.file.is_empty());
        Ok(())
    }

    async fn write(&mut self, record: T) -> Result<(), BoxError> {
        let written = self.rows.serialize(record);
        self.file.record(written)?;
        if self.rows.get_ref().len() < GATHER {
            return Ok(());
        }
        self.gather()?;
        self.file.gathered().await
    }

    async fn prepare(&mut self, is_last: bool) -> Result<PreparedFile, BoxError> {
        self.gather()?;
        let no_columns_yet = self.file.is_empty();
        if no_columns_yet {
            self.rows = rows(true);
        }
        self.file.prepare(is_last).await
    }

    async fn commit(&mut self, prepared: &PreparedFile) -> Result<(), BoxError> {
        self.file.commit(prepared).await
    }

    fn writes(&self) -> Option<String> {
        Some(self.file.described("CSV"))
    }

    async fn abort(&mut self) {
        self.file.abort().await;
    }
}
