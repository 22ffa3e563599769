//! A child process that runs.

use super::{ExitStatus, Output};
use crate::Handle;
use crate::io::{PipeReader, PipeWriter};
use peu_reactor::cannot;
use peu_reactor::{Async, Reactor, process};
use std::cell::Cell;
use std::ffi::OsString;
use std::future::{Future, poll_fn};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

/// How long one that was killed may take at the end of its runtime: much longer than the system needs, unless it waits for a
/// disk or a server that does not answer, and then nobody should wait with it.
const LONGEST_END: Duration = Duration::from_secs(1);
/// About what the system needs to end a small process.
const LOOK_AGAIN: Duration = Duration::from_micros(200);

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
/// status is collected when it ends, as long as the runtime lives, so that nothing of it remains in the system. One that
/// is killed leaves nothing at the end of the runtime either, which waits a second at most for those
/// that it drops.
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
    /// The program, for errors.
    name: OsString,
    /// None: the system has no such descriptors, or had none left.
    end: Option<Async<OwnedFd>>,
    reactor: Reactor,
    /// It ends without anybody's doing.
    killed: bool,
}

impl Child {
    pub(super) fn new(
        mut child: std::process::Child,
        name: OsString,
        runtime: Handle,
        kill_on_drop: bool,
    ) -> io::Result<Child> {
        let reactor = runtime.reactor().clone();
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let running = Running {
            end: process::end_of(child.id(), &reactor).ok(),
            child,
            name,
            reactor: reactor.clone(),
            killed: false,
        };
        let mut child = Child {
            stdin: None,
            stdout: None,
            stderr: None,
            running: Some(running),
            runtime,
            // What can't be handed to who started it goes at once.
            kill_on_drop: true,
        };
        child.stdin = registered(pipes.0, &reactor)?;
        child.stdout = registered(pipes.1, &reactor)?;
        child.stderr = registered(pipes.2, &reactor)?;
        child.kill_on_drop = kill_on_drop;
        Ok(child)
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
        let running = self.running_mut();
        let status = running.child.try_wait();
        status.map_err(|error| running.failed("wait for", error))
    }

    /// Ends it by force (SIGKILL), without waiting until it is gone.
    ///
    /// # Errors
    ///
    /// When it may not be ended by this process. That it has ended already is no error.
    pub fn start_kill(&mut self) -> io::Result<()> {
        self.running_mut().kill()
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
            stdout: stdout.map_err(|error| self.running().failed("read the output of", error))?,
            stderr: stderr.map_err(|error| self.running().failed("read the errors of", error))?,
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
            let _ = running.kill();
        }
        if !matches!(running.child.try_wait(), Ok(None)) {
            return;
        }
        // A task sees to it that nothing remains of it.
        drop(self.runtime.spawn(async move { running.wait().await }));
    }
}

impl Running {
    fn kill(&mut self) -> io::Result<()> {
        let killed = self.child.kill();
        killed.map_err(|error| self.failed("kill", error))?;
        self.killed = true;
        Ok(())
    }

    async fn wait(&mut self) -> io::Result<ExitStatus> {
        let child = &mut self.child;
        let ended = match &self.end {
            Some(end) => {
                let not_yet = || io::Error::from(io::ErrorKind::WouldBlock);
                end.read_with(|_| child.try_wait()?.ok_or_else(not_yet))
                    .await
            }
            None => process::look_for_end(|| child.try_wait(), &self.reactor).await,
        };
        ended.map_err(|error| self.failed("wait for", error))
    }

    fn failed(&self, what: &str, cause: io::Error) -> io::Error {
        cannot(format_args!("{what} {}", self.name.display()), cause)
    }
}

