//! The state word of a task: wakes, runs, aborts, cancellations and the ends of all handles, against each other.
//!
//! Whatever the order: a wake leads to a poll that sees what the waker wrote before it; a future and a result are dropped
//! exactly once; nobody touches a future that somebody else has; and in the end the task's memory is freed.
//!
//! twin: task-pause-forgets-wake
//! twin: task-wake-scheduled-by-load
//! twin: task-cancel-claims-running
//! twin: task-relaxed-transitions
//! twin: task-references-late
//! twin: task-reference-to-no-poll
//! twin: owned-list-unlooked

#![cfg(loom)]

use loom::sync::atomic::AtomicUsize;
use loom::sync::atomic::Ordering::{self, SeqCst};
use loom::thread;
use peu_loom_tests::model;
use peu_scheduler::internals::{TestScheduler, cancel_now};
use peu_scheduler::task::{JoinError, JoinHandle};
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// What the task of a run works with. It is not in the task itself: a twin that drops a future twice is to be caught by an
/// assertion, before anybody follows a pointer that is gone.
#[derive(Clone, Default)]
struct World {
    signals: Arc<AtomicUsize>,
    // What follows is none of loom's, which would only add interleavings.
    waker: Arc<Mutex<Option<Waker>>>,
    futures: Arc<std::sync::atomic::AtomicUsize>,
    results: Arc<std::sync::atomic::AtomicUsize>,
}

std::thread_local! {
    // loom runs all threads of a model on one of the system's.
    static WORLD: RefCell<World> = RefCell::default();
}

impl World {
    fn new() -> World {
        WORLD.with(|world| {
            world.replace(World::default());
        });
        World::get()
    }

    fn get() -> World {
        WORLD.with(|world| world.borrow().clone())
    }

    fn dropped(&self) -> (usize, usize) {
        (self.futures.load(SeqCst), self.results.load(SeqCst))
    }
}

/// What is to be dropped once: the future's part, which takes its own waker with it, and the result.
enum Token {
    Future,
    Result,
}

impl Drop for Token {
    fn drop(&mut self) {
        let world = World::get();
        let (what, drops) = match self {
            Token::Future => ("a future", &world.futures),
            Token::Result => ("a result", &world.results),
        };
        assert_eq!(drops.fetch_add(1, SeqCst), 0, "{what} is dropped twice");
        if matches!(self, Token::Future) {
            let waker = world.waker.lock().unwrap().take();
            drop(waker);
        }
    }
}

/// A task that is ready when it has been signalled often enough. Signals are Relaxed: only the wake that comes with
/// one makes it visible.
struct Signalled {
    wanted: usize,
    _future: Token,
    result: Option<Token>,
}

impl Signalled {
    fn new(wanted: usize) -> Signalled {
        Signalled {
            wanted,
            _future: Token::Future,
            result: Some(Token::Result),
        }
    }
}

impl Future for Signalled {
    type Output = Token;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Token> {
        let world = World::get();
        if world.signals.load(Ordering::Relaxed) == self.wanted {
            return Poll::Ready(self.result.take().expect("polled once when ready"));
        }
        // Cloned and dropped outside the lock, which loom doesn't see.
        let waker = cx.waker().clone();
        let old = world.waker.lock().unwrap().replace(waker);
        drop(old);
        Poll::Pending
    }
}

/// A scheduler with one such task, polled once, and what the test needs to go on.
struct Setting {
    scheduler: TestScheduler,
    world: World,
    handle: Option<JoinHandle<Token>>,
    waker: Option<Waker>,
}

impl Setting {
    fn new(scheduler: TestScheduler, wanted: usize) -> Setting {
        let world = World::new();
        let handle = scheduler.spawn(Signalled::new(wanted));
        scheduler.run_all();
        let waker = world.waker.lock().unwrap().take();
        Setting {
            scheduler,
            world,
            handle: Some(handle),
            waker,
        }
    }

    /// A thread that signals and wakes, by value or by reference.
    fn signal_on_a_thread(&self, by_value: bool) -> thread::JoinHandle<()> {
        let (signals, waker) = (self.world.signals.clone(), self.waker.clone().unwrap());
        thread::spawn(move || {
            signals.fetch_add(1, Ordering::Relaxed);
            if by_value {
                waker.wake();
            } else {
                waker.wake_by_ref();
            }
        })
    }

