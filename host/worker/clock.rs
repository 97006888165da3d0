//! Clocks of the task loop. One task's end is the next one's start, so a task
//! costs one reading of the clock, and among many short ones only one of the
//! processor's counter, which takes a third of the time.

#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the processor's counter has no safe form"))]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time after which the host gets the replies while others are still to run,
/// in nanoseconds, so that it can send more before this worker runs dry.
const FLUSH_NS: u64 = 350_000;

/// Tasks under this are not worth a look at the processor clock.
const CPU_WORTH: Duration = Duration::from_micros(100);

/// Tasks that may be as long as this are timed by the clock itself, in
/// nanoseconds.
const LAP_NS: u64 = 20_000;

/// The counter's rate is measured over at least this, in nanoseconds.
const RATE_NS: u64 = 1_000_000;

/// After this it is measured from a new start, in nanoseconds.
const RATE_STALE_NS: u64 = 10_000_000_000;

/// How long a task took.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lap {
    /// Wall time, and processor time, in nanoseconds.
    Short(u32),
    /// Wall time and processor time.
    Long(Duration, Duration),
}

impl Lap {
    /// Wall time and processor time.
    pub(super) fn times(self) -> (Duration, Duration) {
        match self {
            Self::Short(ns) => (Duration::from_nanos(ns.into()), Duration::from_nanos(ns.into())),
            Self::Long(wall, cpu) => (wall, cpu),
        }
    }
}

pub(super) struct Clock {
    /// Wall clock minus monotonic clock, in microseconds.
    offset_us: i128,
    mark: u64,
    cpu: Duration,
    /// Processor time of short laps that is not in `cpu` yet, in nanoseconds.
    lapped_ns: u64,
    /// When the host got replies last.
    flushed: u64,
    counter: Counter,
}

impl Clock {
    pub(super) fn new() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i128;
        let counter = Counter::new();
        let mark = monotonic_ns();
        Self { offset_us: wall - i128::from(mark / 1000), mark, cpu: cpu_time(), lapped_ns: 0, flushed: mark, counter }
    }

    /// Time passed that no task used.
    pub(super) fn restart(&mut self) {
        self.mark = monotonic_ns();
        self.flushed = self.mark;
    }

    /// Whether the host has heard nothing for so long that it should; asked
    /// once, it has.
    pub(super) fn flush_is_due(&mut self) -> bool {
        let due = self.mark.saturating_sub(self.flushed) >= FLUSH_NS;
        if due {
            self.flushed = self.mark;
        }
        due
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.mark
    }

    /// A time in microseconds since the epoch.
    pub(super) fn since_epoch_us(&self, mark: u64) -> u64 {
        u64::try_from(self.offset_us + i128::from(mark / 1000)).unwrap_or(0)
    }

    /// Wall and processor time of the task that began at the mark.
    pub(super) fn end(&mut self) -> (Duration, Duration) {
        let now = monotonic_ns().max(self.mark);
        let wall = Duration::from_nanos(now - self.mark);
        self.mark = now;
        self.cpu += Duration::from_nanos(std::mem::take(&mut self.lapped_ns));
        if wall < CPU_WORTH {
            self.cpu += wall;
            return (wall, wall);
        }
        let cpu = cpu_time();
        let used = cpu.saturating_sub(self.cpu).min(wall);
        self.cpu = cpu;
        (wall, used)
    }

    /// Tasks begin that are timed by [`Clock::lap`].
    pub(super) fn begin_laps(&mut self) {
        self.mark = monotonic_ns().max(self.mark);
        self.counter.meet(self.mark);
    }

    /// Wall and processor time of the task that began at the mark, as
    /// [`Clock::end`] gives them.
    #[inline]
    pub(super) fn lap(&mut self) -> Lap {
        if let Some(wall_ns) = self.counter.lap() {
            self.mark += wall_ns;
            self.lapped_ns += wall_ns;
            return Lap::Short(wall_ns as u32);
        }
        self.end_lap()
    }

    #[cold]
    fn end_lap(&mut self) -> Lap {
        let (wall, cpu) = self.end();
        self.counter.meet(self.mark);
        if wall < CPU_WORTH { Lap::Short(wall.as_nanos() as u32) } else { Lap::Long(wall, cpu) }
    }
}

