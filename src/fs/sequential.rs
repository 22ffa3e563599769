//! Reading and writing one after the other, on top of jobs that outlive the futures that wait for them.
//!
//! The position is the open file's own, in the kernel, so that appending, devices and clones behave as they do
//! everywhere. Each file has at most one job under way, an [`Errand`], which brings its result home to the [`State`]
//! whether or not anyone still waits. So a dropped future loses nothing:
//!
//! - a read's bytes lie in the buffer for the next one;
//! - a write is accepted (copied, and its errand sent) within one poll, or not at all;
//! - an error stays until a call has reported it.
//!
//! The position is ahead of the reader by what lies unread in the buffers. Whatever depends on the position (a write, a
//! seek) first moves it back; so does what changes the file elsewhere (a write at a position, a new length), for what was
//! read may be so no longer. What can't be sought in (a terminal, a named pipe) has no position: a write leaves what is unread.
//!
//! # Two buffers
//!
//! Who reads on and on what is not in memory would wait for the disk, then the disk for him. So once two errands in a row
//! have brought all that they asked for, from the disk, the next one sets off while there is still something to read: the
//! reader has one buffer, the errand the other, and the system is told of what comes then. That goes on until an errand finds
//! all in memory, because the system reads ahead far enough by itself: then the reader does without. Regular files only: a
//! pipe's bytes may be meant for somebody else, and could be waited for without end. An errand that nobody waits for keeps its
//! failure to itself. The reader meets it where it is, and hears of it there.
//!
//! A reader who misses what is in memory by a little tries again after one errand: to leave a file alone for a while is for
//! readers at random, of whom one miss says something about the next.
//!
//! Whoever finds an errand under way leaves a waker. All of them are woken when it is home, with no lock held.

use super::File;
use super::file::Open;
use futures_io::{AsyncRead, AsyncSeek, AsyncWrite};
use peu_reactor::file::{Call, LONGEST_NOW, Now};
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut, Seek, SeekFrom, Write};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

/// What is read at once for readers that ask for less: enough to make a hand-over to the pool small beside the reading.
const AHEAD: usize = 64 * 1024;

/// What is read at once for who reads on and on: a quarter as many hand-overs, each well hidden behind what the disk takes for
/// it, some 90 µs for a fast one.
pub(super) const STREAM: usize = 256 * 1024;

/// Errands in a row that have brought from the disk all that they asked for, before one is sent ahead. After a single one, who seeks and
/// reads, and seeks again, would have 256 KiB read that nobody wants.
const RUN: u8 = 2;

/// The most that one write takes, and so what a writer can be ahead of the system by.
const BEHIND: usize = 256 * 1024;

#[derive(Debug, Default)]
pub(super) struct Sequential(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// An errand is under way.
    busy: bool,
    /// It reads ahead: `front` is the reader's all the same.
    is_ahead: bool,
    /// Whom to tell when it is home.
    waiting: Vec<Waker>,
    /// What was read.
    front: Piece,
    /// What was read ahead of that.
    back: Piece,
    /// How many errands in a row have brought from the disk all that they asked for, up to [`RUN`].
    run: u8,
    /// The last read, whose reader has not heard of it yet, found the end of the file.
    at_end: bool,
    /// The memory of the last write, for the next.
    behind: Vec<u8>,
    /// Where the last seek went, if nothing else was done since.
    sought: Option<(SeekFrom, u64)>,
    /// What went wrong and was not reported yet.
    failure: Option<io::Error>,
}

/// A buffer and what is unread in it. An errand that reads takes the memory with it.
#[derive(Debug, Default)]
struct Piece {
    bytes: Vec<u8>,
    unread: Range<usize>,
}

impl Piece {
    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.unread.len());
        let from = self.unread.start;
        buffer[..count].copy_from_slice(&self.bytes[from..from + count]);
        self.unread.start += count;
        count
    }
}

impl Sequential {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no errand is under way, and reports the failure of the last.
    fn poll_settled(&self, cx: &mut Context<'_>) -> Poll<io::Result<MutexGuard<'_, State>>> {
        self.poll_home(self.lock(), cx)
    }

    /// The same for a reader, who need not wait for an errand that reads ahead as long as there is something for him.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<MutexGuard<'_, State>>> {
        let state = self.lock();
        if state.busy && state.is_ahead && !state.front.unread.is_empty() {
            return Poll::Ready(Ok(state));
        }
        self.poll_home(state, cx)
    }

    fn poll_home<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<MutexGuard<'a, State>>> {
        if state.busy {
            let is_told = |waker: &Waker| waker.will_wake(cx.waker());
            if !state.waiting.iter().any(is_told) {
                state.waiting.push(cx.waker().clone());
            }
            return Poll::Pending;
        }
        Poll::Ready(match state.failure.take() {
            Some(error) => Err(error),
            None => Ok(state),
        })
    }
}

