//! Supervision: items over their time, items that keep others waiting, and
//! who is to blame when a worker dies.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use crate::limits::Limits;
use crate::outcome::{Captured, Failure, Kind, LimitHit, Outcome, Usage};
use crate::pool::Shared;
use crate::pool::load::{Chunk, Load, Task};
use crate::pool::process::Ended;
use crate::pool::slot::replies::Batch;
use crate::pool::slot::seat::Seat;
use crate::pool::slot::watch::now_ns;
use crate::pool::slot::{BLOCKING, SILENCE, Slot};
use crate::wire::page::Stream;

/// Why the host ends a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The running item is over `--timeout`.
    Timeout,
    /// For as long as that, or much longer, there was no answer, whatever the
    /// worker says that it runs.
    Silence,
    /// The running item is over `--cpu-timeout`.
    CpuTimeout,
    /// The worker does not keep to the protocol.
    Protocol,
    /// The running item's job was cancelled.
    Cancelled,
}

/// Signal of a seccomp violation.
const SIGSYS: i32 = libc::SIGSYS;

/// Deaths of workers that end an item.
const DEATHS: u32 = 2;

/// How long the end of a killed worker's stream may take.
const LAST_REPLIES: Duration = Duration::from_millis(500);

/// How often an item may come back, first in a worker, as if it had not been
/// run: more often than that it is what makes workers say so.
const STRAYS: u32 = 4;

/// What an item did that is thought to end workers, in words.
const TWICE: &str = "twice while it ran this item";

/// The same where nothing proves that it ran.
const OFTEN_NEXT: &str = "4 times while this item was next";

/// Slack, beside a second timeout, for workers that run one item after another
/// and have not answered the first.
const UNANSWERED: Duration = Duration::from_secs(2);

/// Starts after which an item is not tried again, whoever is to blame.
const STARTS: u32 = 100;

impl Slot {
    /// Looks at the worker's page and acts on what it shows.
    pub(super) fn supervise(&mut self) {
        let Some(seat) = self.seat.as_mut() else { return };
        let now = now_ns();
        seat.watch.look(&seat.page, seat.flight.last(), now);
        if seat.flight.is_empty() {
            return;
        }
        if let Some(cause) = overdue(seat, &self.shared, now) {
            self.bury(Some(cause));
            return;
        }
        let stopped = seat.flight.loads().any(|load| load.job().is_stopped());
        let keeps_waiting = (seat.flight.len() > 1 || self.backlog.iter().any(|load| load.deaths() == 0))
            && seat.watch.ticket() != 0
            && seat.watch.running_ns(now) > BLOCKING.as_nanos() as u64
            && self.shared.idle.load(Ordering::Acquire) > 0;
        if stopped || keeps_waiting {
            self.take_back();
        }
    }

    /// Takes the items back that the worker has not started.
    fn take_back(&mut self) {
        let Some(seat) = self.seat.as_mut() else { return };
        // What was seen to run has begun, whatever else the page says.
        let begun = seat.page.take_back(seat.flight.last()).max(seat.watch.ticket());
        let taken = seat.flight.take_back(begun);
        seat.given -= taken.len() as u64;
        let (kept, waiting): (Vec<_>, Vec<_>) = self.backlog.drain(..).partition(|load| load.deaths() > 0);
        self.backlog.extend(kept);
        let (stopped, others): (Vec<_>, Chunk) =
            taken.into_iter().map(Load::One).chain(waiting).partition(|load| load.job().is_stopped());
        stopped.into_iter().for_each(Load::cancel);
        if others.is_empty() {
            return;
        }
        if let Err(unsent) = self.shared.urgent.try_send(others) {
            self.backlog.extend(unsent.into_inner());
        }
    }

