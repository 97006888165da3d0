//! Which function is called, with what, and what comes back.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wpool::{CallError, CallOptions, Error, Isolation, Kind, Limits, ResultAs};

use super::{TASKS, builder, fixture, pool};

#[test]
fn map_gives_one_list_in_the_order_of_the_items() {
    let pool = pool(2);
    let squares: Vec<u64> = pool.map("square", [1, 2, 3, 4]).expect("squares");
    assert_eq!(squares, [1, 4, 9, 16]);
    // The first sleeps longest.
    let slept: Vec<u64> = pool.map("sleep", [60, 30, 0, 10]).expect("naps");
    assert_eq!(slept, [60, 30, 0, 10]);
}

#[test]
fn an_empty_map_is_an_empty_list_at_once() {
    let pool = pool(1);
    let none: Vec<u64> = pool.map("square", Vec::<u64>::new()).expect("nothing");
    assert!(none.is_empty());
    for _ in 0..100 {
        let later = pool.map_async::<u64, _>("square", Vec::<u64>::new()).expect("call");
        assert!(later.ready() && later.successful() == Some(true));
        assert!(later.get().expect("nothing").is_empty());
    }
}

#[test]
fn any_export_is_called_by_name_on_one_pool() {
    let pool = pool(2);
    assert_eq!(pool.apply::<u64>("square", 5).expect("square"), 25);
    assert_eq!(pool.apply::<u64>("add", (5, 6)).expect("add"), 11);
    let odd: Vec<u64> = pool.map("odd", [1, 3]).expect("odd");
    assert_eq!(odd, [1, 3]);
    let (squares, sums) = std::thread::scope(|scope| {
        let squares = scope.spawn(|| pool.map::<u64, _>("square", 0..5_000_u64).expect("squares"));
        let sums = scope.spawn(|| pool.starmap::<u64, _>("add", (0..5_000_u64).map(|n| (n, n))).expect("sums"));
        (squares.join().expect("thread"), sums.join().expect("thread"))
    });
    assert!(squares.into_iter().eq((0..5_000).map(|n| n * n)));
    assert!(sums.into_iter().eq((0..5_000).map(|n| n + n)));
}

#[test]
fn a_function_that_is_not_there_is_named_with_its_neighbours() {
    let pool = pool(1);
    let error = pool.apply::<u64>("sqare", 1).expect_err("no such function").to_string();
    assert!(error.contains("no function `sqare`") && error.contains("did you mean `square`"), "{error}");
    let error = pool.map::<u64, _>("add", [1]).expect_err("two parameters").to_string();
    assert!(error.contains("takes 2 parameters"), "{error}");
    let error = pool.apply::<u64>(CallOptions::default(), 1).expect_err("many functions").to_string();
    assert!(error.contains("choose one"), "{error}");
}

#[test]
fn a_call_without_a_name_is_of_the_only_function() {
    let pool = builder(&fixture("square.wat")).processes(1).build().expect("pool");
    assert_eq!(pool.apply::<u64>(CallOptions::default(), 4).expect("square"), 16);
}

#[test]
fn starmap_spreads_by_position_and_by_name() {
    let pool = builder(&fixture("component.wat")).processes(2).build().expect("pool");
    let sums: Vec<i32> = pool.starmap("add", [(1, 2), (3, 4)]).expect("sums");
    assert_eq!(sums, [3, 7]);
    #[derive(Serialize)]
    struct Pair {
        b: i32,
        a: i32,
    }
    let sums: Vec<i32> = pool.starmap("add", [Pair { b: 1, a: 2 }, Pair { b: 3, a: 4 }]).expect("sums");
    assert_eq!(sums, [3, 7]);
    let later = pool.starmap_async::<i32, _>("add", vec![json!([5, 6]), json!({"a": 7, "b": 8})]).expect("call");
    assert_eq!(later.get().expect("sums"), [11, 15]);
    let error = pool.starmap::<i32, _>("add", [json!({"a": 1, "c": 2})]).expect_err("no c");
    assert_eq!(error.kind(), Some(Kind::BadInput));
}

