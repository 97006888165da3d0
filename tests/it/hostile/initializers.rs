//! B: initializers that run wild, before any task and in a worker that would
//! write a module for all of them.

use super::Arena;
use super::cases::Cases;

/// Tasks that need nothing of their initializer.
const RUN: &str = r#"(func (export "run") (param i32) (result i32) (i32.add (local.get 0) (i32.const 40)))"#;
const WASI: &str = r#"(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 2)
    (func $say (param $at i32) (param $length i32)
      (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $length))
      (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8))))"#;
const GREEDY: &str = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
/// Every byte of 48 MiB has a value of its own.
const FULL: &str = "(local $at i32) (drop (memory.grow (i32.const 768)))
    (loop $next
      (i32.store8 (local.get $at) (i32.or (local.get $at) (i32.const 1)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 50331648))))";
/// A byte on every other word, which makes as many segments.
const SPARSE: &str = "(local $at i32) (drop (memory.grow (i32.const 256)))
    (loop $next
      (i32.store8 (local.get $at) (i32.const 1))
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 16777216))))";
const FORGED: &str = r#"(data (i32.const 64) "\1b[2J\0d\0aerror: item 0: ok\0a\e2\80\ae\ff")
    (func (export "init") (call $say (i32.const 64) (i32.const 30)) unreachable)"#;

/// How each ends: with the words on standard error, or well.
enum End {
    Refused(&'static str),
    Runs,
}

pub fn wild() -> Cases {
    use End::{Refused, Runs};
    let function = |body: &str| format!("(func (export \"init\") {body})");
    let mut cases = Cases::default();
    let mut add = |name: &'static str, fields: String, options: &'static [&'static str], end: End| {
        cases.add("B13", name, move || attacked(name, &fields, options, &end));
    };
    let late: &[&str] = &["--timeout", "400ms"];
    add("loop", function("(loop (br 0))"), late, Refused("timeout: ran longer than 400ms"));
    add("flood", function("(loop (call $say (i32.const 0) (i32.const 131072)) (br 0))"), late, Refused("timeout"));
    add("greed", function(GREEDY), &["--memory", "64MiB"], Refused("out-of-memory: needed more than 64MiB"));
    add("full", function(FULL), &["--memory", "64MiB"], Runs);
    add("too full", function(FULL), &["--memory", "64MiB", "--compile-memory", "32MiB"], Refused("--compile-memory"));
    add("sparse", function(SPARSE), &[], Runs);
    add("exit", function("(call $exit (i32.const 0))"), &[], Refused("exit: exit code 0"));
    add(
        "recursion",
        "(func $f (export \"init\") (call $f) (drop (memory.size)))".to_owned(),
        &[],
        Refused("stack-overflow"),
    );
    add("forged lines", FORGED.to_owned(), &[], Refused(r"  stderr | \x1b[2J"));
    let grown = "(table 1 funcref) (func (export \"init\") (drop (table.grow (ref.null func) (i32.const 10000000))))";
    add("table", grown.to_owned(), &[], Refused("table.grow"));
    let taken = "(func (export \"__wizer_memory_0\")) (func (export \"init\"))";
    add("taken names", taken.to_owned(), &[], Refused("--isolation reuse"));
    let many = format!(
        "{} {}",
        "(global (mut i64) (i64.const -1))".repeat(20_000),
        function("(global.set 19999 (i64.const 1))")
    );
    add("many globals", many, &[], Runs);
    add("start", format!("(func $s (loop (br 0))) (start $s) {}", function("")), late, Refused("timeout"));
    cases
}

fn attacked(name: &str, fields: &str, options: &[&str], end: &End) {
    for isolation in ["fresh", "reuse"] {
        // These are of snapshots.
        if isolation == "reuse" && ["too full", "table", "taken names"].contains(&name) {
            continue;
        }
        let arena = Arena::new();
        arena.write("guest.wat", format!("(module {WASI} {fields} {RUN})"));
        let line = ["run", "guest.wat", "--initializer", "init", "--invoke", "run", "--map", "[0,1,2]", "-j2"];
        let ran = arena.attack("B13", &[&line[..], &["--isolation", isolation], options].concat());
        match end {
            End::Runs => assert_eq!((ran.code, ran.out.as_str()), (Some(0), "[40,41,42]\n"), "{name}: {}", ran.err),
            End::Refused(words) => {
                assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{name} {isolation}: {}", ran.err);
                assert!(ran.err.contains(words), "{name} {isolation}: {}", ran.err);
            }
        }
    }
}

#[test]
fn initializers_that_run_wild_end_the_start() {
    wild().run();
}
