//! Puts an instance of a component back into the state it began in, as
//! [`crate::runtime::reset`] does with core modules: the memories and globals
//! of all its core instances, by functions that were added to the component.

#![expect(unsafe_code, reason = "the engine gives no other way to write to a component's memory")]

use std::cell::{Cell, OnceCell};

use wasmtime::Store;
use wasmtime::component::{Component, ComponentExportIndex, Instance, TypedFunc, WasmList};

use crate::describe::Reset;
use crate::runtime::abi::component::link::ComponentState;
use crate::runtime::pages::{Pages, Written, faults, keep_small, range};
use crate::runtime::reset::Image;
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
    /// What remembers globals, and sets them.
    keepers: Vec<(ComponentExportIndex, ComponentExportIndex)>,
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
    restore: Vec<TypedFunc<(), ()>>,
    memories: Vec<Begun>,
    /// Bytes of all memories and tables.
    total: u64,
    /// Instructions that it took to make it, where they are counted.
    pub spent: u64,
}

/// A memory as it began.
#[derive(Default)]
struct Begun {
    address: usize,
    /// Its size in bytes.
    size: usize,
    written: Written,
}

impl Begun {
    /// What is in it.
    ///
    /// # Safety
    /// The memory is that of an instance whose store is there and exclusively
    /// borrowed for as long as what is returned; it has not grown since it was
    /// looked up. Memories neither move nor shrink.
    unsafe fn data<'a>(&self) -> &'a mut [u8] {
        if self.size == 0 {
            return &mut [];
        }
        // SAFETY: so the caller says.
        unsafe { std::slice::from_raw_parts_mut(std::ptr::with_exposed_provenance_mut(self.address), self.size) }
    }
}

impl Resetter {
    /// For a component of which `reset` says that it can be done. To be made
    /// before files are taken away.
    #[must_use]
    pub fn new(component: &Component, reset: &Reset) -> Option<Self> {
        let export = |name: &str| component.get_export_index(None, name);
        let keeper = |number: u32| Some((export(&format!("{SAVE}{number}"))?, export(&format!("{RESTORE}{number}"))?));
        let memory = |(number, image): (usize, &(u64, u64))| {
            let (base, size) = (export(&format!("{BASE}{number}"))?, export(&format!("{SIZE}{number}"))?);
            Some(Exports { base, size, image: *image })
        };
        Some(Self {
            pages: Pages::open()?,
            keepers: (0..reset.keepers).map(keeper).collect::<Option<_>>()?,
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
        if self.failures.get() >= MOST_FAILURES || store.data().has_called() {
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
        let mut restore = Vec::with_capacity(self.keepers.len());
        for (save, restores) in &self.keepers {
            instance.get_typed_func::<(), ()>(&mut *store, *save)?.call(&mut *store, ())?;
            restore.push(instance.get_typed_func::<(), ()>(&mut *store, *restores)?);
        }
        let mut memories = Vec::with_capacity(self.memories.len());
        for exports in &self.memories {
            let size = instance.get_typed_func::<(), (u32,)>(&mut *store, exports.size)?;
            let (size,) = size.call(&mut *store, ())?;
            if size == 0 {
                // Nothing to put back: one that grows is thrown away.
                memories.push(Begun::default());
                continue;
            }
            let base = instance.get_typed_func::<(), (WasmList<u8>,)>(&mut *store, exports.base)?;
            let (first,) = base.call(&mut *store, ())?;
            let address = first.as_le_slice(&*store).as_ptr().expose_provenance();
            let begun = Begun { address, size: size as usize * PAGE, written: Written::default() };
            // SAFETY: this store's, in which nothing runs.
            if !keep_small(unsafe { begun.data() }) {
                return Ok(None);
            }
            memories.push(begun);
        }
        if self.images.get().is_none() {
            let Some(images) = self.images(&memories) else { return Ok(None) };
            let _set = self.images.set(images);
        }
        Ok(Some(Origin { restore, memories, total: store.data().meter.total(), spent }))
    }

    /// How memories begin that were found so: what the component says of it,
    /// and what was written while the instance was made.
    fn images(&self, memories: &[Begun]) -> Option<Vec<Image>> {
        let image = |(begun, exports): (&Begun, &Exports)| {
            // SAFETY: that of a store in which nothing runs: `look` is called
            // before its first task.
            let bytes = unsafe { begun.data() };
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
    pub fn restore(&self, store: &mut Store<ComponentState>, origin: &mut Origin) -> bool {
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

    fn put_back(&self, store: &mut Store<ComponentState>, origin: &mut Origin) -> bool {
        let Some(images) = self.images.get() else { return false };
        if !origin.restore.iter().all(|restore| restore.call(&mut *store, ()).is_ok()) {
            return false;
        }
        let faults = faults();
        origin.memories.iter_mut().zip(images).all(|(begun, image)| {
            // SAFETY: that of this store, which is exclusively borrowed; it has
            // not grown, as the meter says.
            let memory = unsafe { begun.data() };
            image.restore(memory, &self.pages, &mut begun.written, faults)
        })
    }

    fn failed(&self) {
        self.failures.set(self.failures.get().saturating_add(1));
    }
}
