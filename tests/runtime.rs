//! The runtime as a user sees it: sockets, timers and tasks together.

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use peu::net::{TcpListener, TcpStream};
use peu::time::{sleep, timeout};
use peu::{LocalRuntime, Runtime};
use std::cell::Cell;
use std::io;
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// No test waits longer: by then it hangs.
const HANGS: Duration = Duration::from_secs(30);

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().unwrap()
}

/// Echoes on every connection until it is closed.
async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    peu::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            peu::spawn(async move {
                let mut buffer = [0; 1024];
                loop {
                    let n = stream.read(&mut buffer).await?;
                    if n == 0 {
                        return Ok::<_, io::Error>(());
                    }
                    stream.write_all(&buffer[..n]).await?;
                }
            });
        }
    });
    address
}

async fn echo_once(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    stream.write_all(message).await?;
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer).await?;
    assert_eq!(answer, message);
    Ok(())
}

#[test]
fn echo_on_many_connections_and_workers() {
    for workers in [1, 2, 4] {
        let runtime = runtime(workers);
        runtime.block_on(async {
            let address = serve().await;
            let clients: Vec<_> = (0..100u32)
                .map(|client| {
                    peu::spawn(async move {
                        let mut stream = TcpStream::connect(address).await?;
                        for round in 0..20u32 {
                            echo_once(&mut stream, format!("{client}:{round}").as_bytes()).await?;
                        }
                        Ok::<_, io::Error>(())
                    })
                })
                .collect();
            for client in clients {
                timeout(HANGS, client)
                    .await
                    .expect("no hang")
                    .unwrap()
                    .unwrap();
            }
        });
    }
}

/// P1, on sockets and timers: a task that a socket woke blocks its worker for 2 s. Whoever waits is served by the other, which
/// nothing wakes but the watch: nobody spawns or wakes anything from outside meanwhile.
#[test]
fn p1_others_are_served_while_a_woken_task_blocks_its_worker() {
    let runtime = runtime(2);
    let _inside = runtime.enter();
    let (tell, told) = mpsc::channel();
    let mut triggers: Vec<_> = (0..5).map(|_| tell_when_readable(tell.clone())).collect();
    let timers: Vec<_> = [100, 200, 300].map(Duration::from_millis).into();
    let (has_begun, blocker) = block_when_readable(timers.clone(), tell);
    (&blocker).write_all(b"x").unwrap();
    has_begun.recv_timeout(HANGS).unwrap();
    let begin = Instant::now();
    for _ in timers {
        assert_eq!(told.recv_timeout(HANGS).unwrap(), "a timer");
    }
    while let Some(trigger) = triggers.pop() {
        (&trigger).write_all(b"x").unwrap();
        assert_eq!(told.recv_timeout(HANGS).unwrap(), "a socket");
    }
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "served by the other worker, not when the task has ended: {:?}",
        begin.elapsed()
    );
    assert!(runtime.metrics().workers.rescues > 0);
}

/// A task that waits for a byte from the other end, which is returned.
fn tell_when_readable(tell: mpsc::Sender<&'static str>) -> UnixStream {
    let (here, there) = UnixStream::pair().unwrap();
    let mut here = peu::net::UnixStream::from_std(here).unwrap();
    peu::spawn(async move {
        here.read_exact(&mut [0]).await.unwrap();
        tell.send("a socket").unwrap();
    });
    there
}

/// Timers, and a task that a byte from the other end wakes, and that blocks its worker then.
fn block_when_readable(
    timers: Vec<Duration>,
    tell: mpsc::Sender<&'static str>,
) -> (mpsc::Receiver<()>, UnixStream) {
    let (here, there) = UnixStream::pair().unwrap();
    let mut here = peu::net::UnixStream::from_std(here).unwrap();
    let (begun, has_begun) = mpsc::channel();
    for time in timers {
        let tell = tell.clone();
        peu::spawn(async move {
            sleep(time).await;
            tell.send("a timer").unwrap();
        });
    }
    peu::spawn(async move {
        here.read_exact(&mut [0]).await.unwrap();
        begun.send(()).unwrap();
        std::thread::sleep(Duration::from_secs(2)); // the offence
    });
    (has_begun, there)
}

