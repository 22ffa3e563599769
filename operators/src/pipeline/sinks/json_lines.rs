//! Records as lines of JSON.

use super::part_file::{PartFile, PreparedFile};
use crate::error::BoxError;
use crate::pipeline::host::Host;
use crate::pipeline::sink::Sink;
use serde::Serialize;
use std::path::PathBuf;

/// A file with a record on each line, as JSON.
///
/// It gets its name when the pipeline has ended well, so a file of that name is complete; one that was there before stays
/// until then. Until then it is beside it, with `.part` behind its name. With checkpoints each record is in it exactly once,
/// however often the job was killed.
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::future::block_on;
/// use peu_operators::pipeline::{JsonLines, Pipeline, iterate};
///
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("points.jsonl");
/// let points = Pipeline::source(iterate([(1, 2), (3, 4)]));
/// block_on(points.sink(JsonLines::create(&path)).run_on(&Threads))?;
/// assert_eq!(std::fs::read_to_string(path)?, "[1,2]\n[3,4]\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JsonLines {
    file: PartFile,
}

impl JsonLines {
    /// The file is made when the pipeline runs.
    pub fn create(path: impl Into<PathBuf>) -> Self {
        Self {
            file: PartFile::new(path.into()),
        }
    }
}

impl<T: Serialize + Send + 'static> Sink<T> for JsonLines {
    type Prepared = PreparedFile;
    type Error = BoxError;

    async fn open(&mut self, host: &Host, restored: Option<&PreparedFile>) -> Result<(), BoxError> {
        self.file.open(host, restored).await
    }

    async fn write(&mut self, record: T) -> Result<(), BoxError> {
        let written = serde_json::to_writer(self.file.buffer(), &record);
        self.file.record(written)?;
        self.file.buffer().push(b'\n');
        self.file.gathered().await
    }

    async fn prepare(&mut self, is_last: bool) -> Result<PreparedFile, BoxError> {
        self.file.prepare(is_last).await
    }

    async fn commit(&mut self, prepared: &PreparedFile) -> Result<(), BoxError> {
        self.file.commit(prepared).await
    }

    fn writes(&self) -> Option<String> {
        Some(self.file.described("JSON lines"))
    }

    async fn abort(&mut self) {
        self.file.abort().await;
    }
}
