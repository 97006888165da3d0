//! B, C and D once more, by components: what they hand over is typed, and each
//! type has its own ways of being wrong.

use super::cases::{Cases, Guest};

/// A component whose `run` takes a number and gives `ty`; `body` is what it
/// does for 1, otherwise the result is the number and 40. `core` is the type of
/// the core function's result.
fn giving(ty: &str, core: &str, fields: &str, body: &str) -> String {
    format!(
        r#"(component
        (core module $m
            (memory (export "m") 17)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
            {fields}
            (func (export "run") (param $i i32) (result {core})
                (if (i32.eq (local.get $i) (i32.const 1)) (then {body}))
                (i32.add (local.get $i) (i32.const 40))))
        (core instance $i (instantiate $m))
        (type $t {ty})
        (export $x "t" (type $t))
        (func (export "run") (param "i" u32) (result $x)
            (canon lift (core func $i "run") (memory $i "m") (realloc (func $i "realloc")))))"#
    )
}

/// The same with a plain number as the result.
fn number(fields: &str, body: &str) -> String {
    giving("u32", "i32", fields, body)
        .replace("(type $t u32)\n        (export $x \"t\" (type $t))", "")
        .replace("$x", "u32")
}

/// A component whose `run` gives `ty` through memory: the number and 40 are
/// written as `plain` says, and for 1 `odd` is written at 16.
fn stored(ty: &str, plain: &str, odd: &str) -> String {
    giving(ty, "i32", "", &format!("{odd} (return (i32.const 16))"))
        .replace("(i32.add (local.get $i) (i32.const 40))))", &format!("{plain} (i32.const 16)))"))
}

pub fn numbers() -> Cases {
    let mut cases = Cases::default();
    let deep = "(func $deep (result i32) (i32.add (i32.const 1) (call $deep)))";
    let table = "(table 1 funcref) (type $f (func (result i32)))";
    let grow = "(if (i32.eq (memory.grow (i32.const 60000)) (i32.const -1)) (then unreachable))";
    let timeout = &["--timeout", "1s"][..];
    let trap = &["--timeout", "1s", "--timeout-mode", "trap"][..];
    for (row, name, fields, body, options, expected) in [
        ("B01", "loop", "", "(loop (br 0))", timeout, "timeout:--timeout"),
        ("B01", "loop, trapped", "", "(loop (br 0))", trap, "timeout:--timeout"),
        ("B01", "loop, by its fuel", "", "(loop (br 0))", &["--fuel", "1000000"], "out-of-fuel:--fuel"),
        ("B03", "recursion", deep, "(return (call $deep))", &[], "stack-overflow:--stack"),
        ("B05", "all of the memory", "", grow, &[], "out-of-memory:--memory"),
        (
            "B06",
            "memory for ever",
            "",
            "(loop (drop (memory.grow (i32.const 1))) (br 0))",
            timeout,
            "timeout:--timeout",
        ),
        ("B08", "load at the end", "", "(return (i32.load (i32.const -4)))", &[], "trap:memory-out-of-bounds"),
        ("B09", "null element", table, "(return (call_indirect (type $f) (i32.const 0)))", &[], "trap:indirect-call"),
        ("B10", "unreachable", "", "unreachable", &[], "trap:unreachable"),
        ("B10", "division", "", "(return (i32.div_u (i32.const 1) (i32.const 0)))", &[], "trap:divide-by-zero"),
    ] {
        cases.guests([
            Guest::component(row, format!("component: {name}"), number(fields, body), expected).with(options)
        ]);
    }
    cases
}

#[test]
fn components_that_run_wild_cost_their_item() {
    numbers().run();
}

