//! One worker that is started to hear what it is locked in with, and ended
//! before it gets a task.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::capabilities::Capabilities;
use crate::error::Error;
use crate::limits::{Features, Isolation, Limits, SandboxMode};
use crate::pool::compile::{CompileOptions, prepare, refusal};
use crate::pool::module::Module;
use crate::pool::process::Process;
use crate::pool::scratch::ScratchDir;
use crate::pool::{PoolOptions, Work};
use crate::wire::frame::FrameKind;
use crate::wire::message::{Abi, BytesAs, Encode, ItemAs, Ready, RunSetup, Setup, Spread, Target, TaskSpec};
use crate::wire::page::Page;

/// The smallest module that can be called.
const SMALLEST: &str = r#"(module (func (export "run")))"#;

/// How long the worker may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was seen of a worker.
#[derive(Debug)]
pub struct Probe {
    /// What it said of its lock-down.
    pub ready: Ready,
    /// From its start until it would have taken tasks.
    pub start: Duration,
    /// What compiling took, the start of the compile worker included.
    pub compile: Duration,
}

/// Compiles the smallest module and starts a worker on it, as a run does, with
/// whatever layers this machine gives.
///
/// # Errors
/// When not even such a worker can be started.
pub fn smallest(worker: &Path) -> Result<Probe, Error> {
    let module = Module::from_bytes("smallest.wat", SMALLEST)?;
    let sandbox = SandboxMode::BestEffort;
    let compiling = CompileOptions { sandbox, worker: Some(worker.to_owned()), ..CompileOptions::default() };
    let started = Instant::now();
    let artifact = prepare(&module, &compiling, &mut |_| {})?;
    let compile = started.elapsed();
    let work = Work { artifact: artifact.file, description: artifact.description, spec: spec() };
    let started = Instant::now();
    let ready = ready(&work, &PoolOptions { sandbox, worker: worker.to_owned(), ..PoolOptions::default() })?;
    Ok(Probe { ready, start: started.elapsed(), compile })
}

/// The layers that a worker of such a pool applies on this machine. No guest
/// code runs.
///
/// # Errors
/// [`Error::Module`] when the worker refuses the module; [`Error::Workers`]
/// when it cannot be had.
pub fn layers(work: &Work, options: &PoolOptions) -> Result<Vec<String>, Error> {
    ready(work, options).map(|ready| ready.layers)
}

fn ready(work: &Work, options: &PoolOptions) -> Result<Ready, Error> {
    let cannot = |error: std::io::Error| Error::Workers(format!("cannot start a worker: {error}"));
    let (_page, page_file) = Page::create(work.spec.limits.max_captured).map_err(cannot)?;
    let wants_scratch = work.spec.capabilities.scratch.is_some();
    let scratch = wants_scratch.then(ScratchDir::make).transpose().map_err(cannot)?;
    let mut process = Process::spawn(&options.worker).map_err(cannot)?;
    let setup = Setup::Run(Box::new(RunSetup {
        host: rustix::process::getpid().as_raw_nonzero().get(),
        sandbox: options.sandbox,
        slot: 0,
        description: work.description.clone(),
        task: work.spec.clone(),
        scratch: scratch.as_ref().map(|folder| folder.path().to_owned()),
    }));
    process.send(&setup, &[page_file.as_fd(), work.artifact.as_fd()]).map_err(cannot)?;
    match process.receive(PATIENCE).map_err(cannot)? {
        Some((head, payload)) if head.kind == FrameKind::Ready => serde_json::from_slice::<Ready>(&payload)
            .map_err(|error| Error::Workers(format!("bad hello of a worker: {error}"))),
        Some((head, payload)) if head.kind == FrameKind::Refused => Err(refusal(&payload)),
        _ => Err(Error::Workers("a worker ended while it started".to_owned())),
    }
}

fn spec() -> TaskSpec {
    TaskSpec {
        limits: Limits::default(),
        capabilities: Capabilities::none(),
        isolation: Isolation::Fresh,
        features: Features::default(),
        stub_imports: false,
        targets: vec![Target { abi: Abi::Core, interface: None, name: "run".to_owned(), spread: None }],
        spread: Spread::Auto,
        with: Vec::new(),
        argv: Vec::new(),
        program: "smallest".to_owned(),
        item_as: ItemAs::default(),
        result: None,
        bytes: BytesAs::default(),
        encode: Encode::default(),
        extra_fields_ignored: false,
        initializer: None,
    }
}
