//! `AsyncResult`: waiting, cancelling, awaiting, callbacks.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use wpool::{AsyncResult, CallError, CallOptions, Kind};

use super::{LONG, TASKS, builder, pool, soon};

#[test]
fn get_gives_the_value_and_wait_ready_successful_tell_of_it() {
    let pool = pool(1);
    let call: AsyncResult<u64> = pool.apply_async("sleep", 150).expect("call");
    assert!(!call.ready());
    assert_eq!(call.successful(), None, "not ready");
    assert!(!call.wait(Duration::from_millis(10)));
    assert!(matches!(call.get_timeout(Duration::from_millis(10)), Err(CallError::TimedOut)));
    assert_eq!(call.get().expect("nap"), 150);
    assert_eq!(call.get().expect("once more"), 150);
    assert!(call.ready() && call.wait(Duration::ZERO));
    assert_eq!(call.successful(), Some(true));
    let failed: AsyncResult<u64> = pool.apply_async("odd", 2).expect("call");
    assert_eq!(failed.get_timeout(LONG).expect_err("even").kind(), Some(Kind::Trap));
    assert_eq!(failed.successful(), Some(false));
}

#[test]
fn a_map_async_is_ready_when_all_of_it_is() {
    let pool = pool(2);
    let many: AsyncResult<Vec<u64>> = pool.map_async("sleep", [0, 0, 200]).expect("call");
    assert!(!many.wait(Duration::from_millis(50)), "two of three are not all");
    assert_eq!(many.get().expect("naps"), [0, 0, 200]);
    // More than any window: results are kept until they are asked for.
    let all: AsyncResult<Vec<u64>> = pool.map_async("square", 0..100_000_u64).expect("call");
    assert!(all.wait(LONG));
    assert!(all.get().expect("squares").into_iter().eq((0..100_000).map(|n| n * n)));
}

#[test]
fn the_error_of_a_map_async_comes_after_all_items_ended() {
    let pool = pool(2);
    let many: AsyncResult<Vec<u64>> = pool.map_async("odd", [1, 2, 3, 5]).expect("call");
    let error = many.get().expect_err("2 is even");
    assert_eq!(error.task().map(|task| (task.index, task.kind)), Some((1, Kind::Trap)));
    assert_eq!(many.successful(), Some(false));
    soon("all four ran", || pool.stats().tasks == 4);
}

#[test]
fn what_is_queued_is_cancelled_before_it_starts() {
    let pool = pool(1);
    let running: AsyncResult<u64> = pool.apply_async("sleep", 500).expect("call");
    let queued: AsyncResult<u64> = pool.apply_async("sleep", 0).expect("call");
    assert!(queued.cancel());
    assert_eq!(queued.get().expect_err("cancelled").kind(), Some(Kind::Cancelled));
    assert!(!running.ready(), "at once, not when its turn comes");
    assert!(!queued.cancel(), "it has ended");
    assert_eq!(running.get().expect("unharmed"), 500);
    assert_eq!(pool.stats().workers_died, 0);
}

#[test]
fn what_runs_is_killed_and_others_are_unharmed() {
    let pool = pool(2);
    let hung: AsyncResult<u64> = pool.apply_async("spin", 7).expect("call");
    let other: AsyncResult<Vec<u64>> = pool.map_async("sleep", [50, 60, 70, 80]).expect("call");
    let before = pool.worker_pids();
    soon("it runs", || pool.stats().tasks >= 2);
    assert!(hung.cancel());
    assert_eq!(hung.get().expect_err("cancelled").kind(), Some(Kind::Cancelled));
    assert_eq!(other.get().expect("unharmed"), [50, 60, 70, 80]);
    soon("the worker is killed", || pool.stats().workers_died == 1);
    assert!(before.iter().filter(|pid| super::is_alive(**pid)).count() < 2);
    // Both slots work: a worker is replaced.
    assert_eq!(pool.map::<u64, _>("sleep", [50, 50, 50, 50]).expect("naps").len(), 4);
}