/// Dropped while it runs, if the runtime takes no task that would wait for it. One that was killed is gone in a moment,
/// and leaves nothing if somebody waits for that. Many are dropped one after the other at the end of a runtime: once one has been waited
/// for in vain, the others are only looked at.
impl Drop for Running {
    fn drop(&mut self) {
        let begin = Instant::now();
        let in_vain = IN_VAIN.get().is_some_and(|end| begin < end);
        let limit = begin + if in_vain { Duration::ZERO } else { LONGEST_END };
        while self.killed && matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= limit {
                IN_VAIN.set(Some(Instant::now() + LONGEST_END));
                break;
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

thread_local! {
    /// Until when this thread waits for no other child that was killed.
    static IN_VAIN: Cell<Option<Instant>> = const { Cell::new(None) };
}

fn registered<P: Into<OwnedFd>, T: AsFd + From<OwnedFd>>(
    pipe: Option<P>,
    reactor: &Reactor,
) -> io::Result<Option<Async<T>>> {
    pipe.map(|pipe| Async::with_reactor(T::from(pipe.into()), reactor))
        .transpose()
}

/// What is read at once of what a child has said: mostly all of it. A full pipe has four times as much.
const PIECE: usize = 16 * 1024;

async fn read_all(pipe: Option<PipeReader>) -> io::Result<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; PIECE]);
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
    use super::Child;
    use crate::fs::Tiers;
    use crate::process::{Command, Stdio};
    use crate::time::timeout;
    use crate::{LocalRuntime, Runtime, fs};
    use std::path::Path;
    use std::time::{Duration, Instant};

    /// As on a system without descriptors of processes.
    fn without_descriptor(command: &mut Command) -> Child {
        let mut child = command.spawn().unwrap();
        child.running_mut().end = None;
        child
    }

    fn sleeper() -> Child {
        without_descriptor(Command::new("sleep").arg("1000").kill_on_drop(true))
    }

    #[test]
    fn where_there_is_no_descriptor_it_is_looked_at() {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        runtime.block_on(async {
            let mut shell = Command::new("sh");
            shell.args(["-c", "read line; exit 7"]);
            let mut child = without_descriptor(shell.stdin(Stdio::piped()));
            assert!(child.try_wait().unwrap().is_none());
            let status = child.wait().await.unwrap();
            assert_eq!(status.code(), Some(7));
            assert_eq!(child.wait().await.unwrap(), status, "again");
        });
    }

    #[test]
    fn waits_without_a_descriptor_hold_no_thread() {
        let builder = LocalRuntime::builder().max_blocking_threads(2);
        let runtime = builder.file_tiers(Tiers::POOL).build_local().unwrap();
        runtime.block_on(async {
            let mut child = sleeper();
            for _ in 0..2 {
                let pause = Duration::from_millis(20);
                assert!(timeout(pause, child.wait()).await.is_err());
            }
            fs::read("/proc/self/stat").await.unwrap();
        });
    }

    #[test]
    fn a_runtime_ends_while_a_child_without_a_descriptor_lives() {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        let mut child = {
            let _inside = runtime.enter();
            sleeper()
        };
        runtime.block_on(async {
            let pause = Duration::from_millis(20);
            assert!(timeout(pause, child.wait()).await.is_err());
        });
        drop(runtime);
        let error = futures_lite::future::block_on(child.wait()).unwrap_err();
        assert!(error.to_string().contains("runtime is gone"), "{error}");
        let id = child.id();
        drop(child);
        assert!(!exists(id));
    }

    #[test]
    fn a_child_that_can_not_be_waited_for_is_ended() {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        let handle = runtime.handle().clone();
        drop(runtime);
        let mut sleep = std::process::Command::new("sleep");
        let child = sleep.arg("1000").stdin(Stdio::piped()).spawn().unwrap();
        let id = child.id();
        Child::new(child, "sleep".into(), handle, false).unwrap_err();
        assert!(!exists(id));
    }

    /// As those that are killed and wait for a disk: together they are waited for no longer than one of them.
    #[test]
    fn many_that_do_not_end_are_waited_for_once() {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        let mut children: Vec<Child> = {
            let _inside = runtime.enter();
            (0..100).map(|_| sleeper()).collect()
        };
        drop(runtime);
        let ids: Vec<u32> = children.iter().map(Child::id).collect();
        for child in &mut children {
            (child.kill_on_drop, child.running_mut().killed) = (false, true);
        }
        let begin = Instant::now();
        drop(children);
        // A second for each would be a hundred.
        assert!(begin.elapsed() < Duration::from_secs(50));
        for id in ids {
            assert!(exists(id));
            let killed = std::process::Command::new("kill")
                .arg(id.to_string())
                .status();
            assert!(killed.unwrap().success());
        }
    }

    /// Whether there is such a process, if only what is left of it.
    fn exists(process: u32) -> bool {
        Path::new(&format!("/proc/{process}")).exists()
    }
}
