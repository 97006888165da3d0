//! What guests may touch.

use std::fs;

use super::{command, core, load_with_scratch, must_load, program, refusal};
use crate::capabilities::{Access, DirGrant};
use crate::outcome::Kind;
use crate::wire::message::{ItemForm, ResultAs, TaskSpec};

#[test]
fn an_unknown_import_is_refused_by_name() {
    let wat = r#"(module (import "env" "launch\1b" (func $l)) (import "env" "other" (func))
        (func (export "f") (param i32) (if (local.get 0) (then (call $l)))))"#;
    let text = refusal(wat, core("f"));
    assert!(text.contains("env::launch\\u{1b}") && text.contains("--stub-imports"), "{text}");
    assert!(text.contains("1 more"), "{text}");
}

#[test]
fn a_stubbed_import_is_denied_when_called() {
    let wat = r#"(module (import "env" "launch" (func $l))
        (func (export "f") (param i32) (if (local.get 0) (then (call $l)))))"#;
    let mut bench = must_load(wat, TaskSpec { stub_imports: true, ..core("f") });
    assert_eq!(bench.value("0"), "null");
    let failure = bench.failure("1");
    assert_eq!(failure.kind, Kind::Denied);
    assert_eq!(failure.detail.import.as_deref(), Some("env::launch"));
}

#[test]
fn a_memory_import_is_refused_even_with_stubs() {
    let wat = r#"(module (import "env" "memory" (memory 1)) (func (export "f") (param i32)))"#;
    let text = refusal(wat, TaskSpec { stub_imports: true, ..core("f") });
    assert!(text.contains("memory") && !text.contains("--stub-imports"), "{text}");
}

#[test]
fn preview_0_is_not_linked() {
    let wat = r#"(module (import "wasi_unstable" "proc_exit" (func (param i32))) (func (export "f") (param i32)))"#;
    assert!(refusal(wat, core("f")).contains("wasi_unstable"));
}

const HEAD: &str = r#"
    (import "wasi_snapshot_preview1" "path_open"
      (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))"#;

/// A command with more imports than `program` has.
fn more(body: &str) -> String {
    program(body).replacen("(module", &format!("(module {HEAD}"), 1)
}

/// Opens `name` below the first directory with these flags; exits with errno,
/// or copies the file to stdout, or writes `name` into it.
fn opener(name: &str, oflags: u32, write: bool) -> String {
    let rights = if write { 64 } else { 2 };
    let act = if write {
        r#"(call $write (i32.load (i32.const 12)) (i32.const 64) (i32.const 5))
           (call $write (i32.const 1) (i32.const 64) (i32.const 2))"#
    } else {
        r#"(i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 4096))
           (drop (call $fd_read (i32.load (i32.const 12)) (i32.const 0) (i32.const 1) (i32.const 8)))
           (call $write (i32.const 1) (i32.const 1024) (i32.load (i32.const 8)))"#
    };
    more(&format!(
        r#"(data (i32.const 64) "{name}")
        (func (export "_start") (local $e i32)
          (if (call $prestat (i32.const 3) (i32.const 100)) (then (call $proc_exit (i32.const 99))))
          (local.set $e (call $path_open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const {})
            (i32.const {oflags}) (i64.const {rights}) (i64.const 0) (i32.const 0) (i32.const 12)))
          (if (local.get $e) (then (call $proc_exit (local.get $e))))
          {act})"#,
        name.len()
    ))
}

fn granted(host: &std::path::Path, access: Access) -> TaskSpec {
    let mut task = command();
    task.capabilities.dirs = vec![DirGrant { host: host.to_owned(), guest: "/data".to_owned(), access }];
    task
}

#[test]
fn without_a_directory_a_failed_task_names_the_flag() {
    let failure = must_load(&opener("a.txt", 0, false), command()).failure("1");
    assert_eq!((failure.kind, failure.detail.code), (Kind::Exit, Some(99)));
    assert_eq!(failure.detail.denied, ["--dir"]);
    assert!(failure.message.contains("--dir"), "{}", failure.message);
}

