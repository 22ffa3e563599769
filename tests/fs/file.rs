//! An open file: at positions, one after the other, and when nobody waits for the result.

use crate::{assert_error, on_each_tier};
use futures_lite::future::poll_once;
use futures_lite::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use peu::fs::{File, OpenOptions};
use std::io::ErrorKind::{AlreadyExists, InvalidInput, NotFound};
use std::io::{IoSlice, IoSliceMut, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

/// Bytes that tell where they are from: no two places nearby look the same.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| ((n * 31) ^ (n >> 8)) as u8).collect()
}

async fn open(path: &Path, bytes: &[u8]) -> File {
    std::fs::write(path, bytes).unwrap();
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .await
        .unwrap()
}

#[test]
fn options() {
    on_each_tier(async |folder| {
        let path = folder.join("a");
        assert_error(File::open(&path).await, NotFound, "cannot open", &path);
        let mut new = OpenOptions::new();
        new.write(true).create_new(true).mode(0o600);
        let file = new.open(&path).await.unwrap();
        assert_eq!(file.metadata().await.unwrap().mode() & 0o777, 0o600);
        assert_error(new.open(&path).await, AlreadyExists, "cannot open", &path);
        assert_error(
            OpenOptions::new().open(&path).await,
            InvalidInput,
            "cannot open",
            &path,
        );
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .await
            .unwrap();
        file.write_all(b"one").await.unwrap();
        file.write_all_at(b"two".to_vec(), 0).await.unwrap();
        file.write_all(b"three").await.unwrap();
        file.close().await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"onetwothree");
        OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&path)
            .await
            .unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        let in_folder = folder.join("no/b");
        assert_error(
            File::create(&in_folder).await,
            NotFound,
            "cannot open",
            &in_folder,
        );
    });
}

#[test]
fn positions() {
    on_each_tier(async |folder| {
        let bytes = pattern(300_000);
        let file = open(&folder.join("a"), &bytes).await;
        for (offset, length) in [
            (0, 1),
            (4095, 4098),
            (0, 300_000),
            (299_990, 100),
            (100_000, 200_001),
        ] {
            let (count, buffer) = file.read_at(vec![0; length], offset as u64).await.unwrap();
            let expected = &bytes[offset..bytes.len().min(offset + length)];
            assert!(
                buffer[..count] == *expected,
                "{length} at {offset}: {count}"
            );
        }
        assert_eq!(file.read_at(vec![0; 9], 300_000).await.unwrap().0, 0);
        assert_eq!(file.read_at(Vec::new(), 0).await.unwrap().0, 0);
        let (count, buffer) = file.write_at(b"xyz".to_vec(), 299_999).await.unwrap();
        assert_eq!((count, buffer.as_slice()), (3, b"xyz".as_slice()));
        assert_eq!(file.metadata().await.unwrap().len(), 300_002);
        file.set_len(5).await.unwrap();
        file.set_permissions(PermissionsExt::from_mode(0o600))
            .await
            .unwrap();
        file.sync_all().await.unwrap();
        file.sync_data().await.unwrap();
        assert_eq!(file.metadata().await.unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read(file.path()).unwrap(), bytes[..5]);
    });
}

#[test]
fn errors_of_an_open_file() {
    on_each_tier(async |folder| {
        let path = folder.join("a");
        let mut file = open(&path, b"text").await;
        for offset in [u64::MAX, 1 << 63] {
            let error = file.read_at(vec![0; 1], offset).await;
            assert_error(error, InvalidInput, "cannot read", &path);
            let error = file.write_at(vec![0; 1], offset).await;
            assert_error(error, InvalidInput, "cannot write to", &path);
        }
        let error = file.set_len(u64::MAX).await;
        assert_error(error, InvalidInput, "cannot set the length of", &path);
        let error = file.seek(SeekFrom::Current(-1)).await;
        assert_error(error, InvalidInput, "cannot seek in", &path);

        let mut read_only = File::open(&path).await.unwrap();
        let tried = format!("cannot write to {}: ", path.display());
        let error = read_only.write_all_at(vec![0; 1], 0).await.unwrap_err();
        assert!(error.to_string().starts_with(&tried), "{error}");
        read_only.write_all(b"accepted").await.unwrap();
        let error = read_only.metadata().await.unwrap_err();
        assert!(
            error.to_string().starts_with(&tried),
            "the next call tells: {error}"
        );
        read_only.flush().await.expect("it was told once");
        read_only.write_all(b"accepted").await.unwrap();
        let error = read_only.close().await.unwrap_err();
        assert!(error.to_string().starts_with(&tried), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"text");

        let mut directory = File::open(folder).await.unwrap();
        let error = directory.read_at(vec![0; 1], 0).await.unwrap_err();
        assert!(error.to_string().starts_with("cannot read "), "{error}");
        let error = directory.read(&mut [0; 1]).await.unwrap_err();
        assert!(error.to_string().starts_with("cannot read "), "{error}");
        directory.sync_all().await.expect("a folder can be synced");
    });
}