/// The processor's counter beside the clock. It only ever tells times that are
/// short by both; where it jumps, or is of no use, the clock is asked.
struct Counter {
    last: u64,
    /// Counter and clock, in nanoseconds, when the measurement of the rate
    /// began.
    origin: Option<(u64, u64)>,
    /// Nanoseconds of 2³² counts; 0 while that is not known.
    rate: u64,
    /// Counts that are too many for a short time.
    most: u64,
    useful: bool,
}

impl Counter {
    fn new() -> Self {
        Self { last: 0, origin: None, rate: 0, most: 0, useful: is_cheaper() }
    }

    /// The clock shows `now` nanoseconds.
    fn meet(&mut self, now: u64) {
        if !self.useful {
            return;
        }
        self.last = count();
        let Some((first, began)) = self.origin else {
            self.origin = Some((self.last, now));
            return;
        };
        let (counts, time) = (self.last.saturating_sub(first), now.saturating_sub(began));
        if time < RATE_NS {
            return;
        }
        let rate = (u128::from(time) << 32).checked_div(counts.into()).unwrap_or(0);
        self.rate = u64::try_from(rate).ok().filter(|rate| *rate < 1 << 40).unwrap_or(0);
        self.most = (LAP_NS << 32).checked_div(self.rate).unwrap_or(0);
        if time > RATE_STALE_NS || self.rate == 0 {
            self.origin = Some((self.last, now));
        }
    }

    /// Nanoseconds since the last one, where they are surely few.
    fn lap(&mut self) -> Option<u64> {
        // Nothing is below 0: not read where it cannot tell.
        if self.most == 0 {
            return None;
        }
        let count = count();
        let counts = count.wrapping_sub(self.last);
        if counts >= self.most {
            return None;
        }
        self.last = count;
        Some((counts * self.rate) >> 32)
    }
}

#[cfg(target_arch = "x86_64")]
fn count() -> u64 {
    // SAFETY: the instruction reads a register; nothing in this process
    // forbids it to programs.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn count() -> u64 {
    0
}

/// Whether the counter takes less time than the clock: under some hypervisors
/// it takes more.
fn is_cheaper() -> bool {
    let least = |act: fn()| {
        let times = (0..8).map(|_| {
            let before = count();
            act();
            count().wrapping_sub(before)
        });
        times.min().unwrap_or(0)
    };
    let counter = least(|| {
        std::hint::black_box(count());
    });
    let clock = least(|| {
        std::hint::black_box(monotonic_ns());
    });
    counter < clock
}

fn monotonic_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Processor time of this thread, which alone runs guests.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laps_are_as_long_as_the_clock_says() {
        let mut clock = Clock::new();
        let started = monotonic_ns();
        clock.begin_laps();
        let first = clock.now_ns();
        let mut sum = Duration::ZERO;
        while monotonic_ns() - started < 20_000_000 {
            sum += clock.lap().times().0;
            clock.begin_laps();
            let began = clock.now_ns();
            for turn in 0..100 {
                let (wall, cpu) = clock.lap().times();
                assert!(cpu <= wall, "turn {turn}: {cpu:?} of {wall:?}");
            }
            let (lapped, now) = (clock.now_ns(), monotonic_ns());
            // The rate is good to well under a hundredth over a few microseconds.
            assert!(lapped <= now + 20_000 + (now - began) / 10, "{began} {lapped} {now}");
        }
        clock.begin_laps();
        assert!(clock.now_ns() - first >= 19_000_000, "{sum:?}");
    }

    #[test]
    fn a_lap_that_takes_long_is_timed_by_the_clock() {
        let mut clock = Clock::new();
        clock.begin_laps();
        std::thread::sleep(Duration::from_millis(2));
        clock.begin_laps();
        std::thread::sleep(Duration::from_millis(5));
        let (wall, cpu) = clock.lap().times();
        assert!(wall >= Duration::from_millis(5), "{wall:?}");
        assert!(cpu < wall, "asleep for most of {wall:?}: {cpu:?}");
    }

    #[test]
    fn a_counter_that_jumps_is_not_believed() {
        let mut counter = Counter { last: 0, origin: None, rate: 1 << 32, most: LAP_NS, useful: true };
        counter.last = count().wrapping_add(1 << 40);
        assert_eq!(counter.lap(), None, "back");
        counter.last = count().wrapping_sub(1 << 40);
        assert_eq!(counter.lap(), None, "far ahead");
    }
}
