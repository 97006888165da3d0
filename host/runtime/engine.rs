//! The one place where a wasmtime configuration is made: which proposals are
//! on, how tasks are bounded, how the pooling allocator is sized. Compile and
//! run workers both come here, so that an artifact always fits its loader.

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy, WasmBacktraceDetails,
    WasmFeatures,
};

use crate::describe::{Needs, Shape};
use crate::limits::{Features, KIB, MIB};
use crate::outcome::MAX_FRAMES;
use crate::runtime::threads;
use crate::runtime::trap::no_memory;
use crate::wire::message::{CompileSetup, Refusal, RefusalCause, RunSetup};

/// Slots that even the smallest module gets, so that one being torn down never
/// makes the next instance wait.
const MIN_SLOTS: u32 = 16;
/// Elements of a table that every module may grow to.
const TABLE_ELEMENTS: u64 = 20_000;
/// Stack that host calls need beside the guest's own.
const HOST_STACK: u64 = 2 * MIB;
/// Upper bound of one instance's bookkeeping; modules with 200 000 functions
/// need several megabytes.
const INSTANCE_BYTES: usize = 64 << 20;
/// Resident bytes kept per memory where the kernel can report dirty pages.
const KEEP_WITH_SCAN: u64 = MIB;
/// The same where it cannot, or its report would not be whole, and the range is
/// cleared for every task.
const KEEP_WITHOUT_SCAN: u64 = 128 * KIB;

/// What an engine is for.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    /// Compiling one module.
    Compile,
    /// Running the tasks of one module.
    Run {
        /// What one instance takes.
        needs: Needs,
        /// `--memory`, in bytes.
        memory: u64,
    },
}

/// Everything that decides an engine's configuration.
#[derive(Clone, Copy, Debug)]
pub struct EngineSpec {
    /// Proposals beyond the default.
    pub features: Features,
    /// Loops and calls check for the end of the task's time.
    pub epochs: bool,
    /// Instructions are counted.
    pub fuel: bool,
    /// The largest wasm stack, in bytes.
    pub stack: u64,
    /// The component model is on.
    pub component: bool,
    /// What the engine is for.
    pub role: Role,
}

impl EngineSpec {
    /// The engine of a compile worker; `component` says what the module is.
    #[must_use]
    pub fn compile(setup: &CompileSetup, component: bool) -> Self {
        Self {
            features: setup.features,
            epochs: setup.epochs,
            fuel: setup.fuel,
            stack: setup.stack,
            component,
            role: Role::Compile,
        }
    }

    /// The engine of a run worker.
    #[must_use]
    pub fn run(setup: &RunSetup) -> Self {
        let limits = &setup.task.limits;
        Self {
            features: setup.task.features,
            epochs: threads::epoch_timeout(limits).is_some(),
            fuel: limits.fuel.is_some(),
            stack: limits.stack,
            component: setup.description.shape == Shape::Component,
            role: Role::Run { needs: setup.description.needs, memory: limits.memory },
        }
    }

    /// Makes the engine.
    ///
    /// # Errors
    /// When the machine cannot reserve what the pool of instances needs.
    pub fn engine(&self) -> Result<Engine, Refusal> {
        Engine::new(&self.config()).map_err(|error| refused("cannot set up the engine", &error))
    }

    fn config(&self) -> Config {
        let mut config = Config::new();
        config.strategy(Strategy::Cranelift);
        config.wasm_features(WasmFeatures::all(), false);
        config.wasm_features(accepted(self.features, self.component), true);
        // Calls from one core instance of a component to another copy between
        // their memories, in modules that wasmtime writes. The module itself
        // was held to `accepted` by the validator.
        config.wasm_multi_memory(self.component || self.features.multi_memory);
        config.relaxed_simd_deterministic(true);
        config.gc_support(collects(self.features));
        config.concurrency_support(false);
        config.epoch_interruption(self.epochs);
        config.consume_fuel(self.fuel);
        let stack = usize::try_from(self.stack.max(1)).unwrap_or(usize::MAX / 2);
        config.max_wasm_stack(stack);
        config.async_stack_size(stack.saturating_add(HOST_STACK as usize));
        config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(MAX_FRAMES));
        config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
        config.debug_info(false);
        config.generate_address_map(true);
        config.native_unwind_info(false);
        config.memory_init_cow(true);
        config.parallel_compilation(matches!(self.role, Role::Compile));
        if let Role::Run { needs, .. } = self.role {
            // Nothing is compiled here; making the compiler would cost a
            // third of a worker's start.
            config.enable_compiler(false);
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(needs)));
        }
        config
    }
}

