//! The runtimes, as far as the deeds need them. Each has one worker, where the deeds are done.

use futures_lite::AsyncReadExt as _;
use std::future::Future;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A runtime. All of it is to be used as its own users would.
pub(crate) trait Peer: 'static {
    /// Does `task` on the only worker of a new runtime.
    fn run(task: impl Future<Output = ()> + Send + 'static);

    /// Starts a task; what is returned waits for it, and keeps it.
    fn spawn(task: impl Future<Output = ()> + Send + 'static) -> impl Future + Send;

    fn yield_now() -> impl Future + Send;

    fn sleep(time: Duration) -> impl Future + Send;

    /// Waits for the one byte that the other end sends, or for its end.
    fn receive(stream: UnixStream) -> impl Future<Output = ()> + Send;
}

pub(crate) struct Peu;

impl Peer for Peu {
    fn run(task: impl Future<Output = ()> + Send + 'static) {
        let runtime = peu::Runtime::builder().workers(1).build();
        let runtime = runtime.expect("a runtime");
        runtime.block_on(runtime.spawn(task)).expect("no panic");
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) -> impl Future + Send {
        peu::spawn(task)
    }

    fn yield_now() -> impl Future + Send {
        peu::task::yield_now()
    }

    fn sleep(time: Duration) -> impl Future + Send {
        peu::time::sleep(time)
    }

    async fn receive(stream: UnixStream) {
        let mut stream = peu::net::UnixStream::from_std(stream).expect("a socket");
        let _ = stream.read(&mut [0]).await;
    }
}

pub(crate) struct Tokio;

impl Peer for Tokio {
    fn run(task: impl Future<Output = ()> + Send + 'static) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        runtime.block_on(runtime.spawn(task)).expect("no panic");
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) -> impl Future + Send {
        tokio::spawn(task)
    }

    fn yield_now() -> impl Future + Send {
        tokio::task::yield_now()
    }

    fn sleep(time: Duration) -> impl Future + Send {
        tokio::time::sleep(time)
    }

    async fn receive(stream: UnixStream) {
        use tokio::io::AsyncReadExt as _;
        stream.set_nonblocking(true).expect("a socket");
        let mut stream = tokio::net::UnixStream::from_std(stream).expect("a socket");
        let _ = stream.read(&mut [0]).await;
    }
}

pub(crate) struct Smol;

static EXECUTOR: smol::Executor<'static> = smol::Executor::new();

impl Peer for Smol {
    fn run(task: impl Future<Output = ()> + Send + 'static) {
        smol::block_on(EXECUTOR.run(EXECUTOR.spawn(task)));
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) -> impl Future + Send {
        EXECUTOR.spawn(task)
    }

    fn yield_now() -> impl Future + Send {
        smol::future::yield_now()
    }

    fn sleep(time: Duration) -> impl Future + Send {
        smol::Timer::after(time)
    }

    async fn receive(stream: UnixStream) {
        let mut stream = smol::net::unix::UnixStream::try_from(stream).expect("a socket");
        let _ = stream.read(&mut [0]).await;
    }
}
