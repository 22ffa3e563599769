//! What goes wrong underneath: it is told, once, with the path, and nothing hangs.

use crate::{SETS, assert_error, errno_of, folder, names, on_each_tier, runtime};
use futures_lite::future::BoxedLocal;
use futures_lite::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use peu::fs::{self, File, OpenOptions};
use peu::{Handle, Runtime};
use std::io::ErrorKind::{NotSeekable, StorageFull};
use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;

#[test]
fn a_file_that_is_cut_while_it_is_read_ends_there() {
    on_each_tier(async |folder| {
        let path = folder.join("a");
        std::fs::write(&path, vec![1; 1_000_000]).unwrap();
        let mut file = File::open(&path).await.unwrap();
        let mut buffer = vec![0; 100_000];
        file.read_exact(&mut buffer).await.unwrap();
        let cut = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        cut.set_len(10).unwrap();
        let mut rest = Vec::new();
        file.read_to_end(&mut rest).await.unwrap();
        assert!(
            rest.len() <= 2 * 256 * 1024,
            "no more than was read ahead: {}",
            rest.len()
        );
        assert_eq!(file.read_at(buffer, 50_000).await.unwrap().0, 0);
        assert_eq!(file.read_at(vec![0; 20], 0).await.unwrap().0, 10);
    });
}

#[test]
fn a_file_that_grows_and_shrinks_under_many_readers() {
    on_each_tier(async |folder| {
        let path = folder.join("a");
        std::fs::write(&path, vec![7; 100_000]).unwrap();
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let path = path.clone();
                peu::spawn(async move {
                    let file = File::open(&path).await.unwrap();
                    let mut buffer = vec![7; 100_000];
                    for _ in 0..200 {
                        let count;
                        (count, buffer) = file.read_at(buffer, 0).await.unwrap();
                        // Zeroes are what the file was filled up with after it had been cut.
                        assert!(buffer[..count].iter().all(|byte| [0, 7].contains(byte)));
                    }
                })
            })
            .collect();
        let file = fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .await
            .unwrap();
        for round in 0..200 {
            file.set_len(round % 2 * 100_000).await.unwrap();
        }
        for reader in readers {
            reader.await.unwrap();
        }
    });
}

/// A tmpfs of 256 KiB, unmounted when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None without the right to mount.
    fn mount(at: &Path) -> Option<SmallDisk> {
        let arguments = ["-t", "tmpfs", "-o", "size=256k", "tmpfs"];
        let done = Command::new("mount").args(arguments).arg(at).output();
        let mounted = done.is_ok_and(|output| output.status.success());
        mounted.then(|| SmallDisk(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()), "umount");
    }
}

#[test]
fn a_full_disk_is_told_with_the_path() {
    for tiers in SETS {
        let folder = folder();
        let Some(disk) = SmallDisk::mount(folder.path()) else {
            eprintln!("no right to mount a small tmpfs here: the test of a full disk is left out");
            return;
        };
        runtime(tiers).block_on(fill(&disk.0));
    }
}

async fn fill(disk: &Path) {
    let path = disk.join("state");
    fs::write_atomic(&path, "kept").await.unwrap();
    let error = fs::write_atomic(&path, vec![0; 1 << 20]).await;
    assert_error(error, StorageFull, "cannot write", &path);
    assert_eq!(fs::read(&path).await.unwrap(), b"kept");
    assert_eq!(names(disk), ["state"], "nothing half written is left");

    let path = disk.join("log");
    let mut file = File::create(&path).await.unwrap();
    let written = file.write_all(&vec![0; 1 << 20]).await;
    let told = if written.is_err() {
        written
    } else {
        file.flush().await
    };
    assert_error(told, StorageFull, "cannot write to", &path);
    file.flush().await.expect("it was told once");
    let error = file.write_all_at(vec![0; 1 << 20], 0).await;
    assert_error(error, StorageFull, "cannot write to", &path);
    file.set_len(0).await.unwrap();
    file.write_all_at(b"room again".to_vec(), 0).await.unwrap();
    let error = fs::copy(Path::new("/proc/self/exe"), disk.join("copy")).await;
    assert_eq!(error.unwrap_err().kind(), StorageFull);
}

/// A runtime may end before a thread has begun what was accepted.
#[test]
fn what_was_accepted_is_written_at_the_end_of_the_runtime() {
    for tiers in SETS {
        let folder = folder();
        let path = folder.path().join("a");
        let builder = Runtime::builder().workers(1).max_blocking_threads(1);
        let runtime = builder.file_tiers(tiers).build().unwrap();
        let file = runtime.block_on(File::create(&path)).unwrap();
        accept_behind(runtime.handle(), |write| runtime.block_on(write), file);
        drop(runtime);
        assert_eq!(std::fs::read(&path).unwrap(), b"accepted", "{tiers:?}");

        let builder = Runtime::builder().max_blocking_threads(1);
        let runtime = builder.file_tiers(tiers).build_local().unwrap();
        let file = runtime.block_on(File::create(&path)).unwrap();
        accept_behind(runtime.handle(), |write| runtime.block_on(write), file);
        drop(runtime);
        assert_eq!(std::fs::read(&path).unwrap(), b"accepted", "{tiers:?}");
    }
}

