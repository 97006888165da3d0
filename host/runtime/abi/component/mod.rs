//! Components: loaded once, then a fresh instance per task, be it made anew or
//! put back into the state it began in, or one that is kept as it is.

mod call;
mod files;
mod keyvalue;
mod lift;
mod link;
mod load;
mod lower;
mod objects;
#[cfg(test)]
mod passing_tests;
mod reset;
mod sockets;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::sync::Arc;

use wasmtime::component::{ComponentExportIndex, Instance, InstancePre};
use wasmtime::{Engine, Store, Trap, WasmBacktrace};

use crate::limits::{Isolation, Limits, MIB};
use crate::outcome::{Failure, Form, Kind};
use crate::runtime::abi::command::CommandCall;
use crate::runtime::abi::component::call::FunctionCall;
use crate::runtime::abi::component::link::{ComponentState, Wasi};
use crate::runtime::abi::component::reset::{FOREVER, Origin, Resetter};
use crate::runtime::abi::payload::bad_output;
use crate::runtime::console::Console;
use crate::runtime::engine::refused;
use crate::runtime::instance::{Report, TaskInput};
use crate::runtime::snapshot;
use crate::runtime::state::{Room, State};
use crate::runtime::threads;
use crate::runtime::trap::{self, HostStop, Phase};
use crate::runtime::wasi::{Grants, Recipe};
use crate::wire::message::{Refusal, RunSetup};
use crate::wire::page::Page;

/// What a host call may move beyond an item or a result, in bytes.
const HOSTCALL_SLACK: u64 = MIB;
/// Most resources that a component and its host share at once.
const MAX_COMPONENT_HANDLES: usize = 1024;

/// A loaded component.
pub struct ComponentGuest {
    pre: InstancePre<ComponentState>,
    targets: Vec<Call>,
    /// What is called before any task, under `reuse`.
    initializer: Option<FunctionCall>,
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
    /// By how much the artifact's code is farther back than the component's.
    moved: Arc<[(u64, u64)]>,
    /// The instance for the next task: as the last one left it under `reuse`
    /// or the initializer did, else as it began.
    kept: Option<Live>,
}

enum Call {
    Function(FunctionCall),
    Command(ComponentExportIndex, CommandCall),
}

/// An instance and its store.
pub struct Live {
    /// The store.
    pub store: Store<ComponentState>,
    /// The instance in it.
    pub instance: Instance,
    limits: Arc<Limits>,
    /// The state in which it began, where it can be put back.
    origin: Option<Origin>,
}

impl Live {
    /// The failure that an engine error in a call is.
    #[must_use]
    pub fn failure(&mut self, error: &wasmtime::Error) -> Failure {
        let guests_own = error.is::<Trap>()
            || error.is::<HostStop>()
            || error.is::<WasmBacktrace>()
            || trap::exit_code(error).is_some();
        if guests_own {
            self.note_refusals();
            return trap::failure(error, self.store.data(), &self.limits, Phase::Task);
        }
        // No guest was running: the engine refused to copy what the guest gave.
        let failure = if error.to_string().contains("fuel allocated for hostcalls") {
            trap::result_too_large(&self.limits)
        } else {
            bad_output(format!("the function broke the rules of passing values: {}", error.root_cause()))
        };
        self.finish(failure)
    }

    /// Adds what the store knows to a failure that the host found itself.
    #[must_use]
    pub fn finish(&mut self, failure: Failure) -> Failure {
        self.note_refusals();
        trap::finish(failure, self.store.data(), Phase::Task)
    }

    /// Remembers why files could not be written, or addresses not be used.
    fn note_refusals(&mut self) {
        let wasi = &self.store.data().wasi;
        let (over, refused) = (wasi.budget.exceeded(), wasi.door.refused());
        if over {
            self.store.data_mut().deny("--max-write");
        }
        if refused {
            self.store.data_mut().deny(sockets::FLAG);
        }
    }
}

