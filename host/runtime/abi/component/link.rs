//! Links components: WASI 0.2's command-line world, sleeps that follow a
//! virtual clock, and traps for imports that nothing answers.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::types::{ComponentInstance, ComponentItem};
use wasmtime::component::{Component, Linker, LinkerInstance, Resource, ResourceTable, ResourceType};
use wasmtime_wasi::cli::{WasiCli, WasiCliCtxView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksCtxView};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::random::{WasiRandom, WasiRandomCtx};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView, async_trait};

use crate::describe::Grant;
use crate::runtime::abi::component::files::{self, Budget};
use crate::runtime::abi::component::{keyvalue, objects, sockets};
use crate::runtime::describe_component::grant;
use crate::runtime::desk::Desk;
use crate::runtime::deterministic::VirtualClock;
use crate::runtime::net::Door;
use crate::runtime::state::State;
use crate::runtime::trap::HostStop;
use crate::runtime::wasi::{Grants, Recipe};
use crate::wire::message::{Refusal, RunSetup};

/// Interfaces in the version that the engine's WASI defines.
const MONOTONIC_CLOCK: &str = "wasi:clocks/monotonic-clock@0.2.12";
const PREOPENS: &str = "wasi:filesystem/preopens@0.2.12";

/// WASI of a component's store. Its context is made at the first call: many
/// tasks make none.
#[derive(Default)]
pub struct Wasi {
    recipe: Option<Recipe>,
    made: Option<Box<Made>>,
    /// The guest called what may give it handles.
    asked: bool,
    /// What the task may still write to files.
    pub budget: Budget,
    /// Where the task goes to the network.
    pub door: Door,
}

struct Made {
    context: WasiCtx,
    table: ResourceTable,
    clock: Option<VirtualClock>,
}

/// State of a component's store.
pub type ComponentState = State<Wasi>;

impl Wasi {
    /// WASI of a task that may write `max_write` bytes to files.
    #[must_use]
    pub fn new(recipe: Recipe, max_write: u64) -> Self {
        let door = recipe.grants.door();
        Self { recipe: Some(recipe), made: None, asked: false, budget: Budget::new(max_write), door }
    }

    /// Where calls of the pool go.
    pub(super) fn desk(&self) -> Option<Arc<Desk>> {
        self.recipe.as_ref().map(|recipe| Arc::clone(recipe.grants.desk()))
    }
}

impl State<Wasi> {
    /// Whether the guest holds handles (files, streams, pollables) that no
    /// snapshot would have.
    #[must_use]
    pub fn holds_handles(&self) -> bool {
        self.wasi.made.as_ref().is_some_and(|made| !made.table.is_empty())
    }

    /// Whether the guest has called WASI at all.
    #[must_use]
    pub fn has_called(&self) -> bool {
        self.wasi.made.is_some()
    }

    /// Whether the guest has called what may have given it handles: anything
    /// of WASI but random numbers, the time and the environment.
    #[must_use]
    pub fn has_asked(&self) -> bool {
        self.wasi.asked
    }

    /// The context; one that grants nothing where there is no recipe.
    fn made(&mut self) -> &mut Made {
        self.wasi.made.get_or_insert_with(|| {
            let mut table = ResourceTable::new();
            let (context, clock) = match &self.wasi.recipe {
                Some(recipe) => {
                    table.set_max_capacity(recipe.grants.handles());
                    recipe.grants.context(&self.console, &recipe.args, recipe.index, &self.wasi.door)
                }
                None => (WasiCtxBuilder::new().build(), None),
            };
            Box::new(Made { context, table, clock })
        })
    }
}

impl WasiView for ComponentState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.asked = true;
        let Made { context, table, .. } = self.made();
        WasiCtxView { ctx: context, table }
    }
}

/// Whether a component imports anything that is answered here.
#[must_use]
pub fn imports_wasi(component: &Component) -> bool {
    let ty = component.component_type();
    ty.imports(component.engine()).any(|(name, _)| grant(name) != Grant::Unknown)
}

