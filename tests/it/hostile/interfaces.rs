//! C once more, by components that ask through WASI 0.2.

use super::Arena;
use super::cases::{Cases, Guest};

/// A component with these imports, each a text of its own; their functions
/// are lowered as `lowered` says and imported as `imported` says. `body` is
/// what `run` does for 1.
struct Asking<'a> {
    imports: &'a str,
    lowered: &'a str,
    instance: &'a str,
    imported: &'a str,
    body: &'a str,
}

impl Asking<'_> {
    fn wat(&self) -> String {
        let Self { imports, lowered, instance, imported, body } = self;
        format!(
            r#"(component {imports}
            (core module $libc
                (memory (export "m") 2)
                (global $top (mut i32) (i32.const 4096))
                (func (export "r") (param $old i32) (param $had i32) (param $align i32) (param $length i32) (result i32)
                    (global.get $top)
                    (global.set $top (i32.and (i32.const -8)
                        (i32.add (i32.const 7) (i32.add (global.get $top) (local.get $length)))))))
            (core instance $libc (instantiate $libc))
            {lowered}
            (core module $m
                (import "libc" "m" (memory 2))
                {imported}
                (func (export "run") (param $i i32) (result i32) (local $n i32)
                    (if (i32.eq (local.get $i) (i32.const 1)) (then {body}))
                    (i32.add (local.get $i) (i32.const 40))))
            (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "w" (instance {instance}))))
            (func (export "run") (param "i" u32) (result u32) (canon lift (core func $i "run"))))"#
        )
    }
}

const RANDOM: Asking<'_> = Asking {
    imports: r#"(import "wasi:random/random@0.2.0" (instance $random
        (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))"#,
    lowered: r#"(core func $get (canon lower (func $random "get-random-bytes")
        (memory $libc "m") (realloc (func $libc "r"))))"#,
    instance: r#"(export "get" (func $get))"#,
    imported: r#"(import "w" "get" (func $get (param i64 i32)))"#,
    body: "",
};

const EXIT: Asking<'_> = Asking {
    imports: r#"(import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "status" (result))))))"#,
    lowered: r#"(core func $exit (canon lower (func $exit "exit")))"#,
    instance: r#"(export "exit" (func $exit))"#,
    imported: r#"(import "w" "exit" (func $exit (param i32)))"#,
    body: "",
};

const ENVIRONMENT: Asking<'_> = Asking {
    imports: r#"(import "wasi:cli/environment@0.2.0" (instance $env
        (export "get-environment" (func (result (list (tuple string string)))))
        (export "get-arguments" (func (result (list string))))
        (export "initial-cwd" (func (result (option string))))))"#,
    lowered: r#"(core func $environment (canon lower (func $env "get-environment")
            (memory $libc "m") (realloc (func $libc "r"))))
        (core func $arguments (canon lower (func $env "get-arguments") (memory $libc "m") (realloc (func $libc "r"))))
        (core func $cwd (canon lower (func $env "initial-cwd") (memory $libc "m") (realloc (func $libc "r"))))"#,
    instance: r#"(export "environment" (func $environment)) (export "arguments" (func $arguments))
        (export "cwd" (func $cwd))"#,
    imported: r#"(import "w" "environment" (func $environment (param i32)))
        (import "w" "arguments" (func $arguments (param i32))) (import "w" "cwd" (func $cwd (param i32)))"#,
    body: "",
};

/// Clocks and what waits for them.
const CLOCK: Asking<'_> = Asking {
    imports: r#"(import "wasi:io/poll@0.2.0" (instance $poll
            (export "pollable" (type $pollable (sub resource)))
            (export "[method]pollable.block" (func (param "self" (borrow $pollable))))
            (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
        (alias export $poll "pollable" (type $pollable))
        (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
            (alias outer 1 $pollable (type $p))
            (export "pollable" (type $q (eq $p)))
            (export "subscribe-duration" (func (param "when" u64) (result (own $q))))))"#,
    lowered: r#"(core func $block (canon lower (func $poll "[method]pollable.block")))
        (core func $poll (canon lower (func $poll "poll") (memory $libc "m") (realloc (func $libc "r"))))
        (core func $after (canon lower (func $clock "subscribe-duration")))
        (core func $drop (canon resource.drop $pollable))"#,
    instance: r#"(export "block" (func $block)) (export "poll" (func $poll)) (export "after" (func $after))
        (export "drop" (func $drop))"#,
    imported: r#"(import "w" "block" (func $block (param i32))) (import "w" "poll" (func $poll (param i32 i32 i32)))
        (import "w" "after" (func $after (param i64) (result i32))) (import "w" "drop" (func $drop (param i32)))"#,
    body: "",
};

