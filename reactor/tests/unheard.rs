//! A file that was opened for somebody who has gone away.

use futures_lite::future::{block_on, poll_once};
use peu_reactor::file::{Call, OpenOptions, Tiers};
use peu_reactor::{Offload, Reactor};
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

/// Whatever takes longer hangs, also on a slow machine.
const LIMIT: Duration = Duration::from_secs(60);

type Job = Box<dyn FnOnce() + Send>;

/// Jobs that wait until the test does them.
#[derive(Default)]
struct Kept(Mutex<Vec<Job>>);

impl Kept {
    fn take(&self) -> Vec<Job> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Offload for Kept {
    fn offload(&self, job: Job) -> io::Result<()> {
        self.0.lock().unwrap().push(job);
        Ok(())
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// How many descriptors this process has on a file.
fn descriptors(path: &Path) -> usize {
    let path = path.canonicalize().unwrap();
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    all.filter(|entry| {
        let leads_to = std::fs::read_link(entry.as_ref().unwrap().path());
        leads_to.is_ok_and(|leads_to| leads_to == path)
    })
    .count()
}

/// It may be a server's, and to close it is then to wait for that: threads do so, not the turn that hears of it, nor the task that
/// drops its future.
#[test]
fn what_nobody_hears_of_is_closed_by_a_thread() {
    let file = tempfile::NamedTempFile::new().unwrap();
    if !Path::new("/proc/self/fd").exists() {
        eprintln!("no /proc here: the test of who closes is left out");
        return;
    }
    for is_heard in [false, true] {
        let kept = Arc::new(Kept::default());
        let builder = Reactor::builder().offload(kept.clone());
        let reactor = builder.file_tiers(Tiers::RING).build().unwrap();
        let options = OpenOptions {
            read: true,
            ..OpenOptions::default()
        };
        let call = Call::open(file.path(), &options).unwrap();
        let mut opening = Box::pin(reactor.perform(call));
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        assert!(block_on(poll_once(&mut opening)).is_none());
        assert!(
            opening
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        if reactor.files().metrics().no_ring.is_some() {
            eprintln!("no io_uring here: threads open it, and the test is left out");
            return;
        }
        assert_eq!(kept.take().len(), 0, "the ring opens it");
        let begin = Instant::now();
        while !woken.0.load(Ordering::SeqCst) {
            assert!(begin.elapsed() < LIMIT, "it hangs");
            reactor.turn(Some(Duration::from_millis(5))).unwrap();
        }
        if is_heard {
            drop(block_on(opening));
            assert_eq!(kept.take().len(), 0, "it was heard of");
        } else {
            drop(opening);
            assert_eq!(descriptors(file.path()), 2, "it is still open");
            let jobs = kept.take();
            assert_eq!(jobs.len(), 1);
            jobs.into_iter().for_each(|job| job());
        }
        assert_eq!(descriptors(file.path()), 1, "the test's own");
        reactor.close();
    }
}
