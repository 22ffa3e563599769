//! The runtimes that tasks are measured on, each used as its own users would.

use futures_lite::AsyncReadExt as _;
use std::future::Future;
use std::io;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Duration;

/// A runtime with workers. Dropping it stops them.
pub trait Peer: Sized + 'static {
    /// What tables call it.
    const NAME: &'static str;

    /// Starts it.
    ///
    /// # Errors
    ///
    /// When a thread or what it waits with can't be had.
    fn start(workers: usize) -> io::Result<Self>;

    /// Runs `future` on the calling thread, which is no worker.
    fn block_on(&self, future: impl Future<Output = ()>);

    /// Does `task` on the only worker of a new runtime.
    fn run(task: impl Future<Output = ()> + Send + 'static);

    /// Starts a task; what is returned waits for it, and keeps it.
    fn spawn(task: impl Future<Output = ()> + Send + 'static) -> impl Future + Send;

    /// Starts a task that nobody waits for.
    fn detach(task: impl Future<Output = ()> + Send + 'static);

    /// Lets other tasks run.
    fn yield_now() -> impl Future + Send;

    /// Waits for a time.
    fn sleep(time: Duration) -> impl Future + Send + 'static;

    /// Waits for the one byte that the other end sends, or for its end.
    fn receive(stream: UnixStream) -> impl Future<Output = ()> + Send;
}

/// peu's runtime.
pub struct Peu(peu::Runtime);

impl Peer for Peu {
    const NAME: &'static str = "peu";

    fn start(workers: usize) -> io::Result<Peu> {
        peu::Runtime::builder().workers(workers).build().map(Peu)
    }

    fn block_on(&self, future: impl Future<Output = ()>) {
        self.0.block_on(future);
    }

    fn run(task: impl Future<Output = ()> + Send + 'static) {
        let Peu(runtime) = Peu::start(1).expect("a runtime");
        runtime.block_on(runtime.spawn(task)).expect("no panic");
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) -> impl Future + Send {
        peu::spawn(task)
    }

    fn detach(task: impl Future<Output = ()> + Send + 'static) {
        drop(peu::spawn(task));
    }

    fn yield_now() -> impl Future + Send {
        peu::task::yield_now()
    }

    fn sleep(time: Duration) -> impl Future + Send + 'static {
        peu::time::sleep(time)
    }

    async fn receive(stream: UnixStream) {
        let mut stream = peu::net::UnixStream::from_std(stream).expect("a socket");
        let _ = stream.read(&mut [0]).await;
    }
}

/// tokio's multi-threaded runtime.
pub struct Tokio(tokio::runtime::Runtime);

impl Peer for Tokio {
    const NAME: &'static str = "tokio";

    fn start(workers: usize) -> io::Result<Tokio> {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .enable_all()
            .build()
            .map(Tokio)
    }

    fn block_on(&self, future: impl Future<Output = ()>) {
        self.0.block_on(future);
    }

    fn run(task: impl Future<Output = ()> + Send + 'static) {
        let Tokio(runtime) = Tokio::start(1).expect("a runtime");
        runtime.block_on(runtime.spawn(task)).expect("no panic");
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) -> impl Future + Send {
        tokio::spawn(task)
    }

    fn detach(task: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(task));
    }

    fn yield_now() -> impl Future + Send {
        tokio::task::yield_now()
    }

    fn sleep(time: Duration) -> impl Future + Send + 'static {
        tokio::time::sleep(time)
    }

    async fn receive(stream: UnixStream) {
        use tokio::io::AsyncReadExt as _;
        stream.set_nonblocking(true).expect("a socket");
        let mut stream = tokio::net::UnixStream::from_std(stream).expect("a socket");
        let _ = stream.read(&mut [0]).await;
    }
}

/// smol: async-executor on threads that wait with async-io.
pub struct Smol {
    stop: Option<smol::channel::Sender<()>>,
    workers: Vec<JoinHandle<()>>,
}

static EXECUTOR: smol::Executor<'static> = smol::Executor::new();

impl Drop for Smol {
    fn drop(&mut self) {
        drop(self.stop.take());
        for worker in self.workers.drain(..) {
            worker.join().expect("no panic");
        }
    }
}

impl Peer for Smol {
    const NAME: &'static str = "smol";

    fn start(workers: usize) -> io::Result<Smol> {
        let (stop, stopped) = smol::channel::bounded::<()>(1);
        let start = |_| {
            let stopped = stopped.clone();
            std::thread::Builder::new().spawn(move || {
                // An error says that it is dropped.
                let _ = smol::block_on(EXECUTOR.run(stopped.recv()));
            })
        };
        Ok(Smol {
            workers: (0..workers).map(start).collect::<io::Result<_>>()?,
            stop: Some(stop),
        })
    }

    fn block_on(&self, future: impl Future<Output = ()>) {
        futures_lite::future::block_on(future);
    }

    fn run(task: impl Future<Output = ()> + Send + 'static) {
        smol::block_on(EXECUTOR.run(EXECUTOR.spawn(task)));
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) -> impl Future + Send {
        EXECUTOR.spawn(task)
    }

    fn detach(task: impl Future<Output = ()> + Send + 'static) {
        EXECUTOR.spawn(task).detach();
    }

    fn yield_now() -> impl Future + Send {
        smol::future::yield_now()
    }

    fn sleep(time: Duration) -> impl Future + Send + 'static {
        smol::Timer::after(time)
    }

    async fn receive(stream: UnixStream) {
        let mut stream = smol::net::unix::UnixStream::try_from(stream).expect("a socket");
        let _ = stream.read(&mut [0]).await;
    }
}
