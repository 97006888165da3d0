//! The task loop: read a message, act, write a message. Over any reader, so
//! that tests run it in memory.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::limits::{Limits, Tighter};
use crate::outcome::{Failure, Form, Kind, LimitHit};
use crate::runtime::{Guest, Report, TaskInput};
use crate::wire::frame::{FrameKind, HEADER, Head, INITIALIZER};
use crate::wire::message::Refusal;
use crate::wire::page::{Page, Stream};
use crate::wire::report::{Figures, put_report, read_task};
use crate::wire::run::{Items, MAX_ITEM, item_form};
use crate::wire::socket;
use crate::worker::inbox::{Inbox, MAX_BLOCK};
use crate::worker::outbox::{Common, Outbox};

/// Time after which the host gets the replies while others are still to run,
/// in nanoseconds, so that it can send more before this worker runs dry.
const FLUSH_NS: u64 = 350_000;

/// Bytes of replies after which they are written.
const REPLY_BYTES: usize = 64 << 10;

/// Tasks under this are not worth a look at the processor clock.
const CPU_WORTH: Duration = Duration::from_micros(100);

/// What runs tasks; a guest, or a stand-in for tests.
pub(super) trait Runner {
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
                        self.after(&mut clock)?;
                    }
                    FrameKind::Run => self.run_all(head, &payload, &mut clock, &mut out)?,
                    FrameKind::Snapshot => self.snapshot()?,
                    _ => {}
                }
            }
            self.outbox.flush()?;
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
        for item in Items::read(payload).ok_or_else(lie)? {
            let (function, index, attempt) = (head.function, head.index, head.attempt);
            let task = TaskInput { function, index, attempt, item, form, path: None, tighter: Tighter::default() };
            self.one(&head, Some(&task), clock, out);
            self.after(clock)?;
            head.ticket += 1;
            head.index += 1;
        }
        Ok(())
    }

    /// After each item: what is due goes to the host.
    fn after(&mut self, clock: &mut Clock) -> io::Result<()> {
        if self.prompt {
            // The host knows of it before anyone could think that it did not
            // run.
            self.outbox.flush()?;
        }
        self.page.finish();
        if self.runner.is_spent() {
            Head::control(FrameKind::Spent, 0).put(self.outbox.replies().frames());
            self.outbox.flush()?;
            return Err(io::Error::other("the instance that was made ready is gone"));
        }
        // Not on the item's clock: the host may not be reading.
        if clock.flush_is_due() || self.gathered >= REPLY_BYTES {
            self.outbox.flush()?;
            self.gathered = 0;
        }
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
        for part in module.chunks(MAX_BLOCK).chain([&[][..]]) {
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
            returned.put(self.outbox.replies().frames());
            return;
        }
        self.inbox.begin(head.ticket);
        self.outbox.leave();
        let started = clock.begin();
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
        // Its end is waited for alone, and not for what it gave.
        let initializer = head.function == INITIALIZER;
        if initializer {
            out.clear();
        }
        self.gathered = match self.common(&report, &times, out).filter(|_| !initializer) {
            Some(common) => self.outbox.replies().put(head, &common, out),
            None => self.report(head, report, &times, out),
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

    fn report(&self, head: &Head, mut report: Report, times: &Times, out: &[u8]) -> usize {
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
        let result: Result<(Form, &[u8]), &Failure> = match &report.result {
            Ok(form) => Ok((*form, out)),
            Err(failure) => Err(failure),
        };
        let mut replies = self.outbox.replies();
        put_report(replies.frames(), *head, &figures, result);
        replies.len()
    }
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

/// Clocks of the task loop. One task's end is the next one's start, so a task
/// costs one reading of the clock.
struct Clock {
    /// Wall clock minus monotonic clock, in microseconds.
    offset_us: i128,
    mark: u64,
    cpu: Duration,
    /// When the host got replies last.
    flushed: u64,
}

impl Clock {
    fn new() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i128;
        let mark = monotonic_ns();
        Self { offset_us: wall - i128::from(mark / 1000), mark, cpu: cpu_time(), flushed: mark }
    }

    /// Time passed that no task used.
    fn restart(&mut self) {
        self.mark = monotonic_ns();
        self.flushed = self.mark;
    }

    /// Whether the host has heard nothing for so long that it should; asked
    /// once, it has.
    fn flush_is_due(&mut self) -> bool {
        let due = self.mark.saturating_sub(self.flushed) >= FLUSH_NS;
        if due {
            self.flushed = self.mark;
        }
        due
    }

    fn now_ns(&self) -> u64 {
        self.mark
    }

    /// Start of a task in microseconds since the epoch.
    fn begin(&self) -> u64 {
        u64::try_from(self.offset_us + i128::from(self.mark / 1000)).unwrap_or(0)
    }

    /// Wall and processor time of the task that began at the mark.
    fn end(&mut self) -> (Duration, Duration) {
        let now = monotonic_ns();
        let wall = Duration::from_nanos(now - self.mark);
        self.mark = now;
        if wall < CPU_WORTH {
            self.cpu += wall;
            return (wall, wall);
        }
        let cpu = cpu_time();
        let used = cpu.saturating_sub(self.cpu).min(wall);
        self.cpu = cpu;
        (wall, used)
    }
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
