//! One call in a process of its own: Python's `multiprocessing.Process`.
//!
//! A pool of one worker with one item, whose worker is never replaced: when it
//! dies, the call has ended.

mod builder;

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::de::DeserializeOwned;

pub use builder::ProcessBuilder;

use self::builder::Arguments;
use crate::api::error::CallError;
use crate::api::functions::{Callee, Take};
use crate::api::options::CallOptions;
use crate::api::results::reader;
use crate::api::{Pool, PoolBuilder};
use crate::error::Error;
use crate::outcome::{Kind, Outcome};
use crate::pool::job::Terms;
use crate::pool::module::Module;
use crate::pool::{JobHandle, Outcomes, Room};

/// Exit code of a process whose function failed, as Python's after an
/// exception.
const FAILED: i32 = 1;

/// One call in a process of its own, in the sandbox of a pool's workers:
/// Python's `multiprocessing.Process`.
///
/// It has what Python's has, and [`result`](Self::result): the function's
/// value, which Python has no way for but a queue. Where Python has a subclass
/// with a `run` of its own, here a function gives a [`ProcessBuilder`].
///
/// Dropping it waits for its end, as Python does when it exits, unless it is a
/// [daemon](ProcessBuilder::daemon): then it is ended.
///
/// ```no_run
/// use wpool::{CallError, Module, Process};
///
/// fn squares(module: &Module) -> Result<Vec<u64>, CallError> {
///     let square = |n: u64| Process::builder(module.clone()).function("square").args(n).build();
///     let five: Vec<Process> = (0..5).map(square).collect();
///     for process in &five {
///         process.start()?;
///     }
///     five.iter().map(|process| process.result()).collect()
/// }
/// ```
#[doc(alias = "multiprocessing.Process")]
pub struct Process {
    inner: Arc<Inner>,
    name: String,
    daemon: bool,
}

struct Inner {
    state: Mutex<State>,
    /// Known from the start on.
    pid: Mutex<Option<i32>>,
    changed: Condvar,
}

enum State {
    New(Box<Start>),
    /// It could not be started, or is being started.
    Unstarted,
    Running(Running),
    Ended(Box<End>),
}

/// What a process is started from.
struct Start {
    pool: PoolBuilder,
    call: CallOptions<'static>,
    arguments: Arguments,
}

/// A process that was started and has not ended.
struct Running {
    /// Names this process alone, even when its id is another's.
    handle: OwnedFd,
    job: JobHandle,
    /// What it was sent first, of which it died.
    sent: Option<Signal>,
}

/// What became of a process.
struct End {
    outcome: Option<Outcome>,
    broken: Option<Arc<Error>>,
    callee: Callee,
    exit_code: i32,
}

impl Process {
    /// Begins a process that runs a function of a module.
    ///
    /// ```
    /// use wpool::{Module, Process};
    ///
    /// fn greeter(module: Module) -> Process {
    ///     Process::builder(module).function("greet").args("world").build()
    /// }
    /// ```
    pub fn builder(module: Module) -> ProcessBuilder {
        ProcessBuilder::new(module)
    }

