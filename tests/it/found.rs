//! Bugs that were found in the command, each test named for the behaviour
//! that was missing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::command::Bench;
use crate::support::{binary, peak_memory};

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
fn names_that_are_no_text_are_items_of_a_glob_too() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("in")).unwrap();
    for (name, text) in [(&b"\xff.txt"[..], "1"), (b"\xfe.txt", "2"), (b"a.txt", "3"), (b".hidden.txt", "5")] {
        std::fs::write(bench.path("in").join(OsStr::from_bytes(name)), text).unwrap();
    }
    let ran = bench.run(&["run", "square.wat", "--map", "in/*.txt", "--input", "files"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "9\n4\n1\n"), "{}", ran.err);
    let ran = bench.run(&["run", "square.wat", "--map", "in/*.txt", "--input", "files", "-o", "out/{stem}"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(
        (bench.read("out/\\xff"), bench.read("out/\\xfe"), bench.read("out/a")),
        ("1".into(), "4".into(), "9".into())
    );
    assert!(ran.out.contains(r#""input":"in/\\xff.txt""#), "{}", ran.out);
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
    std::thread::sleep(Duration::from_millis(300));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let began = Instant::now();
    let status = child.wait().unwrap();
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(status.code(), Some(130));
}

#[test]
fn columns_that_a_core_function_has_not_are_told_before_anything_runs() {
    let bench = Bench::new();
    std::fs::write(bench.path("pairs.csv"), "a,b\n7,2\n").unwrap();
    let ran = bench.run(&["run", "square.wat", "--starmap", "pairs.csv"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(4), ""), "{}", ran.err);
}

#[test]
fn an_output_file_that_no_item_can_have_is_wrong_usage() {
    let bench = Bench::new();
    std::fs::write(bench.path("in.txt"), "1\n").unwrap();
    for line in [
        &["--map", "[1]", "-o", ""][..],
        &["--map", "[1]", "-o", "out/{id}"],
        &["--map", "[1]", "-o", "out/{1}"],
        &["--map", "[1]", "-o", "out/{stem}"],
        &["--starmap", "[[1]]", "-o", "out/{2}"],
        &["--map", "in.txt", "-o", "out/{1}"],
        &["--map", "in.txt", "--id", "name", "-o", "out/{id}"],
    ] {
        let ran = bench.run(&[&["run", "square.wat"], line].concat());
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{line:?}: {}", ran.err);
        assert!(ran.err.contains("-o:") && !bench.path("out").exists(), "{line:?}: {}", ran.err);
    }
    for (line, name) in [(&["--starmap", "[[7]]", "-o", "out/{1}"], "7"), (&["--apply", "8", "-o", "out/{}"], "8")] {
        let ran = bench.run(&[&["run", "square.wat"], &line[..]].concat());
        assert_eq!((ran.code, bench.path("out").join(name).exists()), (Some(0), true), "{}", ran.err);
    }
}

#[test]
fn an_item_that_only_asks_for_must_be_there() {
    let bench = Bench::new();
    std::fs::write(bench.path("in.jsonl"), "1\n2\n3\n").unwrap();
    for source in ["[1,2,3]", "in.jsonl"] {
        let ran = bench.run(&["run", "square.wat", "--imap", source, "--only", "1,7"]);
        assert_eq!(ran.code, Some(4), "{source}: {}", ran.err);
        assert!(ran.err.contains("--only 7") && ran.err.contains("3 items"), "{}", ran.err);
        let ran = bench.run(&["run", "square.wat", "--imap", source, "--only", "1-99"]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), "4\n9\n"), "{source}: {}", ran.err);
    }
    std::fs::write(bench.path("failed.jsonl"), "{\"index\":5,\"kind\":\"trap\",\"item\":6}\n").unwrap();
    let records = ["run", "square.wat", "--imap", "failed.jsonl", "--input", "records", "--only"];
    assert_eq!(bench.run(&[&records[..], &["5"]].concat()).out, "36\n");
    let ran = bench.run(&[&records[..], &["0"]].concat());
    assert!(ran.code == Some(4) && ran.err.contains("1 record of a failed item"), "{:?} {}", ran.code, ran.err);
}

#[test]
fn a_line_that_is_no_record_is_told_with_its_number() {
    let bench = Bench::new();
    let record = "{\"index\":5,\"kind\":\"trap\",\"item\":6}\n";
    for line in ["{\"foo\":1}", "{\"index\":1}", "{}", "7", "nonsense"] {
        std::fs::write(bench.path("in"), format!("{{\"v\":1,\"run\":{{}}}}\n{record}{line}\n")).unwrap();
        let ran = bench.run(&["run", "square.wat", "--map", "in", "--input", "records"]);
        assert_eq!(ran.code, Some(4), "{line}: {}", ran.err);
        assert!(ran.err.contains("in: line 3: no record"), "{line}: {}", ran.err);
    }
}

#[test]
fn too_little_memory_to_compile_names_its_flag() {
    let bench = Bench::new();
    for memory in ["1", "64KiB", "1MiB", "2MiB", "4MiB"] {
        let ran = bench.run(&["run", "square.wat", "--map", "[1]", "--compile-memory", memory]);
        if ran.code != Some(0) {
            assert_eq!(ran.code, Some(3), "{memory}: {}", ran.err);
            assert!(ran.err.contains("--compile-memory") && !ran.err.contains("panicked"), "{memory}: {}", ran.err);
        }
        assert!(ran.code != Some(0) || memory.ends_with("MiB"), "{memory}");
    }
}

#[test]
fn names_beyond_all_measure_refuse_the_module() {
    let bench = Bench::new();
    let number = |mut value: usize| {
        let mut bytes = Vec::new();
        while value > 0x7f {
            bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    };
    let section = |id: u8, body: &[u8]| [&[id][..], &number(body.len()), body].concat();
    // 700 exports of one function, with names of 100 000 bytes each.
    let mut exports = number(700);
    for export in 0..700 {
        exports.extend(number(100_000));
        exports.extend(export.to_string().bytes().chain(std::iter::repeat(b'x')).take(100_000));
        exports.extend([0, 0]);
    }
    let parts = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 0, 0]),
        section(3, &[1, 0]),
        section(7, &exports),
        section(10, &[1, 2, 0, 0x0b]),
    ];
    std::fs::write(bench.path("names.wasm"), parts.concat()).unwrap();
    let ran = bench.run(&["inspect", "names.wasm"]);
    assert_eq!(ran.code, Some(3), "{:.300}", ran.err);
    assert!(ran.err.contains("names and types") && ran.err.len() < 1000, "{:.300}", ran.err);
}

