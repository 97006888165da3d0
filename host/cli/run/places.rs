//! The files that a run writes. No two of them may be one, or the last to be
//! finished takes the place of the others, the journal among them; and none
//! may be where tasks write: they could change what others came to, or lay a
//! link there that leads anywhere.

use std::path::{Path, PathBuf};

use crate::cli::args::io::OutputArgs;
use crate::cli::input::inside;
use crate::cli::output::Target;
use crate::error::Error;
use crate::escape;

/// Refuses to write two things to one file, or anything to what is in
/// `writable`: directories that tasks may write to, without links.
///
/// # Errors
/// [`Error::Usage`].
pub fn check(out: &Target, output: &OutputArgs, writable: &[PathBuf]) -> Result<(), Error> {
    let out = match out {
        Target::File(path) => Some(path),
        Target::Pattern(pattern) => {
            let literal = pattern.literal_prefix();
            let folder = literal.rfind('/').map_or(".", |slash| &literal[..=slash]);
            apart("-o", Path::new(folder), writable)?;
            None
        }
        Target::Stdout => None,
    };
    let written = [
        ("--journal", output.journal.as_ref()),
        ("-o", out),
        ("--failed", output.failed.as_ref()),
        ("--stats-file", output.stats_file.as_ref()),
    ];
    let mut places: Vec<(&str, PathBuf)> = Vec::new();
    for (flag, path) in written {
        let Some((path, place)) = path.and_then(|path| Some((path, place(path)?))) else { continue };
        apart(flag, path, writable)?;
        apart(flag, &place, writable)?;
        if let Some((other, _)) = places.iter().find(|(_, taken)| *taken == place) {
            let path = escape::path(path);
            return Err(Error::Usage(format!(
                "{other} and {flag} would both write {path}; give each a file of its own"
            )));
        }
        places.push((flag, place));
    }
    Ok(())
}

/// Refuses a path that leads into one of `writable`.
fn apart(flag: &str, path: &Path, writable: &[PathBuf]) -> Result<(), Error> {
    let Some((folder, _)) = inside::place(path, writable) else { return Ok(()) };
    let (path, folder) = (escape::path(path), escape::path(folder));
    Err(Error::Usage(format!(
        "{flag} would write {path} inside of {folder}, where tasks may write, too; choose a place outside"
    )))
}

/// Where a file is, or will be; nothing for devices and pipes, which several
/// may write to.
fn place(path: &Path) -> Option<PathBuf> {
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return None;
    }
    path.canonicalize().ok().or_else(|| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some(folder.canonicalize().ok()?.join(path.file_name()?))
    })
}