    /// Starts it; returns when its process takes the call. Once only.
    ///
    /// ```
    /// use wpool::{CallError, Process};
    ///
    /// fn all(processes: &[Process]) -> Result<(), CallError> {
    ///     processes.iter().try_for_each(Process::start)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`CallError::Pool`] with what [`PoolBuilder::build`] says;
    /// [`CallError::Usage`] where the function cannot be called so, or the
    /// process was started before.
    #[doc(alias = "Process.start")]
    pub fn start(&self) -> Result<(), CallError> {
        let before = std::mem::replace(&mut *self.inner.state(), State::Unstarted);
        let start = match before {
            State::New(start) => *start,
            other => {
                *self.inner.state() = other;
                return Err(CallError::usage(format!("the process {} was started before", self.name)));
            }
        };
        let failed = |error: Error| CallError::Pool(Arc::new(error));
        let pool = start.pool.build().map_err(failed)?;
        let callee = pool.inner.functions.callee(&start.call, Take::Either)?;
        let pid = pool.worker_pids().first().copied();
        let handle = pid.and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH);
        let handle = handle.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
        let handle = handle.map_err(|errno| failed(Error::io("cannot hold the process")(errno.into())))?;
        let item = (start.arguments)(&callee);
        let terms = Terms { once: true, ..pool.inner.terms(&callee, &start.call)? };
        let engine = &pool.inner.engine;
        // Its queue has room: this is the only item.
        let job = engine.submit(item, terms, Room::Wait).map_err(|_full| CallError::Saturated)?;
        let outcomes = Outcomes::new(Arc::clone(&job), Arc::clone(engine.shared()));
        let job = JobHandle::new(job, Arc::clone(engine.shared()));
        *self.inner.pid() = pid;
        *self.inner.state() = State::Running(Running { handle, job, sent: None });
        let inner = Arc::clone(&self.inner);
        let thread = std::thread::Builder::new().name("wpool-process".to_owned());
        let spawned = thread.spawn(move || inner.see_through(outcomes, &pool, callee));
        if let Err(error) = spawned {
            *self.inner.state() = State::Unstarted;
            return Err(failed(Error::io("cannot start the process's thread")(error)));
        }
        Ok(())
    }

    /// Waits for its end; its exit code.
    ///
    /// ```
    /// use wpool::{CallError, Process};
    ///
    /// fn all_ok(processes: &[Process]) -> Result<bool, CallError> {
    ///     let codes: Vec<i32> = processes.iter().map(Process::join).collect::<Result<_, _>>()?;
    ///     Ok(codes.iter().all(|code| *code == 0))
    /// }
    /// ```
    ///
    /// # Errors
    /// [`CallError::Usage`] where it was not started.
    #[doc(alias = "Process.join")]
    pub fn join(&self) -> Result<i32, CallError> {
        self.wait(None)?.ok_or(CallError::TimedOut)
    }

    /// Waits for its end, for at most `timeout`; its exit code, or `None`
    /// where it has not ended.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wpool::{CallError, Process};
    ///
    /// fn within_a_second(process: &Process) -> Result<bool, CallError> {
    ///     Ok(process.join_timeout(Duration::from_secs(1))?.is_some())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`CallError::Usage`] where it was not started.
    pub fn join_timeout(&self, timeout: Duration) -> Result<Option<i32>, CallError> {
        self.wait(Instant::now().checked_add(timeout))
    }

    fn wait(&self, until: Option<Instant>) -> Result<Option<i32>, CallError> {
        let mut state = self.inner.state();
        loop {
            match &*state {
                State::New(_) | State::Unstarted => return Err(self.not_started()),
                State::Ended(end) => return Ok(Some(end.exit_code)),
                State::Running(_) => {}
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            state = match left {
                None => self.inner.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return Ok(None),
                Some(left) => self.inner.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    fn not_started(&self) -> CallError {
        CallError::usage(format!("the process {} was not started", self.name))
    }

    /// Waits for its end; the value of its function. It can be taken again.
    /// Python has no such thing: there the function must put it into a queue.
    ///
    /// ```
    /// use wpool::{CallError, Process};
    ///
    /// fn squared(process: &Process) -> Result<u64, CallError> {
    ///     process.start()?;
    ///     process.result()
    /// }
    /// ```
    ///
    /// # Errors
    /// [`CallError::Task`] where the function failed or the process was ended,
    /// [`CallError::Value`] where the value is no `R`, [`CallError::Usage`]
    /// where it was not started, [`CallError::Pool`].
    pub fn result<R: DeserializeOwned>(&self) -> Result<R, CallError> {
        self.join()?;
        match &*self.inner.state() {
            State::Ended(end) => end.value(),
            State::New(_) | State::Unstarted | State::Running(_) => Err(self.not_started()),
        }
    }

    /// Whether it was started and has not ended.
    ///
    /// ```
    /// use wpool::Process;
    ///
    /// fn busy(processes: &[Process]) -> usize {
    ///     processes.iter().filter(|process| process.is_alive()).count()
    /// }
    /// ```
    #[doc(alias = "Process.is_alive")]
    #[must_use]
    pub fn is_alive(&self) -> bool {
        matches!(&*self.inner.state(), State::Running(_))
    }

    /// Ends it by SIGTERM. Does not wait. No error where it has ended, or was
    /// not started.
    ///
    /// ```
    /// use wpool::{CallError, Process};
    ///
    /// fn stop(process: &Process) -> Result<i32, CallError> {
    ///     process.terminate();
    ///     process.join()
    /// }
    /// ```
    #[doc(alias = "Process.terminate")]
    pub fn terminate(&self) {
        self.inner.signal(Signal::TERM);
    }

    /// Ends it by SIGKILL; otherwise as [`terminate`](Self::terminate).
    ///
    /// ```
    /// use wpool::{CallError, Process};
    ///
    /// fn stop(process: &Process) -> Result<bool, CallError> {
    ///     process.kill();
    ///     Ok(process.join()? == -9)
    /// }
    /// ```
    #[doc(alias = "Process.kill")]
    pub fn kill(&self) {
        self.inner.signal(Signal::KILL);
    }

    /// How it ended, `None` before: 0 where the function returned, the code
    /// where it exited with one, 1 where it failed, the negative number of a
    /// signal that ended it. A task over a limit that its host ends it for,
    /// such as the timeout, is -9.
    ///
    /// ```
    /// use wpool::Process;
    ///
    /// fn tell(process: &Process) -> String {
    ///     match process.exit_code() {
    ///         None => "still there".to_owned(),
    ///         Some(signal) if signal < 0 => format!("ended by signal {}", -signal),
    ///         Some(code) => format!("exited with {code}"),
    ///     }
    /// }
    /// ```
    #[doc(alias = "exitcode")]
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match &*self.inner.state() {
            State::Ended(end) => Some(end.exit_code),
            State::New(_) | State::Unstarted | State::Running(_) => None,
        }
    }

    /// Its process id, `None` before it is started.
    ///
    /// ```
    /// use wpool::Process;
    ///
    /// fn pids(processes: &[Process]) -> Vec<i32> {
    ///     processes.iter().filter_map(Process::pid).collect()
    /// }
    /// ```
    #[doc(alias = "ident")]
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        *self.inner.pid()
    }

    /// Its name.
    ///
    /// ```
    /// use wpool::{Module, Process};
    ///
    /// let module = Module::from_bytes("nothing.wat", "(module)")?;
    /// assert_eq!(Process::builder(module).name("first").build().name(), "first");
    /// # Ok::<(), wpool::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether dropping it ends it.
    ///
    /// ```
    /// use wpool::{Module, Process};
    ///
    /// let module = Module::from_bytes("nothing.wat", "(module)")?;
    /// assert!(!Process::builder(module).build().daemon());
    /// # Ok::<(), wpool::Error>(())
    /// ```
    #[must_use]
    pub fn daemon(&self) -> bool {
        self.daemon
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name)
            .field("pid", &self.pid())
            .field("exit_code", &self.exit_code())
            .finish_non_exhaustive()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.daemon {
            self.kill();
        }
        // An error is that it was not started.
        let _code = self.join();
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pid(&self) -> MutexGuard<'_, Option<i32>> {
        self.pid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: Signal) {
        let mut state = self.state();
        if let State::Running(running) = &mut *state
            && pidfd_send_signal(&running.handle, signal).is_ok()
        {
            running.sent.get_or_insert(signal);
            // It is not started anew, nor waited for.
            running.job.cancel();
        }
    }

    /// Waits for the outcome, ends the worker, and tells. The process is gone
    /// and reaped by then.
    fn see_through(&self, mut outcomes: Outcomes, pool: &Pool, callee: Callee) {
        let outcome = outcomes.next();
        drop(outcomes);
        pool.terminate();
        let broken = pool.inner.engine.shared().broken();
        let mut state = self.state();
        let sent = match &*state {
            State::Running(running) => running.sent,
            State::New(_) | State::Unstarted | State::Ended(_) => None,
        };
        let exit_code = exit_code(outcome.as_ref(), sent);
        *state = State::Ended(Box::new(End { outcome, broken, callee, exit_code }));
        drop(state);
        self.changed.notify_all();
    }
}

