//! D: items and results.

use super::{Arena, Attacked};

/// Echoes bytes; what it does besides is chosen by the first of them.
const ECHO: &str = r#"(module
    (memory (export "memory") 17)
    (global $top (mut i32) (i32.const 1024))
    (func $forever (loop (br 0)))
    (func $self (call $self))
    (func (export "alloc") (param $length i32) (result i32)
      ALLOC
      (global.get $top)
      (global.set $top (i32.add (global.get $top) (local.get $length))))
    (func (export "run") (param $at i32) (param $length i32) (result i64)
      RUN
      (i64.or
        (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32))
        (i64.extend_i32_u (local.get $length)))))"#;

fn echo(alloc: &str, run: &str) -> String {
    ECHO.replace("ALLOC", alloc).replace("RUN", run)
}

/// Runs the echo on three strings; the second is `item`.
#[track_caller]
fn run(id: &str, wat: &str, item: &str, options: &[&str]) -> Attacked {
    let arena = Arena::new();
    arena.write("echo.wat", wat);
    arena.write("items.jsonl", format!("\"1\"\n{item}\n\"3\"\n"));
    let line = ["run", "echo.wat", "--imap", "items.jsonl", "--output", "records", "-j1", "--timeout", "2s"];
    let ran = arena.attack(id, &[&line[..], options].concat());
    let records = ran.records();
    assert_eq!(records.len(), 3, "{id}: {ran:?}");
    ran
}

/// The second item has this kind; the others are right.
#[track_caller]
fn costs_only_itself(id: &str, wat: &str, item: &str, options: &[&str], kind: &str) {
    let records = run(id, wat, item, options).records();
    for index in [0, 2] {
        assert_eq!(records[index]["kind"], "ok", "{id}: {}", records[index]);
    }
    assert_eq!(records[1]["kind"], kind, "{id} {item:.50}: {}", records[1]);
}

/// Something done only to an item of more than one byte.
fn second(code: &str) -> String {
    format!("(if (i32.gt_u (local.get $length) (i32.const 1)) (then {code}))")
}

#[test]
fn results_outside_of_memory_are_bad_output() {
    let wild =
        |at: &str, length: &str| echo("", &second(&format!("(local.set $at {at}) (local.set $length {length})")));
    for (at, length) in [
        ("(i32.const -1)", "(i32.const 1)"),
        ("(i32.const -16)", "(i32.const 1000)"),
        ("(i32.const 0)", "(i32.const 0x7fffffff)"),
        ("(i32.const 0x10fff0)", "(i32.const 17)"),
        ("(i32.const 0x110001)", "(i32.const 0)"),
    ] {
        costs_only_itself("D01", &wild(at, length), "\"23\"", &[], "bad-output");
    }
}

#[test]
fn results_that_are_no_json_are_bad_output() {
    let plain = echo("", "");
    for text in [
        "nan",
        "NaN",
        "Infinity",
        "[1",
        "1 2",
        "01",
        "{1:2}",
        "'a'",
        "[1,]",
        "\\\"\\u0001\\\"",
        "tru",
        "-",
        "1e",
        "",
        "[\\u0000]",
        "\\ufeff1x",
    ] {
        costs_only_itself("D02", &plain, &format!("\"{text}\""), &[], "bad-output");
    }
    let deep = format!("\"{}{}\"", "[".repeat(100_000), "]".repeat(100_000));
    costs_only_itself("D02", &plain, &deep, &[], "bad-output");
    let bytes = echo("", &second("(i32.store8 (local.get $at) (i32.const 0xff))"));
    costs_only_itself("D02", &bytes, "\"abc\"", &["--result", "text"], "bad-output");
    // Valid JSON is passed on, however odd.
    for text in ["{\\\"a\\\":1,\\\"a\\\":2}", "1e400", "\\\"\\\\ud800\\\"", "-0"] {
        let records = run("D02", &plain, &format!("\"{text}\""), &[]).records();
        assert!(matches!(records[1]["kind"].as_str(), Some("ok" | "bad-output")), "{text}: {}", records[1]);
    }
}

#[test]
fn results_end_at_their_limit() {
    let plain = echo("", "");
    let text = |length: usize| format!("\"{}\"", "x".repeat(length));
    let options = &["--result", "text", "--max-result", "1000B"];
    // The quotes count.
    for (length, kind) in [(998, "ok"), (999, "result-too-large"), (10_000, "result-too-large")] {
        costs_only_itself("D03", &plain, &text(length), options, kind);
    }
    costs_only_itself("D03", &plain, &text(1001), &["--result", "text", "--max-item", "1000B"], "bad-input");
}