pub fn values() -> Cases {
    let mut cases = Cases::default();
    let store = |at: u32, value: &str| format!("(i32.store (i32.const {at}) {value})");
    let byte = |at: u32, value: u32| format!("(i32.store8 (i32.const {at}) (i32.const {value}))");
    let n = "(i32.add (local.get $i) (i32.const 40))";
    // A list of one number, its value.
    let list = format!("{} (i32.store (i32.const 16) (i32.const 64)) {}", store(64, n), store(20, "(i32.const 1)"));
    let at = |pointer: &str, length: &str| {
        format!("(i32.store (i32.const 16) (i32.const {pointer})) (i32.store (i32.const 20) (i32.const {length}))")
    };
    for (name, ty, plain, odd, kinds) in [
        ("option of no kind", "(option u32)", format!("{} {}", byte(16, 1), store(20, n)), byte(16, 2), BAD),
        (
            "result of no kind",
            "(result u32 (error u32))",
            format!("{} {}", byte(16, 0), store(20, n)),
            byte(16, 255),
            BAD,
        ),
        (
            "variant of no kind",
            r#"(variant (case "a" u32) (case "b"))"#,
            format!("{} {}", byte(16, 0), store(20, n)),
            byte(16, 7),
            BAD,
        ),
        ("list outside of memory", "(list u32)", list.clone(), at("-64", "100"), BAD),
        ("list of all there could be", "(list u32)", list.clone(), at("0", "-1"), BAD),
        ("list whose size overflows", "(list u32)", list.clone(), at("0", "0x40000001"), BAD),
        ("misaligned list", "(list u32)", list.clone(), at("65", "1"), BAD),
        ("list one too long", "(list u32)", list.clone(), at("0x10fffc", "2"), BAD),
        ("empty list outside", "(list u32)", list.clone(), at("-64", "0"), &["ok", "trap", "bad-output"]),
        ("bytes outside of memory", "(list u8)", list.clone(), at("0x110000", "1"), BAD),
        ("string outside of memory", "string", at("64", "0"), at("-8", "16"), BAD),
        ("string of all there could be", "string", at("64", "0"), at("0", "-1"), BAD),
        ("string that is no text", "string", at("64", "0"), format!("{} {}", byte(64, 255), at("64", "1")), BAD),
        (
            "half a character",
            "string",
            at("64", "0"),
            format!("{} {} {}", byte(64, 0xe2), byte(65, 0x80), at("64", "2")),
            BAD,
        ),
        (
            "a surrogate",
            "string",
            at("64", "0"),
            format!("{} {}", store(64, "(i32.const 0x0080a0ed)"), at("64", "3")),
            BAD,
        ),
        (
            "controls",
            "string",
            at("64", "0"),
            format!("{} {}", store(64, "(i32.const 0x0a5d1b00)"), at("64", "4")),
            &["ok"],
        ),
        // A million strings of a megabyte, all the same one.
        ("strings without end", "(list string)", at("64", "0"), at("0x80000", "65536"), &["ok", "result-too-large"]),
    ] {
        let wat = stored(ty, &plain, &odd);
        cases.add("D01", format!("component: {name}"), move || bad(&wat, kinds));
    }
    let pair = format!("{} {}", store(16, n), store(20, n));
    for (name, odd) in [("outside of memory", "-8"), ("behind memory", "0x110000"), ("misaligned", "17")] {
        let wat = stored("(tuple u32 u32)", &pair, &format!("(return (i32.const {odd}))"));
        cases.add("D01", format!("component: result {name}"), move || bad(&wat, BAD));
    }
    for (name, ty, odd, kinds) in [
        ("character that is a surrogate", "char", "(return (i32.const 0xd800))", BAD),
        ("character beyond all", "char", "(return (i32.const 0x110000))", BAD),
        ("enum of no kind", &*an_enum(), "(return (i32.const 200))", BAD),
        ("bool of many bits", "bool", "(return (i32.const 0x100))", &["ok"]),
        ("byte of many bits", "u8", "(return (i32.const 0x1ff))", &["ok"]),
        ("flags of many bits", r#"(flags "a" "b")"#, "(return (i32.const -1))", &["ok"]),
    ] {
        let wat = giving(ty, "i32", "", odd);
        cases.add("D01", format!("component: {name}"), move || bad(&wat, kinds));
    }
    cases
}

/// An enum of more cases than the good items need.
fn an_enum() -> String {
    let cases: String = (0..100).map(|number| format!(" \"c{number}\"")).collect();
    format!("(enum{cases})")
}

/// What breaks the rules of passing values.
const BAD: &[&str] = &["bad-output", "trap"];

/// The second of three items has one of these kinds, the others are ok.
#[track_caller]
fn bad(wat: &str, kinds: &[&str]) {
    judged(wat, "[0,1,2]", &[], kinds);
}

#[track_caller]
fn judged(wat: &str, items: &str, options: &[&str], kinds: &[&str]) {
    let arena = super::Arena::new();
    arena.write("guest.wat", wat);
    let line = ["run", "guest.wat", "--map", items, "--output", "records", "-j1", "--timeout", "2s", "--invoke", "run"];
    let ran = arena.attack("component", &[&line[..], options].concat());
    let records = ran.records();
    assert_eq!(records.len(), 3, "{ran:?}");
    for index in [0, 2] {
        assert_eq!(records[index]["kind"], "ok", "{}", records[index]);
    }
    let kind = records[1]["kind"].as_str().unwrap();
    assert!(kinds.contains(&kind), "{}", records[1]);
}

#[test]
fn values_of_components_are_checked() {
    values().run();
}

/// Gives its string back; what it does besides is chosen by its length.
fn echo(realloc: &str, run: &str, post: &str, encoding: &str) -> String {
    let second = |code: &str, length: &str| format!("(if (i32.gt_u {length} (i32.const 1)) (then {code}))");
    let (realloc, run) = (second(realloc, "(local.get $length)"), second(run, "(local.get $length)"));
    let post = second(post, "(i32.load (i32.const 20))");
    format!(
        r#"(component
        (core module $m
            (memory (export "m") 17)
            (global $top (mut i32) (i32.const 4096))
            (func $forever (loop (br 0)))
            (func $self (call $self))
            (func (export "realloc") (param $old i32) (param $had i32) (param $align i32) (param $length i32) (result i32)
                {realloc}
                (global.get $top)
                (global.set $top (i32.and (i32.const -8)
                    (i32.add (i32.const 7) (i32.add (global.get $top) (local.get $length))))))
            (func (export "run") (param $at i32) (param $length i32) (result i32)
                (i32.store (i32.const 16) (local.get $at))
                (i32.store (i32.const 20) (local.get $length))
                {run}
                (i32.const 16))
            (func (export "post") (param i32) {post}))
        (core instance $i (instantiate $m))
        (func (export "run") (param "item" string) (result string)
            (canon lift (core func $i "run") (memory $i "m") (realloc (func $i "realloc")) {encoding}
                (post-return (func $i "post")))))"#
    )
}

