//! `initializer` and `initargs` through the library.

use wpool::limits::Isolation;
use wpool::outcome::Kind;
use wpool::{CallError, Capabilities, Error};

use super::{builder, fixture};

/// Appends a byte to a file that must not be there, in the first directory.
const ONCE: &str = r#"(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "mark")
  (func (export "init")
    (if (call $path_open (i32.const 3) (i32.const 0) (i32.const 512) (i32.const 4)
          (i32.const 5) (i64.const 64) (i64.const 0) (i32.const 1) (i32.const 32))
      (then unreachable))
    (drop (call $fd_close (i32.load (i32.const 32)))))
  (func (export "run") (param i64) (result i64) (local.get 0)))"#;

#[test]
fn an_initializer_with_arguments_is_seen_by_every_task_of_every_worker() {
    for isolation in [Isolation::Fresh, Isolation::Reuse, Isolation::Process] {
        let pool = builder(&fixture("initializer.wat"))
            .processes(2)
            .isolation(isolation)
            .initializer("init", 50)
            .max_tasks_per_child(5)
            .build()
            .expect("pool");
        let expected: Vec<i64> = (0..30).map(|n| n + 100).collect();
        assert_eq!(pool.map::<i64, _>("run", 0..30).expect("values"), expected, "{isolation:?}");
        assert!(pool.stats().workers_recycled >= 4, "{isolation:?}: workers change after items, not chunks");
    }
}

#[test]
fn arguments_are_those_of_apply() {
    let pair = r#"(module (global $left (mut i64) (i64.const 0))
        (func (export "pair") (param i64 i64) (global.set $left (i64.sub (local.get 0) (local.get 1))))
        (func (export "none") (global.set $left (i64.const 9)))
        (func (export "run") (param i64) (result i64) (i64.add (local.get 0) (global.get $left))))"#;
    let sum =
        |pool: wpool::PoolBuilder| pool.processes(1).build().expect("pool").apply::<i64>("run", 1).expect("a value");
    assert_eq!(sum(builder(pair).initializer("pair", (50, 8))), 43);
    assert_eq!(sum(builder(pair).initializer("pair", serde_json::json!({"1": 8, "0": 50}))), 43);
    assert_eq!(sum(builder(pair).initializer("none", ())), 10);
    let error = builder(pair).initializer("pair", (1, "two")).build().expect_err("no number");
    assert!(matches!(&error, Error::Module(text) if text.contains("$[1]: ")), "{error}");
    let error = builder(pair).initializer("pare", (1, 2)).build().expect_err("no such function");
    assert!(matches!(&error, Error::Module(text) if text.contains("did you mean `pair`?")), "{error}");
}

#[test]
fn a_failing_initializer_is_the_error_of_build() {
    for isolation in [Isolation::Fresh, Isolation::Reuse, Isolation::Process] {
        let failing = builder(&fixture("initializer.wat")).isolation(isolation).initializer("init-trap", ());
        let error = failing.processes(3).build().expect_err("it traps");
        assert_eq!(error.exit_code(), 3);
        let Error::Initializer(failed) = error else { panic!("{isolation:?}: {error}") };
        assert_eq!((failed.kind, failed.function.as_str()), (Kind::Trap, "init-trap"), "{isolation:?}");
        assert_eq!(failed.detail.trap.as_deref(), Some("unreachable"));
    }
}

#[test]
fn a_later_worker_whose_initializer_fails_ends_the_pool() {
    let folder = tempfile::tempdir().expect("a folder");
    let grant = wpool::capabilities::DirGrant {
        host: std::fs::canonicalize(folder.path()).expect("a path"),
        guest: "/dir".to_owned(),
        access: wpool::capabilities::Access::ReadWrite,
    };
    let pool = builder(ONCE)
        .processes(1)
        .isolation(Isolation::Reuse)
        .max_tasks_per_child(2)
        .capabilities(Capabilities { dirs: vec![grant], ..Capabilities::none() })
        .initializer("init", ())
        .build()
        .expect("the first worker is made ready");
    assert_eq!(pool.map::<i64, _>("run", [1, 2]).expect("its share"), [1, 2]);
    match pool.map::<i64, _>("run", [3]) {
        Err(CallError::Pool(error)) => assert!(matches!(&*error, Error::Initializer(_)), "{error}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(pool.stats().workers_started, 1, "and no other is tried");
    assert!(matches!(pool.apply::<i64>("run", 1), Err(CallError::Pool(_) | CallError::Closed)));
}
