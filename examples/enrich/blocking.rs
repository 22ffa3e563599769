//! The same job as a straightforward program does it: one thread, one socket, one look-up awaited after another. And as one
//! does it who finds that too slow: with more threads, each with a socket of its own.
//!
//! Its connection also stores the tables in a real Redis, whatever the mode: that happens once, before the job.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use redis_protocol::resp2::types::OwnedFrame;

use crate::clean::{Flight, clean};
use crate::failure::{Context, Failure};
use crate::flights::{Flights, Row};
use crate::join::{Answer, Answers, Keys, Outcome};
use crate::progress::Gauge;
use crate::report::Totals;
use crate::resp::{self, Decoder};
use crate::sink::Files;
use crate::tables::Entry;

/// So many rows are stored before their answers are read: few enough that both fit the sockets' buffers.
const STORED_AT_ONCE: usize = 100;

/// So many rows wait before each thread, and behind it: enough that it has one when it wants one, while others are late.
const AHEAD: usize = 4;

/// Cleans, looks up and writes row by row.
pub(crate) fn run(
    flights: Flights,
    address: &str,
    patience: Duration,
    threads: usize,
    in_flight: &Gauge,
    mut files: Files,
    totals: &Totals,
) -> Result<(), Failure> {
    let mut connections = (0..threads)
        .map(|_| Connection::open(address, patience))
        .collect::<Result<Vec<_>, _>>()?;
    let mut write = |outcome: Outcome| {
        totals.count(&outcome);
        files.write(&outcome)
    };
    match &mut connections[..] {
        [connection] => {
            // One look-up at a time, all the time.
            let _in_flight = in_flight.enter();
            for row in flights {
                write(connection.enrich(row?)?)?;
            }
        }
        _ => side_by_side(flights, connections, in_flight, write)?,
    }
    files.finish()
}

/// A thread for each connection. Rows are dealt to them in turn, and what became of them is collected in turn, so it is
/// written in the order of the input.
fn side_by_side(
    flights: Flights,
    connections: Vec<Connection>,
    in_flight: &Gauge,
    mut write: impl FnMut(Outcome) -> Result<(), Failure>,
) -> Result<(), Failure> {
    thread::scope(|scope| {
        let (mut before, mut behind) = (Vec::new(), Vec::new());
        for connection in connections {
            let (to_it, rows) = sync_channel(AHEAD);
            let (done, from_it) = sync_channel(AHEAD);
            start(scope, move || {
                look_up_all(connection, &rows, &done, in_flight)
            })?;
            before.push(to_it);
            behind.push(from_it);
        }
        start(scope, move || deal(flights, &before))?;
        // Whoever is next and has ended has had no more rows, and so have those behind it. When this returns early, the ends
        // of its channels are gone, and the threads end where they would use them.
        let behind = behind;
        for outcome in behind.iter().cycle().map_while(|thread| thread.recv().ok()) {
            write(outcome?)?;
        }
        Ok(())
    })
}

fn start<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    work: impl FnOnce() + Send + 'scope,
) -> Result<(), Failure> {
    let started = thread::Builder::new().spawn_scoped(scope, work);
    started.map(drop).context(|| {
        "cannot start a thread: the system has no room for more, fewer --threads may do".to_owned()
    })
}

fn deal(flights: Flights, threads: &[SyncSender<Result<Row, Failure>>]) {
    for (row, thread) in flights.zip(threads.iter().cycle()) {
        if thread.send(row).is_err() {
            return;
        }
    }
}

/// A failure is the last that it tells.
fn look_up_all(
    mut connection: Connection,
    rows: &Receiver<Result<Row, Failure>>,
    done: &SyncSender<Result<Outcome, Failure>>,
    in_flight: &Gauge,
) {
    for row in rows {
        let outcome = {
            let _in_flight = in_flight.enter();
            row.and_then(|row| connection.enrich(row))
        };
        let is_last = outcome.is_err();
        if done.send(outcome).is_err() || is_last {
            return;
        }
    }
}

/// A connection with at most one request in flight.
pub(crate) struct Connection {
    stream: TcpStream,
    address: String,
    patience: Duration,
    decoder: Decoder,
}

