//! The lines that are added to a file, as `tail -F` gives them: also when the file is rotated.
//!
//! Looking at a file blocks, so each look is handed to the runtime as a whole (`follower.rs`), and between two looks that found
//! nothing new the source sleeps. A notification of the system would be sooner and cheaper than a look now and then; but it is another
//! on each system, tells nothing of files on other machines, and is lost when its queue is full: so one would look now and then all the
//! same.

use super::follower::{Follower, Look, TailPosition};
use super::line_buffer::DEFAULT_LONGEST;
use crate::error::BoxError;
use crate::pipeline::host::{Host, Offloaded};
use crate::pipeline::source::Source;
use crate::runtime::Timer;
use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Soon enough for whoever reads along, and seldom enough to cost nothing: a look at a file that has not changed takes microseconds.
const DEFAULT_EVERY: Duration = Duration::from_millis(250);
/// No clock overflows by that.
const SELDOMEST: Duration = Duration::from_secs(24 * 3_600);

/// The lines of a file that grows, from its first line on and without end, without their ends `\n` or `\r\n`.
///
/// A line is given when its end is there. A file that does not exist yet is waited for. Bytes that are no UTF-8, and a line that is
/// too long, end the pipeline with an error that names the place.
///
/// # Rotation
///
/// - **The file is renamed, and another made in its place** (`logrotate`'s way): the old one is read on until a whole look has found
///   nothing more in it, its last line even without an end, and then the new one. So a writer has to be done with the old one by then.
/// - **The file is copied, and truncated** (`copytruncate`): what was not read yet is read from the copy, if that is there: beside the
///   file, called like it with `.` or `-` and a number or a date behind its name. What the writer adds between the
///   copy and the truncation is lost to everybody.
/// - **The file is truncated, or written anew**: it is read from its start. What was not read before is lost.
///
/// # After a restart
///
/// The position in a checkpoint is a byte of a file, which is known by its number in the file system and by what it begins
/// with, at most 1 KiB, and not by its name. So a file that was rotated meanwhile is found and read on, if it is still in the
/// folder, and behind it the files that were rotated later, in the order in which they were last written, of those written at the same time the one with the highest
/// number or the earliest date first, as long as they are called as copies are; then the one that has the name now. If the file is gone, removed or compressed, lines may be lost: the job ends
/// with an error that says so, unless [`allow_loss`](Tail::allow_loss) was said.
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::future::block_on;
/// use peu_operators::pipeline::{Pipeline, Tail, for_each};
/// use std::sync::mpsc;
/// use std::time::Duration;
///
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("loop.log");
/// let (heard, lines) = mpsc::channel();
/// let hear = for_each(move |line: String| {
///     let heard = heard.send(line);
///     async move { heard }
/// });
/// let tail = Tail::follow(&path).every(Duration::from_millis(1));
/// let job = block_on(Pipeline::source(tail).sink(hear).start(&Threads))?;
///
/// std::fs::write(&path, "poll\nexecute\n")?;
/// assert_eq!(lines.recv()?, "poll");
/// std::fs::rename(&path, folder.path().join("loop.log.1"))?;
/// std::fs::write(&path, "update\n")?;
/// assert_eq!(lines.recv()?, "execute");
/// assert_eq!(lines.recv()?, "update");
/// // It has no end: dropping the job stops it.
/// drop(job);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Tail {
    path: PathBuf,
    every: Duration,
    longest: usize,
    allows_loss: bool,
    host: Option<Host>,
    state: State,
    /// What was read and not given.
    ready: VecDeque<(String, TailPosition)>,
    /// Behind the last line that was given.
    position: Option<TailPosition>,
}

enum State {
    /// To be opened.
    Begins,
    Looking(Offloaded<(Box<Follower>, Look)>),
    Resting(Box<Follower>, Pin<Box<dyn Future<Output = ()> + Send>>),
    /// To be told behind the lines that were read before it.
    Failed(BoxError),
    Over,
}

impl Tail {
    /// The file is opened when the pipeline runs.
    pub fn follow(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            every: DEFAULT_EVERY,
            longest: DEFAULT_LONGEST,
            allows_loss: false,
            host: None,
            state: State::Begins,
            ready: VecDeque::new(),
            position: None,
        }
    }

    /// A look that finds nothing new is followed by another after this time, a day at most. 250 ms by default.
    ///
    /// # Panics
    ///
    /// If it is 0: that would keep a thread busy.
    #[track_caller]
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        assert!(
            !interval.is_zero(),
            "between two looks there must be some time"
        );
        self.every = interval.min(SELDOMEST);
        self
    }

    /// A line of more bytes than this, its end aside, ends the pipeline. 1 MiB by default.
    #[must_use]
    pub fn longest_line(mut self, bytes: usize) -> Self {
        self.longest = bytes;
        self
    }

    /// A job whose file is gone when it is restored goes on with the one that has the name now, from its start. Without this, it is an
    /// error.
    #[must_use]
    pub fn allow_loss(mut self) -> Self {
        self.allows_loss = true;
        self
    }

    fn begin(&mut self, mut follower: Box<Follower>) {
        if let Some(host) = &self.host {
            let look = move || {
                let look = follower.look();
                (follower, look)
            };
            self.state = State::Looking(host.offload(look));
        }
    }

    /// Reads on at once, as long as there is more.
    fn take(&mut self, follower: Box<Follower>, look: Look) {
        self.ready = look.lines;
        match (look.more, &self.host) {
            (Ok(true), _) => self.begin(follower),
            (Ok(false), Some(host)) => {
                let sleep = host.sleep_until(host.now() + self.every);
                self.state = State::Resting(follower, sleep);
            }
            (Ok(false), None) => {}
            (Err(error), _) => self.state = State::Failed(error),
        }
    }
}

impl Source for Tail {
    type Item = String;
    type Position = Option<TailPosition>;
    type Error = BoxError;

    fn open(&mut self, host: &Host, from: Option<Self::Position>) {
        self.host = Some(host.clone());
        self.position = from.flatten();
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<String, BoxError>>> {
        loop {
            if let Some((line, position)) = self.ready.pop_front() {
                self.position = Some(position);
                return Poll::Ready(Some(Ok(line)));
            }
            match mem::replace(&mut self.state, State::Over) {
                State::Begins => {
                    let (path, from) = (self.path.clone(), self.position);
                    let follower = Follower::new(path, from, self.longest, self.allows_loss);
                    self.begin(Box::new(follower));
                }
                State::Looking(mut job) => match Pin::new(&mut job).poll(cx) {
                    Poll::Ready(Ok((follower, look))) => self.take(follower, look),
                    Poll::Ready(Err(gone)) => return Poll::Ready(Some(Err(gone.into()))),
                    Poll::Pending => {
                        self.state = State::Looking(job);
                        return Poll::Pending;
                    }
                },
                State::Resting(follower, mut sleep) => match sleep.as_mut().poll(cx) {
                    Poll::Ready(()) => self.begin(follower),
                    Poll::Pending => {
                        self.state = State::Resting(follower, sleep);
                        return Poll::Pending;
                    }
                },
                State::Failed(error) => return Poll::Ready(Some(Err(error))),
                State::Over => return Poll::Ready(None),
            }
        }
    }

    fn position(&self) -> Self::Position {
        self.position
    }

    fn reads(&self) -> Option<String> {
        Some(self.path.display().to_string())
    }
}
