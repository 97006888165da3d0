//! Counters of a pool, and the breaker for workers that die before they work.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::pool::Shared;

/// Counters that slots add to.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) started: AtomicU64,
    pub(crate) recycled: AtomicU64,
    pub(crate) died: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) tasks: AtomicU64,
    cpu_ns: AtomicU64,
}

/// What a pool's workers did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Worker processes started.
    pub workers_started: u64,
    /// Workers replaced after `max_tasks_per_child` items.
    pub workers_recycled: u64,
    /// Workers that died or were killed.
    pub workers_died: u64,
    /// Items given another try.
    pub retried: u64,
    /// Calls of task functions that workers reported, failed ones among them.
    pub tasks: u64,
    /// Processor time of the workers.
    pub cpu: Duration,
}

impl Counts {
    pub(crate) fn add_cpu(&self, time: Duration) {
        self.cpu_ns.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            workers_started: self.started.load(Ordering::Relaxed),
            workers_recycled: self.recycled.load(Ordering::Relaxed),
            workers_died: self.died.load(Ordering::Relaxed),
            retried: self.retried.load(Ordering::Relaxed),
            tasks: self.tasks.load(Ordering::Relaxed),
            cpu: Duration::from_nanos(self.cpu_ns.load(Ordering::Relaxed)),
        }
    }
}

/// Deaths without a finished task in this time make a storm.
const STORM: Duration = Duration::from_secs(10);

/// First and longest pause between starts that fail.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

/// Breaks the pool when workers keep dying and nothing gets done.
#[derive(Debug)]
pub(crate) struct Storm {
    deaths: Mutex<VecDeque<Instant>>,
    any: AtomicU64,
    /// Starts in a row that failed, however long each took to.
    failed: AtomicUsize,
    most: usize,
}

impl Storm {
    pub(crate) fn new(processes: usize) -> Self {
        Self {
            deaths: Mutex::default(),
            any: AtomicU64::new(0),
            failed: AtomicUsize::new(0),
            most: (2 * processes).max(5),
        }
    }

    /// A task was finished: workers do work.
    pub(crate) fn finished(&self) {
        if self.any.load(Ordering::Relaxed) != 0 {
            self.deaths.lock().unwrap_or_else(PoisonError::into_inner).clear();
            self.any.store(0, Ordering::Relaxed);
        }
    }

    /// A worker has started, or failed to; whether too many have failed since
    /// the last one that did not.
    pub(crate) fn started(&self, well: bool) -> bool {
        if well {
            self.failed.store(0, Ordering::Relaxed);
            return false;
        }
        self.failed.fetch_add(1, Ordering::Relaxed) >= self.most
    }

    /// A worker died without finishing anything; how long to wait before the
    /// next start.
    pub(crate) fn died(&self, words: String, shared: &Shared) -> Duration {
        let now = Instant::now();
        let mut deaths = self.deaths.lock().unwrap_or_else(PoisonError::into_inner);
        while deaths.front().is_some_and(|death| now.duration_since(*death) > STORM) {
            deaths.pop_front();
        }
        deaths.push_back(now);
        self.any.store(1, Ordering::Relaxed);
        let count = deaths.len();
        drop(deaths);
        if count > self.most {
            shared.break_down(Error::Workers(format!(
                "workers keep dying: {count} in {}s without one finished item; the last one: {words}",
                STORM.as_secs()
            )));
        }
        let doubled = PAUSES[0].saturating_mul(1 << count.min(7));
        doubled.min(PAUSES[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_that_fail_one_after_another_are_too_many_at_any_pace() {
        let storm = Storm::new(1);
        for _round in 0..3 {
            assert!((0..5).all(|_| !storm.started(false)));
            assert!(!storm.started(true));
        }
        assert!((0..5).all(|_| !storm.started(false)));
        assert!(storm.started(false));
    }
}
