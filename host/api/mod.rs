//! The library's face: Python's `multiprocessing.Pool`, typed by serde, over
//! the engine in [`crate::pool`].
//!
//! [`Pool`] has the calls. Which function they are of, and Python's keyword
//! arguments, are [`CallOptions`]; results are values, an [`AsyncResult`], or
//! [`Results`] as they become due; what has none is a [`CallError`].

mod builder;
mod callbacks;
mod calls;
mod codec;
mod error;
mod functions;
mod gate;
pub mod manager;
mod options;
mod process;
mod result;
mod results;
mod serve;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use builder::PoolBuilder;
pub use error::{CallError, TaskError};
pub use options::CallOptions;
pub use process::{Process, ProcessBuilder};
pub use result::AsyncResult;
pub use results::Results;
pub use serve::{Service, ServiceHandle};

pub use crate::outcome::Traffic;

use crate::api::callbacks::Callbacks;
use crate::api::functions::Functions;
use crate::api::gate::Gate;
use crate::pool::Pool as Engine;
use crate::pool::module::Module;
use crate::pool::resources::Machine;

/// A pool of worker processes that run the functions of one module: Python's
/// `multiprocessing.Pool`.
///
/// Clones are the same pool, for any number of threads. When the last one is
/// dropped the pool is [terminated](Self::terminate): workers end at once, and
/// what is pending ends as [`cancelled`](crate::outcome::Kind::Cancelled).
///
/// The name of the function comes first, as Python's `func` does; a
/// [`CallOptions`] in its place has the call's options, too. Arguments and
/// results are anything that serde can write and read as JSON: numbers,
/// strings, structs with the fields of a WIT record, [`serde_json::Value`],
/// raw JSON as [`serde_json::value::RawValue`]. What serialises as bytes is an
/// item as it stands, and results of bytes can be read as a `Vec<u8>`.
///
/// A pool cannot be given to its workers, as in Python, where that raises
/// `NotImplementedError`; here it does not compile:
///
/// ```compile_fail
/// fn given(pool: &wpool::Pool) -> Result<(), wpool::CallError> {
///     pool.apply("square", pool)
/// }
/// ```
#[doc(alias = "multiprocessing.Pool")]
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    engine: Engine,
    functions: Functions,
    defaults: Defaults,
    processes: NonZeroUsize,
    gate: Arc<Gate>,
    callbacks: Arc<Callbacks>,
}

/// What calls that do not say otherwise have.
#[derive(Clone, Copy, Debug)]
struct Defaults {
    chunksize: Option<NonZeroUsize>,
    window: Option<NonZeroUsize>,
}

/// What a pool has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Workers that the pool was made for.
    pub processes: usize,
    /// Worker processes that are alive.
    pub workers_alive: usize,
    /// Worker processes started.
    pub workers_started: u64,
    /// Workers replaced after `max_tasks_per_child` items.
    pub workers_recycled: u64,
    /// Workers that died, or were killed over a timeout, by a cancellation or
    /// at the pool's end.
    pub workers_died: u64,
    /// Calls of task functions that workers reported, failed ones among them.
    pub tasks: u64,
    /// Items given another try.
    pub retried: u64,
    /// Processor time of the workers.
    pub cpu: Duration,
    /// Calls of the pool that are not done: maps and streams count once.
    pub pending: usize,
    /// Callbacks that panicked.
    pub callbacks_panicked: u64,
}

/// Processors that this process may use: by its affinity and by the quota of
/// its control groups. The default size of a pool, where memory does.
///
/// ```
/// assert!(wpool::cpu_count() >= 1);
/// ```
#[doc(alias = "process_cpu_count")]
#[must_use]
pub fn cpu_count() -> usize {
    Machine::detect().cpus.get()
}

