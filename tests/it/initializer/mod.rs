//! `--initializer`: what every task finds, how often it is called, what its
//! failures come to, what a snapshot cannot carry, what is kept of it.

mod failures;
mod guests;
mod kept;
mod walls;

use serde_json::Value;

use crate::command::{Bench, Ran};

use guests::{BORN, BYTES, COMPONENT, CORE};

/// A folder with a guest in it.
fn with(wat: &str) -> Bench {
    let bench = Bench::new();
    std::fs::write(bench.path("guest.wat"), wat).unwrap();
    bench
}

/// Runs `run` with two items after an initializer.
fn run(bench: &Bench, initializer: &str, more: &[&str]) -> Ran {
    let line = ["run", "guest.wat", "--initializer", initializer, "--invoke", "run", "--map", "[1,2]"];
    bench.run(&[&line, more].concat())
}

#[track_caller]
fn gives(ran: &Ran, out: &str) {
    assert_eq!((ran.code, ran.out.trim_end()), (Some(0), out), "{}", ran.err);
}

#[test]
fn every_task_finds_what_the_initializer_left_and_nothing_of_another() {
    let bench = with(CORE);
    gives(&run(&bench, "init=20", &[]), "[21,22]");
    gives(&run(&bench, "init=20", &["--isolation", "process"]), "[21,22]");
    // One instance for both: what the first task left is there as well.
    gives(&run(&bench, "init=20", &["--isolation", "reuse", "-j1"]), "[21,1022]");
}

