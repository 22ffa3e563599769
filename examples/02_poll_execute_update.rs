//! Rung 2 of the ladder: the loop itself, with nothing around it. No futures, no tasks.
//!
//! What it teaches: whatever a program waits for, its loop can be written as three equations over a queue `Q` of
//! pending events, where an event `E` has a type `T`, parameters `P` and a callback:
//!
//! ```text
//! E    = poll(Q)         choose what can make progress now
//! T(P) = execute(E)      let it make progress, once
//! Q    = update(Q, E)    finished: it leaves, and its callback is told; unfinished: it stays
//! ```
//!
//! Here they are three functions of these names, and `run` calls them. Below them is all that the loop knows of its
//! events, [`Operation`]; below that are the four types of event of this server; at the end is the server, whose whole
//! behaviour is in its callbacks. Sockets and files go through the same queue, though they differ: a socket becomes
//! ready, and the operating system says when; a regular file is always "ready", so `poll` chooses it whenever it
//! waits, and `execute` reads a piece of it, so that a large file keeps nobody waiting.
//!
//! The server echoes lines. A line `<NAME` is answered with the file of that name in the current folder:
//!
//! ```text
//! cargo run --example 02_poll_execute_update -- 127.0.0.1:7777
//! nc 127.0.0.1 7777
//! hello
//! <Cargo.toml
//! ```
//!
//! It stands on `mio` and `slab` alone, and not on peu's own reactor, which offers the same form as
//! `Reactor::submit(operation, callback)`: the three functions are the point, and there they would be out of sight.
//! What the reactor adds is what makes the loop cheap and safe to share (it registers a socket once and not for each
//! event, it works from many threads, it has timers), not another idea. It calls the three by the same names.
//!
//! Next: `03_echo.rs`, where a future is the callback, and the code reads like rung 0 again.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

// ---- The loop ------------------------------------------------------------------------------------------------------

/// The pending events, each under its key, which is its token at the operating system.
struct Queue {
    events: Slab<Box<dyn Event>>,
    /// The keys of events that wait for nothing: files.
    always_ready: Vec<usize>,
    system: Poll,
    told: Events,
}

fn run(mut queue: Queue) -> io::Result<()> {
    loop {
        for key in poll(&mut queue)? {
            let progress = execute(&mut queue, key);
            update(&mut queue, key, progress);
        }
    }
}

/// `E = poll(Q)`: the keys of the events that can make progress now. Sleeps while there are none.
fn poll(queue: &mut Queue) -> io::Result<Vec<usize>> {
    let patience = (!queue.always_ready.is_empty()).then_some(Duration::ZERO);
    match queue.system.poll(&mut queue.told, patience) {
        Err(error) if error.kind() == ErrorKind::Interrupted => queue.told.clear(),
        other => other?,
    }
    let mut ready = std::mem::take(&mut queue.always_ready);
    ready.extend(queue.told.iter().map(|told| told.token().0));
    Ok(ready)
}

/// `T(P) = execute(E)`: one step of the event's operation. It never waits.
fn execute(queue: &mut Queue, key: usize) -> Progress {
    queue.events[key].execute()
}

/// `Q = update(Q, E)`: who finished leaves the queue and is told; who did not stays in it.
fn update(queue: &mut Queue, key: usize, progress: Progress) {
    match progress {
        Progress::Finished => queue.take(key).call_back(queue),
        Progress::Unfinished if queue.events[key].source().is_none() => {
            queue.always_ready.push(key)
        }
        Progress::Unfinished => {}
    }
}

#[derive(PartialEq, Eq)]
enum Progress {
    Finished,
    Unfinished,
}

// ---- Events --------------------------------------------------------------------------------------------------------

/// A type of event; its fields are the parameters. They are owned: whoever submits an operation gives away its socket
/// and its buffer, and its callback gets them back with the result.
trait Operation: 'static {
    type Output: 'static;

    /// What it waits for, and for which readiness: nothing for a file.
    fn source(&mut self) -> Option<(&mut dyn Source, Interest)>;

    /// One step. `WouldBlock` means that it has not finished.
    fn execute(&mut self) -> io::Result<Self::Output>;
}

