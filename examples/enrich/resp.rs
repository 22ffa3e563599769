//! Redis's protocol, RESP2, on a byte stream: bytes in, whole frames out. The grammar is the `redis-protocol` crate's.

use redis_protocol::resp2::types::{OwnedFrame, Resp2Frame as _};
use redis_protocol::resp2::{decode, encode};

use crate::failure::{Context, Failure};

/// Nothing that flights look up is longer than a kilobyte. A frame beyond this bound is an error, so a peer that lies
/// about a length can't make this program hoard memory.
const LONGEST_FRAME: usize = 16 * 1024;

/// How much is read from a socket at once: some fifty answers.
const READ: usize = 16 * 1024;

/// Gathers bytes and takes whole frames off their front.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: Vec<u8>,
    /// Where the first byte is that belongs to no frame yet.
    start: usize,
    /// Where the bytes end that were received.
    end: usize,
}

impl Decoder {
    /// Room for the next read; say with [`received`](Self::received) how much of it was filled.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        self.buffer.resize(self.end + READ, 0);
        &mut self.buffer[self.end..]
    }

    /// The first `length` bytes of the room are new.
    pub(crate) fn received(&mut self, length: usize) {
        self.end += length;
    }

    /// The next whole frame, or nothing until more bytes are received.
    pub(crate) fn next(&mut self) -> Result<Option<OwnedFrame>, Failure> {
        let pending = &self.buffer[self.start..self.end];
        if has_nested_array(pending) {
            return Err(Failure::new(
                "an array is inside an array: no command and no answer here has that",
            ));
        }
        match decode::decode(pending).context(|| "the bytes are not Redis's protocol".to_owned())? {
            Some((frame, length)) => {
                self.start += length;
                Ok(Some(frame))
            }
            None if pending.len() > LONGEST_FRAME => Err(Failure::new(format!(
                "a frame is longer than {LONGEST_FRAME} bytes"
            ))),
            None => Ok(None),
        }
    }
}

/// Whether the frame that begins these bytes, as far as it is there, has an array in an array. The decoder recurses: a
/// peer that nests a few thousand would overflow the stack.
fn has_nested_array(bytes: &[u8]) -> bool {
    let Some((b'*', elements, mut rest)) = header(bytes) else {
        return false;
    };
    for _ in 0..elements {
        rest = match header(rest) {
            Some((b'*', ..)) => return true,
            Some((b'$', length, after)) if length >= 0 => {
                after.get(length as usize + 2..).unwrap_or_default()
            }
            Some((_, _, after)) => after,
            None => return false,
        }
    }
    false
}

/// Splits off the first line: its mark, the number behind it (-1 where there is none), and what follows the line.
fn header(bytes: &[u8]) -> Option<(u8, i32, &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let (mark, number) = bytes[..end].split_first()?;
    let number = std::str::from_utf8(number)
        .ok()
        .and_then(|digits| digits.parse().ok());
    Some((*mark, number.unwrap_or(-1), &bytes[end + 2..]))
}

/// Appends a frame as bytes.
pub(crate) fn encode(frame: &OwnedFrame, bytes: &mut Vec<u8>) -> Result<(), Failure> {
    let start = bytes.len();
    bytes.resize(start + frame.encode_len(false), 0);
    encode::encode(&mut bytes[start..], frame, false)
        .context(|| "cannot encode a frame".to_owned())?;
    Ok(())
}

/// A command as a client sends it: an array of its words.
pub(crate) fn command<const N: usize>(words: [&[u8]; N]) -> OwnedFrame {
    OwnedFrame::Array(
        words
            .iter()
            .map(|word| OwnedFrame::BulkString(word.to_vec()))
            .collect(),
    )
}

/// The answer to a GET: a value, or nothing.
pub(crate) fn value(frame: OwnedFrame) -> Result<Option<Vec<u8>>, Failure> {
    match frame {
        OwnedFrame::BulkString(value) => Ok(Some(value)),
        OwnedFrame::Null => Ok(None),
        OwnedFrame::Error(error) => {
            let line = format!("the server answered: {}", one_line(&error));
            // So says a Redis that reads its data from the disk, before it answers anything else.
            Err(match error.starts_with("LOADING") {
                true => Failure::passing(line),
                false => Failure::new(line),
            })
        }
        other => Err(Failure::new(format!(
            "the server answered with no value but {}",
            shown(&other)
        ))),
    }
}

/// A frame as it may stand in a line of text: with its mark, as it travels, if it is short by its nature.
pub(crate) fn shown(frame: &OwnedFrame) -> String {
    match frame {
        OwnedFrame::SimpleString(text) => one_line(&format!("+{}", String::from_utf8_lossy(text))),
        OwnedFrame::Error(text) => one_line(&format!("-{text}")),
        OwnedFrame::Integer(number) => format!(":{number}"),
        OwnedFrame::BulkString(value) => format!("a value of {} bytes", value.len()),
        OwnedFrame::Array(elements) => format!("an array of {} elements", elements.len()),
        OwnedFrame::Null => "nothing".to_owned(),
    }
}

/// What a peer says is text, and may hold anything: line breaks, what moves a terminal's cursor.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}
