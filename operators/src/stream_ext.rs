//! The operators, as methods of every stream.

use crate::async_elements::AsyncElements;
use crate::async_flat_map::AsyncFlatMap;
use crate::async_map::AsyncMap;
use crate::element::{Element, MarkOf};
use crate::error::BoxError;
use crate::input::{Fed, Feed, Input};
use crate::options::AsyncOptions;
use crate::outputs::Outputs;
use crate::policies::StagePolicies;
use crate::runtime::{Spawn, Timer};
use crate::stage::Stage;
use futures_core::Stream;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The async operators, for every [`Stream`]. Import it as `use peu_operators::StreamExt as _`.
pub trait StreamExt: Stream + Sized + Send + 'static {
    /// Calls an async function for each record, many at a time: Flink's Async I/O.
    ///
    /// The stage runs as a task of its own, from now on: it takes records while it has room, keeps their requests in
    /// flight together, and emits their outputs in the order that the options name. It goes on when its consumer is
    /// slow, until it is full. `name` stands for the stage in its errors.
    ///
    /// `function` gets a clone of each record; the stage keeps the record itself while the request runs, to name it in
    /// an error or to ask the timeout fallback about it. Records that are large are best an [`Arc`].
    ///
    /// # Cost
    ///
    /// A stage allocates one box and one waker for each request that was ever in flight at the same time, and reuses
    /// them. A record allocates nothing. Neither the function's future nor its output is boxed.
    ///
    /// # Errors
    ///
    /// The stream yields one [`StageError`](crate::StageError), and then ends, when a record fails and the policy is
    /// [`OnError::Fail`](crate::OnError::Fail), when the input panics, or when the runtime drops the stage's task. A
    /// function or future that panics has failed as one that returned an error.
    ///
    /// # Panics
    ///
    /// If the options make no sense together; the message says which, and what to do.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
    /// # use threads::Threads;
    /// use futures_lite::{StreamExt as _, future::block_on, stream};
    /// use peu_operators::{AsyncOptions, OnError, StreamExt as _};
    ///
    /// let numbers = stream::iter(["1", "two", "3"]).async_map(
    ///     &Threads,
    ///     "parse",
    ///     |text| async move { text.parse::<u32>() },
    ///     AsyncOptions::ordered().on_error(OnError::Skip),
    /// );
    /// let numbers: Vec<u32> = block_on(numbers.map(Result::unwrap).collect());
    /// assert_eq!(numbers, [1, 3]);
    /// ```
    #[track_caller]
    fn async_map<R, F, Fut, Out, E, P>(
        self,
        runtime: &R,
        name: impl Into<Arc<str>>,
        function: F,
        options: AsyncOptions<P>,
    ) -> AsyncMap<Out>
    where
        Self::Item: Clone + Debug + Send,
        R: Spawn + Timer,
        F: FnMut(Self::Item) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Out, E>> + Send + 'static,
        Out: Send + 'static,
        E: Into<BoxError> + 'static,
        P: StagePolicies<Self::Item, Out, E>,
    {
        let input = Asked::input(self, poll_plain);
        AsyncMap::new(start(input, runtime, name.into(), function, options))
    }

    /// As [`async_map`](StreamExt::async_map), for a function that has any number of outputs for a record: a `Vec`, an
    /// `Option`, an array.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
    /// # use threads::Threads;
    /// use futures_lite::{StreamExt as _, future::block_on, stream};
    /// use peu_operators::{AsyncOptions, StreamExt as _};
    /// use std::convert::Infallible;
    ///
    /// let words = stream::iter(["poll, execute", "", "update"]).async_flat_map(
    ///     &Threads,
    ///     "split",
    ///     |line| async move { Ok::<Vec<_>, Infallible>(line.split_terminator(", ").collect()) },
    ///     AsyncOptions::ordered(),
    /// );
    /// let words: Vec<&str> = block_on(words.map(Result::unwrap).collect());
    /// assert_eq!(words, ["poll", "execute", "update"]);
    /// ```
    #[track_caller]
    fn async_flat_map<R, F, Fut, Outs, E, P>(
        self,
        runtime: &R,
        name: impl Into<Arc<str>>,
        function: F,
        options: AsyncOptions<P>,
    ) -> AsyncFlatMap<Outs>
    where
        Self::Item: Clone + Debug + Send,
        R: Spawn + Timer,
        F: FnMut(Self::Item) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Outs, E>> + Send + 'static,
        Outs: IntoIterator + Send + 'static,
        E: Into<BoxError> + 'static,
        P: StagePolicies<Self::Item, Outs, E>,
    {
        let input = Asked::input(self, poll_plain);
        AsyncFlatMap::new(start(input, runtime, name.into(), function, options))
    }

    /// As [`async_map`](StreamExt::async_map), for an input that may fail: a reader, or a stage further up.
    ///
    /// The first error of the input is its end. What was accepted before is drained, in either mode, and then the error
    /// is passed on: that of a stage further up as it is, any other as [`Cause::Input`](crate::Cause::Input).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
    /// # use threads::Threads;
    /// use futures_lite::{StreamExt as _, future::block_on, stream};
    /// use peu_operators::{AsyncOptions, StreamExt as _};
    /// use std::convert::Infallible;
    ///
    /// let parse = |text: &'static str| async move { text.parse::<u32>() };
    /// let double = |n: u32| async move { Ok::<_, Infallible>(2 * n) };
    /// let mut doubled = stream::iter(["1", "two", "3"])
    ///     .async_map(&Threads, "parse", parse, AsyncOptions::ordered())
    ///     .try_async_map(&Threads, "double", double, AsyncOptions::unordered());
    /// block_on(async {
    ///     assert_eq!(doubled.next().await.unwrap().unwrap(), 2);
    ///     assert_eq!(doubled.next().await.unwrap().unwrap_err().stage(), "parse");
    ///     assert!(doubled.next().await.is_none());
    /// });
    /// ```
    #[track_caller]
    fn try_async_map<R, T, InputError, F, Fut, Out, E, P>(
        self,
        runtime: &R,
        name: impl Into<Arc<str>>,
        function: F,
        options: AsyncOptions<P>,
    ) -> AsyncMap<Out>
    where
        Self: Stream<Item = Result<T, InputError>>,
        T: Clone + Debug + Send + 'static,
        InputError: Into<BoxError> + 'static,
        R: Spawn + Timer,
        F: FnMut(T) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Out, E>> + Send + 'static,
        Out: Send + 'static,
        E: Into<BoxError> + 'static,
        P: StagePolicies<T, Out, E>,
    {
        let input = Asked::input(self, |stream, cx| {
            let polled = stream.poll_next(cx);
            polled.map(|next| next.map(|item| Ok(Element::Record(item.map_err(Into::into)?, ()))))
        });
        AsyncMap::new(start(input, runtime, name.into(), function, options))
    }

    /// As [`async_map`](StreamExt::async_map), for a stream whose records have times and marks between them.
    ///
    /// An output carries the event time of its record. No record crosses a mark, either way: in unordered and
    /// key-ordered mode outputs leave as they finish between two marks. Marks take no place of the capacity, and
    /// a full stage lets them pass; that is why it may hold one more record than its capacity, which it does not work on.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
    /// # use threads::Threads;
    /// use futures_lite::{StreamExt as _, future::block_on, stream};
    /// use peu_operators::{AsyncOptions, Element, EventTime, Mark, StreamExt as _};
    /// use std::convert::Infallible;
    ///
    /// let noon = EventTime::from_millis(43_200_000);
    /// let elements = [Element::Record(7, Some(noon)), Element::Mark(Mark::Watermark(noon))];
    /// let doubled = stream::iter(elements).async_map_elements(
    ///     &Threads,
    ///     "double",
    ///     |n: u64| async move { Ok::<_, Infallible>(2 * n) },
    ///     AsyncOptions::unordered(),
    /// );
    /// let doubled: Vec<Element<u64>> = block_on(doubled.map(Result::unwrap).collect());
    /// let expected = [Element::Record(14, Some(noon)), Element::Mark(Mark::Watermark(noon))];
    /// assert_eq!(doubled, expected);
    /// ```
    #[track_caller]
    fn async_map_elements<R, T, F, Fut, Out, E, P>(
        self,
        runtime: &R,
        name: impl Into<Arc<str>>,
        function: F,
        options: AsyncOptions<P>,
    ) -> AsyncElements<Out>
    where
        Self: Stream<Item = Element<T>>,
        T: Clone + Debug + Send + 'static,
        R: Spawn + Timer,
        F: FnMut(T) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Out, E>> + Send + 'static,
        Out: Send + 'static,
        E: Into<BoxError> + 'static,
        P: StagePolicies<T, Out, E>,
    {
        let input = Asked::input(self, |stream, cx| {
            stream.poll_next(cx).map(|next| next.map(Ok))
        });
        AsyncElements::new(start(input, runtime, name.into(), function, options))
    }
}

