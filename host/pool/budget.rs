//! Back-pressure: permits for items that are pulled but not delivered, and
//! byte counts of what waits on either side of the workers.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes of items that may wait for a slot, besides one item of any size.
const QUEUED_BYTES: usize = 4 << 20;

/// Most free permits that a feeder waits for.
const MOST_WORTH: usize = 1024;

/// What one job may have under way.
#[derive(Debug)]
pub struct Budget {
    permits: Mutex<Permits>,
    freed: Condvar,
    /// Free permits for which a feeder that waits is woken: a small part of a
    /// large window, since for each it would do nothing else than wake.
    worth: usize,
    /// The feeder waits for room in the queue and was not told of any.
    waiting: AtomicBool,
    queued: AtomicUsize,
    chunks: AtomicUsize,
    most_chunks: usize,
    closed: AtomicBool,
    /// Position of the item that is delivered next.
    pub next: AtomicU64,
}

#[derive(Debug)]
struct Permits {
    free: usize,
    /// The feeder waits until so many are free; 0 when it does not. Telling
    /// nobody is a system call too.
    awaited: usize,
}

impl Budget {
    /// A budget of `window` undelivered items, of which `chunks` chunks may
    /// wait for a slot. Once there are so many, the feeder waits until half
    /// are gone: woken for each, it would do nothing else than wake.
    #[must_use]
    pub fn new(window: usize, chunks: usize) -> Self {
        Self {
            permits: Mutex::new(Permits { free: window, awaited: 0 }),
            freed: Condvar::new(),
            worth: (window / 64).clamp(1, MOST_WORTH),
            waiting: AtomicBool::new(false),
            queued: AtomicUsize::new(0),
            chunks: AtomicUsize::new(0),
            most_chunks: chunks,
            closed: AtomicBool::new(false),
            next: AtomicU64::new(0),
        }
    }

    fn permits(&self) -> MutexGuard<'_, Permits> {
        self.permits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes 1 to `most` permits, waiting for the first; 0 when closed.
    pub fn acquire(&self, most: usize) -> usize {
        let mut permits = self.permits();
        let mut enough = 1;
        loop {
            if self.closed.load(Ordering::Acquire) {
                return 0;
            }
            if permits.free >= enough {
                let taken = most.min(permits.free);
                permits.free -= taken;
                return taken;
            }
            enough = self.worth;
            permits.awaited = enough;
            permits = self.freed.wait(permits).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes up to `most` permits without waiting.
    pub fn try_acquire(&self, most: usize) -> usize {
        let mut permits = self.permits();
        let taken = if self.closed.load(Ordering::Acquire) { 0 } else { most.min(permits.free) };
        permits.free -= taken;
        taken
    }

    /// Gives permits back as items are delivered.
    pub fn release(&self, count: usize) {
        let mut permits = self.permits();
        permits.free += count;
        if permits.awaited > 0 && permits.free >= permits.awaited {
            permits.awaited = 0;
            drop(permits);
            self.freed.notify_all();
        }
    }

    /// Waits until one more chunk of `bytes` may wait for a slot; false when
    /// closed.
    pub fn queue(&self, bytes: usize) -> bool {
        if !self.may_queue(bytes, self.most_chunks) {
            let mut permits = self.permits();
            loop {
                self.waiting.store(true, Ordering::SeqCst);
                if self.may_queue(bytes, self.most_chunks / 2) || self.closed.load(Ordering::Acquire) {
                    break;
                }
                permits = self.freed.wait(permits).unwrap_or_else(PoisonError::into_inner);
            }
            self.waiting.store(false, Ordering::SeqCst);
        }
        self.queued.fetch_add(bytes, Ordering::AcqRel);
        self.chunks.fetch_add(1, Ordering::AcqRel);
        !self.closed.load(Ordering::Acquire)
    }

    fn may_queue(&self, bytes: usize, chunks: usize) -> bool {
        let queued = self.queued.load(Ordering::SeqCst);
        self.chunks.load(Ordering::SeqCst) < chunks && (queued == 0 || queued + bytes <= QUEUED_BYTES)
    }

    /// A slot took a chunk of `bytes` out of the queue.
    pub fn unqueue(&self, bytes: usize) {
        let queued = self.queued.fetch_sub(bytes, Ordering::SeqCst) - bytes;
        let chunks = self.chunks.fetch_sub(1, Ordering::SeqCst) - 1;
        let room = chunks < self.most_chunks / 2 && queued <= QUEUED_BYTES / 2;
        // Told once: until the feeder runs, each further chunk would tell it again.
        if room && self.waiting.load(Ordering::SeqCst) && self.waiting.swap(false, Ordering::SeqCst) {
            // The lock orders this after the waiter's check.
            drop(self.permits());
            self.freed.notify_all();
        }
    }

    /// Ends all waiting; nothing more is to be pulled.
    pub fn close(&self) {
        let guard = self.permits();
        self.closed.store(true, Ordering::Release);
        drop(guard);
        self.freed.notify_all();
    }
}
