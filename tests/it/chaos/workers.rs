//! Workers that are killed, stopped and starved of memory while they work.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::Value;

use super::{Census, Dice, eventually, stat};
use crate::hostile::{Arena, Attacked, born, workers_of};

/// What can happen to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mishap {
    Kill,
    /// Stopped for a while.
    Stop,
    /// Gets no more memory from here on, and is killed a little later.
    Starve,
}

/// Has mishaps happen to the workers of a host.
struct Mischief {
    dice: Dice,
    kinds: &'static [Mishap],
    next: Instant,
    /// Longest pause between two.
    pause: u64,
    /// How many were hit since one was that has done something: workers that
    /// die one after the other before they do anything end a run, as they
    /// should.
    young: u32,
    /// Where each worker does one item only: the output, of which there must be
    /// more after each hit, and what there was of it.
    output: Option<(PathBuf, u64)>,
    /// What is still to be done to whom.
    pending: Vec<(Instant, Signal, i32, String)>,
    done: BTreeMap<Mishap, usize>,
}

impl Mischief {
    fn new(test: &str, kinds: &'static [Mishap], pause: u64) -> Self {
        let (dice, done) = (Dice::cast(test), BTreeMap::new());
        let next = Instant::now();
        Self { dice, kinds, next, pause, young: 0, output: None, pending: Vec::new(), done }
    }

    /// Whether hitting this worker leaves the pool a chance.
    fn may_hit(&mut self, worker: i32) -> bool {
        if let Some((path, had)) = &mut self.output {
            let size = path.metadata().map_or(0, |file| file.len());
            return size > std::mem::replace(had, size);
        }
        let ticks = |field| stat(worker.unsigned_abs(), field).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        self.young = if ticks(11) + ticks(12) < GROWN { self.young + 1 } else { 0 };
        self.young <= MOST_YOUNG
    }

    /// One look at a host.
    fn act(&mut self, host: &Child) {
        let now = Instant::now();
        for (_, signal, pid, birth) in self.pending.extract_if(.., |(due, ..)| *due <= now) {
            if born(pid).as_ref() == Some(&birth) {
                send(signal, pid);
            }
        }
        let workers: Vec<_> = workers_of(host).into_iter().filter_map(|pid| Some((pid, born(pid)?))).collect();
        if now < self.next || workers.is_empty() {
            return;
        }
        self.next = now + self.dice.millis(self.pause);
        let worker = &workers[self.dice.below(workers.len() as u64) as usize];
        if !self.may_hit(worker.0) {
            return;
        }
        let (pid, birth) = worker.clone();
        let kind = self.kinds[self.dice.below(self.kinds.len() as u64) as usize];
        let until = now + self.dice.millis(60);
        match kind {
            Mishap::Kill => send(Signal::KILL, pid),
            Mishap::Stop => {
                send(Signal::STOP, pid);
                self.pending.push((until, Signal::CONT, pid, birth));
            }
            Mishap::Starve => {
                starve(pid);
                self.pending.push((until, Signal::KILL, pid, birth));
            }
        }
        *self.done.entry(kind).or_default() += 1;
    }

    fn count(&self) -> usize {
        self.done.values().sum()
    }
}

/// Ticks of processor time, of 10 ms, that no worker takes to start.
const GROWN: u64 = 5;

/// Workers that have not used as much and are hit in a row.
const MOST_YOUNG: u32 = 3;

