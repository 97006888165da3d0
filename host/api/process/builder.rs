//! What a process is to be.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use serde::Serialize;

use super::{Inner, Process, Start, State};
use crate::api::calls::argument;
use crate::api::functions::Callee;
use crate::api::options::CallOptions;
use crate::api::{Pool, PoolBuilder};
use crate::capabilities::Capabilities;
use crate::limits::Limits;
use crate::pool::item::Item;
use crate::pool::module::Module;

/// Makes the item once it is known what is called.
pub(super) type Arguments = Arc<dyn Fn(&Callee) -> Item + Send + Sync>;

/// What a process is to be; made by [`Process::builder`].
///
/// ```no_run
/// use wpool::{Module, Process};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let process = Process::builder(Module::from_file("tasks.wasm")?)
///     .function("square")
///     .args(3)
///     .name("squares")
///     .build();
/// process.start()?;
/// assert_eq!(process.join()?, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ProcessBuilder {
    pool: PoolBuilder,
    call: CallOptions<'static>,
    arguments: Arguments,
    name: Option<String>,
    daemon: bool,
}

impl fmt::Debug for ProcessBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessBuilder")
            .field("call", &self.call)
            .field("name", &self.name)
            .field("daemon", &self.daemon)
            .finish_non_exhaustive()
    }
}

impl ProcessBuilder {
    pub(super) fn new(module: Module) -> Self {
        Self {
            pool: Pool::builder(module).processes(1),
            call: CallOptions::default(),
            arguments: Arc::new(|callee| argument(callee, &())),
            name: None,
            daemon: false,
        }
    }

    /// The function, as Python's `target`; with [`CallOptions`] its keyword
    /// arguments and timeout, too. Without it the module's only function, or
    /// `run`.
    ///
    /// ```
    /// use serde_json::json;
    /// use wpool::{CallOptions, Module, Process};
    ///
    /// fn cube(module: Module) -> Process {
    ///     let cube = CallOptions::new("power").kwds(json!({ "exponent": 3 }));
    ///     Process::builder(module).function(cube).args(2).build()
    /// }
    /// ```
    #[doc(alias = "target")]
    pub fn function(mut self, call: impl Into<CallOptions<'static>>) -> Self {
        self.call = call.into();
        self
    }

    /// The arguments, as of [`Pool::apply`]; without them there are none.
    ///
    /// ```
    /// use wpool::{Module, Process};
    ///
    /// fn sum(module: Module) -> Process {
    ///     Process::builder(module).function("add").args((3, 4)).build()
    /// }
    /// ```
    pub fn args(mut self, args: impl Serialize + Send + Sync + 'static) -> Self {
        self.arguments = Arc::new(move |callee| argument(callee, &args));
        self
    }

    /// The name, for people; without it `Process-1`, `Process-2`, ….
    ///
    /// ```
    /// use wpool::{Module, Process};
    ///
    /// fn first(module: Module) -> Process {
    ///     Process::builder(module).name("first").build()
    /// }
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Dropping the process ends it, instead of waiting for it.
    ///
    /// ```
    /// use wpool::{Module, Process};
    ///
    /// fn background(module: Module) -> Process {
    ///     Process::builder(module).function("watch").daemon(true).build()
    /// }
    /// ```
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = daemon;
        self
    }

    /// Limits of the call.
    ///
    /// ```
    /// use wpool::{Limits, Module, Process};
    ///
    /// fn patient(module: Module) -> Process {
    ///     Process::builder(module).limits(Limits { timeout: None, ..Limits::default() }).build()
    /// }
    /// ```
    pub fn limits(mut self, limits: Limits) -> Self {
        self.pool = self.pool.limits(limits);
        self
    }

    /// What the call may reach; by default nothing.
    ///
    /// ```
    /// use wpool::{Capabilities, Module, Process};
    ///
    /// fn alone(module: Module) -> Process {
    ///     Process::builder(module).capabilities(Capabilities::none()).build()
    /// }
    /// ```
    pub fn capabilities(mut self, capabilities: Capabilities) -> Self {
        self.pool = self.pool.capabilities(capabilities);
        self
    }

    /// The program that the process is started from, as
    /// [`PoolBuilder::worker`].
    ///
    /// ```
    /// use wpool::{Module, Process};
    ///
    /// fn of_the_command(module: Module) -> Process {
    ///     Process::builder(module).worker("/usr/bin/wpool").build()
    /// }
    /// ```
    pub fn worker(mut self, program: impl Into<PathBuf>) -> Self {
        self.pool = self.pool.worker(program);
        self
    }

    /// Everything that a pool may be given beside: features, arguments of a
    /// command, the sandbox, the cache.
    ///
    /// ```
    /// use wpool::{Module, Process};
    ///
    /// fn uncached(module: Module) -> Process {
    ///     Process::builder(module).with_pool(|pool| pool.no_cache()).build()
    /// }
    /// ```
    pub fn with_pool(mut self, edit: impl FnOnce(PoolBuilder) -> PoolBuilder) -> Self {
        self.pool = edit(self.pool);
        self
    }

    /// The process, which is not started yet.
    ///
    /// ```
    /// use wpool::{Module, Process};
    ///
    /// fn five(module: &Module) -> Vec<Process> {
    ///     (0..5).map(|n| Process::builder(module.clone()).function("square").args(n).build()).collect()
    /// }
    /// ```
    #[must_use]
    pub fn build(self) -> Process {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let Self { pool, call, arguments, name, daemon } = self;
        let name = name.unwrap_or_else(|| format!("Process-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let state = State::New(Box::new(Start { pool, call, arguments }));
        let inner = Inner { state: Mutex::new(state), pid: Mutex::default(), changed: Condvar::new() };
        Process { inner: Arc::new(inner), name, daemon }
    }
}
