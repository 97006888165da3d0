//! The call of an initializer in a worker that is locked in, watched as a
//! task is: its end, its time, its death.

use std::io::{self, ErrorKind};
use std::time::Duration;

use bytes::Bytes;

use crate::error::InitializerError;
use crate::limits::Limits;
use crate::outcome::{Captured, Failure, Kind, LimitHit};
use crate::pool::process::Process;
use crate::pool::suspend;
use crate::wire::frame::{FrameKind, Head, INITIALIZER, INITIALIZER_INDEX, INITIALIZER_TICKET};
use crate::wire::message::{Initializer, ItemForm};
use crate::wire::page::{Page, Stream};
use crate::wire::report::read_report;
use crate::wire::run::item_flags;

/// How often clocks are looked at, and whether the call is still wanted.
const LOOK: Duration = Duration::from_millis(20);

/// A call to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) initializer: &'a Initializer,
    /// What it may use: as much as a task.
    pub(crate) limits: &'a Limits,
    /// The longest answer of an honest worker, in bytes.
    pub(crate) answer: u32,
}

/// Why a worker is not made ready.
#[derive(Debug)]
pub(crate) enum NotCalled {
    /// The initializer's own fault.
    Failed(Box<InitializerError>),
    /// Nobody wants it any more.
    Unwanted,
    /// The worker went, or talks nonsense.
    Died(Option<io::Error>),
}

impl Call<'_> {
    /// Makes the call and waits for its end; `wanted` is told the time so far.
    pub(crate) fn make(
        &self,
        process: &mut Process,
        page: &Page,
        wanted: &mut dyn FnMut(Duration) -> bool,
    ) -> Result<(), NotCalled> {
        let died = |error| NotCalled::Died(Some(error));
        process.expect_up_to(self.answer);
        let started = suspend::now();
        let cpu = process.cpu().unwrap_or_default();
        // A worker that is gone shows as the end of the stream.
        let _gone = process.ask(&Head {
            kind: FrameKind::Task,
            flags: item_flags(ItemForm::Json),
            function: INITIALIZER,
            length: 0,
            ticket: INITIALIZER_TICKET,
            index: INITIALIZER_INDEX,
            attempt: 1,
        });
        loop {
            let elapsed = suspend::now().saturating_sub(started);
            let left = self.limits.killed_after().map_or(LOOK, |limit| limit.saturating_sub(elapsed));
            if left.is_zero() {
                return Err(self.over(page, "timeout", self.limits.timeout));
            }
            match process.receive(left.min(LOOK)) {
                Ok(Some((head, payload))) => return self.answered(&head, payload),
                Ok(None) => return Err(NotCalled::Died(None)),
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                Err(error) => return Err(died(error)),
            }
            let used = process.cpu().unwrap_or_default().saturating_sub(cpu);
            if self.limits.cpu_timeout.is_some_and(|limit| used >= limit) {
                return Err(self.over(page, "cpu-timeout", self.limits.cpu_timeout));
            }
            if !wanted(elapsed) {
                return Err(NotCalled::Unwanted);
            }
        }
    }

    fn answered(&self, head: &Head, payload: Bytes) -> Result<(), NotCalled> {
        let report = (head.kind == FrameKind::Done && head.ticket == INITIALIZER_TICKET)
            .then(|| read_report(head, payload))
            .flatten()
            .ok_or_else(|| NotCalled::Died(Some(io::Error::other("it talks nonsense"))))?;
        match report.result {
            Ok(_value) => Ok(()),
            Err(failure) => Err(self.failed(failure, report.captured)),
        }
    }

    /// It took longer than a limit, and its worker is to be killed.
    fn over(&self, page: &Page, name: &str, limit: Option<Duration>) -> NotCalled {
        let limit = limit.unwrap_or_default();
        let hit = LimitHit::new(name, limit.as_millis() as u64, "ms", &format!("--{name}"));
        let what = if name == "timeout" { "ran" } else { "used the processor" };
        let what = format!("{what} longer than {}", humantime::format_duration(limit));
        self.failed(Failure::limit(Kind::Timeout, what, hit), printed(page))
    }

    /// The failure of the initializer.
    pub(crate) fn failed(&self, failure: Failure, captured: Captured) -> NotCalled {
        NotCalled::Failed(Box::new(InitializerError::new(self.initializer.path(), failure, captured)))
    }
}

/// What the call has printed so far.
pub(crate) fn printed(page: &Page) -> Captured {
    let (stdout, cut) = page.tail(Stream::Stdout);
    let (stderr, cut_too) = page.tail(Stream::Stderr);
    Captured { stdout: Bytes::from(stdout), stderr: Bytes::from(stderr), truncated: cut || cut_too }
}
