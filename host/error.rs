//! Errors of the library: closed, each with the exit code the command gives.

use std::fmt;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use rustix::io::Errno;

use crate::escape::{self, SHOWN};
use crate::outcome::{Captured, Detail, Failure, Kind};

/// Why a pool could not be made or could not go on. Failures of single items
/// are never errors: they are outcomes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller asked for something that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The module was refused: unreadable, bad wasm, no such function, an
    /// unknown import, a feature that is off, a limit of compilation.
    #[error("{0}")]
    Module(String),
    /// The function that is called before any task failed.
    #[error(transparent)]
    Initializer(Box<InitializerError>),
    /// The module could not be read.
    #[error("cannot read module {}: {}", escape::path(path), Told(source))]
    ModuleFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Workers cannot be started, or keep dying.
    #[error("{0}")]
    Workers(String),
    /// The artifact is not of this engine and must be compiled anew.
    #[error("{0}")]
    Stale(String),
    /// The input cannot be read or is not a document of its format.
    #[error("{0}")]
    Input(String),
    /// A file or stream could not be written.
    #[error("{what}: {}", Told(source))]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

/// How an initializer failed. The pool does not start; Python's starts workers
/// for ever.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InitializerError {
    /// The function.
    pub function: String,
    /// How it ended; never [`Kind::Ok`].
    pub kind: Kind,
    /// For people. It may hold guest text: what [`Display`](fmt::Display)
    /// writes is escaped, this is not.
    pub message: String,
    /// For programs: trap code and frames, exit code, the limit that was hit.
    pub detail: Box<Detail>,
    /// The tail of what it wrote to standard output.
    pub stdout: Bytes,
    /// The tail of what it wrote to standard error.
    pub stderr: Bytes,
}

impl InitializerError {
    /// The failure of `function`, with what it printed.
    #[must_use]
    pub fn new(function: impl Into<String>, failure: Failure, captured: Captured) -> Self {
        let Failure { kind, message, detail } = failure;
        Self { function: function.into(), kind, message, detail, stdout: captured.stdout, stderr: captured.stderr }
    }
}

impl fmt::Display for InitializerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = escape::escape(self.message.as_bytes(), SHOWN);
        write!(f, "initializer `{}`: {}: {message}", escape::name(&self.function), self.kind)?;
        for (indent, tail) in [("  stdout | ", &self.stdout), ("  stderr | ", &self.stderr)] {
            if !tail.is_empty() {
                write!(f, "\n{}", escape::escape_lines(tail, indent, SHOWN))?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for InitializerError {}

/// What the system said, with the limit of the process that is behind it.
#[derive(Debug)]
pub struct Told<'a>(pub &'a io::Error);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = match Errno::from_io_error(self.0) {
            Some(Errno::MFILE) => " (raise it with ulimit -n)",
            Some(Errno::AGAIN) => " (fewer workers with -j, or raise ulimit -u)",
            Some(Errno::FBIG) => " (raise it with ulimit -f)",
            _ => "",
        };
        write!(f, "{}{hint}", self.0)
    }
}

/// Whether the system is out of something that others may give back:
/// descriptors, processes, memory.
#[must_use]
pub fn is_scarcity(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::AGAIN | Errno::NOMEM | Errno::NOBUFS)
    )
}

impl Error {
    /// The exit code of `wpool` for this error: 2 usage, 3 module, 4 the rest.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Module(_) | Self::ModuleFile { .. } | Self::Initializer(_) => 3,
            Self::Workers(_) | Self::Stale(_) | Self::Input(_) | Self::Io { .. } => 4,
        }
    }

    /// An error that says the same, of one that others hold too.
    #[must_use]
    pub fn like(&self) -> Self {
        let text = self.to_string();
        match self {
            Self::Usage(_) => Self::Usage(text),
            Self::Initializer(error) => Self::Initializer(error.clone()),
            Self::Module(_) | Self::ModuleFile { .. } => Self::Module(text),
            Self::Workers(_) | Self::Io { .. } => Self::Workers(text),
            Self::Stale(_) => Self::Stale(text),
            Self::Input(_) => Self::Input(text),
        }
    }

    /// An [`Error::Io`], for `map_err`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
