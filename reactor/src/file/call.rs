//! What can be asked of a file system, each request one value that owns all it needs.
//!
//! That is what makes it possible to let go of it: whoever performs it, the kernel by itself or a thread that may block,
//! has its paths and buffers until it is done, also when nobody waits for the answer any more.

use super::{Files, Nature};
use crate::os::{self, Entry};
use std::ffi::{CString, OsStr};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::sync::{Arc, Mutex, PoisonError};

/// One request: what is to be done, with which paths and buffers. [`Reactor::perform`](crate::Reactor::perform) takes one
/// and gives it back with an [`Answer`].
pub struct Call {
    what: What,
}

/// What a [`Call`] that succeeded has brought.
#[derive(Debug)]
pub enum Answer {
    /// There is nothing to tell.
    Done,
    /// So many bytes were read or written; the buffer is in the call: [`Call::into_buffer`].
    Bytes(usize),
    /// The file was opened.
    File(File),
}

/// What is to be done.
pub(crate) enum What {
    Open {
        path: Path,
        flags: i32,
        mode: u32,
    },
    Read(Transfer),
    Write(Transfer),
    Sync {
        file: Arc<File>,
        data_only: bool,
    },
    Rename {
        from: Path,
        to: Path,
    },
    Remove {
        path: Path,
        directory: bool,
    },
    MakeDirectory {
        path: Path,
    },
    Link {
        original: Path,
        link: Path,
    },
    /// Anything else. It leaves its result where its owner finds it. In a lock that nobody takes, because a value that can
    /// only be used by who owns it may be seen by all.
    Job {
        job: Mutex<Option<Box<dyn FnOnce() + Send>>>,
        is_mandatory: bool,
    },
}

impl Call {
    /// Opens a file. Answers with it.
    ///
    /// # Errors
    /// When the options contradict each other, or the path has a zero byte in it.
    pub fn open(path: &std::path::Path, options: &OpenOptions) -> io::Result<Call> {
        Ok(Call::of(What::Open {
            path: Path::new(path)?,
            flags: options.flags()?,
            mode: options.mode,
        }))
    }

    /// Reads into `buffer` from `filled` on, from where `position` plus `filled` is in the file, until the buffer is
    /// full or the file ends. Without a position: once, from the file's own position, which moves. Answers with how much
    /// of the buffer is filled. What was read before an error is worth more than the error, which comes again.
    pub fn read(file: Arc<File>, buffer: Vec<u8>, filled: usize, position: Option<u64>) -> Call {
        Call::of(What::Read(Transfer::new(file, buffer, filled, position)))
    }

    /// Writes all of `buffer` at a position, or where the file's own position is. Answers with its length. When it fails, a
    /// part may be written.
    pub fn write(file: Arc<File>, buffer: Vec<u8>, position: Option<u64>) -> Call {
        Call::of(What::Write(Transfer::new(file, buffer, 0, position)))
    }

    /// Of a read or a write: what its file is, as [`Files::nature`] has said. Who does not say so has it asked, each time.
    pub fn of_nature(mut self, nature: Nature) -> Call {
        if let What::Read(transfer) | What::Write(transfer) = &mut self.what {
            transfer.nature = Some(nature);
        }
        self
    }

    /// Waits until the file's contents are on the disk; also its times, unless `data_only`.
    pub fn sync(file: Arc<File>, data_only: bool) -> Call {
        Call::of(What::Sync { file, data_only })
    }

    /// Gives a file another name.
    ///
    /// # Errors
    /// When a path has a zero byte in it.
    pub fn rename(from: &std::path::Path, to: &std::path::Path) -> io::Result<Call> {
        let (from, to) = (Path::new(from)?, Path::new(to)?);
        Ok(Call::of(What::Rename { from, to }))
    }

