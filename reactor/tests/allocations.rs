//! What waiting costs in allocations: none, once the buffers have grown to what the program needs.

mod support;

use peu_reactor::{Async, Reactor, time::sleep};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::Future;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::task::Context;
use std::time::Duration;
use support::{Wakes, turn};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches a thread-local without a destructor and
// allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `pointer` came from `alloc`, so from the system.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations per round, after some rounds to warm up.
fn allocations_of(mut round: impl FnMut()) -> usize {
    (0..10).for_each(|_| round());
    let before = ALLOCATIONS.get();
    (0..100).for_each(|_| round());
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations_of(|| drop(Box::new(1))), 100);
}

#[test]
fn waiting_for_a_source_or_a_timer_allocates_nothing() {
    let reactor = Reactor::new().unwrap();
    let _entered = reactor.enter();
    let (here, mut there) = UnixStream::pair().unwrap();
    let here = Async::new(here).unwrap();
    let wakes = Wakes::new();
    let waker = wakes.waker();

    let count = allocations_of(|| {
        let mut context = Context::from_waker(&waker);
        let mut read = pin!(here.read_with(|mut stream| stream.read(&mut [0; 8])));
        let mut timeout = pin!(sleep(Duration::from_secs(100)));
        assert!(read.as_mut().poll(&mut context).is_pending());
        assert!(timeout.as_mut().poll(&mut context).is_pending());
        assert!(here.poll_readable(&mut context).is_pending());
        there.write_all(b"x").unwrap();
        let before = wakes.count();
        while wakes.count() == before {
            turn(&reactor);
        }
        assert!(read.as_mut().poll(&mut context).is_ready());
    });
    assert_eq!(count, 0);
}
