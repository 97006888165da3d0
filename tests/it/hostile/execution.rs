//! B: guests that run wild.

use super::cases::{Cases, guest};

/// A call that needs its argument after it returns.
const BIG_FRAME: &str = "(func $f (param i64) (result i64)
    (i64.add (local.get 0) (call $f (i64.add (local.get 0) (i64.const 1)))))";
const GROWN: &str = "(drop (memory.grow (i32.const 1))) (drop (i32.load (i32.const 131069)))";
const DATA: &str = "(memory.init $d (i32.const 0) (i32.const 1) (i32.const 3))";
const DROPPED: &str = "(data.drop $d) (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))";
const COPY: &str = "(table.copy (i32.const 1) (i32.const 0) (i32.const 4))";
const FILL: &str = "(loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br 0))";
const TABLE_OF_ONE: &str = "(func $f) (table funcref (elem $f))";
const TABLE: &str = "(table 4 funcref) (elem (i32.const 0) $other) (type $t (func (result i32)))
    (func $other (param f64))";

pub fn traps() -> Cases {
    let memory = "(memory 1)";
    let mut cases = Cases::default();
    cases.guests([
        guest(
            "B08",
            "load at the end",
            memory,
            "(drop (i32.load (i32.const 0xfffffffc)))",
            "trap:memory-out-of-bounds",
        ),
        guest("B08", "a byte past", memory, "(drop (i32.load (i32.const 65533)))", "trap:memory-out-of-bounds"),
        guest(
            "B08",
            "negative address",
            memory,
            "(i64.store (i32.const -1) (i64.const 0))",
            "trap:memory-out-of-bounds",
        ),
        guest(
            "B08",
            "largest offset",
            memory,
            "(drop (i32.load8_u offset=0xffffffff (i32.const 0)))",
            "trap:memory-out-of-bounds",
        ),
        guest(
            "B08",
            "largest offset and address",
            memory,
            "(drop (v128.load offset=0xffffffff (i32.const 0xffffffff)))",
            "trap:memory-out-of-bounds",
        ),
        guest(
            "B08",
            "fill past the end",
            memory,
            "(memory.fill (i32.const 65535) (i32.const 1) (i32.const 2))",
            "trap:memory-out-of-bounds",
        ),
        guest(
            "B08",
            "copy of everything",
            memory,
            "(memory.copy (i32.const 1) (i32.const 0) (i32.const -1))",
            "trap:memory-out-of-bounds",
        ),
        guest("B08", "no memory yet", "(memory 0)", "(drop (i32.load8_u (i32.const 0)))", "trap:memory-out-of-bounds"),
        guest("B09", "null element", TABLE, "(return (call_indirect (type $t) (i32.const 1)))", "trap:indirect-call"),
        guest("B09", "other type", TABLE, "(return (call_indirect (type $t) (i32.const 0)))", "trap:bad-signature"),
        guest(
            "B09",
            "out of range",
            TABLE,
            "(return (call_indirect (type $t) (i32.const 4)))",
            "trap:table-out-of-bounds",
        ),
        guest("B09", "far out", TABLE, "(return (call_indirect (type $t) (i32.const -1)))", "trap:table-out-of-bounds"),
        guest("B10", "unreachable", "", "unreachable", "trap:unreachable"),
        guest("B10", "division", "", "(return (i32.div_s (i32.const 1) (i32.const 0)))", "trap:divide-by-zero"),
        guest("B10", "remainder", "", "(return (i32.rem_u (i32.const 1) (i32.const 0)))", "trap:divide-by-zero"),
        guest(
            "B10",
            "least by -1",
            "",
            "(return (i32.div_s (i32.const 0x80000000) (i32.const -1)))",
            "trap:integer-overflow",
        ),
        guest("B10", "least modulo -1", "", "(return (i32.rem_s (i32.const 0x80000000) (i32.const -1)))", "ok:0"),
        guest("B10", "no number", "", "(return (i32.trunc_f32_s (f32.const nan)))", "trap:bad-conversion"),
        guest("B10", "too large", "", "(return (i32.trunc_f64_u (f64.const 1e300)))", "trap:integer-overflow"),
        guest("B10", "infinite", "", "(return (i32.trunc_f64_s (f64.const inf)))", "trap:integer-overflow"),
        guest("B08", "grown and not", memory, GROWN, "trap:memory-out-of-bounds"),
        guest("B08", "data past its end", "(memory 1) (data $d \"abc\")", DATA, "trap:memory-out-of-bounds"),
        guest("B08", "dropped data", "(memory 1) (data $d \"abc\")", DROPPED, "trap:memory-out-of-bounds"),
        guest("B09", "table past its end", TABLE, "(drop (table.get 0 (i32.const 4)))", "trap:table-out-of-bounds"),
        guest("B09", "copy of a table", TABLE, COPY, "trap:table-out-of-bounds"),
        guest(
            "B09",
            "tail call of nothing",
            TABLE,
            "(return_call_indirect (type $t) (i32.const 1))",
            "trap:indirect-call",
        ),
        guest(
            "B10",
            "wide least by -1",
            "",
            "(drop (i64.div_s (i64.const -9223372036854775808) (i64.const -1)))",
            "trap:integer-overflow",
        ),
        guest("B10", "wide division", "", "(drop (i64.rem_s (i64.const 1) (i64.const 0)))", "trap:divide-by-zero"),
        guest("B10", "no number, saturated", "", "(return (i32.trunc_sat_f32_s (f32.const nan)))", "ok:0"),
    ]);
    cases
}

