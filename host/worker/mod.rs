//! The worker process: receives its set-up, locks itself down, then compiles
//! one module or runs tasks until its socket ends.

mod clock;
mod inbox;
mod ledger;
mod outbox;
mod serve;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::ExitCode;
use std::sync::Arc;

use crate::describe::Reset;
use crate::outcome::{Failure, Form, Kind};
use crate::runtime::{Guest, Report, TaskInput};
use crate::sandbox::{Allowance, Lockdown, View};
use crate::wire::frame::{Decoder, FrameKind, HEADER, Head, INITIALIZER, VERSION};
use crate::wire::message::{CompileSetup, Compiled, Ready, Refusal, RunSetup, Setup, SnapshotSetup};
use crate::wire::objects::MAX_VALUE;
use crate::wire::page::Page;
use crate::wire::socket;
use crate::worker::inbox::{Caller, Inbox};
use crate::worker::outbox::Outbox;

/// The argument that makes a program a worker.
pub const WORKER_ARGUMENT: &str = "__worker";

/// A set-up is never larger than this, in bytes.
const MAX_SETUP: u32 = 64 << 20;

/// Seconds of processor time that a compile worker gets per second of its
/// wall limit: it compiles on several threads.
const COMPILE_THREADS: u64 = 64;

/// What a stand-in does with an item, the arguments of an initializer, or a
/// module to compile, and the JSON text that it gives back.
pub type Act = fn(&[u8]) -> String;

/// What arrives before anything else: the set-up and its descriptors.
struct Orders {
    setup: Setup,
    descriptors: Vec<OwnedFd>,
    decoder: Decoder,
}

/// Becomes a worker where this process was started as one; every program that
/// embeds the pool calls it first in `main`.
#[must_use]
pub fn run_if_requested() -> Option<ExitCode> {
    is_requested().then(main)
}

/// Whether this process was started as a worker.
#[must_use]
pub fn is_requested() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().is_some_and(|argument| argument == WORKER_ARGUMENT) && arguments.next().is_none()
}

/// The whole life of a worker, over its standard input.
#[must_use]
pub fn main() -> ExitCode {
    live(None)
}

/// The whole life of a stand-in: a worker in every respect, lock-down
/// included, that does not run its guest and does not compile, but acts. For
/// tests of the lock-down from inside.
#[must_use]
pub fn main_acting(act: Act) -> ExitCode {
    live(Some(act))
}

fn live(act: Option<Act>) -> ExitCode {
    let stdin = io::stdin();
    let host = stdin.as_fd();
    // Else process lists show the name of the link it was started by.
    let _unnamed = rustix::thread::set_name(c"wpool-worker");
    let orders = match receive(host) {
        Ok(Some(orders)) => orders,
        // The host went away before it said anything, or this is a person
        // who typed the hidden argument.
        Ok(None) => return ExitCode::SUCCESS,
        Err(_) => return ExitCode::from(2),
    };
    let done = match orders.setup {
        Setup::Compile(setup) => compile(host, &setup, orders.descriptors, act),
        Setup::Run(setup) => run(host, &setup, None, orders.descriptors, orders.decoder, act),
        Setup::Snapshot(setup) => run(host, &setup.run, Some(&setup), orders.descriptors, orders.decoder, act),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => {
            // The host may be gone; there is nobody else to tell.
            let _gone = answer(host, FrameKind::Refused, &refusal);
            ExitCode::SUCCESS
        }
    }
}

/// Runs on a thread whose stack holds the guest's: the process's own depends
/// on the limits it was started with.
fn on_guest_thread(stack: u64, body: impl FnOnce() -> Result<(), Refusal> + Send) -> Result<(), Refusal> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("wpool-guest".to_owned())
            .stack_size(crate::runtime::engine::thread_stack(stack))
            .spawn_scoped(scope, body)
            .map_err(|error| {
                Refusal::denied(&format!("cannot make a stack of {stack} bytes (lower it with --stack)"), &error)
            })?;
        thread.join().unwrap_or_else(|_panicked| Err(Refusal::machine("the worker panicked")))
    })
}

