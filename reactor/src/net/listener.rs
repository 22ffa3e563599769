//! What the listeners of TCP and of Unix sockets have in common: accepting, and not spinning when it fails.
//!
//! # When accepting fails
//!
//! The usual reason is that descriptors have run out. Nothing announces the end of that: the connections stay in the
//! listener's queue, edge-triggered events were delivered long ago, and a server that tries again at once does nothing
//! else until somebody closes something. So the error is returned, once, and the *next* accept **waits** before it tries:
//! 1 ms, then twice as long after each further failure, up to a second. A server may simply log the error and go on.
//!
//! No connection is lost by it. An attempt that fails leaves the source marked as ready (only `WouldBlock` clears that),
//! so the next one is made without waiting for an event that will not come.

use super::backoff::Backoff;
use super::socket;
use super::stream::ByteStream;
use crate::sync::Mutex;
use crate::time::Sleep;
use crate::{Async, Reactor};
use futures_core::Stream;
use socket2::{SockAddr, Socket};
use std::future::poll_fn;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// A socket that accepts connections: a [`TcpListener`](super::TcpListener) or a [`UnixListener`](super::UnixListener).
///
/// Any number of tasks may accept from one listener. A connection wakes all of them, and one gets it.
#[derive(Debug)]
pub struct Listener<T> {
    pub(super) io: Async<T>,
    /// What to wait for before the next attempt.
    trouble: Mutex<Option<Trouble>>,
    /// The wait of whoever polls. It outlives the trouble, so that who waits is woken even if another one has ended that.
    polled: Mutex<Option<Sleep>>,
}

/// The last attempts have failed.
#[derive(Debug)]
struct Trouble {
    backoff: Backoff,
    /// No attempt before.
    until: Instant,
}

/// A listener of the standard library, and what it accepts. Outside of this crate there is no more to it than the names.
pub trait Accept: AsFd {
    /// A connection of the standard library.
    type Stream: AsFd + From<Socket>;
    /// An address of the standard library.
    type Address;

    #[doc(hidden)]
    fn address(peer: &SockAddr) -> io::Result<Self::Address>;
}

impl<T: Accept> Listener<T> {
    /// Registers a listening socket that is non-blocking already.
    pub(super) fn register(listener: T, reactor: &Reactor) -> io::Result<Listener<T>> {
        Async::from_nonblocking(listener, reactor).map(Listener::from)
    }

    /// Accepts a connection, and says who it is.
    ///
    /// Connections that failed while they waited to be accepted are passed over.
    ///
    /// # Errors
    /// The system's own, mostly because too many descriptors are open in the process (`EMFILE`) or the system (`ENFILE`);
    /// the connection then stays in the queue. After any error the next call **waits** before it tries: 1 ms, twice as long
    /// after each further error, at most a second. So a server may log it and go on; it will not spin. Only when the
    /// reactor is closed, errors come at once, and for good.
    ///
    /// # Cancel safety
    /// Dropping it loses no connection.
    ///
    /// # Cost
    /// One syscall to accept, one to register; one more that finds nothing each time that the queue is empty.
    pub async fn accept(&self) -> io::Result<(ByteStream<T::Stream>, T::Address)> {
        let mut sleep = None;
        poll_fn(|context| self.poll_patience(&mut sleep, context)).await?;
        let accepted = self.io.read_with(|io| socket::accept(io.as_fd())).await;
        self.conclude(accepted)
    }

    /// The `poll` form of [`accept`](Self::accept). Of the tasks that poll it and get [`Poll::Pending`], the last one is
    /// woken.
    ///
    /// # Errors
    /// Those of [`accept`](Self::accept).
    #[expect(clippy::type_complexity, reason = "it is the result of accept")]
    pub fn poll_accept(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(ByteStream<T::Stream>, T::Address)>> {
        let mut sleep = self.polled.lock().take();
        let patience = self.poll_patience(&mut sleep, context);
        if patience.is_pending() {
            // Another task's, if there is one, is dropped after the lock is released.
            let _other = mem::replace(&mut *self.polled.lock(), sleep);
            return Poll::Pending;
        }
        ready!(patience)?;
        let attempt = |io: &T| socket::accept(io.as_fd());
        let accepted = ready!(self.io.poll_read_with(context, attempt));
        Poll::Ready(self.conclude(accepted))
    }

    /// All connections, without end, as a [`Stream`]. Its errors are those of [`accept`](Self::accept): go on after one.
    pub fn incoming(&self) -> Incoming<'_, T> {
        Incoming { listener: self }
    }

    /// Deregisters, and returns the listener of the standard library, which stays non-blocking.
    pub fn into_std(self) -> T {
        self.io.into_inner()
    }

    /// Ready at once, unless the last attempt has failed.
    fn poll_patience(
        &self,
        sleep: &mut Option<Sleep>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(until) = self.trouble.lock().as_ref().map(|trouble| trouble.until) else {
            return Poll::Ready(Ok(()));
        };
        drop(sleep.take_if(|sleep| sleep.deadline() != until));
        let reactor = self.io.source().reactor();
        sleep
            .get_or_insert_with(|| Sleep::with_reactor(until, reactor))
            .poll_or_gone(context)
    }

    /// Makes a stream of what was accepted, and remembers whether that worked.
    fn conclude(
        &self,
        accepted: io::Result<(Socket, SockAddr)>,
    ) -> io::Result<(ByteStream<T::Stream>, T::Address)> {
        let result = accepted.and_then(|(socket, peer)| {
            let stream = ByteStream::register(socket.into(), self.io.source().reactor())?;
            Ok((stream, T::address(&peer)?))
        });
        let mut trouble = self.trouble.lock();
        let before = trouble.take();
        if result.is_err() {
            let mut backoff = before.map_or_else(Backoff::new, |before| before.backoff);
            let until = backoff.fail();
            *trouble = Some(Trouble { backoff, until });
        }
        result
    }
}

impl<T> From<Async<T>> for Listener<T> {
    fn from(io: Async<T>) -> Listener<T> {
        Listener {
            io,
            trouble: Mutex::new(None),
            polled: Mutex::new(None),
        }
    }
}

impl<T: AsFd> AsFd for Listener<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl<T: AsFd> AsRawFd for Listener<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// The connections of a listener; from [`Listener::incoming`]. It never ends.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Incoming<'a, T> {
    listener: &'a Listener<T>,
}

impl<T: Accept> Stream for Incoming<'_, T> {
    type Item = io::Result<ByteStream<T::Stream>>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = ready!(self.listener.poll_accept(context));
        Poll::Ready(Some(accepted.map(|(stream, _)| stream)))
    }
}
