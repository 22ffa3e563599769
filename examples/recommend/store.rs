//! A keyed store behind a socket: lines of `GET key` and `PUT key value`, each with a line for an answer. Values are JSON.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_lite::io::BufReader;
use futures_lite::{AsyncBufReadExt, AsyncWriteExt};
use peu::net::{TcpListener, TcpStream};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The answer of the store for a key that it does not have.
const NONE: &str = "none";
const DONE: &str = "done";

/// A client. Clones share its connections: as many as there are requests at a time, each for one request at a time.
#[derive(Clone)]
pub(crate) struct Store {
    address: SocketAddr,
    idle: Arc<Mutex<VecDeque<BufReader<TcpStream>>>>,
}

impl Store {
    pub(crate) fn at(address: SocketAddr) -> Self {
        let idle = Arc::default();
        Self { address, idle }
    }

    /// The value of a key, if it has one.
    pub(crate) async fn get<V: DeserializeOwned>(&self, key: &str) -> io::Result<Option<V>> {
        self.check(key)?;
        match self.ask(&format!("GET {key}\n")).await?.as_str() {
            NONE => Ok(None),
            value => Ok(Some(serde_json::from_str(value)?)),
        }
    }

    pub(crate) async fn put<V: Serialize>(&self, key: &str, value: &V) -> io::Result<()> {
        self.check(key)?;
        let value = serde_json::to_string(value)?;
        match self.ask(&format!("PUT {key} {value}\n")).await?.as_str() {
            DONE => Ok(()),
            other => Err(self.error(format!("it said {other:?} to a PUT"))),
        }
    }

    /// A key with a blank would be two words to the store, or two lines.
    fn check(&self, key: &str) -> io::Result<()> {
        match key.contains(char::is_whitespace) {
            true => Err(self.error(format!("{key:?} is no key: it has blanks"))),
            false => Ok(()),
        }
    }

    async fn ask(&self, request: &str) -> io::Result<String> {
        let idle = lock(&self.idle).pop_front();
        let mut connection = match idle {
            Some(connection) => connection,
            None => BufReader::new(TcpStream::connect(self.address).await?),
        };
        connection.get_mut().write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        if connection.read_line(&mut answer).await? == 0 {
            return Err(self.error("it hung up"));
        }
        // One that failed or was given up in the middle does not come back: dropped, it is closed.
        lock(&self.idle).push_back(connection);
        Ok(answer.trim_end().to_owned())
    }

    fn error(&self, what: impl std::fmt::Display) -> io::Error {
        let message = format!("the store at {} failed: {what}", self.address);
        io::Error::other(message)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Values = Mutex<HashMap<String, String>>;

/// Starts a store that answers so much later, on a port of its own, until the runtime ends.
pub(crate) async fn start(delay: Duration) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let values = Arc::<Values>::default();
    drop(peu::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let values = Arc::clone(&values);
            // A client that leaves ends its connection, and nothing else.
            drop(peu::spawn(async move {
                drop(serve(stream, &values, delay).await);
            }));
        }
    }));
    Ok(address)
}

async fn serve(stream: TcpStream, values: &Values, delay: Duration) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let mut answer = answer(line.trim_end(), values);
        peu::time::sleep(delay).await;
        answer.push('\n');
        stream.get_mut().write_all(answer.as_bytes()).await?;
        line.clear();
    }
    Ok(())
}

fn answer(request: &str, values: &Values) -> String {
    let mut words = request.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some("GET"), Some(key), None) => {
            let value = lock(values).get(key).cloned();
            value.unwrap_or_else(|| NONE.to_owned())
        }
        (Some("PUT"), Some(key), Some(value)) => {
            lock(values).insert(key.to_owned(), value.to_owned());
            DONE.to_owned()
        }
        _ => "what?".to_owned(),
    }
}
