//! How a pool is run, and how one call of it goes through its items.

use std::fmt;
use std::fs::File;
use std::num::{NonZeroU64, NonZeroUsize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::describe::Description;
use crate::limits::SandboxMode;
use crate::outcome::Kind;
use crate::pool::objects::Object;
use crate::pool::process;
use crate::wire::message::TaskSpec;
use crate::wire::objects::Note;

/// How a pool is run.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// Worker processes.
    pub processes: NonZeroUsize,
    /// Items after which a worker is replaced.
    pub max_tasks_per_child: Option<NonZeroU64>,
    /// How hard the workers' lock-down is insisted on.
    pub sandbox: SandboxMode,
    /// Further tries of an item that failed with one of `retry_on`.
    pub retries: u32,
    /// Kinds that `retries` is for.
    pub retry_on: Vec<Kind>,
    /// Pause before the next try, times the number of tries so far.
    pub backoff: Duration,
    /// The program that workers are started from.
    pub worker: PathBuf,
    /// Most items in one worker at once; for measurements.
    pub credit: Option<NonZeroUsize>,
    /// Objects that are granted and are there already; others are made.
    pub objects: Vec<Arc<Object>>,
    /// Who hears what running tasks say.
    pub listener: Option<Listener>,
}

/// Hears what running tasks say: the item's index and a note. Called on the
/// pool's threads, which wait for it; a panic in it changes nothing.
#[derive(Clone)]
pub struct Listener(Arc<dyn Fn(u64, Note) + Send + Sync>);

impl Listener {
    /// One that calls `hear`.
    #[must_use]
    pub fn new(hear: impl Fn(u64, Note) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    pub(crate) fn tell(&self, index: u64, note: Note) {
        // It has been printed, and a slot must go on.
        let _panicked = catch_unwind(AssertUnwindSafe(|| (self.0)(index, note)));
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            processes: NonZeroUsize::MIN,
            max_tasks_per_child: None,
            sandbox: SandboxMode::default(),
            retries: 0,
            retry_on: vec![Kind::WorkerCrashed, Kind::Timeout],
            backoff: Duration::ZERO,
            worker: process::own_binary(),
            credit: None,
            objects: Vec::new(),
            listener: None,
        }
    }
}

/// How one call of a pool goes through its items.
#[derive(Clone, Copy, Debug)]
pub struct MapOptions {
    /// Outcomes in input order, or as they come.
    pub ordered: bool,
    /// How items are cut into chunks.
    pub chunksize: Chunksize,
    /// Items that may be pulled and not delivered.
    pub window: Option<NonZeroUsize>,
    /// What becomes of unread items when the job is stopped.
    pub rest: Rest,
    /// Position of the function in the task specification's targets.
    pub function: u16,
}

impl Default for MapOptions {
    fn default() -> Self {
        Self { ordered: true, chunksize: Chunksize::Auto, window: None, rest: Rest::Leave, function: 0 }
    }
}

/// What a pool runs: a compiled module and how its tasks are called.
#[derive(Debug)]
pub struct Work {
    /// The artifact of the compile worker.
    pub artifact: File,
    /// What it offers and needs.
    pub description: Description,
    /// How tasks are called.
    pub spec: TaskSpec,
}

/// How items are cut into chunks. A chunk is transport only: every item has
/// its own outcome and its own clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chunksize {
    /// Larger for short tasks, 1 for long ones.
    #[default]
    Auto,
    /// This many items, the last chunk excepted.
    Fixed(NonZeroUsize),
}

impl Chunksize {
    /// What `Pool.map` of Python's `multiprocessing` would send together: a
    /// quarter of each worker's share, rounded up.
    ///
    /// ```
    /// use std::num::NonZeroUsize;
    /// use wpool::Chunksize;
    ///
    /// let four = NonZeroUsize::new(4).unwrap();
    /// assert_eq!(Chunksize::python(100, four).items(), Some(7));
    /// ```
    #[must_use]
    pub fn python(items: usize, processes: NonZeroUsize) -> Self {
        let chunks = processes.get().saturating_mul(4);
        NonZeroUsize::new(items.div_ceil(chunks)).map_or(Self::Auto, Self::Fixed)
    }

    /// The number of items, where it is fixed.
    #[must_use]
    pub fn items(self) -> Option<usize> {
        match self {
            Self::Auto => None,
            Self::Fixed(items) => Some(items.get()),
        }
    }
}

/// What becomes of items that were not read yet when a job is stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rest {
    /// They are not read.
    #[default]
    Leave,
    /// They are read and end as `cancelled`.
    Cancel,
}
