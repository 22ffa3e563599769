//! Where the system forbids the ring, files are read by threads, and the metrics say why.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use peu_reactor::file::{Answer, Call, Tiers};
use peu_reactor::{Offload, Reactor};
use std::fs::File;
use std::sync::{Arc, mpsc};
use std::{io, thread};

struct Threads;

impl Offload for Threads {
    fn offload(&self, job: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        thread::Builder::new().spawn(job).map(drop)
    }
}

/// As a container's filter does: from here on `io_uring_setup` fails with this error on the calling thread.
fn forbid_rings(error: i32) {
    let filter = [
        // Load the number of the system call ...
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        // ... and refuse this one.
        statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            libc::SYS_io_uring_setup as u32,
        ),
        statement(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | error as u32,
        ),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: it takes integers only.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(done, 0);
    // SAFETY: `program` describes `filter`, both live beyond the call, which copies them.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) };
    assert_eq!(done, 0);
}

fn statement(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

/// Refused by a filter, switched off (`io_uring_disabled`), and without the memory that may be locked.
#[test]
fn a_ring_that_is_refused_means_threads() {
    for error in [libc::EPERM, libc::ENOSYS, libc::ENOMEM] {
        let reads = thread::spawn(move || {
            forbid_rings(error);
            let builder = Reactor::builder().offload(Arc::new(Threads));
            let reactor = builder.file_tiers(Tiers::RING).build().unwrap();
            for _ in 0..2 {
                let file = Arc::new(File::open("Cargo.toml").unwrap());
                let (told, answer) = mpsc::channel();
                let call = Call::read(file, vec![0; 9], 0, Some(0));
                reactor.submit_call(call, move |call, answer| {
                    told.send((call.into_buffer(), answer)).unwrap();
                });
                let (buffer, answer) = answer.recv().unwrap();
                assert!(matches!(answer, Ok(Answer::Bytes(9))), "{answer:?}");
                assert_eq!(buffer, b"[package]");
            }
            reactor.files().metrics()
        });
        let files = reads.join().unwrap();
        assert_eq!(files.no_ring, Some(error));
        assert_eq!((files.ring, files.pool), (0, 2));
    }
}