impl State {
    /// Gives what was read to `buffer`. None: there is nothing, and the file is to be asked.
    fn take(&mut self, buffer: &mut [u8]) -> Option<usize> {
        if self.front.unread.is_empty() {
            std::mem::swap(&mut self.front, &mut self.back);
        }
        if self.front.unread.is_empty() {
            return std::mem::take(&mut self.at_end).then_some(0);
        }
        Some(self.front.take(buffer))
    }

    /// By how much the position is ahead of the reader.
    fn unread(&self) -> usize {
        self.front.unread.len() + self.back.unread.len()
    }

    fn forget(&mut self) {
        (self.front.unread, self.back.unread) = (0..0, 0..0);
        self.run = 0;
    }

    /// Whether an errand is to read ahead now.
    fn wants_more(&self) -> bool {
        self.run == RUN && !self.busy && self.back.unread.is_empty()
    }

    /// Reads what is in memory: directly if the reader has the room, else ahead.
    fn read_now(&mut self, open: &Open, buffer: &mut [u8]) -> Option<usize> {
        self.sought = None;
        let is_direct = buffer.len() >= AHEAD;
        let into = if is_direct {
            let most = buffer.len().min(LONGEST_NOW);
            &mut buffer[..most]
        } else {
            self.front.bytes.resize(AHEAD, 0);
            &mut self.front.bytes
        };
        let Now::Done(count) = open.read_now(into, None) else {
            return None;
        };
        self.run = 0;
        if is_direct {
            return Some(count);
        }
        self.front.unread = 0..count;
        self.at_end = count == 0;
        self.take(buffer)
    }
}

/// A job on its way to the file and back.
struct Errand {
    task: Task,
    open: Arc<Open>,
    home: Arc<Sequential>,
    /// By how much the position is to be moved back first.
    unread: usize,
    /// It was.
    is_rewound: bool,
    is_home: bool,
}

enum Task {
    /// With the memory to read into, and how much of it.
    Read(Vec<u8>, usize),
    Write(Vec<u8>),
    Seek(SeekFrom),
    Rewind,
}

/// What an errand has achieved, apart from its buffer.
enum Outcome {
    /// So much; and whether it had to come from the disk, and more is likely to follow.
    Read(usize, bool),
    /// To what has a position. Else what was read is still to be read.
    Written(bool),
    Sought(u64),
    Rewound,
}

impl Errand {
    fn run(mut self) {
        let outcome = self.perform();
        let outcome = outcome.map_err(|error| self.open.failed(self.task.name(), error));
        self.come_home(outcome);
    }

    /// Moves the position back to the reader. False: the file has none, and a write does not need one.
    fn rewind(&mut self) -> io::Result<bool> {
        let rewound = match i64::try_from(self.unread) {
            Ok(0) => return Ok(true),
            Ok(unread) => (&**self.open.file()).seek_relative(-unread),
            Err(_) => Err(io::ErrorKind::InvalidInput.into()),
        };
        self.is_rewound = rewound.is_ok();
        match (rewound, &self.task) {
            (Err(error), Task::Write(_)) if error.kind() == io::ErrorKind::NotSeekable => Ok(false),
            (rewound, _) => rewound.map(|()| true),
        }
    }

    fn perform(&mut self) -> io::Result<Outcome> {
        let has_position = self.rewind()?;
        let mut file = &**self.open.file();
        Ok(match &mut self.task {
            Task::Read(buffer, length) => {
                buffer.resize(*length, 0);
                let (count, is_run) = self.open.read(buffer)?;
                Outcome::Read(count, is_run)
            }
            Task::Write(bytes) => {
                file.write_all(bytes)?;
                Outcome::Written(has_position)
            }
            Task::Seek(to) => Outcome::Sought(file.seek(*to)?),
            Task::Rewind => Outcome::Rewound,
        })
    }

    fn come_home(&mut self, outcome: io::Result<Outcome>) {
        self.is_home = true;
        let mut state = self.home.lock();
        let is_ahead = std::mem::take(&mut state.is_ahead);
        match &mut self.task {
            Task::Read(buffer, _) if is_ahead => state.back.bytes = std::mem::take(buffer),
            Task::Read(buffer, _) => state.front.bytes = std::mem::take(buffer),
            Task::Write(bytes) => state.behind = std::mem::take(bytes),
            Task::Seek(_) | Task::Rewind => {}
        }
        // After a failure, what was read ahead is all there is of it, if the position could not be moved back; if it could, it comes again.
        match outcome {
            Ok(Outcome::Read(count, is_run)) => {
                state.run = if is_run { RUN.min(state.run + 1) } else { 0 };
                if is_ahead {
                    state.back.unread = 0..count;
                } else {
                    (state.front.unread, state.at_end) = (0..count, count == 0);
                }
            }
            Ok(Outcome::Written(false)) => {}
            Ok(Outcome::Written(true) | Outcome::Rewound) => state.forget(),
            Ok(Outcome::Sought(at)) => {
                state.forget();
                state.sought = self.task.destination().map(|to| (to, at));
            }
            Err(_) if is_ahead => state.run = 0,
            Err(error) => {
                if self.is_rewound {
                    state.forget();
                }
                state.failure = Some(error);
            }
        }
        state.busy = false;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Sends it. No lock is held: when nobody takes it, it comes home right here.
    fn send(self) {
        let reactor = self.open.runtime.reactor().clone();
        // Who was told that his bytes are accepted may wait for nothing more.
        let call = match self.task {
            Task::Write(_) => Call::mandatory_job(move || self.run()),
            _ => Call::job(move || self.run()),
        };
        reactor.submit_call(call, |_, _| {});
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        if !self.is_home {
            let lost = io::Error::other("the runtime is gone, and with it its threads for files");
            let lost = self.open.failed(self.task.name(), lost);
            self.come_home(Err(lost));
        }
    }
}

impl Task {
    fn name(&self) -> &'static str {
        match self {
            Task::Read(..) => "read",
            Task::Write(_) => "write to",
            Task::Seek(_) | Task::Rewind => "seek in",
        }
    }

