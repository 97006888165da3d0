//! `close`, `terminate`, `join`, drop; many threads, many pools.

use std::time::{Duration, Instant};

use wpool::{AsyncResult, CallError, Error, Kind, Module, Pool};

use super::{LONG, TASKS, builder, is_alive, pool, soon, warm};

fn closed<T: std::fmt::Debug>(result: Result<T, CallError>) {
    assert!(matches!(result, Err(CallError::Closed)), "{result:?}");
}

#[test]
fn after_close_nothing_is_taken_and_what_was_begun_ends() {
    let pool = pool(2);
    let begun: AsyncResult<Vec<u64>> = pool.map_async("sleep", [50; 6]).expect("call");
    pool.close();
    closed(pool.apply::<u64>("square", 1));
    closed(pool.apply_async::<u64>("square", 1));
    closed(pool.try_apply_async::<u64>("square", 1));
    closed(pool.map::<u64, _>("square", [1]));
    closed(pool.map_async::<u64, _>("square", [1]));
    closed(pool.imap::<u64, _>("square", [1]));
    closed(pool.imap_unordered::<u64, _>("square", [1]));
    closed(pool.outcomes("square", [1]));
    assert_eq!(begun.get().expect("naps").len(), 6);
    pool.join().expect("closed");
    assert!(pool.worker_pids().is_empty());
    pool.join().expect("once more");
}

#[test]
fn join_waits_for_all_and_only_after_close() {
    let pool = pool(2);
    assert!(matches!(pool.join(), Err(CallError::Running)));
    let calls: Vec<AsyncResult<u64>> = (0..4).map(|_| pool.apply_async("sleep", 60).expect("call")).collect();
    let workers = pool.worker_pids();
    pool.close();
    pool.join().expect("closed");
    assert!(calls.iter().all(AsyncResult::ready));
    assert!(!workers.into_iter().any(is_alive));
}

#[test]
fn join_reads_ahead_where_nobody_reads() {
    let pool = pool(2);
    let squares = pool.imap::<u64, _>("square", 0..20_000_u64).expect("call");
    pool.close();
    pool.join().expect("closed");
    let squares: Result<Vec<u64>, CallError> = squares.collect();
    assert!(squares.expect("squares").into_iter().eq((0..20_000).map(|n| n * n)));
}

#[test]
fn terminate_ends_at_once_and_what_is_pending_is_cancelled() {
    let pool = pool(2);
    let calls: Vec<AsyncResult<u64>> = (0..8).map(|_| pool.apply_async("spin", 7).expect("call")).collect();
    let many: AsyncResult<Vec<u64>> = pool.map_async("spin", std::iter::repeat_n(7, 100)).expect("call");
    let mut stream = pool.imap::<u64, _>("spin", std::iter::repeat(7)).expect("call");
    let workers = pool.worker_pids();
    pool.terminate();
    assert!(!workers.into_iter().any(is_alive));
    for call in calls {
        assert_eq!(call.get_timeout(LONG).expect_err("cancelled").kind(), Some(Kind::Cancelled));
    }
    assert_eq!(many.get_timeout(LONG).expect_err("cancelled").kind(), Some(Kind::Cancelled));
    while let Some(next) = stream.next_timeout(LONG) {
        assert_eq!(next.expect_err("cancelled").kind(), Some(Kind::Cancelled));
    }
    closed(pool.apply::<u64>("square", 1));
    pool.join().expect("terminated");
}

#[test]
fn terminate_does_not_wait_for_an_input_that_blocks() {
    let pool = pool(1);
    let (sender, source) = std::sync::mpsc::channel::<u64>();
    let many: AsyncResult<Vec<u64>> = pool.map_async("square", source).expect("call");
    sender.send(1).expect("a feeder");
    soon("the first is run", || pool.stats().tasks == 1);
    pool.terminate();
    // One value of an unknown number is no list of them all.
    assert_eq!(many.get_timeout(LONG).expect_err("cut short").kind(), Some(Kind::Cancelled));
    pool.join().expect("terminated");
    drop(sender);
}

#[test]
fn a_map_of_an_endless_input_ends_with_the_pool() {
    let pool = pool(2);
    let ended = std::thread::scope(|scope| {
        let map = scope.spawn(|| pool.map::<u64, _>("spin", std::iter::repeat(7)));
        soon("it runs", || map.is_finished() || pool.stats().pending > 0);
        pool.terminate();
        map.join().expect("it makes no room for all that may come")
    });
    assert_eq!(ended.expect_err("cancelled").kind(), Some(Kind::Cancelled));
}

