//! Core modules: loaded once, then a fresh instance per task, be it made anew
//! or put back into the state it began in, or one that is kept as it is.

#![expect(unsafe_code, reason = "only the engine itself can map an artifact that the cache vouches for")]

use std::fs::File;
use std::io::{Read, Seek};
use std::sync::Arc;

use wasmtime::{Engine, Extern, Instance, InstancePre, Memory, Module, ModuleExport, Store, ValRaw};

use crate::limits::{Isolation, Limits};
use crate::outcome::{Failure, Form, Kind};
use crate::runtime::abi::bytes::BytesCall;
use crate::runtime::abi::command::CommandCall;
use crate::runtime::abi::core::CoreCall;
use crate::runtime::abi::payload::{bad_output, item_bytes};
use crate::runtime::call::{NumberFunc, Resolved};
use crate::runtime::console::Console;
use crate::runtime::descriptors::Files;
use crate::runtime::engine::refused;
use crate::runtime::instance::{Report, TaskInput, stale_or_refused};
use crate::runtime::preview1::{self, CoreState, Wasi};
use crate::runtime::reset::{Origin, Resetter};
use crate::runtime::run::Plain;
use crate::runtime::state::{Room, State};
use crate::runtime::trap::{self, Phase};
use crate::runtime::wasi::{Grants, Recipe};
use crate::runtime::{snapshot, threads};
use crate::wire::message::{Abi, Initializer, ItemAs, ItemForm, Refusal, RunSetup, Target, TaskSpec};
use crate::wire::page::Page;

/// What a host call of preview 1 may move beyond an item or a result, in bytes.
const HOSTCALL_SLACK: u64 = 8 << 20;

/// A loaded core module.
pub struct CoreGuest {
    pre: InstancePre<CoreState>,
    targets: Vec<CoreTarget>,
    initialize: Option<NumberFunc>,
    /// What is called before any task, under `reuse`.
    initializer: Option<CoreTarget>,
    wasi: bool,
    reuse: bool,
    limits: Arc<Limits>,
    room: Room,
    ticks: Option<u64>,
    hostcall_fuel: usize,
    page: Arc<Page>,
    console: Arc<Console>,
    grants: Arc<Grants>,
    /// How a fresh instance is made of one that has run.
    resetter: Option<Resetter>,
    /// By how much the artifact's code is farther back than the module's.
    moved: Arc<[(u64, u64)]>,
    /// The instance for the next task: as the last one left it under `reuse`
    /// or the initializer did, else as it began.
    kept: Option<Live>,
}

struct CoreTarget {
    call: Call,
    /// It is `_start`: beside it `_initialize` is never called.
    start: bool,
}

enum Call {
    Core(CoreCall),
    Bytes(BytesCall),
    Command(CommandCall, NumberFunc),
}

/// An instance and its store.
pub struct Live {
    /// The store.
    pub store: Store<CoreState>,
    instance: Instance,
    pub(super) limits: Arc<Limits>,
    /// Functions that were called, by their addresses in the guest.
    found: Vec<(usize, Resolved)>,
    /// The state in which it began, where it can be put back.
    origin: Option<Origin>,
}

impl Live {
    /// The failure that an engine error is.
    #[must_use]
    pub fn failure(&self, error: &wasmtime::Error, phase: Phase) -> Failure {
        trap::failure(error, self.store.data(), &self.limits, phase)
    }

    /// Calls an exported function; `slots` holds its parameters, then its
    /// results. It is looked up at its first call.
    ///
    /// # Errors
    /// What the guest ends with.
    pub fn call(&mut self, func: &NumberFunc, slots: &mut [ValRaw]) -> wasmtime::Result<()> {
        let key = std::ptr::from_ref(func).addr();
        let resolved = match self.found.iter().find(|(found, _)| *found == key) {
            Some((_, resolved)) => *resolved,
            None => {
                let resolved = func.resolve(&mut self.store, self.instance)?;
                self.found.push((key, resolved));
                resolved
            }
        };
        resolved.call(&mut self.store, slots)
    }

