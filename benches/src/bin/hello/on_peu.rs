//! hyper on peu, a task per connection, and the adapter that it takes.

use crate::hello;
use futures_lite::{AsyncRead, AsyncWrite};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use peu::net::{TcpListener, TcpStream};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pub(crate) fn serve(listener: std::net::TcpListener, workers: usize) -> io::Result<()> {
    let runtime = peu::Runtime::builder().workers(workers).build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let serving =
                http1::Builder::new().serve_connection(Adapter::new(stream), service_fn(hello));
            // A connection that breaks concerns nobody else.
            peu::spawn(async { drop(serving.await) });
        }
    })
}

/// A stream as hyper wants it. hyper lends memory that nobody has written yet; so that no `unsafe` is needed, what is read goes through a buffer
/// of the adapter's own, at the price of a copy.
struct Adapter {
    stream: TcpStream,
    buffer: Box<[u8; 4096]>,
}

impl Adapter {
    fn new(stream: TcpStream) -> Adapter {
        let buffer = Box::new([0; 4096]);
        Adapter { stream, buffer }
    }
}

impl Read for Adapter {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Adapter { stream, buffer } = self.get_mut();
        let room = into.remaining().min(buffer.len());
        let length = ready!(Pin::new(stream).poll_read(context, &mut buffer[..room]))?;
        into.put_slice(&buffer[..length]);
        Poll::Ready(Ok(()))
    }
}

impl Write for Adapter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, from)
    }
}