#[test]
fn a_limit_on_the_size_of_files_is_a_write_error() {
    let bench = Bench::new();
    let items: Vec<String> = (0..400_000).map(|item| (100 + item % 900).to_string()).collect();
    std::fs::write(bench.path("in.json"), format!("[{}]", items.join(","))).unwrap();
    assert_eq!(bench.run(&["compile", "square.wat"]).code, Some(0));
    // Larger than the memory that workers share, smaller than the output.
    for (out, name) in [("", "standard output"), ("-o out.json", "out.json.part")] {
        let script = format!("ulimit -f 2200; exec \"$0\" run square.wat --map in.json {out} >stdout");
        let mut command = Command::new("bash");
        command.arg("-c").arg(script).arg(binary()).current_dir(bench.path("")).stdin(Stdio::null());
        let output = command.env("WPOOL_CACHE_DIR", bench.path("cache")).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{err}");
        assert!(err.contains("File too large") && err.contains(name.trim_end_matches(".part")), "{err}");
    }
}

#[test]
fn names_with_controls_stay_on_one_line_of_a_message() {
    let bench = Bench::new();
    let name = "x\nerror: forged\u{1b}c";
    for line in [
        &["run", "square.wat", "--map", &format!("{name}.json")][..],
        &["run", "square.wat", "--map", "[1]", "-o", &format!("{name}/out")],
        &["run", "square.wat", "--map", &format!("{name}/*"), "--input", "files"],
        &["run", "square.wat", "--map", &format!("@{name}"), "--input", "files"],
        &["run", &format!("{name}.wasm"), "--map", "[1]"],
        &["inspect", &format!("{name}.wasm")],
    ] {
        let ran = bench.run(line);
        assert!(matches!(ran.code, Some(3 | 4)), "{line:?}: {}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{line:?}: {}", ran.err);
        assert!(ran.err.contains(r"x\nerror: forged\x1bc"), "{line:?}: {}", ran.err);
    }
}

