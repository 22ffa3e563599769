//! Calls on files: through the ring where there is one, through threads, cancelled, dropped, and when the reactor ends.

mod support;

use futures_lite::future::{block_on, poll_once};
use peu_reactor::file::{Answer, Call, OpenOptions, Tiers};
use peu_reactor::{Offload, Reactor, Turned};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::pin::pin;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use std::{io, thread};

/// Whatever takes longer hangs, also on a slow machine.
const LIMIT: Duration = Duration::from_secs(60);

/// As many calls as the kernel is told of at once.
const IN_FLIGHT: usize = 512;

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

/// Opening it for reading waits for one who writes, for ever if there is none.
struct Pipe {
    folder: tempfile::TempDir,
}

impl Pipe {
    /// None, and a word about it, where the system can make none.
    fn new() -> Option<Pipe> {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new("mkfifo")
            .arg(folder.path().join("pipe"))
            .status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("no mkfifo here: a test that needs a call without end is left out");
            return None;
        }
        Some(Pipe { folder })
    }

    fn endless(&self) -> Call {
        Call::open(&self.folder.path().join("pipe"), &to_read()).unwrap()
    }

    /// Ends the calls, and those to come, as long as the file is open.
    fn end(&self) -> File {
        let mut options = File::options();
        let options = options.read(true).write(true);
        options.open(self.folder.path().join("pipe")).unwrap()
    }
}

fn nine_bytes(file: &Arc<File>) -> Call {
    Call::read(file.clone(), vec![0; 9], 0, Some(0))
}

fn manifest() -> Arc<File> {
    Arc::new(File::open("Cargo.toml").unwrap())
}

/// All that the ring can do, it has to do: there is nobody else.
fn ring_alone() -> Option<Reactor> {
    with_ring()?;
    let builder = Reactor::builder().file_tiers(Tiers::RING);
    Some(builder.build().unwrap())
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
        let begin = Instant::now();
        while self.get() != expected {
            assert!(begin.elapsed() < LIMIT, "it hangs: {:?}", self.get());
            reactor.turn(Some(Duration::from_millis(1))).unwrap();
        }
    }
}

#[test]
fn calls_gather_until_there_are_four_or_the_turn_ends() {
    let Some(reactor) = with_ring() else { return };
    let file = manifest();
    let submit = |tally: &Tally| {
        let call = reactor.submit_call(nine_bytes(&file), tally.count());
        assert!(call.is_some());
    };
    let submissions = || reactor.files().metrics().ring_submissions;
    let (before, tally) = (reactor.files().metrics(), Tally::default());
    (0..3).for_each(|_| submit(&tally));
    assert_eq!(submissions(), before.ring_submissions, "they wait for more");
    tally.wait(&reactor, (3, 0));
    assert_eq!(submissions(), before.ring_submissions + 1);
    (0..100).for_each(|_| submit(&tally));
    assert_eq!(submissions(), before.ring_submissions + 1 + 25);
    tally.wait(&reactor, (103, 0));
    let after = reactor.files().metrics();
    assert_eq!(
        (after.ring - before.ring, after.now, after.pool),
        (103, 0, 0)
    );
}

#[test]
fn a_full_ring_waits_and_loses_nothing() {
    let (Some(reactor), Some(ends), Some(stays)) = (ring_alone(), Pipe::new(), Pipe::new()) else {
        return;
    };
    let (stuck, tally) = (Tally::default(), Tally::default());
    // As many as the ring takes, and more, that do not end by themselves.
    let calls = (0..600).map(|number| [&ends, &stays][number % 2].endless());
    let keys: Vec<_> = calls
        .map(|call| reactor.submit_call(call, stuck.count()).unwrap())
        .collect();
    let file = manifest();
    for _ in 0..600 {
        reactor.submit_call(nine_bytes(&file), tally.count());
    }
    for _ in 0..10 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(tally.get(), (0, 0), "the ring is full");
    // Half of them are ended, half end.
    for number in (1..600).step_by(2) {
        let waits = reactor.cancel(keys[number]);
        assert_eq!(waits, number >= IN_FLIGHT, "the kernel has the others");
    }
    let end = ends.end();
    stuck.wait(&reactor, (300, 300));
    tally.wait(&reactor, (600, 0));
    drop(end);
}

