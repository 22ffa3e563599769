//! The items of an iterator.

use crate::pipeline::host::Host;
use crate::pipeline::source::Source;
use std::convert::Infallible;
use std::task::{Context, Poll};

/// The items of an iterator that neither blocks nor differs from run to run: a `Vec`'s, a range.
///
/// Its position is how many it gave; after a restart as many are skipped.
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::future::block_on;
/// use peu_operators::pipeline::{Pipeline, collect, iterate};
///
/// let (sink, squares) = collect();
/// block_on(Pipeline::source(iterate(1_u64..=3)).map(|n| n * n).sink(sink).run_on(&Threads))?;
/// assert_eq!(squares.take(), [1, 4, 9]);
/// # Ok::<(), peu_operators::pipeline::PipelineError>(())
/// ```
pub fn iterate<I: IntoIterator>(items: I) -> Iterate<I::IntoIter> {
    Iterate {
        items: items.into_iter(),
        given: 0,
    }
}

/// What [`iterate`] makes.
#[derive(Clone, Debug)]
pub struct Iterate<I> {
    items: I,
    given: u64,
}

impl<I> Source for Iterate<I>
where
    I: Iterator + Send + 'static,
    I::Item: Send + 'static,
{
    type Item = I::Item;
    type Position = u64;
    type Error = Infallible;

    fn open(&mut self, _host: &Host, from: Option<u64>) {
        let skip = from.unwrap_or(0);
        self.given = skip;
        if let Some(last) = skip.checked_sub(1) {
            let _ = self.items.nth(usize::try_from(last).unwrap_or(usize::MAX));
        }
    }

    fn poll_next(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Result<I::Item, Infallible>>> {
        let item = self.items.next();
        self.given += u64::from(item.is_some());
        Poll::Ready(item.map(Ok))
    }

    fn position(&self) -> u64 {
        self.given
    }
}
