//! A file of lines that is never half there: it takes its name when everything is in it and on the disk. Whatever
//! ends the program before that, an earlier file of that name stays as it was.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::failure::{Context, Failure};
use crate::join::Line;
use crate::temporary::Temporary;

/// Lines are gathered to blocks of this size: about a hundred records for one system call.
const BLOCK: usize = 64 * 1024;

/// A file of lines in the making. Writing blocks; appending does not.
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
    pub(crate) fn append(&mut self, row: u64, line: &Line) -> Result<(), Failure> {
        self.row = row;
        line.append_to(&mut self.block)
            .context(|| format!("cannot write row {row} as JSON"))?;
        self.block.push(b'\n');
        Ok(())
    }

    /// Enough has gathered to be written.
    pub(crate) fn is_full(&self) -> bool {
        self.block.len() >= BLOCK
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

    /// Writes what has gathered.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
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

/// The file that a path leads to, for those who write beside it and rename. A link stays a link: what it points to is the
/// file. However it was spelled, one file has one path.
pub(crate) fn resolve(path: &Path) -> io::Result<PathBuf> {
    match fs::metadata(path) {
        Ok(existing) if existing.is_dir() => Err(io::Error::other("it is a folder")),
        Ok(existing) if !existing.is_file() => Err(io::Error::other("it is no file")),
        Ok(_) => path.canonicalize(),
        Err(_) => {
            let name = path
                .file_name()
                .ok_or_else(|| io::Error::other("it names no file"))?;
            fs::create_dir_all(folder(path))?;
            Ok(folder(path).canonicalize()?.join(name))
        }
    }
}

fn open(path: &Path) -> io::Result<(Destination, PathBuf)> {
    let existing = fs::metadata(path).ok();
    if existing.as_ref().is_some_and(is_stream) {
        let stream = File::options().write(true).open(path)?;
        return Ok((Destination::Stream(stream), path.to_owned()));
    }
    let path = resolve(path)?;
    let temporary = Temporary::create(folder(&path))?;
    if let Some(existing) = existing {
        temporary.file().set_permissions(existing.permissions())?;
    }
    Ok((Destination::Temporary(temporary), path))
}

fn is_stream(existing: &Metadata) -> bool {
    !existing.is_dir() && !existing.is_file()
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