#[test]
fn one_after_the_other() {
    on_each_tier(async |folder| {
        let bytes = pattern(1_000_000);
        let path = folder.join("a");
        let mut file = File::create(&path).await.unwrap();
        for chunk in bytes.chunks(70_001) {
            file.write_all(chunk).await.unwrap();
        }
        assert_eq!(
            file.metadata().await.unwrap().len(),
            1_000_000,
            "it waits for the write"
        );
        assert_eq!(file.seek(SeekFrom::Start(0)).await.unwrap(), 0);
        for chunk in [1, 999, 65_536, 300_000] {
            let mut file = File::open(&path).await.unwrap();
            let (mut buffer, mut all) = (vec![0; chunk], Vec::new());
            loop {
                match file.read(&mut buffer).await.unwrap() {
                    0 => break,
                    count => all.extend_from_slice(&buffer[..count]),
                }
            }
            assert!(all == bytes, "in pieces of {chunk}");
        }
        let mut all = Vec::new();
        file.read_to_end(&mut all).await.unwrap();
        assert!(all == bytes);
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .set_len(1_000_003)
            .unwrap();
        assert_eq!(
            file.read(&mut [0; 10]).await.unwrap(),
            3,
            "a file that grew is read on"
        );
    });
}

/// Reading ahead must not show: after each step the position is where a plain file's would be.
#[test]
fn reads_writes_and_seeks_mixed_are_as_on_a_plain_file() {
    on_each_tier(async |folder| {
        let bytes = pattern(2_000_000);
        let mut file = open(&folder.join("a"), &bytes).await;
        std::fs::write(folder.join("plain"), &bytes).unwrap();
        let mut options = std::fs::OpenOptions::new();
        let mut plain = options
            .read(true)
            .write(true)
            .open(folder.join("plain"))
            .unwrap();
        let mut random = 12_345_u64;
        for _ in 0..300 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // Most are short; some are long enough that the next piece is read ahead.
            let longest = if random >> 40 & 3 == 0 {
                700_000
            } else {
                5_000
            };
            let (what, size) = ((random >> 57) % 10, (random >> 33) % longest);
            let size = size as usize;
            match what {
                0 | 1 => {
                    file.write_all(&bytes[..size]).await.unwrap();
                    std::io::Write::write_all(&mut plain, &bytes[..size]).unwrap();
                }
                2 | 3 => {
                    let to = [
                        SeekFrom::Start(size as u64 * 2),
                        SeekFrom::Current(-1),
                        SeekFrom::End(-1),
                    ][size % 3];
                    let expected = std::io::Seek::seek(&mut plain, to).ok();
                    assert_eq!(file.seek(to).await.ok(), expected, "{to:?}");
                }
                4 => {
                    let at = std::io::Seek::stream_position(&mut plain).unwrap();
                    // Cut where the reader is, or a little behind that; and filled up, for more to read.
                    for length in [at + size as u64 % 1_000, 2_000_000] {
                        file.set_len(length).await.unwrap();
                        plain.set_len(length).unwrap();
                    }
                }
                5 => {
                    let at = std::io::Seek::stream_position(&mut plain).unwrap();
                    let other = vec![!bytes[size]; size];
                    file.write_all_at(other.clone(), at).await.unwrap();
                    plain.write_all_at(&other, at).unwrap();
                }
                _ => {
                    let (mut read, mut expected) = (vec![0; size], vec![0; size]);
                    let count = std::io::Read::read(&mut plain, &mut expected).unwrap();
                    // What was read ahead may end within; a plain read of a plain file is never short but at its end.
                    let mut done = 0;
                    while done < count {
                        done += file.read(&mut read[done..count]).await.unwrap();
                    }
                    assert!(read[..count] == expected[..count]);
                }
            }
        }
        file.flush().await.unwrap();
        assert!(
            std::fs::read(folder.join("a")).unwrap()
                == std::fs::read(folder.join("plain")).unwrap()
        );
    });
}

#[test]
fn several_buffers_at_once() {
    on_each_tier(async |folder| {
        let path = folder.join("a");
        let mut file = File::create(&path).await.unwrap();
        let parts = [b"ab".as_slice(), b"", b"cde"].map(IoSlice::new);
        assert_eq!(file.write_vectored(&parts).await.unwrap(), 5);
        assert_eq!(file.write_vectored(&[]).await.unwrap(), 0);
        let big = vec![1; 300_000];
        let count = file
            .write_vectored(&[IoSlice::new(&big), IoSlice::new(b"x")])
            .await
            .unwrap();
        assert_eq!(count, 256 * 1024, "the bound of what is on its way");
        file.seek(SeekFrom::Start(0)).await.unwrap();
        let (mut one, mut two) = ([0; 1], [0; 3]);
        let mut parts = [&mut [][..], &mut one[..], &mut two[..]].map(IoSliceMut::new);
        assert_eq!(file.read_vectored(&mut parts).await.unwrap(), 4);
        assert_eq!((&one, &two), (b"a", b"bcd"));
        assert_eq!(file.read_vectored(&mut []).await.unwrap(), 0);
    });
}

