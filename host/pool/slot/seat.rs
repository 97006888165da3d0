//! One worker in a slot: its process, socket, shared page and the items in it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::error::Told;
use crate::error::is_scarcity;
use crate::pool::Shared;
use crate::pool::call::{Call, NotCalled};
use crate::pool::credit::Credit;
use crate::pool::link::Link;
use crate::pool::load::Load;
use crate::pool::objects::Session;
use crate::pool::process::{Ended, Process};
use crate::pool::scratch::ScratchDir;
use crate::pool::slot::flight::Flight;
use crate::pool::slot::watch::{Watch, now_ns};
use crate::wire::frame::{FrameKind, INITIALIZER_TICKET, VERSION};
use crate::wire::message::{Ready, Refusal, RefusalCause, RunSetup, Setup};
use crate::wire::page::Page;

/// How long a worker may take to load and lock down.
const START: Duration = Duration::from_secs(30);

/// A worker that takes tasks.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) process: Process,
    pub(super) link: Link,
    pub(super) page: Page,
    pub(super) flight: Flight,
    pub(super) watch: Watch,
    /// What its running task has to do with shared objects.
    pub(super) session: Session,
    /// A call was answered, and the worker has not called again.
    pub(super) answered: bool,
    pub(super) credit: Credit,
    /// Items given to it in its life.
    pub(super) given: u64,
    /// Items it finished.
    pub(super) done: u64,
    /// Processor time that its reports account for.
    pub(super) cpu: Duration,
    /// On the monotonic clock.
    pub(super) born: u64,
    /// Removed after the process: fields drop in order.
    _scratch: Option<ScratchDir>,
}

/// Why there is no worker.
#[derive(Debug)]
pub(super) enum NoWorker {
    /// It will never work: the pool gives up.
    Refused(Error),
    /// It died on the way; another may do better.
    Died(String),
    /// The system has no more to give: one worker less may have to do.
    Scarce(String),
    /// The pool ended meanwhile.
    Unwanted,
}

impl NoWorker {
    /// What could not be had on the way to a worker.
    fn without(what: &str) -> impl FnOnce(io::Error) -> Self {
        move |error| {
            let words = format!("{what}: {}", Told(&error));
            if is_scarcity(&error) { Self::Scarce(words) } else { Self::Died(words) }
        }
    }
}

impl Seat {
    /// Starts a worker and waits until it takes tasks.
    pub(super) fn start(shared: &Shared, slot: u32, waker: &Arc<OwnedFd>) -> Result<Self, NoWorker> {
        let (page, page_file) =
            Page::create(shared.spec.limits.max_captured).map_err(NoWorker::without("cannot make shared memory"))?;
        let scratch = scratch(shared).map_err(NoWorker::without("cannot make a scratch directory"))?;
        let mut process = Process::spawn(&shared.options.worker)
            .map_err(|error| NoWorker::without(&format!("cannot start {}", shared.options.worker.display()))(error))?;
        let setup = Setup::Run(Box::new(RunSetup {
            host: std::process::id() as i32,
            sandbox: shared.options.sandbox,
            slot,
            description: shared.description.clone(),
            task: shared.spec.clone(),
            scratch: scratch.as_ref().map(|folder| folder.path().to_owned()),
        }));
        let sent = process.send(&setup, &[page_file.as_fd(), shared.artifact.as_fd()]);
        let answer = match sent {
            Ok(()) => process.receive(START),
            Err(error) => Err(error),
        };
        match answer {
            Ok(Some((head, payload))) if head.kind == FrameKind::Ready => {
                let ready = check_ready(&payload)?;
                // Workers on one system are alike: the first tells.
                let _told = shared.missing.set(ready.missing);
                process.locked_in();
            }
            Ok(Some((head, payload))) if head.kind == FrameKind::Refused => return Err(refused(&payload)),
            other => return Err(NoWorker::Died(last_words(&mut process, other.err()))),
        }
        let cpu = initialise(&mut process, &page, shared)?;
        process.set_nonblocking().map_err(NoWorker::without("cannot set up a worker's socket"))?;
        let link = Link::new(process.take_decoder(), shared.frame_limit(), Arc::clone(&shared.shelf));
        let born = now_ns();
        Ok(Self {
            process,
            link,
            page,
            flight: Flight::after(if shared.spec.initialises() { INITIALIZER_TICKET } else { 0 }),
            watch: Watch::new(born),
            session: Session::new(Arc::clone(&shared.objects), Arc::clone(waker)),
            answered: false,
            credit: Credit::new(shared.credit()),
            given: 0,
            done: 0,
            cpu,
            born,
            _scratch: scratch,
        })
    }

