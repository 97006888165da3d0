//! The credit window: how many items a worker may hold at once, from what its
//! tasks take and give.

use std::time::Duration;

/// Time for which a worker should have work queued.
const TARGET: Duration = Duration::from_micros(1000);

/// Tasks under this have another one waiting behind them: else a worker would
/// idle after each until its slot has woken up. Less than the time after which an
/// item that keeps others waiting is looked for.
const AHEAD: Duration = Duration::from_millis(4);

/// Most items in one worker.
const MOST: usize = 4096;

/// Most bytes on their way to and from one worker, besides one item.
const IN_FLIGHT: usize = 1 << 20;

/// Running means of one worker's tasks.
#[derive(Clone, Copy, Debug)]
pub struct Credit {
    most: usize,
    task_ns: f64,
    result_bytes: f64,
    known: bool,
}

impl Credit {
    /// A window that grows up to `most` items.
    #[must_use]
    pub fn new(most: Option<usize>) -> Self {
        Self { most: most.unwrap_or(MOST).clamp(1, MOST), task_ns: 0.0, result_bytes: 0.0, known: false }
    }

    /// Learns from one finished task.
    pub fn learn(&mut self, wall: Duration, result: usize) {
        let (wall, result) = (wall.as_nanos() as f64, result as f64);
        if self.known {
            // A long or large one counts at once, a short one slowly: a
            // window that is too large delays others, one too small costs
            // microseconds.
            self.task_ns = if wall > 4.0 * self.task_ns { wall / 2.0 } else { self.task_ns * 0.9 + wall * 0.1 };
            self.result_bytes =
                if result > 4.0 * self.result_bytes { result } else { self.result_bytes * 0.9 + result * 0.1 };
        } else {
            (self.task_ns, self.result_bytes, self.known) = (wall, result, true);
        }
    }

    /// Mean time of a task in nanoseconds; 0 when nothing is known.
    #[must_use]
    pub fn task_ns(&self) -> u64 {
        if self.known { (self.task_ns as u64).max(1) } else { 0 }
    }

    /// How many items may be in the worker.
    #[must_use]
    pub fn window(&self) -> usize {
        if !self.known {
            return 1;
        }
        let least = if self.task_ns < AHEAD.as_nanos() as f64 { 2 } else { 1 };
        let by_time = ((TARGET.as_nanos() as f64 / self.task_ns.max(1.0)) as usize).max(least);
        let by_bytes = (IN_FLIGHT as f64 / self.result_bytes.max(1.0)) as usize;
        by_time.min(by_bytes).clamp(1, self.most)
    }

    /// Whether one more item of `bytes` may go to a worker that holds `items`
    /// items of `held` bytes.
    #[must_use]
    pub fn admits(&self, items: usize, held: usize, bytes: usize) -> bool {
        items == 0 || (items < self.window() && held + bytes <= IN_FLIGHT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_known_means_one_item() {
        assert_eq!(Credit::new(None).window(), 1);
    }

    #[test]
    fn short_tasks_open_the_window_and_a_long_one_closes_it() {
        let mut credit = Credit::new(None);
        credit.learn(Duration::from_micros(3), 8);
        assert_eq!(credit.window(), 333);
        credit.learn(Duration::from_secs(1), 8);
        assert_eq!(credit.window(), 1);
    }

    #[test]
    fn tasks_of_a_few_milliseconds_have_one_waiting_behind_them() {
        for (micros, window) in [(400, 2), (1_200, 2), (3_900, 2), (4_100, 1)] {
            let mut credit = Credit::new(None);
            credit.learn(Duration::from_micros(micros), 8);
            assert_eq!(credit.window(), window, "{micros} µs");
        }
    }

    #[test]
    fn large_results_close_the_window() {
        let mut credit = Credit::new(None);
        credit.learn(Duration::from_micros(3), 16 << 20);
        assert_eq!(credit.window(), 1);
    }

    #[test]
    fn an_item_of_any_size_is_admitted_alone() {
        let credit = Credit::new(None);
        assert!(credit.admits(0, 0, 64 << 20));
        assert!(!credit.admits(1, 8, 8));
    }
}
