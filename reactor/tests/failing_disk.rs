//! A disk that fails, signals at the worst time, and a file that nobody holds any more: each call says what happened, once.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

#[path = "support/filter.rs"]
mod filter;

use filter::forbid;
use peu_reactor::file::{Answer, Call, OpenOptions, Tiers};
use peu_reactor::{Offload, Reactor};
use std::fs::File;
use std::io::Write;
use std::os::unix::thread::JoinHandleExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use std::{io, thread};

/// Whatever takes longer hangs, also on a slow machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Threads, on which one system call may fail.
struct Threads(Option<(i64, i32)>);

impl Offload for Threads {
    fn offload(&self, job: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        let failing = self.0;
        let run = move || {
            if let Some((call, error)) = failing {
                forbid(call, error);
            }
            job();
        };
        thread::Builder::new().spawn(run).map(drop)
    }
}

fn answer(reactor: &Reactor, call: Call) -> io::Result<Answer> {
    let (told, answer) = mpsc::channel();
    reactor.submit_call(call, move |_, answer| told.send(answer).unwrap());
    let begin = Instant::now();
    loop {
        match answer.try_recv() {
            Ok(answer) => return answer,
            Err(_) => _ = reactor.turn(Some(Duration::from_millis(1))).unwrap(),
        }
        assert!(begin.elapsed() < LIMIT, "it hangs");
    }
}

#[test]
fn what_the_disk_says_is_what_the_caller_hears() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let file = Arc::new(File::create_new(&path).unwrap());
    let write = || Call::write(file.clone(), vec![7; 100], Some(0));
    let cases: [(i64, i32, Call); 6] = [
        (
            libc::SYS_pread64,
            libc::EIO,
            Call::read(file.clone(), vec![0; 9], 0, Some(0)),
        ),
        (libc::SYS_pwrite64, libc::EIO, write()),
        (libc::SYS_pwrite64, libc::ENOSPC, write()),
        (libc::SYS_fsync, libc::EIO, Call::sync(file.clone(), false)),
        (
            libc::SYS_fdatasync,
            libc::EIO,
            Call::sync(file.clone(), true),
        ),
        (
            libc::SYS_openat,
            libc::ENFILE,
            Call::open(&path, &to_read()).unwrap(),
        ),
    ];
    for (call, error, request) in cases {
        let builder = Reactor::builder().offload(Arc::new(Threads(Some((call, error)))));
        let reactor = builder.file_tiers(Tiers::POOL).build().unwrap();
        let told = answer(&reactor, request).unwrap_err();
        assert_eq!(told.raw_os_error(), Some(error), "{told}");
        // One that failed has left nothing behind: the next is done.
        assert!(answer(&reactor, Call::job(|| ())).is_ok());
        assert!(format!("{reactor:?}").contains("pending: 0"), "{reactor:?}");
    }
}

fn to_read() -> OpenOptions {
    OpenOptions {
        read: true,
        ..OpenOptions::default()
    }
}

/// A call holds its file. Else, when its caller lets go of it, the number would be the next one's, and so would the bytes.
#[test]
fn a_file_is_open_as_long_as_somebody_works_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str, byte: u8| {
        let path = folder.path().join(name);
        std::fs::write(&path, [byte; 1000]).unwrap();
        path
    };
    let (wanted, other) = (make("wanted", 1), make("other", 2));
    for tiers in [Tiers::ALL, Tiers::RING, Tiers::POOL] {
        let builder = Reactor::builder().offload(Arc::new(Threads(None)));
        let reactor = builder.file_tiers(tiers).build().unwrap();
        for _ in 0..50 {
            let (told, answer) = mpsc::channel();
            let file = Arc::new(File::open(&wanted).unwrap());
            let call = Call::read(file, vec![0; 1000], 0, Some(0));
            reactor.submit_call(call, move |call, _| told.send(call.into_buffer()).unwrap());
            let others: Vec<File> = (0..20).map(|_| File::open(&other).unwrap()).collect();
            let buffer = loop {
                match answer.try_recv() {
                    Ok(buffer) => break buffer,
                    Err(_) => _ = reactor.turn(Some(Duration::from_millis(1))).unwrap(),
                }
            };
            assert_eq!(buffer, [1; 1000], "{tiers:?}");
            drop(others);
        }
    }
}

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::SeqCst);
}

/// From here on the signal interrupts system calls, which fail then (no SA_RESTART).
fn let_the_signal_interrupt() {
    // SAFETY: all zeroes are a valid sigaction: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count as *const () as usize;
    // SAFETY: the handler only adds to an atomic, and `action` outlives the call.
    let done = unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) };
    assert_eq!(done, 0);
}

/// One thread that does all jobs, and that can be sent signals.
struct OneThread(Mutex<mpsc::Sender<Box<dyn FnOnce() + Send>>>);

impl Offload for OneThread {
    fn offload(&self, job: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        self.0.lock().unwrap().send(job).unwrap();
        Ok(())
    }
}

/// A thread that waits for the other end of a pipe, and then for its bytes, is sent signals all the time.
#[test]
fn signals_end_no_call() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&path).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("no mkfifo here: the test of signals is left out");
        return;
    }
    let_the_signal_interrupt();
    let (jobs, queue) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
    let thread = thread::spawn(move || queue.into_iter().for_each(|job| job()));
    let id = thread.as_pthread_t();
    let interrupt = || {
        let before = SIGNALS.load(Ordering::SeqCst);
        while SIGNALS.load(Ordering::SeqCst) < before + 20 {
            // SAFETY: the thread is joined only after the last signal, so its number is its own.
            assert_eq!(unsafe { libc::pthread_kill(id, libc::SIGUSR1) }, 0);
            thread::yield_now();
        }
    };
    let builder = Reactor::builder().offload(Arc::new(OneThread(Mutex::new(jobs))));
    let reactor = builder.file_tiers(Tiers::POOL).build().unwrap();

    let (file, mut writer) = interrupted_open(&reactor, &path, &interrupt);
    let (told, answer) = mpsc::channel();
    let read = Call::read(file, vec![0; 9], 0, None);
    reactor.submit_call(read, move |call, outcome| {
        told.send((call.into_buffer(), outcome)).unwrap();
    });
    interrupt();
    writer.write_all(b"nine byte").unwrap();
    let (buffer, outcome) = answer.recv_timeout(LIMIT).unwrap();
    assert!(matches!(outcome, Ok(Answer::Bytes(9))), "{outcome:?}");
    assert_eq!(buffer, b"nine byte");
    reactor.close();
    drop(reactor);
    thread.join().unwrap();
}

/// Both ends of the pipe; the one that is read was opened by the thread that is interrupted.
fn interrupted_open(reactor: &Reactor, path: &Path, interrupt: &impl Fn()) -> (Arc<File>, File) {
    let (told, answer) = mpsc::channel();
    let open = Call::open(path, &to_read()).unwrap();
    reactor.submit_call(open, move |_, outcome| told.send(outcome).unwrap());
    interrupt();
    let writer = File::options().write(true).open(path).unwrap();
    match answer.recv_timeout(LIMIT).unwrap() {
        Ok(Answer::File(file)) => (Arc::new(file), writer),
        other => panic!("{other:?}"),
    }
}
