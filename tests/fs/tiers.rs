//! Which tier served, and how tiers are restricted.

use crate::{folder, runtime};
use futures_lite::{AsyncReadExt, StreamExt};
use peu::fs::{File, FileMetrics, OpenOptions, Tiers};
use std::path::Path;
use std::process::Command;

/// Reads a file of 10,000 bytes that was just written, at positions and in sequence, 40 reads in all.
async fn read_much(path: &Path) {
    std::fs::write(path, [5; 10_000]).unwrap();
    let mut file = File::open(path).await.unwrap();
    for offset in 0..20 {
        let (count, buffer) = file.read_at(vec![0; 100], offset * 400).await.unwrap();
        assert_eq!(buffer[..count], [5; 100]);
    }
    let mut buffer = [0; 100];
    for _ in 0..20 {
        file.read_exact(&mut buffer).await.unwrap();
        assert_eq!(buffer, [5; 100]);
    }
}

fn metrics_of_reading(tiers: Tiers, path: &Path) -> FileMetrics {
    let runtime = runtime(tiers);
    runtime.block_on(read_much(path));
    runtime.metrics().files
}

#[test]
fn the_pool_alone_does_all() {
    let folder = folder();
    let files = metrics_of_reading(Tiers::POOL, &folder.path().join("a"));
    assert_eq!((files.now, files.missed, files.refused), (0, 0, 0));
    assert_eq!(
        files.pool,
        1 + 20 + 1,
        "one open, each read at a position, one read ahead"
    );
}

/// What was just written is in memory. A file system that can't tell is asked once per file.
#[test]
fn what_is_in_memory_needs_no_thread() {
    let folder = folder();
    let files = metrics_of_reading(Tiers::ALL, &folder.path().join("a"));
    if files.refused > 0 || files.now + files.missed == 0 {
        eprintln!("this system reads no file in the calling task: {files:?}");
        assert!(files.refused <= 1 && files.now == 0, "{files:?}");
        return;
    }
    assert_eq!(
        (files.now, files.missed, files.pool),
        (22, 0, 0),
        "{files:?}"
    );
}

/// Also as a whole: opened, measured and read in the task.
#[test]
fn a_whole_file_in_memory_needs_no_thread() {
    let folder = folder();
    let path = folder.path().join("a");
    let by_position = metrics_of_reading(Tiers::ALL, &path);
    if by_position.now != 22 {
        eprintln!("this system reads no file in the calling task: {by_position:?}");
        return;
    }
    let runtime = runtime(Tiers::ALL);
    let bytes = runtime.block_on(peu::fs::read(&path)).unwrap();
    assert_eq!(bytes, [5; 10_000]);
    let files = runtime.metrics().files;
    assert_eq!((files.now, files.ring + files.pool), (1, 0), "{files:?}");
}

/// Names that were just made are in memory: after the listing, which a thread does, each entry is looked at in the task.
#[test]
fn what_was_listed_is_looked_at_in_the_task() {
    let folder = folder();
    for name in ["a", "b", "c"] {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    let runtime = runtime(Tiers::NOW);
    let single = runtime.block_on(peu::fs::metadata(folder.path().join("a")));
    assert!(single.unwrap().is_file());
    let before = runtime.metrics().files;
    if before.now == 0 {
        eprintln!("this system looks at no file in the calling task: {before:?}");
        return;
    }
    runtime.block_on(async {
        let mut entries = peu::fs::read_dir(folder.path()).await.unwrap();
        while let Some(entry) = entries.next().await {
            let about = entry.unwrap().metadata().await.unwrap();
            assert_eq!(about.len(), 1);
        }
    });
    let files = runtime.metrics().files;
    let done = (files.now - before.now, files.pool - before.pool);
    assert_eq!(done, (3, 1), "{files:?}");
}

/// Reads that miss, and reads of which only a part is in memory: whatever the cache holds, the bytes are the file's.
#[test]
fn what_is_not_in_memory_is_read_elsewhere() {
    let folder = folder();
    let path = folder.path().join("a");
    let bytes: Vec<u8> = (0..2_000_000_u32).map(|n| (n ^ (n >> 8)) as u8).collect();
    std::fs::write(&path, &bytes).unwrap();
    std::fs::File::open(&path).unwrap().sync_all().unwrap();
    // For all its zero blocks, this tells the system to forget the file.
    let forget = Command::new("dd")
        .arg(format!("if={}", path.display()))
        .args(["iflag=nocache", "count=0"])
        .output();
    if !forget.is_ok_and(|output| output.status.success()) {
        eprintln!("no dd that empties the cache here: all reads may be from memory");
    }
    let runtime = runtime(Tiers::ALL);
    runtime.block_on(async {
        let file = File::open(&path).await.unwrap();
        for round in 0..200 {
            let (at, length) = (round * 7_919_111 % 1_900_000, 1 + round * 503 % 99_000);
            let (count, buffer) = file.read_at(vec![0; length], at as u64).await.unwrap();
            assert!(
                buffer[..count] == bytes[at..at + length],
                "{length} at {at}"
            );
        }
    });
    let files = runtime.metrics().files;
    assert!(
        files.missed <= files.ring + files.pool,
        "what missed was handed on: {files:?}"
    );
    eprintln!("{files:?}");
}

#[test]
fn a_tmpfs_is_read_on_either_tier() {
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("no /dev/shm here: the test of a tmpfs is left out");
        return;
    };
    let files = metrics_of_reading(Tiers::ALL, &folder.path().join("a"));
    assert!(files.refused <= 1, "asked once per file: {files:?}");
    assert_eq!(files.now + files.ring + files.pool, 22, "{files:?}");
}