impl Pool {
    /// Begins a pool for a module; the defaults are those of the command.
    ///
    /// ```no_run
    /// use wpool::{Module, Pool};
    ///
    /// # fn main() -> Result<(), wpool::Error> {
    /// let pool = Pool::builder(Module::from_file("tasks.wasm")?).processes(4).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(module: Module) -> PoolBuilder {
        PoolBuilder::new(module)
    }

    /// Takes no more calls; those begun go on to their end. A
    /// [`Service`] accepts no more; connections that it has accepted are served.
    ///
    /// ```
    /// use wpool::{CallError, Pool};
    ///
    /// fn finish(pool: &Pool) -> Result<(), CallError> {
    ///     pool.close();
    ///     pool.join()
    /// }
    /// ```
    #[doc(alias = "Pool.close")]
    pub fn close(&self) {
        self.inner.gate.close();
    }

    /// Ends the pool at once, and takes no more calls: workers are killed, and
    /// what was not done ends as
    /// [`cancelled`](crate::outcome::Kind::Cancelled). Returns when no worker
    /// is left.
    ///
    /// ```
    /// use wpool::{AsyncResult, CallError, Kind, Pool};
    ///
    /// fn give_up(pool: &Pool) -> Result<(), CallError> {
    ///     let later: AsyncResult<u64> = pool.apply_async("spin", 7)?;
    ///     pool.terminate();
    ///     assert_eq!(later.get().unwrap_err().kind(), Some(Kind::Cancelled));
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias = "Pool.terminate")]
    pub fn terminate(&self) {
        self.inner.gate.close();
        self.inner.engine.end();
    }

    /// Waits until all calls are done and their callbacks have run, then ends
    /// the workers. Streams that nobody reads are read ahead: what they have
    /// left is kept in memory until they are read or dropped.
    ///
    /// In a callback it does not wait for callbacks.
    ///
    /// ```
    /// use wpool::{CallError, Pool};
    ///
    /// fn wait(pool: &Pool) -> Result<(), CallError> {
    ///     assert!(matches!(pool.join(), Err(CallError::Running)));
    ///     pool.close();
    ///     pool.join()
    /// }
    /// ```
    ///
    /// # Errors
    /// [`CallError::Running`] where the pool was neither closed nor
    /// terminated.
    #[doc(alias = "Pool.join")]
    pub fn join(&self) -> Result<(), CallError> {
        if !self.inner.gate.is_closed() {
            return Err(CallError::Running);
        }
        self.inner.gate.wait(None);
        self.inner.callbacks.wait();
        self.inner.engine.end();
        Ok(())
    }

    /// Closes the pool, waits up to `grace` until all calls are done, then
    /// terminates it; what it has done. Does not wait for callbacks.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wpool::Pool;
    ///
    /// fn end(pool: &Pool) {
    ///     let stats = pool.shutdown(Duration::from_secs(10));
    ///     println!("{} tasks on {} workers", stats.tasks, stats.workers_started);
    /// }
    /// ```
    pub fn shutdown(&self, grace: Duration) -> Stats {
        self.close();
        self.inner.gate.wait(Instant::now().checked_add(grace));
        // Ending the pool kills its workers: no deaths to be told.
        let before = self.stats();
        self.terminate();
        Stats { workers_died: before.workers_died, ..self.stats() }
    }

    /// What the pool has done so far.
    ///
    /// ```
    /// use wpool::Pool;
    ///
    /// fn tell(pool: &Pool) -> String {
    ///     let stats = pool.stats();
    ///     format!("{} done, {} calls under way", stats.tasks, stats.pending)
    /// }
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        let workers = self.inner.engine.stats();
        Stats {
            processes: self.inner.processes.get(),
            workers_alive: self.worker_pids().len(),
            workers_started: workers.workers_started,
            workers_recycled: workers.workers_recycled,
            workers_died: workers.workers_died,
            tasks: workers.tasks,
            retried: workers.retried,
            cpu: workers.cpu,
            pending: self.inner.gate.calls(),
            callbacks_panicked: self.inner.callbacks.panicked(),
        }
    }

    /// Process ids of the workers that are alive. They start as work comes.
    ///
    /// ```
    /// use wpool::Pool;
    ///
    /// fn all_started(pool: &Pool) -> bool {
    ///     pool.worker_pids().len() == pool.processes()
    /// }
    /// ```
    #[must_use]
    pub fn worker_pids(&self) -> Vec<i32> {
        self.inner.engine.worker_pids()
    }

    /// Worker processes that the pool was made for.
    ///
    /// ```
    /// use wpool::Pool;
    ///
    /// fn pythons_default_chunk(pool: &Pool, items: usize) -> usize {
    ///     items.div_ceil(4 * pool.processes())
    /// }
    /// ```
    #[must_use]
    pub fn processes(&self) -> usize {
        self.inner.processes.get()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("processes", &self.processes())
            .field("pending", &self.inner.gate.calls())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.gate.close();
        self.callbacks.close();
    }
}
