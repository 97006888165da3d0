;; `run: func(data: list<u8>) -> list<u8>`, the bytes backwards: a core module
;; for wasm32-wasip1 as wit-bindgen makes them. The driver adds the section that
;; describes the type, so that wpool makes a component of it with the preview-1
;; adapter (four core instances), as it does with every such module.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 17)
  (global $stack (mut i32) (i32.const 1048576))
  (data (i32.const 1048576) "ready\n\00\00\00\00\00\00\00\00\00\00")

  ;; Keeps the import alive, as a panic handler does.
  (func $complain
    (i32.store (i32.const 1048592) (i32.const 1048576))
    (i32.store (i32.const 1048596) (i32.const 6))
    (drop (call $fd_write (i32.const 2) (i32.const 1048592) (i32.const 1) (i32.const 1048600))))

  ;; 1048588 holds where free memory begins.
  (func (export "_initialize")
    (i32.store (i32.const 1048588) (i32.const 1052672)))

  (func $alloc (param $len i32) (result i32)
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
    (i32.store (i32.sub (local.get $at) (i32.const 8)) (local.get $len))
    (local.get $at))

  (func (export "cabi_realloc")
    (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)
    (call $alloc (local.get $len)))

  (func (export "cabi_post_run") (param $result i32)
    (i32.store (i32.const 1048588) (i32.const 1052672)))

  ;; Address and length of the result stand at 1048608.
  (func (export "run") (param $ptr i32) (param $len i32) (result i32)
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
    (i32.store (i32.const 1048608) (local.get $out))
    (i32.store (i32.const 1048612) (local.get $len))
    (i32.const 1048608)))
