//! What a task may do. Every action ends by itself, unless a wake was lost.

use crate::random::Random;
use crate::world::{Letter, World};
use futures_lite::future::poll_once;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use peu::fs;
use peu::net::{TcpListener, TcpStream, UnixStream};
use peu::process::Command;
use peu::reactor::operation::Read;
use peu::task::{JoinError, JoinSet, yield_now};
use peu::time::{sleep, timeout};
use peu::{Async, Handle};
use std::future::pending;
use std::io::{Read as _, Write};
use std::net::Shutdown;
use std::os::unix::net;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Instant;

/// The longest sleep, in microseconds: some of them fall into the same tick of the wheel, most don't.
const LONGEST_NAP: usize = 3000;

/// Does one thing.
pub(crate) async fn act(random: &mut Random, world: &Arc<World>) {
    match random.below(12) {
        0 => step_aside(random).await,
        1 => nap(random).await,
        2 => world.wait_for_stranger().await,
        3 => block(random, world).await,
        4 => converse(random, world).await,
        5 => accept(random, world).await,
        6 => operate(random, world).await,
        7 => hang_up(random, world).await,
        8 => panic(world).await,
        9 => keep(random, world).await,
        10 => start_child(random).await,
        _ => compute(random),
    }
}

/// A task may have been cancelled, by an abort or with its runtime, but nothing here panics unasked.
pub(crate) fn calm<T>(outcome: Result<T, JoinError>) -> Option<T> {
    outcome
        .inspect_err(|error| assert!(error.is_cancelled(), "{error}"))
        .ok()
}

pub(crate) async fn step_aside(random: &mut Random) {
    for _ in 0..random.below(10) {
        yield_now().await;
    }
}

/// Timers that are set, moved to earlier and later, waited for, and given up.
pub(crate) async fn nap(random: &mut Random) {
    let mut nap = sleep(random.micros(LONGEST_NAP));
    let moves = random.below(3);
    for _ in 0..moves {
        let _ = poll_once(&mut nap).await;
        nap.reset(Instant::now() + random.micros(LONGEST_NAP));
    }
    match random.below(3) {
        0 => nap.await,
        1 => drop(poll_once(&mut nap).await),
        _ => {
            let limit = random.micros(LONGEST_NAP);
            assert!(timeout(limit, pending::<()>()).await.is_err());
        }
    }
}

/// A blocking closure that is waited for, aborted, or left alone.
async fn block(random: &mut Random, world: &Arc<World>) {
    let (living, pause) = (world.enter(), random.micros(300));
    let job = peu::spawn_blocking(move || {
        std::thread::sleep(pause);
        drop(living);
        7
    });
    match random.below(3) {
        0 => assert!(calm(job.await).is_none_or(|seven| seven == 7)),
        1 => {
            job.abort();
            calm(job.await);
        }
        _ => drop(job),
    }
}

/// A stream whose reader is aborted, or whose writer leaves, in the middle.
async fn converse(random: &mut Random, world: &Arc<World>) {
    let (mut here, mut there) = UnixStream::pair().expect("descriptors enough");
    let living = world.enter();
    let reader = peu::spawn(async move {
        let _living = living;
        let (mut received, mut buffer) = (0, [0; 512]);
        while let n @ 1.. = there.read(&mut buffer).await.expect("a whole stream") {
            received += n;
        }
        received
    });
    let mut sent = 0;
    for _ in 0..random.below(4) {
        let chunk = vec![1; 1 + random.below(2000)];
        if here.write_all(&chunk).await.is_err() {
            break;
        }
        sent += chunk.len();
        step_aside(random).await;
    }
    if random.one_in(3) {
        reader.abort();
    }
    drop(here);
    if let Some(received) = calm(reader.await) {
        assert_eq!(received, sent);
    }
}

/// A listener with several who wait for a connection, of whom one gets it, while the others are dropped as they wait.
async fn accept(random: &mut Random, world: &Arc<World>) {
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.expect("a port"));
    let address = listener.local_addr().expect("it is bound");
    let mut waiters = JoinSet::new();
    for _ in 0..1 + random.below(3) {
        let (listener, living) = (listener.clone(), world.enter());
        waiters.spawn(async move {
            let _living = living;
            drop(listener.accept().await);
        });
    }
    if random.one_in(2) {
        drop(TcpStream::connect(address).await);
        waiters.join_next().await.map(calm);
    }
}