    fn destination(&self) -> Option<SeekFrom> {
        match self {
            Task::Seek(to) => Some(*to),
            _ => None,
        }
    }
}

impl File {
    /// Waits for what is on its way, and reports its failure.
    pub(super) async fn settled(&self) -> io::Result<()> {
        poll_fn(|cx| self.sequential.poll_settled(cx).map_ok(drop)).await
    }

    /// Moves the position back to what was not read yet, and forgets what was read ahead, and where the file ends.
    pub(super) async fn rewound(&self) -> io::Result<()> {
        poll_fn(|cx| {
            let mut state = ready!(self.sequential.poll_settled(cx))?;
            if state.unread() == 0 {
                state.at_end = false;
                state.sought = None;
                return Poll::Ready(Ok(()));
            }
            self.begin(state, Task::Rewind).send();
            self.sequential.poll_settled(cx).map_ok(drop)
        })
        .await
    }

    /// From here on an errand is under way. Who begins it sends it, when it has let go of the state.
    fn begin(&self, mut state: MutexGuard<'_, State>, task: Task) -> Errand {
        state.busy = true;
        state.at_end = false;
        state.sought = None;
        let reads = matches!(task, Task::Read(..));
        Errand {
            task,
            open: self.open.clone(),
            home: self.sequential.clone(),
            unread: if reads { 0 } else { state.unread() },
            is_rewound: false,
            is_home: false,
        }
    }

    /// Sends for more, when nothing is left.
    fn read_more(&self, mut state: MutexGuard<'_, State>) {
        let memory = std::mem::take(&mut state.front.bytes);
        let length = if state.run == 0 { AHEAD } else { STREAM };
        self.begin(state, Task::Read(memory, length)).send();
    }

    /// Sends for what comes after what is left.
    fn read_ahead(&self, mut state: MutexGuard<'_, State>) {
        state.is_ahead = true;
        let memory = std::mem::take(&mut state.back.bytes);
        self.begin(state, Task::Read(memory, STREAM)).send();
    }

    /// Accepts as much of `parts` as fits.
    fn poll_accept<'a>(
        &self,
        cx: &mut Context<'_>,
        parts: impl Iterator<Item = &'a [u8]>,
    ) -> Poll<io::Result<usize>> {
        let mut state = ready!(self.sequential.poll_settled(cx))?;
        let mut bytes = std::mem::take(&mut state.behind);
        bytes.clear();
        for part in parts {
            let room = BEHIND - bytes.len();
            bytes.extend_from_slice(&part[..part.len().min(room)]);
        }
        let count = bytes.len();
        if count > 0 {
            self.begin(state, Task::Write(bytes)).send();
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncRead for File {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut state = ready!(self.sequential.poll_readable(cx))?;
            if buffer.is_empty() {
                return Poll::Ready(Ok(0));
            }
            if let Some(count) = state.take(buffer) {
                if state.wants_more() {
                    self.read_ahead(state);
                }
                return Poll::Ready(Ok(count));
            }
            if !peu_scheduler::budget::spend() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Some(count) = state.read_now(&self.open, buffer) {
                return Poll::Ready(Ok(count));
            }
            self.read_more(state);
        }
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut buffers = buffers.iter_mut().skip_while(|buffer| buffer.is_empty());
        let Some(first) = buffers.next() else {
            return self.poll_read(cx, &mut []);
        };
        let mut count = ready!(self.as_mut().poll_read(cx, first))?;
        if count == first.len() {
            let mut state = self.sequential.lock();
            for buffer in buffers {
                count += state.front.take(buffer);
            }
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for File {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_accept(cx, std::iter::once(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_accept(cx, parts.iter().map(|part| &**part))
    }

    /// After it, the system has what was written.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sequential.poll_settled(cx).map_ok(drop)
    }

    /// Flushes. The descriptor is closed when the file and its clones are dropped.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl AsyncSeek for File {
    fn poll_seek(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: SeekFrom,
    ) -> Poll<io::Result<u64>> {
        loop {
            let mut state = ready!(self.sequential.poll_settled(cx))?;
            if let Some((sought, at)) = state.sought.take()
                && sought == to
            {
                return Poll::Ready(Ok(at));
            }
            self.begin(state, Task::Seek(to)).send();
        }
    }
}
