//! The threads that a run worker needs beside the one that runs guests: the
//! runtime that WASI waits on, and the ticker behind `--timeout-mode trap`.
//!
//! They are started together at one point of the lock-down, and each has
//! reported in before [`start`] returns: a thread that is still being set up
//! when system calls are taken away would kill the worker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, EnterGuard, Runtime};
use wasmtime::Engine;

use crate::limits::{Limits, TimeoutMode};
use crate::wire::message::Refusal;

/// Longest step of the ticker: how late a task can be trapped.
const MAX_TICK: Duration = Duration::from_millis(10);
/// Shortest step of the ticker.
const MIN_TICK: Duration = Duration::from_millis(1);
/// Steps that a timeout is cut into, where that is within the bounds.
const TICKS: u32 = 50;
/// Most steps made up for at once, where the ticker comes late: a busy machine
/// is not to prolong a timeout, and one that was suspended not to cut it.
const MAX_STEPS: u32 = 10;

/// Running threads; they end with this value, on the thread that made it.
pub struct Threads {
    _entered: Option<EnterGuard<'static>>,
    _ticker: Option<Ticker>,
}

/// What has to run.
pub struct Wanted<'a> {
    /// Guests may wait in WASI calls.
    pub wasi: bool,
    /// The engine whose epoch is to advance, and the timeout it serves.
    pub epochs: Option<(&'a Engine, Duration)>,
}

/// Starts what is wanted, for guests that run on the calling thread.
///
/// # Errors
/// When the system gives no threads.
pub fn start(wanted: &Wanted<'_>) -> Result<Threads, Refusal> {
    let refused = |error: std::io::Error| Refusal::denied("cannot start the worker's threads", &error);
    let entered = if wanted.wasi { Some(runtime().map_err(refused)?.enter()) } else { None };
    let ticker = match wanted.epochs {
        Some((engine, timeout)) => Some(Ticker::start(engine, tick(timeout)).map_err(refused)?),
        None => None,
    };
    Ok(Threads { _entered: entered, _ticker: ticker })
}

/// One worker thread and one thread for blocking calls, both there for good.
/// The runtime lives as long as the process: the entered thread refers to it.
fn runtime() -> std::io::Result<&'static Runtime> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .thread_keep_alive(Duration::from_secs(u64::from(u32::MAX)))
        .thread_name("wpool-wasi")
        .enable_all()
        .build()?;
    let worker = runtime.spawn(async {});
    let blocking = runtime.spawn_blocking(|| {});
    runtime.block_on(async { worker.await.and(blocking.await) }).map_err(std::io::Error::other)?;
    Ok(Box::leak(Box::new(runtime)))
}

/// The timeout that epochs serve: under `--timeout-mode trap` only.
#[must_use]
pub fn epoch_timeout(limits: &Limits) -> Option<Duration> {
    limits.timeout.filter(|_| limits.timeout_mode == TimeoutMode::Trap)
}

/// The ticker's step for tasks with this timeout.
#[must_use]
pub fn tick(timeout: Duration) -> Duration {
    (timeout / TICKS).clamp(MIN_TICK, MAX_TICK)
}

/// Steps after which a task with this timeout is over time: one more than fit,
/// because the task starts within a step.
#[must_use]
pub fn ticks(timeout: Duration) -> u64 {
    let step = tick(timeout).as_nanos();
    u64::try_from(timeout.as_nanos().div_ceil(step)).unwrap_or(u64::MAX - 1).saturating_add(1)
}

/// Steps to make now, where the last one was due at `since`; and when the last
/// of these was due.
fn steps(since: Instant, now: Instant, step: Duration) -> (u32, Instant) {
    let late = now.saturating_duration_since(since);
    match u32::try_from(late.as_nanos() / step.as_nanos().max(1)) {
        Ok(steps @ 0..=MAX_STEPS) => (steps, since + step * steps),
        _ => (MAX_STEPS, now),
    }
}

/// Advances an engine's epoch at even steps.
struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: &Engine, step: Duration) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, reported) = mpsc::sync_channel(1);
        let ending = Arc::clone(&stop);
        let engine = engine.clone();
        let body = move || {
            // Nobody listens only when `start` has failed.
            let _ = ready.send(());
            let mut since = Instant::now();
            while !ending.load(Ordering::Relaxed) {
                std::thread::sleep(step);
                let (steps, next) = steps(since, Instant::now(), step);
                since = next;
                (0..steps).for_each(|_| engine.increment_epoch());
            }
        };
        let thread = std::thread::Builder::new().name("wpool-ticker".to_owned()).spawn(body)?;
        reported.recv().map_err(std::io::Error::other)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // The ticker cannot panic; if it did, it has stopped as well.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_ticker_makes_up_for_some_steps() {
        let (start, step) = (Instant::now(), Duration::from_millis(10));
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(steps(start, at(9), step), (0, start));
        assert_eq!(steps(start, at(11), step), (1, at(10)));
        assert_eq!(steps(at(10), at(45), step), (3, at(40)));
        assert_eq!(steps(start, at(60_000), step), (MAX_STEPS, at(60_000)));
        assert_eq!(steps(at(10), start, step), (0, at(10)));
    }
}