fn receive(host: BorrowedFd<'_>) -> io::Result<Option<Orders>> {
    let mut decoder = Decoder::new(MAX_SETUP);
    let mut descriptors = Vec::new();
    let mut block = [0; 16 << 10];
    loop {
        if let Some((head, payload)) = decoder.next_frame().map_err(io::Error::other)? {
            if head.kind != FrameKind::Setup {
                return Err(io::Error::other("tasks before the set-up"));
            }
            return Ok(Some(Orders { setup: serde_json::from_slice(&payload)?, descriptors, decoder }));
        }
        match socket::receive(host, &mut block, &mut descriptors)? {
            0 => return Ok(None),
            read => decoder.buffer().extend_from_slice(&block[..read]),
        }
    }
}

fn answer(host: BorrowedFd<'_>, kind: FrameKind, message: &impl serde::Serialize) -> io::Result<()> {
    let payload = serde_json::to_vec(message)?;
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    Head::control(kind, u32::try_from(payload.len()).map_err(io::Error::other)?).put(&mut bytes);
    bytes.extend_from_slice(&payload);
    socket::send_all(host, &bytes, &[])
}

fn host_gone(error: io::Error) -> Refusal {
    Refusal::machine(format!("cannot reach the host: {error}"))
}

fn next_file(descriptors: &mut impl Iterator<Item = OwnedFd>) -> Result<File, Refusal> {
    descriptors.next().map(File::from).ok_or_else(|| Refusal::machine("the set-up came without its descriptors"))
}

/// The descriptors that a worker keeps: its standard streams and what was sent.
fn kept(descriptors: &[OwnedFd]) -> Vec<RawFd> {
    [0, 1, 2].into_iter().chain(descriptors.iter().map(AsRawFd::as_raw_fd)).collect()
}

/// Compiles one module: bytes from the first descriptor, artifact into the
/// second.
fn compile(
    host: BorrowedFd<'_>,
    setup: &CompileSetup,
    descriptors: Vec<OwnedFd>,
    act: Option<Act>,
) -> Result<(), Refusal> {
    let nothing = View::default();
    let mut lockdown = Lockdown::begin(setup.sandbox, setup.host, &kept(&descriptors), &nothing)?;
    let mut descriptors = descriptors.into_iter();
    let (module, artifact) = (next_file(&mut descriptors)?, next_file(&mut descriptors)?);
    lockdown.isolate(&nothing)?;
    let bytes = read_whole(&module, setup.limits.max_module)?;
    lockdown.close_files(&nothing)?;
    crate::runtime::start_compiler_threads()?;
    let cpu = setup.limits.timeout.as_secs().saturating_mul(COMPILE_THREADS).max(COMPILE_THREADS);
    lockdown.seal_compile(setup.limits.memory, cpu)?;
    if let Some(act) = act {
        return Err(Refusal::module(act(&bytes)));
    }
    let (description, code) = crate::runtime::compile(&bytes, setup)?;
    write_whole(&artifact, &code)
        .map_err(|error| Refusal::machine(format!("cannot write the compiled module: {error}")))?;
    answer(host, FrameKind::Compiled, &Compiled { description }).map_err(host_gone)
}

/// Reads from the start, whatever the descriptor's shared position is.
fn read_whole(file: &File, most: u64) -> Result<Vec<u8>, Refusal> {
    use std::os::unix::fs::FileExt;
    let unreadable = |error: io::Error| Refusal::machine(format!("cannot read the module: {error}"));
    let size = file.metadata().map_err(unreadable)?.len();
    if size > most {
        return Err(Refusal::module(format!(
            "the module has {size} bytes, over the limit of {most} bytes (raise it with --max-module)"
        )));
    }
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| Refusal::machine("the module is too large"))?];
    file.read_exact_at(&mut bytes, 0).map_err(unreadable)?;
    Ok(bytes)
}

fn write_whole(file: &File, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    file.write_all_at(bytes, 0)
}

