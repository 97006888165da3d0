;; Functions for the tests of components: each path of passing values, and each
;; way to end badly. The memory only grows: instances are short-lived.
(component
  (core module $m
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 4096))
    (global $calls (mut i32) (i32.const 0))

    (func (export "realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get $new)))
      (if (i32.gt_u (global.get $next) (i32.shl (memory.size) (i32.const 16)))
        (then (drop (memory.grow (i32.add (i32.const 1)
          (i32.shr_u (i32.sub (global.get $next) (i32.shl (memory.size) (i32.const 16))) (i32.const 16)))))))
      (local.get $at))

    ;; The result is described at 16; the text it may point to is at 64.
    (data (i32.const 64) "nothing to do")
    (data (i32.const 96) "\ff\fe")

    (func (export "echo") (param $at i32) (param $length i32) (result i32)
      (i32.store (i32.const 16) (local.get $at))
      (i32.store (i32.const 20) (local.get $length))
      (i32.const 16))

    ;; An allocator's free list overwrites what it is given.
    (func (export "echo-post") (param i32)
      (memory.fill (i32.load (i32.const 16)) (i32.const 0x2a) (i32.load (i32.const 20))))

    (func (export "second") (param i32 i32) (param $at i32) (param $length i32) (result i32)
      (i32.store (i32.const 16) (local.get $at))
      (i32.store (i32.const 20) (local.get $length))
      (i32.const 16))

    (func (export "checked") (param $at i32) (param $length i32) (result i32)
      (i32.store8 (i32.const 16) (i32.eqz (local.get $length)))
      (i32.store (i32.const 20) (select (local.get $at) (i32.const 64) (local.get $length)))
      (i32.store (i32.const 24) (select (local.get $length) (i32.const 13) (local.get $length)))
      (i32.const 16))

    (func (export "shift") (param $x i32) (param $y i32) (param $some i32) (param $at i32) (param $length i32)
      (result i32)
      (i32.store (i32.const 16) (i32.add (local.get $x) (i32.const 1)))
      (i32.store8 (i32.const 20) (local.get $y))
      (i32.store8 (i32.const 24) (local.get $some))
      (i32.store (i32.const 28) (local.get $at))
      (i32.store (i32.const 32) (local.get $length))
      (i32.const 16))

    (func (export "divide") (param $a i32) (param $b i32) (result i32)
      (i32.store8 (i32.const 16) (i32.eqz (local.get $b)))
      (if (local.get $b)
        (then (i32.store (i32.const 20) (i32.div_u (local.get $a) (local.get $b))))
        (else (i32.store (i32.const 20) (local.get $a))))
      (i32.const 16))

    (func (export "sum") (param $at i32) (param $length i32) (result f64)
      (local $total f64)
      (loop $next
        (if (local.get $length)
          (then
            (local.set $total (f64.add (local.get $total) (f64.load (local.get $at))))
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (local.set $length (i32.sub (local.get $length) (i32.const 1)))
            (br $next))))
      (local.get $total))

    (func (export "count") (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (global.get $calls))

    (func (export "outside") (result i32)
      (i32.store (i32.const 16) (i32.const 0x7fff0000))
      (i32.store (i32.const 20) (i32.const 10))
      (i32.const 16))

    (func (export "not-text") (param i32 i32) (result i32)
      (i32.store (i32.const 16) (i32.const 96))
      (i32.store (i32.const 20) (i32.const 2))
      (i32.const 16))

    (func (export "big") (param $length i32) (result i32)
      (drop (memory.grow (i32.const 16)))
      (i32.store (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (local.get $length))
      (i32.const 16))

    (func (export "crash") (unreachable))
    (func (export "spin") (loop $again (br $again))))

  (core instance $i (instantiate $m))
  (alias core export $i "memory" (core memory $memory))
  (alias core export $i "realloc" (core func $realloc))

  (type $point-shape (record (field "x" s32) (field "y" u8) (field "label" (option string))))
  (export $point "point" (type $point-shape))

  (func (export "echo-bytes") (param "item" (list u8)) (result (list u8))
    (canon lift (core func $i "echo") (memory $memory) (realloc $realloc) (post-return (core func $i "echo-post"))))
  (func (export "echo-text") (param "item" string) (result string)
    (canon lift (core func $i "echo") (memory $memory) (realloc $realloc) (post-return (core func $i "echo-post"))))
  (func (export "to-bytes") (param "item" string) (result (list u8))
    (canon lift (core func $i "echo") (memory $memory) (realloc $realloc)))
  (func (export "echo-floats") (param "item" (list f64)) (result (list f64))
    (canon lift (core func $i "echo") (memory $memory) (realloc $realloc) (post-return (core func $i "echo-post"))))
  (func (export "echo-shorts") (param "item" (list s16)) (result (list s16))
    (canon lift (core func $i "echo") (memory $memory) (realloc $realloc)))
  (func (export "second") (param "text" string) (param "numbers" (list u64)) (result (list u64))
    (canon lift (core func $i "second") (memory $memory) (realloc $realloc)))
  (func (export "checked-numbers") (param "item" (list u32)) (result (result (list u32) (error string)))
    (canon lift (core func $i "checked") (memory $memory) (realloc $realloc)))
  (func (export "checked-bytes") (param "item" (list u8)) (result (result (list u8) (error string)))
    (canon lift (core func $i "checked") (memory $memory) (realloc $realloc)))
  (func (export "checked-text") (param "item" string) (result (result string (error string)))
    (canon lift (core func $i "checked") (memory $memory) (realloc $realloc)))
  (func (export "shift") (param "point" $point) (result $point)
    (canon lift (core func $i "shift") (memory $memory) (realloc $realloc)))
  (func (export "divide") (param "a" u32) (param "b" u32) (result (result u32 (error u32)))
    (canon lift (core func $i "divide") (memory $memory) (realloc $realloc)))
  (func (export "sum") (param "numbers" (list f64)) (result f64)
    (canon lift (core func $i "sum") (memory $memory) (realloc $realloc)))
  (func (export "count") (result u32) (canon lift (core func $i "count")))
  (func (export "outside") (result (list u8))
    (canon lift (core func $i "outside") (memory $memory) (realloc $realloc)))
  (func (export "not-text") (param "item" string) (result string)
    (canon lift (core func $i "not-text") (memory $memory) (realloc $realloc)))
  (func (export "big") (param "length" u32) (result (list bool))
    (canon lift (core func $i "big") (memory $memory) (realloc $realloc)))
  (func (export "crash") (canon lift (core func $i "crash")))
  (func (export "spin") (canon lift (core func $i "spin")))

  (component $facade
    (import "echo" (func $echo (param "item" string) (result string)))
    (export "echo" (func $echo)))
  (instance $text (instantiate $facade (with "echo" (func 1))))
  (export "demo:text/echo@1.0.0" (instance $text)))
