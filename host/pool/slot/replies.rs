//! What a worker sends back: checked, turned into outcomes, delivered in
//! batches. Anything that is not the protocol ends the worker.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::limits::Limits;
use crate::outcome::Outcome;
use crate::pool::Shared;
use crate::pool::delivery::{Cursor, Delivery, Finished};
use crate::pool::job::Job;
use crate::pool::load::{Load, Task};
use crate::pool::slot::death::{Cause, stray};
use crate::pool::slot::flight::Answered;
use crate::pool::slot::seat::Seat;
use crate::pool::slot::watch::now_ns;
use crate::pool::slot::{Slot, TELL};
use crate::wire::frame::{FrameKind, Head};
use crate::wire::integer;
use crate::wire::report::{TaskReport, read_report};
use crate::wire::run::{Mark, Packing, Values, read_values};

/// Most reads before what came is delivered and the worker gets more.
const READS: usize = 8;

/// Deliveries to one job, gathered while replies are read.
#[derive(Debug, Default)]
pub(super) struct Batch {
    job: Option<Arc<Job>>,
    deliveries: Vec<(u64, Delivery)>,
    /// The first values of a frame that is being read: of consecutive items,
    /// and not among the deliveries yet.
    stretch: Option<(Answered, usize)>,
}

impl Batch {
    pub(super) fn add(&mut self, job: Arc<Job>, position: u64, outcome: Outcome) {
        self.put(job, position, Delivery::One(outcome));
    }

    fn put(&mut self, job: Arc<Job>, position: u64, delivery: Delivery) {
        self.turn_to(job);
        self.deliveries.push((position, delivery));
    }

    /// Values that wait for the end of their stretch.
    fn stretched(&self) -> usize {
        self.stretch.as_ref().map_or(0, |(_, count)| *count)
    }

    /// The next `count` of the values are these.
    fn stretch(&mut self, answered: Answered, count: usize, worker: u32, values: &mut Values) {
        if let Some((first, so_far)) = &mut self.stretch
            && first.goes_on(*so_far, &answered)
        {
            *so_far += count;
            return;
        }
        self.end_stretch(worker, values);
        self.stretch = Some((answered, count));
    }

    /// Delivers what waits, the first of the values.
    fn end_stretch(&mut self, worker: u32, values: &mut Values) {
        if let Some((Answered { job, position, index }, count)) = self.stretch.take() {
            let values = values.split_front(count);
            self.put(job, position, Delivery::Many(Finished { index, worker, values }));
        }
    }

    fn turn_to(&mut self, job: Arc<Job>) {
        if self.job.as_ref().is_none_or(|held| !Arc::ptr_eq(held, &job)) {
            self.deliver();
            self.job = Some(job);
        }
    }

    /// Delivers what is held of a job that has more in the same worker; gives
    /// back the job that is to be told soon.
    fn deliver_some(&mut self) -> Option<Arc<Job>> {
        let job = self.job.take()?;
        job.deliver_some(self.deliveries.drain(..));
        Some(job)
    }

    pub(super) fn deliver(&mut self) {
        if let Some(job) = &self.job
            && !self.deliveries.is_empty()
        {
            job.deliver(self.deliveries.drain(..));
        }
    }
}

impl Slot {
    /// Reads what is there, but not for long, and delivers it.
    pub(super) fn read(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        let (mut open, mut honest) = (Ok(true), true);
        for _read in 0..READS {
            let Some(seat) = self.seat.as_mut() else { break };
            open = seat.link.read(seat.process.socket());
            honest = self.replies(&mut batch);
            if !honest || !matches!(open, Ok(true)) || self.seat.as_ref().is_none_or(|seat| !seat.link.has_more()) {
                break;
            }
        }
        let more = self.seat.as_ref().is_some_and(|seat| !seat.flight.is_empty());
        if more && matches!(open, Ok(true)) {
            if let Some(job) = batch.deliver_some() {
                self.tell_later(job);
            }
        } else {
            batch.deliver();
            batch.job = None;
            self.tell();
        }
        self.batch = batch;
        match open {
            _ if !honest => self.bury(Some(Cause::Protocol)),
            Ok(true) => {}
            Ok(false) | Err(_) => self.bury(None),
        }
    }

    /// Remembers the job to be told, and tells another one at once.
    fn tell_later(&mut self, job: Arc<Job>) {
        let now = now_ns();
        match &self.untold {
            Some((untold, since))
                if Arc::ptr_eq(untold, &job) && now.saturating_sub(*since) < TELL.as_nanos() as u64 => {}
            Some(_) => {
                self.tell();
                self.untold = Some((job, now));
            }
            None => self.untold = Some((job, now)),
        }
    }