    /// Anything that is exported.
    pub fn export(&mut self, name: &str) -> Option<Extern> {
        self.instance.get_export(&mut self.store, name)
    }

    /// An exported memory.
    pub fn memory(&mut self, export: &ModuleExport) -> Option<Memory> {
        self.instance.get_module_export(&mut self.store, export).and_then(Extern::into_memory)
    }
}

impl CoreGuest {
    /// Loads an artifact and looks up everything that tasks need.
    ///
    /// # Errors
    /// A stale artifact, an import that nothing answers, a function that is
    /// not there or does not fit.
    pub fn load(
        engine: &Engine,
        artifact: File,
        setup: &RunSetup,
        page: Arc<Page>,
        grants: Arc<Grants>,
    ) -> Result<Self, Refusal> {
        let module = open(engine, artifact)?;
        let image = module.initialize_copy_on_write_image();
        image.map_err(|error| refused("cannot prepare the module's memory", &error))?;
        let task = &setup.task;
        let console = Arc::new(Console::new(Arc::clone(&page), task.limits.max_result));
        let probe = State::new(Room::default(), &page, &console, Wasi::default());
        let linker = preview1::linker(&module, &grants, task.stub_imports, probe)?;
        let pre = linker.instantiate_pre(&module);
        let pre = pre.map_err(|error| Refusal::module(format!("cannot link the module: {error:#}")))?;
        let reuse = task.isolation == Isolation::Reuse;
        let targets = task.targets.iter().map(|called| target(&module, task, called, reuse, &grants));
        let targets = targets.collect::<Result<_, _>>()?;
        let initializer = task.initializer.as_ref().filter(|_| task.initialises());
        let initializer = initializer.map(|called| initializer_target(&module, task, called, &grants)).transpose()?;
        let initialize = signature(&module, "_initialize").filter(|found| found == "()->");
        let fresh = task.isolation == Isolation::Fresh && initializer.is_none();
        let reset = setup.description.reset.as_ref();
        let limits = &task.limits;
        let largest = limits.max_item.max(limits.max_result).saturating_add(HOSTCALL_SLACK);
        let mut guest = Self {
            pre,
            targets,
            initializer,
            initialize: initialize.and_then(|_| NumberFunc::new(&module, "_initialize")),
            wasi: preview1::imported(&module),
            reuse,
            ticks: threads::epoch_timeout(limits).map(threads::ticks),
            hostcall_fuel: usize::try_from(largest).unwrap_or(usize::MAX),
            limits: Arc::new(limits.clone()),
            room: Room::new(limits.memory, setup.description.needs),
            console,
            page,
            grants,
            resetter: None,
            moved: reset.map_or_else(Arc::default, |reset| reset.moved.as_slice().into()),
            kept: None,
        };
        if let (Some(reset), true) = (reset, fresh) {
            // Here, so that what it takes is not taken from the tasks' memory.
            // Where there is no instance, the first task will say why.
            let live = guest.instance(Arc::clone(&guest.limits), Wasi::default()).ok();
            guest.resetter = live.and_then(|mut live| Resetter::new(&module, reset, &mut live.store, live.instance));
        }
        Ok(guest)
    }

    /// Its standard streams.
    #[must_use]
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// Whether guests may wait in WASI calls.
    #[must_use]
    pub fn uses_wasi(&self) -> bool {
        self.wasi
    }

    /// Runs one task; the value's bytes are appended to `out`.
    pub fn run(&mut self, task: &TaskInput<'_>, out: &mut Vec<u8>) -> Report {
        let Some(target) = self.targets.get(usize::from(task.function)) else {
            return Report::failed(Failure::new(Kind::BadInput, "no such function in this pool"));
        };
        match &target.call {
            Call::Command(call, start) => {
                let restored = self.resetter.as_ref().and_then(|_| self.kept.take());
                let (report, live) = self.run_command(target, (call, start), restored, task, out);
                if let Some(live) = live.and_then(|live| self.restored(live)) {
                    self.kept = Some(live);
                }
                report
            }
            Call::Core(_) | Call::Bytes(_) => {
                let kept = self.kept.take();
                let (report, live) = self.run_function(target, kept, task, out);
                let live = live.filter(|_| report.result.as_ref().map_or_else(keeps, |_| true));
                self.kept = if self.reuse { live } else { live.and_then(|live| self.restored(live)) };
                report
            }
        }
    }

