//! Calls on files: through the ring where there is one, through threads, cancelled, dropped, and when the reactor ends.

mod support;

use futures_lite::future::{block_on, poll_once};
use peu_reactor::file::{Answer, Call, OpenOptions, Tiers};
use peu_reactor::{Offload, Reactor};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use std::{io, thread};

struct Threads;

impl Offload for Threads {
    fn offload(&self, job: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        thread::Builder::new().spawn(job).map(drop)
    }
}

fn reactor(tiers: Tiers) -> Reactor {
    let builder = Reactor::builder().offload(Arc::new(Threads));
    builder.file_tiers(tiers).build().unwrap()
}

/// None, and a word about it, where the system has no ring.
fn with_ring() -> Option<Reactor> {
    let reactor = reactor(Tiers::RING);
    let (_, answer) = run(
        &reactor,
        Call::open(Path::new("Cargo.toml"), &to_read()).unwrap(),
    );
    answer.unwrap();
    if let Some(error) = reactor.files().metrics().no_ring {
        eprintln!("no io_uring here ({error}): its tests are left out");
        return None;
    }
    Some(reactor)
}

fn to_read() -> OpenOptions {
    OpenOptions {
        read: true,
        ..OpenOptions::default()
    }
}

/// Performs a call, and takes turns until it is done.
fn run(reactor: &Reactor, call: Call) -> (Call, io::Result<Answer>) {
    let (told, answer) = mpsc::channel();
    reactor.submit_call(call, move |call, answer| told.send((call, answer)).unwrap());
    loop {
        if let Ok(answer) = answer.try_recv() {
            return answer;
        }
        reactor.turn(Some(Duration::from_millis(1))).unwrap();
    }
}

/// A read that does not end by itself, and what ends it.
fn endless() -> (Call, io::PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    let reader = File::from(std::os::fd::OwnedFd::from(reader));
    (Call::read(Arc::new(reader), vec![0; 8], 0, Some(0)), writer)
}

/// Told how often, and with which outcome.
#[derive(Clone, Default)]
struct Tally {
    done: Arc<AtomicUsize>,
    cancelled: Arc<AtomicUsize>,
}

