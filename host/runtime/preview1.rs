//! Links core modules: WASI preview 1, with exit codes kept whole and sleeps
//! that follow a virtual clock, and traps for imports that nothing answers.

use wasmtime::{Caller, ExternType, Linker, Memory, Module, Store};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::{self, WasiP1Ctx};

use crate::runtime::descriptors::{self, Files};
use crate::runtime::deterministic::VirtualClock;
use crate::runtime::state::State;
use crate::runtime::trap::HostStop;
use crate::runtime::wasi::{Grants, Recipe};
use crate::wire::message::Refusal;

/// The module name of WASI preview 1.
pub const MODULE: &str = "wasi_snapshot_preview1";

/// All its functions.
#[rustfmt::skip]
pub const FUNCTIONS: [&str; 46] = [
    "args_get", "args_sizes_get", "environ_get", "environ_sizes_get", "clock_res_get",
    "clock_time_get", "fd_advise", "fd_allocate", "fd_close", "fd_datasync",
    "fd_fdstat_get", "fd_fdstat_set_flags", "fd_fdstat_set_rights", "fd_filestat_get", "fd_filestat_set_size",
    "fd_filestat_set_times", "fd_pread", "fd_prestat_get", "fd_prestat_dir_name", "fd_pwrite",
    "fd_read", "fd_readdir", "fd_renumber", "fd_seek", "fd_sync",
    "fd_tell", "fd_write", "path_create_directory", "path_filestat_get", "path_filestat_set_times",
    "path_link", "path_open", "path_readlink", "path_remove_directory", "path_rename",
    "path_symlink", "path_unlink_file", "poll_oneoff", "proc_exit", "proc_raise",
    "sched_yield", "random_get", "sock_accept", "sock_recv", "sock_send",
    "sock_shutdown",
];

/// Errno values of preview 1 that are answered here.
const SUCCESS: i32 = 0;
const BADF: i32 = 8;
const FAULT: i32 = 21;
const INVAL: i32 = 28;

/// WASI of a core module's store. Many tasks never call it, and its context
/// costs a tenth of a fresh instance: it is made at the first call.
#[derive(Default)]
pub struct Wasi {
    recipe: Option<Recipe>,
    context: Option<Box<Made>>,
    /// What the guest did with its descriptors.
    pub files: Files,
}

struct Made {
    context: WasiP1Ctx,
    /// The virtual clock, under `--deterministic`.
    clock: Option<VirtualClock>,
}

impl Wasi {
    /// WASI of one task.
    #[must_use]
    pub fn new(recipe: Recipe, files: Files) -> Self {
        Self { recipe: Some(recipe), context: None, files }
    }
}

/// State of a core module's store.
pub type CoreState = State<Wasi>;

impl State<Wasi> {
    /// The context; one that grants nothing where there is no recipe.
    pub(super) fn preview1(&mut self) -> &mut WasiP1Ctx {
        &mut self.made().context
    }

    /// Whether the guest has files open that no snapshot would have.
    pub(super) fn holds_files(&mut self) -> bool {
        let Some(recipe) = &self.wasi.recipe else { return false };
        let (first, last) = (recipe.grants.first_file(), recipe.grants.handles());
        // Where it called nothing, it opened nothing.
        let Some(made) = &mut self.wasi.context else { return false };
        descriptors::has_open(&mut made.context, first, i32::try_from(last).unwrap_or(i32::MAX))
    }

    /// The virtual clock; one that nobody else sees where there is none.
    fn clock(&mut self) -> VirtualClock {
        self.made().clock.clone().unwrap_or_default()
    }

    fn made(&mut self) -> &mut Made {
        self.wasi.context.get_or_insert_with(|| {
            Box::new(match &self.wasi.recipe {
                Some(recipe) => {
                    let (context, clock) = recipe.grants.preview1(&self.console, &recipe.args, recipe.index);
                    Made { context, clock }
                }
                None => Made { context: WasiCtxBuilder::new().build_p1(), clock: None },
            })
        })
    }
}

/// Whether a module imports anything of preview 1.
#[must_use]
pub fn imported(module: &Module) -> bool {
    module.imports().any(|import| import.module() == MODULE)
}

/// A linker with everything that `module` may import. `probe` is state for a
/// store in which definitions are looked up and nothing runs.
///
/// # Errors
/// An import that nothing answers: always, or with `stub` only where it is no
/// function.
pub fn linker(module: &Module, grants: &Grants, stub: bool, probe: CoreState) -> Result<Linker<CoreState>, Refusal> {
    let mut linker = Linker::new(module.engine());
    if imported(module) {
        p1::add_to_linker_sync(&mut linker, CoreState::preview1).map_err(unlinkable)?;
        linker.allow_shadowing(true);
        shadow(&mut linker, grants).map_err(unlinkable)?;
        linker.allow_shadowing(false);
    }
    answer_unknown(&mut linker, module, stub, Store::new(module.engine(), probe))?;
    Ok(linker)
}

fn unlinkable(error: wasmtime::Error) -> Refusal {
    Refusal::module(format!("cannot link the module: {error:#}"))
}

