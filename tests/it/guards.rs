//! Guards on what tasks cost, made so that neither the machine nor its load
//! matters: counts, and ratios of processor time within one process. How fast
//! the pool is stands in BENCHMARKS.md; these only tell when a mechanism that
//! makes it fast has stopped to work.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// The measuring program of `make bench`.
struct Driver {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Driver {
    fn start() -> Self {
        let program = crate::support::binary().with_file_name("examples").join("bench-driver");
        let mut child = Command::new(&program)
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, stdin, stdout: BufReader::new(stdout) }
    }

    fn ask(&mut self, command: &str) -> Value {
        writeln!(self.stdin, "{command}").unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{command}: {error}: {line:?}"));
        assert!(answer.get("error").is_none(), "{answer}");
        answer
    }

    /// Processor time of an item in host and workers: the least of a few runs,
    /// because what disturbs a run only ever adds.
    fn cpu(&mut self, command: &str) -> f64 {
        let runs = (0..4).map(|_| {
            let answer = self.ask(command);
            let part = |name: &str| answer[name].as_f64().unwrap_or_default();
            (part("host_cpu") + part("worker_cpu")) / part("items")
        });
        runs.fold(f64::INFINITY, f64::min)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn many_items_in_flight_cost_less_than_one_at_a_time() {
    let mut driver = Driver::start();
    let window = driver.cpu("sample int fresh 1 20000");
    let single = driver.cpu("sample int single 1 20000");
    assert!(window < 0.8 * single, "{window:.2e} s of processor time an item, {single:.2e} one at a time");
}

#[test]
fn an_item_of_its_own_costs_little_more_than_one_in_a_chunk() {
    let mut driver = Driver::start();
    let own = driver.cpu("sample int fresh 1 20000");
    let chunk = driver.cpu("sample int fresh python 20000");
    assert!(own < 2.0 * chunk, "{own:.2e} s of processor time an item, {chunk:.2e} in chunks");
}

#[test]
fn fresh_instances_come_from_a_pool() {
    let mut driver = Driver::start();
    let ours = driver.cpu("loop bytes fresh 5000");
    let anew = driver.cpu("bare bytes on-demand 1 5000");
    assert!(ours < 0.7 * anew, "{ours:.2e} s of processor time an instance, {anew:.2e} without a pool");
}

#[test]
fn instances_that_are_put_back_cost_less_than_new_ones() {
    if !wasmtime::PoolingAllocationConfig::is_pagemap_scan_available() {
        // Linux before 6.7: there are only new ones.
        return;
    }
    let mut driver = Driver::start();
    let ours = driver.cpu("loop int fresh 20000");
    let anew = driver.cpu("bare int pooled 1 20000");
    assert!(ours < 0.8 * anew, "{ours:.2e} s of processor time an instance, {anew:.2e} a new one");
}

#[test]
fn a_further_item_costs_the_host_few_allocations_and_in_runs_none() {
    let mut driver = Driver::start();
    // Items that travel one by one, before tasks are known to be short, take
    // some; those in runs do not.
    for (mode, chunk, most) in [("fresh", "1", 2.0), ("fresh", "auto", 1.0), ("reuse", "python", 0.1)] {
        let mut allocations = |items: u64| {
            let answer = driver.ask(&format!("allocations {mode} {chunk} {items}"));
            answer["allocations"].as_u64().unwrap()
        };
        // Buffers reach their size in the first run.
        allocations(40_000);
        let (few, many) = (allocations(10_000), allocations(110_000));
        let each = many.saturating_sub(few) as f64 / 100_000.0;
        println!("{mode} {chunk}: {each} allocations for each further item");
        assert!(each < most, "{mode} {chunk}: {each} allocations for each further item");
    }
}