    /// Takes all whole frames; false when the worker breaks the protocol.
    pub(super) fn replies(&mut self, batch: &mut Batch) -> bool {
        let now = now_ns();
        while let Some(seat) = self.seat.as_mut() {
            let (head, payload) = match seat.link.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_too_long) => return false,
            };
            // A whole frame about an item's end: bytes alone are no sign of
            // life, nor is what a task says while it runs.
            if !matches!(head.kind, FrameKind::Call | FrameKind::Note) {
                seat.watch.touch(now);
                seat.session.end();
            }
            let honest = match head.kind {
                FrameKind::Call => self.call(&head, &payload),
                FrameKind::Note => self.note(&head, &payload),
                FrameKind::Done => self.done(&head, payload, batch),
                FrameKind::Values => self.values(&head, payload, batch),
                FrameKind::Returned => self.returned(&head, batch),
                FrameKind::Spent => self.spent(),
                FrameKind::Setup
                | FrameKind::Task
                | FrameKind::Run
                | FrameKind::Answer
                | FrameKind::Ready
                | FrameKind::Refused
                | FrameKind::Snapshot
                | FrameKind::Compiled => false,
            };
            if !honest {
                return false;
            }
        }
        true
    }

    /// The values of consecutive items.
    fn values(&mut self, head: &Head, payload: Bytes, batch: &mut Batch) -> bool {
        let Some(mut values) = read_values(head, payload) else { return false };
        let Some(seat) = self.seat.as_ref() else { return false };
        let age = u32::try_from(seat.age().as_nanos()).unwrap_or(u32::MAX);
        values.most_wall_ns = age;
        values.started_us = values.started_us.min(micros(SystemTime::now()));
        let limits = &self.shared.spec.limits;
        values.peak_memory = values.peak_memory.min(limits.memory);
        let mut start = 0;
        // Their texts may be as long as this.
        if values.packing == Packing::Integers && limits.max_result < integer::LONGEST as u64 {
            return false;
        }
        let too_large = |mark: Mark| u64::from(mark.end - std::mem::replace(&mut start, mark.end)) > limits.max_result;
        if values.marks(0).any(too_large) {
            return false;
        }
        let honest = self.finished(head.ticket, &mut values, batch);
        batch.end_stretch(self.id, &mut values);
        honest
    }

    /// Takes what the values answer out of the worker's flight. What follows on
    /// one another is delivered as one, whatever chunks it came in.
    fn finished(&mut self, mut ticket: u64, values: &mut Values, batch: &mut Batch) -> bool {
        while batch.stretched() < values.len() {
            let Some(seat) = self.seat.as_mut() else { return false };
            let first = batch.stretched();
            let count = seat.flight.run_length(ticket).unwrap_or(1).min(values.len() - first);
            let (mut wall, mut end) = (0, 0);
            for mark in values.marks(first).take(count) {
                wall += u64::from(mark.wall_ns);
                end = mark.end;
            }
            let start = first.checked_sub(1).and_then(|before| values.mark(before)).map_or(0, |mark| mark.end);
            let size = (end - start) as usize;
            match seat.flight.finish_run(ticket, count) {
                Some(answered) => batch.stretch(answered, count, self.id, values),
                // The host has made the run into tasks since.
                None => {
                    batch.end_stretch(self.id, values);
                    let Some(task) = seat.flight.finish(ticket) else { return false };
                    let finished = Finished { index: task.index, worker: self.id, values: values.split_front(1) };
                    let Some(outcome) = Cursor::new(finished).next() else { return false };
                    let outcome = Outcome { attempts: task.attempts + 1, tag: task.tag, ..outcome };
                    batch.add(task.job, task.position, outcome);
                }
            }
            seat.account(count as u64, wall, size, &self.shared);
            ticket += count as u64;
        }
        true
    }

    fn done(&mut self, head: &Head, payload: Bytes, batch: &mut Batch) -> bool {
        let Some(seat) = self.seat.as_mut() else { return false };
        let Some(mut report) = read_report(head, payload) else { return false };
        if !within_limits(&report, &self.shared) {
            return false;
        }
        let Some(mut task) = seat.flight.finish(head.ticket) else { return false };
        clamp(seat, &mut report, &self.shared.spec.limits);
        let size = report.result.as_ref().map_or(0, |value| value.bytes.len());
        seat.account_cpu(report.usage.wall, report.usage.cpu, size, &self.shared);
        task.attempts += 1;
        if let Err(failure) = &report.result
            && self.shared.retries(failure.kind, &task)
        {
            self.retry(task);
            return true;
        }
        let kept = if report.result.is_err() { task.failed_tag() } else { None };
        let outcome = Outcome {
            index: task.index,
            result: report.result,
            attempts: task.attempts,
            worker: Some(self.id),
            started: Some(report.started),
            usage: report.usage,
            captured: report.captured,
            tag: kept.or(task.tag),
        };
        batch.add(task.job, task.position, outcome);
        true
    }

    fn returned(&mut self, head: &Head, batch: &mut Batch) -> bool {
        let Some(seat) = self.seat.as_mut() else { return false };
        match seat.flight.returned(head.ticket) {
            // It had begun as it was asked for, and saw that in time: that
            // happens, but not over and over to the same one.
            Some(Some(mut task)) => match stray(&mut task) {
                None => self.backlog.push_front(Load::One(task)),
                Some(failure) => {
                    let (job, position, outcome) = task.fail(failure);
                    batch.add(job, position, outcome);
                    return false;
                }
            },
            Some(None) => {}
            None => return false,
        }
        true
    }

    /// A failure cost the worker what its initializer had made ready: another
    /// worker takes what is left, and nobody is blamed.
    fn spent(&mut self) -> bool {
        let may = self.shared.spec.initialises();
        // It says so after an item, and then runs none.
        let honest = |seat: &mut Seat| may && seat.done > 0 && seat.page.running().0 == 0;
        let Some(mut seat) = self.seat.take_if(honest) else { return false };
        for (_ticket, task) in seat.flight.clear().into_iter().rev() {
            if task.job.is_stopped() { task.cancel() } else { self.backlog.push_front(Load::One(task)) }
        }
        self.retire(seat);
        true
    }

    /// Puts a task aside until its back-off is over.
    pub(super) fn retry(&mut self, task: Task) {
        self.shared.counts.retried.fetch_add(1, Ordering::Relaxed);
        let pause = self.shared.options.backoff.saturating_mul(task.attempts);
        if pause == Duration::ZERO {
            self.backlog.push_front(Load::One(task));
        } else {
            self.delayed.push((Instant::now() + pause, task));
        }
    }
}

