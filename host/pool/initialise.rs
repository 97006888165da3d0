//! The initializer of a pool: which function it is, and, where tasks get fresh
//! instances, the artifact of the module as it left it.
//!
//! The initializer runs in a worker with the walls of one that runs tasks; the
//! snapshot that comes out is compiled like any module, by a compile worker.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;

use crate::capabilities::Capabilities;
use crate::describe::{Description, Function};
use crate::error::Error;
use crate::error::Told;
use crate::escape::name as shown;
use crate::limits::{Isolation, Limits};
use crate::outcome::{Captured, Failure, Kind};
use crate::pool::cache::Key;
use crate::pool::call::{Call, NotCalled, printed};
use crate::pool::compile::{self, Artifact, CompileOptions, refusal};
use crate::pool::module::Module;
use crate::pool::process::{Ended, Process, own_binary};
use crate::pool::scratch::ScratchDir;
use crate::pool::suspend;
use crate::pool::target::{Choice, choose, signature};
use crate::wire::frame::{FrameKind, Head};
use crate::wire::message::{
    Abi, BytesAs, Encode, Initializer, ItemAs, RunSetup, Setup, SnapshotSetup, Spread, Target, TaskSpec,
};
use crate::wire::page::Page;

/// How long a worker may take to load and lock down.
const START: Duration = Duration::from_secs(30);

/// How often progress is told and a wish to stop is heeded.
const TICK: Duration = Duration::from_millis(50);

/// Bytes of an answer that carry no guest memory.
const ANSWER: u64 = 64 << 20;

/// Deaths of workers that make the initializer responsible.
const DEATHS: u32 = 2;

/// A function to be called before any task, and all that it runs under.
#[derive(Clone, Debug)]
pub struct Initialisation {
    /// `func`, `iface/func` or `pkg:iface@ver/func`.
    pub function: String,
    /// Its arguments as one JSON text; `None` for no arguments.
    pub args: Option<String>,
    /// Limits of the call: those of a task.
    pub limits: Limits,
    /// Grants of the call: those of a task.
    pub capabilities: Capabilities,
    /// Unknown function imports trap when called.
    pub stub_imports: bool,
}

impl Initialisation {
    /// The function that is meant, and how it is called.
    ///
    /// # Errors
    /// [`Error::Module`] when there is no such function, or it cannot be
    /// called before tasks; the message lists what there is.
    pub fn choose(&self, description: &Description) -> Result<Initializer, Error> {
        let choice = Choice {
            invoke: Some(&self.function),
            abi: None,
            spread: Spread::Auto,
            with: &[],
            stub_imports: self.stub_imports,
            memory: self.limits.memory,
        };
        let target = choose(description, &choice).map_err(|error| match error {
            Error::Module(text) => Error::Module(format!("--initializer: {text}")),
            other => other,
        })?;
        if target.abi == Abi::Command {
            return Err(Error::Module(format!(
                "--initializer: `{}` is a program; an initializer is a function whose instance goes on",
                shown(&self.function)
            )));
        }
        let is_it = |known: &&Function| known.name == target.name && known.interface == target.interface;
        let function = description.functions.iter().find(is_it);
        let none = || if target.abi == Abi::Bytes { "\"\"" } else { "null" }.to_owned();
        let args = match (&self.args, function) {
            (Some(args), _) => args.clone(),
            (None, Some(function)) if target.abi != Abi::Bytes && !function.ty.params.is_empty() => {
                return Err(Error::Module(format!(
                    "--initializer: `{name}` takes arguments: {name}=JSON, an array for several\n  {}",
                    signature(function),
                    name = shown(&self.function),
                )));
            }
            (None, _) => none(),
        };
        if args.len() as u64 > self.limits.max_item {
            return Err(Error::Usage(format!(
                "--initializer: the arguments have {} bytes, over the limit of {} (raise it with --max-item)",
                args.len(),
                self.limits.max_item
            )));
        }
        Ok(Initializer { target: Target { spread: Some(Spread::Auto), ..target }, args })
    }

    /// The same module, in which tasks do not call the initializer unless they
    /// name it.
    #[must_use]
    pub fn without(description: &Description, initializer: &Initializer) -> Description {
        let mut description = description.clone();
        let called = &initializer.target;
        let is_it = |known: &&mut Function| known.name == called.name && known.interface == called.interface;
        if let Some(function) = description.functions.iter_mut().find(is_it) {
            function.hidden = true;
        }
        description
    }

