//! Items out of a source: a JSON array, JSON lines, plain lines, CSV, files.
//!
//! Lazy and in bounded memory, never a whole file, never a tree. A fault of
//! one item is that item's `bad-input`; a fault of the whole source ends the
//! items and is told by [`InputStatus`]. Used by the commands that feed a
//! pool.

mod blocks;
mod csv;
mod detect;
mod files;
mod glob;
mod id;
pub(crate) mod inside;
mod json;
mod lines;
mod only;
mod reader;
mod records;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub use csv::{ExtraColumns, check_columns};
pub(crate) use id::scalar;
pub use only::Only;
pub use reader::{Reader, open};

use crate::error::Error;
use crate::limits::Limits;

/// How items are written in a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON array.
    Json,
    /// One JSON value a line.
    Jsonl,
    /// One raw item a line.
    Lines,
    /// A table with a header.
    Csv,
    /// One item a file.
    Files,
    /// Records of an earlier run, with their items.
    Records,
}

impl Format {
    /// Names as `--input` takes them.
    pub const NAMES: [&'static str; 6] = ["json", "jsonl", "lines", "csv", "files", "records"];
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Ok(match name {
            "json" => Self::Json,
            "jsonl" => Self::Jsonl,
            "lines" => Self::Lines,
            "csv" => Self::Csv,
            "files" => Self::Files,
            "records" => Self::Records,
            _ => {
                let names = Self::NAMES.join(", ");
                return Err(Error::Usage(format!("unknown input format {name:?} (there are {names})")));
            }
        })
    }
}

/// What to read, and how.
#[derive(Clone, Debug)]
pub struct Source {
    /// A path, a glob, `-`, `@LIST`, or an array beginning with `[`.
    pub src: String,
    /// `--input`; `None` lets the source tell.
    pub format: Option<Format>,
    /// `-0`: lists and lines are separated by NUL.
    pub nul: bool,
    /// `--delimiter` of CSV; `None` is a comma, or a tab for `.tsv`.
    pub delimiter: Option<u8>,
    /// `--no-header`: rows are arrays.
    pub no_header: bool,
    /// `--only`: other items are passed over, which changes no index.
    pub only: Option<Only>,
    /// `--id`: the field that is copied into the tag.
    pub id_field: Option<String>,
    /// The tag keeps the item's bytes.
    pub keep_item: bool,
    /// The tag names file and line of items that are lines.
    pub name_lines: bool,
    /// Larger items are `bad-input`, in bytes.
    pub max_item: u64,
    /// A stream that must tell its format does so when it is opened, which
    /// waits for its first byte; else when its first item is wanted.
    pub decide: bool,
    /// Directories that tasks may write to, without links: items that are
    /// files in them are read without following links out of them.
    pub writable: Vec<PathBuf>,
}

impl Source {
    /// A source with nothing asked for.
    #[must_use]
    pub fn new(src: impl Into<String>) -> Self {
        Self {
            src: src.into(),
            format: None,
            nul: false,
            delimiter: None,
            no_header: false,
            only: None,
            id_field: None,
            keep_item: false,
            name_lines: false,
            max_item: Limits::default().max_item,
            decide: false,
            writable: Vec::new(),
        }
    }
}

/// What is known of a source while it is read and after; shared with whoever
/// reports.
#[derive(Debug, Default)]
pub struct InputStatus {
    bytes: AtomicU64,
    ended: AtomicBool,
    error: Mutex<Option<Error>>,
}

impl InputStatus {
    /// Bytes read so far.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the reader has given its last item.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The fault that ended the source early, once. To be asked after the
    /// last item: the run ends with this error then, and a JSON array that
    /// is being written stays open.
    #[must_use]
    pub fn take_error(&self) -> Option<Error> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn add_bytes(&self, count: usize) {
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn end(&self, error: Option<Error>) {
        if error.is_some() {
            *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
        }
        self.ended.store(true, Ordering::Release);
    }
}

/// A status that several parts hold.
pub(crate) type SharedStatus = Arc<InputStatus>;
