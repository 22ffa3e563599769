//! Where the system forbids the ring, files are read by threads, and the metrics say why.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

#[path = "support/filter.rs"]
mod filter;

use filter::forbid;
use peu_reactor::file::{Answer, Call, Tiers, Whole};
use peu_reactor::{Offload, Reactor};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use std::{io, thread};

struct Threads;

impl Offload for Threads {
    fn offload(&self, job: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        thread::Builder::new().spawn(job).map(drop)
    }
}

/// A read of nine bytes, and where its answer will be.
fn submit(reactor: &Reactor) -> mpsc::Receiver<(Vec<u8>, io::Result<Answer>)> {
    let file = Arc::new(File::open("Cargo.toml").unwrap());
    let (told, answer) = mpsc::channel();
    let call = Call::read(file, vec![0; 9], 0, Some(0));
    reactor.submit_call(call, move |call, answer| {
        told.send((call.into_buffer(), answer)).unwrap();
    });
    answer
}

fn assert_read((buffer, answer): (Vec<u8>, io::Result<Answer>)) {
    assert!(matches!(answer, Ok(Answer::Bytes(9))), "{answer:?}");
    assert_eq!(buffer, b"[package]");
}

/// Takes turns until it is answered.
fn take_turns(reactor: &Reactor, answer: &mpsc::Receiver<(Vec<u8>, io::Result<Answer>)>) {
    loop {
        match answer.try_recv() {
            Ok(answer) => break assert_read(answer),
            Err(_) => _ = reactor.turn(Some(Duration::from_millis(5))).unwrap(),
        }
    }
}

fn reactor() -> Reactor {
    let builder = Reactor::builder().offload(Arc::new(Threads));
    builder.file_tiers(Tiers::RING).build().unwrap()
}

/// Refused by a filter, switched off (`io_uring_disabled`), without the memory that may be locked; and made, but forbidden
/// to be used.
#[test]
fn a_ring_that_is_refused_means_threads() {
    for (call, error) in [
        (libc::SYS_io_uring_setup, libc::EPERM),
        (libc::SYS_io_uring_setup, libc::ENOSYS),
        (libc::SYS_io_uring_setup, libc::ENOMEM),
        (libc::SYS_io_uring_enter, libc::EPERM),
    ] {
        let reads = thread::spawn(move || {
            forbid(call, error);
            let reactor = reactor();
            for _ in 0..2 {
                assert_read(submit(&reactor).recv().unwrap());
            }
            reactor.files().metrics()
        });
        let files = reads.join().unwrap();
        // Where there is none at all, the reason is another.
        assert!(
            files.no_ring == Some(error)
                || (call != libc::SYS_io_uring_setup && files.no_ring.is_some())
        );
        assert_eq!((files.ring, files.pool), (0, 2));
    }
}

/// A call that the kernel does not take is not slept through: the turn comes back, and tries again.
#[test]
fn a_kernel_that_takes_nothing_is_asked_again() {
    let reactor = reactor();
    let first = submit(&reactor);
    if reactor.files().metrics().no_ring.is_some() {
        eprintln!("no io_uring here: the test of one that takes nothing is left out");
        return;
    }
    let answered = |answer| take_turns(&reactor, &answer);
    answered(first);
    let stalled = thread::scope(|scope| {
        let forbidden = scope.spawn(|| {
            forbid(libc::SYS_io_uring_enter, libc::EAGAIN);
            let stalled = submit(&reactor);
            reactor.turn(None).unwrap();
            // Meanwhile others need no ring.
            let before = reactor.files().metrics();
            assert_read(submit(&reactor).recv().unwrap());
            assert_eq!(reactor.files().metrics().pool, before.pool + 1);
            stalled
        });
        forbidden.join().unwrap()
    });
    answered(stalled);
}

/// As of a process that locks itself in after it has used the ring: threads do what the kernel has not taken.
#[test]
fn a_kernel_that_refuses_later_means_threads() {
    let reactor = reactor();
    take_turns(&reactor, &submit(&reactor));
    if reactor.files().metrics().no_ring.is_some() {
        eprintln!("no io_uring here: the test of one that is forbidden later is left out");
        return;
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            forbid(libc::SYS_io_uring_enter, libc::EPERM);
            let before = reactor.files().metrics();
            let answers: Vec<_> = (0..5).map(|_| submit(&reactor)).collect();
            for answer in answers {
                take_turns(&reactor, &answer);
            }
            take_turns(&reactor, &submit(&reactor));
            let after = reactor.files().metrics();
            assert_eq!(after.pool, before.pool + 6);
            assert_eq!(after.ring_submissions, before.ring_submissions + 1);
            reactor.close();
        });
    });
}

/// Whole files, where the system forbids to open them without waiting, or can't now: another way is named, and leads to them.
#[test]
fn what_may_not_be_opened_now_is_opened_otherwise() {
    for error in [libc::ENOSYS, libc::EPERM, libc::EINTR, libc::EAGAIN] {
        for is_known in [false, true] {
            let reads = thread::spawn(move || {
                let builder = Reactor::builder().offload(Arc::new(Threads));
                let build = || builder.file_tiers(Tiers::ALL).build().unwrap();
                let reactor = if is_known {
                    forbid(libc::SYS_openat2, error);
                    build()
                } else {
                    let reactor = build();
                    forbid(libc::SYS_openat2, error);
                    reactor
                };
                read_whole(&reactor, "Cargo.toml")
            });
            let expected = std::fs::read("Cargo.toml").unwrap();
            assert!(reads.join().unwrap() == expected, "{error} {is_known}");
        }
    }
}

/// By whichever way is named.
fn read_whole(reactor: &Reactor, path: &str) -> Vec<u8> {
    match reactor.files().read_whole(path.as_ref()) {
        Whole::Done(contents) => contents,
        Whole::Rest(file, mut buffer, filled) => {
            let rest = &mut buffer[filled..];
            file.read_exact_at(rest, filled as u64).unwrap();
            buffer
        }
        Whole::Unread(mut unread) => unread.read(path.as_ref()).unwrap(),
    }
}
