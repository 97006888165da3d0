//! Puts an instance of a component back into the state it began in, as
//! [`crate::runtime::reset`] does with core modules: the memories and globals
//! of all its core instances, by functions that were added to the component.

#![expect(unsafe_code, reason = "the engine gives no other way to write to a component's memory")]

use std::cell::{Cell, OnceCell};

use wasmtime::Store;
use wasmtime::component::{Component, ComponentExportIndex, Instance, TypedFunc, WasmList};

use crate::describe::Reset;
use crate::runtime::abi::component::link::ComponentState;
use crate::runtime::reset::{Image, Pages, range};
use crate::runtime::resettable::{BASE, RESTORE, SAVE, SIZE};

/// Instances in a row that could not be put back, after which none is tried:
/// such tasks write to too much, or call what makes that impossible.
const MOST_FAILURES: u32 = 16;
/// Steps of the ticker that never pass.
pub const FOREVER: u64 = 1 << 40;
/// Bytes of a page of linear memory.
const PAGE: usize = 64 << 10;

/// How the instances of one component are put back.
pub struct Resetter {
    pages: Pages,
    save: ComponentExportIndex,
    restore: ComponentExportIndex,
    memories: Vec<Exports>,
    /// How each memory begins, once there was an instance. All begin alike: one
    /// that asked its host for anything on the way is not put back.
    images: OnceCell<Vec<Image>>,
    failures: Cell<u32>,
}

/// What the component exports of a memory.
struct Exports {
    base: ComponentExportIndex,
    size: ComponentExportIndex,
    /// Start and end of what is known to be initialised.
    image: (u64, u64),
}

/// The state that an instance began in.
pub struct Origin {
    restore: TypedFunc<(), ()>,
    /// Address and bytes of each memory.
    memories: Vec<(usize, usize)>,
    /// Bytes of all memories and tables.
    total: u64,
    /// Instructions that it took to make it, where they are counted.
    pub spent: u64,
}

impl Resetter {
    /// For a component of which `reset` says that it can be done. To be made
    /// before files are taken away.
    #[must_use]
    pub fn new(component: &Component, reset: &Reset) -> Option<Self> {
        let export = |name: &str| component.get_export_index(None, name);
        let memory = |(number, image): (usize, &(u64, u64))| {
            let (base, size) = (export(&format!("{BASE}{number}"))?, export(&format!("{SIZE}{number}"))?);
            Some(Exports { base, size, image: *image })
        };
        Some(Self {
            pages: Pages::open()?,
            save: export(SAVE)?,
            restore: export(RESTORE)?,
            memories: reset.memories.iter().enumerate().map(memory).collect::<Option<_>>()?,
            images: OnceCell::new(),
            failures: Cell::new(0),
        })
    }

    /// The state of an instance that has not run yet and took so many
    /// instructions to make; `None` where it cannot be put back. The store's
    /// clock and fuel are to be wound up afterwards.
    ///
    /// # Errors
    /// What broke the instance. No other one is looked at.
    pub fn origin(
        &self,
        store: &mut Store<ComponentState>,
        instance: Instance,
        spent: u64,
    ) -> wasmtime::Result<Option<Origin>> {
        if self.failures.get() >= MOST_FAILURES || store.data().has_asked() {
            return Ok(None);
        }
        let found = self.look(store, instance, spent);
        match &found {
            Ok(Some(_)) => {}
            Ok(None) => self.failed(),
            Err(_) => self.failures.set(MOST_FAILURES),
        }
        found
    }

    fn look(
        &self,
        store: &mut Store<ComponentState>,
        instance: Instance,
        spent: u64,
    ) -> wasmtime::Result<Option<Origin>> {
        // To look takes some time and fuel, which are nobody's.
        if store.get_fuel().is_ok() {
            store.set_fuel(u64::MAX)?;
        }
        store.set_epoch_deadline(FOREVER);
        instance.get_typed_func::<(), ()>(&mut *store, self.save)?.call(&mut *store, ())?;
        let mut memories = Vec::with_capacity(self.memories.len());
        for exports in &self.memories {
            let size = instance.get_typed_func::<(), (u32,)>(&mut *store, exports.size)?;
            let (size,) = size.call(&mut *store, ())?;
            if size == 0 {
                return Ok(None);
            }
            let base = instance.get_typed_func::<(), (WasmList<u8>,)>(&mut *store, exports.base)?;
            let (first,) = base.call(&mut *store, ())?;
            memories.push((first.as_le_slice(&*store).as_ptr().expose_provenance(), size as usize * PAGE));
        }
        if self.images.get().is_none() {
            let Some(images) = self.images(&memories) else { return Ok(None) };
            let _set = self.images.set(images);
        }
        let restore = instance.get_typed_func::<(), ()>(&mut *store, self.restore)?;
        Ok(Some(Origin { restore, memories, total: store.data().meter.total(), spent }))
    }

    /// How memories begin that were found so: what the component says of it,
    /// and what was written while the instance was made.
    fn images(&self, memories: &[(usize, usize)]) -> Option<Vec<Image>> {
        let image = |(memory, exports): (&(usize, usize), &Exports)| {
            // SAFETY: the memory of an instance whose store is there, and in
            // which nothing runs: `look` is called before its first task.
            let bytes = unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(memory.0), memory.1) };
            let mut ranges = self.pages.dirty(bytes)?;
            ranges.extend(range(exports.image));
            Image::of(bytes, ranges)
        };
        memories.iter().zip(&self.memories).map(image).collect()
    }

    /// Puts an instance back after a task that has returned, and says whether
    /// that was possible: not if it asked its host for anything, which may have
    /// left handles; nor if a memory has grown or much of it was written to.
    #[must_use]
    pub fn restore(&self, store: &mut Store<ComponentState>, origin: &Origin) -> bool {
        let state = store.data();
        let unchanged = !state.has_asked() && state.meter.total() == origin.total;
        let restored = unchanged && self.put_back(store, origin);
        if restored {
            self.failures.set(0);
        } else {
            self.failed();
        }
        restored
    }

    fn put_back(&self, store: &mut Store<ComponentState>, origin: &Origin) -> bool {
        let Some(images) = self.images.get() else { return false };
        if origin.restore.call(&mut *store, ()).is_err() {
            return false;
        }
        origin.memories.iter().zip(images).all(|((base, size), image)| {
            // SAFETY: the memory of an instance in this store, which is
            // exclusively borrowed; it has not grown since it was looked up, as
            // the meter says, and memories neither move nor shrink.
            let memory = unsafe { std::slice::from_raw_parts_mut(std::ptr::with_exposed_provenance_mut(*base), *size) };
            self.pages.restore(memory, image)
        })
    }

    fn failed(&self) {
        self.failures.set(self.failures.get().saturating_add(1));
    }
}
