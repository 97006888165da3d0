//! B: guests that run wild.

use super::Guest;

const fn guest(
    id: &'static str,
    name: &'static str,
    fields: &'static str,
    body: &'static str,
    expected: &'static str,
) -> Guest {
    Guest { id, name, fields, body, options: &[], expected }
}

/// `count` locals of 64 bits in each frame.
const BIG_FRAME: &str = "(func $f (param i64) (result i64)
    (i64.add (local.get 0) (call $f (i64.add (local.get 0) (i64.const 1)))))";
const TABLE: &str = "(table 4 funcref) (elem (i32.const 0) $other) (type $t (func (result i32)))
    (func $other (param f64))";

#[test]
fn what_traps_costs_its_item_and_no_worker() {
    let memory = "(memory 1)";
    for guest in [
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
    ] {
        guest.attacks();
    }
}

#[test]
fn endless_recursion_costs_its_item_and_no_worker() {
    let frame = format!(
        "(func $f (param i32) (result i32) {} (i32.add {} (call $f (i32.add (local.get 0) (i32.const 1)))))",
        "(local i64)".repeat(1000),
        "(local.get 0)"
    );
    let frame: &'static str = Box::leak(frame.into_boxed_str());
    for guest in [
        guest("B03", "itself", BIG_FRAME, "(drop (call $f (i64.const 0)))", "stack-overflow:--stack"),
        guest("B03", "a thousand locals", frame, "(drop (call $f (i32.const 0)))", "stack-overflow"),
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
    ] {
        guest.attacks();
    }
}

#[test]
fn endless_loops_are_timeouts() {
    for (options, fields, body) in [
        (&["--timeout", "1s"][..], "", "(loop (br 0))"),
        (&["--timeout", "1s", "--timeout-mode", "trap"], "", "(loop (br 0))"),
        (
            &["--timeout", "1s"],
            "(memory 1)",
            "(loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br 0))",
        ),
        (&["--timeout", "1s"], "(func $f)", "(loop (call $f) (br 0))"),
    ] {
        let guest = Guest { id: "B01", name: "loop", fields, body, options, expected: "timeout:--timeout" };
        let record = guest.attacks();
        let wall = record["wall_ms"].as_f64().unwrap();
        assert!((900.0..3000.0).contains(&wall), "{record}");
    }
}

#[test]
fn memory_ends_at_its_limit() {
    let grow = "(loop $next (br_if $next (i32.ne (memory.grow (i32.const 64)) (i32.const -1))))
        (memory.fill (i32.const 0) (i32.const 7) (i32.mul (memory.size) (i32.const 65536)))
        (return (memory.size))";
    let options = &["--memory", "64MiB"][..];
    let all = Guest { id: "B05", name: "all of it", fields: "(memory 0)", body: grow, options, expected: "ok:1024" };
    let record = all.attacks();
    assert_eq!(record["peak_memory"], 64 << 20, "{record}");

    let options = &["--memory", "64MiB", "--timeout", "1s"][..];
    let body = "(loop (drop (memory.grow (i32.const 1))) (br 0))";
    let forever = Guest { id: "B06", name: "for ever", fields: "(memory 0)", body, options, expected: "timeout" };
    forever.attacks();

    let options = &["--memory", "1MiB"][..];
    let body = "(if (i32.eq (memory.grow (i32.const 17)) (i32.const -1)) (then unreachable))";
    let expected = "out-of-memory:--memory";
    Guest { id: "B06", name: "abort", fields: "(memory 0)", body, options, expected }.attacks();
    let options = &["--memory", "64KiB"][..];
    let fields = "(table $t 1 funcref)";
    let body = "(if (i32.eq (table.grow $t (ref.null func) (i32.const 10000)) (i32.const -1)) (then unreachable))";
    Guest { id: "B06", name: "table", fields, body, options, expected }.attacks();
}

#[test]
fn each_task_starts_clean() {
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
    let ran = arena.attack("B12", &["run", "guest.wat", "--map", &serde_json::to_string(&numbers).unwrap(), "-j2"]);
    assert_eq!(ran.out, format!("[{}1]\n", "1,".repeat(199)));
}