/// An operation with its callback.
struct Pending<O: Operation, F> {
    operation: O,
    result: Option<io::Result<O::Output>>,
    callback: F,
}

/// What the loop sees of a [`Pending`], whatever its type.
trait Event {
    fn source(&mut self) -> Option<(&mut dyn Source, Interest)>;
    fn execute(&mut self) -> Progress;
    fn call_back(self: Box<Self>, queue: &mut Queue);
}

impl<O, F> Event for Pending<O, F>
where
    O: Operation,
    F: FnOnce(&mut Queue, O, io::Result<O::Output>),
{
    fn source(&mut self) -> Option<(&mut dyn Source, Interest)> {
        self.operation.source()
    }

    fn execute(&mut self) -> Progress {
        loop {
            match self.operation.execute() {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Unfinished,
                result => self.result = Some(result),
            }
            return Progress::Finished;
        }
    }

    fn call_back(self: Box<Self>, queue: &mut Queue) {
        let Pending {
            operation,
            result,
            callback,
        } = *self;
        if let Some(result) = result {
            callback(queue, operation, result);
        }
    }
}

impl Queue {
    fn new() -> io::Result<Queue> {
        Ok(Queue {
            events: Slab::new(),
            always_ready: Vec::new(),
            system: Poll::new()?,
            told: Events::with_capacity(256),
        })
    }

    /// Puts an event into the queue.
    fn submit<O, F>(&mut self, operation: O, callback: F)
    where
        O: Operation,
        F: FnOnce(&mut Queue, O, io::Result<O::Output>) + 'static,
    {
        let key = self.events.insert(Box::new(Pending {
            operation,
            result: None,
            callback,
        }));
        let event = &mut self.events[key];
        let watched = match event.source() {
            None => return self.always_ready.push(key),
            Some((source, interest)) => {
                self.system
                    .registry()
                    .register(source, Token(key), interest)
            }
        };
        if let Err(error) = watched {
            eprintln!("cannot watch a socket, so it is closed: {error}");
            self.events.remove(key);
        }
    }

    /// Takes an event out. The system forgets its socket, so it never tells of a key that is not in the queue.
    fn take(&mut self, key: usize) -> Box<dyn Event> {
        let mut event = self.events.remove(key);
        if let Some((source, _)) = event.source()
            && let Err(error) = self.system.registry().deregister(source)
        {
            eprintln!("cannot stop watching a socket: {error}");
        }
        event
    }
}

// ---- The types of event of this server -----------------------------------------------------------------------------

/// Take a connection.
struct Accept {
    listener: TcpListener,
}

impl Operation for Accept {
    type Output = TcpStream;

    fn source(&mut self) -> Option<(&mut dyn Source, Interest)> {
        Some((&mut self.listener, Interest::READABLE))
    }

    fn execute(&mut self) -> io::Result<TcpStream> {
        self.listener.accept().map(|(stream, _)| stream)
    }
}

/// Receive some bytes behind those that are in the buffer: how many; 0 at the end of the stream.
struct Receive {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Operation for Receive {
    type Output = usize;

    fn source(&mut self) -> Option<(&mut dyn Source, Interest)> {
        Some((&mut self.stream, Interest::READABLE))
    }

    fn execute(&mut self) -> io::Result<usize> {
        let mut piece = [0; 4096];
        let length = self.stream.read(&mut piece)?;
        self.bytes.extend_from_slice(&piece[..length]);
        Ok(length)
    }
}

/// Send all bytes.
struct SendAll {
    stream: TcpStream,
    bytes: Vec<u8>,
    sent: usize,
}

impl Operation for SendAll {
    type Output = ();

    fn source(&mut self) -> Option<(&mut dyn Source, Interest)> {
        Some((&mut self.stream, Interest::WRITABLE))
    }