#[test]
fn long_reads_go_elsewhere() {
    let folder = folder();
    let path = folder.path().join("a");
    std::fs::write(&path, vec![1; 300_000]).unwrap();
    let runtime = runtime(Tiers::ALL);
    runtime.block_on(async {
        let file = File::open(&path).await.unwrap();
        let before = runtime.metrics().files;
        let count = file.read_at(vec![0; 300_000], 0).await.unwrap().0;
        assert_eq!(count, 300_000);
        let after = runtime.metrics().files;
        assert_eq!((before.now, before.missed), (after.now, after.missed));
        assert_eq!(before.ring + before.pool + 1, after.ring + after.pool);
    });
}

/// Opening a file for writing is work on some file systems: an overlay first copies all of it.
#[test]
fn what_is_opened_for_writing_is_opened_elsewhere() {
    let folder = folder();
    let path = folder.path().join("a");
    std::fs::write(&path, "x").unwrap();
    let runtime = runtime(Tiers::ALL);
    runtime.block_on(async {
        OpenOptions::new().write(true).open(&path).await.unwrap();
        OpenOptions::new().append(true).open(&path).await.unwrap();
        let files = runtime.metrics().files;
        assert_eq!((files.now, files.missed), (0, 0), "{files:?}");
        assert_eq!(files.ring + files.pool, 2, "{files:?}");
    });
}

/// Run by itself, and by the test below in processes with another environment.
#[test]
fn the_environment_is_heeded() {
    let built = peu::Runtime::new();
    let local = peu::LocalRuntime::new().map(drop);
    let restriction = std::env::var("PEU_FILE_TIER");
    match restriction.as_deref() {
        Ok("pool") => {
            let folder = folder();
            let runtime = built.unwrap();
            runtime.block_on(read_much(&folder.path().join("a")));
            assert_eq!(runtime.metrics().files.now, 0);
            assert!(local.is_ok());
        }
        Ok("rings,pool") => {
            for error in [built.map(drop).unwrap_err(), local.unwrap_err()] {
                let text = error.to_string();
                assert!(
                    text.contains("PEU_FILE_TIER") && text.contains("\"rings\""),
                    "{text}"
                );
            }
            let chosen = peu::Runtime::builder().file_tiers(Tiers::ALL).build();
            assert!(chosen.is_ok(), "the builder's word comes first");
        }
        _ => assert!(built.is_ok() && local.is_ok()),
    }
}

#[test]
fn the_environment_restricts_the_tiers() {
    for tiers in ["pool", "now,pool", "rings,pool"] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tiers::the_environment_is_heeded"])
            .env("PEU_FILE_TIER", tiers)
            .output()
            .unwrap();
        let report = String::from_utf8_lossy(&child.stdout);
        assert!(
            child.status.success() && report.contains("1 passed"),
            "{tiers}: {report}"
        );
    }
}