    /// Removes a file, or an empty directory.
    ///
    /// # Errors
    /// When the path has a zero byte in it.
    pub fn remove(path: &std::path::Path, directory: bool) -> io::Result<Call> {
        let path = Path::new(path)?;
        Ok(Call::of(What::Remove { path, directory }))
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// When the path has a zero byte in it.
    pub fn make_directory(path: &std::path::Path) -> io::Result<Call> {
        let path = Path::new(path)?;
        Ok(Call::of(What::MakeDirectory { path }))
    }

    /// Makes `link` a second name of the file `original`.
    ///
    /// # Errors
    /// When a path has a zero byte in it.
    pub fn link(original: &std::path::Path, link: &std::path::Path) -> io::Result<Call> {
        let (original, link) = (Path::new(original)?, Path::new(link)?);
        Ok(Call::of(What::Link { original, link }))
    }

    /// Anything else that may block. It is always done by a thread.
    pub fn job(job: impl FnOnce() + Send + 'static) -> Call {
        Call::of(What::Job {
            job: Mutex::new(Some(Box::new(job))),
            is_mandatory: false,
        })
    }

    /// A [`job`](Self::job) that somebody was told is done, such as a write that was accepted: threads that are about to end
    /// do it before they do ([`Offload::offload_mandatory`](crate::Offload::offload_mandatory)).
    pub fn mandatory_job(job: impl FnOnce() + Send + 'static) -> Call {
        Call::of(What::Job {
            job: Mutex::new(Some(Box::new(job))),
            is_mandatory: true,
        })
    }

    /// The buffer of a read or a write; of others an empty one.
    pub fn into_buffer(self) -> Vec<u8> {
        match self.what {
            What::Read(transfer) | What::Write(transfer) => transfer.buffer,
            _ => Vec::new(),
        }
    }

    fn of(what: What) -> Call {
        Call { what }
    }

    pub(crate) fn what(&self) -> &What {
        &self.what
    }

    /// Whether the ring does it as a thread would. Reads and writes: of regular files on this machine, at positions. Of others, such as
    /// pipes, the ring would take the next bytes, where the system refuses any position; and it would wait for more.
    pub(crate) fn suits_ring(&self, files: &Files) -> bool {
        match &self.what {
            What::Job { .. } => false,
            What::Read(transfer) | What::Write(transfer) => {
                transfer.has_place() && transfer.nature(files) == Nature::Here
            }
            // Who hears of the end of a call may be the last who has its file, and closes it: no turn may wait for a server.
            What::Sync { file, .. } => files.nature(file) != Nature::Elsewhere,
            _ => true,
        }
    }

    /// Whether threads that are about to end are to do it.
    pub(crate) fn is_mandatory(&self) -> bool {
        matches!(
            self.what,
            What::Job {
                is_mandatory: true,
                ..
            }
        )
    }

    /// In the form that the kernel reads, if it can do this by itself.
    pub(crate) fn entry(&mut self) -> Option<Entry> {
        Entry::of(&mut self.what)
    }

    /// Does it, on a thread that may block.
    pub(crate) fn perform(&mut self) -> io::Result<Answer> {
        loop {
            let step = match &mut self.what {
                What::Open { path, flags, mode } => {
                    return os::open(path.as_c_str(), *flags, *mode).map(Answer::File);
                }
                What::Job { job, .. } => {
                    let job = job.get_mut().unwrap_or_else(PoisonError::into_inner);
                    if let Some(job) = job.take() {
                        job();
                    }
                    return Ok(Answer::Done);
                }
                What::Read(transfer) => transfer.read(),
                What::Write(transfer) => transfer.write(),
                What::Sync { file, data_only } => done(if *data_only {
                    file.sync_data()
                } else {
                    file.sync_all()
                }),
                What::Rename { from, to } => done(fs::rename(from.as_path(), to.as_path())),
                What::Remove { path, directory } => done(if *directory {
                    fs::remove_dir(path.as_path())
                } else {
                    fs::remove_file(path.as_path())
                }),
                What::MakeDirectory { path } => {
                    let mut directory = fs::DirBuilder::new();
                    done(directory.mode(Path::NEW_DIRECTORY).create(path.as_path()))
                }
                What::Link { original, link } => {
                    done(fs::hard_link(original.as_path(), link.as_path()))
                }
            };
            if let Step::Over(answer) = self.step(step) {
                return answer;
            }
        }
    }

    /// What the kernel has answered, in its way: a number, below zero an error. `Step::Again`: there is more to do.
    pub(crate) fn conclude(&mut self, answer: i32) -> Step {
        let step = match (u32::try_from(answer), &self.what) {
            (Err(_), _) => Err(io::Error::from_raw_os_error(-answer)),
            (Ok(number), What::Open { .. }) => {
                // SAFETY: it is what the kernel has answered to this very open, and an answer comes once.
                let file = unsafe { os::opened(number) };
                return Step::Over(Ok(Answer::File(file)));
            }
            (Ok(count), _) => Ok(count as usize),
        };
        self.step(step)
    }

    /// After one attempt.
    fn step(&mut self, attempt: io::Result<usize>) -> Step {
        match (&mut self.what, attempt) {
            (_, Err(error)) if error.kind() == io::ErrorKind::Interrupted => Step::Again,
            (What::Read(transfer), attempt) => transfer.after(attempt, false),
            (What::Write(transfer), attempt) => transfer.after(attempt, true),
            (_, attempt) => Step::Over(attempt.map(|_| Answer::Done)),
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.what {
            What::Open { .. } => "open",
            What::Read(_) => "read",
            What::Write(_) => "write",
            What::Sync { .. } => "sync",
            What::Rename { .. } => "rename",
            What::Remove { .. } => "remove",
            What::MakeDirectory { .. } => "make a directory",
            What::Link { .. } => "link",
            What::Job { .. } => "a job",
        };
        write!(f, "Call({name})")
    }
}

/// Whether a call is over after an attempt.
pub(crate) enum Step {
    Over(io::Result<Answer>),
    Again,
}

fn done(result: io::Result<()>) -> io::Result<usize> {
    result.map(|()| 0)
}

/// A path, as the system takes it.
pub(crate) struct Path(CString);

impl Path {
    /// The permissions of a new directory, less the process's mask: what the system's own tools ask for.
    pub(crate) const NEW_DIRECTORY: u32 = 0o777;

    pub(crate) fn new(path: &std::path::Path) -> io::Result<Path> {
        CString::new(path.as_os_str().as_bytes())
            .map(Path)
            .map_err(|_| {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "the path has a zero byte in it, which ends a path for the system",
                )
            })
    }

    pub(crate) fn as_c_str(&self) -> &std::ffi::CStr {
        &self.0
    }

    pub(super) fn is_absolute(&self) -> bool {
        self.0.to_bytes().starts_with(b"/")
    }

    fn as_path(&self) -> &std::path::Path {
        std::path::Path::new(OsStr::from_bytes(self.0.to_bytes()))
    }
}

/// A read or a write: how far it has come.
pub(crate) struct Transfer {
    file: Arc<File>,
    buffer: Vec<u8>,
    moved: usize,
    position: Option<u64>,
    /// None: who made it did not say.
    nature: Option<Nature>,
}

impl Transfer {
    fn new(file: Arc<File>, buffer: Vec<u8>, moved: usize, position: Option<u64>) -> Transfer {
        Transfer {
            file,
            moved: moved.min(buffer.len()),
            buffer,
            position,
            nature: None,
        }
    }