impl<S: Stream + Send + 'static> StreamExt for S {}

#[track_caller]
fn start<S, T, Time, M, R, F, Fut, Out, E, P>(
    input: Input<S>,
    runtime: &R,
    name: Arc<str>,
    function: F,
    options: AsyncOptions<P>,
) -> Outputs<Out, Time, M>
where
    S: Feed<T, Time, M> + Send + 'static,
    T: Clone + Debug + Send + 'static,
    Time: Copy + Send + 'static,
    M: MarkOf,
    R: Spawn + Timer,
    F: FnMut(T) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Out, E>> + Send + 'static,
    Out: Send + 'static,
    E: Into<BoxError> + 'static,
    P: StagePolicies<T, Out, E>,
{
    let (stage, outputs) = Stage::new(name, input, function, options, runtime.clone());
    runtime.spawn(stage);
    outputs
}

/// The next record of a stream that has nothing else.
#[inline]
fn poll_plain<S: Stream, M>(
    stream: Pin<&mut S>,
    cx: &mut Context<'_>,
) -> Poll<Fed<S::Item, (), M>> {
    let polled = stream.poll_next(cx);
    polled.map(|next| next.map(|record| Ok(Element::Record(record, ()))))
}

/// A stream, and how it is asked for its next element.
struct Asked<S, A> {
    stream: Pin<Box<S>>,
    ask: A,
}

impl<S, A> Asked<S, A> {
    fn input<T, Time, M>(stream: S, ask: A) -> Input<Self>
    where
        A: FnMut(Pin<&mut S>, &mut Context<'_>) -> Poll<Fed<T, Time, M>>,
    {
        let stream = Box::pin(stream);
        Input::new(Self { stream, ask })
    }
}

impl<S, A, T, Time, M> Feed<T, Time, M> for Asked<S, A>
where
    A: FnMut(Pin<&mut S>, &mut Context<'_>) -> Poll<Fed<T, Time, M>>,
{
    #[inline]
    fn poll_feed(&mut self, cx: &mut Context<'_>) -> Poll<Fed<T, Time, M>> {
        (self.ask)(self.stream.as_mut(), cx)
    }
}