/// The standard streams.
const STREAMS: Asking<'_> = Asking {
    imports: r#"(import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
        (alias export $error "error" (type $error))
        (import "wasi:io/streams@0.2.0" (instance $streams
            (alias outer 1 $error (type $e))
            (export "error" (type $f (eq $e)))
            (export "output-stream" (type $out (sub resource)))
            (export "input-stream" (type $in (sub resource)))
            (type $why (variant (case "last-operation-failed" (own $f)) (case "closed")))
            (export "stream-error" (type $stream-error (eq $why)))
            (export "[method]output-stream.write" (func (param "self" (borrow $out)) (param "contents" (list u8))
                (result (result (error $stream-error)))))
            (export "[method]output-stream.blocking-write-and-flush"
                (func (param "self" (borrow $out)) (param "contents" (list u8)) (result (result (error $stream-error)))))
            (export "[method]output-stream.write-zeroes" (func (param "self" (borrow $out)) (param "len" u64)
                (result (result (error $stream-error)))))
            (export "[method]input-stream.blocking-read" (func (param "self" (borrow $in)) (param "len" u64)
                (result (result (list u8) (error $stream-error)))))))
        (alias export $streams "output-stream" (type $out))
        (alias export $streams "input-stream" (type $in))
        (import "wasi:cli/stdout@0.2.0" (instance $stdout
            (alias outer 1 $out (type $o)) (export "output-stream" (type $p (eq $o)))
            (export "get-stdout" (func (result (own $p))))))
        (import "wasi:cli/stdin@0.2.0" (instance $stdin
            (alias outer 1 $in (type $o)) (export "input-stream" (type $p (eq $o)))
            (export "get-stdin" (func (result (own $p))))))"#,
    lowered: r#"(core func $out (canon lower (func $stdout "get-stdout")))
        (core func $in (canon lower (func $stdin "get-stdin")))
        (core func $now (canon lower (func $streams "[method]output-stream.write") (memory $libc "m")))
        (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
            (memory $libc "m")))
        (core func $zeroes (canon lower (func $streams "[method]output-stream.write-zeroes") (memory $libc "m")))
        (core func $read (canon lower (func $streams "[method]input-stream.blocking-read")
            (memory $libc "m") (realloc (func $libc "r"))))"#,
    instance: r#"(export "out" (func $out)) (export "in" (func $in)) (export "write" (func $write))
        (export "now" (func $now)) (export "zeroes" (func $zeroes)) (export "read" (func $read))"#,
    imported: r#"(import "w" "out" (func $out (result i32))) (import "w" "in" (func $in (result i32)))
        (import "w" "now" (func $now (param i32 i32 i32 i32))) (import "w" "write" (func $write (param i32 i32 i32 i32)))
        (import "w" "zeroes" (func $zeroes (param i32 i64 i32))) (import "w" "read" (func $read (param i32 i64 i32)))"#,
    body: "",
};

fn asks(row: &'static str, name: &str, asking: &Asking<'_>, body: &str, expected: &'static str) -> Guest {
    let wat = Asking { body, ..*asking }.wat();
    Guest::component(row, format!("component: {name}"), wat, expected)
}

pub fn calls() -> Cases {
    let mut cases = Cases::default();
    let random =
        |bytes: &str| format!("(call $get (i64.const {bytes}) (i32.const 16)) (return (i32.load (i32.const 20)))");
    let count = |call: &str| format!("(call ${call} (i32.const 16)) (return (i32.load (i32.const 20)))");
    cases.guests([
        asks("C12", "a portion of randomness", &RANDOM, &random("65536"), "ok:65536"),
        asks("C12", "more randomness than a portion", &RANDOM, &random("65537"), "trap"),
        asks("C12", "all randomness", &RANDOM, &random("-1"), "trap"),
        asks("C12", "environment", &ENVIRONMENT, &count("environment"), "ok:0"),
        asks("C12", "granted", &ENVIRONMENT, &count("environment"), "ok:1").with(&["--env", "A=1"]),
        asks("C12", "arguments", &ENVIRONMENT, &count("arguments"), "ok:0"),
        asks("C12", "folder", &ENVIRONMENT, "(call $cwd (i32.const 16)) (return (i32.load8_u (i32.const 16)))", "ok:0"),
        asks("C15", "success", &EXIT, "(call $exit (i32.const 0))", "exit:0"),
        asks("C15", "failure", &EXIT, "(call $exit (i32.const 1))", "exit:1"),
        asks("C15", "neither", &EXIT, "(call $exit (i32.const 7))", "trap"),
    ]);
    cases
}

