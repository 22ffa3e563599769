//! Owned operations: what to do, with its buffers, in one value that the reactor can hold until it is done.
//!
//! A future borrows its buffer and may be dropped in the middle; an operation owns it, and gives it back with the
//! outcome. That needs no futures, fits a callback, and is the form that a completion-based kernel interface wants.

use crate::{Async, Source};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;

/// One of the two directions in which a source can be ready.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// To receive: reading, accepting.
    Read,
    /// To send: writing, connecting.
    Write,
}

/// Something that can be performed once its source is ready.
///
/// [`Reactor::submit`](crate::Reactor::submit) takes one. This module has the common ones; your own is a struct that owns
/// what it needs.
pub trait Operation: Send + 'static {
    /// What a successful operation yields.
    type Output: Send + 'static;

    /// The source that has to be ready. The operation keeps it alive, and it stays the same for the operation's life.
    fn source(&self) -> &Source;

    /// The direction that has to be ready; it stays the same.
    fn direction(&self) -> Direction;

    /// Makes one attempt, without blocking.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) means "not yet": the operation stays, and this is called again when the
    /// source is ready. [`Interrupted`](io::ErrorKind::Interrupted) means "again at once". Any other error finishes it.
    fn execute(&mut self) -> io::Result<Self::Output>;
}

/// Reads once into a buffer of its own, as [`io::Read::read`] does. Yields the number of bytes; 0 is the end.
///
/// A read that is cancelled or fails has taken nothing from the source.
#[derive(Debug)]
pub struct Read<T> {
    io: Arc<Async<T>>,
    buffer: Vec<u8>,
}

impl<T> Read<T> {
    /// A read of at most `buffer.len()` bytes, into its beginning.
    pub fn new(io: Arc<Async<T>>, buffer: Vec<u8>) -> Read<T> {
        Read { io, buffer }
    }

    /// What it reads from.
    pub fn io(&self) -> &Arc<Async<T>> {
        &self.io
    }

    /// The buffer back, as long as it was.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}

impl<T> Operation for Read<T>
where
    T: AsFd + Send + Sync + 'static,
    for<'a> &'a T: io::Read,
{
    type Output = usize;

    fn source(&self) -> &Source {
        self.io.source()
    }

    fn direction(&self) -> Direction {
        Direction::Read
    }

    fn execute(&mut self) -> io::Result<usize> {
        io::Read::read(&mut self.io.get_ref(), &mut self.buffer)
    }
}

/// Writes all of a buffer of its own, in as many attempts as it takes.
///
/// [`written`](Self::written) says how far one came that failed or was cancelled.
#[derive(Debug)]
pub struct Write<T> {
    io: Arc<Async<T>>,
    buffer: Vec<u8>,
    written: usize,
}

impl<T> Write<T> {
    /// A write of the whole `buffer`.
    pub fn new(io: Arc<Async<T>>, buffer: Vec<u8>) -> Write<T> {
        Write {
            io,
            buffer,
            written: 0,
        }
    }

    /// What it writes to.
    pub fn io(&self) -> &Arc<Async<T>> {
        &self.io
    }

    /// The number of bytes that have been written, from the beginning of the buffer.
    pub fn written(&self) -> usize {
        self.written
    }

    /// The buffer back, unchanged.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}

impl<T> Operation for Write<T>
where
    T: AsFd + Send + Sync + 'static,
    for<'a> &'a T: io::Write,
{
    type Output = ();

    fn source(&self) -> &Source {
        self.io.source()
    }

    fn direction(&self) -> Direction {
        Direction::Write
    }

    fn execute(&mut self) -> io::Result<()> {
        while self.written < self.buffer.len() {
            match io::Write::write(&mut self.io.get_ref(), &self.buffer[self.written..])? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => self.written += count,
            }
        }
        Ok(())
    }
}

/// Accepts one connection. Yields the stream, in the blocking mode in which the system hands it out, and the peer's
/// address.
///
/// An accept that is cancelled leaves the connection to the next one.
#[derive(Debug)]
pub struct Accept {
    listener: Arc<Async<TcpListener>>,
}

impl Accept {
    /// An accept on `listener`.
    pub fn new(listener: Arc<Async<TcpListener>>) -> Accept {
        Accept { listener }
    }

    /// What it accepts from.
    pub fn listener(&self) -> &Arc<Async<TcpListener>> {
        &self.listener
    }
}

impl Operation for Accept {
    type Output = (TcpStream, SocketAddr);

    fn source(&self) -> &Source {
        self.listener.source()
    }

    fn direction(&self) -> Direction {
        Direction::Read
    }

    fn execute(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        self.listener.get_ref().accept()
    }
}

/// Receives one datagram into a buffer of its own. Yields its length and its sender; what does not fit is lost, as with
/// [`UdpSocket::recv_from`].
#[derive(Debug)]
pub struct RecvFrom {
    socket: Arc<Async<UdpSocket>>,
    buffer: Vec<u8>,
}

impl RecvFrom {
    /// Receives at most `buffer.len()` bytes, into its beginning.
    pub fn new(socket: Arc<Async<UdpSocket>>, buffer: Vec<u8>) -> RecvFrom {
        RecvFrom { socket, buffer }
    }

    /// What it receives from.
    pub fn socket(&self) -> &Arc<Async<UdpSocket>> {
        &self.socket
    }

    /// The buffer back, as long as it was.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}

impl Operation for RecvFrom {
    type Output = (usize, SocketAddr);

    fn source(&self) -> &Source {
        self.socket.source()
    }

    fn direction(&self) -> Direction {
        Direction::Read
    }

    fn execute(&mut self) -> io::Result<(usize, SocketAddr)> {
        self.socket.get_ref().recv_from(&mut self.buffer)
    }
}
