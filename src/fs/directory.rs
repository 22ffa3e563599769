//! Directories: made, removed, and listed as a stream.

use super::work::{call_on_path, failed, on_path, on_pool, take_turns, uninterrupted};
use super::{FileType, Metadata};
use crate::Handle;
use futures_core::Stream;
use peu_reactor::file::{Call, Folder};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Entries that are listed in one hand-over to the pool. A system call lists some hundred of them in a few
/// microseconds: fewer would pay for the hand-over more often, more would keep memory for those who look only at the
/// first.
const BATCH: usize = 128;

/// Makes a directory.
///
/// # Errors
///
/// The system's, with the path; `AlreadyExists` when something has that name.
pub async fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    let call = Call::make_directory(path);
    call_on_path("create the directory", path, call)
        .await
        .map(drop)
}

/// Makes a directory and those above it that are missing.
///
/// # Errors
///
/// The system's, with the path.
pub async fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    on_path("create the directory", path, |path| {
        fs::create_dir_all(path)
    })
    .await
}

/// Removes an empty directory.
///
/// # Errors
///
/// The system's, with the path; `DirectoryNotEmpty` when there is something in it.
pub async fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    let call = Call::remove(path, true);
    call_on_path("remove the directory", path, call)
        .await
        .map(drop)
}

/// Removes a directory and all that is in it. Symbolic links are removed, not followed.
///
/// # Errors
///
/// The system's, with the path. A part may then be removed.
pub async fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    on_path("remove the directory", path, |path| {
        fs::remove_dir_all(path)
    })
    .await
}

/// Lists a directory, in no particular order, without `.` and `..`.
///
/// # Errors
///
/// The system's, with the path.
///
/// # Example
///
/// ```
/// use futures_lite::StreamExt;
///
/// let runtime = peu::Runtime::new()?;
/// runtime.block_on(async {
///     let mut entries = peu::fs::read_dir("src").await?;
///     let mut found = false;
///     while let Some(entry) = entries.next().await {
///         found |= entry?.file_name() == "lib.rs";
///     }
///     assert!(found);
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let path = path.as_ref();
    let runtime = Handle::current();
    let handle = runtime.clone();
    let first = on_path("list", path, move |path| {
        let directory = fs::read_dir(path)?;
        // Opened a second time, because std does not tell its descriptor.
        let folder = handle.reactor().files().folder(path).map(Arc::new);
        let mut batch = next_batch(directory, folder.as_ref());
        match batch.listed.pop_back() {
            // Nobody has seen any of it: it is listed again.
            Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            last => {
                batch.listed.extend(last);
                Ok((batch, folder))
            }
        }
    });
    let (first, folder) = first.await?;
    Ok(ReadDir {
        path: path.to_owned(),
        runtime,
        folder,
        listed: first.listed,
        state: State::after(first.rest),
    })
}

/// The entries of a directory, a stream; from [`read_dir`].
///
/// An item is an error when the directory can't be listed any further; it is the last one. It may be a signal's interruption
/// ([`Interrupted`](io::ErrorKind::Interrupted)), if the directory is with a server or a program and has more than 128 entries. Dropping a future that waits
/// for the next entry loses none.
#[must_use = "a stream does nothing unless it is polled"]
pub struct ReadDir {
    path: PathBuf,
    runtime: Handle,
    /// For its entries, if they can be looked at in a task.
    folder: Option<Arc<Folder>>,
    listed: VecDeque<io::Result<DirEntry>>,
    state: State,
}

enum State {
    Resting(fs::ReadDir),
    Listing(Pin<Box<dyn Future<Output = io::Result<Batch>> + Send + Sync>>),
    Done,
}

impl State {
    fn after(rest: Option<fs::ReadDir>) -> State {
        rest.map_or(State::Done, State::Resting)
    }
}

struct Batch {
    listed: VecDeque<io::Result<DirEntry>>,
    /// What comes after; none at the end.
    rest: Option<fs::ReadDir>,
}

fn next_batch(mut directory: fs::ReadDir, folder: Option<&Arc<Folder>>) -> Batch {
    let mut listed = VecDeque::with_capacity(BATCH);
    while listed.len() < BATCH {
        match directory.next() {
            Some(Ok(entry)) => listed.extend(look_at(entry, folder)),
            Some(Err(error)) => {
                listed.push_back(Err(error));
                return Batch { listed, rest: None };
            }
            None => return Batch { listed, rest: None },
        }
    }
    Batch {
        listed,
        rest: Some(directory),
    }
}

/// Most file systems tell the type with the listing, and then this is no call. None: it was removed in between.
fn look_at(entry: fs::DirEntry, folder: Option<&Arc<Folder>>) -> Option<io::Result<DirEntry>> {
    match uninterrupted(|| entry.file_type()) {
        Ok(kind) => Some(Ok(DirEntry {
            entry: Arc::new(entry),
            kind,
            folder: folder.cloned(),
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(error)),
    }
}

impl Stream for ReadDir {
    type Item = io::Result<DirEntry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(entry) = this.listed.pop_front() {
                let named = entry.map_err(|error| failed("list", &this.path, error));
                return Poll::Ready(Some(named));
            }
            match &mut this.state {
                State::Done => return Poll::Ready(None),
                State::Listing(batch) => {
                    let batch = ready!(batch.as_mut().poll(cx));
                    let batch = batch.unwrap_or_else(|error| Batch {
                        listed: [Err(error)].into(),
                        rest: None,
                    });
                    this.listed = batch.listed;
                    this.state = State::after(batch.rest);
                }
                State::Resting(_) => this.list_more(),
            }
        }
    }
}

impl ReadDir {
    fn list_more(&mut self) {
        if let State::Resting(directory) = std::mem::replace(&mut self.state, State::Done) {
            let (runtime, folder) = (self.runtime.clone(), self.folder.clone());
            self.state = State::Listing(Box::pin(async move {
                on_pool(&runtime, move || Ok(next_batch(directory, folder.as_ref()))).await
            }));
        }
    }
}

impl std::fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadDir")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// An entry of a directory.
#[derive(Clone, Debug)]
pub struct DirEntry {
    entry: Arc<fs::DirEntry>,
    kind: FileType,
    folder: Option<Arc<Folder>>,
}

impl DirEntry {
    /// The directory's path, as it was given, and the name.
    pub fn path(&self) -> PathBuf {
        self.entry.path()
    }

    /// The name alone.
    pub fn file_name(&self) -> OsString {
        self.entry.file_name()
    }

    /// Whether it was a file, a directory, or a symbolic link, which is not followed, when the directory was listed.
    pub fn file_type(&self) -> FileType {
        self.kind
    }

    /// What is known about it; a symbolic link is not followed.
    ///
    /// # Errors
    ///
    /// The system's, with the path.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        take_turns().await;
        if let Some(folder) = &self.folder
            && let runtime = Handle::current()
            && let files = runtime.reactor().files()
            && let Some(about) = files.look_in_now(folder, &self.file_name())
        {
            return Ok(about);
        }
        let entry = self.entry.clone();
        on_path("look at", self.path(), move |_| entry.metadata()).await
    }
}
