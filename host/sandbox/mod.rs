//! The process lock-down of a worker: one layer after another in a straight
//! line, each of which says whether it was applied.
//!
//! The order is part of the design: what breaks when a step moves stands at
//! the step. Who calls it is [`crate::worker`]; what runs inside is none of
//! its business.

mod files;
pub mod granted;
mod limits;
mod namespaces;
mod privileges;
mod raw;
mod root;
pub mod seccomp;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Signal};
use rustix::thread::CapabilitySet;

use crate::capabilities::{Access, Capabilities, NetGrant};
use crate::layer::Layer;
use crate::limits::{MIB, SandboxMode};

use crate::sandbox::seccomp::{Files, Net, Profile};
use crate::wire::message::{MissingLayer, Refusal};

/// Descriptors that a worker may have open, and how many more for each
/// directory: one while the root is swapped, one for good. A worker itself has
/// nine. What is left ends before the guest's table of handles does, so that
/// files in excess are an error of the guest's and no trap.
const DESCRIPTORS: u64 = 64;
const DESCRIPTORS_OF_DIRECTORY: u64 = 2;

/// How many more where sockets may be made. They end before the guest's
/// handles, too.
const DESCRIPTORS_OF_NETWORK: u64 = 64;

/// Writable memory of a run worker beside what its guest and its payloads
/// take, in bytes.
const SLACK: u64 = 16 * MIB;

/// Assumed where the kernel does not tell how much is taken already.
const UNKNOWN: u64 = 64 * MIB;

/// The part of the world that a worker keeps.
#[derive(Clone, Debug)]
pub struct View {
    dirs: Vec<Shown>,
    /// Some of them are not the worker's own.
    granted: bool,
    net: Net,
    /// Ports that are granted, of whatever address; `None` where they are too
    /// many to be told one by one.
    ports: Option<Vec<u16>>,
}

impl Default for View {
    fn default() -> Self {
        Self { dirs: Vec::new(), granted: false, net: Net::None, ports: Some(Vec::new()) }
    }
}

/// A directory that a worker keeps.
#[derive(Clone, Debug)]
struct Shown {
    path: PathBuf,
    writable: bool,
}

impl View {
    /// What tasks with these grants need; `scratch` is the private directory
    /// of the worker, where it has one.
    #[must_use]
    pub fn of(capabilities: &Capabilities, scratch: Option<&Path>) -> Self {
        let granted = capabilities
            .dirs
            .iter()
            .map(|dir| Shown { path: dir.host.clone(), writable: dir.access == Access::ReadWrite });
        let scratch = scratch.map(|path| Shown { path: path.to_owned(), writable: true });
        let net = match (capabilities.net.is_empty(), capabilities.connections) {
            (false, _) => Net::Sockets,
            (true, true) => Net::Connections,
            (true, false) => Net::None,
        };
        Self {
            dirs: granted.chain(scratch).collect(),
            granted: !capabilities.dirs.is_empty(),
            net,
            ports: ports(&capabilities.net),
        }
    }

    fn descriptors(&self) -> u64 {
        let network = if self.net == Net::Sockets { DESCRIPTORS_OF_NETWORK } else { 0 };
        DESCRIPTORS + DESCRIPTORS_OF_DIRECTORY * self.dirs.len() as u64 + network
    }

    fn files(&self) -> Files {
        match self.dirs.iter().map(|dir| dir.writable).max() {
            None => Files::None,
            Some(false) => Files::Read,
            Some(true) => Files::Write,
        }
    }
}

/// The ports of all grants, each once.
fn ports(grants: &[NetGrant]) -> Option<Vec<u16>> {
    let mut ports = BTreeSet::new();
    for grant in grants {
        if usize::from(grant.last - grant.first) >= files::MAX_PORTS {
            return None;
        }
        ports.extend(grant.first..=grant.last);
    }
    (ports.len() <= files::MAX_PORTS).then(|| ports.into_iter().collect())
}

/// What is allowed to a run worker once it runs guests, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Memory of the guest.
    pub guest: u64,
    /// Items and results.
    pub payloads: u64,
}