pub fn waits() -> Cases {
    let mut cases = Cases::default();
    let (hour, timeout) = ("(call $after (i64.const 3600000000000))", "timeout:--timeout");
    let block = &*format!("(call $block {hour})");
    let vain = "(loop (drop (call $after (i64.const 0))) (br 0))";
    let naps = "(loop (local.set $n (call $after (i64.const 1000))) (call $block (local.get $n))
        (call $drop (local.get $n)) (br 0))";
    let poll = |list: &str, count: &str| {
        format!("(i32.store (i32.const 64) {hour}) (call $poll (i32.const {list}) (i32.const {count}) (i32.const 16))")
    };
    cases.guests([
        asks("C01", "an hour", &CLOCK, block, timeout).with(&["--timeout", "1s"]),
        asks("C01", "an hour, trapped", &CLOCK, block, timeout).with(&["--timeout", "1s", "--timeout-mode", "trap"]),
        asks("C01", "an hour of virtual time", &CLOCK, block, "ok:41").with(&["--deterministic"]),
        asks("C01", "naps for ever", &CLOCK, naps, timeout).with(&["--timeout", "1s"]),
        asks("C01", "an hour's poll", &CLOCK, &poll("64", "1"), timeout).with(&["--timeout", "1s"]),
        asks("C02", "none", &CLOCK, &poll("64", "0"), "trap"),
        asks("C02", "the same for ever", &CLOCK, &poll("64", "100000000"), "trap"),
        asks("C02", "outside of memory", &CLOCK, &poll("-64", "4"), "trap"),
        asks("C02", "misaligned", &CLOCK, &poll("65", "1"), "trap"),
        asks("C02", "no pollable", &CLOCK, "(call $block (i32.const 99))", "trap"),
        asks("C02", "clocks without end", &CLOCK, vain, "trap").with(&["--timeout", "20s"]),
    ]);
    cases
}

pub fn streams() -> Cases {
    let mut cases = Cases::default();
    let write = |call: &str, at: &str, length: &str| {
        format!(
            "(call {call} (call $out) (i32.const {at}) (i32.const {length}) (i32.const 16)) (return (i32.load8_u (i32.const 16)))"
        )
    };
    let flood = "(local.set $n (call $out))
        (loop (call $write (local.get $n) (i32.const 0) (i32.const 4096) (i32.const 16)) (br 0))";
    let read = "(call $read (call $in) (i64.const -1) (i32.const 16)) (return (i32.load8_u (i32.const 16)))";
    cases.guests([
        asks("C04", "stdin", &STREAMS, read, "ok:1"),
        asks("C05", "stdout", &STREAMS, flood, "timeout:--timeout").with(&["--timeout", "1s"]),
        asks("C06", "four kilobytes", &STREAMS, &write("$write", "0", "4096"), "ok:0"),
        asks("C06", "more than is permitted", &STREAMS, &write("$write", "0", "4097"), "trap"),
        asks("C06", "unasked", &STREAMS, &write("$now", "0", "131072"), "ok:0"),
        asks("C06", "outside of memory", &STREAMS, &write("$write", "-8", "16"), "trap"),
        asks("C06", "all there could be", &STREAMS, &write("$write", "0", "-1"), "trap"),
        asks(
            "C06",
            "no stream",
            &STREAMS,
            "(call $write (i32.const 9) (i32.const 0) (i32.const 1) (i32.const 16))",
            "trap",
        ),
        asks("C06", "zeroes without end", &STREAMS, "(call $zeroes (call $out) (i64.const -1) (i32.const 16))", "trap"),
        asks("C06", "streams without end", &STREAMS, "(loop (drop (call $out)) (br 0))", "trap"),
    ]);
    let body = write("$write", "4096", "8");
    cases.add("C08", "component: controls", move || {
        let arena = Arena::new();
        let wat = Asking { body: &body, ..STREAMS }.wat();
        // A terminal's sequence and a line of its own.
        let data = r#"(memory (export "m") 2) (data (i32.const 4096) "\1b[2J\0a{}\07")"#;
        arena.write("guest.wat", wat.replacen(r#"(memory (export "m") 2)"#, data, 1));
        let line = ["run", "guest.wat", "--map", "[0,1,2]", "--show-output", "all", "--output", "records"];
        let ran = arena.attack("C08", &line);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.records()[1]["stdout"], "\u{1b}[2J\n{}\u{7}");
    });
    cases
}

#[test]
fn components_ask_in_vain() {
    calls().run();
}

#[test]
fn components_cannot_sleep_around_the_clock() {
    waits().run();
}

#[test]
fn streams_of_components_are_bounded() {
    streams().run();
}
