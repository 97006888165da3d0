//! What is kept of an initializer: compiled snapshots in the cache, and its
//! part in a journal.

use serde_json::Value;

use super::guests::CORE;
use super::{gives, granted, marks, run, with};
use crate::command::Bench;

/// The values of a run, and whether it found its code in the cache.
#[track_caller]
fn cached(bench: &Bench, initializer: &str, more: &[&str]) -> (String, bool) {
    let ran = run(bench, initializer, &[more, &["--stats=json", "-q"]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let stats: Value = serde_json::from_str(&ran.err).unwrap();
    (ran.out.trim_end().to_owned(), stats["stats"]["compile"]["cached"].as_bool().unwrap())
}

fn text(value: &str, cached: bool) -> (String, bool) {
    (value.to_owned(), cached)
}

#[test]
fn a_snapshot_is_kept_by_function_arguments_and_environment() {
    let bench = with(CORE);
    assert_eq!(cached(&bench, "init=20", &[]), text("[21,22]", false));
    assert_eq!(cached(&bench, "init=20", &[]), text("[21,22]", true));
    assert_eq!(cached(&bench, "init=20", &["--isolation", "process"]), text("[21,22]", true));
    assert_eq!(cached(&bench, "init=30", &[]), text("[31,32]", false));
    assert_eq!(cached(&bench, "seven", &[]), text("[8,9]", false));
    assert_eq!(cached(&bench, "init=20", &[]), text("[21,22]", true));
    // Two variables, then another value of one.
    assert_eq!(cached(&bench, "variables", &[]), text("[1,2]", false));
    assert_eq!(cached(&bench, "variables", &["--env", "A=1", "--env", "B=2"]), text("[3,4]", false));
    assert_eq!(cached(&bench, "variables", &["--env", "A=1", "--env", "B=2"]), text("[3,4]", true));
    assert_eq!(cached(&bench, "variables", &["--env", "A=1", "--env", "B=3"]), text("[3,4]", false));
    // What shapes code or state makes another; what bounds time does not.
    assert!(!cached(&bench, "init=20", &["--fuel", "1000000"]).1);
    assert!(!cached(&bench, "init=20", &["--memory", "64MiB"]).1);
    assert!(!cached(&bench, "init=20", &["--deterministic"]).1);
    assert!(!cached(&bench, "init=20", &["--deterministic", "--seed", "1"]).1);
    assert!(cached(&bench, "init=20", &["--timeout", "5s", "-j1"]).1);
    // The module without an initializer is none of them.
    let ran = bench.run(&["run", "guest.wat", "--invoke", "run", "--map", "[1,2]"]);
    gives(&ran, "[1,2]");
}

#[test]
fn nothing_is_kept_where_directories_are_granted() {
    let bench = with(CORE);
    let dir = granted(&bench);
    for calls in 1..=3 {
        assert_eq!(cached(&bench, "mark", &["--dir", &dir]), text("[1,2]", false));
        assert_eq!(marks(&bench), calls);
    }
    let ran = bench.run(&["compile", "guest.wat", "--initializer", "mark", "--dir", &dir]);
    assert_eq!((ran.code, marks(&bench)), (Some(2), 3), "{ran:?}");
    // A scratch directory is empty for everyone.
    assert!(!cached(&bench, "seven", &["--scratch", "/tmp"]).1);
    assert!(cached(&bench, "seven", &["--scratch", "/tmp"]).1);
}

#[test]
fn compile_fills_the_cache_for_runs_with_the_initializer() {
    let bench = with(CORE);
    let line = ["compile", "guest.wat", "--initializer", "pair=[4,2]", "--env", "A=1"];
    for said in ["compiled", "was in the cache already"] {
        let ran = bench.run(&line);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.err.contains(said), "{}", ran.err);
    }
    assert_eq!(cached(&bench, "pair=[4,2]", &["--env", "A=1"]), text("[43,44]", true));
    let ran = bench.run(&["compile", "guest.wat", "--initializer", "trap"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("initializer `trap`: trap"), "{}", ran.err);
}

#[test]
fn memory_that_the_initializer_took_counts_in_every_task() {
    let bench = with(CORE);
    let ran = run(&bench, "grow=160", &["--memory", "16MiB", "--output", "records"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let record: Value = serde_json::from_str(ran.out.lines().next().unwrap()).unwrap();
    assert_eq!(record["peak_memory"], 162 * 65536);
}

#[test]
fn a_damaged_snapshot_is_made_anew() {
    let bench = with(CORE);
    assert!(!cached(&bench, "init=20", &[]).1);
    for entry in std::fs::read_dir(bench.path("cache")).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_some_and(|end| end == "cwasm") {
            let mut bytes = std::fs::read(&entry).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&entry, bytes).unwrap();
        }
    }
    assert_eq!(cached(&bench, "init=20", &[]), text("[21,22]", false));
    assert_eq!(cached(&bench, "init=20", &[]), text("[21,22]", true));
}

#[test]
fn a_journal_is_of_one_initializer_and_its_arguments() {
    let bench = with(CORE);
    let journalled = ["--journal", "run.jsonl", "--resume"];
    gives(&run(&bench, "init=20", &journalled), "[21,22]");
    gives(&run(&bench, "init=20", &journalled), "[21,22]");
    for other in ["init=21", "seven"] {
        let ran = run(&bench, other, &journalled);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains("initializer was "), "{}", ran.err);
    }
    let ran = bench.run(&[&["run", "guest.wat", "--invoke", "run", "--map", "[1,2]"], &journalled[..]].concat());
    assert_eq!(ran.code, Some(2), "{ran:?}");
    // One without an initializer goes on as it always did.
    let plain = ["run", "guest.wat", "--invoke", "run", "--map", "[1,2]", "--journal", "plain.jsonl", "--resume"];
    gives(&bench.run(&plain), "[1,2]");
    assert!(!bench.read("plain.jsonl").contains("initializer\":null"));
    gives(&bench.run(&plain), "[1,2]");
}