#[test]
fn a_ring_full_of_what_never_ends_can_be_emptied() {
    let (Some(reactor), Some(pipe)) = (ring_alone(), Pipe::new()) else {
        return;
    };
    let (stuck, tally) = (Tally::default(), Tally::default());
    let submit = |_| reactor.submit_call(pipe.endless(), stuck.count()).unwrap();
    let keys: Vec<_> = (0..IN_FLIGHT).map(submit).collect();
    reactor.submit_call(nine_bytes(&manifest()), tally.count());
    reactor.turn(Some(Duration::ZERO)).unwrap();
    // More often than it has room to report.
    for key in keys.repeat(3) {
        assert!(!reactor.cancel(key), "the kernel has it");
    }
    stuck.wait(&reactor, (0, IN_FLIGHT));
    tally.wait(&reactor, (1, 0));
    reactor.close();
}

#[test]
fn what_a_full_ring_has_no_room_for_is_done_by_threads() {
    let (Some(reactor), Some(pipe)) = (with_ring(), Pipe::new()) else {
        return;
    };
    let (stuck, tally) = (Tally::default(), Tally::default());
    for _ in 0..IN_FLIGHT {
        reactor.submit_call(pipe.endless(), stuck.count());
    }
    let before = reactor.files().metrics();
    reactor.submit_call(nine_bytes(&manifest()), tally.count());
    tally.wait(&reactor, (1, 0));
    assert_eq!(reactor.files().metrics().pool, before.pool + 1);
    reactor.close();
    assert_eq!(stuck.get(), (0, IN_FLIGHT));
}

/// The kernel stops at the first call that it finds wrong, and takes those after it only when it is told again.
#[test]
fn a_call_that_is_wrong_holds_back_none() {
    let Some(reactor) = ring_alone() else { return };
    let (tally, file) = (Tally::default(), manifest());
    let (told, refused) = mpsc::channel();
    for nameless in [false, true, false, true, true, false] {
        if nameless {
            let (told, call) = (told.clone(), Call::open(Path::new(""), &to_read()));
            reactor.submit_call(call.unwrap(), move |_, answer| {
                told.send(answer.unwrap_err().kind()).unwrap();
            });
        } else {
            reactor.submit_call(nine_bytes(&file), tally.count());
        }
    }
    reactor.turn(Some(Duration::ZERO)).unwrap();
    tally.wait(&reactor, (3, 0));
    while reactor.turn(Some(Duration::ZERO)).unwrap() != Turned::Done(0) {}
    assert_eq!(
        refused.try_iter().collect::<Vec<_>>(),
        [ErrorKind::NotFound; 3]
    );
}

#[test]
fn what_the_kernel_has_not_heard_of_is_cancelled_at_once() {
    let Some(reactor) = ring_alone() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (path, tally) = (folder.path().join("a"), Tally::default());
    let call = Call::make_directory(&path).unwrap();
    let key = reactor.submit_call(call, tally.count()).unwrap();
    assert!(reactor.cancel(key));
    assert_eq!(tally.get(), (0, 1));
    assert!(!reactor.cancel(key));
    reactor.submit_call(nine_bytes(&manifest()), tally.count());
    tally.wait(&reactor, (1, 1));
    assert!(!path.exists(), "it was not done");
}

/// Which they have by their position, whatever tier is asked.
#[test]
fn a_pipe_is_not_read_at_a_position() {
    for tiers in [Tiers::ALL, Tiers::RING, Tiers::POOL] {
        let reactor = reactor(tiers);
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"0123456789").unwrap();
        let reader = Arc::new(File::from(std::os::fd::OwnedFd::from(reader)));
        let (_, answer) = run(&reactor, nine_bytes(&reader));
        assert_eq!(
            answer.unwrap_err().kind(),
            ErrorKind::NotSeekable,
            "{tiers:?}"
        );
        let mut rest = [0; 10];
        (&*reader).read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"0123456789", "nothing was taken");
    }
}