fn imports(component: &Component, prefix: &str) -> bool {
    let ty = component.component_type();
    ty.imports(component.engine()).any(|(name, _)| name.starts_with(prefix))
}

/// A linker with everything that `component` may import.
///
/// # Errors
/// An import that nothing answers: always, or with `--stub-imports` only where
/// it is neither a function nor an interface.
pub fn linker(component: &Component, grants: &Grants, setup: &RunSetup) -> Result<Linker<ComponentState>, Refusal> {
    let mut linker = Linker::new(component.engine());
    if imports_wasi(component) {
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).map_err(unlinkable)?;
        linker.allow_shadowing(true);
        answer_without_handles(&mut linker).map_err(unlinkable)?;
        // An adapter asks for directories whatever the program does.
        let files = grants.no_files() && !setup.description.adapted;
        if files {
            note_denials(&mut linker).map_err(unlinkable)?;
        }
        if grants.door().leads_somewhere() {
            sockets::answer_names(&mut linker).map_err(unlinkable)?;
        } else {
            sockets::note_denials(&mut linker).map_err(unlinkable)?;
        }
        if grants.writable() {
            files::shadow(&mut linker).map_err(unlinkable)?;
        }
        if grants.deterministic() {
            sleep_virtually(&mut linker).map_err(unlinkable)?;
        }
        linker.allow_shadowing(false);
    }
    if imports(component, "wpool:pool/") {
        objects::add(&mut linker).map_err(unlinkable)?;
    }
    if imports(component, "wasi:keyvalue/") {
        keyvalue::add(&mut linker).map_err(unlinkable)?;
    }
    answer_unknown(&mut linker, component, setup.task.stub_imports)?;
    Ok(linker)
}

/// What gives no handle, so that the instance can be put back: random numbers,
/// with which hash tables begin in many languages, the time, and the
/// environment.
fn answer_without_handles(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    fn random(state: &mut ComponentState) -> &mut WasiRandomCtx {
        state.made().context.random()
    }
    fn clocks(state: &mut ComponentState) -> WasiClocksCtxView<'_> {
        let Made { context, table, .. } = state.made();
        WasiClocksCtxView { ctx: context.clocks(), table }
    }
    fn cli(state: &mut ComponentState) -> WasiCliCtxView<'_> {
        let Made { context, table, .. } = state.made();
        WasiCliCtxView { ctx: context.cli(), table }
    }
    bindings::random::random::add_to_linker::<_, WasiRandom>(linker, random)?;
    bindings::random::insecure::add_to_linker::<_, WasiRandom>(linker, random)?;
    bindings::random::insecure_seed::add_to_linker::<_, WasiRandom>(linker, random)?;
    bindings::clocks::wall_clock::add_to_linker::<_, WasiClocks>(linker, clocks)?;
    bindings::cli::environment::add_to_linker::<_, WasiCli>(linker, cli)?;
    // The other functions of this interface give what can be waited for.
    let mut monotonic = linker.instance(MONOTONIC_CLOCK)?;
    monotonic.func_wrap("now", |mut store: StoreContextMut<'_, ComponentState>, ()| {
        monotonic_clock::Host::now(&mut clocks(store.data_mut())).map(|now| (now,))
    })?;
    monotonic.func_wrap("resolution", |mut store: StoreContextMut<'_, ComponentState>, ()| {
        monotonic_clock::Host::resolution(&mut clocks(store.data_mut())).map(|resolution| (resolution,))
    })
}

/// What keeps a component from being linked.
pub fn unlinkable(error: wasmtime::Error) -> Refusal {
    Refusal::module(format!("cannot link the component: {error:#}"))
}

/// Notices guests that look for files where none are granted: they ask for
/// their directories before they open one.
fn note_denials(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    let mut preopens = linker.instance(PREOPENS)?;
    preopens.func_wrap("get-directories", |mut store: StoreContextMut<'_, ComponentState>, ()| {
        store.data_mut().deny("--dir");
        Ok((Vec::<(Resource<Descriptor>, String)>::new(),))
    })
}