/// Memory of a worker beside its guest's: for items and results, the copies of
/// how an instance begins, and the making of a snapshot.
fn payloads(setup: &RunSetup, snapshot: Option<&SnapshotSetup>) -> u64 {
    let limits = &setup.task.limits;
    let items = limits.max_item.saturating_mul(2).saturating_add(limits.max_result.saturating_mul(4));
    let copies = setup.description.reset.as_ref().map_or(0, Reset::copies);
    items.saturating_add(copies).saturating_add(snapshot.map_or(0, |snapshot| snapshot.memory))
}

/// Loads the artifact and runs tasks until the socket ends; or its initializer
/// for a snapshot.
fn run(
    host: BorrowedFd<'_>,
    setup: &RunSetup,
    snapshot: Option<&SnapshotSetup>,
    descriptors: Vec<OwnedFd>,
    decoder: Decoder,
    act: Option<Act>,
) -> Result<(), Refusal> {
    let (limits, grants) = (&setup.task.limits, &setup.task.capabilities);
    let view = View::of(grants, setup.scratch.as_deref());
    let mut lockdown = Lockdown::begin(setup.sandbox, setup.host, &kept(&descriptors), &view)?;
    let mut descriptors = descriptors.into_iter();
    let (page_file, artifact) = (next_file(&mut descriptors)?, next_file(&mut descriptors)?);
    lockdown.isolate(&view)?;
    let page = Page::map(page_file.as_fd(), limits.max_captured)
        .map(Arc::new)
        .map_err(|error| Refusal::denied("cannot map the shared page", &error))?;
    let mut guest = Guest::load(&artifact, setup, Arc::clone(&page), setup.scratch.as_deref())?;
    if let Some(snapshot) = snapshot {
        guest = guest.made_of(read_whole(&next_file(&mut descriptors)?, snapshot.max_module)?);
    }
    // What is mapped needs no descriptor.
    drop((page_file, artifact));
    lockdown.close_files(&view)?;
    let most = limits.max_item.max(MAX_VALUE as u64).saturating_add(1 << 17);
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    on_guest_thread(limits.stack, move || {
        let _threads = guest.start_threads()?;
        let outbox =
            Outbox::start(host).map_err(|error| Refusal::denied("cannot start the worker's threads", &error))?;
        let inbox = Arc::new(Inbox::new(outbox.host(), decoder, most, grants.connections));
        guest.desk().connect(Box::new(Caller { inbox: Arc::clone(&inbox), outbox: outbox.clone() }));
        lockdown.seal_run(&view, Allowance { guest: limits.memory, payloads: payloads(setup, snapshot) })?;
        let ready = Ready { version: VERSION, layers: lockdown.layers(), missing: lockdown.into_missing() };
        answer(host, FrameKind::Ready, &ready).map_err(host_gone)?;
        let prompt = grants.side_effects();
        let (page, outbox, inbox) = (&*page, &outbox, &*inbox);
        // An error is the end of the host; the end of this process follows.
        let _gone = match act {
            None => {
                serve::Server { runner: guest, page, outbox, limits, prompt, inbox, gathered: 0, large: Vec::new() }
                    .serve()
            }
            Some(act) => {
                let runner = Acting { act, order: setup.task.initializer.as_ref().map(|call| call.args.as_bytes()) };
                serve::Server { runner, page, outbox, limits, prompt, inbox, gathered: 0, large: Vec::new() }.serve()
            }
        };
        Ok(())
    })
}

/// Runs tasks in place of a guest.
struct Acting<'a> {
    act: Act,
    /// An initializer's arguments.
    order: Option<&'a [u8]>,
}

impl serve::Runner for Acting<'_> {
    fn run(&mut self, task: &TaskInput<'_>, out: &mut Vec<u8>) -> Report {
        if task.function == INITIALIZER {
            // Nobody hears what an initializer gives, but why it failed.
            let told = (self.act)(self.order.unwrap_or_default());
            return Report::failed(Failure::new(Kind::Error, told));
        }
        out.extend_from_slice((self.act)(task.item).as_bytes());
        Report { result: Ok(Form::Json), fuel: None, peak_memory: 0, stdout_is_result: false }
    }

    fn connect(&mut self, _connection: OwnedFd) {}
}
