//! Looks up names off the loop: the system's resolver blocks, for seconds if it has to.
//!
//! The job and the future share a place for one answer. Neither depends on the other: a future that is dropped leaves the
//! job to finish, and a job that is dropped without an answer (its pool is shutting down, the resolver panicked) says so.

use crate::sync::Mutex;
use crate::{Reactor, error};
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

pub(super) async fn lookup(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    let name = format!("{host}:{port}");
    off_the_loop(move || Ok((host.as_str(), port).to_socket_addrs()?.collect()))
        .await
        .map_err(|error| error::context(format_args!("cannot resolve {name}"), error))
}

type Answer = io::Result<Vec<SocketAddr>>;

async fn off_the_loop(resolve: impl FnOnce() -> Answer + Send + 'static) -> Answer {
    let place = Arc::new(Mutex::new(Place::default()));
    let promise = Promise(Arc::clone(&place));
    let reactor = Reactor::current_or_err()?;
    reactor.offload(Box::new(move || promise.keep(resolve())))?;
    poll_fn(|context| poll_answer(&place, context)).await
}

#[derive(Default)]
struct Place {
    answer: Option<Answer>,
    waker: Option<Waker>,
}

fn poll_answer(place: &Mutex<Place>, context: &Context<'_>) -> Poll<Answer> {
    let waker = context.waker().clone();
    let mut place = place.lock();
    if let Some(answer) = place.answer.take() {
        return Poll::Ready(answer);
    }
    let replaced = place.waker.replace(waker);
    drop(place);
    drop(replaced);
    Poll::Pending
}

/// Answers in any case.
struct Promise(Arc<Mutex<Place>>);

impl Promise {
    fn keep(self, answer: Answer) {
        self.0.lock().answer = Some(answer);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let mut place = self.0.lock();
        place.answer.get_or_insert_with(|| {
            let broken = "the look-up was given up before it was done: its runtime is shutting down, or it panicked";
            Err(io::Error::other(broken))
        });
        let waker = place.waker.take();
        drop(place);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
