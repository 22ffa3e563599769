//! A file of JSON lines that is never half there: it takes its name when everything is in it and on the disk. Whatever
//! ends the program before that, an earlier file of that name stays as it was.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::failure::{Context, Failure};
use crate::temporary::Temporary;

/// Lines are gathered to blocks of this size: about a hundred records for one system call.
const BLOCK: usize = 64 * 1024;

/// A file of JSON lines in the making.
pub(crate) struct Output {
    path: PathBuf,
    file: Destination,
    block: Vec<u8>,
    /// The last row in the block or in the file.
    row: u64,
}

/// Where the bytes go meanwhile.
enum Destination {
    /// A file that has not its name yet.
    Temporary(Temporary),
    /// A device or a pipe: it has no half-written state to hide, and must not be replaced by a file.
    Stream(File),
}

impl Output {
    /// Makes the file, without its name, and the folder that it is in.
    pub(crate) fn create(path: &Path) -> Result<Output, Failure> {
        let (file, path) = open(path).context(|| format!("cannot create {}", path.display()))?;
        Ok(Output {
            path,
            file,
            block: Vec::with_capacity(2 * BLOCK),
            row: 0,
        })
    }

    /// Where it will be: however it was spelled, one file has one path. That of a device is as it was given.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line that comes from a row of the input.
    pub(crate) fn write(&mut self, row: u64, line: &impl Serialize) -> Result<(), Failure> {
        self.row = row;
        serde_json::to_writer(&mut self.block, line)
            .context(|| format!("cannot write row {row} as JSON"))?;
        self.block.push(b'\n');
        match self.block.len() < BLOCK {
            true => Ok(()),
            false => self.flush(),
        }
    }

    /// All lines were written: puts them on the disk.
    pub(crate) fn complete(mut self) -> Result<Complete, Failure> {
        self.flush()?;
        if let Destination::Temporary(temporary) = &self.file {
            let synced = temporary.file().sync_all();
            synced.context(|| format!("cannot put {} on the disk", self.path.display()))?;
        }
        Ok(Complete {
            path: self.path,
            file: self.file,
        })
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let written = match &mut self.file {
            Destination::Temporary(file) => file.file().write_all(&self.block),
            Destination::Stream(file) => file.write_all(&self.block),
        };
        written
            .context(|| format!("cannot write {} (at row {})", self.path.display(), self.row))?;
        self.block.clear();
        Ok(())
    }
}

/// A file that lacks nothing but its name.
pub(crate) struct Complete {
    path: PathBuf,
    file: Destination,
}

impl Complete {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its name, and puts that on the disk too.
    pub(crate) fn publish(self) -> Result<(), Failure> {
        let Destination::Temporary(temporary) = self.file else {
            return Ok(());
        };
        let path = self.path;
        temporary
            .persist(&path)
            .context(|| format!("cannot give {} its name", path.display()))?;
        let folder = File::open(folder(&path)).and_then(|folder| folder.sync_all());
        folder.context(|| format!("cannot put the name of {} on the disk", path.display()))
    }
}

fn open(path: &Path) -> io::Result<(Destination, PathBuf)> {
    match fs::metadata(path) {
        Ok(existing) if existing.is_dir() => Err(io::Error::other("it is a folder")),
        Ok(existing) if !existing.is_file() => Ok((
            Destination::Stream(File::options().write(true).open(path)?),
            path.to_owned(),
        )),
        // A link stays a link: what it points to is replaced, by a file with the same permissions.
        Ok(existing) => temporary(&path.canonicalize()?, Some(existing.permissions())),
        Err(_) => temporary(path, None),
    }
}

fn temporary(path: &Path, permissions: Option<Permissions>) -> io::Result<(Destination, PathBuf)> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::other("it names no file"))?;
    fs::create_dir_all(folder(path))?;
    let folder = folder(path).canonicalize()?;
    let temporary = Temporary::create(&folder)?;
    if let Some(permissions) = permissions {
        temporary.file().set_permissions(permissions)?;
    }
    Ok((Destination::Temporary(temporary), folder.join(name)))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
