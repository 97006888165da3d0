//! Everything that ends a task before it is done.

use std::time::{Duration, Instant};

use super::{command, core, load, must_load, program, refusal};
use crate::limits::{Isolation, KIB, Limits, MIB, TimeoutMode};
use crate::outcome::{Failure, Kind};
use crate::wire::message::TaskSpec;
use crate::wire::page::Stream;

fn limited(edit: impl FnOnce(&mut Limits)) -> TaskSpec {
    let mut task = core("f");
    edit(&mut task.limits);
    task
}

fn flag(failure: &Failure) -> &str {
    failure.detail.limit.as_ref().map_or("", |hit| hit.flag.as_str())
}

#[test]
fn an_endless_loop_is_trapped_at_its_timeout() {
    let task = limited(|limits| {
        limits.timeout = Some(Duration::from_millis(100));
        limits.timeout_mode = TimeoutMode::Trap;
    });
    let wat = r#"(module (func (export "f") (param i32) (result i32)
        (if (local.get 0) (then (loop $l (br $l)))) (i32.const 5)))"#;
    let mut bench = must_load(wat, task);
    let _threads = bench.guest.start_threads().expect("threads");
    let begin = Instant::now();
    let failure = bench.failure("1");
    assert!(begin.elapsed() >= Duration::from_millis(100), "never early");
    assert_eq!(failure.kind, Kind::Timeout);
    assert_eq!(failure.message, "ran longer than 100ms (raise it with --timeout)");
    assert_eq!(failure.detail.limit.map(|hit| (hit.value, hit.unit)), Some((100, "ms".to_owned())));
    assert_eq!(bench.value("0"), "5");
}

#[test]
fn a_start_function_that_loops_is_trapped_in_its_init_phase() {
    let task = limited(|limits| {
        limits.timeout = Some(Duration::from_millis(50));
        limits.timeout_mode = TimeoutMode::Trap;
    });
    let wat = r#"(module (func $s (loop $l (br $l))) (start $s) (func (export "f") (param i32)))"#;
    let mut bench = must_load(wat, task);
    let _threads = bench.guest.start_threads().expect("threads");
    let failure = bench.failure("1");
    assert_eq!((failure.kind, failure.detail.phase.as_deref()), (Kind::Timeout, Some("init")));
}

#[test]
fn fuel_bounds_instructions_and_is_reported() {
    let wat = r#"(module (func (export "f") (param i32)
        (loop $l (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if $l (local.get 0)))))"#;
    for isolation in [Isolation::Fresh, Isolation::Reuse] {
        let mut task = limited(|limits| limits.fuel = Some(10_000));
        task.isolation = isolation;
        let mut bench = must_load(wat, task);
        let (report, _) = bench.report(b"10", crate::wire::message::ItemForm::Json, 0);
        let used = report.fuel.expect("counted");
        assert!((20..200).contains(&used), "{used}");
        let (again, _) = bench.report(b"10", crate::wire::message::ItemForm::Json, 0);
        assert_eq!(again.fuel, Some(used), "every task gets its own");
        let failure = bench.failure("1000000");
        assert_eq!((failure.kind, flag(&failure)), (Kind::OutOfFuel, "--fuel"));
        let (report, _) = bench.report(b"10", crate::wire::message::ItemForm::Json, 0);
        assert_eq!(report.fuel, Some(used));
    }
}

#[test]
fn endless_recursion_is_a_stack_overflow() {
    let wat = r#"(module (func $f (export "f") (param i32) (call $f (local.get 0))))"#;
    let mut bench = must_load(wat, limited(|limits| limits.stack = 64 * KIB));
    let failure = bench.failure("1");
    assert_eq!((failure.kind, flag(&failure)), (Kind::StackOverflow, "--stack"));
    assert_eq!(failure.detail.frames.len(), crate::outcome::MAX_FRAMES);
}

#[test]
fn a_larger_stack_allows_deeper_recursion() {
    let wat = r#"(module (func $f (export "f") (param i32) (result i32)
        (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
          (else (i32.add (i32.const 1) (call $f (i32.sub (local.get 0) (i32.const 1))))))))"#;
    assert_eq!(must_load(wat, limited(|limits| limits.stack = 16 * KIB)).kind("10000"), Kind::StackOverflow);
    let mut deep = must_load(wat, limited(|limits| limits.stack = 4 * MIB));
    let stack = crate::runtime::engine::thread_stack(4 * MIB);
    let thread = std::thread::Builder::new().stack_size(stack).spawn(move || deep.value("10000"));
    assert_eq!(thread.expect("a thread").join().expect("no panic"), "10000");
}

/// Grows page by page until refused, then either aborts or returns the pages.
const GROW: &str = r#"(module (memory (export "memory") 1)
    (func (export "f") (param $abort i32) (result i32)
      (loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
      (if (i32.eq (local.get $abort) (i32.const 1)) (then unreachable))
      (if (i32.eq (local.get $abort) (i32.const 2)) (then (drop (i32.div_u (i32.const 1) (i32.const 0)))))
      (memory.size)))"#;

