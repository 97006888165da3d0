//! Puts an instance back into the state it began in, which is what a fresh one
//! is, at a fraction of the cost: the pages of memory that were written to, of
//! which the kernel tells ([`super::pages`]), and the globals. What else an
//! instance consists of cannot change in the modules that this is for
//! ([`super::resettable`]).

use std::ops::Range;

use wasmtime::{AsContextMut, Extern, Global, Instance, Memory, Module, ModuleExport, Val};

use crate::describe::Reset;
use crate::runtime::pages::{Pages, Written, faults, keep_small, range};
use crate::runtime::resettable::{GLOBAL, MEMORY};

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

    /// Puts `memory` back where it was written to since it began, and says
    /// whether that was possible. `faults` are this thread's after the last
    /// write.
    #[must_use]
    pub fn restore(&self, memory: &mut [u8], pages: &Pages, written: &mut Written, faults: Option<u64>) -> bool {
        let Some(stretches) = written.stretches(pages, memory, faults) else { return false };
        for range in stretches {
            self.put(range.start, &mut memory[range.clone()]);
        }
        true
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

/// How the instances of one core module are put back.
pub struct Resetter {
    pages: Pages,
    memory: Option<ModuleExport>,
    globals: Vec<ModuleExport>,
    image: Image,
}

/// The state that an instance began in.
pub struct Origin {
    memory: Option<Begun>,
    globals: Vec<(Global, Val)>,
}

/// A memory as it began.
struct Begun {
    memory: Memory,
    /// Its size in bytes.
    size: usize,
    written: Written,
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
        if let Some(begun) = resetter.origin(&mut store, instance)?.memory {
            let ranges = reset.memories.iter().map(|image| range(*image)).collect::<Option<_>>()?;
            resetter.image = Image::of(begun.memory.data(&store), ranges)?;
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
        let memory = match memory {
            Some(memory) => {
                let data = memory.data_mut(&mut store);
                let begun = Begun { memory, size: data.len(), written: Written::default() };
                Some(keep_small(data).then_some(begun)?)
            }
            None => None,
        };
        Some(Origin { memory, globals })
    }

    /// Puts an instance back, and says whether that was possible: not if its
    /// memory has grown or much of it was written to.
    #[must_use]
    pub fn restore(&self, mut store: impl AsContextMut, origin: &mut Origin) -> bool {
        for (global, value) in &origin.globals {
            if global.set(&mut store, *value).is_err() {
                return false;
            }
        }
        origin.memory.as_mut().is_none_or(|begun| {
            let memory = begun.memory.data_mut(&mut store);
            begun.size == memory.len() && self.image.restore(memory, &self.pages, &mut begun.written, faults())
        })
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
}