    /// Refuses what no initializer can make ready: under `reuse` its instance
    /// is that of the tasks, and runs of a program have each their own.
    ///
    /// # Errors
    /// [`Error::Module`].
    pub fn check(&self, isolation: Isolation, targets: &[Target]) -> Result<(), Error> {
        if isolation == Isolation::Reuse && targets.iter().all(|target| target.abi == Abi::Command) {
            return Err(Error::Module(
                "--initializer under --isolation reuse makes the worker's instance ready, and each run of a program has \
                 its own; --isolation fresh runs programs on a snapshot"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// Where the artifact is kept: never where the guest sees what others may
    /// change, in directories or over a network.
    fn key(&self, module: &Module, options: &CompileOptions) -> Option<Key> {
        // All of them, so that none is forgotten.
        let Capabilities { dirs, scratch, env, deterministic, net, connections, shared } = &self.capabilities;
        let seen = (env, deterministic, scratch, connections);
        let held = (self.limits.memory, self.limits.fuel, self.limits.max_write, self.stub_imports);
        let called = serde_json::to_string(&(&self.function, &self.args, seen, held)).ok()?;
        let alone = dirs.is_empty() && net.is_empty() && shared.is_empty();
        alone.then(|| Key::initialised(module, &options.settings(), &called))
    }

    fn spec(&self, module: &Module, options: &CompileOptions, initializer: Initializer) -> TaskSpec {
        TaskSpec {
            limits: self.limits.clone(),
            // There is no client yet.
            capabilities: Capabilities { connections: false, ..self.capabilities.clone() },
            // The instance stays for the snapshot.
            isolation: Isolation::Reuse,
            features: options.features,
            stub_imports: self.stub_imports,
            targets: Vec::new(),
            spread: Spread::Auto,
            with: Vec::new(),
            argv: Vec::new(),
            program: module.name().to_owned(),
            item_as: ItemAs::Auto,
            result: None,
            bytes: BytesAs::Array,
            encode: Encode::Exact,
            extra_fields_ignored: false,
            initializer: Some(initializer),
        }
    }
}

/// Gets the artifact of a module that begins as its initializer leaves it, out
/// of the cache or by calling it; `progress` is told the time spent so far, a
/// few times a second.
///
/// # Errors
/// As [`compile::prepare`]; [`Error::Initializer`] when the call fails;
/// [`Error::Module`] when a snapshot would lose a part of the state.
pub fn prepare(
    module: &Module,
    options: &CompileOptions,
    wanted: &Initialisation,
    progress: &mut dyn FnMut(Duration),
) -> Result<Artifact, Error> {
    let started = Instant::now();
    let key = wanted.key(module, options);
    let key = options.cache.as_ref().zip(key.as_ref());
    if let Some((file, description)) = key.and_then(|(cache, key)| cache.lookup(key)) {
        return Ok(Artifact { file, description, cached: true, seconds: started.elapsed().as_secs_f64(), note: None });
    }
    // Its code does not depend on the call: it may be there from another one.
    let instrumented = CompileOptions { instrument: true, ..options.clone() };
    let instrumented = compile::prepare(module, &instrumented, progress)?;
    let initializer = wanted.choose(&instrumented.description)?;
    let spec = wanted.spec(module, options, initializer);
    let taking = Taking { module, options, instrumented: &instrumented, spec: &spec };
    let (snapshot, size) = taking.snapshot(progress)?;
    let snapshot = Module::from_memory(module.name(), snapshot)?;
    let mut plain = options.clone();
    // It was checked as it came; this is what became of it.
    plain.limits.max_module = size;
    let (compiled, description) = compile::compile(&snapshot, &plain, progress)?;
    let description = Description { componentized: instrumented.description.componentized, ..description };
    let (file, note) = compile::keep(compiled, &description, key)?;
    Ok(Artifact { file, description, cached: false, seconds: started.elapsed().as_secs_f64(), note })
}

/// A snapshot to be taken.
struct Taking<'a> {
    module: &'a Module,
    options: &'a CompileOptions,
    instrumented: &'a Artifact,
    spec: &'a TaskSpec,
}

/// Why there is no snapshot.
enum Lost {
    /// The worker died: worth one more try.
    Died(Box<(Ended, Vec<u8>, Captured)>),
    /// Anything else.
    Other(Error),
}

impl Taking<'_> {
    /// Takes it; its bytes and their number.
    fn snapshot(&self, progress: &mut dyn FnMut(Duration)) -> Result<(File, u64), Error> {
        let mut last = None;
        for _attempt in 0..DEATHS {
            match self.attempt(progress) {
                Ok(snapshot) => return Ok(snapshot),
                Err(Lost::Other(error)) => return Err(error),
                Err(Lost::Died(death)) => last = Some(death),
            }
            if last.as_ref().is_some_and(|death| death.0.signal == Some(libc::SIGSYS)) {
                break;
            }
        }
        let (ended, words, captured) = *last.unwrap_or_default();
        Err(self.crashed(&ended, &words, captured))
    }

    fn crashed(&self, ended: &Ended, words: &[u8], captured: Captured) -> Error {
        if compile::is_want_of_memory(words) {
            let limit = self.options.limits.memory;
            return Error::Module(format!(
                "the snapshot after the initializer needed more memory than {limit} bytes (raise it with \
                 --compile-memory)"
            ));
        }
        let violation = ended.signal == Some(libc::SIGSYS);
        let message = match (ended.signal, ended.code) {
            (Some(_), _) if violation => "the worker made a system call that its sandbox forbids".to_owned(),
            (Some(signal), _) => format!("the worker was ended by signal {signal}"),
            (None, Some(code)) => format!("the worker exited with code {code}"),
            (None, None) => "the worker died".to_owned(),
        };
        let failure = Failure::new(Kind::WorkerCrashed, message).with(|detail| {
            detail.signal = ended.signal;
            detail.reason = violation.then(|| "sandbox-violation".to_owned());
        });
        match self.call().map(|call| call.failed(failure, captured)) {
            Some(NotCalled::Failed(error)) => Error::Initializer(error),
            _ => Error::Workers("the initializer's worker died".to_owned()),
        }
    }

    fn call(&self) -> Option<Call<'_>> {
        let limits = &self.spec.limits;
        let answer = ANSWER.saturating_add(limits.max_result).saturating_add(2 * limits.max_captured);
        let answer = u32::try_from(answer).unwrap_or(u32::MAX);
        self.spec.initializer.as_ref().map(|initializer| Call { initializer, limits, answer })
    }

    fn attempt(&self, progress: &mut dyn FnMut(Duration)) -> Result<(File, u64), Lost> {
        let cannot = |what: &'static str| {
            move |error: std::io::Error| Lost::Other(Error::Workers(format!("{what}: {}", Told(&error))))
        };
        let limits = &self.spec.limits;
        let (page, page_file) = Page::create(limits.max_captured).map_err(cannot("cannot make shared memory"))?;
        let scratch = self.spec.capabilities.scratch.as_ref().map(|_guest| ScratchDir::make()).transpose();
        let scratch = scratch.map_err(cannot("cannot make a scratch directory"))?;
        let binary = self.options.worker.clone().unwrap_or_else(own_binary);
        let mut process = Process::spawn(&binary).map_err(cannot("cannot start a worker process"))?;
        let mut description = self.instrumented.description.clone();
        // Of components, what reads their state is an instance more.
        description.needs.instances = description.needs.instances.saturating_add(1);
        let run = RunSetup {
            host: rustix::process::getpid().as_raw_nonzero().get(),
            sandbox: self.options.sandbox,
            slot: 0,
            description,
            task: self.spec.clone(),
            scratch: scratch.as_ref().map(|folder| folder.path().to_owned()),
        };
        let compile = &self.options.limits;
        let setup = SnapshotSetup { run, max_module: compile.max_module, memory: compile.memory };
        let files = [page_file.as_fd(), self.instrumented.file.as_fd(), self.module.content()];
        // A worker that is gone already tells more by its end than by this error.
        let _sent = process.send(&Setup::Snapshot(Box::new(setup)), &files);
        let taken = self.converse(&mut process, &page, progress);
        process.kill();
        let (ended, words) = process.reap();
        match taken {
            Ok(snapshot) => Ok(snapshot),
            Err(Some(error)) => Err(Lost::Other(error)),
            Err(None) => Err(Lost::Died(Box::new((ended, words, printed(&page))))),
        }
    }

