//! Records in many files, by what they are: a folder that has its name only when it is complete.
//!
//! Until then it is beside its name, with `.part` behind it, and locked, as a single file is. A checkpoint holds for each file how long it
//! was when all before the barrier had been written and synced, and the checksum of that much. After a crash each file is cut to
//! that length, and those that the checkpoint does not know are removed; the rename of the folder ends the job, so all files
//! become visible at once.
//!
//! There may be more files than a process may have open, so none stays open: what has gathered for all of them is written by
//! one job, which opens one after the other. (`partition_folder.rs` has what touches the disk.)

use super::part_file::PreparedFile;
use super::partition_folder::{Folder, Piece};
use super::records::Records;
use crate::error::BoxError;
use crate::pipeline::host::Host;
use crate::pipeline::sink::Sink;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::mem;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// How many bytes are gathered, for all files together, before they are written: with a thousand files a kilobyte each, which
/// takes about as long to write as the file to open.
const GATHER: usize = 1024 * 1024;

/// What a CSV writer gathers of one record.
const ROW: usize = 512;

/// A folder of files, where each record goes into the file that a function names: by day, by customer, by both.
///
/// The folder gets its name when the pipeline has ended well, so a folder of that name is complete. It must not be there before,
/// unless it is empty. Until then it is beside its name, with `.part` behind that; what an earlier run has left there is removed,
/// unless the job goes on from a checkpoint. With checkpoints each record is in its file exactly once, however often the job
/// was killed. Two jobs can't write to the same folder at a time: the second is refused, where the file system has locks.
///
/// A name is a plain path inside of the folder, such as `EWR/2013-01-31.csv`: one that is absolute, empty, or that has `.`, `..` or two
/// slashes in a row in it ends the pipeline with an error.
///
/// Memory: 1 MiB, and some 100 bytes for each file. A checkpoint syncs those files that were written to since the one before, and
/// holds some 10 bytes and the name of each.
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::future::block_on;
/// use peu_operators::pipeline::{PartitionedFiles, Pipeline, iterate};
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// struct Departure {
///     airport: &'static str,
///     flight: u32,
/// }
///
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("departures");
/// let departures = [("JFK", 1), ("EWR", 2), ("JFK", 3)].map(|(airport, flight)| Departure { airport, flight });
/// let sink = PartitionedFiles::csv(&path, |departure: &Departure| format!("{}.csv", departure.airport));
/// block_on(Pipeline::source(iterate(departures)).sink(sink).run_on(&Threads))?;
/// assert_eq!(std::fs::read_to_string(path.join("JFK.csv"))?, "airport,flight\nJFK,1\nJFK,3\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PartitionedFiles<F> {
    disk: Disk,
    file_of: F,
    format: Format,
    files: BTreeMap<String, Partition>,
    records: Records,
    /// Bytes that wait in all files together.
    gathered: usize,
    /// A checkpoint speaks of the folder.
    is_wanted: bool,
    /// It has its name already: a job that had ended was restored.
    is_complete: bool,
}

#[derive(Clone, Copy)]
enum Format {
    JsonLines,
    Csv,
}

/// What [`PartitionedFiles`] put into a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedFolder {
    pub(super) files: BTreeMap<String, PreparedFile>,
    pub(super) is_last: bool,
}

/// One of the files.
#[derive(Default)]
struct Partition {
    /// What waits to be written.
    buffer: Vec<u8>,
    /// How long the file is without it.
    length: u64,
    checksum: crc32fast::Hasher,
    is_synced: bool,
}

impl<F> PartitionedFiles<F> {
    /// Files with a record on each line, as JSON. The folder is made when the pipeline runs.
    pub fn json_lines(folder: impl Into<PathBuf>, file_of: F) -> Self {
        Self::new(folder.into(), file_of, Format::JsonLines)
    }

    /// Files with a record on each row, as CSV; the first row of each names the columns, if the records are structs.
    pub fn csv(folder: impl Into<PathBuf>, file_of: F) -> Self {
        Self::new(folder.into(), file_of, Format::Csv)
    }

    fn new(folder: PathBuf, file_of: F, format: Format) -> Self {
        Self {
            disk: Disk {
                folder: Arc::new(Folder::new(folder)),
                locked: None,
                host: None,
            },
            file_of,
            format,
            files: BTreeMap::new(),
            records: Records::default(),
            gathered: 0,
            is_wanted: false,
            is_complete: false,
        }
    }

    /// Adds a record to the file with this name.
    fn append<T: Serialize>(&mut self, name: &str, record: &T) -> Result<(), BoxError> {
        let file = match self.files.get_mut(name) {
            Some(file) => file,
            None => {
                check(name)?;
                self.files.entry(name.to_owned()).or_default()
            }
        };
        let before = file.buffer.len();
        file.append(record, self.format)?;
        self.gathered += file.buffer.len() - before;
        Ok(())
    }

    /// Writes what has gathered.
    async fn write_all(&mut self) -> Result<(), BoxError> {
        self.gathered = 0;
        let waiting = self.files.iter_mut();
        let waiting = waiting.filter(|(_, file)| !file.buffer.is_empty());
        let pieces: Vec<Piece> = waiting.map(|(name, file)| file.take(name)).collect();
        self.disk
            .offload(move |folder| folder.append(&pieces))
            .await
    }
}

