//! Initializers that fail, that cannot be called, and whose state no snapshot
//! carries: the run does not start, and says why.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::guests::{BYTES, COMPONENT, CORE};
use super::{granted, marks, run, with};
use crate::command::Ran;
use crate::support::children_of;

/// Longer than anything here takes, unless it hangs.
const LONG: Duration = Duration::from_secs(60);

#[track_caller]
fn refused(ran: &Ran, words: &[&str]) {
    assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "{word}: {}", ran.err);
    }
}

#[test]
fn a_failing_initializer_ends_the_start_with_its_kind_and_words() {
    let bench = with(CORE);
    let words = r"  stderr | my last \x1b words";
    for isolation in ["fresh", "reuse", "process"] {
        let fails = |initializer: &str, more: &[&str], said: &[&str]| {
            let options = [&["--isolation", isolation, "-j2"], more].concat();
            refused(&run(&bench, initializer, &options), said);
        };
        fails("trap", &[], &["initializer `trap`: trap: unreachable", words]);
        fails("exit=0", &[], &["initializer `exit`: exit: exit code 0", r"  stdout | my last \x1b words"]);
        fails("exit=7", &[], &["initializer `exit`: exit: exit code 7"]);
        let late = ["ran longer than 300ms (raise it with --timeout)"];
        fails("loop", &["--timeout", "300ms"], &[late[0], words]);
        fails("sleep", &["--timeout", "300ms"], &late);
        fails("flood", &["--timeout", "300ms"], &late);
        fails("loop", &["--timeout", "300ms", "--timeout-mode", "trap"], &[late[0], words]);
        fails("loop", &["--cpu-timeout", "200ms"], &["used the processor longer than 200ms", "--cpu-timeout"]);
        fails("bomb", &["--memory", "64MiB"], &["out-of-memory: needed more than 64MiB", "--memory"]);
        fails("loop", &["--fuel", "1000000"], &["out-of-fuel", "--fuel"]);
        fails("deep", &["--stack", "64KiB"], &["stack-overflow", "--stack"]);
    }
    // A failure is of the call: nothing of it is kept.
    refused(&run(&bench, "trap", &[]), &[words]);
}