/// P2: a runtime with open sockets and nothing to do makes no turn and no wake-up.
#[test]
fn p2_an_idle_runtime_does_nothing() {
    for workers in [1, 2, 8] {
        let runtime = runtime(workers);
        let _open = runtime.block_on(async {
            let mut stream = TcpStream::connect(serve().await).await.unwrap();
            echo_once(&mut stream, b"once").await.unwrap();
            stream
        });
        let seen = || {
            let metrics = runtime.metrics();
            (metrics.reactor.turns, metrics.workers)
        };
        let start = Instant::now();
        loop {
            let before = seen();
            std::thread::sleep(Duration::from_millis(300));
            if seen() == before {
                break;
            }
            assert!(
                start.elapsed() < HANGS,
                "it does not settle: {:?}",
                runtime.metrics()
            );
        }
    }
}

#[test]
fn no_epoll_ctl_per_operation() {
    let runtime = runtime(2);
    let (before, after) = runtime.block_on(async {
        let mut stream = TcpStream::connect(serve().await).await.unwrap();
        echo_once(&mut stream, b"first").await.unwrap();
        let before = peu::Handle::current().metrics().reactor;
        for _ in 0..1000 {
            echo_once(&mut stream, b"again").await.unwrap();
        }
        (before, peu::Handle::current().metrics().reactor)
    });
    assert_eq!(before.registrations, after.registrations);
    assert_eq!(before.deregistrations, after.deregistrations);
}

#[test]
fn timers_fire_in_order_and_timeouts_cut_off() {
    let runtime = runtime(2);
    runtime.block_on(async {
        let start = Instant::now();
        let (tell, told) = mpsc::channel();
        let sleepers: Vec<_> = [30u64, 10, 20]
            .map(|ms| {
                let tell = tell.clone();
                peu::spawn(async move {
                    sleep(Duration::from_millis(ms)).await;
                    tell.send((ms, start.elapsed())).unwrap();
                })
            })
            .into();
        for sleeper in sleepers {
            timeout(HANGS, sleeper).await.expect("no hang").unwrap();
        }
        for (ms, elapsed) in told.try_iter() {
            assert!(elapsed >= Duration::from_millis(ms), "never early");
        }
        let error = timeout(Duration::from_millis(5), std::future::pending::<()>()).await;
        assert!(error.is_err());
    });
}

#[test]
fn names_are_looked_up_off_the_loop() {
    let runtime = runtime(1);
    runtime.block_on(async {
        let address = serve().await;
        let mut stream = TcpStream::connect(("localhost", address.port()))
            .await
            .unwrap();
        echo_once(&mut stream, b"by name").await.unwrap();
        let error = TcpStream::connect("no.such.host.invalid:1")
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("no.such.host.invalid"),
            "{error}"
        );
    });
}

#[test]
fn sockets_that_outlive_their_runtime_say_so() {
    let first = runtime(1);
    let mut stream = first.block_on(async { TcpStream::connect(serve().await).await.unwrap() });
    drop(first);
    let second = runtime(1);
    let error = second.block_on(async move {
        let mut byte = [0];
        // The server's end went with its task, so a read may also see the end of the stream.
        match timeout(HANGS, stream.read_exact(&mut byte))
            .await
            .expect("no hang")
        {
            Ok(_) => panic!("nobody sent anything"),
            Err(error) => error,
        }
    });
    let text = error.to_string();
    assert!(
        text.contains("gone") || error.kind() == io::ErrorKind::UnexpectedEof,
        "{text}"
    );
}

#[test]
fn runtimes_live_side_by_side() {
    let (a, b) = (runtime(1), runtime(2));
    let address = a.block_on(serve());
    let there = b.spawn(async move {
        let mut stream = TcpStream::connect(address).await?;
        echo_once(&mut stream, b"from b to a").await
    });
    a.block_on(async { timeout(HANGS, there).await.expect("no hang") })
        .unwrap()
        .unwrap();
}

#[test]
fn outside_of_a_runtime_there_is_a_clear_message() {
    let error = std::panic::catch_unwind(|| drop(peu::spawn(async {}))).unwrap_err();
    let text = error.downcast_ref::<String>().expect("a message");
    assert!(text.contains("no current peu runtime"), "{text}");
}

