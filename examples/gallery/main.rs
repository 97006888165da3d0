//! The programs from which people learn `multiprocessing`, on wpool:
//!
//!     gallery GUESTS PROGRAM
//!
//! GUESTS is the folder `target/guests`, PROGRAM is `p01` to `p20`. What each
//! prints is in `guest-examples/gallery/expected`, the same program in Python
//! in `guest-examples/gallery/python`. Sleeps are scaled down.
//!
//! Here are pools and processes; `shared` has what tasks share, `network` the
//! servers.

#![expect(clippy::print_stdout, reason = "a program for people to read and run")]

mod network;
mod shared;

use std::collections::HashSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use wpool::{AsyncResult, CallError, CallOptions, Kind, Limits, Module, Pool, Process, cpu_count};

/// Longer than anything here takes, unless it hangs.
const LONG: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    // Workers are this program, started again.
    if let Some(code) = wpool::worker::run_if_requested() {
        return code;
    }
    let mut arguments = std::env::args().skip(1);
    let (Some(guests), Some(program)) = (arguments.next(), arguments.next()) else {
        println!("usage: gallery GUESTS PROGRAM, such as gallery target/guests p01");
        return ExitCode::from(2);
    };
    match run(Path::new(&guests), &program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(guests: &Path, program: &str) -> Result<()> {
    let guest = |name: &str| Module::from_file(guests.join(name));
    let module = guest("gallery.wasm")?;
    match program {
        "p01" => map(module),
        "p02" => apply_async(module),
        "p03" => apply(module),
        "p04" => callbacks(module),
        "p05" => apply_async_and_get(module),
        "p06" => two_functions(module),
        "p07" => initialized_and_recycled(module),
        "p08" => shared::one_lock(module),
        "p09" => shared::queue(module),
        "p10" => imap(module),
        "p11" => next_timeout(module),
        "p12" => imap_unordered(module),
        "p13" => starmap(module),
        "p14" => map_async(module),
        "p15" => network::servers(guest("ports.wasm")?),
        "p16" => network::chat(guest("echo.wasm")?),
        "p17" => processes(&module),
        "p18" => shared::results_of_processes(&module),
        "p19" => default_size(module),
        "p20" => ends(module),
        other => bail!("there is no program {other}"),
    }
}

fn pool(module: Module, processes: usize) -> Result<Pool> {
    Ok(Pool::builder(module).processes(processes).build()?)
}

/// A pool all of whose workers have started: they start as work comes.
fn warm(module: Module, processes: usize) -> Result<Pool> {
    let pool = pool(module, processes)?;
    while pool.worker_pids().len() < processes {
        pool.map::<u64, _>(CallOptions::new("sleep").chunksize(1), vec![10; 2 * processes])?;
    }
    Ok(pool)
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

/// P1: one ordered list, when all are done.
fn map(module: Module) -> Result<()> {
    let pool = pool(module, 4)?;
    println!("{:?}", pool.map::<i64, _>("square", [1, 2, 3, 4])?);
    Ok(())
}

/// P2: ten tasks that sleep for different times, on three workers.
fn apply_async(module: Module) -> Result<()> {
    let pool = warm(module, 3)?;
    println!("start");
    let calls: Vec<AsyncResult<u64>> =
        (0..10_u64).map(|n| pool.apply_async("sleep", 20 + n * 37 % 41)).collect::<Result<_, _>>()?;
    println!("all sent");
    let (mut workers, mut most) = (HashSet::new(), 0);
    while !calls.iter().all(AsyncResult::ready) {
        let now = pool.worker_pids();
        most = most.max(now.len());
        workers.extend(now);
        std::thread::sleep(Duration::from_millis(2));
    }
    pool.close();
    pool.join()?;
    println!("several workers: {}", yes(workers.len() > 1));
    println!("never more than three: {}", yes(most <= 3));
    println!("end, {} done", calls.iter().filter(|call| call.ready()).count());
    Ok(())
}

/// P3: the same, one after the other.
fn apply(module: Module) -> Result<()> {
    let pool = pool(module, 3)?;
    println!("start");
    for n in 0..10 {
        pool.apply::<u64>("sleep", 5 + n * 37 % 11)?;
        println!("task {n} is done");
    }
    println!("end");
    Ok(())
}

/// P4: callbacks hear every value; `get` gives them in the order of the calls.
fn callbacks(module: Module) -> Result<()> {
    let pool = warm(module, 5)?;
    let (bar, heard) = sync_channel(10);
    let began = Instant::now();
    let mut calls = Vec::new();
    for n in 0..10_u64 {
        let bar = bar.clone();
        let call: AsyncResult<u64> = pool.apply_async("sleep", 200 + n)?;
        calls.push(call.callback(move |value| bar.send(value).unwrap_or_default()));
    }
    let values: Vec<u64> = calls.iter().map(AsyncResult::get).collect::<Result<_, _>>()?;
    println!("{values:?}");
    println!("not one after the other: {}", yes(began.elapsed() < Duration::from_millis(10 * 200)));
    pool.close();
    pool.join()?;
    drop(bar);
    let mut heard: Vec<u64> = heard.iter().collect();
    heard.sort_unstable();
    println!("callbacks heard {heard:?}");
    Ok(())
}

/// P5: `apply_async` with `get` at once is serial.
fn apply_async_and_get(module: Module) -> Result<()> {
    let pool = pool(module, 3)?;
    for n in 0..5 {
        println!("{}", pool.apply_async::<i64>("square", n)?.get()?);
    }
    Ok(())
}

/// P6: two functions on one pool, by name. A worker runs either.
fn two_functions(module: Module) -> Result<()> {
    let pool = pool(module, 1)?;
    let squares: Vec<AsyncResult<i64>> = (0..4).map(|n| pool.apply_async("square", n)).collect::<Result<_, _>>()?;
    let sums: Vec<AsyncResult<i64>> = (0..4).map(|n| pool.apply_async("add", (n, n))).collect::<Result<_, _>>()?;
    for (square, sum) in squares.iter().zip(&sums) {
        println!("square {} sum {}", square.get()?, sum.get()?);
    }
    println!("one worker ran both: {}", yes(pool.worker_pids().len() == 1));
    Ok(())
}

/// P7: every task greets as the initializer was told; workers are replaced
/// after two items each.
fn initialized_and_recycled(module: Module) -> Result<()> {
    let pool = Pool::builder(module)
        .processes(1)
        .initializer("greet-with", ("good morning", "!"))
        .max_tasks_per_child(2)
        .build()?;
    let mut workers = HashSet::new();
    for name in ["Ada", "Alan", "Barbara", "Edsger", "Grace", "Kurt"] {
        println!("{}", pool.apply::<String>("greet", name)?);
        workers.extend(pool.worker_pids());
    }
    println!("at least three workers: {}", yes(workers.len() >= 3));
    Ok(())
}

/// P10: results as they arrive, in order, whatever the chunk.
fn imap(module: Module) -> Result<()> {
    let pool = warm(module, 4)?;
    for chunksize in [1, 2, 10] {
        let call = CallOptions::new("download").chunksize(chunksize);
        let began = Instant::now();
        let (mut pages, mut first) = (Vec::new(), None);
        for page in pool.imap::<String, _>(call, 0..200)? {
            pages.push(page?);
            first.get_or_insert_with(|| began.elapsed());
        }
        let in_order = pages.iter().enumerate().all(|(n, page)| *page == format!("page {n}"));
        let (first, all) = (first.unwrap_or_default().as_millis(), began.elapsed().as_millis());
        println!("chunks of {chunksize}: {} pages, in order: {}", pages.len(), yes(in_order));
        println!("  the first after {first} ms, all after {all} ms");
    }
    Ok(())
}

/// P11: a late value is a timeout, and the iterator goes on.
fn next_timeout(module: Module) -> Result<()> {
    let pool = pool(module, 1)?;
    let mut naps = pool.imap::<u64, _>("sleep", [400, 0])?;
    match naps.next_timeout(Duration::from_millis(50)) {
        Some(Err(CallError::TimedOut)) => println!("late"),
        other => bail!("a nap of 400 ms within 50 ms: {other:?}"),
    }
    for nap in naps {
        println!("{}", nap?);
    }
    Ok(())
}

/// P12: values in the order in which they come, each once.
fn imap_unordered(module: Module) -> Result<()> {
    let pool = warm(module, 2)?;
    for nap in pool.imap_unordered::<u64, _>("sleep", [600, 10, 100])? {
        println!("{}", nap?);
    }
    Ok(())
}

/// P13: several arguments, by position and by name.
fn starmap(module: Module) -> Result<()> {
    let pool = pool(module, 2)?;
    println!("{:?}", pool.starmap::<i64, _>("add", [(1, 2), (3, 4)])?);
    println!("{:?}", pool.starmap_async::<i64, _>("add", [(5, 6), (7, 8)])?.get()?);
    let cube = CallOptions::new("power").kwds(json!({ "exponent": 3 }));
    println!("{:?}", pool.map::<i64, _>(cube, [1, 2, 3])?);
    println!("{}", pool.apply::<i64>("power", json!({ "base": 2, "exponent": 10 }))?);
    Ok(())
}

/// P14: what an `AsyncResult` says, and an error callback.
fn map_async(module: Module) -> Result<()> {
    let pool = pool(module, 2)?;
    let naps: AsyncResult<Vec<u64>> = pool.map_async("sleep", [300, 0])?;
    println!("ready: {}", yes(naps.ready()));
    ensure!(naps.wait(LONG), "it hangs");
    println!("ready: {}, successful: {}", yes(naps.ready()), yes(naps.successful() == Some(true)));
    println!("{:?}", naps.get()?);
    let (tell, told) = sync_channel(1);
    let odd: AsyncResult<Vec<u32>> = pool.map_async("half", [2, 3])?;
    let odd = odd.error_callback(move |error| tell.send(error).unwrap_or_default());
    let error = told.recv_timeout(LONG).context("the error callback")?;
    println!("error callback: {}", error.task().map_or("no task's", |task| &task.message));
    println!("successful: {}", yes(odd.successful() == Some(true)));
    Ok(())
}

/// P17: processes by themselves.
fn processes(module: &Module) -> Result<()> {
    let worker =
        |n: i64| Process::builder(module.clone()).function("square").args(n).name(format!("worker {n}")).build();
    let five: Vec<Process> = (0..5).map(worker).collect();
    for process in &five {
        process.start()?;
    }
    for process in &five {
        let code = process.join()?;
        println!("{} exited with {code}, alive: {}", process.name(), yes(process.is_alive()));
    }
    let hung = Process::builder(module.clone()).function("spin").daemon(true).build();
    hung.start()?;
    println!("daemon: {}, has a pid: {}", yes(hung.daemon()), yes(hung.pid().is_some()));
    println!("ended within 50 ms: {}", yes(hung.join_timeout(Duration::from_millis(50))?.is_some()));
    hung.terminate();
    println!("terminated: {}", hung.join()?);
    Ok(())
}

/// P19: as many workers as this process may use processors.
fn default_size(module: Module) -> Result<()> {
    // So little memory that there is enough for each.
    let limits = Limits { memory: 16 << 20, ..Limits::default() };
    let pool = Pool::builder(module).limits(limits).build()?;
    println!("as many workers as processors: {}", yes(pool.processes() == cpu_count()));
    println!("{:?}", pool.map::<i64, _>("square", [1, 2, 3])?);
    Ok(())
}

/// P20: three ways to end while tasks run.
fn ends(module: Module) -> Result<()> {
    let busy = || -> Result<(Pool, AsyncResult<u64>, Vec<i32>)> {
        let pool = pool(module.clone(), 2)?;
        let call = pool.apply_async("spin", ())?;
        ensure!(!call.wait(Duration::from_millis(50)), "what never ends has ended");
        let workers = pool.worker_pids();
        Ok((pool, call, workers))
    };
    let tell = |how: &str, call: &AsyncResult<u64>, workers: &[i32]| {
        let cancelled = call.get().err().and_then(|error| error.kind()) == Some(Kind::Cancelled);
        let left = workers.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists());
        println!("{how}: cancelled: {}, workers left: {}", yes(cancelled), yes(left));
    };
    let (pool, call, workers) = busy()?;
    pool.terminate();
    tell("terminate", &call, &workers);
    let (call, workers) = {
        let (_pool, call, workers) = busy()?;
        (call, workers)
    };
    tell("end of the scope", &call, &workers);
    let (pool, call, workers) = busy()?;
    drop(pool);
    tell("drop", &call, &workers);
    Ok(())
}
