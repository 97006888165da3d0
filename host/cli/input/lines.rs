//! Items that are lines: raw, or one JSON value each.
//!
//! A line is handed over as soon as it is read, so that a program at the
//! other end of a pipe can wait for its result before it writes the next.

use bytes::Bytes;

use super::blocks::{Assembler, Blocks};
use super::reader::{Piece, Pieces, Place, Want, cannot_read};
use crate::error::Error;
use crate::outcome::{Failure, Kind};
use crate::scan::{self, Scanner};
use crate::wire::message::ItemForm;

/// Lines of a stream, without their separators.
pub(crate) struct Lines {
    blocks: Blocks,
    name: String,
    separator: u8,
    block: Bytes,
    at: usize,
    /// Lines given so far.
    number: u64,
    assembler: Assembler,
}

impl Lines {
    pub(crate) fn new(blocks: Blocks, name: String, separator: u8, max_item: u64) -> Self {
        Self { blocks, name, separator, block: Bytes::new(), at: 0, number: 0, assembler: Assembler::new(max_item) }
    }

    /// The number of the line that was given last, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The next line, or the failure of one that is too long.
    pub(crate) fn next_line(&mut self) -> Result<Option<Result<Bytes, Failure>>, Error> {
        loop {
            if let Some(length) = memchr::memchr(self.separator, &self.block[self.at..]) {
                let start = self.at;
                self.at += length + 1;
                self.number += 1;
                return Ok(Some(self.assembler.finish(&self.block, start..start + length)));
            }
            self.assembler.push(&self.block[self.at..]);
            self.at = 0;
            match self.blocks.next().map_err(|error| cannot_read(&self.name, &error))? {
                Some(block) => self.block = block,
                None => {
                    self.block = Bytes::new();
                    if !self.assembler.has_begun() {
                        return Ok(None);
                    }
                    self.number += 1;
                    return Ok(Some(self.assembler.finish_partial()));
                }
            }
        }
    }
}

impl Pieces for Lines {
    fn next(&mut self, _: Want) -> Option<Result<Piece, Error>> {
        match self.next_line() {
            Ok(line) => line.map(|body| Ok(Piece { body, form: ItemForm::Raw, place: Place::Line(self.number) })),
            Err(error) => Some(Err(error)),
        }
    }
}

/// One JSON value a line; blank lines are no items.
pub(crate) struct JsonLines {
    lines: Lines,
    scanner: Scanner,
}

impl JsonLines {
    pub(crate) fn new(blocks: Blocks, name: String, max_item: u64) -> Self {
        Self { lines: Lines::new(blocks, name, b'\n', max_item), scanner: Scanner::default() }
    }

    /// The value in a line, `None` for a blank one.
    fn value(&mut self, line: &Bytes) -> Option<Result<Bytes, Failure>> {
        let start = scan::spaces(line);
        let text = line[start..].trim_ascii_end();
        if text.is_empty() {
            return None;
        }
        if let Err((at, what)) = scan::check_with(&mut self.scanner, text) {
            let (line, column) = (self.lines.number(), start + at + 1);
            let message = format!("not JSON: line {line}, column {column}: {what}");
            return Some(Err(Failure::new(Kind::BadInput, message)));
        }
        Some(Ok(line.slice(start..start + text.len())))
    }
}

impl Pieces for JsonLines {
    fn next(&mut self, _: Want) -> Option<Result<Piece, Error>> {
        loop {
            let body = match self.lines.next_line() {
                Ok(Some(Ok(line))) => match self.value(&line) {
                    Some(value) => value,
                    None => continue,
                },
                Ok(Some(Err(failure))) => Err(failure),
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            };
            return Some(Ok(Piece { body, form: ItemForm::Json, place: Place::Line(self.lines.number()) }));
        }
    }
}
