//! What is copied from CPython: its programs and ours print the same.

use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use wpool::{
    AsyncResult, CallError, CallOptions, Chunksize, Error, Kind, Manager, Module, Pool, Process, ProcessBuilder,
    SharedError,
};

use super::{drained, exception, said, same};
use crate::command::Bench;
use crate::pool::{LONG, TASKS, builder, fixture, pool, warm};
use crate::support::binary;

/// The exception that `build` stands for.
fn refusal(built: Result<Pool, Error>) -> Option<&'static str> {
    match built {
        Ok(_) => None,
        Err(Error::Usage(_)) => Some("ValueError"),
        Err(_) => Some("none of Python's"),
    }
}

#[test]
fn sizes_are_refused_where_python_refuses_them() {
    same("sizes", || {
        let three = pool(3);
        let recycled = |items| refusal(builder(TASKS).processes(1).max_tasks_per_child(items).build());
        json!({
            "three": three.processes(),
            "processes": {"0": refusal(builder(TASKS).processes(0).build())},
            "maxtasksperchild": {
                "0": recycled(0),
                "1": recycled(1),
                "none": refusal(builder(TASKS).processes(1).build()),
            },
        })
    });
}

#[test]
fn the_command_refuses_the_same_sizes() {
    let bench = Bench::new();
    let code = |option: &str, value: &str| {
        let option = format!("{option}={value}");
        bench.run(&["run", "square.wat", "--map", "[1]", &option]).code
    };
    for wrong in ["0", "-1", "x", "1.5"] {
        for option in ["--processes", "--max-tasks-per-child", "--chunksize"] {
            assert_eq!(code(option, wrong), Some(2), "{option}={wrong}");
        }
    }
    assert_eq!((code("--processes", "1"), code("--max-tasks-per-child", "1")), (Some(0), Some(0)));
}

#[test]
fn chunks_are_cut_by_pythons_formula() {
    const ITEMS: [usize; 23] =
        [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 20, 31, 32, 33, 63, 64, 65, 100, 999, 1000, 1001];
    same("chunks", || {
        let row = |workers: usize| {
            let workers = NonZeroUsize::new(workers).unwrap();
            ITEMS.map(|items| Chunksize::python(items, workers).items().unwrap_or(0)).to_vec()
        };
        let table: serde_json::Map<String, Value> =
            (1..=5).map(|workers: usize| (workers.to_string(), json!(row(workers)))).collect();
        let pool = pool(2);
        let sized = |size: usize| CallOptions::new("square").chunksize(size);
        let refused = |call: Result<_, CallError>| call.err().map(|error: CallError| exception(&error));
        let imap = |size| refused(pool.imap::<u64, _>(sized(size), [1]).map(drop));
        let unordered = |size| refused(pool.imap_unordered::<u64, _>(sized(size), [1]).map(drop));
        let values = |size| -> Vec<u64> {
            pool.imap(sized(size), 0..20_u64).expect("call").map(|square| square.expect("square")).collect()
        };
        json!({
            "items": ITEMS,
            "default": table,
            "imap": {"0": imap(0), "1": imap(1), "2": imap(2)},
            "imap_unordered": {"0": unordered(0), "1": unordered(1)},
            "values": {"1": values(1), "2": values(2), "10": values(10)},
        })
    });
}

#[test]
fn results_come_in_pythons_order() {
    same("order", || {
        let pool = warm(2);
        let one = |name: &'static str| CallOptions::new(name).chunksize(1);
        let collected = |results: Result<wpool::Results<u64>, CallError>| -> Vec<u64> {
            results.expect("call").map(|value| value.expect("value")).collect()
        };
        let mut every = collected(pool.imap_unordered("square", 0..200_u64));
        every.sort_unstable();
        json!({
            "map": pool.map::<u64, _>(one("sleep"), [60, 30, 0, 10]).expect("naps"),
            "map_in_chunks": pool.map::<u64, _>(CallOptions::new("square").chunksize(3), 0..10_u64).expect("squares"),
            "map_async": pool.map_async::<u64, _>(one("sleep"), [40, 0]).expect("call").get().expect("naps"),
            "imap": collected(pool.imap("sleep", [60, 0, 30, 0])),
            "imap_unordered": collected(pool.imap_unordered("sleep", [600, 0])),
            "every_once": every,
            "starmap": pool.starmap::<u64, _>("add", [(1, 2), (3, 4)]).expect("sums"),
            "starmap_async": pool.starmap_async::<u64, _>("add", [(5, 6), (7, 8)]).expect("call").get().expect("sums"),
            "apply": pool.apply::<u64>("square", 7).expect("square"),
            // Parameters of core functions are named by their position.
            "apply_kwds": pool.apply::<u64>(CallOptions::new("add").kwds(json!({ "1": 2 })), 1).expect("sum"),
        })
    });
}

