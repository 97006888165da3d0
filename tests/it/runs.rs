//! Runs of small items, lone items, and typed maps through the library, with
//! real worker processes.

use std::num::{NonZeroU64, NonZeroUsize};
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

/// Squares a number; on the way some print, some grow the memory, some are
/// refused that, some trap and some take long.
const UNEVEN: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\08\00\00\00\02\00\00\00!\n")
    (func $is (param $n i64) (param $every i64) (param $rest i64) (result i32)
      (i64.eq (i64.rem_u (local.get $n) (local.get $every)) (local.get $rest)))
    (func (export "run") (param $n i64) (result i64) (local $left i64)
      (if (call $is (local.get $n) (i64.const 101) (i64.const 5))
        (then (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 16)))))
      (if (call $is (local.get $n) (i64.const 499) (i64.const 7)) (then (drop (memory.grow (i32.const 1)))))
      (if (call $is (local.get $n) (i64.const 997) (i64.const 8)) (then (drop (memory.grow (i32.const 60000)))))
      (if (call $is (local.get $n) (i64.const 1009) (i64.const 9)) (then (unreachable)))
      (if (call $is (local.get $n) (i64.const 1511) (i64.const 10))
        (then (local.set $left (i64.const 2000000))
          (loop $again
            (local.set $left (i64.sub (local.get $left) (i64.const 1)))
            (br_if $again (i64.ne (local.get $left) (i64.const 0))))))
      (i64.mul (local.get $n) (local.get $n))))"#;

#[test]
fn what_is_not_plain_within_a_run_is_reported_with_its_own_item() {
    let pool = pool(1, work(UNEVEN, reused()));
    for options in [chunks(0), chunks(1), chunks(5_000)] {
        let (mut memory, mut count) = (64 << 10, 0);
        for (index, outcome) in (0..).zip(pool.outcomes(numbers(20_000), options).expect("job")) {
            assert_eq!((outcome.index, outcome.attempts), (index, 1));
            let stderr: &[u8] = if index % 101 == 5 { b"!\n" } else { b"" };
            assert_eq!(&outcome.captured.stderr[..], stderr, "{outcome:?}");
            if index % 1009 == 9 {
                assert_eq!(outcome.kind(), Kind::Trap, "{outcome:?}");
                let failure = outcome.result.as_ref().expect_err("a trap");
                assert_eq!(failure.detail.trap.as_deref(), Some("unreachable"), "{failure:?}");
                // The next one finds an instance of its own.
                memory = 64 << 10;
            } else {
                assert_eq!(text(&outcome), (index * index).to_string());
                memory = outcome.usage.peak_memory.max(memory);
            }
            if index % 499 == 7 {
                assert!(outcome.usage.peak_memory >= 128 << 10, "{outcome:?}");
            }
            if outcome.result.is_ok() {
                assert!(outcome.usage.peak_memory >= 64 << 10 && outcome.usage.peak_memory <= memory, "{outcome:?}");
            }
            assert!(outcome.usage.cpu <= outcome.usage.wall, "{outcome:?}");
            count += 1;
        }
        assert_eq!(count, 20_000);
    }
    assert_eq!(pool.stats().workers_died, 0);
}

#[test]
fn each_item_of_a_run_has_a_clock_of_its_own() {
    // About 10 µs each, so that a run takes several times the limit.
    const SHORT: &str = r#"(module (func (export "run") (param $n i64) (result i64) (local $left i64)
        (local.set $left (i64.const 20000))
        (loop $again
          (local.set $left (i64.sub (local.get $left) (i64.const 1)))
          (br_if $again (i64.ne (local.get $left) (i64.const 0))))
        (local.get $n)))"#;
    let mut task = reused();
    task.limits.timeout = Some(Duration::from_millis(400));
    let pool = pool(1, work(SHORT, task));
    let values: Vec<u64> = pool.map(0..100_000_u64, chunks(100_000)).expect("none is late");
    assert!(values.into_iter().eq(0..100_000));
    assert_eq!(pool.stats().workers_died, 0);
}

#[test]
fn results_before_an_item_that_hangs_do_not_wait_for_its_end() {
    let mut task = reused();
    task.limits.timeout = None;
    let pool = pool(1, work(HANG, task));
    // The worker knows the function, and so keeps an instance.
    assert_eq!(pool.map::<_, u64, _>(8..2_000_u64, chunks(0)).expect("values").len(), 1_992);
    let hanging =
        (0..500).map(|index| item(index, if index == 300 { "7".to_owned() } else { (index + 8).to_string() }));
    let mut outcomes = pool.outcomes(hanging, chunks(500)).expect("job");
    for index in 0..300_u64 {
        let outcome = outcomes.next_timeout(Duration::from_secs(60)).expect("it does not wait").expect("an outcome");
        assert_eq!((outcome.index, text(&outcome)), (index, (index + 8).to_string()));
    }
    outcomes.cancel();
    assert!(outcomes.all(|outcome| outcome.kind() != Kind::Ok), "nothing goes on behind it");
}

