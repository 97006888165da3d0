//! Writes a run's outcomes in the form that was asked for.

use std::io;
use std::path::Path;

use super::files::{ItemFiles, NoFile};
use super::record::{self, Beside};
use super::sink::Sink;
use super::text::{write_exact, write_value};
use super::{OnFailure, Options, OutFormat, RunNames, Target};
use crate::error::Error;
use crate::outcome::{Failure, Outcome};

/// Why outcomes can no longer be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The reader of our output went away; the run ends quietly.
    #[error("the output was closed")]
    Closed,
    /// The system does not let us write.
    #[error(transparent)]
    Failed(Error),
}

impl WriteError {
    pub(crate) fn new(what: String, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::BrokenPipe { Self::Closed } else { Self::Failed(Error::Io { what, source }) }
    }
}

/// The writing end of a run. Ends by [`Writer::finish`], [`Writer::stop`] or
/// [`Writer::abort`]; dropped without, it leaves buffered outcomes unwritten.
#[derive(Debug)]
pub struct Writer {
    sink: Sink,
    files: Option<ItemFiles>,
    format: OutFormat,
    on_failure: OnFailure,
    names: RunNames,
    /// The array has been opened.
    begun: bool,
}

impl Writer {
    /// Opens what the options name.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be opened.
    pub fn new(options: Options) -> Result<Self, Error> {
        let whole_lines = !matches!(options.format, OutFormat::Json | OutFormat::Raw);
        let sink = Sink::open(&options.target, options.flush_idle, whole_lines)?;
        let (files, format) = match options.target {
            Target::Pattern(template) => {
                (Some(ItemFiles::new(template, options.overwrite, options.item_form)), OutFormat::Records)
            }
            Target::Stdout | Target::File(_) => (None, options.format),
        };
        Ok(Self { sink, files, format, on_failure: options.on_failure, names: options.names, begun: false })
    }

    /// Bytes written so far, files of a pattern not counted.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.sink.bytes()
    }

    /// The name of a file while it is not whole.
    #[must_use]
    pub fn part(&self) -> Option<&Path> {
        self.sink.part()
    }

    /// Writes an outcome. With a pattern, an item that gives no name for its
    /// file fails here: it counts as failed with what is returned.
    ///
    /// # Errors
    /// [`WriteError`]; nothing more can be written then.
    pub fn write(&mut self, outcome: &Outcome) -> Result<Option<Failure>, WriteError> {
        if let (Some(files), Ok(value)) = (&self.files, &outcome.result) {
            return match files.write(outcome, value) {
                Ok(path) => {
                    let beside = Beside { output: Some(&path), ..Beside::default() };
                    record::put(self.sink.buffer(), outcome, &self.names, beside);
                    self.sink.passed().map(|()| None)
                }
                Err(NoFile::Fatal(error)) => {
                    // Of the files that are there the records are to be, too;
                    // why this one is not there matters more than an error now.
                    let _records = self.sink.flush();
                    Err(error)
                }
                Err(NoFile::Item(failure)) => {
                    let failed = Outcome { result: Err(failure.clone()), ..outcome.clone() };
                    record::put(self.sink.buffer(), &failed, &self.names, Beside::default());
                    self.sink.passed().map(|()| Some(failure))
                }
            };
        }
        self.put(outcome)?;
        self.sink.passed().map(|()| None)
    }

    /// No other outcome is at hand: a reader must not wait for those written.
    ///
    /// # Errors
    /// [`WriteError`]; nothing more can be written then.
    pub fn idle(&mut self) -> Result<(), WriteError> {
        self.sink.idle()
    }

    fn put(&mut self, outcome: &Outcome) -> Result<(), WriteError> {
        let value = outcome.result.as_ref().ok();
        match self.format {
            OutFormat::Records => record::put(self.sink.buffer(), outcome, &self.names, Beside::default()),
            OutFormat::Json | OutFormat::Jsonl if value.is_none() && self.on_failure == OnFailure::Omit => {}
            OutFormat::Json | OutFormat::Jsonl => {
                if self.format == OutFormat::Json {
                    self.sink.buffer().push(if self.begun { b',' } else { b'[' });
                    self.begun = true;
                }
                match value {
                    Some(value) => write_value(&mut self.sink, value)?,
                    None => self.sink.buffer().extend_from_slice(b"null"),
                }
                if self.format == OutFormat::Jsonl {
                    self.sink.buffer().push(b'\n');
                }
            }
            OutFormat::Lines | OutFormat::Raw => {
                if let Some(value) = value {
                    write_exact(&mut self.sink, value)?;
                    if self.format == OutFormat::Lines {
                        self.sink.buffer().push(b'\n');
                    }
                }
            }
        }
        Ok(())
    }

    fn close_array(&mut self) {
        if self.format == OutFormat::Json {
            let end: &[u8] = if self.begun { b"]\n" } else { b"[]\n" };
            self.sink.buffer().extend_from_slice(end);
        }
    }

    /// The run is whole: closes the array, and `FILE.part` becomes `FILE`.
    ///
    /// # Errors
    /// [`WriteError`] when the rest cannot be written.
    pub fn finish(mut self) -> Result<(), WriteError> {
        self.close_array();
        self.sink.finish()
    }

    /// The run was interrupted: what is done is written whole, but stays in
    /// `FILE.part`.
    ///
    /// # Errors
    /// [`WriteError`] when the rest cannot be written.
    pub fn stop(mut self) -> Result<(), WriteError> {
        self.close_array();
        self.sink.stop()
    }

    /// The input broke off: what is done is written, an array stays open, so
    /// that nobody takes it for whole.
    ///
    /// # Errors
    /// [`WriteError`] when the rest cannot be written.
    pub fn abort(self) -> Result<(), WriteError> {
        self.sink.stop()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::outcome::{Captured, Form, Kind, Tag, Usage, Value};
    use crate::placeholder::Template;
    use crate::wire::message::ItemForm;

    #[test]
    fn with_a_pattern_records_name_the_files_and_nameless_items_fail() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("records");
        let pattern = format!("{}/{{id}}", dir.path().display());
        let mut writer = Writer::new(Options::new(OutFormat::Json)).unwrap();
        writer.sink = Sink::open(&Target::File(out.clone()), false, true).unwrap();
        writer.files = Some(ItemFiles::new(Template::parse(&pattern), false, ItemForm::Json));
        writer.format = OutFormat::Records;
        let outcome = |id: &str| Outcome {
            index: 0,
            result: Ok(Value { form: Form::Text, bytes: Bytes::from_static(b"text") }),
            attempts: 1,
            worker: None,
            started: None,
            usage: Usage::default(),
            captured: Captured::default(),
            tag: Some(Box::new(Tag { id: Some(id.to_owned()), ..Tag::default() })),
        };
        assert_eq!(writer.write(&outcome("7")).unwrap(), None);
        assert_eq!(writer.write(&outcome("\"..\"")).unwrap().unwrap().kind, Kind::BadInput);
        assert!(matches!(writer.write(&outcome("7")), Err(WriteError::Failed(_))));
        writer.finish().unwrap();
        let text = std::fs::read_to_string(out).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["output"], format!("{}/7", dir.path().display()));
        assert_eq!((lines[1]["kind"].as_str(), lines.len()), (Some("bad-input"), 2));
        assert_eq!(std::fs::read(dir.path().join("7")).unwrap(), b"text");
    }
}
