//! Tasks that die with something in their hands, or while they wait.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use wpool::{AsyncResult, CallError, CallOptions, Kind, Manager, Pool};

use super::{LONG, MILLISECOND, builder, failed, pool, soon};

fn kill_worker(pool: &Pool) {
    for pid in pool.worker_pids() {
        // It may be gone already.
        let _gone = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
    }
}

#[test]
fn a_task_that_ends_with_a_lock_gives_it_back() {
    let manager = Manager::new();
    let lock = manager.lock("l").expect("lock");
    let pool = pool(&manager, 1);
    for _ in 0..3 {
        assert!(pool.apply::<bool>("acquire", ("l", None::<u64>)).expect("free"));
        assert!(lock.try_lock().is_some());
    }
}

#[test]
fn a_killed_worker_frees_what_its_task_held_and_the_item_is_not_repeated() {
    let manager = Manager::new();
    let lock = manager.lock("l").expect("lock");
    let pool = pool(&manager, 1);
    let call: AsyncResult<()> = pool.apply_async("hold", "l").expect("call");
    soon("the task takes the lock", || lock.try_lock().is_none());
    kill_worker(&pool);
    assert!(lock.lock_timeout(LONG).is_some());
    let error = failed(call.get_timeout(LONG));
    assert_eq!((error.kind, error.detail.reason.as_deref()), (Kind::WorkerCrashed, Some("maybe-ran")));
    assert!(error.message.contains("shared objects"), "{error}");
    assert_eq!(error.attempts, 1);
}

#[test]
fn timeouts_and_cancellations_free_what_was_held() {
    let manager = Manager::new();
    let lock = manager.lock("l").expect("lock");
    let pool = pool(&manager, 1);
    let short = CallOptions::new("hold").timeout(Duration::from_millis(100));
    assert_eq!(failed(pool.apply::<()>(short, "l")).kind, Kind::Timeout);
    assert!(lock.try_lock().is_some(), "free before anyone hears of the timeout");
    let call: AsyncResult<()> = pool.apply_async("hold", "l").expect("call");
    soon("the task takes the lock", || lock.try_lock().is_none());
    call.cancel();
    assert_eq!(failed(call.get_timeout(LONG)).kind, Kind::Cancelled);
    assert!(lock.lock_timeout(LONG).is_some());
    let call: AsyncResult<()> = pool.apply_async("hold", "l").expect("call");
    soon("the task takes the lock", || lock.try_lock().is_none());
    pool.terminate();
    assert!(lock.lock_timeout(LONG).is_some());
    assert!(call.get_timeout(LONG).is_err());
}

#[test]
fn a_task_killed_while_it_waits_stands_in_nobodys_way() {
    let manager = Manager::new();
    let (lock, queue) = (manager.lock("l").expect("lock"), manager.queue("q", 5).expect("queue"));
    let pool = pool(&manager, 1);
    let held = lock.lock();
    let short = CallOptions::new("acquire").timeout(Duration::from_millis(100));
    let error = failed(pool.apply::<bool>(short, ("l", None::<u64>)));
    assert_eq!(error.kind, Kind::Timeout, "the task's own deadline ends its wait: {error}");
    drop(held);
    assert!(lock.try_lock().is_some(), "it was not given to the dead");
    // As with values: they go to those who live.
    let call: AsyncResult<Option<String>> = pool.apply_async("get", ("q", None::<u64>)).expect("call");
    // A worker that had not begun with it is no death of its.
    while !call.wait(Duration::from_millis(300)) {
        kill_worker(&pool);
    }
    assert_eq!(failed(call.get_timeout(LONG)).kind, Kind::WorkerCrashed);
    queue.put(&1).expect("put");
    assert_eq!(queue.get_timeout::<u8>(LONG).expect("still there"), 1);
}

#[test]
fn a_calls_own_timeout_is_kept_while_the_task_goes_on() {
    let manager = Manager::new();
    let lock = manager.lock("l").expect("lock");
    let pool = pool(&manager, 2);
    let held = lock.lock();
    for ns in [0, 1, 1000, 30 * MILLISECOND] {
        let got = pool.apply::<bool>("acquire", ("l", Some(ns))).expect("an answer");
        assert!(!got, "{ns}");
    }
    drop(held);
    assert!(pool.apply::<bool>("acquire", ("l", Some(1))).expect("an answer"));
}

#[test]
fn kills_lose_no_acknowledged_increment_and_leave_no_lock() {
    const TASKS: usize = 1500;
    let manager = Manager::new();
    let (lock, hits) = (manager.lock("l").expect("lock"), manager.counter("hits").expect("counter"));
    let pool = builder(4).shared(&manager).build().expect("pool");
    let (mut ok, mut killed) = (0, 0);
    // Not for ever held by a mistake: that would be seen as timeouts.
    let locked = CallOptions::new("locked").kwds(serde_json::json!({"counter": "hits", "n": 1, "slow": 100_000}));
    let calls = pool.imap_unordered::<i64, _>(locked, vec!["l"; TASKS]).expect("call");
    for (nth, result) in calls.enumerate() {
        match result {
            Ok(_) => ok += 1,
            Err(CallError::Task(error)) => {
                assert_eq!(error.detail.reason.as_deref(), Some("maybe-ran"), "{error}");
                killed += 1;
            }
            Err(other) => panic!("{other}"),
        }
        if nth % 50 == 25 {
            let pids = pool.worker_pids();
            let victim = pids.get(nth % pids.len().max(1)).and_then(|pid| Pid::from_raw(*pid));
            let _gone = victim.map(|pid| kill_process(pid, Signal::KILL));
        }
    }
    assert_eq!(ok + killed, TASKS as i64);
    let counted = hits.get();
    assert!(ok <= counted && counted <= ok + killed, "{ok} <= {counted} <= {ok} + {killed}");
    assert!(killed > 0, "some were hit");
    assert!(lock.try_lock().is_some(), "no lock stays held");
}
