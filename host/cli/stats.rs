//! The summary of a run: counted while outcomes pass, told at the end as text
//! or JSON. Bounded memory whatever the number of items.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::units::about_size;
use crate::outcome::{Kind, Outcome};
use crate::pool::compile::Artifact;

/// How many of the slowest items are named.
const SLOWEST: usize = 5;

/// Buckets for each doubling of a time: shares are exact to about 2 %.
const STEPS: f64 = 32.0;

/// Times from 1 µs to about 100 days.
const BUCKETS: usize = 32 * 43;

/// What the pool knows about its workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workers {
    /// Processes started.
    pub started: u64,
    /// Replaced on purpose.
    pub recycled: u64,
    /// Ended by themselves or by something else.
    pub died: u64,
    /// Items that were run again.
    pub retried: u64,
    /// Processor time of all of them.
    pub cpu: Duration,
}

/// The artifact's part of the summary.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Compile {
    /// It came out of the cache.
    pub cached: bool,
    /// How long it took.
    pub seconds: f64,
}

impl From<&Artifact> for Compile {
    fn from(artifact: &Artifact) -> Self {
        Self { cached: artifact.cached, seconds: artifact.seconds }
    }
}

/// One of the slowest items.
#[derive(Clone, Debug, PartialEq)]
struct Slow {
    index: u64,
    input: Option<String>,
    wall: Duration,
}

/// Counts what passes.
#[derive(Debug)]
pub struct Stats {
    started: Instant,
    wall: Option<Duration>,
    items: u64,
    kinds: [u64; Kind::ALL.len()],
    first_result: Option<Duration>,
    peak_memory: u64,
    buckets: Vec<u64>,
    measured: u64,
    longest: Duration,
    slowest: Vec<Slow>,
    bytes_out: u64,
    /// Bytes of input read.
    pub bytes_in: u64,
    /// From the pool, at the end.
    pub workers: Workers,
    /// From the artifact.
    pub compile: Option<Compile>,
}

impl Default for Stats {
    fn default() -> Self {
        Self::new()
    }
}

