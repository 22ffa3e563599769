//! Sockets of TCP, UDP and Unix, with the names and the meaning that the standard library gives them, but waiting instead of
//! blocking.
//!
//! # One registration, then only the work itself
//!
//! A socket is made non-blocking by the call that makes it, registered once, and deregistered when it is dropped. Between
//! the two an operation is the one syscall that does the work. When there is nothing to do the task waits for the
//! [source](crate::Source), and nobody asks the kernel twice: a stream that has handed out fewer bytes than asked has no
//! more for now, so the next read waits at once instead of being told `WouldBlock`.
//!
//! # Any number of tasks
//!
//! Everything takes `&self`. The `async` functions give each waiting task a place of its own. The `poll_*` functions, and
//! with them [`AsyncRead`](futures_io::AsyncRead) and [`AsyncWrite`](futures_io::AsyncWrite), share one place per
//! direction: let one task read and one task write, as [split](ByteStream::split) halves do.
//!
//! # Which reactor
//!
//! What makes a socket registers it with the [current](crate::Reactor::current) reactor; an accepted connection belongs to
//! the reactor of its listener. When that reactor is closed, waiting fails with an error that says so.
//!
//! # Where what is
//!
//! | file | what |
//! |---|---|
//! | `tcp.rs`, `udp.rs`, `unix.rs`, `unix_datagram.rs` | the kinds of sockets |
//! | `datagram.rs` | what UDP and Unix datagram sockets have in common: sending and receiving |
//! | `stream.rs`, `split.rs` | what TCP and Unix streams have in common: reading, writing, halves |
//! | `listener.rs`, `backoff.rs` | what their listeners have in common: accepting, and not spinning when it fails |
//! | `addr.rs`, `names.rs` | addresses, in digits and by name |
//! | `socket.rs` | the syscalls that make a socket, and the errors of making one |

mod addr;
mod backoff;
mod datagram;
mod listener;
mod names;
mod socket;
mod split;
mod stream;
pub mod tcp;
mod udp;
pub mod unix;
mod unix_datagram;

pub use addr::{ToSocketAddrs, lookup_host};
pub use datagram::DatagramSocket;
pub use listener::{Incoming, Listener};
pub use split::{ReadHalf, ReuniteError, WriteHalf, Writer};
pub use stream::ByteStream;
pub use tcp::{TcpListener, TcpStream};
pub use udp::UdpSocket;
pub use unix::{UnixListener, UnixStream};
pub use unix_datagram::UnixDatagram;
