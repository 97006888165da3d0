;; The square of a number as an Extism plugin: eight bytes in, eight out, by the
;; functions that Extism gives its plugins.
(module
  (import "extism:host/env" "input_load_u64" (func $input (param i64) (result i64)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u64" (func $store (param i64 i64)))
  (import "extism:host/env" "output_set" (func $output (param i64 i64)))
  (memory (export "memory") 1)
  (func (export "run") (result i32)
    (local $n i64) (local $at i64)
    (local.set $n (call $input (i64.const 0)))
    (local.set $at (call $alloc (i64.const 8)))
    (call $store (local.get $at) (i64.mul (local.get $n) (local.get $n)))
    (call $output (local.get $at) (i64.const 8))
    (i32.const 0)))
