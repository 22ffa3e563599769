//! How a call gets to its tier, and what its error says.

use crate::Handle;
use peu_reactor::cannot;
use peu_reactor::file::{Answer, Call};
use std::fmt::Display;
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

/// Runs `job` on the pool of the current runtime, again if a signal interrupts it; an error says what was tried on which path.
pub(super) async fn on_path<T: Send + 'static>(
    what: impl Display,
    path: impl AsRef<Path>,
    mut job: impl FnMut(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let path = path.as_ref();
    let owned = path.to_owned();
    let done = on_pool(&Handle::current(), move || uninterrupted(|| job(&owned))).await;
    done.map_err(|error| failed(what, path, error))
}

/// Runs `job` on the pool.
pub(super) async fn on_pool<T: Send + 'static>(
    runtime: &Handle,
    job: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = Arc::new(Mutex::new(None));
    let place = done.clone();
    let job = Call::job(move || {
        let outcome = job();
        *locked(&place) = Some(outcome);
    });
    perform(runtime, job).await?;
    let outcome = locked(&done).take();
    outcome.expect("a job that was performed has left its outcome")
}

/// Has a call done by whichever tier does it; an error says what was tried on which path.
pub(super) async fn call_on_path(
    what: impl Display,
    path: &Path,
    call: io::Result<Call>,
) -> io::Result<Answer> {
    let done = async { perform(&Handle::current(), call?).await };
    let (_, answer) = done.await.map_err(|error| failed(what, path, error))?;
    Ok(answer)
}

/// Has a call done by whichever tier does it.
pub(super) async fn perform(runtime: &Handle, call: Call) -> io::Result<(Call, Answer)> {
    let (call, answer) = runtime.reactor().perform(call).await;
    Ok((call, answer?))
}

fn locked<T>(place: &Mutex<T>) -> MutexGuard<'_, T> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets others run first when this task has had its share of its worker.
pub(super) async fn take_turns() {
    poll_fn(|cx| {
        if peu_scheduler::budget::spend() {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Repeats a call as long as a signal interrupts it.
pub(super) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Puts before an error of the system what was tried on which path.
pub(super) fn failed(what: impl Display, path: &Path, cause: io::Error) -> io::Error {
    cannot(format_args!("{what} {}", path.display()), cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_call_is_repeated() {
        let mut left = 3;
        let done = uninterrupted(|| {
            left -= 1;
            if left > 0 {
                Err(io::ErrorKind::Interrupted.into())
            } else {
                Ok(left)
            }
        });
        assert_eq!(done.unwrap(), 0);
    }
}
