//! Sequential reading of a part of a source, each length checked against what remains.

use std::ops::Range;

use crate::{Error, Result, tensor::Source};

/// Bytes that are read at a time.
const WINDOW: usize = 1 << 16;
/// Bytes that are read behind a gap, where what follows may be the next gap.
const LEAST: usize = 1 << 9;
/// Longer lines are refused; the longest that Python writes are the source texts of classes.
const LINE_LIMIT: usize = 1 << 24;

/// A position in a range of a source.
pub(crate) struct Input<'a> {
    source: &'a Source,
    range: Range<usize>,
    at: usize,
    window: Vec<u8>,
    /// Where the window begins in the source.
    start: usize,
    /// Bytes that are read next.
    ahead: usize,
}

impl<'a> Input<'a> {
    /// At the beginning of a range, which must lie in the source.
    pub fn new(source: &'a Source, range: Range<usize>) -> Self {
        Self { source, at: range.start, start: range.start, range, window: Vec::new(), ahead: WINDOW }
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.at - self.range.start
    }

    /// Where the next byte is in the source.
    pub fn source_position(&self) -> usize {
        self.at
    }

    fn remaining(&self) -> usize {
        self.range.end - self.at
    }

    /// Checks a length that the file claims against the bytes that remain.
    pub fn claim(&self, length: u64) -> Result<usize> {
        usize::try_from(length).ok().filter(|&n| n <= self.remaining()).ok_or_else(|| {
            Error::format(format!(
                "{length} bytes are claimed, but {} remain; the file is truncated or damaged",
                self.remaining()
            ))
        })
    }

    /// Has `length` bytes in the window, or all that remain if they are fewer; how many there are.
    fn fill(&mut self, length: usize) -> Result<usize> {
        let length = length.min(self.remaining());
        if self.at + length > self.start + self.window.len() {
            let end = self.at.saturating_add(length.max(self.ahead)).min(self.range.end);
            self.ahead = (2 * self.ahead).min(WINDOW);
            let mut window = std::mem::take(&mut self.window);
            let bytes = self.source.read(self.at..end, &mut window)?;
            self.window = bytes.to_vec();
            self.start = self.at;
        }
        Ok(length)
    }

    /// The next byte; `None` at the end.
    pub fn byte(&mut self) -> Result<Option<u8>> {
        if self.fill(1)? == 0 {
            return Ok(None);
        }
        let byte = self.window[self.at - self.start];
        self.at += 1;
        Ok(Some(byte))
    }

    /// The next bytes, of a length that the file claims.
    pub fn take(&mut self, length: u64) -> Result<&[u8]> {
        let length = self.claim(length)?;
        self.fill(length)?;
        let from = self.at - self.start;
        self.at += length;
        Ok(&self.window[from..from + length])
    }

    /// Passes over bytes without reading them.
    pub fn skip(&mut self, length: u64) -> Result<()> {
        self.at += self.claim(length)?;
        if self.at > self.start + self.window.len() {
            self.window.clear();
            self.start = self.at;
            self.ahead = LEAST;
        }
        Ok(())
    }

    /// A little-endian unsigned number of `size <= 8` bytes.
    pub fn number(&mut self, size: u64) -> Result<u64> {
        Ok(self.take(size)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// The next bytes up to a newline, which is passed over.
    pub fn line(&mut self) -> Result<&[u8]> {
        let mut length = WINDOW;
        loop {
            let held = self.fill(length)?;
            let from = self.at - self.start;
            if let Some(end) = self.window[from..from + held].iter().position(|&byte| byte == b'\n') {
                self.at += end + 1;
                return Ok(&self.window[from..from + end]);
            }
            if held == self.remaining() {
                return Err(Error::format("a line without an end; the file is truncated or damaged"));
            }
            if held > LINE_LIMIT {
                return Err(Error::unsupported(format!("a line of more than {LINE_LIMIT} bytes")));
            }
            length *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_reads_across_the_ends_of_windows() {
        let mut bytes: Vec<u8> = (0..WINDOW * 5).map(|i| (i % 251) as u8 | 0x80).collect();
        bytes[WINDOW * 3 + 7] = b'\n';
        let source = Source::from_bytes(bytes.clone()).unwrap();
        let mut input = Input::new(&source, 1..bytes.len());
        assert_eq!(input.take(WINDOW as u64 - 3).unwrap(), &bytes[1..WINDOW - 2]);
        assert_eq!(input.byte().unwrap(), Some(bytes[WINDOW - 2]));
        assert_eq!(input.number(8).unwrap().to_le_bytes(), bytes[WINDOW - 1..WINDOW + 7]);
        assert_eq!(input.line().unwrap(), &bytes[WINDOW + 7..WINDOW * 3 + 7]);
        assert_eq!((input.position(), input.source_position()), (WINDOW * 3 + 7, WINDOW * 3 + 8));
        assert!(input.line().unwrap_err().message().contains("without an end"));
        input.skip(WINDOW as u64).unwrap();
        assert_eq!(input.byte().unwrap(), Some(bytes[WINDOW * 4 + 8]));
        assert!(input.take(u64::MAX).unwrap_err().message().contains("truncated"));
        input.skip(input.remaining() as u64).unwrap();
        assert_eq!(input.byte().unwrap(), None);
    }
}