    /// Calls of a function from integer to integer in the instance that is
    /// kept, where there is one and nothing is counted for each task.
    pub fn plain(&mut self, function: u16) -> Option<Plain<'_>> {
        let Call::Core(call) = &self.targets.get(usize::from(function))?.call else { return None };
        if !self.reuse || self.limits.fuel.is_some() {
            return None;
        }
        let (func, takes, gives) = call.integers()?;
        let live = self.kept.as_mut().filter(|live| live.origin.is_none())?;
        live.limits = Arc::clone(&self.limits);
        let func = func.resolve(&mut live.store, live.instance).ok()?;
        Some(Plain::new(&mut self.kept, func, (takes, gives), self.ticks, &self.console))
    }

    /// Calls the initializer with these arguments; its instance is kept.
    pub fn initialise(&mut self, args: &TaskInput<'_>) -> Report {
        let Some(target) = &self.initializer else {
            return Report::failed(Failure::new(Kind::BadInput, "there is no initializer"));
        };
        let (report, live) = self.run_function(target, None, args, &mut Vec::new());
        self.kept = live.filter(|_| report.result.is_ok());
        report
    }

    /// Whether there is an instance for the next task.
    #[cfg(test)]
    pub fn is_ready(&self) -> bool {
        self.kept.is_some()
    }

    /// Whether the instance that the initializer made ready is gone.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.initializer.is_some() && self.kept.is_none()
    }

    /// The module in the file `origin` as the initializer left it.
    ///
    /// # Errors
    /// What a snapshot would lose.
    pub fn snapshot(&mut self, origin: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut live = self.kept.take().ok_or_else(|| Refusal::machine("the initializer has not run"))?;
        if self.wasi && live.store.data_mut().holds_files() {
            return Err(snapshot::refused("the initializer left a file open"));
        }
        snapshot::of_core(origin, &mut live)
    }

    fn run_function(
        &self,
        target: &CoreTarget,
        kept: Option<Live>,
        task: &TaskInput<'_>,
        out: &mut Vec<u8>,
    ) -> (Report, Option<Live>) {
        self.console.begin();
        let live = match kept {
            Some(mut live) if live.origin.is_none() => {
                live.limits = self.limits_of(task);
                live.store.data_mut().restart(live.limits.memory);
                self.arm(&mut live.store, live.limits.fuel).map(|()| live).map_err(Report::failed)
            }
            kept => self.fresh(target, kept, &[], task),
        };
        let mut live = match live {
            Ok(live) => live,
            Err(report) => return (report, None),
        };
        let before = out.len();
        let result = match &target.call {
            Call::Core(call) => call.run(&mut live, task, out),
            Call::Bytes(call) => call.run(&mut live, task, out),
            Call::Command(..) => Err(bad_output("a program is no function")),
        };
        if result.is_err() {
            out.truncate(before);
        }
        (report(&live.store, &live.limits, result, false), Some(live))
    }

    fn run_command(
        &self,
        target: &CoreTarget,
        (call, start): (&CommandCall, &NumberFunc),
        kept: Option<Live>,
        task: &TaskInput<'_>,
        out: &mut Vec<u8>,
    ) -> (Report, Option<Live>) {
        let invocation = match call.invocation(task) {
            Ok(invocation) => invocation,
            Err(failure) => return (Report::failed(failure), kept),
        };
        self.console.begin_command(invocation.stdin, call.captures());
        let mut live = match self.fresh(target, kept, &invocation.args, task) {
            Ok(live) => live,
            Err(report) => return (report, None),
        };
        let ended = match live.call(start, &mut []) {
            Err(error) if trap::exit_code(&error) != Some(0) => Err(live.failure(&error, Phase::Task)),
            _ => Ok(()),
        };
        let kept = ended.is_ok();
        let before = out.len();
        let scratch = self.grants.scratch();
        let result = self.console.finish_command(|stdout| ended.and_then(|()| call.result(stdout, scratch, out)));
        if result.is_err() {
            out.truncate(before);
        }
        (report(&live.store, &live.limits, result, call.captures()), kept.then_some(live))
    }

    /// An instance that has run, as it was before.
    fn restored(&self, mut live: Live) -> Option<Live> {
        let (resetter, origin) = (self.resetter.as_ref()?, live.origin.as_mut()?);
        resetter.restore(&mut live.store, origin).then_some(live)
    }

    /// An instance as it begins, of one that was restored or a new one,
    /// initialised. `_start` initialises by itself.
    fn fresh(
        &self,
        target: &CoreTarget,
        restored: Option<Live>,
        args: &[String],
        task: &TaskInput<'_>,
    ) -> Result<Live, Report> {
        self.page.set_initialising(true);
        let begun = self.begun(restored, args, task);
        let fresh = begun.and_then(|mut live| match &self.initialize {
            Some(func) if !target.start => match live.call(func, &mut []) {
                Ok(()) => Ok(live),
                Err(error) => Err(init_failed(&live.store, &live.limits, &error)),
            },
            _ => Ok(live),
        });
        self.page.set_initialising(false);
        fresh
    }

    fn begun(&self, restored: Option<Live>, args: &[String], task: &TaskInput<'_>) -> Result<Live, Report> {
        let limits = self.limits_of(task);
        let wasi = if self.wasi {
            let recipe = Recipe { grants: Arc::clone(&self.grants), args: args.to_vec(), index: task.index };
            Wasi::new(recipe, Files::new(self.limits.max_write))
        } else {
            Wasi::default()
        };
        let mut live = match restored {
            Some(live) if live.store.data().meter.total() <= limits.memory => {
                let mut live = Live { limits, ..live };
                let state = live.store.data_mut();
                state.restart(live.limits.memory);
                state.wasi = wasi;
                live
            }
            _ => return self.instance(limits, wasi),
        };
        self.wind(&mut live.store, live.limits.fuel).map(|()| live)
    }

    /// A new store and instance.
    fn instance(&self, limits: Arc<Limits>, wasi: Wasi) -> Result<Live, Report> {
        let mut state = State::new(self.room.with(limits.memory), &self.page, &self.console, wasi);
        state.moved = Arc::clone(&self.moved);
        let mut store = Store::new(self.pre.module().engine(), state);
        store.limiter(|state| &mut state.meter);
        self.wind(&mut store, limits.fuel)?;
        let instance = match self.pre.instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) => return Err(init_failed(&store, &limits, &error)),
        };
        let origin = self.resetter.as_ref().and_then(|resetter| resetter.origin(&mut store, instance));
        Ok(Live { store, instance, limits, found: Vec::new(), origin })
    }

    /// Winds up all that a fresh instance may use up.
    fn wind(&self, store: &mut Store<CoreState>, fuel: Option<u64>) -> Result<(), Report> {
        if self.wasi {
            store.set_hostcall_fuel(self.hostcall_fuel);
        }
        self.arm(store, fuel).map_err(Report::failed)
    }

    /// The limits of one task.
    fn limits_of(&self, task: &TaskInput<'_>) -> Arc<Limits> {
        if task.tighter.is_none() { Arc::clone(&self.limits) } else { Arc::new(task.tighter.of(&self.limits)) }
    }

    /// Winds up the task's clock and fuel.
    fn arm(&self, store: &mut Store<CoreState>, fuel: Option<u64>) -> Result<(), Failure> {
        if let Some(fuel) = fuel {
            let set = store.set_fuel(fuel);
            set.map_err(|error| Failure::new(Kind::OutOfFuel, format!("cannot count instructions: {error:#}")))?;
        }
        if let Some(ticks) = self.ticks {
            store.set_epoch_deadline(ticks);
        }
        Ok(())
    }
}

