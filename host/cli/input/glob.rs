//! The files that a glob matches, one directory at a time.
//!
//! Names need not be UTF-8: the `glob` crate's own walk passes over those that
//! are not, so only its patterns are used, for one name each.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

use crate::error::Error;
use crate::escape;

/// What makes a part of a path a pattern.
const SPECIAL: [char; 3] = ['*', '?', '['];

const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// A part of a glob, between slashes.
enum Part<'p> {
    /// A name as it is.
    Name(&'p str),
    /// One name that matches.
    Match { pattern: Pattern, hidden: bool },
    /// `**`: any directories, or none.
    Any,
}

/// The files that match, sorted by their bytes.
///
/// # Errors
/// [`Error::Usage`] when the text is no glob; [`Error::Input`] when nothing
/// matches or a directory cannot be read.
pub(crate) fn find(pattern: &str) -> Result<Vec<PathBuf>, Error> {
    let parts = pattern.split('/').filter(|part| !part.is_empty()).map(|part| parse(part, pattern));
    let parts: Vec<Part<'_>> = parts.collect::<Result<_, _>>()?;
    let root = if pattern.starts_with('/') { "/" } else { "" };
    let mut found = Vec::new();
    if !pattern.ends_with('/') {
        walk(PathBuf::from(root), &parts, &mut found)
            .map_err(|(at, error)| Error::Input(format!("cannot search {}: {error}", escape::path(&at))))?;
    }
    if found.is_empty() {
        let inside = if Path::new(pattern).is_dir() { " (it is a directory; add '/*')" } else { "" };
        return Err(Error::Input(format!("no file matches {}{inside}", escape::name(pattern))));
    }
    found.sort_unstable_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    // Two `**` can lead to one file by two ways.
    found.dedup();
    Ok(found)
}

/// What stands before a glob's first special character, up to a slash.
pub(crate) fn fixed_prefix(pattern: &str) -> PathBuf {
    let special = pattern.find(SPECIAL).unwrap_or(pattern.len());
    PathBuf::from(pattern[..special].rfind('/').map_or("", |slash| &pattern[..=slash]))
}

fn parse<'p>(part: &'p str, whole: &str) -> Result<Part<'p>, Error> {
    if part == "**" {
        return Ok(Part::Any);
    }
    if !part.contains(SPECIAL) {
        return Ok(Part::Name(part));
    }
    match Pattern::new(part) {
        // As in a shell, what begins with a dot is matched only by a pattern
        // that says so.
        Ok(pattern) => Ok(Part::Match { pattern, hidden: part.starts_with('.') }),
        Err(error) => Err(Error::Usage(format!("{} is no glob: {}", escape::name(whole), error.msg))),
    }
}

type Unreadable = (PathBuf, io::Error);

/// Finds what `parts` match below `at`. As deep as a path can have parts.
fn walk(at: PathBuf, parts: &[Part<'_>], found: &mut Vec<PathBuf>) -> Result<(), Unreadable> {
    let Some((part, rest)) = parts.split_first() else {
        // A link that leads nowhere is a file that cannot be read: not silent.
        if fs::symlink_metadata(&at).is_ok() && !at.is_dir() {
            found.push(at);
        }
        return Ok(());
    };
    match part {
        Part::Name(name) => walk(at.join(name), rest, found),
        Part::Match { pattern, hidden } => each(&at, *hidden, |entry| {
            // Bytes that are no UTF-8 count as one character each.
            let matches = pattern.matches_with(&entry.file_name().to_string_lossy(), OPTIONS);
            if matches { walk(at.join(entry.file_name()), rest, found) } else { Ok(()) }
        }),
        Part::Any => {
            if !rest.is_empty() {
                walk(at.clone(), rest, found)?;
            }
            each(&at, false, |entry| {
                let below = at.join(entry.file_name());
                match entry.file_type() {
                    // Not through links, which could lead in circles.
                    Ok(kind) if kind.is_dir() => walk(below, parts, found),
                    _ if rest.is_empty() => walk(below, rest, found),
                    _ => Ok(()),
                }
            })
        }
    }
}

/// Calls `body` for each entry of a directory.
fn each(
    at: &Path,
    hidden: bool,
    mut body: impl FnMut(&fs::DirEntry) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    let unreadable = |error| (at.to_owned(), error);
    let entries = match fs::read_dir(if at.as_os_str().is_empty() { Path::new(".") } else { at }) {
        Ok(entries) => entries,
        // What a part before matched is a file, or gone.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(unreadable(error)),
    };
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        if hidden || entry.file_name().as_bytes().first() != Some(&b'.') {
            body(&entry)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn tree(names: &[&[u8]]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(OsStr::from_bytes(name));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    fn found(folder: &tempfile::TempDir, pattern: &str) -> Vec<Vec<u8>> {
        let found = find(&format!("{}/{pattern}", folder.path().display())).unwrap_or_default();
        let below = |path: &PathBuf| path.strip_prefix(folder.path()).unwrap().as_os_str().as_bytes().to_vec();
        found.iter().map(below).collect()
    }

    #[test]
    fn names_need_not_be_text() {
        let folder = tree(&[b"a.txt", b"\xff.txt", b"\xfe\xff/b.txt", b"c.png"]);
        assert_eq!(found(&folder, "*.txt"), [&b"a.txt"[..], b"\xff.txt"]);
        assert_eq!(found(&folder, "?.txt").len(), 2);
        assert_eq!(found(&folder, "*/b.txt"), [b"\xfe\xff/b.txt"]);
        assert_eq!(found(&folder, "**/*.txt").len(), 3);
    }

    #[test]
    fn hidden_names_are_matched_only_by_patterns_that_say_so() {
        let folder = tree(&[b".env", b"a", b".d/b", b"d/.c", b"d/e"]);
        assert_eq!(found(&folder, "*"), [b"a"]);
        assert_eq!(found(&folder, ".*"), [b".env"]);
        assert_eq!(found(&folder, "*/.*"), [b"d/.c"]);
        assert_eq!(found(&folder, ".d/*"), [b".d/b"]);
        assert_eq!(found(&folder, "**"), [&b"a"[..], b"d/e"]);
    }

    #[test]
    fn stars_end_at_slashes_and_two_of_them_do_not() {
        let folder = tree(&[b"a/b/c.x", b"a/c.x", b"c.x", b"a/[1].x"]);
        assert_eq!(found(&folder, "*/c.x"), [b"a/c.x"]);
        assert_eq!(found(&folder, "**/c.x"), [&b"a/b/c.x"[..], b"a/c.x", b"c.x"]);
        assert_eq!(found(&folder, "**/**/c.x").len(), 3);
        assert_eq!(found(&folder, "a/[[]1].x"), [b"a/[1].x"]);
        assert_eq!(found(&folder, "a/b/"), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn circles_of_links_are_not_walked() {
        let folder = tree(&[b"d/a"]);
        std::os::unix::fs::symlink("..", folder.path().join("d/up")).unwrap();
        assert_eq!(found(&folder, "**/a"), [b"d/a"]);
        assert_eq!(found(&folder, "d/*/d/a"), [b"d/up/d/a"]);
    }

    #[test]
    fn what_is_no_glob_is_wrong_usage() {
        assert_eq!(find("a/[x").unwrap_err().exit_code(), 2);
        assert_eq!(find("nothing-here/*").unwrap_err().exit_code(), 4);
    }
}
