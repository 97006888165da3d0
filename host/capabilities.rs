//! What a guest is allowed beyond computing. The default grants nothing.

mod shared;

use std::path::PathBuf;

pub use shared::{MAX_BOUND, MAX_NAME, MAX_OBJECTS, SharedGrant, SharedKind, check as check_shared};

use serde::{Deserialize, Serialize};

/// Grants for the tasks of one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Host directories the guest may open.
    pub dirs: Vec<DirGrant>,
    /// Guest path of a private, empty, writable directory for each item.
    pub scratch: Option<String>,
    /// Environment variables of the guest.
    pub env: Vec<(String, String)>,
    /// Clocks and randomness follow from this seed instead of being real.
    pub deterministic: Option<u64>,
    /// Objects that tasks share. Messages name them by their position here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<SharedGrant>,
}

/// One granted directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirGrant {
    /// Directory on the host: an absolute path without dots and symbolic
    /// links, as [`std::fs::canonicalize`] gives it.
    pub host: PathBuf,
    /// The path under which the guest sees it.
    pub guest: String,
    /// Whether the guest may change it.
    pub access: Access,
}

/// What a guest may do with a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Read and list only.
    #[default]
    ReadOnly,
    /// Read, create, change and remove, up to `--max-write` bytes per task.
    ReadWrite,
}

impl Capabilities {
    /// Grants nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether a task can leave traces outside its result, so that running it
    /// twice is not the same as running it once.
    #[must_use]
    pub fn side_effects(&self) -> bool {
        self.writes_files() || !self.shared.is_empty()
    }

    /// Whether a task can change files that outlast it.
    #[must_use]
    pub fn writes_files(&self) -> bool {
        self.dirs.iter().any(|dir| dir.access == Access::ReadWrite)
    }
}
