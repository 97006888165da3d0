;; The smallest honest task: a number in, its square out, laid out as compilers
;; lay out modules for wasm32-wasip1. It imports WASI, has a stack, data and
;; `_initialize`, and a call dirties one page of the stack and one of data.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 17)
  (global $stack (mut i32) (i32.const 1048576))
  (data (i32.const 1048576) "ready\n\00\00\00\00\00\00\00\00\00\00")

  ;; Keeps the import alive, as a panic handler does.
  (func $complain (export "complain")
    (i32.store (i32.const 1048592) (i32.const 1048576))
    (i32.store (i32.const 1048596) (i32.const 6))
    (drop (call $fd_write (i32.const 2) (i32.const 1048592) (i32.const 1) (i32.const 1048600))))

  (func (export "_initialize")
    (i32.store (i32.const 1048584) (i32.const 1)))

  (func (export "run") (param $n i64) (result i64)
    (local $frame i32)
    (local.set $frame (i32.sub (global.get $stack) (i32.const 16)))
    (global.set $stack (local.get $frame))
    (i64.store (local.get $frame) (local.get $n))
    (if (i32.ne (i32.load (i32.const 1048584)) (i32.const 1)) (then (call $complain)))
    (global.set $stack (i32.add (local.get $frame) (i32.const 16)))
    (i64.mul (local.get $n) (i64.load (local.get $frame)))))
