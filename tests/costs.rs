//! What things cost, in counts: allocations, bytes, system calls, wake-ups. Counts repeat where times do not.
//!
//! Each test measures inside a task on a runtime's only worker, so that what is counted for that thread is that of the
//! runtime and of the task, and of nothing else.

#[path = "costs/counting.rs"]
mod counting;

use counting::{allocations, bytes};
use futures_lite::future::poll_fn;
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use peu::net::{TcpListener, TcpStream};
use peu::reactor::Direction;
use peu::task::yield_now;
use peu::time::sleep;
use peu::{Async, Handle, LocalRuntime, Runtime};
use std::cell::Cell;
use std::future::Future;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Enough for a count that does not depend on how things began.
const ROUNDS: usize = 100;

fn runtime() -> Runtime {
    Runtime::builder().workers(1).build().unwrap()
}

/// Runs a task on the only worker of a new runtime.
fn on_worker<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = runtime();
    runtime.block_on(runtime.spawn(task)).unwrap()
}

/// Twice as many rounds; allocations are counted in the second half.
#[derive(Default)]
struct Rounds {
    done: usize,
    before: usize,
}

impl Rounds {
    fn another(&mut self) -> bool {
        if self.done == ROUNDS {
            self.before = allocations();
        }
        self.done += 1;
        self.done <= 2 * ROUNDS
    }

    fn allocations(&self) -> usize {
        allocations() - self.before
    }
}

#[test]
fn the_counter_counts() {
    let before = (allocations(), bytes());
    let kept = vec![0_u8; 1_000];
    assert_eq!(allocations() - before.0, 1);
    assert_eq!(bytes().wrapping_sub(before.1), 1_000);
    drop(kept);
    assert_eq!(bytes(), before.1);
}

/// A task is one allocation, and a worker has it once: what it gets back it uses again.
#[test]
fn a_task_is_one_allocation_or_none() {
    /// Fewer than a worker keeps, and than its ring holds.
    const BURST: usize = 200;
    async fn burst<const BYTES: usize>() -> usize {
        let before = allocations();
        let mut tasks = Vec::with_capacity(BURST);
        tasks.extend((0..BURST).map(|_| {
            let future = [1_u8; BYTES];
            peu::spawn(async move {
                peu::task::yield_now().await;
                std::hint::black_box(future);
            })
        }));
        for task in tasks {
            task.await.unwrap();
        }
        // The vector is the other one.
        allocations() - before - 1
    }
    let count = on_worker(async {
        let mut rounds = Rounds::default();
        while rounds.another() {
            peu::spawn(async {}).await.unwrap();
        }
        rounds.allocations()
    });
    assert_eq!(count, 0);
    let bursts = on_worker(async { [burst::<8>().await, burst::<8>().await] });
    assert_eq!(bursts, [BURST, 0]);
    let large = on_worker(async { [burst::<600>().await, burst::<600>().await] });
    assert_eq!(large, [BURST, BURST]);
}

#[test]
fn yielding_and_timers_allocate_nothing() {
    let count = on_worker(async {
        let mut rounds = Rounds::default();
        while rounds.another() {
            yield_now().await;
            sleep(Duration::from_micros(1)).await;
        }
        rounds.allocations()
    });
    assert_eq!(count, 0);
}

/// Two tasks that wake each other in turn.
#[test]
fn a_wake_of_another_task_allocates_nothing() {
    let count = on_worker(async {
        let baton = Arc::new(Baton::default());
        let partner = peu::spawn({
            let baton = baton.clone();
            async move {
                while baton.wait_for(1).await {
                    baton.pass_to(0);
                }
            }
        });
        let mut rounds = Rounds::default();
        while rounds.another() {
            baton.pass_to(1);
            baton.wait_for(0).await;
        }
        let count = rounds.allocations();
        baton.close();
        partner.await.unwrap();
        count
    });
    assert_eq!(count, 0);
}

