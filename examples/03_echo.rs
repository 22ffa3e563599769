//! Rung 3 of the ladder: the echo server with tasks, on peu.
//!
//! What it teaches: nothing is left of the state machine of rung 1 or the callbacks of rung 2, and nothing of what they
//! gained is lost. `echo` reads like rung 0, with `.await` where that one blocks. Each await is a place where the task
//! stands aside: what it knows stays in its future, whose waker is the callback that the loop calls. A few threads
//! serve all connections, and a connection costs the size of its future: here mostly its buffer.
//!
//! ```text
//! cargo run --example 03_echo -- 127.0.0.1:7777
//! nc 127.0.0.1 7777
//! ```
//!
//! Next: `04_pipeline.rs`, which puts operators on top.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use peu::Runtime;
use peu::net::{TcpListener, TcpStream};

fn main() -> ExitCode {
    match Runtime::new().and_then(|runtime| runtime.block_on(run())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("03_echo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(&address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => drop(peu::spawn(serve(stream, peer))),
            // Mostly for want of descriptors. It passes when connections end; the next call waits a little for that.
            Err(error) => eprintln!("cannot take a connection: {error}"),
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr) {
    if let Err(error) = echo(stream).await {
        eprintln!("{peer}: {error}");
    }
}

/// The whole of the work: `read` and `write_all` return when they are done, and the thread has other work meanwhile.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length]).await?,
        }
    }
}
