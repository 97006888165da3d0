//! One behaviour, every way of calling a guest: the same suite is run over a
//! core function, a byte function, a command and a component.

use std::time::Duration;

use wpool::limits::{Isolation, MIB};
use wpool::outcome::{Kind, Outcome};
use wpool::pool::{Chunksize, MapOptions};
use wpool::wire::message::{Abi, TaskSpec};

use crate::support::{item, pool, spec, work};

/// What every guest does with its number: 1 loops, 2 recurses, 3 takes memory
/// until there is none, 4 traps, 5 divides by zero; 6 counts its calls in
/// memory; anything else gives the number plus one.
const ACT: &str = r#"
    (func $act (param $order i32) (result i32)
      (if (i32.eq (local.get $order) (i32.const 1)) (then (loop $again (br $again))))
      (if (i32.eq (local.get $order) (i32.const 2)) (then (return (call $deep (local.get $order)))))
      (if (i32.eq (local.get $order) (i32.const 3))
        (then (loop $more (br_if $more (i32.ge_s (memory.grow (i32.const 64)) (i32.const 0)))) unreachable))
      (if (i32.eq (local.get $order) (i32.const 4)) (then unreachable))
      (if (i32.eq (local.get $order) (i32.const 5)) (then (drop (i32.div_u (i32.const 1) (i32.const 0)))))
      (if (i32.eq (local.get $order) (i32.const 6))
        (then
          (i32.store (i32.const 512) (i32.add (i32.load (i32.const 512)) (i32.const 1)))
          (return (i32.load (i32.const 512)))))
      (i32.add (local.get $order) (i32.const 1)))
    (func $deep (param $depth i32) (result i32)
      (i32.add (call $deep (i32.add (local.get $depth) (i32.const 1))) (i32.const 1)))"#;

fn core() -> String {
    format!(
        r#"(module (memory 1) {ACT}
        (func (export "run") (param i32) (result i32) (call $act (local.get 0))))"#
    )
}

fn bytes() -> String {
    format!(
        r#"(module (memory (export "memory") 1) {ACT}
        (func (export "alloc") (param i32) (result i32) (i32.const 1024))
        (func (export "run") (param $at i32) (param $length i32) (result i64)
          (i32.store8 (i32.const 0)
            (i32.add (call $act (i32.sub (i32.load8_u (local.get $at)) (i32.const 48))) (i32.const 48)))
          (i64.const 1)))"#
    )
}

fn command() -> String {
    format!(
        r#"(module
        (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1) {ACT}
        (func (export "_start")
          (i32.store (i32.const 16) (i32.const 0))
          (i32.store (i32.const 20) (i32.const 1))
          (drop (call $read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24)))
          (i32.store8 (i32.const 0)
            (i32.add (call $act (i32.sub (i32.load8_u (i32.const 0)) (i32.const 48))) (i32.const 48)))
          (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))))"#
    )
}

fn component() -> String {
    format!(
        r#"(component
        (core module $code (memory 1) {ACT}
          (func (export "run") (param i32) (result i32) (call $act (local.get 0))))
        (core instance $core (instantiate $code))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $core "run"))))"#
    )
}

/// The value as text, whatever JSON the way of calling makes of it.
fn value(outcome: &Outcome) -> String {
    let value = outcome.result.as_ref().unwrap_or_else(|failure| panic!("{failure:?}"));
    String::from_utf8_lossy(&value.bytes).trim_matches('"').to_owned()
}

fn run(wat: &str, spec: TaskSpec, orders: &[u32], processes: usize, options: MapOptions) -> Vec<Outcome> {
    let pool = pool(processes, work(wat, spec));
    let items: Vec<_> = orders.iter().zip(0..).map(|(order, index)| item(index, order.to_string())).collect();
    pool.outcomes(items, options).expect("job").collect()
}

/// Orders `[0, order, 7]`: the middle one fails with `kind`, its neighbours do
/// not notice.
fn fails_alone(wat: &str, spec: &TaskSpec, order: u32, kind: Kind, flag: Option<&str>) {
    let outcomes = run(wat, spec.clone(), &[0, order, 7], 1, MapOptions::default());
    assert_eq!((value(&outcomes[0]), value(&outcomes[2])), ("1".to_owned(), "8".to_owned()));
    let failure = outcomes[1].result.as_ref().expect_err("fails");
    assert_eq!(failure.kind, kind, "{failure:?}");
    let limit = failure.detail.limit.as_ref().map(|limit| limit.flag.as_str());
    assert_eq!(limit, flag, "{failure:?}");
    if let Some(flag) = flag {
        assert!(failure.message.contains(flag), "{}", failure.message);
    }
}

