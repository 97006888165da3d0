//! The pool engine through the library, with real worker processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wpool::limits::Isolation;
use wpool::outcome::{Kind, Outcome};
use wpool::pool::item::Body;
use wpool::pool::{Chunksize, MapOptions, Pool};
use wpool::wire::message::{Abi, Encode, ItemForm, ResultAs};

use crate::support::{child_processes, item, numbers, options, pool, spec, work};

const SQUARE: &str = r#"(module (func (export "run") (param i64) (result i64) (i64.mul (local.get 0) (local.get 0))))"#;

/// Traps on every 7th number.
const SEVENTH: &str = r#"(module (func (export "run") (param i64) (result i64)
    (if (i64.eqz (i64.rem_u (local.get 0) (i64.const 7))) (then unreachable))
    (local.get 0)))"#;

/// Counts down from its argument: about a nanosecond a step.
const SPIN: &str = r#"(module (func (export "run") (param $left i64) (result i64) (local $done i64)
    (loop $again
      (local.set $done (i64.add (local.get $done) (i64.const 1)))
      (br_if $again (i64.lt_u (local.get $done) (local.get $left))))
    (local.get $done)))"#;

/// Gives its bytes back.
const ECHO: &str = r#"(module (memory (export "memory") 1) (global $next (mut i32) (i32.const 1024))
    (func (export "alloc") (param $length i32) (result i32) (local $at i32) (local $need i32)
      (local.set $at (global.get $next))
      (global.set $next (i32.add (local.get $at) (local.get $length)))
      (local.set $need (i32.sub
        (i32.shr_u (i32.add (global.get $next) (i32.const 65535)) (i32.const 16)) (memory.size)))
      (if (i32.gt_s (local.get $need) (i32.const 0))
        (then (if (i32.lt_s (memory.grow (local.get $need)) (i32.const 0)) (then unreachable))))
      (local.get $at))
    (func (export "run") (param $at i32) (param $length i32) (result i64)
      (i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32)) (i64.extend_i32_u (local.get $length)))))"#;

fn text(outcome: &Outcome) -> String {
    String::from_utf8_lossy(&outcome.result.as_ref().expect("ok").bytes).into_owned()
}

fn chunks(items: usize) -> MapOptions {
    MapOptions { chunksize: Chunksize::Fixed(items.try_into().expect("not zero")), ..MapOptions::default() }
}

#[test]
fn outcomes_come_in_input_order_whatever_the_chunksize() {
    let pool = pool(2, work(SQUARE, spec(Abi::Core, "run")));
    for options in [MapOptions::default(), chunks(1), chunks(3), chunks(1000)] {
        let values: Vec<String> =
            pool.outcomes(numbers(10_000), options).expect("job").map(|outcome| text(&outcome)).collect();
        let expected: Vec<String> = (0..10_000_u64).map(|index| (index * index).to_string()).collect();
        assert_eq!(values, expected);
    }
}

#[test]
fn an_empty_input_ends_at_once() {
    let pool = pool(1, work(SQUARE, spec(Abi::Core, "run")));
    assert_eq!(pool.outcomes(numbers(0), MapOptions::default()).expect("job").count(), 0);
}

#[test]
fn unordered_outcomes_are_each_there_once() {
    let pool = pool(2, work(SQUARE, spec(Abi::Core, "run")));
    let options = MapOptions { ordered: false, ..MapOptions::default() };
    let mut seen: Vec<u64> =
        pool.outcomes(numbers(5_000), options).expect("job").map(|outcome| outcome.index).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..5_000).collect::<Vec<_>>());
}

#[test]
fn a_trap_fails_only_its_item_and_names_its_frames() {
    let pool = pool(2, work(SEVENTH, spec(Abi::Core, "run")));
    for (index, outcome) in pool.outcomes(numbers(1_000), MapOptions::default()).expect("job").enumerate() {
        if index % 7 == 0 {
            let failure = outcome.result.expect_err("traps");
            assert_eq!(failure.kind, Kind::Trap);
            assert_eq!(failure.detail.trap.as_deref(), Some("unreachable"));
            assert_eq!(failure.detail.frames.len(), 1);
        } else {
            assert_eq!(text(&outcome), index.to_string());
        }
    }
    assert_eq!(pool.stats().workers_died, 0, "a trap leaves the worker alive");
}

