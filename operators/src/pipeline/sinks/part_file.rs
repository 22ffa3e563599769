//! A file that has its name only when it is complete.
//!
//! Until then it is beside its name, with `.part` behind it. A checkpoint holds how long it was when all before the barrier had
//! been written and synced, and the checksum of that much. After a crash the file is cut to that length, and what follows is written
//! again; so at the rename, which ends the job, every record is in it once. A file whose beginning is not what the checkpoint
//! tells is left alone, for then another job has written to it.

use super::part_lock::{is_anothers, lock, open_locked, part_of};
use super::records::Records;
use crate::error::BoxError;
use crate::pipeline::checkpoint::{folder_of, sync_folder};
use crate::pipeline::host::Host;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;

/// How many bytes are gathered before they are written: enough to make handing them to another thread cheap, and no more
/// than a processor's nearer cache holds.
pub(super) const GATHER: usize = 64 * 1024;

/// What a file sink puts into a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedFile {
    /// How long the file is up to here.
    pub(super) length: u64,
    /// The CRC-32 of that much.
    pub(super) checksum: u32,
    /// It is complete: a commit gives it its name.
    pub(super) is_last: bool,
}

impl PreparedFile {
    /// Whether a file begins with what was prepared; it has just that if that is all there is.
    pub(super) fn compare(&self, file: &File) -> io::Result<()> {
        let (told, found) = (self.length, file.metadata()?.len());
        if found < told {
            return Err(io::Error::other(format!(
                "it has {found} bytes, and had {told} at the checkpoint: it was changed since"
            )));
        }
        let mut checksum = crc32fast::Hasher::new();
        let (mut beginning, mut bytes) = (file.take(told), vec![0; GATHER]);
        loop {
            match beginning.read(&mut bytes)? {
                0 => break,
                count => checksum.update(&bytes[..count]),
            }
        }
        match checksum.finalize() == self.checksum {
            true => Ok(()),
            false => Err(io::Error::other(format!(
                "its first {told} bytes are not those of the checkpoint: it was changed since"
            ))),
        }
    }

    /// Makes a file what was prepared, and goes to its end.
    pub(super) fn cut(&self, mut file: &File) -> io::Result<()> {
        self.compare(file)?;
        file.set_len(self.length)?;
        file.seek(SeekFrom::Start(self.length)).map(drop)
    }

    /// To go on with the checksum.
    pub(super) fn hasher(&self) -> crc32fast::Hasher {
        crc32fast::Hasher::new_with_initial_len(self.checksum, self.length)
    }
}

/// The file, and what was not written to it yet.
pub(super) struct PartFile {
    paths: Arc<Paths>,
    opened: Option<(Host, Arc<File>)>,
    buffer: Vec<u8>,
    records: Records,
    /// Written, the buffer included.
    length: u64,
    /// Of what was written, the buffer excluded.
    checksum: crc32fast::Hasher,
    /// A checkpoint may speak of it.
    is_wanted: bool,
}

struct Paths {
    whole: PathBuf,
    part: PathBuf,
}

impl PartFile {
    pub(super) fn new(path: PathBuf) -> Self {
        let part = part_of(&path);
        Self {
            paths: Arc::new(Paths { whole: path, part }),
            opened: None,
            buffer: Vec::new(),
            records: Records::default(),
            length: 0,
            checksum: crc32fast::Hasher::new(),
            is_wanted: false,
        }
    }

    /// For the list of a checkpoint's parts: what kind of file, and which.
    pub(super) fn described(&self, kind: &str) -> String {
        format!("{kind}, {}", self.paths.whole.display())
    }

    /// Where bytes are added; `gathered` follows.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// A record was turned into bytes, or can't be: then the error says which, and for which file.
    pub(super) fn record<E: Into<BoxError>>(
        &mut self,
        written: Result<(), E>,
    ) -> Result<(), BoxError> {
        self.records.next(written, || self.paths.whole.clone())
    }