    /// The result of a task that must have ended, and not by a panic (which is what a failed check inside a poll becomes).
    fn result(&mut self) -> Result<Token, JoinError> {
        let mut handle = self.handle.take().unwrap();
        assert!(handle.is_finished(), "a wake was lost");
        let polled = Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(result) = polled else {
            panic!("finished and pending")
        };
        if let Err(error) = &result {
            assert!(!error.is_panic(), "{error}");
        }
        result
    }

    /// Everything was dropped once, and the task's memory is free.
    fn end(mut self) {
        self.waker = None;
        self.handle = None;
        self.scheduler.run_all();
        assert_eq!(self.world.dropped(), (1, 1));
        assert_eq!((self.scheduler.alive(), self.scheduler.holders()), (0, 1));
    }
}

/// Two threads signal and wake while a third runs the task: it must see both.
fn two_wakes(scheduler: fn() -> TestScheduler, by_value: bool) {
    model(move || {
        let mut setting = Setting::new(scheduler(), 2);
        let threads = [0, 1].map(|_| setting.signal_on_a_thread(by_value));
        setting.scheduler.run_all();
        for thread in threads {
            thread.join().unwrap();
        }
        setting.scheduler.run_all();
        drop(setting.result().expect("not cancelled"));
        setting.end();
    });
}

#[test]
fn no_wake_by_reference_is_lost() {
    two_wakes(TestScheduler::new, false);
}

#[test]
fn no_wake_by_value_is_lost() {
    two_wakes(TestScheduler::new, true);
}

#[test]
fn no_wake_on_an_own_worker_is_lost() {
    two_wakes(TestScheduler::inside, true);
}

/// What a second thread does to a task that a first one wakes and the main thread runs. Whoever comes first, the
/// future and the result are dropped once.
fn against_a_run(other: fn(JoinHandle<Token>, TestScheduler)) {
    model(move || {
        let mut setting = Setting::new(TestScheduler::new(), 1);
        let waking = setting.signal_on_a_thread(true);
        let (handle, scheduler) = (setting.handle.take().unwrap(), setting.scheduler.clone());
        let other = thread::spawn(move || other(handle, scheduler));
        setting.scheduler.run_all();
        waking.join().unwrap();
        other.join().unwrap();
        setting.end();
    });
}

#[test]
fn dropping_the_handle_against_a_run() {
    against_a_run(|handle, _| drop(handle));
}

#[test]
fn aborting_against_a_run() {
    against_a_run(|handle, _| handle.abort());
}

#[test]
fn cancelling_in_place_against_a_run() {
    against_a_run(|handle, _| cancel_now(handle.abort_handle()));
}

#[test]
fn a_second_worker_against_a_run() {
    against_a_run(|handle, scheduler| {
        scheduler.run_all();
        drop(handle);
    });
}

#[test]
fn throwing_the_queue_away_against_a_run() {
    against_a_run(|handle, scheduler| {
        scheduler.drop_one();
        drop(handle);
        // The task may not have been in the queue yet; the other's wake or its run then ends it.
    });
}

#[test]
fn shutting_down_against_a_run() {
    against_a_run(|handle, scheduler| {
        scheduler.shutdown();
        assert!(handle.is_finished() || scheduler.alive() <= 1);
    });
}

/// A handle that sees the end sees the result, whoever brought the end about.
#[test]
fn the_first_to_finish_wins() {
    model(|| {
        let mut setting = Setting::new(TestScheduler::new(), 1);
        let waking = setting.signal_on_a_thread(false);
        let abort_handle = setting.handle.as_ref().unwrap().abort_handle();
        let aborting = thread::spawn(move || abort_handle.abort());
        setting.scheduler.run_all();
        waking.join().unwrap();
        aborting.join().unwrap();
        setting.scheduler.run_all();
        match setting.result() {
            Ok(token) => drop(token),
            Err(error) => assert!(error.is_cancelled()),
        }
        setting.end();
    });
}

