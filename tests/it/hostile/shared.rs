//! S: shared objects in hostile hands: what a task holds when it ends badly,
//! floods, tasks that wait for each other.

use serde_json::Value;

use super::Arena;
use super::cases::{Cases, Guest};

/// Bytes of a queue's values, and of a store's keys and values, at most.
const KEPT: usize = 64 << 20;

/// All that is granted.
const GRANTS: &[&str] = &[
    "--shared=lock:l",
    "--shared=lock:m",
    "--shared=queue:q:100",
    "--shared=queue:w:1000000",
    "--shared=counter:c",
    "--shared=kv:k",
];

/// A component whose `run` takes the lock `l`, waiting for it, and gives its
/// number and 40; `each` and `body` are code of every task, and of item 1.
fn component(each: &str, body: &str) -> String {
    format!(
        r#"(component
        (import "wpool:pool/log@0.1.0" (instance $log
            (type $level' (enum "trace" "debug" "info" "warn" "error"))
            (export "level" (type $level (eq $level')))
            (export "write" (func (param "level" $level) (param "message" string)))))
        (import "wpool:pool/progress@0.1.0" (instance $progress
            (export "report" (func (param "done" u64) (param "total" u64)))))
        (import "wpool:pool/lock@0.1.0" (instance $lock
            (export "lock" (type $t (sub resource)))
            (export "[constructor]lock" (func (param "name" string) (result (own $t))))
            (export "[method]lock.acquire"
                (func (param "self" (borrow $t)) (param "timeout" (option u64)) (result bool)))
            (export "[method]lock.release" (func (param "self" (borrow $t))))))
        (import "wpool:pool/queue@0.1.0" (instance $queue
            (export "queue" (type $t (sub resource)))
            (export "[constructor]queue" (func (param "name" string) (result (own $t))))
            (export "[method]queue.put" (func
                (param "self" (borrow $t)) (param "value" (list u8)) (param "timeout" (option u64)) (result bool)))))
        (import "wpool:pool/counter@0.1.0" (instance $counter
            (export "counter" (type $t (sub resource)))
            (export "[constructor]counter" (func (param "name" string) (result (own $t))))
            (export "[method]counter.add" (func (param "self" (borrow $t)) (param "delta" s64) (result s64)))))
        (import "wasi:keyvalue/store@0.2.0-draft" (instance $store
            (export "bucket" (type $t (sub resource)))
            (type $error' (variant (case "no-such-store") (case "access-denied") (case "other" string)))
            (export "error" (type $error (eq $error')))
            (export "open" (func (param "identifier" string) (result (result (own $t) (error $error)))))
            (export "[method]bucket.set" (func
                (param "self" (borrow $t)) (param "key" string) (param "value" (list u8))
                (result (result (error $error)))))))
        (import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "status" (result))))))
        (core module $memory
            (memory (export "m") 20)
            (data (i32.const 0) "lmqwckx")
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
        (core instance $m (instantiate $memory))
        (alias core export $m "m" (core memory $mem))
        (alias core export $m "realloc" (core func $realloc))
        (core func $write (canon lower (func $log "write") (memory $mem)))
        (core func $report (canon lower (func $progress "report")))
        (core func $lock.new (canon lower (func $lock "[constructor]lock") (memory $mem)))
        (core func $acquire (canon lower (func $lock "[method]lock.acquire")))
        (core func $release (canon lower (func $lock "[method]lock.release")))
        (core func $queue.new (canon lower (func $queue "[constructor]queue") (memory $mem)))
        (core func $put (canon lower (func $queue "[method]queue.put") (memory $mem)))
        (core func $counter.new (canon lower (func $counter "[constructor]counter") (memory $mem)))
        (core func $add (canon lower (func $counter "[method]counter.add")))
        (core func $store.open (canon lower (func $store "open") (memory $mem) (realloc $realloc)))
        (core func $set (canon lower (func $store "[method]bucket.set") (memory $mem) (realloc $realloc)))
        (core func $quit (canon lower (func $exit "exit")))
        (core module $code
            (import "m" "m" (memory 20))
            (import "h" "write" (func $write (param i32 i32 i32)))
            (import "h" "report" (func $report (param i64 i64)))
            (import "h" "lock" (func $lock (param i32 i32) (result i32)))
            (import "h" "acquire" (func $acquire (param i32 i32 i64) (result i32)))
            (import "h" "release" (func $release (param i32)))
            (import "h" "queue" (func $queue (param i32 i32) (result i32)))
            (import "h" "put" (func $put (param i32 i32 i32 i32 i64) (result i32)))
            (import "h" "counter" (func $counter (param i32 i32) (result i32)))
            (import "h" "add" (func $add (param i32 i64) (result i64)))
            (import "h" "open" (func $open (param i32 i32 i32)))
            (import "h" "set" (func $set (param i32 i32 i32 i32 i32 i32)))
            (import "h" "exit" (func $exit (param i32)))
            (func $deep (result i32) (i32.add (i32.const 1) (call $deep)))
            (func (export "run") (param $i i32) (result i32)
                (local $l i32) (local $n i32) (local $o i32) (local $of i32)
                (local.set $l (call $lock (i32.const 0) (i32.const 1)))
                {each}
                (if (i32.eq (local.get $i) (i32.const 1)) (then {body}))
                (i32.add (local.get $i) (i32.const 40))))
        (core instance $c (instantiate $code
            (with "m" (instance $m))
            (with "h" (instance
                (export "write" (func $write)) (export "report" (func $report))
                (export "lock" (func $lock.new)) (export "acquire" (func $acquire)) (export "release" (func $release))
                (export "queue" (func $queue.new)) (export "put" (func $put))
                (export "counter" (func $counter.new)) (export "add" (func $add))
                (export "open" (func $store.open)) (export "set" (func $set)) (export "exit" (func $quit))))))
        (func (export "run") (param "i" u32) (result u32) (canon lift (core func $c "run"))))"#
    )
}

/// Takes the lock `l`, for as long as it takes.
const TAKE: &str = "(drop (call $acquire (local.get $l) (i32.const 0) (i64.const 0)))";

fn guest(row: &'static str, name: &str, body: &str, expected: &'static str) -> Guest {
    Guest::component(row, name, component(TAKE, body), expected).with(GRANTS)
}

/// Ends that leave the lock in the task's hands; the next one waits for it.
pub fn holders() -> Cases {
    let late: &[&str] = &["--timeout", "400ms"];
    let trapped: &[&str] = &["--timeout", "400ms", "--timeout-mode", "trap"];
    let mut cases = Cases::default();
    for (name, body, options, expected) in [
        ("holder traps", "unreachable", &[][..], "trap:unreachable"),
        ("holder loops", "(loop (br 0))", late, "timeout:--timeout"),
        ("holder loops, trapped", "(loop (br 0))", trapped, "timeout:--timeout"),
        ("holder runs out of fuel", "(loop (br 0))", &["--fuel", "1000000"], "out-of-fuel:--fuel"),
        ("holder recurses", "(return (call $deep))", &[], "stack-overflow:--stack"),
        ("holder exits", "(call $exit (i32.const 1))", &[], "exit:1"),
        ("holder exits well", "(call $exit (i32.const 0))", &[], "exit:0"),
        ("holder is denied", "(drop (call $lock (i32.const 6) (i32.const 1)))", &[], "denied"),
        ("holder waits for itself", TAKE, &[], "trap:shared-object"),
        (
            "holder gives back twice",
            "(call $release (local.get $l)) (call $release (local.get $l))",
            &[],
            "trap:shared-object",
        ),
        (
            "holder fails as another",
            "(call $release (i32.add (local.get $l) (i32.const 1))) (drop (i32.load (i32.const -1)))",
            &[],
            "trap",
        ),
    ] {
        cases.guests([guest("S01", name, body, expected).with(options)]);
    }
    cases
}

/// Repeats `step` until it says 0; then the result is 41 if it had said
/// otherwise `times` times.
fn until_refused(step: &str, times: u32) -> String {
    format!(
        "(block $refused (loop $again
            (br_if $refused (i32.eqz {step}))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br $again)))
         (return (i32.add (i32.const 41) (i32.sub (local.get $n) (i32.const {times}))))"
    )
}

/// Does `step` so many times.
fn times(count: u32, step: &str) -> String {
    format!(
        "(loop $again
            {step}
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $n) (i32.const {count}))))"
    )
}