    /// Speaks with the worker; an error is `None` where it died.
    fn converse(
        &self,
        process: &mut Process,
        page: &Page,
        progress: &mut dyn FnMut(Duration),
    ) -> Result<(File, u64), Option<Error>> {
        let interrupted = || Some(Error::Workers("interrupted in the initializer".to_owned()));
        let stopped = || self.options.stop.load(Ordering::Relaxed);
        let started = suspend::now();
        match self.answer(process, started, START, &mut |_elapsed| {})? {
            (FrameKind::Ready, _) => process.locked_in(),
            (FrameKind::Refused, payload) => return Err(Some(refusal(&payload))),
            (kind, _) => return Err(Some(Error::Workers(format!("the initializer's worker answered {kind:?}")))),
        }
        let Some(call) = self.call() else { return Err(None) };
        let called = call.make(process, page, &mut |elapsed| {
            progress(elapsed);
            !stopped()
        });
        called.map_err(|error| match error {
            NotCalled::Failed(error) => Some(Error::Initializer(error)),
            NotCalled::Unwanted => interrupted(),
            NotCalled::Died(Some(error)) => {
                Some(Error::Workers(format!("cannot hear the initializer's worker: {error}")))
            }
            NotCalled::Died(None) => None,
        })?;
        self.receive(process, progress)
    }