#[test]
fn kwds_fill_parameters_by_their_names() {
    let pool = builder(&fixture("component.wat")).processes(1).build().expect("pool");
    let ten = || CallOptions::new("add").kwds(json!({ "b": 10 }));
    assert_eq!(pool.apply::<i32>(ten(), 1).expect("one left"), 11);
    assert_eq!(pool.apply::<i32>(CallOptions::new("add").kwds(json!({"a": 1, "b": 2})), ()).expect("none left"), 3);
    assert_eq!(pool.map::<i32, _>(ten(), [1, 2]).expect("sums"), [11, 12]);
    assert_eq!(pool.starmap::<i32, _>(ten(), [[1], [2]]).expect("sums"), [11, 12]);
    assert_eq!(pool.apply_async::<i32>(ten(), 5).expect("call").get().expect("sum"), 15);
    let twice = pool.starmap::<i32, _>(ten(), [json!({"a": 1, "b": 2})]).expect_err("b twice");
    assert!(twice.to_string().contains("given twice"), "{twice}");
    let unknown = pool.apply::<i32>(CallOptions::new("add").kwds(json!({"a": 1, "c": 2})), 3).expect_err("no c");
    assert_eq!(unknown.kind(), Some(Kind::BadInput), "{unknown}");
    let none = pool.apply::<i32>(CallOptions::new("add").kwds(3), 3).expect_err("no object");
    assert!(matches!(none, CallError::Usage(_)), "{none}");
}

