//! A file system that is a program, this one: the kernel asks it over `/dev/fuse` what a disk would be asked.
//!
//! It has one folder and four files, each [`LENGTH`] bytes of [`byte_at`]. By its orders it says nothing for a while, as a server
//! that is gone; and each file but the first has a fault of its own. What the kernel was told it may keep for an hour, so that
//! names and attributes are in its memory, where a runtime is tempted to look at them.

use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use tempfile::TempDir;

/// By number, from 2 on: 1 is the folder.
const FILES: [&str; 4] = ["sound", "halves", "interrupted", "full"];
const HALVES: u64 = 3;
const INTERRUPTED: u64 = 4;
const FULL: u64 = 5;

pub(crate) const LENGTH: usize = 100_000;

/// What `halves` reads or writes at most in one go.
const HALF: usize = 10_000;

pub(crate) fn byte_at(position: usize) -> u8 {
    (position % 251) as u8
}

/// The program, and where it is mounted. Dropping it lets it talk, and unmounts it.
pub(crate) struct Program {
    at: TempDir,
    orders: Arc<Orders>,
}

#[derive(Default)]
struct Orders {
    is_silent: Mutex<bool>,
    changed: Condvar,
    /// What the file `halves` was given to write.
    written: Mutex<Vec<(usize, Vec<u8>)>>,
}

impl Program {
    /// None without the right to mount, or without FUSE.
    pub(crate) fn mount() -> Option<Program> {
        Program::mount_at(crate::folder())
    }

    pub(crate) fn mount_at(at: TempDir) -> Option<Program> {
        let kernel = File::options()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .ok()?;
        let options = "fd=0,rootmode=40000,user_id=0,group_id=0,default_permissions";
        let mut mount = Command::new("mount");
        mount
            .args(["-i", "-t", "fuse", "-o", options, "peu"])
            .arg(at.path());
        let done = mount
            .stdin(Stdio::from(kernel.try_clone().ok()?))
            .output()
            .ok()?;
        if !done.status.success() {
            return None;
        }
        let orders = Arc::new(Orders::default());
        let heard = orders.clone();
        thread::spawn(move || serve(kernel, &heard));
        Some(Program { at, orders })
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.at.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.at.path()
    }

    /// From here on it answers nothing, until it may.
    pub(crate) fn be_silent(&self, is_silent: bool) {
        *self.orders.is_silent.lock().unwrap() = is_silent;
        self.orders.changed.notify_all();
    }

    /// What was written to `halves`: the part at each position, in order.
    pub(crate) fn written(&self) -> Vec<u8> {
        let written = self.orders.written.lock().unwrap();
        written.iter().flat_map(|(_, part)| part.clone()).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.be_silent(false);
        let done = Command::new("umount")
            .arg("--lazy")
            .arg(self.at.path())
            .status();
        let is_gone = done.is_ok_and(|status| status.success());
        // Of a test that has failed, its own message is the one to read.
        assert!(is_gone || thread::panicking(), "umount");
    }
}

/// Answers until the kernel unmounts.
fn serve(mut kernel: File, orders: &Orders) {
    let mut buffer = vec![0; 1 << 20];
    let mut of_interrupted = 0;
    while let Ok(length) = kernel.read(&mut buffer) {
        let request = Request(&buffer[..length]);
        let silent = orders.is_silent.lock().unwrap();
        drop(orders.changed.wait_while(silent, |silent| *silent).unwrap());
        let answer = match (request.file(), request.what()) {
            (INTERRUPTED, READ | WRITE | OPEN | FSYNC | SETATTR) => {
                of_interrupted += 1;
                match of_interrupted % 2 {
                    1 => Answer::Fails(Errno::INTR),
                    _ => request.answer(orders),
                }
            }
            _ => request.answer(orders),
        };
        let (error, body) = match answer {
            Answer::None => continue,
            Answer::Fails(error) => (-error.raw_os_error(), Vec::new()),
            Answer::Is(body) => (0, body),
        };
        let mut reply = Vec::new();
        reply.extend(((16 + body.len()) as u32).to_ne_bytes());
        reply.extend(i32::to_ne_bytes(error));
        reply.extend(request.number(8, 8).to_ne_bytes());
        reply.extend(body);
        // Whoever had asked may have given up meanwhile.
        let _ = kernel.write(&reply);
    }
}