#[test]
fn a_result_is_one_line() {
    let ran = run("D04", &echo("", ""), r#""a\nb\r\u2028c""#, &["--result", "text"]);
    assert_eq!(ran.records()[1]["value"], "a\nb\r\u{2028}c");
    let ran = run("D04", &echo("", ""), r#""[1,\n\n2]""#, &[]);
    assert_eq!(ran.records()[1]["value"], serde_json::json!([1, 2]));
}

#[test]
fn allocators_that_lie_cost_their_item() {
    for (alloc, kind) in [
        ("(return (i32.const -1))", "bad-output"),
        ("(return (i32.const 0x110000))", "bad-output"),
        ("(return (i32.const 0x10fffd))", "bad-output"),
        ("(return (i32.const 0))", "bad-output"),
        ("(return (i32.const 3))", "ok"),
        ("unreachable", "trap"),
        ("(call $forever)", "timeout"),
        ("(call $self)", "stack-overflow"),
        ("(drop (memory.grow (i32.const 4000)))", "ok"),
    ] {
        costs_only_itself("C18", &echo(&second(alloc), ""), "\"12345\"", &[], kind);
    }
}

#[test]
fn input_of_any_form_has_its_documented_end() {
    let deep = format!("[{}1{}]", "[".repeat(1_000_000), "]".repeat(1_000_000));
    for (name, text, code, out) in [
        ("empty", "[]", 0, "[]\n"),
        ("one", "[7]", 0, "[7]\n"),
        ("white", " [ 7 , 8 ] \n\n", 0, "[7,8]\n"),
        ("mark", "\u{feff}[7]", 0, "[7]\n"),
        ("no-array", "{\"a\":1}", 4, ""),
        ("garbage", "[7] x", 4, ""),
        ("twice", "[7][8]", 4, ""),
        ("cut", "[7,", 4, ""),
        ("nothing", "", 4, ""),
        ("nul", "[7\0]", 4, ""),
        ("bytes", "[\u{1}]", 4, ""),
        ("unsigned", "[18446744073709551615,1]", 0, "[-1,1]\n"),
        ("large", "[18446744073709551616,1]", 1, "[null,1]\n"),
        ("larger", "[1e400,1]", 1, "[null,1]\n"),
        ("fraction", "[1.5,1]", 1, "[null,1]\n"),
        ("minus", "[-0,1]", 0, "[0,1]\n"),
        ("tiny", "[1e-400,1]", 1, "[null,1]\n"),
        ("keys", "[{\"a\":1,\"a\":2},1]", 1, "[null,1]\n"),
        ("deep", &deep, 1, "[null]\n"),
    ] {
        let arena = Arena::new();
        arena.write("m.wat", r#"(module (func (export "run") (param i64) (result i64) (local.get 0)))"#);
        arena.write("items.json", text);
        let ran = arena.attack(&format!("D05 {name}"), &["run", "m.wat", "--map", "items.json"]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(code), out), "{name}: {}", ran.err);
    }
}

#[test]
fn input_that_cannot_be_read_is_told() {
    let arena = Arena::new();
    std::fs::create_dir(arena.path("folder.json")).unwrap();
    for (source, input) in [
        ("missing.json", None),
        ("folder.json", None),
        ("/proc/self/mem", Some("jsonl")),
        ("missing.csv", None),
        ("-", Some("json")),
    ] {
        let mut line = vec!["run", "square.wat", "--map", source];
        line.extend(input.into_iter().flat_map(|input| ["--input", input]));
        let ran = arena.attack("D06", &line);
        assert!(matches!(ran.code, Some(2 | 4)), "{source}: {ran:?}");
    }
    let ran = arena.attack_with("D06", &["run", "square.wat", "--imap", "-"], b"2\n\0\0\n\xff\xfe\n3\n", |_| {});
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), "4\nnull\nnull\n9\n"), "{}", ran.err);
}

#[test]
fn a_million_tiny_items_are_in_order_within_bounds() {
    let arena = Arena::new();
    arena.write("m.wat", r#"(module (func (export "run") (param i32) (result i32) (local.get 0)))"#);
    let lines: String = (0..1_000_000).map(|number| format!("{number}\n")).collect();
    arena.write("items.jsonl", &lines);
    for options in [&["--chunksize", "1000"][..], &[]] {
        let ran = arena.attack("D07", &[&["run", "m.wat", "--imap", "items.jsonl"], options].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        assert!(ran.out == lines);
    }
    let few = &lines[..lines.find("100000\n").unwrap()];
    arena.write("few.jsonl", few);
    let ran = arena.attack("D07", &["run", "m.wat", "--imap", "few.jsonl", "--chunksize", "1"]);
    assert!(ran.out == few, "{}", ran.err);
}

#[test]
fn output_is_the_same_whatever_the_workers() {
    let arena = Arena::new();
    arena.write(
        "m.wat",
        r#"(module (func (export "run") (param i32) (result i32)
            (if (i32.eqz (i32.rem_u (local.get 0) (i32.const 7))) (then unreachable)) (local.get 0)))"#,
    );
    let numbers: Vec<u32> = (0..10_000).collect();
    arena.write("items.json", serde_json::to_string(&numbers).unwrap());
    let expected: Vec<Option<u32>> = numbers.iter().map(|number| (number % 7 != 0).then_some(*number)).collect();
    let expected = format!("{}\n", serde_json::to_string(&expected).unwrap());
    for (workers, chunk) in [("1", "1"), ("2", "1000"), ("8", "7"), ("64", "100"), ("2", "auto")] {
        let line = ["run", "m.wat", "--map", "items.json", "-j", workers, "--chunksize", chunk, "--memory", "1MiB"];
        let ran = arena.attack("D10", &line);
        assert_eq!(ran.code, Some(1));
        assert!(ran.out == expected, "{workers} workers in chunks of {chunk}");
    }
}
