//! Objects that tasks share, as programs and commands use them: Python's
//! `multiprocessing.Manager`.

mod command;
mod deaths;
mod hostile;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use wpool::{AsyncResult, CallError, CallOptions, Kind, Level, Limits, Manager, Module, Note, Pool, PoolBuilder};
use wpool::{SharedError, TaskError};

use crate::support::binary;

/// See the file.
const GUEST: &str = include_str!("../fixtures/shared.wat");

/// Longer than anything here takes, unless it hangs.
const LONG: Duration = Duration::from_secs(60);

/// As guests say it: a millisecond, in nanoseconds.
const MILLISECOND: u64 = 1_000_000;

fn builder(processes: usize) -> PoolBuilder {
    let module = Module::from_bytes("shared.wat", GUEST).expect("module");
    Pool::builder(module).worker(binary()).processes(processes)
}

fn pool(manager: &Manager, processes: usize) -> Pool {
    builder(processes).shared(manager).build().expect("pool")
}

#[track_caller]
fn failed(result: Result<impl std::fmt::Debug, CallError>) -> TaskError {
    match result {
        Err(CallError::Task(error)) => *error,
        other => panic!("{other:?}"),
    }
}

/// Waits until something holds that must hold soon.
#[track_caller]
fn soon(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn tasks_count_together_and_the_program_sees_it() {
    let manager = Manager::new();
    let hits = manager.counter("hits").expect("counter");
    let pool = pool(&manager, 2);
    hits.set(100);
    let sums: Vec<i64> = pool.starmap("add", [("hits", 10); 6]).expect("sums");
    assert_eq!(sums.iter().max(), Some(&160), "{sums:?}");
    assert_eq!(hits.get(), 160);
    hits.set(i64::MAX);
    let error = failed(pool.apply::<i64>("add", ("hits", 1)));
    assert!(error.message.contains("no room"), "{error}");
}

#[test]
fn forty_thousand_increments_under_a_lock_are_forty_thousand() {
    let manager = Manager::new();
    let (_lock, hits) = (manager.lock("l").expect("lock"), manager.counter("hits").expect("counter"));
    let pool = pool(&manager, 4);
    let last: Vec<i64> = pool.starmap("locked", [("l", "hits", 10_000, 0); 4]).expect("counted");
    assert_eq!(hits.get(), 40_000);
    assert_eq!(last.iter().max(), Some(&40_000));
}

#[test]
fn p8_one_lock_for_all_workers() {
    let manager = Manager::new();
    let (lock, hits) = (manager.lock("l").expect("lock"), manager.counter("hits").expect("counter"));
    let pool = pool(&manager, 3);
    let held = lock.lock();
    let calls: Vec<AsyncResult<i64>> =
        (0..3).map(|_| pool.apply_async("locked", ("l", "hits", 50, 1000)).expect("call")).collect();
    assert!(!calls[0].wait(Duration::from_millis(50)), "the program holds the lock");
    assert_eq!(hits.get(), 0);
    drop(held);
    let last = calls.into_iter().map(|call| call.get_timeout(LONG).expect("counted")).max();
    assert_eq!((last, hits.get()), (Some(150), 150));
    assert!(lock.try_lock().is_some(), "nobody holds it any more");
}

#[test]
fn p9_tasks_write_a_queue_and_others_read_it() {
    let manager = Manager::new();
    let queue = manager.queue("q", 3).expect("queue");
    let pool = pool(&manager, 2);
    for name in ["\"Python\"", "\"C\"", "\"Java\""] {
        assert!(pool.apply::<bool>("put", ("q", name, None::<u64>)).expect("put"));
    }
    assert_eq!((queue.qsize(), pool.apply::<u64>("size", "q").expect("size")), (3, 3));
    // It is full: a task and the program wait for room in vain.
    let briefly = Some(20 * MILLISECOND);
    assert!(!pool.apply::<bool>("put", ("q", "0", briefly)).expect("no room"));
    assert!(matches!(queue.put_timeout(&0, Duration::from_millis(5)), Err(SharedError::Full)));
    assert!(matches!(queue.try_put(&0), Err(SharedError::Full)));
    // One waits for room, and gets it.
    let waiting: AsyncResult<bool> = pool.apply_async("put", ("q", "\"Rust\"", None::<u64>)).expect("call");
    assert!(!waiting.wait(Duration::from_millis(30)));
    assert_eq!(queue.get::<String>().expect("first"), "Python");
    assert!(waiting.get_timeout(LONG).expect("room"));
    for name in ["\"C\"", "\"Java\"", "\"Rust\""] {
        let got: Option<String> = pool.apply("get", ("q", None::<u64>)).expect("get");
        assert_eq!(got.as_deref(), Some(name));
    }
    assert_eq!(pool.apply::<Option<String>>("get", ("q", briefly)).expect("empty"), None);
    assert!(matches!(queue.try_get::<u8>(), Err(SharedError::Empty)));
    assert!(matches!(queue.get_timeout::<u8>(Duration::from_millis(5)), Err(SharedError::Empty)));
}

#[test]
fn p18_results_through_a_queue_are_made_ordered_by_index() {
    let manager = Manager::new();
    let queue = manager.queue("results", 5).expect("queue");
    let pool = pool(&manager, 4);
    let done: AsyncResult<Vec<()>> = pool.map_async("hand-in", vec!["results"; 40]).expect("call");
    // More than the queue holds: they wait until the program takes some.
    let mut indices: Vec<u64> = (0..40).map(|_| queue.get_timeout(LONG).expect("an index")).collect();
    assert_eq!(done.get_timeout(LONG).expect("all").len(), 40);
    indices.sort_unstable();
    assert_eq!(indices, (0..40).collect::<Vec<u64>>());
    assert_eq!(queue.qsize(), 0);
}

#[test]
fn join_waits_until_every_value_is_dealt_with() {
    let manager = Manager::new();
    let (jobs, results) = (manager.queue("jobs", 10).expect("jobs"), manager.queue("results", 10).expect("results"));
    let pool = pool(&manager, 2);
    assert!(jobs.join_timeout(Duration::ZERO), "nothing was put");
    (0..5).for_each(|n| jobs.put(&n).expect("put"));
    assert!(!jobs.join_timeout(Duration::from_millis(5)));
    let passed: AsyncResult<Vec<()>> = pool.starmap_async("pass", vec![("jobs", "results"); 5]).expect("call");
    assert!(jobs.join_timeout(LONG));
    passed.get_timeout(LONG).expect("passed");
    let mut got: Vec<u8> = (0..5).map(|_| results.get().expect("result")).collect();
    got.sort_unstable();
    assert_eq!(got, [0, 1, 2, 3, 4]);
    assert!(matches!(jobs.task_done(), Err(SharedError::Refused(_))));
}

#[test]
fn an_event_lets_every_waiter_go_on() {
    let manager = Manager::new();
    let (go, gone) = (manager.event("go").expect("event"), manager.event("gone").expect("event"));
    let pool = pool(&manager, 3);
    assert!(!pool.apply::<bool>("wait", ("go", Some(5 * MILLISECOND))).expect("in vain"));
    let waiting: Vec<AsyncResult<bool>> =
        (0..3).map(|_| pool.apply_async("wait", ("go", None::<u64>)).expect("call")).collect();
    assert!(!waiting[0].wait(Duration::from_millis(30)));
    go.set();
    for call in waiting {
        assert!(call.get_timeout(LONG).expect("it is set"));
    }
    pool.apply::<()>("set", "gone").expect("set");
    assert!(gone.wait_timeout(LONG));
    gone.clear();
    assert!(!gone.is_set());
}

#[test]
fn a_semaphore_has_as_many_permits_as_were_granted() {
    let manager = Manager::new();
    let semaphore = manager.semaphore("s", 3).expect("semaphore");
    let pool = pool(&manager, 2);
    let held = semaphore.acquire();
    assert_eq!(pool.apply::<u32>("permit", ("s", 10)).expect("permits"), 2);
    drop(held);
    // Those of the task that has ended are free again.
    assert_eq!(pool.apply::<u32>("permit", ("s", 10)).expect("permits"), 3);
    let all: Vec<_> = (0..4).map_while(|_| semaphore.try_acquire()).collect();
    assert_eq!(all.len(), 3);
}

#[test]
fn a_store_is_the_standard_key_value_interface() {
    let manager = Manager::new();
    let seen = manager.key_value("seen").expect("store");
    let pool = pool(&manager, 2);
    seen.set("a", &40).expect("set");
    assert_eq!(pool.apply::<u64>("store", ("seen", "a", 2)).expect("sum"), 42);
    let sums: Vec<u64> = pool.starmap("store", [("seen", "b", 1); 20]).expect("sums");
    assert_eq!(sums.iter().max(), Some(&20));
    assert_eq!((seen.get("a").ok(), seen.get::<u64>("b").ok()), (Some(Some(42)), Some(Some(20))));
    assert_eq!(seen.keys(), ["a", "b"]);
    assert!(seen.delete("a") && !seen.contains("a"));
}

#[test]
fn several_pools_and_threads_share_objects() {
    let manager = Manager::new();
    let hits = manager.counter("hits").expect("counter");
    let lock = manager.lock("l").expect("lock");
    let pools = [pool(&manager, 1), builder(2).shared(&hits).shared(&lock).build().expect("pool")];
    std::thread::scope(|scope| {
        for pool in &pools {
            scope.spawn(|| pool.starmap::<i64, _>("locked", [("l", "hits", 100, 10); 2]).expect("counted"));
        }
        for _thread in 0..2 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let held = lock.lock();
                    hits.set(hits.get() + 1);
                    drop(held);
                }
            });
        }
    });
    assert_eq!(hits.get(), 600);
}

