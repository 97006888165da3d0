//! A table: each row becomes a JSON object by the header's names, or an array
//! where there is none; all cells are strings until a type reads them.

use std::path::Path;

use bytes::Bytes;
use csv_core::ReadRecordResult;

use super::Source;
use super::blocks::{Blocks, too_large};
use super::reader::{Piece, Pieces, Place, Want, cannot_read};
use crate::error::Error;
use crate::outcome::{Failure, Kind};
use crate::value::ty::{Field, Ty};
use crate::wire::message::ItemForm;

/// More cells than this make a row `bad-input`.
const MAX_CELLS: usize = 1 << 16;

/// How a table is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect {
    delimiter: u8,
    header: bool,
}

impl Dialect {
    pub(crate) fn of(source: &Source) -> Self {
        let is_tsv = Path::new(&source.src).extension().is_some_and(|end| end.eq_ignore_ascii_case("tsv"));
        let usual = if is_tsv { b'\t' } else { b',' };
        Self { delimiter: source.delimiter.unwrap_or(usual), header: !source.no_header }
    }
}

/// The rows of a table.
pub(crate) struct Table {
    blocks: Blocks,
    name: String,
    core: csv_core::Reader,
    block: Bytes,
    at: usize,
    ended: bool,
    /// The line that comes next.
    line: u64,
    /// Cells of the current row, one behind the other.
    text: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
    max: u64,
    headers: Option<Vec<String>>,
    /// `"name":` for each column.
    keys: Vec<Vec<u8>>,
}

/// A row that was read.
struct Row {
    line: u64,
    /// Number of cells, or why there are none.
    cells: Result<usize, Failure>,
}

impl Table {
    /// Opens a table and reads its header.
    pub(crate) fn open(blocks: Blocks, name: String, dialect: Dialect, max: u64) -> Result<Self, Error> {
        let core = csv_core::ReaderBuilder::new().delimiter(dialect.delimiter).build();
        let mut table = Self {
            blocks,
            name,
            core,
            block: Bytes::new(),
            at: 0,
            ended: false,
            line: 1,
            text: vec![0; 1024],
            ends: vec![0; 64],
            max,
            headers: None,
            keys: Vec::new(),
        };
        if dialect.header {
            table.read_header()?;
        }
        Ok(table)
    }

    pub(crate) fn headers(&self) -> Option<Vec<String>> {
        self.headers.clone()
    }

    fn read_header(&mut self) -> Result<(), Error> {
        let Some(row) = self.row()? else { return Ok(()) };
        let bad = |what: &str| Error::Input(format!("{}: the header row {what}", self.name));
        let count = row.cells.map_err(|failure| bad(&format!("cannot be used: {}", failure.message)))?;
        let mut headers: Vec<String> = Vec::with_capacity(count);
        for column in 0..count {
            let name = std::str::from_utf8(self.cell(column)).map_err(|_| bad("is not UTF-8"))?.trim();
            if headers.iter().any(|before| before == name) {
                return Err(bad(&format!("has two columns called {name:?}")));
            }
            headers.push(name.to_owned());
        }
        self.keys =
            headers.iter().map(|name| [serde_json::json!(name).to_string().as_bytes(), b":"].concat()).collect();
        self.headers = Some(headers);
        Ok(())
    }

    fn cell(&self, column: usize) -> &[u8] {
        let start = if column == 0 { 0 } else { self.ends[column - 1] };
        &self.text[start..self.ends[column]]
    }

    /// Takes the next block where this one is used up.
    fn refill(&mut self) -> Result<(), Error> {
        if self.at == self.block.len() && !self.ended {
            self.at = 0;
            match self.blocks.next().map_err(|error| cannot_read(&self.name, &error))? {
                Some(block) => self.block = block,
                None => {
                    self.block = Bytes::new();
                    self.ended = true;
                }
            }
        }
        Ok(())
    }

    /// Passes over line ends before a row, so that it is known where it begins.
    fn skip_line_ends(&mut self) -> Result<(), Error> {
        loop {
            self.refill()?;
            match self.block.get(self.at) {
                Some(b'\n') => self.line += 1,
                Some(b'\r') => {}
                _ => return Ok(()),
            }
            self.at += 1;
        }
    }

