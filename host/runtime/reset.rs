//! Puts an instance back into the state it began in, which is what a fresh one
//! is, at a third of the cost: the pages of memory that were written to, found
//! by asking the kernel, and the globals. What else an instance consists of
//! cannot change in the modules that this is for ([`super::resettable`]).

#![expect(unsafe_code, reason = "no library offers the system call that tells which pages were written to")]

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;

use wasmtime::{AsContextMut, Extern, Global, Instance, Memory, Module, ModuleExport, Val};

use crate::describe::Reset;
use crate::runtime::resettable::{GLOBAL, MEMORY};

/// Memory that is put back for one task; more than that is made anew, by the
/// engine, which gives most of it back to the system.
const MOST: usize = 1 << 20;
/// Bytes of the system's pages, at the least.
const PAGE: usize = 4096;
/// Separate stretches of memory that are put back.
const MOST_STRETCHES: usize = 128;

/// How a memory begins: all zeros but for these parts, in order.
#[derive(Clone, Debug, Default)]
pub struct Image(Vec<(usize, Vec<u8>)>);

impl Image {
    /// What `memory` has in these ranges; `None` where they are not in it.
    #[must_use]
    pub fn of(memory: &[u8], mut ranges: Vec<Range<usize>>) -> Option<Self> {
        ranges.sort_by_key(|range| range.start);
        let mut parts: Vec<Range<usize>> = Vec::new();
        for range in ranges {
            match parts.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => parts.push(range),
            }
        }
        let parts = parts.into_iter().map(|range| Some((range.start, memory.get(range)?.to_vec())));
        parts.collect::<Option<_>>().map(Self)
    }

    /// Writes what was at `start` in the beginning.
    fn put(&self, start: usize, part: &mut [u8]) {
        let (mut done, end) = (start, start + part.len());
        let first = self.0.partition_point(|(at, bytes)| at + bytes.len() <= start);
        for (at, bytes) in self.0[first..].iter().take_while(|(at, _)| *at < end) {
            let (from, to) = (start.max(*at), end.min(at + bytes.len()));
            part[done - start..from - start].fill(0);
            part[from - start..to - start].copy_from_slice(&bytes[from - at..to - at]);
            done = to;
        }
        part[done - start..].fill(0);
    }
}

/// The kernel's account of this process's pages.
pub struct Pages(File);

impl Pages {
    /// Opens it; `None` where the kernel has none that does for this. To be
    /// called before files are taken away.
    #[must_use]
    pub fn open() -> Option<Self> {
        let pages = Self(File::open("/proc/self/pagemap").ok()?);
        // A kernel that does not know the question refuses it for no memory,
        // too.
        pages.written(&[], &mut [Stretch::default(); 1])?;
        Some(pages)
    }

    /// Where `memory` was written to, in stretches from its start; `None` where
    /// that is too much.
    #[must_use]
    pub fn dirty(&self, memory: &[u8]) -> Option<Vec<Range<usize>>> {
        let mut stretches = [Stretch::default(); MOST_STRETCHES];
        let written = self.written(memory, &mut stretches)?;
        written.iter().map(|stretch| stretch.within(memory)).collect()
    }

    /// Puts back what was written to, and says whether that was possible.
    #[must_use]
    pub fn restore(&self, memory: &mut [u8], image: &Image) -> bool {
        let mut stretches = [Stretch::default(); MOST_STRETCHES];
        let Some(written) = self.written(memory, &mut stretches) else { return false };
        for stretch in written {
            let Some(range) = stretch.within(memory) else { return false };
            image.put(range.start, &mut memory[range]);
        }
        true
    }
}

/// How the instances of one core module are put back.
pub struct Resetter {
    pages: Pages,
    memory: Option<ModuleExport>,
    globals: Vec<ModuleExport>,
    image: Image,
}

/// The state that an instance began in.
pub struct Origin {
    memory: Option<(Memory, usize)>,
    globals: Vec<(Global, Val)>,
}

