//! The same echo server written several times, each as its users would write it well: no Nagle, one read buffer per
//! connection, what was read is written back.

mod bare_mio;
mod peu;
mod smol;
mod threads;
mod tokio;

use crate::process::{Server, listen};
use std::io;
use std::net::TcpListener;
use std::time::Duration;

/// The size of a connection's read buffer. Larger than a request, so that a read that fills it only in part shows that
/// the socket is empty, and no server needs a second read to learn it.
const BUFFER: usize = 4096;

/// How long an accept loop rests after an error such as having no descriptors left, lest it spin.
const REST: Duration = Duration::from_millis(50);

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A loop written by hand over mio: one thread, edge-triggered, nothing in between. The yardstick.
    Mio,
    /// tokio's multi-threaded runtime, a task per connection.
    Tokio,
    /// peu's runtime, a task per connection.
    Peu,
    /// smol's executor on one thread, a task per connection.
    Smol,
    /// A blocking thread per connection.
    Threads,
}

impl Kind {
    /// Everyone.
    pub const ALL: [Kind; 5] = [Kind::Threads, Kind::Mio, Kind::Peu, Kind::Tokio, Kind::Smol];

    /// Its name on the command line and in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Mio => "mio",
            Kind::Tokio => "tokio",
            Kind::Peu => "peu",
            Kind::Smol => "smol",
            Kind::Threads => "threads",
        }
    }

    /// Serves on `listener` without end. Only tokio's and peu's runtimes have a number of workers, and only runtimes can do
    /// something beside it.
    fn serve(self, listener: TcpListener, workers: usize, beside: Beside) -> io::Result<()> {
        match self {
            Kind::Mio => bare_mio::serve(listener),
            Kind::Tokio => tokio::serve(listener, workers, beside),
            Kind::Peu => peu::serve(listener, workers, beside),
            Kind::Smol => smol::serve(listener, beside),
            Kind::Threads => threads::serve(listener),
        }
    }
}

/// What one more task of a runtime does while it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Beside {
    /// There is none.
    #[default]
    Nothing,
    /// It sleeps for an hour.
    Timer,
    /// Every second it blocks its worker for 100 ms, as a task does that computes or calls what blocks.
    Stall,
}

const HOUR: Duration = Duration::from_secs(3600);
const STALL: Duration = Duration::from_millis(100);
const BETWEEN_STALLS: Duration = Duration::from_millis(900);

impl Beside {
    /// The task, for a runtime that sleeps with `sleep`.
    async fn task<S: Future>(self, sleep: impl Fn(Duration) -> S) {
        match self {
            Beside::Nothing => {}
            Beside::Timer => drop(sleep(HOUR).await),
            Beside::Stall => loop {
                sleep(BETWEEN_STALLS).await;
                std::thread::sleep(STALL);
            },
        }
    }
}

/// The part of a measuring program's command line with which it is started once more, as a server.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// Who serves
    #[arg(value_enum)]
    kind: Kind,
    /// Workers of the runtime, where it has any
    #[arg(long)]
    workers: usize,
    /// What it does beside it
    #[arg(long, value_enum)]
    beside: Beside,
}

impl Serve {
    /// Starts this program as a server. Its command line must have a subcommand `serve` with these arguments.
    ///
    /// # Errors
    ///
    /// When it can't be started.
    pub fn start(kind: Kind, workers: usize, beside: Beside) -> io::Result<Server> {
        let workers = workers.to_string();
        let beside = match beside {
            Beside::Nothing => "nothing",
            Beside::Timer => "timer",
            Beside::Stall => "stall",
        };
        Server::start(&[
            "serve",
            kind.name(),
            "--workers",
            &workers,
            "--beside",
            beside,
        ])
    }

    /// Serves, without end.
    ///
    /// # Errors
    ///
    /// When no port or no runtime can be had.
    pub fn run(self) -> io::Result<()> {
        listen().and_then(|listener| self.kind.serve(listener, self.workers, self.beside))
    }
}
