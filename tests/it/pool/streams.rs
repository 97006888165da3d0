//! `imap`, `imap_unordered` and `outcomes`: values as they become due.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use wpool::{CallError, CallOptions, Kind, Results};

use super::{LONG, TASKS, builder, is_alive, pool, soon, warm};

/// Counts what is pulled from an input.
fn counted<T>(items: impl Iterator<Item = T>) -> (impl Iterator<Item = T>, Arc<AtomicUsize>) {
    let pulled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&pulled);
    let items = items.inspect(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    (items, pulled)
}

#[test]
fn imap_keeps_the_order_whatever_ends_first() {
    let pool = pool(2);
    let slept: Vec<u64> = pool.imap("sleep", [60, 0, 30, 0]).expect("call").map(|nap| nap.expect("nap")).collect();
    assert_eq!(slept, [60, 0, 30, 0]);
    for chunksize in [1, 2, 10] {
        let call = CallOptions::new("square").chunksize(chunksize);
        let squares: Result<Vec<u64>, CallError> = pool.imap(call, 0..1_000_u64).expect("call").collect();
        assert!(squares.expect("squares").into_iter().eq((0..1_000).map(|n| n * n)));
    }
}

#[test]
fn imap_unordered_gives_what_ends_first_and_everything_once() {
    let pool = warm(2);
    let slept: Vec<u64> = pool.imap_unordered("sleep", [400, 0]).expect("call").map(|nap| nap.expect("nap")).collect();
    assert_eq!(slept, [0, 400]);
    let mut squares: Vec<u64> =
        pool.imap_unordered("square", 0..1_000_u64).expect("call").map(|square| square.expect("square")).collect();
    squares.sort_unstable();
    assert!(squares.into_iter().eq((0..1_000).map(|n| n * n)));
}

#[test]
fn an_error_comes_at_its_place_and_the_iterator_goes_on() {
    let pool = pool(2);
    for chunksize in [1, 2] {
        let results = pool.imap::<u64, _>(CallOptions::new("odd").chunksize(chunksize), [1, 3, 4, 5, 7]).expect("call");
        let kinds: Vec<Result<u64, Option<Kind>>> =
            results.map(|result| result.map_err(|error| error.kind())).collect();
        assert_eq!(kinds, [Ok(1), Ok(3), Err(Some(Kind::Trap)), Ok(5), Ok(7)]);
    }
}

#[test]
fn a_late_value_is_a_timeout_and_the_iterator_can_be_used_on() {
    let pool = pool(1);
    let mut naps: Results<u64> = pool.imap("sleep", [0, 300, 1]).expect("call");
    assert_eq!(naps.next_timeout(LONG).expect("a first").expect("nap"), 0);
    let late = naps.next_timeout(Duration::from_millis(20)).expect("no end");
    assert!(matches!(late, Err(CallError::TimedOut)), "{late:?}");
    assert_eq!(naps.next_timeout(LONG).expect("a second").expect("nap"), 300);
    assert_eq!(naps.next().expect("a third").expect("nap"), 1);
    assert!(naps.next_timeout(LONG).is_none() && naps.next().is_none() && naps.next().is_none(), "fused");
}

#[test]
fn a_map_begins_before_its_input_has_ended() {
    let pool = pool(2);
    let (more, input) = sync_channel(1);
    let squares = pool.map_async::<u64, _>("square", input).expect("call");
    for n in 1..=3_u64 {
        more.send(n).expect("it is read");
        soon("each is run as it comes", || pool.stats().tasks == n);
        assert!(!squares.ready());
    }
    drop(more);
    assert_eq!(squares.get_timeout(LONG).expect("squares"), [1, 4, 9]);
}

#[test]
fn an_endless_input_is_pulled_as_far_as_the_window_and_dropping_ends_all() {
    let pool = pool(2);
    for window in [None, Some(50)] {
        let call = CallOptions::new("square");
        let call = window.map_or(call.clone(), |window| call.window(window));
        let (items, pulled) = counted(0_u64..);
        let mut squares: Results<u64> = pool.imap(call, items).expect("call");
        for n in 0..100 {
            assert_eq!(squares.next().expect("endless").expect("square"), n * n);
        }
        // Time to pull more, were it so inclined.
        std::thread::sleep(Duration::from_millis(20));
        let most = 100 + window.unwrap_or(2 * 2);
        assert!(pulled.load(Ordering::Relaxed) <= most, "{} pulled", pulled.load(Ordering::Relaxed));
        drop(squares);
        soon("the stream has ended", || pool.stats().pending == 0);
    }
    let workers = pool.worker_pids();
    assert!(!workers.is_empty());
    let mut hung: Results<u64> = pool.imap("spin", std::iter::repeat(7)).expect("call");
    assert!(hung.next_timeout(Duration::from_millis(20)).is_some_and(|late| late.is_err()));
    drop(hung);
    drop(pool);
    assert!(!workers.into_iter().any(is_alive), "all workers are gone after the drop");
}

