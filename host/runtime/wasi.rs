//! What a guest may touch: the grants of a pool, opened once, and the WASI
//! context made of them for every task. Preview 1 for core modules is linked
//! in `preview1`; components link 0.2 over the same contexts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmtime_wasi::filesystem::WasiFilesystemCtx;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder};

use crate::capabilities::{Access, Capabilities, NetGrant};
use crate::runtime::console::{Console, Output, Stdin};
use crate::runtime::desk::Desk;
use crate::runtime::deterministic::{SeededRng, VirtualClock};
use crate::runtime::net::{Door, MAX_SOCKETS};
use crate::sandbox::granted;
use crate::tree::{self, Remover};
use crate::wire::message::Refusal;
use crate::wire::page::Stream;

/// Most random bytes that a guest gets in one call.
const MAX_RANDOM: u64 = 64 << 10;
/// Most handles (files, streams, pollables) that a guest holds at once.
const MAX_HANDLES: usize = 64;
/// How many more for each granted directory: one is the directory's own. With
/// as many as the worker gets descriptors, those end first.
const HANDLES_OF_DIRECTORY: usize = 2;
/// How many more for each socket: itself, its streams, and what waits for them.
const HANDLES_OF_SOCKET: usize = 6;

/// Standard streams of a guest.
const STREAMS: i32 = 3;

/// The grants of a pool, ready to be handed to task after task.
pub struct Grants {
    files: WasiFilesystemCtx,
    env: Vec<(String, String)>,
    seed: Option<u64>,
    scratch: Option<Scratch>,
    net: Arc<[NetGrant]>,
    connections: bool,
    directories: usize,
    handles: usize,
    writable: bool,
    desk: Arc<Desk>,
}

/// What a task's context is made of.
pub struct Recipe {
    /// What the guest may touch.
    pub grants: Arc<Grants>,
    /// Its arguments.
    pub args: Vec<String>,
    /// Position of the item in the input.
    pub index: u64,
}

/// The private directory of the running item.
#[derive(Clone, Debug)]
pub struct Scratch {
    /// Where it is on the host; empty between items.
    pub host: PathBuf,
    /// Where the guest sees it.
    pub guest: String,
}

impl Grants {
    /// Opens everything granted. Directories are opened by their host paths,
    /// so this runs before the file system is taken away; `scratch` is a
    /// private directory of this worker.
    ///
    /// # Errors
    /// A directory that cannot be opened.
    pub fn open(capabilities: &Capabilities, scratch: Option<&Path>) -> Result<Self, Refusal> {
        let mut builder = WasiCtxBuilder::new();
        builder.allow_blocking_current_thread(true);
        for dir in &capabilities.dirs {
            let rights = match dir.access {
                Access::ReadOnly => FsPerms::ReadOnly,
                Access::ReadWrite => FsPerms::ReadWrite,
            };
            preopen(&mut builder, &dir.host, &dir.guest, rights)?;
        }
        let directories = capabilities.dirs.len() + usize::from(capabilities.scratch.is_some());
        let sockets = if capabilities.net.is_empty() { 0 } else { MAX_SOCKETS };
        let scratch = match (&capabilities.scratch, scratch) {
            (Some(guest), Some(host)) => {
                preopen(&mut builder, host, guest, FsPerms::ReadWrite)?;
                Some(Scratch { host: host.to_owned(), guest: guest.clone() })
            }
            (Some(_), None) => return Err(Refusal::machine("no scratch directory was prepared")),
            (None, _) => None,
        };
        Ok(Self {
            files: builder.build().filesystem().clone(),
            env: capabilities.env.clone(),
            seed: capabilities.deterministic,
            writable: capabilities.writes_files() || scratch.is_some(),
            net: Arc::from(capabilities.net.as_slice()),
            connections: capabilities.connections,
            directories,
            handles: MAX_HANDLES + HANDLES_OF_DIRECTORY * directories + HANDLES_OF_SOCKET * sockets,
            scratch,
            desk: Arc::new(Desk::new(capabilities)),
        })
    }

    /// No directory is granted at all.
    #[must_use]
    pub fn no_files(&self) -> bool {
        self.directories == 0
    }

    /// Tasks are handed connections.
    #[must_use]
    pub fn connections(&self) -> bool {
        self.connections
    }