#[test]
fn what_was_not_shared_is_denied_and_named() {
    let manager = Manager::new();
    let _other = manager.counter("other").expect("counter");
    for pool in [builder(1).build().expect("pool"), pool(&manager, 1)] {
        for (function, arguments, wanted) in [
            ("add", serde_json::json!(["hits", 1]), "--shared counter:hits"),
            ("size", serde_json::json!("jobs"), "--shared queue:jobs:N"),
            ("release", serde_json::json!("other"), "--shared lock:other"),
            ("set", serde_json::json!("no name"), "--shared takes no such name"),
        ] {
            let error = failed(pool.apply::<serde_json::Value>(function, arguments));
            assert_eq!(error.kind, Kind::Denied, "{error}");
            assert!(error.message.contains(wanted), "{error}");
            assert_eq!(error.detail.denied, ["--shared"], "{error}");
        }
        // The standard interface says it by its own error.
        let error = failed(pool.apply::<u64>("store", ("s", "k", 1)));
        assert_eq!((error.kind, &error.detail.denied[..]), (Kind::Trap, &["--shared".to_owned()][..]), "{error}");
    }
}

#[test]
fn two_objects_of_one_name_are_refused_and_the_same_twice_is_one() {
    let (one, other) = (Manager::new(), Manager::new());
    let hits = one.counter("hits").expect("counter");
    let pool = builder(1).shared(&one).shared(&hits).build().expect("the same");
    assert_eq!(pool.apply::<i64>("add", ("hits", 2)).expect("sum"), 2);
    let twice = builder(1).shared(&hits).shared(&other.counter("hits").expect("counter")).build();
    assert!(twice.is_err_and(|error| error.to_string().contains("counter:hits is shared twice")));
    assert!(one.queue("q", 1).is_ok() && one.queue("q", 2).is_err() && one.queue("q", 0).is_err());
    assert!(one.lock("no name").is_err());
}

