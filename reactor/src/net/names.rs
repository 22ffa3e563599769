//! Looks up names off the loop: the system's resolver blocks, for seconds if it has to.
//!
//! The job and the future share a place for one answer. Neither depends on the other: a future that is dropped leaves the
//! job to finish, and a job that is dropped without an answer (its pool is shutting down, the resolver panicked) says so.

use crate::place::Place;
use crate::{Reactor, error};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

pub(super) async fn lookup(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    let name = format!("{host}:{port}");
    off_the_loop(move || Ok((host.as_str(), port).to_socket_addrs()?.collect()))
        .await
        .map_err(|error| error::cannot(format_args!("resolve {name}"), error))
}

type Answer = io::Result<Vec<SocketAddr>>;

async fn off_the_loop(resolve: impl FnOnce() -> Answer + Send + 'static) -> Answer {
    let place = Place::new();
    let promise = Promise(place.clone());
    let reactor = Reactor::current_or_err()?;
    reactor.offload(Box::new(move || promise.keep(resolve())))?;
    place.take().await
}

/// Answers in any case.
struct Promise(Place<Answer>);

impl Promise {
    fn keep(self, answer: Answer) {
        self.0.leave(answer);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let broken = "the look-up was given up before it was done: its runtime is shutting down, or it panicked";
        self.0.leave(Err(io::Error::other(broken)));
    }
}