#[test]
fn a_cancelled_map_ends_at_once() {
    let pool = pool(2);
    let many: AsyncResult<Vec<u64>> = pool.map_async("spin", [1, 7, 7, 7, 7]).expect("call");
    assert!(many.cancel());
    assert_eq!(many.get().expect_err("cancelled").kind(), Some(Kind::Cancelled));
    assert_eq!(pool.apply::<u64>("square", 3).expect("the pool goes on"), 9);
}

#[test]
fn dropping_a_result_leaves_the_call_unless_told_otherwise() {
    let pool = pool(1);
    drop(pool.apply_async::<u64>("sleep", 50).expect("call"));
    pool.close();
    let started = Instant::now();
    pool.join().expect("closed");
    assert!(started.elapsed() >= Duration::from_millis(30), "the call went on");

    let pool = super::pool(1);
    drop(pool.apply_async::<u64>("spin", 7).expect("call").cancel_on_drop());
    assert_eq!(pool.apply::<u64>("square", 3).expect("the worker is free again"), 9);
}

#[test]
fn a_result_is_a_future_for_any_runtime() {
    let pool = pool(2);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
    runtime.block_on(async {
        let naps: Vec<AsyncResult<u64>> = (0..10).map(|n| pool.apply_async("sleep", n).expect("call")).collect();
        for (n, nap) in (0..).zip(naps) {
            assert_eq!(nap.await.expect("nap"), n);
        }
        let many = pool.map_async::<u64, _>("square", 0..1_000_u64).expect("call").await.expect("squares");
        assert_eq!(many.len(), 1_000);
        // Dropped by a timeout of the runtime, the call is cancelled.
        let hung = pool.apply_async::<u64>("spin", 7).expect("call").cancel_on_drop();
        assert!(tokio::time::timeout(Duration::from_millis(50), hung).await.is_err());
        assert_eq!(pool.apply_async::<u64>("square", 4).expect("call").await.expect("square"), 16);
    });
    // On threads of a runtime, too.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("runtime");
    let tasks: Vec<_> =
        (0..50_u64).map(|n| (n, runtime.spawn(pool.apply_async::<u64>("square", n).expect("call")))).collect();
    for (n, task) in tasks {
        assert_eq!(runtime.block_on(task).expect("task").expect("square"), n * n);
    }
}

#[test]
fn try_apply_async_is_saturated_where_apply_async_waits() {
    let pool = builder(TASKS).processes(1).max_pending(3).build().expect("pool");
    let hung: Vec<AsyncResult<u64>> = (0..3).map(|_| pool.try_apply_async("spin", 7).expect("room")).collect();
    assert!(matches!(pool.try_apply_async::<u64>("square", 2), Err(CallError::Saturated)));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pool.apply_async::<u64>("square", 2).expect("room after a while"));
        std::thread::sleep(Duration::from_millis(50));
        assert!(!waiting.is_finished(), "it waits for room");
        hung.iter().for_each(|call| assert!(call.cancel()));
        assert_eq!(waiting.join().expect("thread").get().expect("square"), 4);
    });
    assert_eq!(pool.try_apply_async::<u64>("square", 3).expect("room").get().expect("square"), 9);
}

#[test]
fn a_call_that_waits_for_room_ends_with_the_pool() {
    let pool = builder(TASKS).processes(1).max_pending(1).build().expect("pool");
    let hung: AsyncResult<u64> = pool.apply_async("spin", 7).expect("call");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pool.apply_async::<u64>("square", 1).map(|call| call.get()));
        std::thread::sleep(Duration::from_millis(50));
        pool.terminate();
        let waited = waiting.join().expect("thread");
        assert!(matches!(waited, Err(CallError::Closed)), "{waited:?}");
    });
    assert_eq!(hung.get().expect_err("ended").kind(), Some(Kind::Cancelled));
}

