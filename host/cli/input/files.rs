//! Items that are files: of a glob, or of a list of paths.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::blocks::{Blocks, too_large};
use super::lines::Lines;
use super::reader::{Opened, Piece, Pieces, Place, Want, cannot_read};
use super::{Format, SharedStatus, Source, detect};
use crate::error::Error;
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
            (Paths::Found(found.into_iter()), fixed_prefix(pattern), Some(count))
        }
    };
    let files = Files { paths, prefix, max, status: SharedStatus::clone(status) };
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

/// The files that match, sorted by their bytes. A path that is there as it is
/// written is itself, whatever special characters it holds.
fn find(pattern: &str) -> Result<Vec<PathBuf>, Error> {
    if detect::is_regular(Path::new(pattern)).is_ok_and(|regular| regular) {
        return Ok(vec![PathBuf::from(pattern)]);
    }
    let options =
        // Its own care for leading dots panics at names that are not UTF-8.
        glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };
    let prefix = fixed_prefix(pattern);
    let free = &pattern[prefix.as_os_str().len()..];
    let dots = free.starts_with('.') || free.contains("/.");
    let matches =
        glob::glob_with(pattern, options).map_err(|error| Error::Usage(format!("{pattern:?} is no glob: {error}")))?;
    let mut found = Vec::new();
    for path in matches {
        let path = path.map_err(|error| Error::Input(format!("cannot search {pattern}: {error}")))?;
        if !path.is_dir() && (dots || !is_hidden(path.strip_prefix(&prefix).unwrap_or(&path))) {
            found.push(path);
        }
    }
    if found.is_empty() {
        let inside = if Path::new(pattern).is_dir() { " (it is a directory; add '/*')" } else { "" };
        return Err(Error::Input(format!("no file matches {pattern}{inside}")));
    }
    found.sort_unstable_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    Ok(found)
}

/// Some part of the path begins with a dot: matched only by a pattern that
/// says so.
fn is_hidden(path: &Path) -> bool {
    path.iter().any(|part| part.as_bytes().first() == Some(&b'.'))
}

fn fixed_prefix(pattern: &str) -> PathBuf {
    let special = pattern.find(['*', '?', '[']).unwrap_or(pattern.len());
    PathBuf::from(pattern[..special].rfind('/').map_or("", |slash| &pattern[..=slash]))
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
        let body = if want == Want::Skip { Ok(Bytes::new()) } else { read(&path, self.max) };
        if let Ok(bytes) = &body {
            self.status.add_bytes(bytes.len());
        }
        let below = path.strip_prefix(&self.prefix).unwrap_or(&path).to_string_lossy().into_owned();
        let full = path.to_string_lossy().into_owned();
        Some(Ok(Piece { body, form, place: Place::File { full, below } }))
    }
}

/// The bytes of a file, or why the item has none.
fn read(path: &Path, max: u64) -> Result<Bytes, Failure> {
    let unreadable =
        |error: io::Error| Failure::new(Kind::BadInput, format!("cannot read {}: {error}", path.display()));
    // Looked at before it is opened: opening a pipe would wait for its writer.
    let kind = fs::metadata(path).map_err(unreadable)?;
    if !kind.is_file() {
        return Err(unreadable(io::Error::other("not a regular file")));
    }
    if kind.len() > max {
        return Err(too_large(max));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::with_capacity(kind.len() as usize + 1);
    file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > max {
        return Err(too_large(max));
    }
    Ok(Bytes::from(bytes))
}
