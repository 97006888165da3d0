//! Which format a source has, and opening it so.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use super::blocks::Blocks;
use super::csv::{self, Table};
use super::json::{self, JsonArray};
use super::lines::{JsonLines, Lines};
use super::reader::{Opened, Piece, Pieces, Want, cannot_read};
use super::records::Records;
use super::{Format, SharedStatus, Source, files};
use crate::error::Error;
use crate::escape;
use crate::wire::message::ItemForm;

/// What stands for standard input.
const STDIN: &str = "-";

/// Opens a source as its format.
pub(crate) fn open(source: &Source, status: &SharedStatus) -> Result<Opened, Error> {
    if source.format == Some(Format::Files) {
        return files::open(source, status);
    }
    if source.src.starts_with('[') && matches!(source.format, None | Some(Format::Json)) {
        return inline(source, status);
    }
    if source.src == STDIN {
        let stdin = stdin()?;
        return stream(source, source.format, Box::new(stdin), "stdin".to_owned(), status);
    }
    let path = Path::new(&source.src);
    let file = File::open(path).map_err(|error| no_file(&source.src, &error))?;
    let kind = file.metadata().map_err(|error| cannot_read(&source.src, &error))?;
    if kind.is_dir() {
        let all = Path::new(&source.src).join("*");
        let hint = format!("(--input files '{}' reads the files in it)", escape::path(&all));
        return Err(Error::Input(format!("{} is a directory {hint}", escape::name(&source.src))));
    }
    let format = match source.format {
        Some(format) => Some(format),
        None => match by_extension(path) {
            None if kind.is_file() => return Err(unknown_extension(&source.src)),
            known => known,
        },
    };
    let count = match format {
        Some(Format::Json) if kind.is_file() => Some(json::check_file(&file, &escape::name(&source.src))?),
        _ => None,
    };
    let opened = stream(source, format, Box::new(file), source.src.clone(), status)?;
    Ok(Opened { count, ..opened })
}

/// Standard input without a buffer of its own, so that a line is seen when it
/// is written.
pub(crate) fn stdin() -> Result<File, Error> {
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(|error| cannot_read("stdin", &error))?;
    Ok(File::from(stdin))
}

fn inline(source: &Source, status: &SharedStatus) -> Result<Opened, Error> {
    let name = "the inline array".to_owned();
    let count = json::check_text(&source.src, &name)?;
    let reader = io::Cursor::new(source.src.clone().into_bytes());
    let opened = stream(source, Some(Format::Json), Box::new(reader), name, status)?;
    Ok(Opened { count: Some(count), ..opened })
}

fn stream(
    source: &Source,
    format: Option<Format>,
    reader: Box<dyn Read + Send>,
    name: String,
    status: &SharedStatus,
) -> Result<Opened, Error> {
    let blocks = Blocks::new(reader, SharedStatus::clone(status));
    // What errors call it; items are tagged with its very name.
    let shown = escape::name(&name);
    let max = source.max_item;
    let separator = if source.nul { 0 } else { b'\n' };
    let mut headers = None;
    let (blocks, format) = if format.is_none() && source.decide {
        let mut blocks = blocks.without_mark();
        let first = blocks.peek().map_err(|error| cannot_read(&name, &error))?;
        (blocks, Some(if first == Some(b'[') { Format::Json } else { Format::Jsonl }))
    } else {
        (blocks, format)
    };
    let mut form = form_of(format);
    let pieces: Box<dyn Pieces> = match format {
        None => Box::new(Undecided { blocks: Some(blocks.without_mark()), name: shown, max, pieces: None }),
        Some(Format::Json) => Box::new(JsonArray::new(blocks.without_mark(), shown, max)),
        Some(Format::Jsonl) => Box::new(JsonLines::new(blocks.without_mark(), shown, max)),
        Some(Format::Records) => {
            let records = Records::open(blocks.without_mark(), shown, max)?;
            form = records.form();
            Box::new(records)
        }
        Some(Format::Lines) => Box::new(Lines::new(blocks, shown, separator, max)),
        Some(Format::Files) => return files::open(source, status),
        Some(Format::Csv) => {
            let table = Table::open(blocks.without_mark(), shown, csv::Dialect::of(source), max)?;
            headers = table.headers();
            Box::new(table)
        }
    };
    Ok(Opened { pieces, format, form, name, count: None, headers })
}

/// The form of a format's items; records bring their own.
fn form_of(format: Option<Format>) -> ItemForm {
    match format {
        None | Some(Format::Json | Format::Jsonl | Format::Records) => ItemForm::Json,
        Some(Format::Lines | Format::Files) => ItemForm::Raw,
        Some(Format::Csv) => ItemForm::Cells,
    }
}

fn by_extension(path: &Path) -> Option<Format> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    Some(match extension.as_str() {
        "json" => Format::Json,
        "jsonl" | "ndjson" => Format::Jsonl,
        "txt" => Format::Lines,
        "csv" | "tsv" => Format::Csv,
        _ => return None,
    })
}

fn unknown_extension(src: &str) -> Error {
    let names = Format::NAMES.join("|");
    Error::Usage(format!("{}: its extension names no format; say --input {names}", escape::name(src)))
}

fn no_file(src: &str, error: &io::Error) -> Error {
    let is_glob = src.contains(['*', '?', '[']) && error.kind() == io::ErrorKind::NotFound;
    let hint = if is_glob { " (a glob of files needs --input files)" } else { "" };
    Error::Input(format!("cannot read {}: {error}{hint}", escape::name(src)))
}

/// Whether a path may be read as one file.
pub(crate) fn is_regular(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.is_file())
}

/// A stream that tells its format by its first byte, when there is one.
struct Undecided {
    blocks: Option<Blocks>,
    name: String,
    max: u64,
    pieces: Option<Box<dyn Pieces>>,
}

impl Pieces for Undecided {
    fn next(&mut self, want: Want) -> Option<Result<Piece, Error>> {
        if let Some(mut blocks) = self.blocks.take() {
            let name = std::mem::take(&mut self.name);
            self.pieces = Some(match blocks.peek() {
                Err(error) => return Some(Err(cannot_read(&name, &error))),
                Ok(Some(b'[')) => Box::new(JsonArray::new(blocks, name, self.max)),
                Ok(_) => Box::new(JsonLines::new(blocks, name, self.max)),
            });
        }
        self.pieces.as_mut()?.next(want)
    }
}