#[test]
fn what_traps_costs_its_item_and_no_worker() {
    traps().run();
}

pub fn recursion() -> Cases {
    let frame = format!(
        "(func $f (param i32) (result i32) {} (i32.add {} (call $f (i32.add (local.get 0) (i32.const 1)))))",
        "(local i64)".repeat(1000),
        "(local.get 0)"
    );
    let mut cases = Cases::default();
    cases.guests([
        guest("B03", "itself", BIG_FRAME, "(drop (call $f (i64.const 0)))", "stack-overflow:--stack"),
        guest("B03", "a thousand locals", &frame, "(drop (call $f (i32.const 0)))", "stack-overflow"),
        guest(
            "B03",
            "each other",
            "(func $a (result i32) (i32.add (i32.const 1) (call $b)))
             (func $b (result i32) (i32.add (i32.const 1) (call $a)))",
            "(return (call $a))",
            "stack-overflow",
        ),
        guest(
            "B03",
            "through a table",
            "(type $t (func (result i32))) (table funcref (elem $f))
             (func $f (type $t) (i32.add (i32.const 1) (call_indirect (type $t) (i32.const 0))))",
            "(return (call $f))",
            "stack-overflow",
        ),
        guest("B03", "a small stack", BIG_FRAME, "(drop (call $f (i64.const 0)))", "stack-overflow:--stack")
            .with(&["--stack", "16KiB"]),
        guest("B03", "a large stack", BIG_FRAME, "(drop (call $f (i64.const 0)))", "stack-overflow:--stack")
            .with(&["--stack", "64MiB"]),
        guest("B03", "a kept instance", BIG_FRAME, "(drop (call $f (i64.const 0)))", "stack-overflow:--stack")
            .with(&["--isolation", "reuse"]),
        guest("B03", "for ever by tail calls", "(func $f (return_call $f))", "(call $f)", "timeout:--timeout")
            .with(&["--timeout", "1s"]),
    ]);
    cases
}

#[test]
fn endless_recursion_costs_its_item_and_no_worker() {
    recursion().run();
}

