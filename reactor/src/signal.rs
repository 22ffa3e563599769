//! Signals, as streams.
//!
//! # Why a pipe and not a signalfd
//!
//! A signalfd reports what is *blocked*, and signals are blocked thread by thread: it works only if every thread of the
//! process blocks the signal, also those that were there before, and the mask is inherited by the programs that the process
//! starts, where it does harm. A library can't ask that of its host. So each listener has a pipe, and the handler of a
//! signal writes into those of all who listen to it. The handler that was there before is called as well.
//!
//! A signal that somebody has listened to once does not end the process any more, also when nobody listens by then: what a
//! program does at SIGINT must not depend on which of its tasks is between two calls.

use crate::{Async, Reactor, os};
use futures_core::Stream;
use std::fmt;
use std::io::{self, PipeReader, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Which signal: one of the common ones, or any by its number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SignalKind(i32);

impl SignalKind {
    /// Any, by its number on this system.
    pub const fn from_raw(number: i32) -> SignalKind {
        SignalKind(number)
    }

    /// Its number on this system.
    pub const fn as_raw_value(self) -> i32 {
        self.0
    }

    /// SIGINT: someone pressed Ctrl-C.
    pub const fn interrupt() -> SignalKind {
        SignalKind(libc::SIGINT)
    }

    /// SIGTERM: a polite request to end.
    pub const fn terminate() -> SignalKind {
        SignalKind(libc::SIGTERM)
    }

    /// SIGHUP: the terminal is gone; for servers by custom: read the settings again.
    pub const fn hangup() -> SignalKind {
        SignalKind(libc::SIGHUP)
    }

    /// SIGQUIT: someone pressed Ctrl-\.
    pub const fn quit() -> SignalKind {
        SignalKind(libc::SIGQUIT)
    }

    /// SIGUSR1: whatever the program says.
    pub const fn user_defined1() -> SignalKind {
        SignalKind(libc::SIGUSR1)
    }

    /// SIGUSR2: whatever the program says.
    pub const fn user_defined2() -> SignalKind {
        SignalKind(libc::SIGUSR2)
    }

    /// SIGWINCH: the terminal has another size.
    pub const fn window_change() -> SignalKind {
        SignalKind(libc::SIGWINCH)
    }

    /// SIGCHLD: a child has ended or stopped. To wait for one, `peu::process` needs no signal.
    pub const fn child() -> SignalKind {
        SignalKind(libc::SIGCHLD)
    }

    /// SIGPIPE: nobody reads what was written. Rust programs ignore it, and get an error of the write.
    pub const fn pipe() -> SignalKind {
        SignalKind(libc::SIGPIPE)
    }

    /// SIGALRM: an alarm of the system's is due.
    pub const fn alarm() -> SignalKind {
        SignalKind(libc::SIGALRM)
    }

    /// SIGIO: a descriptor is ready that asked for this.
    pub const fn io() -> SignalKind {
        SignalKind(libc::SIGIO)
    }
}

/// Listens to a signal, from this moment on.
///
/// From now on the signal does not have its usual effect on this process any more, to the end of the process: see the
/// [module](self). Any number of listeners, in any runtimes, up to 64 in a process, each hear of it.
///
/// # Errors
/// When nobody can listen to it (SIGKILL, SIGSTOP, and those of faults such as SIGSEGV), this thread is in no runtime, or the
/// system gives no pipe.
///
/// # Examples
/// ```
/// use peu_reactor::signal::{SignalKind, signal};
///
/// let reactor = peu_reactor::Reactor::new()?;
/// let _entered = reactor.enter();
/// let mut hangups = signal(SignalKind::hangup())?;
/// let next = hangups.recv(); // .await
/// # drop(next);
/// assert!(signal(SignalKind::from_raw(9)).is_err());
/// # std::io::Result::Ok(())
/// ```
pub fn signal(kind: SignalKind) -> io::Result<Signal> {
    let reactor = Reactor::current_or_err()?;
    Signal::with_seat(os::Seat::take(kind.0)?, &reactor)
}

/// Waits for Ctrl-C, from its first poll on. Short for one [`signal`] and one [`recv`](Signal::recv).
///
/// # Errors
/// Those of [`signal`].
///
/// # Cancel safety
/// What comes between two calls is lost. To miss none, keep one [`Signal`].
pub async fn ctrl_c() -> io::Result<()> {
    signal(SignalKind::interrupt())?.recv().await
}

/// Hears of a signal; from [`signal`]. A stream that does not end.
///
/// Signals that come while nobody looks count as one, as they do for the system.
pub struct Signal {
    /// Before `seat`, because it is dropped first: the place is given on when nobody reads its pipe any more.
    pipe: Async<PipeReader>,
    seat: os::Seat,
}

impl Signal {
    pub(crate) fn with_seat(seat: os::Seat, reactor: &Reactor) -> io::Result<Signal> {
        let pipe = Async::from_nonblocking(seat.reader()?, reactor)?;
        Ok(Signal { pipe, seat })
    }

    /// Waits until the signal has come since the last call.
    ///
    /// # Errors
    /// When the reactor is closed.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn recv(&mut self) -> io::Result<()> {
        self.pipe.read_with(|pipe| self.take(pipe)).await
    }

    /// The `poll` form of [`recv`](Self::recv).
    ///
    /// # Errors
    /// When the reactor is closed.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.poll_read_with(context, |pipe| self.take(pipe))
    }

    /// Empties the pipe. `WouldBlock`: it has not come.
    fn take(&self, mut pipe: &PipeReader) -> io::Result<()> {
        let mut news = [0; 64];
        let mut came = false;
        loop {
            match pipe.read(&mut news) {
                Ok(count) => came |= news[..count].contains(&(self.seat.signal() as u8)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && came => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// It ends when the reactor is closed.
impl Stream for Signal {
    type Item = ();

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<()>> {
        self.poll_recv(context).map(Result::ok)
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signal").field(&self.seat.signal()).finish()
    }
}