    /// A new way to the granted addresses.
    #[must_use]
    pub fn door(&self) -> Door {
        Door::new(&self.net)
    }

    /// Handles (files, streams, pollables) that a guest may hold at once.
    #[must_use]
    pub fn handles(&self) -> usize {
        self.handles
    }

    /// The first descriptor that is no standard stream and no directory
    /// granted, as preview 1 numbers them.
    #[must_use]
    pub fn first_file(&self) -> i32 {
        STREAMS + i32::try_from((self.handles - MAX_HANDLES) / HANDLES_OF_DIRECTORY).unwrap_or(i32::MAX - STREAMS)
    }

    /// Some directory is granted for writing.
    #[must_use]
    pub fn writable(&self) -> bool {
        self.writable
    }

    /// Clocks and randomness follow from a seed.
    #[must_use]
    pub fn deterministic(&self) -> bool {
        self.seed.is_some()
    }

    /// The scratch directory, where one is granted.
    #[must_use]
    pub fn scratch(&self) -> Option<&Scratch> {
        self.scratch.as_ref()
    }

    /// Where calls of the pool go.
    #[must_use]
    pub fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// A WASI 0.2 context for one task, and the clock it runs by where that
    /// is virtual; its sockets ask at `door`. The table beside it gets
    /// [`Grants::handles`].
    #[must_use]
    pub fn context(
        &self,
        console: &Arc<Console>,
        args: &[String],
        index: u64,
        door: &Door,
    ) -> (WasiCtx, Option<VirtualClock>) {
        let (mut builder, clock) = self.builder(console, args, index);
        if door.leads_somewhere() {
            door.guard(&mut builder);
        }
        let mut context = builder.build();
        *context.filesystem() = self.files.clone();
        (context, clock)
    }

    /// A preview-1 context for one task, and its virtual clock if it has one.
    #[must_use]
    pub fn preview1(&self, console: &Arc<Console>, args: &[String], index: u64) -> (WasiP1Ctx, Option<VirtualClock>) {
        use wasmtime_wasi::WasiView;

        let (mut builder, clock) = self.builder(console, args, index);
        let mut context = builder.build_p1();
        let view = context.ctx();
        *view.ctx.filesystem() = self.files.clone();
        view.table.set_max_capacity(self.handles);
        (context, clock)
    }

    fn builder(&self, console: &Arc<Console>, args: &[String], index: u64) -> (WasiCtxBuilder, Option<VirtualClock>) {
        let mut builder = WasiCtxBuilder::new();
        builder.stdin(Stdin(Arc::clone(console)));
        builder.stdout(Output::new(console, Stream::Stdout));
        builder.stderr(Output::new(console, Stream::Stderr));
        builder.max_random_size(MAX_RANDOM);
        builder.allow_blocking_current_thread(true);
        if !self.env.is_empty() {
            builder.envs(&self.env);
        }
        if !args.is_empty() {
            builder.args(args);
        }
        let clock = self.seed.map(|seed| {
            let clock = VirtualClock::default();
            builder.wall_clock(clock.clone());
            builder.monotonic_clock(clock.clone());
            builder.secure_random(SeededRng::new(seed, index, 0));
            builder.insecure_random(SeededRng::new(seed, index, 1));
            builder.insecure_random_seed((u128::from(seed) << 64) | u128::from(index));
            clock
        });
        (builder, clock)
    }
}

fn preopen(builder: &mut WasiCtxBuilder, host: &Path, guest: &str, rights: FsPerms) -> Result<(), Refusal> {
    use std::os::fd::AsRawFd;

    let refused =
        |error: &dyn std::fmt::Display| Refusal::machine(format!("cannot open directory {}: {error}", host.display()));
    let directory = granted::open(host).map_err(|error| refused(&error))?;
    // By the descriptor: it cannot have become another directory since.
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    builder.preopened_dir(path, guest, rights).map(|_| ()).map_err(|error| refused(&error))
}

impl Scratch {
    /// Empties the directory. What cannot be removed now is met again, and
    /// reported, before the next item.
    ///
    /// # Errors
    /// When something in it cannot be removed.
    pub fn wipe(&self) -> std::io::Result<()> {
        tree::clear(std::fs::File::open(&self.host)?, Remover::Worker)
    }
}
