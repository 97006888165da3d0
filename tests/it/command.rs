//! The command as its users meet it: exit codes, streams, signals, files.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::binary;

/// Squares its item; 13 traps, 99 never ends.
const SQUARE: &str = r#"(module (func (export "square") (param i32) (result i32)
    (if (i32.eq (local.get 0) (i32.const 13)) (then unreachable))
    (if (i32.eq (local.get 0) (i32.const 99)) (then (loop (br 0))))
    (i32.mul (local.get 0) (local.get 0))))"#;

/// A folder with a module and a cache of its own.
pub struct Bench(tempfile::TempDir);

impl Bench {
    pub fn new() -> Self {
        crate::support::heed_signals();
        let bench = Self(tempfile::tempdir().unwrap());
        std::fs::write(bench.path("square.wat"), SQUARE).unwrap();
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(line).current_dir(self.0.path()).env_clear().env("WPOOL_CACHE_DIR", self.path("cache"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, line: &[&str]) -> Ran {
        Ran::from(self.command(line).output().unwrap())
    }

    /// A run whose input stays open until `Child::stdin` is dropped.
    fn start(&self, line: &[&str]) -> Child {
        self.command(line).stdin(Stdio::piped()).spawn().unwrap()
    }
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
}

fn line(child: &mut Child) -> String {
    let mut line = String::new();
    // One line at a time, without a buffer that is lost.
    let mut byte = [0];
    let out = child.stdout.as_mut().unwrap();
    while out.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        line.push(char::from(byte[0]));
    }
    line
}

#[test]
fn results_go_to_stdout_and_all_ok_is_zero() {
    let ran = Bench::new().run(&["run", "square.wat", "--map", "[1,2,3]"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "[1,4,9]\n", ""));
}

#[test]
fn a_failed_item_is_null_a_line_and_one() {
    let ran = Bench::new().run(&["run", "square.wat", "--map", "[2,13,4]"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), "[4,null,16]\n"));
    assert!(ran.err.starts_with("error: item 1: trap"), "{}", ran.err);
}

#[test]
fn each_mode_has_its_form() {
    let bench = Bench::new();
    assert_eq!(bench.run(&["run", "square.wat", "--imap", "[1,2]"]).out, "1\n4\n");
    assert_eq!(bench.run(&["run", "square.wat", "--starmap", "[[3],[4]]"]).out, "[9,16]\n");
    assert_eq!(bench.run(&["run", "square.wat", "--apply", "5"]).out, "25\n");
    let records = bench.run(&["run", "square.wat", "--imap-unordered", "[6]"]).out;
    let record: Value = serde_json::from_str(&records).unwrap();
    assert_eq!((&record["index"], &record["kind"], &record["value"]), (&json!(0), &json!("ok"), &json!(36)));
}

#[test]
fn wrong_usage_is_two() {
    let bench = Bench::new();
    for line in [
        &["run", "square.wat"][..],
        &["run", "square.wat", "--map", "[1]", "--memory", "0"],
        &["run", "square.wat", "--map", "[1]", "--dir", "no-such-folder"],
        &["run", "square.wat", "--apply", "text"],
        &["run", "square.wat", "--map", "[1]", "--", "argument"],
        &["frobnicate"],
    ] {
        let ran = bench.run(line);
        assert_eq!(ran.code, Some(2), "{line:?}: {}", ran.err);
        assert!(ran.out.is_empty() && ran.err.starts_with("error:"), "{line:?}: {}", ran.err);
    }
}