#[test]
fn memory_growth_ends_at_the_limit() {
    let mut bench = must_load(GROW, limited(|limits| limits.memory = 8 * MIB));
    let (report, out) = bench.report(b"0", crate::wire::message::ItemForm::Json, 0);
    assert!(report.result.is_ok());
    assert_eq!(out, b"113", "1 + 7 * 16 pages fit");
    assert_eq!(report.peak_memory, 113 * 64 * KIB);
    assert_eq!(bench.page.peak_memory(), 113 * 64 * KIB);
    assert!(bench.page.memory_refused());
}

#[test]
fn an_abort_after_a_refused_growth_is_out_of_memory() {
    let mut bench = must_load(GROW, limited(|limits| limits.memory = 8 * MIB));
    let failure = bench.failure("1");
    assert_eq!((failure.kind, flag(&failure)), (Kind::OutOfMemory, "--memory"));
    assert!(failure.detail.memory_refused);
    assert_eq!(failure.detail.trap.as_deref(), Some("unreachable"));
    assert!(failure.message.contains("8MiB"), "{}", failure.message);
}

#[test]
fn another_trap_after_a_refused_growth_keeps_its_name() {
    let mut bench = must_load(GROW, limited(|limits| limits.memory = 8 * MIB));
    let failure = bench.failure("2");
    assert_eq!(failure.kind, Kind::Trap);
    assert_eq!(failure.detail.trap.as_deref(), Some("divide-by-zero"));
    assert!(failure.detail.memory_refused);
}

#[test]
fn a_guests_own_maximum_is_not_our_refusal() {
    let wat = GROW.replace("(memory (export \"memory\") 1)", "(memory (export \"memory\") 1 20)");
    let mut bench = must_load(&wat, core("f"));
    let failure = bench.failure("1");
    assert_eq!(failure.kind, Kind::Trap);
    assert!(!failure.detail.memory_refused);
}

#[test]
fn tables_count_as_memory() {
    let wat = r#"(module (table 1 funcref) (func (export "f") (param i32) (result i32)
        (table.grow (ref.null func) (local.get 0))))"#;
    let mut bench = must_load(wat, limited(|limits| limits.memory = 80_000));
    assert_eq!(bench.value("9000"), "1");
    assert_eq!(bench.page.peak_memory(), 9001 * 8);
    assert_eq!(bench.value("10000"), "-1");
    assert!(bench.page.memory_refused());
}

#[test]
fn a_refusal_does_not_stick_to_the_next_task_of_a_reused_instance() {
    let mut task = limited(|limits| limits.memory = 8 * MIB);
    task.isolation = Isolation::Reuse;
    let wat = r#"(module (memory 1) (func (export "f") (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then unreachable)) (memory.grow (local.get 0))))"#;
    let mut bench = must_load(wat, task);
    assert_eq!(bench.value("1000"), "-1");
    let failure = bench.failure("0");
    assert_eq!((failure.kind, failure.detail.memory_refused), (Kind::Trap, false));
}

#[test]
fn a_minimum_over_the_limit_is_refused_at_load() {
    let wat = r#"(module (memory 200) (func (export "f") (param i32)))"#;
    let text = refusal(wat, limited(|limits| limits.memory = 8 * MIB));
    assert!(text.contains("--memory") && text.contains("8MiB"), "{text}");
    assert!(load(wat, limited(|limits| limits.memory = 16 * MIB)).is_ok());
}

#[test]
fn each_trap_has_its_name() {
    let wat = r#"(module (memory 1) (table 2 funcref) (elem (i32.const 1) $other)
        (type $t (func)) (type $u (func (param i32)))
        (func $other (param i32))
        (func $named (unreachable))
        (func (export "f") (param $n i32)
          (block $6 (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
            (br_table $0 $1 $2 $3 $4 $5 $6 (local.get $n)))
            (call $named))
            (drop (i32.load (i32.const 0x7fffffff))))
            (drop (i32.div_s (i32.const 1) (i32.const 0))))
            (drop (i32.div_s (i32.const 0x80000000) (i32.const -1))))
            (drop (i32.trunc_f32_s (f32.const nan))))
            (call_indirect (type $t) (i32.const 7)))
            (call_indirect (type $t) (i32.const 1))))"#;
    // Each block falls into the next case, so each case must trap by itself.
    let mut bench = must_load(wat, core("f"));
    let names = [
        "unreachable",
        "memory-out-of-bounds",
        "divide-by-zero",
        "integer-overflow",
        "bad-conversion",
        "table-out-of-bounds",
        "bad-signature",
    ];
    for (case, name) in names.into_iter().enumerate() {
        let failure = bench.failure(&case.to_string());
        assert_eq!((failure.kind, failure.detail.trap.as_deref()), (Kind::Trap, Some(name)));
        assert!(failure.detail.frames.iter().all(|frame| frame.offset.is_some()));
    }
    let failure = bench.failure("0");
    assert_eq!(failure.message, "unreachable executed in named");
    assert_eq!(failure.detail.frames.len(), 2);
    assert_eq!((failure.detail.frames[0].func.as_deref(), failure.detail.frames[0].index), (Some("named"), 1));
}

