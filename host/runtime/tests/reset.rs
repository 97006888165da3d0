//! Instances that are put back: no task can tell them from new ones.

use arbitrary::Unstructured;
use wasm_smith::{Config, Module as Random};

use super::{Bench, command, compile_setup, core, load_anew, load_file, must_load, spec};
use crate::limits::Tighter;
use crate::outcome::Kind;
use crate::runtime::pages::Pages;
use crate::runtime::{TaskInput, compile};
use crate::wire::message::{Abi, ItemForm, Spread, Target, TaskSpec};

/// Whether instances of a module are put back.
fn is_reset(wat: &str, task: &TaskSpec) -> bool {
    compile(wat.as_bytes(), &compile_setup(task)).expect("compiles").0.reset.is_some()
}

/// Whether this system tells which pages were written to.
fn scans() -> bool {
    Pages::open().is_some()
}

/// Everything that such a module can change: globals of each type, initial
/// data, untouched memory, the last byte of it. The sum tells what it found.
const CHANGES: &str = r#"(module
    (memory (export "memory") 3 9)
    (data (i32.const 70000) "image")
    (data (i32.const 4090) "across a page")
    (global $a (mut i32) (i32.const 1))
    (global $b (mut i64) (i64.const 2))
    (global $c (mut f32) (f32.const 3))
    (global $d (mut f64) (f64.const 4))
    (func (export "found") (param $item i32) (result i64)
      (local $sum i64)
      (local.set $sum (i64.extend_i32_u (global.get $a)))
      (local.set $sum (i64.add (local.get $sum) (global.get $b)))
      (local.set $sum (i64.add (local.get $sum) (i64.trunc_sat_f32_s (global.get $c))))
      (local.set $sum (i64.add (local.get $sum) (i64.trunc_sat_f64_s (global.get $d))))
      (local.set $sum (i64.add (local.get $sum) (i64.load (i32.const 70000))))
      (local.set $sum (i64.add (local.get $sum) (i64.load (i32.const 69990))))
      (local.set $sum (i64.add (local.get $sum) (i64.load (i32.const 4092))))
      (local.set $sum (i64.add (local.get $sum) (i64.load (i32.const 140000))))
      (local.set $sum (i64.add (local.get $sum) (i64.load (i32.const 196600))))
      (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (memory.size))))
      (global.set $a (local.get $item))
      (global.set $b (i64.const 77))
      (global.set $c (f32.const 78))
      (global.set $d (f64.const 79))
      (memory.fill (i32.const 69000) (i32.const 1) (i32.const 2000))
      (memory.fill (i32.const 4000) (i32.const 1) (i32.const 200))
      (i64.store (i32.const 140000) (i64.const -1))
      (i64.store (i32.const 196600) (i64.const -1))
      (if (i32.eq (local.get $item) (i32.const 3)) (then (drop (memory.grow (i32.const 1)))))
      (if (i32.eq (local.get $item) (i32.const 5)) (then unreachable))
      (local.get $sum)))"#;

#[test]
fn what_a_task_changed_is_gone_for_the_next() {
    assert!(is_reset(CHANGES, &core("found")));
    let mut bench = must_load(CHANGES, core("found"));
    let found = bench.value("1");
    for item in ["2", "3", "4", "5", "6", "7", "\"no number\"", "8"] {
        match item {
            "5" => assert_eq!(bench.kind(item), Kind::Trap),
            "\"no number\"" => assert_eq!(bench.kind(item), Kind::BadInput),
            item => assert_eq!(bench.value(item), found, "item {item}"),
        }
        assert_eq!(bench.guest.is_ready(), item != "3" && item != "5" && scans(), "after {item}");
    }
}