/// The end of a sleep on a virtual clock: to wait for it passes the time.
struct Deadline {
    clock: VirtualClock,
    when_ns: u64,
}

#[async_trait]
impl Pollable for Deadline {
    async fn ready(&mut self) {
        self.clock.advance(self.when_ns.saturating_sub(self.clock.elapsed_ns()));
    }
}

fn sleep_virtually(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    let mut clocks = linker.instance(MONOTONIC_CLOCK)?;
    clocks.func_wrap("subscribe-instant", |store: StoreContextMut<'_, ComponentState>, (when_ns,): (u64,)| {
        Ok((deadline(store, |_| when_ns)?,))
    })?;
    clocks.func_wrap("subscribe-duration", |store: StoreContextMut<'_, ComponentState>, (wait_ns,): (u64,)| {
        Ok((deadline(store, |clock| clock.elapsed_ns().saturating_add(wait_ns))?,))
    })
}

fn deadline(
    mut store: StoreContextMut<'_, ComponentState>,
    when: impl FnOnce(&VirtualClock) -> u64,
) -> wasmtime::Result<Resource<DynPollable>> {
    let state = store.data_mut();
    let clock = state.made().clock.clone().unwrap_or_default();
    let when_ns = when(&clock);
    let table = state.ctx().table;
    let deadline = table.push(Deadline { clock, when_ns })?;
    subscribe(table, deadline)
}

/// A resource that only a stub could make.
enum Stub {}

fn answer_unknown(linker: &mut Linker<ComponentState>, component: &Component, stub: bool) -> Result<(), Refusal> {
    let engine = component.engine();
    let ty = component.component_type();
    let mut unknown = Vec::new();
    for (name, import) in ty.imports(engine) {
        if grant(name) != Grant::Unknown || matches!(import.ty, ComponentItem::Type(_)) {
            continue;
        }
        match import.ty {
            ComponentItem::CoreFunc(_) | ComponentItem::Module(_) | ComponentItem::Component(_) => {
                return Err(Refusal::module(format!("the component imports {name:?}, which is no function")));
            }
            item if stub => stub_item(&mut linker.root(), engine, name, name, &item).map_err(unlinkable)?,
            _ => unknown.push(name.to_owned()),
        }
    }
    let Some(name) = unknown.first() else { return Ok(()) };
    let more = match unknown.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    Err(Refusal::module(format!(
        "the component imports {name:?}{more}, which nothing answers; --stub-imports makes it trap when called"
    )))
}

/// Defines an import so that it links, and traps when it is called.
fn stub_item(
    linker: &mut LinkerInstance<'_, ComponentState>,
    engine: &wasmtime::Engine,
    name: &str,
    path: &str,
    item: &ComponentItem,
) -> wasmtime::Result<()> {
    match item {
        ComponentItem::ComponentFunc(_) => {
            let stop = HostStop::Denied { import: path.to_owned() };
            linker.func_new(name, move |_, _, _, _| Err(stop.clone().into()))
        }
        ComponentItem::Resource(_) => linker.resource(name, ResourceType::host::<Stub>(), |_, _| Ok(())),
        ComponentItem::ComponentInstance(instance) => stub_instance(linker, engine, name, path, instance),
        ComponentItem::CoreFunc(_)
        | ComponentItem::Module(_)
        | ComponentItem::Component(_)
        | ComponentItem::Type(_) => Ok(()),
    }
}

fn stub_instance(
    linker: &mut LinkerInstance<'_, ComponentState>,
    engine: &wasmtime::Engine,
    name: &str,
    path: &str,
    instance: &ComponentInstance,
) -> wasmtime::Result<()> {
    let mut inner = linker.instance(name)?;
    for (export, item) in instance.exports(engine) {
        stub_item(&mut inner, engine, export, &format!("{path}/{export}"), &item.ty)?;
    }
    Ok(())
}
