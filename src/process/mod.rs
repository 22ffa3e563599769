//! Child processes: started, talked to through pipes, and waited for without a thread.
//!
//! The end of a child is an event like any other: its descriptor (a *pidfd*) becomes readable. There is no handler for
//! SIGCHLD, which would be the whole process's. On systems without such descriptors (Linux before 5.3, other Unixes)
//! each child that is waited for is looked at now and then, ten times a second in the end.
//!
//! The names are those of [`std::process`].

mod child;
mod command;

pub use child::{Child, ChildStderr, ChildStdin, ChildStdout};
pub use command::Command;
pub use std::process::{ExitStatus, Output, Stdio};
