//! What the kernel tells of a memory: which of its pages were written to. Asked
//! of its account of this process's pages, and only where this thread has had a
//! page fault since it was last asked: without one, no page came to those that
//! there were.

#![expect(unsafe_code, reason = "no library offers the system calls that tell which pages were written to")]

use std::cell::RefCell;
use std::fs::File;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::AsRawFd;

use rustix::io::Errno;
use rustix::mm::{Advice, madvise};

use crate::describe::MAX_WRITTEN;

/// Bytes of the system's pages, at the least.
const PAGE: usize = 4096;
/// Separate stretches of memory that are put back.
const MOST_STRETCHES: usize = 1024;
/// From how many bytes on the account is made anew after so many tasks, so that
/// one that wrote to much does not make all later ones slower.
const MUCH: usize = 256 << 10;
const TASKS: u32 = 256;

/// The kernel's account of this process's pages.
pub struct Pages {
    file: File,
    /// Where its answers are put.
    stretches: RefCell<Vec<Stretch>>,
}

impl Pages {
    /// Opens it; `None` where the kernel has none that does for this. To be
    /// called before files are taken away.
    #[must_use]
    pub fn open() -> Option<Self> {
        let file = File::open("/proc/self/pagemap").ok()?;
        let pages = Self { file, stretches: RefCell::new(vec![Stretch::default(); MOST_STRETCHES]) };
        // A kernel that does not know the question refuses it for no memory,
        // too.
        pages.dirty(&[])?;
        Some(pages)
    }

    /// Where `memory` was written to, in stretches from its start; `None` where
    /// that is too much.
    #[must_use]
    pub fn dirty(&self, memory: &[u8]) -> Option<Vec<Range<usize>>> {
        let mut stretches = self.stretches.borrow_mut();
        let written = self.written(memory, &mut stretches)?;
        written.iter().map(|stretch| stretch.within(memory)).collect()
    }
}

/// Where a memory may have been written to.
#[derive(Debug, Default)]
pub struct Written {
    /// Page faults of this thread before the kernel was asked.
    faults: Option<u64>,
    stretches: Vec<Range<usize>>,
    /// Bytes of these.
    bytes: usize,
    /// Tasks since the memory began.
    tasks: u32,
}

impl Written {
    /// Brings the account up to date, with [`faults`] as they are after the
    /// last write; all writes are to be this thread's. `None` where that is too
    /// much, or has been much for a while, or the kernel does not say.
    pub fn stretches(&mut self, pages: &Pages, memory: &[u8], faults: Option<u64>) -> Option<&[Range<usize>]> {
        if self.faults.is_none() || self.faults != faults {
            // Not known until all is done.
            self.faults = None;
            self.stretches = pages.dirty(memory)?;
            self.bytes = self.stretches.iter().map(Range::len).sum();
            self.faults = faults;
        }
        self.tasks = self.tasks.saturating_add(1);
        if self.bytes > MUCH && self.tasks > TASKS {
            return None;
        }
        Some(&self.stretches)
    }
}

/// Page faults of this thread so far: each page that is first written to takes
/// one, be it new, a file's, the page of zeros or in swap.
#[must_use]
pub fn faults() -> Option<u64> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the kernel fills the whole structure, or says that it did not.
    let usage = unsafe {
        if libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) != 0 {
            return None;
        }
        usage.assume_init()
    };
    u64::try_from(usage.ru_minflt.checked_add(usage.ru_majflt)?).ok()
}

/// Keeps the kernel from putting large pages, which come without faults, in
/// place of a memory's, and says whether it obeys.
#[must_use]
pub fn keep_small(memory: &mut [u8]) -> bool {
    // SAFETY: this changes how the kernel backs the memory, not what is in it.
    let advised = unsafe { madvise(memory.as_mut_ptr().cast(), memory.len(), Advice::LinuxNoHugepage) };
    // A kernel that has no large pages does not know the advice.
    memory.is_empty() || matches!(advised, Ok(()) | Err(Errno::INVAL))
}

/// A range of addresses of this machine.
#[must_use]
pub fn range((start, end): (u64, u64)) -> Option<Range<usize>> {
    Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

/// A stretch of memory as the kernel reports it, in addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    start: u64,
    end: u64,
    categories: u64,
}

