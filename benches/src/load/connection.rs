//! One connection of the load: requests that are under way, and answers that are checked byte by byte.

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

pub(super) struct Connection {
    stream: TcpStream,
    /// The bytes of a request.
    request: Vec<u8>,
    /// When the requests under way were due, the oldest first; the server answers in order.
    due: VecDeque<Instant>,
    /// Bytes of due requests that the socket did not take yet.
    unsent: usize,
    /// Bytes of the next answer that have arrived.
    received: usize,
}

impl Connection {
    pub(super) fn open(
        address: SocketAddr,
        size: usize,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Connection> {
        // Connecting is no part of the measurement, so it may block.
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let request = (0..size).map(|index| index as u8).collect();
        Ok(Connection {
            stream,
            request,
            due: VecDeque::new(),
            unsent: 0,
            received: 0,
        })
    }

    /// Whether answers are still to come.
    pub(super) fn is_waiting(&self) -> bool {
        !self.due.is_empty()
    }

    /// Sends a request that was due at `due`.
    pub(super) fn request(&mut self, due: Instant) -> io::Result<()> {
        self.due.push_back(due);
        self.unsent += self.request.len();
        self.send()
    }

    /// Sends what the socket takes, and leaves the rest for the event that says that it takes more.
    fn send(&mut self) -> io::Result<()> {
        while self.unsent > 0 {
            // Requests are all alike, so the place in the stream is the place in the request.
            let start =
                (self.request.len() - self.unsent % self.request.len()) % self.request.len();
            match self.stream.write(&self.request[start..]) {
                Ok(length) => self.unsent -= length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Receives what there is by way of `buffer`, and returns how many answers became complete.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.send()?;
        let mut answers = 0;
        loop {
            let length = match self.stream.read(buffer) {
                Ok(0) => {
                    return Err(io::Error::new(
                        ErrorKind::UnexpectedEof,
                        "the server closed a connection",
                    ));
                }
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(answers),
                Err(error) => return Err(error),
            };
            answers += self.check(&buffer[..length])?;
            if length < buffer.len() {
                return Ok(answers);
            }
        }
    }

    /// The moments at which the next `answers` requests were due.
    pub(super) fn take(&mut self, answers: usize) -> impl Iterator<Item = Instant> + '_ {
        self.due.drain(..answers)
    }

    /// Compares what was received with what was sent, and returns how many answers it completes.
    fn check(&mut self, mut rest: &[u8]) -> io::Result<usize> {
        let mut answers = 0;
        while !rest.is_empty() {
            let expected = &self.request[self.received..];
            let (part, after) = rest.split_at(rest.len().min(expected.len()));
            if part != &expected[..part.len()] || answers == self.due.len() {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    "the server answered something else than was sent",
                ));
            }
            self.received = (self.received + part.len()) % self.request.len();
            answers += usize::from(self.received == 0);
            rest = after;
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A connection of requests of four bytes, and its peer.
    fn pair() -> (Connection, std::net::TcpStream, mio::Poll) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let poll = mio::Poll::new().unwrap();
        let address = listener.local_addr().unwrap();
        let connection = Connection::open(address, 4, poll.registry(), Token(0)).unwrap();
        (connection, listener.accept().unwrap().0, poll)
    }

    /// Answers with `bytes`, and receives until they have been looked at.
    fn answered(
        connection: &mut Connection,
        peer: &mut std::net::TcpStream,
        bytes: &[u8],
    ) -> io::Result<usize> {
        peer.write_all(bytes).unwrap();
        let mut answers = 0;
        let before = connection.received;
        while answers == 0 && connection.received == before {
            answers += connection.receive(&mut [0; 64])?;
        }
        Ok(answers)
    }

    #[test]
    fn answers_are_counted_when_they_are_complete() {
        let (mut connection, mut peer, _poll) = pair();
        let due = Instant::now();
        (0..3).for_each(|_| connection.request(due).unwrap());
        assert_eq!(answered(&mut connection, &mut peer, &[0, 1]).unwrap(), 0);
        assert_eq!(
            answered(&mut connection, &mut peer, &[2, 3, 0, 1, 2, 3]).unwrap(),
            2
        );
        assert_eq!(connection.take(2).collect::<Vec<_>>(), [due, due]);
        assert!(connection.is_waiting());
    }

    #[test]
    fn a_server_that_answers_something_else_is_caught() {
        for wrong in [&[0, 1, 2, 4][..], &[0, 1, 2, 3, 0]] {
            let (mut connection, mut peer, _poll) = pair();
            connection.request(Instant::now()).unwrap();
            let error = answered(&mut connection, &mut peer, wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
        }
    }

    #[test]
    fn a_server_that_hangs_up_is_caught() {
        let (mut connection, peer, _poll) = pair();
        drop(peer);
        let error = loop {
            if let Err(error) = connection.receive(&mut [0; 64]) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
}
