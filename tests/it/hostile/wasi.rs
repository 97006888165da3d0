//! C: what guests ask the host for.

use super::{Arena, Guest};

const POLL: &str = r#"(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)"#;
const WRITE: &str = r#"(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 17)"#;
const READ: &str = r#"(import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)"#;

const fn guest(
    id: &'static str,
    name: &'static str,
    fields: &'static str,
    body: &'static str,
    expected: &'static str,
) -> Guest {
    Guest { id, name, fields, body, options: &[], expected }
}

#[test]
fn sleeping_is_no_way_around_the_clock() {
    let body = "(i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const 3600000000000))
        (return (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))";
    let options = &["--timeout", "1s"][..];
    Guest { id: "C01", name: "an hour", fields: POLL, body, options, expected: "timeout:--timeout" }.attacks();
    let options = &["--timeout", "1s", "--timeout-mode", "trap"][..];
    Guest { id: "C01", name: "an hour, trapped", fields: POLL, body, options, expected: "timeout:--timeout" }.attacks();
}

#[test]
fn odd_subscriptions_are_errors_of_the_guest() {
    for guest in [
        guest(
            "C02",
            "a hundred million",
            POLL,
            "(return (call $poll (i32.const 0) (i32.const 64) (i32.const 100000000) (i32.const 128)))",
            "ok:48",
        ),
        guest(
            "C02",
            "none",
            POLL,
            "(return (call $poll (i32.const 0) (i32.const 64) (i32.const 0) (i32.const 128)))",
            "ok:28",
        ),
        guest(
            "C02",
            "in the past",
            POLL,
            "(i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const 1))
             (i32.store16 (i32.const 40) (i32.const 1))
             (return (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))",
            "ok:0",
        ),
        guest(
            "C02",
            "no such file",
            POLL,
            "(i32.store8 (i32.const 8) (i32.const 1)) (i32.store (i32.const 16) (i32.const 77))
             (return (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))",
            "ok:8",
        ),
        guest(
            "C02",
            "unknown tag",
            POLL,
            "(i32.store8 (i32.const 8) (i32.const 200))
             (return (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))",
            "ok:28",
        ),
        guest(
            "C02",
            "misaligned",
            POLL,
            "(return (call $poll (i32.const 1) (i32.const 67) (i32.const 1) (i32.const 129)))",
            "trap:host-call",
        ),
        guest(
            "C02",
            "outside of memory",
            POLL,
            "(return (call $poll (i32.const -8) (i32.const 64) (i32.const 1) (i32.const 128)))",
            "trap:host-call",
        ),
    ] {
        guest.attacks();
    }
}

#[test]
fn odd_vectors_are_errors_of_the_guest() {
    for (name, pointer, length, count, expected) in [
        ("count of -1", 16, 1, -1, "ok:28"),
        ("outside of memory", -4, 8, 1, "ok:21"),
        ("four gigabytes", 16, -1, 1, "ok:21"),
        ("ends past memory", 0x10fff0, 100, 1, "ok:21"),
        ("no vectors", 0, 0, 0, "ok:0"),
    ] {
        let body = format!(
            "(i32.store (i32.const 0) (i32.const {pointer})) (i32.store (i32.const 4) (i32.const {length}))
             (return (call $write (i32.const 2) (i32.const 0) (i32.const {count}) (i32.const 8)))"
        );
        guest("C06", name, WRITE, Box::leak(body.into_boxed_str()), expected).attacks();
    }
    let body = "(return (call $write (i32.const 2) (i32.const -8) (i32.const 1) (i32.const 8)))";
    guest("C06", "vector outside", WRITE, body, "ok:21").attacks();
    let body = "(return (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const -4)))";
    guest("C06", "count outside", WRITE, body, "ok:21").attacks();
}

#[test]
fn the_hosts_input_is_not_the_guests() {
    let arena = Arena::new();
    let body = "(i32.store (i32.const 0) (i32.const 100)) (i32.store (i32.const 4) (i32.const 1000))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (return (i32.load (i32.const 8)))";
    arena.write("guest.wat", guest("C04", "stdin", READ, body, "ok:0").wat());
    let line = ["run", "guest.wat", "--imap", "-", "--input", "jsonl"];
    let ran = arena.attack_with("C04", &line, b"0\n1\n2\n", |_| {});
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "40\n0\n42\n"), "{}", ran.err);
}