    /// Until all is sent or the socket is full: it is told only once that it has room.
    fn execute(&mut self) -> io::Result<()> {
        while self.sent < self.bytes.len() {
            self.sent += self.stream.write(&self.bytes[self.sent..])?;
        }
        Ok(())
    }
}

/// Read a whole file, a piece a step.
struct ReadFile {
    file: File,
    bytes: Vec<u8>,
}

impl Operation for ReadFile {
    type Output = ();

    fn source(&mut self) -> Option<(&mut dyn Source, Interest)> {
        None
    }

    fn execute(&mut self) -> io::Result<()> {
        let mut piece = [0; 16 * 1024];
        match self.file.read(&mut piece)? {
            0 => Ok(()),
            length => {
                self.bytes.extend_from_slice(&piece[..length]);
                Err(ErrorKind::WouldBlock.into())
            }
        }
    }
}

// ---- The server ----------------------------------------------------------------------------------------------------

/// A line beyond this is answered before it ends, so that nobody fills the memory with one.
const LONGEST_LINE: usize = 64 * 1024;

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("02_poll_execute_update: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = std::net::TcpListener::bind(&address).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);
    let mut queue = Queue::new()?;
    accept(&mut queue, TcpListener::from_std(listener));
    run(queue)
}

fn accept(queue: &mut Queue, listener: TcpListener) {
    queue.submit(Accept { listener }, |queue, event, result| {
        match result {
            Ok(stream) => receive(queue, stream, Vec::new()),
            Err(error) => {
                eprintln!("cannot accept a connection: {error}");
                // For want of descriptors, mostly. They come back when connections end: don't spin until then.
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        accept(queue, event.listener);
    });
}

/// Answers the next line of a connection: one that was received already, or else the next to come.
fn receive(queue: &mut Queue, stream: TcpStream, mut bytes: Vec<u8>) {
    if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let rest = bytes.split_off(end + 1);
        return answer(queue, stream, bytes, rest);
    }
    if bytes.len() > LONGEST_LINE {
        return answer(queue, stream, bytes, Vec::new());
    }
    queue.submit(
        Receive { stream, bytes },
        |queue, event, result| match result {
            Ok(0) if event.bytes.is_empty() => {}
            Ok(0) => send(queue, event.stream, event.bytes, Vec::new()),
            Ok(_) => receive(queue, event.stream, event.bytes),
            Err(error) => eprintln!("cannot receive: {error}"),
        },
    );
}

fn answer(queue: &mut Queue, stream: TcpStream, line: Vec<u8>, rest: Vec<u8>) {
    let Some(name) = line.strip_prefix(b"<") else {
        return send(queue, stream, line, rest);
    };
    match open(&String::from_utf8_lossy(name)) {
        Err(error) => send(queue, stream, format!("{error}\n").into_bytes(), rest),
        Ok(file) => queue.submit(
            ReadFile {
                file,
                bytes: Vec::new(),
            },
            |queue, event, result| match result {
                Ok(()) => send(queue, stream, event.bytes, rest),
                Err(error) => send(queue, stream, format!("{error}\n").into_bytes(), rest),
            },
        ),
    }
}

/// A regular file of the current folder, and none elsewhere: whoever can connect can ask.
fn open(name: &str) -> io::Result<File> {
    let name = name.trim();
    if Path::new(name).file_name() != Some(name.as_ref()) {
        return Err(io::Error::other(format!("{name} is no name of a file")));
    }
    match std::fs::symlink_metadata(name)?.is_file() {
        true => File::open(name),
        false => Err(io::Error::other(format!("{name} is no regular file"))),
    }
}

fn send(queue: &mut Queue, stream: TcpStream, bytes: Vec<u8>, rest: Vec<u8>) {
    queue.submit(
        SendAll {
            stream,
            bytes,
            sent: 0,
        },
        |queue, event, result| match result {
            Ok(()) => receive(queue, event.stream, rest),
            Err(error) => eprintln!("cannot send: {error}"),
        },
    );
}
