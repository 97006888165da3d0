//! `--input records`: failures of an earlier run, to be run again under the
//! index and input they had.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::blocks::{Blocks, too_large};
use super::lines::Lines;
use super::reader::{Piece, Pieces, Place, Want};
use crate::error::Error;
use crate::outcome::{Failure, Kind};
use crate::wire::message::ItemForm;

/// What a record must say to be run again.
#[derive(Deserialize)]
struct Line<'a> {
    /// What the first line of a journal has.
    run: Option<IgnoredAny>,
    index: Option<u64>,
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    #[serde(default)]
    form: Form,
    input: Option<String>,
    path: Option<String>,
}

/// How `item` is written.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Form {
    #[default]
    Json,
    Raw,
    Cells,
}

#[derive(Deserialize)]
struct Base64 {
    base64: String,
}

/// The items of records that are not ok.
pub(crate) struct Records {
    lines: Lines,
    name: String,
    max: u64,
    /// Read already, to tell the form of all.
    first: Option<Piece>,
    /// All have one, being of one run.
    form: ItemForm,
}

impl Records {
    /// Opens records and reads the first of them.
    pub(crate) fn open(blocks: Blocks, name: String, max: u64) -> Result<Self, Error> {
        // A byte of an item takes at most six in a JSON string.
        let longest = max.saturating_mul(6).saturating_add(1 << 20);
        let lines = Lines::new(blocks, name.clone(), b'\n', longest);
        let mut records = Self { lines, name, max, first: None, form: ItemForm::Json };
        records.first = records.read()?;
        records.form = records.first.as_ref().map_or(ItemForm::Json, |piece| piece.form);
        Ok(records)
    }

    /// The form of all items.
    pub(crate) fn form(&self) -> ItemForm {
        self.form
    }

    fn read(&mut self) -> Result<Option<Piece>, Error> {
        loop {
            match self.lines.next_line()? {
                None => return Ok(None),
                Some(Err(_)) => {
                    let (name, line) = (&self.name, self.lines.number());
                    return Err(Error::Input(format!("{name}: line {line}: too long for a record")));
                }
                Some(Ok(text)) => match self.piece(&text)? {
                    None => {}
                    found => return Ok(found),
                },
            }
        }
    }

    fn piece(&self, text: &Bytes) -> Result<Option<Piece>, Error> {
        let bad = |what: String| Error::Input(format!("{}: line {}: {what}", self.name, self.lines.number()));
        let text = std::str::from_utf8(text).map_err(|_| bad("not UTF-8".to_owned()))?;
        if text.trim_ascii().is_empty() {
            return Ok(None);
        }
        let line: Line<'_> = serde_json::from_str(text).map_err(|error| bad(format!("no record: {error}")))?;
        let (index, kind) = match (line.index, &line.kind) {
            (Some(index), Some(kind)) => (index, kind),
            // About the run, not about an item.
            _ if line.run.is_some() => return Ok(None),
            (None, _) => return Err(bad("no record: it has no \"index\"".to_owned())),
            (_, None) => return Err(bad("no record: it has no \"kind\"".to_owned())),
        };
        // What is ok stays.
        if kind == Kind::Ok.as_str() {
            return Ok(None);
        }
        let form = match line.form {
            Form::Json => ItemForm::Json,
            Form::Cells => ItemForm::Cells,
            Form::Raw => ItemForm::Raw,
        };
        let body = self.body(&line)?;
        Ok(Some(Piece { body, form, place: Place::Record { index, input: line.input, path: line.path } }))
    }

    fn body(&self, line: &Line<'_>) -> Result<Result<Bytes, Failure>, Error> {
        let bad = |what: &str| Error::Input(format!("{}: line {}: {what}", self.name, self.lines.number()));
        let Some(json) = line.item.map(RawValue::get) else {
            if line.kind.as_deref() == Some(Kind::BadInput.as_str()) {
                // It could not be read: there never was an item.
                return Ok(Err(Failure::new(Kind::BadInput, "the item could not be read in the run that wrote this")));
            }
            return Err(bad("the record has no item (--failed writes records that have)"));
        };
        let bytes = match line.form {
            Form::Json | Form::Cells => Bytes::copy_from_slice(json.as_bytes()),
            Form::Raw if json.starts_with('"') => {
                let text: String = serde_json::from_str(json).map_err(|_| bad("item is no text"))?;
                Bytes::from(text)
            }
            Form::Raw => {
                let coded: Base64 = serde_json::from_str(json).map_err(|_| bad("item is neither text nor base64"))?;
                Bytes::from(STANDARD.decode(coded.base64).map_err(|_| bad("item is not base64"))?)
            }
        };
        Ok(if bytes.len() as u64 > self.max { Err(too_large(self.max)) } else { Ok(bytes) })
    }
}

impl Pieces for Records {
    fn next(&mut self, _: Want) -> Option<Result<Piece, Error>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        match self.read().transpose()? {
            Ok(piece) if piece.form != self.form => {
                let (name, line) = (&self.name, self.lines.number());
                Some(Err(Error::Input(format!("{name}: line {line}: the item has another form than those before"))))
            }
            read => Some(read),
        }
    }
}
