//! Blocks of memory that payloads were in, kept for the next ones: asked for
//! anew each time, a block of many pages costs more than what is copied into
//! it, and is in no cache.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Smaller blocks are the allocator's, in bytes.
pub const LEAST: usize = 16 << 10;

/// How many of the blocks put back last are looked at.
const LOOK: usize = 8;

/// Blocks that nobody has now, up to a number of bytes.
#[derive(Default)]
pub struct Shelf {
    most: usize,
    spare: Mutex<Spare>,
}

#[derive(Default)]
struct Spare {
    blocks: Vec<Vec<u8>>,
    bytes: usize,
}

impl Shelf {
    /// A shelf for blocks of so many bytes together.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, spare: Mutex::default() })
    }

    fn spare(&self) -> MutexGuard<'_, Spare> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty block with room for `size` bytes, and for no more than twice as
    /// many: what keeps a payload keeps its block.
    #[must_use]
    pub fn take(&self, size: usize) -> Vec<u8> {
        let mut spare = self.spare();
        let fits = |block: &Vec<u8>| (size..=size.saturating_mul(2)).contains(&block.capacity());
        // The one put back last is the one that the caches still have.
        let found = spare.blocks.iter().rev().take(LOOK).position(fits);
        let found = found.map(|back| spare.blocks.len() - 1 - back);
        let Some(block) = found.map(|place| spare.blocks.remove(place)) else {
            drop(spare);
            return Vec::with_capacity(size);
        };
        spare.bytes -= block.capacity();
        block
    }

    /// A block as bytes; it comes back when they are dropped.
    #[must_use]
    pub fn lend(self: &Arc<Self>, block: Vec<u8>) -> Bytes {
        if self.may_keep(&block) { Bytes::from_owner(Lent(block, Arc::clone(self))) } else { block.into() }
    }

    fn may_keep(&self, block: &Vec<u8>) -> bool {
        (LEAST..=self.most).contains(&block.capacity())
    }

    /// Takes a block back. Where there is no room left, those that have lain
    /// here longest go: nothing has asked for their size.
    fn put(&self, mut block: Vec<u8>) {
        if !self.may_keep(&block) {
            return;
        }
        block.clear();
        let mut spare = self.spare();
        let room = self.most - block.capacity();
        let mut go = 0;
        while spare.bytes > room {
            spare.bytes -= spare.blocks[go].capacity();
            go += 1;
        }
        spare.bytes += block.capacity();
        let gone: Vec<_> = spare.blocks.drain(..go).collect();
        spare.blocks.push(block);
        drop(spare);
        drop(gone);
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spare = self.spare();
        write!(f, "Shelf({} blocks, {} of {} bytes)", spare.blocks.len(), spare.bytes, self.most)
    }
}

/// A block that is somebody's.
struct Lent(Vec<u8>, Arc<Shelf>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.1.put(std::mem::take(&mut self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes and blocks that are kept.
    fn kept(shelf: &Shelf) -> (usize, usize) {
        let spare = shelf.spare();
        (spare.bytes, spare.blocks.len())
    }

    fn block(shelf: &Shelf, size: usize) -> Vec<u8> {
        let mut block = shelf.take(size);
        block.resize(size, 7);
        block
    }

    #[test]
    fn a_block_comes_back_when_the_last_who_has_it_lets_go() {
        let shelf = Shelf::new(1 << 20);
        let lent = shelf.lend(block(&shelf, LEAST));
        let part = lent.slice(1..3);
        drop(lent);
        assert_eq!((part.as_ref(), kept(&shelf)), ([7, 7].as_slice(), (0, 0)));
        drop(part);
        assert_eq!(kept(&shelf), (LEAST, 1));
        assert_eq!(format!("{shelf:?}"), "Shelf(1 blocks, 16384 of 1048576 bytes)");
        assert!(shelf.take(LEAST).is_empty(), "what was in it is gone");
        assert_eq!(kept(&shelf), (0, 0));
    }

    #[test]
    fn no_more_than_the_bound_is_kept() {
        let shelf = Shelf::new(4 * LEAST);
        let lent: Vec<Bytes> = (0..9).map(|_| shelf.lend(block(&shelf, LEAST))).collect();
        drop(lent);
        assert_eq!(kept(&shelf), (4 * LEAST, 4));
        drop(shelf.lend(block(&shelf, 3 * LEAST)));
        assert_eq!(kept(&shelf), (4 * LEAST, 2), "the newest stay");
        drop(shelf.lend(vec![0; 4 * LEAST + 1]));
        drop(shelf.lend(vec![0; LEAST - 1]));
        assert_eq!(kept(&shelf), (4 * LEAST, 2));
    }

    #[test]
    fn a_payload_keeps_no_block_of_more_than_twice_its_size() {
        let shelf = Shelf::new(1 << 20);
        drop(shelf.lend(block(&shelf, 4 * LEAST)));
        assert_eq!(shelf.take(LEAST).capacity(), LEAST);
        assert_eq!(shelf.take(2 * LEAST).capacity(), 4 * LEAST);
    }
}