    /// Nothing was written yet.
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0 && self.buffer.is_empty()
    }

    pub(super) async fn open(
        &mut self,
        host: &Host,
        restored: Option<&PreparedFile>,
    ) -> Result<(), BoxError> {
        let (paths, restored) = (Arc::clone(&self.paths), restored.cloned());
        self.length = restored.as_ref().map_or(0, |restored| restored.length);
        let checksum = restored.as_ref().map(PreparedFile::hasher);
        self.checksum = checksum.unwrap_or_default();
        self.is_wanted = restored.is_some();
        let opened = host.offload(move || match restored {
            None => paths.create().map(Some),
            Some(restored) => paths.cut(&restored),
        });
        if let Some(file) = opened.await?? {
            self.opened = Some((host.clone(), Arc::new(file)));
        }
        Ok(())
    }

    /// Writes what was gathered, if it is enough.
    pub(super) async fn gathered(&mut self) -> Result<(), BoxError> {
        match self.buffer.len() < GATHER {
            true => Ok(()),
            false => self.write(false).await,
        }
    }

    /// Writes what was gathered, and sees to it that it is safe.
    pub(super) async fn prepare(&mut self, is_last: bool) -> Result<PreparedFile, BoxError> {
        self.write(true).await?;
        self.is_wanted = true;
        Ok(PreparedFile {
            length: self.length,
            checksum: self.checksum.clone().finalize(),
            is_last,
        })
    }

    async fn write(&mut self, sync: bool) -> Result<(), BoxError> {
        let Some((host, file)) = &self.opened else {
            return Ok(());
        };
        let (mut buffer, file) = (mem::take(&mut self.buffer), Arc::clone(file));
        self.length += buffer.len() as u64;
        self.checksum.update(&buffer);
        let paths = Arc::clone(&self.paths);
        let written = host.offload(move || -> Result<Vec<u8>, BoxError> {
            let write = (&*file).write_all(&buffer);
            write.map_err(|error| paths.error("write", error))?;
            if sync {
                file.sync_all()
                    .map_err(|error| paths.error("sync", error))?;
            }
            buffer.clear();
            Ok(buffer)
        });
        self.buffer = written.await??;
        Ok(())
    }

    pub(super) async fn commit(&mut self, prepared: &PreparedFile) -> Result<(), BoxError> {
        let Some((host, file)) = self.opened.as_ref().filter(|_| prepared.is_last) else {
            return Ok(());
        };
        let (paths, locked) = (Arc::clone(&self.paths), Arc::clone(file));
        let renamed = host.offload(move || {
            let renamed = paths.rename();
            drop(locked);
            renamed
        });
        renamed.await?
    }

    /// Removes the file, unless a checkpoint speaks of it.
    pub(super) async fn abort(&mut self) {
        if let Some((host, locked)) = self.opened.take().filter(|_| !self.is_wanted) {
            let paths = Arc::clone(&self.paths);
            let removed = host.offload(move || {
                // Best effort: the next run removes it anyway.
                let _ = fs::remove_file(&paths.part);
                drop(locked);
            });
            let _ = removed.await;
        }
    }
}

impl Paths {
    fn error(&self, what: &str, error: impl Display) -> BoxError {
        format!("cannot {what} {}: {error}", self.part.display()).into()
    }

    fn create(&self) -> Result<File, BoxError> {
        self.remove_left()?;
        let file = File::create_new(&self.part).map_err(|error| self.error("create", error))?;
        let file = lock(&self.part, file)?.ok_or_else(|| is_anothers(&self.part))?;
        // Else a loss of power could leave a checkpoint that speaks of a file without a name.
        self.sync_folder()?;
        Ok(file)
    }

    /// What an earlier run has left is removed, and not cut: where there are no locks, a job that ends right now may have given it its name.
    fn remove_left(&self) -> Result<(), BoxError> {
        let Some(_locked) = open_locked(&self.part, File::options().write(true))? else {
            return Ok(());
        };
        match fs::remove_file(&self.part) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.error("remove", error)),
            _ => Ok(()),
        }
    }

    fn sync_folder(&self) -> Result<(), BoxError> {
        sync_folder(folder_of(&self.whole)).map_err(|error| self.error("sync the folder of", error))
    }

    /// The file as it was at the checkpoint; none if it has got its name since, as only a complete one does.
    fn cut(&self, restored: &PreparedFile) -> Result<Option<File>, BoxError> {
        let options = File::options().read(true).write(true).clone();
        let Some(file) = open_locked(&self.part, &options)? else {
            return self.renamed(restored).map(|()| None);
        };
        let cut = restored.cut(&file);
        cut.map_err(|error| self.error("go on with", error))?;
        Ok(Some(file))
    }

    /// There is no unfinished file. That is well if it was complete, and has its name.
    fn renamed(&self, restored: &PreparedFile) -> Result<(), BoxError> {
        let whole = self.whole.display();
        let missing = self.error("open", "it is gone, and the checkpoint speaks of it");
        let file = match File::open(&self.whole) {
            Ok(file) if restored.is_last => file,
            Ok(_) => {
                return Err(format!(
                    "{missing}; {whole} is there: a job has completed it, and the checkpoint to go on from is an earlier one"
                )
                .into());
            }
            Err(_) => return Err(missing),
        };
        let compared = restored.compare(&file);
        compared.map_err(|error| format!("cannot go on with {whole}: {error}"))?;
        // Whoever renamed it may not have come to this.
        self.sync_folder()
    }

    fn rename(&self) -> Result<(), BoxError> {
        fs::rename(&self.part, &self.whole).map_err(|error| self.error("rename", error))?;
        self.sync_folder()
    }
}
