//! What is in a journal: where the `ok` record of each key begins.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use serde::Deserialize;

use crate::error::Error;
use crate::outcome::ItemKey;

/// Bytes read at once when a record is looked up.
const BLOCK: usize = 4 << 10;

/// Positions of `ok` records.
#[derive(Debug, Default)]
pub struct Index {
    at: HashMap<ItemKey, u64>,
}

/// What is needed of each record.
#[derive(Deserialize)]
struct Line<'a> {
    kind: &'a str,
    key: Option<&'a str>,
}

impl Index {
    /// Reads a journal from byte `start` on, and tells where its last whole
    /// line ends.
    pub fn read(file: &File, start: u64, shown: &str) -> Result<(Self, u64), Error> {
        let unreadable = |error: io::Error| Error::Input(format!("cannot read the journal {shown}: {error}"));
        let mut lines = BufReader::with_capacity(1 << 16, file);
        lines.seek(SeekFrom::Start(start)).map_err(unreadable)?;
        let mut index = Self::default();
        let (mut at, mut line) = (start, Vec::new());
        loop {
            line.clear();
            let read = lines.read_until(b'\n', &mut line).map_err(unreadable)?;
            if line.last() != Some(&b'\n') {
                return Ok((index, at));
            }
            let parsed = serde_json::from_slice::<Line<'_>>(&line);
            let parsed = parsed.map_err(|error| Error::Input(format!("the journal {shown}: byte {at}: {error}")))?;
            if let Some(key) = parsed.key.filter(|_| parsed.kind == "ok") {
                let key = key.parse::<ItemKey>();
                let key = key.map_err(|_| Error::Input(format!("the journal {shown}: byte {at}: no key")))?;
                index.at.insert(key, at);
            }
            at += read as u64;
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Where the record of a key begins.
    pub fn get(&self, key: ItemKey) -> Option<u64> {
        self.at.get(&key).copied()
    }
}

/// Whether a journal holds no whole line from byte `start` on.
pub fn is_empty(file: &File, start: u64, shown: &str) -> Result<bool, Error> {
    let unreadable = |error: io::Error| Error::Input(format!("cannot read the journal {shown}: {error}"));
    let mut lines = BufReader::with_capacity(BLOCK, file);
    lines.seek(SeekFrom::Start(start)).map_err(unreadable)?;
    loop {
        let block = lines.fill_buf().map_err(unreadable)?;
        if block.is_empty() || block.contains(&b'\n') {
            return Ok(block.is_empty());
        }
        let read = block.len();
        lines.consume(read);
    }
}

/// The line that begins at byte `at`, without its end.
pub fn line_at(file: &File, at: u64) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    loop {
        let filled = line.len();
        // A large record is not read in small pieces.
        line.resize(filled + filled.clamp(BLOCK, 1 << 20), 0);
        let read = file.read_at(&mut line[filled..], at + filled as u64)?;
        line.truncate(filled + read);
        if let Some(end) = memchr::memchr(b'\n', &line[filled..]) {
            line.truncate(filled + end);
            return Ok(line);
        }
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
