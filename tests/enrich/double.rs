//! Servers that misbehave, each in its way. They run on threads of this test, and hold the tables of nobody: they take
//! what is stored, and know nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use redis_protocol::resp2::types::OwnedFrame;
use socket2::{Domain, SockRef, Socket, Type};

use crate::resp::{self, Decoder};

/// How it misbehaves, once it has answered so many look-ups well (or, as to stores, from the first).
#[derive(Clone, Copy)]
pub(crate) enum Misdeed {
    /// Closes all connections and takes no more.
    Dies,
    /// Closes the connection as a server does that crashes: with what it was sent unread.
    Resets,
    /// Sends these bytes as an answer, and goes on as if nothing were.
    Says(&'static [u8]),
    /// Closes the connection, and answers well as often again.
    HangsUp,
    /// Sends these bytes, and then dies.
    DiesSaying(&'static [u8]),
    /// Sends these bytes as the answer to what it is to store.
    StoresSaying(&'static [u8]),
}

/// Starts one, and returns its address. It ends with the process.
pub(crate) fn start(good_answers: usize, misdeed: Misdeed) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let shared = Arc::new(Mutex::new(Double {
        good_answers,
        between: good_answers,
        connections: Vec::new(),
    }));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            shared
                .lock()
                .unwrap()
                .connections
                .push(stream.try_clone().unwrap());
            let shared = Arc::clone(&shared);
            thread::spawn(move || serve(stream, &shared, misdeed));
        }
    });
    address
}

/// A server that serves so many connections, all that a job stores, and leaves every other without an answer: as if a
/// firewall dropped what is sent to it. Nobody accepts what waits, and no more than one can.
pub(crate) fn start_and_accept(connections: usize) -> String {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    listener.bind(&any_port.into()).unwrap();
    listener.listen(0).unwrap();
    let listener = TcpListener::from(listener);
    let address = listener.local_addr().unwrap();
    let shared = Mutex::new(Double {
        good_answers: 0,
        between: 0,
        connections: Vec::new(),
    });
    thread::spawn(move || {
        for _ in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            serve(stream, &shared, Misdeed::Dies);
        }
        let _waiting = TcpStream::connect(address).unwrap();
        loop {
            thread::park();
        }
    });
    address.to_string()
}

struct Double {
    good_answers: usize,
    /// Good answers between two misdeeds.
    between: usize,
    connections: Vec<TcpStream>,
}

/// Ends when the client leaves or the server dies, by an error of a socket: either is the end of this thread.
fn serve(mut stream: TcpStream, shared: &Mutex<Double>, misdeed: Misdeed) -> Option<()> {
    let mut decoder = Decoder::default();
    loop {
        match stream.read(decoder.room()).ok()? {
            0 => return None,
            length => decoder.received(length),
        }
        while let Some(command) = decoder.next().unwrap() {
            answer(&mut stream, &command, shared, misdeed)?;
        }
    }
}

fn answer(
    stream: &mut TcpStream,
    command: &OwnedFrame,
    shared: &Mutex<Double>,
    misdeed: Misdeed,
) -> Option<()> {
    let OwnedFrame::Array(words) = command else {
        panic!("{command:?} is no command")
    };
    if words[0] == OwnedFrame::BulkString(b"SET".to_vec()) {
        let answer = match misdeed {
            Misdeed::StoresSaying(bytes) => bytes,
            _ => b"+OK\r\n",
        };
        return stream.write_all(answer).ok();
    }
    let mut double = shared.lock().unwrap();
    if double.good_answers > 0 {
        double.good_answers -= 1;
        let mut bytes = Vec::new();
        resp::encode(&OwnedFrame::Null, &mut bytes).unwrap();
        return stream.write_all(&bytes).ok();
    }
    match misdeed {
        Misdeed::Says(bytes) | Misdeed::StoresSaying(bytes) => stream.write_all(bytes).ok(),
        Misdeed::Dies => double.die(),
        Misdeed::Resets => {
            // To linger for no time is to reset.
            SockRef::from(&*stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
            double.connections.clear();
            None
        }
        Misdeed::HangsUp => {
            double.good_answers = double.between;
            let _ = stream.shutdown(std::net::Shutdown::Both);
            None
        }
        Misdeed::DiesSaying(bytes) => {
            stream.write_all(bytes).ok()?;
            double.die()
        }
    }
}

impl Double {
    fn die(&mut self) -> Option<()> {
        for connection in self.connections.drain(..) {
            // It may be closed already, which is all that is wanted.
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
        None
    }
}