#[test]
fn a_refused_module_is_three_and_writes_nothing() {
    let bench = Bench::new();
    std::fs::write(bench.path("bad.wasm"), b"not wasm at all").unwrap();
    std::fs::write(bench.path("two.wat"), r#"(module (func (export "a")) (func (export "b")))"#).unwrap();
    for (line, says) in [
        (&["run", "missing.wat", "--map", "[1]"][..], "missing.wat"),
        (&["run", "bad.wasm", "--map", "[1]"], "error:"),
        (&["run", "two.wat", "--map", "[1]"], "--invoke"),
        (&["run", "square.wat", "--map", "[1]", "--invoke", "squar"], "did you mean `square`?"),
        (&["inspect", "bad.wasm"], "error:"),
        (&["compile", "missing.wat"], "missing.wat"),
    ] {
        let ran = bench.run(line);
        assert_eq!(ran.code, Some(3), "{line:?}: {}", ran.err);
        assert!(ran.out.is_empty() && ran.err.contains(says), "{line:?}: {}", ran.err);
    }
}

#[test]
fn input_that_is_no_document_is_four() {
    let bench = Bench::new();
    std::fs::write(bench.path("bad.json"), "[1,\n2,}").unwrap();
    let ran = bench.run(&["run", "square.wat", "--map", "bad.json"]);
    assert_eq!(ran.code, Some(4));
    assert!(ran.out.is_empty() && ran.err.contains("line 2"), "{}", ran.err);
    assert_eq!(bench.run(&["run", "square.wat", "--map", "missing.json"]).code, Some(4));
    assert_eq!(bench.run(&["run", "square.wat", "--map", "[1]", "-o", "/no/such/folder/x"]).code, Some(4));
}

#[test]
fn a_stream_that_breaks_off_keeps_what_was_done() {
    let bench = Bench::new();
    let mut child = bench.start(&["run", "square.wat", "--map", "-", "--input", "json"]);
    child.stdin.take().unwrap().write_all(b"[2,3,}").unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (Some(4), "[4,9"), "{}", ran.err);
}

#[test]
fn a_line_is_answered_before_the_next_is_written() {
    let bench = Bench::new();
    let mut child = bench.start(&["run", "square.wat", "--imap", "-"]);
    let mut stdin = child.stdin.take().unwrap();
    for number in 2..6 {
        writeln!(stdin, "{number}").unwrap();
        assert_eq!(line(&mut child), (number * number).to_string());
    }
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_closed_stdout_ends_quietly() {
    let bench = Bench::new();
    let numbers: Vec<u32> = (100..100_100).collect();
    std::fs::write(bench.path("many.json"), serde_json::to_string(&numbers).unwrap()).unwrap();
    let mut child = bench.start(&["run", "square.wat", "--imap", "many.json"]);
    drop(child.stdout.take());
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
}

#[test]
fn the_first_signal_keeps_what_is_done() {
    let bench = Bench::new();
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut child = bench.start(&["run", "square.wat", "--imap", "-", "--stats-file", "stats.json"]);
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "7").unwrap();
        assert_eq!(line(&mut child), "49");
        signal(&child, name);
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{}", ran.err);
        let stats: Value = serde_json::from_str(&bench.read("stats.json")).unwrap();
        assert_eq!((&stats["exit"], &stats["stats"]["items"]), (&json!(code), &json!(1)));
        drop(stdin);
    }
}

#[test]
fn a_signal_ignored_by_our_parent_stays_ignored() {
    let bench = Bench::new();
    let script = "trap '' HUP; exec \"$@\"";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, "sh"]).arg(binary()).args(["run", "square.wat", "--imap", "-"]);
    command.current_dir(bench.0.path()).env("WPOOL_CACHE_DIR", bench.path("cache"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "7").unwrap();
    assert_eq!(line(&mut child), "49");
    signal(&child, "HUP");
    writeln!(stdin, "8").unwrap();
    assert_eq!(line(&mut child), "64");
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_second_signal_kills_what_runs() {
    let bench = Bench::new();
    let mut child = bench.start(&["run", "square.wat", "--imap", "-", "-o", "out.jsonl", "--grace", "60s"]);
    let mut stdin = child.stdin.take().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    writeln!(stdin, "7\n99").unwrap();
    while bench.path("out.jsonl.part").metadata().map_or(0, |meta| meta.len()) < 3 {
        std::thread::yield_now();
    }
    signal(&child, "TERM");
    let mut said = String::new();
    err.read_line(&mut said).unwrap();
    assert!(said.contains("interrupt again"), "{said}");
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(bench.read("out.jsonl.part"), "49\n");
    assert!(!bench.path("out.jsonl").exists());
}

#[test]
fn fail_fast_and_the_deadline_cancel_the_rest() {
    let bench = Bench::new();
    let ran = bench.run(&["run", "square.wat", "--map", "[13,99,99,99]", "--fail-fast", "-j1", "--stats=json"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), "[null,null,null,null]\n"));
    let stats: Value = serde_json::from_str(ran.err.lines().last().unwrap()).unwrap();
    assert_eq!(stats["stats"]["failed"], json!({"trap": 1, "cancelled": 3}));
    let ran = bench.run(&["run", "square.wat", "--map", "[2,99,99]", "--deadline", "1s", "-j1"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), "[4,null,null]\n"), "{}", ran.err);
}

