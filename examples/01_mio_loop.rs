//! Rung 1 of the ladder: the same echo server with one thread and a bare `mio` loop.
//!
//! What it teaches: the operating system can say *which* of many sockets can make progress (`epoll` on Linux), so one
//! thread serves them all. The price is in the shape of the code. What was a loop with a buffer on its stack is now a
//! state machine: a connection must remember between two calls how far it got. And the rules of edge-triggered
//! readiness are yours to keep: one event may be all you get, so go on until the socket says `WouldBlock`; an event may
//! also be spurious, so `WouldBlock` may be the first thing you hear.
//!
//! ```text
//! cargo run --example 01_mio_loop -- 127.0.0.1:7777
//! nc 127.0.0.1 7777
//! ```
//!
//! Next: `02_poll_execute_update.rs`, which finds the loop that all such programs share.

use std::io::{self, ErrorKind, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

/// A token that no connection gets: connections count from 0.
const LISTENER: Token = Token(usize::MAX);

/// After an accept that failed for want of descriptors, look again this much later: no event will tell.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("01_mio_loop: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = std::net::TcpListener::bind(&address).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);
    Server::new(TcpListener::from_std(listener))?.run()
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    /// A connection's key is its token.
    connections: Slab<Connection>,
    /// The last accept failed: try again before long.
    accept_again: bool,
}

impl Server {
    fn new(mut listener: TcpListener) -> io::Result<Server> {
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Server {
            poll,
            listener,
            connections: Slab::new(),
            accept_again: false,
        })
    }

    /// The loop: wait, then serve whatever can make progress.
    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        loop {
            match self
                .poll
                .poll(&mut events, self.accept_again.then_some(ACCEPT_AGAIN))
            {
                // A signal interrupts a wait: debuggers send them.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept_again = true,
                    Token(key) => self.serve(key),
                }
            }
            if self.accept_again {
                self.accept_all();
            }
        }
    }

    fn accept_all(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.add(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return self.accept_again = false;
                }
                Err(error) => return eprintln!("cannot accept a connection: {error}"),
            }
        }
    }

    fn add(&mut self, mut stream: TcpStream) {
        let entry = self.connections.vacant_entry();
        let both = Interest::READABLE | Interest::WRITABLE;
        match self
            .poll
            .registry()
            .register(&mut stream, Token(entry.key()), both)
        {
            Ok(()) => drop(entry.insert(Connection::new(stream))),
            Err(error) => eprintln!("cannot watch a connection: {error}"),
        }
    }

    /// Lets a connection make progress, and forgets it when it has ended. Closing a socket ends its registration.
    fn serve(&mut self, key: usize) {
        // It may have ended by an earlier event of the same batch.
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        match connection.progress() {
            Ok(Next::Wait) => return,
            Ok(Next::Ended) => {}
            Err(error) => eprintln!("connection {key}: {error}"),
        }
        self.connections.remove(key);
    }
}

/// A connection between two events: what was read and not yet written.
struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
    /// The bytes to write are `buffer[written..read]`.
    read: usize,
    written: usize,
}

/// What becomes of a connection.
enum Next {
    Wait,
    Ended,
}

impl Connection {
    fn new(stream: TcpStream) -> Connection {
        Connection {
            stream,
            buffer: vec![0; 16 * 1024].into(),
            read: 0,
            written: 0,
        }
    }

    /// Reads and writes by turns until the socket would block in one or the other. While it can't write it does not
    /// read, so a peer that sends without receiving is held back, and this server keeps no more than one buffer of it.
    fn progress(&mut self) -> io::Result<Next> {
        loop {
            let step = match self.written < self.read {
                true => self
                    .stream
                    .write(&self.buffer[self.written..self.read])
                    .map(|length| self.written += length),
                false => match self.stream.read(&mut self.buffer) {
                    Ok(0) => return Ok(Next::Ended),
                    other => other.map(|length| (self.read, self.written) = (length, 0)),
                },
            };
            match step {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Next::Wait),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => other?,
            }
        }
    }
}
