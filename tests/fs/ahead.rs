//! Reading ahead and writing behind: what it saves, what it must not show, and who hears of its failures.

use crate::{errno_of, folder, on_each_tier, runtime};
use futures_lite::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use peu::fs::{File, OpenOptions, Tiers};
use std::io::SeekFrom;
use std::path::Path;

/// What the first errand of a reader asks for, and each one after it.
const FIRST: usize = 64 * 1024;
const LATER: usize = 256 * 1024;

#[test]
fn who_reads_on_has_the_next_piece_fetched() {
    let folder = folder();
    let path = folder.path().join("a");
    std::fs::write(&path, vec![7; 2_000_000]).unwrap();
    let runtime = runtime(Tiers::POOL);
    let errands = || runtime.metrics().files.pool;
    runtime.block_on(async {
        let mut file = File::open(&path).await.unwrap();
        let opened = errands();
        let mut buffer = vec![0; FIRST];
        file.read_exact(&mut buffer).await.unwrap();
        assert_eq!(errands(), opened + 1, "one piece says nothing yet");
        file.read_exact(&mut buffer[..1]).await.unwrap();
        assert_eq!(errands(), opened + 3, "the second, and one ahead of it");
        file.read_exact(&mut buffer).await.unwrap();
        assert_eq!(errands(), opened + 3, "one ahead, and no more");
    });
}

#[test]
fn who_seeks_has_nothing_fetched() {
    let folder = folder();
    let path = folder.path().join("a");
    std::fs::write(&path, vec![7; 2_000_000]).unwrap();
    let runtime = runtime(Tiers::POOL);
    let errands = || runtime.metrics().files.pool;
    runtime.block_on(async {
        let mut file = File::open(&path).await.unwrap();
        let opened = errands();
        for place in 1..=20 {
            file.seek(SeekFrom::Start(place * 70_000)).await.unwrap();
            file.read_exact(&mut [0; 100]).await.unwrap();
        }
        assert_eq!(errands(), opened + 20 * 2, "a seek and a read each");
    });
}

/// A pipe's bytes may be for somebody else.
#[test]
fn nothing_is_taken_from_a_pipe_that_was_not_asked_for() {
    let runtime = runtime(Tiers::POOL);
    runtime.block_on(async {
        let (reader, writer) = std::io::pipe().unwrap();
        let rest = reader.try_clone().unwrap();
        let writer = std::thread::spawn(move || {
            std::io::Write::write_all(&mut &writer, &vec![7; FIRST + 2 * LATER]).unwrap();
        });
        let descriptor = std::os::fd::OwnedFd::from(reader);
        let mut file = File::from_std(descriptor.into());
        file.read_exact(&mut vec![0; FIRST + 1]).await.unwrap();
        // As long as an errand is under way, this waits for it.
        file.flush().await.unwrap();
        drop(file);
        let left = std::io::read_to_string(rest).unwrap().len();
        writer.join().unwrap();
        assert!(left >= LATER, "{left}");
    });
}

/// A stretch of this process's memory that can be read, of this length, with nothing behind it: the end of the program itself,
/// which is the lowest there is. Other tests' threads map and unmap memory meanwhile, but not there.
fn last_stretch(length: u64) -> Option<u64> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let mut stretch = 0..0;
    for line in maps.lines() {
        let (from, rest) = line.split_once('-')?;
        let (to, rest) = rest.split_once(' ')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let (from, to) = (number(from)?, number(to)?);
        if stretch.end != from && stretch.end - stretch.start >= length {
            break;
        }
        // What grows is no place to look for an end.
        let stays = rest.starts_with('r') && !line.ends_with("[heap]");
        stretch = match stays {
            true if stretch.end == from => stretch.start..to,
            true => from..to,
            false => 0..0,
        };
    }
    stretch
        .end
        .checked_sub(length)
        .filter(|start| *start >= stretch.start)
}

/// Memory, read as a file, fails where it ends. Here that is exactly where the second errand stops, so the one ahead fails.
#[test]
fn what_fails_ahead_is_told_to_who_gets_there() {
    let Some(start) = last_stretch((FIRST + LATER) as u64) else {
        eprintln!("no stretch of memory to read as a file here: this test is left out");
        return;
    };
    on_each_tier(async |_| {
        let mut file = File::open("/proc/self/mem").await.unwrap();
        file.seek(SeekFrom::Start(start)).await.unwrap();
        file.read_exact(&mut vec![0; FIRST + 1]).await.unwrap();
        // Waits for the errand ahead, which has failed.
        file.metadata().await.expect("it has not failed");
        file.read_exact(&mut vec![0; LATER - 1]).await.unwrap();
        let error = file.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(errno_of(&error), Some(5), "{error:?}");
        assert!(
            error
                .to_string()
                .starts_with("cannot read /proc/self/mem: ")
        );
    });
}

/// Memory that is not there can't be written.
async fn with_a_write_that_fails(path: &Path) -> File {
    let mut options = OpenOptions::new();
    let mut file = options.read(true).write(true).open(path).await.unwrap();
    file.write_all(b"accepted").await.unwrap();
    file
}

/// Nobody may believe that something is on the disk which was not even written.
#[test]
fn a_write_that_failed_behind_is_told_by_whatever_comes_next() {
    let path = Path::new("/proc/self/mem");
    if !path.exists() {
        eprintln!("no /proc here: the test of EIO is left out");
        return;
    }
    on_each_tier(async |_| {
        let told = |outcome: std::io::Result<()>| {
            let error = outcome.unwrap_err();
            assert_eq!(errno_of(&error), Some(5), "{error:?}");
            let text = error.to_string();
            assert!(
                text.starts_with("cannot write to /proc/self/mem: "),
                "{text}"
            );
        };
        told(with_a_write_that_fails(path).await.flush().await);
        told(with_a_write_that_fails(path).await.close().await);
        told(with_a_write_that_fails(path).await.sync_all().await);
        told(with_a_write_that_fails(path).await.sync_data().await);
        told(with_a_write_that_fails(path).await.write_all(b"more").await);
        let file = with_a_write_that_fails(path).await;
        told(file.read_at(vec![0; 1], 0).await.map(drop));
        let mut file = with_a_write_that_fails(path).await;
        told(file.seek(SeekFrom::Start(0)).await.map(drop));
        file.flush().await.expect("it is told once");
    });
}

/// What a sync has promised holds, also when the writes after it fail.
#[test]
fn what_was_synced_stays() {
    on_each_tier(async |folder| {
        let path = folder.join("a");
        let mut file = File::create(&path).await.unwrap();
        for round in 0..5_u8 {
            let written = vec![round; 3 * LATER];
            file.write_all(&written).await.unwrap();
            file.sync_data().await.unwrap();
            let found = std::fs::read(&path).unwrap();
            let from = usize::from(round) * written.len();
            assert!(found[from..] == written, "all of it, when the sync is over");
        }
    });
}
