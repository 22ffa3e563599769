//! A file system that is a program, this one: the kernel asks it over `/dev/fuse` what a disk would be asked.
//!
//! It begins with one folder and four files, each [`LENGTH`] bytes of [`byte_at`]. By its orders it says nothing for a while, as a server
//! that is gone; and each file but the first has a fault of its own. What the kernel was told it may keep for an hour, so that
//! names and attributes are in its memory, where a runtime is tempted to look at them. But about what is interrupted it asks each time.

use rustix::io::Errno;
use std::collections::{BTreeMap, HashSet};
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
/// What each folder, and each symbolic link, that is made is.
const FOLDER: u64 = 6;
const LINK: u64 = 7;

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

struct Orders {
    is_silent: Mutex<bool>,
    changed: Condvar,
    /// The kinds of requests that were interrupted since it was ordered to.
    interrupted: Mutex<Option<HashSet<u64>>>,
    /// What is in the folder.
    names: Mutex<BTreeMap<Vec<u8>, u64>>,
    /// What the file `halves` was given to write.
    written: Mutex<Vec<(usize, Vec<u8>)>>,
}

impl Orders {
    fn new() -> Orders {
        let files = FILES.iter().zip(2..);
        let names = files.map(|(name, file)| (name.as_bytes().to_vec(), file));
        Orders {
            is_silent: Mutex::default(),
            changed: Condvar::default(),
            interrupted: Mutex::default(),
            names: Mutex::new(names.collect()),
            written: Mutex::default(),
        }
    }
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
        let orders = Arc::new(Orders::new());
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

    fn be_silent(&self, is_silent: bool) {
        *self.orders.is_silent.lock().unwrap() = is_silent;
        self.orders.changed.notify_all();
    }

    /// From here on it answers nothing until this is dropped, which a test that fails does first.
    pub(crate) fn silence(&self) -> Silence<'_> {
        self.be_silent(true);
        Silence(self)
    }

    /// From here on, the first request of each kind about what is to be interrupted fails, as if a signal had come.
    pub(crate) fn interrupt_once(&self) {
        *self.orders.interrupted.lock().unwrap() = Some(HashSet::new());
    }

    /// Whether that has happened.
    pub(crate) fn has_interrupted(&self) -> bool {
        let interrupted = self.orders.interrupted.lock().unwrap();
        interrupted.as_ref().is_some_and(|kinds| !kinds.is_empty())
    }

    /// What was written to `halves`: the part at each position, in order.
    pub(crate) fn written(&self) -> Vec<u8> {
        let written = self.orders.written.lock().unwrap();
        written.iter().flat_map(|(_, part)| part.clone()).collect()
    }
}