#[test]
fn killed_workers_cost_only_items_hit_twice() {
    let pool = Arc::new(pool(2, work(SPIN, spec(Abi::Core, "run"))));
    let (stop, kills) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (stopped, killed) = (Arc::clone(&stop), Arc::clone(&kills));
    let pids = pool.worker_pids();
    assert!(!pids.is_empty());
    let victim = Arc::clone(&pool);
    let killer = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            // An item that is hit again while it is run alone is lost, and
            // only that: it says so.
            if let Some(pid) = victim.worker_pids().first().copied().and_then(rustix::process::Pid::from_raw) {
                let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                killed.fetch_add(1, Ordering::Relaxed);
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    });
    let count = 60_000_u64;
    let items = (0..count).map(|index| item(index, (20_000 + index % 7).to_string()));
    let (mut next, mut lost) = (0, 0);
    for outcome in pool.outcomes(items, MapOptions::default()).expect("job") {
        assert_eq!(outcome.index, next);
        if outcome.kind() == Kind::WorkerCrashed {
            assert_eq!(outcome.attempts, 2, "{outcome:?}");
            lost += 1;
        } else {
            assert_eq!(text(&outcome), (20_000 + next % 7).to_string());
        }
        next += 1;
    }
    stop.store(true, Ordering::Relaxed);
    killer.join().expect("killer");
    assert_eq!(next, count);
    let kills = kills.load(Ordering::Relaxed);
    assert!(kills > 3, "the test must kill");
    assert!(lost * 2 <= kills, "{lost} items lost by {kills} kills: each needs two");
    assert!(pool.stats().workers_died > 3);
}

#[test]
fn an_item_over_its_time_is_the_only_one_that_times_out() {
    let mut spec = spec(Abi::Core, "run");
    spec.limits.timeout = Some(Duration::from_millis(300));
    let pool = pool(2, work(SPIN, spec));
    let items =
        (0..200_u64).map(|index| item(index, if index == 50 { u64::MAX.to_string() } else { "1000".to_owned() }));
    let outcomes: Vec<Outcome> = pool.outcomes(items, MapOptions::default()).expect("job").collect();
    assert_eq!(outcomes.len(), 200);
    for outcome in outcomes {
        if outcome.index != 50 {
            assert_eq!(text(&outcome), "1000");
            continue;
        }
        assert_eq!(outcome.kind(), Kind::Timeout);
        let wall = outcome.usage.wall;
        assert!(wall >= Duration::from_millis(290) && wall < Duration::from_millis(600), "{wall:?}");
        let failure = outcome.result.expect_err("timeout");
        assert!(failure.message.contains("300ms") && failure.message.contains("--timeout"), "{}", failure.message);
    }
}

#[test]
fn nothing_waits_behind_a_long_item() {
    let pool = pool(2, work(SPIN, spec(Abi::Core, "run")));
    // Warm the window, so that the long item has others behind it.
    assert_eq!(pool.outcomes(numbers(500), MapOptions::default()).expect("job").count(), 500);
    let long = u64::MAX;
    let items = (0..2_000_u64).map(move |index| item(index, if index == 700 { long } else { 1_000 }.to_string()));
    let options = MapOptions { ordered: false, ..MapOptions::default() };
    let mut outcomes = pool.outcomes(items, options).expect("job");
    let started = Instant::now();
    for _other in 0..1_999 {
        let outcome = outcomes.next_timeout(Duration::from_secs(10)).expect("in time").expect("more");
        assert_ne!(outcome.index, 700);
    }
    assert!(started.elapsed() < Duration::from_secs(10));
    outcomes.cancel();
    let last = outcomes.next().expect("the long one");
    assert_eq!((last.index, last.kind()), (700, Kind::Cancelled));
    assert!(outcomes.next().is_none());
}

#[test]
fn large_items_both_ways_do_not_deadlock() {
    let mut spec = spec(Abi::Bytes, "run");
    spec.result = Some(ResultAs::Text);
    spec.limits.memory = 1 << 30;
    let pool = pool(2, work(ECHO, spec));
    let body = "x".repeat(16 << 20);
    let items = (0..8_u64).map(move |index| item(index, format!("\"{body}\"")));
    let options = MapOptions { window: 4.try_into().ok(), ..chunks(1) };
    let mut count = 0;
    for outcome in pool.outcomes(items, options).expect("job") {
        assert_eq!(outcome.result.expect("ok").bytes.len(), (16 << 20) + 2);
        count += 1;
    }
    assert_eq!(count, 8);
}