#[test]
fn blocking_closures_are_inside_the_runtime() {
    let runtime = runtime(1);
    let nested = runtime.block_on(async {
        peu::spawn_blocking(|| peu::spawn(async { 7 }))
            .await
            .unwrap()
            .await
    });
    assert_eq!(nested.unwrap(), 7);
}

#[test]
fn shutdown_reports_what_blocks() {
    let runtime = runtime(2);
    let (release, blocked) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    drop(runtime.spawn_blocking(move || {
        begun.send(()).unwrap();
        let _ = blocked.recv_timeout(HANGS);
    }));
    has_begun.recv_timeout(HANGS).unwrap();
    let report = runtime.shutdown(Duration::from_millis(20));
    assert_eq!((report.workers.len(), report.closures), (0, 1), "{report}");
    drop(release);
}

#[test]
fn a_local_runtime_serves_what_is_not_send() {
    let runtime = LocalRuntime::new().unwrap();
    let count = Rc::new(Cell::new(0));
    runtime.block_on(async {
        let address = serve().await;
        let clients: Vec<_> = (0..10)
            .map(|_| {
                let count = count.clone();
                peu::task::spawn_local(async move {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    for _ in 0..10 {
                        echo_once(&mut stream, b"local").await.unwrap();
                        count.set(count.get() + 1);
                    }
                })
            })
            .collect();
        for client in clients {
            timeout(HANGS, client).await.expect("no hang").unwrap();
        }
    });
    assert_eq!(count.get(), 100);
}

/// A host with a loop of its own: it sleeps in its own poll on the runtime's descriptor, without a timeout of ours.
#[test]
fn a_host_drives_a_local_runtime_by_its_descriptor() {
    let runtime = LocalRuntime::new().unwrap();
    let server = self::runtime(1);
    let address = server.block_on(serve());
    let task = runtime.spawn_local(async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        for _ in 0..5 {
            sleep(Duration::from_millis(2)).await;
            echo_once(&mut stream, b"hosted").await.unwrap();
        }
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || tell.send(()).unwrap());
        peu::spawn_blocking(move || told.recv().unwrap())
            .await
            .unwrap();
        "done"
    });
    let mut host = mio::Poll::new().unwrap();
    let mut events = mio::Events::with_capacity(1);
    let descriptor = runtime.as_fd().as_raw_fd();
    let mut source = mio::unix::SourceFd(&descriptor);
    host.registry()
        .register(&mut source, mio::Token(0), mio::Interest::READABLE)
        .unwrap();
    let start = Instant::now();
    while !task.is_finished() {
        if !runtime.turn(10).more && !task.is_finished() {
            host.poll(&mut events, Some(HANGS)).unwrap();
        }
        assert!(
            start.elapsed() < HANGS,
            "the descriptor was not readable when there was something to do"
        );
    }
    assert_eq!(runtime.block_on(task).unwrap(), "done");
}

/// A host that polls the descriptor before it has ever taken a turn, and after a `block_on`.
#[test]
fn the_descriptor_tells_from_the_start_and_after_block_on() {
    let runtime = LocalRuntime::new().unwrap();
    let mut host = mio::Poll::new().unwrap();
    let descriptor = runtime.as_fd().as_raw_fd();
    let mut source = mio::unix::SourceFd(&descriptor);
    host.registry()
        .register(&mut source, mio::Token(0), mio::Interest::READABLE)
        .unwrap();
    let mut told = || {
        let mut events = mio::Events::with_capacity(1);
        host.poll(&mut events, Some(HANGS)).unwrap();
        assert!(!events.is_empty(), "the host is told");
    };
    let first = runtime.spawn_local(async {});
    told();
    while runtime.turn(10).more {}
    assert!(first.is_finished());
    runtime.block_on(async { sleep(Duration::from_millis(1)).await });
    let handle = runtime.handle().clone();
    let second = std::thread::spawn(move || handle.spawn(async {}))
        .join()
        .unwrap();
    told();
    while runtime.turn(10).more {}
    assert!(second.is_finished());
    let third = runtime.block_on(async {
        vec![peu::task::spawn_local(async {
            sleep(Duration::from_millis(20)).await
        })]
    });
    while !third[0].is_finished() {
        told();
        while runtime.turn(10).more {}
    }
}