#[test]
fn arguments_are_a_value_an_array_an_object_or_none() {
    let bench = with(CORE);
    for isolation in ["fresh", "reuse"] {
        for (call, out) in [
            ("init=-5", "-4"),
            ("pair=[4, 2]", "43"),
            (r#"pair={"1": 2, "0": 4}"#, "43"),
            ("seven", "8"),
            ("seven=[]", "8"),
            ("seven=null", "8"),
        ] {
            let line = ["run", "guest.wat", "--initializer", call, "--isolation", isolation];
            gives(&bench.run(&[&line[..], &["--invoke", "run", "--apply", "1"]].concat()), out);
        }
    }
}

#[test]
fn functions_over_bytes_and_of_components_are_made_ready_the_same() {
    let (bytes, component) = (with(BYTES), with(COMPONENT));
    for isolation in ["fresh", "reuse", "process"] {
        let options = ["--isolation", isolation, "-j1"];
        let text = [&options[..], &["--result", "text"]].concat();
        gives(&run(&bytes, r#"init="a word""#, &text), r#"["a word","a word"]"#);
        gives(&run(&bytes, r#"init={"a":1}"#, &text), r#"["{\"a\":1}","{\"a\":1}"]"#);
        gives(&run(&bytes, "init", &text), r#"["",""]"#);
        let second = if isolation == "reuse" { "" } else { "a word" };
        gives(&run(&component, r#"init=["a word", 255]"#, &options), &format!(r#"["a word","{second}"]"#));
        gives(&run(&component, r#"init={"n": 0, "word": "ä"}"#, &["--only", "0", "-j1"]), r#"["ä"]"#);
    }
}

#[test]
fn the_initializer_is_no_candidate_for_the_tasks() {
    let wat = r#"(module (global $n (mut i32) (i32.const 0))
        (func (export "setup") (param i32) (global.set $n (local.get 0)))
        (func (export "work") (param i32) (result i32) (i32.add (local.get 0) (global.get $n))))"#;
    let bench = with(wat);
    let line = ["run", "guest.wat", "--initializer", "setup=5", "--map", "[1,2]"];
    gives(&bench.run(&line), "[6,7]");
    // By its name it is a function like any other.
    gives(&bench.run(&[&line[..], &["--invoke", "setup"]].concat()), "[null,null]");
    let ran = bench.run(&["run", "guest.wat", "--map", "[1,2]"]);
    assert!(ran.code == Some(3) && ran.err.contains("choose one with --invoke"), "{ran:?}");
}

#[test]
fn programs_start_from_the_snapshot() {
    let bench = with(CORE);
    let line = ["run", "guest.wat", "--initializer", "pair=[4, 2]", "--invoke", "_start", "--map", "[1,2]"];
    gives(&bench.run(&line), r#"["2","2"]"#);
    let ran = bench.run(&[&line[..], &["--isolation", "reuse"]].concat());
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("--isolation fresh"), "{}", ran.err);
    let ran = run(&bench, "_start", &[]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("`_start` is a program"), "{}", ran.err);
}

#[test]
fn what_runs_before_the_first_call_runs_once() {
    let bench = with(BORN);
    gives(&run(&bench, "init", &[]), "[111,111]");
    gives(&run(&bench, "init", &["--isolation", "reuse"]), "[111,111]");
}

/// How often the initializer left its mark.
fn marks(bench: &Bench) -> usize {
    std::fs::read(bench.path("dir/mark")).map_or(0, |marks| marks.len())
}

fn granted(bench: &Bench) -> String {
    std::fs::create_dir_all(bench.path("dir")).unwrap();
    format!("{}::/dir::rw", bench.path("dir").display())
}

#[test]
fn it_is_called_once_for_a_run_or_once_in_each_worker() {
    let bench = with(CORE);
    let dir = granted(&bench);
    let items = format!("{:?}", (100..140).collect::<Vec<u32>>());
    for (options, fresh) in [
        (&["-j3"][..], true),
        (&["-j2", "--isolation", "process"], true),
        (&["-j2", "--max-tasks-per-child", "3"], true),
        (&["-j3", "--isolation", "reuse"], false),
        (&["-j1", "--isolation", "reuse", "--max-tasks-per-child", "10"], false),
    ] {
        let before = marks(&bench);
        let line = ["run", "guest.wat", "--initializer", "mark", "--invoke", "picky", "--dir", &dir, "--stats=json"];
        let ran = bench.run(&[&line[..], &["--map", &items, "-q"], options].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.out.trim_end(), items.replace(' ', ""), "{options:?}");
        let stats: Value = serde_json::from_str(&ran.err).unwrap();
        let workers = stats["stats"]["workers"]["started"].as_u64().unwrap();
        let called = marks(&bench) - before;
        assert_eq!(called as u64, if fresh { 1 } else { workers }, "{options:?}: {stats}");
    }
    // Four workers, one after another.
    assert!(marks(&bench) >= 3 + 1 + 4);
}

#[test]
fn a_dry_run_calls_nothing_and_looks_at_everything() {
    let bench = with(CORE);
    let dir = granted(&bench);
    for isolation in ["fresh", "reuse"] {
        let options = ["--dry-run", "--dir", &dir, "--isolation", isolation];
        let ran = run(&bench, "mark", &options);
        assert_eq!((ran.code, marks(&bench)), (Some(0), 0), "{ran:?}");
        assert!(ran.out.contains("  initializer  mark (core, "), "{}", ran.out);
        let ran = run(&bench, r#"init="a""#, &options);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.err.contains("the arguments of `init` do not fit: $: "), "{}", ran.err);
    }
}

#[test]
fn an_instance_that_a_failure_costs_is_made_ready_again_before_the_next_item() {
    let bench = with(CORE);
    let items = format!("{:?}", (1..=30).map(|n| if n % 3 == 0 { 13 } else { n }).collect::<Vec<u32>>());
    let expected: Vec<Value> =
        (1..=30).map(|n| if n % 3 == 0 || n == 13 { Value::Null } else { (n + 100).into() }).collect();
    for processes in ["-j1", "-j3"] {
        let line = ["run", "guest.wat", "--initializer", "init=100", "--invoke", "picky", "--isolation", "reuse"];
        let ran = bench.run(&[&line[..], &["--map", &items, processes, "--stats=json", "-q"]].concat());
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert_eq!(ran.out.trim_end(), serde_json::to_string(&expected).unwrap());
        let stats: Value = serde_json::from_str(&ran.err).unwrap();
        let (failed, workers) = (&stats["stats"]["failed"], &stats["stats"]["workers"]);
        assert_eq!(failed.to_string(), r#"{"trap":11}"#);
        assert_eq!((workers["recycled"].as_u64(), workers["died"].as_u64()), (Some(11), Some(0)), "{stats}");
    }
    // What a guest reports itself leaves its instance, as an exception does
    // Python's globals.
    let ran = run(&with(BYTES), r#"init="abc""#, &["--isolation", "reuse", "--result", "text"]);
    gives(&ran, r#"["abc","abc"]"#);
}

#[test]
fn every_fresh_task_has_the_same_random_state() {
    let bench = with(CORE);
    let number = |ran: &Ran| {
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let values: Vec<u64> = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(values[0] + 1, values[1], "both have the same");
        values[0]
    };
    let real = number(&run(&bench, "random", &[]));
    // Once drawn it is kept.
    assert_eq!(number(&run(&bench, "random", &[])), real);
    let seeded = |seed: &str, isolation: &str| {
        let ran = run(&bench, "random", &["--deterministic", "--seed", seed, "--isolation", isolation, "--only", "0"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.out
    };
    assert_eq!(seeded("1", "fresh"), seeded("1", "process"));
    assert_eq!(seeded("1", "fresh"), seeded("1", "reuse"));
    assert_ne!(seeded("1", "fresh"), seeded("2", "fresh"));
}