fn init_failed(store: &Store<CoreState>, limits: &Limits, error: &wasmtime::Error) -> Report {
    let failure = trap::failure(error, store.data(), limits, Phase::Init);
    report(store, limits, Err(failure), false)
}

pub(super) fn report(
    store: &Store<CoreState>,
    limits: &Limits,
    result: Result<Form, Failure>,
    stdout_is_result: bool,
) -> Report {
    let fuel = limits.fuel.map(|fuel| fuel.saturating_sub(store.get_fuel().unwrap_or(0)));
    Report { result, fuel, peak_memory: store.data().meter.peak(), stdout_is_result }
}

/// Whether an instance that is kept survives this failure: those that the
/// guest reported itself, as an exception leaves Python's globals in place.
pub(super) fn keeps(failure: &Failure) -> bool {
    matches!(failure.kind, Kind::Error | Kind::BadInput)
}

/// Maps an artifact, or copies it where its file system forbids to execute.
fn open(engine: &Engine, artifact: File) -> Result<Module, Refusal> {
    let copied = artifact.try_clone();
    // SAFETY: artifacts come from our own compile worker through the host's
    // private, authenticated cache, and the file is never written again.
    // There is no safe way to load compiled code.
    let mapped = unsafe { Module::deserialize_open_file(engine, artifact) };
    mapped.or_else(|error| {
        let mut bytes = Vec::new();
        let read = copied.and_then(|mut file| file.rewind().and_then(|()| file.read_to_end(&mut bytes)));
        read.map_err(|_| stale_or_refused(&error))?;
        // SAFETY: as above.
        unsafe { Module::deserialize(engine, &bytes) }.map_err(|_| stale_or_refused(&error))
    })
}

