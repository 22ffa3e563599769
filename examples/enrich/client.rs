//! A client of the look-up server that keeps many requests in flight on a few connections.
//!
//! The protocol has no request numbers: a connection answers in the order in which it was asked. So a connection is a
//! queue. [`get`](Client::get) appends its request to the bytes to send and to the queue of those who wait; one task
//! sends whatever has gathered, which is one system call for many requests when there are many; another receives,
//! and gives each answer to whoever is first in the queue. A request that is dropped meanwhile keeps its place in the
//! queue, or the answers behind it would go to the wrong ones.
//!
//! A connection that is lost fails all that wait on it, at once and with its reason. Who asks next has it made anew: the
//! failure may pass, and a row that is looked up once more may well find its answers. One whose server breaks the rules of
//! the protocol is given up, and every later request on it fails likewise.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use futures_lite::future;
use futures_lite::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use peu::net::TcpStream;
use peu::task::JoinHandle;
use peu::time;
use redis_protocol::resp2::types::OwnedFrame;
use slab::Slab;

use crate::failure::Failure;
use crate::progress::Gauge;
use crate::resp::{self, Decoder};

/// A few connections to one server.
pub(crate) struct Client {
    connections: Vec<Connection>,
    next: AtomicUsize,
    patience: Duration,
    in_flight: Gauge,
}

impl Client {
    /// Connects so many times. A server that leaves a connection or a request without an answer for as long as `patience` is
    /// given up.
    pub(crate) async fn connect(
        address: &str,
        connections: usize,
        patience: Duration,
        in_flight: Gauge,
    ) -> Result<Client, Failure> {
        let mut connected = Vec::with_capacity(connections);
        while connected.len() < connections {
            connected.push(Connection::open(address, patience).await?);
        }
        Ok(Client {
            connections: connected,
            next: AtomicUsize::new(0),
            patience,
            in_flight,
        })
    }

    /// The value of a key, or nothing if the server has none.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        let _in_flight = self.in_flight.enter();
        // ORDERING: Relaxed: it only spreads requests evenly; no memory is read because of it.
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let connection = &self.connections[turn % self.connections.len()];
        let command = resp::command([b"GET", key.as_bytes()]);
        let answer = within(self.patience, connection.request(&command)).await;
        let at = &connection.shared.address;
        answer
            .and_then(resp::value)
            .map_err(|failure| failure.within(&format!("cannot look up {key} at {at}")))
    }
}

/// What comes of the server's answer, if there is one in time. A server that was silent for so long is not asked again.
async fn within<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match time::timeout(patience, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(Failure::new(format!("no answer within {patience:?}"))),
    }
}

/// One connection, and the task that serves it. It ends when this is dropped.
struct Connection {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Connection {
    async fn open(address: &str, patience: Duration) -> Result<Connection, Failure> {
        let stream = connect(address, patience).await;
        let stream = stream.map_err(|failure| {
            failure.within(&format!("cannot reach the look-up server {address}"))
        })?;
        let shared = Arc::new(Shared {
            address: address.to_owned(),
            state: Mutex::default(),
        });
        let task = peu::spawn(serve(Arc::clone(&shared), stream, patience));
        Ok(Connection { shared, task })
    }

