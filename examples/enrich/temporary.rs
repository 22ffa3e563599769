//! A file without a name, until it is given one. Linux has such files (`O_TMPFILE`, `linkat`): they vanish with the
//! process, so that even one that is killed leaves nothing behind. Where the system or the file system has none, the file
//! has a temporary name meanwhile, and a killed process leaves it there.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD};
use tempfile::TempPath;

/// What any new file gets: the process's umask still applies.
const MODE: u32 = 0o666;

/// A file to be.
pub(crate) struct Temporary {
    file: File,
    /// Where there are no files without one.
    name: Option<TempPath>,
}

impl Temporary {
    /// In the folder where it will have its name.
    pub(crate) fn create(folder: &Path) -> io::Result<Temporary> {
        if let Ok(file) = unnamed(folder) {
            return Ok(Temporary { file, name: None });
        }
        let (file, name) = builder().tempfile_in(folder)?.into_parts();
        let name = Some(name);
        Ok(Temporary { file, name })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Gives it its name, in place of whatever file has it. Only a rename replaces, and only a name can be renamed: the
    /// file has a temporary one for that moment.
    pub(crate) fn persist(self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(path);
        let name = match self.name {
            Some(name) => name,
            None => builder()
                .make_in(folder, |name| link(&self.file, name))?
                .into_temp_path(),
        };
        Ok(name.persist(path)?)
    }
}

fn builder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".enrich-").suffix(".part");
    builder.permissions(fs::Permissions::from_mode(MODE));
    builder
}

#[cfg(target_os = "linux")]
fn unnamed(folder: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = File::from(open(folder, flags, Mode::from_raw_mode(MODE))?);
    // Without this path there would be no way to give it a name.
    fs::metadata(path_of(&file))?;
    Ok(file)
}

#[cfg(not(target_os = "linux"))]
fn unnamed(_folder: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Gives a first name to a file that has none.
fn link(file: &File, name: &Path) -> io::Result<()> {
    let follow = AtFlags::SYMLINK_FOLLOW;
    Ok(rustix::fs::linkat(CWD, path_of(file), CWD, name, follow)?)
}

fn path_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
