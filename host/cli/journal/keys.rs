//! The keys of items: what an item is, and how often it came before. An item
//! keeps its key when others are put before it or taken away.

use std::collections::HashMap;
use std::sync::Arc;

use super::header::SALT;
use super::index::Index;
use crate::outcome::{Failure, ItemKey, Kind, Tag};
use crate::pool::item::{Body, Item};

/// What tasks see of an item beside its content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sensitive {
    /// Its index, by a placeholder or a seed.
    pub to_index: bool,
}

/// Items with their keys. Keeps some 20 bytes for each different item.
#[derive(Debug)]
pub struct Keyed<I> {
    items: I,
    index: Arc<Index>,
    salt: [u8; SALT],
    sensitive: Sensitive,
    seen: HashMap<u64, u32>,
}

impl<I> Keyed<I> {
    pub(super) fn new(items: I, index: Arc<Index>, salt: [u8; SALT], sensitive: Sensitive) -> Self {
        Self { items, index, salt, sensitive, seen: HashMap::new() }
    }

    /// The salt keeps whoever makes items from making two with one key.
    fn hash(&self, index: u64, body: &Body) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.salt);
        let index = if self.sensitive.to_index { index } else { 0 };
        let path = body.path.as_deref().unwrap_or_default();
        hasher.update(&index.to_le_bytes());
        hasher.update(&[body.form as u8]);
        hasher.update(&(path.len() as u64).to_le_bytes());
        hasher.update(path.as_bytes());
        hasher.update(&body.bytes);
        let mut first = [0; 8];
        hasher.finalize_xof().fill(&mut first);
        u64::from_le_bytes(first)
    }
}

impl<I: Iterator<Item = Item>> Iterator for Keyed<I> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        let mut item = self.items.next()?;
        // What cannot be run has no content to be known by.
        let Ok(body) = &item.body else { return Some(item) };
        let hash = self.hash(item.index, body);
        let times = self.seen.entry(hash).or_default();
        let key = ItemKey { hash, nth: *times };
        *times = times.saturating_add(1);
        let tag = item.tag.get_or_insert_with(|| Box::new(Tag::default()));
        if let Some(at) = self.index.get(key) {
            tag.stored = Some(at);
            item.body = Err(Failure::new(Kind::Cancelled, "done in an earlier run"));
        } else {
            tag.key = Some(key);
        }
        Some(item)
    }
}