/// The folder, and where it is worked on. It is locked once it is this job's.
struct Disk {
    folder: Arc<Folder>,
    locked: Option<Arc<File>>,
    host: Option<Host>,
}

impl Disk {
    async fn offload<V: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<V, BoxError> + Send + 'static,
    ) -> Result<V, BoxError> {
        let host = self.host.as_ref().ok_or("the sink was not opened")?;
        let (folder, locked) = (Arc::clone(&self.folder), self.locked.clone());
        let work = move || {
            let done = work(&folder);
            // Not before: a write may outlive the job.
            drop(locked);
            done
        };
        host.offload(work).await?
    }
}

impl Partition {
    fn restored(prepared: &PreparedFile) -> Self {
        Self {
            buffer: Vec::new(),
            length: prepared.length,
            checksum: prepared.hasher(),
            is_synced: true,
        }
    }

    fn is_empty(&self) -> bool {
        self.length == 0 && self.buffer.is_empty()
    }

    fn append<T: Serialize>(&mut self, record: &T, format: Format) -> Result<(), BoxError> {
        match format {
            Format::JsonLines => {
                serde_json::to_writer(&mut self.buffer, record)?;
                self.buffer.push(b'\n');
            }
            Format::Csv => {
                let mut rows = csv::WriterBuilder::new()
                    .has_headers(self.is_empty())
                    .buffer_capacity(ROW)
                    .from_writer(&mut self.buffer);
                rows.serialize(record)?;
                rows.flush()?;
            }
        }
        Ok(())
    }

    /// What is written next.
    fn take(&mut self, name: &str) -> Piece {
        let bytes = mem::take(&mut self.buffer);
        self.length += bytes.len() as u64;
        self.checksum.update(&bytes);
        self.is_synced = false;
        Piece {
            name: name.to_owned(),
            bytes,
        }
    }

    fn prepared(&self, is_last: bool) -> PreparedFile {
        PreparedFile {
            length: self.length,
            checksum: self.checksum.clone().finalize(),
            is_last,
        }
    }
}

/// A path that stays inside of the folder, and is spelled in the one way in which no other path is the same file.
fn check(name: &str) -> Result<(), BoxError> {
    let components = Path::new(name).components();
    let normal = components.filter(|part| matches!(part, Component::Normal(_)));
    let spelled: PathBuf = normal.collect();
    match !name.is_empty() && spelled.as_os_str() == name {
        true => Ok(()),
        false => Err(format!(
            "a record is to go into {name:?}, which is no plain path of a file inside of the folder"
        )
        .into()),
    }
}

impl<T, F> Sink<T> for PartitionedFiles<F>
where
    T: Serialize + Send + 'static,
    F: FnMut(&T) -> String + Send + 'static,
{
    type Prepared = PreparedFolder;
    type Error = BoxError;

    async fn open(
        &mut self,
        host: &Host,
        restored: Option<&PreparedFolder>,
    ) -> Result<(), BoxError> {
        self.disk.host = Some(host.clone());
        self.is_wanted = restored.is_some();
        let files = restored.iter().flat_map(|restored| &restored.files);
        self.files = files
            .map(|(name, file)| (name.clone(), Partition::restored(file)))
            .collect();
        let restored = restored.cloned();
        let opened = self.disk.offload(move |folder| match &restored {
            None => folder.create().map(Some),
            Some(restored) => folder.restore(restored),
        });
        self.disk.locked = opened.await?.map(Arc::new);
        self.is_complete = self.disk.locked.is_none();
        Ok(())
    }

    async fn write(&mut self, record: T) -> Result<(), BoxError> {
        let name = (self.file_of)(&record);
        let written = self.append(&name, &record);
        let path = || self.disk.folder.whole().join(&name);
        self.records.next(written, path)?;
        match self.gathered < GATHER {
            true => Ok(()),
            false => self.write_all().await,
        }
    }

    async fn prepare(&mut self, is_last: bool) -> Result<PreparedFolder, BoxError> {
        self.write_all().await?;
        let unsynced = self.files.iter().filter(|(_, file)| !file.is_synced);
        let unsynced: Vec<String> = unsynced.map(|(name, _)| name.clone()).collect();
        self.disk
            .offload(move |folder| folder.sync(&unsynced))
            .await?;
        self.is_wanted = true;
        let prepared = self.files.iter_mut().map(|(name, file)| {
            file.is_synced = true;
            (name.clone(), file.prepared(is_last))
        });
        Ok(PreparedFolder {
            files: prepared.collect(),
            is_last,
        })
    }

    async fn commit(&mut self, prepared: &PreparedFolder) -> Result<(), BoxError> {
        if !prepared.is_last || self.is_complete {
            return Ok(());
        }
        self.disk.offload(Folder::rename).await?;
        self.is_complete = true;
        Ok(())
    }

    fn writes(&self) -> Option<String> {
        let kind = match self.format {
            Format::JsonLines => "JSON lines",
            Format::Csv => "CSV",
        };
        let folder = self.disk.folder.whole().display();
        Some(format!("files of {kind} in {folder}"))
    }

    /// Removes the folder, unless a checkpoint speaks of it, or it is another job's.
    async fn abort(&mut self) {
        if !self.is_wanted && self.disk.locked.is_some() {
            // Best effort: the next run removes it anyway.
            let _ = self.disk.offload(Folder::remove).await;
        }
    }
}
