;; Writes to one word of each of `n` pages of 4 KiB: a task of a chosen dirty set.
(module
  (memory (export "memory") 257)
  (func (export "run") (param $n i64) (result i64)
    (local $at i32)
    (block $done
      (loop $more
        (br_if $done (i64.ge_s (i64.extend_i32_u (i32.shr_u (local.get $at) (i32.const 12))) (local.get $n)))
        (i32.store (local.get $at) (i32.const 1))
        (local.set $at (i32.add (local.get $at) (i32.const 4096)))
        (br $more)))
    (local.get $n)))
