//! A client of the look-up server that keeps many requests in flight on a few connections.
//!
//! The protocol has no request numbers: a connection answers in the order in which it was asked. So a connection is a
//! queue. [`get`](Client::get) appends its request to the bytes to send and to the queue of those who wait; one task
//! sends whatever has gathered, which is one system call for many requests when there are many; another receives,
//! and gives each answer to whoever is first in the queue. A request that is dropped meanwhile keeps its place in the
//! queue, or the answers behind it would go to the wrong ones.
//!
//! A connection that breaks fails all that wait on it, at once and with its reason, and every later request likewise.

use std::collections::VecDeque;
use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use futures_lite::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use peu::net::TcpStream;
use peu::task::JoinHandle;
use peu::time;
use redis_protocol::resp2::types::OwnedFrame;
use slab::Slab;

use crate::failure::{Context, Failure};
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
            .context(|| format!("cannot look up {key} at {at}"))
    }
}

/// What comes of the server's answer, if there is one in time.
async fn within<T, E: Display>(
    patience: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    match time::timeout(patience, answer).await {
        Ok(answer) => answer.map_err(|error| Failure::new(error.to_string())),
        Err(_) => Err(Failure::new(format!("no answer within {patience:?}"))),
    }
}

/// One connection, and the two tasks that serve it. They end when it is dropped.
struct Connection {
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

impl Connection {
    async fn open(address: &str, patience: Duration) -> Result<Connection, Failure> {
        let cannot = || format!("cannot reach the look-up server {address}");
        let stream = within(patience, TcpStream::connect(address)).await;
        let stream = stream.context(cannot)?;
        // Requests gather while the socket is busy; a second gathering in the kernel would only add delay.
        stream.set_nodelay(true).context(cannot)?;
        let (reader, writer) = stream.into_split();
        let shared = Arc::new(Shared {
            address: address.to_owned(),
            state: Mutex::default(),
        });
        let tasks = [
            peu::spawn(send(Arc::clone(&shared), writer)),
            peu::spawn(receive(Arc::clone(&shared), reader)),
        ];
        Ok(Connection { shared, tasks })
    }

    /// Asks, and waits for the answer.
    async fn request(&self, command: &OwnedFrame) -> Result<OwnedFrame, Failure> {
        self.shared.ask(command)?.await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Sends what has gathered, again and again.
async fn send(shared: Arc<Shared>, mut writer: impl AsyncWrite + Unpin) {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        poll_fn(|cx| shared.poll_take(cx, &mut bytes)).await;
        if let Err(error) = writer.write_all(&bytes).await {
            return shared.fail(&format!("cannot send to it: {error}"));
        }
    }
}

/// Receives answers, until there are no more.
async fn receive(shared: Arc<Shared>, mut reader: impl AsyncRead + Unpin) {
    let mut decoder = Decoder::default();
    loop {
        match reader.read(decoder.room()).await {
            Ok(0) => return shared.fail("it closed the connection"),
            Ok(length) => decoder.received(length),
            Err(error) => return shared.fail(&format!("cannot receive from it: {error}")),
        }
        if let Err(failure) = shared.answer(&mut decoder) {
            return shared.fail(&failure.to_string());
        }
    }
}

/// What requests and the two tasks of a connection share.
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
    broken: Option<Failure>,
}

enum Request {
    Waiting(Option<Waker>),
    Answered(OwnedFrame),
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

    /// Gives each answer to the first who waits. Wakers are called when the lock is released.
    fn answer(&self, decoder: &mut Decoder) -> Result<(), Failure> {
        let mut wakers = Vec::new();
        let mut state = self.lock();
        let end = loop {
            match decoder.next() {
                Ok(Some(frame)) => match state.unanswered.pop_front() {
                    Some(key) => wakers.extend(state.settle(key, Some(frame))),
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

    /// The connection is of no more use: who waits is told. Only the first reason is one: the sender and the receiver both
    /// notice, and the second of them sees what the first has left.
    fn fail(&self, reason: &str) {
        let mut state = self.lock();
        if state.broken.is_some() {
            return;
        }
        let waiting = std::mem::take(&mut state.unanswered);
        state.broken = Some(Failure::new(format!(
            "{reason} with {} requests in flight",
            waiting.len()
        )));
        let wakers: Vec<Waker> = waiting
            .into_iter()
            .filter_map(|key| state.settle(key, None))
            .collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl State {
    /// A request has its answer, or will have none. Returns whom to wake.
    fn settle(&mut self, key: usize, answer: Option<OwnedFrame>) -> Option<Waker> {
        match &mut self.requests[key] {
            Request::Dropped => {
                self.requests.remove(key);
                None
            }
            waiting => match (std::mem::replace(waiting, Request::Waiting(None)), answer) {
                (Request::Waiting(waker), None) => waker,
                (Request::Waiting(waker), Some(answer)) => {
                    *waiting = Request::Answered(answer);
                    waker
                }
                _ => None,
            },
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
        let State {
            requests, broken, ..
        } = &mut *state;
        match (&mut requests[self.key], broken) {
            (Request::Answered(answer), _) => {
                Poll::Ready(Ok(std::mem::replace(answer, OwnedFrame::Null)))
            }
            (_, Some(failure)) => Poll::Ready(Err(failure.clone())),
            (waiting, None) => {
                *waiting = Request::Waiting(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        match (&state.requests[self.key], &state.broken) {
            (Request::Waiting(_), None) => state.requests[self.key] = Request::Dropped,
            _ => drop(state.requests.remove(self.key)),
        }
    }
}
