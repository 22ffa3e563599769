//! smol, a task per connection, on one thread, which also waits for events.

use super::{BUFFER, Beside, REST};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use smol::{Executor, Timer};
use std::io;

pub(super) fn serve(listener: std::net::TcpListener, beside: Beside) -> io::Result<()> {
    let executor = Executor::new();
    executor.spawn(beside.task(Timer::after)).detach();
    smol::block_on(executor.run(async {
        let listener = TcpListener::try_from(listener)?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => executor.spawn(echo(stream)).detach(),
                Err(_) => drop(Timer::after(REST).await),
            }
        }
    }))
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length]).await?,
        }
    }
}
