//! A file system that is a program: what it lets wait, interrupts, and does by halves.

use crate::program::{LENGTH, Program, byte_at};
use crate::{SETS, assert_error, runtime};
use futures_lite::future::poll_once;
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt};
use peu::Runtime;
use peu::fs::{self, File, OpenOptions, Tiers};
use peu_reactor::Reactor;
use peu_reactor::file::Call;
use rustix::fs::{AtFlags, CWD};
use std::future::Future;
use std::io::{ErrorKind::StorageFull, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tempfile::TempDir;

/// Whatever takes longer hangs, also on a slow machine.
const LIMIT: Duration = Duration::from_secs(60);

fn on_each_tier(test: impl AsyncFn(&Program)) {
    for tiers in SETS {
        // Dropped last: what is left behind in it hangs until the program is gone.
        let runtime = runtime(tiers);
        let Some(program) = Program::mount() else {
            eprintln!(
                "no right to mount, or no FUSE here: a test of other file systems is left out"
            );
            return;
        };
        runtime.block_on(test(&program));
    }
}

async fn open(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).open(path).await.unwrap()
}

fn contents() -> Vec<u8> {
    (0..LENGTH).map(byte_at).collect()
}

/// One worker, and a server that is gone: whoever does not need the server goes on. What is known of its files is in memory, so
/// that the worker is tempted to open them, to look at them, and to close them.
#[test]
#[ignore = "killed while the server is silent, it leaves a process that nobody can end, so .ci/run runs it"]
fn a_silent_server_holds_back_no_worker() {
    for tiers in SETS {
        let threads = |tiers| {
            let builder = Runtime::builder().workers(1).max_blocking_threads(8);
            builder.file_tiers(tiers).build().unwrap()
        };
        // Two, because the second knows nothing of the file system when the server falls silent.
        let (runtime, new) = (threads(tiers), threads(tiers));
        let Some(program) = Program::mount() else {
            eprintln!(
                "no right to mount, or no FUSE here: the test of a silent server is left out"
            );
            return;
        };
        let path = program.file("sound");
        let opened = || runtime.block_on(open(&path));
        let (file, to_drop) = (Arc::new(opened()), opened());
        assert_eq!(runtime.block_on(fs::read(&path)).unwrap(), contents());

        let silence = program.silence();
        goes_on(&runtime, async move { drop(to_drop) });
        let reader = file.clone();
        let late = [
            goes_on(&new, reads_whole(path.clone())),
            goes_on(&runtime, reads_whole(path.clone())),
            goes_on(&runtime, async move {
                assert_eq!(reader.read_at(vec![0; LENGTH], 0).await.unwrap().0, LENGTH);
            }),
            goes_on(&runtime, async move {
                assert_eq!(file.metadata().await.unwrap().len(), LENGTH as u64);
            }),
            goes_on(&runtime, async move { drop(open(&path).await) }),
        ];
        drop(silence);
        for over in late {
            over.recv_timeout(LIMIT)
                .expect("it ends when the server is back");
        }
    }
}

