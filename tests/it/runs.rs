//! Runs of small items, lone items, and typed maps through the library, with
//! real worker processes.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wpool::limits::Isolation;
use wpool::outcome::{Kind, Outcome};
use wpool::pool::{Chunksize, MapError, MapOptions, Pool};
use wpool::wire::message::{Abi, TaskSpec};

use crate::support::{item, numbers, pool, spec, work};

/// Traps on every 7th number, spins on every 1000th, gives the others back.
const MIXED: &str = r#"(module (func (export "run") (param $n i64) (result i64) (local $left i64)
    (if (i64.eqz (i64.rem_u (local.get $n) (i64.const 7))) (then unreachable))
    (if (i64.eqz (i64.rem_u (local.get $n) (i64.const 1000)))
      (then (local.set $left (i64.const 2000000))
        (loop $again
          (local.set $left (i64.sub (local.get $left) (i64.const 1)))
          (br_if $again (i64.ne (local.get $left) (i64.const 0))))))
    (local.get $n)))"#;

const SQUARE: &str = r#"(module (func (export "run") (param i64) (result i64) (i64.mul (local.get 0) (local.get 0))))"#;

/// Loops for ever on 7.
const HANG: &str = r#"(module (func (export "run") (param i64) (result i64)
    (loop $again (br_if $again (i64.eq (local.get 0) (i64.const 7))))
    (local.get 0)))"#;

fn core() -> TaskSpec {
    spec(Abi::Core, "run")
}

fn reused() -> TaskSpec {
    TaskSpec { isolation: Isolation::Reuse, ..core() }
}

fn chunks(items: usize) -> MapOptions {
    MapOptions {
        chunksize: NonZeroUsize::new(items).map_or(Chunksize::Auto, Chunksize::Fixed),
        ..MapOptions::default()
    }
}

fn text(outcome: &Outcome) -> String {
    String::from_utf8_lossy(&outcome.result.as_ref().expect("ok").bytes).into_owned()
}

#[track_caller]
fn check(index: u64, outcome: &Outcome) {
    assert_eq!(outcome.index, index);
    assert!(outcome.attempts >= 1 && outcome.worker.is_some() && outcome.started.is_some(), "{outcome:?}");
    if index.is_multiple_of(7) {
        assert_eq!(outcome.kind(), Kind::Trap, "{outcome:?}");
    } else {
        assert_eq!(text(outcome), index.to_string());
    }
}

#[test]
fn failures_and_long_items_within_runs_are_their_own() {
    for spec in [core(), reused()] {
        let pool = pool(2, work(MIXED, spec));
        for options in [chunks(0), chunks(1), chunks(7), chunks(5_000)] {
            let mut count = 0;
            for (index, outcome) in (0..).zip(pool.outcomes(numbers(20_000), options).expect("job")) {
                check(index, &outcome);
                count += 1;
            }
            assert_eq!(count, 20_000);
        }
        assert_eq!(pool.stats().workers_died, 0, "a run that is taken apart is no lie");
    }
}

#[test]
fn a_long_item_costs_no_worker_though_others_are_taken_back() {
    // 200 ms for one of them.
    const LONG: &str = r#"(module (func (export "run") (param $n i64) (result i64) (local $left i64)
        (local.set $left (select (i64.const 300000000) (i64.const 1) (i64.eq (local.get $n) (i64.const 50))))
        (loop $again
          (local.set $left (i64.sub (local.get $left) (i64.const 1)))
          (br_if $again (i64.ne (local.get $left) (i64.const 0))))
        (local.get $n)))"#;
    let pool = pool(2, work(LONG, core()));
    for options in [chunks(0), chunks(1), chunks(0), chunks(1), chunks(0), chunks(1)] {
        // Dropped before it says that there is no more, the job is ended.
        let values = pool.outcomes(numbers(5_000), options).expect("job").take(5_000);
        assert!(values.map(|outcome| text(&outcome)).eq((0..5_000).map(|n: u64| n.to_string())));
    }
    assert_eq!(pool.stats().workers_died, 0);
}

/// Kills a worker every few milliseconds until it is dropped.
struct Killer {
    stop: Arc<AtomicBool>,
    kills: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Killer {
    fn of(pool: &Arc<Pool>) -> Self {
        let (stop, kills) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (pool, stopped, killed) = (Arc::clone(pool), Arc::clone(&stop), Arc::clone(&kills));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for pid in pool.worker_pids().into_iter().filter_map(rustix::process::Pid::from_raw) {
                    let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                    killed.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(15));
            }
        });
        Self { stop, kills, thread: Some(thread) }
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("one thread").join().expect("killer");
    }
}

