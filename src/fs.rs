//! Files, through the pool of threads for what can only block.
//!
//! A regular file has no readiness: the operating system reports it as always ready and then blocks. So each call here
//! runs on a thread of the runtime's small pool, like [`spawn_blocking`](crate::spawn_blocking). That costs a hand-over to another thread and back
//! per call, some ten microseconds; read and write in large pieces.
//!
//! All functions panic outside of a runtime. A call that is dropped before it completes may still take effect.

use crate::Handle;
use std::io;
use std::os::unix::fs::FileExt as _;
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
/// assert!(error.to_string().contains("no/such/file"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    on_path("read", path, |path| std::fs::read(path)).await
}

/// Reads a whole file as UTF-8.
///
/// # Errors
///
/// The system's, with the path; `InvalidData` when it is not UTF-8.
pub async fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    on_path("read", path, |path| std::fs::read_to_string(path)).await
}

/// Writes a whole file, and creates it or replaces what was in it.
///
/// # Errors
///
/// The system's, with the path. The file may then be empty or half written.
pub async fn write(
    path: impl AsRef<Path>,
    contents: impl AsRef<[u8]> + Send + 'static,
) -> io::Result<()> {
    on_path("write", path, move |path| std::fs::write(path, contents)).await
}

/// What is known about a file.
///
/// # Errors
///
/// The system's, with the path.
pub async fn metadata(path: impl AsRef<Path>) -> io::Result<std::fs::Metadata> {
    on_path("look at", path, |path| std::fs::metadata(path)).await
}

/// Makes a directory and those above it that are missing.
///
/// # Errors
///
/// The system's, with the path.
pub async fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    on_path("create the directory", path, |path| {
        std::fs::create_dir_all(path)
    })
    .await
}

/// Removes a file.
///
/// # Errors
///
/// The system's, with the path.
pub async fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    on_path("remove", path, |path| std::fs::remove_file(path)).await
}

/// Gives a file another name, replacing what had it.
///
/// # Errors
///
/// The system's, with both paths.
pub async fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let to = to.as_ref().to_owned();
    let what = format!("give the name {} to", to.display());
    on_path(what, from, move |from| std::fs::rename(from, to)).await
}

/// An open file, read and written at explicit positions. Clones are the same open file.
///
/// Buffers are handed over and come back with the result, because the call goes on although its future may be dropped.
///
/// # Example
///
/// ```
/// use peu::fs::File;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("numbers");
/// let runtime = peu::Runtime::new()?;
/// runtime.block_on(async {
///     let file = File::create(&path).await?;
///     file.write_all_at(b"0123456789".to_vec(), 0).await?;
///     file.sync_all().await?;
///     let (count, buffer) = File::open(&path).await?.read_at(vec![0; 4], 3).await?;
///     assert_eq!(&buffer[..count], b"3456");
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct File {
    file: Arc<std::fs::File>,
    path: Arc<Path>,
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// The system's, with the path.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<File> {
        Self::named("open", path, |path| std::fs::File::open(path)).await
    }

    /// Opens a file for reading and writing, and creates it or empties it.
    ///
    /// # Errors
    ///
    /// The system's, with the path.
    pub async fn create(path: impl AsRef<Path>) -> io::Result<File> {
        let options = |path: &Path| {
            std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(path)
        };
        Self::named("create", path, options).await
    }

    /// Reads at a position into `buffer`, at most its length; returns how much, and the buffer. 0 is the end of the file.
    ///
    /// # Errors
    ///
    /// The system's, with the path; the buffer is then lost.
    pub async fn read_at(&self, mut buffer: Vec<u8>, offset: u64) -> io::Result<(usize, Vec<u8>)> {
        self.with("read", move |file| {
            Ok((file.read_at(&mut buffer, offset)?, buffer))
        })
        .await
    }

    /// Writes all of `buffer` at a position, and returns it.
    ///
    /// # Errors
    ///
    /// The system's, with the path; a part may be written.
    pub async fn write_all_at(&self, buffer: Vec<u8>, offset: u64) -> io::Result<Vec<u8>> {
        self.with("write", move |file| {
            file.write_all_at(&buffer, offset).map(|()| buffer)
        })
        .await
    }

    /// Waits until the file's content and metadata are on the disk.
    ///
    /// # Errors
    ///
    /// The system's, with the path; then nothing is known about what is on the disk.
    pub async fn sync_all(&self) -> io::Result<()> {
        self.with("sync", |file| file.sync_all()).await
    }

    /// What is known about the file.
    ///
    /// # Errors
    ///
    /// The system's, with the path.
    pub async fn metadata(&self) -> io::Result<std::fs::Metadata> {
        self.with("look at", |file| file.metadata()).await
    }

    async fn named(
        what: &'static str,
        path: impl AsRef<Path>,
        open: impl FnOnce(&Path) -> io::Result<std::fs::File> + Send + 'static,
    ) -> io::Result<File> {
        let path = path.as_ref();
        let file = on_path(what, path, open).await?;
        Ok(File {
            file: Arc::new(file),
            path: path.into(),
        })
    }

    async fn with<T: Send + 'static>(
        &self,
        what: &'static str,
        job: impl FnOnce(&std::fs::File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let file = self.file.clone();
        on_path(what, &self.path, move |_| job(&file)).await
    }
}

/// Runs `job` on the pool; an error says what was tried on which path.
async fn on_path<T: Send + 'static>(
    what: impl AsRef<str>,
    path: impl AsRef<Path>,
    job: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let path: PathBuf = path.as_ref().to_owned();
    let tried = format!("cannot {} {}", what.as_ref(), path.display());
    let done = Handle::current().spawn_blocking(move || job(&path)).await;
    done.unwrap_or_else(|lost| Err(lost.into()))
        .map_err(|error| io::Error::new(error.kind(), format!("{tried}: {error}")))
}
