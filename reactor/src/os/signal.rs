//! Signals become bytes in pipes: the handler, and the table that it reads.
//!
//! A handler may run on any thread between any two instructions, so it does nothing but load atomics and write to
//! descriptors. The table has one place per listener. A place owns a pipe for good: it is given to the next listener when one
//! goes, and never closed, so a handler that is late writes to a pipe and never to a stranger's descriptor. It writes the
//! signal's number, and a listener skips the numbers of its predecessors.
//!
//! A process has one table and one handler per signal, whoever asks. That can't be otherwise; it is the only state of peu that
//! belongs to no runtime.

use crate::error::cannot;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Listeners at once in a process. Each is a pipe once it was used; a program has a handful.
const PLACES: usize = 64;

/// Signals have smaller numbers, real-time ones included.
const SIGNALS: usize = 65;

/// One listener.
struct Place {
    /// The signal that it listens to; 0 while it is free.
    signal: AtomicI32,
    /// Where the handler writes.
    writer: AtomicI32,
    pipe: OnceLock<(PipeReader, PipeWriter)>,
}

static TABLE: [Place; PLACES] = [const {
    Place {
        signal: AtomicI32::new(0),
        writer: AtomicI32::new(-1),
        pipe: OnceLock::new(),
    }
}; PLACES];

/// The handlers that were there before ours, as addresses; 0: none that would have to be called.
static FORMER: [AtomicU64; SIGNALS] = [const { AtomicU64::new(0) }; SIGNALS];

/// The signals whose handler is ours. Also held while a place is taken.
static INSTALLED: Mutex<[bool; SIGNALS]> = Mutex::new([false; SIGNALS]);

/// A place in the table, for one signal. What comes from its making on is in its pipe.
pub(crate) struct Seat {
    place: &'static Place,
    signal: i32,
}

impl Seat {
    /// Takes a place, and installs the handler if it is the first for its signal.
    pub(crate) fn take(signal: i32) -> io::Result<Seat> {
        check(signal)?;
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        // ORDERING: Relaxed. Places are taken under this lock.
        let is_free = |place: &&Place| place.signal.load(Ordering::Relaxed) == 0;
        let place = TABLE.iter().find(is_free).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::QuotaExceeded,
                format!(
                    "{PLACES} listeners for signals are all that a process can have: drop some"
                ),
            )
        })?;
        let (reader, writer) = match place.pipe.get() {
            Some(pipe) => pipe,
            None => {
                let pipe = io::pipe();
                let (reader, writer) =
                    pipe.map_err(|error| cannot("make a pipe for signals", error))?;
                super::set_nonblocking(reader.as_fd())?;
                super::set_nonblocking(writer.as_fd())?;
                place.pipe.get_or_init(|| (reader, writer))
            }
        };
        // What came for a former listener.
        empty(reader)?;
        // ORDERING: Relaxed, for the Release below covers it.
        place.writer.store(writer.as_raw_fd(), Ordering::Relaxed);
        // ORDERING: Release pairs with the Acquire of the handler, which then sees the descriptor.
        place.signal.store(signal, Ordering::Release);
        let seat = Seat { place, signal };
        // Behind the place: a signal that comes meanwhile has its usual effect, or is heard.
        if !installed[signal as usize] {
            install(signal)?;
            installed[signal as usize] = true;
        }
        Ok(seat)
    }

    /// A descriptor to wait on and to read from.
    pub(crate) fn reader(&self) -> io::Result<PipeReader> {
        match self.place.pipe.get() {
            Some((reader, _)) => reader
                .try_clone()
                .map_err(|error| cannot("duplicate a pipe for signals", error)),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    pub(crate) fn signal(&self) -> i32 {
        self.signal
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // ORDERING: Release pairs with nobody's need: a handler that still sees the old number writes to the same pipe.
        self.place.signal.store(0, Ordering::Release);
    }
}

/// Takes out what is in a pipe that never blocks.
fn empty(mut pipe: &PipeReader) -> io::Result<()> {
    let mut old = [0; 64];
    loop {
        match pipe.read(&mut old) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Those that can't be caught, and those that the system sends to a thread for its own fault, where going on would mean to
/// fault again.
fn check(signal: i32) -> io::Result<()> {
    let refused = [
        libc::SIGKILL,
        libc::SIGSTOP,
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
    ];
    if signal <= 0 || signal as usize >= SIGNALS || refused.contains(&signal) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("nobody can listen to signal {signal}"),
        ));
    }
    Ok(())
}