impl End {
    fn value<R: DeserializeOwned>(&self) -> Result<R, CallError> {
        let name = &self.callee.name;
        let Some(outcome) = &self.outcome else {
            let broken = self.broken.clone().map(CallError::Pool);
            return Err(broken.unwrap_or_else(|| CallError::cancelled(name, 0)));
        };
        match &outcome.result {
            Ok(value) => reader(name)(outcome.index, value.form, &value.bytes),
            Err(failure) => Err(CallError::failed(name, outcome, failure, self.broken.clone())),
        }
    }
}

/// What Python would say that the process exited with.
fn exit_code(outcome: Option<&Outcome>, sent: Option<Signal>) -> i32 {
    let Some(outcome) = outcome else { return FAILED };
    let Err(failure) = &outcome.result else { return 0 };
    let by = |signal: Signal| -signal.as_raw();
    match failure.kind {
        Kind::Exit => failure.detail.code.and_then(|code| i32::try_from(code).ok()).unwrap_or(FAILED),
        Kind::WorkerCrashed => failure.detail.signal.map_or(FAILED, |signal| -signal),
        Kind::Timeout => by(Signal::KILL),
        Kind::Cancelled => sent.map_or(FAILED, by),
        Kind::Ok
        | Kind::Error
        | Kind::Trap
        | Kind::OutOfFuel
        | Kind::OutOfMemory
        | Kind::StackOverflow
        | Kind::ResultTooLarge
        | Kind::Denied
        | Kind::BadInput
        | Kind::BadOutput => FAILED,
    }
}
