//! Items that are files: of a glob, or of a list of paths.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::blocks::{Blocks, too_large};
use super::lines::Lines;
use super::reader::{Opened, Piece, Pieces, Place, Want, cannot_read};
use super::{Format, SharedStatus, Source, detect, glob, inside};
use crate::error::Error;
use crate::escape;
use crate::outcome::{Failure, Kind};
use crate::wire::message::ItemForm;

/// The longest path in a list, in bytes.
const MAX_PATH: u64 = 64 << 10;

/// Where paths come from.
enum Paths {
    /// A glob's matches, sorted.
    Found(std::vec::IntoIter<PathBuf>),
    /// A list, read as it is needed.
    Listed(Lines),
}

/// The files of a source.
pub(crate) struct Files {
    paths: Paths,
    /// What stands before a glob's first special character, up to a slash.
    prefix: PathBuf,
    max: u64,
    /// Directories that tasks may write to.
    writable: Vec<PathBuf>,
    status: SharedStatus,
}

/// Opens `-`, `@LIST` or a glob.
pub(crate) fn open(source: &Source, status: &SharedStatus) -> Result<Opened, Error> {
    let max = source.max_item;
    let list = if source.src == "-" { Some("-") } else { source.src.strip_prefix('@') };
    let (paths, prefix, count) = match list {
        Some(list) => (Paths::Listed(open_list(list, source.nul)?), PathBuf::new(), None),
        None => {
            let pattern = source.src.trim_start_matches("./");
            let found = find(pattern)?;
            let count = found.len() as u64;
            (Paths::Found(found.into_iter()), glob::fixed_prefix(pattern), Some(count))
        }
    };
    let (writable, shared) = (source.writable.clone(), SharedStatus::clone(status));
    let files = Files { paths, prefix, max, writable, status: shared };
    let (pieces, name) = (Box::new(files), source.src.clone());
    Ok(Opened { pieces, format: Some(Format::Files), form: ItemForm::Raw, name, count, headers: None })
}

fn open_list(list: &str, nul: bool) -> Result<Lines, Error> {
    let (reader, name) = match list {
        "-" => (detect::stdin()?, "stdin"),
        _ => (File::open(list).map_err(|error| cannot_read(list, &error))?, list),
    };
    let separator = if nul { 0 } else { b'\n' };
    // The list's own bytes are not the items'.
    let blocks = Blocks::new(Box::new(reader), SharedStatus::default());
    Ok(Lines::new(blocks, name.to_owned(), separator, MAX_PATH))
}

/// The files that match. A path that is there as it is written is itself,
/// whatever special characters it holds.
fn find(pattern: &str) -> Result<Vec<PathBuf>, Error> {
    if detect::is_regular(Path::new(pattern)).is_ok_and(|regular| regular) {
        return Ok(vec![PathBuf::from(pattern)]);
    }
    glob::find(pattern)
}

/// A path as text. Names that are no UTF-8 stay apart from each other.
fn text(path: &Path) -> String {
    let mut text = String::with_capacity(path.as_os_str().len());
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

impl Files {
    /// The next path, or the failure of a line that can be none.
    fn path(&mut self) -> Result<Option<Result<PathBuf, Failure>>, Error> {
        match &mut self.paths {
            Paths::Found(paths) => Ok(paths.next().map(Ok)),
            Paths::Listed(lines) => loop {
                match lines.next_line()? {
                    None => return Ok(None),
                    Some(Err(_)) => {
                        let message = format!("line {} is too long for a path", lines.number());
                        return Ok(Some(Err(Failure::new(Kind::BadInput, message))));
                    }
                    Some(Ok(line)) if line.is_empty() => {}
                    Some(Ok(line)) => return Ok(Some(Ok(PathBuf::from(OsStr::from_bytes(&line))))),
                }
            },
        }
    }
}

impl Pieces for Files {
    fn next(&mut self, want: Want) -> Option<Result<Piece, Error>> {
        let form = ItemForm::Raw;
        let path = match self.path() {
            Err(error) => return Some(Err(error)),
            Ok(None) => return None,
            Ok(Some(Err(failure))) => return Some(Ok(Piece { body: Err(failure), form, place: Place::None })),
            Ok(Some(Ok(path))) => path,
        };
        let body = if want == Want::Skip { Ok(Bytes::new()) } else { read(&path, self.max, &self.writable) };
        if let Ok(bytes) = &body {
            self.status.add_bytes(bytes.len());
        }
        let below = text(path.strip_prefix(&self.prefix).unwrap_or(&path));
        Some(Ok(Piece { body, form, place: Place::File { full: text(&path), below } }))
    }
}

/// The bytes of a file, or why the item has none.
fn read(path: &Path, max: u64, writable: &[PathBuf]) -> Result<Bytes, Failure> {
    let unreadable =
        |error: io::Error| Failure::new(Kind::BadInput, format!("cannot read {}: {error}", escape::path(path)));
    let file = inside::open(path, writable).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    if size > max {
        return Err(too_large(max));
    }
    let mut bytes = Vec::with_capacity(size as usize + 1);
    file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > max {
        return Err(too_large(max));
    }
    Ok(Bytes::from(bytes))
}
