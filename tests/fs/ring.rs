//! Files while a worker is stuck, and a runtime that ends while they are read and written.

use crate::{SETS, folder, runtime};
use futures_lite::future::poll_once;
use peu::Runtime;
use peu::fs::{self, File, Tiers};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::Poll;

/// Property P1 holds for files: a worker that has handed calls in, and is stuck then, keeps nobody else from his, and not
/// even the kernel from its own.
#[test]
fn a_stuck_worker_holds_back_no_file() {
    for tiers in SETS {
        let folder = folder();
        let path = folder.path().join("a");
        std::fs::write(&path, vec![7; 400_000]).unwrap();
        let runtime = runtime(tiers);
        let file = Arc::new(runtime.block_on(File::open(path)).unwrap());
        let (release, stuck) = mpsc::channel();
        let (begun, has_begun) = mpsc::channel();
        let prisoner = runtime.spawn({
            let file = file.clone();
            async move {
                let mut read = pin!(file.read_at(vec![0; 300_000], 0));
                let early = poll_once(&mut read).await;
                begun.send(()).unwrap();
                stuck.recv().unwrap();
                match early {
                    Some(done) => done,
                    None => read.await,
                }
            }
        });
        has_begun.recv().unwrap();
        let free = runtime.spawn(async move {
            let mut buffer = vec![0; 300_000];
            for offset in 0..50 {
                buffer = file.read_at(buffer, offset).await.unwrap().1;
            }
            release.send(()).unwrap();
        });
        runtime.block_on(free).unwrap();
        let (count, buffer) = runtime.block_on(prisoner).unwrap().unwrap();
        assert_eq!((count, buffer[299_999]), (300_000, 7));
    }
}

/// The worker is busy, so its next turn may be far away: a thread that waits for one future tells the kernel by itself.
#[test]
fn a_thread_beside_the_workers_waits_for_no_turn() {
    let folder = folder();
    let path = folder.path().join("a");
    std::fs::write(&path, [7; 100]).unwrap();
    let builder = Runtime::builder().workers(1).file_tiers(Tiers::RING);
    let runtime = builder.build().unwrap();
    let file = runtime.block_on(File::open(path)).unwrap();
    if runtime.metrics().files.no_ring.is_some() {
        eprintln!("no io_uring here: the test of who tells the kernel is left out");
        return;
    }
    let (release, stuck) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    runtime.spawn(async move {
        begun.send(()).unwrap();
        let _ = stuck.recv();
    });
    has_begun.recv().unwrap();
    let submissions = || runtime.metrics().files.ring_submissions;
    let before = submissions();
    let mut read = pin!(file.read_at(vec![0; 100], 0));
    let mut polls = 0;
    runtime.block_on(poll_fn(|context| {
        polls += 1;
        if polls == 2 {
            assert_eq!(submissions(), before + 1);
            return Poll::Ready(());
        }
        assert!(read.as_mut().poll(context).is_pending());
        context.waker().wake_by_ref();
        Poll::Pending
    }));
    drop(release);
    assert_eq!(runtime.block_on(read).unwrap().0, 100);
}

#[test]
fn a_runtime_ends_while_files_are_read_and_written() {
    for tiers in SETS {
        let folder = folder();
        let path = folder.path().join("a");
        std::fs::write(&path, vec![7; 400_000]).unwrap();
        for stop_after in [0, 1, 5, 30] {
            let runtime = runtime(tiers);
            let (done, is_done) = mpsc::channel();
            for number in 0..30 {
                let (path, done) = (path.clone(), done.clone());
                runtime.spawn(async move {
                    loop {
                        let file = File::open(&path).await?;
                        file.read_at(vec![0; 300_000], number).await?;
                        fs::write(path.with_extension(number.to_string()), "x").await?;
                        file.sync_data().await?;
                        let _ = done.send(());
                    }
                    #[expect(unreachable_code, reason = "it says what the errors are")]
                    std::io::Result::Ok(())
                });
            }
            is_done.iter().take(stop_after).for_each(drop);
            drop(runtime);
        }
    }
}

/// Whatever order they come in, a dropped future's file is closed once nobody uses it any more.
#[test]
fn dropped_futures_leave_no_descriptor() {
    for tiers in [Tiers::ALL, Tiers::RING, Tiers::POOL] {
        let folder = folder();
        let path = folder.path().join("a");
        std::fs::write(&path, "x").unwrap();
        let runtime = runtime(tiers);
        runtime.block_on(async {
            for _ in 0..300 {
                drop(poll_once(pin!(File::open(&path))).await);
                drop(poll_once(pin!(fs::read(&path))).await);
                drop(poll_once(pin!(File::create(path.with_extension("b")))).await);
            }
        });
        drop(runtime);
        let inside = folder.path().canonicalize().unwrap();
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        let open = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        assert_eq!(open.filter(|path| path.starts_with(&inside)).count(), 0);
    }
}