#[test]
fn kills_lose_nothing_of_a_run_but_items_hit_twice() {
    let pool = Arc::new(pool(2, work(MIXED, core())));
    let killer = Killer::of(&pool);
    for options in [chunks(1), chunks(16), chunks(1_000), chunks(0)] {
        let (mut next, mut lost) = (0, 0);
        for outcome in pool.outcomes(numbers(60_000), options).expect("job") {
            match outcome.kind() {
                Kind::WorkerCrashed => {
                    assert_eq!((outcome.index, outcome.attempts), (next, 2), "{outcome:?}");
                    lost += 1;
                }
                _ => check(next, &outcome),
            }
            next += 1;
        }
        assert_eq!(next, 60_000);
        assert!(lost * 2 <= killer.kills.load(Ordering::Relaxed), "{lost} items lost");
    }
    assert!(killer.kills.load(Ordering::Relaxed) > 3, "the test must kill");
}

#[test]
fn an_item_that_hangs_within_a_run_is_the_only_one_late() {
    let mut task = core();
    task.limits.timeout = Some(Duration::from_millis(200));
    let pool = pool(2, work(HANG, task));
    for options in [chunks(1), chunks(100)] {
        let outcomes: Vec<Outcome> = pool.outcomes(numbers(3_000), options).expect("job").collect();
        assert_eq!(outcomes.len(), 3_000);
        for (index, outcome) in (0..).zip(&outcomes) {
            assert_eq!(outcome.kind(), if index == 7 { Kind::Timeout } else { Kind::Ok }, "{outcome:?}");
        }
    }
}

#[test]
fn a_slow_source_is_not_held_back_by_a_chunk() {
    let pool = pool(2, work(SQUARE, core()));
    // Tasks are known to be short: automatic chunks are large now.
    assert_eq!(pool.outcomes(numbers(5_000), chunks(0)).expect("job").count(), 5_000);
    for options in [chunks(0), chunks(100)] {
        let (sender, source) = std::sync::mpsc::channel();
        let items = (0..).zip(source).map(|(index, number): (u64, u64)| item(index, number.to_string()));
        let mut outcomes = pool.outcomes(items, options).expect("job");
        for number in 0..5 {
            sender.send(number).expect("a feeder");
            let outcome = outcomes.next_timeout(Duration::from_secs(5)).expect("in time").expect("an outcome");
            assert_eq!(text(&outcome), (number * number).to_string());
        }
        drop(sender);
        assert!(outcomes.next().is_none());
    }
}

#[test]
fn a_typed_map_gives_values_in_order() {
    let pool = pool(2, work(SQUARE, reused()));
    for options in [chunks(0), chunks(1), chunks(2_500)] {
        let squares: Vec<i64> = pool.map(-5_000..5_000_i64, options).expect("squares");
        assert!(squares.into_iter().eq((-5_000..5_000).map(|n| n * n)));
    }
    let none: Vec<i64> = pool.map(std::iter::empty::<i64>(), chunks(0)).expect("nothing");
    assert!(none.is_empty());
}

#[test]
fn a_typed_map_names_the_first_item_that_fails() {
    let pool = pool(2, work(MIXED, core()));
    match pool.map::<_, i64, _>(1..100_000_i64, chunks(0)) {
        Err(MapError::Item(outcome)) => assert_eq!((outcome.index, outcome.kind()), (6, Kind::Trap)),
        other => panic!("{other:?}"),
    }
    match pool.map::<_, bool, _>(1..3_i64, chunks(0)) {
        Err(MapError::Value { index: 0, .. }) => {}
        other => panic!("{other:?}"),
    }
    match pool.map::<_, i64, _>([Some(1_i64), None], chunks(0)) {
        Err(MapError::Item(outcome)) => assert_eq!((outcome.index, outcome.kind()), (1, Kind::BadInput)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn lone_items_have_every_outcome_from_many_threads_beside_a_job() {
    let mut task = core();
    task.limits.timeout = Some(Duration::from_millis(300));
    let pool = pool(2, work(HANG, task));
    let started = Instant::now();
    std::thread::scope(|scope| {
        let job = scope.spawn(|| pool.outcomes(numbers(5_000).skip(8), chunks(1)).expect("job").count());
        for thread in 0..4_u64 {
            let pool = &pool;
            scope.spawn(move || {
                for index in 0..200 {
                    let number = 1_000 * thread + index + 8;
                    let outcome = pool.apply(item(index, number.to_string()), 0).expect("an outcome");
                    assert_eq!((outcome.index, text(&outcome)), (index, number.to_string()));
                }
            });
        }
        assert_eq!(job.join().expect("job"), 4_992);
    });
    let late = pool.apply(item(3, "7"), 0).expect("an outcome");
    assert_eq!((late.index, late.kind()), (3, Kind::Timeout));
    assert_eq!(pool.apply(item(0, "\"x\""), 0).expect("an outcome").kind(), Kind::BadInput);
    assert_eq!(text(&pool.apply(item(0, "5"), 0).expect("an outcome")), "5", "the pool goes on");
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn kills_reach_lone_items_as_they_reach_others() {
    let pool = Arc::new(pool(2, work(MIXED, core())));
    let _killer = Killer::of(&pool);
    for index in 0..400 {
        let outcome = pool.apply(item(index, "1000"), 0).expect("an outcome");
        match outcome.kind() {
            Kind::WorkerCrashed => assert_eq!(outcome.attempts, 2),
            _ => assert_eq!(text(&outcome), "1000"),
        }
    }
}
