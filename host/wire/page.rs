//! The memory that one worker shares with the host: which item runs since
//! when, the `stop` word, and the tails of what the item printed.
//!
//! The worker writes everything but `stop` with plain stores; the host reads
//! it all as hostile data. Nothing here waits or allocates.

#![expect(unsafe_code, reason = "memory shared with another process is mapped and read by hand")]

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

/// Bytes before the two tails.
const HEADER: usize = 4096;

/// Tails are read and written in words: a byte at a time, a guest that floods
/// its output would keep its worker busy for many times as long.
const WORD: usize = size_of::<u64>();

/// The counters at the head of the page.
#[repr(C)]
#[derive(Debug)]
struct Header {
    running: AtomicU64,
    /// The last ticket that was to start; unlike `running` it stays when that
    /// one is done.
    begun: AtomicU64,
    started_ns: AtomicU64,
    finished: AtomicU64,
    stop: AtomicU64,
    peak_memory: AtomicU64,
    stdout_total: AtomicU64,
    stderr_total: AtomicU64,
    memory_refused: AtomicU64,
    initialising: AtomicU64,
}

/// Which of the two streams of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One mapping of the shared memory; both sides use this type.
#[derive(Debug)]
pub struct Page {
    base: *mut u8,
    length: usize,
    tail: usize,
}

// SAFETY: every access to the mapping goes through atomics, so that sharing or
// moving the pointer between threads cannot make a data race in this process.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: `base` and `length` are of the mapping made in `map`, and no
        // reference into it outlives `self`.
        let unmapped = unsafe { rustix::mm::munmap(self.base.cast(), self.length) };
        debug_assert!(unmapped.is_ok());
    }
}