impl ComponentGuest {
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
        let component = load::open(engine, artifact)?;
        let image = component.initialize_copy_on_write_image();
        image.map_err(|error| refused("cannot prepare the component's memory", &error))?;
        let task = &setup.task;
        let linker = link::linker(&component, &grants, setup)?;
        let pre = linker.instantiate_pre(&component).map_err(link::unlinkable)?;
        let known =
            setup.description.functions.iter().map(|known| ((known.interface.as_deref(), known.name.as_str()), known));
        let known: load::Known<'_> = known.collect();
        let targets = task.targets.iter().map(|target| load::find(&component, target, &known, setup, &grants));
        let targets = targets.collect::<Result<_, _>>()?;
        let reuse = task.isolation == Isolation::Reuse;
        let initializer = task.initializer.as_ref().filter(|_| task.initialises());
        let initializer =
            initializer.map(|called| load::initializer_call(&component, called, &known, setup)).transpose()?;
        let fresh = task.isolation == Isolation::Fresh && initializer.is_none();
        let reset = setup.description.reset.as_ref();
        let limits = &task.limits;
        let largest = limits.max_item.max(limits.max_result).saturating_add(HOSTCALL_SLACK);
        Ok(Self {
            pre,
            targets,
            initializer,
            wasi: link::imports_wasi(&component),
            reuse,
            ticks: threads::epoch_timeout(limits).map(threads::ticks),
            hostcall_fuel: usize::try_from(largest).unwrap_or(usize::MAX),
            limits: Arc::new(limits.clone()),
            room: Room::new(limits.memory, setup.description.needs),
            console: Arc::new(Console::new(Arc::clone(&page), limits.max_result)),
            page,
            grants,
            resetter: reset.filter(|_| fresh).and_then(|reset| Resetter::new(&component, reset)),
            moved: reset.map_or_else(Arc::default, |reset| reset.moved.as_slice().into()),
            kept: None,
        })
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
        self.grants.desk().begin(task.index, task.attempt);
        let before = out.len();
        let report = match self.targets.get(usize::from(task.function)) {
            None => Report::failed(Failure::new(Kind::BadInput, "no such function in this pool")),
            // A program's instance is spent when it returns.
            Some(Call::Command(export, call)) => self.run_command(*export, call, task, out),
            Some(Call::Function(call)) => {
                let kept = self.kept.take();
                let (report, live) = self.run_function(call, kept, task, out);
                let keeps = |failure: &Failure| matches!(failure.kind, Kind::Error | Kind::BadInput);
                let live = live.filter(|_| report.result.as_ref().map_or_else(keeps, |_| true));
                self.kept = if self.reuse { live } else { live.and_then(|live| self.restored(live)) };
                report
            }
        };
        if report.result.is_err() {
            out.truncate(before);
        }
        report
    }

    /// Calls the initializer with these arguments; its instance is kept.
    pub fn initialise(&mut self, args: &TaskInput<'_>) -> Report {
        let Some(call) = &self.initializer else {
            return Report::failed(Failure::new(Kind::BadInput, "there is no initializer"));
        };
        self.grants.desk().close();
        let (report, live) = self.run_function(call, None, args, &mut Vec::new());
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

    /// The component in the file `origin` as the initializer left it.
    ///
    /// # Errors
    /// What a snapshot would lose.
    pub fn snapshot(&mut self, origin: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut live = self.kept.take().ok_or_else(|| Refusal::machine("the initializer has not run"))?;
        if live.store.data().holds_handles() {
            return Err(snapshot::refused("the initializer printed, or left a stream or file open"));
        }
        // To look at the state takes a page of each memory, and some code.
        live.store.data_mut().meter.lift();
        live.store.set_hostcall_fuel(usize::MAX);
        if self.limits.fuel.is_some() && live.store.set_fuel(u64::MAX).is_err() {
            return Err(Refusal::machine("cannot stop counting instructions"));
        }
        if self.ticks.is_some() {
            live.store.set_epoch_deadline(FOREVER);
        }
        snapshot::of_component(origin, &mut live)
    }

    fn run_function(
        &self,
        call: &FunctionCall,
        kept: Option<Live>,
        task: &TaskInput<'_>,
        out: &mut Vec<u8>,
    ) -> (Report, Option<Live>) {
        self.console.begin();
        let live = match kept {
            Some(live) if live.origin.is_some() => self.again(live, task),
            Some(mut live) => {
                live.limits = self.limits_of(task);
                let state = live.store.data_mut();
                state.restart(live.limits.memory);
                state.wasi.budget.refill(self.limits.max_write);
                state.wasi.door.forget();
                self.arm(&mut live.store, live.limits.fuel).map(|()| live).map_err(Report::failed)
            }
            None => self.fresh(&[], task),
        };
        match live {
            Err(report) => (report, None),
            Ok(mut live) => {
                let result = call.run(&mut live, task, out);
                (report(&live.store, &live.limits, result, false), Some(live))
            }
        }
    }

    fn run_command(
        &self,
        export: ComponentExportIndex,
        call: &CommandCall,
        task: &TaskInput<'_>,
        out: &mut Vec<u8>,
    ) -> Report {
        let invocation = match call.invocation(task) {
            Ok(invocation) => invocation,
            Err(failure) => return Report::failed(failure),
        };
        self.console.begin_command(invocation.stdin, call.captures());
        let mut live = match self.fresh(&invocation.args, task) {
            Ok(live) => live,
            Err(report) => return report,
        };
        let ended = run_program(&mut live, export);
        let scratch = self.grants.scratch();
        let result = self.console.finish_command(|stdout| ended.and_then(|()| call.result(stdout, scratch, out)));
        report(&live.store, &live.limits, result, call.captures())
    }

    /// An instance that has run, as it was before.
    fn restored(&self, mut live: Live) -> Option<Live> {
        let (resetter, origin) = (self.resetter.as_ref()?, live.origin.as_mut()?);
        resetter.restore(&mut live.store, origin).then_some(live)
    }

    /// An instance that was restored, for a task.
    fn again(&self, live: Live, task: &TaskInput<'_>) -> Result<Live, Report> {
        let limits = self.limits_of(task);
        let spent = live.origin.as_ref().map_or(0, |origin| origin.spent);
        if live.store.data().meter.total() > limits.memory || limits.fuel.is_some_and(|fuel| fuel < spent) {
            // A new one says why.
            return self.fresh(&[], task);
        }
        let fuel = limits.fuel.map(|fuel| fuel - spent);
        let mut live = Live { limits, ..live };
        let state = live.store.data_mut();
        state.restart(live.limits.memory);
        state.wasi = self.context(&[], task);
        self.wind(&mut live.store, fuel).map(|()| live)
    }

    /// WASI of a task that begins.
    fn context(&self, args: &[String], task: &TaskInput<'_>) -> Wasi {
        if !self.wasi {
            return Wasi::default();
        }
        let recipe = Recipe { grants: Arc::clone(&self.grants), args: args.to_vec(), index: task.index };
        Wasi::new(recipe, self.limits.max_write)
    }

    /// A new store and instance.
    fn fresh(&self, args: &[String], task: &TaskInput<'_>) -> Result<Live, Report> {
        let limits = self.limits_of(task);
        let wasi = self.context(args, task);
        let mut state = State::new(self.room.with(limits.memory), &self.page, &self.console, wasi);
        state.moved = Arc::clone(&self.moved);
        let mut store = Store::new(self.pre.engine(), state);
        store.limiter(|state| &mut state.meter);
        store.set_max_component_handles(MAX_COMPONENT_HANDLES);
        self.wind(&mut store, limits.fuel)?;
        self.page.set_initialising(true);
        let instance = self.pre.instantiate(&mut store);
        self.page.set_initialising(false);
        let instance = match instance {
            Ok(instance) => instance,
            Err(error) => {
                let failure = trap::failure(&error, store.data(), &limits, Phase::Init);
                return Err(report(&store, &limits, Err(failure), false));
            }
        };
        let mut live = Live { store, instance, limits, origin: None };
        if let Some(resetter) = &self.resetter {
            let left = live.store.get_fuel().ok();
            let spent = live.limits.fuel.zip(left).map_or(0, |(given, left)| given.saturating_sub(left));
            match resetter.origin(&mut live.store, instance, spent) {
                Ok(origin) => live.origin = origin,
                // It cannot be called any more.
                Err(_) => return self.fresh(args, task),
            }
            self.wind(&mut live.store, left)?;
        }
        Ok(live)
    }

    /// Winds up all that a fresh instance may use up.
    fn wind(&self, store: &mut Store<ComponentState>, fuel: Option<u64>) -> Result<(), Report> {
        store.set_hostcall_fuel(self.hostcall_fuel);
        self.arm(store, fuel).map_err(Report::failed)
    }

    /// The limits of one task.
    fn limits_of(&self, task: &TaskInput<'_>) -> Arc<Limits> {
        if task.tighter.is_none() { Arc::clone(&self.limits) } else { Arc::new(task.tighter.of(&self.limits)) }
    }

    /// Winds up the task's clock and fuel.
    fn arm(&self, store: &mut Store<ComponentState>, fuel: Option<u64>) -> Result<(), Failure> {
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

fn report(
    store: &Store<ComponentState>,
    limits: &Limits,
    result: Result<Form, Failure>,
    stdout_is_result: bool,
) -> Report {
    let fuel = limits.fuel.map(|fuel| fuel.saturating_sub(store.get_fuel().unwrap_or(0)));
    Report { result, fuel, peak_memory: store.data().meter.peak(), stdout_is_result }
}

/// Runs a program to its end; `run` gives an error for exit code 1.
fn run_program(live: &mut Live, export: ComponentExportIndex) -> Result<(), Failure> {
    let func = live.instance.get_typed_func::<(), (Result<(), ()>,)>(&mut live.store, &export);
    match func.and_then(|func| func.call(&mut live.store, ())) {
        Ok((Ok(()),)) => Ok(()),
        Ok((Err(()),)) => {
            let failure = Failure::new(Kind::Exit, "exit code 1").with(|detail| detail.code = Some(1));
            Err(live.finish(failure))
        }
        Err(error) if trap::exit_code(&error) == Some(0) => Ok(()),
        Err(error) => Err(live.failure(&error)),
    }
}