#[test]
fn an_error_that_the_initializer_gives_is_its_failure() {
    for isolation in ["fresh", "reuse"] {
        let options = ["--isolation", isolation];
        refused(&run(&with(COMPONENT), r#"init=["", 0]"#, &options), &["initializer `init`: error: no word"]);
        refused(&run(&with(BYTES), r#"init="x marks""#, &options), &["initializer `init`: error: x marks"]);
    }
}

#[test]
fn a_wrong_name_lists_what_there_is_and_wrong_arguments_say_where() {
    let (core, component) = (with(CORE), with(COMPONENT));
    for isolation in ["fresh", "reuse"] {
        let options = ["--isolation", isolation];
        let said =
            ["--initializer: no function `inti` in the module; did you mean `init`?", "pair: func(0: i64, 1: i64)"];
        refused(&run(&core, "inti", &options), &said);
        refused(&run(&core, "init", &options), &["`init` takes arguments: init=JSON", "init: func(0: i64)"]);
        refused(&run(&core, "init=1.5", &options), &["the arguments of `init` do not fit: $: "]);
        refused(&run(&core, "pair=1", &options), &["the arguments of `pair` do not fit: $: "]);
        refused(&run(&core, "pair=[1]", &options), &["the arguments of `pair` do not fit: "]);
        refused(&run(&core, "pair=[1, true]", &options), &["the arguments of `pair` do not fit: $[1]: "]);
        refused(&run(&core, "seven=7", &options), &["the arguments of `seven` do not fit: $: "]);
        refused(&run(&component, r#"init=["a", 300]"#, &options), &["$[1]: 300 does not fit u8"]);
        refused(&run(&component, r#"init={"word": "a", "m": 3}"#, &options), &["the arguments of `init` do not fit: "]);
    }
    for bad in ["=1", "init=", "init=abc"] {
        assert_eq!(run(&core, bad, &[]).code, Some(2), "{bad}");
    }
}

/// Modules whose state is more than memories and numbers, and the reason that
/// is given.
const LOSSY: [(&str, &str); 7] = [
    (
        r#"(module (table 1 funcref) (func (export "init") (drop (table.grow (ref.null func) (i32.const 1))))
            (func (export "run") (param i32) (result i32) (table.size)))"#,
        "table.grow",
    ),
    (
        r#"(module (table 2 funcref) (func $f (export "f")) (elem declare func $f)
            (func (export "init") (table.set (i32.const 0) (ref.func $f)))
            (func (export "run") (param i32) (result i32) (local.get 0)))"#,
        "table.set",
    ),
    (
        r#"(module (memory 1) (data $d "abc") (func (export "init") (data.drop $d))
            (func (export "run") (param i32) (result i32) (local.get 0)))"#,
        "data.drop",
    ),
    (
        r#"(module (global (mut funcref) (ref.null func)) (func (export "init"))
            (func (export "run") (param i32) (result i32) (local.get 0)))"#,
        "reference",
    ),
    (
        r#"(component
            (component $inner
              (core module $m (func (export "init")) (func (export "run") (param i32) (result i32) (local.get 0)))
              (core instance $i (instantiate $m))
              (func (export "init") (canon lift (core func $i "init")))
              (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run"))))
            (instance $in (instantiate $inner))
            (alias export $in "init" (func $init)) (alias export $in "run" (func $run))
            (export "init" (func $init)) (export "run" (func $run)))"#,
        "nested components",
    ),
    (
        r#"(component
            (core module $m (memory (export "memory") 1 1) (func (export "init"))
              (func (export "run") (param i32) (result i32) (local.get 0)))
            (core instance $i (instantiate $m))
            (func (export "init") (canon lift (core func $i "init")))
            (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run"))))"#,
        "largest size",
    ),
    (
        r#"(component
            (type $thing (resource (rep i32)))
            (core func $new (canon resource.new $thing))
            (core func $rep (canon resource.rep $thing))
            (core module $m
              (import "" "new" (func $new (param i32) (result i32)))
              (import "" "rep" (func $rep (param i32) (result i32)))
              (global $handle (mut i32) (i32.const 0))
              (func (export "init") (global.set $handle (call $new (i32.const 5))))
              (func (export "run") (param i32) (result i32) (call $rep (global.get $handle))))
            (core instance $i (instantiate $m (with "" (instance (export "new" (func $new)) (export "rep" (func $rep))))))
            (func (export "init") (canon lift (core func $i "init")))
            (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run"))))"#,
        "resources of its own",
    ),
];

#[test]
fn what_a_snapshot_cannot_carry_is_refused_with_the_way_out() {
    for (wat, cause) in LOSSY {
        let bench = with(wat);
        for isolation in ["fresh", "process"] {
            let ran = run(&bench, "init", &["--isolation", isolation]);
            refused(&ran, &["a snapshot after the initializer cannot be taken", cause, "--isolation reuse"]);
        }
        let ran = run(&bench, "init", &["--isolation", "reuse"]);
        assert_eq!(ran.code, Some(0), "{cause}: {}", ran.err);
    }
}

#[test]
fn open_files_and_handles_are_no_state_of_a_snapshot() {
    let bench = with(CORE);
    let dir = granted(&bench);
    let ran = run(&bench, "mark-open", &["--dir", &dir]);
    refused(&ran, &["left a file open", "--isolation reuse"]);
    assert_eq!(run(&bench, "mark-open", &["--dir", &dir, "--isolation", "reuse", "-j1"]).code, Some(0));
    // A core module's streams are numbers; a component's are handles.
    assert_eq!(run(&bench, "say=1", &[]).out, "[2,3]\n");
    let bench = with(PRINTS);
    refused(&run(&bench, "init", &[]), &["the initializer printed", "--isolation reuse"]);
    assert_eq!(run(&bench, "init", &["--isolation", "reuse", "-j1"]).out, "[1,2]\n");
    // One that was given back is not missed.
    assert_eq!(run(&bench, "tidy", &[]).out, "[1,2]\n");
}

/// Takes the handle of standard error; `tidy` gives it back.
const PRINTS: &str = r#"(component
  (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $e))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $e (type $outer)) (export "error" (type (eq $outer)))
    (export "output-stream" (type (sub resource)))))
  (alias export $streams "output-stream" (type $stream))
  (import "wasi:cli/stderr@0.2.0" (instance $stderr
    (alias outer 1 $stream (type $outer)) (export "output-stream" (type $s (eq $outer)))
    (export "get-stderr" (func (result (own $s))))))
  (alias export $stderr "get-stderr" (func $get))
  (core func $get (canon lower (func $get)))
  (core func $drop (canon resource.drop $stream))
  (core module $m
    (import "" "get" (func $get (result i32)))
    (import "" "drop" (func $drop (param i32)))
    (func (export "init") (drop (call $get)))
    (func (export "tidy") (call $drop (call $get)))
    (func (export "run") (param i32) (result i32) (local.get 0)))
  (core instance $i (instantiate $m (with "" (instance (export "get" (func $get)) (export "drop" (func $drop))))))
  (func (export "init") (canon lift (core func $i "init")))
  (func (export "tidy") (canon lift (core func $i "tidy")))
  (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run"))))"#;

#[test]
fn ctrl_c_ends_a_run_that_is_still_in_its_initializer() {
    for isolation in ["fresh", "reuse"] {
        let bench = with(CORE);
        let line = ["run", "guest.wat", "--initializer", "loop", "--invoke", "run", "--map", "[1]", "--grace", "100ms"];
        let mut command = bench.command(&[&line[..], &["--isolation", isolation, "--timeout", "none"]].concat());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        // It has said its words once its worker burns.
        while !children_of(child.id()).iter().any(|pid| has_used(*pid, Duration::from_millis(100))) {
            assert!(started.elapsed() < LONG, "{isolation}: the initializer runs");
            std::thread::sleep(Duration::from_millis(5));
        }
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < LONG, "{isolation}: it goes on");
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(status.code(), Some(130), "{isolation}");
    }
}

#[test]
fn an_initializer_whose_worker_is_killed_once_is_called_again() {
    for (isolation, kills, code, out) in [("fresh", 1, 0, "[1]"), ("fresh", 2, 3, ""), ("reuse", 1, 0, "[1]")] {
        let bench = with(CORE);
        let dir = granted(&bench);
        let line = ["run", "guest.wat", "--initializer", "mark-nap", "--invoke", "run", "--map", "[1]", "--dir", &dir];
        let child = bench.command(&[&line[..], &["--isolation", isolation, "-j1"]].concat()).spawn().unwrap();
        let started = Instant::now();
        for kill in 1..=kills {
            while marks(&bench) < kill {
                assert!(started.elapsed() < LONG, "{isolation}: the initializer is called");
                std::thread::sleep(Duration::from_millis(5));
            }
            let workers = children_of(child.id());
            assert_eq!(workers.len(), 1, "{isolation}");
            assert!(Command::new("kill").args(["-s", "KILL", &workers[0].to_string()]).status().unwrap().success());
        }
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.out.trim_end()), (Some(code), out), "{isolation}: {}", ran.err);
        let said =
            code == 0 || ran.err.contains("initializer `mark-nap`: worker-crashed: the worker was ended by signal 9");
        assert!(said, "{}", ran.err);
        assert_eq!(marks(&bench), if code == 0 { kills + 1 } else { kills }, "{isolation}");
    }
}

/// Whether a process has used so much processor time.
fn has_used(pid: i32, time: Duration) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let ticks = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(11)?.parse::<u64>().ok());
    // A tick is a hundredth of a second.
    ticks.is_some_and(|ticks| Duration::from_millis(10 * ticks) >= time)
}
