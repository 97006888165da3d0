//! A source as a stream of shared blocks, and items put together from them.
//!
//! A block is never changed once it is read: items inside one block are
//! slices of it, only items across blocks are copied.

use std::io::{self, Read};
use std::ops::Range;

use bytes::Bytes;

use super::SharedStatus;
use crate::outcome::{Failure, Kind, LimitHit};

/// What is read at once at most, in bytes.
pub(crate) const BLOCK: usize = 256 << 10;

/// A byte order mark.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// A reader that hands over what it got, as soon as it got something.
pub(crate) struct Blocks {
    reader: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    /// Bytes that were looked at before, to come first.
    ahead: Option<Bytes>,
    /// A byte order mark may come, and is to be dropped.
    at_mark: bool,
    status: SharedStatus,
}

impl Blocks {
    pub(crate) fn new(reader: Box<dyn Read + Send>, status: SharedStatus) -> Self {
        Self { reader, buffer: Vec::new(), ahead: None, at_mark: false, status }
    }

    /// The same without a byte order mark at the start.
    pub(crate) fn without_mark(mut self) -> Self {
        self.at_mark = true;
        self
    }

    /// The next bytes, never none; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        if !std::mem::take(&mut self.at_mark) {
            return self.read();
        }
        let Some(mut first) = self.read()? else { return Ok(None) };
        while first.len() < MARK.len() && MARK.starts_with(&first) {
            let Some(more) = self.read()? else { break };
            first = Bytes::from([first, more].concat());
        }
        if !first.starts_with(MARK) {
            return Ok(Some(first));
        }
        let text = first.slice(MARK.len()..);
        if text.is_empty() { self.read() } else { Ok(Some(text)) }
    }

    fn read(&mut self) -> io::Result<Option<Bytes>> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; BLOCK];
        }
        let count = loop {
            match self.reader.read(&mut self.buffer) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        self.status.add_bytes(count);
        if count == 0 {
            return Ok(None);
        }
        // A small read must not pin a whole block as long as its items live.
        if count < BLOCK / 4 {
            return Ok(Some(Bytes::copy_from_slice(&self.buffer[..count])));
        }
        Ok(Some(Bytes::from(std::mem::take(&mut self.buffer)).slice(..count)))
    }

    /// The first byte that is no white space, all of which stays to be read;
    /// not looked for beyond one block's length.
    pub(crate) fn peek(&mut self) -> io::Result<Option<u8>> {
        let mut seen = Bytes::new();
        while seen.len() < BLOCK {
            let Some(block) = self.next()? else { break };
            let found = block.iter().copied().find(|byte| !byte.is_ascii_whitespace());
            seen = if seen.is_empty() { block } else { Bytes::from([seen, block].concat()) };
            if found.is_some() {
                self.ahead = Some(seen);
                return Ok(found);
            }
        }
        self.ahead = (!seen.is_empty()).then_some(seen);
        Ok(None)
    }
}

/// A line and a column, both from 1; columns count bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

impl Default for Position {
    fn default() -> Self {
        Self { line: 1, column: 1 }
    }
}

impl Position {
    /// The position behind a text that begins here.
    pub(crate) fn after(self, text: &[u8]) -> Self {
        match memchr::memrchr(b'\n', text) {
            None => Self { line: self.line, column: self.column + text.len() as u64 },
            Some(last) => Self {
                line: self.line + memchr::memchr_iter(b'\n', text).count() as u64,
                column: (text.len() - last) as u64,
            },
        }
    }
}

/// Puts an item together; keeps no more of it than an item may have.
pub(crate) struct Assembler {
    partial: Vec<u8>,
    over: bool,
    max: u64,
}

impl Assembler {
    pub(crate) fn new(max: u64) -> Self {
        Self { partial: Vec::new(), over: false, max }
    }

    /// Whether something of an item was put in.
    pub(crate) fn has_begun(&self) -> bool {
        self.over || !self.partial.is_empty()
    }

    /// A part of an item that goes on behind it.
    pub(crate) fn push(&mut self, part: &[u8]) {
        if self.over || (self.partial.len() + part.len()) as u64 > self.max {
            self.partial = Vec::new();
            self.over = true;
        } else {
            self.partial.extend_from_slice(part);
        }
    }

    /// The whole item, whose last (or only) part is a range of a block.
    pub(crate) fn finish(&mut self, block: &Bytes, last: Range<usize>) -> Result<Bytes, Failure> {
        if !self.has_begun() && last.len() as u64 <= self.max {
            return Ok(block.slice(last));
        }
        self.push(&block[last]);
        self.finish_partial()
    }

    /// The whole item, all of whose parts were put in.
    pub(crate) fn finish_partial(&mut self) -> Result<Bytes, Failure> {
        if std::mem::take(&mut self.over) {
            return Err(too_large(self.max));
        }
        Ok(Bytes::from(std::mem::take(&mut self.partial)))
    }
}

/// The failure of an item over `--max-item`.
pub(crate) fn too_large(max: u64) -> Failure {
    let hit = LimitHit::new("max-item", max, "bytes", "--max-item");
    Failure::limit(Kind::BadInput, format_args!("item is larger than {max} bytes"), hit)
}
