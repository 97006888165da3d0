//! One JSON array, cut into its elements as it streams by.

use std::fs::File;
use std::io::{self, Seek};

use bytes::Bytes;

use super::SharedStatus;
use super::blocks::{Assembler, Blocks, Position};
use super::reader::{Piece, Pieces, Place, Want, cannot_read};
use crate::error::Error;
use crate::outcome::Failure;
use crate::scan::{Scanner, Step, Utf8, spaces};
use crate::wire::message::ItemForm;

/// Where in the document the reader is, beside the element being scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Before the `[`.
    Open,
    /// Behind the `[`: an element or the end.
    First,
    /// Behind a comma.
    Next,
    /// Inside an element.
    Inside,
    /// Behind an element.
    After,
    /// Behind the `]`.
    Closed,
}

/// The elements of an array.
pub(crate) struct JsonArray {
    blocks: Blocks,
    name: String,
    block: Bytes,
    at: usize,
    stage: Stage,
    scanner: Scanner,
    utf8: Utf8,
    /// The block was cut before a byte that is no UTF-8.
    not_text: bool,
    /// Where the current block begins.
    position: Position,
    assembler: Assembler,
}

impl JsonArray {
    pub(crate) fn new(blocks: Blocks, name: String, max_item: u64) -> Self {
        Self {
            blocks,
            name,
            block: Bytes::new(),
            at: 0,
            stage: Stage::Open,
            scanner: Scanner::default(),
            utf8: Utf8::default(),
            not_text: false,
            position: Position::default(),
            assembler: Assembler::new(max_item),
        }
    }

    fn bad(&self, at: usize, what: &str) -> Error {
        let Position { line, column } = self.position.after(&self.block[..at]);
        Error::Input(format!("{}: line {line}, column {column}: {what}", self.name))
    }

    /// Takes the next block; false at the end of the stream.
    fn refill(&mut self) -> Result<bool, Error> {
        if self.not_text {
            return Err(self.bad(self.block.len(), "not UTF-8"));
        }
        self.position = self.position.after(&self.block);
        self.at = 0;
        self.block = Bytes::new();
        let Some(block) = self.blocks.next().map_err(|error| cannot_read(&self.name, &error))? else {
            return Ok(false);
        };
        self.block = block;
        // Elements before the fault stand; it is told when they are used up.
        if let Err(at) = self.utf8.feed(&self.block) {
            self.block.truncate(at);
            self.not_text = true;
        }
        Ok(true)
    }

    /// The next element that ends in this block, or `None` when the block is
    /// used up.
    fn step(&mut self, want: Want) -> Result<Option<Result<Bytes, Failure>>, Error> {
        while self.at < self.block.len() {
            if self.stage == Stage::Inside {
                return self.inside(want);
            }
            self.at += spaces(&self.block[self.at..]);
            let Some(byte) = self.block.get(self.at) else { return Ok(None) };
            self.stage = match (self.stage, byte) {
                (Stage::Open, b'[') => Stage::First,
                (Stage::Open, _) => return Err(self.bad(self.at, NOT_AN_ARRAY)),
                (Stage::First | Stage::After, b']') => Stage::Closed,
                (Stage::First | Stage::Next, _) => {
                    self.scanner.begin();
                    self.stage = Stage::Inside;
                    continue;
                }
                (Stage::After, b',') => Stage::Next,
                (Stage::After, _) => return Err(self.bad(self.at, "expected ',' or ']' behind an element")),
                (Stage::Closed, _) => return Err(self.bad(self.at, TRAILING)),
                (Stage::Inside, _) => Stage::Inside,
            };
            self.at += 1;
        }
        Ok(None)
    }

    fn inside(&mut self, want: Want) -> Result<Option<Result<Bytes, Failure>>, Error> {
        let start = self.at;
        match self.scanner.feed(&self.block[start..]) {
            Step::More => {
                if want == Want::Item {
                    self.assembler.push(&self.block[start..]);
                }
                self.at = self.block.len();
                Ok(None)
            }
            Step::End(length) => {
                self.at = start + length;
                self.stage = Stage::After;
                Ok(Some(match want {
                    Want::Item => self.assembler.finish(&self.block, start..start + length),
                    Want::Skip => Ok(Bytes::new()),
                }))
            }
            Step::Bad(at, what) => Err(self.bad(start + at, what)),
        }
    }
}

const NOT_AN_ARRAY: &str = "expected one JSON array (--input jsonl reads one value a line)";
const TRAILING: &str = "more text behind the array (--input jsonl reads one value a line)";

impl Pieces for JsonArray {
    fn next(&mut self, want: Want) -> Option<Result<Piece, Error>> {
        loop {
            match self.step(want) {
                Err(error) => return Some(Err(error)),
                Ok(Some(body)) => return Some(Ok(Piece { body, form: ItemForm::Json, place: Place::None })),
                Ok(None) => {}
            }
            match self.refill() {
                Err(error) => return Some(Err(error)),
                Ok(true) => {}
                Ok(false) if self.stage == Stage::Closed => return None,
                Ok(false) if self.stage == Stage::Open => return Some(Err(self.bad(0, NOT_AN_ARRAY))),
                Ok(false) => return Some(Err(self.bad(0, "the array ends too early"))),
            }
        }
    }
}

/// Reads a whole file once for its syntax, and counts the elements.
///
/// # Errors
/// With line and column, when the file is not one JSON array.
pub(crate) fn check_file(mut file: &File, name: &str) -> Result<u64, Error> {
    let copy = file.try_clone().map_err(|error| cannot_read(name, &error))?;
    // A status of its own: these bytes are read again and counted then.
    let blocks = Blocks::new(Box::new(copy), SharedStatus::default()).without_mark();
    let count = count(JsonArray::new(blocks, name.to_owned(), 0))?;
    file.seek(io::SeekFrom::Start(0)).map_err(|error| cannot_read(name, &error))?;
    Ok(count)
}

/// The same for an array that is in memory.
///
/// # Errors
/// As [`check_file`].
pub(crate) fn check_text(text: &str, name: &str) -> Result<u64, Error> {
    let reader = io::Cursor::new(text.to_owned().into_bytes());
    let blocks = Blocks::new(Box::new(reader), SharedStatus::default()).without_mark();
    count(JsonArray::new(blocks, name.to_owned(), 0))
}

fn count(mut array: JsonArray) -> Result<u64, Error> {
    let mut count = 0;
    while let Some(piece) = array.next(Want::Skip) {
        piece?;
        count += 1;
    }
    Ok(count)
}