    /// How many items of a load may go to the worker now, which has a life of
    /// `most` items; all of a task, or none.
    pub(super) fn room(&self, load: &Load, most: u64) -> usize {
        let (held, window) = (self.flight.len(), self.credit.window());
        match load {
            Load::One(task) => usize::from(self.credit.admits(held, self.flight.bytes(), task.body.bytes.len())),
            Load::Many(run) => {
                let left = usize::try_from(most - self.given).unwrap_or(usize::MAX);
                let room = window.saturating_sub(held).min(left).min(run.len());
                // Crumbs of a run would cost a frame each.
                let crumb = held > 0 && room < run.len().min(window / 4);
                if crumb || !self.credit.admits(held, self.flight.bytes(), run.bytes()) { 0 } else { room }
            }
        }
    }

    /// Ends the worker and reaps it.
    pub(super) fn end(mut self) -> (Ended, Vec<u8>) {
        self.process.kill();
        self.process.reap()
    }
}

/// A private directory for the items' scratch files; the host's, so that it
/// goes even when the worker is killed.
fn scratch(shared: &Shared) -> io::Result<Option<ScratchDir>> {
    let wanted = shared.spec.capabilities.scratch.is_some();
    wanted.then(ScratchDir::make).transpose()
}

/// Has the worker call the initializer, where each one does; the processor time
/// that it has used then.
fn initialise(process: &mut Process, page: &Page, shared: &Shared) -> Result<Duration, NoWorker> {
    let spec = &shared.spec;
    let Some(initializer) = spec.initializer.as_ref().filter(|_| spec.initialises()) else {
        return Ok(Duration::ZERO);
    };
    let call = Call { initializer, limits: &spec.limits, answer: shared.frame_limit() };
    match call.make(process, page, &mut |_elapsed| !shared.is_terminated()) {
        Ok(()) => {
            let cpu = process.cpu().unwrap_or_default();
            shared.counts.add_cpu(cpu);
            Ok(cpu)
        }
        Err(NotCalled::Failed(error)) => Err(NoWorker::Refused(Error::Initializer(error))),
        Err(NotCalled::Unwanted) => Err(NoWorker::Unwanted),
        Err(NotCalled::Died(error)) => Err(NoWorker::Died(last_words(process, error))),
    }
}

fn check_ready(payload: &[u8]) -> Result<Ready, NoWorker> {
    let ready: Ready =
        serde_json::from_slice(payload).map_err(|error| NoWorker::Died(format!("bad hello of a worker: {error}")))?;
    if ready.version == VERSION {
        return Ok(ready);
    }
    Err(NoWorker::Refused(Error::Workers(format!(
        "the worker speaks protocol {} and this program {VERSION}: they are of different versions",
        ready.version
    ))))
}

fn refused(payload: &[u8]) -> NoWorker {
    match serde_json::from_slice::<Refusal>(payload) {
        Ok(refusal) if refusal.cause == RefusalCause::Module => NoWorker::Refused(Error::Module(refusal.message)),
        Ok(refusal) if refusal.cause == RefusalCause::Stale => NoWorker::Refused(Error::Stale(refusal.message)),
        Ok(refusal) if refusal.cause == RefusalCause::Scarce => NoWorker::Scarce(refusal.message),
        Ok(refusal) => NoWorker::Refused(Error::Workers(refusal.message)),
        Err(error) => NoWorker::Died(format!("bad refusal of a worker: {error}")),
    }
}

fn last_words(process: &mut Process, error: Option<io::Error>) -> String {
    process.kill();
    let (ended, words) = process.reap();
    let mut text = match (ended.signal, ended.code, error) {
        (_, _, Some(error)) => format!("a worker did not start: {error}"),
        (Some(signal), _, _) => format!("a worker was ended by signal {signal} while it started"),
        (_, Some(code), _) => format!("a worker exited with code {code} while it started"),
        _ => "a worker ended while it started".to_owned(),
    };
    if !words.is_empty() {
        text.push_str(": ");
        text.push_str(String::from_utf8_lossy(&words).trim_end());
    }
    text
}
