//! Whole files. What is in memory is read in the calling task; what is not, and all writing, is one hand-over.

use super::work::{failed, on_path, perform, take_turns, uninterrupted};
use crate::Handle;
use peu_reactor::file::{Answer, Call, Nature, Unread, Whole};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Reads a whole file.
///
/// # Errors
///
/// The system's, with the path.
///
/// # Example
///
/// ```
/// let runtime = peu::Runtime::new()?;
/// let text = runtime.block_on(peu::fs::read_to_string("Cargo.toml"))?;
/// assert!(text.contains("peu"));
/// let error = runtime.block_on(peu::fs::read("no/such/file")).unwrap_err();
/// assert!(error.to_string().starts_with("cannot read no/such/file: "));
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let path = path.as_ref();
    match read_here(path).await {
        Ok(contents) => Ok(contents),
        Err(mut unread) => on_path("read", path, move |path| unread.read(path)).await,
    }
}

/// Reads a whole file as UTF-8.
///
/// # Errors
///
/// The system's, with the path; `InvalidData` when it is not UTF-8.
pub async fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    let path = path.as_ref();
    let text = String::from_utf8(read(path).await?);
    text.map_err(|_| {
        let cause = io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8");
        failed("read", path, cause)
    })
}

/// Reads what is in memory, and lets another tier add what is not. `Err`: a thread is to read it as a whole.
async fn read_here(path: &Path) -> Result<Vec<u8>, Unread> {
    take_turns().await;
    let runtime = Handle::current();
    match runtime.reactor().files().read_whole(path) {
        Whole::Done(contents) => Ok(contents),
        Whole::Rest(file, buffer, filled) => {
            let call = Call::read(Arc::new(file), buffer, filled, Some(0));
            let read = perform(&runtime, call.of_nature(Nature::Here)).await;
            let contents = read.map(|(call, answer)| all_of(call.into_buffer(), &answer));
            contents.ok().flatten().ok_or_else(Unread::default)
        }
        Whole::Unread(unread) => Err(unread),
    }
}

/// What was read, if it is as much as the file has. Less may be for an error in its middle, which is told only to who reads
/// on from there, or for its end, which has moved.
fn all_of(contents: Vec<u8>, answer: &Answer) -> Option<Vec<u8>> {
    matches!(answer, Answer::Bytes(count) if *count == contents.len()).then_some(contents)
}

/// Writes a whole file, and creates it or replaces what was in it.
///
/// # Errors
///
/// The system's, with the path. The file may then be empty or half written: [`write_atomic`] never leaves one so.
pub async fn write(
    path: impl AsRef<Path>,
    contents: impl AsRef<[u8]> + Send + 'static,
) -> io::Result<()> {
    on_path("write", path, move |path| fs::write(path, &contents)).await
}

/// Writes a whole file so that, whatever happens, the path has either what it had or all of `contents`, also after a
/// crash.
///
/// It writes a new file in the same folder, syncs it, gives it the name, and syncs the folder. The permissions are
/// those of the file that it replaces, if there was one. A symbolic link at `path` is itself replaced. Dropping the
/// future does not stop it halfway: once begun, it goes on to its end.
///
/// # Errors
///
/// The system's, with the path. The path then has what it had, unless it is the folder that could not be synced: then
/// it has the contents, and a crash may bring the former ones back. Nothing else is left in the folder, but by a crash:
/// a file whose name begins with `.peu-`.
///
/// # Cost
///
/// One hand-over, and two waits for the disk.
///
/// # Example
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("state.json");
/// let runtime = peu::Runtime::new()?;
/// runtime.block_on(async {
///     peu::fs::write_atomic(&path, "{}").await?;
///     assert_eq!(peu::fs::read(&path).await?, b"{}");
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn write_atomic(
    path: impl AsRef<Path>,
    contents: impl AsRef<[u8]> + Send + 'static,
) -> io::Result<()> {
    on_path("write", path, move |path| replace(path, contents.as_ref())).await
}

/// Copies a file's contents and permissions, inside the kernel where it can, and returns the number of bytes.
///
/// # Errors
///
/// The system's, with both paths. The copy may then be incomplete.
pub async fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64> {
    let to = to.as_ref().to_owned();
    let what = format!("copy to {} the file", to.display());
    on_path(what, from, move |from| fs::copy(from, &to)).await
}

fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    if path.file_name().is_none() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path does not end in the name of a file",
        ));
    }
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let (file, temporary) = create_temporary(folder)?;
    let replaced = fill(file, contents, path).and_then(|()| fs::rename(&temporary, path));
    if replaced.is_err() {
        // The first error is the one to tell; a file that can't be removed either is the smaller harm.
        let _ = fs::remove_file(&temporary);
    }
    replaced?;
    let folder = fs::File::open(folder)?;
    uninterrupted(|| folder.sync_all())
}

fn fill(mut file: fs::File, contents: &[u8], replaced: &Path) -> io::Result<()> {
    if let Ok(metadata) = fs::symlink_metadata(replaced)
        && metadata.is_file()
    {
        file.set_permissions(metadata.permissions())?;
    }
    file.write_all(contents)?;
    uninterrupted(|| file.sync_all())
}

/// A new file, under a name that nobody has. Other writers, in this process and in others, take other numbers.
fn create_temporary(folder: &Path) -> io::Result<(fs::File, PathBuf)> {
    let process = std::process::id();
    for number in 0u32.. {
        let path = folder.join(format!(".peu-{process}-{number}"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return Ok((opened?, path)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As after an error behind a first page that was in memory, or for a file that was cut.
    #[test]
    fn half_of_a_file_is_no_file() {
        let contents = || vec![7; 8192];
        assert_eq!(all_of(contents(), &Answer::Bytes(8192)), Some(contents()));
        for short in [0, 4096, 8191] {
            assert_eq!(all_of(contents(), &Answer::Bytes(short)), None);
        }
    }
}
