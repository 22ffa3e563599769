//! What to start, and how.

use super::child::Child;
use super::{ExitStatus, Output};
use crate::Handle;
use peu_reactor::cannot;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{self, Stdio};

/// What to start, and how: [`std::process::Command`], whose children are waited for without blocking.
///
/// A command that was made with std's, with settings that this one has not, becomes one by `From`.
///
/// # Example
///
/// ```
/// use peu::process::Command;
///
/// let runtime = peu::Runtime::new()?;
/// runtime.block_on(async {
///     let output = Command::new("echo").arg("bonjour").output().await?;
///     assert!(output.status.success());
///     assert_eq!(output.stdout, b"bonjour\n");
///
///     let error = Command::new("no-such-program").status().await.unwrap_err();
///     assert!(error.to_string().starts_with("cannot start no-such-program: "));
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Command {
    std: process::Command,
    /// Which streams were set: std's command can't be asked.
    set: Streams,
    kill_on_drop: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Streams {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

impl Command {
    /// A program, by its path, or by its name in `PATH`. Without arguments, and with this process's environment, folder
    /// and standard streams, unless told otherwise.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        process::Command::new(program).into()
    }

    /// One more argument.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Command {
        self.std.arg(argument);
        self
    }

    /// More arguments.
    pub fn args(&mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Command {
        self.std.args(arguments);
        self
    }

    /// Sets a variable of its environment.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.std.env(name, value);
        self
    }

    /// Sets variables of its environment.
    pub fn envs(
        &mut self,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> &mut Command {
        self.std.envs(variables);
        self
    }

    /// Takes a variable out of its environment.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Command {
        self.std.env_remove(name);
        self
    }

    /// Starts it with an empty environment, but for what is set.
    pub fn env_clear(&mut self) -> &mut Command {
        self.std.env_clear();
        self
    }

    /// The folder that it starts in.
    pub fn current_dir(&mut self, folder: impl AsRef<Path>) -> &mut Command {
        self.std.current_dir(folder);
        self
    }

    /// Its standard input; this process's unless set, none for [`output`](Command::output).
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Command {
        self.set.stdin = true;
        self.std.stdin(stdin);
        self
    }

    /// Its standard output; this process's unless set, a pipe for [`output`](Command::output).
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Command {
        self.set.stdout = true;
        self.std.stdout(stdout);
        self
    }

    /// Its standard error; this process's unless set, a pipe for [`output`](Command::output).
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Command {
        self.set.stderr = true;
        self.std.stderr(stderr);
        self
    }

    /// Whether dropping a [`Child`] that still runs kills it. Unless set it does not: the child goes on.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Command {
        self.kill_on_drop = kill;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// The system's, with the program's name: there is none, it may not be started, or there are too many processes or
    /// descriptors; and when the runtime has ended. Then nothing runs.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    ///
    /// # Cost
    ///
    /// Starting a process blocks this task for about a millisecond.
    pub fn spawn(&mut self) -> io::Result<Child> {
        let runtime = Handle::current();
        if runtime.reactor().is_closed() {
            return Err(self.failed("start", io::Error::other("its runtime has ended")));
        }
        let started = self.std.spawn();
        let child = started.map_err(|error| self.failed("start", error))?;
        let name = self.std.get_program().to_owned();
        Child::new(child, name, runtime, self.kill_on_drop)
            .map_err(|error| self.failed("watch", error))
    }

    /// Starts it and waits until it ends. A dropped future leaves the child running, unless it is to be
    /// [killed](Command::kill_on_drop).
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Command::spawn). That a program ends with a failure is its status, and no error.
    pub async fn status(&mut self) -> io::Result<ExitStatus> {
        let mut child = self.spawn()?;
        drop((child.stdin.take(), child.stdout.take(), child.stderr.take()));
        child.wait().await
    }

    /// Starts it, waits until it ends, and collects what it says, without a limit to how much. Streams that were set are
    /// left as they are, and what goes elsewhere is not collected; the others are as they were for what is started next.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Command::spawn), and of reading its output.
    pub async fn output(&mut self) -> io::Result<Output> {
        self.set_others(Stdio::null, Stdio::piped);
        let started = self.spawn();
        self.set_others(Stdio::inherit, Stdio::inherit);
        started?.wait_with_output().await
    }

    /// Sets the streams that the user has not set.
    fn set_others(&mut self, input: fn() -> Stdio, outputs: fn() -> Stdio) {
        if !self.set.stdin {
            self.std.stdin(input());
        }
        if !self.set.stdout {
            self.std.stdout(outputs());
        }
        if !self.set.stderr {
            self.std.stderr(outputs());
        }
    }

    fn failed(&self, what: &str, cause: io::Error) -> io::Error {
        let program = self.std.get_program().display();
        cannot(format_args!("{what} {program}"), cause)
    }
}

/// Set standard streams afterwards: whether they were set on std's command can't be known, and so
/// [`output`](Command::output) takes them for not set.
impl From<process::Command> for Command {
    fn from(std: process::Command) -> Command {
        Command {
            std,
            set: Streams::default(),
            kill_on_drop: false,
        }
    }
}
