//! One item on its way to a worker.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;

use crate::outcome::{Failure, Tag};
use crate::wire::message::ItemForm;
use crate::wire::run::MAX_ITEM;

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
    /// The client that a worker is to talk to, where the pool serves them.
    pub connection: Option<Connection>,
}

/// A client's connection. The host keeps it until the item has its outcome:
/// an item that was not started may have to go to another worker.
#[derive(Clone, Debug)]
pub struct Connection(Arc<OwnedFd>);

impl Connection {
    /// A connection that was accepted.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self(Arc::new(socket))
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl PartialEq for Connection {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Connection {}

/// What a feeder is given: an item, or a value that becomes one.
pub trait Supply: Send {
    /// Its position in the input.
    fn index(&self) -> u64;

    /// The number that its JSON text would be, where it is an integer.
    fn number(&self) -> Option<i64> {
        None
    }

    /// Appends its bytes to `out` and tells what they are, if nothing else
    /// is to travel with them. What is appended beside `None` is dropped.
    fn pack(&self, out: &mut Vec<u8>) -> Option<ItemForm>;

    /// The item itself.
    fn into_item(self) -> Item;
}

impl Supply for Item {
    fn index(&self) -> u64 {
        self.index
    }

    fn pack(&self, out: &mut Vec<u8>) -> Option<ItemForm> {
        let Ok(Body { bytes, form, path: None, connection: None }) = &self.body else { return None };
        if self.tag.is_some() || bytes.len() > MAX_ITEM {
            return None;
        }
        out.extend_from_slice(bytes);
        Some(*form)
    }

    fn into_item(self) -> Item {
        self
    }
}

impl Body {
    /// No bytes; for items that will not run.
    #[must_use]
    pub fn empty() -> Self {
        Self { bytes: Bytes::new(), form: ItemForm::Json, path: None, connection: None }
    }
}
