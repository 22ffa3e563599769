//! A loop by hand: one thread, one epoll, edge-triggered, a connection registered once.

use super::{BUFFER, REST};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::io::{self, Read, Write};
use std::thread;

const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    /// What was read and not yet written back: `buffer[written..read]`.
    buffer: Box<[u8; BUFFER]>,
    read: usize,
    written: usize,
}

pub(super) fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::from_std(listener);
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut connections = Vec::new();
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            match event.token() {
                LISTENER => accept(&listener, &poll, &mut connections)?,
                token => ready(&mut connections[token.0], event.is_read_closed()),
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    connections: &mut Vec<Option<Connection>>,
) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(_) => {
                thread::sleep(REST);
                continue;
            }
        };
        stream.set_nodelay(true)?;
        let place = connections
            .iter()
            .position(Option::is_none)
            .unwrap_or(connections.len());
        poll.registry().register(
            &mut stream,
            Token(place),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        let connection = Connection {
            stream,
            buffer: Box::new([0; BUFFER]),
            read: 0,
            written: 0,
        };
        match connections.get_mut(place) {
            Some(free) => *free = Some(connection),
            None => connections.push(Some(connection)),
        }
    }
}

/// Echoes as far as it goes; a connection that ended or broke leaves its place.
fn ready(place: &mut Option<Connection>, closed: bool) {
    let Some(connection) = place else { return };
    match connection.echo(closed) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Ok(true) => {}
        Ok(false) | Err(_) => *place = None,
    }
}

impl Connection {
    /// Whether the peer is still there. When it has `closed` its side there is no further event, so reading goes on to the
    /// end; otherwise a read that leaves room in the buffer was the last one.
    fn echo(&mut self, closed: bool) -> io::Result<bool> {
        loop {
            self.write_back()?;
            self.read = self.stream.read(&mut self.buffer[..])?;
            self.written = 0;
            if self.read == 0 {
                return Ok(false);
            }
            if self.read < BUFFER && !closed {
                return self.write_back().map(|()| true);
            }
        }
    }

    /// What does not fit into the socket stays, and the next event, which says that it is writable, comes back to it.
    fn write_back(&mut self) -> io::Result<()> {
        while self.written < self.read {
            self.written += self.stream.write(&self.buffer[self.written..self.read])?;
        }
        Ok(())
    }
}