/// Puts a value into the queue whose name is at `name`; whether there was room.
fn putting(name: u32, size: u32, wait: bool) -> String {
    let queue = format!(
        "(if (result i32) (local.get $of)
            (then (local.get $of))
            (else (local.tee $of (call $queue (i32.const {name}) (i32.const 1)))))"
    );
    let some = u32::from(!wait);
    format!("(call $put {queue} (i32.const 64) (i32.const {size}) (i32.const {some}) (i64.const 0))")
}

pub fn floods() -> Cases {
    const MIB: u32 = 1 << 20;
    let late: &[&str] = &["--timeout", "400ms"];
    let mut cases = Cases::default();
    for (name, body, options, expected) in [
        ("queue over its items", until_refused(&putting(2, 1, false), 100), &[][..], "ok:41"),
        ("queue over its items, for ever", until_refused(&putting(2, 1, true), 100), late, "timeout:--timeout"),
        ("value over its size", format!("(drop {})", putting(3, MIB + 1, false)), &[], "trap:shared-object"),
        ("value outside of memory", format!("(drop {})", putting(3, 64 * MIB, false)), &[], "trap"),
        ("log", times(20_000, "(call $write (i32.const 3) (i32.const 64) (i32.const 8192))"), &[], "ok:41"),
        ("progress", times(1_000_000, "(call $report (i64.const -1) (i64.const 0))"), &[], "ok:41"),
        ("handles", times(100_000, "(drop (call $lock (i32.const 0) (i32.const 1)))"), &[], "trap"),
    ] {
        cases.guests([guest("S02", name, &body, expected).with(options)]);
    }
    // As many as a queue keeps.
    let full = until_refused(&putting(3, MIB, false), 64);
    cases.guests([guest("S02", "queue over its bytes", &full, "ok:41").keeping(KEPT)]);
    cases
}

