//! How a pool is made.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::api::callbacks::Callbacks;
use crate::api::functions::Functions;
use crate::api::gate::Gate;
use crate::api::manager::Shareable;
use crate::api::{Defaults, Inner, Pool};
use crate::capabilities::Capabilities;
use crate::error::Error;
use crate::limits::{CompileLimits, Features, Isolation, Limits, MOST_PROCESSES, SandboxMode, TimeoutMode};
use crate::outcome::Kind;
use crate::pool::cache::Cache;
use crate::pool::compile::{CompileOptions, prepare};
use crate::pool::initialise::{self, Initialisation};
use crate::pool::module::Module;
use crate::pool::objects::Object;
use crate::pool::process::own_binary;
use crate::pool::resolve::resolve;
use crate::pool::resources::Machine;
use crate::pool::{Listener, Pool as Engine, PoolOptions, Work};
use crate::wire::message::{BytesAs, Encode, ItemAs, ResultAs, Spread, TaskSpec};
use crate::wire::objects::Note;
use crate::worker;

/// Calls of `apply_async` that may be under way for each worker, unless the
/// builder says otherwise.
const PENDING: usize = 128;

/// What a pool is to be; made by [`Pool::builder`].
///
/// ```no_run
/// use std::time::Duration;
/// use wpool::{Capabilities, Limits, Module, Pool};
///
/// # fn main() -> Result<(), wpool::Error> {
/// let pool = Pool::builder(Module::from_file("tasks.wasm")?)
///     .processes(4)
///     .max_tasks_per_child(100)
///     .limits(Limits { timeout: Some(Duration::from_secs(2)), ..Limits::default() })
///     .capabilities(Capabilities::none())
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct PoolBuilder {
    module: Module,
    processes: Option<usize>,
    max_tasks_per_child: Option<u64>,
    isolation: Isolation,
    limits: Limits,
    capabilities: Capabilities,
    connections: bool,
    features: Features,
    stub_imports: bool,
    args: Vec<String>,
    result: Option<ResultAs>,
    sandbox: SandboxMode,
    retries: u32,
    retry_on: Vec<Kind>,
    backoff: Duration,
    chunksize: Option<usize>,
    window: Option<usize>,
    pending: Option<usize>,
    worker: Option<PathBuf>,
    cache: bool,
    initializer: Option<Result<(String, String), String>>,
    objects: Vec<Arc<Object>>,
    listener: Option<Listener>,
}

impl PoolBuilder {
    pub(super) fn new(module: Module) -> Self {
        let PoolOptions { retries, retry_on, backoff, .. } = PoolOptions::default();
        Self {
            module,
            processes: None,
            max_tasks_per_child: None,
            isolation: Isolation::default(),
            limits: Limits::default(),
            capabilities: Capabilities::none(),
            connections: false,
            features: Features::default(),
            stub_imports: false,
            args: Vec::new(),
            result: None,
            sandbox: SandboxMode::default(),
            retries,
            retry_on,
            backoff,
            chunksize: None,
            window: None,
            pending: None,
            worker: None,
            cache: true,
            initializer: None,
            objects: Vec::new(),
            listener: None,
        }
    }

    /// Worker processes, at least 1 and at most 4096. By default as many as there are
    /// processors ([`cpu_count`](crate::cpu_count)), or fewer where memory
    /// would not do for all of them at their limit.
    ///
    /// ```
    /// use wpool::{Module, Pool, PoolBuilder};
    ///
    /// fn four(module: Module) -> PoolBuilder {
    ///     Pool::builder(module).processes(4)
    /// }
    /// ```
    pub fn processes(mut self, processes: usize) -> Self {
        self.processes = Some(processes);
        self
    }

    /// Items after which a worker is replaced, at least 1. Items, where Python
    /// counts chunks.
    ///
    /// ```
    /// use wpool::{Module, Pool, PoolBuilder};
    ///
    /// fn recycled(module: Module) -> PoolBuilder {
    ///     Pool::builder(module).max_tasks_per_child(100)
    /// }
    /// ```
    #[doc(alias = "maxtasksperchild")]
    pub fn max_tasks_per_child(mut self, items: u64) -> Self {
        self.max_tasks_per_child = Some(items);
        self
    }