#[test]
fn the_window_grows_with_the_chunk() {
    let pool = pool(2);
    let (items, pulled) = counted(0_u64..);
    let squares: Results<u64> = pool.imap(CallOptions::new("square").chunksize(10), items).expect("call");
    soon("the window is filled", || pulled.load(Ordering::Relaxed) == 40);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(pulled.load(Ordering::Relaxed), 40, "2 workers x 2 x 10");
    drop(squares);
    let fixed = builder(TASKS).processes(2).window(7).build().expect("pool");
    let (items, pulled) = counted(0_u64..);
    let _squares: Results<u64> = fixed.imap("square", items).expect("call");
    soon("the window is filled", || pulled.load(Ordering::Relaxed) == 7);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(pulled.load(Ordering::Relaxed), 7, "the pool's default");
}

#[test]
fn dropping_a_stream_kills_what_it_runs_and_nothing_else() {
    let pool = pool(2);
    let started = Instant::now();
    let mut stream: Results<u64> = pool.imap("spin", [1, 7, 7, 7]).expect("call");
    assert_eq!(stream.next().expect("a first").expect("1"), 1);
    let other = pool.apply_async::<u64>("sleep", 100).expect("call");
    drop(stream);
    assert_eq!(other.get().expect("unharmed"), 100);
    assert_eq!(pool.map::<u64, _>("sleep", [1; 4]).expect("both slots are free").len(), 4);
    assert!(started.elapsed() < LONG);
}

#[test]
fn an_input_that_panics_fails_at_the_next_position() {
    let pool = pool(2);
    let bad = |n: u64| if n < 3 { n } else { panic!("no fourth item") };
    let results: Vec<_> = pool.imap::<u64, _>("square", (0..10_u64).map(bad)).expect("call").collect();
    assert_eq!(results.len(), 4);
    let error = results.last().and_then(|last| last.as_ref().err()).expect("an error");
    let task = error.task().expect("an item's");
    assert_eq!((task.index, task.kind), (3, Kind::BadInput));
    assert!(task.message.contains("no fourth item"), "{task:?}");
    // The same in a map, whose error it is; and where packing panics.
    let error = pool.map::<u64, _>("square", (0..10_u64).map(bad)).expect_err("no fourth item");
    assert_eq!(error.task().map(|task| task.index), Some(3));
    struct Bomb(u64);
    impl serde::Serialize for Bomb {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            assert!(self.0 < 700, "too many");
            serializer.serialize_u64(self.0)
        }
    }
    for chunksize in [1, 100] {
        let call = CallOptions::new("square").chunksize(chunksize).window(2_000);
        let results: Vec<_> = pool.imap::<u64, _>(call, (0..1_000).map(Bomb)).expect("call").collect();
        assert_eq!(results.len(), 701);
        for (n, result) in (0_u64..).zip(&results[..700]) {
            assert_eq!(*result.as_ref().expect("square"), n * n);
        }
        assert!(results[700].as_ref().is_err_and(|error| error.to_string().contains("too many")));
    }
}

#[test]
fn a_pool_feeds_another() {
    let (one, two) = (pool(2), pool(1));
    let squares = one.imap::<u64, _>("square", 0..500_u64).expect("call").map(|square| square.expect("square"));
    let sums: Result<Vec<u64>, CallError> = two.imap("square", squares).expect("call").collect();
    assert!(sums.expect("fourth powers").into_iter().eq((0..500).map(|n: u64| n.pow(4))));
    // And is used by whoever reads another's results.
    for square in one.imap::<u64, _>("square", 0..50_u64).expect("call") {
        let n = square.expect("square");
        assert_eq!(two.apply::<u64>("add", (n, 1)).expect("sum"), n + 1);
    }
}

#[test]
fn outcomes_never_fail_as_a_whole() {
    let pool = pool(2);
    let call = CallOptions::new("spin").timeout(Duration::from_millis(100));
    let outcomes: Vec<_> = pool.outcomes(call, [1, 7, 2]).expect("call").collect();
    assert_eq!(outcomes.iter().map(|outcome| outcome.kind()).collect::<Vec<_>>(), [Kind::Ok, Kind::Timeout, Kind::Ok]);
    assert!(outcomes[1].usage.wall >= Duration::from_millis(100));
    assert!(outcomes.iter().all(|outcome| outcome.worker.is_some()));
}