/// One entry more under a new key, whose number is at 16; whether it was
/// taken.
fn setting(key: u32, value: u32) -> String {
    format!(
        "(block (result i32)
            (if (i32.eqz (local.get $o)) (then
                (call $open (i32.const 5) (i32.const 1) (i32.const 32))
                (if (i32.load8_u (i32.const 32)) (then unreachable))
                (local.set $of (i32.load (i32.const 36)))
                (local.set $o (i32.const 1))))
            (i32.store (i32.const 16) (local.get $n))
            (call $hex)
            (call $set (local.get $of) (i32.const 64) (i32.const {key}) (i32.const 128) (i32.const {value}) (i32.const 32))
            (i32.eqz (i32.load8_u (i32.const 32))))"
    )
}

/// Writes the number at 16 as eight digits to 64.
const HEX: &str = "(func $hex (local $at i32)
    (loop $digit
        (i32.store8 (i32.add (local.get $at) (i32.const 64))
            (i32.add (i32.const 97)
                (i32.and (i32.shr_u (i32.load (i32.const 16)) (i32.shl (local.get $at) (i32.const 2))) (i32.const 15))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $digit (i32.lt_u (local.get $at) (i32.const 8)))))";

pub fn stores() -> Cases {
    const MIB: u32 = 1 << 20;
    let mut cases = Cases::default();
    for (name, body, kept) in [
        ("more keys than a store takes", until_refused(&setting(8, 0), 65536), KEPT),
        ("more bytes than a store takes", until_refused(&setting(8, MIB), 63), KEPT),
        ("value over its size", until_refused(&setting(8, MIB + 1), 0), 0),
        ("key over its length", until_refused(&setting(1025, 1), 0), 0),
    ] {
        let wat = component(TAKE, &body).replace("(func $deep", &format!("{HEX} (func $deep"));
        let guest = Guest::component("S04", name, wat, "ok:41").with(GRANTS);
        cases.guests([guest.keeping(kept)]);
    }
    cases
}

/// Items 0 and 1 each hold a lock before they wait for the other's.
pub fn dead_locks() -> Cases {
    let first = "(local.set $o (call $lock (i32.const 1) (i32.const 1)))
        (if (i32.eq (local.get $i) (i32.const 1)) (then
            (local.set $n (local.get $l)) (local.set $l (local.get $o)) (local.set $o (local.get $n))))";
    let other = "(drop (call $acquire (local.get $o) (i32.const 0) (i64.const 0)))";
    let meet = "(if (i32.lt_u (local.get $i) (i32.const 2)) (then
        (local.set $of (call $counter (i32.const 4) (i32.const 1)))
        (drop (call $add (local.get $of) (i64.const 1)))
        (loop $alone (br_if $alone (i64.lt_s (call $add (local.get $of) (i64.const 0)) (i64.const 2))))))";
    let wat = component(&format!("{first} {TAKE} {meet} {other}"), "nop");
    let mut cases = Cases::default();
    for mode in ["kill", "trap"] {
        let wat = wat.clone();
        cases.add("S03", format!("two tasks with two locks, {mode}"), move || {
            let arena = Arena::new();
            arena.write("guest.wat", &wat);
            let line = ["run", "guest.wat", "--map", "[0,1,2]", "--output", "records", "-j2", "--invoke", "run"];
            let late = ["--timeout", "2s", "--timeout-mode", mode];
            let ran = arena.attack("S03", &[&line[..], GRANTS, &late].concat());
            let kinds: Vec<Value> = ran.records().iter().map(|record| record["kind"].clone()).collect();
            // Who is ended first leaves its lock to the other.
            assert!(kinds[..2].iter().any(|kind| kind == "timeout"), "{kinds:?}");
            assert!(kinds[..2].iter().all(|kind| kind == "timeout" || kind == "ok"), "{kinds:?}");
            assert_eq!(kinds[2], "ok", "nothing stays held");
        });
    }
    cases
}

#[test]
fn locks_of_tasks_that_end_badly_are_free() {
    holders().run();
}

#[test]
fn floods_of_shared_objects_end_at_their_bounds() {
    floods().run();
}

#[test]
fn tasks_that_wait_for_each_other_end_by_their_limit() {
    dead_locks().run();
}

#[test]
fn stores_end_at_their_bounds() {
    stores().run();
}
