//! Errors of the library: closed, each with the exit code the command gives.

use std::io;
use std::path::PathBuf;

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
    #[error("cannot read module {}: {source}", escape::path(path))]
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
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
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
