//! What a worker sees of the engine: a loaded guest that runs one task after
//! another and reports on each.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use wasmtime::Engine;

use crate::describe::Shape;
use crate::limits::{Limits, Tighter};
use crate::outcome::{Failure, Form};
use crate::runtime::abi::component::ComponentGuest;
use crate::runtime::console::Console;
use crate::runtime::core_guest::CoreGuest;
use crate::runtime::desk::Desk;
use crate::runtime::engine::EngineSpec;
use crate::runtime::threads::{self, Threads, Wanted};
use crate::runtime::trap::{no_memory, size_text};
use crate::runtime::wasi::Grants;
use crate::wire::frame::{INITIALIZER, INITIALIZER_INDEX};
use crate::wire::message::{ItemForm, Refusal, RefusalCause, RunSetup};
use crate::wire::page::Page;

/// One task as it came over the wire.
#[derive(Clone, Copy, Debug)]
pub struct TaskInput<'a> {
    /// Position of its function among the pool's targets.
    pub function: u16,
    /// Position of the item in the input.
    pub index: u64,
    /// How often it was started, this time included.
    pub attempt: u16,
    /// The item's bytes.
    pub item: &'a [u8],
    /// What they are.
    pub form: ItemForm,
    /// The file's path, for items that are files.
    pub path: Option<&'a str>,
    /// Limits below the pool's.
    pub tighter: Tighter,
}

/// What became of one task. The tails of its streams are in the shared page.
#[derive(Debug)]
pub struct Report {
    /// The form of the value, whose bytes were appended to the output; or why
    /// there is none.
    pub result: Result<Form, Failure>,
    /// Instructions, where they are counted.
    pub fuel: Option<u64>,
    /// Highest sum of linear memories and tables, in bytes.
    pub peak_memory: u64,
    /// Standard output became the value (or would have): it is not to be
    /// shown beside it.
    pub stdout_is_result: bool,
}

impl Report {
    /// A task that failed before it had a store.
    #[must_use]
    pub fn failed(failure: Failure) -> Self {
        Self { result: Err(failure), fuel: None, peak_memory: 0, stdout_is_result: false }
    }
}

/// A loaded guest.
pub struct Guest {
    engine: Engine,
    limits: Limits,
    grants: Arc<Grants>,
    kind: GuestKind,
    /// The arguments of the initializer.
    args: Option<String>,
    /// The module as it was given, where a snapshot is wanted.
    origin: Vec<u8>,
}

enum GuestKind {
    Core(Box<CoreGuest>),
    Component(Box<ComponentGuest>),
}

impl GuestKind {
    fn console(&self) -> &Console {
        match self {
            Self::Core(guest) => guest.console(),
            Self::Component(guest) => guest.console(),
        }
    }
}

impl Guest {
    /// Makes the engine, maps the artifact, opens the granted directories and
    /// looks up the functions. Runs no guest code and starts no thread.
    /// `scratch` is a private, empty directory, where one is granted.
    ///
    /// # Errors
    /// A stale artifact, a module that cannot run with these grants, limits
    /// and functions, or a machine that lacks something.
    pub fn load(artifact: &File, setup: &RunSetup, page: Arc<Page>, scratch: Option<&Path>) -> Result<Self, Refusal> {
        let limits = setup.task.limits.clone();
        let minimum = setup.description.memory_minimum;
        if minimum > limits.memory {
            return Err(Refusal::module(format!(
                "the module's memory begins with {}, more than the limit of {} (raise it with --memory)",
                size_text(minimum),
                size_text(limits.memory)
            )));
        }
        let engine = EngineSpec::run(setup).engine()?;
        let grants = Arc::new(Grants::open(&setup.task.capabilities, scratch)?);
        let copied = artifact.try_clone();
        let file = copied.map_err(|error| Refusal::denied("cannot open the artifact", &error))?;
        let kind = match setup.description.shape {
            Shape::Core => GuestKind::Core(Box::new(CoreGuest::load(&engine, file, setup, page, Arc::clone(&grants))?)),
            Shape::Component => {
                let guest = ComponentGuest::load(&engine, file, setup, page, Arc::clone(&grants))?;
                GuestKind::Component(Box::new(guest))
            }
        };
        let args = setup.task.initializer.as_ref().map(|called| called.args.clone());
        Ok(Self { engine, limits, grants, kind, args, origin: Vec::new() })
    }