/// What one run of the command printed: a JSON array, or a line for each
/// result.
fn printed(bench: &Bench, line: &[&str]) -> Value {
    let ran = bench.run(&[&["run", "tasks.wat"], line].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    if line.iter().any(|word| word.starts_with("--imap")) {
        ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect()
    } else {
        serde_json::from_str(&ran.out).unwrap()
    }
}

#[test]
fn the_command_gives_results_in_pythons_order() {
    let bench = Bench::new();
    std::fs::write(bench.path("tasks.wat"), TASKS).unwrap();
    same("order", || {
        let run = |name: &str, line: &[&str]| printed(&bench, &[line, &["-j", "2", "--invoke", name]].concat());
        let twenty: Vec<u64> = (0..10).collect();
        let twenty = serde_json::to_string(&twenty).unwrap();
        let all: Vec<u64> = (0..200).collect();
        let all = serde_json::to_string(&all).unwrap();
        let values = |records: Value| -> Vec<u64> {
            records.as_array().unwrap().iter().map(|record| record["value"].as_u64().unwrap()).collect()
        };
        let mut every = values(run("square", &["--imap-unordered", &all]));
        every.sort_unstable();
        json!({
            "map": run("sleep", &["--map", "[60,30,0,10]", "--chunksize", "1"]),
            "map_in_chunks": run("square", &["--map", &twenty, "--chunksize", "3"]),
            "map_async": run("sleep", &["--map", "[40,0]", "--chunksize", "1"]),
            "imap": run("sleep", &["--imap", "[60,0,30,0]"]),
            "imap_unordered": values(run("sleep", &["--imap-unordered", "[600,0]"])),
            "every_once": every,
            "starmap": run("add", &["--starmap", "[[1,2],[3,4]]"]),
            "starmap_async": run("add", &["--starmap", "[[5,6],[7,8]]"]),
            "apply": run("square", &["--apply", "7"]),
            "apply_kwds": run("add", &["--apply", "1", "--with", "1=2"]),
        })
    });
}

#[test]
fn inputs_without_a_length_and_empty_ones_are_pythons() {
    same("no_length", || {
        let pool = pool(2);
        // An iterator that does not say how many it has.
        let some = |count: u64| {
            let mut next = 0;
            std::iter::from_fn(move || {
                next += 1;
                (next <= count).then(|| next - 1)
            })
        };
        let pairs = some(5).map(|n| (n, n));
        let none = Vec::<u64>::new;
        let collected = |results: Result<wpool::Results<u64>, CallError>| -> Vec<u64> {
            let mut values: Vec<u64> = results.expect("call").map(|value| value.expect("value")).collect();
            values.sort_unstable();
            values
        };
        let nothing = pool.map_async::<u64, _>("square", none()).expect("call");
        json!({
            "map": pool.map::<u64, _>("square", some(20)).expect("squares"),
            "imap": collected(pool.imap("square", some(20))),
            "imap_unordered": collected(pool.imap_unordered("square", some(20))),
            "starmap": pool.starmap::<u64, _>("add", pairs).expect("sums"),
            "empty": {
                "map": pool.map::<u64, _>("square", none()).expect("nothing"),
                "starmap": pool.starmap::<u64, _>("add", Vec::<(u64, u64)>::new()).expect("nothing"),
                "imap": collected(pool.imap("square", none())),
                "imap_unordered": collected(pool.imap_unordered("square", none())),
                "map_async": [json!(nothing.ready()), json!(nothing.successful()), json!(nothing.get().expect("none"))],
            },
        })
    });
}

/// As Python's, whose `ValueError` is `None` here.
fn successful<T>(result: &AsyncResult<T>) -> Value {
    result.successful().map_or_else(|| "ValueError".into(), Value::from)
}

#[test]
fn async_results_say_what_pythons_say() {
    same("async_result", || {
        let pool = pool(1);
        let later: AsyncResult<u64> = pool.apply_async("sleep", 400).expect("call");
        let brief = Duration::from_millis(10);
        let before = json!({
            "ready": later.ready(),
            "successful": successful(&later),
            "wait": later.wait(brief),
            "get": said(later.get_timeout(brief)),
        });
        let after = json!({
            "get": said(later.get_timeout(LONG)),
            "again": said(later.get()),
            "ready": later.ready(),
            "successful": successful(&later),
        });
        let failed: AsyncResult<u64> = pool.apply_async("odd", 2).expect("call");
        let failure = json!({
            "get": said(failed.get_timeout(LONG)),
            "again": said(failed.get()),
            "successful": successful(&failed),
        });
        let many: AsyncResult<Vec<u64>> = pool.map_async("odd", [1, 3]).expect("call");
        let bad: AsyncResult<Vec<u64>> = pool.map_async("odd", [1, 2, 3]).expect("call");
        assert!(many.wait(LONG) && bad.wait(LONG));
        json!({
            "before": before,
            "after": after,
            "failure": failure,
            "map_async": [successful(&many), said(many.get()), successful(&bad), said(bad.get())],
        })
    });
}

#[test]
fn imap_goes_on_after_errors_and_late_values_as_pythons() {
    same("imap_errors", || {
        let pool = pool(2);
        // Without the message that a panic prints.
        let broken = |items: u64| {
            (0..=items).map(move |n| if n < items { n } else { std::panic::resume_unwind(Box::new("the input")) })
        };
        let mut naps = pool.imap::<u64, _>("sleep", [0, 500, 1]).expect("call");
        let mut next = |timeout| naps.next_timeout(timeout).map_or_else(|| "StopIteration".into(), said);
        let late = [next(LONG), next(Duration::from_millis(20)), next(LONG), next(LONG), next(LONG), next(LONG)];
        let mut unordered: Vec<String> = drained(pool.imap_unordered("odd", [1, 2, 3]).expect("call"))
            .iter()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect();
        unordered.sort_unstable();
        let input = |items| drained(pool.imap("square", broken(items)).expect("call"));
        json!({
            "goes_on": drained(pool.imap("odd", [1, 3, 4, 5, 7]).expect("call")),
            "late": late,
            "unordered": unordered,
            "broken_input": {"0": input(0), "3": input(3)},
            "map_of_a_broken_input": said(pool.map::<u64, _>("square", broken(3))),
            "pool_goes_on": pool.apply::<u64>("square", 3).expect("square"),
        })
    });
}

#[test]
fn a_map_raises_the_failure_that_came_first_after_all_have_ended() {
    same("map_failure", || {
        let pool = warm(2);
        let call = || CallOptions::new("late").chunksize(1);
        let items = || vec![601_u64, 0, 0, 1, 0, 20];
        let failure = |call: &dyn Fn() -> Result<Vec<u64>, CallError>| {
            let began = Instant::now();
            let error = call().expect_err("two fail");
            let input = error.task().and_then(|task| task.input.clone()).expect("an item");
            let item: u64 = std::str::from_utf8(&input).unwrap().parse().unwrap();
            json!({"item": item, "after_all": began.elapsed() >= Duration::from_millis(500)})
        };
        json!({
            "map": failure(&|| pool.map(call(), items())),
            "map_async": failure(&|| pool.map_async(call(), items())?.get()),
            "pool_goes_on": pool.map::<u64, _>("late", [2, 4]).expect("naps"),
        })
    });
}

/// Whether a type can be sent: the constant of the trait counts where the
/// other's bound does not hold.
struct Sent<T>(PhantomData<T>);

impl<T: Serialize> Sent<T> {
    const SENT: bool = true;
}

trait NotSent {
    const SENT: bool = false;
}

impl<T> NotSent for Sent<T> {}

#[test]
fn what_cannot_be_sent_is_refused_as_by_python() {
    same("unsendable", || {
        let echo = builder(&fixture("echo.wat")).processes(2).build().expect("pool");
        let end = Value::from("StopIteration");
        let results = echo.imap::<Value, _>("run", ["1", "no JSON", "3"]).expect("call");
        let seen: Vec<Value> = results.map(said).chain([end]).collect();
        let pool = pool(2);
        let failed = pool.apply::<u64>("odd", 4).expect_err("even");
        let place = failed.task().is_some_and(|task| &*task.function == "odd" && !task.detail.frames.is_empty());
        let [number, pool_itself] = [Sent::<u64>::SENT, Sent::<Pool>::SENT];
        assert!(number, "the test can tell what is sent");
        json!({
            "imap": seen,
            "apply": said(echo.apply::<Value>("run", "no JSON")),
            "pool_goes_on": pool.apply::<u64>("odd", 3).expect("odd"),
            "remote_place": place,
            // Where Python raises, the call does not compile.
            "given_itself": if pool_itself { Value::Null } else { "NotImplementedError".into() },
        })
    });
}

#[test]
fn callbacks_hear_what_pythons_hear() {
    same("callbacks", || {
        let pool = pool(2);
        let ((values, heard), (errors, failed)) = (channel::<u64>(), channel());
        let ((lists, all), (failed_lists, all_failed)) = (channel::<Vec<u64>>(), channel());
        for n in 0..10_u64 {
            let (value, error) = (values.clone(), errors.clone());
            let call: AsyncResult<u64> = pool.apply_async("odd", n).expect("call");
            let _call = call
                .callback(move |n| value.send(n).unwrap_or_default())
                .error_callback(move |failed| error.send(exception(&failed)).unwrap_or_default());
        }
        let squares = pool.map_async("square", [1, 2, 3]).expect("call");
        let more = pool.starmap_async("square", [[4], [5]]).expect("call");
        let odd = pool.map_async("odd", [1, 2, 3]).expect("call");
        for call in [squares, more, odd] {
            let (list, error) = (lists.clone(), failed_lists.clone());
            let _call = call
                .callback(move |values| list.send(values).unwrap_or_default())
                .error_callback(move |failed| error.send(exception(&failed)).unwrap_or_default());
        }
        pool.close();
        pool.join().expect("closed");
        drop((values, errors, lists, failed_lists));
        let (mut heard, mut all): (Vec<u64>, Vec<Vec<u64>>) = (heard.iter().collect(), all.iter().collect());
        heard.sort_unstable();
        all.sort_unstable();
        json!({
            "values": heard,
            "errors": failed.iter().collect::<Vec<_>>(),
            "lists": all,
            "failed": all_failed.iter().collect::<Vec<_>>(),
        })
    });
}

#[test]
fn a_pool_is_closed_terminated_and_joined_as_pythons() {
    fn submissions(pool: &Pool) -> Value {
        fn name<T>(result: Result<T, CallError>) -> Option<&'static str> {
            result.err().as_ref().map(exception)
        }
        json!({
            "apply": name(pool.apply::<u64>("sleep", 0)),
            "apply_async": name(pool.apply_async::<u64>("sleep", 0)),
            "map": name(pool.map::<u64, _>("sleep", [0])),
            "map_async": name(pool.map_async::<u64, _>("sleep", [0])),
            "imap": name(pool.imap::<u64, _>("sleep", [0])),
            "imap_unordered": name(pool.imap_unordered::<u64, _>("sleep", [0])),
            "starmap": name(pool.starmap::<u64, _>("sleep", [[0]])),
            "starmap_async": name(pool.starmap_async::<u64, _>("sleep", [[0]])),
        })
    }
    same("lifecycle", || {
        let closed = pool(2);
        let join_while_running = said(closed.join());
        let begun = closed.map_async::<u64, _>(CallOptions::new("sleep").chunksize(1), [30; 6]).expect("call");
        closed.close();
        let after_close = submissions(&closed);
        let join_after_close = said(closed.join());
        let terminated = pool(2);
        terminated.terminate();
        // The scope's end leaves nobody who could call the pool, but a clone
        // keeps it; what is told of it then is what `terminate` leaves.
        let left = pool(2);
        left.terminate();
        json!({
            "join_while_running": join_while_running,
            "after_close": after_close,
            "join_after_close": join_after_close,
            "what_was_begun": begun.get().expect("naps"),
            "after_terminate": submissions(&terminated),
            "join_after_terminate": said(terminated.join()),
            "after_with": said(left.apply::<u64>("sleep", 0)),
        })
    });
}

