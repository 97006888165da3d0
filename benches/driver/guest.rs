//! The guests that are measured: their modules, how their tasks are called,
//! and the pools that run them.

use std::num::NonZeroUsize;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use wit_component::{DecodedWasm, StringEncoding};
use wpool::capabilities::Capabilities;
use wpool::limits::{Features, Isolation, Limits, SandboxMode};
use wpool::pool::compile::{Artifact, CompileOptions, prepare};
use wpool::pool::initialise::{self, Initialisation};
use wpool::pool::item::{Body, Item};
use wpool::pool::module::Module;
use wpool::pool::{Pool, PoolOptions, Work};
use wpool::wire::message::{Abi, BytesAs, Encode, ItemAs, ItemForm, ResultAs, Spread, Target, TaskSpec};

/// Worker processes of every pool here; the peer has as many.
pub const WORKERS: usize = 2;

/// Bytes of an item of the tasks over bytes.
const PAYLOAD: usize = 64;

const INT: &str = include_str!("../guests/int.wat");
const READY: &str = include_str!("../guests/ready.wat");
const BYTES: &str = include_str!("../guests/bytes.wat");
const LIST: &str = include_str!("../guests/list.wat");
const ECHO: &str = include_str!("../../tests/fixtures/echo.wat");
const SPIN: &str = include_str!("../../tests/fixtures/spin.wat");

/// Turns of [`SPIN`] that take about a millisecond.
const TURNS: u64 = 1_000_000;

/// A component of the type that `list.wat` is to get; never run.
const LIST_TYPE: &str = r#"(component
  (core module $code
    (memory (export "memory") 1)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "run") (param i32 i32) (result i32) unreachable))
  (core instance $core (instantiate $code))
  (func (export "run") (param "data" (list u8)) (result (list u8))
    (canon lift (core func $core "run") (memory $core "memory") (realloc (func $core "cabi_realloc")))))"#;

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// A number in, its square out.
    Int,
    /// The same, of a module whose initializer takes half a second.
    Ready,
    /// 64 bytes in, the same backwards out, by the `bytes` ABI.
    Bytes,
    /// The same by a component over `list<u8>`, made with the adapter.
    Component,
    /// So many bytes in, the same out.
    Echo(usize),
    /// A number of turns of a loop in, [`TURNS`], a number out.
    Busy,
}

impl std::str::FromStr for Task {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "int" => Self::Int,
            "ready" => Self::Ready,
            "bytes" => Self::Bytes,
            "component" => Self::Component,
            "busy" => Self::Busy,
            _ => match text.strip_prefix("echo:") {
                Some(bytes) => Self::Echo(bytes.parse()?),
                None => bail!("no task {text:?}"),
            },
        })
    }
}

/// How tasks are kept apart, and how many are in a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A new instance per task.
    Fresh,
    /// One instance per worker.
    Reuse,
    /// A new instance per task, and a window of one item.
    Single,
    /// A new instance per task, in workers that are not locked down.
    Open,
    /// A new instance per task, by one worker.
    One,
    /// A new instance per task, from the snapshot after the initializer.
    Initialised,
}

impl std::str::FromStr for Mode {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "fresh" => Self::Fresh,
            "reuse" => Self::Reuse,
            "single" => Self::Single,
            "open" => Self::Open,
            "one" => Self::One,
            "initialised" => Self::Initialised,
            _ => bail!("no mode {text:?}"),
        })
    }
}

impl Task {
    /// The module, as a file would hold it.
    pub fn module(self) -> Result<Vec<u8>> {
        Ok(match self {
            Self::Int => INT.into(),
            Self::Ready => READY.into(),
            Self::Bytes => BYTES.into(),
            Self::Component => core_form(LIST, LIST_TYPE)?,
            Self::Echo(_) => ECHO.into(),
            Self::Busy => SPIN.into(),
        })
    }

    /// How its tasks are called, with the limits that pools have by default.
    pub fn spec(self, mode: Mode) -> TaskSpec {
        let abi = match self {
            Self::Int | Self::Ready | Self::Busy => Abi::Core,
            Self::Bytes | Self::Echo(_) => Abi::Bytes,
            Self::Component => Abi::Component,
        };
        let isolation = if mode == Mode::Reuse { Isolation::Reuse } else { Isolation::Fresh };
        TaskSpec { isolation, ..spec(abi) }
    }

