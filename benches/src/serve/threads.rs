//! A thread per connection, blocked in its read most of the time.

use super::{BUFFER, REST};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

pub(super) fn serve(listener: TcpListener) -> io::Result<()> {
    for stream in listener.incoming() {
        match stream {
            // A connection that breaks ends its thread, and concerns nobody else.
            Ok(stream) => drop(thread::spawn(move || echo(stream))),
            Err(_) => thread::sleep(REST),
        }
    }
    Ok(())
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; BUFFER];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length])?,
        }
    }
}
