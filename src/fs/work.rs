//! How a call gets to its tier, and what its error says.

use crate::Handle;
use peu_reactor::file::{Answer, Call};
use std::fmt::{self, Display};
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

/// Runs `job` on the pool of the current runtime; an error says what was tried on which path.
pub(super) async fn on_path<T: Send + 'static>(
    what: impl Display,
    path: impl AsRef<Path>,
    job: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let path = path.as_ref();
    let owned = path.to_owned();
    let done = on_pool(&Handle::current(), move || job(&owned)).await;
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
    let tried = format!("cannot {what} {}", path.display());
    io::Error::new(cause.kind(), Failed { tried, cause })
}

/// What was tried, and why it failed.
#[derive(Debug)]
struct Failed {
    tried: String,
    cause: io::Error,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.tried, self.cause)
    }
}

impl std::error::Error for Failed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_kind_and_its_source() {
        let error = failed("open", Path::new("a/b"), io::Error::from_raw_os_error(2));
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(
            error.to_string().starts_with("cannot open a/b: "),
            "{error}"
        );
        let source = error.get_ref().and_then(|failed| failed.source()).unwrap();
        let source: &io::Error = source.downcast_ref().unwrap();
        assert_eq!(source.raw_os_error(), Some(2));
    }

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
