//! Bugs that were found in the command, each test named for the behaviour
//! that was missing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use crate::command::Bench;

/// Prints what it finds in the file `d/name` or `denied`.
const READ: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
      (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 64) "name")
    (data (i32.const 80) "denied")
    (data (i32.const 0) "\00\01\00\00\40\00\00\00")
    (func (export "_start")
      (if (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 4) (i32.const 0)
            (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16))
        (then
          (i32.store (i32.const 0) (i32.const 80)) (i32.store (i32.const 4) (i32.const 6)))
        (else
          (drop (call $read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 20)))
          (i32.store (i32.const 4) (i32.load (i32.const 20)))))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 24)))))"#;

#[test]
fn a_relative_directory_is_the_callers() {
    let bench = Bench::new();
    std::fs::write(bench.path("read.wat"), READ).unwrap();
    std::fs::create_dir(bench.path("data")).unwrap();
    std::fs::write(bench.path("data/name"), "found").unwrap();
    std::fs::write(bench.path("name"), "here").unwrap();
    for (grant, expected) in [("data", "found"), ("data::/d", "found"), ("./data::/d::ro", "found"), (".", "here")] {
        let ran = bench.run(&["run", "read.wat", "--apply", "1", "--dir", grant]);
        assert_eq!(ran.out, format!("\"{expected}\"\n"), "--dir {grant}: {}", ran.err);
    }
    let ran = bench.run(&["run", "read.wat", "--apply", "1"]);
    assert_eq!(ran.out, "\"denied\"\n", "{}", ran.err);
}

#[test]
fn recursion_on_a_large_stack_is_a_stack_overflow() {
    let bench = Bench::new();
    let deep = r#"(module (func $f (export "run") (param i64) (result i64)
        (i64.add (i64.const 1) (call $f (local.get 0)))))"#;
    std::fs::write(bench.path("deep.wat"), deep).unwrap();
    for stack in ["64KiB", "512KiB", "8MiB", "64MiB"] {
        let ran = bench.run(&["run", "deep.wat", "--map", "[1]", "--stack", stack, "--output", "records"]);
        assert!(ran.out.contains(r#""kind":"stack-overflow""#), "{stack}: {} {}", ran.out, ran.err);
        assert!(ran.err.contains("--stack"), "{}", ran.err);
    }
}

#[test]
fn memory_may_be_larger_than_any_module_can_use() {
    let bench = Bench::new();
    for memory in ["4097MiB", "8GiB", "1TiB"] {
        let ran = bench.run(&["run", "square.wat", "--map", "[3]", "--memory", memory]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), "[9]\n"), "{memory}: {}", ran.err);
    }
}

#[test]
fn a_deadline_that_cuts_a_stream_is_a_failed_run_and_no_whole_file() {
    let bench = Bench::new();
    let mut command = bench.command(&[
        "run",
        "square.wat",
        "--imap",
        "-",
        "--input",
        "jsonl",
        "--deadline",
        "500ms",
        "-o",
        "out.jsonl",
    ]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let open = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(open);
    assert_eq!(output.status.code(), Some(1));
    assert!(!bench.path("out.jsonl").exists(), "what is cut has not the name of what is whole");
}

#[test]
fn the_partial_file_is_not_written_through_a_link() {
    let bench = Bench::new();
    std::fs::write(bench.path("victim"), "precious").unwrap();
    std::os::unix::fs::symlink("victim", bench.path("out.json.part")).unwrap();
    let ran = bench.run(&["run", "square.wat", "--map", "[1,2]", "-o", "out.json"]);
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    assert_eq!(bench.read("victim"), "precious");
}

#[test]
fn names_that_are_no_text_do_not_stop_a_glob() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("in")).unwrap();
    std::fs::write(bench.path("in").join(OsStr::from_bytes(b"\xff.txt")), "1").unwrap();
    std::fs::write(bench.path("in/a.txt"), "3").unwrap();
    std::fs::write(bench.path("in/.hidden.txt"), "5").unwrap();
    let ran = bench.run(&["run", "square.wat", "--map", "in/*.txt", "--input", "files"]);
    assert!(matches!(ran.code, Some(0 | 1)), "{:?} {}", ran.code, ran.err);
    assert!(ran.out.contains('9') && !ran.out.contains("25"), "{} {}", ran.out, ran.err);
}

#[test]
fn a_process_for_each_item_starts_no_spare() {
    let bench = Bench::new();
    let ran =
        bench.run(&["run", "square.wat", "--map", "[1,2,3,4]", "-j", "1", "--isolation", "process", "--stats=json"]);
    assert!(ran.err.contains(r#""started":4"#), "{}", ran.err);
}

#[test]
fn an_array_on_standard_input_gives_an_array() {
    let bench = Bench::new();
    for (text, expected) in [("[1,2]", "[1,4]\n"), (" [ ]", "[]\n"), ("1\n2\n", "1\n4\n")] {
        let mut child = bench.command(&["run", "square.wat", "--map", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }
}

#[test]
fn an_interrupt_while_nothing_runs_ends_at_once() {
    let bench = Bench::new();
    let mut child = bench.command(&["run", "square.wat", "--map", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    // The handlers are there before standard input is read.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let began = std::time::Instant::now();
    let status = child.wait().unwrap();
    assert!(began.elapsed() < std::time::Duration::from_secs(5));
    assert_eq!(status.code(), Some(130));
}

#[test]
fn columns_that_a_core_function_has_not_are_told_before_anything_runs() {
    let bench = Bench::new();
    std::fs::write(bench.path("pairs.csv"), "a,b\n7,2\n").unwrap();
    let ran = bench.run(&["run", "square.wat", "--starmap", "pairs.csv"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(4), ""), "{}", ran.err);
}
