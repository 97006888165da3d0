//! C: what guests ask the host for.

use super::Arena;
use super::cases::{Cases, Guest, guest};

const POLL: &str = r#"(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)"#;
const WRITE: &str = r#"(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 17)"#;
const READ: &str = r#"(import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)"#;

fn poll(at: &str, count: &str) -> String {
    format!("(return (call $poll {at} (i32.const 4096) (i32.const {count}) (i32.const 128)))")
}

pub fn sleeps() -> Cases {
    let mut cases = Cases::default();
    // One subscription to a clock, for an hour.
    let hour = "(i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const 3600000000000))";
    // The same beside a standard stream, which is ready.
    let stream = "(i32.store8 (i32.const 56) (i32.const 2)) (i32.store (i32.const 64) (i32.const 1))";
    // Sleeps of a microsecond, for ever.
    let naps = "(i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const 1000))
        (loop (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128))) (br 0))";
    let timeout = "timeout:--timeout";
    cases.guests([
        guest("C01", "an hour", POLL, &format!("{hour} {}", poll("(i32.const 0)", "1")), timeout)
            .with(&["--timeout", "1s"]),
        guest("C01", "an hour, trapped", POLL, &format!("{hour} {}", poll("(i32.const 0)", "1")), timeout).with(&[
            "--timeout",
            "1s",
            "--timeout-mode",
            "trap",
        ]),
        guest("C01", "an hour of virtual time", POLL, &format!("{hour} {}", poll("(i32.const 0)", "1")), "ok:0")
            .with(&["--deterministic"]),
        guest("C01", "an hour, or a stream", POLL, &format!("{hour} {stream} {}", poll("(i32.const 0)", "2")), "ok:0"),
        guest("C01", "naps for ever", POLL, naps, timeout).with(&["--timeout", "1s"]),
    ]);
    cases
}

#[test]
fn sleeping_is_no_way_around_the_clock() {
    sleeps().run();
}

pub fn subscriptions() -> Cases {
    let mut cases = Cases::default();
    let zero = "(i32.const 0)";
    let file = |number: u32| {
        format!("(i32.store8 (i32.const 8) (i32.const 1)) (i32.store (i32.const 16) (i32.const {number}))")
    };
    let clock = |id: u32, timeout: &str, flags: u32| {
        format!(
            "(i32.store (i32.const 16) (i32.const {id})) (i64.store (i32.const 24) (i64.const {timeout}))
             (i32.store16 (i32.const 40) (i32.const {flags}))"
        )
    };
    // As many clocks as there are subscriptions, all due at once.
    let clocks = "(memory.fill (i32.const 0) (i32.const 0) (i32.const 65536))";
    for (name, before, at, count, expected) in [
        ("a hundred million", "", zero, "100000000", "ok:48"),
        ("as many as can be told", "", zero, "-1", "ok:48"),
        ("none", "", zero, "0", "ok:28"),
        ("in the past", &clock(1, "1", 1), zero, "1", "ok:0"),
        ("now", &clock(1, "0", 0), zero, "1", "ok:0"),
        ("a negative time", &clock(1, "-1", 1), zero, "1", "timeout:--timeout"),
        ("the wall clock's past", &clock(0, "1", 1), zero, "1", "ok:0"),
        ("a clock of processor time", &clock(2, "1", 0), zero, "1", "ok"),
        ("no such clock", &clock(99, "1", 0), zero, "1", "ok:28"),
        ("no such file", &file(77), zero, "1", "ok:8"),
        ("a negative file", &file(u32::MAX), zero, "1", "ok:8"),
        ("stdin", &file(0), zero, "1", "ok:0"),
        ("stdout to read", &file(1), zero, "1", "ok:8"),
        ("unknown tag", "(i32.store8 (i32.const 8) (i32.const 200))", zero, "1", "ok:28"),
        ("misaligned", "", "(i32.const 1)", "1", "trap:host-call"),
        ("outside of memory", "", "(i32.const -8)", "1", "trap:host-call"),
        ("partly outside of memory", "", "(i32.const 65512)", "1", "trap:host-call"),
        ("two dozen at once", clocks, zero, "24", "ok:0"),
        ("more than there may be handles", clocks, zero, "100", "trap:host-call"),
    ] {
        let body = format!("{before} {}", poll(at, count));
        cases.guests([guest("C02", name, POLL, &body, expected).with(&["--timeout", "2s"])]);
    }
    let answers = |events: &str, count: &str| {
        format!(
            "{} (return (call $poll (i32.const 0) (i32.const {events}) (i32.const 1) (i32.const {count})))",
            clock(1, "1", 1)
        )
    };
    cases.guests([
        guest("C02", "misaligned answers", POLL, &answers("67", "128"), "trap:host-call"),
        guest("C02", "misaligned count", POLL, &answers("64", "129"), "trap:host-call"),
        guest("C02", "answers outside", POLL, &answers("-32", "128"), "trap:host-call"),
    ]);
    cases
}