/// Numbers of requests, from the kernel's header.
const LOOKUP: u64 = 1;
const FORGET: u64 = 2;
const GETATTR: u64 = 3;
const SETATTR: u64 = 4;
const OPEN: u64 = 14;
const READ: u64 = 15;
const WRITE: u64 = 16;
const STATFS: u64 = 17;
const RELEASE: u64 = 18;
const FSYNC: u64 = 20;
const FLUSH: u64 = 25;
const INIT: u64 = 26;
const INTERRUPT: u64 = 36;
const BATCH_FORGET: u64 = 42;

enum Answer {
    Is(Vec<u8>),
    Fails(Errno),
    /// The kernel waits for none.
    None,
}

/// A request: 40 bytes of head, then what belongs to it.
struct Request<'a>(&'a [u8]);

impl Request<'_> {
    fn number(&self, at: usize, length: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(&self.0[at..at + length]);
        u64::from_le_bytes(bytes)
    }

    fn what(&self) -> u64 {
        self.number(4, 4)
    }

    fn file(&self) -> u64 {
        self.number(16, 8)
    }

    /// Where a read or a write begins, and how long it is.
    fn stretch(&self) -> (usize, usize) {
        (self.number(48, 8) as usize, self.number(56, 4) as usize)
    }

    fn answer(&self, orders: &Orders) -> Answer {
        Answer::Is(match self.what() {
            // The version that is spoken, and how much one write brings.
            INIT => numbers(&[(7, 4), (31, 4), (0, 4), (0, 4), (0, 4), (1 << 17, 4)], 64),
            LOOKUP => {
                let name = self.0[40..].split(|byte| *byte == 0).next();
                let found = FILES
                    .iter()
                    .position(|known| Some(known.as_bytes()) == name);
                let Some(found) = found else {
                    return Answer::Fails(Errno::NOENT);
                };
                let file = found as u64 + 2;
                let mut entry = numbers(
                    &[(file, 8), (0, 8), (HOUR, 8), (HOUR, 8), (0, 4), (0, 4)],
                    40,
                );
                entry.extend(attributes(file));
                entry
            }
            GETATTR | SETATTR => {
                let mut answer = numbers(&[(HOUR, 8), (0, 4), (0, 4)], 16);
                answer.extend(attributes(self.file()));
                answer
            }
            // Past the page cache, so that what is answered to a read or a write is what it returns.
            OPEN => numbers(&[(0, 8), (u64::from(self.file() != 2), 4)], 16),
            READ => {
                let (from, length) = self.stretch();
                let most = if self.file() == HALVES { HALF } else { length };
                let end = LENGTH.min(from + length.min(most));
                (from..end.max(from)).map(byte_at).collect()
            }
            WRITE if self.file() == FULL => return Answer::Fails(Errno::NOSPC),
            WRITE => {
                let (at, length) = self.stretch();
                let length = if self.file() == HALVES {
                    length.min(HALF)
                } else {
                    length
                };
                let part = self.0[80..80 + length].to_vec();
                orders.written.lock().unwrap().push((at, part));
                numbers(&[(length as u64, 4)], 8)
            }
            STATFS => vec![0; 80],
            RELEASE | FLUSH | FSYNC => Vec::new(),
            FORGET | BATCH_FORGET | INTERRUPT => return Answer::None,
            _ => return Answer::Fails(Errno::NOSYS),
        })
    }
}

const HOUR: u64 = 3600;

fn attributes(file: u64) -> Vec<u8> {
    let (size, mode) = match file {
        1 => (0, 0o040_755),
        _ => (LENGTH as u64, 0o100_644),
    };
    let times = [(0, 8), (0, 8), (0, 8), (0, 4), (0, 4), (0, 4)];
    let mut all = numbers(&[(file, 8), (size, 8), (0, 8)], 24);
    all.extend(numbers(&times, 36));
    all.extend(numbers(&[(mode, 4), (1, 4)], 28));
    all
}

/// Numbers and how many bytes each has, then zeroes up to `length`.
fn numbers(numbers: &[(u64, usize)], length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, length) in numbers {
        bytes.extend(&number.to_le_bytes()[..*length]);
    }
    bytes.resize(length, 0);
    bytes
}