impl Stats {
    /// Starts the clock.
    #[must_use]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            wall: None,
            items: 0,
            kinds: [0; Kind::ALL.len()],
            first_result: None,
            peak_memory: 0,
            buckets: vec![0; BUCKETS],
            measured: 0,
            longest: Duration::ZERO,
            slowest: Vec::with_capacity(SLOWEST + 1),
            bytes_out: 0,
            bytes_in: 0,
            workers: Workers::default(),
            compile: None,
        }
    }

    /// Counts an outcome.
    pub fn add(&mut self, outcome: &Outcome) {
        self.items += 1;
        self.kinds[outcome.kind() as usize] += 1;
        if self.first_result.is_none() && outcome.kind() != Kind::Cancelled {
            self.first_result = Some(self.started.elapsed());
        }
        self.peak_memory = self.peak_memory.max(outcome.usage.peak_memory);
        if let Ok(value) = &outcome.result {
            self.bytes_out += value.bytes.len() as u64;
        }
        if outcome.attempts > 0 {
            self.measure(outcome);
        }
    }

    fn measure(&mut self, outcome: &Outcome) {
        let wall = outcome.usage.wall;
        self.measured += 1;
        self.longest = self.longest.max(wall);
        self.buckets[bucket(wall)] += 1;
        if self.slowest.len() == SLOWEST && self.slowest.last().is_some_and(|slow| slow.wall >= wall) {
            return;
        }
        let input = outcome.tag.as_ref().and_then(|tag| tag.input.clone());
        let place = self.slowest.partition_point(|slow| slow.wall >= wall);
        self.slowest.insert(place, Slow { index: outcome.index, input, wall });
        self.slowest.truncate(SLOWEST);
    }

    /// Stops the clock.
    pub fn finish(&mut self) {
        self.wall = Some(self.started.elapsed());
    }

    /// Items with an outcome.
    #[must_use]
    pub fn items(&self) -> u64 {
        self.items
    }

    /// Items that are not ok.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.items - self.of(Kind::Ok)
    }

    fn of(&self, kind: Kind) -> u64 {
        self.kinds[kind as usize]
    }

    /// Failed items by kind, `12 timeout, 3 trap`.
    #[must_use]
    pub fn failures(&self) -> String {
        let some = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Ok && self.of(*kind) > 0);
        let parts: Vec<_> = some.map(|kind| format!("{} {kind}", self.of(kind))).collect();
        parts.join(", ")
    }

    /// The wall time that this share of the measured items stayed under.
    fn quantile(&self, share: f64) -> Duration {
        let wanted = (share * self.measured as f64).ceil() as u64;
        let mut seen = 0;
        for (place, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return middle(place).min(self.longest);
            }
        }
        self.longest
    }

    fn wall(&self) -> Duration {
        self.wall.unwrap_or_else(|| self.started.elapsed())
    }

    fn rate(&self) -> f64 {
        let ran = self.items - self.of(Kind::Cancelled);
        ran as f64 / self.wall().as_secs_f64().max(1e-9)
    }

    /// The summary as one JSON object, the value of `"stats"`.
    #[must_use]
    pub fn json(&self) -> Value {
        let failed: Map<String, Value> = Kind::ALL
            .into_iter()
            .filter(|kind| *kind != Kind::Ok && self.of(*kind) > 0)
            .map(|kind| (kind.to_string(), self.of(kind).into()))
            .collect();
        let slowest: Vec<_> = self
            .slowest
            .iter()
            .map(|slow| match &slow.input {
                Some(input) => json!({"index": slow.index, "input": input, "wall_ms": ms(slow.wall)}),
                None => json!({"index": slow.index, "wall_ms": ms(slow.wall)}),
            })
            .collect();
        json!({
            "items": self.items,
            "ok": self.of(Kind::Ok),
            "failed": failed,
            "retried": self.workers.retried,
            "wall_s": seconds(self.wall()),
            "tasks_per_s": rounded(self.rate(), 10.0),
            "first_result_ms": self.first_result.map(ms),
            "workers": {
                "started": self.workers.started,
                "recycled": self.workers.recycled,
                "died": self.workers.died,
            },
            "cpu_s": seconds(self.workers.cpu),
            "peak_memory": self.peak_memory,
            "wall_ms": {
                "p50": ms(self.quantile(0.50)),
                "p90": ms(self.quantile(0.90)),
                "p99": ms(self.quantile(0.99)),
                "max": ms(self.longest),
            },
            "slowest": slowest,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "compile": self.compile.map(|compile| json!({
                "cached": compile.cached,
                "seconds": rounded(compile.seconds, 1e6),
            })),
        })
    }

    /// The summary as lines for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut row = |name: &str, value: String| {
            let _ = writeln!(out, "{name:>13}  {value}"); // writing to a string cannot fail
        };
        row("items", format!("{} ({} ok, {} failed)", self.items, self.of(Kind::Ok), self.failed()));
        if self.failed() > 0 {
            row("failed", self.failures());
        }
        if self.workers.retried > 0 {
            row("retried", self.workers.retried.to_string());
        }
        row("wall", format!("{:.3} s, {:.1} tasks/s", self.wall().as_secs_f64(), self.rate()));
        if let Some(first) = self.first_result {
            row("first result", format!("{:.1} ms", ms(first)));
        }
        let Workers { started, recycled, died, cpu, .. } = self.workers;
        row("workers", format!("{started} started, {recycled} recycled, {died} died"));
        row("cpu", format!("{:.3} s", cpu.as_secs_f64()));
        row("peak memory", about_size(self.peak_memory));
        if self.measured > 0 {
            let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| ms(self.quantile(share)));
            row("task time", format!("p50 {p50} ms, p90 {p90} ms, p99 {p99} ms, max {} ms", ms(self.longest)));
        }
        if let Some(compile) = self.compile {
            let how = if compile.cached { "from the cache" } else { "compiled" };
            row("module", format!("{how} in {:.3} s", compile.seconds));
        }
        out
    }
}

/// Which bucket a time falls into.
fn bucket(time: Duration) -> usize {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 1.0 { 0 } else { ((micros.log2() * STEPS) as usize + 1).min(BUCKETS - 1) }
}

/// The time in the middle of a bucket.
fn middle(place: usize) -> Duration {
    if place == 0 {
        return Duration::from_nanos(500);
    }
    Duration::from_secs_f64(((place as f64 - 0.5) / STEPS).exp2() / 1e6)
}

fn rounded(value: f64, scale: f64) -> f64 {
    (value * scale).round() / scale
}

