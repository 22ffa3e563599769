//! Waiting for descriptors: who is woken, what is counted, and what an attempt teaches.

mod support;

use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use peu_reactor::{Async, Direction, Reactor};
use std::cell::Cell;
use std::fs::File;
use std::future::Future;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use support::{Wakes, block_on, turn};

/// One end that waits, and one that is plain.
fn pair(reactor: &Reactor) -> (Async<UnixStream>, UnixStream) {
    let (here, there) = UnixStream::pair().unwrap();
    (Async::with_reactor(here, reactor).unwrap(), there)
}

fn read_some(mut stream: &UnixStream) -> io::Result<usize> {
    stream.read(&mut [0; 16])
}

#[test]
fn one_event_wakes_a_hundred_waiters() {
    let reactor = Reactor::new().unwrap();
    let (here, mut there) = pair(&reactor);
    let wakes = Wakes::new();
    let waker = wakes.waker();
    let mut waiting: Vec<_> = (0..100)
        .map(|_| Box::pin(here.read_with(read_some)))
        .collect();
    for future in &mut waiting {
        assert!(
            future
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    there.write_all(b"one").unwrap();
    while wakes.count() == 0 {
        turn(&reactor);
    }
    assert_eq!(wakes.count(), 100);

    let mut polls = waiting
        .iter_mut()
        .map(|future| future.as_mut().poll(&mut Context::from_waker(&waker)));
    assert!(matches!(polls.next(), Some(Poll::Ready(Ok(3)))));
    assert!(polls.all(|poll| poll.is_pending()), "the others wait on");
}

#[test]
fn many_operations_cost_one_registration() {
    let reactor = Reactor::new().unwrap();
    let (mut here, mut there) = pair(&reactor);
    block_on(&reactor, async {
        for _ in 0..50 {
            here.write_all(b"ping").await.unwrap();
            there.read_exact(&mut [0; 4]).unwrap();
            let mut buffer = [0; 4];
            let reply = async {
                future::yield_now().await;
                there.write_all(b"pong").unwrap();
            };
            future::zip(here.read_exact(&mut buffer), reply)
                .await
                .0
                .unwrap();
            assert_eq!(&buffer, b"pong");
        }
    });
    drop(here);
    let metrics = reactor.metrics();
    assert_eq!((metrics.registrations, metrics.deregistrations), (1, 1));
}

#[test]
fn a_task_that_loses_its_place_is_woken() {
    let reactor = Reactor::new().unwrap();
    let (here, _there) = pair(&reactor);
    let (first, second) = (Wakes::new(), Wakes::new());
    for wakes in [&first, &second, &second] {
        let waker = wakes.waker();
        let poll = here.poll_read_with(&mut Context::from_waker(&waker), read_some);
        assert!(poll.is_pending());
    }
    assert_eq!((first.count(), second.count()), (1, 0));
}

#[test]
fn a_dropped_read_leaves_the_data_to_another() {
    let reactor = Reactor::new().unwrap();
    let (here, mut there) = pair(&reactor);
    let wakes = Wakes::new();
    let waker = wakes.waker();
    {
        let mut read = pin!(here.read_with(read_some));
        assert!(
            read.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        there.write_all(b"data").unwrap();
        while wakes.count() == 0 {
            turn(&reactor);
        }
    }
    assert_eq!(block_on(&reactor, here.read_with(read_some)).unwrap(), 4);
}

#[test]
fn a_writer_goes_on_when_the_peer_makes_room() {
    let reactor = Reactor::new().unwrap();
    let (mut here, mut there) = pair(&reactor);
    let sent = vec![7; 4 << 20];
    let reader = thread::spawn(move || {
        let mut received = Vec::new();
        there.read_to_end(&mut received).unwrap();
        received
    });
    block_on(&reactor, here.write_all(&sent)).unwrap();
    drop(here);
    assert!(reader.join().unwrap() == sent);
}

#[test]
fn a_short_transfer_is_known_to_be_the_last_but_the_end_is_still_read() {
    let reactor = Reactor::new().unwrap();
    let (here, mut there) = pair(&reactor);
    let attempts = Cell::new(0);
    let read = || {
        attempts.set(attempts.get() + 1);
        here.get_ref().read(&mut [0; 16])
    };
    let wakes = Wakes::new();
    let waker = wakes.waker();
    let poll = || {
        here.source()
            .poll_transfer(Direction::Read, &mut Context::from_waker(&waker), 16, read)
    };
    // Lets the event of the registration pass, so that what follows is all there is.
    reactor.turn(None).unwrap();

    there.write_all(b"short").unwrap();
    assert!(matches!(poll(), Poll::Ready(Ok(5))));
    assert!(poll().is_pending());
    assert_eq!(attempts.get(), 1, "the second was not attempted");

    there.write_all(b"last").unwrap();
    drop(there);
    while wakes.count() == 0 {
        turn(&reactor);
    }
    assert!(matches!(poll(), Poll::Ready(Ok(4))));
    assert!(matches!(poll(), Poll::Ready(Ok(0))));
    assert!(matches!(poll(), Poll::Ready(Ok(0))), "the end stays");
}

#[test]
fn a_pipe_can_be_waited_for() {
    let reactor = Reactor::new().unwrap();
    let (reader, writer) = io::pipe().unwrap();
    let mut reader = Async::with_reactor(reader, &reactor).unwrap();
    let mut writer = Async::with_reactor(writer, &reactor).unwrap();
    let mut received = Vec::new();
    let write = async move {
        for line in ["one\n", "two\n"] {
            future::yield_now().await;
            writer.write_all(line.as_bytes()).await.unwrap();
        }
        writer.close().await.unwrap();
    };
    let (read, ()) = block_on(
        &reactor,
        future::zip(reader.read_to_end(&mut received), write),
    );
    read.unwrap();
    assert_eq!(received, b"one\ntwo\n");
}

#[test]
fn trying_never_waits_and_learns() {
    let reactor = Reactor::new().unwrap();
    let (here, mut there) = pair(&reactor);
    assert_eq!(
        here.try_read_with(read_some).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    there.write_all(b"x").unwrap();
    block_on(&reactor, here.readable()).unwrap();
    assert_eq!(here.try_read_with(read_some).unwrap(), 1);
    block_on(&reactor, here.writable()).unwrap();
    assert_eq!(
        here.try_write_with(|mut stream| stream.write(b"y"))
            .unwrap(),
        1
    );
}

#[test]
fn an_attempt_that_is_interrupted_is_made_again() {
    let reactor = Reactor::new().unwrap();
    let (here, _there) = pair(&reactor);
    let mut interruptions = 3;
    let value = here.try_read_with(|_| {
        if interruptions == 0 {
            return Ok("done");
        }
        interruptions -= 1;
        Err(ErrorKind::Interrupted.into())
    });
    assert_eq!(value.unwrap(), "done");
}

#[test]
fn what_cannot_be_waited_for_is_refused_with_advice() {
    let reactor = Reactor::new().unwrap();
    let file = tempfile::tempfile().unwrap();
    let error = Async::<File>::with_reactor(file, &reactor).unwrap_err();
    assert!(error.to_string().contains("always ready"), "{error}");

    let (here, _there) = UnixStream::pair().unwrap();
    let here = Arc::new(here);
    let _first = Async::with_reactor(Arc::clone(&here), &reactor).unwrap();
    let error = Async::with_reactor(here, &reactor).unwrap_err();
    assert!(error.to_string().contains("duplicate"), "{error}");
}

#[test]
fn a_refused_registration_leaves_the_first_one_working() {
    let reactor = Reactor::new().unwrap();
    let (here, mut there) = UnixStream::pair().unwrap();
    let here = Arc::new(here);
    let first = Async::with_reactor(Arc::clone(&here), &reactor).unwrap();
    assert!(Async::with_reactor(Arc::clone(&here), &reactor).is_err());
    let later = thread::spawn(move || there.write_all(b"x"));
    let read = first.read_with(|stream| (&**stream).read(&mut [0; 4]));
    assert_eq!(block_on(&reactor, read).unwrap(), 1);
    later.join().unwrap().unwrap();
}

#[test]
fn without_a_reactor_the_error_says_what_to_do() {
    let (here, _there) = UnixStream::pair().unwrap();
    let error = Async::new(here).unwrap_err();
    assert!(error.to_string().contains("inside `block_on`"), "{error}");
}

#[test]
fn entering_nests_and_restores() {
    let (outer, inner) = (Reactor::new().unwrap(), Reactor::new().unwrap());
    let registered_with = || {
        let (here, _there) = UnixStream::pair().unwrap();
        let source = Async::new(here).unwrap();
        (
            outer.metrics().registrations,
            inner.metrics().registrations,
            source,
        )
            .0
    };
    let _outer = outer.enter();
    assert_eq!(registered_with(), 1);
    {
        let _inner = inner.enter();
        assert_eq!(registered_with(), 1, "went to the inner one");
    }
    assert_eq!(registered_with(), 2);
}

#[test]
fn taken_apart_it_is_deregistered_and_can_be_registered_again() {
    let reactor = Reactor::new().unwrap();
    let (here, mut there) = pair(&reactor);
    let here = Async::with_reactor(here.into_inner(), &reactor).unwrap();
    there.write_all(b"x").unwrap();
    assert_eq!(block_on(&reactor, here.read_with(read_some)).unwrap(), 1);
    let metrics = reactor.metrics();
    assert_eq!((metrics.registrations, metrics.deregistrations), (2, 1));
}

thread_local! {
    static BUDGET: Cell<u32> = const { Cell::new(0) };
    static ASKED: Cell<u32> = const { Cell::new(0) };
}

fn budget() -> bool {
    ASKED.set(ASKED.get() + 1);
    let left = BUDGET.get();
    BUDGET.set(left.saturating_sub(1));
    left > 0
}

#[test]
fn a_task_without_budget_is_woken_and_comes_again() {
    let reactor = Reactor::builder().budget(budget).build().unwrap();
    let (here, mut there) = pair(&reactor);
    there.write_all(b"ab").unwrap();
    let wakes = Wakes::new();
    let waker = wakes.waker();
    let one = |mut stream: &UnixStream| stream.read(&mut [0]);
    let poll = || here.poll_read_with(&mut Context::from_waker(&waker), one);

    BUDGET.set(1);
    assert!(matches!(poll(), Poll::Ready(Ok(1))));
    assert!(poll().is_pending());
    assert_eq!(wakes.count(), 1, "it has to come again");
    BUDGET.set(2);
    assert!(matches!(poll(), Poll::Ready(Ok(1))));
    assert!(poll().is_pending(), "this attempt found nothing");
    assert!(poll().is_pending());
    assert_eq!(ASKED.get(), 4, "a wait that has to begin anyway is free");
    assert_eq!(wakes.count(), 1);
}

#[test]
fn sources_come_and_go_while_turns_are_taken() {
    let reactor = Reactor::new().unwrap();
    let turner = {
        let reactor = reactor.clone();
        thread::spawn(move || while reactor.turn(None).is_ok() {})
    };
    for _ in 0..2_000 {
        let (here, mut there) = pair(&reactor);
        let mut read: Pin<Box<dyn Future<Output = _>>> = Box::pin(here.read_with(read_some));
        let waker = Wakes::new().waker();
        assert!(
            read.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        there.write_all(b"x").unwrap();
    }
    reactor.close();
    turner.join().unwrap();
    let metrics = reactor.metrics();
    assert_eq!(
        (metrics.registrations, metrics.deregistrations),
        (2_000, 2_000)
    );
}
