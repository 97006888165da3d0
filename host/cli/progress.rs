//! The progress of a run as one line: done, total, rate, failures, time left.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::env::ProgressStyle;
use super::printer::Printer;

/// Time between two drawings on a terminal.
const REDRAW: Duration = Duration::from_millis(100);

/// Time between two lines in a log.
const LOG: Duration = Duration::from_secs(5);

/// Nothing is shown of what is over before this.
const PATIENCE: Duration = Duration::from_millis(500);

/// Over which time the rate is taken.
const RATE: Duration = Duration::from_secs(3);

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Items with an outcome.
    pub done: u64,
    /// Those that failed.
    pub failed: u64,
    /// All items, where that is known.
    pub total: Option<u64>,
    /// What a running task said of itself.
    pub step: Option<Step>,
}

/// How far a running task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its item.
    pub index: u64,
    /// Steps that it has done.
    pub done: u64,
    /// All its steps, 0 where it does not know.
    pub total: u64,
}

/// Draws the line when it is due.
#[derive(Debug)]
pub struct Progress<'a> {
    printer: &'a Printer,
    style: ProgressStyle,
    started: Instant,
    drawn: Option<Instant>,
    /// Where the rate is counted from: a time and what was done then.
    base: (Instant, u64),
    rate: Option<f64>,
}

impl<'a> Progress<'a> {
    /// A line that begins now.
    #[must_use]
    pub fn new(printer: &'a Printer, style: ProgressStyle) -> Self {
        let now = Instant::now();
        Self { printer, style, started: now, drawn: None, base: (now, 0), rate: None }
    }

    /// Time until the next drawing may be due; nothing is drawn more often.
    #[must_use]
    pub fn interval(&self) -> Duration {
        REDRAW
    }

    /// Draws how long compiling takes, if it is time to.
    pub fn compiling(&mut self, elapsed: Duration) {
        if self.due(Instant::now()) {
            self.show(&format!("compiling, {}", clock(elapsed)));
        }
    }

    /// Draws how far the run is, if it is time to.
    pub fn tick(&mut self, counts: Counts) {
        let now = Instant::now();
        if self.style == ProgressStyle::None {
            return;
        }
        let since = now.duration_since(self.base.0);
        if since >= RATE || (self.rate.is_none() && since >= PATIENCE) {
            self.rate = Some((counts.done - self.base.1.min(counts.done)) as f64 / since.as_secs_f64());
            if since >= RATE {
                self.base = (now, counts.done);
            }
        }
        if self.due(now) {
            self.show(&line(counts, self.rate));
        }
    }

    /// Starts counting anew, as when compiling is over.
    pub fn restart(&mut self) {
        let now = Instant::now();
        self.base = (now, 0);
        self.rate = None;
    }

    fn due(&mut self, now: Instant) -> bool {
        let wait = match self.style {
            ProgressStyle::None => return false,
            ProgressStyle::Redrawn => REDRAW,
            ProgressStyle::Lines => LOG,
        };
        let due = match self.drawn {
            Some(drawn) => now.duration_since(drawn) >= wait,
            None => now.duration_since(self.started) >= PATIENCE,
        };
        if due {
            self.drawn = Some(now);
        }
        due
    }

    fn show(&self, text: &str) {
        match self.style {
            ProgressStyle::None => {}
            ProgressStyle::Redrawn => self.printer.redraw(text),
            ProgressStyle::Lines => self.printer.lines(&format!("{text}\n")),
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.printer.clear();
    }
}

fn line(counts: Counts, rate: Option<f64>) -> String {
    let mut text = match counts.total {
        Some(total) if total > 0 => {
            let percent = counts.done.min(total) as f64 / total as f64 * 100.0;
            format!("{}/{total} {percent:.0}%", counts.done)
        }
        _ => format!("{} done", counts.done),
    };
    // Writing to a string cannot fail.
    if counts.failed > 0 {
        let _ = write!(text, ", {} failed", counts.failed);
    }
    if let Some(step) = counts.step {
        let _ = match step.total {
            0 => write!(text, ", item {} at {}", step.index, step.done),
            total => {
                write!(text, ", item {} at {:.0}%", step.index, step.done.min(total) as f64 / total as f64 * 100.0)
            }
        };
    }
    let Some(rate) = rate else { return text };
    let digits = if rate < 10.0 { 1 } else { 0 };
    let _ = write!(text, ", {rate:.digits$}/s");
    if let Some(total) = counts.total
        && rate > 0.0
    {
        let left = total.saturating_sub(counts.done) as f64 / rate;
        let _ = write!(text, ", {} left", clock(Duration::from_secs(left.min(1e9) as u64)));
    }
    text
}

/// `0:07`, `12:34`, `3:04:05`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_length_gives_share_and_time_left() {
        let counts = Counts { done: 250, failed: 3, total: Some(1000), step: None };
        assert_eq!(line(counts, Some(50.0)), "250/1000 25%, 3 failed, 50/s, 0:15 left");
        assert_eq!(line(counts, None), "250/1000 25%, 3 failed");
    }

    #[test]
    fn an_unknown_length_gives_what_is_known() {
        let counts = Counts { done: 7, ..Counts::default() };
        assert_eq!(line(counts, Some(2.5)), "7 done, 2.5/s");
    }

    #[test]
    fn a_task_that_says_how_far_it_is_stands_in_the_line() {
        let step = |done, total| Some(Step { index: 4, done, total });
        let counts = Counts { done: 7, step: step(30, 60), ..Counts::default() };
        assert_eq!(line(counts, Some(2.5)), "7 done, item 4 at 50%, 2.5/s");
        assert_eq!(line(Counts { step: step(9, 3), ..counts }, None), "7 done, item 4 at 100%");
        assert_eq!(line(Counts { step: step(9, 0), ..counts }, None), "7 done, item 4 at 9");
    }

    #[test]
    fn nothing_divides_by_zero() {
        assert_eq!(line(Counts { total: Some(0), ..Counts::default() }, Some(0.0)), "0 done, 0.0/s");
        assert_eq!(line(Counts { total: Some(9), ..Counts::default() }, Some(0.0)), "0/9 0%, 0.0/s");
    }

    #[test]
    fn clocks_have_as_many_parts_as_they_need() {
        assert_eq!(clock(Duration::from_secs(7)), "0:07");
        assert_eq!(clock(Duration::from_secs(754)), "12:34");
        assert_eq!(clock(Duration::from_secs(11045)), "3:04:05");
    }
}