#[test]
fn items_of_any_size_come_back_whole_and_in_order() {
    const SIZES: [usize; 14] =
        [1, 16_383, 300, 16_384, 65_536, 0, 16_400, 4_096, 200_000, 65_500, 65_600, 1_500_000, 4_097, 40_000];
    // No two alike, nor any part of one.
    let body = |index: u64| -> Vec<u8> {
        let size = SIZES[index as usize % SIZES.len()] as u64;
        (0..size).map(|at| (at ^ (at >> 8) ^ (index * 37)) as u8).collect()
    };
    let mut spec = spec(Abi::Bytes, "run");
    (spec.result, spec.encode) = (Some(ResultAs::Bytes), Encode::Exact);
    let pool = pool(2, work(ECHO, spec));
    for (chunksize, ordered) in [(1, true), (5, true), (1, false)] {
        let items = (0..200_u64).map(move |index| {
            let mut item = item(index, "");
            item.body = Ok(Body { bytes: body(index).into(), form: ItemForm::Raw, path: None, connection: None });
            item
        });
        let mut seen: Vec<u64> = Vec::new();
        for outcome in pool.outcomes(items, MapOptions { ordered, ..chunks(chunksize) }).expect("job") {
            let value = outcome.result.expect("ok");
            assert!(value.bytes == body(outcome.index), "item {} of {} bytes", outcome.index, value.bytes.len());
            seen.push(outcome.index);
        }
        assert!(!ordered || seen.is_sorted());
        seen.sort_unstable();
        assert_eq!(seen, (0..200).collect::<Vec<_>>());
    }
}

#[test]
fn input_is_pulled_only_as_far_as_the_window() {
    let pool = pool(2, work(SQUARE, spec(Abi::Core, "run")));
    let pulled = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&pulled);
    let endless = (0_u64..).map(move |index| {
        count.fetch_add(1, Ordering::Relaxed);
        item(index, "3")
    });
    let options = MapOptions { window: 50.try_into().ok(), ..chunks(1) };
    let mut outcomes = pool.outcomes(endless, options).expect("job");
    for _item in 0..100 {
        assert_eq!(text(&outcomes.next().expect("endless")), "9");
    }
    std::thread::sleep(Duration::from_millis(100));
    assert!(pulled.load(Ordering::Relaxed) <= 150, "{pulled:?}");
    drop(outcomes);
    assert_eq!(pool.outcomes(numbers(10), MapOptions::default()).expect("job").count(), 10, "the pool goes on");
}

#[test]
fn a_stopped_job_ends_though_its_input_blocks() {
    let pool = pool(1, work(SQUARE, spec(Abi::Core, "run")));
    let (_keep, blocked) = std::sync::mpsc::channel::<()>();
    let items = (0_u64..).map(move |index| {
        if index == 5 {
            let _never = blocked.recv();
        }
        item(index, "2")
    });
    let mut outcomes = pool.outcomes(items, chunks(1)).expect("job");
    for _item in 0..5 {
        assert!(outcomes.next().is_some());
    }
    outcomes.stop();
    assert!(outcomes.next().is_none());
}

#[test]
fn workers_are_replaced_after_their_items() {
    let mut options = options(1);
    options.max_tasks_per_child = 10.try_into().ok();
    let pool = Pool::start(work(SQUARE, spec(Abi::Core, "run")), options).expect("pool");
    assert_eq!(pool.outcomes(numbers(100), MapOptions::default()).expect("job").count(), 100);
    let stats = pool.stats();
    assert!(stats.workers_started >= 10, "{stats:?}");
    assert_eq!(stats.workers_died, 0);
}

#[test]
fn isolation_process_gives_each_item_its_own_process() {
    let mut spec = spec(Abi::Core, "run");
    spec.isolation = Isolation::Process;
    let pool = pool(2, work(SQUARE, spec));
    assert_eq!(pool.outcomes(numbers(20), MapOptions::default()).expect("job").count(), 20);
    assert!(pool.stats().workers_started >= 20);
}

#[test]
fn ended_pools_leave_no_process() {
    for _round in 0..3 {
        let pool = pool(2, work(SPIN, spec(Abi::Core, "run")));
        let items = (0..50_u64).map(|index| item(index, if index == 30 { u64::MAX } else { 10 }.to_string()));
        let mut outcomes = pool.outcomes(items, MapOptions::default()).expect("job");
        assert!(outcomes.next().is_some());
        let pids = pool.worker_pids();
        drop(pool);
        assert!(outcomes.all(|outcome| outcome.kind() == Kind::Ok || outcome.kind() == Kind::Cancelled));
        assert!(child_processes().iter().all(|child| !pids.contains(child)), "workers outlive their pool");
    }
}

#[test]
fn a_worker_that_never_starts_breaks_the_pool_with_its_last_words() {
    let mut options = options(1);
    options.worker = "/bin/false".into();
    let pool = Pool::start(work(SQUARE, spec(Abi::Core, "run")), options).expect("pool");
    let error = pool.wait_ready().expect_err("cannot work");
    assert_eq!(error.exit_code(), 4);
    assert!(error.to_string().contains("workers keep dying"), "{error}");
    let kinds: Vec<Kind> =
        pool.outcomes(numbers(3), MapOptions::default()).expect("job").map(|outcome| outcome.kind()).collect();
    assert!(kinds.iter().all(|kind| *kind == Kind::Cancelled));
}