#[test]
fn a_process_has_pythons_states() {
    fn process(function: &'static str, arg: u64) -> ProcessBuilder {
        let module = Module::from_bytes("tasks.wat", TASKS).expect("module");
        Process::builder(module).function(function).args(arg).worker(binary()).with_pool(wpool::PoolBuilder::no_cache)
    }
    fn started(builder: ProcessBuilder) -> Process {
        let process = builder.build();
        process.start().expect("started");
        process
    }
    same("process", || {
        let first = process("square", 3).name("first").build();
        let before = json!([first.name(), first.daemon(), first.is_alive(), first.exit_code(), first.pid()]);
        first.start().expect("started");
        let pid = first.pid().is_some_and(|pid| pid != std::process::id() as i32);
        first.join().expect("started");
        let five: Vec<Process> = (0..5).map(|n| started(process("square", n))).collect();
        let codes: Vec<i32> = five.iter().map(|process| process.join().expect("started")).collect();
        let late = started(process("spin", 7).daemon(true));
        assert_eq!(late.join_timeout(Duration::from_millis(50)).expect("started"), None);
        let still = json!([late.is_alive(), late.exit_code(), late.daemon()]);
        late.terminate();
        late.join().expect("started");
        let killed = started(process("spin", 7));
        killed.kill();
        killed.join().expect("started");
        json!({
            "before": before,
            "pid": pid,
            "after": [json!(first.is_alive()), json!(first.exit_code())],
            "five": codes,
            "exit_7": started(process("leave", 3)).join().expect("started"),
            "failed": started(process("odd", 2)).join().expect("started"),
            "late": still,
            "terminated": [late.is_alive(), late.exit_code() == Some(-15)],
            "killed": [json!(killed.is_alive()), json!(killed.exit_code())],
        })
    });
}

