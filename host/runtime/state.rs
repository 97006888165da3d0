//! What a store carries for one task: the meter that holds its memories and
//! tables to `--memory`, its streams, and its WASI context.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::describe::Needs;
use crate::runtime::console::Console;
use crate::runtime::engine;
use crate::wire::page::Page;

/// Bytes that one element of a table takes in the host.
pub const TABLE_ELEMENT: u64 = 8;

/// Data of a store; `W` is the WASI context that the kind of guest needs.
pub struct State<W> {
    /// Memory of this store.
    pub meter: Meter,
    /// Streams of the worker's running task.
    pub console: Arc<Console>,
    /// The WASI context.
    pub wasi: W,
    /// Flags that would have granted what this task asked for in vain.
    pub denied: Vec<&'static str>,
    /// From where on the running code is how much farther back than in the
    /// module as it was given, in bytes.
    pub moved: Arc<[(u64, u64)]>,
}

impl<W> State<W> {
    /// State of a new store that may hold what `room` says.
    #[must_use]
    pub fn new(room: Room, page: &Arc<Page>, console: &Arc<Console>, wasi: W) -> Self {
        Self {
            meter: Meter::new(room, Arc::clone(page)),
            console: Arc::clone(console),
            wasi,
            denied: Vec::new(),
            moved: Arc::default(),
        }
    }

    /// Remembers that a grant of `flag` was missing.
    pub fn deny(&mut self, flag: &'static str) {
        if !self.denied.contains(&flag) {
            self.denied.push(flag);
        }
    }

    /// The position in the module as it was given.
    #[must_use]
    pub fn given(&self, offset: u64) -> u64 {
        let moved = self.moved.iter().rev().find(|(from, _)| *from <= offset);
        offset.saturating_sub(moved.map_or(0, |(_, by)| *by))
    }

    /// Starts the next task in a store that is kept, with `memory` bytes.
    pub fn restart(&mut self, memory: u64) {
        self.meter.room.memory = memory;
        self.meter.restart();
        self.denied.clear();
    }
}

/// What one store may hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Room {
    /// Linear memories and tables together, in bytes.
    memory: u64,
    /// Elements of each table.
    table_elements: u64,
    /// What the module itself is made of.
    needs: Needs,
}

impl Room {
    /// The same with `memory` bytes.
    #[must_use]
    pub fn with(self, memory: u64) -> Self {
        Self { memory, ..self }
    }

    /// Room for a module of such `needs`, with `memory` bytes.
    #[must_use]
    pub fn new(memory: u64, needs: Needs) -> Self {
        Self { memory, table_elements: engine::table_elements(needs), needs }
    }
}

/// What was refused a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// More memory than `--memory`.
    Memory,
    /// A table of more elements than any table may have.
    TableElements,
}

/// Sums all linear memories and tables of a store and holds them to a limit.
#[derive(Debug)]
pub struct Meter {
    room: Room,
    total: u64,
    peak: u64,
    pending: Pending,
    refused: bool,
    last_refused: Option<Refused>,
    page: Arc<Page>,
}

/// The growth that was allowed last and may still fail.
#[derive(Clone, Copy, Debug)]
enum Pending {
    /// Counted already: taken back when it fails.
    Counted {
        /// Bytes added.
        more: u64,
        /// The peak before.
        peak: u64,
    },
    /// Beyond the maximum that the guest itself declared: it will fail, and
    /// `--memory` has no part in it.
    OwnMaximum,
}

impl Pending {
    const NOTHING: Self = Self::Counted { more: 0, peak: u64::MAX };
}

impl Meter {
    /// A meter for a new store that may hold what `room` says.
    #[must_use]
    pub fn new(room: Room, page: Arc<Page>) -> Self {
        Self { room, total: 0, peak: 0, pending: Pending::NOTHING, refused: false, last_refused: None, page }
    }

    /// Starts the next task in a store that is kept.
    pub fn restart(&mut self) {
        self.refused = false;
        self.last_refused = None;
        self.peak = self.total;
        self.page.set_peak_memory(self.peak);
    }

    /// No guest runs any more: what looks at its state is not held to limits.
    pub fn lift(&mut self) {
        self.room.memory = u64::MAX;
    }

    /// Highest sum so far, in bytes.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.peak
    }

    /// The sum now, in bytes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The limit, in bytes.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.room.memory
    }

    /// Elements that each table may have.
    #[must_use]
    pub fn table_elements(&self) -> u64 {
        self.room.table_elements
    }

    /// Whether a growth was refused in this task.
    #[must_use]
    pub fn refused(&self) -> bool {
        self.refused
    }

    /// Why the latest growth of this task was refused, if it was.
    #[must_use]
    pub fn just_refused(&self) -> Option<Refused> {
        self.last_refused
    }

    fn grow(&mut self, current: u64, desired: u64, maximum: Option<u64>) -> bool {
        if maximum.is_some_and(|maximum| desired > maximum) {
            self.pending = Pending::OwnMaximum;
            return true;
        }
        let more = desired.saturating_sub(current);
        let total = self.total.saturating_add(more);
        if total > self.room.memory {
            self.refuse(Refused::Memory);
            return false;
        }
        self.pending = Pending::Counted { more, peak: self.peak };
        self.last_refused = None;
        self.total = total;
        if total > self.peak {
            self.peak = total;
            self.page.set_peak_memory(total);
        }
        true
    }

    fn failed(&mut self) {
        match std::mem::replace(&mut self.pending, Pending::NOTHING) {
            Pending::OwnMaximum => {}
            Pending::Counted { more, peak } => {
                self.total = self.total.saturating_sub(more);
                self.peak = self.peak.min(peak);
                self.page.set_peak_memory(self.peak);
                self.refuse(Refused::Memory);
            }
        }
    }

    fn refuse(&mut self, what: Refused) {
        self.refused = true;
        self.last_refused = Some(what);
        self.page.set_memory_refused();
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(current as u64, desired as u64, maximum.map(|bytes| bytes as u64)))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // Slots of tables end somewhat above; `maximum` is then where.
        let most = self.room.table_elements;
        if desired as u64 > most && maximum.is_none_or(|maximum| maximum as u64 >= most) {
            self.refuse(Refused::TableElements);
            return Ok(false);
        }
        let bytes = |elements: usize| (elements as u64).saturating_mul(TABLE_ELEMENT);
        Ok(self.grow(bytes(current), bytes(desired), maximum.map(bytes)))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed();
        Ok(())
    }

    // One instance of the module and no more; the engine's own bound is ten
    // thousand of each.

    fn instances(&self) -> usize {
        self.room.needs.instances as usize
    }

    fn tables(&self) -> usize {
        self.room.needs.tables as usize
    }

    fn memories(&self) -> usize {
        self.room.needs.memories as usize
    }
}
