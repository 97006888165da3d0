;; `init` takes about half a second and leaves a table of 64 KiB; `run` squares
;; its item after a look at the table.
(module
  (memory (export "memory") 2)
  (func (export "init")
    (local $left i64) (local $value i64)
    (local.set $left (i64.const 400_000_000))
    (local.set $value (i64.const 1))
    (loop $again
      (local.set $value
        (i64.add (i64.mul (local.get $value) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
      (i64.store
        (i32.and (i32.wrap_i64 (local.get $left)) (i32.const 0xfff8))
        (i64.or (local.get $value) (i64.const 1)))
      (local.set $left (i64.sub (local.get $left) (i64.const 1)))
      (br_if $again (i64.ne (local.get $left) (i64.const 0)))))
  (func (export "run") (param $n i64) (result i64)
    (i64.add
      (i64.mul (local.get $n) (local.get $n))
      (i64.and
        (i64.const 0)
        (i64.load (i32.and (i32.wrap_i64 (local.get $n)) (i32.const 0xfff8)))))))
