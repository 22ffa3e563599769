//! The load: many connections to an echo server, driven by one thread over mio, and what they saw.
//!
//! - **Closed loop**: each connection sends its next request when the answer to the last one is complete. It shows how
//!   a server does at its limit, or at the generator's.
//! - **Steady rate**: requests leave evenly spaced, in turn over the connections, whether or not answers came. A request's
//!   latency counts from the moment it was due, not from when it was sent: a server that stalls is charged for every request
//!   that should have been answered meanwhile (otherwise the stall would hide itself: coordinated omission).

mod connection;

use crate::os::Metronome;
use crate::process::{Server, Usage};
use connection::Connection;
use hdrhistogram::Histogram;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::io;
use std::time::{Duration, Instant};

const BEAT: Token = Token(usize::MAX);

/// How long answers may take to arrive after the last request was sent. Far beyond what an overloaded machine needs.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is sent, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Connections held open.
    pub connections: usize,
    /// Bytes of a request, and of its answer.
    pub size: usize,
    /// How requests follow each other.
    pub pace: Pace,
    /// Time before anything is counted.
    pub warm_up: Duration,
    /// Time in which requests and CPU are counted.
    pub window: Duration,
}

/// How requests follow each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// One request under way per connection, always.
    Closed,
    /// So many requests per second over all connections.
    Steady(u32),
}

/// What came of a window.
#[derive(Debug)]
pub struct Outcome {
    /// Answers that arrived in the window.
    pub answers: u64,
    /// How long the window really was.
    pub time: Duration,
    /// What the server used in it.
    pub cpu: Duration,
    /// How often a thread of the server went to sleep in it.
    pub sleeps: u64,
    /// Latencies in nanoseconds.
    pub latency: Histogram<u64>,
}

impl Load {
    /// Puts the load on `server`, and returns what happened in the window after the warm-up.
    ///
    /// # Errors
    ///
    /// A connection that fails or ends, an answer that differs from its request, an answer that never comes.
    pub fn run(&self, server: &Server) -> io::Result<Outcome> {
        let mut generator = Generator::new(self, server)?;
        generator.send_first()?;
        generator.run_until(Instant::now() + self.warm_up)?;

        generator.latency.reset();
        let (begin, before) = (Instant::now(), server.usage()?);
        generator.run_until(begin + self.window)?;
        let (time, after) = (begin.elapsed(), server.usage()?);

        let latency = generator.latency.clone();
        generator.finish()?;
        Ok(Outcome::new(time, before, after, latency))
    }
}

impl Outcome {
    fn new(time: Duration, before: Usage, after: Usage, latency: Histogram<u64>) -> Outcome {
        let (cpu, sleeps) = (
            after.cpu - before.cpu,
            after.sleeps.saturating_sub(before.sleeps),
        );
        Outcome {
            answers: latency.len(),
            time,
            cpu,
            sleeps,
            latency,
        }
    }
}

/// An empty histogram of nanoseconds, for latencies up to a minute: more than `PATIENCE` allows.
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("these bounds are possible")
}

struct Generator {
    poll: Poll,
    connections: Vec<Connection>,
    /// Keeps the beat of a steady rate.
    metronome: Option<Metronome>,
    /// The connection whose turn it is at the next beat.
    next: usize,
    sending: bool,
    latency: Histogram<u64>,
}

impl Generator {
    fn new(load: &Load, server: &Server) -> io::Result<Generator> {
        let poll = Poll::new()?;
        let connect =
            |place| Connection::open(server.address(), load.size, poll.registry(), Token(place));
        let connections = (0..load.connections)
            .map(connect)
            .collect::<io::Result<Vec<_>>>()?;
        let metronome = match load.pace {
            Pace::Closed => None,
            Pace::Steady(rate) => Some(Metronome::start(Duration::from_secs(1) / rate)?),
        };
        if let Some(metronome) = &metronome {
            poll.registry()
                .register(&mut SourceFd(&metronome.fd()), BEAT, Interest::READABLE)?;
        }
        Ok(Generator {
            poll,
            connections,
            metronome,
            next: 0,
            sending: true,
            latency: latencies(),
        })
    }

    /// In a closed loop each answer sends the next request, so there must be a first.
    fn send_first(&mut self) -> io::Result<()> {
        match self.metronome {
            Some(_) => Ok(()),
            None => self
                .connections
                .iter_mut()
                .try_for_each(|connection| connection.request(Instant::now())),
        }
    }

    fn run_until(&mut self, end: Instant) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(&mut events, left)?;
        }
    }

    /// Waits for the answers still under way.
    fn finish(mut self) -> io::Result<()> {
        self.sending = false;
        let end = Instant::now() + PATIENCE;
        let mut events = Events::with_capacity(1024);
        while self.connections.iter().any(Connection::is_waiting) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("answers are missing after {PATIENCE:?}"),
                ));
            }
            self.turn(&mut events, left)?;
        }
        Ok(())
    }

    fn turn(&mut self, events: &mut Events, timeout: Duration) -> io::Result<()> {
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in events.iter() {
            match event.token() {
                BEAT => self.beat()?,
                token => self.answered(token.0)?,
            }
        }
        Ok(())
    }

    fn beat(&mut self) -> io::Result<()> {
        let Some(metronome) = &mut self.metronome else {
            return Ok(());
        };
        let due = metronome.beats()?;
        if self.sending {
            for due in due {
                self.connections[self.next].request(due)?;
                self.next = (self.next + 1) % self.connections.len();
            }
        }
        Ok(())
    }

    fn answered(&mut self, place: usize) -> io::Result<()> {
        let connection = &mut self.connections[place];
        let answers = connection.receive()?;
        let now = Instant::now();
        for due in connection.take(answers) {
            let nanoseconds = now.saturating_duration_since(due).as_nanos() as u64;
            self.latency.saturating_record(nanoseconds.max(1));
        }
        if self.metronome.is_none() && self.sending {
            (0..answers).try_for_each(|_| connection.request(now))?;
        }
        Ok(())
    }
}
