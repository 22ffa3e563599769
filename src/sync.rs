//! Channels, locks and notifications between tasks: the crates that the field has for them, and which to use when. With the
//! feature `sync`.
//!
//! Nothing here is peu's own, and nothing of it needs a runtime: what waits is woken by a [`Waker`](std::task::Waker), on
//! this runtime as on any other.
//!
//! | you want to | use |
//! |---|---|
//! | hand values from tasks to a task, with a bound that holds the senders back | [`bounded`] |
//! | the same without a bound, where the senders are known to be slower | [`unbounded`] |
//! | hand values to whichever of several tasks is free | [`bounded`]: receivers can be cloned, too |
//! | send one answer back | `bounded(1)`, sent along with the question; or return it from the task: a `JoinHandle` is one |
//! | share data that no `.await` happens under | [`std::sync::Mutex`], which is faster than any of these |
//! | hold a lock across an `.await` | [`Mutex`], or [`RwLock`] where reads are many and long |
//! | let at most so many do something at once | [`Semaphore`] |
//! | wait until a number of tasks have come to a point | [`Barrier`] |
//! | make a value once, whoever comes first | [`OnceCell`] |
//! | tell tasks that something has changed, whatever it is | [`Event`]: listen, then look, then wait |
//! | end a group of tasks | no lock at all: [`TaskGroup`](crate::task::TaskGroup) |
//!
//! # Example
//!
//! ```
//! let runtime = peu::Runtime::new()?;
//! let sum = runtime.block_on(async {
//!     let (sender, receiver) = peu::sync::bounded(2);
//!     peu::spawn(async move {
//!         for number in 1..=10 {
//!             sender.send(number).await.unwrap();
//!         }
//!     });
//!     let mut sum = 0;
//!     while let Ok(number) = receiver.recv().await {
//!         sum += number;
//!     }
//!     sum
//! });
//! assert_eq!(sum, 55);
//! # Ok::<(), std::io::Error>(())
//! ```

pub use async_channel::{
    Receiver, RecvError, SendError, Sender, TryRecvError, TrySendError, bounded, unbounded,
};
pub use async_lock::{
    Barrier, Mutex, MutexGuard, MutexGuardArc, OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard,
    Semaphore, SemaphoreGuard, SemaphoreGuardArc,
};
pub use event_listener::{Event, EventListener, Listener};
