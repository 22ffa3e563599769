//! An open file, and what is done with it at explicit positions or as a whole. One position after the other:
//! `sequential.rs`.

use super::sequential::{STREAM, Sequential};
use super::work::{failed, on_pool, perform, take_turns, uninterrupted};
use super::{Metadata, OpenOptions, Permissions};
use crate::Handle;
use peu_reactor::file::{Answer, Call, History, Nature, Now, prefetch};
use std::fs;
use std::io::{self, Read, Seek};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;

/// What a thread is called that closes one file, in lists of threads, which show 15 bytes.
const CLOSER: &str = "peu-close";

/// An open file.
///
/// It is used in two ways, also mixed:
/// - **At positions**: [`read_at`](File::read_at), [`write_at`](File::write_at), from many tasks at once (share it in
///   an `Arc`). Buffers are handed over and come back with the result, because a call on the pool goes on although its
///   future may be dropped.
/// - **One after the other**: `AsyncRead`, `AsyncWrite`, `AsyncSeek`, from one task. Reads go through a buffer of 64
///   KiB, unless they are that large themselves. A write takes up to 256 KiB, is then on its way, and the next call
///   waits for it.
///
/// # Written, and where
///
/// A sequential write that has returned is on its way; after `flush`, or any other call, the system has it; after
/// [`sync_all`](File::sync_all), the disk has it. **An error of a write is reported by the next call, whatever it is**,
/// by `flush` and `close` at the latest: a file that is dropped without either loses errors, but nothing else. A runtime that
/// ends does what was accepted before, unless its [shutdown](crate::Runtime::shutdown) runs out of time.
///
/// The descriptor is closed when the file, its clones and what works on it are dropped; if the file is on a server or a program's
/// file system, by a thread, soon after. The end of the runtime does not wait for it.
///
/// # Pipes and terminals
///
/// They can be opened and read one after the other, but by a thread that waits: for the other end of a named pipe when it is opened, and for
/// each byte. Nothing ends that; if the future is dropped, the thread is held until something comes, and the end of the runtime
/// waits for it, unless [`shutdown`](crate::Runtime::shutdown) has a limit. Who needs an end opens the pipe without blocking
/// (`O_NONBLOCK`), and waits for it as for a socket, with [`Async`](crate::Async).
///
/// # Cancel safety
///
/// - A dropped read loses nothing: what it has brought is there for the next one.
/// - A dropped sequential write has either not begun, or was accepted before, and is done.
/// - A dropped seek may have moved the position; seeking the same again is as seeking once.
/// - A dropped `write_at`, `sync_all`, `set_len` may take effect later. The buffer goes with it.
///
/// # Example
///
/// ```
/// use futures_lite::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
/// use peu::fs::File;
/// use std::io::SeekFrom;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("numbers");
/// let runtime = peu::Runtime::new()?;
/// runtime.block_on(async {
///     let mut file = File::create(&path).await?;
///     file.write_all(b"0123456789").await?;
///     file.seek(SeekFrom::Start(8)).await?;
///     let mut text = String::new();
///     file.read_to_string(&mut text).await?;
///     assert_eq!(text, "89");
///
///     file.write_all_at(b"abc".to_vec(), 2).await?;
///     file.sync_all().await?;
///     let (count, buffer) = file.read_at(vec![0; 4], 3).await?;
///     assert_eq!(&buffer[..count], b"bc56");
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct File {
    pub(super) open: Arc<Open>,
    pub(super) sequential: Arc<Sequential>,
}

/// What a file and the jobs that work on it share.
#[derive(Debug)]
pub(super) struct Open {
    /// None only while it is dropped.
    file: Option<Arc<fs::File>>,
    path: PathBuf,
    /// Asked when it is needed, unless who opened it knew.
    nature: OnceLock<Nature>,
    history: History,
    /// The one that opened it.
    pub(super) runtime: Handle,
}

impl Open {
    pub(super) fn file(&self) -> &Arc<fs::File> {
        self.file.as_ref().expect("taken only by drop")
    }

    pub(super) fn failed(&self, what: &str, cause: io::Error) -> io::Error {
        failed(what, &self.path, cause)
    }

    pub(super) fn read_now(&self, buffer: &mut [u8], position: Option<u64>) -> Now {
        let files = self.runtime.reactor().files();
        files.read_now(self.file().as_fd(), &self.history, buffer, position)
    }

