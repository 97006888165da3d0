;; Bytes in, the same bytes backwards out, by the `bytes` ABI. Laid out as
;; compilers lay out modules for wasm32-wasip1: a call dirties a page of the
;; stack, one of data and one of the heap, and allocates twice.
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

  ;; 1048588 holds where free memory begins.
  (func (export "_initialize")
    (i32.store (i32.const 1048588) (i32.const 1052672)))

  (func $alloc (export "alloc") (param $len i32) (result i32)
    (local $at i32) (local $missing i32)
    (local.set $at (i32.add (i32.load (i32.const 1048588)) (i32.const 16)))
    (i32.store (i32.const 1048588)
      (i32.and (i32.add (i32.add (local.get $at) (local.get $len)) (i32.const 15)) (i32.const -16)))
    (local.set $missing
      (i32.sub
        (i32.shr_u (i32.add (i32.load (i32.const 1048588)) (i32.const 65535)) (i32.const 16))
        (memory.size)))
    (if (i32.gt_s (local.get $missing) (i32.const 0))
      (then
        (if (i32.lt_s (memory.grow (local.get $missing)) (i32.const 0))
          (then (call $complain) (unreachable)))))
    ;; The block's header, as an allocator keeps it.
    (i32.store (i32.sub (local.get $at) (i32.const 8)) (local.get $len))
    (local.get $at))

  ;; The end of a worker's kept instance, not of a fresh one.
  (func (export "dealloc") (param $ptr i32) (param $len i32)
    (i32.store (i32.const 1048588) (i32.const 1052672)))

  (func (export "run") (param $ptr i32) (param $len i32) (result i64)
    (local $frame i32) (local $out i32) (local $at i32)
    (local.set $frame (i32.sub (global.get $stack) (i32.const 16)))
    (global.set $stack (local.get $frame))
    (i32.store (local.get $frame) (local.get $len))
    (local.set $out (call $alloc (local.get $len)))
    (local.set $at (local.get $len))
    (block $done
      (loop $more
        (br_if $done (i32.eqz (local.get $at)))
        (local.set $at (i32.sub (local.get $at) (i32.const 1)))
        (i32.store8
          (i32.add (local.get $out) (local.get $at))
          (i32.load8_u
            (i32.add
              (local.get $ptr)
              (i32.sub (i32.sub (local.get $len) (i32.const 1)) (local.get $at)))))
        (br $more)))
    (global.set $stack (i32.add (local.get $frame) (i32.const 16)))
    (i64.or
      (i64.shl (i64.extend_i32_u (local.get $out)) (i64.const 32))
      (i64.extend_i32_u (local.get $len)))))