pub fn allocators() -> Cases {
    let mut cases = Cases::default();
    for (name, realloc, run, post, kinds) in [
        ("outside of memory", "(return (i32.const -1))", "", "", BAD),
        ("at the end of memory", "(return (i32.const 0x10ffff))", "", "", BAD),
        ("nothing", "(return (i32.const 0))", "", "", &["ok", "bad-output", "trap"]),
        ("the same again", "(return (i32.const 16))", "", "", &["ok", "bad-output", "trap"]),
        ("trap", "unreachable", "", "", &["trap"]),
        ("loop", "(call $forever)", "", "", &["timeout"]),
        ("recursion", "(call $self)", "", "", &["stack-overflow"]),
        ("huge", "(drop (memory.grow (i32.const 4000)))", "", "", &["ok"]),
        ("refused", "(drop (memory.grow (i32.const 65000))) unreachable", "", "", &["out-of-memory"]),
        ("trap after return", "", "", "unreachable", &["trap"]),
        ("loop after return", "", "", "(call $forever)", &["timeout"]),
        ("recursion after return", "", "", "(call $self)", &["stack-overflow"]),
        ("growth after return", "", "", "(drop (memory.grow (i32.const 4000)))", &["ok"]),
        ("access after return", "", "", "(i32.store (i32.const -1) (i32.const 0))", &["trap"]),
    ] {
        let wat = echo(realloc, run, post, "");
        cases.add("C18", format!("component: {name}"), move || judged(&wat, r#"["a","bcdef","g"]"#, &[], kinds));
    }
    for (name, encoding, run, kinds) in [
        ("lone surrogate", "string-encoding=utf16", "(i32.store16 (local.get $at) (i32.const 0xd800))", BAD),
        ("misaligned units", "string-encoding=utf16", "(i32.store (i32.const 16) (i32.const 4097))", BAD),
        ("units beyond memory", "string-encoding=utf16", "(i32.store (i32.const 20) (i32.const 0x7fffffff))", BAD),
        (
            "tagged length",
            "string-encoding=latin1+utf16",
            "(i32.store (i32.const 20) (i32.const 0x80000000))",
            &["ok", "trap", "bad-output"],
        ),
        (
            "tagged length beyond memory",
            "string-encoding=latin1+utf16",
            "(i32.store (i32.const 20) (i32.const -1))",
            BAD,
        ),
        ("every byte", "string-encoding=latin1+utf16", "(i32.store8 (local.get $at) (i32.const 0x9b))", &["ok"]),
    ] {
        let wat = echo("", run, "", encoding);
        cases.add("D02", format!("component: {name}"), move || judged(&wat, r#"["a","bcdef","g"]"#, &[], kinds));
    }
    for (name, item, options, kinds) in [
        ("result at its limit", format!("\"{}\"", "x".repeat(998)), &["--max-result", "1000B"][..], &["ok"][..]),
        (
            "result over its limit",
            format!("\"{}\"", "x".repeat(999)),
            &["--max-result", "1000B"],
            &["result-too-large"],
        ),
        ("item over its limit", format!("\"{}\"", "x".repeat(5000)), &["--max-item", "1000B"], &["bad-input"]),
        ("item that is no string", "5".to_owned(), &[], &["bad-input"]),
        ("item with a lone surrogate", r#""\ud800""#.to_owned(), &[], &["bad-input"]),
        ("item that is deep", format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)), &[], &["bad-input"]),
    ] {
        let wat = echo("", "", "", "");
        let items = format!("[\"a\",{item},\"g\"]");
        cases.add("D03", format!("component: {name}"), move || judged(&wat, &items, options, kinds));
    }
    cases
}

#[test]
fn components_that_lie_in_passing_values_cost_their_item() {
    allocators().run();
}

/// A component that makes resources of its own; `dtor` is what their end does.
fn resources(dtor: &str, body: &str) -> String {
    format!(
        r#"(component
        (core module $d
            (func $self (param i32) (call $self (local.get 0)))
            (func (export "drop") (param i32) {dtor}))
        (core instance $d (instantiate $d))
        (type $r (resource (rep i32) (dtor (func $d "drop"))))
        (core func $new (canon resource.new $r))
        (core func $rep (canon resource.rep $r))
        (core func $drop (canon resource.drop $r))
        (core module $m
            (import "r" "new" (func $new (param i32) (result i32)))
            (import "r" "rep" (func $rep (param i32) (result i32)))
            (import "r" "drop" (func $drop (param i32)))
            (func (export "run") (param $i i32) (result i32) (local $n i32)
                (if (i32.eq (local.get $i) (i32.const 1)) (then {body}))
                (i32.add (local.get $i) (i32.const 40))))
        (core instance $i (instantiate $m (with "r" (instance
            (export "new" (func $new)) (export "rep" (func $rep)) (export "drop" (func $drop))))))
        (func (export "run") (param "i" u32) (result u32) (canon lift (core func $i "run"))))"#
    )
}

pub fn handles() -> Cases {
    let mut cases = Cases::default();
    let make = |count: u32| {
        format!(
            "(loop $next (drop (call $new (i32.const 7))) (local.set $n (i32.add (local.get $n) (i32.const 1)))
               (br_if $next (i32.lt_u (local.get $n) (i32.const {count}))))"
        )
    };
    let (one, timeout) = ("(call $drop (call $new (i32.const 7)))", &["--timeout", "1s"][..]);
    for (name, dtor, body, options, expected) in [
        ("a thousand handles", "", &*make(1000), &[][..], "ok:41"),
        ("more handles than there may be", "", &make(1025), &[], "trap"),
        ("handles without end", "", "(loop (drop (call $new (i32.const 7))) (br 0))", timeout, "trap"),
        ("dropped for ever", "", &format!("(loop {one} (br 0))"), timeout, "timeout:--timeout"),
        ("no such handle", "", "(call $drop (i32.const 99))", &[], "trap"),
        ("handle 0", "", "(call $drop (i32.const 0))", &[], "trap"),
        ("a negative handle", "", "(drop (call $rep (i32.const -1)))", &[], "trap"),
        (
            "dropped twice",
            "",
            "(local.set $n (call $new (i32.const 7))) (call $drop (local.get $n)) (call $drop (local.get $n))",
            &[],
            "trap",
        ),
        ("an end that traps", "unreachable", one, &[], "trap:unreachable"),
        ("an end that loops", "(loop (br 0))", one, timeout, "timeout:--timeout"),
        ("an end without end", "(call $self (local.get 0))", one, &[], "stack-overflow:--stack"),
    ] {
        cases.guests([
            Guest::component("B06", format!("component: {name}"), resources(dtor, body), expected).with(options)
        ]);
    }
    cases
}

#[test]
fn resources_of_components_are_bounded() {
    handles().run();
}

/// Two instances with a memory each, grown by the numbers of pages.
fn instances(first: u32, second: u32) -> String {
    format!(
        r#"(component
        (core module $a (memory (export "m") 0)
            (func (export "grow") (result i32) (memory.grow (i32.const {first}))))
        (core module $b (import "a" "grow" (func $grow (result i32))) (memory (export "m") 0)
            (func (export "run") (param $i i32) (result i32)
                (if (i32.eq (local.get $i) (i32.const 1)) (then
                    (if (i32.eq (call $grow) (i32.const -1)) (then unreachable))
                    (if (i32.eq (memory.grow (i32.const {second})) (i32.const -1)) (then unreachable))
                    (return (memory.size))))
                (i32.add (local.get $i) (i32.const 40))))
        (core instance $a (instantiate $a))
        (core instance $b (instantiate $b (with "a" (instance $a))))
        (func (export "run") (param "i" u32) (result u32) (canon lift (core func $b "run"))))"#
    )
}