macro_rules! every_abi {
    ($($name:ident: $abi:expr, $function:literal;)*) => {$(
        mod $name {
            use super::*;

            fn spec() -> TaskSpec {
                let mut spec = super::spec($abi, $function);
                spec.limits.memory = 64 * MIB;
                spec.limits.timeout = Some(Duration::from_millis(1500));
                spec
            }

            #[test]
            fn output_is_the_same_for_any_number_of_workers_and_chunksize() {
                let orders: Vec<u32> = (0..300).map(|n| [0, 7, 8][n % 3]).collect();
                let expected: Vec<String> = orders.iter().map(|order| (order + 1).to_string()).collect();
                for processes in [1, 4] {
                    for chunk in [Some(1), Some(3), None] {
                        let chunksize = chunk
                            .and_then(std::num::NonZero::new)
                            .map_or(Chunksize::Auto, Chunksize::Fixed);
                        let options = MapOptions { chunksize, ..MapOptions::default() };
                        let values: Vec<String> =
                            run(&super::$name(), spec(), &orders, processes, options).iter().map(value).collect();
                        assert_eq!(values, expected);
                    }
                }
            }

            #[test]
            fn an_endless_loop_is_a_timeout() {
                fails_alone(&super::$name(), &spec(), 1, Kind::Timeout, Some("--timeout"));
            }

            #[test]
            fn an_endless_loop_is_trapped_where_asked() {
                let mut spec = spec();
                spec.limits.timeout_mode = wpool::limits::TimeoutMode::Trap;
                spec.limits.timeout = Some(Duration::from_millis(300));
                fails_alone(&super::$name(), &spec, 1, Kind::Timeout, Some("--timeout"));
            }

            #[test]
            fn fuel_ends_a_loop() {
                let mut spec = spec();
                spec.limits.fuel = Some(100_000);
                fails_alone(&super::$name(), &spec, 1, Kind::OutOfFuel, Some("--fuel"));
            }

            #[test]
            fn endless_recursion_is_a_stack_overflow() {
                fails_alone(&super::$name(), &spec(), 2, Kind::StackOverflow, Some("--stack"));
            }

            #[test]
            fn a_memory_bomb_is_out_of_memory() {
                fails_alone(&super::$name(), &spec(), 3, Kind::OutOfMemory, Some("--memory"));
            }

            #[test]
            fn traps_keep_their_code() {
                for (order, code) in [(4, "unreachable"), (5, "divide-by-zero")] {
                    fails_alone(&super::$name(), &spec(), order, Kind::Trap, None);
                    let outcomes = run(&super::$name(), spec(), &[order], 1, MapOptions::default());
                    let failure = outcomes[0].result.as_ref().expect_err("traps");
                    assert_eq!(failure.detail.trap.as_deref(), Some(code));
                    assert!(!failure.detail.frames.is_empty());
                }
            }

            #[test]
            fn nothing_survives_a_fresh_task() {
                let outcomes = run(&super::$name(), spec(), &[6, 6, 6], 1, MapOptions::default());
                assert_eq!(outcomes.iter().map(value).collect::<Vec<_>>(), ["1", "1", "1"]);
            }

            #[test]
            fn a_reused_instance_keeps_its_state_until_it_fails() {
                let mut spec = spec();
                spec.isolation = Isolation::Reuse;
                let outcomes = run(&super::$name(), spec, &[6, 6, 4, 6], 1, MapOptions::default());
                let kept = if $abi == Abi::Command { "1" } else { "2" };
                assert_eq!(value(&outcomes[1]), kept, "a command starts anew");
                assert_eq!(outcomes[2].kind(), Kind::Trap);
                assert_eq!(value(&outcomes[3]), "1");
            }
        }
    )*};
}

every_abi! {
    core: Abi::Core, "run";
    bytes: Abi::Bytes, "run";
    command: Abi::Command, "_start";
    component: Abi::Component, "run";
}
