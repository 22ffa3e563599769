//! Owned operations and callbacks: no future is involved.

mod support;

use peu_reactor::operation::{Accept, Read, RecvFrom, Write};
use peu_reactor::{Async, Direction, Key, Operation, Reactor, Source};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;
use support::turn;

type End = Arc<Async<UnixStream>>;
/// The buffer, and how much of it was read.
type Outcome = (Vec<u8>, io::Result<usize>);

fn pair(reactor: &Reactor) -> (End, UnixStream) {
    let (here, there) = UnixStream::pair().unwrap();
    (Arc::new(Async::with_reactor(here, reactor).unwrap()), there)
}

/// Submits a read and returns where its outcome will be.
fn read(reactor: &Reactor, io: &End) -> (Key, Receiver<Outcome>) {
    let (told, outcome) = mpsc::channel();
    let key = reactor
        .submit(Read::new(io.clone(), vec![0; 16]), move |read, count| {
            told.send((read.into_buffer(), count)).unwrap();
        })
        .unwrap();
    (key, outcome)
}

/// Turns the reactor until there is something to receive.
fn turn_until<T>(reactor: &Reactor, outcome: &Receiver<T>) -> T {
    loop {
        if let Ok(value) = outcome.try_recv() {
            return value;
        }
        turn(reactor);
    }
}

/// Reads, writes back what it read, and begins again, until the end.
fn echo(reactor: Reactor, io: End, buffer: Vec<u8>, ended: mpsc::Sender<()>) {
    let again = reactor.clone();
    let read = Read::new(io, buffer);
    let submitted = reactor.submit(read, move |read, count| {
        let io = read.io().clone();
        let mut buffer = read.into_buffer();
        match count.unwrap() {
            0 => ended.send(()).unwrap(),
            count => buffer.truncate(count),
        }
        if buffer.len() < 16 {
            let next = again.clone();
            let write = Write::new(io, buffer);
            let submitted = again.submit(write, move |write, done| {
                done.unwrap();
                echo(next, write.io().clone(), vec![0; 16], ended);
            });
            submitted.unwrap();
        }
    });
    submitted.unwrap();
}

#[test]
fn callbacks_alone_make_an_echo_server() {
    let reactor = Reactor::new().unwrap();
    let (here, mut there) = pair(&reactor);
    let client = thread::spawn(move || {
        for line in [&b"one"[..], b"two", b"three"] {
            let mut reply = vec![0; line.len()];
            there.write_all(line).unwrap();
            there.read_exact(&mut reply).unwrap();
            assert_eq!(reply, line);
        }
    });
    let (told, ended) = mpsc::channel();
    echo(reactor.clone(), here, vec![0; 16], told);
    turn_until(&reactor, &ended);
    client.join().unwrap();
    let metrics = reactor.metrics();
    assert_eq!(metrics.operations_submitted, 7);
    assert_eq!(metrics.operations_completed, 7);
    assert_eq!((metrics.registrations, metrics.deregistrations), (1, 1));
}

#[test]
fn an_operation_on_a_ready_source_needs_no_event() {
    let reactor = Reactor::new().unwrap();
    let (here, mut there) = pair(&reactor);
    there.write_all(b"early").unwrap();
    // The events of the registration pass; no other will come for these bytes.
    reactor.turn(None).unwrap();
    let (_, outcome) = read(&reactor, &here);
    reactor.turn(None).unwrap();
    let (buffer, count) = outcome.try_recv().expect("one turn suffices");
    assert_eq!(&buffer[..count.unwrap()], b"early");
}

#[test]
fn an_operation_ends_the_sleep_of_a_turn() {
    let reactor = Reactor::new().unwrap();
    let (here, _there) = pair(&reactor);
    reactor.turn(None).unwrap();
    let turner = {
        let reactor = reactor.clone();
        thread::spawn(move || while reactor.turn(None).is_ok() {})
    };
    let (told, written) = mpsc::channel();
    let write = Write::new(here, b"now".to_vec());
    reactor
        .submit(write, move |write, done| {
            told.send((write.written(), write.into_buffer(), done))
                .unwrap();
        })
        .unwrap();
    let (count, buffer, done) = written.recv_timeout(Duration::from_secs(30)).unwrap();
    done.unwrap();
    assert_eq!((count, &buffer[..]), (3, &b"now"[..]), "as it was");
    reactor.close();
    turner.join().unwrap();
}

