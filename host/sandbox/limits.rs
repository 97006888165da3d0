//! Resource limits of the process.

use std::fs::File;
use std::io::{self, Read};

use rustix::process::{Resource, Rlimit};

/// Sets both the soft and the hard limit to `most`, or to the hard limit that
/// was there if that is lower.
///
/// # Errors
/// As the kernel reports them.
pub fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let had = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let most = most.min(had);
    rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).map_err(Into::into)
}

/// What the kernel says of this process's memory.
#[derive(Debug)]
pub struct Memory(File);

impl Memory {
    /// Opens the source; `None` where there is no `/proc`.
    #[must_use]
    pub fn open() -> Option<Self> {
        File::open("/proc/self/status").ok().map(Self)
    }

    /// Private writable memory in bytes, as `RLIMIT_DATA` counts it.
    #[must_use]
    pub fn writable(mut self) -> Option<u64> {
        let mut text = String::new();
        self.0.read_to_string(&mut text).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmData:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes << 10)
    }
}