    /// What survives from one task to the next; by default nothing.
    ///
    /// ```
    /// use wpool::{Isolation, Module, Pool, PoolBuilder};
    ///
    /// fn with_globals_that_stay(module: Module) -> PoolBuilder {
    ///     Pool::builder(module).isolation(Isolation::Reuse)
    /// }
    /// ```
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// Calls a function of the module before any task, with arguments as those
    /// of [`apply`](Pool::apply): one value, a tuple for several, `()` for
    /// none. What it leaves in memory is what tasks find.
    ///
    /// It is called once for the pool, and every task starts from a snapshot of
    /// the module, as fast as from the module itself; under
    /// [`Isolation::Reuse`] it is called once in each worker, as in Python. It
    /// has the limits and grants of a task. The compiled snapshot is kept in
    /// the cache, by arguments and environment, unless directories are granted.
    ///
    /// Every task starts from the same state, random state included: a guest
    /// that wants other numbers in each task seeds again.
    ///
    /// ```no_run
    /// use wpool::{Module, Pool};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::builder(Module::from_file("tasks.wasm")?).initializer("init", ("en", 7)).build()?;
    /// let words: Vec<String> = pool.map("stem", ["running", "ran"])?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "initargs")]
    pub fn initializer(mut self, function: impl Into<String>, args: impl Serialize) -> Self {
        let args = serde_json::to_string(&args).map_err(|error| error.to_string());
        let function = function.into();
        self.initializer = Some(match args {
            Ok(args) => Ok((function, args)),
            Err(error) => Err(format!("the arguments of the initializer {function} are no JSON: {error}")),
        });
        self
    }

    /// Limits of each task.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wpool::{Limits, Module, Pool, PoolBuilder};
    ///
    /// fn hurried(module: Module) -> PoolBuilder {
    ///     let limits = Limits { timeout: Some(Duration::from_secs(2)), memory: 64 << 20, ..Limits::default() };
    ///     Pool::builder(module).limits(limits)
    /// }
    /// ```
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What tasks may reach; by default nothing.
    ///
    /// ```
    /// use wpool::{Capabilities, Module, Pool, PoolBuilder};
    ///
    /// fn with_a_variable(module: Module) -> PoolBuilder {
    ///     let mut capabilities = Capabilities::none();
    ///     capabilities.env.push(("LANG".to_owned(), "C".to_owned()));
    ///     Pool::builder(module).capabilities(capabilities)
    /// }
    /// ```
    pub fn capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// The pool is for connections: each task is a run of the module's program
    /// whose standard streams are a client's. See [`Pool::talk`] and
    /// [`Pool::serve`]; other calls fail.
    ///
    /// ```
    /// use wpool::{Module, Pool, PoolBuilder};
    ///
    /// fn five_at_once(talk: Module) -> PoolBuilder {
    ///     Pool::builder(talk).processes(5).connections()
    /// }
    /// ```
    pub fn connections(mut self) -> Self {
        self.connections = true;
        self
    }

    /// Shares objects with the tasks: all that a [`Manager`](crate::Manager)
    /// has now, or a single one. Tasks open them by name. What tasks change
    /// cannot be undone: each worker then has one item at a time, and an item
    /// that had started when its worker died is not tried again by itself.
    ///
    /// ```
    /// # fn main() -> Result<(), wpool::Error> {
    /// # let module = wpool::Module::from_bytes("t.wat", "(module)")?;
    /// let manager = wpool::Manager::new();
    /// let hits = manager.counter("hits")?;
    /// let builder = wpool::Pool::builder(module).shared(&hits);
    /// # drop(builder);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Manager")]
    pub fn shared(mut self, objects: &impl Shareable) -> Self {
        for object in objects.objects() {
            if !self.objects.iter().any(|known| Arc::ptr_eq(known, &object)) {
                self.objects.push(object);
            }
        }
        self
    }