#[test]
fn floods_keep_their_tails_only() {
    let flood = |fd: u32| {
        format!(
            "(local.set $n (i32.const 4096)) (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 1048576))
             (loop $next
               (drop (call $write (i32.const {fd}) (i32.const 0) (i32.const 1) (i32.const 8)))
               (local.set $n (i32.sub (local.get $n) (i32.const 1)))
               (br_if $next (local.get $n)))"
        )
    };
    for (fd, field) in [(1, "stdout"), (2, "stderr")] {
        let fields = format!("{WRITE} (func $flood (local $n i32) {})", flood(fd));
        let fields: &'static str = Box::leak(fields.into_boxed_str());
        let options = &["--max-captured", "1000"][..];
        let body = "(call $flood) unreachable";
        let record = Guest { id: "C05", name: field, fields, body, options, expected: "trap" }.attacks();
        assert_eq!(record["truncated"], true, "{}", record["kind"]);
        assert!(record[field].as_str().unwrap().len() <= 6000, "{}", record[field]);
    }
}

#[test]
fn text_of_guests_cannot_forge_lines() {
    let nasty = r#"\1b]0;owned\07\1b[2J\00\ff\fe\r\n{\22index\22:1,\22kind\22:\22ok\22,\22value\22:7}\n\e2\80\ae"#;
    let fields = format!(r#"{WRITE} (data (i32.const 100) "{nasty}")"#);
    let body = "(i32.store (i32.const 0) (i32.const 100)) (i32.store (i32.const 4) (i32.const 80))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
        unreachable";
    let fields: &'static str = Box::leak(fields.into_boxed_str());
    let forger = guest("C08", "forged", fields, body, "trap:unreachable");
    forger.attacks();
    let arena = Arena::new();
    arena.write("guest.wat", forger.wat());
    for output in ["json", "jsonl", "records"] {
        let ran = arena.attack("C08", &["run", "guest.wat", "--map", "[0,1,2]", "--output", output]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert_eq!(ran.out.lines().count(), if output == "json" { 1 } else { 3 }, "{ran:?}");
        assert!(!ran.err.lines().any(|line| line.starts_with('{')), "{}", ran.err);
    }
}

#[test]
fn without_grants_there_is_no_file() {
    // Every descriptor from 0 to 1000 with each path; counts what succeeds.
    let fields = r#"
        (import "wasi_snapshot_preview1" "path_open"
          (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "/               ")
        (data (i32.const 16) "..              ")
        (data (i32.const 32) "/etc/passwd     ")
        (data (i32.const 48) "/proc/self/environ")
        (func $try (param $fd i32) (param $at i32) (param $length i32) (result i32)
          (i32.eqz (call $open (local.get $fd) (i32.const 1) (local.get $at) (local.get $length)
            (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 128))))
        (func $all (result i32) (local $fd i32) (local $found i32)
          (loop $next
            (local.set $found (i32.add (local.get $found) (call $try (local.get $fd) (i32.const 0) (i32.const 1))))
            (local.set $found (i32.add (local.get $found) (call $try (local.get $fd) (i32.const 16) (i32.const 2))))
            (local.set $found (i32.add (local.get $found) (call $try (local.get $fd) (i32.const 32) (i32.const 11))))
            (local.set $found (i32.add (local.get $found) (call $try (local.get $fd) (i32.const 48) (i32.const 18))))
            (local.set $found
              (i32.add (local.get $found) (i32.eqz (call $prestat (local.get $fd) (i32.const 128)))))
            (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $fd) (i32.const 1001))))
          (local.get $found))"#;
    guest("C11", "open", fields, "(return (call $all))", "ok:0").attacks();
}

#[test]
fn the_hosts_environment_is_not_the_guests() {
    let fields = r#"
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
        (memory (export "memory") 1)"#;
    let body = "(if (call $environ (i32.const 0) (i32.const 4)) (then unreachable))
        (return (i32.load (i32.const 0)))";
    guest("C12", "environ", fields, body, "ok:0").attacks();
    let options = &["--env", "GREETING=hello", "--env", "OTHER=1"][..];
    Guest { id: "C12", name: "granted", fields, body, options, expected: "ok:2" }.attacks();
}

#[test]
fn exits_keep_their_codes() {
    let fields = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
    for (code, expected) in [
        (0, "exit:0"),
        (1, "exit:1"),
        (125, "exit:125"),
        (126, "exit:126"),
        (255, "exit:255"),
        (256, "exit:256"),
        (-1, "exit"),
    ] {
        let body = format!("(call $exit (i32.const {code}))");
        guest("C15", "exit", fields, Box::leak(body.into_boxed_str()), expected).attacks();
    }
}

#[test]
fn randomness_comes_in_portions() {
    let fields = r#"(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (memory (export "memory") 1)"#;
    let outside = "(return (call $random (i32.const 0) (i32.const -1)))";
    let record = Guest { id: "C02", name: "random", fields, body: outside, options: &[], expected: "trap" };
    record.attacks();
}