/// Two core instances with a memory and a global each; one has a start
/// function.
const COMPONENT: &str = r#"(component
    (core module $first
      (memory (export "memory") 2 9)
      (data (i32.const 100) "image")
      (global $g (mut i32) (i32.const 5))
      (func $start (i32.store (i32.const 90000) (i32.const 9)) (global.set $g (i32.const 6)))
      (start $start)
      (func (export "found") (param $item i32) (result i32)
        (local $sum i32)
        (local.set $sum (i32.add (global.get $g) (i32.load (i32.const 100))))
        (local.set $sum (i32.add (local.get $sum) (i32.load (i32.const 90000))))
        (local.set $sum (i32.add (local.get $sum) (i32.load (i32.const 50000))))
        (local.set $sum (i32.add (local.get $sum) (i32.load (i32.const 0))))
        (local.set $sum (i32.add (local.get $sum) (memory.size)))
        (global.set $g (local.get $item))
        (i32.store (i32.const 0) (i32.const 1))
        (i32.store (i32.const 100) (i32.const 1))
        (i32.store (i32.const 90000) (i32.const 1))
        (i32.store (i32.const 50000) (i32.const 1))
        (if (i32.eq (local.get $item) (i32.const 3)) (then (drop (memory.grow (i32.const 1)))))
        (if (i32.eq (local.get $item) (i32.const 5)) (then unreachable))
        (local.get $sum)))
    (core module $second
      (memory 1)
      (global $g (mut i64) (i64.const 7))
      (global $h (mut f64) (f64.const 8))
      (func (export "found") (param $item i32) (result i32)
        (local $sum i32)
        (local.set $sum (i32.add (i32.wrap_i64 (global.get $g)) (i32.load (i32.const 65532))))
        (local.set $sum (i32.add (local.get $sum) (i32.trunc_f64_s (global.get $h))))
        (global.set $g (i64.const 77))
        (global.set $h (f64.const 88))
        (i32.store (i32.const 65532) (i32.const 1))
        (local.get $sum)))
    (core instance $one (instantiate $first))
    (core instance $two (instantiate $second))
    (core instance $three (instantiate $second))
    (func (export "one") (param "item" s32) (result s32) (canon lift (core func $one "found")))
    (func (export "two") (param "item" s32) (result s32) (canon lift (core func $two "found")))
    (func (export "three") (param "item" s32) (result s32) (canon lift (core func $three "found"))))"#;

fn component() -> TaskSpec {
    let target = |name: &str| Target { abi: Abi::Component, interface: None, name: name.to_owned(), spread: None };
    TaskSpec { targets: vec![target("one"), target("two"), target("three")], ..spec(Abi::Component, "") }
}

#[test]
fn what_a_task_of_a_component_changed_is_gone_for_the_next() {
    tells_no_difference(COMPONENT);
}

/// The same component twice in others, once two levels deep, beside one without
/// a state, one whose memory is empty, and one of its own modules.
#[test]
fn what_a_task_of_a_nested_component_changed_is_gone_for_the_next() {
    let inner = COMPONENT.strip_prefix("(component").expect("a component");
    let exports = |names: [(&str, &str, &str); 3]| {
        names.map(|(name, of, function)| format!(r#"(export "{name}" (func ${of} "{function}"))"#)).join(" ")
    };
    let wat = format!(
        r#"(component
            (component $inner {inner}
            (component $around
              (component $deep {inner}
              (core module $own (memory 1) (global (mut i32) (i32.const 1)))
              (core instance (instantiate $own))
              (instance $i (instantiate $deep))
              (instance $bundle (export "unused" (func $i "three")))
              (export "exported" (instance $bundle))
              {})
            (component $stateless
              (core module $m (memory (export "m") 0) (func (export "f")))
              (core instance $i (instantiate $m))
              (func (export "f") (canon lift (core func $i "f"))))
            (instance (instantiate $stateless))
            (instance $a (instantiate $inner))
            (instance $b (instantiate $around))
            (core module $top (memory 3) (global (mut i64) (i64.const 1)))
            (core instance (instantiate $top))
            {})"#,
        exports([("one", "i", "one"), ("two", "i", "two"), ("three", "i", "three")]),
        exports([("one", "a", "one"), ("two", "b", "two"), ("three", "b", "one")]),
    );
    tells_no_difference(&wat);
}

/// Tasks of a component cannot tell whether their instance was put back.
fn tells_no_difference(wat: &str) {
    assert!(is_reset(wat, &component()));
    let mut task = component();
    task.limits.fuel = Some(10_000);
    let mut reset = load_file(wat.as_bytes(), task.clone(), None, true).expect("loads");
    let mut anew = load_anew(wat.as_bytes(), task).expect("loads");
    for (function, item) in [(0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (0, 3), (0, 4), (2, 4), (0, 5), (0, 6), (1, 6)] {
        let run = |bench: &mut Bench| {
            let mut out = Vec::new();
            let report = bench.guest.run(&called(function, item.to_string().as_bytes()), &mut out);
            let failure = report.result.map_err(|failure| failure.message).err();
            (String::from_utf8_lossy(&out).into_owned(), failure, report.fuel, report.peak_memory)
        };
        let told = run(&mut reset);
        assert_eq!(told, run(&mut anew), "function {function} of {item}");
        assert_eq!(reset.guest.is_ready(), item != 3 && item != 5 && scans(), "after {item}: {told:?}");
    }
}

/// A task that gives `item` to a function.
fn called(function: u16, item: &[u8]) -> TaskInput<'_> {
    let tighter = Tighter::default();
    TaskInput { function, index: 0, attempt: 1, item, form: ItemForm::Json, path: None, tighter }
}

#[test]
fn an_instance_that_may_hold_handles_is_thrown_away() {
    let calling = |interface: &str, function: &str, types: &str| {
        format!(
            r#"(component
                (import "{interface}" (instance $asked {types}))
                (core func $ask (canon lower (func $asked "{function}")))
                (core module $m (import "host" "ask" (func $ask (result i64)))
                  (func (export "run") (param i32) (result i64) (call $ask)))
                (core instance $host (export "ask" (func $ask)))
                (core instance $i (instantiate $m (with "host" (instance $host))))
                (func (export "run") (param "item" s32) (result u64) (canon lift (core func $i "run"))))"#
        )
    };
    let number = |function: &str| format!(r#"(export "{function}" (func (result u64)))"#);
    let random = calling("wasi:random/random@0.2.0", "get-random-u64", &number("get-random-u64"));
    let time = calling("wasi:clocks/monotonic-clock@0.2.0", "now", &number("now"));
    for wat in [random, time] {
        assert!(is_reset(&wat, &spec(Abi::Component, "run")));
        let mut bench = must_load(&wat, spec(Abi::Component, "run"));
        let first = bench.value("1");
        assert_eq!(bench.guest.is_ready(), scans(), "{wat}");
        assert_ne!(bench.value("1"), first, "each task asks for itself");
    }
    let wat = r#"(component
        (import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type (sub resource)))))
        (alias export $poll "pollable" (type $pollable))
        (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
          (alias outer 1 $pollable (type $outer))
          (export "pollable" (type $own (eq $outer)))
          (export "subscribe-duration" (func (param "when" u64) (result (own $own))))))
        (core func $ask (canon lower (func $clock "subscribe-duration")))
        (core module $m (import "host" "ask" (func $ask (param i64) (result i32)))
          (func (export "run") (param i32) (result i32) (call $ask (i64.const 1))))
        (core instance $host (export "ask" (func $ask)))
        (core instance $i (instantiate $m (with "host" (instance $host))))
        (func (export "run") (param "item" s32) (result u32) (canon lift (core func $i "run"))))"#;
    assert!(is_reset(wat, &spec(Abi::Component, "run")));
    let mut bench = must_load(wat, spec(Abi::Component, "run"));
    for _ in 0..3 {
        assert_eq!(bench.value("1"), "1", "the first handle");
        assert!(!bench.guest.is_ready());
    }
}

