//! peu, a task per connection.

use super::{BUFFER, Beside, REST};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use peu::Runtime;
use peu::net::{TcpListener, TcpStream};
use std::io;

pub(super) fn serve(
    listener: std::net::TcpListener,
    workers: usize,
    beside: Beside,
) -> io::Result<()> {
    let runtime = Runtime::builder().workers(workers).build()?;
    runtime.spawn(beside.task(peu::time::sleep));
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(peu::spawn(echo(stream))),
                Err(_) => peu::time::sleep(REST).await,
            }
        }
    })
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
