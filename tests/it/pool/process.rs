//! `Process`: one call in a process of its own.

use std::collections::HashSet;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use wpool::{CallError, CallOptions, Kind, Limits, Module, Process, ProcessBuilder};

use super::{LONG, TASKS, is_alive, soon};
use crate::support::binary;

fn builder(function: &'static str) -> ProcessBuilder {
    let module = Module::from_bytes("tasks.wat", TASKS).expect("module");
    Process::builder(module).function(function).worker(binary()).with_pool(wpool::PoolBuilder::no_cache)
}

fn spin() -> Process {
    let process = builder("spin").args(7).build();
    process.start().expect("started");
    process
}

#[test]
fn p17_five_processes_are_started_and_joined() {
    let square = |n: u64| builder("square").args(n).name(format!("square of {n}")).build();
    let five: Vec<Process> = (0..5).map(square).collect();
    assert!(five.iter().all(|process| !process.is_alive() && process.pid().is_none() && process.exit_code().is_none()));
    for process in &five {
        process.start().expect("started");
    }
    let pids: HashSet<i32> = five.iter().filter_map(Process::pid).collect();
    assert_eq!(pids.len(), 5, "a process each: {pids:?}");
    for (n, process) in (0_u64..).zip(&five) {
        assert_eq!(process.join().expect("started"), 0);
        assert!(!process.is_alive());
        assert_eq!((process.exit_code(), process.name()), (Some(0), format!("square of {n}").as_str()));
        assert_eq!(process.result::<u64>().expect("square"), n * n);
    }
    assert!(!pids.into_iter().any(is_alive), "gone, and reaped");
}

#[test]
fn p17_a_subclass_is_a_function_that_builds_the_call() {
    fn nap(ms: u64) -> ProcessBuilder {
        builder("sleep").args(ms).name(format!("nap of {ms} ms"))
    }
    let process = nap(20).build();
    process.start().expect("started");
    assert_eq!((process.name(), process.join().expect("started")), ("nap of 20 ms", 0));
}

#[test]
fn p17_names_are_given_where_none_is() {
    let (one, two) = (builder("square").build(), builder("square").build());
    assert!(one.name().starts_with("Process-") && one.name() != two.name(), "{one:?} {two:?}");
    assert!(!one.daemon() && builder("square").daemon(true).build().daemon());
}

#[test]
fn p17_join_with_a_timeout_then_terminate_or_kill() {
    let process = spin();
    let pid = process.pid().expect("started");
    assert_eq!(process.join_timeout(Duration::from_millis(50)).expect("started"), None);
    assert!(process.is_alive() && is_alive(pid) && process.exit_code().is_none());
    process.terminate();
    assert_eq!(process.join().expect("started"), -15);
    assert!(!process.is_alive() && !is_alive(pid));
    assert_eq!(process.pid(), Some(pid), "known after the end, too");
    assert_eq!(process.result::<u64>().expect_err("ended").kind(), Some(Kind::Cancelled));
    let process = spin();
    process.kill();
    process.terminate();
    assert_eq!((process.join().expect("started"), process.exit_code()), (-9, Some(-9)));
    process.kill();
    process.terminate();
    assert_eq!(process.exit_code(), Some(-9), "what has ended stays so");
}

#[test]
fn p17_terminate_before_the_call_has_begun_ends_it() {
    for _ in 0..5 {
        let process = spin();
        process.terminate();
        assert_eq!(process.join_timeout(LONG).expect("started"), Some(-15));
    }
}

#[test]
fn exit_codes_say_how_it_ended() {
    let ended = |process: Process| {
        process.start().expect("started");
        (process.join().expect("started"), process.result::<u64>().err().and_then(|error| error.kind()))
    };
    assert_eq!(ended(builder("square").args(3).build()), (0, None));
    assert_eq!(ended(builder("leave").args(3).build()), (7, Some(Kind::Exit)));
    assert_eq!(ended(builder("odd").args(2).build()), (1, Some(Kind::Trap)));
    assert_eq!(ended(builder("square").args("no number").build()), (1, Some(Kind::BadInput)));
    let short = Limits { timeout: Some(Duration::from_millis(100)), ..Limits::default() };
    assert_eq!(ended(builder("spin").args(7).limits(short).build()), (-9, Some(Kind::Timeout)));
    let call = CallOptions::new("spin").timeout(Duration::from_millis(100));
    assert_eq!(ended(builder("spin").function(call).args(7).build()), (-9, Some(Kind::Timeout)));
}

#[test]
fn a_process_that_is_killed_from_outside_is_not_started_again() {
    let process = spin();
    let pid = process.pid().expect("started");
    let named = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(named, rustix::process::Signal::KILL).expect("killed");
    assert_eq!(process.join_timeout(LONG).expect("started"), Some(-9));
    let error = process.result::<u64>().expect_err("killed");
    let task = error.task().expect("a task's");
    assert_eq!((task.kind, task.detail.signal), (Kind::WorkerCrashed, Some(9)), "{error}");
    assert!(task.attempts <= 1 && !is_alive(pid));
}

#[test]
fn what_was_not_started_cannot_be_joined_and_starts_once() {
    let process = builder("square").args(3).build();
    for error in [process.join().err(), process.join_timeout(LONG).err(), process.result::<u64>().err()] {
        assert!(matches!(error, Some(CallError::Usage(_))), "{error:?}");
    }
    process.terminate();
    process.start().expect("started");
    let twice = process.start().expect_err("once only");
    assert!(twice.to_string().contains("started before"), "{twice}");
    assert_eq!(process.result::<u64>().expect("unharmed"), 9);
    let unknown = builder("sqare").args(3).build();
    assert!(unknown.start().expect_err("no such function").to_string().contains("did you mean `square`"));
    assert!(!unknown.is_alive());
}

#[test]
fn dropping_a_process_waits_for_it_and_ends_a_daemon() {
    let nap = builder("sleep").args(100).build();
    nap.start().expect("started");
    let (pid, began) = (nap.pid().expect("started"), Instant::now());
    drop(nap);
    assert!(began.elapsed() >= Duration::from_millis(50) && !is_alive(pid), "it was waited for");
    let daemon = builder("spin").args(7).daemon(true).build();
    daemon.start().expect("started");
    let pid = daemon.pid().expect("started");
    drop(daemon);
    assert!(!is_alive(pid));
}

#[test]
fn a_process_may_be_watched_and_ended_by_other_threads() {
    let process = spin();
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| process.join().expect("started"))).collect();
        soon("it runs", || process.is_alive());
        process.kill();
        for code in waiting {
            assert_eq!(code.join().expect("thread"), -9);
        }
    });
}

#[test]
fn p18_results_of_processes_through_a_queue_put_in_order_by_index() {
    // The host's own queue; one that guests can use is the Manager's.
    let (queue, results) = channel();
    let naps = [300, 10, 20_u64];
    let processes: Vec<Process> = naps.iter().map(|ms| builder("sleep").args(*ms).build()).collect();
    processes.iter().for_each(|process| process.start().expect("started"));
    std::thread::scope(|scope| {
        for (index, process) in processes.iter().enumerate() {
            let queue = queue.clone();
            scope.spawn(move || queue.send((index, process.result::<u64>().expect("nap"))).expect("heard"));
        }
    });
    drop(queue);
    let mut arrived: Vec<(usize, u64)> = results.iter().collect();
    assert_eq!(arrived.last(), Some(&(0, 300)), "as they came: {arrived:?}");
    arrived.sort_unstable();
    assert_eq!(arrived, [(0, 300), (1, 10), (2, 20)]);
}
