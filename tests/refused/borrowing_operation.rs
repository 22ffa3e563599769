//! An operation with a borrowed buffer, which the reactor would hold for longer than the borrow.
//!
//! refused: lifetime parameter must outlive the static lifetime

use peu::reactor::{Async, Direction, Operation, Source};
use std::{io, net::UdpSocket};

struct Receive { // right
struct Receive<'a> { // wrong
    socket: Async<UdpSocket>,
    buffer: Vec<u8>, // right
    buffer: &'a mut [u8], // wrong
}

impl Operation for Receive { // right
impl Operation for Receive<'_> { // wrong, here
    type Output = usize;

    fn source(&self) -> &Source {
        self.socket.source()
    }

    fn direction(&self) -> Direction {
        Direction::Read
    }

    fn execute(&mut self) -> io::Result<usize> {
        self.socket.get_ref().recv(&mut self.buffer)
    }
}

fn main() {}