impl Stretch {
    /// The part of `memory` that it is.
    fn within(&self, memory: &[u8]) -> Option<Range<usize>> {
        let range = range((self.start, self.end))?;
        let base = memory.as_ptr().addr();
        let range = range.start.checked_sub(base)?..range.end.checked_sub(base)?;
        (range.start <= range.end && range.end <= memory.len()).then_some(range)
    }
}

/// `struct pm_scan_arg` of `linux/fs.h`.
#[repr(C)]
#[derive(Debug, Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `PAGEMAP_SCAN`, since Linux 6.7.
const PAGEMAP_SCAN: u32 = 0xC060_6610;
/// A page that is not protected from writing by `userfaultfd`.
const WRITTEN: u64 = 1 << 1;
/// A page of a file: not written to, or it would be a copy.
const FILE: u64 = 1 << 2;
/// A page that there is: those never touched count as written, too.
const PRESENT: u64 = 1 << 3;
/// A page that there is, in swap.
const SWAPPED: u64 = 1 << 4;
/// The page of zeros that stands for all that were only read.
const ZERO: u64 = 1 << 5;

impl Pages {
    /// Stretches of `memory` that were written to, those in swap included;
    /// `None` where there are too many to report, or the kernel does not say.
    fn written<'a>(&self, memory: &[u8], stretches: &'a mut [Stretch]) -> Option<&'a [Stretch]> {
        let start = if memory.is_empty() { 0 } else { memory.as_ptr().addr() as u64 };
        let mut scan = Scan {
            size: size_of::<Scan>() as u64,
            start,
            end: start + memory.len() as u64,
            vec: stretches.as_mut_ptr().addr() as u64,
            vec_len: stretches.len() as u64,
            max_pages: MAX_WRITTEN / PAGE as u64,
            category_inverted: FILE | ZERO,
            category_mask: WRITTEN | FILE | ZERO,
            category_anyof_mask: PRESENT | SWAPPED,
            ..Scan::default()
        };
        // SAFETY: the argument is what this request takes. The kernel writes to
        // it and to as many stretches as `vec_len` says, which are exclusively
        // borrowed; it only reads about the memory itself.
        let found = unsafe { libc::ioctl(self.file.as_raw_fd(), PAGEMAP_SCAN.into(), &raw mut scan) };
        if scan.walk_end != scan.end {
            return None;
        }
        stretches.get(..usize::try_from(found).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory of its own pages: large enough to be mapped for itself, and so
    /// never touched.
    fn untouched(memory: &mut Vec<u8>) -> &mut [u8] {
        *memory = vec![0_u8; 16384 * PAGE];
        let start = memory.as_ptr().addr().next_multiple_of(PAGE) - memory.as_ptr().addr();
        &mut memory[start..start + 16 * PAGE]
    }

    #[test]
    fn the_kernel_tells_which_pages_were_written_to() {
        let Some(pages) = Pages::open() else {
            // An older kernel: modules are always made anew.
            return;
        };
        let mut memory = Vec::new();
        let memory = untouched(&mut memory);
        memory[3 * PAGE] = 1;
        memory[9 * PAGE + 7] = 1;
        let dirty = pages.dirty(memory).expect("an answer");
        let has = |page: usize| dirty.iter().any(|range| range.contains(&(page * PAGE)));
        assert!(has(3) && has(9) && !has(5) && !has(12), "{dirty:?}");
    }

    #[test]
    fn no_page_is_written_to_for_the_first_time_without_a_fault() {
        let Some(pages) = Pages::open() else { return };
        let mut memory = Vec::new();
        let memory = untouched(&mut memory);
        assert!(keep_small(memory));
        let mut written = Written::default();
        for page in [7, 2, 7, 11, 2, 15, 0, 15] {
            // Also a page that was only read before.
            assert_eq!(memory[(page + 1) % 16 * PAGE], memory[(page + 1) % 16 * PAGE]);
            memory[page * PAGE + 5] = 1;
            let found = written.stretches(&pages, memory, faults()).expect("an answer");
            assert!(found.iter().any(|range| range.contains(&(page * PAGE))), "page {page}: {found:?}");
        }
        let all = written.stretches;
        // Something else may take one now and then, such as code that was
        // dropped from memory.
        let quiet = (0..100).any(|number| {
            let before = faults();
            memory[7 * PAGE] = number;
            before == faults()
        });
        assert!(quiet, "a page that there is takes no fault");
        assert!(all.iter().map(|range| range.len()).sum::<usize>() >= 5 * PAGE, "{all:?}");
    }
}