#[test]
fn a_task_knows_which_item_it_is() {
    let limits = Limits { timeout: Some(Duration::from_secs(20)), ..Limits::default() };
    let capabilities = wpool::Capabilities { deterministic: Some(7), ..Default::default() };
    type Who = (u64, u32, Option<u64>, u64);
    let pool = builder(2).limits(limits).capabilities(capabilities).build().expect("pool");
    let who: Vec<Who> = pool.starmap("who", vec![[0_u8; 0]; 3]).expect("who");
    for (index, (seen, attempt, remaining, _seed)) in (0..).zip(&who) {
        assert_eq!((*seen, *attempt), (index, 1));
        let left = Duration::from_nanos(remaining.expect("a limit"));
        assert!(left > Duration::ZERO && left <= Duration::from_secs(20), "{left:?}");
    }
    assert!(who[0].3 != who[1].3 && who[1].3 != who[2].3, "{who:?}");
    let again: Vec<Who> = pool.starmap("who", vec![[0_u8; 0]; 3]).expect("who");
    assert_eq!(again, who, "seeds from seed and index, and no clock");
    // A call's own shorter limit is what counts.
    let short = || CallOptions::new("who").timeout(Duration::from_secs(5));
    let (.., remaining, _) = pool.apply::<Who>(short(), [0_u8; 0]).expect("who");
    assert_eq!(remaining, Some(5_000_000_000));
    let real = builder(1).build().expect("pool");
    let (.., remaining, _) = real.apply::<Who>(short(), [0_u8; 0]).expect("who");
    assert!(remaining.is_some_and(|left| left < 5_000_000_000), "{remaining:?}");
    let endless = Limits { timeout: None, ..Limits::default() };
    let pool = builder(1).limits(endless).build().expect("pool");
    let (.., remaining, _) = pool.apply::<Who>("who", [0_u8; 0]).expect("who");
    assert_eq!(remaining, None);
}

