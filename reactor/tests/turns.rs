//! Turns: who takes them, what ends their sleep, and how a host's own loop learns that one is due.

mod support;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll as HostPoll, Token};
use peu_reactor::time::sleep;
use peu_reactor::{Async, Polled, Reactor, Turned, operation::Write};
use std::future::Future;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};
use support::{Wakes, turn};

const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

#[test]
fn an_unpark_before_the_turn_keeps_it_awake() {
    let reactor = Reactor::new().unwrap();
    reactor.unpark();
    reactor.unpark();
    assert_eq!(reactor.turn(None).unwrap(), Turned::Done(0));
    assert_eq!(reactor.metrics().unparks, 0, "nobody slept: no syscall");
}

#[test]
fn one_thread_has_the_turn_and_another_is_told_so() {
    let reactor = Reactor::new().unwrap();
    let sleeper = {
        let reactor = reactor.clone();
        thread::spawn(move || reactor.turn(None))
    };
    while reactor.turn(AT_ONCE).unwrap() != Turned::Claimed {
        thread::yield_now();
    }
    assert_eq!(reactor.turns().poll(None).unwrap(), Polled::Claimed);
    reactor.unpark();
    assert_eq!(sleeper.join().unwrap().unwrap(), Turned::Done(0));
    assert!(
        matches!(reactor.turn(AT_ONCE), Ok(Turned::Done(_))),
        "the claim is free"
    );
}

#[test]
fn unparks_of_many_threads_are_never_lost() {
    let reactor = Reactor::new().unwrap();
    let (told, asked) = std::sync::mpsc::channel();
    let unparkers: Vec<_> = (0..4)
        .map(|_| {
            let (reactor, told) = (reactor.clone(), told.clone());
            thread::spawn(move || {
                for _ in 0..1_000 {
                    told.send(()).unwrap();
                    reactor.unpark();
                }
            })
        })
        .collect();
    let mut received = 0;
    while received < 4_000 {
        turn(&reactor);
        received += asked.try_iter().count();
    }
    unparkers
        .into_iter()
        .for_each(|unparker| unparker.join().unwrap());
}