#[test]
fn odd_subscriptions_are_errors_of_the_guest() {
    subscriptions().run();
}

pub fn vectors() -> Cases {
    let mut cases = Cases::default();
    for (name, pointer, length, count, expected) in [
        ("count of -1", 16, 1, -1, "ok:28"),
        ("outside of memory", -4, 8, 1, "ok:21"),
        ("four gigabytes", 16, -1, 1, "ok:21"),
        ("ends past memory", 0x10fff0, 100, 1, "ok:21"),
        ("its own vector", 0, 8, 1, "ok:0"),
        ("no vectors", 0, 0, 0, "ok:0"),
        ("an empty one at the end", 0x110000, 0, 1, "ok:0"),
        ("more than there may be", 16, 1, 1025, "ok:28"),
    ] {
        let call = |function: &str, fd: u32| {
            format!(
                "(i32.store (i32.const 0) (i32.const {pointer})) (i32.store (i32.const 4) (i32.const {length}))
                 (return (call {function} (i32.const {fd}) (i32.const 0) (i32.const {count}) (i32.const 8)))"
            )
        };
        cases.guests([guest("C06", format!("write: {name}"), WRITE, &call("$write", 2), expected)]);
    }
    for (name, pointer, length, count) in
        [("count of -1", 16, 1, -1), ("outside of memory", -4, 8, 1), ("four gigabytes", 16, -1, 1)]
    {
        let body = format!(
            "(i32.store (i32.const 0) (i32.const {pointer})) (i32.store (i32.const 4) (i32.const {length}))
             (drop (call $read (i32.const 0) (i32.const 0) (i32.const {count}) (i32.const 8)))"
        );
        let guest = guest("C06", format!("read: {name}"), READ, &body, "ok");
        cases.add("C06", format!("read: {name}"), move || ends(&guest, &["ok", "trap"]));
    }
    let vector = "(return (call $write (i32.const 2) (i32.const -8) (i32.const 1) (i32.const 8)))";
    let count = "(return (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const -4)))";
    cases.guests([
        guest("C06", "vector outside", WRITE, vector, "ok:21"),
        guest("C06", "count outside", WRITE, count, "ok:21"),
    ]);
    cases
}

/// The guest's second item has one of these kinds.
fn ends(guest: &Guest, kinds: &[&str]) {
    let arena = Arena::new();
    arena.write("guest.wat", guest.wat());
    let ran = arena.attack("kinds", &["run", "guest.wat", "--map", "[0,1,2]", "--output", "records", "-j1"]);
    let records = ran.records();
    assert_eq!((&records[0]["value"], &records[2]["value"]), (&40.into(), &42.into()), "{ran:?}");
    let kind = records[1]["kind"].as_str().unwrap();
    assert!(kinds.contains(&kind), "{}", records[1]);
}

#[test]
fn odd_vectors_are_errors_of_the_guest() {
    vectors().run();
}