/// A long read is one copy in the system call that tells the kernel, and the turn would not end before it.
#[test]
fn long_reads_are_left_to_threads() {
    let Some(reactor) = with_ring() else { return };
    let file = Arc::new(tempfile::tempfile().unwrap());
    (&*file).write_all(&[7; 300_000]).unwrap();
    let before = reactor.files().metrics();
    for (length, ring) in [(256 * 1024, 1), (256 * 1024 + 1, 1)] {
        let call = Call::read(file.clone(), vec![0; length], 0, Some(0));
        let (call, answer) = run(&reactor, call);
        assert!(matches!(answer, Ok(Answer::Bytes(count)) if count == length));
        assert!(call.into_buffer().iter().all(|byte| *byte == 7));
        assert_eq!(reactor.files().metrics().ring, before.ring + ring);
    }
    let Some(alone) = ring_alone() else { return };
    let tally = Tally::default();
    for _ in 0..100 {
        let call = Call::read(file.clone(), vec![0; 300_000], 0, Some(0));
        alone.submit_call(call, tally.count());
    }
    tally.wait(&alone, (100, 0));
}

#[test]
fn a_dropped_future_ends_its_call_and_keeps_its_memory_until_then() {
    let (Some(reactor), Some(pipe)) = (with_ring(), Pipe::new()) else {
        return;
    };
    let file = Arc::new(tempfile::tempfile().unwrap());
    (&*file).write_all(&[7; 100_000]).unwrap();
    assert!(block_on(poll_once(pin!(reactor.perform(pipe.endless())))).is_none());
    for round in 0..2000 {
        let call = Call::read(file.clone(), vec![0; 100_000], 0, Some(0));
        let mut read = pin!(reactor.perform(call));
        // Dropped before it was submitted, or after, at any time.
        assert!(block_on(poll_once(read.as_mut())).is_none());
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
}

#[test]
fn closing_and_dropping_a_reactor_ends_what_the_kernel_has() {
    for closes in [true, false] {
        let (Some(reactor), Some(pipe)) = (with_ring(), Pipe::new()) else {
            return;
        };
        let tally = Tally::default();
        for _ in 0..100 {
            reactor.submit_call(pipe.endless(), tally.count());
        }
        reactor.turn(Some(Duration::ZERO)).unwrap();
        for _ in 0..10 {
            // These never reach the kernel.
            reactor.submit_call(pipe.endless(), tally.count());
        }
        if closes {
            reactor.close();
            assert_eq!(tally.get(), (0, 110));
            assert!(
                reactor
                    .submit_call(pipe.endless(), |_, answer| {
                        assert!(answer.unwrap_err().to_string().contains("is gone"));
                    })
                    .is_none()
            );
        }
        drop(reactor);
        assert_eq!(tally.get(), (0, 110));
    }
}

/// What the kernel has belongs to the one who closes first: a second, on another thread or called back by the first, tells
/// nobody that it is over, because the kernel may still be at it.
#[test]
fn who_closes_a_second_time_leaves_the_kernels_calls_to_the_first() {
    let (Some(reactor), Some(pipe)) = (with_ring(), Pipe::new()) else {
        return;
    };
    let tally = Tally::default();
    for _ in 0..100 {
        reactor.submit_call(pipe.endless(), tally.count());
    }
    reactor.turn(Some(Duration::ZERO)).unwrap();
    // The kernel does not hear of this one, so it is told before the kernel's answers are looked at.
    let (closed, others) = (reactor.clone(), tally.clone());
    reactor.submit_call(pipe.endless(), move |_, _| {
        closed.close();
        let other = thread::spawn(move || closed.close());
        other.join().unwrap();
        assert_eq!(others.get(), (0, 0), "told by a second closer");
    });
    reactor.close();
    assert_eq!(tally.get(), (0, 100));
    assert_eq!(reactor.metrics().panics, 0);
}

/// The kernel may end the calls of a thread that exits, or keep the thread until they are over. They are done in either case:
/// here, opens of a pipe, which wait for the other end.
#[test]
fn a_thread_that_ends_takes_no_call_with_it() {
    let Some(reactor) = with_ring() else { return };
    let Some(pipe) = Pipe::new() else { return };
    let path = pipe.folder.path().join("pipe");
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