#[test]
fn turns_of_several_threads_wake_every_waiter() {
    let reactor = Reactor::new().unwrap();
    let turners: Vec<_> = (0..3)
        .map(|_| {
            let reactor = reactor.clone();
            thread::spawn(move || {
                while let Ok(turned) = reactor.turn(Some(Duration::from_millis(10))) {
                    if turned == Turned::Claimed {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let (here, mut there) = UnixStream::pair().unwrap();
    let here = Async::with_reactor(here, &reactor).unwrap();
    for _ in 0..1_000 {
        let wakes = Wakes::new();
        let waker = wakes.waker();
        let mut read =
            pin!(here.read_with(|mut stream| std::io::Read::read(&mut stream, &mut [0; 8])));
        let mut poll = || read.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(poll().is_pending());
        there.write_all(b"x").unwrap();
        while wakes.count() == 0 {
            thread::yield_now();
        }
        assert!(poll().is_ready());
    }
    reactor.close();
    turners
        .into_iter()
        .for_each(|turner| turner.join().unwrap());
}

#[test]
fn a_timer_is_not_slept_through_when_the_turn_changes_hands() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let turners: Vec<_> = (0..3)
        .map(|_| {
            let reactor = reactor.clone();
            thread::spawn(move || {
                while let Ok(turned) = reactor.turn(None) {
                    if turned == Turned::Claimed {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    for round in 0..3_000 {
        let wakes = Wakes::new();
        let waker = wakes.waker();
        // One turn ends and another thread begins the next, while or before the timer is added.
        reactor.unpark();
        (0..round % 60).for_each(|_| thread::yield_now());
        let mut pause = pin!(sleep(Duration::from_micros(20)));
        while pause
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
        {
            let start = Instant::now();
            while wakes.count() == 0 {
                assert!(start.elapsed() < Duration::from_secs(30), "slept through");
                thread::yield_now();
            }
        }
    }
    reactor.close();
    turners
        .into_iter()
        .for_each(|turner| turner.join().unwrap());
}

/// One of them hears the bell; another may have looked before, and comes to the claim afterwards.
#[test]
fn closing_ends_every_thread_that_takes_turns() {
    for _ in 0..1_000 {
        let reactor = Reactor::new().unwrap();
        let turners: Vec<_> = (0..4)
            .map(|_| {
                let reactor = reactor.clone();
                thread::spawn(move || {
                    while let Ok(turned) = reactor.turn(None) {
                        if turned == Turned::Claimed {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        thread::yield_now();
        reactor.close();
        turners
            .into_iter()
            .for_each(|turner| turner.join().unwrap());
    }
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("the waker's own");
    }
}

#[test]
fn a_panic_in_a_waker_stops_no_other() {
    let reactor = Reactor::new().unwrap();
    let (here, mut there) = UnixStream::pair().unwrap();
    let here = Async::with_reactor(here, &reactor).unwrap();
    let wakes = Wakes::new();
    let mut waiting: Vec<_> = (0..3)
        .map(|_| {
            Box::pin(here.read_with(|mut stream| std::io::Read::read(&mut stream, &mut [0; 8])))
        })
        .collect();
    let wakers = [wakes.waker(), Waker::from(Arc::new(Panics)), wakes.waker()];
    for (future, waker) in waiting.iter_mut().zip(&wakers) {
        assert!(
            future
                .as_mut()
                .poll(&mut Context::from_waker(waker))
                .is_pending()
        );
    }
    there.write_all(b"x").unwrap();
    while wakes.count() == 0 {
        turn(&reactor);
    }
    assert_eq!(wakes.count(), 2);
    assert_eq!(reactor.metrics().panics, 1);
}

#[test]
fn dropped_between_its_steps_a_turn_still_wakes() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let wakes = Wakes::new();
    let waker = wakes.waker();
    let mut pause = pin!(sleep(Duration::from_nanos(1)));
    while pause
        .as_mut()
        .poll(&mut Context::from_waker(&waker))
        .is_pending()
    {
        let mut turns = reactor.turns();
        let gathered = turns.poll(Some(Duration::from_secs(30))).unwrap();
        let before = wakes.count();
        drop(turns);
        assert_eq!(gathered, Polled::Ready(wakes.count() - before));
    }
}

#[test]
fn a_glance_takes_some_of_many_events_and_a_poll_takes_them_all() {
    let reactor = Reactor::new().unwrap();
    let mut turns = reactor.turns();
    // A new socket can be written to, which is an event.
    let sources = || -> Vec<_> {
        let source = || Async::with_reactor(UnixStream::pair().unwrap().0, &reactor).unwrap();
        (0..100).map(|_| source()).collect()
    };
    let first = sources();
    let seen = [(); 3].map(|()| {
        turns.glance().unwrap();
        reactor.metrics().events
    });
    assert_eq!(seen, [48, 96, 100]);
    let second = sources();
    turns.poll(AT_ONCE).unwrap();
    assert_eq!(reactor.metrics().events, 200);
    drop((first, second));
}

#[test]
fn an_alarm_is_set_only_for_a_sleep_and_only_when_the_one_that_is_set_is_too_late() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let wakes = Wakes::new();
    let waker = wakes.waker();
    let mut context = Context::from_waker(&waker);
    let mut pause = pin!(sleep(Duration::from_secs(3000)));
    assert!(pause.as_mut().poll(&mut context).is_pending());
    reactor.turn(AT_ONCE).unwrap();
    reactor.turn(Some(Duration::from_millis(1))).unwrap();
    assert_eq!(reactor.metrics().alarms_set, 0, "nobody slept that long");

    reactor.arm();
    reactor.arm();
    assert_eq!(reactor.metrics().alarms_set, 1);
    let mut later = pin!(sleep(Duration::from_secs(4000)));
    assert!(later.as_mut().poll(&mut context).is_pending());
    assert_eq!(
        reactor.metrics().alarms_set,
        1,
        "later than the one that is set"
    );
    for sooner in [2000, 1000] {
        let mut sooner = pin!(sleep(Duration::from_secs(sooner)));
        assert!(sooner.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(reactor.metrics().alarms_set, 3);
    let mut between = pin!(sleep(Duration::from_secs(1500)));
    assert!(between.as_mut().poll(&mut context).is_pending());
    assert_eq!(
        reactor.metrics().alarms_set,
        3,
        "the alarm of a timer that was removed rings before"
    );
}

/// Another event loop, which watches the reactor's descriptor.
struct Host {
    poll: HostPoll,
    reactor: Reactor,
}

impl Host {
    fn new() -> Host {
        let (poll, reactor) = (HostPoll::new().unwrap(), Reactor::new().unwrap());
        let descriptor = reactor.as_fd().as_raw_fd();
        let registered =
            poll.registry()
                .register(&mut SourceFd(&descriptor), Token(0), Interest::READABLE);
        registered.unwrap();
        let mut host = Host { poll, reactor };
        host.reactor.arm();
        assert!(!host.is_readable(AT_ONCE), "there is nothing to do");
        host
    }

    fn is_readable(&mut self, timeout: Option<Duration>) -> bool {
        let mut events = Events::with_capacity(4);
        self.poll.poll(&mut events, timeout).unwrap();
        !events.is_empty()
    }

    /// What a host does: wait for the descriptor, take a turn, arm again. Returns what the turn did.
    fn wait_and_turn(&mut self) -> Turned {
        assert!(
            self.is_readable(Some(Duration::from_secs(30))),
            "it should be readable"
        );
        let turned = self.reactor.turn(AT_ONCE).unwrap();
        self.reactor.arm();
        turned
    }
}

#[test]
fn a_host_learns_of_a_source_that_is_ready() {
    let mut host = Host::new();
    let (here, mut there) = UnixStream::pair().unwrap();
    let here = Async::with_reactor(here, &host.reactor).unwrap();
    assert_eq!(host.wait_and_turn(), Turned::Done(0), "it can be written");
    assert!(!host.is_readable(AT_ONCE), "the turn has seen everything");

    let wakes = Wakes::new();
    let waker = wakes.waker();
    let mut read = pin!(here.read_with(|mut stream| std::io::Read::read(&mut stream, &mut [0; 8])));
    assert!(
        read.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    there.write_all(b"x").unwrap();
    assert_eq!(host.wait_and_turn(), Turned::Done(1));
    assert_eq!(wakes.count(), 1);
}

#[test]
fn a_host_learns_of_a_timer_that_is_added_after_it_has_armed() {
    let mut host = Host::new();
    let reactor = host.reactor.clone();
    let _entered = reactor.enter();
    let wakes = Wakes::new();
    let waker = wakes.waker();
    let mut pause = pin!(sleep(Duration::from_millis(1)));
    while pause
        .as_mut()
        .poll(&mut Context::from_waker(&waker))
        .is_pending()
    {
        host.wait_and_turn();
    }
    assert!(wakes.count() <= 1);
}

#[test]
fn a_host_learns_of_a_timer_that_was_there_before_it_armed() {
    let mut host = Host::new();
    let reactor = host.reactor.clone();
    let _entered = reactor.enter();
    reactor.turn(AT_ONCE).unwrap();
    let wakes = Wakes::new();
    let waker = wakes.waker();
    let mut pause = pin!(sleep(Duration::from_millis(1)));
    assert!(
        pause
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    reactor.arm();
    while wakes.count() == 0 {
        host.wait_and_turn();
    }
}

#[test]
fn a_host_learns_of_an_unpark_before_and_after_it_has_armed() {
    let mut host = Host::new();
    host.reactor.unpark();
    host.wait_and_turn();
    assert!(!host.is_readable(AT_ONCE));

    host.reactor.turn(AT_ONCE).unwrap();
    host.reactor.unpark();
    host.reactor.arm();
    host.wait_and_turn();
    assert!(!host.is_readable(AT_ONCE));
}

#[test]
fn a_host_learns_of_an_operation_that_needs_no_event() {
    let mut host = Host::new();
    let (here, _there) = UnixStream::pair().unwrap();
    let here = Arc::new(Async::with_reactor(here, &host.reactor).unwrap());
    host.wait_and_turn();
    let write = Write::new(here, b"x".to_vec());
    host.reactor.submit(write, |_, done| done.unwrap()).unwrap();
    assert_eq!(host.wait_and_turn(), Turned::Done(1));
}
