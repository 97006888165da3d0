//! D: items and results.

use std::io::Write;

use super::cases::Cases;
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

pub fn outside() -> Cases {
    let mut cases = Cases::default();
    for (name, at, length, kind) in [
        ("at the last byte", "(i32.const -1)", "(i32.const 1)", "bad-output"),
        ("around the end", "(i32.const -16)", "(i32.const 1000)", "bad-output"),
        ("all there could be", "(i32.const 0)", "(i32.const 0x7fffffff)", "bad-output"),
        ("one too many", "(i32.const 0x10fff0)", "(i32.const 17)", "bad-output"),
        ("nothing behind the end", "(i32.const 0x110001)", "(i32.const 0)", "bad-output"),
        // Nothing is no JSON.
        ("nothing at the end", "(i32.const 0x110000)", "(i32.const 0)", "bad-output"),
        ("an error outside", "(i32.const -16)", "(i32.const 0x80001000)", "bad-output"),
        ("an error of all there could be", "(i32.const 0)", "(i32.const -1)", "bad-output"),
    ] {
        cases.add("D01", name, move || {
            let run = second(&format!("(local.set $at {at}) (local.set $length {length})"));
            costs_only_itself("D01", &echo("", &run), "\"23\"", &[], kind);
        });
    }
    cases
}

#[test]
fn results_outside_of_memory_are_bad_output() {
    outside().run();
}

pub fn no_json() -> Cases {
    let mut cases = Cases::default();
    for text in [
        "nan",
        "NaN",
        "Infinity",
        "-Infinity",
        "[1",
        "1 2",
        "1,2",
        "01",
        "+1",
        ".5",
        "1.",
        "{1:2}",
        "{\\\"a\\\"}",
        "'a'",
        "[1,]",
        "\\\"\\u0001\\\"",
        "\\\"\\\\x41\\\"",
        "tru",
        "-",
        "1e",
        "",
        "[\\u0000]",
        "\\ufeff1x",
        "// 1",
    ] {
        cases.add("D02", text, move || {
            costs_only_itself("D02", &echo("", ""), &format!("\"{text}\""), &[], "bad-output");
        });
    }
    for (name, open, close) in [("deep arrays", "[", "]"), ("deep objects", "{\\\"a\\\":", "}"), ("unclosed", "[", "")]
    {
        cases.add("D02", name, move || {
            let inner = if close == "}" { "1" } else { "" };
            let deep = format!("\"{}{inner}{}\"", open.repeat(100_000), close.repeat(100_000));
            costs_only_itself("D02", &echo("", ""), &deep, &[], "bad-output");
        });
    }
    for result in ["text", "json"] {
        cases.add("D02", format!("bytes that are no {result}"), move || {
            let bytes = echo("", &second("(i32.store8 (local.get $at) (i32.const 0xff))"));
            costs_only_itself("D02", &bytes, "\"abc\"", &["--result", result], "bad-output");
        });
    }
    // Valid JSON is passed on, however odd.
    for text in ["{\\\"a\\\":1,\\\"a\\\":2}", "1e400", "\\\"\\\\ud800\\\"", "-0", "1e-400", "[[[[]]]]"] {
        cases.add("D02", text, move || {
            let records = run("D02", &echo("", ""), &format!("\"{text}\""), &[]).records();
            assert!(matches!(records[1]["kind"].as_str(), Some("ok" | "bad-output")), "{text}: {}", records[1]);
        });
    }
    cases
}

#[test]
fn results_that_are_no_json_are_bad_output() {
    no_json().run();
}

