//! The messages inside frames that are not on the hot path, as JSON: how a
//! worker is set up, what it answers, what a compile worker is asked.

use std::io;

use serde::{Deserialize, Serialize};

use crate::capabilities::Capabilities;
use crate::describe::Description;
use crate::error::Told;
use crate::error::is_scarcity;
use crate::limits::{CompileLimits, Features, Isolation, Limits, SandboxMode};
use crate::outcome::Failure;

/// The first message to a worker; decides its role for life.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setup {
    /// Run tasks.
    Run(Box<RunSetup>),
    /// Run the initializer and give a module that is as it left it.
    Snapshot(Box<SnapshotSetup>),
    /// Compile one module, answer, exit.
    Compile(CompileSetup),
}

/// Everything a run worker must know. Descriptors travel beside it: the
/// shared page, the artifact.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunSetup {
    /// Process id of the host, checked after the death signal is armed.
    pub host: i32,
    /// How hard to insist on the lock-down.
    pub sandbox: SandboxMode,
    /// The slot this worker fills.
    pub slot: u32,
    /// What the artifact is.
    pub description: Description,
    /// How its tasks are called.
    pub task: TaskSpec,
    /// A private, empty directory, where scratch space is granted. The host
    /// removes it when the worker is gone.
    #[serde(default)]
    pub scratch: Option<std::path::PathBuf>,
}

/// A run worker that answers with a snapshot. A third descriptor is the module
/// that the artifact was made of, before it was instrumented.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotSetup {
    /// How the initializer is run.
    pub run: RunSetup,
    /// What the module may have in bytes.
    pub max_module: u64,
    /// Memory that taking the snapshot may take beside the guest's, in bytes.
    pub memory: u64,
}

/// How each task of a pool is called. Shapes results, so all of it but the
/// limits belongs to a result's identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Limits of one task.
    pub limits: Limits,
    /// Grants of every task.
    pub capabilities: Capabilities,
    /// What survives between tasks.
    pub isolation: Isolation,
    /// Engine features beyond the default.
    pub features: Features,
    /// Unknown function imports trap when called instead of refusing the module.
    pub stub_imports: bool,
    /// The functions that frames name by their position here.
    pub targets: Vec<Target>,
    /// How an item becomes arguments.
    pub spread: Spread,
    /// Parameters fixed by `--with`: name and JSON text.
    pub with: Vec<(String, String)>,
    /// Arguments of a command after its name; may hold placeholders.
    pub argv: Vec<String>,
    /// argv\[0\] of a command.
    pub program: String,
    /// How a JSON item is handed to guests that take bytes.
    pub item_as: ItemAs,
    /// How bytes of a command or byte guest become a value; `None` takes the
    /// ABI's default.
    pub result: Option<ResultAs>,
    /// How `list<u8>` is written in JSON.
    pub bytes: BytesAs,
    /// Whether values come back as JSON or, where they are text or bytes, as
    /// these.
    pub encode: Encode,
    /// Columns without a field are ignored (`--extra-fields ignore`).
    pub extra_fields_ignored: bool,
    /// What is called before any task. Under `reuse` each worker does it; else
    /// the artifact is as it left the module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initializer: Option<Initializer>,
}

impl TaskSpec {
    /// Whether each worker calls the initializer itself.
    #[must_use]
    pub fn initialises(&self) -> bool {
        self.initializer.is_some() && self.isolation == Isolation::Reuse
    }
}

/// A function that is called before any task, and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Initializer {
    /// The function; how its arguments become parameters is in it.
    pub target: Target,
    /// The arguments as one JSON text.
    pub args: String,
}

impl Initializer {
    /// How its call goes, where tasks go like `task`.
    #[must_use]
    pub fn spec(&self, task: &TaskSpec) -> TaskSpec {
        TaskSpec {
            targets: vec![self.target.clone()],
            with: Vec::new(),
            item_as: ItemAs::Auto,
            // What it gives is not looked at.
            result: Some(ResultAs::Bytes),
            encode: Encode::Exact,
            extra_fields_ignored: false,
            ..task.clone()
        }
    }

    /// The function's name, with its interface where it has one.
    #[must_use]
    pub fn path(&self) -> String {
        match &self.target.interface {
            Some(interface) => format!("{interface}/{}", self.target.name),
            None => self.target.name.clone(),
        }
    }

    /// Why its arguments are none for it.
    #[must_use]
    pub fn misfit(&self, failure: &Failure) -> Refusal {
        Refusal::module(format!(
            "--initializer: the arguments of `{}` do not fit: {}",
            self.target.name, failure.message
        ))
    }
}