    /// Has `listen` hear what running tasks say, with the item's index: lines
    /// of their log, and now and then how far they are. It is called on the
    /// pool's threads, which wait for it, and must not call the pool; a panic in
    /// it changes nothing. Without one, nobody hears.
    ///
    /// ```
    /// # fn main() -> Result<(), wpool::Error> {
    /// # let module = wpool::Module::from_bytes("t.wat", "(module)")?;
    /// let builder = wpool::Pool::builder(module).listener(|index, note| match note {
    ///     wpool::Note::Line(level, text) => eprintln!("item {index}: {}: {text:?}", level.as_str()),
    ///     wpool::Note::Progress(done, total) => eprintln!("item {index}: {done} of {total}"),
    /// });
    /// # drop(builder);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "log_to_stderr")]
    pub fn listener(mut self, listen: impl Fn(u64, Note) + Send + Sync + 'static) -> Self {
        self.listener = Some(Listener::new(listen));
        self
    }

    /// WebAssembly proposals beyond the default.
    ///
    /// ```
    /// use wpool::limits::Features;
    /// use wpool::{Module, Pool, PoolBuilder};
    ///
    /// fn with_exceptions(module: Module) -> PoolBuilder {
    ///     Pool::builder(module).features(Features { exceptions: true, ..Features::default() })
    /// }
    /// ```
    pub fn features(mut self, features: Features) -> Self {
        self.features = features;
        self
    }

    /// Unknown functions that the module imports trap when they are called,
    /// instead of keeping the module from running.
    ///
    /// ```
    /// use wpool::{Module, Pool, PoolBuilder};
    ///
    /// fn whatever_it_imports(module: Module) -> PoolBuilder {
    ///     Pool::builder(module).stub_imports()
    /// }
    /// ```
    pub fn stub_imports(mut self) -> Self {
        self.stub_imports = true;
        self
    }

    /// Arguments of a module that is a command, after its name; placeholders
    /// such as `{}` stand for the item.
    ///
    /// ```
    /// use wpool::{Module, Pool, PoolBuilder};
    ///
    /// fn line_count(wc: Module) -> PoolBuilder {
    ///     Pool::builder(wc).args(["-l", "{}"])
    /// }
    /// ```
    pub fn args<T: Into<String>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// What the output of a command, or the result of a function over bytes,
    /// is: text, JSON, bytes, or a file of the scratch directory. By default
    /// text of commands and JSON of functions.
    ///
    /// ```
    /// use wpool::{Module, Pool, PoolBuilder, ResultAs};
    ///
    /// fn pictures(thumbnail: Module) -> PoolBuilder {
    ///     Pool::builder(thumbnail).result(ResultAs::Bytes)
    /// }
    /// ```
    pub fn result(mut self, result: ResultAs) -> Self {
        self.result = Some(result);
        self
    }

    /// How hard the lock-down of the workers is insisted on.
    ///
    /// ```
    /// use wpool::limits::SandboxMode;
    /// use wpool::{Module, Pool, PoolBuilder};
    ///
    /// fn wherever_it_runs(module: Module) -> PoolBuilder {
    ///     Pool::builder(module).sandbox(SandboxMode::BestEffort)
    /// }
    /// ```
    pub fn sandbox(mut self, sandbox: SandboxMode) -> Self {
        self.sandbox = sandbox;
        self
    }

    /// Further tries of an item that ended as one of `kinds`, each after
    /// `backoff` times the number of tries so far. By default none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wpool::{Kind, Module, Pool, PoolBuilder};
    ///
    /// fn stubborn(module: Module) -> PoolBuilder {
    ///     Pool::builder(module).retries(2, [Kind::Timeout, Kind::WorkerCrashed], Duration::from_millis(100))
    /// }
    /// ```
    pub fn retries(mut self, retries: u32, kinds: impl IntoIterator<Item = Kind>, backoff: Duration) -> Self {
        (self.retries, self.retry_on, self.backoff) = (retries, kinds.into_iter().collect(), backoff);
        self
    }

    /// The chunk size of calls that name none, at least 1.
    ///
    /// ```
    /// use wpool::{Module, Pool, PoolBuilder};
    ///
    /// fn by_the_hundred(module: Module) -> PoolBuilder {
    ///     Pool::builder(module).chunksize(100)
    /// }
    /// ```
    pub fn chunksize(mut self, items: usize) -> Self {
        self.chunksize = Some(items);
        self
    }

