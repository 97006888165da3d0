//! The engine by itself: a module in a loop in this process, set up as a
//! program would that uses wasmtime without a pool of workers.

use std::sync::Barrier;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use serde_json::{Value, json};
use wasmtime::{
    Config, Enabled, Engine, Instance, InstanceAllocationStrategy, InstancePre, Linker, Module,
    PoolingAllocationConfig, Store,
};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::WasiP1Ctx;

use crate::guest::Task;
use crate::measure::host_cpu;

/// Bytes of an item.
const PAYLOAD: usize = 64;
/// Memory that an instance keeps for the next one.
const KEEP: usize = 1 << 20;

/// Where instances come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Allocator {
    /// Made anew by the system for each, as wasmtime does unless told.
    OnDemand,
    /// Taken from a pool of reset slots.
    Pooled,
}

/// `items` tasks over numbers or over 64 bytes, a new instance each, by so many
/// threads.
pub fn sample(task: Task, allocator: &str, threads: u64, items: u64) -> Result<Value> {
    let run = match task {
        Task::Int => number,
        Task::Bytes => bytes,
        _ => return Err(anyhow!("{task:?} is nothing for wasmtime alone")),
    };
    let allocator = match allocator {
        "on-demand" => Allocator::OnDemand,
        "pooled" => Allocator::Pooled,
        other => return Err(anyhow!("no allocator {other:?}")),
    };
    let module = prepare(task, allocator).map_err(|error| anyhow!("{error:#}"))?;
    let threads = usize::try_from(threads)?;
    let each = items / threads as u64;
    let start = Barrier::new(threads + 1);
    let cpu = host_cpu();
    let seconds = std::thread::scope(|scope| -> Result<f64> {
        let spawn = |_| {
            scope.spawn(|| {
                start.wait();
                (0..each).try_for_each(|item| run(&module, item).map_err(|error| anyhow!("{error:#}")))
            })
        };
        let running: Vec<_> = (0..threads).map(spawn).collect();
        start.wait();
        let started = Instant::now();
        for thread in running {
            thread.join().map_err(|_| anyhow!("a thread panicked"))??;
        }
        Ok(started.elapsed().as_secs_f64())
    })?;
    Ok(json!({ "seconds": seconds, "items": each * threads as u64, "host_cpu": host_cpu() - cpu }))
}

fn prepare(task: Task, allocator: Allocator) -> wasmtime::Result<InstancePre<WasiP1Ctx>> {
    let mut config = Config::new();
    config.concurrency_support(false);
    if allocator == Allocator::Pooled {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_core_instances(16).total_memories(16).total_tables(16).max_unused_warm_slots(16);
        // Where the kernel cannot tell which pages were written to, all that is
        // kept would be cleared for each task.
        if PoolingAllocationConfig::is_pagemap_scan_available() {
            pool.linear_memory_keep_resident(KEEP).table_keep_resident(KEEP / 8).pagemap_scan(Enabled::Yes);
        }
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    let engine = Engine::new(&config)?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p1::add_to_linker_sync(&mut linker, |context| context)?;
    let text = task.module().map_err(|error| wasmtime::Error::msg(error.to_string()))?;
    let binary = wat::parse_bytes(&text).map_err(wasmtime::Error::new)?;
    linker.instantiate_pre(&Module::new(&engine, &binary)?)
}

/// One new instance.
fn instance(module: &InstancePre<WasiP1Ctx>) -> wasmtime::Result<(Store<WasiP1Ctx>, Instance)> {
    let mut store = Store::new(module.module().engine(), WasiCtxBuilder::new().build_p1());
    let instance = module.instantiate(&mut store)?;
    instance.get_typed_func::<(), ()>(&mut store, "_initialize")?.call(&mut store, ())?;
    Ok((store, instance))
}

/// One task over a number.
fn number(module: &InstancePre<WasiP1Ctx>, item: u64) -> wasmtime::Result<()> {
    let item = item as i64;
    let (mut store, instance) = instance(module)?;
    let square = instance.get_typed_func::<i64, i64>(&mut store, "run")?.call(&mut store, item)?;
    if square == item * item { Ok(()) } else { Err(wasmtime::Error::msg("wrong number")) }
}

/// One task, by the `bytes` ABI.
fn bytes(module: &InstancePre<WasiP1Ctx>, _: u64) -> wasmtime::Result<()> {
    let payload: [u8; PAYLOAD] = std::array::from_fn(|at| at as u8);
    let (mut store, instance) = instance(module)?;
    let memory = instance.get_memory(&mut store, "memory").ok_or_else(|| wasmtime::Error::msg("no memory"))?;
    let at = instance.get_typed_func::<u32, u32>(&mut store, "alloc")?.call(&mut store, PAYLOAD as u32)?;
    memory.write(&mut store, at as usize, &payload)?;
    let run = instance.get_typed_func::<(u32, u32), u64>(&mut store, "run")?;
    let packed = run.call(&mut store, (at, PAYLOAD as u32))?;
    let mut result = [0; PAYLOAD];
    memory.read(&store, (packed >> 32) as usize, &mut result)?;
    ensure_right(&payload, &result).map_err(|error| wasmtime::Error::msg(error.to_string()))
}

fn ensure_right(payload: &[u8], result: &[u8]) -> Result<()> {
    ensure!(result.iter().rev().eq(payload), "wrong bytes");
    Ok(())
}
