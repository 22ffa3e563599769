//! The look-up server that the program brings along: the tables in memory, Redis's protocol on loopback.
//!
//! It runs on a runtime of its own, so its work is not in the event loop that looks up, and the blocking mode has the
//! same server. With a delay it answers late, as a server at the other end of a network would: each answer leaves its
//! delay after its request came, however many requests are in between. Nothing waits for that but the answer.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use peu::net::{TcpListener, TcpStream};
use peu::{Runtime, time};
use redis_protocol::resp2::types::OwnedFrame;

use crate::failure::{Context, Failure};
use crate::resp::{self, Decoder};
use crate::tables::Entry;

/// Answers that wait for their time on one connection, in batches. At this many the server stops reading from it, so
/// a client that asks without end is held back by its own socket.
const LATE_BATCHES: usize = 1024;

/// The server under way. It ends when this is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Server {
    /// Listens on a free port of loopback.
    pub(crate) fn start(entries: Vec<Entry>, delay: Duration) -> Result<Server, Failure> {
        let cannot = || "cannot start the look-up server".to_owned();
        let runtime = Runtime::builder()
            .workers(1)
            .thread_name("look-up server")
            .build()
            .context(cannot)?;
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .context(cannot)?;
        let address = listener.local_addr().context(cannot)?;
        let values = entries
            .into_iter()
            .map(|(key, value)| (key.into_bytes(), value))
            .collect();
        runtime.spawn(accept(
            listener,
            Arc::new(Store {
                values: RwLock::new(values),
            }),
            delay,
        ));
        Ok(Server {
            address,
            _runtime: runtime,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves whoever connects. An error is that of one connection, or passes (too many files are open): the listener waits
/// before it tries again.
async fn accept(listener: TcpListener, store: Arc<Store>, delay: Duration) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            drop(peu::spawn(serve(stream, Arc::clone(&store), delay)));
        }
    }
}

/// One connection, from its first byte to its last. A client that leaves, or that speaks another protocol, is not the
/// server's concern: the client is told, if it can be.
async fn serve(stream: TcpStream, store: Arc<Store>, delay: Duration) {
    let connection = Connection {
        stream,
        store,
        delay,
        decoder: Decoder::default(),
        late: VecDeque::new(),
    };
    let _ = connection.run().await;
}

struct Connection {
    stream: TcpStream,
    store: Arc<Store>,
    delay: Duration,
    decoder: Decoder,
    /// Answers that wait for their time, the first to leave in front.
    late: VecDeque<(Instant, Vec<u8>)>,
}

/// What happens next on a connection.
enum Next {
    Received(usize),
    Due,
}

impl Connection {
    async fn run(mut self) -> io::Result<()> {
        // An answer leaves when it is due: the kernel would keep it until the one before is acknowledged.
        self.stream.set_nodelay(true)?;
        loop {
            match self.next().await? {
                Next::Received(0) => break,
                Next::Received(length) => {
                    self.decoder.received(length);
                    let mut answers = Vec::new();
                    let goes_on = self.answer_all(&mut answers);
                    self.late.push_back((Instant::now() + self.delay, answers));
                    if !goes_on {
                        break;
                    }
                }
                Next::Due => self.send_first().await?,
            }
        }
        while let Some((due, _)) = self.late.front() {
            time::sleep_until(*due).await;
            self.send_first().await?;
        }
        Ok(())
    }

    /// Requests that come, or answers that are due, whichever is first. Answers that are due go before requests.
    async fn next(&mut self) -> io::Result<Next> {
        let due = self.late.front().map(|(due, _)| *due);
        let is_full = self.late.len() >= LATE_BATCHES;
        let received = async {
            match is_full {
                true => future::pending().await,
                false => self
                    .stream
                    .read(self.decoder.room())
                    .await
                    .map(Next::Received),
            }
        };
        match due {
            None => received.await,
            Some(due) if due <= Instant::now() => Ok(Next::Due),
            Some(due) => {
                let due = async {
                    time::sleep_until(due).await;
                    Ok(Next::Due)
                };
                future::or(due, received).await
            }
        }
    }

    /// Answers all requests that are here. One that can't be read is answered with the reason, and is the last: nobody
    /// knows where the next begins. Returns whether more can follow.
    fn answer_all(&mut self, answers: &mut Vec<u8>) -> bool {
        loop {
            let answered = match self.decoder.next() {
                Ok(None) => return true,
                Ok(Some(request)) => resp::encode(&self.store.answer(request), answers),
                Err(failure) => Err(failure),
            };
            if let Err(failure) = answered {
                // If even that can't be said, the connection ends without a word.
                let _ = resp::encode(&error(&failure.to_string()), answers);
                return false;
            }
        }
    }

    async fn send_first(&mut self) -> io::Result<()> {
        match self.late.pop_front() {
            Some((_, answers)) => self.stream.write_all(&answers).await,
            None => Ok(()),
        }
    }
}

/// The keys and their values.
struct Store {
    values: RwLock<HashMap<Vec<u8>, Vec<u8>>>,
}

impl Store {
    fn answer(&self, request: OwnedFrame) -> OwnedFrame {
        let Some(words) = words(request) else {
            return error("a command is an array of bulk strings");
        };
        let Some((name, arguments)) = words.split_first() else {
            return error("a command has a name");
        };
        match (name.to_ascii_uppercase().as_slice(), arguments) {
            (b"GET", [key]) => self.get(key),
            (b"MGET", [_, ..]) => {
                OwnedFrame::Array(arguments.iter().map(|key| self.get(key)).collect())
            }
            (b"SET", [key, value]) => self.set(key, value),
            (b"PING", []) => OwnedFrame::SimpleString(b"PONG".to_vec()),
            (b"PING", [text]) => OwnedFrame::BulkString(text.clone()),
            // What clients ask first. Nothing to say about commands; and no other version of the protocol.
            (b"COMMAND", _) => OwnedFrame::Array(Vec::new()),
            (b"HELLO", _) => {
                OwnedFrame::Error("NOPROTO this server speaks RESP2 without HELLO".to_owned())
            }
            (b"GET" | b"MGET" | b"SET" | b"PING", _) => error("wrong number of arguments"),
            _ => error("unknown command: GET, MGET, SET and PING are known"),
        }
    }

    fn get(&self, key: &[u8]) -> OwnedFrame {
        // A writer that panicked left the map whole: `insert` happened or did not.
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        values.get(key).map_or(OwnedFrame::Null, |value| {
            OwnedFrame::BulkString(value.clone())
        })
    }

    fn set(&self, key: &[u8], value: &[u8]) -> OwnedFrame {
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        values.insert(key.to_vec(), value.to_vec());
        OwnedFrame::SimpleString(b"OK".to_vec())
    }
}

fn words(request: OwnedFrame) -> Option<Vec<Vec<u8>>> {
    let OwnedFrame::Array(words) = request else {
        return None;
    };
    let word = |frame| match frame {
        OwnedFrame::BulkString(word) => Some(word),
        _ => None,
    };
    words.into_iter().map(word).collect()
}

fn error(text: &str) -> OwnedFrame {
    OwnedFrame::Error(format!("ERR {text}"))
}
