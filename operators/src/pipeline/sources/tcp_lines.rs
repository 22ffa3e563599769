//! The lines of a connection, which is made again when it breaks.
//!
//! How to connect is the caller's to say, so this knows no sockets: a closure makes anything that can be read. It is told how
//! many lines were taken so far, for with that a server that can begin anywhere loses nothing, and repeats nothing.

use super::line_buffer::{DEFAULT_LONGEST, Line, LineBuffer, NoLine};
use crate::error::BoxError;
use crate::pipeline::host::Host;
use crate::pipeline::source::Source;
use crate::retry::{Jitter, Retry, RetryPolicy};
use crate::runtime::Timer;
use futures_io::AsyncRead;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// A server that restarts is there again soon, and one that is away for long is not to be pestered.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// How much is read at a time: some hundred lines.
const PIECE: usize = 16 * 1024;

/// The lines that a server sends, without their ends `\n` or `\r\n`.
///
/// The closure makes a connection: a `TcpStream` of your runtime's, or anything else that is [`AsyncRead`]. It is called at the
/// beginning, and again whenever a connection breaks, is closed, or can't be made, after a delay: by default 100 ms, then twice as long
/// each time, up to 10 s, spread by full jitter, for ever; from the first again after each line that comes.
///
/// A line that is too long, or is no UTF-8, ends the pipeline with an error that tells its number. A connection that is open and
/// silent is waited for: if the server may vanish without a word, let the closure's stream have a timeout.
///
/// # What is promised
///
/// The position in a checkpoint is how many lines were taken, of all connections together, and the closure is given it.
///
/// - **A server that can begin behind so many lines** should be told to by the closure, before it returns the connection. Then each
///   line is taken exactly once, across broken connections and restarts of the job.
/// - **A server that can't** sends what it has when the connection is there. Each line is taken at most once: lost are those it
///   sends while there is no connection, a line that a connection breaks in, and after a restart those since the last checkpoint.
///
/// # Examples
///
/// A server that hangs up after two lines, and begins where it is told to:
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::{future::block_on, io::Cursor};
/// use peu_operators::Retry;
/// use peu_operators::pipeline::{Pipeline, TcpLines, collect};
/// use std::io::{Error, ErrorKind};
/// use std::time::Duration;
///
/// // In its place: `TcpStream::connect(server).await`, and a line that tells the server what was taken.
/// let connect = |taken: u64| async move {
///     let words = ["poll\n", "execute\n", "update\n"];
///     let left: String = words.into_iter().skip(taken as usize).take(2).collect();
///     match left.is_empty() {
///         false => Ok(Cursor::new(left)),
///         true => Err(Error::from(ErrorKind::ConnectionRefused)),
///     }
/// };
/// let (sink, words) = collect();
/// let source = TcpLines::new(connect).reconnect(Retry::fixed(Duration::from_millis(1)).max_retries(2));
/// let error = block_on(Pipeline::source(source).sink(sink).run_on(&Threads)).unwrap_err();
/// assert_eq!(words.take(), ["poll", "execute", "update"]);
/// assert!(error.to_string().ends_with("no line came in 3 attempts: connection refused"), "{error}");
/// ```
pub struct TcpLines<C, Fut, R> {
    connect: C,
    reconnect: Box<dyn RetryPolicy<(), io::Error>>,
    ends_when_closed: bool,
    host: Option<Host>,
    state: State<Fut, R>,
    lines: LineBuffer,
    piece: Vec<u8>,
    /// How many lines were given.
    taken: u64,
    /// How many connections have failed since the last line.
    failed: u32,
}

enum State<Fut, R> {
    /// To be connected.
    Begins,
    Connecting(Pin<Box<Fut>>),
    Reading(Pin<Box<R>>),
    Resting(Pin<Box<dyn Future<Output = ()> + Send>>),
    Over,
}