pub fn sums() -> Cases {
    let mut cases = Cases::default();
    let (named, options) = ("out-of-memory:--memory", &["--memory", "1MiB"][..]);
    cases.guests([
        Guest::component("B05", "component: two memories that fit", instances(8, 8), "ok:8").with(options),
        Guest::component("B05", "component: two memories that do not", instances(8, 9), named).with(options),
        Guest::component("B05", "component: the first takes all", instances(16, 1), named).with(options),
    ]);
    // Each fits, all together do not.
    let many: String = (0..20).map(|n| format!("(core instance $x{n} (instantiate $x))")).collect();
    let wat = format!(
        r#"(component (core module $x (memory 1)) {many}
        (core module $m (func (export "run") (param i32) (result i32) (local.get 0)))
        (core instance $i (instantiate $m))
        (func (export "run") (param "i" u32) (result u32) (canon lift (core func $i "run"))))"#
    );
    cases.add("B05", "component: twenty memories", move || {
        let arena = super::Arena::new();
        arena.write("guest.wat", &wat);
        let run = |memory| arena.attack("B05", &["run", "guest.wat", "--map", "[5]", "--memory", memory]);
        assert_eq!(run("2MiB").out, "[5]\n");
        let ran = run("1MiB");
        assert!(matches!(ran.code, Some(1 | 3)) && ran.err.contains("--memory"), "{}", ran.err);
    });
    cases
}