#[test]
fn a_read_only_directory_is_read_and_never_written() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("a.txt"), "hello").expect("written");
    let mut read = must_load(&opener("a.txt", 0, false), granted(dir.path(), Access::ReadOnly));
    assert_eq!([read.value("1"), read.value("1")], [r#""hello""#, r#""hello""#]);

    const CREATE: u32 = 1;
    let create = opener("b.txt", CREATE, true);
    let failure = must_load(&create, granted(dir.path(), Access::ReadOnly)).failure("1");
    assert_eq!(failure.kind, Kind::Exit);
    assert!(!dir.path().join("b.txt").exists());

    assert_eq!(must_load(&create, granted(dir.path(), Access::ReadWrite)).value("1"), r#""b.""#);
    assert_eq!(fs::read(dir.path().join("b.txt")).expect("there"), b"b.txt");
}

#[test]
fn a_directory_cannot_be_left() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("secret"), "x").expect("written");
    fs::create_dir(dir.path().join("inner")).expect("made");
    let inner = dir.path().join("inner");
    let failure = must_load(&opener("../secret", 0, false), granted(&inner, Access::ReadOnly)).failure("1");
    assert_eq!(failure.kind, Kind::Exit);
    std::os::unix::fs::symlink(dir.path().join("secret"), inner.join("link")).expect("linked");
    let failure = must_load(&opener("link", 0, false), granted(&inner, Access::ReadOnly)).failure("1");
    assert_eq!(failure.kind, Kind::Exit);
}

#[test]
fn a_missing_directory_is_refused_at_load() {
    let task = granted(std::path::Path::new("/nowhere/at/all"), Access::ReadOnly);
    assert!(refusal(&opener("a", 0, false), task).contains("/nowhere/at/all"));
}

#[test]
fn scratch_files_become_results_and_are_wiped() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut task = command();
    task.capabilities.scratch = Some("/tmp".to_owned());
    task.result = Some(ResultAs::File("/tmp/b.txt".to_owned()));
    let wat = opener("b.txt", 1 | 4, true); // create, exclusively
    let mut bench = load_with_scratch(&wat, task.clone(), Some(dir.path())).expect("loads");
    for _ in 0..3 {
        assert_eq!(bench.value("1"), r#"{"base64":"Yi50eHQ="}"#);
        assert_eq!(fs::read_dir(dir.path()).expect("there").count(), 0);
    }
    task.result = Some(ResultAs::File("other.txt".to_owned()));
    let mut bench = load_with_scratch(&wat, task.clone(), Some(dir.path())).expect("loads");
    assert_eq!(bench.kind("1"), Kind::BadOutput);
    task.result = Some(ResultAs::File("../etc/passwd".to_owned()));
    assert!(load_with_scratch(&wat, task, Some(dir.path())).is_err());
}

#[test]
fn environment_variables_are_only_those_granted() {
    let wat = more(
        r#"(func (export "f") (param i32) (result i32)
            (drop (call $environ (i32.const 16) (i32.const 20))) (i32.load (i32.const 16)))"#,
    );
    assert_eq!(must_load(&wat, core("f")).value("1"), "0");
    let mut task = core("f");
    task.capabilities.env = vec![("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2".to_owned())];
    assert_eq!(must_load(&wat, task).value("1"), "2");
}

/// Returns time before and after a sleep of an hour, and a random number.
fn clocks() -> String {
    more(
        r#"(func (export "f") (param i32) (result i64 i64 i64)
          (drop (call $time (i32.const 1) (i64.const 0) (i32.const 16)))
          (i64.load (i32.const 16))
          ;; one relative monotonic subscription at 256
          (i32.store (i32.const 272) (i32.const 1))
          (i64.store (i32.const 280) (i64.const 3600000000000))
          (drop (call $poll (i32.const 256) (i32.const 512) (i32.const 1) (i32.const 24)))
          (drop (call $time (i32.const 0) (i64.const 0) (i32.const 16)))
          (i64.load (i32.const 16))
          (drop (call $random (i32.const 16) (i32.const 8)))
          (i64.load (i32.const 16)))"#,
    )
}