impl Connection {
    /// Connects. Whoever does not answer for as long as `patience` is given up.
    pub(crate) fn open(address: &str, patience: Duration) -> Result<Connection, Failure> {
        let cannot = || format!("cannot reach the look-up server {address}");
        let stream = connect(address, patience).context(cannot)?;
        stream.set_nodelay(true).context(cannot)?;
        stream.set_read_timeout(Some(patience)).context(cannot)?;
        stream.set_write_timeout(Some(patience)).context(cannot)?;
        Ok(Connection {
            stream,
            address: address.to_owned(),
            patience,
            decoder: Decoder::default(),
        })
    }

    /// Stores the tables.
    pub(crate) fn store(&mut self, entries: &[Entry]) -> Result<(), Failure> {
        let cannot = format!("cannot store the tables at {}", self.address);
        for some in entries.chunks(STORED_AT_ONCE) {
            let mut bytes = Vec::new();
            for (key, value) in some {
                resp::encode(&resp::command([b"SET", key.as_bytes(), value]), &mut bytes)?;
            }
            self.send(&bytes).context(|| cannot.clone())?;
            for _ in some {
                match self.receive().context(|| cannot.clone())? {
                    OwnedFrame::SimpleString(text) if text == b"OK" => {}
                    other => {
                        let answer = resp::shown(&other);
                        return Err(Failure::new(format!("{cannot}: it answered {answer}")));
                    }
                }
            }
        }
        Ok(())
    }

    /// Cleans a row and looks it up.
    fn enrich(&mut self, row: Row) -> Result<Outcome, Failure> {
        match clean(&row.columns()?) {
            Ok(flight) => {
                let answers = self
                    .look_up(&flight)
                    .context(|| format!("row {}", row.number))?;
                answers.join(row.number, flight)
            }
            Err(reason) => Ok(Outcome::dead_letter(row, reason)),
        }
    }

    /// The four look-ups of a flight.
    fn look_up(&mut self, flight: &Flight) -> Result<Answers, Failure> {
        let keys = Keys::of(flight);
        Ok(Answers {
            plane: keys.plane.map(|key| self.get(key)).transpose()?,
            airport: self.get(keys.airport)?,
            airline: self.get(keys.airline)?,
            weather: self.get(keys.weather)?,
        })
    }

    fn get(&mut self, key: String) -> Result<Answer, Failure> {
        let started = Instant::now();
        let mut bytes = Vec::new();
        resp::encode(&resp::command([b"GET", key.as_bytes()]), &mut bytes)?;
        let answer = self
            .expect_nothing()
            .and_then(|()| self.send(&bytes))
            .and_then(|()| self.receive())
            .and_then(resp::value);
        let value = answer.context(|| format!("cannot look up {key} at {}", self.address))?;
        Ok(Answer {
            key,
            value,
            took: started.elapsed(),
        })
    }

    /// An answer that is there before its question would be taken for that of the next.
    fn expect_nothing(&mut self) -> Result<(), Failure> {
        match self.decoder.next()? {
            None => Ok(()),
            Some(_) => Err(Failure::new("it answered more than it was asked")),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let sent = self.stream.write_all(bytes);
        sent.map_err(|error| explain("cannot send to it", &error, self.patience))
    }

    fn receive(&mut self) -> Result<OwnedFrame, Failure> {
        loop {
            if let Some(frame) = self.decoder.next()? {
                return Ok(frame);
            }
            match self.stream.read(self.decoder.room()) {
                Ok(0) => {
                    return Err(Failure::new(
                        "it closed the connection with 1 request in flight",
                    ));
                }
                Ok(length) => self.decoder.received(length),
                Err(error) => {
                    return Err(explain("cannot receive from it", &error, self.patience));
                }
            }
        }
    }
}

/// To the first of its addresses that lets this program.
fn connect(address: &str, patience: Duration) -> Result<TcpStream, Failure> {
    let addresses = address.to_socket_addrs();
    let mut failures = Vec::new();
    for address in addresses.context(|| "cannot look up its name".to_owned())? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => failures.push(
                explain(&format!("cannot connect to {address}"), &error, patience).to_string(),
            ),
        }
    }
    Err(Failure::new(failures.join("; ")))
}

/// A limit that passes is no error of its own to the system: a socket that waited for nothing is said to be busy.
fn explain(tried: &str, error: &io::Error, patience: Duration) -> Failure {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            Failure::new(format!("no answer within {patience:?}"))
        }
        _ => Failure::new(format!("{tried}: {error}")),
    }
}
