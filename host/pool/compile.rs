//! From a module to an artifact: out of the cache, or by a compile worker
//! that is watched from here.
//!
//! The host itself never parses the module; it believes the worker's word
//! about it only as far as the tasks of that module go.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::fs::{MemfdFlags, SealFlags};

use crate::describe::Description;
use crate::error::Error;
use crate::error::Told;
use crate::escape;
use crate::limits::{CompileLimits, Features, Limits, SandboxMode};
use crate::pool::cache::{Cache, EngineSettings, Key};
use crate::pool::module::Module;
use crate::pool::process::{Ended, Process, own_binary};
use crate::pool::refused;
use crate::pool::suspend;
use crate::wire::frame::FrameKind;
use crate::wire::message::{CompileSetup, Compiled, Refusal, RefusalCause, Setup};

/// How often progress is told and a wish to stop is heeded.
const TICK: Duration = Duration::from_millis(50);

/// What Rust prints before it aborts for want of memory.
const ALLOCATION_FAILED: &str = "memory allocation of";

/// What the compiler says when it has no memory for its threads' stacks.
const NO_THREADS: &str = "ThreadPoolBuildError";

/// How a module is compiled.
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// Limits of the compile worker.
    pub limits: CompileLimits,
    /// Proposals beyond the default.
    pub features: Features,
    /// Epoch checks are compiled in.
    pub epochs: bool,
    /// Fuel accounting is compiled in.
    pub fuel: bool,
    /// The largest wasm stack, in bytes.
    pub stack: u64,
    /// The code shows its state, for a snapshot.
    pub instrument: bool,
    /// How hard the worker insists on its lock-down.
    pub sandbox: SandboxMode,
    /// Where artifacts are kept; `None` compiles anew each time.
    pub cache: Option<Cache>,
    /// The binary to start; `None` is the running one.
    pub worker: Option<PathBuf>,
    /// Set from elsewhere, it ends a compilation early.
    pub stop: Arc<AtomicBool>,
}

impl Default for CompileOptions {
    fn default() -> Self {
        Self {
            limits: CompileLimits::default(),
            features: Features::default(),
            epochs: false,
            fuel: false,
            stack: Limits::default().stack,
            instrument: false,
            sandbox: SandboxMode::default(),
            cache: None,
            worker: None,
            stop: Arc::default(),
        }
    }
}

impl CompileOptions {
    /// What is compiled into the artifact.
    #[must_use]
    pub fn settings(&self) -> EngineSettings {
        let Self { features, epochs, fuel, stack, instrument, .. } = *self;
        EngineSettings { features, epochs, fuel, stack, instrument }
    }
}

/// Compiled code, ready to be given to run workers.
#[derive(Debug)]
pub struct Artifact {
    /// The code; cannot be changed through this descriptor.
    pub file: File,
    /// What the module offers and needs.
    pub description: Description,
    /// It came out of the cache.
    pub cached: bool,
    /// How long it took to get it.
    pub seconds: f64,
    /// What to tell the user, where it could not be kept.
    pub note: Option<String>,
}

/// Gets a module's artifact; `progress` is told the time spent so far, a few
/// times a second. A module that was refused is not compiled again as long as
/// this process lives, unless the options are others.
///
/// # Errors
/// [`Error::Module`] when the module is refused or takes more than a limit of
/// compilation; [`Error::Workers`] when the worker could not do its job.
pub fn prepare(
    module: &Module,
    options: &CompileOptions,
    progress: &mut dyn FnMut(Duration),
) -> Result<Artifact, Error> {
    let started = Instant::now();
    let key = options.cache.as_ref().map(|cache| (cache, Key::new(module, &options.settings())));
    if let Some((file, description)) = key.as_ref().and_then(|(cache, key)| cache.lookup(key)) {
        return Ok(Artifact { file, description, cached: true, seconds: started.elapsed().as_secs_f64(), note: None });
    }
    let (compiled, description) = refused::once(module, options, || compile(module, options, progress))?;
    let (file, note) = keep(compiled, &description, key.as_ref().map(|(cache, key)| (*cache, key)))?;
    Ok(Artifact { file, description, cached: false, seconds: started.elapsed().as_secs_f64(), note })
}

