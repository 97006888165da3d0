//! Limits of one call, which only tighten the pool's.

use wpool::limits::{Isolation, MIB};
use wpool::outcome::Kind;
use wpool::{CallError, CallOptions, Limits, Pool};

use super::{builder, fixture};

/// `run` loops so often, `take` grows its memory by so many pages and gives
/// its size.
const HUNGRY: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "run") (param $n i64) (result i64) (local $left i64)
    (local.set $left (local.get $n))
    (block $done (loop $again
      (br_if $done (i64.eqz (local.get $left)))
      (local.set $left (i64.sub (local.get $left) (i64.const 1)))
      (br $again)))
    (local.get $n))
  (func (export "take") (param $pages i64) (result i64)
    (if (i32.eq (memory.grow (i32.wrap_i64 (local.get $pages))) (i32.const -1)) (then unreachable))
    (i64.extend_i32_u (memory.size))))"#;

fn pool(wat: &str, isolation: Isolation, fuel: Option<u64>) -> Pool {
    let limits = Limits { fuel, memory: 4 * MIB, ..Limits::default() };
    builder(wat).processes(1).isolation(isolation).limits(limits).build().expect("pool")
}

/// The kind of a failure, its limit's value and flag.
#[track_caller]
fn hit<T: std::fmt::Debug>(result: Result<T, CallError>) -> (Kind, u64, String) {
    let Err(CallError::Task(error)) = result else { panic!("{result:?}") };
    let limit = error.detail.limit.clone().expect("a limit");
    (error.kind, limit.value, limit.flag)
}

#[test]
fn fuel_and_memory_of_a_call_are_those_of_its_tasks_only() {
    for isolation in [Isolation::Fresh, Isolation::Reuse] {
        let pool = pool(HUNGRY, isolation, Some(1_000_000));
        let short = || CallOptions::new("run").fuel(1_000);
        let small = || CallOptions::new("take").memory(2 * MIB);
        let fuel = (Kind::OutOfFuel, 1_000, "--fuel".to_owned());
        let memory = (Kind::OutOfMemory, 2 * MIB, "--memory".to_owned());
        assert_eq!(hit(pool.apply::<i64>(short(), 1_000)), fuel);
        assert_eq!(pool.apply::<i64>("run", 1_000).expect("the pool's fuel"), 1_000);
        assert_eq!(pool.apply::<i64>(short(), 10).expect("enough"), 10);
        assert_eq!(hit(pool.apply_async::<i64>(short(), 1_000).expect("a call").get()), fuel);
        assert_eq!(hit(pool.map::<i64, _>(short(), [1, 1_000, 2])), fuel);
        assert_eq!(hit(pool.apply::<i64>(small(), 40)), memory);
        assert_eq!(pool.apply::<i64>("take", 40).expect("the pool's memory"), 41);
        assert_eq!(hit(pool.map::<i64, _>(small(), [40])), memory);
    }
}

#[test]
fn every_item_of_a_map_has_the_limits_however_it_travels() {
    let pool = pool(HUNGRY, Isolation::Fresh, Some(1_000_000));
    // Short tasks first, so that items travel together.
    pool.map::<i64, _>("run", vec![1; 5_000]).expect("short ones");
    let items: Vec<i64> = (0..5_000).map(|n| if n % 100 == 99 { 1_000 } else { n % 7 }).collect();
    for options in
        [CallOptions::new("run"), CallOptions::new("run").chunksize(50), CallOptions::new("run").chunksize(1)]
    {
        let outcomes = pool.outcomes(options.fuel(2_000).window(10_000), items.clone()).expect("a call");
        let failed: Vec<u64> = outcomes.filter(|outcome| outcome.kind() == Kind::OutOfFuel).map(|o| o.index).collect();
        assert_eq!(failed, (0..50).map(|n| n * 100 + 99).collect::<Vec<u64>>());
    }
}

#[test]
fn a_call_cannot_have_more_than_the_pool() {
    let pool = pool(HUNGRY, Isolation::Fresh, Some(1_000));
    let generous = || CallOptions::default().fuel(u64::MAX).memory(u64::MAX);
    assert_eq!(hit(pool.apply::<i64>(generous(), 1_000)), (Kind::OutOfFuel, 1_000, "--fuel".to_owned()));
    let more = CallOptions::new("take").memory(64 * MIB);
    assert_eq!(hit(pool.apply::<i64>(more, 100)), (Kind::OutOfMemory, 4 * MIB, "--memory".to_owned()));
}

#[test]
fn limits_of_a_call_that_mean_nothing_are_wrong_usage() {
    let uncounted = pool(HUNGRY, Isolation::Fresh, None);
    let usage = |call: CallOptions<'_>, word: &str| match uncounted.apply::<i64>(call, 1) {
        Err(CallError::Usage(text)) => assert!(text.contains(word), "{text}"),
        other => panic!("{other:?}"),
    };
    usage(CallOptions::new("run").fuel(10), "counts no instructions");
    usage(CallOptions::new("run").fuel(0), "fuel is 0");
    usage(CallOptions::new("run").memory(0), "memory is 0");
    assert!(matches!(uncounted.map::<i64, _>(CallOptions::new("run").fuel(1), [1]), Err(CallError::Usage(_))));
    // Less than the module begins with.
    let (kind, value, _) = hit(uncounted.apply::<i64>(CallOptions::new("run").memory(1), 1));
    assert_eq!((kind, value), (Kind::OutOfMemory, 1));
    uncounted.close();
    uncounted.join().expect("nothing is pending");
}

#[test]
fn components_have_the_limits_of_their_call() {
    let pool = pool(&fixture("component.wat"), Isolation::Fresh, Some(1_000_000));
    assert_eq!(hit(pool.apply::<i64>(CallOptions::new("add").fuel(1), (1, 2))).0, Kind::OutOfFuel);
    assert_eq!(
        hit(pool.apply::<String>(CallOptions::new("run").memory(MIB), "x".repeat(2 << 20))).0,
        Kind::OutOfMemory
    );
    assert_eq!(pool.apply::<i64>("add", (1, 2)).expect("a sum"), 3);
}