    /// The window of streams that name none, at least 1; see
    /// [`CallOptions::window`](crate::CallOptions::window).
    ///
    /// ```
    /// use wpool::{Module, Pool, PoolBuilder};
    ///
    /// fn far_ahead(module: Module) -> PoolBuilder {
    ///     Pool::builder(module).window(10_000)
    /// }
    /// ```
    #[doc(alias = "buffersize")]
    pub fn window(mut self, items: usize) -> Self {
        self.window = Some(items);
        self
    }

    /// Calls of [`apply_async`](Pool::apply_async) that may be under way, at
    /// least 1, by default 128 for each worker; they may hold 64 MiB of
    /// arguments, too. A further call waits, a
    /// [`try_apply_async`](Pool::try_apply_async) is
    /// [`Saturated`](crate::CallError::Saturated).
    ///
    /// ```
    /// use wpool::{Module, Pool, PoolBuilder};
    ///
    /// fn few_at_once(module: Module) -> PoolBuilder {
    ///     Pool::builder(module).max_pending(32)
    /// }
    /// ```
    pub fn max_pending(mut self, calls: usize) -> Self {
        self.pending = Some(calls);
        self
    }

    /// The program that workers are started from: this one, by default, whose
    /// `main` begins with [`run_if_requested`](crate::worker::run_if_requested);
    /// or the `wpool` command.
    ///
    /// ```
    /// use wpool::{Module, Pool, PoolBuilder};
    ///
    /// fn of_the_command(module: Module) -> PoolBuilder {
    ///     Pool::builder(module).worker("/usr/bin/wpool")
    /// }
    /// ```
    pub fn worker(mut self, program: impl Into<PathBuf>) -> Self {
        self.worker = Some(program.into());
        self
    }

    /// Compiles the module anew, instead of looking for its code in the
    /// user's cache and keeping it there.
    ///
    /// ```
    /// use wpool::{Module, Pool, PoolBuilder};
    ///
    /// fn compiled_anew(module: Module) -> PoolBuilder {
    ///     Pool::builder(module).no_cache()
    /// }
    /// ```
    pub fn no_cache(mut self) -> Self {
        self.cache = false;
        self
    }

