//! What all tasks of a test share: the count of those that live, a folder, and strangers, threads of no runtime, who wake them.

use crate::census::until;
use crate::random::Random;
use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;
use tempfile::TempDir;

/// How many wakers are kept beyond their tasks before the oldest are let go.
const MOST_KEPT: usize = 500;

pub(crate) struct World {
    living: AtomicUsize,
    /// Of those that were aborted with a file the files are still there.
    folder: TempDir,
    files: AtomicUsize,
    mail: Mutex<Mail>,
    has_mail: Condvar,
    /// Wakers that outlive their tasks and runtimes.
    kept: Mutex<Vec<Waker>>,
}

#[derive(Default)]
struct Mail {
    letters: Vec<Arc<Letter>>,
    closed: bool,
}

impl World {
    /// A world with `count` strangers. End them by [`close`](World::close).
    pub(crate) fn with_strangers(
        count: usize,
        random: &mut Random,
    ) -> (Arc<World>, Vec<JoinHandle<()>>) {
        let world = Arc::new(World {
            living: AtomicUsize::new(0),
            folder: tempfile::tempdir().expect("a folder for what is left"),
            files: AtomicUsize::new(0),
            mail: Mutex::default(),
            has_mail: Condvar::new(),
            kept: Mutex::default(),
        });
        let strangers = (0..count)
            .map(|_| {
                let (world, random) = (world.clone(), random.fork());
                std::thread::spawn(move || world.answer(random))
            })
            .collect();
        (world, strangers)
    }

    /// Counts one that lives until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Living {
        self.living.fetch_add(1, Ordering::Relaxed);
        Living(self.clone())
    }

    /// A name for a file, which no other has.
    pub(crate) fn new_file(&self) -> PathBuf {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        self.folder.path().join(number.to_string())
    }

    /// Waits until nobody lives any more.
    pub(crate) fn is_deserted(&self) {
        until(
            || self.living.load(Ordering::Acquire) == 0,
            || format!("{} futures live on", self.living.load(Ordering::Acquire)),
        );
    }

    /// Waits until a stranger has answered.
    pub(crate) async fn wait_for_stranger(&self) {
        let letter = Arc::new(Letter::default());
        self.post(letter.clone());
        letter.answered().await;
    }

    /// Ends the strangers, wakes what was kept a last time, and lets it go.
    pub(crate) fn close(&self, strangers: Vec<JoinHandle<()>>) {
        lock(&self.mail).closed = true;
        self.has_mail.notify_all();
        for stranger in strangers {
            stranger.join().expect("a stranger's wake never panics");
        }
        for waker in std::mem::take(&mut *lock(&self.kept)) {
            waker.wake();
        }
    }

    fn post(&self, letter: Arc<Letter>) {
        lock(&self.mail).letters.push(letter);
        self.has_mail.notify_one();
    }

    /// A stranger's life.
    fn answer(&self, mut random: Random) {
        loop {
            let mut mail = lock(&self.mail);
            while mail.letters.is_empty() && !mail.closed {
                mail = self
                    .has_mail
                    .wait(mail)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if mail.letters.is_empty() {
                return;
            }
            let chosen = random.below(mail.letters.len());
            let letter = mail.letters.swap_remove(chosen);
            drop(mail);
            if random.one_in(4) {
                self.disturb(&letter, &mut random);
            }
            letter.answer();
        }
    }

    /// Wakes in vain, now and perhaps again when the task is long gone.
    fn disturb(&self, letter: &Letter, random: &mut Random) {
        let Some(waker) = letter.waker() else { return };
        for _ in 0..random.below(3) {
            waker.wake_by_ref();
        }
        let mut kept = lock(&self.kept);
        kept.push(waker);
        let gone = (kept.len() > MOST_KEPT).then(|| kept.drain(..MOST_KEPT / 2).collect());
        drop(kept);
        let gone: Vec<Waker> = gone.unwrap_or_default();
        gone.into_iter().for_each(Waker::wake);
    }
}

/// One that is counted as living: held by futures and closures, dropped as the last of what they hold.
pub(crate) struct Living(Arc<World>);

impl Drop for Living {
    fn drop(&mut self) {
        self.0.living.fetch_sub(1, Ordering::Release);
    }
}

/// Something that one waits for and another does, once.
#[derive(Default)]
pub(crate) struct Letter(Mutex<State>);

#[derive(Default)]
enum State {
    #[default]
    Unread,
    Awaited(Waker),
    Answered,
}

impl Letter {
    pub(crate) async fn answered(&self) {
        poll_fn(|context| {
            let mut state = lock(&self.0);
            if matches!(*state, State::Answered) {
                return Poll::Ready(());
            }
            *state = State::Awaited(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(crate) fn answer(&self) {
        let before = std::mem::replace(&mut *lock(&self.0), State::Answered);
        if let State::Awaited(waker) = before {
            waker.wake();
        }
    }

    fn waker(&self) -> Option<Waker> {
        match &*lock(&self.0) {
            State::Awaited(waker) => Some(waker.clone()),
            State::Unread | State::Answered => None,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