    /// Reads from the file's own position on, on a thread that may block. Returns how much, and whether the disk was waited for
    /// and there may be more. Then the system is told of what comes next, if the buffer is as large as those of who reads on
    /// and on.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
        let mut file = &**self.file();
        let files = self.runtime.reactor().files();
        self.history.forgive();
        let cached = files.read_cached(file.as_fd(), &self.history, buffer);
        // What has more to say, when it says so, and is no regular file, would be waited for.
        if cached == buffer.len() || (cached > 0 && !self.is_file()) {
            return Ok((cached, false));
        }
        let rest = uninterrupted(|| file.read(&mut buffer[cached..]));
        let count = match rest {
            Err(error) if cached == 0 => return Err(error),
            // It comes again.
            Err(_) => return Ok((cached, false)),
            Ok(count) => cached + count,
        };
        let is_run = count == buffer.len() && self.is_file();
        if is_run
            && count == STREAM
            && let Ok(position) = file.stream_position()
        {
            prefetch(file.as_fd(), position, STREAM);
        }
        Ok((count, is_run))
    }

    fn is_file(&self) -> bool {
        self.nature() != Nature::Other
    }

    fn nature(&self) -> Nature {
        let ask = || self.runtime.reactor().files().nature(self.file());
        *self.nature.get_or_init(ask)
    }
}

/// Closing what is on a server may wait for the server: a thread does it.
impl Drop for Open {
    fn drop(&mut self) {
        let is_elsewhere = self.nature() == Nature::Elsewhere;
        if let Some(file) = self.file.take()
            && is_elsewhere
        {
            let unclosed = Unclosed(Some(file));
            let reactor = self.runtime.reactor();
            reactor.submit_call(Call::job(move || unclosed.close()), |_, _| {});
        }
    }
}

/// A file that must not be closed by who happens to drop it.
struct Unclosed(Option<Arc<fs::File>>);

impl Unclosed {
    /// On a thread that may block.
    fn close(mut self) {
        drop(self.0.take());
    }
}