pub fn inputs() -> Cases {
    let mut cases = Cases::default();
    for (name, source, input) in [("lines", "-", "jsonl"), ("an array", "-", "json"), ("text", "-", "lines")] {
        cases.add("C04", name, move || {
            let arena = Arena::new();
            let body = "(i32.store (i32.const 0) (i32.const 100)) (i32.store (i32.const 4) (i32.const 1000))
                (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
                (return (i32.load (i32.const 8)))";
            arena.write("guest.wat", guest("C04", "stdin", READ, body, "ok:0").wat());
            let line = ["run", "guest.wat", "--imap", source, "--input", input];
            let items: &[u8] = if input == "json" { b"[0,1,2]" } else { b"0\n1\n2\n" };
            let ran = arena.attack_with("C04", &line, items, |_| {});
            assert_eq!((ran.code, ran.out.as_str()), (Some(0), "40\n0\n42\n"), "{}", ran.err);
        });
    }
    cases
}

#[test]
fn the_hosts_input_is_not_the_guests() {
    inputs().run();
}

pub fn floods() -> Cases {
    let mut cases = Cases::default();
    let flood = |fd: u32, pages: u32| {
        format!(
            "(local.set $n (i32.const {pages})) (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 1048576))
             (loop $next
               (drop (call $write (i32.const {fd}) (i32.const 0) (i32.const 1) (i32.const 8)))
               (local.set $n (i32.sub (local.get $n) (i32.const 1)))
               (br_if $next (local.get $n)))"
        )
    };
    for (fd, field) in [(1, "stdout"), (2, "stderr")] {
        // Ten gigabytes.
        let fields = format!("{WRITE} (func $flood (local $n i32) {})", flood(fd, 10_240));
        let ended = guest("C05", field, &fields, "(call $flood) unreachable", "trap").with(&["--max-captured", "1000"]);
        cases.add("C05", field, move || {
            let record = ended.attacks();
            assert_eq!(record["truncated"], true, "{}", record["kind"]);
            assert!(record[field].as_str().unwrap().len() <= 6000, "{}", record[field]);
        });
        let fields = format!("{WRITE} (func $flood (local $n i32) {})", flood(fd, 0));
        let killed = guest("C05", field, &fields, "(call $flood)", "timeout").with(&["--timeout", "1s"]);
        cases.add("C05", format!("{field} without end"), move || {
            assert_eq!(killed.attacks()["truncated"], true);
        });
    }
    // The same streams by another way: moved, or written at once from many vectors.
    let renumber = r#"(import "wasi_snapshot_preview1" "fd_renumber" (func $renumber (param i32 i32) (result i32)))"#;
    let moved = "(drop (call $renumber (i32.const 1) (i32.const 2)))";
    for (name, before) in [("stdout of a program", ""), ("moved stdout of a program", moved)] {
        let fd = if before.is_empty() { 1 } else { 2 };
        let module =
            format!("(module {renumber} {WRITE} (func (export \"_start\") (local $n i32) {before} {}))", flood(fd, 0));
        cases.add("C05", name, move || {
            let arena = Arena::new();
            arena.write("guest.wat", module);
            let line = ["run", "guest.wat", "--map", "[0,1]", "--output", "records", "-j1", "--max-result", "1MiB"];
            for record in arena.attack("C05", &line).records() {
                assert_eq!(record["kind"], "result-too-large", "{record}");
            }
        });
    }
    let fields = format!("{renumber} {WRITE} (func $flood (local $n i32) {moved} {})", flood(2, 1000));
    let ended = guest("C05", "moved", &fields, "(call $flood) unreachable", "trap").with(&["--max-captured", "1000"]);
    cases.add("C05", "a moved stdout", move || {
        let record = ended.attacks();
        assert_eq!((&record["truncated"], &record["stderr"]), (&true.into(), &"".into()), "{}", record["kind"]);
        assert!(record["stdout"].as_str().unwrap().len() <= 6000);
    });
    cases
}

#[test]
fn floods_keep_their_tails_only() {
    floods().run();
}

pub fn forgeries() -> Cases {
    let nasty = r#"\1b]0;owned\07\1b[2J\00\ff\fe\r\n{\22index\22:1,\22kind\22:\22ok\22,\22value\22:7}\n\e2\80\ae"#;
    let fields = format!(r#"{WRITE} (data (i32.const 100) "{nasty}")"#);
    let body = "(i32.store (i32.const 0) (i32.const 100)) (i32.store (i32.const 4) (i32.const 80))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
        unreachable";
    let forger = guest("C08", "forged", &fields, body, "trap:unreachable");
    let mut cases = Cases::default();
    cases.guests([forger.clone()]);
    for output in ["json", "jsonl", "records"] {
        for show in ["failed", "all"] {
            let forger = forger.clone();
            cases.add("C08", format!("{output}, shown {show}"), move || {
                let arena = Arena::new();
                arena.write("guest.wat", forger.wat());
                let line = ["run", "guest.wat", "--map", "[0,1,2]", "--output", output, "--show-output", show];
                let ran = arena.attack("C08", &line);
                assert_eq!(ran.code, Some(1), "{ran:?}");
                assert_eq!(ran.out.lines().count(), if output == "json" { 1 } else { 3 }, "{ran:?}");
                assert!(!ran.err.lines().any(|line| line.starts_with('{')), "{}", ran.err);
            });
        }
    }
    cases
}

#[test]
fn text_of_guests_cannot_forge_lines() {
    forgeries().run();
}

pub fn files() -> Cases {
    let mut cases = Cases::default();
    let paths = ["/", "..", "/etc/passwd", "/proc/self/environ", ".", "", "../../../../etc/passwd", "/dev/stdin"];
    for path in paths {
        // On every descriptor from 0 to 1000, and on the largest; counts what
        // succeeds.
        let fields = format!(
            r#"(import "wasi_snapshot_preview1" "path_open"
              (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "{path}")
            (func $try (param $fd i32) (result i32)
              (i32.eqz (call $open (local.get $fd) (i32.const 1) (i32.const 0) (i32.const {})
                (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 128))))
            (func $all (result i32) (local $fd i32) (local $found i32)
              (local.set $found (i32.add (call $try (i32.const -1)) (call $try (i32.const 0x7fffffff))))
              (loop $next
                (local.set $found (i32.add (local.get $found) (call $try (local.get $fd))))
                (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $fd) (i32.const 1001))))
              (local.get $found))"#,
            path.len()
        );
        cases.guests([guest("C11", format!("open {path:?}"), &fields, "(return (call $all))", "ok:0")]);
    }
    // Descriptors that are none: each function on each of them; counts what
    // succeeds.
    for (name, kinds) in [
        ("fd_prestat_get", "ii"),
        ("fd_filestat_get", "ii"),
        ("fd_readdir", "iiili"),
        ("fd_renumber", "ii"),
        ("fd_close", "i"),
        ("fd_pread", "iiili"),
        ("sock_accept", "ifi"),
        ("sock_shutdown", "if"),
    ] {
        let types: String = kinds.chars().map(|kind| if kind == 'l' { " i64" } else { " i32" }).collect();
        let rest: String = kinds.chars().skip(1).map(argument).collect();
        let fields = format!(
            r#"(import "wasi_snapshot_preview1" "{name}" (func $call (param{types}) (result i32)))
            (memory (export "memory") 1)
            (func $all (result i32) (local $fd i32) (local $found i32)
              (local.set $fd (i32.const 3))
              (loop $next
                (local.set $found (i32.add (local.get $found) (i32.eqz (call $call (local.get $fd){rest}))))
                (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $fd) (i32.const 1001))))
              (local.set $found (i32.add (local.get $found) (i32.eqz (call $call (i32.const -1){rest}))))
              (local.get $found))"#
        );
        cases.guests([guest("C11", name, &fields, "(return (call $all))", "ok:0")]);
    }
    cases
}