impl Tally {
    fn count(&self) -> impl FnOnce(Call, io::Result<Answer>) + Send + 'static {
        let tally = self.clone();
        move |_, answer| {
            let counter = match answer {
                Ok(_) => &tally.done,
                Err(error) if error.kind() == ErrorKind::Interrupted => &tally.cancelled,
                Err(error) => panic!("{error}"),
            };
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn get(&self) -> (usize, usize) {
        (
            self.done.load(Ordering::SeqCst),
            self.cancelled.load(Ordering::SeqCst),
        )
    }

    fn wait(&self, reactor: &Reactor, expected: (usize, usize)) {
        while self.get() != expected {
            reactor.turn(Some(Duration::from_millis(1))).unwrap();
        }
    }
}

#[test]
fn what_one_turn_submits_is_one_system_call() {
    let Some(reactor) = with_ring() else { return };
    let file = Arc::new(File::open("Cargo.toml").unwrap());
    let (before, tally) = (reactor.files().metrics(), Tally::default());
    for _ in 0..100 {
        let call = Call::read(file.clone(), vec![0; 9], 0, Some(0));
        assert!(reactor.submit_call(call, tally.count()).is_some());
    }
    tally.wait(&reactor, (100, 0));
    let after = reactor.files().metrics();
    assert_eq!(after.ring - before.ring, 100);
    assert_eq!(after.ring_submissions - before.ring_submissions, 1);
    assert_eq!((after.now, after.pool), (0, 0));
}

#[test]
fn a_full_ring_waits_and_loses_nothing() {
    let Some(reactor) = with_ring() else { return };
    let (stuck, tally) = (Tally::default(), Tally::default());
    let mut ends = Vec::new();
    // As many as the ring takes, and more, that do not end by themselves.
    let keys: Vec<_> = (0..600)
        .map(|_| {
            let (call, end) = endless();
            ends.push(end);
            reactor.submit_call(call, stuck.count()).unwrap()
        })
        .collect();
    let file = Arc::new(File::open("Cargo.toml").unwrap());
    for _ in 0..600 {
        let call = Call::read(file.clone(), vec![0; 9], 0, Some(0));
        reactor.submit_call(call, tally.count());
    }
    for _ in 0..10 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(tally.get(), (0, 0), "the ring is full");
    // Half of them end, half are ended.
    for (number, (key, end)) in keys.iter().zip(&mut ends).enumerate() {
        match number % 2 {
            0 => end.write_all(b"end     ").unwrap(),
            _ => assert!(!reactor.cancel(*key), "the kernel has it"),
        }
    }
    stuck.wait(&reactor, (300, 300));
    tally.wait(&reactor, (600, 0));
}

#[test]
fn a_dropped_future_ends_its_call_and_keeps_its_memory_until_then() {
    let Some(reactor) = with_ring() else { return };
    let file = Arc::new(tempfile::tempfile().unwrap());
    (&*file).write_all(&[7; 100_000]).unwrap();
    let (endless, end) = endless();
    assert!(block_on(poll_once(pin!(reactor.perform(endless)))).is_none());
    for round in 0..2000 {
        let call = Call::read(file.clone(), vec![0; 100_000], 0, Some(0));
        // Dropped before it was submitted, or after, at any time.
        assert!(block_on(poll_once(pin!(reactor.perform(call)))).is_none());
        if round % 7 == 0 {
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
    }
    // Calls hold their file until the kernel has let go of them.
    while Arc::strong_count(&file) > 1 {
        reactor.turn(Some(Duration::from_millis(1))).unwrap();
    }
    while format!("{reactor:?}").contains("pending: 1") {
        reactor.turn(Some(Duration::from_millis(1))).unwrap();
    }
    drop(end);
}

#[test]
fn closing_and_dropping_a_reactor_ends_what_the_kernel_has() {
    for closes in [true, false] {
        let Some(reactor) = with_ring() else { return };
        let (tally, mut ends) = (Tally::default(), Vec::new());
        for _ in 0..100 {
            let (call, end) = endless();
            ends.push(end);
            reactor.submit_call(call, tally.count());
        }
        reactor.turn(Some(Duration::ZERO)).unwrap();
        for _ in 0..10 {
            // These never reach the kernel.
            reactor.submit_call(endless().0, tally.count());
        }
        if closes {
            reactor.close();
            assert_eq!(tally.get(), (0, 110));
            assert!(
                reactor
                    .submit_call(endless().0, |_, answer| {
                        assert!(answer.unwrap_err().to_string().contains("is gone"));
                    })
                    .is_none()
            );
        }
        drop(reactor);
        for mut end in ends {
            assert_eq!(end.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        }
    }
}

/// The kernel may end the calls of a thread that exits, or keep the thread until they are over. They are done in either case:
/// here, opens of a pipe, which wait for the other end.
#[test]
fn a_thread_that_ends_takes_no_call_with_it() {
    let Some(reactor) = with_ring() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("no mkfifo here: the test of a thread that ends is left out");
        return;
    }
    let tally = Tally::default();
    let submitter = thread::spawn({
        let (reactor, path, tally) = (reactor.clone(), path.clone(), tally.clone());
        move || {
            for _ in 0..5 {
                let call = Call::open(&path, &to_read()).unwrap();
                reactor.submit_call(call, tally.count());
            }
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
    });
    // It is on its way out, and the kernel may keep it until the calls are over.
    while reactor.files().metrics().ring < 6 {
        thread::yield_now();
    }
    let writer = thread::spawn(move || File::options().write(true).open(path));
    tally.wait(&reactor, (5, 0));
    submitter.join().unwrap();
    drop(writer.join().unwrap().unwrap());
}

#[test]
fn no_descriptor_is_left() {
    for tiers in [Tiers::RING, Tiers::POOL] {
        let reactor = reactor(tiers);
        let open = || Call::open(Path::new("Cargo.toml"), &to_read()).unwrap();
        run(&reactor, open()).1.unwrap();
        let tally = Tally::default();
        for _ in 0..300 {
            drop(block_on(poll_once(pin!(reactor.perform(open())))));
            reactor.submit_call(open(), tally.count());
        }
        tally.wait(&reactor, (300, 0));
        while !format!("{reactor:?}").contains("pending: 0") {
            reactor.turn(Some(Duration::from_millis(1))).unwrap();
        }
        reactor.close();
        let manifest = std::fs::canonicalize("Cargo.toml").unwrap();
        let left = std::fs::read_dir("/proc/self/fd").unwrap();
        let left = left.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        // Other tests of this process may hold one each for a moment.
        assert!(
            left.filter(|path| *path == manifest).count() < 20,
            "{tiers:?}"
        );
    }
}

#[test]
fn a_call_that_waits_for_a_thread_is_cancelled_at_once() {
    /// Leaves the jobs to whoever has the other end, who does none.
    struct Never(mpsc::Sender<Box<dyn FnOnce() + Send>>);
    impl Offload for Never {
        fn offload(&self, job: Box<dyn FnOnce() + Send>) -> io::Result<()> {
            self.0.send(job).map_err(|_| ErrorKind::BrokenPipe.into())
        }
    }
    let (never, undone) = mpsc::channel();
    let builder = Reactor::builder().offload(Arc::new(Never(never)));
    let reactor = builder.file_tiers(Tiers::POOL).build().unwrap();
    let tally = Tally::default();
    let key = reactor.submit_call(Call::job(|| panic!("not begun")), tally.count());
    assert!(reactor.cancel(key.unwrap()));
    assert!(!reactor.cancel(key.unwrap()));
    reactor.submit_call(Call::job(|| panic!("not begun")), tally.count());
    reactor.close();
    assert_eq!(tally.get(), (0, 2));
    drop(undone);
    assert_eq!(tally.get(), (0, 2), "told once");
}

#[test]
fn a_job_that_panics_is_an_error() {
    let reactor = reactor(Tiers::ALL);
    let (_, answer) = run(&reactor, Call::job(|| panic!("on purpose")));
    assert!(answer.unwrap_err().to_string().contains("panicked"));
}

#[test]
fn a_reactor_without_threads_says_so() {
    let reactor = Reactor::new().unwrap();
    let (_, answer) = run(&reactor, Call::job(|| ()));
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unsupported);
}