pub fn sizes() -> Cases {
    let mut cases = Cases::default();
    let text = |length: usize| format!("\"{}\"", "x".repeat(length));
    let options = &["--result", "text", "--max-result", "1000B"];
    // The quotes count.
    for (length, kind) in [(998, "ok"), (999, "result-too-large"), (10_000, "result-too-large")] {
        cases.add("D03", format!("{length} characters"), move || {
            costs_only_itself("D03", &echo("", ""), &text(length), options, kind);
        });
    }
    for (length, kind) in [(998, "ok"), (1001, "bad-input")] {
        cases.add("D03", format!("an item of {length} characters"), move || {
            costs_only_itself("D03", &echo("", ""), &text(length), &["--result", "text", "--max-item", "1000B"], kind);
        });
    }
    cases.add("D03", "quotes that double it", move || {
        let item = format!("\"{}\"", "\\\"".repeat(600));
        costs_only_itself("D03", &echo("", ""), &item, options, "result-too-large");
    });
    cases.add("D03", "controls that are written six times as long", move || {
        let item = format!("\"{}\"", "\\u0001".repeat(200));
        costs_only_itself("D03", &echo("", ""), &item, options, "result-too-large");
    });
    cases
}

#[test]
fn results_end_at_their_limit() {
    sizes().run();
}