/// One function that tasks may call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// How it is called.
    pub abi: Abi,
    /// The interface it is in, for components.
    pub interface: Option<String>,
    /// Its name; `_start` for a command.
    pub name: String,
    /// How items become its arguments, where that is not [`TaskSpec::spread`].
    #[serde(default)]
    pub spread: Option<Spread>,
}

/// The way a function takes an item and gives a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Abi {
    /// Typed WIT parameters and result.
    Component,
    /// A program: stdin or argv in, stdout out.
    Command,
    /// Numbers in, numbers out.
    Core,
    /// Bytes in, bytes out, through guest memory.
    Bytes,
}

impl Abi {
    /// The name, as `--abi` takes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Command => "command",
            Self::Core => "core",
            Self::Bytes => "bytes",
        }
    }
}

/// How an item becomes arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// The item is the one parameter that `--with` leaves (`--map`).
    One,
    /// An array by position or an object by parameter name (`--starmap`).
    Star,
    /// Like `One` where one parameter is left, else like `Star` (`--apply`).
    Auto,
}

/// What the bytes of an item are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemForm {
    /// One JSON value's text.
    Json,
    /// A line or a file: to be taken as they are.
    Raw,
    /// A JSON object or array whose strings are CSV cells, to be read by the
    /// types of the parameter's fields.
    Cells,
}

/// How a JSON item reaches a guest that takes bytes or text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ItemAs {
    /// A string as its characters, anything else as its JSON text.
    #[default]
    Auto,
    /// Always the JSON text.
    Json,
}

/// How a byte guest's result becomes a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResultAs {
    /// UTF-8 text; a command's one final newline is removed.
    Text,
    /// JSON text.
    Json,
    /// Bytes.
    Bytes,
    /// A file the command wrote below its scratch directory.
    File(String),
}

/// How `list<u8>` is written in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BytesAs {
    /// An array of numbers.
    #[default]
    Array,
    /// `{"base64":"…"}`.
    Base64,
    /// A string; bytes that are no UTF-8 are `bad-output`.
    Utf8,
}

/// The form in which values come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encode {
    /// Always JSON.
    #[default]
    Json,
    /// Text and bytes as they are, other values as JSON.
    Exact,
}

/// What a compile worker is asked. The module's bytes and the file for the
/// artifact are descriptors beside it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CompileSetup {
    /// Process id of the host.
    pub host: i32,
    /// How hard to insist on the lock-down.
    pub sandbox: SandboxMode,
    /// Limits of this compilation.
    pub limits: CompileLimits,
    /// Engine features beyond the default.
    pub features: Features,
    /// Epoch checks are compiled in.
    pub epochs: bool,
    /// Fuel accounting is compiled in.
    pub fuel: bool,
    /// The largest wasm stack it must allow for, in bytes.
    pub stack: u64,
    /// The code shows all of its state, so that a snapshot can be taken.
    #[serde(default)]
    pub instrument: bool,
}

/// A worker is locked down and loaded, and takes tasks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ready {
    /// Protocol version; the host refuses another.
    pub version: u32,
    /// Layers of the lock-down that were applied.
    pub layers: Vec<String>,
    /// Layers that could not be had.
    #[serde(default)]
    pub missing: Vec<MissingLayer>,
}

/// A layer of the lock-down that this system does not give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingLayer {
    /// Its name.
    pub layer: String,
    /// What the system said.
    pub why: String,
}

/// A compile worker's success.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Compiled {
    /// What the module offers and needs.
    pub description: Description,
}

/// Why a module, or a worker's set-up, was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Whose fault it is.
    pub cause: RefusalCause,
    /// For people; may hold guest text, printers escape it.
    pub message: String,
}

/// Whose fault a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalCause {
    /// The module's: exit 3.
    Module,
    /// The artifact is not of this engine: it is compiled anew.
    Stale,
    /// The machine's, such as a missing sandbox layer: exit 4.
    Machine,
    /// The system gave it no thread or memory. Fewer workers may do.
    Scarce,
}

impl Refusal {
    /// A refusal of the module itself.
    #[must_use]
    pub fn module(message: impl Into<String>) -> Self {
        Self { cause: RefusalCause::Module, message: message.into() }
    }

    /// A refusal because of what the system did not give.
    #[must_use]
    pub fn denied(what: &str, error: &io::Error) -> Self {
        let cause = if is_scarcity(error) { RefusalCause::Scarce } else { RefusalCause::Machine };
        Self { cause, message: format!("{what}: {}", Told(error)) }
    }

    /// A refusal because of the machine.
    #[must_use]
    pub fn machine(message: impl Into<String>) -> Self {
        Self { cause: RefusalCause::Machine, message: message.into() }
    }
}
