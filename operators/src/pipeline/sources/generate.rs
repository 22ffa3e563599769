//! Records that a function makes.

use crate::pipeline::host::Host;
use crate::pipeline::source::Source;
use std::convert::Infallible;
use std::task::{Context, Poll};

/// The records that `make` has for 0, 1, 2 and so on, until it has none. The same number must always give the same record.
///
/// Its position is the next number, so a restart skips nothing: it is there at once.
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::future::block_on;
/// use peu_operators::pipeline::{Pipeline, collect, generate};
///
/// let (sink, powers) = collect();
/// let source = generate(|n| 2_u64.checked_pow(n as u32));
/// block_on(Pipeline::source(source).sink(sink).run_on(&Threads))?;
/// assert_eq!(powers.take().len(), 64);
/// # Ok::<(), peu_operators::pipeline::PipelineError>(())
/// ```
pub fn generate<T, F: FnMut(u64) -> Option<T>>(make: F) -> Generate<F> {
    Generate { make, next: 0 }
}

/// What [`generate`] makes.
#[derive(Clone, Debug)]
pub struct Generate<F> {
    make: F,
    next: u64,
}

impl<T, F> Source for Generate<F>
where
    T: Send + 'static,
    F: FnMut(u64) -> Option<T> + Send + 'static,
{
    type Item = T;
    type Position = u64;
    type Error = Infallible;

    fn open(&mut self, _host: &Host, from: Option<u64>) {
        self.next = from.unwrap_or(0);
    }

    #[inline]
    fn poll_next(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Result<T, Infallible>>> {
        let record = (self.make)(self.next);
        self.next += u64::from(record.is_some());
        Poll::Ready(record.map(Ok))
    }

    fn position(&self) -> u64 {
        self.next
    }
}