    /// Ends the worker and accounts for every item in it. `cause` is `None`
    /// when the worker died by itself.
    pub(super) fn bury(&mut self, cause: Option<Cause>) {
        let Some(mut seat) = self.seat.take() else { return };
        self.set_pid(0);
        if cause.is_some() {
            seat.process.kill();
        }
        let mut batch = Batch::default();
        // What it had finished is still in the socket; a liar is not heard.
        if cause != Some(Cause::Protocol) {
            seat = match self.last_replies(seat, &mut batch) {
                Some(seat) => seat,
                None => {
                    batch.deliver();
                    self.tell();
                    return;
                }
            };
        }
        seat.process.kill();
        let (ended, words) = seat.process.reap();
        // Before anyone hears of it: what a dead task held is free.
        seat.session.end();
        self.shared.counts.died.fetch_add(1, Ordering::Relaxed);
        self.shared.counts.add_cpu(ended.cpu.saturating_sub(seat.cpu));
        // A death with an item running ends, at worst, as that item's outcome.
        if cause.is_none() && seat.done == 0 && seat.page.running().0 == 0 {
            self.shared.storm.died(describe(&ended, &words), &self.shared);
        }
        self.settle(&mut seat, cause, &ended, &mut batch);
        batch.deliver();
        self.tell();
    }

    /// Reads what is left in a dead worker's socket.
    fn last_replies(&mut self, seat: Seat, batch: &mut Batch) -> Option<Seat> {
        self.seat = Some(seat);
        // Whoever else holds its socket cannot keep us here.
        let until = Instant::now() + LAST_REPLIES;
        while let Some(seat) = self.seat.as_mut() {
            let more = seat.link.read(seat.process.socket());
            if !self.replies(batch) || !matches!(more, Ok(true)) {
                break;
            }
            // Killed, so its end of stream is near; wait for it, not for ever.
            let seat = self.seat.as_mut()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !crate::pool::link::wait_readable(seat.process.socket(), left) {
                break;
            }
        }
        self.seat.take()
    }

    /// Gives every item of a dead worker its outcome or its next try.
    fn settle(&mut self, seat: &mut Seat, cause: Option<Cause>, ended: &Ended, batch: &mut Batch) {
        let now = now_ns();
        seat.watch.look(&seat.page, seat.flight.last(), now);
        let mut running = seat.watch.ticket();
        let mut blamed = running;
        let mut tasks = seat.flight.clear();
        let proven = match cause {
            Some(Cause::Silence) => false,
            // A worker that has not answered what came before runs nothing for
            // so long; it may only say so.
            Some(Cause::Timeout | Cause::CpuTimeout) => tasks.first().is_some_and(|(first, _)| *first == running),
            None | Some(Cause::Protocol | Cause::Cancelled) => tasks.iter().any(|(ticket, _)| *ticket == running),
        };
        if !proven && let Some((first, task)) = tasks.first_mut() {
            // Whose time is up, or who made a liar of the worker, is the first.
            // Else it may be so: what ran may just have been answered.
            let sure = matches!(cause, Some(Cause::Silence | Cause::Protocol));
            task.strays += u32::from(!sure && cause != Some(Cause::Cancelled));
            blamed = if sure || task.strays >= STRAYS { *first } else { 0 };
            running = running.max(blamed);
        }
        let mut again = Vec::new();
        for (ticket, mut task) in tasks {
            let started = ticket <= running;
            task.attempts += u32::from(started);
            if ticket == blamed || started && task.attempts >= STARTS || task.job.once {
                match self.blame(&mut task, cause, ended) {
                    Some(failure) if !self.shared.retries(failure.kind, &task) => {
                        let usage = usage(seat, ended, &self.shared.spec.limits, now);
                        let (job, position, mut outcome) = task.fail(failure);
                        self.complete(&mut outcome, seat, usage);
                        batch.add(job, position, outcome);
                    }
                    Some(_) => self.retry(task),
                    None => again.insert(0, task),
                }
            } else if started && self.shared.side_effects {
                // It ran, and what it did outside cannot be undone.
                let failure = maybe_ran(ended);
                let (job, position, outcome) = task.fail(failure);
                batch.add(job, position, outcome);
            } else {
                again.push(task);
            }
        }
        for task in again.into_iter().rev() {
            if task.job.is_stopped() { task.cancel() } else { self.backlog.push_front(Load::One(task)) }
        }
    }

