//! What CPython is known to do badly: its programs hang, lose results or go on
//! for ever, which is told; ours do what docs/parity.md says, which is tested.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wpool::{AsyncResult, CallOptions, Error, Kind, Outcome, Pool};

use super::recorded;
use crate::command::Bench;
use crate::pool::{LONG, TASKS, builder, fixture, is_alive, pool, soon, warm};

fn kill(pids: &[i32]) {
    for pid in pids.iter().filter_map(|pid| rustix::process::Pid::from_raw(*pid)) {
        let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Whether a process does nothing but compute: its time grows with the clock's.
fn spins(pid: i32) -> bool {
    let ticks = || -> Option<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(')').next()?.split(' ').nth(12)?.parse().ok()
    };
    let Some(before) = ticks() else { return false };
    std::thread::sleep(Duration::from_millis(60));
    ticks().is_some_and(|after| after >= before + 2)
}

/// Kinds of outcomes, and the values of those that are ok.
fn kinds(outcomes: impl IntoIterator<Item = Outcome>) -> Vec<Kind> {
    outcomes.into_iter().map(|outcome| outcome.kind()).collect()
}

#[test]
fn a_killed_worker_costs_its_item_and_the_map_ends() {
    recorded("killed_worker", || {
        let pool = pool(2);
        let call = CallOptions::new("spin").chunksize(1).window(8);
        let outcomes = pool.outcomes(call, [0, 1, 2, 7, 4, 5, 6, 8]).expect("call");
        let ended = AtomicBool::new(false);
        let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
            scope.spawn(|| {
                soon("the others end", || pool.stats().tasks == 7);
                // The seventh hangs: whoever runs it dies, and dies again.
                while !ended.load(Ordering::Acquire) {
                    kill(&pool.worker_pids());
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
            let outcomes = outcomes.collect();
            ended.store(true, Ordering::Release);
            outcomes
        });
        let (ok, crashed) = (Kind::Ok, Kind::WorkerCrashed);
        let failure = outcomes[3].result.as_ref().expect_err("killed").clone();
        assert_eq!((failure.detail.signal, outcomes[3].attempts), (Some(9), 2), "{failure:?}");
        assert_eq!(kinds(outcomes), [ok, ok, ok, crashed, ok, ok, ok, ok]);
        assert_eq!(pool.map::<u64, _>("square", [1, 2, 3]).expect("the pool goes on"), [1, 4, 9]);
    });
}

#[test]
fn a_task_that_exits_costs_its_item_and_the_map_ends() {
    recorded("sys_exit", || {
        let pool = pool(2);
        let outcomes: Vec<Outcome> =
            pool.outcomes(CallOptions::new("leave").chunksize(1), 0..8_u64).expect("call").collect();
        let failure = outcomes[3].result.as_ref().expect_err("it left").clone();
        assert_eq!((failure.kind, failure.detail.code), (Kind::Exit, Some(7)), "{failure:?}");
        assert_eq!(outcomes.iter().filter(|outcome| outcome.kind() == Kind::Ok).count(), 7);
        let error = pool.map::<u64, _>("leave", 0..8_u64).expect_err("one left");
        assert_eq!(error.task().map(|task| task.index), Some(3));
    });
    let bench = Bench::new();
    std::fs::write(bench.path("tasks.wat"), TASKS).unwrap();
    let ran = bench.run(&["run", "tasks.wat", "--invoke", "leave", "--map", "[0,1,2,3,4]"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), "[0,1,4,null,16]\n"), "{ran:?}");
    assert!(ran.err.starts_with("error: item 3: exit"), "{ran:?}");
}

#[test]
fn workers_killed_while_idle_leave_nothing_locked() {
    recorded("killed_idle", || {
        let pool = warm(2);
        kill(&pool.worker_pids());
        let squares = pool.map::<u64, _>(CallOptions::new("square").chunksize(1), 0..8_u64);
        assert!(squares.expect("squares").into_iter().eq((0..8).map(|n| n * n)));
    });
}

#[test]
fn every_item_of_a_chunk_runs_and_has_its_own_outcome() {
    recorded("bad_in_chunk", || {
        let pool = pool(2);
        // Items 2 and 5 are even, and fail.
        let items = [1, 3, 2, 5, 7, 4, 9, 11];
        let four = || CallOptions::new("odd").chunksize(4);
        let (ok, trap) = (Kind::Ok, Kind::Trap);
        assert_eq!(kinds(pool.outcomes(four(), items).expect("call")), [ok, ok, trap, ok, ok, trap, ok, ok]);
        assert_eq!(pool.stats().tasks, 8);
        let values: Vec<Option<u64>> = pool.imap(four(), items).expect("call").map(Result::ok).collect();
        assert_eq!(values, [Some(1), Some(3), None, Some(5), Some(7), None, Some(9), Some(11)]);
    });
}

#[test]
fn an_error_knows_its_item() {
    recorded("which_item", || {
        let error = pool(2).map::<u64, _>("odd", [1, 3, 4, 5]).expect_err("4 is even");
        let task = error.task().expect("a task's");
        let known = (task.index, task.input.as_deref(), &*task.function, task.attempts, task.kind);
        assert_eq!(known, (2, Some(&b"4"[..]), "odd", 1, Kind::Trap));
        assert!(task.worker.is_some_and(|worker| worker < 2));
    });
}

#[test]
fn a_task_over_its_time_is_ended() {
    recorded("task_timeout", || {
        let pool = warm(1);
        let workers = pool.worker_pids();
        let call = CallOptions::new("spin").timeout(Duration::from_millis(100));
        let late: AsyncResult<u64> = pool.apply_async(call, 7).expect("call");
        assert_eq!(late.get_timeout(LONG).expect_err("it spins").kind(), Some(Kind::Timeout));
        soon("what ran is gone", || !workers.iter().any(|pid| is_alive(*pid)));
        assert_eq!(pool.apply::<u64>("square", 3).expect("the pool goes on"), 9);
    });
    let bench = Bench::new();
    let ran = bench.run(&["run", "square.wat", "--map", "[2,99,3]", "--timeout", "200ms"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), "[4,null,9]\n"), "{ran:?}");
}