pub fn loops() -> Cases {
    let mut cases = Cases::default();
    let kill = &["--timeout", "1s"][..];
    let trap = &["--timeout", "1s", "--timeout-mode", "trap"][..];
    let cpu = &["--cpu-timeout", "1s"][..];
    for (name, options, fields, body) in [
        ("loop", kill, "", "(loop (br 0))"),
        ("loop, trapped", trap, "", "(loop (br 0))"),
        ("loop, by its processor time", cpu, "", "(loop (br 0))"),
        ("loop in a kept instance", &["--timeout", "1s", "--isolation", "reuse"], "", "(loop (br 0))"),
        ("loop in a process of its own", &["--timeout", "1s", "--isolation", "process"], "", "(loop (br 0))"),
        ("fill", kill, "(memory 1)", FILL),
        ("fill, trapped", trap, "(memory 1)", FILL),
        ("calls", kill, "(func $f)", "(loop (call $f) (br 0))"),
        ("calls through a table", kill, TABLE_OF_ONE, "(loop (call_indirect (i32.const 0)) (br 0))"),
        ("table fill", kill, TABLE_OF_ONE, "(loop (table.fill 0 (i32.const 0) (ref.null func) (i32.const 1)) (br 0))"),
    ] {
        let flag = if options == cpu { "timeout:--cpu-timeout" } else { "timeout:--timeout" };
        let looping = guest("B01", name, fields, body, flag).with(options);
        cases.add("B01", name, move || {
            let record = looping.attacks();
            let wall = record["wall_ms"].as_f64().unwrap();
            // Never early; later only as far as the machine is busy.
            assert!((900.0..20_000.0).contains(&wall), "{record}");
        });
    }
    let fuel = &["--fuel", "1000000"];
    cases.guests([guest("B01", "loop, by its fuel", "", "(loop (br 0))", "out-of-fuel:--fuel").with(fuel)]);
    cases
}

#[test]
fn endless_loops_are_timeouts() {
    loops().run();
}

/// Aborts when a growth is refused.
fn or_abort(growth: &str) -> String {
    format!("(if (i32.eq {growth} (i32.const -1)) (then unreachable))")
}

pub fn memory() -> Cases {
    let mut cases = Cases::default();
    let grow = "(loop $next (br_if $next (i32.ne (memory.grow (i32.const 64)) (i32.const -1))))
        (memory.fill (i32.const 0) (i32.const 7) (i32.mul (memory.size) (i32.const 65536)))
        (return (memory.size))";
    let all = guest("B05", "all of it", "(memory 0)", grow, "ok:1024").with(&["--memory", "64MiB"]);
    cases.add("B05", "all of it", move || {
        let record = all.attacks();
        assert_eq!(record["peak_memory"], 64 << 20, "{record}");
    });
    let table = "(table $t 1 funcref)";
    let refused = "out-of-memory:--memory";
    cases.guests([
        guest("B05", "all of it, by the default limit", "(memory 0)", grow, "ok:8192"),
        guest("B05", "its own maximum", "(memory 0 17)", &or_abort("(memory.grow (i32.const 18))"), "trap:unreachable"),
        guest("B05", "four gigabytes", "(memory 0)", &or_abort("(memory.grow (i32.const 65536))"), refused),
        guest(
            "B05",
            "more than there can be",
            "(memory 1)",
            &or_abort("(memory.grow (i32.const -1))"),
            "trap:unreachable",
        ),
        guest("B06", "for ever", "(memory 0)", "(loop (drop (memory.grow (i32.const 1))) (br 0))", "timeout").with(&[
            "--memory",
            "64MiB",
            "--timeout",
            "1s",
        ]),
        guest("B06", "abort", "(memory 0)", &or_abort("(memory.grow (i32.const 17))"), refused)
            .with(&["--memory", "1MiB"]),
        guest(
            "B06",
            "access",
            "(memory 0)",
            "(drop (memory.grow (i32.const 17))) (i32.store (i32.const 0) (i32.const 1))",
            refused,
        )
        .with(&["--memory", "1MiB"]),
        guest("B06", "table", table, &or_abort("(table.grow $t (ref.null func) (i32.const 10000))"), refused)
            .with(&["--memory", "64KiB"]),
        guest(
            "B06",
            "table for ever",
            table,
            "(loop (drop (table.grow $t (ref.null func) (i32.const 1))) (br 0))",
            "timeout",
        )
        .with(&["--timeout", "1s"]),
    ]);
    // By the number of elements, which no flag raises.
    for (name, growth) in [("table beyond measure", "30000"), ("largest table", "-1")] {
        let body = or_abort(&format!("(table.grow $t (ref.null func) (i32.const {growth}))"));
        let guest = guest("B06", name, table, &body, "out-of-memory:null");
        cases.add("B06", name, move || {
            let record = guest.attacks();
            assert_eq!(record["error"]["detail"]["memory_refused"], true, "{record}");
            assert!(record["error"]["message"].as_str().unwrap().contains("20000 elements"), "{record}");
        });
    }
    cases
}

