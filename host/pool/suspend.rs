//! A run that is suspended, as by Ctrl-Z: its workers stand still with it, and
//! so do its clocks, so that no item is late because its user took a break.
//!
//! For the process as a whole, as job control is. Workers have sessions of
//! their own, so the terminal's signals do not reach them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};

static CLOCK: Clock = Clock::new();

static WORKERS: Mutex<Workers> = Mutex::new(Workers { ready: BTreeSet::new(), suspended: false });

/// Processes that are ours to stop: locked in, and not reaped yet.
#[derive(Debug)]
struct Workers {
    ready: BTreeSet<i32>,
    suspended: bool,
}

/// The time since some moment, without that of suspensions.
#[must_use]
pub fn now() -> Duration {
    Duration::from_nanos(now_ns())
}

/// The same in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    CLOCK.now_ns()
}

/// A stamp of a worker, which counts suspensions, on the clock of [`now_ns`].
/// One from before a suspension comes out too early.
pub(crate) fn of_worker(stamp: u64) -> u64 {
    stamp.saturating_sub(CLOCK.skipped.load(Ordering::Acquire))
}

/// Stops all workers, then the clock. Those that come to be ready while it
/// lasts are stopped as well.
pub fn suspend() {
    let mut workers = workers();
    workers.suspended = true;
    workers.send(Signal::STOP);
    CLOCK.freeze();
}

/// Lets clock and workers go on.
pub fn resume() {
    let mut workers = workers();
    CLOCK.thaw();
    workers.suspended = false;
    workers.send(Signal::CONT);
}

/// A worker has locked itself in: from here on it dies with its host even when
/// it stands still, and may be stopped.
pub(super) fn ready(pid: Pid) {
    let mut workers = workers();
    workers.ready.insert(pid.as_raw_nonzero().get());
    if workers.suspended {
        let _gone = kill_process(pid, Signal::STOP);
    }
}

/// A worker is about to be reaped: its id may be another's from then on.
pub(super) fn ending(pid: Pid) {
    workers().ready.remove(&pid.as_raw_nonzero().get());
}

fn workers() -> MutexGuard<'static, Workers> {
    WORKERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Workers {
    fn send(&self, signal: Signal) {
        for pid in self.ready.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            // The only error is that it is gone.
            let _gone = kill_process(pid, signal);
        }
    }
}

/// The monotonic clock without the time in which it was frozen.
#[derive(Debug)]
struct Clock {
    /// What it shows while it stands; 0 while it goes.
    frozen: AtomicU64,
    /// All time in which it was frozen.
    skipped: AtomicU64,
}

impl Clock {
    const fn new() -> Self {
        Self { frozen: AtomicU64::new(0), skipped: AtomicU64::new(0) }
    }

    fn now_ns(&self) -> u64 {
        let state = || (self.frozen.load(Ordering::SeqCst), self.skipped.load(Ordering::SeqCst));
        let mut before = state();
        loop {
            let (frozen, skipped) = before;
            // Nothing else counts while it stands: `thaw` takes two steps.
            let time = if frozen == 0 { monotonic_ns().saturating_sub(skipped) } else { frozen };
            // A thread may be stopped between any two of these reads.
            let after = state();
            if after == before {
                return time;
            }
            before = after;
        }
    }

    fn freeze(&self) {
        if self.frozen.load(Ordering::SeqCst) == 0 {
            self.frozen.store(self.now_ns(), Ordering::SeqCst);
        }
    }

    fn thaw(&self) {
        let frozen = self.frozen.load(Ordering::SeqCst);
        if frozen != 0 {
            self.skipped.store(monotonic_ns().saturating_sub(frozen), Ordering::SeqCst);
            self.frozen.store(0, Ordering::SeqCst);
        }
    }
}

fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn a_frozen_clock_stands_and_goes_on_from_there() {
        let clock = Clock::new();
        assert!(clock.now_ns() > 0);
        clock.freeze();
        let stood = clock.now_ns();
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(clock.now_ns(), stood);
        let thawed = monotonic_ns();
        clock.thaw();
        let gone = clock.now_ns();
        assert!(gone >= stood && gone - stood <= monotonic_ns() - thawed, "{stood} {gone}");
        clock.thaw();
        assert!(clock.now_ns() >= gone, "going, it cannot be thawed");
    }

    #[test]
    fn it_never_shows_a_suspension_to_threads_that_read_it_meanwhile() {
        let (clock, over) = (Clock::new(), AtomicBool::new(false));
        let began = monotonic_ns();
        let longest = std::thread::scope(|scope| {
            let read = || {
                let (mut last, mut longest) = (clock.now_ns(), 0);
                while !over.load(Ordering::SeqCst) {
                    let now = clock.now_ns();
                    longest = longest.max(now.abs_diff(last));
                    last = now;
                }
                longest
            };
            let readers = [scope.spawn(read), scope.spawn(read)];
            for _ in 0..5 {
                clock.freeze();
                std::thread::sleep(Duration::from_millis(50));
                clock.thaw();
            }
            over.store(true, Ordering::SeqCst);
            readers.map(|reader| reader.join().unwrap())
        });
        let frozen = clock.skipped.load(Ordering::SeqCst);
        assert!(frozen >= 250_000_000);
        // No step, forth or back, is longer than all the time in which the
        // clock went.
        let gone = monotonic_ns() - began - frozen;
        assert!(longest.iter().all(|step| *step <= gone), "{longest:?} of {gone}");
    }
}