#[test]
fn an_empty_table_slot_is_an_indirect_call() {
    let wat = r#"(module (table 1 funcref) (type $t (func))
        (func (export "f") (param i32) (call_indirect (type $t) (i32.const 0))))"#;
    assert_eq!(must_load(wat, core("f")).failure("1").detail.trap.as_deref(), Some("indirect-call"));
}

#[test]
fn a_start_function_that_traps_fails_each_item_in_its_init_phase() {
    let wat = r#"(module (func $s unreachable) (start $s) (func (export "f") (param i32)))"#;
    let mut bench = must_load(wat, core("f"));
    for _ in 0..30 {
        let failure = bench.failure("1");
        assert_eq!((failure.kind, failure.detail.phase.as_deref()), (Kind::Trap, Some("init")));
    }
}

#[test]
fn initialize_runs_before_each_fresh_task_and_once_for_a_kept_instance() {
    let wat = r#"(module (global $n (mut i32) (i32.const 0))
        (func (export "_initialize") (global.set $n (i32.add (global.get $n) (i32.const 10))))
        (func (export "f") (param i32) (result i32)
          (global.set $n (i32.add (global.get $n) (local.get 0))) (global.get $n)))"#;
    let mut fresh = must_load(wat, core("f"));
    assert_eq!([fresh.value("1"), fresh.value("1")], ["11", "11"]);
    let mut reuse = must_load(wat, TaskSpec { isolation: Isolation::Reuse, ..core("f") });
    assert_eq!([reuse.value("1"), reuse.value("1")], ["11", "12"]);
}

#[test]
fn initialize_never_runs_beside_start() {
    let wat = program(r#"(func (export "_initialize") unreachable) (func (export "_start"))"#);
    assert_eq!(must_load(&wat, command()).value("1"), r#""""#);
}

#[test]
fn exit_codes_are_kept_whole() {
    for code in [1, 7, 125, 126, 127, 255, 256, -1] {
        let wat = program(&format!(r#"(func (export "_start") (call $proc_exit (i32.const {code})))"#));
        let failure = must_load(&wat, command()).failure("1");
        assert_eq!((failure.kind, failure.detail.code), (Kind::Exit, Some(code)));
    }
}

#[test]
fn exit_0_is_success_in_a_command_and_a_failure_in_a_function() {
    let wat = program(
        r#"(data (i32.const 64) "done") (func $go (export "_start")
          (call $write (i32.const 1) (i32.const 64) (i32.const 4)) (call $proc_exit (i32.const 0)))
        (func (export "f") (param i32) (call $go))"#,
    );
    assert_eq!(must_load(&wat, command()).value("1"), r#""done""#);
    let failure = must_load(&wat, core("f")).failure("1");
    assert_eq!((failure.kind, failure.detail.code), (Kind::Exit, Some(0)));
}

fn flood(fd: i32) -> String {
    program(&format!(
        r#"(func (export "_start") (loop $l
            (call $write (i32.const {fd}) (i32.const 1024) (i32.const 65536)) (br $l)))
        (func (export "f") (param $n i32) (loop $l
            (call $write (i32.const {fd}) (i32.const 1024) (i32.const 65536))
            (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))"#
    ))
}

#[test]
fn a_stdout_flood_ends_a_command_at_once() {
    let mut task = command();
    task.limits.max_result = MIB;
    task.limits.max_captured = 64 * KIB;
    let mut bench = must_load(&flood(1), task);
    let failure = bench.failure("1");
    assert_eq!((failure.kind, flag(&failure)), (Kind::ResultTooLarge, "--max-result"));
    assert!(bench.page.printed(Stream::Stdout) <= MIB + 64 * KIB);
    assert!(bench.page.tail(Stream::Stdout).1);
}

#[test]
fn a_stderr_flood_only_keeps_its_tail() {
    let mut task = core("f");
    task.limits.max_captured = 64 * KIB;
    for fd in [1, 2] {
        let mut bench = must_load(&flood(fd), task.clone());
        assert_eq!(bench.value("1000"), "null");
        let stream = if fd == 1 { Stream::Stdout } else { Stream::Stderr };
        assert_eq!(bench.page.printed(stream), 1000 * 65536);
        assert_eq!(bench.page.tail(stream).0.len() as u64, 64 * KIB);
    }
}