    /// The snapshot, part by part.
    fn receive(&self, process: &mut Process, progress: &mut dyn FnMut(Duration)) -> Result<(File, u64), Option<Error>> {
        let unkept = |error: std::io::Error| Some(Error::io("cannot keep the snapshot in memory")(error));
        let file = rustix::fs::memfd_create("wpool-snapshot", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING);
        let mut file = file.map(File::from).map_err(|errno| unkept(errno.into()))?;
        // Its state, what it came with, and the tables of it.
        let most = self.spec.limits.memory.saturating_add(self.options.limits.max_module).saturating_mul(2);
        let _gone = process.ask(&Head::control(FrameKind::Snapshot, 0));
        let (started, limit) = (suspend::now(), self.options.limits.timeout);
        let mut size = 0_u64;
        loop {
            match self.answer(process, started, limit, progress)? {
                (FrameKind::Snapshot, part) if part.is_empty() && size > 0 => return Ok((file, size)),
                (FrameKind::Snapshot, part) => {
                    size = size.saturating_add(part.len() as u64);
                    if size > most || part.is_empty() {
                        return Err(Some(Error::Workers(format!(
                            "the initializer's worker sent {size} bytes of module"
                        ))));
                    }
                    file.write_all(&part).map_err(unkept)?;
                }
                (FrameKind::Refused, payload) => return Err(Some(refusal(&payload))),
                (kind, _) => return Err(Some(Error::Workers(format!("the initializer's worker answered {kind:?}")))),
            }
        }
    }

    /// The worker's next word, in the time that is left of `limit`.
    fn answer(
        &self,
        process: &mut Process,
        started: Duration,
        limit: Duration,
        progress: &mut dyn FnMut(Duration),
    ) -> Result<(FrameKind, bytes::Bytes), Option<Error>> {
        loop {
            let elapsed = suspend::now().saturating_sub(started);
            let left = limit.saturating_sub(elapsed);
            if left.is_zero() {
                let limit = humantime::format_duration(limit);
                let text = format!(
                    "the snapshot after the initializer took longer than {limit} (raise it with --compile-timeout)"
                );
                return Err(Some(Error::Module(text)));
            }
            if self.options.stop.load(Ordering::Relaxed) {
                return Err(Some(Error::Workers("interrupted in the initializer".to_owned())));
            }
            match process.receive(left.min(TICK)) {
                Ok(Some((head, payload))) => return Ok((head.kind, payload)),
                Ok(None) => return Err(None),
                Err(error) if error.kind() == ErrorKind::TimedOut => progress(elapsed),
                Err(error) => {
                    return Err(Some(Error::Workers(format!("cannot hear the initializer's worker: {error}"))));
                }
            }
        }
    }
}