/// What waits for the server has threads of its own, and what nobody has begun is dropped without asking the server.
#[test]
#[ignore = "killed while the server is silent, it leaves a process that nobody can end, so .ci/run runs it"]
fn a_runtime_ends_although_a_server_is_silent() {
    for tiers in SETS {
        let builder = Runtime::builder().workers(1).max_blocking_threads(2);
        let runtime = builder.file_tiers(tiers).build().unwrap();
        let Some(program) = Program::mount() else {
            eprintln!(
                "no right to mount, or no FUSE here: the test of an end beside a silent server is left out"
            );
            return;
        };
        let path = program.file("sound");
        let mut files: Vec<File> = (0..8).map(|_| runtime.block_on(open(&path))).collect();
        let (outlives, mut to_write) = (files.pop().unwrap(), files.pop().unwrap());

        let silence = program.silence();
        // Up to two hold the pool's threads, the others are in its queue.
        let mut waiting: Vec<_> = (files.drain(..4))
            .map(|file| goes_on(&runtime, async move { drop(file.sync_all().await) }))
            .collect();
        waiting.push(goes_on(&runtime, async move {
            to_write.write_all(b"accepted").await.unwrap();
            to_write.flush().await.unwrap();
        }));
        drop(files.pop());
        let held = files.pop();
        runtime.spawn(async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        let (end, ended) = mpsc::channel();
        std::thread::spawn(move || end.send(runtime.shutdown(Duration::from_millis(50))));
        let report = ended.recv_timeout(LIMIT).expect("it waits for nobody");
        assert!(report.closures > 0, "it waits: {report}");
        let (closed, is_closed) = mpsc::channel();
        std::thread::spawn(move || {
            drop(outlives);
            closed.send(()).unwrap();
        });
        is_closed
            .recv_timeout(LIMIT)
            .expect("nor does who has a file of its");
        drop(silence);
    }
}

async fn reads_whole(path: PathBuf) {
    assert!(fs::read(path).await.unwrap() == contents());
}

/// Begins it, and returns when the worker that has begun it does something else. The end is told later.
fn goes_on(
    runtime: &Runtime,
    work: impl Future<Output = ()> + Send + 'static,
) -> mpsc::Receiver<()> {
    let ((begun, has_begun), (end, ended)) = (mpsc::channel(), mpsc::channel());
    runtime.spawn(async move {
        let mut work = pin!(work);
        let early = poll_once(&mut work).await;
        begun.send(()).unwrap();
        if early.is_none() {
            work.await;
        }
        // Not everybody wants to know.
        let _ = end.send(());
    });
    has_begun
        .recv_timeout(LIMIT)
        .expect("the worker waits for the server");
    ended
}

#[test]
fn what_comes_by_halves_comes_whole() {
    on_each_tier(async |program| {
        let path = program.file("halves");
        let mut file = open(&path).await;
        let (count, buffer) = file.read_at(vec![0; LENGTH + 1], 0).await.unwrap();
        assert_eq!(count, LENGTH);
        assert!(buffer[..count] == contents());
        let (count, buffer) = file.read_at(vec![0; 50_000], 70_001).await.unwrap();
        assert!(count == 29_999 && buffer[..count] == contents()[70_001..]);
        let mut all = Vec::new();
        file.read_to_end(&mut all).await.unwrap();
        assert!(all == contents() && fs::read(&path).await.unwrap() == contents());

        file.write_all_at(contents(), 5).await.unwrap();
        assert!(program.written() == contents());
        futures_lite::AsyncSeekExt::seek(&mut file, SeekFrom::Start(7))
            .await
            .unwrap();
        file.write_all(&contents()).await.unwrap();
        file.flush().await.unwrap();
        assert!(program.written() == [contents(), contents()].concat());
    });
}

#[test]
fn what_is_interrupted_is_done_again() {
    on_each_tier(async |program| {
        let path = program.file("interrupted");
        let all = interrupted(program, fs::read(&path)).await;
        assert!(all == contents());
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let mut file = interrupted(program, options.open(&path)).await;
        let (count, _) = interrupted(program, file.read_at(vec![0; LENGTH], 0)).await;
        assert_eq!(count, LENGTH);
        let mut all = Vec::new();
        interrupted(program, file.read_to_end(&mut all)).await;
        assert!(all == contents());
        interrupted(program, file.write_all_at(contents(), 0)).await;
        assert!(program.written() == contents());
        interrupted(program, async {
            file.write_all(b"at the end").await?;
            file.sync_all().await
        })
        .await;
        interrupted(program, file.sync_data()).await;
        assert!(program.written().ends_with(b"at the end"));
        interrupted(program, file.set_len(5)).await;
        let permissions = interrupted(program, file.metadata()).await.permissions();
        interrupted(program, file.set_permissions(permissions.clone())).await;
        interrupted(program, fs::set_permissions(&path, permissions)).await;
        assert!(interrupted(program, fs::metadata(&path)).await.is_file());
        let about = interrupted(program, fs::symlink_metadata(&path)).await;
        assert!(about.is_file());
        assert!(interrupted(program, fs::try_exists(&path)).await);
    });
}

#[test]
fn what_is_interrupted_in_a_folder_is_done_again() {
    on_each_tier(async |program| {
        let name = |name| program.file(name);
        let (path, other) = (name("interrupted"), name("interrupted-name"));
        interrupted(program, fs::create_dir(&other)).await;
        interrupted(program, fs::remove_dir(&other)).await;
        let deep = name("interrupted-folder");
        interrupted(program, fs::create_dir_all(&deep)).await;
        interrupted(program, fs::rename(&deep, &other)).await;
        interrupted(program, fs::remove_dir_all(&other)).await;
        interrupted(program, fs::hard_link(&path, &other)).await;
        interrupted(program, fs::remove_file(&other)).await;
        interrupted(program, fs::symlink("sound", &other)).await;
        let target = interrupted(program, fs::read_link(&other)).await;
        assert_eq!(target, Path::new("sound"));
        let target = interrupted(program, fs::canonicalize(&other)).await;
        assert_eq!(target, name("sound").canonicalize().unwrap());

        let listing = fs::read_dir(program.folder());
        let entries = interrupted(program, async { listing.await?.try_collect().await }).await;
        let entries: Vec<fs::DirEntry> = entries;
        let mut names: Vec<_> = entries.iter().map(fs::DirEntry::file_name).collect();
        names.sort();
        let expected = ["full", "halves", "interrupted", "interrupted-name", "sound"];
        assert_eq!(names, expected);
        let link = entries.iter().find(|entry| entry.path() == other).unwrap();
        assert!(link.file_type().is_symlink());
        assert!(interrupted(program, link.metadata()).await.is_symlink());
    });
}

/// What it brings although each kind of request that it makes is interrupted, once.
async fn interrupted<T>(program: &Program, work: impl Future<Output = std::io::Result<T>>) -> T {
    program.interrupt_once();
    let done = work.await.expect("it is done again");
    assert!(program.has_interrupted(), "nothing was interrupted");
    done
}

#[test]
fn an_error_of_the_program_is_told_with_the_path() {
    on_each_tier(async |program| {
        let path = program.file("full");
        let mut file = open(&path).await;
        let error = file.write_all_at(contents(), 0).await;
        assert_error(error, StorageFull, "cannot write to", &path);
        file.write_all(b"accepted").await.unwrap();
        assert_error(file.sync_all().await, StorageFull, "cannot write to", &path);
        file.sync_all().await.expect("it was told once");
        let missing = program.file("missing");
        let error = fs::read(&missing).await;
        assert_error(error, std::io::ErrorKind::NotFound, "cannot read", &missing);
    });
}

/// The list of file systems is heeded: nothing is opened or looked at in the calling task.
#[test]
fn nothing_of_a_program_is_touched_by_the_task() {
    let runtime = runtime(Tiers::ALL);
    let Some(program) = Program::mount() else {
        eprintln!("no right to mount, or no FUSE here: the test of who asks a program is left out");
        return;
    };
    runtime.block_on(async {
        let path = program.file("sound");
        for _ in 0..2 {
            assert!(fs::read(&path).await.unwrap() == contents());
            assert!(open(&path).await.metadata().await.unwrap().is_file());
            assert!(fs::metadata(program.folder()).await.unwrap().is_dir());
        }
        // Its folder is an entry of one that is here.
        let mut beside = fs::read_dir(program.folder().parent().unwrap())
            .await
            .unwrap();
        while let Some(entry) = beside.next().await {
            let entry = entry.unwrap();
            if entry.path() == program.folder() {
                assert!(entry.metadata().await.unwrap().is_dir());
            }
        }
    });
    let files = runtime.metrics().files;
    assert_eq!(files.now, 0, "{files:?}");
    assert!(files.refused >= 2, "{files:?}");
    assert_eq!(files.ring, 0, "{files:?}");
}

/// What is mounted gets the device's number of what is gone, unless another test was faster: then once more.
#[test]
fn what_is_mounted_where_something_was_is_not_taken_for_it() {
    let runtime = runtime(Tiers::ALL);
    for _ in 0..20 {
        let folder = crate::folder();
        if !mounts_have_numbers(folder.path()) || run("mount -t tmpfs peu", &folder).is_none() {
            eprintln!("mounts have no numbers, or no right to mount: a test of both is left out");
            return;
        }
        let path = folder.path().join("sound");
        std::fs::write(&path, "here").unwrap();
        let device = |path: &Path| std::fs::metadata(path).unwrap().dev();
        let former = device(&path);
        assert!(runtime.block_on(fs::metadata(&path)).unwrap().is_file());
        let before = runtime.metrics().files.now;
        run("umount", &folder).expect("nobody uses it");

        let Some(program) = Program::mount_at(folder) else {
            eprintln!("no FUSE here: a test of what is mounted after another is left out");
            return;
        };
        runtime.block_on(async {
            assert!(fs::read(&path).await.unwrap() == contents());
            assert!(open(&path).await.metadata().await.unwrap().is_file());
            assert!(fs::metadata(program.folder()).await.unwrap().is_dir());
        });
        let files = runtime.metrics().files;
        assert_eq!(files.now, before, "{files:?}");
        if device(program.folder()) == former {
            return;
        }
    }
    eprintln!("no device's number came again: that test had nothing to mistake");
}

/// From Linux 6.8 on (`STATX_MNT_ID_UNIQUE`).
fn mounts_have_numbers(path: &Path) -> bool {
    let number = rustix::fs::StatxFlags::from_bits_retain(0x4000);
    let told = rustix::fs::statx(CWD, path, AtFlags::empty(), number);
    told.is_ok_and(|told| told.stx_mask & number.bits() != 0)
}

/// Runs a command of words about a folder.
fn run(command: &str, folder: &TempDir) -> Option<()> {
    let mut words = command.split(' ');
    let mut command = Command::new(words.next()?);
    let done = command.args(words).arg(folder.path()).output().ok()?;
    done.status.success().then_some(())
}

/// The ring would wait for the program, and read what comes by halves twice. A reactor that has nothing else says so.
#[test]
fn the_ring_alone_reads_nothing_of_a_program() {
    let Some(program) = Program::mount() else {
        eprintln!("no right to mount, or no FUSE here: a test of the ring is left out");
        return;
    };
    let builder = Reactor::builder().file_tiers(Tiers::RING);
    let reactor = builder.build().unwrap();
    let file = Arc::new(std::fs::File::open(program.file("halves")).unwrap());
    let (tell, told) = mpsc::channel();
    let call = Call::read(file, vec![0; LENGTH], 0, Some(0));
    reactor.submit_call(call, move |_, answer| tell.send(answer).unwrap());
    let error = told.try_recv().expect("told at once").unwrap_err();
    assert!(error.to_string().contains("no threads"), "{error}");
    reactor.close();
}