#[test]
fn workers_are_recycled_after_items() {
    recorded("recycled", || {
        let pool = builder(TASKS).processes(1).max_tasks_per_child(1).build().expect("pool");
        let call = CallOptions::new("square").chunksize(3);
        assert_eq!(pool.map::<u64, _>(call, 0..12_u64).expect("squares").len(), 12);
        assert_eq!(pool.stats().workers_started, 12, "{:?}", pool.stats());
    });
}

#[test]
fn an_initializer_that_fails_ends_the_start_of_the_pool() {
    recorded("initializer", || {
        let failing = builder(&fixture("initializer.wat")).initializer("init-trap", ());
        match failing.processes(2).build() {
            Err(Error::Initializer(failed)) => assert_eq!((failed.kind, &*failed.function), (Kind::Trap, "init-trap")),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_callback_that_panics_loses_no_result() {
    recorded("raising_callback", || {
        let pool = pool(2);
        let (sender, heard) = channel();
        // Without the message that a panic prints.
        let call: AsyncResult<u64> = pool.apply_async("square", 2).expect("call");
        let call = call.callback(|_| std::panic::resume_unwind(Box::new("no")));
        assert_eq!(call.get_timeout(LONG).expect("its value"), 4);
        let later: AsyncResult<u64> = pool.apply_async("square", 3).expect("call");
        let later = later.callback(move |square| sender.send(square).unwrap_or_default());
        assert_eq!(later.get_timeout(LONG).expect("its value"), 9);
        assert_eq!(heard.recv_timeout(LONG), Ok(9), "callbacks go on");
        assert_eq!(pool.stats().callbacks_panicked, 1);
    });
}

#[test]
fn no_error_is_unreadable() {
    recorded("unreadable_error", || {
        // Whatever a guest says is data: here bytes that are no text.
        let guest = r#"(module (memory (export "memory") 1) (data (i32.const 16) "\ff\00\1b[31m")
            (func (export "alloc") (param i32) (result i32) (i32.const 64))
            (func (export "run") (param i32 i32) (result i64)
                (i64.or (i64.shl (i64.const 16) (i64.const 32)) (i64.const 0x80000007))))"#;
        let pool = builder(guest).processes(2).build().expect("pool");
        let outcomes = kinds(pool.outcomes("run", ["a", "b", "c"]).expect("call"));
        assert_eq!(outcomes, [Kind::Error; 3]);
        let error = pool.apply::<u64>("run", "a").expect_err("the guest's own error");
        assert_eq!(error.kind(), Some(Kind::Error));
        assert!(!error.to_string().contains('\u{1b}'), "{error}");
    });
}

#[test]
fn an_endless_input_is_pulled_no_further_than_the_window() {
    recorded("endless_input", || {
        let pulled = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&pulled);
        let items = (0_u64..).inspect(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let pool = warm(2);
        let mut squares = pool.imap::<u64, _>("square", items).expect("call");
        assert_eq!(squares.next().expect("a first").expect("square"), 0);
        // Time to pull more, were it so inclined.
        std::thread::sleep(Duration::from_millis(50));
        assert!(pulled.load(Ordering::Relaxed) <= 1 + 2 * 2, "{pulled:?}");
    });
}

#[test]
fn a_buffer_size_is_the_window() {
    recorded("window", || {
        let pulled = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&pulled);
        let items = (1..=100_u64).inspect(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let pool = pool(2);
        let squares = pool.imap::<u64, _>(CallOptions::new("square").window(7), items).expect("call");
        soon("the window is filled", || pulled.load(Ordering::Relaxed) == 7);
        // Time to pull more, were it so inclined.
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(pulled.load(Ordering::Relaxed), 7);
        drop(squares);
    });
}

#[test]
fn what_is_pending_when_the_pool_ends_is_cancelled() {
    recorded("left_pending", || {
        let later: AsyncResult<u64> = {
            let pool = pool(1);
            pool.apply_async("spin", 7).expect("call")
        };
        assert_eq!(later.get_timeout(LONG).expect_err("cancelled").kind(), Some(Kind::Cancelled));
    });
}

#[test]
fn a_death_fails_nothing_that_is_pending() {
    recorded("executor", || {
        let pool = warm(2);
        let hung: Vec<AsyncResult<u64>> = (0..2).map(|_| pool.apply_async("spin", 7).expect("call")).collect();
        let naps: Vec<AsyncResult<u64>> = (0..6).map(|n| pool.apply_async("sleep", n).expect("call")).collect();
        // Twice, or they would only run once more; when all of them run, so
        // that no nap is under way.
        let began = Instant::now();
        while !hung.iter().all(AsyncResult::ready) {
            assert!(began.elapsed() < LONG, "it hangs");
            let left = hung.iter().filter(|hung| !hung.ready()).count();
            if pool.worker_pids().into_iter().filter(|pid| spins(*pid)).count() == left {
                kill(&pool.worker_pids());
            }
        }
        for hung in hung {
            assert_eq!(hung.get().expect_err("killed").kind(), Some(Kind::WorkerCrashed));
        }
        let naps: Vec<u64> = naps.iter().map(|nap| nap.get_timeout(LONG).expect("unharmed")).collect();
        assert!(naps.into_iter().eq(0..6));
        assert_eq!(pool.apply::<u64>("square", 9).expect("the pool goes on"), 81);
    });
}

#[test]
fn locks_that_threads_hold_keep_no_worker_from_starting() {
    recorded("forked_lock", || {
        let lock = Arc::new(Mutex::new(()));
        let held = lock.lock().unwrap();
        // Workers are executed anew: they inherit neither threads nor locks.
        let pools: Vec<Pool> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| pool(1))).collect();
            starts.into_iter().map(|start| start.join().expect("thread")).collect()
        });
        let squares: HashSet<u64> = pools.iter().map(|pool| pool.apply("square", 3).expect("square")).collect();
        assert_eq!(squares, HashSet::from([9]));
        drop(held);
    });
}
