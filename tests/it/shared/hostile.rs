//! Guests that want more than is good: everything is bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use wpool::{CallOptions, Kind, Limits, Manager};

use super::{LONG, builder, failed, pool, soon};

#[test]
fn a_flood_of_log_lines_is_cut() {
    let heard = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heard);
    let listener = move |_, note| {
        count.fetch_add(1, Ordering::Relaxed);
        let wpool::Note::Line(_, text) = note else { panic!("{note:?}") };
        assert!(text.len() <= 4096);
    };
    let pool = builder(1).listener(listener).build().expect("pool");
    pool.apply::<()>("say", ("x".repeat(10_000), 200_000)).expect("said");
    assert_eq!(heard.swap(0, Ordering::Relaxed), 1001, "the last says that lines are left out");
    pool.apply::<()>("say", ("x", 2)).expect("said");
    assert_eq!(heard.load(Ordering::Relaxed), 2, "counted for each task");
}

#[test]
fn a_flood_of_progress_is_thinned() {
    let heard = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heard);
    let listener = move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
    };
    let pool = builder(1).listener(listener).build().expect("pool");
    assert_eq!(pool.apply::<u32>("steps", 1_000_000).expect("steps"), 1_000_000);
    let heard = heard.load(Ordering::Relaxed);
    assert!((1..10_000).contains(&heard), "{heard} of a million");
}

#[test]
fn objects_can_be_opened_without_end_but_not_kept() {
    let manager = Manager::new();
    let _hits = manager.counter("hits").expect("counter");
    let pool = pool(&manager, 1);
    assert_eq!(pool.apply::<u32>("open", ("hits", 1_000_000, true)).expect("opened"), 1_000_000);
    let error = failed(pool.apply::<u32>("open", ("hits", 1_000_000, false)));
    assert_eq!(error.kind, Kind::Trap, "{error}");
}

#[test]
fn a_queue_is_bounded_in_items_and_bytes_and_its_values_in_size() {
    const MIB: usize = 1 << 20;
    let manager = Manager::new();
    let (many, _few) = (manager.queue("many", 1_000_000).expect("queue"), manager.queue("few", 2).expect("queue"));
    let pool = pool(&manager, 2);
    let put: Vec<bool> = pool.starmap("large", vec![("many", MIB); 80]).expect("put");
    assert_eq!(put.iter().filter(|put| **put).count(), 64, "64 MiB");
    assert_eq!(many.qsize(), 64);
    let put: Vec<bool> = pool.starmap("large", [("few", 1); 4]).expect("put");
    assert_eq!(put.iter().filter(|put| **put).count(), 2);
    let error = failed(pool.apply::<bool>("large", ("few", MIB + 1)));
    assert_eq!((error.kind, error.detail.trap.as_deref()), (Kind::Trap, Some("shared-object")), "{error}");
    assert!(many.put(&"x".repeat(2 * MIB)).is_err());
}

#[test]
fn mistakes_are_the_tasks_own_failure() {
    let manager = Manager::new();
    let lock = manager.lock("l").expect("lock");
    let pool = pool(&manager, 1);
    let held = lock.lock();
    let error = failed(pool.apply::<()>("release", "l"));
    assert_eq!((error.kind, error.detail.trap.as_deref()), (Kind::Trap, Some("shared-object")), "{error}");
    assert!(error.message.contains("does not hold it"), "{error}");
    assert!(lock.try_lock().is_none(), "another's lock is not released");
    drop(held);
    let error = failed(pool.apply::<u64>("store", ("s", "k", 1)));
    assert_eq!(error.kind, Kind::Trap);
}

#[test]
fn who_waits_for_ever_is_ended_by_the_tasks_limit_in_either_mode() {
    let manager = Manager::new();
    let _event = manager.event("never").expect("event");
    for mode in [wpool::limits::TimeoutMode::Kill, wpool::limits::TimeoutMode::Trap] {
        let limits = Limits { timeout: Some(Duration::from_millis(200)), timeout_mode: mode, ..Limits::default() };
        let pool = builder(1).shared(&manager).limits(limits).build().expect("pool");
        let error = failed(pool.apply::<bool>("wait", ("never", None::<u64>)));
        assert_eq!(error.kind, Kind::Timeout, "{mode:?}: {error}");
        let error = failed(pool.apply::<bool>(CallOptions::new("wait"), ("never", Some(u64::MAX - 1))));
        assert_eq!(error.kind, Kind::Timeout, "{mode:?}: {error}");
    }
}

#[test]
fn results_that_wait_for_their_reader_keep_new_tasks_from_starting() {
    const VALUES: usize = 100;
    let manager = Manager::new();
    let queue = manager.queue("q", VALUES).expect("queue");
    let pool = pool(&manager, 2);
    let value = format!("\"{}\"", "x".repeat((1 << 20) - 2));
    let put = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..VALUES {
                // Not for ever, so that a failure below is seen.
                queue.put_bytes(value.as_bytes(), Some(LONG)).expect("put");
                put.fetch_add(1, Ordering::Relaxed);
            }
        });
        let get = CallOptions::new("get").kwds(serde_json::json!({"timeout": null})).window(VALUES);
        let results = pool.imap::<Option<String>, _>(get, vec!["q"; VALUES]).expect("call");
        let taken = || put.load(Ordering::Relaxed).saturating_sub(queue.qsize());
        soon("32 MiB of results wait", || taken() >= 30);
        std::thread::sleep(Duration::from_millis(200));
        assert!(taken() <= 40, "{} values were taken that nobody reads", taken());
        let read = results.filter(|result| matches!(result, Ok(Some(text)) if text.len() == value.len())).count();
        assert_eq!(read, VALUES);
    });
}
