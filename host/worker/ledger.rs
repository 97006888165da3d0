//! The integers that consecutive items gave, on their way from the task loop,
//! which writes them without a lock while a guest may hang at any moment, to
//! whoever gathers the replies.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicUsize, Ordering};

use crate::wire::run::MAX_ITEMS;

/// As many values as a run has items, one after another.
#[derive(Debug)]
pub(super) struct Ledger {
    entries: Box<[Entry]>,
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Entry {
    value: AtomicI64,
    wall_ns: AtomicU32,
}

impl Default for Ledger {
    fn default() -> Self {
        let entries = std::iter::repeat_with(Entry::default).take(MAX_ITEMS).collect();
        Self { entries, count: AtomicUsize::new(0) }
    }
}

impl Ledger {
    /// Task loop: adds a value, as number `number`. False where none fits.
    pub(super) fn put(&self, number: usize, value: i64, wall_ns: u32) -> bool {
        let Some(entry) = self.entries.get(number) else { return false };
        entry.value.store(value, Ordering::Relaxed);
        entry.wall_ns.store(wall_ns, Ordering::Relaxed);
        // Whoever sees the count sees the entry.
        self.count.store(number + 1, Ordering::Release);
        true
    }

    /// Empties it; nobody may read meanwhile.
    pub(super) fn clear(&self) {
        self.count.store(0, Ordering::Release);
    }

    /// How many values are there.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Values and wall times in nanoseconds, of which [`Ledger::len`] has told.
    pub(super) fn entries(&self, from: usize, to: usize) -> impl Iterator<Item = (i64, u32)> {
        let entries = self.entries.get(from..to).unwrap_or_default();
        entries.iter().map(|entry| (entry.value.load(Ordering::Relaxed), entry.wall_ns.load(Ordering::Relaxed)))
    }
}
