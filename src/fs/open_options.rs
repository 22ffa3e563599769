//! How a file is opened.

use super::File;
use super::work::{call_on_path, take_turns};
use crate::Handle;
use peu_reactor::file::{self, Answer, Call};
use std::io;
use std::path::Path;

/// How a file is opened: the options of [`std::fs::OpenOptions`], and an `open` that does not block the task.
///
/// # Example
///
/// ```
/// use peu::fs::OpenOptions;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("log");
/// let runtime = peu::Runtime::new()?;
/// runtime.block_on(async {
///     let log = OpenOptions::new().append(true).create(true).open(&path).await?;
///     log.write_all_at(b"begun\n".to_vec(), 0).await?;
///     let refused = OpenOptions::new().write(true).create_new(true).open(&path).await;
///     assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions(file::OpenOptions);

impl OpenOptions {
    /// All options off.
    #[expect(
        clippy::new_without_default,
        reason = "std's has none either: nothing can be opened so"
    )]
    pub fn new() -> OpenOptions {
        OpenOptions(file::OpenOptions::default())
    }

    /// To read.
    pub fn read(&mut self, read: bool) -> &mut OpenOptions {
        self.0.read = read;
        self
    }

    /// To write; what is in the file stays until it is overwritten.
    pub fn write(&mut self, write: bool) -> &mut OpenOptions {
        self.0.write = write;
        self
    }

    /// To write at the end only, wherever it is by then. Positions of writes are ignored.
    pub fn append(&mut self, append: bool) -> &mut OpenOptions {
        self.0.append = append;
        self
    }

    /// Empties the file. Needs `write`.
    pub fn truncate(&mut self, truncate: bool) -> &mut OpenOptions {
        self.0.truncate = truncate;
        self
    }

    /// Makes the file if there is none. Needs `write` or `append`.
    pub fn create(&mut self, create: bool) -> &mut OpenOptions {
        self.0.create = create;
        self
    }

    /// Makes the file, and fails if there is anything of that name. Needs `write` or `append`.
    pub fn create_new(&mut self, create_new: bool) -> &mut OpenOptions {
        self.0.create_new = create_new;
        self
    }

    /// The permissions of a file that is made, less the process's mask: `0o666` unless set.
    pub fn mode(&mut self, mode: u32) -> &mut OpenOptions {
        self.0.mode = mode;
        self
    }

    /// Opens the file. If the future is dropped, the file may have been made or emptied.
    ///
    /// # Errors
    ///
    /// The system's, with the path; `InvalidInput` when the options contradict each other.
    pub async fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref();
        take_turns().await;
        let runtime = Handle::current();
        if let Some((file, nature)) = runtime.reactor().files().open_now(path, &self.0) {
            return Ok(File::new(file, path, runtime, Some(nature)));
        }
        match call_on_path("open", path, Call::open(path, &self.0)).await? {
            Answer::File(file) => Ok(File::new(file, path, runtime, None)),
            other => unreachable!("an open answers with a file, not {other:?}"),
        }
    }
}