#[test]
fn a_cancelled_operation_gives_its_buffer_back_and_takes_no_data() {
    let reactor = Reactor::new().unwrap();
    let (here, mut there) = pair(&reactor);
    let (key, outcome) = read(&reactor, &here);
    assert!(reactor.cancel(key));
    let (buffer, count) = outcome.try_recv().expect("called back by now");
    assert_eq!(buffer.len(), 16);
    assert_eq!(count.unwrap_err().kind(), ErrorKind::Interrupted);
    assert!(!reactor.cancel(key), "once is all");

    there.write_all(b"kept").unwrap();
    let (other, outcome) = read(&reactor, &here);
    assert!(
        !reactor.cancel(key),
        "an old key does not reach the newcomer"
    );
    let (buffer, count) = turn_until(&reactor, &outcome);
    assert_eq!(&buffer[..count.unwrap()], b"kept");
    assert!(!reactor.cancel(other), "it has finished");
}

#[test]
fn operations_of_a_direction_keep_their_order() {
    let reactor = Reactor::new().unwrap();
    let (here, mut there) = pair(&reactor);
    let (told, done) = mpsc::channel();
    for number in 0..20u8 {
        let told = told.clone();
        // Larger than the socket's buffer together, so that some have to wait in the middle.
        let write = Write::new(here.clone(), vec![number; 50_000]);
        reactor
            .submit(write, move |write, result| {
                result.unwrap();
                assert_eq!(write.written(), 50_000);
                told.send(number).unwrap();
            })
            .unwrap();
    }
    let reader = thread::spawn(move || {
        let mut all = vec![0; 20 * 50_000];
        there.read_exact(&mut all).unwrap();
        all
    });
    let order: Vec<u8> = (0..20).map(|_| turn_until(&reactor, &done)).collect();
    assert!(order.is_sorted());
    assert!(reader.join().unwrap().is_sorted());
}

#[test]
fn a_callback_may_use_the_reactor_in_any_way() {
    let reactor = Reactor::new().unwrap();
    let (here, mut there) = pair(&reactor);
    let (other, _other_there) = pair(&reactor);
    let (waiting, cancelled) = read(&reactor, &other);
    let (told, outcome) = mpsc::channel();
    let inside = reactor.clone();
    reactor
        .submit(Read::new(here, vec![0; 4]), move |_, _| {
            assert!(inside.cancel(waiting));
            let (third, _third_there) = pair(&inside);
            let (_, nested) = read(&inside, &third);
            inside.turn(Some(Duration::ZERO)).unwrap();
            drop(nested);
            told.send(()).unwrap();
        })
        .unwrap();
    there.write_all(b"go").unwrap();
    turn_until(&reactor, &outcome);
    assert!(cancelled.try_recv().unwrap().1.is_err());
    assert_eq!(reactor.metrics().panics, 0);
    reactor.close();
}

#[test]
fn a_panic_in_a_callback_stops_no_other() {
    let reactor = Reactor::new().unwrap();
    let (here, _there) = pair(&reactor);
    let (told, outcome) = mpsc::channel();
    let write = || Write::new(here.clone(), b"x".to_vec());
    reactor
        .submit(write(), |_, _| panic!("the callback's own"))
        .unwrap();
    reactor
        .submit(write(), move |_, done| told.send(done).unwrap())
        .unwrap();
    turn_until(&reactor, &outcome).unwrap();
    assert_eq!(reactor.metrics().panics, 1);
}

/// Does what it is told, on a source that is ready to be written.
struct Custom<F> {
    io: End,
    act: F,
}

impl<F: FnMut() -> io::Result<()> + Send + 'static> Operation for Custom<F> {
    type Output = ();

    fn source(&self) -> &Source {
        self.io.source()
    }

    fn direction(&self) -> Direction {
        Direction::Write
    }

    fn execute(&mut self) -> io::Result<()> {
        (self.act)()
    }
}