/// Cancelled from two sides at once, in place and through the queue.
#[test]
fn two_cancellations() {
    model(|| {
        let mut setting = Setting::new(TestScheduler::new(), 1);
        let abort_handle = setting.handle.as_ref().unwrap().abort_handle();
        let aborting = thread::spawn({
            let abort_handle = abort_handle.clone();
            move || abort_handle.abort()
        });
        let cancelling = thread::spawn(move || cancel_now(abort_handle));
        setting.scheduler.run_all();
        aborting.join().unwrap();
        cancelling.join().unwrap();
        setting.scheduler.run_all();
        assert!(setting.result().map(drop).unwrap_err().is_cancelled());
        setting.end();
    });
}

/// A spawn that races with the closing of the list ends cancelled or is cancelled by the closing; nothing is forgotten.
fn spawning_against_a_shutdown(scheduler: fn() -> TestScheduler) {
    model(move || {
        let scheduler = scheduler();
        let world = World::new();
        let spawning = thread::spawn({
            let (scheduler, token) = (scheduler.clone(), Token::Future);
            move || {
                let handle = scheduler.spawn(async move { drop(token) });
                scheduler.run_one();
                handle
            }
        });
        scheduler.shutdown();
        let handle = spawning.join().unwrap();
        assert!(handle.is_finished());
        drop(handle);
        assert_eq!(
            (world.dropped(), scheduler.alive(), scheduler.holders()),
            ((1, 0), 0, 1)
        );
    });
}

#[test]
fn spawning_against_a_shutdown_listed_at_once() {
    spawning_against_a_shutdown(TestScheduler::new);
}

#[test]
fn spawning_against_a_shutdown_listed_at_rest() {
    spawning_against_a_shutdown(TestScheduler::listing_at_rest);
}

/// The end of the first poll, which lists the task, against the closing of the list, and against a wake that comes first: a task that is at rest is in the
/// list or dropped.
fn coming_to_rest_against_a_shutdown(wakes_itself: bool) {
    model(move || {
        let scheduler = TestScheduler::listing_at_rest();
        let world = World::new();
        let running = thread::spawn({
            let (scheduler, token) = (scheduler.clone(), Token::Future);
            move || {
                let handle = scheduler.spawn(async move {
                    let _held = token;
                    std::future::poll_fn(|cx| {
                        if wakes_itself {
                            cx.waker().wake_by_ref();
                        }
                        Poll::<()>::Pending
                    })
                    .await;
                });
                scheduler.run_one();
                handle
            }
        });
        scheduler.shutdown();
        let handle = running.join().unwrap();
        assert!(handle.is_finished(), "a task was forgotten");
        drop(handle);
        assert_eq!(
            (world.dropped(), scheduler.alive(), scheduler.holders()),
            ((1, 0), 0, 1)
        );
    });
}

#[test]
fn coming_to_rest_against_the_end() {
    coming_to_rest_against_a_shutdown(false);
}

#[test]
fn a_yield_against_the_end() {
    coming_to_rest_against_a_shutdown(true);
}

/// Hands out more wakers, at its first poll, than there are other references to its task.
struct Generous {
    wakers: Arc<Mutex<Vec<Waker>>>,
    handed_out: Arc<AtomicUsize>,
}

impl Future for Generous {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.handed_out.load(Ordering::Relaxed) > 0 {
            return Poll::Ready(());
        }
        for _ in 0..3 {
            let waker = cx.waker().clone();
            self.wakers.lock().unwrap().push(waker);
        }
        self.handed_out.store(3, Ordering::Relaxed);
        Poll::Pending
    }
}

/// What a poll hands out is given back by another thread, maybe before the poll ends. The task lives on.
#[test]
fn wakers_are_dropped_while_their_poll_goes_on() {
    model(|| {
        let scheduler = TestScheduler::new();
        let wakers = Arc::new(Mutex::new(Vec::new()));
        drop(scheduler.spawn(Generous {
            wakers: wakers.clone(),
            handed_out: Arc::default(),
        }));
        let dropping = thread::spawn({
            let wakers = wakers.clone();
            move || {
                let taken = std::mem::take(&mut *wakers.lock().unwrap());
                drop(taken);
            }
        });
        scheduler.run_all();
        dropping.join().unwrap();
        assert_eq!(scheduler.alive(), 1, "nobody has woken it");
        let mut left = std::mem::take(&mut *wakers.lock().unwrap());
        match left.pop() {
            Some(waker) => waker.wake(),
            None => scheduler.shutdown(),
        }
        drop(left);
        scheduler.run_all();
        assert_eq!((scheduler.alive(), scheduler.holders()), (0, 1));
    });
}
