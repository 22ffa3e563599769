//! Servers as processes of their own, so that their CPU time is theirs alone.
//!
//! The child is this same program, started with the arguments that make it serve. It prints its address as its first line,
//! and ends when its standard input does: that is, also when the parent is killed.

use crate::os;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server process; dropping it ends it.
#[derive(Debug)]
pub struct Server {
    name: String,
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts this program again with `arguments`, after which it is named, and waits until it listens.
    pub fn start(arguments: &[&str]) -> io::Result<Server> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is a pipe");
        BufReader::new(stdout).read_line(&mut line)?;
        let unexpected = |error| {
            io::Error::other(format!(
                "the server printed no address but {line:?}: {error}"
            ))
        };
        let address = line.trim().parse().map_err(unexpected)?;
        Ok(Server {
            name: arguments.join(" "),
            child,
            address,
        })
    }

    /// What it was started as.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How many bytes of its memory are resident.
    pub fn memory(&self) -> io::Result<u64> {
        os::memory(self.child.id())
    }

    /// What it has used so far.
    pub fn usage(&self) -> io::Result<Usage> {
        Ok(Usage {
            cpu: os::cpu_time(self.child.id())?,
            sleeps: os::sleeps(self.child.id())?,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process has used since it started.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Time on a CPU, of all threads.
    pub cpu: Duration,
    /// How often a thread went to sleep.
    pub sleeps: u64,
}

/// The child's side: a listener on a free port of 127.0.0.1, whose address is told to the parent. From here on the process
/// ends with its standard input.
pub fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    os::lengthen_backlog(&listener)?;
    println!("{}", listener.local_addr()?);
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    Ok(listener)
}
