;; Of each hundred items in a row, RATE trap; benches/growth.py fills that in.
(module
  (func (export "run") (param $n i64) (result i64)
    (if (i64.lt_u (i64.rem_u (local.get $n) (i64.const 100)) (i64.const RATE)) (then unreachable))
    (local.get $n)))