    fn row(&mut self) -> Result<Option<Row>, Error> {
        self.skip_line_ends()?;
        let line = self.line;
        let (mut length, mut count) = (0, 0);
        let mut over = None;
        loop {
            self.refill()?;
            let input = &self.block[self.at..];
            let (result, read, written, ended) =
                self.core.read_record(input, &mut self.text[length..], &mut self.ends[count..]);
            self.line += memchr::memchr_iter(b'\n', &input[..read]).count() as u64;
            self.at += read;
            length += written;
            count += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::End => return Ok(None),
                ReadRecordResult::Record => {
                    let cells = over.map_or(Ok(count), Err);
                    return Ok(Some(Row { line, cells }));
                }
                ReadRecordResult::OutputFull if self.text.len() as u64 <= self.max && over.is_none() => {
                    self.text.resize(self.text.len() * 2, 0);
                }
                ReadRecordResult::OutputEndsFull if self.ends.len() < MAX_CELLS && over.is_none() => {
                    self.ends.resize(self.ends.len() * 2, 0);
                }
                ReadRecordResult::OutputFull => {
                    over.get_or_insert_with(|| too_large(self.max));
                    length = 0;
                }
                ReadRecordResult::OutputEndsFull => {
                    let failure = || Failure::new(Kind::BadInput, format!("row has more than {MAX_CELLS} cells"));
                    over.get_or_insert_with(failure);
                    count = 0;
                }
            }
        }
    }

    /// The current row as JSON.
    fn json(&self, row: Row) -> Result<Bytes, Failure> {
        let line = row.line;
        let count = row.cells?;
        let bad = |what: String| Failure::new(Kind::BadInput, format!("line {line}: {what}"));
        let columns = self.keys.len();
        if self.headers.is_some() && count != columns {
            return Err(bad(format!("row has {count} cells, the header has {columns}")));
        }
        let (open, close) = if self.headers.is_some() { (b'{', b'}') } else { (b'[', b']') };
        let mut json = Vec::with_capacity(self.ends[count.saturating_sub(1)] + 16 * (count + 1));
        json.push(open);
        for column in 0..count {
            if column > 0 {
                json.push(b',');
            }
            json.extend_from_slice(self.keys.get(column).map_or(&[], Vec::as_slice));
            let cell =
                std::str::from_utf8(self.cell(column)).map_err(|_| bad(format!("cell {} is not UTF-8", column + 1)))?;
            // Writing a string into memory cannot fail.
            let _ = serde_json::to_writer(&mut json, cell);
        }
        json.push(close);
        if json.len() as u64 > self.max {
            return Err(too_large(self.max));
        }
        Ok(Bytes::from(json))
    }
}

impl Pieces for Table {
    fn next(&mut self, want: Want) -> Option<Result<Piece, Error>> {
        let row = match self.row() {
            Ok(Some(row)) => row,
            Ok(None) => return None,
            Err(error) => return Some(Err(error)),
        };
        let place = Place::Line(row.line);
        let body = if want == Want::Skip { Ok(Bytes::new()) } else { self.json(row) };
        Some(Ok(Piece { body, form: ItemForm::Cells, place }))
    }
}

/// What is done with columns that no field takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExtraColumns {
    /// The run does not start.
    #[default]
    Refuse,
    /// They are passed over (`--extra-fields ignore`).
    Ignore,
}

/// Checks a header against the fields that rows must fill.
///
/// # Errors
/// [`Error::Input`], naming a column that is missing or that no field takes.
pub fn check_columns(headers: &[String], fields: &[Field], extra: ExtraColumns) -> Result<(), Error> {
    let columns: Vec<String> = headers.iter().map(|name| folded(name)).collect();
    let wanted: Vec<String> = fields.iter().map(|field| folded(&field.name)).collect();
    let missing = |field: &&Field| !matches!(field.ty, Ty::Option(_)) && !columns.contains(&folded(&field.name));
    let unknown = columns.iter().position(|column| !wanted.contains(column));
    if let (Some(at), ExtraColumns::Refuse) = (unknown, extra) {
        let nearest = wanted.iter().zip(fields).max_by(|(a, _), (b, _)| {
            strsim::jaro_winkler(a, &columns[at]).total_cmp(&strsim::jaro_winkler(b, &columns[at]))
        });
        let nearest = nearest.filter(|(name, _)| strsim::jaro_winkler(name, &columns[at]) > 0.7);
        let hint = nearest.map_or(String::new(), |(_, field)| format!("did you mean {:?}? ", field.name));
        let header = &headers[at];
        return Err(Error::Input(format!(
            "column {header:?} is no field of the parameter ({hint}--extra-fields ignore passes over it)"
        )));
    }
    match fields.iter().find(missing) {
        None => Ok(()),
        Some(field) => Err(Error::Input(format!("no column for {:?} ({} is required)", field.name, field))),
    }
}

/// A name in WIT's way of writing, whatever way it was written.
fn folded(name: &str) -> String {
    let mut folded = String::with_capacity(name.len() + 4);
    let mut before = '-';
    for character in name.chars() {
        if matches!(character, '_' | ' ' | '-') {
            folded.push('-');
        } else {
            if character.is_uppercase() && (before.is_lowercase() || before.is_numeric()) {
                folded.push('-');
            }
            folded.extend(character.to_lowercase());
        }
        before = character;
    }
    folded
}
