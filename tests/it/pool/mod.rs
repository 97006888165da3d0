//! The library's pool, as programs use it: each file a part of
//! `multiprocessing.Pool`'s behaviour, or of what is better here.

mod calls;
mod initializer;
mod lifecycle;
mod process;
mod programs;
mod results;
mod streams;
mod stress;
mod tighter;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use wpool::{Module, Pool, PoolBuilder};

use crate::support::binary;

/// Square, add, sleep and others; see the file.
pub const TASKS: &str = include_str!("tasks.wat");

/// Longer than anything here takes, unless it hangs.
pub const LONG: Duration = Duration::from_secs(60);

pub fn builder(wat: &str) -> PoolBuilder {
    let module = Module::from_bytes("tasks.wat", wat).expect("module");
    Pool::builder(module).worker(binary()).no_cache()
}

/// A pool of the functions in [`TASKS`].
pub fn pool(processes: usize) -> Pool {
    builder(TASKS).processes(processes).build().expect("pool")
}

/// The same with all its workers started.
pub fn warm(processes: usize) -> Pool {
    let pool = pool(processes);
    let started = Instant::now();
    while pool.worker_pids().len() < processes {
        assert!(started.elapsed() < LONG, "workers start as work comes");
        pool.map::<u64, _>("sleep", vec![5; 2 * processes]).expect("naps");
    }
    pool
}

/// A module of `tests/fixtures`.
pub fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read_to_string(path).expect("fixture")
}

/// Waits until something holds that must hold soon.
#[track_caller]
pub fn soon(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn is_alive(pid: i32) -> bool {
    PathBuf::from(format!("/proc/{pid}")).exists()
}