    /// Compiles the module, or finds it compiled, and starts the pool. Returns
    /// when the first worker takes tasks.
    ///
    /// ```no_run
    /// use wpool::{Error, Module, Pool};
    ///
    /// fn start() -> Result<Pool, Error> {
    ///     Pool::builder(Module::from_file("tasks.wasm")?).build()
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Usage`] for a number that must be at least 1 and is 0, or is
    /// larger than anything that could work, and in a worker whose `main` did not begin with
    /// [`run_if_requested`](crate::worker::run_if_requested).
    /// [`Error::Module`] where the module is refused, [`Error::Initializer`]
    /// where its initializer fails, [`Error::Workers`] where workers cannot be
    /// started.
    #[doc(alias = "Pool")]
    pub fn build(self) -> Result<Pool, Error> {
        if worker::is_requested() {
            return Err(Error::Usage(
                "this process was started as a worker; call wpool::worker::run_if_requested() first in main, \
                 or name another program with PoolBuilder::worker"
                    .to_owned(),
            ));
        }
        if let Some(mistake) = self.limits.mistake() {
            return Err(Error::Usage(format!("limits: {mistake}")));
        }
        let objects = self.objects.clone();
        let processes = self.processes.map(|processes| at_least_one("processes", processes)).transpose()?;
        if let Some(many) = processes.filter(|processes| processes.get() > MOST_PROCESSES) {
            return Err(Error::Usage(format!("processes is {many}; it must be at most {MOST_PROCESSES}")));
        }
        let recycled =
            self.max_tasks_per_child.map(|items| NonZeroU64::new(items).ok_or_else(|| zero("max_tasks_per_child")));
        let defaults = Defaults {
            chunksize: self.chunksize.map(|items| at_least_one("chunksize", items)).transpose()?,
            window: self.window.map(|items| at_least_one("window", items)).transpose()?,
        };
        let pending = self.pending.map(|calls| at_least_one("max_pending", calls)).transpose()?;
        let processes = processes.unwrap_or_else(|| Machine::detect().workers(None, self.limits.memory).count);
        let options = PoolOptions {
            processes,
            max_tasks_per_child: recycled.transpose()?,
            sandbox: self.sandbox,
            retries: self.retries,
            retry_on: self.retry_on.clone(),
            backoff: self.backoff,
            worker: self.worker.clone().unwrap_or_else(own_binary),
            credit: None,
            objects: objects.clone(),
            listener: self.listener.clone(),
        };
        let (functions, mut work) = self.work()?;
        let granted = objects.iter().map(|object| object.grant().clone());
        work.spec.capabilities.shared.extend(granted);
        let engine = Engine::start(work, options)?;
        engine.wait_ready().map_err(|error| error.like())?;
        let pending = pending.map_or(processes.get().saturating_mul(PENDING), NonZeroUsize::get);
        Ok(Pool {
            inner: Arc::new(Inner {
                engine,
                functions,
                defaults,
                processes,
                gate: Gate::new(pending),
                callbacks: Arc::new(Callbacks::default()),
            }),
        })
    }

    /// Compiles, and finds out what can be called.
    fn work(mut self) -> Result<(Functions, Work), Error> {
        resolve(&mut self.capabilities)?;
        self.capabilities.connections |= self.connections;
        let compile = CompileOptions {
            limits: CompileLimits::default(),
            features: self.features,
            epochs: self.limits.timeout_mode == TimeoutMode::Trap,
            fuel: self.limits.fuel.is_some(),
            stack: self.limits.stack,
            sandbox: self.sandbox,
            // Without one the module is compiled anew, which is slower and no
            // less right.
            cache: self.cache.then(Cache::default_path).flatten().and_then(|path| Cache::open(path).ok()),
            worker: self.worker,
            ..CompileOptions::default()
        };
        let call = self.initializer.transpose().map_err(Error::Usage)?;
        let initialisation = call.map(|(function, args)| Initialisation {
            function,
            // The same as no argument, for a function that has none.
            args: Some(args),
            limits: self.limits.clone(),
            capabilities: self.capabilities.clone(),
            stub_imports: self.stub_imports,
        });
        let artifact = match initialisation.as_ref().filter(|_| self.isolation != Isolation::Reuse) {
            None => prepare(&self.module, &compile, &mut |_elapsed| {})?,
            Some(wanted) => initialise::prepare(&self.module, &compile, wanted, &mut |_elapsed| {})?,
        };
        let initializer = initialisation.as_ref().map(|wanted| wanted.choose(&artifact.description)).transpose()?;
        let callable = initializer.as_ref().map_or_else(
            || artifact.description.clone(),
            |called| Initialisation::without(&artifact.description, called),
        );
        let (functions, targets) = Functions::new(callable, None, self.stub_imports, self.limits.memory)?;
        if let Some(wanted) = &initialisation {
            wanted.check(self.isolation, &targets)?;
        }
        let spec = TaskSpec {
            limits: self.limits,
            capabilities: self.capabilities,
            isolation: self.isolation,
            features: self.features,
            stub_imports: self.stub_imports,
            targets,
            spread: Spread::Auto,
            with: Vec::new(),
            argv: self.args,
            program: self.module.name().to_owned(),
            item_as: ItemAs::Auto,
            result: self.result,
            bytes: BytesAs::Array,
            encode: Encode::Exact,
            extra_fields_ignored: false,
            initializer,
        };
        Ok((functions, Work { artifact: artifact.file, description: artifact.description, spec }))
    }
}

fn zero(what: &str) -> Error {
    Error::Usage(format!("{what} is 0; it must be at least 1"))
}

fn at_least_one(what: &str, count: usize) -> Result<NonZeroUsize, Error> {
    NonZeroUsize::new(count).ok_or_else(|| zero(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MIB;
    use crate::pool::Chunksize;

    #[test]
    fn pythons_chunk_sizes_are_found_by_its_formula() {
        let four = NonZeroUsize::new(4).unwrap();
        let sizes = [16, 17, 100, 1000].map(|items| Chunksize::python(items, four).items());
        assert_eq!(sizes, [Some(1), Some(2), Some(7), Some(63)]);
        assert_eq!(Chunksize::python(0, four), Chunksize::Auto);
    }

    #[test]
    fn the_default_size_is_the_machines_processors_where_memory_does() {
        let machine = Machine::detect();
        assert_eq!(machine.workers(Some(1 << 60), MIB).count, machine.cpus);
        assert_eq!(crate::cpu_count(), machine.cpus.get());
    }
}