    /// Where its calls of the pool go.
    #[must_use]
    pub fn desk(&self) -> &Arc<Desk> {
        self.grants.desk()
    }

    /// Starts the threads that this guest needs, on the thread that will run
    /// it, and keeps them as long as the returned value. To be called after
    /// what binds only the calling thread (landlock) and before what forbids
    /// new threads (seccomp).
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start_threads(&self) -> Result<Threads, Refusal> {
        let wasi = match &self.kind {
            GuestKind::Core(guest) => guest.uses_wasi(),
            GuestKind::Component(_) => true,
        };
        let epochs = threads::epoch_timeout(&self.limits).map(|timeout| (&self.engine, timeout));
        threads::start(&Wanted { wasi, epochs })
    }

    /// The next task talks over this connection: it is its standard streams.
    pub fn connect(&mut self, connection: OwnedFd) {
        self.kind.console().connect(connection);
    }

    /// The module of which a snapshot will be wanted, before it was compiled.
    #[must_use]
    pub fn made_of(self, origin: Vec<u8>) -> Self {
        Self { origin, ..self }
    }

    /// Calls the initializer. Its instance is kept for what follows.
    pub fn initialise(&mut self) -> Report {
        let args = self.args.as_deref().unwrap_or("null").as_bytes();
        let task = TaskInput {
            function: INITIALIZER,
            index: INITIALIZER_INDEX,
            attempt: 1,
            item: args,
            form: ItemForm::Json,
            path: None,
            tighter: Tighter::default(),
        };
        let report = match &mut self.kind {
            GuestKind::Core(guest) => guest.initialise(&task),
            GuestKind::Component(guest) => guest.initialise(&task),
        };
        self.wiped(report)
    }

    /// Whether there is an instance for the next task.
    #[cfg(test)]
    pub fn is_ready(&self) -> bool {
        match &self.kind {
            GuestKind::Core(guest) => guest.is_ready(),
            GuestKind::Component(guest) => guest.is_ready(),
        }
    }

    /// Whether the instance that the initializer made ready is gone: another
    /// one would not be as it was.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        match &self.kind {
            GuestKind::Core(guest) => guest.is_spent(),
            GuestKind::Component(guest) => guest.is_spent(),
        }
    }

    /// A module that begins as the initializer left this one.
    ///
    /// # Errors
    /// What a snapshot would lose.
    pub fn snapshot(&mut self) -> Result<Vec<u8>, Refusal> {
        match &mut self.kind {
            GuestKind::Core(guest) => guest.snapshot(&self.origin),
            GuestKind::Component(guest) => guest.snapshot(&self.origin),
        }
    }

    /// Runs one task; the value's bytes are appended to `out`.
    pub fn run(&mut self, task: &TaskInput<'_>, out: &mut Vec<u8>) -> Report {
        let before = out.len();
        let mut report = match &mut self.kind {
            GuestKind::Core(guest) => guest.run(task, out),
            GuestKind::Component(guest) => guest.run(task, out),
        };
        if self.grants.connections()
            && let Some(traffic) = self.kind.console().hang_up()
            && report.result.is_ok()
            && let Ok(value) = serde_json::to_vec(&traffic)
        {
            out.truncate(before);
            out.extend_from_slice(&value);
            report.result = Ok(Form::Json);
            report.stdout_is_result = false;
        }
        self.wiped(report)
    }

    /// What became of a call, once its scratch files are gone.
    fn wiped(&self, mut report: Report) -> Report {
        if let Some(scratch) = self.grants.scratch()
            && let Err(error) = scratch.wipe()
            && report.result.is_ok()
        {
            // The next item would see this one's files.
            let message = format!("the scratch directory could not be emptied: {error}");
            report.result = Err(Failure::new(crate::outcome::Kind::WorkerCrashed, message));
        }
        report
    }
}

/// An artifact that does not load is of another engine: compiled anew, it
/// either loads or shows what is wrong.
#[must_use]
pub fn stale_or_refused(error: &wasmtime::Error) -> Refusal {
    let cause = if no_memory(error) { RefusalCause::Scarce } else { RefusalCause::Stale };
    Refusal { cause, message: format!("the compiled module does not load: {error:#}") }
}