#[test]
fn memory_ends_at_its_limit() {
    memory().run();
}

/// What a task has in several memories, tables and instances counts together.
pub fn sums() -> Cases {
    let mut cases = Cases::default();
    let two = "(memory $a 0) (memory $b 0)";
    let grow = |memory: &str, pages: u32| format!("(memory.grow ${memory} (i32.const {pages}))");
    let both =
        |second: u32| format!("(drop {}) {} (return (memory.size $b))", grow("a", 8), or_abort(&grow("b", second)));
    let options = &["-W", "multi-memory", "--memory", "1MiB"];
    let table = "(memory 0) (table $t 0 funcref)";
    let mixed = |pages: u32| {
        let body = or_abort(&format!("(memory.grow (i32.const {pages}))"));
        // 8192 elements are a page.
        format!("(drop (table.grow $t (ref.null func) (i32.const 8192))) {body} (return (memory.size))")
    };
    cases.guests([
        guest("B05", "two memories that fit", two, &both(8), "ok:8").with(options),
        guest("B05", "two memories that do not", two, &both(9), "out-of-memory:--memory").with(options),
        guest("B05", "memory and table that fit", table, &mixed(15), "ok:15").with(&["--memory", "1MiB"]),
        guest("B05", "memory and table that do not", table, &mixed(16), "out-of-memory:--memory")
            .with(&["--memory", "1MiB"]),
    ]);
    cases
}

#[test]
fn memories_and_tables_count_together() {
    sums().run();
}

pub fn clean() -> Cases {
    let mut cases = Cases::default();
    for options in [&["-j2"][..], &["-j1", "--chunksize", "200"], &["-j2", "--isolation", "process"]] {
        cases.add("B12", options.join(" "), move || each_is_the_first(options));
    }
    cases
}

#[test]
fn each_task_starts_clean() {
    clean().run();
}

fn each_is_the_first(options: &[&str]) {
    let fields = "(global $g (mut i32) (i32.const 0)) (memory 1) (table $t 2 funcref) (elem declare func $dirty)
        (func $dirty (result i32)
          (local $seen i32)
          (local.set $seen (i32.add (global.get $g) (i32.load (i32.const 60000))))
          (local.set $seen (i32.add (local.get $seen) (i32.eqz (ref.is_null (table.get $t (i32.const 1))))))
          (global.set $g (i32.const 1)) (i32.store (i32.const 60000) (i32.const 1))
          (table.set $t (i32.const 1) (ref.func $dirty)) (drop (table.grow $t (ref.null func) (i32.const 9)))
          (drop (memory.grow (i32.const 1)))
          (i32.add (local.get $seen) (i32.sub (memory.size) (i32.const 1))))";
    let wat = format!("(module {fields} (func (export \"run\") (param i32) (result i32) (call $dirty)))");
    let arena = super::Arena::new();
    arena.write("guest.wat", wat);
    let numbers: Vec<u32> = (0..200).collect();
    let numbers = serde_json::to_string(&numbers).unwrap();
    let ran = arena.attack("B12", &[&["run", "guest.wat", "--map", &numbers], options].concat());
    assert_eq!(ran.out, format!("[{}1]\n", "1,".repeat(199)));
}
