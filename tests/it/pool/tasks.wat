;; The functions that the tests of the library call, with one instance a task:
;;   square: i64 -> i64
;;   add:    (i64, i64) -> i64
;;   sleep:  i64 -> i64      sleeps so many milliseconds, gives them back
;;   odd:    i64 -> i64      traps on even numbers
;;   spin:   i64 -> i64      loops for ever on 7, else gives the number back
;;   count:  i64 -> i64      how often this instance was called
;;   late:   i64 -> i64      sleeps so many milliseconds, then traps if the number is odd
;;   leave:  i64 -> i64      ends the whole program with code 7 on 3, else squares
(module
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (global $calls (mut i64) (i64.const 0))

  (func (export "square") (param $n i64) (result i64)
    (i64.mul (local.get $n) (local.get $n)))

  (func (export "add") (param $a i64) (param $b i64) (result i64)
    (i64.add (local.get $a) (local.get $b)))

  (func $sleep (export "sleep") (param $ms i64) (result i64)
    ;; One subscription to the monotonic clock, relative, in nanoseconds.
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.mul (local.get $ms) (i64.const 1_000_000)))
    (if (call $poll_oneoff (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128))
      (then unreachable))
    (local.get $ms))

  (func (export "odd") (param $n i64) (result i64)
    (if (i64.eqz (i64.and (local.get $n) (i64.const 1))) (then unreachable))
    (local.get $n))

  (func (export "spin") (param $n i64) (result i64)
    (loop $again (br_if $again (i64.eq (local.get $n) (i64.const 7))))
    (local.get $n))

  (func (export "count") (param $n i64) (result i64)
    (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
    (global.get $calls))

  (func (export "late") (param $ms i64) (result i64)
    (drop (call $sleep (local.get $ms)))
    (if (i64.eq (i64.and (local.get $ms) (i64.const 1)) (i64.const 1)) (then unreachable))
    (local.get $ms))

  (func (export "leave") (param $n i64) (result i64)
    (if (i64.eq (local.get $n) (i64.const 3)) (then (call $proc_exit (i32.const 7))))
    (i64.mul (local.get $n) (local.get $n))))
