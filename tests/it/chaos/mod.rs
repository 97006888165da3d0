//! Chaos, through the real binary: workers and hosts that are killed, stopped
//! and starved at random moments, terminals, full disks, closed pipes, limits
//! of the process, respawns without end.
//!
//! What is random follows from a seed that is printed: `WPOOL_CHAOS_SEED`
//! repeats one. `WPOOL_CHAOS_RESPAWNS` and `WPOOL_CHAOS_HOSTS` set how often
//! workers are replaced and hosts are killed.

#![expect(clippy::print_stdout, reason = "seeds and figures, which are shown where a test fails")]

mod disk;
mod hosts;
mod limits;
mod pipes;
mod respawns;
mod startup;
mod terminal;
mod workers;

use std::fs::read_dir;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::hostile::{Arena, born};
use crate::support::binary;

/// Nothing that is waited for takes longer unless something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often what is waited for is looked at.
const LOOK: Duration = Duration::from_millis(3);

/// A number that the environment may set.
fn chosen(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}

/// Randomness that can be repeated.
struct Dice(u64);

impl Dice {
    fn cast(test: &str) -> Self {
        let seed = chosen("WPOOL_CHAOS_SEED", 20_261_121);
        println!("{test}: WPOOL_CHAOS_SEED={seed}");
        Self(seed)
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn millis(&mut self, end: u64) -> Duration {
        Duration::from_micros(self.below(end * 1000))
    }
}

/// Waits until `done` gives something.
#[track_caller]
fn eventually<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(LOOK);
    }
}

/// A field of `/proc/PID/stat` after the name: 0 is the state.
fn stat(pid: u32, field: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(field).map(str::to_owned)
}

fn is_stopped(pid: u32) -> bool {
    stat(pid, 0).is_some_and(|state| state == "T")
}

/// Whether it is there, and no zombie: those are their parent's to bury.
fn is_alive(pid: i32, birth: &str) -> bool {
    let alive = stat(pid.unsigned_abs(), 0).is_some_and(|state| !matches!(state.as_str(), "Z" | "X"));
    alive && born(pid).is_some_and(|other| other == birth)
}

/// What a process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Census {
    /// What its descriptors lead to, sorted; numbers of inodes left out.
    descriptors: Vec<String>,
    threads: usize,
    children: usize,
}

impl Census {
    fn of(pid: u32) -> Self {
        let folder = |name: &str| read_dir(format!("/proc/{pid}/{name}")).into_iter().flatten().flatten();
        let target = |entry: std::fs::DirEntry| {
            let target = std::fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
            Some(target.split(":[").next().unwrap_or_default().to_owned())
        };
        let mut descriptors: Vec<String> = folder("fd").filter_map(target).collect();
        descriptors.sort();
        let children = |thread: std::fs::DirEntry| {
            let text = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            text.split_whitespace().count()
        };
        Self { descriptors, threads: folder("task").count(), children: folder("task").map(children).sum() }
    }

    /// Waits until a process holds this again: respawns under way hold more,
    /// or less, for a moment.
    #[track_caller]
    fn expect_again(&self, pid: u32, after: &str) {
        let started = Instant::now();
        while Self::of(pid) != *self {
            assert!(started.elapsed() < PATIENCE / 4, "after {after}: {:#?}\nbefore: {self:#?}", Self::of(pid));
            std::thread::sleep(LOOK);
        }
    }
}

/// Resident memory of a process in bytes.
fn resident(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) << 10
}

impl Arena {
    /// A binary of this arena's own, so that its workers can be told from
    /// those of other tests, and others may execute it.
    fn own_binary(&self) -> PathBuf {
        let path = self.path("wpool");
        if !path.exists() && std::fs::hard_link(binary(), &path).is_err() {
            std::fs::copy(binary(), &path).unwrap();
        }
        path
    }

    /// A shell command in this arena, with `$WPOOL` for the binary. Options of
    /// `wrapper` come first.
    fn shell(&self, wrapper: &[&str], script: &str) -> Command {
        let line = [wrapper, &["sh", "-c", script]].concat();
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).current_dir(self.path("."));
        command.env("WPOOL", binary()).env("WPOOL_CACHE_DIR", self.path("cache")).env("TMPDIR", self.path("tmp"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}