    /// The failure of the item that ran when the worker ended, or `None` when
    /// it gets another try without blame.
    fn blame(&self, task: &mut Task, cause: Option<Cause>, ended: &Ended) -> Option<Failure> {
        let limits = &self.shared.spec.limits;
        match cause {
            Some(Cause::Timeout | Cause::Silence) => {
                let limit = shortest(limits.timeout, task.job.timeout).unwrap_or_default();
                Some(timeout(limit, "timeout", "--timeout"))
            }
            Some(Cause::CpuTimeout) => {
                let limit = limits.cpu_timeout.unwrap_or_default();
                Some(
                    timeout(limit, "cpu-timeout", "--cpu-timeout").with(|detail| detail.clock = Some("cpu".to_owned())),
                )
            }
            Some(Cause::Cancelled) => Some(Failure::new(Kind::Cancelled, "the run ended while this item ran")),
            Some(Cause::Protocol) | None if task.job.is_stopped() => {
                Some(Failure::new(Kind::Cancelled, "the run ended while this item ran"))
            }
            Some(Cause::Protocol) | None => {
                task.deaths += 1;
                let violation = ended.signal == Some(SIGSYS) && cause.is_none();
                if self.shared.side_effects && !violation {
                    return Some(maybe_ran(ended));
                }
                if task.job.once {
                    return Some(crashed(cause, ended, violation, "while it had this item"));
                }
                let how = if task.deaths < DEATHS { OFTEN_NEXT } else { TWICE };
                (violation || task.deaths >= DEATHS || task.attempts >= STARTS || task.strays >= STRAYS)
                    .then(|| crashed(cause, ended, violation, how))
            }
        }
    }

    fn complete(&self, outcome: &mut Outcome, seat: &Seat, usage: Usage) {
        let (stdout, cut) = seat.page.tail(Stream::Stdout);
        let (stderr, cut_too) = seat.page.tail(Stream::Stderr);
        outcome.captured =
            Captured { stdout: Bytes::from(stdout), stderr: Bytes::from(stderr), truncated: cut || cut_too };
        outcome.worker = Some(self.id);
        outcome.started = SystemTime::now().checked_sub(usage.wall);
        outcome.usage = usage;
        if let Err(failure) = &mut outcome.result {
            failure.detail.memory_refused = seat.page.memory_refused();
            if seat.page.initialising() {
                failure.detail.phase = Some("init".to_owned());
            }
        }
    }

    /// The pool ends: everything still here is cancelled.
    pub(super) fn abandon(&mut self) {
        self.bury(Some(Cause::Cancelled));
        self.backlog.drain(..).for_each(Load::cancel);
        self.delayed.drain(..).for_each(|(_, task)| task.cancel());
        self.shared.drain();
    }
}

/// When the item that runs, or would, is killed: by the pool's limit or by its
/// job's shorter one.
pub(super) fn killed_after(seat: &Seat, shared: &Shared) -> Option<Duration> {
    shortest(shared.spec.limits.killed_after(), jobs_timeout(seat))
}

/// How long the item that runs may.
pub(super) fn limit_of(seat: &Seat, shared: &Shared) -> Option<Duration> {
    shortest(shared.spec.limits.timeout, jobs_timeout(seat))
}

/// The limit of the call that the running item, or the next one, is of.
fn jobs_timeout(seat: &Seat) -> Option<Duration> {
    let running = seat.flight.job(seat.watch.ticket());
    let job = running.or_else(|| seat.flight.loads().next().map(Load::job));
    job.and_then(|job| job.timeout)
}