#[test]
fn deterministic_tasks_repeat_and_their_sleeps_return_at_once() {
    let mut task = core("f");
    task.capabilities.deterministic = Some(7);
    let mut bench = must_load(&clocks(), task.clone());
    let mut at = |index| {
        let (report, out) = bench.report(b"1", ItemForm::Json, index);
        report.result.expect("a value");
        String::from_utf8(out).expect("text")
    };
    let first = at(0);
    assert!(first.starts_with("[1000,946688400000002000,"), "{first}");
    assert_eq!(at(0), first);
    assert_ne!(at(1), first, "randomness differs between items");
    task.capabilities.deterministic = Some(8);
    let other = must_load(&clocks(), task).value("1");
    assert_ne!(other, first);
}

#[test]
fn real_sleeps_pass_real_time_under_a_runtime() {
    let wat = clocks().replace("3600000000000", "20000000");
    let mut bench = must_load(&wat, core("f"));
    let _threads = bench.guest.start_threads().expect("threads");
    let begin = std::time::Instant::now();
    bench.value("1");
    assert!(begin.elapsed() >= std::time::Duration::from_millis(20));
}

/// Creates a file and writes 100 bytes to it until that fails; exits with the
/// errno of that.
fn filler() -> String {
    opener("b.txt", 1, true).replace(
        "(func (export \"_start\")",
        r#"(func $fill (param $fd i32) (local $e i32)
          (loop $l
            (i32.store (i32.const 0) (i32.const 1024))
            (i32.store (i32.const 4) (i32.const 100))
            (local.set $e (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
            (br_if $l (i32.eqz (local.get $e))))
          (call $proc_exit (local.get $e)))
        (func (export "_start")"#,
    )
}

#[test]
fn files_grow_no_further_than_max_write() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut task = granted(dir.path(), Access::ReadWrite);
    task.limits.max_write = 1_050;
    let wat = filler().replace("(call $write (i32.load (i32.const 12)) (i32.const 64) (i32.const 5))", {
        "(call $fill (i32.load (i32.const 12)))"
    });
    let failure = must_load(&wat, task).failure("1");
    assert_eq!((failure.kind, failure.detail.code), (Kind::Exit, Some(51)));
    assert_eq!(failure.detail.denied, ["--max-write"]);
    assert_eq!(fs::metadata(dir.path().join("b.txt")).expect("there").len(), 1_000);
}

#[test]
fn a_file_moved_onto_stdout_is_a_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let wat = opener("b.txt", 1, true)
        .replacen(
            "(module",
            r#"(module (import "wasi_snapshot_preview1" "fd_renumber" (func $renumber (param i32 i32) (result i32)))"#,
            1,
        )
        .replace(
            "(call $write (i32.load (i32.const 12)) (i32.const 64) (i32.const 5))",
            "(drop (call $renumber (i32.load (i32.const 12)) (i32.const 1)))",
        );
    let mut task = granted(dir.path(), Access::ReadWrite);
    assert_eq!(must_load(&wat, task.clone()).value("1"), r#""""#);
    assert_eq!(fs::read(dir.path().join("b.txt")).expect("there"), b"b.");
    fs::remove_file(dir.path().join("b.txt")).expect("removed");
    task.limits.max_write = 1;
    must_load(&wat, task).value("1");
    assert_eq!(fs::metadata(dir.path().join("b.txt")).expect("there").len(), 0);
}

#[test]
fn a_print_from_outside_memory_is_an_error_of_the_guests() {
    let wat = program(
        r#"(func (export "_start")
          (i32.store (i32.const 0) (i32.const 0x7fffffff)) (i32.store (i32.const 4) (i32.const 10))
          (call $proc_exit (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))"#,
    );
    assert_eq!(must_load(&wat, command()).failure("1").detail.code, Some(21));
    let wat = wat.replace("(i32.const 0) (i32.const 1) (i32.const 8)", "(i32.const -4) (i32.const 2000) (i32.const 8)");
    assert_eq!(must_load(&wat, command()).failure("1").detail.code, Some(28));
}