#[test]
fn statistics_are_written_however_the_run_ends() {
    let bench = Bench::new();
    let stats = |line: &[&str]| -> Value {
        bench.run(&[line, &["--stats-file", "stats.json"]].concat());
        serde_json::from_str(&bench.read("stats.json")).unwrap()
    };
    let fine = stats(&["run", "square.wat", "--map", "[1]"]);
    assert_eq!((&fine["exit"], &fine["run_error"]), (&json!(0), &Value::Null));
    assert_eq!(fine["stats"]["workers"]["died"], 0);
    let refused = stats(&["run", "missing.wat", "--map", "[1]"]);
    assert_eq!(refused["exit"], 3);
    assert!(refused["run_error"].as_str().unwrap().contains("missing.wat"));
    std::fs::remove_file(bench.path("stats.json")).unwrap();
    bench.run(&["run", "square.wat", "--map", "[1]", "--memory", "0", "--stats-file", "stats.json"]);
    assert!(!bench.path("stats.json").exists());
}

#[test]
fn the_second_run_finds_the_module_compiled() {
    let bench = Bench::new();
    let cached = || {
        let ran = bench.run(&["run", "square.wat", "--map", "[1]", "--stats=json"]);
        let stats: Value = serde_json::from_str(&ran.err).unwrap();
        stats["stats"]["compile"]["cached"].as_bool().unwrap()
    };
    assert!(!cached());
    assert!(cached());
    let other = bench.run(&["compile", "square.wat", "--fuel", "1000"]);
    assert!(other.err.contains("compiled") && other.code == Some(0), "{}", other.err);
    damage(&bench.path("cache"));
    assert!(!cached(), "a damaged entry is made anew");
    assert!(cached());
}

fn damage(cache: &Path) {
    for entry in std::fs::read_dir(cache).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "cwasm") {
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
}

#[test]
fn a_shared_cache_is_not_used_and_that_is_said() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("cache")).unwrap();
    std::fs::set_permissions(bench.path("cache"), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let ran = bench.run(&["run", "square.wat", "--map", "[3]"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "[9]\n"));
    assert!(ran.err.contains("warning: not using the cache"), "{}", ran.err);
    assert_eq!(std::fs::read_dir(bench.path("cache")).unwrap().count(), 0);
}

#[test]
fn only_runs_what_it_names() {
    let ran =
        Bench::new().run(&["run", "square.wat", "--map", "[1,2,3,4,5]", "--only", "1,3-4", "--output", "records"]);
    let indices: Vec<u64> =
        ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [1, 3, 4]);
}

#[test]
fn a_dry_run_runs_nothing() {
    let bench = Bench::new();
    let ran = bench.run(&["run", "square.wat", "--map", "[99]", "--dry-run", "--timeout", "2s", "--env", "A=1"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for part in ["square (core)", "2s (kill)", "512MiB", "env  A"] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
}

#[test]
fn quiet_says_nothing_of_items() {
    let ran = Bench::new().run(&["run", "square.wat", "--map", "[13]", "-q"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(1), "[null]\n", ""));
}

#[test]
fn inspect_tells_functions_and_hash() {
    let bench = Bench::new();
    let ran = bench.run(&["inspect", "square.wat", "--json"]);
    let value: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(value["functions"][0]["path"], "square");
    assert_eq!(value["functions"][0]["type"], "func(0: i32) -> i32");
    assert_eq!(value["sha256"].as_str().unwrap().len(), 64);
    assert!(bench.run(&["inspect", "square.wat"]).out.contains("square: func(0: i32) -> i32"));
}

#[test]
fn guest_names_reach_no_terminal_raw() {
    let bench = Bench::new();
    std::fs::write(bench.path("evil.wat"), "(module (func (export \"a\\1b[2J\")) (func (export \"b\")))").unwrap();
    let ran = bench.run(&["run", "evil.wat", "--map", "[1]"]);
    assert!(!ran.err.contains('\u{1b}'), "{:?}", ran.err);
    let ran = bench.run(&["inspect", "evil.wat"]);
    assert!(ran.code == Some(0) && !ran.out.contains('\u{1b}'), "{:?}", ran.out);
}