/// Milliseconds, to the microsecond.
fn ms(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1e3, 1e3)
}

/// Seconds, to the microsecond.
fn seconds(time: Duration) -> f64 {
    rounded(time.as_secs_f64(), 1e6)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::outcome::{Captured, Failure, Form, Tag, Usage, Value as Result};

    fn outcome(index: u64, kind: Kind, wall_ms: u64) -> Outcome {
        let result = match kind {
            Kind::Ok => Ok(Result { form: Form::Json, bytes: Bytes::from_static(b"1234") }),
            kind => Err(Failure::new(kind, "x")),
        };
        Outcome {
            index,
            result,
            attempts: u32::from(kind != Kind::Cancelled),
            worker: Some(0),
            started: None,
            usage: Usage { wall: Duration::from_millis(wall_ms), peak_memory: wall_ms * 10, ..Usage::default() },
            captured: Captured::default(),
            tag: Some(Box::new(Tag { input: Some(format!("file{index}")), ..Tag::default() })),
        }
    }

    #[test]
    fn every_number_of_the_summary_is_there() {
        let mut stats = Stats::new();
        for index in 0..100 {
            stats.add(&outcome(index, Kind::Ok, index + 1));
        }
        stats.add(&outcome(100, Kind::Trap, 1));
        stats.add(&outcome(101, Kind::Trap, 1));
        stats.add(&outcome(102, Kind::Cancelled, 0));
        stats.compile = Some(Compile { cached: true, seconds: 0.25 });
        stats.workers = Workers { started: 3, recycled: 1, died: 2, retried: 4, cpu: Duration::from_millis(1500) };
        stats.bytes_in = 77;
        stats.finish();
        let json = stats.json();
        assert_eq!(json["items"], 103);
        assert_eq!(json["ok"], 100);
        assert_eq!(json["failed"], json!({"trap": 2, "cancelled": 1}));
        assert_eq!(json["retried"], 4);
        assert_eq!(json["workers"], json!({"started": 3, "recycled": 1, "died": 2}));
        assert_eq!(json["cpu_s"], 1.5);
        assert_eq!(json["peak_memory"], 1000);
        assert_eq!(json["bytes_in"], 77);
        assert_eq!(json["bytes_out"], 400);
        assert_eq!(json["compile"], json!({"cached": true, "seconds": 0.25}));
        assert!(json["wall_s"].as_f64().unwrap() >= 0.0 && json["tasks_per_s"].as_f64().unwrap() > 0.0);
        assert!(json["first_result_ms"].is_number());
        assert_eq!(json.as_object().unwrap().len(), 15);
        let text = stats.text();
        assert!(text.contains("103 (100 ok, 3 failed)") && text.contains("2 trap, 1 cancelled"), "{text}");
    }

    #[test]
    fn shares_are_near_and_the_slowest_are_named() {
        let mut stats = Stats::new();
        for index in 0..1000 {
            stats.add(&outcome(index, Kind::Ok, index + 1));
        }
        let json = stats.json();
        let near = |name: &str, expected: f64| {
            let got = json["wall_ms"][name].as_f64().unwrap();
            assert!((got / expected - 1.0).abs() < 0.03, "{name}: {got}");
        };
        near("p50", 500.0);
        near("p90", 900.0);
        near("p99", 990.0);
        assert_eq!(json["wall_ms"]["max"], 1000.0);
        let slowest = json["slowest"].as_array().unwrap();
        let walls: Vec<_> = slowest.iter().map(|slow| slow["wall_ms"].as_f64().unwrap()).collect();
        assert_eq!(walls, [1000.0, 999.0, 998.0, 997.0, 996.0]);
        assert_eq!(slowest[0]["input"], "file999");
    }

    #[test]
    fn an_empty_run_has_a_summary() {
        let json = Stats::new().json();
        assert_eq!(json["items"], 0);
        assert_eq!(json["first_result_ms"], Value::Null);
        assert_eq!(json["wall_ms"]["p99"], 0.0);
        assert!(Stats::new().text().contains("0 (0 ok, 0 failed)"));
    }

    #[test]
    fn extreme_times_have_a_bucket() {
        for time in [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(1 << 40), Duration::MAX] {
            assert!(bucket(time) < BUCKETS);
        }
    }
}