impl Resetter {
    /// For a module of which `reset` says that it can be done, by an instance
    /// that has not run. To be made before files are taken away.
    #[must_use]
    pub fn new(module: &Module, reset: &Reset, mut store: impl AsContextMut, instance: Instance) -> Option<Self> {
        let memory = if reset.memories.is_empty() { None } else { Some(module.get_export_index(MEMORY)?) };
        let globals = (0..reset.globals).map(|position| module.get_export_index(&format!("{GLOBAL}{position}")));
        let globals = globals.collect::<Option<_>>()?;
        let mut resetter = Self { pages: Pages::open()?, memory, globals, image: Image::default() };
        if let Some((memory, _)) = resetter.origin(&mut store, instance)?.memory {
            let ranges = reset.memories.iter().map(|image| range(*image)).collect::<Option<_>>()?;
            resetter.image = Image::of(memory.data(&store), ranges)?;
        }
        Some(resetter)
    }

    /// The state of an instance that has not run yet.
    pub fn origin(&self, mut store: impl AsContextMut, instance: Instance) -> Option<Origin> {
        let memory = match &self.memory {
            Some(export) => Some(instance.get_module_export(&mut store, export)?.into_memory()?),
            None => None,
        };
        let mut globals = Vec::with_capacity(self.globals.len());
        for export in &self.globals {
            let global = instance.get_module_export(&mut store, export).and_then(Extern::into_global)?;
            globals.push((global, global.get(&mut store)));
        }
        let memory = memory.map(|memory| (memory, memory.data_size(&store)));
        Some(Origin { memory, globals })
    }

    /// Puts an instance back, and says whether that was possible: not if its
    /// memory has grown or much of it was written to.
    #[must_use]
    pub fn restore(&self, mut store: impl AsContextMut, origin: &Origin) -> bool {
        for (global, value) in &origin.globals {
            if global.set(&mut store, *value).is_err() {
                return false;
            }
        }
        origin.memory.is_none_or(|(memory, size)| {
            let memory = memory.data_mut(&mut store);
            size == memory.len() && self.pages.restore(memory, &self.image)
        })
    }
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
            max_pages: (MOST / PAGE) as u64,
            category_inverted: FILE | ZERO,
            category_mask: WRITTEN | FILE | ZERO,
            category_anyof_mask: PRESENT | SWAPPED,
            ..Scan::default()
        };
        // SAFETY: the argument is what this request takes. The kernel writes to
        // it and to as many stretches as `vec_len` says, which are exclusively
        // borrowed; it only reads about the memory itself.
        let found = unsafe { libc::ioctl(self.0.as_raw_fd(), PAGEMAP_SCAN.into(), &raw mut scan) };
        if scan.walk_end != scan.end {
            return None;
        }
        stretches.get(..usize::try_from(found).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_put_back_and_zeros_around_it() {
        let whole: Vec<u8> = [&[0; 10][..], b"image", &[0; 5], b"another", &[0; 30]].concat();
        let image = Image::of(&whole, vec![20..27, 10..13, 12..15]).expect("in it");
        for start in 0..30 {
            for length in 0..25 {
                let mut part = vec![0xff; length];
                image.put(start, &mut part);
                assert_eq!(part, whole[start..start + length], "{length} bytes at {start}");
            }
        }
        assert!(Image::of(&whole, std::iter::once(50..70).collect()).is_none());
    }

    #[test]
    fn the_kernel_tells_which_pages_were_written_to() {
        let Some(pages) = Pages::open() else {
            // An older kernel: modules are always made anew.
            return;
        };
        // Large enough to be mapped for itself, and so never touched.
        let mut memory = vec![0_u8; 4096 * PAGE];
        let start = memory.as_ptr().addr().next_multiple_of(PAGE) - memory.as_ptr().addr();
        let memory = &mut memory[start..start + 16 * PAGE];
        memory[3 * PAGE] = 1;
        memory[9 * PAGE + 7] = 1;
        let dirty = pages.dirty(memory).expect("an answer");
        let has = |page: usize| dirty.iter().any(|range| range.contains(&(page * PAGE)));
        assert!(has(3) && has(9) && !has(5) && !has(12), "{dirty:?}");
        assert!(pages.restore(memory, &Image::default()));
        assert!(memory.iter().all(|byte| *byte == 0));
    }
}
