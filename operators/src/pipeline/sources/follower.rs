//! The looks of a tail at its file: all that blocks.
//!
//! A file is followed by what it is, not by its name: by its number in the file system, and by its beginning, for numbers are given
//! again, and a file can be truncated and grow again between two looks. A look reads a piece, if there is more; at the end it asks
//! whether the name still means this file. If it does not, and another look finds nothing more, the next file's turn has come.

use super::line_buffer::{Line, LineBuffer, NoLine};
use super::rotated;
use crate::error::BoxError;
use crate::pipeline::identity::Identity;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// How much a look reads: enough to make the hand-over to another thread, some 10 µs, a small part of the cost.
const PIECE: usize = 64 * 1024;

/// How much of a file tells it from others: a few lines, of which one at least has a time in it.
const BEGINNING: u64 = 1024;

/// Where a [`Tail`](super::Tail) stands: a file, and a byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailPosition {
    pub(super) identity: Identity,
    pub(super) beginning: Beginning,
    pub(super) byte: u64,
}

impl TailPosition {
    /// Whether this file is the one, or a copy of it, and still has what comes before the position.
    pub(super) fn is_in(&self, file: &File) -> io::Result<bool> {
        Ok(self.byte <= file.metadata()?.len() && self.beginning.is_of(file)?)
    }
}

/// What a file begins with: the CRC-32 of so many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Beginning {
    length: u64,
    checksum: u32,
}

impl Beginning {
    fn of(file: &File, length: u64) -> io::Result<Self> {
        let mut bytes = [0; BEGINNING as usize];
        let bytes = &mut bytes[..length.min(BEGINNING) as usize];
        file.read_exact_at(bytes, 0)?;
        Ok(Self {
            length: bytes.len() as u64,
            checksum: crc32fast::hash(bytes),
        })
    }

    /// What comes next is this.
    fn go_on(&mut self, bytes: &[u8]) {
        let missing = (BEGINNING - self.length).min(bytes.len() as u64);
        let mut checksum = crc32fast::Hasher::new_with_initial_len(self.checksum, self.length);
        checksum.update(&bytes[..missing as usize]);
        self.checksum = checksum.finalize();
        self.length += missing;
    }