    fn nature(&self, files: &Files) -> Nature {
        self.nature.unwrap_or_else(|| files.nature(&self.file))
    }

    /// The file; where the rest is in it, as [`position`](Self::position); and the part of the buffer that is still to be
    /// read into, or written.
    pub(crate) fn parts(&mut self) -> (&File, Option<u64>, &mut [u8]) {
        let position = self.position();
        (&self.file, position, &mut self.buffer[self.moved..])
    }

    /// How long the rest is.
    pub(crate) fn left(&self) -> usize {
        self.buffer.len() - self.moved
    }

    /// Where the rest is in the file; none: where the file's own position is.
    fn position(&self) -> Option<u64> {
        let position = self.position?;
        Some(position.saturating_add(self.moved as u64))
    }

    /// Whether the ring can do it: at a position, and one that the system can have. The file's own position is left to
    /// threads. After a write of which only a part had room (a full tmpfs, Linux 6.18) the ring had not moved it: the rest
    /// was written over the beginning, and nobody heard of the full disk.
    fn has_place(&self) -> bool {
        self.position()
            .is_some_and(|position| i64::try_from(position).is_ok())
    }

    fn read(&mut self) -> io::Result<usize> {
        match self.parts() {
            (file, Some(position), rest) => file.read_at(rest, position),
            (mut file, None, rest) => file.read(rest),
        }
    }