#[test]
fn an_initializer_is_no_task() {
    let manager = Manager::new();
    let go = manager.event("go").expect("event");
    for isolation in [wpool::Isolation::Fresh, wpool::Isolation::Reuse] {
        let pool = builder(1).shared(&manager).isolation(isolation).initializer("set", "go").build();
        let error = pool.expect_err("refused").to_string();
        assert!(error.contains("an initializer cannot use shared objects"), "{isolation:?}: {error}");
        assert!(!go.is_set());
        // What it says is not heard, and is no mistake.
        let listener = |index, note| panic!("{index}: {note:?}");
        let pool = builder(1).listener(listener).isolation(isolation).initializer("say", ("loud", 3)).build();
        assert_eq!(pool.expect("pool").apply::<u32>("steps", 0).expect("steps"), 0);
    }
}

#[test]
fn what_running_tasks_say_is_heard() {
    let (tell, heard) = mpsc::channel();
    let listener = move |index, note| tell.send((index, note)).expect("heard");
    let pool = builder(1).listener(listener).build().expect("pool");
    pool.starmap::<(), _>("say", [("one", 1), ("two", 2)]).expect("said");
    let said: Vec<(u64, Note)> = heard.try_iter().collect();
    let line = |text: &str| Note::Line(Level::Warn, text.to_owned());
    assert_eq!(said, [(0, line("one")), (1, line("two")), (1, line("two"))]);
    assert_eq!(pool.apply::<u32>("steps", 5).expect("steps"), 5);
    assert_eq!(heard.try_iter().next(), Some((0, Note::Progress(1, 5))), "the first at once, others now and then");
}

#[test]
fn a_listener_that_panics_changes_nothing() {
    let pool = builder(1).listener(|_, _| panic!("meant")).build().expect("pool");
    for _ in 0..3 {
        pool.apply::<()>("say", ("text", 3)).expect("said");
    }
}