/// Layers that were applied so far, and those that could not be had.
#[derive(Debug)]
pub struct Lockdown {
    mode: SandboxMode,
    layers: Vec<Layer>,
    missing: Vec<MissingLayer>,
    /// What the kernel says of our memory, opened while files can be.
    memory: Option<limits::Memory>,
}

impl Lockdown {
    /// The first steps, for the first and only thread: tied to the host's
    /// life, in a session of its own, with the descriptors in `keep` only.
    ///
    /// # Errors
    /// When the host is gone already.
    pub fn begin(mode: SandboxMode, host: i32, keep: &[RawFd], view: &View) -> Result<Self, Refusal> {
        let mut lockdown = Self { mode, layers: Vec::new(), missing: Vec::new(), memory: None };
        // Under `off`, too: these are good manners, not confinement.
        let armed = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        lockdown.note(Layer::DeathSignal, armed.map_err(Into::into))?;
        // Not before the signal: a host that ended between the two would
        // leave a worker that nobody ends.
        if rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get()) != Some(host) {
            return Err(Refusal::machine("the host process is gone"));
        }
        lockdown.note(Layer::Session, rustix::process::setsid().map(drop).map_err(Into::into))?;
        lockdown.note(Layer::OomFirst, std::fs::write("/proc/self/oom_score_adj", "1000"))?;
        if mode != SandboxMode::Off {
            lockdown.note(Layer::Environment, no_environment())?;
            lockdown.note(Layer::Descriptors, raw::close_all_but(keep))?;
            lockdown.limit(Layer::CoreSize, Resource::Core, 0)?;
            lockdown.limit(Layer::OpenFiles, Resource::Nofile, view.descriptors())?;
        }
        Ok(lockdown)
    }

    /// Takes away what lies outside of the process: namespaces, the root,
    /// privileges. Still on the first and only thread, because a user
    /// namespace is not given to more; and before anything that a guest
    /// brought is looked at.
    ///
    /// # Errors
    /// When `enforce` cannot be kept.
    pub fn isolate(&mut self, view: &View) -> Result<(), Refusal> {
        if self.mode == SandboxMode::Off {
            return Ok(());
        }
        let as_superuser = view.granted && privileges::superuser();
        for (layer, entered) in namespaces::enter(!as_superuser, view.net < Net::Sockets) {
            self.note(layer, entered)?;
        }
        let swapped = if self.layers.contains(&Layer::MountNamespace) {
            root::swap(view)
        } else {
            Err(io::Error::other("needs a mount namespace"))
        };
        self.note(Layer::EmptyRoot, swapped)?;
        let kept = if as_superuser { privileges::GRANTED_TO_SUPERUSER } else { CapabilitySet::empty() };
        self.note(Layer::Capabilities, privileges::drop_capabilities(kept))?;
        self.note(Layer::NoNewPrivs, privileges::set_no_new_privs())
    }

    /// Takes files away by landlock. After the engine, which opens
    /// `/proc/self/pagemap` (else tasks are slower) and maps the artifact, and
    /// after granted directories were opened; before any thread, because it
    /// binds only this one and those that it starts.
    ///
    /// # Errors
    /// When `enforce` cannot be kept.
    pub fn close_files(&mut self, view: &View) -> Result<(), Refusal> {
        if self.mode == SandboxMode::Off {
            return Ok(());
        }
        self.memory = limits::Memory::open();
        for (layer, applied) in files::restrict(view) {
            self.note(layer, applied)?;
        }
        Ok(())
    }

    /// The last steps of a run worker, on the thread that runs guests, before
    /// guest code and after the last thread was started.
    ///
    /// # Errors
    /// When `enforce` cannot be kept.
    pub fn seal_run(&mut self, view: &View, allowance: Allowance) -> Result<(), Refusal> {
        if self.mode == SandboxMode::Off {
            return Ok(());
        }
        let files = view.files();
        if files < Files::Write {
            self.limit(Layer::FileSize, Resource::Fsize, 0)?;
        }
        let used = self.memory.take().and_then(|memory| memory.writable()).unwrap_or(UNKNOWN);
        let data = used.saturating_add(allowance.guest).saturating_add(allowance.payloads).saturating_add(SLACK);
        self.limit(Layer::Data, Resource::Data, data)?;
        self.seal(Profile::Run(files, view.net))
    }

    /// The last steps of a compile worker that may take `memory` bytes and
    /// `cpu_seconds` of all processors together, before it looks at a module
    /// and after its last thread.
    ///
    /// # Errors
    /// When `enforce` cannot be kept.
    pub fn seal_compile(&mut self, memory: u64, cpu_seconds: u64) -> Result<(), Refusal> {
        if self.mode == SandboxMode::Off {
            return Ok(());
        }
        self.memory = None;
        // The artifact is a file in memory.
        self.limit(Layer::FileSize, Resource::Fsize, memory)?;
        self.limit(Layer::Data, Resource::Data, memory)?;
        self.limit(Layer::Cpu, Resource::Cpu, cpu_seconds)?;
        // The first thread's memory is not given back in the way meant there.
        std::thread::scope(|scope| {
            // Without it the worker can only die later, as it would have.
            let _done = std::thread::Builder::new().spawn_scoped(scope, shrink_heap);
        });
        self.seal(Profile::Compile)
    }

    /// Common to both: the process becomes opaque and cannot grow any more,
    /// and all other system calls go, for all threads.
    fn seal(&mut self, profile: Profile) -> Result<(), Refusal> {
        // Not before the engine: the pagemap of a process that is not
        // dumpable belongs to the superuser.
        self.note(Layer::NonDumpable, privileges::hide())?;
        // Not before the threads, which count as processes.
        self.limit(Layer::Processes, Resource::Nproc, 0)?;
        // Not before the artifact is mapped.
        self.note(Layer::NoNewCode, raw::forbid_new_code())?;
        first_times();
        self.note(Layer::Seccomp, seccomp::restrict(profile))
    }

    /// The names of the layers that were applied.
    #[must_use]
    pub fn layers(&self) -> Vec<String> {
        self.layers.iter().map(|layer| layer.name().to_owned()).collect()
    }

    /// The layers that could not be had.
    #[must_use]
    pub fn into_missing(self) -> Vec<MissingLayer> {
        self.missing
    }

    fn limit(&mut self, layer: Layer, resource: Resource, most: u64) -> Result<(), Refusal> {
        self.note(layer, limits::limit(resource, most))
    }

    /// Books a step, and refuses where `enforce` cannot do without it.
    fn note(&mut self, layer: Layer, applied: io::Result<()>) -> Result<(), Refusal> {
        match applied {
            Ok(()) => self.layers.push(layer),
            Err(error) if self.mode == SandboxMode::Enforce && layer.required() => {
                return Err(Refusal::machine(format!(
                    "the sandbox layer {} cannot be had: {error} (--sandbox best-effort runs without it)",
                    layer.name()
                )));
            }
            Err(error) => {
                self.missing.push(MissingLayer { layer: layer.name().to_owned(), why: error.to_string() });
            }
        }
        Ok(())
    }
}

/// Whether the host started this process without an environment.
fn no_environment() -> io::Result<()> {
    let left = std::fs::read("/proc/self/environ")?;
    if left.is_empty() { Ok(()) } else { Err(io::Error::other("the host left variables in it")) }
}

/// Does what takes other system calls the first time that it is done.
fn first_times() {
    // rustix asks the kernel where its clock is.
    std::hint::black_box(rustix::time::clock_gettime(rustix::time::ClockId::Monotonic));
    shrink_heap();
}

/// Has the memory allocator give memory back. The first time that glibc does
/// so, on any thread but the process's first, it reads a file under `/proc`.
fn shrink_heap() {
    /// Together over what the allocator keeps, by far.
    const BLOCKS: usize = 4;
    const BLOCK: usize = 64 << 10;
    let blocks: Vec<Vec<u8>> = (0..BLOCKS).map(|_| Vec::with_capacity(BLOCK)).collect();
    drop(std::hint::black_box(blocks));
}