#[test]
fn callbacks_get_values_and_error_callbacks_errors() {
    let pool = pool(2);
    let (values, heard) = channel();
    for n in 0..10_u64 {
        let (value, error) = (values.clone(), values.clone());
        let call: AsyncResult<u64> = pool.apply_async("odd", n).expect("call");
        let _call = call
            .callback(move |n| value.send(Ok(n)).expect("heard"))
            .error_callback(move |failed| error.send(Err(failed.kind())).expect("heard"));
    }
    let (once, all) = channel();
    let _many = pool
        .map_async::<u64, _>("square", [1, 2, 3])
        .expect("call")
        .callback(move |list| once.send(list).expect("heard"));
    pool.close();
    pool.join().expect("closed");
    drop(values);
    let (mut odd, even): (Vec<_>, Vec<_>) = heard.iter().partition(Result::is_ok);
    odd.sort_by_key(|value| *value.as_ref().expect("value"));
    assert_eq!(odd, [Ok(1), Ok(3), Ok(5), Ok(7), Ok(9)]);
    assert_eq!(even, vec![Err(Some(Kind::Trap)); 5]);
    assert_eq!(all.iter().collect::<Vec<_>>(), [vec![1, 4, 9]], "a map's once, with the list");
}

#[test]
fn a_callback_that_panics_costs_no_other_result() {
    let pool = pool(2);
    let (sender, heard) = channel();
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().name() != Some("wpool-callbacks") {
            quiet(info);
        }
    }));
    let calls: Vec<AsyncResult<u64>> = (0..50_u64)
        .map(|n| {
            let sender = sender.clone();
            pool.apply_async("square", n).expect("call").callback(move |square: u64| {
                assert!(n % 2 == 0, "odd numbers panic");
                sender.send(square).expect("heard");
            })
        })
        .collect();
    for (n, call) in (0..).zip(&calls) {
        assert_eq!(call.get().expect("square"), n * n);
    }
    pool.close();
    pool.join().expect("closed");
    drop(sender);
    assert_eq!(heard.iter().count(), 25);
    assert_eq!(pool.stats().callbacks_panicked, 25);
}

#[test]
fn a_callback_that_blocks_delays_no_result() {
    let pool = pool(2);
    let (release, blocked) = channel::<()>();
    let first: AsyncResult<u64> = pool.apply_async("square", 2).expect("call");
    let first = first.callback(move |_| blocked.recv().unwrap_or_default());
    assert_eq!(first.get().expect("not after its callback"), 4);
    let (sender, heard) = channel();
    let later: Vec<AsyncResult<u64>> = (0..100_u64)
        .map(|n| {
            let sender = sender.clone();
            pool.apply_async("square", n).expect("call").callback(move |square| sender.send(square).expect("heard"))
        })
        .collect();
    assert!(later.iter().all(|call| call.get().is_ok()));
    assert_eq!(pool.map::<u64, _>("square", 0..100_u64).expect("squares").len(), 100);
    assert_eq!(heard.try_iter().count(), 0, "callbacks wait for each other");
    release.send(()).expect("blocked");
    drop(sender);
    assert_eq!(heard.iter().count(), 100);
}

#[test]
fn a_callback_may_call_the_pool_and_drop_it() {
    let pool = pool(1);
    let (sender, heard) = channel();
    let inside = pool.clone();
    let _call = pool.apply_async::<u64>("square", 2).expect("call").callback(move |four| {
        let more: u64 = inside.apply("square", four).expect("square");
        let most: AsyncResult<u64> = inside.apply_async("square", more).expect("call");
        sender.send(most.get().expect("square")).expect("heard");
        // The last of the pool, perhaps.
        drop(inside);
    });
    drop(pool);
    assert_eq!(heard.recv_timeout(LONG).expect("in time"), 256);
}

#[test]
fn a_callback_after_the_end_of_the_pool_is_heard() {
    let pool = pool(1);
    let call: AsyncResult<u64> = pool.apply_async(CallOptions::new("spin"), 7).expect("call");
    drop(pool);
    let (sender, heard) = channel();
    let _call = call.error_callback(move |error| sender.send(error.kind()).expect("heard"));
    assert_eq!(heard.recv_timeout(LONG).expect("in time"), Some(Kind::Cancelled));
}