#[test]
fn components_whose_state_is_not_all_known_are_made_anew() {
    let unknown = [
        ("handles of its own", "(type $r (resource (rep i32))) (core func (canon resource.new $r))"),
        (
            "a module of an outer component",
            "(core module $m (memory 1))
             (component (alias outer 1 $m (core module $n)) (core instance (instantiate $n)))",
        ),
        (
            "a component of an outer one",
            "(component $c (core module $m (memory 1)) (core instance (instantiate $m)))
             (component (alias outer 1 $c (component $d)) (instance (instantiate $d)))",
        ),
        (
            "a table that is written to",
            "(core module (table 1 funcref) (func (table.set (i32.const 0) (ref.null func))))",
        ),
        ("shared objects", r#"(import "wpool:pool/log@0.1.0" (instance))"#),
        (
            "a name of ours",
            r#"(core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func (export "wpool-state-save") (canon lift (core func $i "f")))"#,
        ),
    ];
    for (what, text) in unknown {
        let wat = format!(
            r#"(component {text}
                (core module $task (func (export "run") (param i32) (result i32) (local.get 0)))
                (core instance $own (instantiate $task))
                (func (export "run") (param "item" s32) (result s32) (canon lift (core func $own "run"))))"#
        );
        assert!(!is_reset(&wat, &spec(Abi::Component, "run")), "{what}");
    }
}

#[test]
fn more_than_is_put_back_is_gone_for_the_next() {
    // Two megabytes written to, and each second page of one.
    let wat = r#"(module (memory 40)
        (func (export "found") (param $step i32) (result i64)
          (local $at i32) (local $sum i64)
          (loop $next
            (local.set $sum (i64.add (local.get $sum) (i64.load (local.get $at))))
            (i64.store (local.get $at) (i64.const 1))
            (local.set $at (i32.add (local.get $at) (local.get $step)))
            (br_if $next (i32.lt_u (local.get $at) (i32.const 2000000))))
          (local.get $sum)))"#;
    let mut bench = must_load(wat, core("found"));
    for step in ["65536", "4096", "8192", "4096", "65536", "8192", "100000"] {
        assert_eq!(bench.value(step), "0", "steps of {step}");
    }
}