/// The proposals that modules may use: what compilers emit by default, plus
/// what was asked for. The validator of the compile worker uses the same set.
#[must_use]
pub fn accepted(features: Features, component: bool) -> WasmFeatures {
    let mut on = WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::SIMD
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::FLOATS
        | WasmFeatures::EXTENDED_CONST;
    on.set(WasmFeatures::COMPONENT_MODEL, component);
    on.set(WasmFeatures::EXCEPTIONS, features.exceptions);
    on.set(WasmFeatures::GC_TYPES, collects(features));
    on.set(WasmFeatures::FUNCTION_REFERENCES | WasmFeatures::GC, features.gc);
    on.set(WasmFeatures::MEMORY64, features.memory64);
    on.set(WasmFeatures::MULTI_MEMORY, features.multi_memory);
    on.set(WasmFeatures::RELAXED_SIMD, features.relaxed_simd);
    on.set(WasmFeatures::WIDE_ARITHMETIC, features.wide_arithmetic);
    on
}

/// Whether a garbage-collected heap is needed: exceptions live on it too.
fn collects(features: Features) -> bool {
    features.gc || features.exceptions
}

/// Elements that each table of a module may have.
#[must_use]
pub fn table_elements(needs: Needs) -> u64 {
    needs.table_elements.max(TABLE_ELEMENTS)
}

fn pooling(needs: Needs) -> PoolingAllocationConfig {
    let slots = |count: u32| count.saturating_add(2).max(MIN_SLOTS);
    let scans = PoolingAllocationConfig::is_pagemap_scan_available() && !may_swap();
    let keep = if scans { KEEP_WITH_SCAN } else { KEEP_WITHOUT_SCAN };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(slots(needs.instances));
    pool.total_component_instances(MIN_SLOTS);
    pool.total_memories(slots(needs.memories));
    // Slots of tables are writable memory from the start: only small ones are
    // kept in reserve.
    let large = needs.table_elements > TABLE_ELEMENTS;
    pool.total_tables(if large { needs.tables.saturating_add(1) } else { slots(needs.tables) });
    pool.total_gc_heaps(slots(needs.instances));
    pool.total_stacks(0);
    pool.max_unused_warm_slots(slots(needs.instances));
    pool.max_memories_per_module(needs.memories.max(1));
    pool.max_tables_per_module(needs.tables.max(1));
    pool.table_elements(usize::try_from(table_elements(needs)).unwrap_or(usize::MAX));
    pool.max_core_instance_size(INSTANCE_BYTES);
    pool.max_component_instance_size(INSTANCE_BYTES);
    // Always the reservation of 4 GiB: the limiter of the store holds tasks to
    // `--memory`, a smaller slot would only cost explicit bounds checks, and a
    // larger one is more than a slot reserves.
    pool.max_memory_size(1 << 32);
    pool.linear_memory_keep_resident(keep as usize);
    pool.table_keep_resident((keep / 8) as usize);
    pool.pagemap_scan(if scans { Enabled::Yes } else { Enabled::No });
    pool
}

/// Whether the system may move pages to a disk. The engine's scan passes over
/// those that are there: the next instance would find what the last one left.
fn may_swap() -> bool {
    rustix::system::sysinfo().totalswap > 0
}

/// Stack that a thread needs to run guests with `stack` bytes of their own.
#[must_use]
pub fn thread_stack(stack: u64) -> usize {
    usize::try_from(stack.saturating_add(2 * HOST_STACK)).unwrap_or(usize::MAX)
}
/// Why a worker cannot work, where neither its module nor its artifact is to
/// blame. Where the system has no memory, one worker less may do.
#[must_use]
pub fn refused(what: &str, error: &wasmtime::Error) -> Refusal {
    let cause = if no_memory(error) { RefusalCause::Scarce } else { RefusalCause::Machine };
    Refusal { cause, message: format!("{what}: {error:#}") }
}
