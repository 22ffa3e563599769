//! The end of a reactor: everybody is told, and what outlives it is harmless.

mod support;

use futures_lite::AsyncReadExt;
use peu_reactor::operation::Read;
use peu_reactor::{Async, Polled, Reactor};
use std::future::Future;
use std::io::{self, ErrorKind, Read as _, Write};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;
use support::Wakes;

fn pair(reactor: &Reactor) -> (Async<UnixStream>, UnixStream) {
    let (here, there) = UnixStream::pair().unwrap();
    (Async::with_reactor(here, reactor).unwrap(), there)
}

fn assert_gone<T>(result: io::Result<T>) {
    let error = result.err().expect("the reactor is gone");
    assert!(error.to_string().contains("runtime is gone"), "{error}");
}

#[test]
fn every_waiter_is_woken_and_told() {
    let reactor = Reactor::new().unwrap();
    let (here, _there) = pair(&reactor);
    let wakes = Wakes::new();
    let waker = wakes.waker();
    let mut context = Context::from_waker(&waker);
    let read = |mut stream: &UnixStream| stream.read(&mut [0; 8]);
    let mut first = pin!(here.read_with(read));
    assert!(first.as_mut().poll(&mut context).is_pending());
    assert!(here.poll_read_with(&mut context, read).is_pending());

    reactor.close();
    assert_eq!(wakes.count(), 2);
    match first.as_mut().poll(&mut context) {
        Poll::Ready(result) => assert_gone(result),
        Poll::Pending => panic!("it waits on"),
    }
    match here.poll_readable(&mut context) {
        Poll::Ready(result) => assert_gone(result),
        Poll::Pending => panic!("it waits on"),
    }
    reactor.close();
    assert_eq!(wakes.count(), 2, "closing again changes nothing");
}

#[test]
fn nothing_can_be_begun_any_more() {
    let reactor = Reactor::new().unwrap();
    let (mut here, _there) = pair(&reactor);
    reactor.close();
    assert!(reactor.is_closed());
    assert_gone(futures_lite::future::block_on(here.read(&mut [0; 8])));
    assert_gone(futures_lite::future::block_on(here.writable()));
    assert_gone(here.try_read_with(|_| Ok(())));
    let (stream, _peer) = UnixStream::pair().unwrap();
    assert_gone(Async::with_reactor(stream, &reactor));
    assert_gone(reactor.submit(Read::new(Arc::new(here), Vec::new()), |_, _| {}));
    assert_gone(reactor.turn(None));
}

#[test]
fn pending_operations_are_called_back_as_cancelled() {
    let reactor = Reactor::new().unwrap();
    let (here, _there) = pair(&reactor);
    let (told, outcome) = mpsc::channel();
    let read = Read::new(Arc::new(here), vec![0; 8]);
    let key = reactor
        .submit(read, move |read, count| {
            told.send((read.into_buffer(), count)).unwrap()
        })
        .unwrap();
    reactor.close();
    let (buffer, count) = outcome.try_recv().unwrap();
    assert_eq!(buffer.len(), 8);
    assert_eq!(count.unwrap_err().kind(), ErrorKind::Interrupted);
    assert!(!reactor.cancel(key), "an old key is harmless");
}

#[test]
fn what_is_inside_survives() {
    let reactor = Reactor::new().unwrap();
    let (here, mut there) = pair(&reactor);
    let (dropped, _peer) = pair(&reactor);
    reactor.close();
    drop(dropped);
    there.write_all(b"x").unwrap();
    assert_eq!(here.into_inner().read(&mut [0; 8]).unwrap(), 1);
    let metrics = reactor.metrics();
    assert_eq!((metrics.registrations, metrics.deregistrations), (2, 2));
}

#[test]
fn a_turn_that_sleeps_ends_and_a_worker_can_still_park() {
    let reactor = Reactor::new().unwrap();
    let sleeper = {
        let reactor = reactor.clone();
        thread::spawn(move || while reactor.turn(None).is_ok() {})
    };
    reactor.close();
    sleeper.join().unwrap();

    let mut turns = reactor.turns();
    turns.poll(Some(Duration::ZERO)).unwrap();
    let worker = thread::spawn(move || turns.poll(None));
    reactor.unpark();
    assert_eq!(worker.join().unwrap().unwrap(), Polled::Ready(0));
}

#[test]
fn a_reactor_goes_when_its_last_source_does() {
    let reactor = Reactor::new().unwrap();
    let (here, mut there) = pair(&reactor);
    drop(reactor);
    there.write_all(b"x").unwrap();
    let reactor = here.source().reactor().clone();
    let read = here.read_with(|mut stream| stream.read(&mut [0; 8]));
    assert_eq!(support::block_on(&reactor, read).unwrap(), 1);
}