#[test]
fn a_programs_memory_is_gone_for_the_next() {
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (func (export "_start")
          (local $found i32)
          (local.set $found (i32.load (i32.const 5000)))
          (i32.store (i32.const 5000) (i32.const 7))
          (if (local.get $found) (then (call $exit (local.get $found))))))"#;
    assert!(is_reset(wat, &command()));
    let mut bench = must_load(wat, command());
    for _ in 0..3 {
        assert_eq!(bench.value("null"), "\"\"");
    }
}

#[test]
fn modules_whose_state_is_not_all_known_are_made_anew() {
    let unknown = [
        ("a table that is written to", r"(table 1 funcref) (func (table.set (i32.const 0) (ref.null func)))"),
        (
            "a table that is filled",
            r"(table 1 funcref)
            (func (table.fill (i32.const 0) (ref.null func) (i32.const 1)))",
        ),
        ("a table that grows", r"(table 1 funcref) (func (drop (table.grow (ref.null func) (i32.const 1))))"),
        (
            "a table that is copied",
            r"(table 1 funcref)
            (func (table.copy (i32.const 0) (i32.const 0) (i32.const 1)))",
        ),
        (
            "a table that is initialised late",
            r"(table 1 funcref) (func $f) (elem $e func $f)
            (func (table.init $e (i32.const 0) (i32.const 0) (i32.const 1)))",
        ),
        ("elements that are dropped", r"(func $f) (elem $e func $f) (func (elem.drop $e))"),
        ("data that is dropped", r#"(memory 1) (data $d "x") (func (data.drop $d))"#),
        (
            "a start function",
            r"(global $g (mut i32) (i32.const 0))
            (func $s (global.set $g (i32.const 1))) (start $s)",
        ),
        ("a global that is a reference", r"(global $g (mut funcref) (ref.null func))"),
        ("a vector", r"(global $g (mut v128) (v128.const i64x2 0 0))"),
        ("a name of ours", r#"(func (export "wpool:state:memory"))"#),
        ("much data", r#"(memory 300) (data (i32.const 0) "x") (data (i32.const 17000000) "x")"#),
        ("data somewhere", r#"(memory 1) (data (i32.add (i32.const 1) (i32.const 2)) "x")"#),
    ];
    for (what, text) in unknown {
        let wat = format!(r#"(module {text} (func (export "run") (param i32) (result i32) (local.get 0)))"#);
        assert!(!is_reset(&wat, &core("run")), "{what}");
        let mut bench = must_load(&wat, core("run"));
        assert_eq!((bench.value("1"), bench.value("2")), ("1".to_owned(), "2".to_owned()), "{what}");
    }
}

#[test]
fn a_trap_is_where_it_is_in_the_module_as_it_was_given() {
    let wat = r#"(module (memory 1) (global (mut i32) (i32.const 0)) (func (export "run") (param i32) unreachable))"#;
    assert!(is_reset(wat, &core("run")));
    let binary = wat::parse_str(wat).expect("a module");
    // The body ends with `unreachable` and `end`.
    let at = binary.windows(3).position(|bytes| bytes == [0, 0, 0x0b]).expect("the body") as u64 + 1;
    let mut bench = must_load(wat, core("run"));
    for _ in 0..2 {
        assert_eq!(bench.failure("1").detail.frames[0].offset, Some(at));
    }
}

#[test]
fn a_trap_is_where_it_is_in_the_component_as_it_was_given() {
    let wat = r#"(component
        (core module $one (memory 1) (global (mut i32) (i32.const 0))
          (func (export "f") (param i32) (drop (i32.const 1111)) unreachable))
        (core module $two (memory 1) (global (mut i32) (i32.const 0))
          (func (export "f") (param i32) (drop (i32.const 1112)) unreachable))
        (core instance $i (instantiate $one))
        (core instance $j (instantiate $two))
        (func (export "one") (param "item" s32) (canon lift (core func $i "f")))
        (func (export "two") (param "item" s32) (canon lift (core func $j "f"))))"#;
    let nested = format!(
        r#"(component (core module (memory 1)) (component $first {} (component $second {} (instance $a (instantiate $first))
            (instance $b (instantiate $second)) (export "one" (func $a "one")) (export "two" (func $b "two")))"#,
        wat.strip_prefix("(component").expect("a component"),
        wat.strip_prefix("(component").expect("a component").replace("1111", "1113"),
    );
    for (wat, name, constant) in
        [(wat, "one", 0xd7), (wat, "two", 0xd8), (&nested, "one", 0xd7), (&nested, "two", 0xd8)]
    {
        let binary = wat::parse_str(wat).expect("a component");
        let task = spec(Abi::Component, name);
        assert!(is_reset(wat, &task));
        let body = [0x41, constant, 0x08, 0x1a, 0];
        // The last one is nested's second.
        let at = binary.windows(body.len()).rposition(|bytes| bytes == body).expect("the body") as u64 + 4;
        assert_eq!(must_load(wat, task).failure("1").detail.frames[0].offset, Some(at), "{name}");
    }
}

#[test]
fn less_memory_than_an_instance_has_is_refused_as_for_a_new_one() {
    let wat = r#"(module (memory 4) (func (export "run") (param i32) (result i32) (local.get 0)))"#;
    let mut bench = must_load(wat, core("run"));
    let mut with = |memory: Option<u64>| {
        let task = TaskInput { tighter: Tighter { memory, ..Tighter::default() }, ..called(0, b"1") };
        bench.guest.run(&task, &mut Vec::new()).result.map_err(|failure| failure.kind)
    };
    assert!(with(None).is_ok());
    assert_eq!(with(Some(65536)), Err(Kind::OutOfMemory));
    assert!(with(None).is_ok());
}

/// Bytes to make choices from.
fn noise(seed: u64) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    let mut noise = vec![0; 8192];
    hasher.finalize_xof().fill(&mut noise);
    noise
}

/// A module that mostly writes to its memory and its globals.
fn random(seed: u64) -> Vec<u8> {
    let noise = noise(seed);
    let config = Config {
        min_funcs: 4,
        max_imports: 0,
        min_globals: 2,
        min_memories: 1,
        min_data_segments: 1,
        export_everything: true,
        allow_start_export: seed.is_multiple_of(8),
        gc_enabled: false,
        exceptions_enabled: false,
        threads_enabled: false,
        memory64_enabled: false,
        relaxed_simd_enabled: false,
        custom_page_sizes_enabled: false,
        wide_arithmetic_enabled: false,
        // These make most modules that have them ones that are made anew.
        reference_types_enabled: seed.is_multiple_of(4),
        simd_enabled: seed.is_multiple_of(4),
        bulk_memory_enabled: seed.is_multiple_of(3),
        max_memories: 1,
        max_memory32_bytes: 4 << 20,
        ..Config::default()
    };
    let mut module = Random::new(config, &mut Unstructured::new(&noise)).expect("enough choices");
    module.ensure_termination(1000).expect("it terminates");
    module.to_bytes()
}

/// What calls of the functions, each several times, come to.
fn told(bench: &mut Bench, arguments: &[String]) -> Vec<String> {
    let calls = (0..3 * arguments.len()).map(|call| (call * 7 + call / 3) % arguments.len());
    let told = calls.map(|function| {
        let mut out = Vec::new();
        let task = called(u16::try_from(function).expect("few"), arguments[function].as_bytes());
        let report = bench.guest.run(&task, &mut out);
        let failure = report.result.map_err(|failure| (failure.kind, failure.detail.trap)).err();
        format!("{} {failure:?} {}", String::from_utf8_lossy(&out), report.peak_memory)
    });
    told.collect()
}

#[test]
fn random_modules_cannot_tell_whether_they_were_made_anew() {
    let (mut compared, mut returned) = (0, 0);
    for seed in 0..400 {
        let module = random(seed);
        let task = TaskSpec { spread: Spread::Star, ..spec(Abi::Core, "") };
        let Ok((description, _)) = compile(&module, &compile_setup(&task)) else { continue };
        let callable = description.functions.iter().filter(|function| {
            function.ty.params.iter().all(|field| field.ty.unsupported().is_none())
                && function.ty.results.iter().all(|ty| ty.unsupported().is_none())
        });
        let (mut targets, mut arguments) = (Vec::new(), Vec::new());
        for function in callable.take(6) {
            let name = function.name.clone();
            targets.push(Target { abi: Abi::Core, interface: None, name, spread: None });
            arguments.push(format!("[{}]", vec!["1"; function.ty.params.len()].join(",")));
        }
        if targets.is_empty() || description.reset.is_none() {
            continue;
        }
        let task = TaskSpec { targets, ..task };
        let mut reset = load_file(&module, task.clone(), None, true).expect("loads");
        let mut anew = load_anew(&module, task).expect("loads");
        let told_by_reset = told(&mut reset, &arguments);
        assert_eq!(told_by_reset, told(&mut anew, &arguments), "seed {seed}");
        compared += 1;
        returned += usize::from(told_by_reset.iter().any(|told| told.contains("None")));
    }
    assert!(compared > 60 && returned > 40, "{compared} modules were compared, {returned} returned anything");
}