fn shadow(linker: &mut Linker<CoreState>, grants: &Grants) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "proc_exit", |_: Caller<'_, CoreState>, code: i32| -> wasmtime::Result<()> {
        Err(HostStop::Exit(code).into())
    })?;
    descriptors::shadow(linker, grants)?;
    if grants.no_files() {
        // A C library asks for its first directory when the program first
        // names a file: the one sign that a `--dir` was missed.
        linker.func_wrap(MODULE, "fd_prestat_get", |mut caller: Caller<'_, CoreState>, _: i32, _: i32| {
            caller.data_mut().deny("--dir");
            BADF
        })?;
    }
    if grants.deterministic() {
        linker.func_wrap(MODULE, "poll_oneoff", poll_virtual)?;
    }
    Ok(())
}

fn answer_unknown(
    linker: &mut Linker<CoreState>,
    module: &Module,
    stub: bool,
    mut store: Store<CoreState>,
) -> Result<(), Refusal> {
    let mut unknown = Vec::new();
    for import in module.imports() {
        if linker.get_by_import(&mut store, &import).is_some() {
            continue;
        }
        let name = format!("{}::{}", import.module(), import.name());
        match import.ty() {
            ExternType::Func(ty) if stub => {
                let stop = HostStop::Denied { import: name };
                let defined =
                    linker.func_new(import.module(), import.name(), ty, move |_, _, _| Err(stop.clone().into()));
                defined.map_err(unlinkable)?;
            }
            ExternType::Func(_) => unknown.push((name, "function", true)),
            ExternType::Memory(_) => unknown.push((name, "memory", false)),
            ExternType::Table(_) => unknown.push((name, "table", false)),
            ExternType::Global(_) => unknown.push((name, "global", false)),
            ExternType::Tag(_) => unknown.push((name, "tag", false)),
        }
    }
    refuse_unknown(&unknown)
}

fn refuse_unknown(unknown: &[(String, &str, bool)]) -> Result<(), Refusal> {
    let Some((name, kind, _)) = unknown.first() else { return Ok(()) };
    let more = match unknown.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let hint = if unknown.iter().all(|(_, _, function)| *function) {
        "; --stub-imports makes it trap when called"
    } else {
        ""
    };
    Err(Refusal::module(format!("the module imports {kind} {name:?}{more}, which nothing answers{hint}")))
}

/// `poll_oneoff` on a virtual clock: files and streams are ready at once, and
/// where there are only clocks the earliest of them rings at once.
fn poll_virtual(mut caller: Caller<'_, CoreState>, subs: i32, events: i32, count: i32, written: i32) -> i32 {
    let Some(wasmtime::Extern::Memory(memory)) = caller.get_export("memory") else { return FAULT };
    match poll(&mut caller, memory, subs as u32, events as u32, count as u32) {
        Err(errno) => errno,
        Ok(ready) => match memory.write(&mut caller, written as u32 as usize, &ready.to_le_bytes()) {
            Ok(()) => SUCCESS,
            Err(_) => FAULT,
        },
    }
}

/// Bytes of a subscription and of an event.
const SUBSCRIPTION: usize = 48;
const EVENT: usize = 32;
/// Most subscriptions in one call: the answers wait in the host's memory.
const MAX_POLLED: u32 = 1 << 16;

fn poll(caller: &mut Caller<'_, CoreState>, memory: Memory, subs: u32, events: u32, count: u32) -> Result<u32, i32> {
    let (bytes, state) = memory.data_and_store_mut(caller);
    let clock = state.clock();
    let length = (count as usize).checked_mul(SUBSCRIPTION).ok_or(INVAL)?;
    let start = subs as usize;
    if count == 0 || count > MAX_POLLED {
        return Err(INVAL);
    }
    let subscriptions = bytes.get(start..start + length).ok_or(FAULT)?;
    let mut ready = Vec::new();
    let mut earliest: Option<(u64, [u8; EVENT])> = None;
    for entry in subscriptions.chunks_exact(SUBSCRIPTION) {
        let mut event = [0; EVENT];
        event[..8].copy_from_slice(&entry[..8]);
        event[10] = entry[8];
        if entry[8] != 0 {
            // One byte or more can be read or written.
            event[16] = 1;
            ready.push(event);
            continue;
        }
        let wait = wait_ns(entry, &clock).ok_or(INVAL)?;
        if earliest.is_none_or(|(least, _)| wait < least) {
            earliest = Some((wait, event));
        }
    }
    if ready.is_empty()
        && let Some((wait, event)) = earliest
    {
        clock.advance(wait);
        ready.push(event);
    }
    let target = events as usize;
    for (position, event) in ready.iter().enumerate() {
        let at = target + position * EVENT;
        bytes.get_mut(at..at + EVENT).ok_or(FAULT)?.copy_from_slice(event);
    }
    Ok(ready.len() as u32)
}

/// How long a clock subscription waits; `None` for a clock there is not.
fn wait_ns(entry: &[u8], clock: &VirtualClock) -> Option<u64> {
    let word = |at: usize| entry.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let id = u32::from_le_bytes(entry.get(16..20)?.try_into().ok()?);
    let timeout = word(24)?;
    let absolute = entry.get(40)? & 1 != 0;
    let now = match id {
        0 => clock.wall_ns(),
        1 => clock.elapsed_ns(),
        _ => return None,
    };
    Some(if absolute { timeout.saturating_sub(now) } else { timeout })
}