fn target(
    module: &Module,
    task: &TaskSpec,
    target: &Target,
    reuse: bool,
    grants: &Grants,
) -> Result<CoreTarget, Refusal> {
    let name = target.name.as_str();
    let missing = || Refusal::module(format!("the module exports no function {name:?}"));
    let found = signature(module, name).ok_or_else(missing)?;
    let call = match target.abi {
        Abi::Core => Call::Core(CoreCall::new(target, module, task)?),
        Abi::Bytes => Call::Bytes(BytesCall::new(name, module, task, reuse)?),
        Abi::Command if found == "()->" => {
            let start = NumberFunc::new(module, name).ok_or_else(missing)?;
            Call::Command(CommandCall::new(task, grants.scratch())?, start)
        }
        Abi::Command => {
            return Err(Refusal::module(format!("{name:?} cannot be run as a command: it takes or gives values")));
        }
        Abi::Component => return Err(Refusal::module("the module is no component")),
    };
    Ok(CoreTarget { call, start: name == "_start" })
}

/// The initializer, if its arguments fit.
fn initializer_target(
    module: &Module,
    task: &TaskSpec,
    called: &Initializer,
    grants: &Grants,
) -> Result<CoreTarget, Refusal> {
    let target = target(module, &called.spec(task), &called.target, true, grants)?;
    let args = called.args.as_bytes();
    let fits = match &target.call {
        Call::Core(call) => call.check(args),
        Call::Bytes(_) => item_bytes(args, ItemForm::Json, ItemAs::Auto).map(drop),
        Call::Command(..) => Err(bad_output("a program is no function")),
    };
    fits.map_err(|failure| called.misfit(&failure))?;
    Ok(target)
}

/// The type of an exported function, such as `(i32,i32)->i64`.
#[must_use]
pub fn signature(module: &Module, export: &str) -> Option<String> {
    let ty = module.get_export(export)?;
    let ty = ty.func()?;
    let list = |types: Vec<String>| types.join(",");
    let params = list(ty.params().map(|ty| ty.to_string()).collect());
    let results = list(ty.results().map(|ty| ty.to_string()).collect());
    Some(format!("({params})->{results}"))
}
