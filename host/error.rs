//! Errors of the library: closed, each with the exit code the command gives.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::escape;

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
            Self::Module(_) | Self::ModuleFile { .. } => 3,
            Self::Workers(_) | Self::Stale(_) | Self::Input(_) | Self::Io { .. } => 4,
        }
    }

    /// An error that says the same, of one that others hold too.
    #[must_use]
    pub fn like(&self) -> Self {
        let text = self.to_string();
        match self {
            Self::Usage(_) => Self::Usage(text),
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