#[test]
fn a_slow_callback_holds_back_nobody_elses_wake() {
    let runtime = runtime(2);
    let reactor = runtime.handle().reactor().clone();
    let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
    let (release, blocked) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let here = std::sync::Arc::new(peu::Async::with_reactor(here, &reactor).unwrap());
    let read = peu::reactor::operation::Read::new(here, vec![0; 1]);
    reactor
        .submit(read, move |_, result| {
            assert_eq!(result.unwrap(), 1);
            begun.send(()).unwrap();
            let _ = blocked.recv_timeout(HANGS);
        })
        .unwrap();
    io::Write::write_all(&mut &there, b"x").unwrap();
    has_begun.recv_timeout(HANGS).unwrap();
    for _ in 0..5 {
        let nap = runtime.spawn(async { sleep(Duration::from_millis(1)).await });
        runtime
            .block_on(async { timeout(HANGS, nap).await.expect("no hang") })
            .unwrap();
    }
    drop(release);
}

#[test]
fn sets_take_tasks_of_every_kind() {
    let runtime = runtime(2);
    let mut set = peu::task::JoinSet::new();
    set.spawn_on(async { 1 }, runtime.handle());
    let sum = runtime.block_on(async {
        set.spawn(async { 2 });
        set.spawn_blocking(|| 3);
        let mut sum = 0;
        while let Some(number) = set.join_next().await {
            sum += number.unwrap();
        }
        assert!(set.try_join_next().is_none());
        sum
    });
    assert_eq!(sum, 6);
    assert!(peu::Handle::try_current().is_none());
    let local = LocalRuntime::builder().build_local().unwrap();
    let mut set = peu::task::JoinSet::new();
    local.block_on(async {
        let not_send = Rc::new(7);
        set.spawn_local(async move { *not_send });
        assert_eq!(set.join_next().await.unwrap().unwrap(), 7);
        assert!(peu::Handle::try_current().is_some());
    });
    assert_eq!(local.block_on(local.spawn(async { 8 })).unwrap(), 8);
}

#[test]
fn files_name_the_path_that_failed() {
    let runtime = runtime(1);
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/file");
        let error = peu::fs::write(&path, "text").await.unwrap_err();
        assert!(
            error.to_string().contains("a/b/file") && error.kind() == io::ErrorKind::NotFound,
            "{error}"
        );
        peu::fs::create_dir_all(path.parent().unwrap())
            .await
            .unwrap();
        peu::fs::write(&path, "text").await.unwrap();
        let other = folder.path().join("other");
        peu::fs::rename(&path, &other).await.unwrap();
        assert_eq!(peu::fs::read(&other).await.unwrap(), b"text");
        assert_eq!(peu::fs::metadata(&other).await.unwrap().len(), 4);
        peu::fs::remove_file(&other).await.unwrap();
        assert!(peu::fs::read_to_string(&other).await.is_err());
    });
}

#[test]
fn settings_that_cannot_be_met_are_refused() {
    let kind = |builder: peu::Builder| builder.build().unwrap_err().kind();
    let builder = Runtime::builder;
    assert_eq!(kind(builder().workers(0)), io::ErrorKind::InvalidInput);
    assert_eq!(
        kind(builder().max_blocking_threads(0)),
        io::ErrorKind::InvalidInput
    );
    assert_eq!(
        kind(builder().thread_name("a\0b")),
        io::ErrorKind::InvalidInput
    );
    let local = builder().thread_name("a\0b").build_local();
    assert_eq!(local.unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn the_shutdown_of_a_local_runtime_reports_what_still_blocks() {
    let runtime = LocalRuntime::new().unwrap();
    let (begun, has_begun) = mpsc::channel();
    let (end, may_end) = mpsc::channel::<()>();
    let closure = runtime.handle().spawn_blocking(move || {
        begun.send(()).unwrap();
        let _ = may_end.recv();
    });
    has_begun.recv_timeout(HANGS).unwrap();
    let report = runtime.shutdown(Duration::from_millis(10));
    assert_eq!(report.closures, 1);
    drop(end);
    drop(closure);
}