pub fn one_line() -> Cases {
    let mut cases = Cases::default();
    for (item, options, value) in [
        (r#""a\nb\r\u2028c""#, &["--result", "text"][..], serde_json::json!("a\nb\r\u{2028}c")),
        (r#""[1,\n\n2]""#, &[], serde_json::json!([1, 2])),
        (r#""{\"a\":\n{\"b\" :\t1}}\r\n""#, &[], serde_json::json!({"a": {"b": 1}})),
        // Escaped in what is written, and the same again when it is read.
        (r#""\"\u009b\u202e\u007f\u200b\"""#, &[], serde_json::json!("\u{9b}\u{202e}\u{7f}\u{200b}")),
        (r#""\u009b\u202e\ufeff""#, &["--result", "text"], serde_json::json!("\u{9b}\u{202e}\u{feff}")),
        (r#""{\"\u009b\":\t[\"日本\",\"\udb40\udc41\"]}""#, &[], serde_json::json!({"\u{9b}": ["日本", "\u{e0041}"]})),
    ] {
        cases.add("D04", item, move || {
            let ran = run("D04", &echo("", ""), item, options);
            assert_eq!(ran.records()[1]["value"], value);
        });
    }
    cases
}

#[test]
fn a_result_is_one_line() {
    one_line().run();
}

pub fn allocators() -> Cases {
    let mut cases = Cases::default();
    for (alloc, kind) in [
        ("(return (i32.const -1))", "bad-output"),
        ("(return (i32.const 0x110000))", "bad-output"),
        ("(return (i32.const 0x10ffff))", "bad-output"),
        ("(return (i32.const 0))", "bad-output"),
        ("(return (i32.const 8))", "ok"),
        ("(return (i32.const 7))", "ok"),
        ("(global.set $top (i32.const -8))", "bad-output"),
        ("unreachable", "trap"),
        ("(call $forever)", "timeout"),
        ("(call $self)", "stack-overflow"),
        ("(drop (memory.grow (i32.const 4000)))", "ok"),
        ("(drop (memory.grow (i32.const 65000))) (return (i32.const 0))", "out-of-memory"),
    ] {
        cases.add("C18", alloc, move || {
            costs_only_itself("C18", &echo(&second(alloc), ""), "\"12345\"", &[], kind);
        });
    }
    cases
}

#[test]
fn allocators_that_lie_cost_their_item() {
    allocators().run();
}

pub fn documents() -> Cases {
    let mut cases = Cases::default();
    let deep = format!("[{}1{}]", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let deeper = format!("[{}", "[".repeat(2_000_000));
    let objects = format!("[{}1{},2]", "{\"a\":".repeat(1_000_000), "}".repeat(1_000_000));
    for (name, text, code, out) in [
        ("empty", "[]", 0, "[]\n"),
        ("one", "[7]", 0, "[7]\n"),
        ("white", " [ 7 , 8 ] \n\n", 0, "[7,8]\n"),
        ("mark", "\u{feff}[7]", 0, "[7]\n"),
        ("no-array", "{\"a\":1}", 4, ""),
        ("number", "7", 4, ""),
        ("garbage", "[7] x", 4, ""),
        ("twice", "[7][8]", 4, ""),
        ("cut", "[7,", 4, ""),
        ("comma", "[7,]", 4, ""),
        ("closed", "]", 4, ""),
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
        ("text", "[\"\\u001b[31m\",1]", 1, "[null,1]\n"),
        ("surrogate", "[\"\\ud800\",1]", 1, "[null,1]\n"),
        ("deep", &deep, 1, "[null]\n"),
        ("deep-objects", &objects, 1, "[null,2]\n"),
        ("deeper", &deeper, 4, ""),
        ("unclosed", &deep[..1_000_001], 4, ""),
    ] {
        let text = text.to_owned();
        cases.add("D05", name, move || {
            let arena = Arena::new();
            arena.write("m.wat", NUMBER);
            arena.write("items.json", text);
            let ran = arena.attack(&format!("D05 {name}"), &["run", "m.wat", "--map", "items.json"]);
            assert_eq!((ran.code, ran.out.as_str()), (Some(code), out), "{name}: {}", ran.err);
        });
    }
    cases
}

const NUMBER: &str = r#"(module (func (export "run") (param i64) (result i64) (local.get 0)))"#;

#[test]
fn input_of_any_form_has_its_documented_end() {
    documents().run();
}

/// A part of a stream, and how often it comes.
type Flood = (&'static str, String, usize);

pub fn streams() -> Cases {
    let mut cases = Cases::default();
    let string = || format!("\"{}\",", "x".repeat((1 << 16) - 3));
    let blank = || " \n".repeat(1 << 15);
    // 1 GiB of items of 64 KiB.
    let long = [("[", string(), 1 << 14), ("\"end\"]", String::new(), 0)];
    // 1 GiB in one item.
    let single = [("[1,\"", "x".repeat(1 << 16), 1 << 14), ("\",2]", String::new(), 0)];
    let white = [("[1,", blank(), 1 << 12), ("2]", String::new(), 0)];
    let numbers = [("[", "1234567,".repeat(1 << 12), 1 << 7), ("1]", String::new(), 0)];
    for (name, flood, ok, failed) in [
        ("a gigabyte of items", &long[..], (1 << 14) + 1, 0),
        ("a gigabyte in an item", &single, 2, 1),
        ("a gigabyte of blanks", &white, 2, 0),
        ("half a million numbers", &numbers, (1 << 19) + 1, 0),
    ] {
        let flood = flood.to_vec();
        cases.add("D05", name, move || streamed(name, flood, ok, failed));
    }
    cases
}

/// Pipes a document into a run; memory is looked at as in any other.
fn streamed(name: &str, flood: Vec<Flood>, ok: u64, failed: u64) {
    let arena = Arena::new();
    arena.write("length.wat", LENGTH);
    let line =
        ["run", "length.wat", "--imap", "-", "--input", "json", "--max-item", "1MiB", "--stats-file", "stats.json"];
    let ran = arena.attack_piped(name, &line, move |mut stdin| {
        for (before, part, count) in flood {
            stdin.write_all(before.as_bytes()).unwrap();
            for _ in 0..count {
                stdin.write_all(part.as_bytes()).unwrap();
            }
        }
    });
    assert_eq!(ran.code, Some(i32::from(failed > 0)), "{name}: {}", ran.err);
    let stats: serde_json::Value = serde_json::from_str(&arena.0.read("stats.json")).unwrap();
    assert_eq!((&stats["stats"]["ok"], &stats["stats"]["items"]), (&ok.into(), &(ok + failed).into()), "{name}");
}

/// Gives the length of its item.
const LENGTH: &str = r#"(module (memory (export "memory") 20)
    (func (export "alloc") (param i32) (result i32) (i32.const 1024))
    (func (export "run") (param $at i32) (param $length i32) (result i64)
      (i32.store8 (i32.const 0) (i32.const 0x37)) (i64.const 1)))"#;

#[test]
fn streams_of_any_length_take_little_memory() {
    streams().run();
}

pub fn unreadable() -> Cases {
    let mut cases = Cases::default();
    for (source, input) in [
        ("missing.json", None),
        ("folder.json", None),
        ("/proc/self/mem", Some("jsonl")),
        ("missing.csv", None),
        ("-", Some("json")),
        ("secret.json", None),
    ] {
        cases.add("D06", source, move || {
            let arena = Arena::new();
            std::fs::create_dir(arena.path("folder.json")).unwrap();
            arena.write("secret.json", "[1]");
            std::fs::set_permissions(arena.path("secret.json"), std::os::unix::fs::PermissionsExt::from_mode(0))
                .unwrap();
            let mut line = vec!["run", "square.wat", "--map", source];
            line.extend(input.into_iter().flat_map(|input| ["--input", input]));
            let ran = arena.attack("D06", &line);
            // The superuser reads everything.
            let readable = source == "secret.json" && rustix::process::geteuid().is_root();
            assert!(matches!(ran.code, Some(2 | 4)) || (readable && ran.code == Some(0)), "{source}: {ran:?}");
        });
    }
    cases.add("D06", "bytes that are no text", || {
        let arena = Arena::new();
        let ran = arena.attack_with("D06", &["run", "square.wat", "--imap", "-"], b"2\n\0\0\n\xff\xfe\n3\n", |_| {});
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), "4\nnull\nnull\n9\n"), "{}", ran.err);
    });
    cases.add("D06", "a closed standard input", || {
        let arena = Arena::new();
        let ran = arena.attack_piped("D06", &["run", "square.wat", "--imap", "-"], drop);
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{}", ran.err);
    });
    cases.add("D06", "a file that grows", || {
        let arena = Arena::new();
        arena.write("items.jsonl", "2\n");
        let path = arena.path("items.jsonl");
        let mut more = 100;
        let line = ["run", "square.wat", "--imap", "items.jsonl"];
        let ran = arena.attack_with("D06", &line, b"", move |_| {
            if more > 0 {
                more -= 1;
                let mut file = std::fs::File::options().append(true).open(&path).unwrap();
                file.write_all(b"3\n").unwrap();
            }
        });
        // As much of it as was there when it was read.
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        assert!(ran.out.starts_with("4\n") && ran.out[2..].lines().all(|line| line == "9"), "{}", ran.out);
    });
    cases
}

#[test]
fn input_that_cannot_be_read_is_told() {
    unreadable().run();
}

pub fn millions() -> Cases {
    let mut cases = Cases::default();
    for (count, options) in [
        (1_000_000, &["--chunksize", "1000"][..]),
        (1_000_000, &[]),
        (100_000, &["--chunksize", "1"]),
        (100_000, &["--window", "100"]),
    ] {
        cases.add("D07", format!("{count} {options:?}"), move || {
            let arena = Arena::new();
            arena.write("m.wat", r#"(module (func (export "run") (param i32) (result i32) (local.get 0)))"#);
            let lines: String = (0..count).map(|number| format!("{number}\n")).collect();
            arena.write("items.jsonl", &lines);
            let ran = arena.attack("D07", &[&["run", "m.wat", "--imap", "items.jsonl"], options].concat());
            assert_eq!(ran.code, Some(0), "{}", ran.err);
            assert!(ran.out == lines);
        });
    }
    cases
}

#[test]
fn a_million_tiny_items_are_in_order_within_bounds() {
    millions().run();
}

pub fn workers() -> Cases {
    let mut cases = Cases::default();
    for (workers, chunk) in
        [("1", "1"), ("1", "auto"), ("2", "1000"), ("2", "auto"), ("8", "7"), ("8", "1"), ("64", "100"), ("64", "auto")]
    {
        cases.add("D10", format!("{workers} workers in chunks of {chunk}"), move || every_seventh(workers, chunk));
    }
    cases
}

fn every_seventh(workers: &str, chunk: &str) {
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
    let line = ["run", "m.wat", "--map", "items.json", "-j", workers, "--chunksize", chunk, "--memory", "1MiB"];
    let ran = arena.attack("D10", &line);
    assert_eq!(ran.code, Some(1));
    assert!(ran.out == expected, "{workers} workers in chunks of {chunk}");
}

#[test]
fn output_is_the_same_whatever_the_workers() {
    workers().run();
}
