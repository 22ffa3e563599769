//! A look-up in a cache: what was there, or a seat on the flight that loads it.

use crate::flight::Flight;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What a look-up gives: a value, or none if there is none; or the error of the load that all have in common.
pub type Found<V, E> = Result<Option<V>, Arc<E>>;

/// What [`Cache::get`](crate::Cache::get) returns. Ready at its first poll if the key was there.
#[must_use = "a look-up that is dropped is cancelled"]
pub struct Lookup<V, E>(pub(crate) State<V, E>)
where
    V: Send + Sync + 'static,
    E: Send + Sync + 'static;

pub(crate) enum State<V, E>
where
    V: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    Found(Found<V, E>),
    Waits(Waits<V, E>),
    /// Its result was taken.
    Over,
}

/// A seat on a flight.
pub(crate) struct Waits<V, E>
where
    V: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    pub(crate) flight: Arc<Flight<Found<V, E>>>,
    pub(crate) seat: usize,
}

impl<V, E> State<V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// The message, if the load panicked.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<Found<V, E>, String>> {
        let landed = match self {
            Self::Waits(waits) => match waits.flight.poll(waits.seat, cx) {
                Poll::Ready(landed) => Some(landed),
                Poll::Pending => return Poll::Pending,
            },
            _ => None,
        };
        match (std::mem::replace(self, Self::Over), landed) {
            (Self::Found(found), _) => Poll::Ready(Ok(found)),
            (_, Some(landed)) => Poll::Ready((*landed).clone()),
            (_, None) => panic!("a look-up was polled after its end"),
        }
    }
}

impl<V, E> Drop for Waits<V, E>
where
    V: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    fn drop(&mut self) {
        self.flight.leave(self.seat);
    }
}

impl<V, E> Future for Lookup<V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    type Output = Found<V, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().0.poll(cx).map(|landed| match landed {
            Ok(found) => found,
            Err(message) => resume_unwind(Box::new(message)),
        })
    }
}

/// Nothing in it is ever pinned: the load has a box of its own.
impl<V, E> Unpin for Lookup<V, E>
where
    V: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
}