#[test]
fn clones_share_the_position() {
    on_each_tier(async |folder| {
        let mut file = open(&folder.join("a"), b"0123456789").await;
        let mut two = [0; 2];
        file.read_exact(&mut two).await.unwrap();
        let mut clone = file.try_clone().await.unwrap();
        clone.read_exact(&mut two).await.unwrap();
        assert_eq!(&two, b"23", "what was read ahead is given back");
        drop(file);
        clone.write_all(b"x").await.unwrap();
        clone.flush().await.unwrap();
        assert_eq!(std::fs::read(folder.join("a")).unwrap(), b"0123x56789");
    });
}

#[test]
fn many_tasks_read_one_file() {
    on_each_tier(async |folder| {
        let bytes = pattern(100_000);
        let file = Arc::new(open(&folder.join("a"), &bytes).await);
        let expected = Arc::new(bytes);
        let readers: Vec<_> = (0..50)
            .map(|reader: usize| {
                let (file, expected) = (file.clone(), expected.clone());
                peu::spawn(async move {
                    let mut buffer = vec![0; 1000];
                    for round in 0..50 {
                        let at = (reader * 977 + round * 1313) % 99_000;
                        buffer = file.read_at(buffer, at as u64).await.unwrap().1;
                        assert!(buffer == expected[at..at + 1000]);
                    }
                })
            })
            .collect();
        for reader in readers {
            reader.await.unwrap();
        }
    });
}

/// A future that is polled once and dropped has begun what it does, unless it was done at once.
#[test]
fn dropped_futures_lose_nothing() {
    on_each_tier(async |folder| {
        let bytes = pattern(500_000);
        let path = folder.join("a");
        let mut file = File::create(&path).await.unwrap();
        let mut written = 0;
        while written < bytes.len() {
            // Either it was accepted, or the file does not know of it.
            if let Some(count) = poll_once(file.write(&bytes[written..])).await {
                written += count.unwrap();
            } else {
                peu::task::yield_now().await;
            }
        }
        drop(poll_once(file.sync_all()).await);
        drop(poll_once(file.seek(SeekFrom::Start(7))).await);
        assert_eq!(file.seek(SeekFrom::Start(7)).await.unwrap(), 7);
        let mut read = Vec::new();
        let mut buffer = [0; 1000];
        while read.len() < bytes.len() - 7 {
            if let Some(count) = poll_once(file.read(&mut buffer)).await {
                read.extend_from_slice(&buffer[..count.unwrap()]);
            } else {
                peu::task::yield_now().await;
            }
        }
        assert!(read == bytes[7..]);
    });
}

/// A relative seek that is dropped and made again moves once.
#[test]
fn a_dropped_seek_made_again_moves_once() {
    on_each_tier(async |folder| {
        // A thread of the pool may be done before the first poll looks: then nothing was dropped, and it is tried again.
        let mut attempts = 0;
        let mut file = loop {
            let mut file = open(&folder.join("a"), b"0123456789").await;
            let done = poll_once(pin!(file.seek(SeekFrom::Current(3)))).await;
            match done {
                None => break file,
                Some(position) => assert_eq!(position.unwrap(), 3),
            }
            attempts += 1;
            assert!(attempts < 10_000, "it never goes to the pool");
        };
        assert_eq!(file.seek(SeekFrom::Current(3)).await.unwrap(), 3);
        assert_eq!(file.seek(SeekFrom::Current(3)).await.unwrap(), 6);
    });
}

#[test]
fn what_was_accepted_is_written_although_the_file_is_dropped() {
    on_each_tier(async |folder| {
        let path = folder.join("a");
        let mut file = File::create(&path).await.unwrap();
        let watch = file.try_clone().await.unwrap();
        file.write_all(b"accepted").await.unwrap();
        drop(file);
        while watch.metadata().await.unwrap().len() < 8 {
            peu::task::yield_now().await;
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"accepted");
    });
}

/// What was read ahead of the reader is no longer so, once the file is changed elsewhere than in sequence.
#[test]
fn a_change_at_a_position_is_seen_by_who_reads_on() {
    on_each_tier(async |folder| {
        let mut file = open(&folder.join("a"), b"0123456789").await;
        file.read_exact(&mut [0]).await.unwrap();
        file.write_all_at(b"X".to_vec(), 1).await.unwrap();
        let mut read = [0; 2];
        file.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"X2");

        file.set_len(4).await.unwrap();
        let mut rest = Vec::new();
        file.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"3");
    });
}

/// A read that finds the end, and is dropped before it has said so, leaves that to the next one.
#[test]
fn an_end_that_was_moved_is_no_end() {
    on_each_tier(async |folder| {
        let mut file = open(&folder.join("a"), b"").await;
        drop(poll_once(file.read(&mut [0; 10])).await);
        file.write_all_at(b"more".to_vec(), 0).await.unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "more");
    });
}
