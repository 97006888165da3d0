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

/// What the names of exports begin with that were added to a module.
pub const PREFIX: &str = "wpool:state:";
/// The memory.
pub const MEMORY: &str = "wpool:state:memory";
/// Globals, followed by their number.
pub const GLOBAL: &str = "wpool:state:global:";

/// Memory that is put back for one task; more than that is made anew, by the
/// engine, which gives most of it back to the system.
const MOST: usize = 1 << 20;
/// Bytes of the system's pages, at the least.
const PAGE: usize = 4096;
/// Separate stretches of memory that are put back.
const MOST_STRETCHES: usize = 128;

/// How the instances of one module are put back.
pub struct Resetter {
    pages: File,
    memory: Option<ModuleExport>,
    globals: Vec<ModuleExport>,
    /// Where memory does not begin as zeros.
    at: usize,
    /// How it begins there.
    image: Vec<u8>,
}

/// The state that an instance began in.
pub struct Origin {
    memory: Option<(Memory, usize)>,
    globals: Vec<(Global, Val)>,
}

impl Resetter {
    /// For a module of which `reset` says that it can be done, by an instance
    /// that has not run; `None` where the kernel has no means for it. To be
    /// made before files are taken away.
    #[must_use]
    pub fn new(module: &Module, reset: &Reset, mut store: impl AsContextMut, instance: Instance) -> Option<Self> {
        let pages = File::open("/proc/self/pagemap").ok()?;
        // A kernel that does not know the question refuses it for no memory,
        // too.
        written(&pages, 0..0, &mut [Stretch::default(); 1])?;
        let memory = if reset.memory { Some(module.get_export_index(MEMORY)?) } else { None };
        let globals = (0..reset.globals).map(|position| module.get_export_index(&format!("{GLOBAL}{position}")));
        let globals = globals.collect::<Option<_>>()?;
        let (at, end) = (usize::try_from(reset.image.0).ok()?, usize::try_from(reset.image.1).ok()?);
        let mut resetter = Self { pages, memory, globals, at, image: Vec::new() };
        if let Some((memory, _)) = resetter.origin(&mut store, instance)?.memory {
            resetter.image = memory.data(&store).get(at..end)?.to_vec();
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
    /// memory has grown or most of it was written to.
    #[must_use]
    pub fn restore(&self, mut store: impl AsContextMut, origin: &Origin) -> bool {
        for (global, value) in &origin.globals {
            if global.set(&mut store, *value).is_err() {
                return false;
            }
        }
        match origin.memory {
            Some((memory, size)) => size == memory.data_size(&store) && self.restore_memory(store, memory),
            None => true,
        }
    }

    fn restore_memory(&self, mut store: impl AsContextMut, memory: Memory) -> bool {
        let data = memory.data_mut(&mut store);
        let base = data.as_ptr().addr();
        let mut stretches = [Stretch::default(); MOST_STRETCHES];
        let Some(written) = written(&self.pages, base..base + data.len(), &mut stretches) else { return false };
        for stretch in written {
            let (Some(start), Some(end)) = (stretch.start(base), stretch.end(base)) else { return false };
            let Some(part) = data.get_mut(start..end) else { return false };
            self.original(start, part);
        }
        true
    }

    /// Writes what was at `start` in the beginning.
    fn original(&self, start: usize, part: &mut [u8]) {
        let (at, image) = (self.at, self.image.as_slice());
        let clamp = |address: usize| address.clamp(start, start + part.len()) - start;
        let (from, to) = (clamp(at), clamp(at + image.len()));
        part[..from].fill(0);
        part[to..].fill(0);
        if from < to {
            let offset = start + from - at;
            part[from..to].copy_from_slice(&image[offset..offset + to - from]);
        }
    }
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
    fn start(&self, base: usize) -> Option<usize> {
        usize::try_from(self.start).ok()?.checked_sub(base)
    }

    fn end(&self, base: usize) -> Option<usize> {
        usize::try_from(self.end).ok()?.checked_sub(base)
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

/// Stretches of an address range that were written to, those in swap included;
/// `None` where there are too many to report, or the kernel does not say.
fn written<'a>(pages: &File, range: Range<usize>, stretches: &'a mut [Stretch]) -> Option<&'a [Stretch]> {
    let mut scan = Scan {
        size: size_of::<Scan>() as u64,
        start: range.start as u64,
        end: range.end as u64,
        vec: stretches.as_mut_ptr().addr() as u64,
        vec_len: stretches.len() as u64,
        max_pages: (MOST / PAGE) as u64,
        category_inverted: FILE | ZERO,
        category_mask: WRITTEN | FILE | ZERO,
        category_anyof_mask: PRESENT | SWAPPED,
        ..Scan::default()
    };
    // SAFETY: the argument is what this request takes. The kernel writes to it
    // and to as many stretches as `vec_len` says, which are exclusively
    // borrowed; it only reads about the range itself.
    let found = unsafe { libc::ioctl(pages.as_raw_fd(), PAGEMAP_SCAN.into(), &raw mut scan) };
    if scan.walk_end != scan.end {
        return None;
    }
    stretches.get(..usize::try_from(found).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resetter(start: usize, image: &[u8]) -> Option<Resetter> {
        let pages = File::open("/proc/self/pagemap").ok()?;
        Some(Resetter { pages, memory: None, globals: Vec::new(), at: start, image: image.to_vec() })
    }

    #[test]
    fn the_image_is_put_back_and_zeros_around_it() {
        let Some(resetter) = resetter(10, b"image") else { return };
        for start in 0..20 {
            for length in 0..20 {
                let mut part = vec![0xff; length];
                resetter.original(start, &mut part);
                let whole: Vec<u8> = [&[0; 10][..], b"image", &[0; 30]].concat();
                assert_eq!(part, whole[start..start + length], "{length} bytes at {start}");
            }
        }
    }

    #[test]
    fn the_kernel_tells_which_pages_were_written_to() {
        let pages = File::open("/proc/self/pagemap").expect("the system's own file");
        let mut stretches = [Stretch::default(); 4];
        if written(&pages, 0..0, &mut stretches).is_none() {
            // An older kernel: modules are always made anew.
            return;
        }
        // Large enough to be mapped for itself, and so never touched.
        let mut memory = vec![0_u8; 4096 * PAGE];
        let first = memory.as_ptr().addr().next_multiple_of(PAGE);
        let offset = first - memory.as_ptr().addr();
        memory[offset + 3 * PAGE] = 1;
        memory[offset + 9 * PAGE + 7] = 1;
        let found = written(&pages, first..first + 16 * PAGE, &mut stretches).expect("an answer");
        let has = |page: usize| {
            found.iter().any(|stretch| {
                stretch.start(first).is_some_and(|start| start <= page * PAGE)
                    && stretch.end(first).is_some_and(|end| end > page * PAGE)
            })
        };
        assert!(has(3) && has(9) && !has(5) && !has(12), "{found:?}");
        drop(memory);
    }
}
