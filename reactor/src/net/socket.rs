//! The syscalls that make a socket, and what to say when they fail.
//!
//! On Linux the flags *non-blocking* and *close on exec* are part of the call that makes the descriptor, so there is no
//! moment without them, and no further syscall.

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use std::fmt::{Display, Write};
use std::io;
use std::os::fd::BorrowedFd;

/// How many connections the kernel completes and keeps until they are accepted. It covers a burst between two turns of a
/// busy reactor; the kernel lowers it to its own limit (`net.core.somaxconn`, 4096), and a place costs nothing until it is
/// taken. The usual 128 loses connections in a burst, each of which is then late by a whole second.
pub(super) const BACKLOG: i32 = 1024;

/// A new socket, non-blocking and closed on exec.
pub(super) fn open(domain: Domain, kind: Type, protocol: Option<Protocol>) -> io::Result<Socket> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return Socket::new(domain, kind.nonblocking(), protocol);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let socket = Socket::new(domain, kind, protocol)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

/// The next connection, non-blocking and closed on exec. One that failed before it was accepted is passed over.
pub(super) fn accept(listener: BorrowedFd<'_>) -> io::Result<(Socket, SockAddr)> {
    let listener = SockRef::from(&listener);
    loop {
        match accept_nonblocking(&listener) {
            Err(error) if has_failed_already(&error) => {}
            result => return result,
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn accept_nonblocking(listener: &Socket) -> io::Result<(Socket, SockAddr)> {
    listener.accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn accept_nonblocking(listener: &Socket) -> io::Result<(Socket, SockAddr)> {
    let (socket, peer) = listener.accept()?;
    socket.set_nonblocking(true)?;
    Ok((socket, peer))
}

/// Whether an error of accept concerns only the one connection, which is out of the queue with it: the peer has gone, or
/// its network has. Linux reports the latter too, where others keep silent.
fn has_failed_already(error: &io::Error) -> bool {
    const OF_THE_CONNECTION: [i32; 7] = [
        libc::ECONNABORTED,
        libc::EPROTO,
        libc::ENOPROTOOPT,
        libc::ENETDOWN,
        libc::ENETUNREACH,
        libc::EHOSTDOWN,
        libc::EHOSTUNREACH,
    ];
    error
        .raw_os_error()
        .is_some_and(|code| OF_THE_CONNECTION.contains(&code))
}

/// Begins to connect. What comes of it, the socket tells when it becomes writable.
pub(super) fn connect(socket: &Socket, address: &SockAddr) -> io::Result<()> {
    match socket.connect(address) {
        // An interrupted connect goes on in the background, like one that takes its time.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => {
            Ok(())
        }
        result => result,
    }
}

/// Gathers what became of each address that was tried, for one error that names them all.
pub(super) struct Failures {
    text: String,
    last: Option<io::ErrorKind>,
}

impl Failures {
    /// `trying`: what was tried, as in "cannot connect to".
    pub(super) fn new(trying: &'static str) -> Failures {
        Failures {
            text: trying.into(),
            last: None,
        }
    }

    pub(super) fn add(&mut self, address: impl Display, error: io::Error) {
        let separator = if self.last.is_some() { ";" } else { "" };
        // Writing to a string does not fail.
        let _ = write!(self.text, "{separator} {address}: {error}");
        self.last = Some(error.kind());
    }
    /// An error of the kind of the last failure.
    pub(super) fn into_error(self) -> io::Error {
        match self.last {
            Some(kind) => io::Error::new(kind, self.text),
            None => io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} any address: the list of addresses is empty", self.text),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_one_connection_are_passed_over() {
        let is_passed_over = |code| has_failed_already(&io::Error::from_raw_os_error(code));
        assert!(is_passed_over(libc::ECONNABORTED));
        assert!(is_passed_over(libc::EHOSTUNREACH));
        // These would come again at once, for ever.
        assert!(
            ![libc::EMFILE, libc::ENOBUFS, libc::EINVAL]
                .map(is_passed_over)
                .contains(&true)
        );
    }

    #[test]
    fn all_failures_are_told() {
        let mut failures = Failures::new("cannot reach");
        failures.add("one", io::ErrorKind::ConnectionRefused.into());
        failures.add("two", io::ErrorKind::TimedOut.into());
        let error = failures.into_error();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(
            error.to_string(),
            "cannot reach one: connection refused; two: timed out"
        );
        let none = Failures::new("cannot reach").into_error().to_string();
        assert_eq!(
            none,
            "cannot reach any address: the list of addresses is empty"
        );
    }
}
