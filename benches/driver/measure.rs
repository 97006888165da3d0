//! The measurements: each checks what it got and answers with seconds and
//! counts.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use wpool::limits::Tighter;
use wpool::outcome::Outcome;
use wpool::pool::cache::Cache;
use wpool::pool::compile::{Artifact, CompileOptions, prepare};
use wpool::pool::item::{Body, Item};
use wpool::pool::module::Module;
use wpool::pool::{Chunksize, MapOptions, Pool, Work};
use wpool::runtime::{Guest, TaskInput};
use wpool::wire::message::{Abi, ItemForm, RunSetup};
use wpool::wire::page::Page;

use crate::guest::{self, Mode, Task, WORKERS};

/// Items after which a worker's memory is looked at.
const SETTLED: u64 = 20_000;

/// One call over `items` items, in order.
pub fn sample(pool: &Pool, task: Task, chunksize: Chunksize, items: u64) -> Result<Value> {
    let options = MapOptions { chunksize, ..MapOptions::default() };
    let (host, workers) = (host_cpu(), worker_cpu(pool)?);
    let started = Instant::now();
    let outcomes = pool.outcomes(task.items().take(usize::try_from(items)?), options)?;
    let mut next = 0;
    for outcome in outcomes {
        check(task, next, &outcome)?;
        next += 1;
    }
    let seconds = started.elapsed().as_secs_f64();
    ensure!(next == items, "{next} outcomes for {items} items");
    let (host, workers) = (host_cpu() - host, worker_cpu(pool)? - workers);
    Ok(json!({ "seconds": seconds, "items": items, "host_cpu": host, "worker_cpu": workers }))
}

/// One typed map: numbers in, their squares out, looked at after the clock
/// has stopped, as the peer's are.
pub fn map(pool: &Pool, chunksize: Chunksize, items: u64) -> Result<Value> {
    let options = MapOptions { chunksize, ..MapOptions::default() };
    let (host, workers) = (host_cpu(), worker_cpu(pool)?);
    let started = Instant::now();
    let squares: Vec<u64> = pool.map(0..items, options)?;
    let seconds = started.elapsed().as_secs_f64();
    let (host, workers) = (host_cpu() - host, worker_cpu(pool)? - workers);
    ensure!(squares.iter().copied().eq((0..items).map(|n| n * n)), "wrong squares");
    Ok(json!({ "seconds": seconds, "items": items, "host_cpu": host, "worker_cpu": workers }))
}

/// Processor time of this process in seconds.
pub fn host_cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Processor time of all threads of the workers, in seconds.
fn worker_cpu(pool: &Pool) -> Result<f64> {
    let mut nanoseconds = 0;
    for pid in pool.worker_pids() {
        for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let times = std::fs::read_to_string(thread?.path().join("schedstat"))?;
            nanoseconds += times.split_whitespace().next().context("no time")?.parse::<u64>()?;
        }
    }
    Ok(nanoseconds as f64 / 1e9)
}

/// Calls with one item each, one after another.
pub fn apply(pool: &Pool, task: Task, items: u64) -> Result<Value> {
    let started = Instant::now();
    for (index, item) in (0..items).zip(task.items()) {
        let outcome = pool.apply(item, 0).map_err(|error| anyhow!("{error}"))?;
        check(task, index, &outcome)?;
    }
    Ok(json!({ "seconds": started.elapsed().as_secs_f64(), "items": items }))
}

fn check(task: Task, index: u64, outcome: &Outcome) -> Result<()> {
    let value = outcome.result.as_ref().map_err(|failure| anyhow!("item {index}: {}", failure.message))?;
    ensure!(outcome.index == index && task.is_right(index, &value.bytes), "item {index} has a wrong value");
    Ok(())
}

/// A guest that runs in this process, without workers, wire or lock-down.
pub struct Local {
    task: Task,
    guest: Guest,
}