#[test]
fn values_are_typed_by_serde_or_raw_json() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Point {
        x: i32,
        y: Option<i32>,
    }
    let pool = builder(&fixture("component.wat")).processes(1).build().expect("pool");
    let swapped: Point = pool.apply("swap", Point { x: 1, y: Some(2) }).expect("point");
    assert_eq!(swapped, Point { x: 2, y: Some(1) });
    let value: Value = pool.apply("swap", json!({"x": 3})).expect("point");
    assert_eq!(value, json!({"x": 0, "y": 3}));
    let raw: Box<RawValue> =
        pool.apply("swap", RawValue::from_string(r#"{"x":5,"y":6}"#.to_owned()).expect("raw")).expect("raw");
    assert_eq!(raw.get().replace(' ', ""), r#"{"x":6,"y":5}"#);
    // Text comes back as text, as JSON, and raw.
    assert_eq!(pool.apply::<String>("run", "a \"b\"\n").expect("text"), "a \"b\"\n");
    assert_eq!(pool.apply::<Value>("run", "ä").expect("text"), json!("ä"));
    assert_eq!(pool.apply::<Box<RawValue>>("run", "a\"").expect("raw").get(), r#""a\"""#);
    let wrong = pool.map::<u8, _>("run", ["1", "x"]).expect_err("text is no number");
    assert!(matches!(wrong, CallError::Value { index: 0, .. }), "{wrong:?}");
}

#[test]
fn bytes_go_and_come_as_they_are() {
    let pool = builder(&fixture("echo.wat")).result(ResultAs::Bytes).processes(2).build().expect("pool");
    let all: Vec<u8> = (0..=255).collect();
    let echoed: Vec<u8> = pool.apply("run", Bytes::from(all.clone())).expect("bytes");
    assert_eq!(echoed, all);
    let many: Vec<Bytes> =
        pool.map("run", vec![Bytes::from_static(b"\x00\xff"), Bytes::from(vec![7; 100_000])]).expect("bytes");
    assert_eq!((many[0].as_ref(), many[1].len()), (&b"\x00\xff"[..], 100_000));
    // A string's characters, a value's JSON text.
    assert_eq!(pool.apply::<String>("run", "text").expect("text"), "text");
    assert_eq!(pool.apply::<String>("run", json!({"a": [1]})).expect("text"), r#"{"a":[1]}"#);
    assert_eq!(pool.apply::<Value>("run", "\u{1}").expect("list"), json!([1]));
    assert_eq!(pool.apply::<Box<RawValue>>("run", "\u{1}").expect("raw").get(), "[1]");
    let failed = pool.apply::<Vec<u8>>("run", "!reason").expect_err("the guest's own error");
    assert!(failed.kind() == Some(Kind::Error) && failed.to_string().contains("reason"), "{failed}");
}

#[test]
fn a_command_is_called_as_a_function() {
    let pool = builder(&fixture("cat.wat")).processes(1).build().expect("pool");
    assert_eq!(pool.apply::<String>(CallOptions::default(), "hello").expect("stdout"), "hello");
    let lines: Vec<String> = pool.map("_start", ["a", "b"]).expect("stdout");
    assert_eq!(lines, ["a", "b"]);
}

#[test]
fn the_error_of_a_map_is_the_first_to_come_after_all_items_ended() {
    let pool = pool(2);
    // Item 0 ends last, by the clock; items 1 and 40 fail at once.
    let call = CallOptions::new("spin").timeout(Duration::from_millis(300));
    let items = (0..41_u64).map(|n| {
        if n == 0 {
            json!(7)
        } else if n == 1 || n == 40 {
            json!("x")
        } else {
            json!(n + 100)
        }
    });
    let error = pool.map::<u64, _>(call, items).expect_err("three fail");
    let task = error.task().expect("a task's");
    assert!(task.index == 1 || task.index == 40, "{task:?}");
    assert_eq!((task.kind, task.input.as_deref()), (Kind::BadInput, Some(&b"\"x\""[..])));
    assert!(pool.stats().tasks >= 40, "all were run, and all but the late one reported: {:?}", pool.stats());
}

#[test]
fn an_error_names_the_item_the_function_and_the_place() {
    let pool = pool(1);
    let error = pool.map::<u64, _>("odd", [1, 3, 4]).expect_err("4 is even");
    let task = error.task().expect("a task's");
    assert_eq!((task.index, &*task.function, task.kind), (2, "odd", Kind::Trap));
    assert_eq!((task.input.as_deref(), task.attempts, task.worker), (Some(&b"4"[..]), 1, Some(0)));
    assert!(!task.detail.frames.is_empty(), "the guest's frames: {task:?}");
    assert!(error.to_string().starts_with("item 2 of `odd`: trap"), "{error}");
}

#[test]
fn one_bad_item_of_a_chunk_costs_no_other() {
    let pool = pool(2);
    let outcomes = pool.outcomes(CallOptions::new("odd").chunksize(4), [1, 3, 4, 5, 7, 6, 9, 11]).expect("call");
    let kinds: Vec<Kind> = outcomes.map(|outcome| outcome.kind()).collect();
    let (ok, trap) = (Kind::Ok, Kind::Trap);
    assert_eq!(kinds, [ok, ok, trap, ok, ok, trap, ok, ok]);
}

#[test]
fn a_calls_timeout_tightens_the_pools() {
    let pool = pool(2);
    let call = CallOptions::new("spin").timeout(Duration::from_millis(100));
    let outcomes = pool.outcomes(call, [1, 7, 2, 3]).expect("call");
    let kinds: Vec<Kind> = outcomes.map(|outcome| outcome.kind()).collect();
    assert_eq!(kinds, [Kind::Ok, Kind::Timeout, Kind::Ok, Kind::Ok]);
    let short = builder(TASKS).processes(1);
    let limits = Limits { timeout: Some(Duration::from_millis(100)), ..Limits::default() };
    let short = short.limits(limits).build().expect("pool");
    let long = CallOptions::new("spin").timeout(super::LONG * 10);
    let error = short.apply::<u64>(long, 7).expect_err("the pool's limit holds");
    assert!(error.kind() == Some(Kind::Timeout) && error.to_string().contains("100ms"), "{error}");
}

#[test]
fn sizes_under_one_are_errors() {
    let zero = builder(TASKS).processes(0).build().expect_err("no processes").to_string();
    assert!(zero.contains("processes is 0"), "{zero}");
    assert!(builder(TASKS).max_tasks_per_child(0).build().is_err());
    assert!(builder(TASKS).window(0).build().is_err());
    let pool = pool(1);
    let chunks = pool.imap::<u64, _>(CallOptions::new("square").chunksize(0), [1]).expect_err("no chunk");
    assert!(matches!(chunks, CallError::Usage(_)) && chunks.to_string().contains("chunksize"), "{chunks}");
    assert!(pool.imap::<u64, _>(CallOptions::new("square").window(0), [1]).is_err());
    assert!(pool.map::<u64, _>(CallOptions::new("square").chunksize(0), [1]).is_err());
    let timeout = pool.apply::<u64>(CallOptions::new("square").timeout(Duration::ZERO), 1).expect_err("no time");
    assert!(matches!(timeout, CallError::Usage(_)) && timeout.to_string().contains("timeout is 0"), "{timeout}");
}

#[test]
fn settings_that_nothing_could_work_under_are_errors_as_on_the_command_line() {
    for processes in [4097, 1_000_000, usize::MAX] {
        let error = builder(TASKS).processes(processes).build().expect_err("too many").to_string();
        assert!(error.contains("at most 4096"), "{error}");
    }
    let zero = Duration::ZERO;
    let some = Limits::default();
    for (limits, word) in [
        (Limits { timeout: Some(zero), ..some.clone() }, "timeout is 0"),
        (Limits { cpu_timeout: Some(zero), ..some.clone() }, "cpu_timeout is 0"),
        (Limits { memory: 0, ..some.clone() }, "memory is 0"),
        (Limits { fuel: Some(0), ..some.clone() }, "fuel is 0"),
        (Limits { stack: 0, ..some.clone() }, "stack is 0"),
        (Limits { stack: u64::MAX, ..some.clone() }, "stack is too large"),
        (Limits { max_item: 0, ..some.clone() }, "max_item is 0"),
        (Limits { max_item: u64::MAX, ..some.clone() }, "max_item is too large"),
        (Limits { max_result: 0, ..some.clone() }, "max_result is 0"),
        (Limits { max_result: u64::MAX, ..some }, "max_result is too large"),
    ] {
        let error = builder(TASKS).processes(1).limits(limits).build().expect_err(word);
        assert!(matches!(error, Error::Usage(_)) && error.to_string().contains(word), "{error}");
    }
}

#[test]
fn a_result_that_cannot_be_sent_is_that_items_error() {
    // Bytes that are no JSON, where JSON is expected.
    let pool = builder(&fixture("echo.wat")).processes(1).build().expect("pool");
    let error = pool.apply::<Value>("run", "no json").expect_err("no JSON");
    assert_eq!(error.kind(), Some(Kind::BadOutput), "{error}");
    assert_eq!(pool.apply::<Value>("run", "[1]").expect("the pool goes on"), json!([1]));
}

#[test]
fn an_item_that_cannot_be_sent_fails_alone() {
    struct Odd(u64);
    impl Serialize for Odd {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if self.0.is_multiple_of(2) {
                Err(serde::ser::Error::custom("even"))
            } else {
                serializer.serialize_u64(self.0)
            }
        }
    }
    let pool = pool(1);
    let kinds: Vec<Kind> =
        pool.outcomes("square", (0..4).map(Odd)).expect("call").map(|outcome| outcome.kind()).collect();
    assert_eq!(kinds, [Kind::BadInput, Kind::Ok, Kind::BadInput, Kind::Ok]);
    let error = pool.apply::<u64>("square", Odd(2)).expect_err("even");
    assert!(error.to_string().contains("cannot be sent: even"), "{error}");
}

#[test]
fn workers_are_replaced_after_items_not_chunks() {
    let pool = builder(TASKS).processes(1).max_tasks_per_child(1).build().expect("pool");
    let call = CallOptions::new("square").chunksize(6);
    assert_eq!(pool.map::<u64, _>(call, 0..12_u64).expect("squares").len(), 12);
    assert_eq!(pool.stats().workers_started, 12, "{:?}", pool.stats());
}

#[test]
fn isolation_says_what_survives_a_task() {
    let fresh = pool(1);
    assert_eq!(fresh.map::<u64, _>("count", [0; 3]).expect("counts"), [1, 1, 1]);
    let kept = builder(TASKS).processes(1).isolation(Isolation::Reuse).build().expect("pool");
    assert_eq!(kept.map::<u64, _>("count", [0; 3]).expect("counts"), [1, 2, 3]);
}
