//! `Async` waits for whatever the system can wait for: here a timer, a watch on a folder, and a terminal.

#![cfg(target_os = "linux")]

mod support;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use peu_reactor::{Async, Reactor};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr::{null, null_mut};
use support::block_on;

/// The descriptor that a call has made, as something that can be read and written.
fn made(descriptor: libc::c_int) -> File {
    assert_ne!(descriptor, -1, "{}", io::Error::last_os_error());
    // SAFETY: the call has just made it, so it is open, and nobody else owns it.
    unsafe { File::from_raw_fd(descriptor) }
}

fn wait_for(reactor: &Reactor, descriptor: File) -> Async<File> {
    Async::with_reactor(descriptor, reactor).unwrap()
}

#[test]
fn a_timerfd_can_be_waited_for() {
    let reactor = Reactor::new().unwrap();
    // SAFETY: takes and returns plain integers.
    let timer = made(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) });
    let nothing = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let soon = libc::itimerspec {
        it_interval: nothing,
        it_value: libc::timespec {
            tv_sec: 0,
            tv_nsec: 20_000_000,
        },
    };
    // SAFETY: `soon` is valid for the call, which only reads it; a null old value is allowed.
    let set = unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &soon, null_mut()) };
    assert_eq!(set, 0);
    let timer = wait_for(&reactor, timer);
    let mut count = [0; 8];
    let read = timer.read_with(|mut timer| timer.read(&mut count));
    assert_eq!(block_on(&reactor, read).unwrap(), 8);
    assert_eq!(u64::from_ne_bytes(count), 1);
}

#[test]
fn an_inotify_can_be_waited_for() {
    let reactor = Reactor::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    // SAFETY: takes and returns plain integers.
    let watch = made(unsafe { libc::inotify_init1(libc::IN_CLOEXEC) });
    let path = [folder.path().as_os_str().as_bytes(), b"\0"].concat();
    // SAFETY: `path` ends with a NUL and is valid for the call.
    let added = unsafe {
        libc::inotify_add_watch(watch.as_raw_fd(), path.as_ptr().cast(), libc::IN_CREATE)
    };
    assert_ne!(added, -1);
    let watch = wait_for(&reactor, watch);
    let mut events = [0; 1024];
    let read = watch.read_with(|mut watch| watch.read(&mut events));
    let create = async {
        futures_lite::future::yield_now().await;
        File::create(folder.path().join("new.txt")).unwrap();
    };
    let (read, _) = block_on(&reactor, futures_lite::future::zip(read, create));
    let events = &events[..read.unwrap()];
    assert!(events.windows(7).any(|name| name == b"new.txt"));
}

#[test]
fn a_terminal_can_be_waited_for() {
    let reactor = Reactor::new().unwrap();
    let (mut ours, mut theirs) = (-1, -1);
    // SAFETY: both places are valid for the call; without a name and settings of their own, defaults are taken.
    let opened = unsafe {
        libc::openpty(
            &mut ours,
            &mut theirs,
            null_mut(),
            null::<libc::termios>().cast_mut(),
            null::<libc::winsize>().cast_mut(),
        )
    };
    assert_eq!(opened, 0, "{}", io::Error::last_os_error());
    let (keyboard, mut terminal) = (
        wait_for(&reactor, made(ours)),
        wait_for(&reactor, made(theirs)),
    );
    let mut keyboard = &keyboard;
    let mut line = [0; 64];
    let read = terminal.read(&mut line);
    let typed = async {
        futures_lite::future::yield_now().await;
        keyboard.write_all(b"hello\n").await.unwrap();
    };
    let (read, ()) = block_on(&reactor, futures_lite::future::zip(read, typed));
    assert_eq!(&line[..read.unwrap()], b"hello\n");
}
