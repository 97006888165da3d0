//! The journal of a run: what became of each item, on disk as soon as it is
//! known, so that a run that was ended can be taken up again.
//!
//! A first line says what run it is; each further line is a record with the
//! key of its item, in the order in which items finished. An item whose key
//! has an `ok` record is not run again: it passes through the pool as one
//! that does not run, and [`Journal::restore`] puts its outcome in place.

mod header;
mod index;
mod keys;
mod log;
mod restore;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use header::Run;
pub use keys::{Keyed, Sensitive};

use self::index::Index;
use self::log::Log;
use super::output::{RunNames, put_journalled};
use crate::error::Error;
use crate::escape;
use crate::outcome::Outcome;
use crate::pool::Observer;
use crate::pool::item::Item;

/// `--resume`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Only a run of the same module is taken up.
    SameModule,
    /// The module may have changed.
    AnyModule,
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// For reading what is in it.
    file: File,
    log: Log,
    index: Arc<Index>,
    salt: [u8; header::SALT],
}

impl Journal {
    /// Begins a journal, or takes one up. One without a single outcome is
    /// begun anew, whatever run it was of.
    ///
    /// # Errors
    /// [`Error::Usage`] when there is one and it is not to be taken up, or it
    /// is of another run; [`Error::Input`] when it cannot be understood;
    /// [`Error::Io`] when it cannot be read or written, or another run does.
    pub fn open(path: &Path, resume: Option<Resume>, run: &Run) -> Result<Self, Error> {
        let shown = escape::path(path);
        let cannot = |what: &str| Error::io(format!("cannot {what} the journal {shown}"));
        let mut file = lock(path).map_err(cannot("open"))?;
        let size = file.metadata().map_err(cannot("open"))?.len();
        let found = if size == 0 { None } else { header::read(&file, &shown)? };
        // A run that ended before its first outcome: there is nothing to take
        // up, nor to lose.
        let nothing = match &found {
            Some((_, start)) => index::is_empty(&file, *start, &shown)?,
            None => false,
        };
        let (salt, index) = match (found.filter(|_| !nothing), resume) {
            (Some(_), None) => {
                return Err(Error::Usage(format!(
                    "--journal: {shown} is there already: --resume takes that run up, another name begins a new one"
                )));
            }
            (Some((found, start)), Some(resume)) => {
                found.check(run, resume, &shown)?;
                let (index, end) = Index::read(&file, start, &shown)?;
                // What a run that was killed had begun to write.
                file.set_len(end).map_err(cannot("write"))?;
                (found.salt()?, index)
            }
            (None, _) if size > 0 && !nothing && resume.is_none() => {
                return Err(Error::Usage(format!("--journal: {shown} is there already, and is no journal")));
            }
            (None, _) => {
                let salt = header::salt().map_err(cannot("begin"))?;
                // A first line that was cut short says nothing.
                file.set_len(0).map_err(cannot("begin"))?;
                file.write_all(&run.line(&salt)).map_err(cannot("begin"))?;
                (salt, Index::default())
            }
        };
        file.seek(SeekFrom::End(0)).map_err(cannot("write"))?;
        let log = Log::start(file.try_clone().map_err(cannot("write"))?, shown.clone()).map_err(cannot("write"))?;
        Ok(Self { path: path.to_owned(), file, log, index: Arc::new(index), salt })
    }

    /// Items that are done already.
    #[must_use]
    pub fn done(&self) -> usize {
        self.index.len()
    }

    /// Gives each item its key; those that are done will not run.
    pub fn keyed<I: Iterator<Item = Item>>(&self, items: I, sensitive: Sensitive) -> Keyed<I> {
        Keyed::new(items, Arc::clone(&self.index), self.salt, sensitive)
    }

    /// What the pool tells every outcome to as soon as it is known.
    #[must_use]
    pub fn observer(&self, names: RunNames) -> Observer {
        let log = self.log.clone();
        Observer::new(move |outcome| {
            if outcome.tag.as_ref().is_none_or(|tag| tag.stored.is_none()) {
                log.append(|out| put_journalled(out, outcome, &names));
            }
        })
    }

    /// The outcome of an item that was done in an earlier run; any other as
    /// it is.
    ///
    /// # Errors
    /// [`Error::Input`] when the journal cannot be read any more.
    pub fn restore(&self, outcome: Outcome) -> Result<Outcome, Error> {
        let Some(at) = outcome.tag.as_ref().and_then(|tag| tag.stored) else { return Ok(outcome) };
        let shown = || escape::path(&self.path);
        let line = index::line_at(&self.file, at)
            .map_err(|error| Error::Input(format!("cannot read the journal {}: {error}", shown())))?;
        restore::outcome(&line, outcome)
            .map_err(|error| Error::Input(format!("the journal {}: the record at byte {at}: {error}", shown())))
    }

    /// Why the journal can no longer be written, once.
    #[must_use]
    pub fn take_error(&self) -> Option<Error> {
        self.log.take_error()
    }

    /// Everything is on disk.
    ///
    /// # Errors
    /// [`Error::Io`] when it is not.
    pub fn finish(self) -> Result<(), Error> {
        self.log.finish()
    }
}

/// Opens a journal for this run alone. It holds items' results: nobody else
/// reads it unless its owner says so.
fn lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_locked| io::Error::other("another run is writing it"))?;
    Ok(file)
}
