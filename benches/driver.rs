//! The pool's side of `make bench`: reads one command a line on standard input
//! and answers each with one line of JSON. Pools are made when first asked for
//! and kept, so that `run.py` can alternate samples of this program with
//! samples of its peer.
//!
//! | command | answer |
//! |---|---|
//! | `sample TASK MODE CHUNK ITEMS` | seconds from the call to the last outcome |
//! | `map MODE CHUNK ITEMS` | the same for numbers, typed, as `Pool.map` of Python gives a list |
//! | `loop TASK MODE ITEMS` | the same module without a pool, on this thread |
//! | `apply TASK ITEMS` | seconds of calls with one item, one after another |
//! | `allocations MODE CHUNK ITEMS` | how often the host asked for memory in such a map |
//! | `bare TASK ALLOCATOR THREADS ITEMS` | wasmtime alone, without any of ours: `on-demand` or `pooled` |
//! | `binary FILE.wat FILE.wasm` | writes text as a binary, for programs that take no text |
//! | `pss TASK` | bytes that each worker holds, shared pages by their share |
//! | `start MODULE CACHE` | seconds from a file to the first outcome |
//! | `starts MODE TIMES` | seconds until a pool's only worker is ready, each time |
//! | `drop` | ends all pools |
//!
//! TASK is `int`, `ready`, `bytes`, `component`, `busy` (a millisecond) or
//! `echo:BYTES`; MODE is `fresh`, `reuse`, `single` (fresh, one item in a worker
//! at a time), `open` (fresh, without lock-down), `one` (fresh, by one worker)
//! or `initialised` (fresh, after the initializer of `ready`); CHUNK is a
//! number, `auto` or `python` (the formula of
//! Python's pool).

#[path = "driver/bare.rs"]
mod bare;
#[path = "driver/counting.rs"]
mod counting;
#[path = "driver/guest.rs"]
mod guest;
#[path = "driver/measure.rs"]
mod measure;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{BufRead, Write};
use std::num::NonZeroUsize;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use wpool::pool::{Chunksize, Pool};

use crate::guest::{Mode, Task, WORKERS};
use crate::measure::Local;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting::new();

fn main() -> ExitCode {
    if let Some(code) = wpool::worker::run_if_requested() {
        return code;
    }
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The asker shows it; there is no printer here.
            let _unheard = writeln!(std::io::stderr(), "bench-driver: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<()> {
    let mut bench = Bench::default();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = bench.answer(&words).unwrap_or_else(|error| json!({ "error": format!("{line}: {error:#}") }));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

/// What is kept from command to command.
#[derive(Default)]
struct Bench {
    pools: HashMap<(Task, Mode), Pool>,
    loops: HashMap<(Task, Mode), Local>,
}

impl Bench {
    fn answer(&mut self, words: &[&str]) -> Result<Value> {
        match *words {
            ["sample", task, mode, chunk, items] => {
                let items = count(items)?;
                let pool = self.pool(task.parse()?, mode.parse()?)?;
                measure::sample(pool, task.parse()?, chunksize(chunk, items)?, items)
            }
            ["map", mode, chunk, items] => {
                let items = count(items)?;
                let pool = self.pool(Task::Int, mode.parse()?)?;
                measure::map(pool, chunksize(chunk, items)?, items)
            }
            ["allocations", mode, chunk, items] => {
                let items = count(items)?;
                let pool = self.pool(Task::Int, mode.parse()?)?;
                let before = ALLOCATOR.count();
                measure::map(pool, chunksize(chunk, items)?, items)?;
                Ok(json!({ "allocations": ALLOCATOR.count() - before }))
            }
            ["loop", task, mode, items] => self.local(task.parse()?, mode.parse()?)?.sample(count(items)?),
            ["apply", task, items] => {
                let pool = self.pool(task.parse()?, Mode::Fresh)?;
                measure::apply(pool, task.parse()?, count(items)?)
            }
            ["bare", task, allocator, threads, items] => {
                bare::sample(task.parse()?, allocator, count(threads)?, count(items)?)
            }
            ["binary", text, binary] => {
                std::fs::write(binary, wat::parse_file(text)?).with_context(|| binary.to_owned())?;
                Ok(json!({}))
            }
            ["pss", task] => measure::pss(self.pool(task.parse()?, Mode::Fresh)?, task.parse()?),
            ["start", module, cache] => measure::start(module.as_ref(), cache.as_ref()),
            ["starts", mode, times] => measure::starts(mode.parse()?, count(times)?),
            ["drop"] => {
                *self = Self::default();
                Ok(json!({}))
            }
            _ => bail!("no such command"),
        }
    }

    fn pool(&mut self, task: Task, mode: Mode) -> Result<&Pool> {
        Ok(match self.pools.entry((task, mode)) {
            Entry::Occupied(pool) => pool.into_mut(),
            Entry::Vacant(place) => place.insert(guest::pool(task, mode)?),
        })
    }

    fn local(&mut self, task: Task, mode: Mode) -> Result<&mut Local> {
        Ok(match self.loops.entry((task, mode)) {
            Entry::Occupied(local) => local.into_mut(),
            Entry::Vacant(place) => place.insert(Local::load(task, mode)?),
        })
    }
}

fn count(text: &str) -> Result<u64> {
    text.parse().map_err(|_| anyhow!("{text:?} is no number of items"))
}

fn chunksize(text: &str, items: u64) -> Result<Chunksize> {
    let size = match text {
        "auto" => return Ok(Chunksize::Auto),
        // `divmod(len(items), 4 * workers)`, plus one where there is a rest.
        "python" => usize::try_from(items)?.div_ceil(4 * WORKERS).max(1),
        number => number.parse()?,
    };
    Ok(Chunksize::Fixed(NonZeroUsize::new(size).context("chunks of nothing")?))
}
