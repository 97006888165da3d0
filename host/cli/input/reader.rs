//! Opens a source and gives its items: indices, limits and tags are the same
//! for every format and are put on here.

use std::io;

use bytes::Bytes;

use super::{Format, Only, SharedStatus, Source, detect, id};
use crate::error::Error;
use crate::escape;
use crate::outcome::{Failure, Tag};
use crate::pool::item::{Body, Item};
use crate::wire::message::ItemForm;

/// Whether an item's content is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// It will be run.
    Item,
    /// It is only counted; its content may be left out.
    Skip,
}

/// Where an item comes from.
#[derive(Debug)]
pub(crate) enum Place {
    /// Its index says it all.
    None,
    /// A line, from 1.
    Line(u64),
    /// A file: its path, and that path below the fixed prefix of the glob.
    File { full: String, below: String },
    /// A record of an earlier run.
    Record { index: u64, input: Option<String>, path: Option<String> },
}

/// An item as its format reads it.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) body: Result<Bytes, Failure>,
    pub(crate) form: ItemForm,
    pub(crate) place: Place,
}

/// What a format has to do. An error ends the items.
pub(crate) trait Pieces: Send {
    /// The next item, `None` at the end.
    fn next(&mut self, want: Want) -> Option<Result<Piece, Error>>;
}

/// What a format's opening gives.
pub(crate) struct Opened {
    pub(crate) pieces: Box<dyn Pieces>,
    pub(crate) format: Option<Format>,
    pub(crate) form: ItemForm,
    pub(crate) name: String,
    pub(crate) count: Option<u64>,
    pub(crate) headers: Option<Vec<String>>,
}

/// The items of a source.
pub struct Reader {
    pieces: Box<dyn Pieces>,
    format: Option<Format>,
    form: ItemForm,
    name: String,
    count: Option<u64>,
    headers: Option<Vec<String>>,
    index: u64,
    done: bool,
    /// The item that `--only` cannot do without has not come yet.
    lacking: bool,
    only: Option<Only>,
    id_field: Option<String>,
    keep_item: bool,
    name_lines: bool,
    status: SharedStatus,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("name", &self.name).field("index", &self.index).finish_non_exhaustive()
    }
}

/// Opens a source. Regular JSON files are read through for their syntax
/// first; of others only a CSV header is read here, so that a pipe's other
/// end is not waited for.
///
/// # Errors
/// [`Error::Input`] when there is nothing to read or it is malformed,
/// [`Error::Usage`] when the options make no sense.
pub fn open(source: &Source) -> Result<Reader, Error> {
    let status = SharedStatus::default();
    let opened = detect::open(source, &status)?;
    if let (Some(only), Some(count)) = (&source.only, opened.count)
        && only.needed() >= count
    {
        return Err(not_there(only, opened.format, count));
    }
    Ok(Reader {
        pieces: opened.pieces,
        format: opened.format,
        form: opened.form,
        name: opened.name,
        count: opened.count,
        headers: opened.headers,
        index: 0,
        done: false,
        lacking: source.only.is_some(),
        only: source.only.clone(),
        id_field: source.id_field.clone(),
        keep_item: source.keep_item,
        name_lines: source.name_lines,
        status,
    })
}

impl Reader {
    /// The format, where it is known before the first item: standard input
    /// without `--input` tells it only by its first byte.
    #[must_use]
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    /// What all its items are.
    #[must_use]
    pub fn form(&self) -> ItemForm {
        self.form
    }

    /// Column names of CSV with a header, for [`super::check_columns`].
    #[must_use]
    pub fn headers(&self) -> Option<&[String]> {
        self.headers.as_deref()
    }

    /// How many items there will be, where that is known.
    #[must_use]
    pub fn len_hint(&self) -> Option<u64> {
        match &self.only {
            Some(only) => self.count.map(|count| only.count_of(count)),
            None => self.count,
        }
    }

    /// What is known of the source; to be kept when the reader is handed on.
    #[must_use]
    pub fn status(&self) -> SharedStatus {
        SharedStatus::clone(&self.status)
    }

    fn end(&mut self, error: Option<Error>) {
        self.done = true;
        self.status.end(error);
    }

    fn wants(&self, index: u64) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(index))
    }

    /// Whether no later item can be wanted. Records bring indices of their
    /// own, so that position tells nothing there.
    fn is_past_wanted(&self) -> bool {
        self.format != Some(Format::Records) && self.only.as_ref().is_some_and(|only| self.index > only.last())
    }

    fn item(&self, index: u64, piece: Piece) -> Item {
        let mut tag = Tag::default();
        match piece.place {
            Place::Line(line) if self.name_lines => tag.input = Some(format!("{}:{line}", self.name)),
            Place::None | Place::Line(_) => {}
            Place::File { full, below } => {
                tag.input = Some(full);
                tag.path = Some(below);
            }
            Place::Record { input, path, .. } => {
                tag.input = input;
                tag.path = path;
            }
        }
        if let Ok(bytes) = &piece.body {
            if let Some(field) = self.id_field.as_ref().filter(|_| piece.form != ItemForm::Raw) {
                tag.id = id::scalar(bytes, field);
            }
            if self.keep_item {
                tag.item = Some(bytes.clone());
            }
        }
        let path = tag.path.clone();
        let body = piece.body.map(|bytes| Body { bytes, form: piece.form, path, connection: None });
        let tag = (tag != Tag::default()).then(|| Box::new(tag));
        Item { index, body, tag }
    }
}

impl Iterator for Reader {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        while !self.done {
            if self.is_past_wanted() {
                self.end(None);
                break;
            }
            // A record tells its index only when it is read.
            let records = self.format == Some(Format::Records);
            let want = if records || self.wants(self.index) { Want::Item } else { Want::Skip };
            match self.pieces.next(want) {
                None => {
                    let only = self.only.as_ref().filter(|_| self.lacking);
                    self.end(only.map(|only| not_there(only, self.format, self.index)));
                }
                Some(Err(error)) => self.end(Some(error)),
                Some(Ok(piece)) => {
                    let index = match &piece.place {
                        Place::Record { index, .. } => *index,
                        _ => self.index,
                    };
                    self.index += 1;
                    self.lacking &= self.only.as_ref().is_some_and(|only| only.needed() != index);
                    if self.wants(index) {
                        return Some(self.item(index, piece));
                    }
                }
            }
        }
        None
    }
}

/// The error of an index that nothing has.
fn not_there(only: &Only, format: Option<Format>, count: u64) -> Error {
    let what = if format == Some(Format::Records) { "record of a failed item" } else { "item" };
    let many = if count == 1 { "" } else { "s" };
    Error::Input(format!("--only {}: no such item; the input has {count} {what}{many}", only.needed()))
}

/// The error of a source that cannot be read.
pub(crate) fn cannot_read(name: &str, error: &io::Error) -> Error {
    Error::Input(format!("cannot read {}: {error}", escape::name(name)))
}