    fn is_of(&self, file: &File) -> io::Result<bool> {
        match Self::of(file, self.length) {
            Ok(beginning) => Ok(beginning == *self),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What a look has found.
pub(super) struct Look {
    pub(super) lines: VecDeque<(String, TailPosition)>,
    /// Whether there may be more.
    pub(super) more: Result<bool, BoxError>,
}

/// Follows a name from file to file.
pub(super) struct Follower {
    path: PathBuf,
    /// Where to begin, until that is found.
    from: Option<TailPosition>,
    longest: usize,
    allows_loss: bool,
    /// None: there is none yet.
    open: Option<Open>,
    piece: Vec<u8>,
}

/// The file that is read.
struct Open {
    file: File,
    identity: Identity,
    beginning: Beginning,
    /// How much of it was read.
    read: u64,
    /// How much of that was given, in lines.
    given: u64,
    lines: LineBuffer,
    /// At the end of the last look it had no more, and its name meant another file.
    is_old: bool,
}

impl Follower {
    pub(super) fn new(
        path: PathBuf,
        from: Option<TailPosition>,
        longest: usize,
        allows_loss: bool,
    ) -> Self {
        Self {
            path,
            from,
            longest,
            allows_loss,
            open: None,
            piece: vec![0; PIECE],
        }
    }

    pub(super) fn look(&mut self) -> Look {
        let mut lines = VecDeque::new();
        let more = self.advance(&mut lines);
        Look { lines, more }
    }

    /// True: there may be more.
    fn advance(&mut self, lines: &mut VecDeque<(String, TailPosition)>) -> Result<bool, BoxError> {
        let Some(mut open) = self.current()? else {
            return Ok(false);
        };
        let is_as_it_was = open.is_as_it_was();
        if !is_as_it_was.map_err(|error| self.cannot("read", &error))? {
            self.open = Some(self.truncated(open)?);
            return Ok(true);
        }
        let count = open.read(&mut self.piece);
        if count.map_err(|error| self.cannot("read", &error))? > 0 {
            open.is_old = false;
            let cut = open.cut(lines);
            self.open = Some(open);
            return cut.map(|()| true).map_err(|error| self.no_line(error));
        }
        let is_over = open.is_old;
        open.is_old = self.is_replaced(&open)?;
        if !(is_over && open.is_old) {
            self.open = Some(open);
            return Ok(false);
        }
        let rest = open
            .lines
            .rest()
            .map_err(|error| NoLineAt(open.given, error));
        if let Some(line) = rest.map_err(|error| self.no_line(error))? {
            open.give(line, lines);
        }
        let over = open.identity;
        let next = self.next(open)?;
        let has_come = next.identity != over;
        self.open = Some(next);
        Ok(has_come)
    }

    /// The file that is read, to be put back.
    fn current(&mut self) -> Result<Option<Open>, BoxError> {
        if let Some(open) = self.open.take() {
            return Ok(Some(open));
        }
        match self.from {
            None => self.newest(),
            Some(from) => {
                let found = self.find(&from)?;
                self.from = None;
                Ok(found)
            }
        }
    }

    /// The file that has the name, from its start, if there is one.
    fn newest(&self) -> Result<Option<Open>, BoxError> {
        match File::open(&self.path) {
            Ok(file) => self.open_at(file, 0).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.cannot("open", &error)),
        }
    }

    fn open_at(&self, file: File, byte: u64) -> Result<Open, BoxError> {
        let open = || {
            Ok(Open {
                identity: Identity::of(&file.metadata()?),
                beginning: Beginning::of(&file, byte)?,
                read: byte,
                given: byte,
                lines: LineBuffer::new(self.longest),
                is_old: false,
                file,
            })
        };
        open().map_err(|error: io::Error| self.cannot("read", &error))
    }

    /// The file that was read when a checkpoint was made, whatever it is called now.
    fn find(&self, from: &TailPosition) -> Result<Option<Open>, BoxError> {
        let (path, TailPosition { identity, byte, .. }) = (self.path.display(), from);
        let found = rotated::find(&self.path, from)
            .map_err(|error| self.cannot("look at the files beside", &error))?;
        match found {
            Some(file) => self.open_at(file, *byte).map(Some),
            None if self.allows_loss => self.newest(),
            None => Err(format!(
                "cannot go on with {path} at byte {byte} of the file with {identity}: it is no longer in the folder, removed, compressed \
                 or overwritten since the checkpoint, and lines may be lost; put it back, or allow that with `allow_loss`"
            )
            .into()),
        }
    }

    /// The file is shorter than it was, or begins otherwise: it goes on in its copy, if there is one, else at its start.
    fn truncated(&self, open: Open) -> Result<Open, BoxError> {
        let position = open.position();
        let copy = match open.given {
            // Any file would do for a copy.
            0 => None,
            _ => rotated::copy(&self.path, &position)
                .map_err(|error| self.cannot("look at the files beside", &error))?,
        };
        match copy {
            Some(copy) => self.open_at(copy, open.given),
            None => self.open_at(open.file, 0),
        }
    }

    /// Whether the name means another file by now. If it means none, one will come.
    fn is_replaced(&self, open: &Open) -> Result<bool, BoxError> {
        match fs::metadata(&self.path) {
            Ok(metadata) => Ok(Identity::of(&metadata) != open.identity),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.cannot("look at", &error)),
        }
    }

    /// The file behind one that is over, which stays until there is one.
    fn next(&self, over: Open) -> Result<Open, BoxError> {
        let next = rotated::next(&self.path, &over.file);
        match next.map_err(|error| self.cannot("look at the files beside", &error))? {
            Some(file) => self.open_at(file, 0),
            None => Ok(over),
        }
    }

    fn cannot(&self, what: &str, error: &io::Error) -> BoxError {
        format!("cannot {what} {}: {error}", self.path.display()).into()
    }

    fn no_line(&self, NoLineAt(byte, error): NoLineAt) -> BoxError {
        let path = self.path.display();
        format!("cannot read the line at byte {byte} of {path}: {error}").into()
    }
}

/// Where the line would begin.
struct NoLineAt(u64, NoLine);

impl Open {
    /// Whether what was read of it is still there.
    fn is_as_it_was(&self) -> io::Result<bool> {
        Ok(self.read <= self.file.metadata()?.len() && self.beginning.is_of(&self.file)?)
    }

    /// Reads a piece.
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(piece, self.read)?;
        self.read += count as u64;
        self.beginning.go_on(&piece[..count]);
        self.lines.extend(&piece[..count]);
        Ok(count)
    }

    /// Gives what lines have come.
    fn cut(&mut self, lines: &mut VecDeque<(String, TailPosition)>) -> Result<(), NoLineAt> {
        loop {
            match self.lines.next_line() {
                Ok(Some(line)) => self.give(line, lines),
                Ok(None) => return Ok(()),
                Err(error) => return Err(NoLineAt(self.given, error)),
            }
        }
    }

    fn give(&mut self, (line, bytes): Line, lines: &mut VecDeque<(String, TailPosition)>) {
        self.given += bytes as u64;
        lines.push_back((line, self.position()));
    }

    fn position(&self) -> TailPosition {
        TailPosition {
            identity: self.identity,
            beginning: self.beginning,
            byte: self.given,
        }
    }
}