/// Writes while the only thread is in a job that ends when the runtime has begun to cancel the others.
fn accept_behind(runtime: &Handle, block_on: impl FnOnce(BoxedLocal<()>), mut file: File) {
    let (release, gate) = mpsc::channel::<()>();
    drop(runtime.spawn_blocking(move || gate.recv()));
    // The youngest is cancelled first: whatever the write is to the pool, it is younger than this.
    drop(runtime.spawn_blocking(move || drop(release)));
    block_on(Box::pin(async move {
        file.write_all(b"accepted").await.unwrap();
    }));
}

/// A file may outlive its runtime: what needs its threads then says so, and does not hang.
#[test]
fn after_the_runtime() {
    for tiers in SETS {
        let folder = folder();
        let path = folder.path().join("a");
        let runtime = runtime(tiers);
        let mut file = runtime.block_on(File::create(&path)).unwrap();
        drop(runtime);
        futures_lite::future::block_on(async {
            file.write_all(b"accepted").await.unwrap();
            let error = file.flush().await.unwrap_err().to_string();
            assert!(
                error.contains("runtime is gone") && error.contains("cannot write to"),
                "{error}"
            );
            let error = file.set_len(1).await.unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("cannot set the length of {}: ", path.display())),
                "{error}"
            );
        });
    }
}

#[test]
fn a_pipe_by_name_is_read_like_a_file() {
    on_each_tier(async |folder| {
        let path = folder.join("pipe");
        if !Command::new("mkfifo")
            .arg(&path)
            .status()
            .is_ok_and(|done| done.success())
        {
            eprintln!("no mkfifo here: the test of a pipe is left out");
            return;
        }
        let written = path.clone();
        let writer = std::thread::spawn(move || std::fs::write(written, "through the pipe"));
        let mut file = File::open(&path).await.unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "through the pipe");
        writer.join().unwrap().unwrap();
    });
}

/// As with a terminal: what is written has nothing to do with what was read.
#[test]
fn a_write_to_what_can_not_be_sought_in_leaves_what_is_unread() {
    on_each_tier(async |folder| {
        let path = folder.join("pipe");
        let Ok(mut made) = Command::new("mkfifo").arg(&path).spawn() else {
            eprintln!("no mkfifo here: the test of a pipe is left out");
            return;
        };
        assert!(made.wait().unwrap().success());
        let mut both = OpenOptions::new();
        both.read(true).write(true);
        let mut file = both.open(&path).await.unwrap();
        file.write_all(b"ab").await.unwrap();
        file.flush().await.unwrap();
        let (mut first, mut rest) = ([0], [0; 2]);
        file.read_exact(&mut first).await.unwrap();
        file.write_all(b"c").await.unwrap();
        file.flush().await.unwrap();
        file.read_exact(&mut rest).await.unwrap();
        assert_eq!((&first, &rest), (b"a", b"bc"));
        let error = file.seek(SeekFrom::Start(0)).await.unwrap_err();
        assert_eq!(error.kind(), NotSeekable);
    });
}

/// The position was moved back for what then failed: what was read ahead is read again, and not twice.
#[test]
fn what_fails_behind_a_read_leaves_the_reader_where_it_was() {
    on_each_tier(async |folder| {
        let path = folder.join("a");
        std::fs::write(&path, "0123456789").unwrap();
        for writes in [false, true] {
            let mut file = File::open(&path).await.unwrap();
            let (mut first, mut rest) = ([0; 2], String::new());
            file.read_exact(&mut first).await.unwrap();
            if writes {
                file.write_all(b"not for writing").await.unwrap();
                file.flush().await.unwrap_err();
            } else {
                file.seek(SeekFrom::Current(-5)).await.unwrap_err();
            }
            file.read_to_string(&mut rest).await.unwrap();
            assert_eq!((&first, &*rest), (b"01", "23456789"), "writes: {writes}");
        }
    });
}

/// A disk that fails can't be had, but memory that is not there, read as a file, says the same.
#[test]
fn what_the_disk_cannot_read_is_told_with_the_path() {
    let path = Path::new("/proc/self/mem");
    if !path.exists() {
        eprintln!("no /proc here: the test of EIO is left out");
        return;
    }
    on_each_tier(async |_| {
        let mut file = File::open(path).await.unwrap();
        for _ in 0..2 {
            let error = file.read_at(vec![0; 100], 0).await.unwrap_err();
            assert_eq!(errno_of(&error), Some(5), "{error:?}");
            assert!(
                error
                    .to_string()
                    .starts_with("cannot read /proc/self/mem: "),
                "{error}"
            );
        }
        let error = file.read(&mut [0; 100]).await.unwrap_err();
        assert_eq!(errno_of(&error), Some(5), "{error:?}");
        let error = fs::read(path).await.unwrap_err();
        assert_eq!(errno_of(&error), Some(5), "{error:?}");
    });
}