#[test]
fn an_operation_that_a_signal_interrupts_is_performed_again() {
    let reactor = Reactor::new().unwrap();
    let (io, _there) = pair(&reactor);
    let (told, outcome) = mpsc::channel();
    let mut interrupted = false;
    let act = move || {
        if std::mem::replace(&mut interrupted, true) {
            return Ok(());
        }
        Err(io::ErrorKind::Interrupted.into())
    };
    reactor
        .submit(Custom { io, act }, move |_, done| told.send(done).unwrap())
        .unwrap();
    turn_until(&reactor, &outcome).unwrap();
}

#[test]
fn an_operation_that_panics_is_called_back_with_an_error() {
    let reactor = Reactor::new().unwrap();
    let (io, _there) = pair(&reactor);
    let (told, outcome) = mpsc::channel();
    let act = || panic!("the operation's own");
    reactor
        .submit(Custom { io, act }, move |_, done| told.send(done).unwrap())
        .unwrap();
    let error = turn_until(&reactor, &outcome).unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
}

#[test]
fn one_that_is_cancelled_while_performed_is_called_back_by_that_turn() {
    let reactor = Reactor::new().unwrap();
    let (io, _there) = pair(&reactor);
    let key = Arc::new(OnceLock::new());
    let (told, outcome) = mpsc::channel();
    let act = {
        let (reactor, key) = (reactor.clone(), key.clone());
        move || {
            assert!(
                !reactor.cancel(*key.get().unwrap()),
                "it is being performed"
            );
            Err(ErrorKind::WouldBlock.into())
        }
    };
    let submitted = reactor.submit(Custom { io, act }, move |_, done| told.send(done).unwrap());
    key.set(submitted.unwrap()).unwrap();
    let error = turn_until(&reactor, &outcome).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert!(!reactor.cancel(*key.get().unwrap()));
}

#[test]
fn each_callback_is_called_once_however_often_it_is_cancelled() {
    let reactor = Reactor::new().unwrap();
    let (here, mut there) = pair(&reactor);
    let turner = {
        let reactor = reactor.clone();
        thread::spawn(move || while reactor.turn(None).is_ok() {})
    };
    let (told, outcome) = mpsc::channel();
    let (mut written, mut received) = (0, 0);
    for _ in 0..2_000 {
        let told = told.clone();
        let read = Read::new(here.clone(), vec![0; 1]);
        let key = reactor
            .submit(read, move |_, count| told.send(count).unwrap())
            .unwrap();
        // Mostly while the operation waits; otherwise what a cancelled one has left is there from the start.
        if written == received {
            there.write_all(b"x").unwrap();
            written += 1;
        }
        let cancelled = reactor.cancel(key);
        let count = outcome.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(!(cancelled && count.is_ok()));
        assert!(outcome.try_recv().is_err(), "called twice");
        received += count.unwrap_or(0);
    }
    reactor.close();
    turner.join().unwrap();
    drop(there);
    let mut left = Vec::new();
    here.get_ref().read_to_end(&mut left).unwrap();
    assert_eq!(received + left.len(), written, "no byte is lost");
}

#[test]
fn an_operation_on_the_source_of_another_reactor_is_refused() {
    let (reactor, other) = (Reactor::new().unwrap(), Reactor::new().unwrap());
    let (here, _there) = pair(&other);
    let error = reactor
        .submit(Read::new(here, vec![0; 1]), |_, _| {})
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_connection_is_accepted() {
    let reactor = Reactor::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listener = Arc::new(Async::with_reactor(listener, &reactor).unwrap());
    let (told, outcome) = mpsc::channel();
    let accept = Accept::new(listener);
    reactor
        .submit(accept, move |_, accepted| told.send(accepted).unwrap())
        .unwrap();
    let client = TcpStream::connect(address).unwrap();
    let (_stream, peer) = turn_until(&reactor, &outcome).unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
}

#[test]
fn a_datagram_is_received() {
    let reactor = Reactor::new().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let socket = Arc::new(Async::with_reactor(socket, &reactor).unwrap());
    let (told, outcome) = mpsc::channel();
    let receive = RecvFrom::new(socket, vec![0; 64]);
    reactor
        .submit(receive, move |receive, received| {
            told.send((receive.into_buffer(), received)).unwrap();
        })
        .unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"datagram", address).unwrap();
    let (buffer, received) = turn_until(&reactor, &outcome);
    let (length, from) = received.unwrap();
    assert_eq!(&buffer[..length], b"datagram");
    assert_eq!(from, sender.local_addr().unwrap());
}
