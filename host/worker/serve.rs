//! The task loop: read a message, act, write a message. Over any reader, so
//! that tests run it in memory.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use bytes::Bytes;

use crate::limits::{Limits, Tighter};
use crate::outcome::{Failure, Form, Kind, LimitHit};
use crate::runtime::{Guest, Plain, Report, TaskInput};
use crate::wire::frame::{FrameKind, HEADER, Head, INITIALIZER};
use crate::wire::integer;
use crate::wire::message::ItemForm;
use crate::wire::message::Refusal;
use crate::wire::page::{Page, Stream};
use crate::wire::report::{Figures, put_report, put_value_report, read_task};
use crate::wire::run::{Items, MAX_ITEM, Packing, are_numbers, item_form, number};
use crate::wire::socket;
use crate::worker::clock::{Clock, Lap};
use crate::worker::inbox::Inbox;
use crate::worker::outbox::{Common, Outbox};

/// Bytes of replies after which they are written.
const REPLY_BYTES: usize = 64 << 10;

/// Values from this size on are written from where they are, in bytes.
const DIRECT: usize = 16 << 10;

/// Bytes of a snapshot that travel together.
const PART: usize = 1 << 20;

/// What runs tasks; a guest, or a stand-in for tests.
pub(super) trait Runner {
    /// Calls of a function that need nothing before or after each.
    fn plain(&mut self, _function: u16) -> Option<Plain<'_>> {
        None
    }

    /// Runs one task; the value's bytes are appended to `out`.
    fn run(&mut self, task: &TaskInput<'_>, out: &mut Vec<u8>) -> Report;

    /// The next task talks over this connection.
    fn connect(&mut self, connection: OwnedFd);

    /// Whether it can run no more tasks.
    fn is_spent(&self) -> bool {
        false
    }

    /// A module that begins as this one is now.
    fn snapshot(&mut self) -> Result<Vec<u8>, Refusal> {
        Err(Refusal::machine("there is nothing to take a snapshot of"))
    }
}

impl Runner for Guest {
    fn plain(&mut self, function: u16) -> Option<Plain<'_>> {
        Self::plain(self, function)
    }

    fn run(&mut self, task: &TaskInput<'_>, out: &mut Vec<u8>) -> Report {
        if task.function == INITIALIZER { self.initialise() } else { Self::run(self, task, out) }
    }

    fn is_spent(&self) -> bool {
        Self::is_spent(self)
    }

    fn snapshot(&mut self) -> Result<Vec<u8>, Refusal> {
        Self::snapshot(self)
    }

    fn connect(&mut self, connection: OwnedFd) {
        Self::connect(self, connection);
    }
}

/// The task loop's state.
pub(super) struct Server<'a, R> {
    pub(super) runner: R,
    pub(super) page: &'a Page,
    pub(super) outbox: &'a Outbox,
    pub(super) limits: &'a Limits,
    /// Every reply is written before the next task starts.
    pub(super) prompt: bool,
    pub(super) inbox: &'a Inbox,
    /// Bytes of replies that were gathered when the last one was.
    pub(super) gathered: usize,
    /// The report of the task that has just run, up to its value, where that is
    /// large: it is written from where it is.
    pub(super) large: Vec<u8>,
}

