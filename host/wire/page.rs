//! The memory that one worker shares with the host: which item runs since
//! when, the `stop` word, and the tails of what the item printed.
//!
//! The worker writes everything but `stop` with plain stores; the host reads
//! it all as hostile data. Nothing here waits or allocates.

#![expect(unsafe_code, reason = "memory shared with another process is mapped and read by hand")]

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

/// Bytes before the two tails.
const HEADER: usize = 4096;

/// The counters at the head of the page.
#[repr(C)]
#[derive(Debug)]
struct Header {
    running: AtomicU64,
    started_ns: AtomicU64,
    finished: AtomicU64,
    stop: AtomicU64,
    peak_memory: AtomicU64,
    stdout_total: AtomicU64,
    stderr_total: AtomicU64,
    memory_refused: AtomicU64,
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
        (HEADER + 2 * tail as usize).next_multiple_of(HEADER)
    }

    fn header(&self) -> &Header {
        // SAFETY: the mapping is page-aligned, longer than a header, lives as
        // long as `self`, and is only ever read and written as atomics.
        unsafe { &*self.base.cast::<Header>() }
    }

    fn bytes(&self, stream: Stream) -> &[AtomicU8] {
        let offset = HEADER + if stream == Stream::Stdout { 0 } else { self.tail };
        // SAFETY: `size` reserves `tail` bytes at both offsets; `AtomicU8` has
        // the layout of a byte and tolerates the other side's stores.
        unsafe { std::slice::from_raw_parts(self.base.add(offset).cast::<AtomicU8>(), self.tail) }
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
        header.started_ns.store(now_ns, Ordering::Relaxed);
        // Store-load order against the host's `take_back`: either the host
        // sees this ticket as running, or we see its stop.
        header.running.swap(ticket, Ordering::SeqCst);
        header.stop.load(Ordering::SeqCst) < ticket
    }

    /// Worker: the running task is done (or was handed back).
    pub fn finish(&self) {
        let header = self.header();
        header.finished.store(header.finished.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        header.running.store(0, Ordering::Release);
    }

    /// Host: forbids the worker to start tickets up to `last`; returns the
    /// ticket that runs. Tickets after that one are the host's again, those
    /// between are handed back.
    #[must_use]
    pub fn take_back(&self, last: u64) -> u64 {
        let header = self.header();
        header.stop.swap(last, Ordering::SeqCst);
        header.running.load(Ordering::SeqCst)
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

    /// Worker: appends to a tail; only the last `tail` bytes are kept.
    pub fn print(&self, stream: Stream, text: &[u8]) {
        let total = self.total(stream).load(Ordering::Relaxed);
        let ring = self.bytes(stream);
        if !ring.is_empty() {
            let kept = &text[text.len().saturating_sub(ring.len())..];
            let skipped = (text.len() - kept.len()) as u64;
            let mut at = ((total + skipped) % ring.len() as u64) as usize;
            for byte in kept {
                ring[at].store(*byte, Ordering::Relaxed);
                at = if at + 1 == ring.len() { 0 } else { at + 1 };
            }
        }
        self.total(stream).store(total + text.len() as u64, Ordering::Release);
    }

    /// Bytes printed to a stream by the running task, kept or not.
    #[must_use]
    pub fn printed(&self, stream: Stream) -> u64 {
        self.total(stream).load(Ordering::Acquire)
    }

    /// The kept tail of a stream, and whether something before it was dropped.
    #[must_use]
    pub fn tail(&self, stream: Stream) -> (Vec<u8>, bool) {
        let ring = self.bytes(stream);
        let total = self.printed(stream);
        let length = total.min(ring.len() as u64) as usize;
        if length == 0 {
            return (Vec::new(), total > 0);
        }
        let first = ((total - length as u64) % ring.len() as u64) as usize;
        let kept = (0..length).map(|step| ring[(first + step) % ring.len()].load(Ordering::Relaxed)).collect();
        (kept, total > length as u64)
    }
}
