//! A checkpoint as bytes.
//!
//! ```text
//!     0        8         10         18         22
//!     | magic  | version | length   | checksum | body: postcard
//!       8        2         8          4          length
//! ```
//!
//! Numbers are little-endian. The checksum is the CRC-32 of version, length and body. It finds what a crash, a full disk or a
//! bad one does to a file, and is no protection against malice: a checkpoint is to be trusted as the program is.

use super::Checkpoint;
use crate::error::BoxError;
use serde::de::DeserializeOwned;
use std::fmt::{self, Display, Formatter};

const MAGIC: [u8; 8] = *b"peu-ckpt";
/// Grows when the body, or a state in it, changes its form.
const VERSION: u16 = 3;
const HEADER: usize = 22;

/// Why bytes are no checkpoint.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Damage {
    TooShort(usize),
    Magic,
    Version(u16),
    Length { told: u64, found: u64 },
    Checksum,
    Body(String),
}

pub(super) fn encode(checkpoint: &Checkpoint) -> Result<Vec<u8>, postcard::Error> {
    Ok(with_header(VERSION, &postcard::to_stdvec(checkpoint)?))
}

fn with_header(version: u16, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u64).to_le_bytes();
    let version = version.to_le_bytes();
    let sum = checksum(&version, &length, body).to_le_bytes();
    [&MAGIC[..], &version, &length, &sum, body].concat()
}

pub(super) fn decode(bytes: &[u8]) -> Result<Checkpoint, Damage> {
    if bytes.len() < HEADER {
        return Err(Damage::TooShort(bytes.len()));
    }
    let (header, body) = bytes.split_at(HEADER);
    let (magic, version, length, sum) =
        (&header[..8], &header[8..10], &header[10..18], &header[18..]);
    if magic != MAGIC {
        return Err(Damage::Magic);
    }
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .rfold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let (told, found) = (number(length), body.len() as u64);
    if told != found {
        return Err(Damage::Length { told, found });
    }
    if number(sum) != u64::from(checksum(version, length, body)) {
        return Err(Damage::Checksum);
    }
    // Only now: a flipped bit must not pass for another version.
    match number(version) as u16 {
        VERSION => read(body).map_err(|error| Damage::Body(error.to_string())),
        other => Err(Damage::Version(other)),
    }
}

/// What these bytes say, all of them. `postcard` takes what it needs, and asks for no more; what is left over says that something else
/// was written.
pub(in crate::pipeline) fn read<S: DeserializeOwned>(bytes: &[u8]) -> Result<S, BoxError> {
    match postcard::take_from_bytes(bytes)? {
        (state, []) => Ok(state),
        (_, left) => {
            let (left, all) = (left.len(), bytes.len());
            Err(format!("{left} of its {all} bytes are left over").into())
        }
    }
}

fn checksum(version: &[u8], length: &[u8], body: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    for part in [version, length, body] {
        sum.update(part);
    }
    sum.finalize()
}

impl Display for Damage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Damage::TooShort(found) => write!(f, "it has {found} bytes, its header alone {HEADER}"),
            Damage::Magic => f.write_str("it does not begin as a checkpoint does"),
            Damage::Version(version) => write!(
                f,
                "it is of version {version}, and this program reads version {VERSION}: let the program that made it, or one of its time, run the job to its end"
            ),
            Damage::Length { told, found } => {
                write!(f, "it tells of {told} bytes, and has {found}")
            }
            Damage::Checksum => f.write_str("its checksum is wrong"),
            Damage::Body(error) => write!(f, "its body can't be read: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Checkpoint, Damage, decode, encode, read, with_header};
    use crate::pipeline::checkpoint::Part;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            number: 7,
            is_last: false,
            parts: vec![Part {
                name: "source".to_owned(),
                what: "a source of u64".to_owned(),
                form: vec!["(bool, u64)".to_owned()],
            }],
            states: [("source".to_owned(), vec![1, 2, 3])].into(),
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = encode(&checkpoint()).unwrap();
        assert_eq!(decode(&bytes), Ok(checkpoint()));
    }

    #[test]
    fn c07_a_state_of_which_something_is_left_over_is_refused() {
        assert_eq!(read::<u8>(&[7]).unwrap(), 7);
        let error = read::<u8>(&[7, 8, 9]).unwrap_err().to_string();
        assert_eq!(error, "2 of its 3 bytes are left over");
    }

    #[test]
    fn c06_another_version_is_told_from_damage_and_whose_job_it_is() {
        // The body of another version is nothing that this one can know.
        for (version, body) in [(2, &b"of old"[..]), (4, b"")] {
            let damage = decode(&with_header(version, body)).unwrap_err();
            assert_eq!(damage, Damage::Version(version));
            let told = damage.to_string();
            let versions = format!("it is of version {version}, and this program reads version 3");
            assert!(told.starts_with(&versions), "{told}");
            assert!(told.contains("let the program that made it"), "{told}");
        }
    }

    #[test]
    fn c06_every_flipped_bit_is_found() {
        let bytes = encode(&checkpoint()).unwrap();
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn c06_every_truncation_is_found_and_so_is_what_follows() {
        let bytes = encode(&checkpoint()).unwrap();
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length} bytes");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(matches!(decode(&longer), Err(Damage::Length { .. })));
    }
}