impl<R: Runner> Server<'_, R> {
    /// Serves until the stream ends.
    pub(super) fn serve(&mut self) -> io::Result<()> {
        let mut clock = Clock::new();
        let mut out = Vec::new();
        loop {
            while let Some((head, payload)) = self.inbox.next_frame()? {
                match head.kind {
                    FrameKind::Task => {
                        self.task(&head, &payload, &mut clock, &mut out);
                        self.after(&mut clock, &out)?;
                    }
                    FrameKind::Run => self.run_all(head, &payload, &mut clock, &mut out)?,
                    FrameKind::Snapshot => self.snapshot()?,
                    _ => {}
                }
            }
            self.outbox.flush()?;
            self.gathered = 0;
            if !self.inbox.fill()? {
                return Ok(());
            }
            clock.restart();
        }
    }

    /// Runs the items of a run, one after another.
    fn run_all(&mut self, mut head: Head, payload: &Bytes, clock: &mut Clock, out: &mut Vec<u8>) -> io::Result<()> {
        let lie = || io::Error::other("the host sent a run that is none");
        let form = item_form(head.flags).ok_or_else(lie)?;
        let mut items = Items::read(payload).ok_or_else(lie)?;
        let (numbers, mut digits) = (are_numbers(head.flags), Vec::new());
        let quick = !self.prompt && form == ItemForm::Json && self.limits.max_result >= integer::LONGEST as u64;
        loop {
            if quick {
                self.run_plain(&mut head, &mut items, clock, out)?;
            }
            let Some(mut item) = items.next() else { return Ok(()) };
            if numbers {
                digits.clear();
                integer::put(&mut digits, number(item).ok_or_else(lie)?);
                item = &digits;
            }
            let (function, index, attempt) = (head.function, head.index, head.attempt);
            let task = TaskInput { function, index, attempt, item, form, path: None, tighter: Tighter::default() };
            self.one(&head, Some(&task), clock, out);
            self.after(clock, out)?;
            pass(&mut head);
        }
    }

    /// Runs items for as long as they are plain, with nothing between two of
    /// them but their clock, the page and the ledger. The first that turns out
    /// to be none is reported on, those that show it before are left.
    fn run_plain(
        &mut self,
        head: &mut Head,
        items: &mut Items<'_>,
        clock: &mut Clock,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let (page, outbox) = (self.page, self.outbox);
        let Some(mut calls) = self.runner.plain(head.function) else { return Ok(()) };
        let numbers = are_numbers(head.flags);
        let packing = if numbers { Packing::Integers } else { Packing::Plain(Form::Json) };
        let read = |calls: &Plain<'_>, item| {
            if numbers { number(item).and_then(|number| calls.number(number)) } else { calls.argument(item) }
        };
        let mut ahead = *items;
        let Some(mut argument) = ahead.next().and_then(|item| read(&calls, item)) else { return Ok(()) };
        clock.begin_laps();
        if !page.start(head.ticket, clock.now_ns()) {
            return Ok(());
        }
        outbox.leave();
        calls.begin();
        let ledger = outbox.replies().enter(head, packing, clock.since_epoch_us(clock.now_ns()), calls.memory());
        for number in 0.. {
            self.inbox.begin(head.ticket);
            let mark = clock.now_ns();
            let value = calls.call(argument);
            let lap = clock.lap();
            // As it stands behind the item that has run.
            *items = ahead;
            let entered = match (value, lap) {
                (Some(value), Lap::Short(wall_ns)) if page.is_silent() && calls.is_untouched() => {
                    ledger.put(number, value, wall_ns)
                }
                _ => false,
            };
            if !entered {
                out.clear();
                let report = calls.report(value, out);
                let (wall, cpu) = lap.times();
                let times = Times { started: clock.since_epoch_us(mark), wall, cpu };
                self.conclude(head, report, &times, out);
                pass(head);
                return self.after(clock, out);
            }
            pass(head);
            if clock.flush_is_due() {
                page.finish();
                outbox.flush()?;
                clock.begin_laps();
            }
            argument = match ahead.next().and_then(|item| read(&calls, item)) {
                Some(next) if page.start_next(head.ticket, clock.now_ns()) => next,
                _ => break,
            };
        }
        self.gathered = outbox.replies().gathered();
        self.after(clock, out)
    }

    /// After each item, whose value is in `out`: what is due goes to the host.
    fn after(&mut self, clock: &mut Clock, out: &[u8]) -> io::Result<()> {
        if self.prompt {
            // The host knows of it before anyone could think that it did not
            // run.
            self.flush(out)?;
        }
        self.page.finish();
        if self.runner.is_spent() {
            // In one with the report before it: in between the host would send
            // more.
            if !self.large.is_empty() {
                self.flush(out)?;
            }
            Head::control(FrameKind::Spent, 0).put(self.outbox.replies().frames());
            self.outbox.flush()?;
            return Err(io::Error::other("the instance that was made ready is gone"));
        }
        // Not on the item's clock: the host may not be reading.
        if clock.flush_is_due() || self.gathered >= REPLY_BYTES || !self.large.is_empty() {
            self.flush(out)?;
            self.gathered = 0;
        }
        Ok(())
    }

    /// Writes what was gathered, and the report whose value is still in `out`.
    fn flush(&mut self, out: &[u8]) -> io::Result<()> {
        if self.large.is_empty() {
            return self.outbox.flush();
        }
        self.outbox.flush_with([&self.large, out])?;
        self.large.clear();
        Ok(())
    }

    /// Sends the module as it is now, in parts, or why it cannot.
    fn snapshot(&mut self) -> io::Result<()> {
        self.outbox.flush()?;
        let host = self.outbox.host();
        let host = host.as_fd();
        let module = match self.runner.snapshot() {
            Ok(module) => module,
            Err(refusal) => return super::answer(host, FrameKind::Refused, &refusal),
        };
        for part in module.chunks(PART).chain([&[][..]]) {
            let mut head = Vec::with_capacity(HEADER);
            Head::control(FrameKind::Snapshot, part.len() as u32).put(&mut head);
            socket::send_all(host, &head, &[])?;
            socket::send_all(host, part, &[])?;
        }
        Ok(())
    }

    fn task(&mut self, head: &Head, payload: &Bytes, clock: &mut Clock, out: &mut Vec<u8>) {
        let task = read_task(head, payload).map(|parts| {
            let (item, form, path, tighter) = (parts.item, parts.form, parts.path, parts.tighter);
            let (function, index, attempt) = (head.function, head.index, head.attempt);
            TaskInput { function, index, attempt, item, form, path, tighter }
        });
        self.one(head, task.as_ref(), clock, out);
    }

    /// Runs one task, or hands it back where the host has asked for it.
    fn one(&mut self, head: &Head, task: Option<&TaskInput<'_>>, clock: &mut Clock, out: &mut Vec<u8>) {
        // Of a task that is handed back it is closed: the host has it, too.
        let connection = self.inbox.connection();
        if !self.page.start(head.ticket, clock.now_ns()) {
            let returned = Head { kind: FrameKind::Returned, length: 0, ..*head };
            let mut replies = self.outbox.replies();
            returned.put(replies.frames());
            self.gathered = replies.gathered();
            return;
        }
        self.inbox.begin(head.ticket);
        if self.gathered > 0 {
            self.outbox.leave();
        }
        let started = clock.since_epoch_us(clock.now_ns());
        out.clear();
        let alone = matches!(connection, Some(None));
        if let Some(connection) = connection.flatten() {
            self.runner.connect(connection);
        }
        let report = match task {
            Some(_) if alone => Report::failed(Failure::new(Kind::BadInput, "this pool serves connections only")),
            Some(task) => self.runner.run(task, out),
            None => Report::failed(Failure::new(Kind::BadInput, "the host sent a task that is none")),
        };
        let (wall, cpu) = clock.end();
        let times = Times { started, wall, cpu };
        self.conclude(head, report, &times, out);
    }

    /// Gathers the reply for a task.
    fn conclude(&mut self, head: &Head, report: Report, times: &Times, out: &mut Vec<u8>) {
        // Its end is waited for alone, and not for what it gave.
        let initializer = head.function == INITIALIZER;
        if initializer {
            out.clear();
        }
        self.gathered = match self.common(&report, times, out).filter(|_| !initializer) {
            Some(common) => self.outbox.replies().put(head, &common, out),
            None => self.report(head, report, times, out),
        };
    }

    /// The report of a short task that only returned a small value.
    fn common(&self, report: &Report, times: &Times, out: &[u8]) -> Option<Common> {
        let form = *report.result.as_ref().ok()?;
        let silent = self.page.printed(Stream::Stderr) == 0
            && (report.stdout_is_result || self.page.printed(Stream::Stdout) == 0);
        let small = out.len() <= MAX_ITEM && out.len() as u64 <= self.limits.max_result;
        if !silent || !small || report.fuel.is_some() || times.cpu != times.wall {
            return None;
        }
        let wall_ns = u32::try_from(times.wall.as_nanos()).ok()?;
        Some(Common { form, started_us: times.started, wall_ns, peak_memory: report.peak_memory })
    }

    fn report(&mut self, head: &Head, mut report: Report, times: &Times, out: &[u8]) -> usize {
        let limit = self.limits.max_result;
        if report.result.is_ok() && out.len() as u64 > limit {
            report.result = Err(too_large(out.len(), limit));
        }
        let (mut stdout, mut stderr, mut truncated) = (Vec::new(), Vec::new(), false);
        if self.page.printed(Stream::Stderr) > 0 {
            (stderr, truncated) = self.page.tail(Stream::Stderr);
        }
        // A command's stdout is its value; only a failed one shows it here.
        if self.page.printed(Stream::Stdout) > 0 && (report.result.is_err() || !report.stdout_is_result) {
            let (tail, cut) = self.page.tail(Stream::Stdout);
            (stdout, truncated) = (tail, truncated | cut);
        }
        let figures = Figures {
            started_us: times.started,
            wall_ns: times.wall.as_nanos() as u64,
            cpu_ns: times.cpu.as_nanos() as u64,
            peak_memory: report.peak_memory,
            fuel: report.fuel,
            stdout: &stdout,
            stderr: &stderr,
            truncated,
        };
        if let Ok(form) = report.result
            && out.len() >= DIRECT
        {
            put_value_report(&mut self.large, *head, &figures, form, out.len());
            return self.gathered;
        }
        let result: Result<(Form, &[u8]), &Failure> = match &report.result {
            Ok(form) => Ok((*form, out)),
            Err(failure) => Err(failure),
        };
        let mut replies = self.outbox.replies();
        put_report(replies.frames(), *head, &figures, result);
        replies.gathered()
    }
}

/// On to the next item of a run.
fn pass(head: &mut Head) {
    head.ticket += 1;
    head.index += 1;
}

fn too_large(size: usize, limit: u64) -> Failure {
    let hit = LimitHit::new("max-result", limit, "bytes", "--max-result");
    Failure::limit(
        Kind::ResultTooLarge,
        format_args!("the result of {size} bytes is over the limit of {limit} bytes"),
        hit,
    )
}

struct Times {
    started: u64,
    wall: Duration,
    cpu: Duration,
}
