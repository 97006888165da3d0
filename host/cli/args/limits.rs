//! Options of limits, workers and the end of a run.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use clap::Args;

use super::heading;
use crate::cli::units::{self, AutoCount, AutoSize, MaybeDuration};
use crate::limits::{Isolation, Limits};
use crate::outcome::Kind;

/// What a task may use. `--stack`, `--fuel` and `--timeout-mode` stand with
/// the engine, whose code they shape.
#[derive(Debug, Args)]
#[command(next_help_heading = heading::LIMITS)]
pub struct LimitArgs {
    /// Wall time per task, from its start in the worker, or none
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = units::duration_or_none, env = "WPOOL_TIMEOUT", hide_env = true)]
    pub timeout: MaybeDuration,
    /// Processor time per task, or none
    #[arg(long, value_name = "DUR", default_value = "none", value_parser = units::duration_or_none, env = "WPOOL_CPU_TIMEOUT", hide_env = true, hide_short_help = true)]
    pub cpu_timeout: MaybeDuration,
    /// Memories and tables of a task together
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = units::size, env = "WPOOL_MEMORY", hide_env = true)]
    pub memory: u64,
    /// One item
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = units::payload, env = "WPOOL_MAX_ITEM", hide_env = true, hide_short_help = true)]
    pub max_item: u64,
    /// One result
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = units::payload, env = "WPOOL_MAX_RESULT", hide_env = true, hide_short_help = true)]
    pub max_result: u64,
    /// Kept tail of what a task prints, for stdout and stderr each
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = captured, env = "WPOOL_MAX_CAPTURED", hide_env = true, hide_short_help = true)]
    pub max_captured: u64,
    /// Written to granted directories per task
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = units::size_or_zero, env = "WPOOL_MAX_WRITE", hide_env = true, hide_short_help = true)]
    pub max_write: u64,
    /// The whole run; items not done by then are cancelled
    #[arg(long, value_name = "DUR", value_parser = units::duration, env = "WPOOL_DEADLINE", hide_env = true, hide_short_help = true)]
    pub deadline: Option<Duration>,
    /// All processes together; auto is 90 % of what the machine gives
    #[arg(long, value_name = "SIZE", default_value = "auto", value_parser = units::size_or_auto, env = "WPOOL_TOTAL_MEMORY", hide_env = true, hide_short_help = true)]
    pub total_memory: AutoSize,
}

/// The shared page of a worker holds two tails: 64 MiB each is plenty.
fn captured(text: &str) -> Result<u64, String> {
    match units::size_or_zero(text)? {
        size if size > 64 << 20 => Err("too large; at most 64MiB".to_owned()),
        size => Ok(size),
    }
}

impl LimitArgs {
    /// The limits of one task, those of the engine still at their defaults.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            timeout: self.timeout.0,
            cpu_timeout: self.cpu_timeout.0,
            memory: self.memory,
            max_item: self.max_item,
            max_result: self.max_result,
            max_captured: self.max_captured,
            max_write: self.max_write,
            ..Limits::default()
        }
    }
}

/// Workers, retries, ends.
#[derive(Debug, Args)]
#[command(next_help_heading = heading::POOL)]
pub struct PoolArgs {
    /// Worker processes; the default is the processors, if memory allows
    #[arg(short = 'j', long, value_name = "N", value_parser = units::processes, env = "WPOOL_PROCESSES", hide_env = true)]
    pub processes: Option<NonZeroUsize>,
    /// Items handed to a worker at a time, or auto
    #[arg(long, value_name = "N", default_value = "auto", value_parser = units::count_or_auto, env = "WPOOL_CHUNKSIZE", hide_env = true, hide_short_help = true)]
    pub chunksize: AutoCount,
    /// Items read ahead of the last result written
    #[arg(long, value_name = "N", value_parser = units::small_count, env = "WPOOL_WINDOW", hide_env = true, hide_short_help = true)]
    pub window: Option<NonZeroUsize>,
    /// Replace a worker after this many tasks
    #[arg(long, value_name = "N", value_parser = units::count, env = "WPOOL_MAX_TASKS_PER_CHILD", hide_env = true, hide_short_help = true)]
    pub max_tasks_per_child: Option<NonZeroU64>,
    /// What survives between tasks: fresh (nothing), reuse (the instance) or
    /// process (not even the process)
    #[arg(long, value_name = "WHAT", default_value = "fresh", value_parser = isolation, env = "WPOOL_ISOLATION", hide_env = true, hide_short_help = true)]
    pub isolation: Isolation,
    /// Run a failed item again, up to N times
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1000), env = "WPOOL_RETRIES", hide_env = true, hide_short_help = true)]
    pub retries: u32,
    /// The kinds of failure that --retries is for
    #[arg(long, value_name = "KIND,…", value_delimiter = ',', default_value = "worker-crashed,timeout", value_parser = kind, hide_short_help = true)]
    pub retry_on: Vec<Kind>,
    /// Wait before the first retry of an item, twice as long before the second,
    /// and so on
    #[arg(long, value_name = "DUR", default_value = "0", value_parser = units::duration_or_zero, hide_short_help = true)]
    pub backoff: Duration,
    /// Stop at the first item that fails
    #[arg(long, hide_short_help = true)]
    pub fail_fast: bool,
    /// After a first Ctrl-C or SIGTERM, let running items finish for so long
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = units::duration_or_zero, env = "WPOOL_GRACE", hide_env = true, hide_short_help = true)]
    pub grace: Duration,
}

fn isolation(text: &str) -> Result<Isolation, String> {
    match text {
        "fresh" => Ok(Isolation::Fresh),
        "reuse" => Ok(Isolation::Reuse),
        "process" => Ok(Isolation::Process),
        _ => Err("expected fresh, reuse or process".to_owned()),
    }
}

fn kind(text: &str) -> Result<Kind, String> {
    let failures = || Kind::ALL.into_iter().filter(|kind| !matches!(kind, Kind::Ok | Kind::Cancelled));
    failures().find(|kind| kind.as_str() == text).ok_or_else(|| {
        let names: Vec<_> = failures().map(Kind::as_str).collect();
        format!("expected one of {}", names.join(", "))
    })
}
