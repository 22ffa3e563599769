//! Files that are read whole: of every length and kind, in memory and not, and what can't be read so.

use crate::{SETS, assert_error, errno_of, folder, on_each_tier, runtime};
use peu::fs;
use std::fs::Permissions;
use std::io::ErrorKind::{InvalidInput, PermissionDenied};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;

/// Lengths around those at which another way is taken: nothing, a page, 256 KiB.
const LENGTHS: [usize; 8] = [0, 1, 4095, 4096, 4097, 262_144, 262_145, 1_000_000];

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n ^ (n >> 8)) as u8).collect()
}

/// Has the system forget what is in a file, if there is a `dd` that can. For all its zero blocks, this reads nothing.
fn forget(path: &Path) {
    std::fs::File::open(path).unwrap().sync_all().unwrap();
    let input = format!("if={}", path.display());
    let done = Command::new("dd")
        .args([&input, "iflag=nocache", "count=0"])
        .output();
    if !done.is_ok_and(|done| done.status.success()) {
        eprintln!("no dd that empties the cache here: it is read from memory");
    }
}

#[test]
fn files_of_every_length_are_read_from_memory_and_from_the_disk() {
    on_each_tier(async |folder| {
        for length in LENGTHS {
            let path = folder.join(length.to_string());
            std::fs::write(&path, bytes(length)).unwrap();
            assert!(fs::read(&path).await.unwrap() == bytes(length), "{length}");
            forget(&path);
            assert!(fs::read(&path).await.unwrap() == bytes(length), "{length}");
        }
    });
}

#[test]
fn what_cannot_be_read_is_told_with_the_path() {
    on_each_tier(async |folder| {
        let file = folder.join("file");
        std::fs::write(&file, "x").unwrap();
        let knot = folder.join("knot");
        symlink(&knot, &knot).unwrap();
        let long = folder.join("n".repeat(256));
        for (path, number) in [
            (folder.join("missing"), 2),
            (file.join("below"), 20),
            (folder.to_owned(), 21),
            (long, 36),
            (knot, 40),
        ] {
            let error = fs::read(&path).await.unwrap_err();
            assert_eq!(errno_of(&error), Some(number), "{error}");
            let told = format!("cannot read {}: ", path.display());
            assert!(error.to_string().starts_with(&told), "{error}");
        }
        let path = PathBuf::from("a\0b");
        assert_error(fs::read(&path).await, InvalidInput, "cannot read", &path);
    });
}

/// Root may read everything. So this is done by a thread that is somebody else's, as are those that it starts: the kernel has the user
/// for each.
#[test]
#[cfg(target_os = "linux")]
fn what_may_not_be_read_is_told_with_the_path() {
    for tiers in SETS {
        let folder = folder();
        let closed = folder.path().join("closed");
        std::fs::write(&closed, "x").unwrap();
        std::fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let test = move || {
            if std::fs::read(&closed).is_ok() {
                become_nobody();
            }
            assert!(std::fs::read(&closed).is_err(), "there is nothing to show");
            runtime(tiers).block_on(async {
                let read = fs::read(&closed).await;
                assert_error(read, PermissionDenied, "cannot read", &closed);
            });
        };
        std::thread::spawn(test).join().unwrap();
    }
}

/// This thread, and each that it starts from now on.
#[cfg(target_os = "linux")]
fn become_nobody() {
    use rustix::process::{DumpableBehavior, Uid, set_dumpable_behavior};
    // The usual number of the user who owns nothing.
    rustix::thread::set_thread_uid(Uid::from_raw(65_534)).unwrap();
    // The kernel takes the whole process for one with secrets now, which hinders sanitizers at its end.
    set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap();
}

fn pipe(folder: &Path, name: &str) -> Option<PathBuf> {
    let path = folder.join(name);
    let made = Command::new("mkfifo").arg(&path).status();
    if !made.is_ok_and(|made| made.success()) {
        eprintln!("no mkfifo here: a test of pipes is left out");
        return None;
    }
    Some(path)
}