/// Puts our handler in. What was there before is called by it.
fn install(signal: i32) -> io::Result<()> {
    let mut former = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only asks; the call writes into the struct that it is given.
    if unsafe { libc::sigaction(signal, std::ptr::null(), former.as_mut_ptr()) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all zeroes are a valid sigaction, and the call has filled it in.
    let former = unsafe { former.assume_init() };
    let is_function = ![libc::SIG_DFL, libc::SIG_IGN].contains(&former.sa_sigaction);
    // Its kind is in the highest bit, which no address of a program has.
    let kind = u64::from(former.sa_flags & libc::SA_SIGINFO != 0) << 63;
    let address = if is_function {
        former.sa_sigaction as u64 | kind
    } else {
        0
    };
    // ORDERING: Release pairs with the Acquire of the handler, which is installed after this.
    FORMER[signal as usize].store(address, Ordering::Release);

    // SAFETY: all zeroes are a valid sigaction.
    let mut ours: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    ours.sa_sigaction = handle as *const () as usize;
    // System calls go on after it, and it runs on the stack for signals where a thread has one.
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: `handle` has the signature that SA_SIGINFO asks for, and does only what a handler may do.
    if unsafe { libc::sigaction(signal, &ours, std::ptr::null_mut()) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

type Plain = extern "C" fn(libc::c_int);
type WithInfo = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// Async-signal-safe: it loads atomics, writes to pipes that never block, and leaves `errno` as it was.
extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let error = errno();
    for place in &TABLE {
        // ORDERING: Acquire pairs with the Release in `take`: whose number is seen, his descriptor is seen.
        if place.signal.load(Ordering::Acquire) == signal {
            // ORDERING: Relaxed, as just said.
            let writer = place.writer.load(Ordering::Relaxed);
            let byte = signal as u8;
            // SAFETY: it reads one byte of this stack. The pipe is never closed. A full one has unread news anyway.
            unsafe { libc::write(writer, (&raw const byte).cast(), 1) };
        }
    }
    // ORDERING: Acquire pairs with the Release in `install`.
    let former = FORMER[signal as usize].load(Ordering::Acquire);
    if former != 0 {
        call_former(former, signal, info, context);
    }
    set_errno(error);
}

fn call_former(
    former: u64,
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let address = (former & !(1 << 63)) as usize as *const ();
    if former >> 63 == 1 {
        // SAFETY: the system gave the address as that of a handler with SA_SIGINFO.
        let handler: WithInfo = unsafe { std::mem::transmute(address) };
        handler(signal, info, context);
    } else {
        // SAFETY: the system gave the address as that of a handler without SA_SIGINFO.
        let handler: Plain = unsafe { std::mem::transmute(address) };
        handler(signal);
    }
}

fn errno() -> libc::c_int {
    // SAFETY: the address is this thread's own, and always valid.
    unsafe { *errno_address() }
}

fn set_errno(error: libc::c_int) {
    // SAFETY: the address is this thread's own, and always valid.
    unsafe { *errno_address() = error };
}

fn errno_address() -> *mut libc::c_int {
    #[cfg(any(target_os = "linux", target_os = "dragonfly"))]
    // SAFETY: it takes nothing and returns an address.
    return unsafe { libc::__errno_location() };
    #[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
    // SAFETY: it takes nothing and returns an address.
    return unsafe { libc::__errno() };
    #[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
    // SAFETY: it takes nothing and returns an address.
    return unsafe { libc::__error() };
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::Reactor;
    use crate::signal::Signal;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Context, Poll, Waker};

    static CALLED: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn former(_: libc::c_int) {
        CALLED.fetch_add(1, Ordering::SeqCst);
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no sigaction")]
    fn the_handler_that_was_there_is_called_as_well() {
        // SAFETY: all zeroes are a valid sigaction.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction = former as *const () as usize;
        // SAFETY: `former` has the signature of a handler without SA_SIGINFO, and adds to an atomic.
        let set = unsafe { libc::sigaction(libc::SIGURG, &action, std::ptr::null_mut()) };
        assert_eq!(set, 0);
        let seats = [libc::SIGURG, libc::SIGURG].map(|signal| Seat::take(signal).unwrap());
        set_errno(libc::EXDEV);
        raise(libc::SIGURG);
        assert_eq!(errno(), libc::EXDEV);
        assert_eq!(CALLED.load(Ordering::SeqCst), 1);
        for seat in &seats {
            let mut news = [0; 8];
            assert_eq!(seat.reader().unwrap().read(&mut news).unwrap(), 1);
            assert_eq!(i32::from(news[0]), libc::SIGURG);
        }
    }

    fn raise(signal: libc::c_int) {
        // SAFETY: it takes an integer.
        assert_eq!(unsafe { libc::raise(signal) }, 0);
    }

    fn hears(listener: &mut Signal) -> bool {
        let polled = listener.poll_recv(&mut Context::from_waker(Waker::noop()));
        matches!(polled, Poll::Ready(Ok(())))
    }

    /// A signal that comes before its listener is complete has no other effect any more, so it must not be lost. One that the
    /// listener before did not hear is no news.
    #[test]
    #[cfg_attr(miri, ignore = "Miri has no sigaction")]
    fn a_listener_hears_all_from_its_place_on_and_nothing_before() {
        let reactor = Reactor::new().unwrap();
        for _ in 0..3 {
            let seat = Seat::take(libc::SIGPROF).unwrap();
            raise(libc::SIGPROF);
            let mut listener = Signal::with_seat(seat, &reactor).unwrap();
            assert!(hears(&mut listener));
            assert!(!hears(&mut listener));
            raise(libc::SIGPROF);
        }
    }
}
