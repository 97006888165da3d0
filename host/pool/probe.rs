//! A worker that is started only to see which layers of the lock-down this
//! system gives.

use std::path::Path;
use std::time::{Duration, Instant};

use std::os::fd::AsFd;

use crate::capabilities::Capabilities;
use crate::error::Error;
use crate::limits::{Features, Isolation, Limits, SandboxMode};
use crate::pool::compile::{CompileOptions, prepare};
use crate::pool::module::Module;
use crate::pool::process::Process;
use crate::wire::frame::FrameKind;
use crate::wire::message::{Abi, BytesAs, Encode, ItemAs, Ready, Refusal, RunSetup, Setup, Spread, Target, TaskSpec};
use crate::wire::page::Page;

/// The smallest module that can be called.
const MODULE: &str = r#"(module (func (export "run")))"#;

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
/// whatever layers there are.
///
/// # Errors
/// When not even such a worker can be started.
pub fn probe(worker: &Path) -> Result<Probe, Error> {
    let module = Module::from_bytes("probe.wat", MODULE)?;
    let sandbox = SandboxMode::BestEffort;
    let options = CompileOptions { sandbox, worker: Some(worker.to_owned()), ..CompileOptions::default() };
    let started = Instant::now();
    let artifact = prepare(&module, &options, &mut |_| {})?;
    let compile = started.elapsed();
    let failed = |what: &'static str| move |error: std::io::Error| Error::Workers(format!("{what}: {error}"));
    let limits = Limits::default();
    let (_page, page_file) = Page::create(limits.max_captured).map_err(failed("cannot make shared memory"))?;
    let setup = RunSetup {
        host: rustix::process::getpid().as_raw_nonzero().get(),
        sandbox,
        slot: 0,
        description: artifact.description,
        task: spec(limits),
        scratch: None,
    };
    let started = Instant::now();
    let mut process = Process::spawn(worker).map_err(failed("cannot start a worker process"))?;
    process
        .send(&Setup::Run(Box::new(setup)), &[page_file.as_fd(), artifact.file.as_fd()])
        .map_err(failed("cannot reach the worker"))?;
    match process.receive(PATIENCE).map_err(failed("cannot hear the worker"))? {
        Some((head, payload)) if head.kind == FrameKind::Ready => {
            let ready = serde_json::from_slice(&payload).map_err(|error| nonsense(&error))?;
            Ok(Probe { ready, start: started.elapsed(), compile })
        }
        Some((head, payload)) if head.kind == FrameKind::Refused => {
            let refusal: Refusal = serde_json::from_slice(&payload).map_err(|error| nonsense(&error))?;
            Err(Error::Workers(refusal.message))
        }
        Some((head, _)) => Err(Error::Workers(format!("the worker answered {:?}", head.kind))),
        None => {
            process.kill();
            let (ended, words) = process.reap();
            let words = String::from_utf8_lossy(&words);
            Err(Error::Workers(format!("the worker ended while it started ({ended:?})\n{}", words.trim())))
        }
    }
}

fn nonsense(error: &serde_json::Error) -> Error {
    Error::Workers(format!("the worker talks nonsense: {error}"))
}

fn spec(limits: Limits) -> TaskSpec {
    TaskSpec {
        limits,
        capabilities: Capabilities::none(),
        isolation: Isolation::Fresh,
        features: Features::default(),
        stub_imports: false,
        targets: vec![Target { abi: Abi::Core, interface: None, name: "run".to_owned() }],
        spread: Spread::Auto,
        with: Vec::new(),
        argv: Vec::new(),
        program: MODULE.to_owned(),
        item_as: ItemAs::default(),
        result: None,
        bytes: BytesAs::default(),
        encode: Encode::default(),
        extra_fields_ignored: false,
    }
}
