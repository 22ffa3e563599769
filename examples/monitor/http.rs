//! As much of HTTP/1.1 as a webhook takes: heads and bodies over a socket of peu's, parsed by `httparse`.
//!
//! Each post has a connection of its own, which ends with the answer. Alerts are few, so keeping connections would save
//! nothing that anyone notices, and it would bring the question of whether a request on a connection that breaks was read.

use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::io::{self, ErrorKind};
use std::str::FromStr;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use peu::net::TcpStream;

/// No head of a request or an answer is longer, nor what is told of a body.
const LONGEST: usize = 16 * 1024;
const MOST_HEADERS: usize = 64;
/// What is shown of a refusal's reason.
const SHOWN: usize = 200;

/// Where to post: `http://HOST[:PORT][/PATH]`.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// As it goes into the request.
    host: String,
    /// As it is connected to.
    address: String,
    path: String,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("{what}: a webhook is http://HOST[:PORT][/PATH]"));
        let Some(rest) = url.strip_prefix("http://") else {
            return wrong("it does not begin with http:// (there is no TLS here)");
        };
        if rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return wrong("it has blanks");
        }
        let (host, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        };
        if host.is_empty() || host.contains('@') {
            return wrong("it names no host");
        }
        // In brackets there are colons that begin no port.
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = match has_port {
            true => host.to_owned(),
            false if host.ends_with(']') || !host.contains(':') => format!("{host}:80"),
            false => return wrong("its port is no number up to 65535"),
        };
        Ok(Self {
            host: host.to_owned(),
            address,
            path: path.to_owned(),
        })
    }
}

/// Why a post was not taken.
#[derive(Debug)]
pub(crate) enum Undelivered {
    /// It was answered, but not with success.
    Refused { status: u16, reason: String },
    /// There was no answer.
    Failed(io::Error),
}

impl Undelivered {
    /// Whether the same post may be taken another time: not if the answer says that it is wrong.
    pub(crate) fn may_succeed_later(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            Self::Failed(_) => true,
        }
    }
}

impl Display for Undelivered {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status, reason } => write!(f, "the answer was {status} {reason}"),
            Self::Failed(error) => write!(f, "no answer: {error}"),
        }
    }
}

impl Error for Undelivered {}

impl From<io::Error> for Undelivered {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Posts JSON. It has been taken when this returns.
pub(crate) async fn post(endpoint: &Endpoint, body: &[u8]) -> Result<(), Undelivered> {
    let mut stream = TcpStream::connect(endpoint.address.as_str()).await?;
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        endpoint.path,
        endpoint.host,
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await?;
    answer(&mut stream).await
}

async fn answer(stream: &mut TcpStream) -> Result<(), Undelivered> {
    let mut bytes = Vec::new();
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&bytes).map_err(wrong)?;
        let status = response.code.unwrap_or_default();
        match parsed {
            httparse::Status::Complete(_) if (200..300).contains(&status) => return Ok(()),
            // Not yet the answer.
            httparse::Status::Complete(length) if status < 200 => drop(bytes.drain(..length)),
            httparse::Status::Complete(length) => {
                let shown = &bytes[length..bytes.len().min(length + SHOWN)];
                let text = String::from_utf8_lossy(shown);
                let reason = format!("{} {text}", response.reason.unwrap_or_default());
                let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
                return Err(Undelivered::Refused { status, reason });
            }
            httparse::Status::Partial => more(stream, &mut bytes).await?,
        }
    }
}

/// Reads the body of a request, for the webhook.
pub(crate) async fn request(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        if let httparse::Status::Complete(head) = request.parse(&bytes).map_err(wrong)? {
            let length = content_length(request.headers)?;
            while bytes.len() < head + length {
                more(stream, &mut bytes).await?;
            }
            return Ok(bytes[head..head + length].to_vec());
        }
        more(stream, &mut bytes).await?;
    }
}

fn content_length(headers: &[httparse::Header<'_>]) -> io::Result<usize> {
    let is_length =
        |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("content-length");
    let value = headers.iter().find(is_length).map(|header| header.value);
    let length = value.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    length
        .filter(|length| *length <= LONGEST)
        .ok_or_else(|| wrong("no length that will do"))
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; 4 * 1024];
    let count = stream.read(&mut chunk).await?;
    if count == 0 {
        return Err(io::Error::new(
            ErrorKind::UnexpectedEof,
            "it ended in the middle",
        ));
    }
    bytes.extend_from_slice(&chunk[..count]);
    match bytes.len() <= 2 * LONGEST {
        true => Ok(()),
        false => Err(wrong("it is too long")),
    }
}

fn wrong(what: impl Display) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("this is no HTTP: {what}"))
}