#[test]
fn odd_names_of_exports_are_shown_alike_everywhere() {
    let bench = Bench::new();
    let module = r#"(module (func (export "a\1b[1m\0a") (param i32)) (func (export "") (param i32)))"#;
    std::fs::write(bench.path("odd.wat"), module).unwrap();
    let inspected = bench.run(&["inspect", "odd.wat"]).out;
    let refused = bench.run(&["run", "odd.wat", "--map", "[1]"]).err;
    for line in [r"  a\x1b[1m\n: func(0: i32)", r#"  "": func(0: i32)"#] {
        assert!(inspected.contains(line) && refused.contains(line), "{inspected}{refused}");
    }
}

#[test]
fn an_interrupted_run_tells_where_what_is_done_was_kept() {
    let bench = Bench::new();
    let mut command = bench.command(&["run", "square.wat", "--imap", "-", "--input", "jsonl", "-o", "out.jsonl"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"5\n").unwrap();
    let began = Instant::now();
    while std::fs::read_to_string(bench.path("out.jsonl.part")).unwrap_or_default() != "25\n" {
        assert!(began.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{err}");
    assert!(err.contains("1 item is done\n") && err.contains("what is done is in "), "{err}");
    assert!(err.contains("out.jsonl.part\n"), "{err}");
}

#[test]
fn more_columns_than_a_parameter_takes_are_told_before_anything_runs() {
    let bench = Bench::new();
    std::fs::write(bench.path("pairs.csv"), "a,b\n7,2\n").unwrap();
    let ran = bench.run(&["run", "square.wat", "--map", "pairs.csv"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(4), ""), "{}", ran.err);
    assert!(ran.err.contains("2 columns") && ran.err.contains("--starmap"), "{}", ran.err);
}

#[test]
fn a_negative_number_is_told_as_such() {
    let bench = Bench::new();
    for (option, value) in
        [("--timeout", "-1"), ("--timeout", "-1s"), ("--memory", "-5MiB"), ("-j", "-2"), ("--window", "-1")]
    {
        let ran = bench.run(&["run", "square.wat", "--map", "[1]", option, value]);
        assert_eq!(ran.code, Some(2), "{option} {value}: {}", ran.err);
        assert!(ran.err.contains("must not be negative") && ran.err.contains(&format!("'{value}'")), "{}", ran.err);
    }
    assert_eq!(bench.run(&["run", "square.wat", "--apply", "-3"]).out, "9\n");
}

#[test]
fn a_scratch_directory_is_below_no_other() {
    let bench = Bench::new();
    for guest in ["..", "a/../..", ""] {
        let ran = bench.run(&["run", "square.wat", "--apply", "1", "--scratch", guest]);
        assert_eq!(ran.code, Some(2), "{guest}: {}", ran.err);
    }
}

#[test]
fn a_dry_run_shows_the_layers_that_workers_apply() {
    let bench = Bench::new();
    let layers = |mode| {
        let ran = bench.run(&["run", "square.wat", "--map", "[1]", "--dry-run", "--sandbox", mode]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let row = ran.out.lines().find(|line| line.trim_start().starts_with("layers ")).unwrap();
        row.split(',').map(|layer| layer.trim().trim_start_matches("layers").trim().to_owned()).collect::<Vec<_>>()
    };
    let (enforced, off) = (layers("enforce"), layers("off"));
    assert!(enforced.contains(&"no-new-privs".to_owned()), "{enforced:?}");
    assert!(!off.contains(&"no-new-privs".to_owned()) && off.len() < enforced.len(), "{off:?}");
}

#[test]
fn a_task_killed_while_it_initialises_says_so() {
    let bench = Bench::new();
    let spin = "(loop $again (br $again))";
    for (name, module, phase) in [
        ("start", format!(r#"(module (func $s {spin}) (start $s) (func (export "run") (param i32)))"#), true),
        ("init", format!(r#"(module (func (export "_initialize") {spin}) (func (export "run") (param i32)))"#), true),
        ("run", format!(r#"(module (func (export "run") (param i32) {spin}))"#), false),
    ] {
        std::fs::write(bench.path("spin.wat"), module).unwrap();
        let ran = bench.run(&["run", "spin.wat", "--map", "[1]", "--timeout", "200ms", "--output", "records"]);
        assert!(ran.out.contains(r#""kind":"timeout""#), "{name}: {} {}", ran.out, ran.err);
        assert_eq!(ran.out.contains(r#""phase":"init""#), phase, "{name}: {}", ran.out);
    }
}

#[test]
fn scratch_directories_of_a_killed_host_go_with_the_next_run() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("tmp")).unwrap();
    std::fs::write(bench.path("spin.wat"), r#"(module (func (export "run") (param i32) (loop $l (br $l))))"#).unwrap();
    let left = || std::fs::read_dir(bench.path("tmp")).unwrap().count();
    let command = |line: &[&str]| {
        let mut command = bench.command(&[&["run"], line, &["--scratch", "/tmp"]].concat());
        command.env("TMPDIR", bench.path("tmp"));
        command
    };
    let mut killed = command(&["spin.wat", "--apply", "1"]).spawn().unwrap();
    let began = Instant::now();
    while left() == 0 {
        assert!(began.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(5));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_ne!(left(), 0);
    assert!(command(&["square.wat", "--apply", "2"]).status().unwrap().success());
    assert_eq!(left(), 0);
}

#[test]
fn large_items_both_ways_keep_the_hosts_memory_bounded() {
    const PAYLOAD: usize = 16 << 20;
    let bench = Bench::new();
    let echo = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/echo.wat");
    let item = format!("\"{}\"\n", "x".repeat(PAYLOAD - 3));
    let mut file = std::fs::File::create(bench.path("in.jsonl")).unwrap();
    for _ in 0..16 {
        std::io::Write::write_all(&mut file, item.as_bytes()).unwrap();
    }
    let line = ["run", echo, "--map", "in.jsonl", "--result", "text", "-j", "2", "--window", "4", "--chunksize", "1"];
    let mut child = bench.command(&line).stdout(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    let status = loop {
        // The kernel keeps the peak: the last look before the end counts.
        peak = peak.max(peak_memory(child.id()));
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    assert!(status.success());
    let most = (64 << 20) + 2 * PAYLOAD * 2;
    assert!(peak > PAYLOAD && peak < most, "{} MiB", peak >> 20);
}

#[test]
fn components_of_several_call_each_other() {
    let bench = Bench::new();
    let composed = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/composed.wat");
    let ran = bench.run(&["run", composed, "--map", r#"["", "a", "ab"]"#]);
    assert_eq!(ran.out, "[0,97,195]\n", "{}", ran.err);
    // The memories that wasmtime needs for it are no leave for the module.
    std::fs::write(bench.path("two.wat"), "(component (core module (memory 1) (memory 1)))").unwrap();
    let ran = bench.run(&["run", "two.wat", "--map", "[]"]);
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    assert!(ran.err.contains("-W multi-memory"), "{}", ran.err);
}