impl Page {
    /// Makes a sealed memory file for tails of `tail` bytes each.
    ///
    /// # Errors
    /// When the kernel has no memory or no `memfd_create`.
    pub fn create(tail: u64) -> std::io::Result<(Self, File)> {
        let descriptor = rustix::fs::memfd_create("wpool-page", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&descriptor, Self::size(tail) as u64)?;
        rustix::fs::fcntl_add_seals(&descriptor, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let page = Self::map(descriptor.as_fd(), tail)?;
        Ok((page, File::from(descriptor)))
    }

    /// Maps a memory file made by [`Page::create`] with the same `tail`.
    ///
    /// # Errors
    /// When the descriptor is of another size or cannot be mapped.
    pub fn map(descriptor: BorrowedFd<'_>, tail: u64) -> std::io::Result<Self> {
        let length = Self::size(tail);
        if rustix::fs::fstat(descriptor)?.st_size as u64 != length as u64 {
            return Err(std::io::Error::other("shared page has the wrong size"));
        }
        // SAFETY: a new mapping at an address of the kernel's choice aliases
        // nothing of ours; the file is sealed against shrinking, so no access
        // can fault. There is no safe interface to shared memory.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                descriptor,
                0,
            )?
        };
        Ok(Self { base: base.cast(), length, tail: tail as usize })
    }

    fn size(tail: u64) -> usize {
        (HEADER + 2 * (tail as usize).next_multiple_of(WORD)).next_multiple_of(HEADER)
    }

    fn header(&self) -> &Header {
        // SAFETY: the mapping is page-aligned, longer than a header, lives as
        // long as `self`, and is only ever read and written as atomics.
        unsafe { &*self.base.cast::<Header>() }
    }

    /// The words that hold a tail; of the last one only a part may be used.
    fn words(&self, stream: Stream) -> &[AtomicU64] {
        let words = self.tail.div_ceil(WORD);
        let offset = HEADER + if stream == Stream::Stdout { 0 } else { words * WORD };
        // SAFETY: `size` reserves that many words at both offsets, which are
        // multiples of their size as `base` is; nothing accesses them but as
        // `AtomicU64`, which tolerates the other side's stores.
        unsafe { std::slice::from_raw_parts(self.base.add(offset).cast::<AtomicU64>(), words) }
    }

    /// Worker: writes bytes into a tail from `at` on, where they fit.
    fn put(words: &[AtomicU64], at: usize, bytes: &[u8]) {
        let within = at % WORD;
        let (first, rest) = bytes.split_at(if within == 0 { 0 } else { bytes.len().min(WORD - within) });
        merge(&words[at / WORD..], within, first);
        let words = &words[at.div_ceil(WORD)..];
        let whole = rest.chunks_exact(WORD);
        let last = whole.remainder();
        for (word, bytes) in words.iter().zip(whole) {
            let mut copy = [0; WORD];
            copy.copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(copy), Ordering::Relaxed);
        }
        merge(&words[rest.len() / WORD..], 0, last);
    }

    /// Appends the bytes of a tail from `at` on to `out`.
    fn get(words: &[AtomicU64], at: usize, length: usize, out: &mut Vec<u8>) {
        let (mut skip, mut left) = (at % WORD, length);
        for word in &words[at / WORD..(at + length).div_ceil(WORD)] {
            let bytes = word.load(Ordering::Relaxed).to_ne_bytes();
            let taken = left.min(WORD - skip);
            out.extend_from_slice(&bytes[skip..skip + taken]);
            left -= taken;
            skip = 0;
        }
    }

    fn total(&self, stream: Stream) -> &AtomicU64 {
        match stream {
            Stream::Stdout => &self.header().stdout_total,
            Stream::Stderr => &self.header().stderr_total,
        }
    }

    /// Worker: announces that `ticket` starts now, and tells whether the host
    /// has asked for it back instead.
    #[must_use]
    pub fn start(&self, ticket: u64, now_ns: u64) -> bool {
        let header = self.header();
        header.stdout_total.store(0, Ordering::Relaxed);
        header.stderr_total.store(0, Ordering::Relaxed);
        header.peak_memory.store(0, Ordering::Relaxed);
        header.memory_refused.store(0, Ordering::Relaxed);
        header.initialising.store(0, Ordering::Relaxed);
        header.started_ns.store(now_ns, Ordering::Relaxed);
        header.running.store(ticket, Ordering::Release);
        // Store-load order against the host's `take_back`: either the host
        // sees this ticket as begun, or we see its stop.
        header.begun.swap(ticket, Ordering::SeqCst);
        header.stop.load(Ordering::SeqCst) < ticket
    }

    /// Worker: as [`Page::start`], straight after a task that printed nothing,
    /// was refused no memory and was not initialised: nothing of it is left to
    /// be cleared.
    #[must_use]
    pub fn start_next(&self, ticket: u64, now_ns: u64) -> bool {
        let header = self.header();
        header.started_ns.store(now_ns, Ordering::Relaxed);
        header.running.store(ticket, Ordering::Release);
        // As in `start`.
        header.begun.swap(ticket, Ordering::SeqCst);
        header.stop.load(Ordering::SeqCst) < ticket
    }

    /// Worker: the running task is done (or was handed back).
    pub fn finish(&self) {
        let header = self.header();
        header.finished.store(header.finished.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        header.running.store(0, Ordering::Release);
    }

    /// Host: forbids the worker to start tickets up to `last`; returns the last
    /// one that it has begun, or was about to. Tickets after that one are the
    /// host's again; the others are answered or handed back.
    #[must_use]
    pub fn take_back(&self, last: u64) -> u64 {
        let header = self.header();
        header.stop.swap(last, Ordering::SeqCst);
        header.begun.load(Ordering::SeqCst)
    }

    /// The running ticket (0 for none) and its start on the monotonic clock.
    #[must_use]
    pub fn running(&self) -> (u64, u64) {
        let ticket = self.header().running.load(Ordering::Acquire);
        (ticket, self.header().started_ns.load(Ordering::Relaxed))
    }

    /// How many tasks the worker says it finished.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.header().finished.load(Ordering::Relaxed)
    }

    /// Worker: records the running task's peak of memory, in bytes.
    pub fn set_peak_memory(&self, bytes: u64) {
        self.header().peak_memory.store(bytes, Ordering::Relaxed);
    }

    /// The running task's peak of memory, in bytes.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        self.header().peak_memory.load(Ordering::Relaxed)
    }

    /// Worker: a growth of the running task's memory was refused.
    pub fn set_memory_refused(&self) {
        self.header().memory_refused.store(1, Ordering::Relaxed);
    }

    /// Whether a growth of the running task's memory was refused.
    #[must_use]
    pub fn memory_refused(&self) -> bool {
        self.header().memory_refused.load(Ordering::Relaxed) != 0
    }

    /// Worker: the running task's instance is being made, or no longer.
    pub fn set_initialising(&self, initialising: bool) {
        self.header().initialising.store(u64::from(initialising), Ordering::Relaxed);
    }

    /// Whether the running task is still in its instance's `start` function or
    /// `_initialize`.
    #[must_use]
    pub fn initialising(&self) -> bool {
        self.header().initialising.load(Ordering::Relaxed) != 0
    }

    /// Worker: appends to a tail; only the last `tail` bytes are kept.
    pub fn print(&self, stream: Stream, text: &[u8]) {
        let total = self.total(stream).load(Ordering::Relaxed);
        if self.tail > 0 {
            let words = self.words(stream);
            let kept = &text[text.len().saturating_sub(self.tail)..];
            let skipped = (text.len() - kept.len()) as u64;
            let at = ((total + skipped) % self.tail as u64) as usize;
            let (before, wrapped) = kept.split_at(kept.len().min(self.tail - at));
            Self::put(words, at, before);
            Self::put(words, 0, wrapped);
        }
        self.total(stream).store(total + text.len() as u64, Ordering::Release);
    }

    /// Bytes printed to a stream by the running task, kept or not.
    #[must_use]
    pub fn printed(&self, stream: Stream) -> u64 {
        self.total(stream).load(Ordering::Acquire)
    }

    /// Whether the running task has printed nothing.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        let header = self.header();
        header.stdout_total.load(Ordering::Relaxed) | header.stderr_total.load(Ordering::Relaxed) == 0
    }

    /// The kept tail of a stream, and whether something before it was dropped.
    #[must_use]
    pub fn tail(&self, stream: Stream) -> (Vec<u8>, bool) {
        let total = self.printed(stream);
        let length = total.min(self.tail as u64) as usize;
        if length == 0 {
            return (Vec::new(), total > 0);
        }
        let words = self.words(stream);
        let first = ((total - length as u64) % self.tail as u64) as usize;
        let before = length.min(self.tail - first);
        let mut kept = Vec::with_capacity(length);
        Self::get(words, first, before, &mut kept);
        Self::get(words, 0, length - before, &mut kept);
        (kept, total > length as u64)
    }
}

