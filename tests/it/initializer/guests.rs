//! Guests whose initializers do one thing each.

/// Initializers leave a number; `run` adds it to its item, and then a thousand
/// to it, so that what a task leaves shows as well.
///   init:  i64              adds the number
///   pair:  (i64, i64)       adds ten times the first, and the second
///   seven: ()               adds 7
///   others are named after what they do
pub const CORE: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 2)
  (global $left (mut i64) (i64.const 0))
  ;; Vectors at 0 and 8, the words at 256, the name of a file at 512.
  (data (i32.const 256) "my last \1b words\0a")
  (data (i32.const 512) "mark")
  (func $add (param i64) (global.set $left (i64.add (global.get $left) (local.get 0))))
  (func $say (param $fd i32) (param $length i32)
    (i32.store (i32.const 0) (i32.const 256))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 16))))
  ;; Appends a byte to the file in the first directory; its descriptor.
  (func $mark (param $how i32) (result i32)
    (if (call $path_open (i32.const 3) (i32.const 0) (i32.const 512) (i32.const 4)
          (local.get $how) (i64.const 64) (i64.const 0) (i32.const 1) (i32.const 32))
      (then unreachable))
    (i32.store (i32.const 0) (i32.const 256))
    (i32.store (i32.const 4) (i32.const 1))
    (drop (call $fd_write (i32.load (i32.const 32)) (i32.const 0) (i32.const 1) (i32.const 16)))
    (i32.load (i32.const 32)))

  (func (export "init") (param i64) (call $add (local.get 0)))
  (func (export "pair") (param i64 i64)
    (call $add (i64.add (i64.mul (i64.const 10) (local.get 0)) (local.get 1))))
  (func (export "seven") (call $add (i64.const 7)))
  (func (export "say") (param i64) (call $say (i32.const 2) (i32.const 16)) (call $add (local.get 0)))
  (func (export "trap") (call $say (i32.const 2) (i32.const 16)) unreachable)
  (func (export "exit") (param i32) (call $say (i32.const 1) (i32.const 16)) (call $proc_exit (local.get 0)))
  (func (export "loop") (call $say (i32.const 2) (i32.const 16)) (loop $again (br $again)))
  (func (export "sleep")
    (i32.store (i32.const 48) (i32.const 1))
    (i64.store (i32.const 56) (i64.const 100_000_000_000))
    (drop (call $poll_oneoff (i32.const 32) (i32.const 96) (i32.const 1) (i32.const 160))))
  (func (export "bomb")
    (loop $more (br_if $more (i32.ne (memory.grow (i32.const 64)) (i32.const -1)))) unreachable)
  (func (export "flood") (loop $again (call $say (i32.const 2) (i32.const 65536)) (br $again)))
  (func $deeper (export "deep") (call $deeper) (call $add (i64.const 1)))
  (func (export "grow") (param i32) (drop (memory.grow (local.get 0))))
  (func (export "random")
    (drop (call $random_get (i32.const 64) (i32.const 4)))
    (call $add (i64.load32_u (i32.const 64))))
  (func (export "variables")
    (drop (call $environ_sizes_get (i32.const 64) (i32.const 68)))
    (call $add (i64.load32_u (i32.const 64))))
  (func (export "mark") (drop (call $fd_close (call $mark (i32.const 1)))))
  (func (export "mark-first") (drop (call $fd_close (call $mark (i32.const 5)))))
  (func (export "mark-nap")
    (drop (call $fd_close (call $mark (i32.const 1))))
    (i32.store (i32.const 48) (i32.const 1))
    (i64.store (i32.const 56) (i64.const 1_500_000_000))
    (drop (call $poll_oneoff (i32.const 32) (i32.const 96) (i32.const 1) (i32.const 160))))
  (func (export "mark-open") (drop (call $mark (i32.const 1))))

  (func (export "run") (param i64) (result i64)
    (i64.add (local.get 0) (global.get $left))
    (call $add (i64.const 1000)))
  ;; The same without a trace, but for a trap on 13.
  (func (export "picky") (param i64) (result i64)
    (if (i64.eq (local.get 0) (i64.const 13)) (then unreachable))
    (i64.add (local.get 0) (global.get $left)))
  ;; A program that writes the number's lowest digit.
  (func (export "_start")
    (i64.store8 (i32.const 256) (i64.add (i64.const 48) (i64.rem_u (global.get $left) (i64.const 10))))
    (call $say (i32.const 1) (i32.const 1))))"#;

/// `init` keeps its bytes, and fails on those that begin with an x; `run`
/// gives them back whatever its item is.
pub const BYTES: &str = r#"(module
  (memory (export "memory") 2)
  (global $free (mut i32) (i32.const 4096))
  (global $kept (mut i64) (i64.const 0))
  (func (export "alloc") (param i32) (result i32)
    (global.get $free)
    (global.set $free (i32.add (global.get $free) (local.get 0))))
  (func (export "init") (param i32 i32) (result i64)
    (global.set $kept
      (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1))))
    (if (i32.eq (i32.load8_u (local.get 0)) (i32.const 120))
      (then (return (i64.or (global.get $kept) (i64.const 0x8000_0000)))))
    (i64.const 0))
  (func (export "run") (param i32 i32) (result i64) (global.get $kept)))"#;

/// The same as a component: `init: func(word: string, n: u8) -> result<_,
/// string>` fails on the empty word, `run: func(n: u32) -> string` gives the
/// word back and forgets it.
pub const COMPONENT: &str = r#"(component
  (core module $code
    (memory (export "memory") 1)
    (global $free (mut i32) (i32.const 4096))
    (global $at (mut i32) (i32.const 0))
    (global $length (mut i32) (i32.const 0))
    (data (i32.const 64) "no word")
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $free)
      (global.set $free (i32.add (global.get $free) (local.get 3))))
    (func (export "init") (param i32 i32 i32) (result i32)
      (if (i32.eqz (local.get 1))
        (then
          (i32.store (i32.const 16) (i32.const 1))
          (i32.store (i32.const 20) (i32.const 64))
          (i32.store (i32.const 24) (i32.const 7))
          (return (i32.const 16))))
      (global.set $at (local.get 0))
      (global.set $length (local.get 1))
      (i32.store (i32.const 16) (i32.const 0))
      (i32.const 16))
    (func (export "run") (param i32) (result i32)
      (i32.store (i32.const 16) (global.get $at))
      (i32.store (i32.const 20) (global.get $length))
      (if (local.get 0) (then (global.set $length (i32.const 0))))
      (i32.const 16)))
  (core instance $core (instantiate $code))
  (alias core export $core "memory" (core memory $memory))
  (alias core export $core "cabi_realloc" (core func $realloc))
  (func (export "init") (param "word" string) (param "n" u8) (result (result (error string)))
    (canon lift (core func $core "init") (memory $memory) (realloc $realloc)))
  (func (export "run") (param "n" u32) (result string)
    (canon lift (core func $core "run") (memory $memory))))"#;

/// Counts its calls from before the first: `start` adds 1, `_initialize` 10.
pub const BORN: &str = r#"(module
  (global $calls (mut i32) (i32.const 0))
  (func $add (param i32) (global.set $calls (i32.add (global.get $calls) (local.get 0))))
  (func $born (call $add (i32.const 1)))
  (start $born)
  (func (export "_initialize") (call $add (i32.const 10)))
  (func (export "init") (call $add (i32.const 100)))
  (func (export "run") (param i32) (result i32) (global.get $calls)))"#;
