//! Lines of a connection, on a scripted clock and with scripted connections: what breaks is made again, and what is promised holds.

mod kit;

use futures_io::AsyncRead;
use kit::jobs::{Disk, outcome, start};
use kit::{Answer, Calls, World, ms};
use peu_operators::pipeline::{Pipeline, Report, Running, TcpLines, every};
use peu_operators::{AsyncOptions, Retry};
use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// A server that sends what the test says, on the connection that was made last.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// What each connection was told when it was made.
    told: Vec<u64>,
    /// How many attempts are refused from now on.
    refusals: usize,
    /// What is to be read, and how it ends.
    sent: VecDeque<Sent>,
    reader: Option<Waker>,
}

enum Sent {
    Bytes(Vec<u8>),
    Close,
    Break,
}

impl Server {
    fn send(&self, text: &str) {
        self.add(Sent::Bytes(text.as_bytes().to_vec()));
    }

    fn close(&self) {
        self.add(Sent::Close);
    }

    fn cut(&self) {
        self.add(Sent::Break);
    }

    fn add(&self, sent: Sent) {
        let mut state = self.0.lock().unwrap();
        state.sent.push_back(sent);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn refuse(&self, attempts: usize) {
        self.0.lock().unwrap().refusals = attempts;
    }

    fn told(&self) -> Vec<u64> {
        self.0.lock().unwrap().told.clone()
    }

    /// What the closure of the source does.
    fn connect(&self, taken: u64) -> Connected {
        let mut state = self.0.lock().unwrap();
        state.told.push(taken);
        ready(match state.refusals.checked_sub(1) {
            Some(left) => {
                state.refusals = left;
                Err(ErrorKind::ConnectionRefused.into())
            }
            None => Ok(Connection(self.clone())),
        })
    }

    fn source(&self) -> Scripted {
        let server = self.clone();
        let connect: Connect = Box::new(move |taken| server.connect(taken));
        TcpLines::new(connect).reconnect(Retry::exponential(ms(100)..ms(300)))
    }
}

type Connected = Ready<io::Result<Connection>>;
type Connect = Box<dyn FnMut(u64) -> Connected + Send>;
type Scripted = TcpLines<Connect, Connected, Connection>;

struct Connection(Server);

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.0.lock().unwrap();
        Poll::Ready(match state.sent.pop_front() {
            Some(Sent::Bytes(mut bytes)) => {
                let count = bytes.len().min(buffer.len());
                buffer[..count].copy_from_slice(&bytes[..count]);
                let rest = bytes.split_off(count);
                if !rest.is_empty() {
                    state.sent.push_front(Sent::Bytes(rest));
                }
                Ok(count)
            }
            Some(Sent::Close) => Ok(0),
            Some(Sent::Break) => Err(ErrorKind::ConnectionReset.into()),
            None => {
                state.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
        })
    }
}

/// A job over a server's lines.
struct Bench {
    world: World,
    server: Server,
    disk: Disk<String>,
    running: Running,
}

impl Bench {
    fn new() -> Self {
        Self::with(Server::default())
    }

    fn with(server: Server) -> Self {
        let (world, disk) = (World::new(), Disk::new());
        let running = start(&world, Pipeline::source(server.source()).sink(disk.sink())).unwrap();
        Self {
            world,
            server,
            disk,
            running,
        }
    }

    fn advance(&self, milliseconds: u64) {
        self.world.advance(ms(milliseconds));
        self.world.run();
    }

    fn send(&self, text: &str) {
        self.server.send(text);
        self.world.run();
    }

    fn outcome(&mut self) -> Option<Result<Report, String>> {
        let outcome = outcome(&mut self.running)?;
        Some(outcome.map_err(|error| error.to_string()))
    }
}

#[test]
fn lines_are_taken_when_their_ends_have_come() {
    let bench = Bench::new();
    bench.send("poll\r\nexe");
    assert_eq!(bench.disk.written(), ["poll"]);
    bench.send("cute\n\nupd");
    bench.send("ate\n");
    assert_eq!(bench.disk.written(), ["poll", "execute", "", "update"]);
    let long = "long ".repeat(20_000);
    bench.send(&format!("{long}\n"));
    assert_eq!(bench.disk.written().last(), Some(&long));
    assert_eq!(bench.server.told(), [0]);
}

#[test]
fn a_connection_that_breaks_is_made_again_and_told_how_many_lines_were_taken() {
    let bench = Bench::new();
    bench.send("1\n2\nhalf of a l");
    bench.server.cut();
    bench.world.run();
    bench.advance(99);
    assert_eq!(bench.server.told(), [0]);
    bench.advance(1);
    assert_eq!(bench.server.told(), [0, 2]);
    bench.send("3\n");
    bench.server.close();
    bench.world.run();
    bench.advance(100);
    bench.send("4\n");
    assert_eq!(bench.server.told(), [0, 2, 3]);
    assert_eq!(bench.disk.written(), ["1", "2", "3", "4"]);
}

#[test]
fn delays_grow_until_a_line_comes_and_then_begin_anew() {
    let bench = Bench::new();
    for _ in 0..2 {
        bench.server.refuse(2);
        bench.server.cut();
        bench.world.run();
        let before = bench.server.told().len();
        for (wait, connections) in [(100, 1), (199, 1), (1, 2), (299, 2), (1, 3)] {
            bench.advance(wait);
            assert_eq!(bench.server.told().len(), before + connections);
        }
        bench.send("a line\n");
    }
    assert_eq!(bench.disk.written(), ["a line"; 2]);
}

