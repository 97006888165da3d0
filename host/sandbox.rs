//! The process lock-down of a worker: each step says what it applied.
//!
//! What stands here: the death signal and parent check, a session of its own,
//! resource limits, no_new_privs, and being the kernel's first choice when
//! memory runs out. Namespaces, landlock and the system-call filter come on
//! top of this order.

use std::io;

use rustix::process::{Resource, Rlimit, Signal};

use crate::limits::{MIB, SandboxMode};
use crate::wire::message::Refusal;

/// Descriptors that a worker may have open.
const DESCRIPTORS: u64 = 256;

/// Writable memory of a run worker beside what its guest and its payloads
/// take, in bytes.
const SLACK: u64 = 16 * MIB;

/// Steps that were applied so far.
#[derive(Debug)]
pub struct Lockdown {
    mode: SandboxMode,
    layers: Vec<String>,
}

impl Lockdown {
    /// The first steps: tied to the host's life, in a session of its own,
    /// without new privileges.
    ///
    /// # Errors
    /// When the host is gone already, or `enforce` cannot be kept.
    pub fn begin(mode: SandboxMode, host: i32) -> Result<Self, Refusal> {
        let mut lockdown = Self { mode, layers: Vec::new() };
        // Also under `off`: these two are hygiene, not confinement.
        let armed = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        lockdown.note("parent-death-signal", armed.map_err(Into::into))?;
        if rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get()) != Some(host) {
            return Err(Refusal::machine("the host process is gone"));
        }
        lockdown.note("session", rustix::process::setsid().map(drop).map_err(Into::into))?;
        lockdown.note("oom-first", std::fs::write("/proc/self/oom_score_adj", "1000"))?;
        if mode != SandboxMode::Off {
            lockdown.note("no-new-privs", rustix::thread::set_no_new_privs(true).map_err(Into::into))?;
            lockdown.limit("core-size", Resource::Core, 0)?;
            lockdown.limit("open-files", Resource::Nofile, DESCRIPTORS)?;
        }
        Ok(lockdown)
    }

    /// The last steps of a run worker, before guest code: no files grow, and
    /// writable memory stops where `guest` and `payloads` bytes are used up.
    ///
    /// # Errors
    /// When `enforce` cannot be kept.
    pub fn finish_run(&mut self, guest: u64, payloads: u64, writes_files: bool) -> Result<(), Refusal> {
        if self.mode == SandboxMode::Off {
            return Ok(());
        }
        if !writes_files {
            self.limit("file-size", Resource::Fsize, 0)?;
        }
        let used = writable_memory().unwrap_or(64 * MIB);
        self.limit("data", Resource::Data, used.saturating_add(guest).saturating_add(payloads).saturating_add(SLACK))
    }

    /// The limits of a compile worker.
    ///
    /// # Errors
    /// When `enforce` cannot be kept.
    pub fn finish_compile(&mut self, memory: u64, cpu_seconds: u64) -> Result<(), Refusal> {
        if self.mode == SandboxMode::Off {
            return Ok(());
        }
        self.limit("data", Resource::Data, memory)?;
        self.limit("cpu", Resource::Cpu, cpu_seconds)
    }

    /// The names of the layers that were applied.
    #[must_use]
    pub fn layers(self) -> Vec<String> {
        self.layers
    }

    fn limit(&mut self, name: &str, resource: Resource, most: u64) -> Result<(), Refusal> {
        let had = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let most = most.min(had);
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        self.note(name, rustix::process::setrlimit(resource, limit).map_err(Into::into))
    }

    /// Books a step. A worker that was started in a session of its own, or a
    /// system without `oom_score_adj`, is no reason to refuse.
    fn note(&mut self, name: &str, applied: io::Result<()>) -> Result<(), Refusal> {
        match applied {
            Ok(()) => self.layers.push(name.to_owned()),
            Err(error) if self.mode == SandboxMode::Enforce && name == "no-new-privs" => {
                return Err(Refusal::machine(format!(
                    "the sandbox layer {name} cannot be had: {error} (--sandbox best-effort runs without it)"
                )));
            }
            Err(_) => {}
        }
        Ok(())
    }
}

/// Private writable memory of this process, as `RLIMIT_DATA` counts it.
fn writable_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmData:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}