/// An address, a flag or a length.
fn argument(kind: char) -> &'static str {
    match kind {
        'l' => " (i64.const 0)",
        'f' => " (i32.const 1)",
        _ => " (i32.const 1024)",
    }
}

#[test]
fn without_grants_there_is_no_file() {
    files().run();
}

pub fn surroundings() -> Cases {
    let mut cases = Cases::default();
    for (what, function) in [("environment", "environ_sizes_get"), ("arguments", "args_sizes_get")] {
        let fields = format!(
            r#"(import "wasi_snapshot_preview1" "{function}" (func $sizes (param i32 i32) (result i32)))
            (memory (export "memory") 1)"#
        );
        let body =
            "(if (call $sizes (i32.const 0) (i32.const 4)) (then unreachable)) (return (i32.load (i32.const 0)))";
        cases.guests([guest("C12", what, &fields, body, "ok:0")]);
        if what == "environment" {
            let granted = guest("C12", "granted", &fields, body, "ok:2");
            cases.guests([granted.with(&["--env", "GREETING=hello", "--env", "OTHER=1"])]);
        }
    }
    let random = r#"(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (memory (export "memory") 17)"#;
    let get = |bytes: i64| format!("(return (call $random (i32.const 0) (i32.const {bytes})))");
    cases.guests([
        guest("C12", "a portion of randomness", random, &get(65_536), "ok:0"),
        guest("C12", "more randomness than a portion", random, &get(65_537), "trap:host-call"),
        guest("C12", "four gigabytes of randomness", random, &get(-1), "trap"),
    ]);
    cases
}

#[test]
fn the_hosts_environment_is_not_the_guests() {
    surroundings().run();
}

pub fn exits() -> Cases {
    let fields = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
    let raise = r#"(import "wasi_snapshot_preview1" "proc_raise" (func $raise (param i32) (result i32)))
        (memory (export "memory") 1)"#;
    let mut cases = Cases::default();
    for (code, expected) in [
        (0, "exit:0"),
        (1, "exit:1"),
        (125, "exit:125"),
        (126, "exit:126"),
        (127, "exit:127"),
        (134, "exit:134"),
        (255, "exit:255"),
        (256, "exit:256"),
        (-1, "exit:-1"),
        (i32::MIN, "exit:-2147483648"),
    ] {
        let body = format!("(call $exit (i32.const {code}))");
        cases.guests([guest("C15", format!("exit {code}"), fields, &body, expected)]);
    }
    cases.guests([guest("C15", "a signal", raise, "(return (call $raise (i32.const 9)))", "ok:58")]);
    cases
}

#[test]
fn exits_keep_their_codes() {
    exits().run();
}