    fn write(&mut self) -> io::Result<usize> {
        match self.parts() {
            (file, Some(position), rest) => file.write_at(rest, position),
            (mut file, None, rest) => file.write(rest),
        }
    }

    fn after(&mut self, attempt: io::Result<usize>, is_write: bool) -> Step {
        match attempt {
            Ok(0) if is_write && self.moved < self.buffer.len() => {
                return Step::Over(Err(io::ErrorKind::WriteZero.into()));
            }
            Ok(0) => return self.over(Ok(())),
            Ok(count) => self.moved += count,
            Err(error) if is_write => return Step::Over(Err(error)),
            Err(error) => return self.over(Err(error)),
        }
        let once = self.position.is_none() && !is_write;
        if once || self.moved >= self.buffer.len() {
            return self.over(Ok(()));
        }
        Step::Again
    }

    fn over(&self, outcome: io::Result<()>) -> Step {
        Step::Over(match outcome {
            Err(error) if self.moved == 0 => Err(error),
            _ => Ok(Answer::Bytes(self.moved)),
        })
    }
}

/// How a file is opened, in the sense of [`std::fs::OpenOptions`], which can't be asked what it was told.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// To read.
    pub read: bool,
    /// To write.
    pub write: bool,
    /// To write at the end only.
    pub append: bool,
    /// To empty it. Needs `write`.
    pub truncate: bool,
    /// To make it if there is none. Needs `write` or `append`.
    pub create: bool,
    /// To make it, and fail if there is something.
    pub create_new: bool,
    /// The permissions of a file that is made, less the process's mask.
    pub mode: u32,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            mode: 0o666,
        }
    }
}

impl OpenOptions {
    /// Whether opening it so changes nothing in the file system. To open for writing may: an overlay copies the whole file.
    pub(crate) fn only_looks(&self) -> bool {
        self.read && !(self.write || self.append || self.truncate || self.create || self.create_new)
    }

    pub(crate) fn flags(&self) -> io::Result<i32> {
        let makes = self.create || self.create_new;
        let writes = self.write || self.append;
        let changes = self.truncate || makes;
        let contradictory = (!writes && (changes || !self.read))
            || (self.append && self.truncate && !self.create_new);
        if contradictory {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the options contradict each other: read, write or append is needed, write for truncate, write or append for \
                 create, and append excludes truncate",
            ));
        }
        let access = match (self.read, writes) {
            (true, false) => libc::O_RDONLY,
            (false, _) => libc::O_WRONLY,
            (true, true) => libc::O_RDWR,
        };
        let flag = |set: bool, flag: i32| if set { flag } else { 0 };
        Ok(access
            | libc::O_CLOEXEC
            | flag(self.append, libc::O_APPEND)
            | flag(self.truncate && !self.create_new, libc::O_TRUNC)
            | flag(makes, libc::O_CREAT)
            | flag(self.create_new, libc::O_EXCL))
    }
}