#[test]
fn memories_of_all_instances_count_together() {
    sums().run();
}

pub fn shapes() -> Cases {
    let mut cases = Cases::default();
    let nest = |depth: usize| format!("{}u8{}", "(list ".repeat(depth), ")".repeat(depth));
    let record: String = (0..2000).map(|n| format!("(field \"f{n}\" u32)")).collect();
    let many: String = (0..3000).map(|n| format!("(type (list u8)) (export \"t{n}\" (type {n}))")).collect();
    let functions: String =
        (0..500).map(|n| format!("(func (export \"f{n}\") (canon lift (core func $i \"f\")))")).collect();
    let taking = |ty: &str| {
        format!(
            r#"(component (core module $m (memory (export "m") 1)
                (func (export "r") (param i32 i32 i32 i32) (result i32) (i32.const 64))
                (func (export "run") (param i32 i32)))
            (core instance $i (instantiate $m)) (type $t {ty}) (export $x "t" (type $t))
            (func (export "run") (param "i" $x) (canon lift (core func $i "run") (memory $i "m") (realloc (func $i "r")))))"#
        )
    };
    for (name, wat) in [
        ("lists in lists", taking(&nest(40))),
        ("lists in lists, too deep", taking(&nest(5000))),
        ("a large record", taking(&format!("(record {record})"))),
        ("many types", format!("(component {many})")),
        (
            "many functions",
            format!(
                r#"(component (core module $m (func (export "f"))) (core instance $i (instantiate $m)) {functions})"#
            ),
        ),
        ("components in components", format!("{}{}", "(component ".repeat(500), ")".repeat(500))),
        ("imports itself", r#"(component (import "a" (component)))"#.to_owned()),
        ("a module as an import", r#"(component (import "a" (core module)))"#.to_owned()),
    ] {
        cases.add("A18", format!("component: {name}"), move || {
            let arena = super::Arena::new();
            arena.write("guest.wat", &wat);
            let ran = arena.attack("A18", &["run", "guest.wat", "--map", "[[],1]", "--compile-timeout", "20s"]);
            assert!(matches!(ran.code, Some(0 | 1 | 3)), "{ran:?}");
            assert!(ran.err.len() < 10_000, "{} bytes", ran.err.len());
        });
    }
    cases
}

#[test]
fn components_of_any_shape_run_or_are_refused() {
    shapes().run();
}
