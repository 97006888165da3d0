//! Many threads, while workers are killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use wpool::{AsyncResult, CallError, Kind, Pool};

use super::pool;

/// Kills a worker every few milliseconds until it is dropped.
struct Killer {
    stop: Arc<AtomicBool>,
    kills: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Killer {
    fn of(pool: &Pool) -> Self {
        let (stop, kills) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (pool, stopped, killed) = (pool.clone(), Arc::clone(&stop), Arc::clone(&kills));
        let thread = std::thread::spawn(move || {
            for turn in 0.. {
                let pids = pool.worker_pids();
                if let Some(pid) = pids.get(turn % pids.len().max(1)).copied().and_then(Pid::from_raw) {
                    killed.fetch_add(u64::from(kill_process(pid, Signal::KILL).is_ok()), Ordering::Relaxed);
                }
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self { stop, kills, thread: Some(thread) }
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("one thread").join().expect("killer");
    }
}

/// A value that is right, or the item of a worker that was killed twice.
fn lost(result: Result<u64, CallError>, expected: u64) -> u64 {
    match result {
        Ok(value) => {
            assert_eq!(value, expected);
            0
        }
        Err(error) => {
            assert_eq!(error.kind(), Some(Kind::WorkerCrashed), "{error}");
            assert_eq!(error.task().map(|task| task.attempts), Some(2), "{error}");
            1
        }
    }
}

#[test]
fn eight_threads_have_every_result_once_while_workers_are_killed() {
    const THREADS: u64 = 8;
    const CALLS: u64 = 1_000;
    let pool = pool(2);
    let killer = Killer::of(&pool);
    let heard = Arc::new(AtomicU64::new(0));
    let lost: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (pool, heard) = (&pool, &heard);
                scope.spawn(move || {
                    let calls: Vec<AsyncResult<u64>> = (0..CALLS)
                        .map(|n| {
                            let (value, error) = (Arc::clone(heard), Arc::clone(heard));
                            let call = pool.apply_async("add", (thread * CALLS, n)).expect("call");
                            call.callback(move |_| {
                                value.fetch_add(1, Ordering::Relaxed);
                            })
                            .error_callback(move |_| {
                                error.fetch_add(1, Ordering::Relaxed);
                            })
                        })
                        .collect();
                    (0..).zip(calls).map(|(n, call)| lost(call.get(), thread * CALLS + n)).sum::<u64>()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("thread")).sum()
    });
    let kills = Arc::clone(&killer.kills);
    drop(killer);
    pool.close();
    pool.join().expect("closed");
    assert_eq!(heard.load(Ordering::Relaxed), THREADS * CALLS, "every result once, by callbacks too");
    assert!(kills.load(Ordering::Relaxed) > 3, "the test must kill");
    assert!(lost * 2 <= kills.load(Ordering::Relaxed), "{lost} lost");
}

#[test]
fn maps_streams_and_calls_survive_kills_side_by_side() {
    let pool = pool(2);
    let killer = Killer::of(&pool);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (n, square) in (0..).zip(pool.imap::<u64, _>("square", 0..3_000_u64).expect("call")) {
                lost(square, n * n);
            }
        });
        scope.spawn(|| {
            for (n, outcome) in (0..).zip(pool.outcomes("square", 0..30_000_u64).expect("call")) {
                assert_eq!(outcome.index, n);
                assert!(matches!(outcome.kind(), Kind::Ok | Kind::WorkerCrashed), "{outcome:?}");
            }
        });
        scope.spawn(|| {
            for n in 0..300 {
                lost(pool.apply("square", n), n * n);
            }
        });
    });
    drop(killer);
    assert_eq!(pool.map::<u64, _>("square", 0..1_000_u64).expect("all is well").len(), 1_000);
}
