//! The items of a stream.

use crate::error::BoxError;
use crate::pipeline::host::Host;
use crate::pipeline::source::Source;
use futures_core::Stream;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The items of any stream, each a record or an error: a socket, a channel, a stage of your own.
///
/// A stream can't be asked for what it gave before, so it has no position. After a restart what was taken from it up to the
/// last checkpoint is neither lost nor repeated; what was taken since is lost, unless whoever feeds the stream sends it
/// again.
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::{future::block_on, stream};
/// use peu_operators::pipeline::{Pipeline, collect, listen};
/// use std::io;
///
/// let (sink, heard) = collect();
/// let source = listen(stream::iter([Ok("poll"), Ok("execute"), Err(io::Error::other("cut off"))]));
/// let error = block_on(Pipeline::source(source).sink(sink).run_on(&Threads)).unwrap_err();
/// assert!(error.to_string().ends_with("cut off"), "{error}");
/// assert_eq!(heard.take(), ["poll", "execute"]);
/// ```
pub fn listen<S, T, E>(stream: S) -> Listen<S>
where
    S: Stream<Item = Result<T, E>>,
    E: Into<BoxError>,
{
    Listen(Box::pin(stream))
}

/// What [`listen`] makes.
#[derive(Debug)]
pub struct Listen<S>(Pin<Box<S>>);

impl<S, T, E> Source for Listen<S>
where
    S: Stream<Item = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Into<BoxError>,
{
    type Item = T;
    type Position = ();
    type Error = E;

    fn open(&mut self, _host: &Host, _from: Option<()>) {}

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, E>>> {
        self.0.as_mut().poll_next(cx)
    }

    fn position(&self) {}
}