impl<C, Fut, R> TcpLines<C, Fut, R>
where
    C: FnMut(u64) -> Fut + Send + 'static,
    Fut: Future<Output = io::Result<R>> + Send + 'static,
    R: AsyncRead + Send + 'static,
{
    /// `connect` is called when the pipeline runs, with the number of lines that were taken before.
    pub fn new(connect: C) -> Self {
        let delays = Retry::exponential(FIRST_DELAY..LONGEST_DELAY).jitter(Jitter::Full);
        Self {
            connect,
            reconnect: Box::new(delays.max_retries(u32::MAX)),
            ends_when_closed: false,
            host: None,
            state: State::Begins,
            lines: LineBuffer::new(DEFAULT_LONGEST),
            piece: vec![0; PIECE],
            taken: 0,
            failed: 0,
        }
    }

    /// When a connection is made again, and how often in a row without a line: then the job ends with the last one's error. A
    /// closure can log errors too.
    #[must_use]
    pub fn reconnect(mut self, policy: impl RetryPolicy<(), io::Error>) -> Self {
        self.reconnect = Box::new(policy);
        self
    }

    /// That the server closes the connection is the end of the input, and not a failure. The last line needs no end then.
    #[must_use]
    pub fn until_closed(mut self) -> Self {
        self.ends_when_closed = true;
        self
    }

    /// A line of more bytes than this, its end aside, ends the pipeline. 1 MiB by default.
    #[must_use]
    pub fn longest_line(mut self, bytes: usize) -> Self {
        self.lines = LineBuffer::new(bytes);
        self
    }

    /// One step: connected, something read, or rested. An error: the connection has failed. At the end the state is `Over`.
    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Begins => {
                let connection = (self.connect)(self.taken);
                self.state = State::Connecting(Box::pin(connection));
            }
            State::Connecting(connection) => {
                let stream = ready!(connection.as_mut().poll(cx))?;
                // There may be the beginning of a line in it that the last connection broke in.
                self.lines.clear();
                self.state = State::Reading(Box::pin(stream));
            }
            State::Reading(stream) => {
                match ready!(stream.as_mut().poll_read(cx, &mut self.piece)) {
                    Ok(0) if self.ends_when_closed => self.state = State::Over,
                    Ok(0) => {
                        let message = "the server has closed the connection";
                        return Poll::Ready(Err(io::Error::new(ErrorKind::UnexpectedEof, message)));
                    }
                    Ok(count) => self.lines.extend(&self.piece[..count]),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            State::Resting(sleep) => {
                ready!(sleep.as_mut().poll(cx));
                self.state = State::Begins;
            }
            State::Over => {}
        }
        Poll::Ready(Ok(()))
    }

    /// A connection has failed: another is made later, or never again.
    fn rest(&mut self, error: io::Error) -> Result<(), BoxError> {
        self.failed = self.failed.saturating_add(1);
        let outcome = Err(error);
        let delay = self.reconnect.next_delay(self.failed, &outcome);
        if let (Some(delay), Some(host)) = (delay, &self.host) {
            let end = host.now().checked_add(delay);
            let end = end.unwrap_or_else(|| host.now() + LONGEST_DELAY);
            self.state = State::Resting(host.sleep_until(end));
            return Ok(());
        }
        outcome.map_err(|error| format!("no line came in {} attempts: {error}", self.failed).into())
    }

    fn give(&mut self, line: Result<Option<Line>, NoLine>) -> Option<Result<String, BoxError>> {
        let line = line.transpose()?;
        let number = self.taken + 1;
        if line.is_ok() {
            (self.taken, self.failed) = (number, 0);
        }
        let line = line.map(|(line, _)| line);
        Some(line.map_err(|error| format!("cannot take line {number}: {error}").into()))
    }
}

impl<C, Fut, R> Source for TcpLines<C, Fut, R>
where
    C: FnMut(u64) -> Fut + Send + 'static,
    Fut: Future<Output = io::Result<R>> + Send + 'static,
    R: AsyncRead + Send + 'static,
{
    type Item = String;
    type Position = u64;
    type Error = BoxError;

    fn open(&mut self, host: &Host, from: Option<u64>) {
        self.host = Some(host.clone());
        self.taken = from.unwrap_or(0);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<String, BoxError>>> {
        loop {
            let line = self.lines.next_line();
            if let Some(line) = self.give(line) {
                return Poll::Ready(Some(line));
            }
            if let State::Over = self.state {
                let rest = self.lines.rest();
                return Poll::Ready(self.give(rest));
            }
            if let Err(error) = ready!(self.poll_connection(cx))
                && let Err(error) = self.rest(error)
            {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn position(&self) -> u64 {
        self.taken
    }
}