/// A socket that several wait for, in both directions, and that is shut down, closed by its peer, or left by them, as they wait.
async fn hang_up(random: &mut Random, world: &Arc<World>) {
    let (here, there) = net::UnixStream::pair().expect("descriptors enough");
    let here = Arc::new(Async::new(here).expect("a runtime that is open"));
    let mut waiters = JoinSet::new();
    for _ in 0..1 + random.below(2) {
        let (reader, living) = (here.clone(), world.enter());
        waiters.spawn(async move {
            let _living = living;
            let read = reader
                .read_with(|mut stream| stream.read(&mut [0; 16]))
                .await;
            assert!(read.is_err() || matches!(read, Ok(0)), "nobody writes");
        });
        let (writer, living) = (here.clone(), world.enter());
        waiters.spawn(async move {
            let _living = living;
            // Waits when nothing more fits.
            while let Ok(1..) = writer
                .write_with(|mut stream| stream.write(&[0; 4096]))
                .await
            {}
        });
    }
    step_aside(random).await;
    match random.below(3) {
        0 => drop(here.get_ref().shutdown(Shutdown::Both)),
        1 => drop(there),
        _ => waiters.abort_all(),
    }
    while let Some(ended) = waiters.join_next().await {
        calm(ended);
    }
}

/// An owned operation that is finished by data, by the end of the stream, or by a cancellation; its callback comes once.
async fn operate(random: &mut Random, world: &Arc<World>) {
    let (here, mut there) = net::UnixStream::pair().expect("descriptors enough");
    let here = Arc::new(Async::new(here).expect("a runtime that is open"));
    let (letter, living) = (Arc::new(Letter::default()), world.enter());
    let reactor = Handle::current().reactor().clone();
    let told = letter.clone();
    let key = reactor
        .submit(Read::new(here, vec![0; 16]), move |read, _| {
            assert_eq!(read.into_buffer().len(), 16);
            drop(living);
            told.answer();
        })
        .expect("a runtime that is open");
    step_aside(random).await;
    match random.below(3) {
        0 => there.write_all(b"data").expect("a socket with room"),
        1 => drop(reactor.cancel(key)),
        _ => {}
    }
    drop(there);
    letter.answered().await;
}

/// A file that is written, read and removed, or left in the middle of that.
async fn keep(random: &mut Random, world: &Arc<World>) {
    let path = world.new_file();
    let bytes = vec![7; random.below(20_000)];
    fs::write(&path, bytes.clone()).await.expect("room for it");
    if random.one_in(3) {
        drop(timeout(random.micros(100), fs::read(&path)).await);
    }
    assert!(fs::read(&path).await.expect("it is there") == bytes);
    fs::remove_file(&path).await.expect("it is there still");
}

/// A child that is waited for, killed, or left. Killed when it is dropped, it outlives no runtime.
async fn start_child(random: &mut Random) {
    let mut command = Command::new("true");
    let mut child = command.kill_on_drop(true).spawn().expect("a process");
    match random.below(3) {
        0 => assert!(child.wait().await.expect("it is ours").success()),
        1 => child.kill().await.expect("it is ours"),
        _ => {}
    }
}

/// A panic that stays within its task. Not by `panic!`, which would print it.
async fn panic(world: &Arc<World>) {
    let living = world.enter();
    let task = peu::spawn(async move {
        let _living = living;
        yield_now().await;
        resume_unwind(Box::new("as it must"));
    });
    let error = task.await.map(|()| "it panics").unwrap_err();
    assert!(error.is_cancelled() || error.is_panic());
}

/// A poll that keeps its worker, sometimes longer than the watch is patient.
fn compute(random: &mut Random) {
    let longest = if random.one_in(50) { 15_000 } else { 100 };
    let (begin, length) = (Instant::now(), random.micros(longest));
    while begin.elapsed() < length {
        std::hint::spin_loop();
    }
}