fn shortest(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Whether the running item must be ended now.
fn overdue(seat: &Seat, shared: &Shared, now: u64) -> Option<Cause> {
    let limits = &shared.spec.limits;
    let ticket = seat.watch.ticket();
    if seat.flight.job(ticket).is_some_and(|job| job.is_killed()) {
        return Some(Cause::Cancelled);
    }
    // Of items that were all taken back there is nothing to kill.
    let waits = ticket == 0 && seat.flight.loads().next().is_some();
    if waits && seat.flight.loads().all(|load| load.job().is_killed()) {
        return Some(Cause::Cancelled);
    }
    if let Some(timeout) = killed_after(seat, shared) {
        let timeout = timeout.as_nanos() as u64;
        if ticket != 0 && seat.watch.running_ns(now) >= timeout {
            return Some(Cause::Timeout);
        }
        let unanswered = timeout.saturating_mul(2).saturating_add(UNANSWERED.as_nanos() as u64);
        if seat.watch.silent_ns(now) >= timeout.saturating_add(SILENCE.as_nanos() as u64)
            || seat.watch.unanswered_ns(now) >= unanswered
        {
            return Some(Cause::Silence);
        }
    }
    let limit = limits.cpu_timeout?;
    let used = seat.process.cpu()?.saturating_sub(seat.cpu);
    // Tasks that were not reported yet share the clock: it is looked at only
    // while a single item has run for as long as the limit.
    (ticket != 0 && used >= limit && seat.watch.running_ns(now) >= limit.as_nanos() as u64).then_some(Cause::CpuTimeout)
}

fn usage(seat: &Seat, ended: &Ended, limits: &Limits, now: u64) -> Usage {
    // Of an item that the worker never showed only the silence is known.
    let wall = if seat.watch.ticket() == 0 { seat.watch.silent_ns(now) } else { seat.watch.running_ns(now) };
    let wall = Duration::from_nanos(wall);
    let cpu = ended.cpu.saturating_sub(seat.cpu).min(wall);
    let peak_memory = seat.page.peak_memory().min(limits.memory);
    Usage { wall, cpu, fuel: None, peak_memory }
}

/// Notes that an item came back; its failure, where that was too often.
pub(super) fn stray(task: &mut Task) -> Option<Failure> {
    task.strays += 1;
    (task.strays >= STRAYS).then(|| crashed(Some(Cause::Protocol), &Ended::default(), false, OFTEN_NEXT))
}

fn timeout(limit: Duration, name: &str, flag: &str) -> Failure {
    let hit = LimitHit::new(name, limit.as_millis() as u64, "ms", flag);
    let what = if name == "timeout" { "ran" } else { "used the processor" };
    Failure::limit(Kind::Timeout, format_args!("{what} longer than {}", humantime::format_duration(limit)), hit)
}

fn maybe_ran(ended: &Ended) -> Failure {
    Failure::new(
        Kind::WorkerCrashed,
        "the worker died; the item may have run and was not repeated, because what it can do outside cannot be undone",
    )
    .with(|detail| {
        detail.reason = Some("maybe-ran".to_owned());
        detail.signal = ended.signal;
    })
}

fn crashed(cause: Option<Cause>, ended: &Ended, violation: bool, how: &str) -> Failure {
    let message = match (cause, ended.signal, ended.code) {
        (Some(_), ..) => "the worker broke the protocol while it ran this item".to_owned(),
        (None, ..) if violation => "the worker made a system call that its sandbox forbids".to_owned(),
        (None, Some(signal), _) => format!("the worker was ended by signal {signal} {how}"),
        (None, _, Some(code)) => format!("the worker exited with code {code} {how}"),
        (None, None, None) => format!("the worker died {how}"),
    };
    Failure::new(Kind::WorkerCrashed, message).with(|detail| {
        detail.signal = if cause.is_some() { None } else { ended.signal };
        detail.reason = match cause {
            Some(_) => Some("protocol".to_owned()),
            None => violation.then(|| "sandbox-violation".to_owned()),
        };
    })
}

fn describe(ended: &Ended, words: &[u8]) -> String {
    let mut text = match (ended.signal, ended.code) {
        (Some(signal), _) => format!("a worker was ended by signal {signal}"),
        (None, Some(code)) => format!("a worker exited with code {code}"),
        (None, None) => "a worker ended".to_owned(),
    };
    if !words.is_empty() {
        text.push_str(": ");
        text.push_str(String::from_utf8_lossy(words).trim_end());
    }
    text
}
