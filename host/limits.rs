//! What an item, a module and a run may use. Every limit has a finite default
//! except those that are opt-in (`cpu_timeout`, `fuel`, `deadline`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One kibibyte, in bytes.
pub const KIB: u64 = 1 << 10;
/// One mebibyte, in bytes.
pub const MIB: u64 = 1 << 20;
/// One gibibyte, in bytes.
pub const GIB: u64 = 1 << 30;

/// The most workers of one pool.
pub const MOST_PROCESSES: usize = 4096;
/// The largest item or result, in bytes: a frame's length has 32 bits.
pub const LARGEST_PAYLOAD: u64 = GIB;
/// The largest wasm stack, in bytes.
pub const LARGEST_STACK: u64 = GIB;

/// Limits of one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Wall time per task, from its start in the worker; `None` is no limit.
    pub timeout: Option<Duration>,
    /// Whether the host kills the worker or the guest is trapped first.
    pub timeout_mode: TimeoutMode,
    /// Processor time per task.
    pub cpu_timeout: Option<Duration>,
    /// All linear memories and tables of the guest together, in bytes.
    pub memory: u64,
    /// Instructions per task.
    pub fuel: Option<u64>,
    /// Wasm stack, in bytes.
    pub stack: u64,
    /// One item, in bytes.
    pub max_item: u64,
    /// One result, in bytes.
    pub max_result: u64,
    /// Kept tail of each of stdout and stderr, in bytes.
    pub max_captured: u64,
    /// Bytes written to granted directories per task.
    pub max_write: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Some(Duration::from_secs(60)),
            timeout_mode: TimeoutMode::Kill,
            cpu_timeout: None,
            memory: 512 * MIB,
            fuel: None,
            stack: 512 * KIB,
            max_item: 64 * MIB,
            max_result: 64 * MIB,
            max_captured: MIB,
            max_write: GIB,
        }
    }
}

/// Limits of the tasks of one call, where they are below the pool's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tighter {
    /// Instructions per task, where they are counted.
    pub fuel: Option<u64>,
    /// All linear memories and tables of the guest together, in bytes.
    pub memory: Option<u64>,
}

impl Tighter {
    /// Whether the pool's limits are all that there is.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// The limits of a task: the lower ones.
    #[must_use]
    pub fn of(self, limits: &Limits) -> Limits {
        let fuel = limits.fuel.map(|most| self.fuel.map_or(most, |fuel| fuel.min(most)));
        let memory = self.memory.map_or(limits.memory, |memory| memory.min(limits.memory));
        Limits { fuel, memory, ..limits.clone() }
    }
}

/// Shortest and longest time that a trap is given before the worker is killed.
const GRACE: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

impl Limits {
    /// What no task could run under, if anything: the command refuses the same.
    #[must_use]
    pub fn mistake(&self) -> Option<String> {
        let none = [
            ("timeout", self.timeout.is_some_and(|time| time.is_zero())),
            ("cpu_timeout", self.cpu_timeout.is_some_and(|time| time.is_zero())),
            ("memory", self.memory == 0),
            ("fuel", self.fuel == Some(0)),
            ("stack", self.stack == 0),
            ("max_item", self.max_item == 0),
            ("max_result", self.max_result == 0),
        ];
        let large = [
            ("stack", self.stack > LARGEST_STACK),
            ("max_item", self.max_item > LARGEST_PAYLOAD),
            ("max_result", self.max_result > LARGEST_PAYLOAD),
        ];
        let of = |names: &[(&'static str, bool)]| names.iter().find(|(_, wrong)| *wrong).map(|(name, _)| *name);
        of(&none)
            .map(|name| format!("{name} is 0; it must be more"))
            .or_else(|| of(&large).map(|name| format!("{name} is too large; at most 1 GiB")))
    }

    /// When the host kills a worker over its running task: at the timeout, or
    /// some time after a trap should have ended the task. (A sleeping guest
    /// reaches no check.)
    #[must_use]
    pub fn killed_after(&self) -> Option<Duration> {
        let timeout = self.timeout?;
        Some(match self.timeout_mode {
            TimeoutMode::Kill => timeout,
            TimeoutMode::Trap => timeout.saturating_add((timeout / 10).clamp(GRACE[0], GRACE[1])),
        })
    }
}

/// Who ends a task that is over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeoutMode {
    /// The host kills the worker: no cost in the guest's loops.
    #[default]
    Kill,
    /// The guest is trapped at the next loop or call; the worker survives.
    Trap,
}

/// Limits of compiling one module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompileLimits {
    /// Size of the module, in bytes.
    pub max_module: u64,
    /// Wall time of the compile worker.
    pub timeout: Duration,
    /// Memory of the compile worker, in bytes.
    pub memory: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self { max_module: 128 * MIB, timeout: Duration::from_secs(120), memory: 4 * GIB }
    }
}

/// What survives from one task to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// An instance as it begins for each task: made anew, or put back so.
    #[default]
    Fresh,
    /// One instance per worker, as Python's globals; replaced after a failure.
    Reuse,
    /// A new worker process per task.
    Process,
}

/// Wasm proposals that are off unless asked for with `-W`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Features {
    /// Exception handling (implies the garbage-collected heap's support).
    pub exceptions: bool,
    /// Garbage-collected types and function references.
    pub gc: bool,
    /// 64-bit memories.
    pub memory64: bool,
    /// More than one memory.
    pub multi_memory: bool,
    /// Relaxed SIMD, in its deterministic form.
    pub relaxed_simd: bool,
    /// Wide arithmetic.
    pub wide_arithmetic: bool,
}

impl Features {
    /// Names as `-W` takes them, in the order of the fields.
    pub const NAMES: [&'static str; 6] =
        ["exceptions", "gc", "memory64", "multi-memory", "relaxed-simd", "wide-arithmetic"];

    /// Switches a feature on by its name; false when there is none.
    pub fn enable(&mut self, name: &str) -> bool {
        let field = match name {
            "exceptions" => &mut self.exceptions,
            "gc" => &mut self.gc,
            "memory64" => &mut self.memory64,
            "multi-memory" => &mut self.multi_memory,
            "relaxed-simd" => &mut self.relaxed_simd,
            "wide-arithmetic" => &mut self.wide_arithmetic,
            _ => return false,
        };
        *field = true;
        true
    }

    /// The names of what is on.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        let on = [self.exceptions, self.gc, self.memory64, self.multi_memory, self.relaxed_simd, self.wide_arithmetic];
        Self::NAMES.into_iter().zip(on).filter_map(|(name, on)| on.then_some(name)).collect()
    }
}

/// How hard the worker's lock-down is insisted on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxMode {
    /// Refuse to run where a required layer cannot be had.
    #[default]
    Enforce,
    /// Apply what the kernel allows.
    BestEffort,
    /// Apply nothing.
    Off,
}
