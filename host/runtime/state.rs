//! What a store carries for one task: the meter that holds its memories and
//! tables to `--memory`, its streams, and its WASI context.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::runtime::console::Console;
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
}

impl<W> State<W> {
    /// State of a new store that may use `limit` bytes.
    #[must_use]
    pub fn new(limit: u64, page: &Arc<Page>, console: &Arc<Console>, wasi: W) -> Self {
        Self { meter: Meter::new(limit, Arc::clone(page)), console: Arc::clone(console), wasi, denied: Vec::new() }
    }

    /// Remembers that a grant of `flag` was missing.
    pub fn deny(&mut self, flag: &'static str) {
        if !self.denied.contains(&flag) {
            self.denied.push(flag);
        }
    }

    /// Starts the next task in a store that is kept.
    pub fn restart(&mut self) {
        self.meter.restart();
        self.denied.clear();
    }
}

/// Sums all linear memories and tables of a store and holds them to a limit.
#[derive(Debug)]
pub struct Meter {
    limit: u64,
    total: u64,
    peak: u64,
    pending: Pending,
    refused: bool,
    last_refused: bool,
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
    /// A meter for a new store that may use `limit` bytes.
    #[must_use]
    pub fn new(limit: u64, page: Arc<Page>) -> Self {
        Self { limit, total: 0, peak: 0, pending: Pending::NOTHING, refused: false, last_refused: false, page }
    }

    /// Starts the next task in a store that is kept.
    pub fn restart(&mut self) {
        self.refused = false;
        self.last_refused = false;
        self.peak = self.total;
        self.page.set_peak_memory(self.peak);
    }

    /// Highest sum so far, in bytes.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.peak
    }

    /// The limit, in bytes.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether a growth was refused in this task.
    #[must_use]
    pub fn refused(&self) -> bool {
        self.refused
    }

    /// Whether the latest growth of this task was refused.
    #[must_use]
    pub fn just_refused(&self) -> bool {
        self.last_refused
    }

    fn grow(&mut self, current: u64, desired: u64, maximum: Option<u64>) -> bool {
        if maximum.is_some_and(|maximum| desired > maximum) {
            self.pending = Pending::OwnMaximum;
            return true;
        }
        let more = desired.saturating_sub(current);
        let total = self.total.saturating_add(more);
        if total > self.limit {
            self.refuse();
            return false;
        }
        self.pending = Pending::Counted { more, peak: self.peak };
        self.last_refused = false;
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
                self.refuse();
            }
        }
    }

    fn refuse(&mut self) {
        self.refused = true;
        self.last_refused = true;
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
        let bytes = |elements: usize| (elements as u64).saturating_mul(TABLE_ELEMENT);
        Ok(self.grow(bytes(current), bytes(desired), maximum.map(bytes)))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed();
        Ok(())
    }
}
