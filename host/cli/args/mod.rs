//! The commands and their options, as clap reads them. Definitions only: what
//! an option does is decided where it is used.

pub mod caps;
pub mod engine;
pub mod io;
pub mod limits;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use caps::CapabilityArgs;
use engine::EngineArgs;
use io::{FunctionArgs, InitializerArgs, InputArgs, ModeArgs, OutputArgs};
use limits::{LimitArgs, PoolArgs};

/// Headings of the long help.
mod heading {
    pub const INPUT: &str = "Input and output";
    pub const FUNCTION: &str = "Function and values";
    pub const POOL: &str = "Parallelism and failures";
    pub const LIMITS: &str = "Limits";
    pub const CAPABILITIES: &str = "Capabilities (default: none)";
    pub const ENGINE: &str = "Engine and sandbox";
    pub const MESSAGES: &str = "Messages";
}

const RUN_EXAMPLES: &str = "\
Examples:
  wpool run tasks.wasm --map urls.json > results.json
  wpool run tasks.wasm --invoke resize --imap jobs.jsonl --dir photos -j 8
  cat lines.txt | wpool run grep.wasm --imap - --input lines -- -i needle";

const COMMANDS_EXAMPLES: &str = "\
Examples:
  wpool inspect tasks.wasm                      what can be called, and how
  wpool run tasks.wasm --map '[1, 2, 3]'        call it for each item
  wpool run tasks.wasm --map items.json --timeout 2s --memory 64MiB";

/// A pool of sandboxed WebAssembly workers: calls a function of a module for
/// every item of an input, in parallel, and survives whatever the module does.
#[derive(Debug, Parser)]
#[command(name = "wpool", version, before_help = COMMANDS_EXAMPLES, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Call a function of MODULE for every item
    Run(Box<RunArgs>),
    /// Show what MODULE exports and needs
    Inspect(InspectArgs),
    /// Compile MODULE into the cache, so that runs start at once
    Compile(Box<CompileArgs>),
    /// Show what this system gives: the sandbox layer by layer, limits, cache
    Doctor(DoctorArgs),
    /// Write man pages or shell completions
    Generate(GenerateArgs),
}

/// `wpool run`.
#[derive(Debug, Args)]
#[command(before_help = RUN_EXAMPLES)]
#[command(
    override_usage = "wpool run [OPTIONS] MODULE (--map SRC | --imap SRC | --imap-unordered SRC | --starmap SRC | \
                      --apply JSON | --listen ADDR) [-- GUEST ARGS]"
)]
#[command(after_help = "SRC is a file, - for standard input, or JSON beginning with [.")]
#[command(after_long_help = "\
Exit codes: 0 all items ok; 1 at least one item not ok; 2 usage; 3 module refused; 4 the pool or its input or output
could not work; 129, 130, 143 ended by SIGHUP, SIGINT, SIGTERM.")]
pub struct RunArgs {
    /// A WebAssembly module, component or .wat text
    pub module: PathBuf,
    /// Arguments of a command, after --; {} is the item
    #[arg(last = true, value_name = "GUEST ARGS")]
    pub guest: Vec<String>,
    /// Where items come from and how they reach the function.
    #[command(flatten)]
    pub mode: ModeArgs,
    /// What is called.
    #[command(flatten)]
    pub function: FunctionArgs,
    /// What is called before.
    #[command(flatten)]
    pub initializer: InitializerArgs,
    /// How input is read.
    #[command(flatten)]
    pub input: InputArgs,
    /// How results are written.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Workers, retries, ends.
    #[command(flatten)]
    pub pool: PoolArgs,
    /// What a task may use.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// What a task may reach.
    #[command(flatten)]
    pub capabilities: CapabilityArgs,
    /// How the module is compiled and locked in.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// What is said on standard error.
    #[command(flatten)]
    pub messages: MessageArgs,
}

/// `wpool inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A WebAssembly module, component or .wat text
    pub module: PathBuf,
    /// Write one JSON document, versioned and sorted
    #[arg(long)]
    pub json: bool,
    /// How the module is compiled.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// What is said on standard error.
    #[command(flatten)]
    pub messages: MessageArgs,
}

/// `wpool compile`.
#[derive(Debug, Args)]
#[command(after_help = "\
Give the options of the runs to come that shape code: -W, --stack, --fuel, --timeout-mode; with --initializer also
its limits and grants, of which --memory, --env and --deterministic shape what it leaves.")]
pub struct CompileArgs {
    /// A WebAssembly module, component or .wat text
    pub module: PathBuf,
    /// What is called before it is kept.
    #[command(flatten)]
    pub initializer: InitializerArgs,
    /// Make unknown imported functions trap when called
    #[arg(long, requires = "initializer", hide_short_help = true)]
    pub stub_imports: bool,
    /// What the initializer may use.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// What the initializer may reach.
    #[command(flatten)]
    pub capabilities: CapabilityArgs,
    /// How the module is compiled.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// What is said on standard error.
    #[command(flatten)]
    pub messages: MessageArgs,
}

/// `wpool doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Exit code 4 where --sandbox enforce would refuse to run.")]
pub struct DoctorArgs {
    /// Write one JSON document, versioned
    #[arg(long)]
    pub json: bool,
    /// What is said on standard error.
    #[command(flatten)]
    pub messages: MessageArgs,
}

/// `wpool generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// What to write.
    #[command(subcommand)]
    pub what: Generate,
}

/// What `wpool generate` writes.
#[derive(Debug, Subcommand)]
pub enum Generate {
    /// Man pages, one file per command
    Man {
        /// Folder for the pages; without it wpool.1 goes to standard output
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Completions for a shell, on standard output
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// What is said on standard error.
#[derive(Debug, Args)]
#[command(next_help_heading = heading::MESSAGES)]
pub struct MessageArgs {
    /// Only say why the run as a whole failed
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more: the function, workers, compile times, missing sandbox layers, the summary
    #[arg(short, long)]
    pub verbose: bool,
    /// The line with done, rate and time left; auto is only on a terminal
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        env = "WPOOL_PROGRESS",
        hide_env = true,
        hide_short_help = true
    )]
    pub progress: When,
    /// Colours; auto heeds NO_COLOR, CLICOLOR_FORCE and TERM
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        env = "WPOOL_COLOR",
        hide_env = true,
        hide_short_help = true
    )]
    pub color: When,
}

impl Default for MessageArgs {
    fn default() -> Self {
        Self { quiet: false, verbose: false, progress: When::Auto, color: When::Auto }
    }
}

/// Whether to do what depends on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// Where it makes sense.
    Auto,
    /// In any case.
    Always,
    /// Never.
    Never,
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
