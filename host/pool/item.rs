//! One item on its way to a worker.

use bytes::Bytes;

use crate::outcome::{Failure, Tag};
use crate::wire::message::ItemForm;

/// An input item, as a reader of input hands it to the pool.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its position in the input; what users see.
    pub index: u64,
    /// Its bytes, or why it cannot be run (`bad-input`): such an item takes
    /// its place among the outcomes without ever reaching a worker.
    pub body: Result<Body, Failure>,
    /// What comes back with its outcome.
    pub tag: Option<Box<Tag>>,
}

/// The bytes of an item and how a worker must read them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The bytes, as they stand in the input.
    pub bytes: Bytes,
    /// What they are.
    pub form: ItemForm,
    /// For placeholders in arguments: the file's path below the glob's fixed
    /// prefix, for items that are files.
    pub path: Option<String>,
}

impl Body {
    /// No bytes; for items that will not run.
    #[must_use]
    pub fn empty() -> Self {
        Self { bytes: Bytes::new(), form: ItemForm::Json, path: None }
    }
}
