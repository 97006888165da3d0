//! What a call of a pool may be given beside its items.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::error::CallError;
use crate::limits::{Limits, Tighter};
use crate::pool::Chunksize;

/// Which function a call is of, and how it goes: Python's keyword arguments.
///
/// Every call takes one, or just the function's name:
///
/// ```
/// use std::time::Duration;
/// use wpool::{CallError, CallOptions, Pool};
///
/// fn squares(pool: &Pool) -> Result<Vec<u64>, CallError> {
///     let patient: Vec<u64> = pool.map("square", 0..100_u64)?;
///     let hurried = CallOptions::new("square").timeout(Duration::from_millis(50)).chunksize(10);
///     assert_eq!(pool.map::<u64, _>(hurried, 0..100_u64)?, patient);
///     Ok(patient)
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct CallOptions<'a> {
    pub(super) function: Option<Cow<'a, str>>,
    pub(super) timeout: Option<Duration>,
    pub(super) tighter: Tighter,
    pub(super) chunksize: Option<usize>,
    pub(super) window: Option<usize>,
    pub(super) kwds: Option<Result<Map<String, Value>, String>>,
}

impl<'a> CallOptions<'a> {
    /// A call of this export: `func`, `iface/func` or `pkg:iface@ver/func`.
    /// [`CallOptions::default`] is a call of the module's only function, or of
    /// `run`.
    ///
    /// ```
    /// use wpool::CallOptions;
    ///
    /// let square = CallOptions::new("square");
    /// let in_an_interface = CallOptions::new("example:tasks/numbers@1.0.0/square");
    /// ```
    #[must_use]
    pub fn new(function: impl Into<Cow<'a, str>>) -> Self {
        Self { function: Some(function.into()), ..Self::default() }
    }

    /// Wall time of each task, counted from its start in the worker. It only
    /// tightens the pool's limit: the shorter one counts.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wpool::{CallError, CallOptions, Pool};
    ///
    /// fn hurried(pool: &Pool) -> Result<u64, CallError> {
    ///     pool.apply(CallOptions::new("square").timeout(Duration::from_millis(50)), 3)
    /// }
    /// ```
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Instructions of each task, at least 1, in a pool whose
    /// [`Limits::fuel`](crate::Limits::fuel) has them counted. It only tightens
    /// the pool's limit: the lower one counts.
    ///
    /// ```
    /// use wpool::{CallError, CallOptions, Pool};
    ///
    /// fn brief(pool: &Pool) -> Result<u64, CallError> {
    ///     pool.apply(CallOptions::new("square").fuel(1_000_000), 3)
    /// }
    /// ```
    #[must_use]
    pub fn fuel(mut self, instructions: u64) -> Self {
        self.tighter.fuel = Some(instructions);
        self
    }

    /// All memories and tables of each task together, in bytes, at least 1. It
    /// only tightens the pool's limit: the lower one counts.
    ///
    /// ```
    /// use wpool::{CallError, CallOptions, Pool};
    ///
    /// fn small(pool: &Pool) -> Result<u64, CallError> {
    ///     pool.apply(CallOptions::new("square").memory(16 << 20), 3)
    /// }
    /// ```
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.tighter.memory = Some(bytes);
        self
    }

    /// Items that travel together, at least 1. Transport only: each item has
    /// its own outcome and clock. Without it, `map` and `starmap` go by how
    /// long tasks take, and `imap` and `imap_unordered` send item by item.
    /// [`Chunksize::python`] is Python's formula.
    ///
    /// ```
    /// use wpool::{CallError, CallOptions, Pool};
    ///
    /// fn tens(pool: &Pool) -> Result<Vec<u64>, CallError> {
    ///     pool.map(CallOptions::new("square").chunksize(10), 0..1_000_u64)
    /// }
    /// ```
    #[must_use]
    pub fn chunksize(mut self, items: usize) -> Self {
        self.chunksize = Some(items);
        self
    }

    /// Items of `imap`, `imap_unordered` and `outcomes` that may be pulled
    /// from the input and not delivered, at least 1; by default twice the
    /// number of workers, times the chunk size. Short tasks are worth more:
    /// with a window of some thousand items no worker waits for the consumer.
    ///
    /// ```
    /// use wpool::{CallError, CallOptions, Pool};
    ///
    /// fn first_hundred(pool: &Pool) -> Result<Vec<u64>, CallError> {
    ///     pool.imap(CallOptions::new("square").window(1_000), 0_u64..)?.take(100).collect()
    /// }
    /// ```
    #[doc(alias = "buffersize")]
    #[must_use]
    pub fn window(mut self, items: usize) -> Self {
        self.window = Some(items);
        self
    }

    /// Arguments by the names of their parameters, as an object or a struct.
    /// They are the same for all items of the call, whose own arguments fill
    /// the other parameters, as with Python's `kwds` and `functools.partial`.
    /// Names are WIT's; `_` matches `-`. Parameters of core functions are
    /// named `0`, `1`, ….
    ///
    /// ```
    /// use serde_json::json;
    /// use wpool::{CallError, CallOptions, Pool};
    ///
    /// fn cubes(pool: &Pool) -> Result<Vec<f64>, CallError> {
    ///     pool.map(CallOptions::new("power").kwds(json!({ "exponent": 3 })), [1, 2, 3])
    /// }
    /// ```
    #[doc(alias = "partial")]
    #[must_use]
    pub fn kwds(mut self, arguments: impl Serialize) -> Self {
        self.kwds = Some(match serde_json::to_value(arguments) {
            Ok(Value::Object(fields)) => Ok(fields),
            Ok(_) => Err("kwds must be an object: parameter names with values".to_owned()),
            Err(error) => Err(format!("kwds have no JSON: {error}")),
        });
        self
    }

    /// Its own limits, in a pool with these.
    pub(super) fn tighter(&self, limits: &Limits) -> Result<Tighter, CallError> {
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(CallError::usage("timeout is 0; it must be more"));
        }
        for (what, limit) in [("fuel", self.tighter.fuel), ("memory", self.tighter.memory)] {
            if limit == Some(0) {
                return Err(CallError::usage(format!("{what} is 0; it must be at least 1")));
            }
        }
        if self.tighter.fuel.is_some() && limits.fuel.is_none() {
            return Err(CallError::usage(
                "fuel: the pool counts no instructions; build it with limits that have fuel, u64::MAX for no limit",
            ));
        }
        Ok(self.tighter)
    }

    /// The chunk size, or `default` where none was asked for.
    pub(super) fn chunks(&self, default: Chunksize) -> Result<Chunksize, CallError> {
        match self.chunksize {
            None => Ok(default),
            Some(items) => at_least_one("chunksize", items).map(Chunksize::Fixed),
        }
    }
}

impl<'a> From<&'a str> for CallOptions<'a> {
    fn from(function: &'a str) -> Self {
        Self::new(function)
    }
}

impl<'a> From<&'a String> for CallOptions<'a> {
    fn from(function: &'a String) -> Self {
        Self::new(function)
    }
}

impl From<String> for CallOptions<'_> {
    fn from(function: String) -> Self {
        Self::new(function)
    }
}

/// Python's `ValueError`s for sizes under 1.
pub(super) fn at_least_one(what: &str, items: usize) -> Result<NonZeroUsize, CallError> {
    NonZeroUsize::new(items).ok_or_else(|| CallError::usage(format!("{what} is 0; it must be at least 1")))
}
