//! Rung 0 of the ladder: an echo server as one writes it first, with a thread for each connection.
//!
//! What it teaches: blocking code reads top to bottom, and the operating system does the rest. The price is a thread
//! per connection: its stack, its place in the scheduler, and two context switches for each message. Ten connections
//! never notice. Ten thousand do, and a thread that waits can't be told to do something else meanwhile.
//!
//! Try it, and type into any number of terminals:
//!
//! ```text
//! cargo run --example 00_blocking_echo -- 127.0.0.1:7777
//! nc 127.0.0.1 7777
//! ```
//!
//! Next: `01_mio_loop.rs`, the same server with one thread.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("00_blocking_echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(&address).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        match listener.accept() {
            Ok((stream, peer)) => start(stream, peer),
            Err(error) => give_way(error),
        }
    }
}

fn start(stream: TcpStream, peer: std::net::SocketAddr) {
    let echo = move || {
        if let Err(error) = echo(stream) {
            eprintln!("{peer}: {error}");
        }
    };
    // No thread for it: its socket is closed, and the others go on.
    if let Err(error) = thread::Builder::new().spawn(echo) {
        give_way(error);
    }
}

/// The whole of the work: `read` and `write_all` return when they are done, however long that takes.
fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length])?,
        }
    }
}

/// The usual reason is a lack of descriptors or threads. It passes when connections end, so wait instead of spinning.
fn give_way(error: io::Error) {
    eprintln!("cannot take a connection: {error}");
    thread::sleep(Duration::from_millis(100));
}
