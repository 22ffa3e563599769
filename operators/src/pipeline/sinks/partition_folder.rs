//! The folder of [`PartitionedFiles`](super::PartitionedFiles), on the disk. All of this blocks.

use super::part_lock::{is_anothers, open_locked, part_of};
use super::partitioned_files::PreparedFolder;
use crate::error::BoxError;
use crate::pipeline::checkpoint::{folder_of, sync_folder};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

pub(super) struct Folder {
    whole: PathBuf,
    part: PathBuf,
}

/// What is to be appended to a file.
pub(super) struct Piece {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

fn error(what: &str, path: &Path, error: impl Display) -> BoxError {
    format!("cannot {what} {}: {error}", path.display()).into()
}

impl Folder {
    pub(super) fn new(whole: PathBuf) -> Self {
        let part = part_of(&whole);
        Self { whole, part }
    }

    pub(super) fn whole(&self) -> &Path {
        &self.whole
    }

    /// For a job that begins anew. The folder is locked as long as the handle is open.
    pub(super) fn create(&self) -> Result<File, BoxError> {
        let there = fs::read_dir(&self.whole).map(|mut there| there.next().is_some());
        let refuse = |why: &dyn Display| Err(error("write", &self.whole, why));
        match there {
            Ok(false) => {}
            Ok(true) => {
                return refuse(&"it is there already, and not empty; remove it, or name another");
            }
            Err(why) if why.kind() == ErrorKind::NotFound => {}
            Err(why) => return refuse(&why),
        }
        if let Some(_left) = self.lock()? {
            self.remove()?;
        }
        fs::create_dir(&self.part).map_err(|why| error("create", &self.part, why))?;
        let locked = self.lock()?.ok_or_else(|| is_anothers(&self.part))?;
        self.sync_parent()?;
        Ok(locked)
    }

    /// Locks the unfinished folder, if there is one.
    fn lock(&self) -> Result<Option<File>, BoxError> {
        open_locked(&self.part, File::options().read(true))
    }

    pub(super) fn remove(&self) -> Result<(), BoxError> {
        match fs::remove_dir_all(&self.part) {
            Err(why) if why.kind() != ErrorKind::NotFound => Err(error("remove", &self.part, why)),
            _ => Ok(()),
        }
    }

    /// Makes the folder what it was at the checkpoint. None: it has its name already, as only a complete one does.
    pub(super) fn restore(&self, restored: &PreparedFolder) -> Result<Option<File>, BoxError> {
        if let Some(locked) = self.lock()? {
            self.cut(restored)?;
            return Ok(Some(locked));
        }
        if !restored.is_last || !self.whole.is_dir() {
            let why = "it is gone, and a checkpoint speaks of it";
            return Err(error("go on with", &self.part, why));
        }
        for (name, file) in &restored.files {
            let path = self.whole.join(name);
            let compared = File::open(&path).and_then(|opened| file.compare(&opened));
            compared.map_err(|why| error("go on with", &path, why))?;
        }
        // Whoever renamed it may not have come to this.
        self.sync_parent()?;
        Ok(None)
    }

    /// Takes away what was written since.
    fn cut(&self, restored: &PreparedFolder) -> Result<(), BoxError> {
        for (name, file) in &restored.files {
            let path = self.part.join(name);
            let opened = File::options().read(true).write(true).open(&path);
            let cut = opened.and_then(|opened| file.cut(&opened));
            cut.map_err(|why| error("go on with", &path, why))?;
        }
        let known = restored.files.keys().map(|name| self.part.join(name));
        let known: BTreeSet<PathBuf> = known.collect();
        remove_others(&self.part, &known).map_err(|why| error("tidy", &self.part, why))
    }

    pub(super) fn append(&self, pieces: &[Piece]) -> Result<(), BoxError> {
        for piece in pieces {
            let path = self.part.join(&piece.name);
            let written = open_to_append(&path).and_then(|mut file| file.write_all(&piece.bytes));
            written.map_err(|why| error("write", &path, why))?;
        }
        Ok(())
    }

    /// Sees to it that these files are safe, and their names.
    pub(super) fn sync(&self, names: &[String]) -> Result<(), BoxError> {
        let mut folders = BTreeSet::new();
        for name in names {
            let path = self.part.join(name);
            let synced = File::open(&path).and_then(|file| file.sync_all());
            synced.map_err(|why| error("sync", &path, why))?;
            let above = path.ancestors().skip(1);
            folders.extend(
                above
                    .take_while(|above| above.starts_with(&self.part))
                    .map(PathBuf::from),
            );
        }
        folders
            .iter()
            .try_for_each(|folder| sync_folder(folder).map_err(|why| error("sync", folder, why)))
    }

    pub(super) fn rename(&self) -> Result<(), BoxError> {
        fs::rename(&self.part, &self.whole).map_err(|why| error("rename", &self.part, why))?;
        self.sync_parent()
    }

    fn sync_parent(&self) -> Result<(), BoxError> {
        let parent = folder_of(&self.whole);
        sync_folder(parent).map_err(|why| error("sync", parent, why))
    }
}

/// The first time a file is opened it is made, and the folders that it is in.
fn open_to_append(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.append(true).create(true);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().unwrap_or(path))?;
            options.open(path)
        }
        opened => opened,
    }
}

fn remove_others(folder: &Path, known: &BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => remove_others(&path, known)?,
            false if known.contains(&path) => {}
            false => fs::remove_file(&path)?,
        }
    }
    Ok(())
}