#[test]
fn every_item_of_a_terminated_stream_ends_in_one_outcome() {
    let pool = pool(2);
    let kinds = |outcomes: wpool::Outcomes| -> Vec<(u64, Kind)> {
        outcomes.map(|outcome| (outcome.index, outcome.kind())).collect()
    };
    // The input says how many it has; most were not pulled.
    let mut known = pool.outcomes("spin", (0..100_u64).map(|n| if n < 3 { n } else { 7 })).expect("call");
    let first: Vec<u64> = known.by_ref().take(3).map(|outcome| outcome.index).collect();
    assert_eq!(first, [0, 1, 2]);
    // This one does not. Not before: its items would have the workers.
    let endless = pool.outcomes("spin", std::iter::repeat(7)).expect("call");
    pool.terminate();
    assert_eq!(kinds(known), (3..100).map(|index| (index, Kind::Cancelled)).collect::<Vec<_>>());
    let endless = kinds(endless);
    let numbered: Vec<_> = (0..endless.len() as u64).map(|index| (index, Kind::Cancelled)).collect();
    assert_eq!(endless, numbered);
    assert!(!endless.is_empty(), "one stands for what was not pulled");
    // The same where only the call is ended; what has ended adds nothing.
    let pool = super::pool(2);
    let stopped = pool.outcomes("spin", [7; 50]).expect("call");
    stopped.cancel();
    assert_eq!(kinds(stopped).len(), 50);
    let mut whole = pool.outcomes("square", [1, 2, 3]).expect("call");
    assert_eq!(whole.by_ref().take(3).count(), 3);
    pool.terminate();
    assert!(whole.next().is_none());
}

#[test]
fn dropping_the_last_clone_terminates() {
    let pool = pool(2);
    let call: AsyncResult<u64> = pool.apply_async("spin", 7).expect("call");
    let clone = pool.clone();
    drop(pool);
    assert_eq!(clone.apply::<u64>("square", 3).expect("a clone is the pool"), 9);
    let workers = clone.worker_pids();
    drop(clone);
    assert!(!workers.into_iter().any(is_alive));
    assert_eq!(call.get_timeout(LONG).expect_err("cancelled").kind(), Some(Kind::Cancelled));
}

#[test]
fn shutdown_gives_grace_then_ends() {
    let pool = warm(2);
    let before = pool.stats().tasks;
    let short: AsyncResult<u64> = pool.apply_async("sleep", 50).expect("call");
    let hung: AsyncResult<u64> = pool.apply_async("spin", 7).expect("call");
    let started = Instant::now();
    let stats = pool.shutdown(Duration::from_secs(2));
    assert!(started.elapsed() >= Duration::from_secs(2) && started.elapsed() < LONG);
    assert_eq!(short.get().expect("in grace"), 50);
    assert_eq!(hung.get().expect_err("cancelled").kind(), Some(Kind::Cancelled));
    assert_eq!((stats.tasks - before, stats.workers_alive, stats.pending), (1, 0, 0), "{stats:?}");
    let idle = super::pool(1);
    let started = Instant::now();
    idle.shutdown(LONG);
    assert!(started.elapsed() < LONG / 2, "nothing to wait for");
}

#[test]
fn stats_are_there_at_any_time() {
    let pool = pool(2);
    assert_eq!(pool.apply::<u64>("square", 3).expect("square"), 9);
    let hung: AsyncResult<u64> = pool.apply_async("spin", 7).expect("call");
    let stats = pool.stats();
    assert_eq!((stats.processes, stats.tasks, stats.pending, stats.workers_died), (2, 1, 1, 0), "{stats:?}");
    assert!(stats.workers_started >= 1 && stats.workers_alive >= 1);
    hung.cancel();
    assert_eq!(pool.stats().pending, 0);
}

#[test]
fn several_pools_work_at_once_on_many_threads() {
    let pools = [pool(1), pool(2)];
    std::thread::scope(|scope| {
        for thread in 0..6_u64 {
            let pool = pools[thread as usize % 2].clone();
            scope.spawn(move || {
                for n in 0..50 {
                    assert_eq!(pool.apply::<u64>("add", (thread, n)).expect("sum"), thread + n);
                }
                let list: Vec<u64> = pool.map("square", 0..500_u64).expect("squares");
                assert!(list.into_iter().eq((0..500).map(|n| n * n)));
            });
        }
    });
}

#[test]
fn a_refused_module_is_the_builders_error() {
    let import = r#"(module (import "nowhere" "f" (func)) (func (export "run") (param i64)))"#;
    let error = builder(import).processes(1).build().expect_err("an unknown import");
    assert!(matches!(&error, Error::Module(text) if text.contains("unknown import")), "{error}");
    let stubbed = builder(import).processes(1).stub_imports().build().expect("stubbed");
    assert_eq!(stubbed.apply::<()>("run", 1).expect("never called"), ());
    let error = builder("(module)").processes(1).build().expect_err("nothing to call");
    assert!(error.to_string().contains("exports no function"), "{error}");
    let worker = Pool::builder(Module::from_bytes("t", TASKS).expect("module")).worker("/no/such/program").no_cache();
    assert!(worker.build().is_err());
}