impl Local {
    /// Loads the same artifact that a pool's workers would load.
    pub fn load(task: Task, mode: Mode) -> Result<Self> {
        let artifact = guest::artifact(task, mode)?;
        let spec = task.spec(mode);
        let (page, _file) = Page::create(spec.limits.max_captured)?;
        let setup = RunSetup {
            host: i32::try_from(std::process::id())?,
            sandbox: wpool::limits::SandboxMode::Off,
            slot: 0,
            description: artifact.description,
            task: spec,
            scratch: None,
        };
        let guest = Guest::load(&artifact.file, &setup, Arc::new(page), None)?;
        // They last as long as this process, as they do in a worker.
        std::mem::forget(guest.start_threads()?);
        Ok(Self { task, guest })
    }

    /// Runs `items` tasks.
    pub fn sample(&mut self, items: u64) -> Result<Value> {
        let mut out = Vec::new();
        let cpu = host_cpu();
        let started = Instant::now();
        for item in self.task.items().take(usize::try_from(items)?) {
            let Ok(Body { bytes, form, path, .. }) = &item.body else { continue };
            let input = TaskInput {
                function: 0,
                index: item.index,
                attempt: 1,
                item: bytes,
                form: *form,
                path: path.as_deref(),
                tighter: Tighter::default(),
            };
            out.clear();
            let report = self.guest.run(&input, &mut out);
            report.result.map_err(|failure| anyhow!("item {}: {}", item.index, failure.message))?;
            ensure!(self.task.is_right(item.index, &out), "item {} has a wrong value", item.index);
        }
        Ok(json!({ "seconds": started.elapsed().as_secs_f64(), "items": items, "host_cpu": host_cpu() - cpu }))
    }
}

/// Memory of the workers of a pool that has worked.
pub fn pss(pool: &Pool, task: Task) -> Result<Value> {
    sample(pool, task, Chunksize::Auto, SETTLED)?;
    let pids = pool.worker_pids();
    ensure!(pids.len() == WORKERS, "{} workers are alive", pids.len());
    let mut bytes = Vec::new();
    for pid in pids {
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
            .context("a worker's memory can only be read by root")?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("no PSS")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        bytes.push(kib << 10);
    }
    Ok(json!({ "bytes": bytes }))
}

/// From a module's file to its first outcome, by a cache directory.
pub fn start(module: &Path, cache: &Path) -> Result<Value> {
    let started = Instant::now();
    let module = Module::from_file(module)?;
    let cache = Cache::open(cache).map_err(|error| anyhow!("{error}"))?;
    let options = CompileOptions { cache: Some(cache), ..CompileOptions::default() };
    let artifact = prepare(&module, &options, &mut |_| {})?;
    let (cached, prepared) = (artifact.cached, started.elapsed());
    let work = Work { artifact: artifact.file, description: artifact.description, spec: guest::spec(Abi::Core) };
    let pool = guest::start(work, Mode::Fresh)?;
    let body = Body { bytes: Bytes::from_static(b"3"), form: ItemForm::Json, path: None, connection: None };
    let item = Item { index: 0, body: Ok(body), tag: None };
    let outcome = pool.outcomes(std::iter::once(item), MapOptions::default())?.next().context("no outcome")?;
    let seconds = started.elapsed().as_secs_f64();
    outcome.result.map_err(|failure| anyhow!("{}", failure.message))?;
    Ok(json!({
        "seconds": seconds, "prepared": prepared.as_secs_f64(), "cached": cached, "module_bytes": module.size(),
    }))
}

/// Starts of one worker, one after another: seconds of each until it is ready.
pub fn starts(mode: Mode, times: u64) -> Result<Value> {
    let Artifact { file, description, .. } = guest::artifact(Task::Int, Mode::Fresh)?;
    let mut seconds = Vec::new();
    for _ in 0..times {
        let work = Work { artifact: file.try_clone()?, description: description.clone(), spec: Task::Int.spec(mode) };
        let started = Instant::now();
        let pool = guest::start_workers(work, mode, 1)?;
        seconds.push(started.elapsed().as_secs_f64());
        drop(pool);
    }
    Ok(json!({ "seconds": seconds }))
}