    /// An endless supply of items, made where they are pulled.
    pub fn items(self) -> impl Iterator<Item = Item> + Send + 'static {
        let payload = match self {
            Self::Int | Self::Ready => Bytes::new(),
            Self::Busy => TURNS.to_string().into(),
            Self::Bytes | Self::Component => (0..PAYLOAD as u8).collect(),
            Self::Echo(size) => vec![b'x'; size].into(),
        };
        (0..).map(move |index| {
            let (bytes, form) = match self {
                Self::Int | Self::Ready => (Bytes::from(index.to_string()), ItemForm::Json),
                Self::Busy => (payload.clone(), ItemForm::Json),
                Self::Bytes | Self::Component | Self::Echo(_) => (payload.clone(), ItemForm::Raw),
            };
            Item { index, body: Ok(Body { bytes, form, path: None, connection: None }), tag: None }
        })
    }

    /// Whether `value` is what the item with this index has to give.
    pub fn is_right(self, index: u64, value: &[u8]) -> bool {
        match self {
            Self::Int | Self::Ready => {
                std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()) == Some(index * index)
            }
            Self::Bytes | Self::Component => value.iter().copied().eq((0..PAYLOAD as u8).rev()),
            Self::Echo(size) => value.len() == size && value.first() == Some(&b'x'),
            Self::Busy => !value.is_empty(),
        }
    }
}

/// Calls of `run` with default limits and results as they are.
pub fn spec(abi: Abi) -> TaskSpec {
    TaskSpec {
        limits: Limits::default(),
        capabilities: Capabilities::none(),
        isolation: Isolation::Fresh,
        features: Features::default(),
        stub_imports: false,
        targets: vec![Target { abi, interface: None, name: "run".to_owned(), spread: None }],
        spread: Spread::One,
        with: Vec::new(),
        argv: Vec::new(),
        program: "bench.wasm".to_owned(),
        item_as: ItemAs::Auto,
        result: (abi == Abi::Bytes).then_some(ResultAs::Bytes),
        bytes: BytesAs::Array,
        encode: Encode::Exact,
        extra_fields_ignored: false,
        initializer: None,
    }
}

/// A core module with a section that says which component it was built for,
/// as wit-bindgen leaves it in modules.
fn core_form(module: &str, like: &str) -> Result<Vec<u8>> {
    let mut module = wat::parse_str(module)?;
    let like = wat::parse_str(like)?;
    let DecodedWasm::Component(types, world) = wit_component::decode(&like).map_err(|error| anyhow!("{error:#}"))?
    else {
        bail!("the component with the types is none");
    };
    let embedded = wit_component::embed_component_metadata(&mut module, &types, world, StringEncoding::UTF8);
    embedded.map_err(|error| anyhow!("{error:#}"))?;
    Ok(module)
}

/// A task's compiled module.
pub fn artifact(task: Task, mode: Mode) -> Result<Artifact> {
    let module = Module::from_bytes("bench.wasm", task.module()?)?;
    let options = CompileOptions::default();
    if mode != Mode::Initialised {
        return Ok(prepare(&module, &options, &mut |_| {})?);
    }
    let call = Initialisation {
        function: "init".to_owned(),
        args: None,
        limits: Limits::default(),
        capabilities: Capabilities::none(),
        stub_imports: false,
    };
    Ok(initialise::prepare(&module, &options, &call, &mut |_| {})?)
}

/// A pool of [`WORKERS`] workers for a task.
pub fn pool(task: Task, mode: Mode) -> Result<Pool> {
    let Artifact { file, description, .. } = artifact(task, mode)?;
    start(Work { artifact: file, description, spec: task.spec(mode) }, mode)
}

/// A pool that has its first worker.
pub fn start(work: Work, mode: Mode) -> Result<Pool> {
    start_workers(work, mode, if mode == Mode::One { 1 } else { WORKERS })
}

/// The same with a number of workers.
pub fn start_workers(work: Work, mode: Mode, workers: usize) -> Result<Pool> {
    let options = PoolOptions {
        processes: NonZeroUsize::new(workers).context("no workers")?,
        credit: (mode == Mode::Single).then_some(NonZeroUsize::MIN),
        sandbox: if mode == Mode::Open { SandboxMode::Off } else { SandboxMode::default() },
        ..PoolOptions::default()
    };
    let pool = Pool::start(work, options)?;
    pool.wait_ready().map_err(|error| anyhow!("{error}"))?;
    Ok(pool)
}