pub(crate) struct Silence<'a>(&'a Program);

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        self.0.be_silent(false);
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
    while let Ok(length) = kernel.read(&mut buffer) {
        let request = Request(&buffer[..length]);
        let silent = orders.is_silent.lock().unwrap();
        drop(orders.changed.wait_while(silent, |silent| *silent).unwrap());
        let mut kinds = orders.interrupted.lock().unwrap();
        let is_first = request.is_interrupted()
            && kinds
                .as_mut()
                .is_some_and(|kinds| kinds.insert(request.what()));
        drop(kinds);
        let answer = match is_first {
            true => Answer::Fails(Errno::INTR),
            false => request.answer(orders),
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
const READLINK: u64 = 5;
const SYMLINK: u64 = 6;
const MKDIR: u64 = 9;
const UNLINK: u64 = 10;
const RMDIR: u64 = 11;
const RENAME: u64 = 12;
const LINK_TO: u64 = 13;
const OPEN: u64 = 14;
const READ: u64 = 15;
const WRITE: u64 = 16;
const STATFS: u64 = 17;
const RELEASE: u64 = 18;
const FSYNC: u64 = 20;
const FLUSH: u64 = 25;
const INIT: u64 = 26;
const OPENDIR: u64 = 27;
const READDIR: u64 = 28;
const RELEASEDIR: u64 = 29;
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

    /// The texts behind the head and so many numbers' bytes: names, each with a zero at its end.
    fn name(&self, skipped: usize, which: usize) -> Vec<u8> {
        let mut names = self.0[40 + skipped..].split(|byte| *byte == 0);
        names.nth(which).unwrap_or_default().to_vec()
    }

    /// Whether it is about what a signal may interrupt: a folder's list, and all of which the name says so.
    fn is_interrupted(&self) -> bool {
        match self.what() {
            OPENDIR | READDIR => true,
            LOOKUP | SYMLINK | UNLINK | RMDIR => self.name(0, 0).starts_with(b"interrupted"),
            MKDIR | RENAME | LINK_TO => self.name(8, 0).starts_with(b"interrupted"),
            READ | WRITE | OPEN | FSYNC | GETATTR | SETATTR | READLINK => {
                self.file() >= INTERRUPTED
            }
            _ => false,
        }
    }

    fn answer(&self, orders: &Orders) -> Answer {
        if let Some(answer) = self.answer_about_names(&mut orders.names.lock().unwrap()) {
            return answer;
        }
        Answer::Is(match self.what() {
            // The version that is spoken, and how much one write brings.
            INIT => numbers(&[(7, 4), (31, 4), (0, 4), (0, 4), (0, 4), (1 << 17, 4)], 64),
            GETATTR | SETATTR => {
                let mut answer = numbers(&[(valid(self.file()), 8), (0, 4), (0, 4)], 16);
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
            OPENDIR => vec![0; 16],
            READLINK => FILES[0].into(),
            RELEASE | RELEASEDIR | FLUSH | FSYNC => Vec::new(),
            FORGET | BATCH_FORGET | INTERRUPT => return Answer::None,
            _ => return Answer::Fails(Errno::NOSYS),
        })
    }

    /// What is asked of the folder, and of those in it, which are empty.
    fn answer_about_names(&self, names: &mut BTreeMap<Vec<u8>, u64>) -> Option<Answer> {
        let mut made = |name, file| {
            names.insert(name, file);
            entry(file)
        };
        Some(Answer::Is(match self.what() {
            LOOKUP => match names.get(&self.name(0, 0)) {
                Some(file) => entry(*file),
                None => return Some(Answer::Fails(Errno::NOENT)),
            },
            MKDIR => made(self.name(8, 0), FOLDER),
            SYMLINK => made(self.name(0, 0), LINK),
            LINK_TO => made(self.name(8, 0), self.number(40, 8)),
            UNLINK | RMDIR => {
                names.remove(&self.name(0, 0));
                Vec::new()
            }
            RENAME => {
                let file = names.remove(&self.name(8, 0))?;
                names.insert(self.name(8, 1), file);
                Vec::new()
            }
            READDIR if self.file() == 1 && self.number(48, 8) == 0 => {
                names.iter().flat_map(listed).collect()
            }
            READDIR => Vec::new(),
            _ => return None,
        }))
    }
}

/// What is at a name.
fn entry(file: u64) -> Vec<u8> {
    let valid = valid(file);
    let mut entry = numbers(
        &[(file, 8), (0, 8), (valid, 8), (valid, 8), (0, 4), (0, 4)],
        40,
    );
    entry.extend(attributes(file));
    entry
}

/// A name in the list of the folder. What it names is not told: who wants to know asks for it.
fn listed((name, file): (&Vec<u8>, &u64)) -> Vec<u8> {
    let length = name.len() as u64;
    let mut entry = numbers(&[(*file, 8), (1, 8), (length, 4), (0, 4)], 24);
    entry.extend(name);
    entry.resize(entry.len().next_multiple_of(8), 0);
    entry
}

/// For how many seconds the kernel need not ask again: an hour, or not at all.
fn valid(file: u64) -> u64 {
    if file >= INTERRUPTED { 0 } else { 3600 }
}

fn attributes(file: u64) -> Vec<u8> {
    let (size, mode) = match file {
        1 | FOLDER => (0, 0o040_755),
        LINK => (FILES[0].len() as u64, 0o120_777),
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