    /// Asks, and waits for the answer.
    async fn request(&self, command: &OwnedFrame) -> Result<OwnedFrame, Failure> {
        self.shared.ask(command)?.await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(address: &str, patience: Duration) -> Result<TcpStream, Failure> {
    let connected = async {
        let stream = TcpStream::connect(address).await?;
        // Requests gather while the socket is busy; a second gathering in the kernel would only add delay.
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let passing = |error: io::Error| Failure::passing(error.to_string());
    within(patience, async { connected.await.map_err(passing) }).await
}

/// Sends and receives, until the connection is lost; and then again, once somebody asks.
async fn serve(shared: Arc<Shared>, mut stream: TcpStream, patience: Duration) {
    loop {
        let (reader, writer) = stream.into_split();
        let failure = future::or(send(&shared, writer), receive(&shared, reader)).await;
        shared.fail(&failure);
        stream = loop {
            if !shared.asked_again().await {
                return;
            }
            match connect(&shared.address, patience).await {
                Ok(stream) => break stream,
                Err(failure) => shared.fail(&failure.within("cannot reach it again")),
            }
        };
    }
}

/// Sends what has gathered, again and again.
async fn send(shared: &Shared, mut writer: impl AsyncWrite + Unpin) -> Failure {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        poll_fn(|cx| shared.poll_take(cx, &mut bytes)).await;
        if let Err(error) = writer.write_all(&bytes).await {
            return Failure::passing(format!("cannot send to it: {error}"));
        }
    }
}

/// Receives answers, until there are no more.
async fn receive(shared: &Shared, mut reader: impl AsyncRead + Unpin) -> Failure {
    let mut decoder = Decoder::default();
    loop {
        match reader.read(decoder.room()).await {
            Ok(0) => return Failure::passing("it closed the connection"),
            Ok(length) => decoder.received(length),
            Err(error) => return Failure::passing(format!("cannot receive from it: {error}")),
        }
        if let Err(failure) = shared.answer(&mut decoder) {
            return failure;
        }
    }
}

/// What requests and the task of a connection share.
struct Shared {
    address: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Requests as bytes that the sender has not taken.
    outgoing: Vec<u8>,
    /// The sender, when it waits for such.
    sender: Option<Waker>,
    requests: Slab<Request>,
    /// Those that have no answer, in the order in which answers will come.
    unanswered: VecDeque<usize>,
    /// It is of no more use, for good.
    broken: Option<Failure>,
}

enum Request {
    Waiting(Option<Waker>),
    Answered(Result<OwnedFrame, Failure>),
    /// Nobody waits any more, but the answer will come.
    Dropped,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under this lock; if something did, the state would be whole all the same.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a request into the queue.
    fn ask(&self, command: &OwnedFrame) -> Result<Pending<'_>, Failure> {
        let mut state = self.lock();
        if let Some(failure) = &state.broken {
            return Err(failure.clone());
        }
        resp::encode(command, &mut state.outgoing)?;
        let key = state.requests.insert(Request::Waiting(None));
        state.unanswered.push_back(key);
        let sender = state.sender.take();
        drop(state);
        if let Some(sender) = sender {
            sender.wake();
        }
        Ok(Pending { shared: self, key })
    }

    /// Takes all that is to be sent, and waits while there is nothing.
    fn poll_take(&self, cx: &mut TaskContext<'_>, bytes: &mut Vec<u8>) -> Poll<()> {
        let mut state = self.lock();
        match state.outgoing.is_empty() {
            false => {
                std::mem::swap(&mut state.outgoing, bytes);
                Poll::Ready(())
            }
            true => {
                state.sender = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Ready when there is something to send over a new connection; false if there never will be.
    async fn asked_again(&self) -> bool {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.broken.is_some() || !state.outgoing.is_empty() {
                return Poll::Ready(state.broken.is_none());
            }
            state.sender = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Gives each answer to the first who waits. Wakers are called when the lock is released.
    fn answer(&self, decoder: &mut Decoder) -> Result<(), Failure> {
        let mut wakers = Vec::new();
        let mut state = self.lock();
        let end = loop {
            match decoder.next() {
                Ok(Some(frame)) => match state.unanswered.pop_front() {
                    Some(key) => wakers.extend(state.settle(key, Ok(frame))),
                    None => break Err(Failure::new("it answered more than it was asked")),
                },
                Ok(None) => break Ok(()),
                Err(failure) => break Err(failure),
            }
        };
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        end
    }

    /// There is no connection any more: who waits is told, and who asks later too, if the failure will not pass.
    fn fail(&self, failure: &Failure) {
        let mut state = self.lock();
        let waiting = std::mem::take(&mut state.unanswered);
        state.outgoing.clear();
        let failure = failure.with(&format!(" with {} requests in flight", waiting.len()));
        let wakers: Vec<Waker> = waiting
            .into_iter()
            .filter_map(|key| state.settle(key, Err(failure.clone())))
            .collect();
        if !failure.may_pass() {
            state.broken = Some(failure);
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl State {
    /// A request has its answer, or will have none. Returns whom to wake.
    fn settle(&mut self, key: usize, answer: Result<OwnedFrame, Failure>) -> Option<Waker> {
        match std::mem::replace(&mut self.requests[key], Request::Answered(answer)) {
            Request::Waiting(waker) => waker,
            Request::Answered(_) => None,
            Request::Dropped => {
                self.requests.remove(key);
                None
            }
        }
    }
}

/// A request in the queue.
struct Pending<'a> {
    shared: &'a Shared,
    key: usize,
}

impl Future for Pending<'_> {
    type Output = Result<OwnedFrame, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let mut state = self.shared.lock();
        match &mut state.requests[self.key] {
            Request::Answered(answer) => {
                Poll::Ready(std::mem::replace(answer, Ok(OwnedFrame::Null)))
            }
            waiting => {
                *waiting = Request::Waiting(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        match &state.requests[self.key] {
            Request::Waiting(_) => state.requests[self.key] = Request::Dropped,
            _ => drop(state.requests.remove(self.key)),
        }
    }
}