/// Whose turn it is, and who waits for his.
#[derive(Default)]
struct Baton {
    turn: AtomicUsize,
    closed: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl Baton {
    fn pass_to(&self, whom: usize) {
        self.turn.store(whom, Ordering::Relaxed);
        let waiting = self.waiting.lock().unwrap().take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.pass_to(1);
    }

    /// `false`: there will be no more turns.
    async fn wait_for(&self, me: usize) -> bool {
        poll_fn(|context| {
            if self.turn.load(Ordering::Relaxed) == me {
                return Poll::Ready(!self.closed.load(Ordering::Relaxed));
            }
            *self.waiting.lock().unwrap() = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// Both ends of a connection.
async fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    let (server, _) = listener.accept().await?;
    Ok((client, server))
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = [0; 64];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

/// Each round reads and writes on both ends, and both ends wait.
#[test]
fn reading_and_writing_allocates_nothing() {
    let count = on_worker(async {
        let (mut client, server) = connection().await.unwrap();
        let echo = peu::spawn(echo(server));
        let mut rounds = Rounds::default();
        while rounds.another() {
            client.write_all(&[1; 64]).await.unwrap();
            client.read_exact(&mut [0; 64]).await.unwrap();
        }
        let count = rounds.allocations();
        drop(client);
        echo.await.unwrap().unwrap();
        count
    });
    assert_eq!(count, 0);
}

#[test]
fn accepting_allocates_the_stream_and_nothing_else() {
    on_worker(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connect = || std::net::TcpStream::connect(address).unwrap();
        let mut accepted = Rounds::default();
        while accepted.another() {
            let _client = connect();
            drop(listener.accept().await.unwrap());
        }
        let accepted = accepted.allocations();
        let mut made = Rounds::default();
        while made.another() {
            drop(TcpStream::from_std(connect()).unwrap());
        }
        let made = made.allocations();
        assert_eq!(accepted, made);
    });
}

/// So many hold a list that doubles when it grows without room to spare.
const MANY: usize = 8_192;

/// What each of so many holds of this thread's memory.
fn bytes_each(before: usize) -> usize {
    bytes().wrapping_sub(before) / MANY
}

/// A future of 8 bytes that never ends.
struct Idle(#[expect(dead_code, reason = "its size")] u64);

impl Future for Idle {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// The figures hold where a pointer has 8 bytes.
#[cfg(target_pointer_width = "64")]
#[test]
fn the_memory_of_an_idle_task() {
    let each = on_worker(async {
        let mut handles = Vec::with_capacity(MANY);
        let before = bytes();
        for _ in 0..MANY {
            handles.push(peu::spawn(Idle(1)));
            yield_now().await;
        }
        bytes_each(before)
    });
    assert_eq!(each, 88);
}

/// The timer itself, beyond the future that waits for it.
#[test]
fn the_memory_of_a_sleeping_timer() {
    let each = on_worker(async {
        let mut timers: Vec<_> = std::iter::repeat_with(|| sleep(Duration::from_secs(3_600)))
            .take(MANY)
            .collect();
        let before = bytes();
        poll_fn(|context| {
            for timer in &mut timers {
                assert!(pin!(timer).poll(context).is_pending());
            }
            Poll::Ready(())
        })
        .await;
        bytes_each(before)
    });
    assert_eq!(each, 40);
}

/// A connection that a task waits on for something to read: stream, task and all.
#[test]
fn the_memory_of_an_idle_connection() {
    const CONNECTIONS: usize = 1_024;
    let each = on_worker(async {
        let mut there = Vec::with_capacity(CONNECTIONS);
        let mut handles = Vec::with_capacity(CONNECTIONS);
        let before = bytes();
        for _ in 0..CONNECTIONS {
            let (here, other) = UnixStream::pair().unwrap();
            there.push(other);
            let mut here = peu::net::UnixStream::from_std(here).unwrap();
            handles.push(peu::spawn(async move { here.read(&mut [0; 1]).await }));
            yield_now().await;
        }
        bytes().wrapping_sub(before) / CONNECTIONS
    });
    assert_eq!(each, 240);
}

#[test]
fn a_socket_costs_two_epoll_ctl_over_its_life() {
    const SOCKETS: u64 = 20;
    let (before, after) = on_worker(async {
        let before = Handle::current().metrics().reactor;
        for _ in 0..SOCKETS / 2 {
            let (here, there) = UnixStream::pair().unwrap();
            let mut here = peu::net::UnixStream::from_std(here).unwrap();
            let there = peu::net::UnixStream::from_std(there).unwrap();
            let echo = peu::spawn(echo(there));
            for _ in 0..ROUNDS {
                here.write_all(&[1; 64]).await.unwrap();
                here.read_exact(&mut [0; 64]).await.unwrap();
            }
            drop(here);
            echo.await.unwrap().unwrap();
        }
        (before, Handle::current().metrics().reactor)
    });
    assert_eq!(after.registrations - before.registrations, SOCKETS);
    assert_eq!(after.deregistrations - before.deregistrations, SOCKETS);
}

/// 64 connections in step, and a host that takes a turn when all requests are there: no read or write is tried in vain,
/// and one question to the operating system brings all events.
#[test]
fn a_request_is_one_read_and_one_write_and_its_share_of_a_turn() {
    const CONNECTIONS: usize = 64;
    let runtime = LocalRuntime::new().unwrap();
    let _inside = runtime.enter();
    let (clients, servers): (Vec<_>, Vec<_>) =
        std::iter::repeat_with(|| UnixStream::pair().unwrap())
            .take(CONNECTIONS)
            .unzip();
    let calls = Rc::new(Cell::new(0));
    for server in servers {
        let server = Async::new(server).unwrap();
        drop(runtime.spawn_local(counted_echo(server, calls.clone())));
    }
    // Each has found nothing to read, and waits.
    runtime.turn(usize::MAX);
    let turns = || runtime.metrics().reactor.turns;
    let begin = (calls.get(), turns());
    for _ in 0..ROUNDS {
        clients
            .iter()
            .for_each(|mut client| client.write_all(&[1; 64]).unwrap());
        runtime.turn(usize::MAX);
        clients
            .iter()
            .for_each(|mut client| client.read_exact(&mut [0; 64]).unwrap());
    }
    assert_eq!(calls.get() - begin.0, 2 * CONNECTIONS * ROUNDS);
    assert_eq!(turns() - begin.1, ROUNDS as u64);
}

/// Reads and writes as the streams of `peu::net` do, and counts the system calls.
async fn counted_echo(stream: Async<UnixStream>, calls: Rc<Cell<usize>>) -> io::Result<()> {
    let (source, mut socket) = (stream.source(), stream.get_ref());
    let mut buffer = [0; 256];
    loop {
        let asked = buffer.len();
        let mut read = || {
            calls.set(calls.get() + 1);
            socket.read(&mut buffer)
        };
        let n = poll_fn(|context| source.poll_transfer(Direction::Read, context, asked, &mut read))
            .await?;
        if n == 0 {
            return Ok(());
        }
        let mut write = || {
            calls.set(calls.get() + 1);
            socket.write(&buffer[..n])
        };
        let written =
            poll_fn(|context| source.poll_transfer(Direction::Write, context, n, &mut write));
        assert_eq!(written.await?, n);
    }
}

/// From the same worker, and from another thread while the worker runs.
#[test]
fn a_wake_of_a_running_worker_writes_to_no_descriptor() {
    let unparks = on_worker(async {
        let unparks = || Handle::current().metrics().reactor.unparks;
        let before = unparks();
        for _ in 0..ROUNDS {
            peu::spawn(async {}).await.unwrap();
        }
        let baton = Arc::new(Baton::default());
        for _ in 0..ROUNDS {
            baton.pass_to(1);
            let there = baton.clone();
            poll_fn(move |context| wake_from_another_thread(&there, context)).await;
        }
        unparks() - before
    });
    assert_eq!(unparks, 0);
}

/// Pending once; by the time that it says so, another thread has woken it, and ended.
fn wake_from_another_thread(baton: &Arc<Baton>, context: &mut Context<'_>) -> Poll<()> {
    if baton.turn.load(Ordering::Relaxed) == 0 {
        return Poll::Ready(());
    }
    *baton.waiting.lock().unwrap() = Some(context.waker().clone());
    let there = baton.clone();
    std::thread::spawn(move || there.pass_to(0)).join().unwrap();
    Poll::Pending
}