/// A result or a tail over its limit cannot come from an honest worker.
fn within_limits(report: &TaskReport, shared: &Shared) -> bool {
    let limits = &shared.spec.limits;
    let value = report.result.as_ref().map_or(0, |value| value.bytes.len() as u64);
    value <= limits.max_result
        && report.captured.stdout.len() as u64 <= limits.max_captured
        && report.captured.stderr.len() as u64 <= limits.max_captured
}

fn micros(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

/// Times cannot be longer than the worker is old, nor starts in the future,
/// and no task gets more than its limits.
fn clamp(seat: &Seat, report: &mut TaskReport, limits: &Limits) {
    let age = seat.age();
    let usage = &mut report.usage;
    usage.peak_memory = usage.peak_memory.min(limits.memory);
    usage.fuel = usage.fuel.zip(limits.fuel).map(|(used, most)| used.min(most));
    report.started = report.started.min(SystemTime::now());
    report.usage.wall = report.usage.wall.min(age);
    report.usage.cpu = report.usage.cpu.min(age.saturating_mul(2));
}

impl Seat {
    fn age(&self) -> Duration {
        Duration::from_nanos(now_ns().saturating_sub(self.born))
    }

    /// Books what `count` short items of a run used, in nanoseconds, and the
    /// bytes of their results.
    fn account(&mut self, count: u64, wall_ns: u64, size: usize, shared: &Shared) {
        let wall = Duration::from_nanos(wall_ns);
        self.book(count, wall, shared);
        self.credit.learn(Duration::from_nanos(wall_ns / count.max(1)), size / count.max(1) as usize);
        shared.task_ns.store(self.credit.task_ns(), Ordering::Relaxed);
    }

    /// Books what one item used.
    fn account_cpu(&mut self, wall: Duration, cpu: Duration, size: usize, shared: &Shared) {
        self.book(1, cpu, shared);
        self.credit.learn(wall, size);
        shared.task_ns.store(self.credit.task_ns(), Ordering::Relaxed);
    }

    fn book(&mut self, count: u64, cpu: Duration, shared: &Shared) {
        self.cpu += cpu;
        self.done += count;
        shared.storm.finished();
        shared.counts.add_cpu(cpu);
        shared.counts.tasks.fetch_add(count, Ordering::Relaxed);
    }
}
