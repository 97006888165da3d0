//! Plain calls one after another: from one integer to one, in an instance that
//! is kept. What is the same for all of them is done once, so that a call costs
//! little more than the guest's own code.

use wasmtime::ValRaw;

use crate::outcome::{Failure, Form};
use crate::runtime::abi::core::Integer;
use crate::runtime::call::Resolved;
use crate::runtime::console::Console;
use crate::runtime::core_guest::{Live, keeps, report};
use crate::runtime::instance::Report;
use crate::runtime::trap::Phase;
use crate::wire::integer;

/// Calls of one function in the instance that is kept.
pub struct Plain<'a> {
    kept: &'a mut Option<Live>,
    func: Resolved,
    takes: Integer,
    gives: Integer,
    ticks: Option<u64>,
    console: &'a Console,
    failure: Option<Failure>,
}

impl<'a> Plain<'a> {
    /// Calls of `func`, which takes and gives these, and has so many `ticks`.
    pub fn new(
        kept: &'a mut Option<Live>,
        func: Resolved,
        (takes, gives): (Integer, Integer),
        ticks: Option<u64>,
        console: &'a Console,
    ) -> Self {
        Self { kept, func, takes, gives, ticks, console, failure: None }
    }

    /// The argument that an item is, unless it has to be looked at closely.
    #[must_use]
    pub fn argument(&self, item: &[u8]) -> Option<ValRaw> {
        self.takes.read(item)
    }

    /// The argument that this number is, unless it has to be looked at closely.
    #[must_use]
    pub fn number(&self, number: i64) -> Option<ValRaw> {
        self.takes.slot(number)
    }

    /// The first task begins; the others follow without a word.
    pub fn begin(&mut self) {
        self.console.begin();
        if let Some(live) = self.kept {
            live.store.data_mut().restart(live.limits.memory);
        }
    }

    /// Memory that each task finds, in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.kept.as_ref().map_or(0, |live| live.store.data().meter.peak())
    }

    /// Calls the function; what it gave, unless it failed.
    #[must_use]
    pub fn call(&mut self, argument: ValRaw) -> Option<i64> {
        let live = self.kept.as_mut()?;
        if let Some(ticks) = self.ticks {
            live.store.set_epoch_deadline(ticks);
        }
        let mut slots = [argument];
        match self.func.call(&mut live.store, &mut slots) {
            Ok(()) => Some(self.gives.value(slots[0])),
            Err(error) => {
                self.fail(&error);
                None
            }
        }
    }

    /// Whether the call has left all as it was, but for what the guest keeps.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.kept.as_ref().is_some_and(|live| live.store.data().is_untouched())
    }

    #[cold]
    fn fail(&mut self, error: &wasmtime::Error) {
        self.failure = self.kept.as_ref().map(|live| live.failure(error, Phase::Task));
    }

    /// The report on the last call, which gave `value`; there is no further
    /// one. The instance is kept where another task would keep it.
    #[must_use]
    pub fn report(self, value: Option<i64>, out: &mut Vec<u8>) -> Report {
        let lost = || Failure::new(crate::outcome::Kind::Trap, "the instance is gone");
        let result = match (value, self.failure) {
            (Some(value), _) => {
                integer::put(out, value);
                Ok(Form::Json)
            }
            (None, failure) => Err(failure.unwrap_or_else(lost)),
        };
        let Some(live) = self.kept.as_ref() else {
            return Report { result, fuel: None, peak_memory: 0, stdout_is_result: false };
        };
        let report = report(&live.store, &live.limits, result, false);
        if report.result.as_ref().is_err_and(|failure| !keeps(failure)) {
            *self.kept = None;
        }
        report
    }
}
