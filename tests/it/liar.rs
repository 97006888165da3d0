//! A worker that stalls, dies or lies at chosen points: the item is accounted
//! for, the others are right, the pool goes on.

use std::time::{Duration, Instant};

use wpool::capabilities::{Access, DirGrant};
use wpool::outcome::{Kind, Outcome};
use wpool::pool::{MapOptions, Pool, PoolOptions};
use wpool::wire::message::{Abi, TaskSpec};

use crate::support::{binary, item, options, spec, work};

const ANY: &str = r#"(module (func (export "run")))"#;

/// Options for workers that lie.
fn liars(processes: usize) -> PoolOptions {
    let worker = binary().parent().expect("folder").join("examples/mock-worker");
    assert!(worker.exists(), "cargo test builds the examples");
    PoolOptions { worker, ..options(processes) }
}

fn run_with(spec: TaskSpec, orders: &[&str]) -> (Vec<Outcome>, Pool) {
    let pool = Pool::start(work(ANY, spec), liars(1)).expect("pool");
    let items: Vec<_> =
        orders.iter().enumerate().map(|(index, order)| item(index as u64, format!("\"{order}\""))).collect();
    let outcomes = pool.outcomes(items, MapOptions::default()).expect("job").collect();
    (outcomes, pool)
}

fn run(orders: &[&str]) -> Vec<Outcome> {
    let mut spec = spec(Abi::Core, "run");
    spec.limits.timeout = Some(Duration::from_millis(400));
    run_with(spec, orders).0
}

/// The liar's item has `kind`; those before and after it are right.
#[track_caller]
fn costs_only_itself(order: &str, kind: Kind, reason: Option<&str>) {
    let outcomes = run(&["before", order, "after", "and after"]);
    assert_eq!(outcomes.len(), 4);
    for (index, name) in [(0, "before"), (2, "after"), (3, "and after")] {
        let value = outcomes[index].result.as_ref().unwrap_or_else(|failure| panic!("{order}: {failure:?}"));
        assert_eq!(value.bytes, format!("\"{name}\""));
    }
    let failure = outcomes[1].result.as_ref().expect_err(order);
    assert_eq!(failure.kind, kind, "{order}: {failure:?}");
    assert_eq!(failure.detail.reason.as_deref(), reason, "{order}");
}

#[test]
fn a_worker_that_dies_twice_costs_its_item() {
    costs_only_itself("die", Kind::WorkerCrashed, None);
    costs_only_itself("exit", Kind::WorkerCrashed, None);
}

#[test]
fn an_item_whose_worker_dies_once_runs_again() {
    let outcomes = run(&["a", "die-first", "b"]);
    assert!(outcomes.iter().all(|outcome| outcome.kind() == Kind::Ok));
    assert_eq!(outcomes[1].attempts, 2);
    assert_eq!(outcomes[0].attempts, 1);
}

#[test]
fn a_crash_names_its_signal() {
    let outcomes = run(&["die"]);
    let failure = outcomes[0].result.as_ref().expect_err("dies");
    assert_eq!(failure.detail.signal, Some(6));
}

#[test]
fn protocol_lies_are_crashes() {
    for order in ["wrong-ticket", "huge-frame", "short-report", "ok-failure", "hello-again", "unasked-return"] {
        costs_only_itself(order, Kind::WorkerCrashed, Some("protocol"));
    }
}

#[test]
fn stalls_are_timeouts() {
    for order in ["hang", "stopped", "half-frame", "one-byte-a-second", "hidden-trickle", "junk"] {
        let started = Instant::now();
        let outcomes = run(&["before", order, "after"]);
        assert_eq!(outcomes[0].kind(), Kind::Ok);
        assert_eq!(outcomes[2].kind(), Kind::Ok, "{order}");
        assert!(matches!(outcomes[1].kind(), Kind::Timeout | Kind::WorkerCrashed), "{order}: {:?}", outcomes[1]);
        assert!(started.elapsed() < Duration::from_secs(10), "{order}");
    }
}

#[test]
fn a_second_report_for_an_item_changes_nothing() {
    let outcomes = run(&["before", "twice", "after"]);
    assert_eq!(outcomes.len(), 3);
    assert_eq!(outcomes[1].result.as_ref().expect("the first counts").bytes, "1");
    assert_eq!(outcomes[2].result.as_ref().expect("ok").bytes, "\"after\"");
}

#[test]
fn frames_of_an_unknown_kind_are_skipped() {
    let outcomes = run(&["unknown-kind"]);
    assert_eq!(outcomes[0].result.as_ref().expect("ok").bytes, "\"after an unknown frame\"");
}

#[test]
fn forged_times_are_clamped() {
    for (order, most) in [("forged-time", 60), ("forged-values", 4)] {
        let outcomes = run(&[order]);
        assert_eq!(outcomes[0].kind(), Kind::Ok, "{order}");
        assert!(outcomes[0].usage.wall < Duration::from_secs(most), "{order}: {:?}", outcomes[0].usage);
        assert!(outcomes[0].started <= Some(std::time::SystemTime::now()), "{order}: {:?}", outcomes[0].started);
    }
}

#[test]
fn what_may_have_written_is_not_run_again() {
    let mut spec = spec(Abi::Core, "run");
    spec.capabilities.dirs.push(DirGrant { host: "/tmp".into(), guest: "/tmp".to_owned(), access: Access::ReadWrite });
    let (outcomes, _pool) = run_with(spec, &["before", "die-first", "after"]);
    let failure = outcomes[1].result.as_ref().expect_err("not repeated");
    assert_eq!(failure.detail.reason.as_deref(), Some("maybe-ran"));
    assert_eq!(outcomes[1].attempts, 1);
    assert_eq!(outcomes[2].kind(), Kind::Ok);
}

#[test]
fn workers_that_die_before_their_items_break_the_pool() {
    let (outcomes, pool) = run_with(spec(Abi::Core, "run"), &["idle-death", "idle-death", "idle-death"]);
    // The first may have been to blame; after that it is the workers.
    let kinds = [Kind::WorkerCrashed, Kind::Cancelled, Kind::Cancelled];
    assert!(outcomes.iter().map(Outcome::kind).eq(kinds), "{outcomes:?}");
    assert!(outcomes[0].result.as_ref().is_err_and(|failure| failure.message.contains("4 times")), "{outcomes:?}");
    assert_eq!(pool.wait_ready().expect_err("broken").exit_code(), 4);
}

#[test]
fn a_worker_of_another_version_is_refused() {
    let pool = Pool::start(work(ANY, spec(Abi::Core, "other-version")), liars(1)).expect("pool");
    let error = pool.wait_ready().expect_err("refused");
    assert!(error.to_string().contains("protocol"), "{error}");
}

#[test]
fn a_worker_that_dies_at_its_start_is_quoted() {
    let pool = Pool::start(work(ANY, spec(Abi::Core, "silent-start")), liars(1)).expect("pool");
    let error = pool.wait_ready().expect_err("broken");
    assert!(error.to_string().contains("these are my last words"), "{error}");
}

#[test]
fn a_forbidden_system_call_is_not_tried_again() {
    costs_only_itself("forbidden", Kind::WorkerCrashed, Some("sandbox-violation"));
    assert_eq!(run(&["forbidden"])[0].attempts, 1);
}

#[test]
fn items_that_all_kill_their_workers_are_all_named() {
    let orders = ["die"; 12];
    let outcomes = run(&orders);
    assert!(outcomes.iter().all(|outcome| outcome.kind() == Kind::WorkerCrashed), "{outcomes:?}");
}
