//! The files that a run writes: no two of them may be one, or the last to be
//! finished takes the place of the others, the journal among them.

use std::path::{Path, PathBuf};

use crate::cli::args::io::OutputArgs;
use crate::cli::output::Target;
use crate::error::Error;
use crate::escape;

/// Refuses to write two things to one file.
///
/// # Errors
/// [`Error::Usage`].
pub fn check(out: &Target, output: &OutputArgs) -> Result<(), Error> {
    let out = match out {
        Target::File(path) => Some(path),
        Target::Stdout | Target::Pattern(_) => None,
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