#[test]
fn kills_lose_nothing_of_a_typed_map() {
    let pool = Arc::new(pool(2, work(SQUARE, reused())));
    let killer = Killer::of(&pool);
    let mut tried = 0;
    while tried < 5 || killer.kills.load(Ordering::Relaxed) < 4 {
        tried += 1;
        match pool
            .map::<_, i64, _>((-60_000..60_000_i64).collect::<Vec<_>>(), chunks(if tried % 2 == 0 { 0 } else { 700 }))
        {
            Ok(squares) => assert!(squares.into_iter().eq((-60_000..60_000).map(|n| n * n))),
            Err(MapError::Item(outcome)) => {
                assert_eq!((outcome.kind(), outcome.attempts), (Kind::WorkerCrashed, 2), "{outcome:?}");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn integers_of_typed_maps_are_those_of_their_json() {
    const BACK: &str = r#"(module (func (export "run") (param i64) (result i64) (local.get 0)))"#;
    const NARROW: &str = r#"(module (func (export "run") (param i32) (result i32) (local.get 0)))"#;
    for isolation in [Isolation::Fresh, Isolation::Reuse] {
        let spec = || TaskSpec { isolation, ..core() };
        let wide = pool(1, work(BACK, spec()));
        let edges = [i64::MIN, i64::MIN + 1, -9_999_999_999_999_999, -1, 0, 1, 99_999_999, 100_000_000, i64::MAX];
        let many: Vec<i64> = edges.into_iter().cycle().take(5_000).collect();
        for options in [chunks(0), chunks(1), chunks(100), chunks(0)] {
            assert_eq!(wide.map::<_, i64, _>(many.clone(), options).expect("integers"), many);
            let floats: Vec<f64> = wide.map((0..3_000_u64).collect::<Vec<_>>(), options).expect("numbers");
            assert!(floats.into_iter().eq((0..3_000).map(f64::from)));
            let some: Vec<Option<u32>> = wide.map(0..3_000_u32, options).expect("numbers");
            assert!(some.into_iter().eq((0..3_000).map(Some)));
            // The upper half of the unsigned ones: no number of the wire's own.
            let upper: Vec<i64> = wide.map(vec![1, u64::MAX - 1], options).expect("integers");
            assert_eq!(upper, [1, -2]);
            match wide.map::<_, u8, _>(0..3_000_i64, options) {
                Err(MapError::Value { index: 256, error }) => {
                    assert_eq!(error.to_string(), serde_json::from_str::<u8>("256").expect_err("wide").to_string());
                }
                other => panic!("{other:?}"),
            }
        }
        let narrow = pool(1, work(NARROW, spec()));
        assert_eq!(narrow.map::<_, i32, _>(0..5_000_i64, chunks(0)).expect("integers").len(), 5_000);
        for options in [chunks(0), chunks(1), chunks(100)] {
            let over: Vec<i64> = (0..2_000).map(|n| if n == 1_234 { 1 << 32 } else { -n }).collect();
            match narrow.map::<_, i32, _>(over, options) {
                Err(MapError::Item(outcome)) => assert_eq!((outcome.index, outcome.kind()), (1_234, Kind::BadInput)),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn an_input_at_hand_that_panics_fails_one_item_and_loses_none_before() {
    struct Odd(u64);

    impl serde::Serialize for Odd {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            assert!(self.0 != 1_500, "no more");
            serializer.serialize_u64(self.0)
        }
    }

    let pool = pool(2, work(SQUARE, reused()));
    assert_eq!(pool.map::<_, u64, _>(0..5_000_u64, chunks(0)).expect("squares").len(), 5_000);
    for options in [chunks(0), chunks(1), chunks(100), chunks(5_000)] {
        let items: Vec<Odd> = (0..3_000).map(Odd).collect();
        match pool.map::<_, u64, _>(items, options) {
            Err(MapError::Item(outcome)) => {
                assert_eq!((outcome.index, outcome.kind()), (1_500, Kind::BadInput), "{outcome:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_worker_gets_no_more_of_a_typed_map_than_its_share() {
    let options = wpool::pool::PoolOptions { max_tasks_per_child: NonZeroU64::new(300), ..crate::support::options(2) };
    let pool = Pool::start(work(SQUARE, reused()), options).expect("pool");
    let squares: Vec<u64> = pool.map(0..5_000_u64, chunks(0)).expect("squares");
    assert!(squares.into_iter().eq((0..5_000).map(|n| n * n)));
    let stats = pool.stats();
    assert!(stats.workers_started >= 16 && stats.workers_died == 0, "{stats:?}");
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
