//! A child process that runs.

use super::{ExitStatus, Output};
use crate::Handle;
use crate::fs::on_pool;
use crate::io::{PipeReader, PipeWriter};
use peu_reactor::{Async, process};
use std::future::{Future, poll_fn};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::task::Poll;

/// The way into a child. To make it another child's output, hand over [`into_blocking`](peu_reactor::Async::into_blocking)
/// of it: this end of the pipe never blocks otherwise, and most programs take that for an error.
pub type ChildStdin = PipeWriter;
/// The way out of a child. To make it another child's input, hand over [`into_blocking`](peu_reactor::Async::into_blocking)
/// of it, for the same reason.
///
/// # Example
///
/// ```
/// use peu::process::{Command, Stdio};
///
/// let runtime = peu::Runtime::new()?;
/// runtime.block_on(async {
///     let mut words = Command::new("echo").arg("b c a").stdout(Stdio::piped()).spawn()?;
///     let words_out = words.stdout.take().unwrap();
///     let count = Command::new("wc").arg("-w").stdin(words_out.into_blocking()?).output().await?;
///     assert_eq!(count.stdout.trim_ascii(), b"3");
///     assert!(words.wait().await?.success());
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub type ChildStdout = PipeReader;
/// The other way out of a child: as [`ChildStdout`].
pub type ChildStderr = PipeReader;

/// A child process; from [`Command::spawn`](super::Command::spawn).
///
/// Dropping it does not end the process, unless [`kill_on_drop`](super::Command::kill_on_drop) is set. Either way its
/// status is collected when it ends, as long as the runtime lives, so that nothing of it remains in the system.
///
/// # Example
///
/// ```
/// use futures_lite::{AsyncReadExt, AsyncWriteExt};
/// use peu::process::{Command, Stdio};
///
/// let runtime = peu::Runtime::new()?;
/// runtime.block_on(async {
///     let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
///     let (mut input, mut output) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
///     input.write_all(b"bonjour").await?;
///     drop(input);
///     let mut text = String::new();
///     output.read_to_string(&mut text).await?;
///     assert_eq!(text, "bonjour");
///     assert!(cat.wait().await?.success());
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Child {
    /// Its standard input, if that is a pipe. The child sees the end of it when this is dropped.
    pub stdin: Option<ChildStdin>,
    /// Its standard output, if that is a pipe.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, if that is a pipe.
    pub stderr: Option<ChildStderr>,
    /// None only while it is dropped.
    running: Option<Running>,
    runtime: Handle,
    kill_on_drop: bool,
}

/// The process itself.
#[derive(Debug)]
struct Running {
    child: std::process::Child,
    /// None: the system has no such descriptors.
    end: Option<Async<OwnedFd>>,
    runtime: Handle,
}

impl Child {
    pub(super) fn new(
        mut child: std::process::Child,
        runtime: Handle,
        kill_on_drop: bool,
    ) -> io::Result<Child> {
        let reactor = runtime.reactor();
        let stdin = child
            .stdin
            .take()
            .map(|pipe| Async::with_reactor(OwnedFd::from(pipe).into(), reactor));
        let stdout = child
            .stdout
            .take()
            .map(|pipe| Async::with_reactor(OwnedFd::from(pipe).into(), reactor));
        let stderr = child
            .stderr
            .take()
            .map(|pipe| Async::with_reactor(OwnedFd::from(pipe).into(), reactor));
        let end = process::end_of(child.id(), reactor).ok();
        let running = Running {
            child,
            end,
            runtime: runtime.clone(),
        };
        Ok(Child {
            stdin: stdin.transpose()?,
            stdout: stdout.transpose()?,
            stderr: stderr.transpose()?,
            running: Some(running),
            runtime,
            kill_on_drop,
        })
    }

    /// The number of the process. After it was waited for, the system may give it to another.
    pub fn id(&self) -> u32 {
        self.running().child.id()
    }

    /// Waits until it ends. Its standard input is closed first, so that a child that reads to the end of it can end.
    /// Afterwards it returns the same again.
    ///
    /// # Errors
    ///
    /// When something else has collected the child's status.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing, but the standard input is closed.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        self.running_mut().wait().await
    }

    /// Its status, if it has ended.
    ///
    /// # Errors
    ///
    /// As of [`wait`](Child::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.running_mut().child.try_wait()
    }

    /// Ends it by force (SIGKILL), without waiting until it is gone.
    ///
    /// # Errors
    ///
    /// When it may not be ended by this process. That it has ended already is no error.
    pub fn start_kill(&mut self) -> io::Result<()> {
        self.running_mut().child.kill()
    }

    /// Ends it by force (SIGKILL), and waits until it is gone.
    ///
    /// # Errors
    ///
    /// Those of [`start_kill`](Child::start_kill) and [`wait`](Child::wait).
    pub async fn kill(&mut self) -> io::Result<()> {
        self.start_kill()?;
        self.wait().await.map(drop)
    }

    /// Waits until it ends, and collects what it says through pipes, without a limit to how much.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Child::wait), and of reading.
    pub async fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        let (stdout, stderr) = both(read_all(stdout), read_all(stderr)).await;
        Ok(Output {
            status: self.wait().await?,
            stdout: stdout?,
            stderr: stderr?,
        })
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("taken only by drop")
    }

    fn running_mut(&mut self) -> &mut Running {
        self.running.as_mut().expect("taken only by drop")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        if self.kill_on_drop {
            // It has ended, or can't be ended: there is nobody to tell.
            let _ = running.child.kill();
        }
        if !matches!(running.child.try_wait(), Ok(None)) {
            return;
        }
        // A task sees to it that nothing remains of it.
        drop(self.runtime.spawn(async move { running.wait().await }));
    }
}

impl Running {
    async fn wait(&mut self) -> io::Result<ExitStatus> {
        let Running {
            child,
            end,
            runtime,
        } = self;
        let not_yet = || io::Error::from(io::ErrorKind::WouldBlock);
        match end {
            Some(end) => {
                end.read_with(|_| child.try_wait()?.ok_or_else(not_yet))
                    .await
            }
            None => {
                if let Some(status) = child.try_wait()? {
                    return Ok(status);
                }
                let id = child.id();
                on_pool(runtime, move || process::block_until_end_of(id)).await?;
                child.try_wait()?.ok_or_else(not_yet)
            }
        }
    }
}

async fn read_all(pipe: Option<PipeReader>) -> io::Result<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
    if let Some(pipe) = pipe {
        loop {
            match pipe.read_with(|mut pipe| pipe.read(&mut buffer)).await? {
                0 => break,
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
    }
    Ok(all)
}

/// Both at the same time: a child may wait for either of its pipes to be read.
async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(cx)
        {
            first = Some(output);
        }
        if second.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(cx)
        {
            second = Some(output);
        }
        match (first.take(), second.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            waiting => {
                (first, second) = waiting;
                Poll::Pending
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use crate::Runtime;
    use crate::process::Command;

    /// As on a system without descriptors of processes.
    #[test]
    fn a_thread_waits_where_there_is_no_descriptor() {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        runtime.block_on(async {
            let mut child = Command::new("sh")
                .args(["-c", "read line; exit 7"])
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            child.running_mut().end = None;
            assert!(child.try_wait().unwrap().is_none());
            let status = child.wait().await.unwrap();
            assert_eq!(status.code(), Some(7));
            assert_eq!(child.wait().await.unwrap(), status, "again");
        });
    }
}