#[test]
fn a_server_that_accepts_and_hangs_up_is_not_asked_for_ever() {
    let mut bench = Bench::new();
    for _ in 0..4 {
        bench.server.close();
        bench.world.run();
        bench.advance(300);
    }
    let error = bench.outcome().unwrap().unwrap_err();
    assert!(
        error.ends_with("no line came in 4 attempts: the server has closed the connection"),
        "{error}"
    );
}

#[test]
fn retries_that_are_used_up_end_the_job() {
    let server = Server::default();
    server.refuse(9);
    let mut bench = Bench::with(server);
    bench.advance(100);
    bench.advance(200);
    assert!(bench.outcome().is_none());
    bench.advance(300);
    let error = bench.outcome().unwrap().unwrap_err();
    assert!(
        error.ends_with("no line came in 4 attempts: connection refused"),
        "{error}"
    );
    assert_eq!(bench.server.told(), [0; 4]);
}

#[test]
fn the_end_of_the_connection_can_be_that_of_the_input() {
    let (world, server, disk) = (World::new(), Server::default(), Disk::new());
    server.send("poll\nupdate");
    server.close();
    let source = server.source().until_closed();
    let mut running = start(&world, Pipeline::source(source).sink(disk.sink())).unwrap();
    assert_eq!(outcome(&mut running).unwrap().unwrap().written, 2);
    assert_eq!(disk.visible(), ["poll", "update"]);
    // That it breaks is no end.
    let (world, server, disk) = (World::new(), Server::default(), Disk::new());
    server.send("poll\n");
    server.cut();
    let source = server.source().until_closed();
    let mut running = start(&world, Pipeline::source(source).sink(disk.sink())).unwrap();
    assert!(outcome(&mut running).is_none());
    world.advance(ms(100));
    world.run();
    assert_eq!(server.told(), [0, 1]);
}

#[test]
fn what_is_no_line_ends_the_job_behind_those_that_are() {
    let (world, server, disk) = (World::new(), Server::default(), Disk::new());
    server.send("12345\n123456");
    let source = server.source().longest_line(5);
    let mut running = start(&world, Pipeline::source(source).sink(disk.sink())).unwrap();
    assert!(
        outcome(&mut running).is_none(),
        "it may be the first half of an end"
    );
    server.send("7");
    world.run();
    let error = outcome(&mut running).unwrap().unwrap_err().to_string();
    assert!(
        error.contains("cannot take line 2: it has more than 5 bytes"),
        "{error}"
    );
    assert_eq!(disk.written(), ["12345"]);

    let mut bench = Bench::new();
    bench.server.add(Sent::Bytes(b"text\n\xff\n".to_vec()));
    bench.world.run();
    let error = bench.outcome().unwrap().unwrap_err();
    assert!(
        error.contains("cannot take line 2: it is no UTF-8"),
        "{error}"
    );
}

#[test]
fn c01_a_restored_job_tells_the_server_where_the_checkpoint_was() {
    let folder = tempfile::tempdir().unwrap();
    let (server, disk) = (Server::default(), Disk::new());
    let life = |world: &World| {
        let job = Pipeline::source(server.source()).sink(disk.sink());
        let checkpoints = every(ms(1_000)).restore();
        start(world, job.checkpoint(checkpoints, folder.path())).unwrap()
    };
    let world = World::new();
    let running = life(&world);
    server.send("1\n2\n3\n");
    world.run();
    world.advance(ms(1_000));
    world.run();
    server.send("4\n");
    world.run();
    assert_eq!(disk.written(), ["1", "2", "3", "4"]);
    world.close();
    drop(running);

    let world = World::new();
    let _running = life(&world);
    assert_eq!(server.told(), [0, 3]);
    // So it can send that again.
    server.send("4\n5\n");
    world.run();
    assert_eq!(disk.written(), ["1", "2", "3", "4", "5"]);
}

#[test]
fn c01_a_job_whose_connection_had_ended_asks_for_no_other_when_it_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (server, disk, calls) = (Server::default(), Disk::new(), Calls::new());
    let life = |world: &World| {
        let f = calls.clone();
        let job = Pipeline::source(server.source().until_closed())
            .map(|line: String| line.parse::<u64>().unwrap())
            .async_map("stage", move |n| f.call(n), AsyncOptions::ordered())
            .sink(disk.sink());
        let checkpoints = every(ms(1_000)).restore();
        start(world, job.checkpoint(checkpoints, folder.path())).unwrap()
    };
    let world = World::new();
    let running = life(&world);
    server.send("1\n2\n");
    server.close();
    world.run();
    world.advance(ms(1_000));
    world.run();
    world.close();
    drop(running);

    server.refuse(usize::MAX);
    let world = World::new();
    let mut running = life(&world);
    assert_eq!(calls.made(), [1, 2, 1, 2], "neither had finished");
    for line in [1, 2] {
        calls.answer(line, Answer::Output(10 * line));
    }
    world.run();
    let report = outcome(&mut running).expect("it has ended").unwrap();
    assert_eq!(report.written, 2);
    assert_eq!(disk.visible(), [10, 20]);
    assert_eq!(server.told(), [0]);
}
