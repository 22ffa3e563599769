//! The load: many connections to an echo server, driven by one thread over mio, and what they saw.
//!
//! - **Closed loop**: each connection sends its next request when the answer to the last one is complete. It shows how
//!   a server does at its limit, or at the generator's.
//! - **Steady rate**: requests leave evenly spaced, in turn over the connections, whether or not answers came. A request's
//!   latency counts from the moment it was due, not from when it was sent: a server that stalls is charged for every request
//!   that should have been answered meanwhile (otherwise the stall would hide itself: coordinated omission).
//! - **Far ends that wait**: each connection sends its next request some time after the answer to the last one, as a person or a
//!   slow service would. Their first requests are spread over that time.

mod connection;

use crate::os::Metronome;
use crate::process::Server;
use connection::Connection;
use hdrhistogram::Histogram;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

const BEAT: Token = Token(usize::MAX);

/// How long answers may take to arrive after the last request was sent. Far beyond what an overloaded machine needs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Room for the answers of many requests at once, so that a read leaves room in it and is the last one.
const BUFFER: usize = 64 * 1024;

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
    /// Each connection rests after an answer, for this long; up to a millisecond longer when nothing else goes on.
    Waiting(Duration),
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
    /// By how many bytes the server's memory had grown since the load began: its user space, as far as it is resident.
    pub grown: u64,
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
        let small = server.memory()?;
        let mut generator = Generator::new(self, server)?;
        generator.send_first()?;
        generator.run_until(Instant::now() + self.warm_up)?;

        generator.latency.reset();
        let (begin, before) = (Instant::now(), server.usage()?);
        generator.run_until(begin + self.window)?;
        let (time, after) = (begin.elapsed(), server.usage()?);

        let grown = server.memory()?.saturating_sub(small);
        let latency = generator.latency.clone();
        generator.finish()?;
        Ok(Outcome {
            answers: latency.len(),
            time,
            cpu: after.cpu - before.cpu,
            sleeps: after.sleeps.saturating_sub(before.sleeps),
            grown,
            latency,
        })
    }

    /// So many rounds, in each of which every server has its turn: what came of each server's.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), with the name of the server.
    pub fn rounds(&self, servers: &[Server], rounds: usize) -> io::Result<Vec<Vec<Outcome>>> {
        let mut outcomes: Vec<Vec<Outcome>> = servers.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds {
            for turn in 0..servers.len() {
                // Each round begins with another server, so that none always follows the same one.
                let place = (round + turn) % servers.len();
                let named = |error| {
                    io::Error::other(format!("{} under {self:?}: {error}", servers[place].name()))
                };
                outcomes[place].push(self.run(&servers[place]).map_err(named)?);
            }
        }
        Ok(outcomes)
    }
}

impl Outcome {
    /// Microseconds of the server's CPU per answer.
    pub fn cpu_per_request(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.answers as f64
    }

    /// Answers per second.
    pub fn rate(&self) -> f64 {
        self.answers as f64 / self.time.as_secs_f64()
    }
}

/// The latencies of all `outcomes` in one histogram.
pub fn all_latencies(outcomes: &[Outcome]) -> Histogram<u64> {
    let mut all = latencies();
    for outcome in outcomes {
        all.add(&outcome.latency)
            .expect("histograms of the same bounds add up");
    }
    all
}

/// An empty histogram of nanoseconds, for latencies up to a minute: more than `PATIENCE` allows.
fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("these bounds are possible")
}

struct Generator {
    poll: Poll,
    connections: Vec<Connection>,
    /// Keeps the beat of a steady rate.
    metronome: Option<Metronome>,
    /// The connection whose turn it is at the next beat.
    next: usize,
    /// How long a connection rests after an answer, if it does.
    wait: Option<Duration>,
    /// The connections that rest, and until when, who is first first.
    resting: VecDeque<(Instant, usize)>,
    sending: bool,
    buffer: Vec<u8>,
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
            Pace::Closed | Pace::Waiting(_) => None,
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
            wait: match load.pace {
                Pace::Waiting(wait) if !wait.is_zero() => Some(wait),
                _ => None,
            },
            resting: VecDeque::new(),
            sending: true,
            buffer: vec![0; BUFFER],
            latency: latencies(),
        })
    }

    /// Where each answer leads to the next request, there must be a first.
    fn send_first(&mut self) -> io::Result<()> {
        let (now, all) = (Instant::now(), self.connections.len());
        match (&self.metronome, self.wait) {
            (Some(_), _) => Ok(()),
            (None, Some(wait)) => {
                let due = |place| (now + wait.mul_f64(place as f64 / all as f64), place);
                self.resting.extend((0..all).map(due));
                Ok(())
            }
            (None, None) => self
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
            let rest = self
                .resting
                .front()
                .map(|(due, _)| due.saturating_duration_since(Instant::now()));
            self.turn(&mut events, rest.map_or(left, |rest| rest.min(left)))?;
            self.send_rested()?;
        }
    }

    /// Sends for the connections that have rested enough.
    fn send_rested(&mut self) -> io::Result<()> {
        let now = Instant::now();
        while let Some(&(due, place)) = self.resting.front()
            && due <= now
        {
            self.resting.pop_front();
            self.connections[place].request(Instant::now())?;
        }
        Ok(())
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
        let answers = connection.receive(&mut self.buffer)?;
        let now = Instant::now();
        for due in connection.take(answers) {
            let nanoseconds = now.saturating_duration_since(due).as_nanos() as u64;
            self.latency.saturating_record(nanoseconds.max(1));
        }
        match self.wait {
            _ if self.metronome.is_some() || !self.sending => Ok(()),
            None => (0..answers).try_for_each(|_| connection.request(now)),
            Some(wait) => {
                self.resting
                    .extend((0..answers).map(|_| (now + wait, place)));
                Ok(())
            }
        }
    }
}
