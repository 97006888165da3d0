//! Options of compiling a module and of the sandbox around it.

use std::num::NonZeroU64;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

use super::heading;
use crate::cli::units;
use crate::limits::{CompileLimits, Features, Limits, SandboxMode, TimeoutMode};
use crate::pool::cache::EngineSettings;

/// How the module is compiled and locked in.
#[derive(Debug, Args)]
#[command(next_help_heading = heading::ENGINE)]
pub struct EngineArgs {
    /// Switch on a WebAssembly proposal (repeatable)
    #[arg(short = 'W', value_name = "FEATURE", value_delimiter = ',', value_parser = PossibleValuesParser::new(Features::NAMES).map(feature), hide_short_help = true)]
    pub features: Vec<&'static str>,
    /// Instructions per task; off unless given
    #[arg(long, value_name = "N", value_parser = units::count, env = "WPOOL_FUEL", hide_env = true, hide_short_help = true)]
    pub fuel: Option<NonZeroU64>,
    /// Wasm stack
    #[arg(long, value_name = "SIZE", default_value = "512KiB", value_parser = units::stack, env = "WPOOL_STACK", hide_env = true, hide_short_help = true)]
    pub stack: u64,
    /// Who ends a task over time: kill (the host kills the worker) or trap
    /// (checks in the code; slower loops, the worker survives)
    #[arg(
        long,
        value_name = "MODE",
        default_value = "kill",
        env = "WPOOL_TIMEOUT_MODE",
        hide_env = true,
        hide_short_help = true
    )]
    pub timeout_mode: TimeoutModeArg,
    /// Size of the module
    #[arg(long, value_name = "SIZE", default_value = "128MiB", value_parser = units::payload, env = "WPOOL_MAX_MODULE", hide_env = true, hide_short_help = true)]
    pub max_module: u64,
    /// Time to compile the module
    #[arg(long, value_name = "DUR", default_value = "120s", value_parser = units::duration, env = "WPOOL_COMPILE_TIMEOUT", hide_env = true, hide_short_help = true)]
    pub compile_timeout: Duration,
    /// Memory to compile the module
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = units::size, env = "WPOOL_COMPILE_MEMORY", hide_env = true, hide_short_help = true)]
    pub compile_memory: u64,
    /// The workers' lock-down: enforce (or refuse to run), best-effort or off
    #[arg(
        long,
        value_name = "MODE",
        default_value = "enforce",
        env = "WPOOL_SANDBOX",
        hide_env = true,
        hide_short_help = true
    )]
    pub sandbox: SandboxArg,
}

/// `--timeout-mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TimeoutModeArg {
    /// The host kills the worker.
    Kill,
    /// The guest is trapped.
    Trap,
}

/// `--sandbox`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SandboxArg {
    /// Refuse to run without it.
    Enforce,
    /// What the kernel allows.
    BestEffort,
    /// Nothing.
    Off,
}

fn feature(name: String) -> &'static str {
    Features::NAMES.into_iter().find(|known| *known == name).unwrap_or_default()
}

impl EngineArgs {
    /// What `-W` switched on.
    #[must_use]
    pub fn features(&self) -> Features {
        let mut features = Features::default();
        for name in &self.features {
            features.enable(name);
        }
        features
    }

    /// What is compiled into the artifact.
    #[must_use]
    pub fn settings(&self) -> EngineSettings {
        EngineSettings {
            features: self.features(),
            epochs: self.timeout_mode() == TimeoutMode::Trap,
            fuel: self.fuel.is_some(),
            stack: self.stack,
            instrument: false,
        }
    }

    /// Limits of compiling.
    #[must_use]
    pub fn compile_limits(&self) -> CompileLimits {
        CompileLimits { max_module: self.max_module, timeout: self.compile_timeout, memory: self.compile_memory }
    }

    /// A task's limits, with those that shape code set.
    #[must_use]
    pub fn complete(&self, limits: Limits) -> Limits {
        Limits { fuel: self.fuel.map(NonZeroU64::get), stack: self.stack, timeout_mode: self.timeout_mode(), ..limits }
    }

    fn timeout_mode(&self) -> TimeoutMode {
        match self.timeout_mode {
            TimeoutModeArg::Kill => TimeoutMode::Kill,
            TimeoutModeArg::Trap => TimeoutMode::Trap,
        }
    }

    /// How hard the lock-down is insisted on.
    #[must_use]
    pub fn sandbox(&self) -> SandboxMode {
        match self.sandbox {
            SandboxArg::Enforce => SandboxMode::Enforce,
            SandboxArg::BestEffort => SandboxMode::BestEffort,
            SandboxArg::Off => SandboxMode::Off,
        }
    }
}