#[test]
fn a_managers_queue_is_pythons() {
    fn told<T: Serialize>(result: Result<T, SharedError>) -> Value {
        match result {
            Ok(value) => serde_json::to_value(value).unwrap(),
            Err(SharedError::Full) => "Full".into(),
            Err(SharedError::Empty) => "Empty".into(),
            Err(SharedError::Refused(_)) => "ValueError".into(),
            Err(other) => other.to_string().into(),
        }
    }
    same("manager_queue", || {
        let jobs = Manager::new().queue("jobs", 3).expect("queue");
        let brief = Duration::from_millis(10);
        let empty = [told(jobs.get_timeout::<String>(brief)), told(jobs.try_get::<String>())];
        for name in ["Python", "C", "Java"] {
            jobs.put(name).expect("room");
        }
        let full = [told(jobs.put_timeout("Rust", brief)), told(jobs.try_put("Rust"))];
        let size = jobs.qsize();
        let taken: Vec<Value> = (0..3).map(|_| told(jobs.get::<String>())).collect();
        for _ in &taken {
            jobs.task_done().expect("one was taken");
        }
        assert!(jobs.join_timeout(LONG), "all are done");
        json!({
            "empty": empty,
            "full": full,
            "size": size,
            "taken": taken,
            "left": jobs.qsize(),
            "done_too_often": told(jobs.task_done()),
        })
    });
}

#[test]
fn a_result_over_its_limit_is_the_encoding_error() {
    let limits = wpool::Limits { max_result: 8, ..wpool::Limits::default() };
    let echo = builder(&fixture("echo.wat")).processes(1).limits(limits).build().expect("pool");
    let error = echo.apply::<Value>("run", "\"longer than eight\"").expect_err("too large");
    assert_eq!((error.kind(), exception(&error)), (Some(Kind::ResultTooLarge), "MaybeEncodingError"));
}