/// A writer that waits for its reader, in the system: until then it has not begun.
fn waiting_writer(path: PathBuf) -> std::thread::JoinHandle<std::io::Result<()>> {
    let (tell, told) = mpsc::channel();
    let writer = std::thread::spawn(move || {
        let _ = tell.send(rustix::thread::gettid());
        std::fs::write(path, "through the pipe")
    });
    let thread = told.recv().unwrap().as_raw_nonzero();
    // The third word of what the kernel says about a thread is its state.
    let is_asleep = || {
        let about = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat"));
        about.is_ok_and(|about| about.rsplit(')').next().unwrap().starts_with(" S"))
    };
    while Path::new("/proc/self/task").exists() && !is_asleep() {
        std::thread::yield_now();
    }
    writer
}

/// Whoever comes first waits for the other, and a writer that has found a reader does not lose him again.
#[test]
fn a_pipe_is_read_until_its_writers_are_gone() {
    on_each_tier(async |folder| {
        let Some(path) = pipe(folder, "pipe") else {
            return;
        };
        let writer = waiting_writer(path.clone());
        assert_eq!(fs::read(&path).await.unwrap(), b"through the pipe");
        writer.join().unwrap().unwrap();

        let read = peu::spawn(fs::read(path.clone()));
        peu::task::yield_now().await;
        std::fs::write(&path, "later").unwrap();
        assert_eq!(read.await.unwrap().unwrap(), b"later");

        let read = peu::spawn(fs::read(path.clone()));
        let both = peu::spawn_blocking(move || {
            std::fs::write(&path, "").unwrap();
        });
        assert_eq!(read.await.unwrap().unwrap(), b"");
        both.await.unwrap();
    });
}

/// In the mount of the folder, where a look at the path is not taken first.
#[test]
fn a_device_is_opened_as_it_should_be() {
    on_each_tier(async |folder| {
        let path = folder.join("null");
        let mut make = Command::new("mknod");
        let made = make.arg(&path).args(["c", "1", "3"]).output();
        if !made.is_ok_and(|made| made.status.success()) {
            eprintln!("no right to make devices: the test of one is left out");
            return;
        }
        // A mount may forbid to open any.
        let plain = std::fs::read(&path).map_err(|error| error.kind());
        let read = fs::read(&path).await.map_err(|error| error.kind());
        assert_eq!(read, plain);
        assert_eq!(fs::read("/dev/null").await.unwrap(), b"");
    });
}

/// What is mounted below where a path begins, more often than the task does without a try.
#[test]
fn what_is_mounted_in_between_is_entered() {
    on_each_tier(async |folder| {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "peu"])
            .arg(folder)
            .output();
        if !mounted.is_ok_and(|mounted| mounted.status.success()) {
            eprintln!("no right to mount: the test of a path through mounts is left out");
            return;
        }
        let path = folder.join("a");
        std::fs::write(&path, bytes(5000)).unwrap();
        let mut wrong = 0;
        for _ in 0..80 {
            wrong += usize::from(fs::read(&path).await.ok() != Some(bytes(5000)));
        }
        let unmounted = Command::new("umount").arg("--lazy").arg(folder).status();
        assert!(unmounted.unwrap().success());
        assert_eq!(wrong, 0);
    });
}

/// Where the path begins does not matter, and may change.
#[test]
fn links_and_points_are_followed() {
    on_each_tier(async |folder| {
        std::fs::create_dir(folder.join("b")).unwrap();
        std::fs::write(folder.join("a"), "x").unwrap();
        symlink("../a", folder.join("b/relative")).unwrap();
        symlink(folder.join("a"), folder.join("b/absolute")).unwrap();
        for path in ["a", "b/../a", "b/relative", "b/absolute"] {
            assert_eq!(fs::read(folder.join(path)).await.unwrap(), b"x", "{path}");
        }
        let relative = fs::read("Cargo.toml").await.unwrap();
        assert_eq!(relative, std::fs::read("Cargo.toml").unwrap());
        let made_up = fs::read("/proc/self/mountinfo").await.unwrap();
        assert!(!made_up.is_empty(), "it says that it is empty");
    });
}
