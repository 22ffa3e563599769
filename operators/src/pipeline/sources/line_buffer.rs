//! Bytes as they come, cut into lines that have a bound.

use std::fmt::{self, Display, Formatter};

/// A megabyte: far more than any line that somebody meant to write.
pub(super) const DEFAULT_LONGEST: usize = 1 << 20;

/// What has come, and is no complete line yet or was not asked for.
#[derive(Debug)]
pub(super) struct LineBuffer {
    bytes: Vec<u8>,
    /// Lines before this were given.
    start: usize,
    /// There is no end of a line between the start and this.
    searched: usize,
    longest: usize,
}

/// A line, and how many bytes it has with its end.
pub(super) type Line = (String, usize);

/// Why bytes are no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoLine {
    /// It has more bytes than this.
    TooLong(usize),
    NotUtf8,
}

impl LineBuffer {
    /// One for lines of at most so many bytes, their ends aside.
    pub(super) fn new(longest: usize) -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            searched: 0,
            longest,
        }
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next line that has an end, without it: `\n` or `\r\n`.
    pub(super) fn next_line(&mut self) -> Result<Option<Line>, NoLine> {
        let is_end = |byte: &u8| *byte == b'\n';
        let Some(end) = self.bytes[self.searched..].iter().position(is_end) else {
            self.searched = self.bytes.len();
            // One more may be the first half of an end.
            return match self.searched - self.start > self.longest.saturating_add(1) {
                true => Err(NoLine::TooLong(self.longest)),
                false => Ok(None),
            };
        };
        let (start, end) = (self.start, self.searched + end);
        self.start = end + 1;
        self.searched = self.start;
        let line = &self.bytes[start..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = self.text(line)?;
        Ok(Some((text, end + 1 - start)))
    }

    /// What is left, if nothing comes any more: a last line needs no end.
    pub(super) fn rest(&mut self) -> Result<Option<Line>, NoLine> {
        let rest = self.bytes.split_off(self.start);
        self.clear();
        match rest.len() {
            0 => Ok(None),
            length => Ok(Some((self.text(&rest)?, length))),
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        (self.start, self.searched) = (0, 0);
    }

    fn text(&self, line: &[u8]) -> Result<String, NoLine> {
        if line.len() > self.longest {
            return Err(NoLine::TooLong(self.longest));
        }
        let text = std::str::from_utf8(line).map_err(|_| NoLine::NotUtf8)?;
        Ok(text.to_owned())
    }
}

impl Display for NoLine {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(longest) => write!(
                f,
                "it has more than {longest} bytes: allow more with `longest_line`, or it is no text"
            ),
            Self::NotUtf8 => f.write_str("it is no UTF-8"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LineBuffer, NoLine};

    fn lines(pieces: &[&[u8]]) -> Vec<(String, usize)> {
        let mut buffer = LineBuffer::new(100);
        let mut lines = Vec::new();
        for piece in pieces {
            buffer.extend(piece);
            while let Some(line) = buffer.next_line().unwrap() {
                lines.push(line);
            }
        }
        lines.extend(buffer.rest().unwrap());
        lines
    }

    #[test]
    fn however_the_bytes_come_the_lines_are_the_same() {
        let text = "poll\r\n\nexécute\nupdate\r".as_bytes();
        let expected = [("poll", 6), ("", 1), ("exécute", 9), ("update\r", 7)];
        let expected = expected.map(|(line, bytes)| (line.to_owned(), bytes));
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(lines(&pieces), expected, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_with_and_without_its_end() {
        let mut buffer = LineBuffer::new(3);
        buffer.extend(b"abc\nabc\r\nabc");
        for _ in 0..2 {
            assert!(buffer.next_line().unwrap().is_some());
        }
        assert_eq!(buffer.next_line(), Ok(None));
        buffer.extend(b"\r");
        assert_eq!(buffer.next_line(), Ok(None));
        buffer.extend(b"d");
        assert_eq!(buffer.next_line(), Err(NoLine::TooLong(3)));
        let mut buffer = LineBuffer::new(3);
        buffer.extend(b"abcd\n");
        assert_eq!(buffer.next_line(), Err(NoLine::TooLong(3)));
        buffer.extend(b"abcd");
        assert_eq!(buffer.rest(), Err(NoLine::TooLong(3)));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let mut buffer = LineBuffer::new(3);
        buffer.extend(b"\xff\n");
        assert_eq!(buffer.next_line(), Err(NoLine::NotUtf8));
    }

    #[test]
    fn any_number_may_be_the_bound() {
        for longest in [usize::MAX - 1, usize::MAX] {
            let mut buffer = LineBuffer::new(longest);
            buffer.extend(b"ab");
            assert_eq!(buffer.next_line(), Ok(None));
            buffer.extend(b"c\n");
            assert_eq!(buffer.next_line(), Ok(Some(("abc".to_owned(), 4))));
        }
    }
}
