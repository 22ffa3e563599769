//! Stages on real threads: no wake-up is lost, whoever calls whom. Every test ends by itself, or is found hanging.

use futures_lite::StreamExt as _;
use futures_lite::future::block_on;
use peu_operators::{AsyncOptions, Spawn, StreamExt as _, Timer};
use std::convert::Infallible;
use std::future::{Future, Pending, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Far longer than any of this takes, on any machine.
const HANGS: Duration = Duration::from_secs(300);

fn ends(test: impl FnOnce() + Send + 'static) {
    let (ended, end) = channel();
    thread::spawn(move || {
        test();
        ended.send(()).expect("the test waits");
    });
    end.recv_timeout(HANGS)
        .expect("the test panicked, or hangs");
}

/// A thread for each task, to be joined. Nothing here needs a clock.
#[derive(Clone, Default)]
struct Threads(Arc<Mutex<Vec<JoinHandle<()>>>>);

impl Threads {
    fn join(&self) {
        let threads: Vec<_> = self.0.lock().unwrap().drain(..).collect();
        for thread in threads {
            thread.join().expect("no task panics");
        }
    }
}

impl Spawn for Threads {
    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: F) {
        let thread = thread::spawn(move || block_on(task));
        self.0.lock().unwrap().push(thread);
    }
}

impl Timer for Threads {
    type Sleep = Pending<()>;

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, _deadline: Instant) -> Pending<()> {
        pending()
    }
}

/// Two threads that double numbers.
#[derive(Clone)]
struct Service {
    askings: [Sender<Asking>; 2],
    live: Arc<AtomicUsize>,
}

struct Asking {
    number: u64,
    reply: Arc<Mutex<Reply>>,
}

#[derive(Default)]
struct Reply {
    doubled: Option<u64>,
    waker: Option<Waker>,
}

impl Service {
    fn start() -> Self {
        Self {
            askings: [Self::thread(), Self::thread()],
            live: Arc::default(),
        }
    }

    fn thread() -> Sender<Asking> {
        let (askings, asked) = channel::<Asking>();
        thread::spawn(move || {
            for Asking { number, reply } in asked {
                let mut reply = reply.lock().unwrap();
                reply.doubled = Some(2 * number);
                let waker = reply.waker.take();
                drop(reply);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
        });
        askings
    }

    fn ask(&self, number: u64) -> Double {
        let reply = Arc::<Mutex<Reply>>::default();
        let asking = Asking {
            number,
            reply: Arc::clone(&reply),
        };
        let service = &self.askings[number as usize % 2];
        service.send(asking).expect("the service runs");
        // ORDERING: Relaxed, read when the stage's thread has been joined.
        self.live.fetch_add(1, Ordering::Relaxed);
        Double {
            reply,
            live: Arc::clone(&self.live),
        }
    }

    /// How many requests exist.
    fn live(&self) -> usize {
        // ORDERING: Relaxed, read when the stage's thread has been joined.
        self.live.load(Ordering::Relaxed)
    }
}

struct Double {
    reply: Arc<Mutex<Reply>>,
    live: Arc<AtomicUsize>,
}

impl Future for Double {
    type Output = Result<u64, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut reply = self.reply.lock().unwrap();
        match reply.doubled {
            Some(doubled) => Poll::Ready(Ok(doubled)),
            None => {
                reply.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        // ORDERING: Relaxed, read when the stage's thread has been joined.
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

const RECORDS: u64 = 20_000;

/// Doubles all records, and returns them as they come.
fn double_all(options: AsyncOptions) -> Vec<u64> {
    let (threads, service) = (Threads::default(), Service::start());
    let ask = {
        let service = service.clone();
        move |number| service.ask(number)
    };
    let records = futures_lite::stream::iter(0..RECORDS);
    let outputs = records.async_map(&threads, "double", ask, options);
    let outputs = block_on(outputs.map(Result::unwrap).collect());
    threads.join();
    assert_eq!(service.live(), 0);
    outputs
}

#[test]
fn a01_ordered_on_threads() {
    ends(|| {
        for capacity in [1, 2, 100] {
            let outputs = double_all(AsyncOptions::ordered().capacity(capacity));
            assert!(outputs.into_iter().eq((0..RECORDS).map(|n| 2 * n)));
        }
    });
}

#[test]
fn a02_unordered_on_threads() {
    ends(|| {
        for capacity in [1, 2, 100] {
            let mut outputs = double_all(AsyncOptions::unordered().capacity(capacity));
            outputs.sort_unstable();
            assert!(outputs.into_iter().eq((0..RECORDS).map(|n| 2 * n)));
        }
    });
}

#[test]
fn a11_dropping_the_consumer_at_any_time_ends_the_stage() {
    ends(|| {
        for taken in 0..200 {
            let (threads, service) = (Threads::default(), Service::start());
            let ask = {
                let service = service.clone();
                move |number| service.ask(number)
            };
            let records = futures_lite::stream::iter(0..);
            let options = AsyncOptions::unordered().capacity(16);
            let outputs = records.async_map(&threads, "double", ask, options);
            assert_eq!(block_on(outputs.take(taken).count()), taken);
            threads.join();
            assert_eq!(service.live(), 0);
        }
    });
}