/// No thread of the pool has come to it, and none will: the runtime ends, or has ended. Who ends it is not to wait for the
/// server, so the file gets a thread of its own. If the system gives none, it stays open.
impl Drop for Unclosed {
    fn drop(&mut self) {
        let Some(file) = self.0.take() else { return };
        let file = ManuallyDrop::new(file);
        let close = move || drop(ManuallyDrop::into_inner(file));
        // Not waited for, and nobody is left to tell.
        let _ = thread::Builder::new().name(CLOSER.to_owned()).spawn(close);
    }
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// The system's, with the path.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().read(true).open(path).await
    }

    /// Opens a file for reading and writing, and creates it or empties it.
    ///
    /// # Errors
    ///
    /// The system's, with the path.
    pub async fn create(path: impl AsRef<Path>) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        options.open(path).await
    }

    /// A file that was opened elsewhere. Errors call it "a file without a path".
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn from_std(file: fs::File) -> File {
        File::named(file, "a file without a path")
    }

    pub(crate) fn named(file: fs::File, name: &str) -> File {
        File::new(file, Path::new(name), Handle::current(), None)
    }

    pub(super) fn new(
        file: fs::File,
        path: &Path,
        runtime: Handle,
        nature: Option<Nature>,
    ) -> File {
        File {
            open: Arc::new(Open {
                file: Some(Arc::new(file)),
                path: path.to_owned(),
                nature: nature.map_or_else(OnceLock::new, OnceLock::from),
                history: History::default(),
                runtime,
            }),
            sequential: Arc::default(),
        }
    }

    /// The path that it was opened at, or the name that stands for one in errors.
    pub fn path(&self) -> &Path {
        &self.open.path
    }

    /// Reads at a position into `buffer`; returns how much, and the buffer. Less than its length means that the file
    /// ends there, or that the disk fails after it, which the next read tells.
    ///
    /// # Errors
    ///
    /// The system's, with the path; the buffer is then lost.
    ///
    /// # Cost
    ///
    /// One system call in this task when the bytes are in the page cache, else a hand-over to the ring or the pool for
    /// those that are not.
    pub async fn read_at(&self, mut buffer: Vec<u8>, offset: u64) -> io::Result<(usize, Vec<u8>)> {
        self.settled().await?;
        take_turns().await;
        let filled = match self.open.read_now(&mut buffer, Some(offset)) {
            Now::Done(count) => return Ok((count, buffer)),
            Now::Rest(filled) => filled,
        };
        let file = self.open.file().clone();
        let call = Call::read(file, buffer, filled, Some(offset));
        self.transfer("read", call).await
    }

    /// Writes all of `buffer` at a position; returns how much that is, and the buffer.
    ///
    /// # Errors
    ///
    /// The system's, with the path; a part may be written.
    pub async fn write_at(&self, buffer: Vec<u8>, offset: u64) -> io::Result<(usize, Vec<u8>)> {
        self.rewound().await?;
        let call = Call::write(self.open.file().clone(), buffer, Some(offset));
        self.transfer("write to", call).await
    }

    /// Writes all of `buffer` at a position, and returns it.
    ///
    /// # Errors
    ///
    /// The system's, with the path; a part may be written.
    pub async fn write_all_at(&self, buffer: Vec<u8>, offset: u64) -> io::Result<Vec<u8>> {
        self.write_at(buffer, offset)
            .await
            .map(|(_, buffer)| buffer)
    }

    /// Waits until the file's contents and metadata are on the disk.
    ///
    /// # Errors
    ///
    /// The system's, with the path; then nothing is known about what is on the disk, and to try again does not help.
    pub async fn sync_all(&self) -> io::Result<()> {
        self.sync(false).await
    }

    /// Waits until the file's contents are on the disk, and what is needed to read them: its length, but not its times.
    ///
    /// # Errors
    ///
    /// As of [`sync_all`](File::sync_all).
    pub async fn sync_data(&self) -> io::Result<()> {
        self.sync(true).await
    }

    async fn sync(&self, data_only: bool) -> io::Result<()> {
        self.settled().await?;
        self.call("sync", Call::sync(self.open.file().clone(), data_only))
            .await
            .map(drop)
    }

    /// Cuts the file at this length, or fills it up with zeroes.
    ///
    /// # Errors
    ///
    /// The system's, with the path.
    pub async fn set_len(&self, length: u64) -> io::Result<()> {
        self.rewound().await?;
        self.with("set the length of", move |file| file.set_len(length))
            .await
    }

    /// What is known about the file.
    ///
    /// # Errors
    ///
    /// The system's, with the path.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        self.settled().await?;
        take_turns().await;
        let files = self.open.runtime.reactor().files();
        match files.look_at_now(self.open.file(), self.open.nature()) {
            Some(about) => Ok(about),
            None => self.with("look at", |file| file.metadata()).await,
        }
    }

    /// Sets who may do what with the file.
    ///
    /// # Errors
    ///
    /// The system's, with the path.
    pub async fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        self.with("set the permissions of", move |file| {
            file.set_permissions(permissions.clone())
        })
        .await
    }

    /// Another handle of the same open file, for a task of its own. Both have one position, and each has a buffer:
    /// reading on through both at once gives each whatever the other has not yet taken.
    ///
    /// # Errors
    ///
    /// That of a write which was on its way; the system's, when the position can't be moved back to what was not read
    /// yet.
    pub async fn try_clone(&self) -> io::Result<File> {
        self.rewound().await?;
        Ok(File {
            open: self.open.clone(),
            sequential: Arc::default(),
        })
    }

    /// Reads or writes; returns how much, and the buffer.
    async fn transfer(&self, what: &str, call: Call) -> io::Result<(usize, Vec<u8>)> {
        match self.call(what, call.of_nature(self.open.nature())).await? {
            (call, Answer::Bytes(count)) => Ok((count, call.into_buffer())),
            (_, other) => unreachable!("a transfer answers with a number, not {other:?}"),
        }
    }

    async fn call(&self, what: &str, call: Call) -> io::Result<(Call, Answer)> {
        let done = perform(&self.open.runtime, call).await;
        done.map_err(|error| self.open.failed(what, error))
    }

    /// Does a job on the pool, after what was written before; again if a signal interrupts it.
    async fn with<T: Send + 'static>(
        &self,
        what: &str,
        job: impl Fn(&fs::File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.settled().await?;
        let open = self.open.clone();
        let done = on_pool(&self.open.runtime, move || {
            uninterrupted(|| job(open.file()))
        })
        .await;
        done.map_err(|error| self.open.failed(what, error))
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.open.file().as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::sync::mpsc;
    use std::time::Duration;

    /// Bytes that come between the look of a task and that of a thread are all that there is for now.
    #[test]
    fn what_a_pipe_has_is_enough() {
        let runtime = crate::Runtime::new().unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"abc").unwrap();
        let file = runtime.block_on(async { File::from_std(OwnedFd::from(reader).into()) });
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || tell.send(file.open.read(&mut [0; 100]).unwrap()));
        let read = told.recv_timeout(Duration::from_secs(60));
        assert_eq!(read, Ok((3, false)), "it does not wait for more");
        drop(writer);
    }
}
