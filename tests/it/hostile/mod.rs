//! Hostile modules, items and surroundings, each through the real binary. Of
//! every run it is asserted that the host lived, kept its memory, ended its
//! workers, left no temporary file and put no control character anywhere.

mod cases;
mod components;
mod disk;
mod edges;
mod execution;
mod host;
mod initializers;
mod interfaces;
mod modules;
mod random;
mod rows;
mod shared;
mod values;
mod wasi;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::command::Bench;
use crate::support::peak_memory;

/// Most memory of the host, whatever guests do with small items.
const MOST_MEMORY: usize = 64 << 20;

/// No case takes longer, waiting for a processor included.
const MOST_TIME: Duration = Duration::from_secs(60);

/// How often the host is looked at.
const LOOK: Duration = Duration::from_millis(3);

/// How long a killed worker may take to be gone.
const GONE: Duration = Duration::from_secs(2);

/// Exit codes that are documented.
const CODES: [i32; 8] = [0, 1, 2, 3, 4, 129, 130, 143];

/// What a hostile run came to.
#[derive(Debug)]
pub struct Attacked {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
    pub took: Duration,
}

impl Attacked {
    /// The outcomes of `--output records`.
    pub fn records(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }
}

/// A folder for hostile runs: its own cache and temporary files.
pub struct Arena(pub Bench);

impl Arena {
    pub fn new() -> Self {
        let bench = Bench::new();
        std::fs::create_dir(bench.path("tmp")).unwrap();
        Self(bench)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// Runs a command and checks all that must hold whatever it is.
    #[track_caller]
    pub fn attack(&self, id: &str, line: &[&str]) -> Attacked {
        self.attack_with(id, line, b"", |_| {})
    }

    /// The same where the host keeps so many bytes for its tasks.
    #[track_caller]
    fn attack_keeping(&self, id: &str, line: &[&str], kept: usize) -> Attacked {
        let child = self.command(line).stdin(Stdio::null()).spawn().unwrap();
        self.watch(id, child, kept, |_| {})
    }

    /// The same with bytes on standard input, and something done to the host
    /// while it runs.
    #[track_caller]
    pub fn attack_with(&self, id: &str, line: &[&str], stdin: &[u8], act: impl FnMut(&Child)) -> Attacked {
        std::fs::write(self.path("stdin"), stdin).unwrap();
        let mut command = self.command(line);
        command.stdin(std::fs::File::open(self.path("stdin")).unwrap());
        self.watch(id, command.spawn().unwrap(), 0, act)
    }

    /// The same with what `feed` writes on standard input, until that fails
    /// or is dropped.
    #[track_caller]
    fn attack_piped(&self, id: &str, line: &[&str], feed: impl FnOnce(ChildStdin) + Send + 'static) -> Attacked {
        let mut child = self.command(line).stdin(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let feeder = std::thread::spawn(move || feed(stdin));
        let attacked = self.watch(id, child, 0, |_| {});
        feeder.join().unwrap_or_else(|_| panic!("{id}: the input was not read"));
        attacked
    }

    fn command(&self, line: &[&str]) -> Command {
        let mut command = self.0.command(line);
        command.env("TMPDIR", self.path("tmp")).env("HOSTILE_SECRET", "do-not-tell");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    #[track_caller]
    fn watch(&self, id: &str, mut child: Child, kept: usize, act: impl FnMut(&Child)) -> Attacked {
        let out = drained(child.stdout.take().unwrap());
        let err = drained(child.stderr.take().unwrap());
        let started = Instant::now();
        let (status, peak, workers) = watched(&mut child, id, act);
        let took = started.elapsed();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap_or_else(|error| panic!("{id}: {error}"));
        let attacked =
            Attacked { code: status.code(), out: text(out.join().unwrap()), err: text(err.join().unwrap()), took };
        let code = attacked.code.unwrap_or_else(|| panic!("{id}: the host died: {status}"));
        assert!(CODES.contains(&code), "{id}: exit code {code}: {attacked:?}");
        assert!(peak < MOST_MEMORY + kept, "{id}: the host took {} MiB", peak >> 20);
        for (stream, text) in [("stdout", &attacked.out), ("stderr", &attacked.err)] {
            let raw = text.chars().find(|char| *char != '\n' && wpool::escape::is_unsafe(*char));
            assert_eq!(raw, None, "{id}: raw on {stream}: {text:?}");
        }
        assert!(!attacked.err.contains("panicked"), "{id}: {}", attacked.err);
        assert!(!(attacked.out.clone() + &attacked.err).contains("do-not-tell"), "{id}: {attacked:?}");
        assert_gone(id, &workers);
        let left: Vec<_> = std::fs::read_dir(self.path("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{id}: temporary files are left: {left:?}");
        attacked
    }
}

pub fn drained(mut stream: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// Waits for the host; its peak memory and the workers it was seen to have,
/// with the times at which they started.
fn watched(child: &mut Child, id: &str, mut act: impl FnMut(&Child)) -> (ExitStatus, usize, BTreeSet<(i32, String)>) {
    let (mut peak, mut workers) = (0, BTreeSet::new());
    let started = Instant::now();
    loop {
        peak = peak.max(peak_memory(child.id()));
        workers.extend(workers_of(child).into_iter().filter_map(|pid| Some((pid, born(pid)?))));
        act(child);
        if let Some(status) = child.try_wait().unwrap() {
            return (status, peak, workers);
        }
        if started.elapsed() > MOST_TIME {
            child.kill().unwrap();
            panic!("{id}: the host hangs");
        }
        std::thread::sleep(LOOK);
    }
}

/// The host's children, whichever thread started them.
pub fn workers_of(child: &Child) -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", child.id())) else { return Vec::new() };
    threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok())
        .flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>())
        .collect()
}

/// When a process was started: tells it from a later one of the same number.
pub fn born(pid: i32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(19).map(str::to_owned)
}

fn assert_gone(id: &str, workers: &BTreeSet<(i32, String)>) {
    let started = Instant::now();
    loop {
        let left: Vec<_> = workers.iter().filter(|(pid, birth)| born(*pid).as_ref() == Some(birth)).collect();
        if left.is_empty() {
            return;
        }
        assert!(started.elapsed() < GONE, "{id}: workers are left: {left:?}");
        std::thread::sleep(LOOK);
    }
}
