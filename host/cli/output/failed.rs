//! `--failed FILE`: failures with their items, to be run again by
//! `--input records`.

use std::path::Path;

use super::record::put_failed;
use super::sink::Sink;
use super::{RunNames, Target, WriteError};
use crate::error::Error;
use crate::outcome::{Kind, Outcome};
use crate::wire::message::ItemForm;

/// The file of failures, which gets its name when the run is whole: it may be
/// the one that this run reads.
#[derive(Debug)]
pub struct Failed {
    sink: Sink,
    names: RunNames,
    form: ItemForm,
}

impl Failed {
    /// Opens the file; items are of this form.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub fn open(path: &Path, names: RunNames, form: ItemForm) -> Result<Self, Error> {
        Ok(Self { sink: Sink::open(&Target::File(path.to_owned()), true, true)?, names, form })
    }

    /// Writes a failure; passes over what is ok.
    ///
    /// # Errors
    /// [`WriteError`]; nothing more can be written then.
    pub fn write(&mut self, outcome: &Outcome) -> Result<(), WriteError> {
        if outcome.kind() == Kind::Ok {
            return Ok(());
        }
        put_failed(self.sink.buffer(), outcome, &self.names, self.form);
        self.sink.passed()
    }

    /// No other outcome is at hand.
    ///
    /// # Errors
    /// [`WriteError`]; nothing more can be written then.
    pub fn idle(&mut self) -> Result<(), WriteError> {
        self.sink.idle()
    }

    /// The name of the file while it is not whole.
    #[must_use]
    pub fn part(&self) -> Option<&Path> {
        self.sink.part()
    }

    /// The run is whole: the file gets its name.
    ///
    /// # Errors
    /// [`WriteError`] when the rest cannot be written.
    pub fn finish(self) -> Result<(), WriteError> {
        self.sink.finish()
    }

    /// The run was interrupted: what failed so far stays in `FILE.part`.
    ///
    /// # Errors
    /// [`WriteError`] when the rest cannot be written.
    pub fn stop(self) -> Result<(), WriteError> {
        self.sink.stop()
    }
}