/// Puts bytes into a part of the first word. Only the worker writes, so
/// nothing is lost between the load and the store.
fn merge(words: &[AtomicU64], within: usize, bytes: &[u8]) {
    let (Some(word), false) = (words.first(), bytes.is_empty()) else { return };
    let mut copy = word.load(Ordering::Relaxed).to_ne_bytes();
    copy[within..within + bytes.len()].copy_from_slice(bytes);
    word.store(u64::from_ne_bytes(copy), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_tail_is_the_end_of_what_was_printed(
            tail in 0..40_usize,
            parts in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 0..12),
        ) {
            let (page, _file) = Page::create(tail as u64).unwrap();
            let mut printed = [Vec::new(), Vec::new()];
            for (to_stderr, part) in &parts {
                let stream = if *to_stderr { Stream::Stderr } else { Stream::Stdout };
                page.print(stream, part);
                printed[usize::from(*to_stderr)].extend_from_slice(part);
                for (stream, printed) in [(Stream::Stdout, &printed[0]), (Stream::Stderr, &printed[1])] {
                    let cut = printed.len().saturating_sub(tail);
                    prop_assert_eq!(page.tail(stream), (printed[cut..].to_vec(), cut > 0));
                }
            }
        }
    }

    #[test]
    fn a_task_that_starts_is_not_initialising() {
        let (page, _file) = Page::create(8).unwrap();
        page.set_initialising(true);
        assert!(page.initialising());
        assert!(page.start(1, 1));
        assert!(!page.initialising());
    }
}
