//! The programs that people learn `multiprocessing.Pool` from, with sleeps
//! scaled down.

use std::collections::HashSet;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use wpool::{AsyncResult, CallError, CallOptions, Kind, Pool, cpu_count};

use super::{LONG, TASKS, builder, fixture, is_alive, pool, warm};

/// Milliseconds between 20 and 60, as a `time.sleep(random.random())` would.
fn uneven(n: u64) -> u64 {
    20 + n * 37 % 41
}

#[test]
fn p1_map_squares_on_four_workers() {
    let pool = pool(4);
    assert_eq!(pool.map::<u64, _>("square", [1, 2, 3, 4]).expect("squares"), [1, 4, 9, 16]);
}

#[test]
fn p2_ten_async_calls_on_three_workers_then_close_and_join() {
    let pool = warm(3);
    let mut said = vec!["start"];
    let calls: Vec<AsyncResult<u64>> = (0..10).map(|n| pool.apply_async("sleep", uneven(n)).expect("call")).collect();
    said.push("all sent");
    let mut pids = HashSet::new();
    while !calls.iter().all(AsyncResult::ready) {
        let now = pool.worker_pids();
        assert!(now.len() <= 3, "at most three at once");
        pids.extend(now);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(pids.len() > 1, "several workers");
    pool.close();
    pool.join().expect("closed");
    said.push("end");
    assert!(calls.iter().all(AsyncResult::ready));
    assert_eq!(said, ["start", "all sent", "end"]);
}

#[test]
fn p3_apply_is_one_after_the_other() {
    let pool = pool(3);
    let started = Instant::now();
    for n in 0..5 {
        assert_eq!(pool.apply::<u64>("sleep", 20 + n).expect("nap"), 20 + n);
    }
    assert!(started.elapsed() >= Duration::from_millis(5 * 20));
}

#[test]
fn p4_callbacks_hear_every_value_and_get_keeps_the_order() {
    let pool = warm(5);
    let (bar, heard) = channel();
    let started = Instant::now();
    let calls: Vec<AsyncResult<u64>> = (0..10)
        .map(|n| {
            let bar = bar.clone();
            pool.apply_async("sleep", 300 + n).expect("call").callback(move |value| bar.send(value).expect("heard"))
        })
        .collect();
    let values: Vec<u64> = calls.iter().map(|call| call.get().expect("nap")).collect();
    assert!(values.iter().copied().eq(300..310), "in the order of submission");
    // Sleeping needs no processor: two rounds of five, not ten of one.
    assert!(started.elapsed() < Duration::from_millis(10 * 300), "{:?}", started.elapsed());
    pool.close();
    pool.join().expect("closed");
    drop(bar);
    let mut heard: Vec<u64> = heard.iter().collect();
    heard.sort_unstable();
    assert!(heard.into_iter().eq(300..310));
}

#[test]
fn p5_apply_async_and_get_in_a_loop_is_serial() {
    let pool = pool(3);
    for n in 0..5 {
        let call: AsyncResult<u64> = pool.apply_async("square", n).expect("call");
        assert_eq!(call.get().expect("square"), n * n);
    }
}

#[test]
fn p6_two_functions_on_one_pool() {
    let pool = pool(2);
    let foo: Vec<AsyncResult<u64>> = (0..4_u64).map(|n| pool.apply_async("square", n).expect("foo")).collect();
    let bar: Vec<AsyncResult<u64>> = (0..4_u64).map(|n| pool.apply_async("add", (n, n)).expect("bar")).collect();
    let both = foo.iter().zip(&bar).map(|(foo, bar)| (foo.get().expect("foo"), bar.get().expect("bar")));
    assert_eq!(both.collect::<Vec<_>>(), [(0, 0), (1, 2), (4, 4), (9, 6)]);
}

#[test]
fn p7_workers_change_after_a_number_of_items() {
    let pool = builder(TASKS).processes(1).max_tasks_per_child(2).build().expect("pool");
    let mut pids = HashSet::new();
    for n in 0..6_u64 {
        assert_eq!(pool.apply::<u64>("square", n).expect("square"), n * n);
        pids.extend(pool.worker_pids());
    }
    assert!(pids.len() >= 3, "a worker for every two: {pids:?}");
    let stats = pool.stats();
    assert!(stats.workers_recycled >= 2 && stats.workers_died == 0, "{stats:?}");
}

#[test]
fn p10_imap_in_order_with_chunks_of_1_2_and_10() {
    let pool = pool(2);
    for chunksize in [1, 2, 10] {
        let call = CallOptions::new("sleep").chunksize(chunksize);
        let downloads: Vec<u64> = pool.imap(call, 0..20_u64).expect("call").map(|n| n.expect("nap")).collect();
        assert!(downloads.into_iter().eq(0..20));
    }
}

#[test]
fn p11_next_with_a_timeout() {
    let pool = pool(1);
    let mut naps = pool.imap::<u64, _>("sleep", [200, 0]).expect("call");
    let mut late = 0;
    let mut values = Vec::new();
    while let Some(next) = naps.next_timeout(Duration::from_millis(20)) {
        match next {
            Err(CallError::TimedOut) => late += 1,
            value => values.push(value.expect("nap")),
        }
    }
    assert_eq!(values, [200, 0]);
    assert!(late >= 1);
}

#[test]
fn p12_imap_unordered_with_uneven_tasks() {
    let pool = warm(2);
    let naps = pool.imap_unordered::<u64, _>("sleep", [300, 10, 20]).expect("call");
    let naps: Vec<u64> = naps.map(|nap| nap.expect("nap")).collect();
    assert_eq!(naps.last(), Some(&300), "the longest is last: {naps:?}");
    assert_eq!(naps.iter().collect::<HashSet<_>>().len(), 3, "each once");
}

#[test]
fn p13_starmap_starmap_async_and_keywords() {
    let pool = builder(&fixture("component.wat")).processes(2).build().expect("pool");
    assert_eq!(pool.starmap::<i32, _>("add", [(1, 2), (3, 4)]).expect("sums"), [3, 7]);
    assert_eq!(pool.starmap_async::<i32, _>("add", [(1, 2), (3, 4)]).expect("call").get().expect("sums"), [3, 7]);
    let by_name = CallOptions::new("add").kwds(serde_json::json!({ "a": 1, "b": 2 }));
    assert_eq!(pool.apply_async::<i32>(by_name, ()).expect("call").get().expect("sum"), 3);
}

#[test]
fn p14_map_async_ready_wait_get_successful_and_error_callback() {
    let pool = builder(&fixture("component.wat")).processes(2).build().expect("pool");
    let halves: AsyncResult<Vec<u32>> = pool.map_async("half", [2, 4, 6]).expect("call");
    assert!(halves.wait(LONG) && halves.ready());
    assert_eq!(halves.successful(), Some(true));
    assert_eq!(halves.get().expect("halves"), [1, 2, 3]);
    let (sender, heard) = channel();
    let odd: AsyncResult<Vec<u32>> = pool.map_async("half", [2, 3]).expect("call");
    let odd = odd.error_callback(move |error| sender.send(error.to_string()).expect("heard"));
    assert_eq!(odd.get().expect_err("3 is odd").kind(), Some(Kind::Error));
    assert_eq!(odd.successful(), Some(false));
    assert!(heard.recv_timeout(LONG).expect("in time").contains("the number is odd"));
}

#[test]
fn p19_the_default_size_is_what_this_process_may_use() {
    let pool = builder(TASKS).build().expect("pool");
    assert!((1..=cpu_count()).contains(&pool.processes()));
    let allowed = std::thread::available_parallelism().expect("a number").get();
    assert!(cpu_count() <= allowed.max(1), "affinity and quota are honoured");
    // Affinity is a thread's.
    let confined = std::thread::spawn(|| {
        let mut one = CpuSet::new();
        let all = sched_getaffinity(None).expect("affinity");
        one.set((0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).expect("a processor"));
        sched_setaffinity(None, &one).expect("confined");
        (cpu_count(), builder(TASKS).build().expect("pool").processes())
    });
    assert_eq!(confined.join().expect("thread"), (1, 1));
}

#[test]
fn p20_terminate_leaving_the_scope_and_dropping() {
    let busy = |pool: &Pool| -> AsyncResult<u64> {
        let call = pool.apply_async("spin", 7).expect("call");
        assert!(!call.wait(Duration::from_millis(20)));
        call
    };
    let pool = pool(2);
    let (call, workers) = (busy(&pool), pool.worker_pids());
    pool.terminate();
    assert_eq!(call.get().expect_err("terminated").kind(), Some(Kind::Cancelled));
    assert!(!workers.into_iter().any(is_alive));
    let (call, workers) = {
        let pool = super::pool(2);
        (busy(&pool), pool.worker_pids())
    };
    assert_eq!(call.get().expect_err("out of scope").kind(), Some(Kind::Cancelled));
    assert!(!workers.into_iter().any(is_alive));
}