fn send(signal: Signal, pid: i32) {
    let _gone = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

/// No further page of writable memory.
fn starve(pid: i32) {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _gone = prlimit(Pid::from_raw(pid), Resource::Data, none);
}

/// Grows its memory by 40 pages, fills them, and adds up what it finds there.
const HUNGRY: &str = r#"(module (memory 1)
    (func (export "run") (param $n i64) (result i64) (local $at i32) (local $sum i64)
      (if (i32.lt_s (memory.grow (i32.const 40)) (i32.const 0)) (then unreachable))
      (memory.fill (i32.const 65536) (i32.wrap_i64 (local.get $n)) (i32.const 2621440))
      (local.set $at (i32.const 65536))
      (loop $next
        (local.set $sum (i64.add (local.get $sum) (i64.load8_u (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 4096)))
        (br_if $next (i32.lt_u (local.get $at) (i32.const 2686976))))
      (local.get $sum)))"#;

/// Fixtures, and where the function that takes items begins.
const ENTRIES: [(&str, &str); 4] = [
    ("spin.wat", "(local $state i64)"),
    ("echo.wat", "(func (export \"run\") (param $ptr i32) (param $len i32) (result i64)"),
    ("component.wat", "(func (export \"run\") (param $ptr i32) (param $len i32) (result i32)"),
    ("cat.wat", "(func (export \"_start\")\n    (local $len i32)"),
];

/// Has an item take a little while.
const BUSY: &str = "(local $busy i32) (local.set $busy (i32.const 500000))
    (loop $while (local.set $busy (i32.sub (local.get $busy) (i32.const 1))) (br_if $while (local.get $busy)))";

/// Runs a mode with and without mishaps. Each item has one outcome, in order;
/// the values are those of the undisturbed run; what failed did so for a
/// reason that the mishaps explain.
#[track_caller]
fn survives(test: &str, module: &str, items: &[Value], options: &[&str], kinds: &'static [Mishap]) {
    let arena = Arena::new();
    arena.write("hungry.wat", HUNGRY);
    for (name, entry) in ENTRIES {
        let text = std::fs::read_to_string(format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert!(text.contains(entry), "{name}");
        arena.write(name, text.replacen(entry, &format!("{entry} {BUSY}"), 1));
    }
    arena.write("items.json", serde_json::to_string(items).unwrap());
    let line = ["run", module, "-j3", "--output", "records", "--timeout", "40s", "-o", "out.jsonl"];
    let line = [&line, options].concat();
    let records = |ran: &Attacked| -> Vec<Value> {
        assert!(matches!(ran.code, Some(0 | 1)), "{test}: {ran:?}");
        let text = arena.0.read("out.jsonl");
        std::fs::remove_file(arena.path("out.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let by_index = |records: &[Value]| -> BTreeMap<u64, Value> {
        let found = records.iter().map(|record| (record["index"].as_u64().unwrap(), record.clone())).collect();
        assert_eq!(BTreeMap::len(&found), items.len(), "{test}: each item has one outcome");
        found
    };
    let calm = by_index(&records(&arena.attack(test, &line)));
    assert!(calm.values().all(|record| record["kind"] == "ok"), "{test}");
    let mut mischief = Mischief::new(test, kinds, 60);
    if options.contains(&"process") {
        (mischief.pause, mischief.output) = (20, Some((arena.path("out.jsonl.part"), 0)));
    }
    let ran = arena.attack_with(test, &line, b"", |host| mischief.act(host));
    let records = records(&ran);
    if !options.contains(&"--imap-unordered") {
        assert!(records.iter().enumerate().all(|(at, record)| record["index"] == at), "{test}: order is kept");
    }
    let mut failed = BTreeMap::<String, usize>::new();
    for (index, record) in by_index(&records) {
        let kind = record["kind"].as_str().unwrap();
        match kind {
            "ok" => assert_eq!(record["value"], calm[&index]["value"], "{test}: item {index}"),
            "worker-crashed" => assert!(record["attempts"].as_u64().unwrap() >= 2, "{test}: {record}"),
            "out-of-memory" => assert!(kinds.contains(&Mishap::Starve), "{test}: {record}"),
            _ => panic!("{test}: nothing explains {record}"),
        }
        if kind != "ok" {
            *failed.entry(kind.to_owned()).or_default() += 1;
        }
    }
    println!("{test}: {} items, {:?}, failed {failed:?}, {:?}", items.len(), mischief.done, ran.took);
    // A worker without memory may fail all items before more is done to it.
    let harm = mischief.count() > 2 || !failed.is_empty();
    assert!(harm, "{test}: the test must do harm: {:?}", mischief.done);
    assert_eq!(ran.code, Some(i32::from(!failed.is_empty())), "{test}: {}", ran.err);
    let kills: usize = mischief.done.iter().filter(|(kind, _)| **kind != Mishap::Stop).map(|(_, count)| count).sum();
    let crashed = failed.get("worker-crashed").copied().unwrap_or(0);
    // A starved worker may die by itself before it is killed.
    assert!(crashed <= kills, "{test}: {crashed} items lost by {kills} deaths");
}

const ALL: &[Mishap] = &[Mishap::Kill, Mishap::Stop, Mishap::Starve];
const RUDE: &[Mishap] = &[Mishap::Kill, Mishap::Stop];

fn numbers(count: u64, each: impl Fn(u64) -> u64) -> Vec<Value> {
    (0..count).map(|index| Value::from(each(index))).collect()
}

#[test]
fn fresh_instances_survive_mishaps() {
    let items = numbers(1_000, |index| 2_000_000 + index);
    survives("fresh", "spin.wat", &items, &["--map", "items.json"], ALL);
}

#[test]
fn kept_instances_survive_mishaps() {
    let items = numbers(1_000, |index| 2_000_000 + index);
    survives("reuse", "spin.wat", &items, &["--imap", "items.json", "--isolation", "reuse"], RUDE);
}

#[test]
fn a_process_for_each_item_survives_mishaps() {
    let items = numbers(120, |index| 2_000_000 + index);
    survives("process", "spin.wat", &items, &["--imap-unordered", "items.json", "--isolation", "process"], RUDE);
}

#[test]
fn large_chunks_of_small_items_survive_mishaps() {
    let items = numbers(2_500, |index| 100_000 + index);
    survives("chunks", "spin.wat", &items, &["--map", "items.json", "--chunksize", "500"], ALL);
}

#[test]
fn guests_that_need_memory_survive_mishaps() {
    let items = numbers(2_500, |index| index);
    survives("hungry", "hungry.wat", &items, &["--imap", "items.json"], ALL);
}

#[test]
fn bytes_components_and_commands_survive_mishaps() {
    let texts: Vec<Value> = (0..8_000).map(|index| Value::from(format!("{index} {}", "x".repeat(200)))).collect();
    survives("bytes", "echo.wat", &texts, &["--map", "items.json", "--abi", "bytes", "--item-as", "json"], ALL);
    let run = ["--imap-unordered", "items.json", "--invoke", "run"];
    survives("component", "component.wat", &texts[..3_000], &run, ALL);
    survives("command", "cat.wat", &texts[..2_000], &["--imap", "items.json"], ALL);
}

#[test]
fn output_is_byte_identical_where_lost_items_are_tried_again() {
    let arena = Arena::new();
    let spin = format!("{}/tests/fixtures/spin.wat", env!("CARGO_MANIFEST_DIR"));
    arena.write("items.json", serde_json::to_string(&numbers(1_000, |index| 2_000_000 + index)).unwrap());
    let line = ["run", &spin, "--map", "items.json", "-j2", "--retries", "60", "--timeout", "40s"];
    let calm = arena.attack("calm", &line);
    let mut mischief = Mischief::new("identical", RUDE, 60);
    let ran = arena.attack_with("identical", &line, b"", |host| mischief.act(host));
    assert_eq!((ran.code, ran.out), (Some(0), calm.out), "{}", ran.err);
    println!("identical: {:?} in {:?}", mischief.done, ran.took);
    assert!(mischief.count() > 2);
}

/// By its item: the same number, a trap, or no end.
const MOODY: &str = r#"(module (func (export "run") (param $n i64) (result i64)
    (if (i64.eq (local.get $n) (i64.const 1)) (then unreachable))
    (if (i64.eq (local.get $n) (i64.const 2)) (then (loop (br 0))))
    (local.get $n)))"#;

#[test]
fn a_host_holds_after_each_kind_of_failure_what_it_held_before() {
    let arena = Arena::new();
    arena.write("moody.wat", MOODY);
    let line = ["run", "moody.wat", "--imap", "-", "-j2", "--timeout", "3s", "--output", "records", "-q"];
    let mut host = arena.0.command(&line).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = host.stdin.take().unwrap();
    let mut out = BufReader::new(host.stdout.take().unwrap());
    let mut ask = |items: &[u64], kinds: &[&str]| {
        for item in items {
            writeln!(stdin, "{item}").unwrap();
        }
        for item in items {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            let record: Value = serde_json::from_str(&line).unwrap();
            assert!(kinds.contains(&record["kind"].as_str().unwrap()), "{item}: {record}");
        }
    };
    let both = |host: &Child| workers_of(host).len() == 2;
    // Some of each, so that all there will ever be is there.
    ask(&[5; 200], &["ok"]);
    // A worker that is starting still has its page sent to it.
    let before = eventually("two workers", || {
        ask(&[5; 50], &["ok"]);
        let census = Census::of(host.id());
        let starting = census.descriptors.iter().any(|target| target.contains("wpool-page"));
        (both(&host) && !starting).then_some(census)
    });
    assert!(before.children == 2 && before.threads > 3 && before.descriptors.len() > 8, "{before:?}");
    let mut phase = |name: &str, items: &[u64], kinds: &[&str]| {
        ask(items, kinds);
        // Workers are replaced when there is work; one that was hit may be
        // the next to get some.
        eventually(name, || {
            ask(&[5; 50], &["ok", kinds[0]]);
            both(&host).then_some(())
        });
        before.expect_again(host.id(), name);
    };
    phase("traps", &[1; 300], &["trap"]);
    phase("timeouts", &[2, 2], &["timeout"]);
    for _ in 0..10 {
        for worker in workers_of(&host) {
            send(Signal::KILL, worker);
        }
        phase("kills", &[5; 20], &["worker-crashed", "ok"]);
    }
    for worker in workers_of(&host) {
        send(Signal::STOP, worker);
    }
    phase("stops", &[5, 5], &["timeout", "ok"]);
    drop(stdin);
    assert_eq!(host.wait().unwrap().code(), Some(1));
}

#[test]
fn a_worker_that_gets_no_memory_is_short_of_memory_and_nothing_else() {
    let arena = Arena::new();
    arena.write("hungry.wat", HUNGRY);
    let line = ["run", "hungry.wat", "--imap", "-", "-j1", "--output", "records", "-q"];
    let mut host = arena.0.command(&line).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = host.stdin.take().unwrap();
    let mut out = BufReader::new(host.stdout.take().unwrap());
    for round in 0..30 {
        writeln!(stdin, "{round}").unwrap();
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let record: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(record["kind"], if round == 0 { "ok" } else { "out-of-memory" }, "{record}");
        if round == 0 {
            workers_of(&host).into_iter().for_each(starve);
        }
    }
    drop(stdin);
    assert_eq!(host.wait().unwrap().code(), Some(1));
}