/// Puts compiled code into the cache where there is a key, and makes it
/// unchangeable; beside it, what to tell the user.
pub(crate) fn keep(
    mut compiled: File,
    description: &Description,
    key: Option<(&Cache, &Key)>,
) -> Result<(File, Option<String>), Error> {
    let mut note = None;
    let stored = key.and_then(|(cache, key)| match cache.store(key, &mut compiled, description) {
        Ok(file) => Some(file),
        Err(error) => {
            note = Some(format!("cannot keep the compiled module in {}: {}", escape::path(cache.path()), Told(&error)));
            None
        }
    });
    let file = match stored {
        Some(file) => file,
        None => seal(compiled).map_err(Error::io("cannot seal the compiled module"))?,
    };
    Ok((file, note))
}

/// Nothing can change the code from here on, whoever holds the file.
fn seal(file: File) -> io::Result<File> {
    rustix::fs::fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

/// How a compile worker that gave no answer ended.
enum Death {
    /// Something other than us killed it: worth one more try.
    Killed,
    /// Anything else.
    Other(Error),
}

/// Compiles a module that may be in no cache.
pub(crate) fn compile(
    module: &Module,
    options: &CompileOptions,
    progress: &mut dyn FnMut(Duration),
) -> Result<(File, Description), Error> {
    let started = suspend::now();
    for _attempt in 0..2 {
        match attempt(module, options, started, progress) {
            Ok(compiled) => return Ok(compiled),
            Err(Death::Other(error)) => return Err(error),
            Err(Death::Killed) => {}
        }
    }
    Err(Error::Module(format!(
        "the compile worker was killed twice, probably for want of memory on this machine; its limit is {} bytes \
         (lower it with --compile-memory to fail early)",
        options.limits.memory
    )))
}

fn attempt(
    module: &Module,
    options: &CompileOptions,
    started: Duration,
    progress: &mut dyn FnMut(Duration),
) -> Result<(File, Description), Death> {
    let workers =
        |what: &'static str| move |error: io::Error| Death::Other(Error::Workers(format!("{what}: {}", Told(&error))));
    let artifact = rustix::fs::memfd_create("wpool-artifact", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .map(File::from)
        .map_err(|errno| workers("cannot make room for the compiled module")(errno.into()))?;
    let binary = options.worker.clone().unwrap_or_else(own_binary);
    let mut process = Process::spawn(&binary).map_err(workers("cannot start a worker process"))?;
    let setup = Setup::Compile(CompileSetup {
        host: rustix::process::getpid().as_raw_nonzero().get(),
        sandbox: options.sandbox,
        limits: options.limits.clone(),
        features: options.features,
        epochs: options.epochs,
        fuel: options.fuel,
        stack: options.stack,
        instrument: options.instrument,
    });
    // A worker that is gone already tells more by its end than by this error.
    let _sent = process.send(&setup, &[module.content(), artifact.as_fd()]);
    let answer = watch(&mut process, options, started, progress);
    // Nobody may write to the artifact once it is believed.
    process.kill();
    let (ended, words) = process.reap();
    match answer.map_err(Death::Other)? {
        Some((FrameKind::Compiled, payload)) => {
            let compiled: Compiled = serde_json::from_slice(&payload)
                .map_err(|error| Death::Other(Error::Workers(format!("the compile worker talks nonsense: {error}"))))?;
            let size = artifact.metadata().map_err(workers("cannot see the compiled module"))?.len();
            if size == 0 || size > options.limits.memory {
                return Err(Death::Other(Error::Workers(format!("the compile worker made {size} bytes of code"))));
            }
            Ok((artifact, compiled.description))
        }
        Some((FrameKind::Refused, payload)) => Err(Death::Other(refusal(&payload))),
        Some((kind, _)) => Err(Death::Other(Error::Workers(format!("the compile worker answered {kind:?}")))),
        None => Err(death(ended, &words, &options.limits)),
    }
}

/// Waits for the worker's answer; `None` when it went without one.
fn watch(
    process: &mut Process,
    options: &CompileOptions,
    started: Duration,
    progress: &mut dyn FnMut(Duration),
) -> Result<Option<(FrameKind, Bytes)>, Error> {
    loop {
        let elapsed = suspend::now().saturating_sub(started);
        let left = options.limits.timeout.saturating_sub(elapsed);
        if left.is_zero() {
            let limit = humantime::format_duration(options.limits.timeout);
            return Err(Error::Module(format!("compiling took longer than {limit} (raise it with --compile-timeout)")));
        }
        if options.stop.load(Ordering::Relaxed) {
            return Err(Error::Workers("interrupted while compiling".to_owned()));
        }
        match process.receive(left.min(TICK)) {
            Ok(frame) => return Ok(frame.map(|(head, payload)| (head.kind, payload))),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                // It says nothing before it is done; by now it must be.
                process.locked_in();
                progress(elapsed);
            }
            Err(error) => return Err(Error::Workers(format!("cannot hear the compile worker: {error}"))),
        }
    }
}

/// What a worker's refusal means for the run.
pub(crate) fn refusal(payload: &[u8]) -> Error {
    match serde_json::from_slice::<Refusal>(payload) {
        Ok(refusal) => match refusal.cause {
            RefusalCause::Module => Error::Module(refusal.message),
            RefusalCause::Stale | RefusalCause::Machine | RefusalCause::Scarce => Error::Workers(refusal.message),
        },
        Err(error) => Error::Workers(format!("the worker talks nonsense: {error}")),
    }
}

/// Whether a worker ended because it got no memory.
pub(crate) fn is_want_of_memory(words: &[u8]) -> bool {
    String::from_utf8_lossy(words).contains(ALLOCATION_FAILED)
}

/// What the end of a worker means that gave no answer and was not killed by
/// us. (Our own kill came after its end of stream and changes nothing.)
fn death(ended: Ended, words: &[u8], limits: &CompileLimits) -> Death {
    let no_memory = is_want_of_memory(words);
    let words = String::from_utf8_lossy(words);
    let said = words.trim();
    let said = if said.is_empty() { String::new() } else { format!("\n{said}") };
    let want_of_memory = || {
        let limit = limits.memory;
        Error::Module(format!("compiling needed more memory than {limit} bytes (raise it with --compile-memory)"))
    };
    let signal = match (ended.signal, ended.code) {
        (Some(signal), _) => signal,
        (None, _) if words.contains(NO_THREADS) => return Death::Other(want_of_memory()),
        (None, code) => {
            let code = code.map_or("unknown".to_owned(), |code| code.to_string());
            return Death::Other(Error::Workers(format!("the compile worker exited with code {code}{said}")));
        }
    };
    Death::Other(match signal {
        libc::SIGKILL => return Death::Killed,
        libc::SIGXCPU => {
            let limit = humantime::format_duration(limits.timeout);
            Error::Module(format!("compiling took longer than {limit} (raise it with --compile-timeout)"))
        }
        libc::SIGXFSZ => Error::Workers("the compiled module is larger than files may be here (ulimit -f)".to_owned()),
        libc::SIGABRT if no_memory => want_of_memory(),
        libc::SIGSYS => Error::Workers(format!("the sandbox stopped the compile worker (signal {signal}){said}")),
        _ => Error::Module(format!("the compiler crashed on this module (signal {signal}){said}")),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A worker that is a shell script, whose standard input is the socket.
    fn script(folder: &tempfile::TempDir, lines: &str) -> PathBuf {
        let path = folder.path().join("worker.sh");
        let mut file = File::create(&path).unwrap();
        write!(file, "#!/bin/sh\n{lines}\n").unwrap();
        file.set_permissions(PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    fn outcome(lines: &str, limits: CompileLimits, stop: bool) -> (Result<Artifact, Error>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        let lines = format!("echo run >> {}\n{lines}", runs.display());
        let options = CompileOptions {
            limits,
            worker: Some(script(&folder, &lines)),
            stop: Arc::new(AtomicBool::new(stop)),
            ..CompileOptions::default()
        };
        let module = Module::from_bytes("m", b"(module)").unwrap();
        let result = prepare(&module, &options, &mut |_| {});
        (result, std::fs::read_to_string(runs).map_or(0, |text| text.lines().count()))
    }

    fn refused(lines: &str) -> (Error, usize) {
        let (result, runs) = outcome(lines, CompileLimits::default(), false);
        (result.unwrap_err(), runs)
    }

    #[test]
    fn a_worker_killed_from_outside_is_tried_once_more() {
        let (error, runs) = refused("kill -9 $$");
        assert_eq!(runs, 2);
        assert!(matches!(&error, Error::Module(text) if text.contains("--compile-memory")), "{error}");
    }

    #[test]
    fn a_refused_module_is_not_compiled_again_under_the_same_options() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        let worker = script(&folder, &format!("echo run >> {}\nkill -SEGV $$", runs.display()));
        let tried = |edit: fn(&mut CompileOptions), bytes: &[u8]| {
            let mut options = CompileOptions { worker: Some(worker.clone()), ..CompileOptions::default() };
            edit(&mut options);
            let module = Module::from_bytes("m", bytes).unwrap();
            let error = prepare(&module, &options, &mut |_| {}).unwrap_err();
            assert!(matches!(&error, Error::Module(text) if text.contains("signal 11")), "{error}");
            std::fs::read_to_string(&runs).unwrap().lines().count()
        };
        assert_eq!(tried(|_| {}, b"(module)"), 1);
        assert_eq!(tried(|_| {}, b"(module)"), 1, "the same bytes");
        assert_eq!(tried(|_| {}, b"(module )"), 2, "other bytes");
        assert_eq!(tried(|options| options.limits.memory += 1, b"(module)"), 3, "another limit");
        assert_eq!(tried(|options| options.fuel = true, b"(module)"), 4, "other code");
        assert_eq!(tried(|_| {}, b"(module)"), 4);
    }

    #[test]
    fn a_crash_is_the_modules_and_not_tried_again() {
        let (error, runs) = refused("kill -SEGV $$");
        assert_eq!(runs, 1);
        assert!(matches!(&error, Error::Module(text) if text.contains("signal 11")), "{error}");
    }

    #[test]
    fn want_of_memory_names_its_flag() {
        let (error, _) = refused("echo 'memory allocation of 99 bytes failed' >&2; kill -ABRT $$");
        assert!(matches!(&error, Error::Module(text) if text.contains("--compile-memory")), "{error}");
    }

    #[test]
    fn the_clock_names_its_flag_and_leaves_no_process() {
        let limits = CompileLimits { timeout: Duration::from_millis(300), ..CompileLimits::default() };
        let started = Instant::now();
        let (result, runs) = outcome("exec sleep 60", limits, false);
        let error = result.unwrap_err();
        assert!(matches!(&error, Error::Module(text) if text.contains("--compile-timeout")), "{error}");
        assert_eq!(runs, 1);
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_wish_to_stop_is_heeded() {
        let (result, _) = outcome("exec sleep 60", CompileLimits::default(), true);
        assert!(result.unwrap_err().to_string().contains("interrupted"));
    }

    #[test]
    fn a_worker_without_an_answer_has_its_last_words_told() {
        let (error, runs) = refused("echo 'no luck today' >&2; exit 7");
        assert_eq!(runs, 1);
        let text = error.to_string();
        assert!(
            matches!(error, Error::Workers(_)) && text.contains("code 7") && text.contains("no luck today"),
            "{text}"
        );
    }

    #[test]
    fn code_that_was_never_written_is_not_believed() {
        // A `Compiled` frame of 2 payload bytes, then the payload.
        let frame = r"printf '\024\000\000\000\002\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000{}' >&0; exec sleep 60";
        let (error, _) = refused(frame);
        assert!(matches!(&error, Error::Workers(text) if text.contains("nonsense")), "{error}");
    }

    #[test]
    fn a_missing_worker_binary_is_said() {
        let options = CompileOptions { worker: Some("/no/such/binary".into()), ..CompileOptions::default() };
        let module = Module::from_bytes("m", b"(module)").unwrap();
        let error = prepare(&module, &options, &mut |_| {}).unwrap_err();
        assert!(matches!(&error, Error::Workers(text) if text.contains("cannot start")), "{error}");
    }

    #[test]
    fn sealed_code_cannot_be_changed() {
        let descriptor = rustix::fs::memfd_create("t", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        let mut file = File::from(descriptor);
        file.write_all(b"code").unwrap();
        assert!(seal(file).unwrap().write_all(b"x").is_err());
    }
}
