//! The loop of a run: outcomes in, lines out, while signals, the deadline and
//! `--fail-fast` may end it early.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::listen::Gate;
use crate::cli::args::limits::PoolArgs;
use crate::cli::input::InputStatus;
use crate::cli::journal::Journal;
use crate::cli::output::{Failed, FailurePrinter, ShowOutput, WriteError, Writer};
use crate::cli::prepare::Talk;
use crate::cli::printer::{Printer, Volume};
use crate::cli::progress::{Counts, Progress};
use crate::cli::run::notes::Steps;
use crate::cli::signals::{Listener, Urgency};
use crate::cli::stats::Stats;
use crate::error::Error;
use crate::escape;
use crate::outcome::{Kind, Outcome};
use crate::pool::suspend;
use crate::pool::{Outcomes, TimedOut};

/// Outcomes taken between two looks at clocks and signals, when they come
/// without waiting.
const BURST: u32 = 64;

/// How a run that was not broken ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All outcomes are written.
    Done,
    /// All there will be; time ran out before the input did.
    Cut,
    /// The reader of our output is gone.
    Closed,
}

/// Why a run ends before its input does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// A signal: what is done is kept, the rest is left out.
    Signal,
    /// `--fail-fast`.
    FailFast,
    /// `--deadline`.
    Deadline,
}

/// What the loop needs to know.
pub struct Drive<'a> {
    /// Counts outcomes.
    pub run: &'a mut Stats,
    /// Messages and progress.
    pub talk: &'a Talk,
    /// `--fail-fast`, `--grace`.
    pub pool_args: &'a PoolArgs,
    /// `--show-output`.
    pub show: ShowOutput,
    /// Unread items are left out when the run ends early: its output is not
    /// whole then.
    pub leaves_rest: bool,
    /// When `--deadline` is over, on the clock of [`suspend::now`].
    pub deadline: Option<Duration>,
    /// Signals.
    pub listener: Option<&'a Listener>,
    /// Ends the items.
    pub gate: Gate,
    /// Number of items, where that is known.
    pub total: Option<u64>,
    /// What running tasks say of themselves.
    pub steps: Steps,
}

/// Where outcomes go.
#[derive(Debug)]
pub struct Outlets<'a> {
    /// The results.
    pub writer: Writer,
    /// `--failed`.
    pub failed: Option<Failed>,
    /// `--journal`, where outcomes of an earlier run come from.
    pub journal: Option<&'a Journal>,
}

impl Outlets<'_> {
    /// Writes an outcome; what cannot be written counts as failed.
    fn write(&mut self, outcome: &mut Outcome) -> Result<(), WriteError> {
        if let Some(failure) = self.writer.write(outcome)? {
            outcome.result = Err(failure);
        }
        self.failed.as_mut().map_or(Ok(()), |failed| failed.write(outcome))
    }

    /// No other outcome is at hand.
    fn idle(&mut self) -> Result<(), WriteError> {
        self.writer.idle()?;
        self.failed.as_mut().map_or(Ok(()), Failed::idle)
    }

    /// The names of files while they are not whole.
    fn parts(&self) -> Vec<PathBuf> {
        let failed = self.failed.as_ref().and_then(Failed::part);
        self.writer.part().into_iter().chain(failed).map(Path::to_owned).collect()
    }

    /// The run is whole.
    fn finish(self) -> Result<(), WriteError> {
        self.writer.finish()?;
        self.failed.map_or(Ok(()), Failed::finish)
    }

    /// The run was interrupted.
    fn stop(self) -> Result<(), WriteError> {
        self.writer.stop()?;
        self.failed.map_or(Ok(()), Failed::stop)
    }

    /// The input broke off.
    fn abort(self) -> Result<(), WriteError> {
        self.writer.abort()?;
        self.failed.map_or(Ok(()), Failed::stop)
    }
}

impl Drive<'_> {
    /// Takes all outcomes.
    ///
    /// # Errors
    /// When the pool cannot go on, the input breaks off or the output cannot
    /// be written; what was done is written by then.
    pub fn outcomes(
        self,
        mut outcomes: Outcomes,
        outlets: Outlets<'_>,
        status: Option<&InputStatus>,
    ) -> Result<End, Error> {
        let printer = &self.talk.printer;
        let mut looping = Loop {
            progress: Progress::new(printer, self.talk.progress),
            failures: FailurePrinter::new(self.show),
            outlets,
            cut: None,
            drain_until: None,
            held: Vec::new(),
            drive: self,
        };
        let end = looping.turn(&mut outcomes);
        let Loop { failures, outlets, progress, cut, drive, .. } = looping;
        drop(progress);
        if printer.volume() >= Volume::Normal
            && let Some(line) = failures.summary()
        {
            printer.lines(&line);
        }
        match end {
            Err(WriteError::Closed) => return Ok(End::Closed),
            Err(WriteError::Failed(error)) => return Err(error),
            Ok(()) => {}
        }
        // Clients that come now are not kept waiting.
        drive.gate.shut();
        let parts = outlets.parts();
        let (written, error) = match (outcomes.broken(), status.and_then(InputStatus::take_error)) {
            (Some(error), _) => (outlets.abort(), Some(owned(&error))),
            (None, Some(error)) => (outlets.abort(), Some(error)),
            (None, None) if cut == Some(Cut::Signal) || (cut.is_some() && drive.leaves_rest) => (outlets.stop(), None),
            (None, None) => (outlets.finish(), None),
        };
        told(printer, cut, drive.run);
        for part in parts.iter().filter(|part| part.exists()) {
            printer.note(&format!("what is done is in {}", escape::path(part)));
        }
        match (error, written) {
            (Some(error), _) | (None, Err(WriteError::Failed(error))) => Err(error),
            (None, Err(WriteError::Closed)) => Ok(End::Closed),
            // Its items were not all run, seen or unseen.
            (None, Ok(())) if cut == Some(Cut::Deadline) => Ok(End::Cut),
            (None, Ok(())) => Ok(End::Done),
        }
    }
}

/// Says why the run ended early.
fn told(printer: &Printer, cut: Option<Cut>, stats: &Stats) {
    match cut {
        Some(Cut::Deadline) => printer.warning("the run's time is over; items not done are cancelled (--deadline)"),
        Some(Cut::FailFast) => printer.warning("stopped at the first failed item (--fail-fast)"),
        Some(Cut::Signal) => {
            let (items, are) = (stats.items(), if stats.items() == 1 { "item is" } else { "items are" });
            printer.warning(&format!("interrupted; {items} {are} done"));
        }
        None => {}
    }
}

struct Loop<'a> {
    drive: Drive<'a>,
    progress: Progress<'a>,
    failures: FailurePrinter,
    outlets: Outlets<'a>,
    cut: Option<Cut>,
    drain_until: Option<Duration>,
    /// Cancelled outcomes of an interrupted or broken run: written only if one
    /// that is done comes after them, which must keep its place. Bounded by
    /// the pool's window.
    held: Vec<Outcome>,
}

impl Loop<'_> {
    fn turn(&mut self, outcomes: &mut Outcomes) -> Result<(), WriteError> {
        let mut burst = 0;
        loop {
            match outcomes.next_timeout(self.patience()) {
                Ok(Some(outcome)) => {
                    self.take(outcome, outcomes)?;
                    if !outcomes.is_ready() {
                        self.outlets.idle()?;
                    }
                    burst += 1;
                    if burst < BURST && outcomes.is_ready() {
                        continue;
                    }
                }
                Ok(None) => return Ok(()),
                Err(TimedOut) => {}
            }
            burst = 0;
            if let Some(error) = self.outlets.journal.and_then(Journal::take_error) {
                return Err(WriteError::Failed(error));
            }
            self.look(outcomes);
        }
    }

    /// How long to wait for an outcome before looking around.
    fn patience(&self) -> Duration {
        let until = [self.drive.deadline, self.drain_until].into_iter().flatten().min();
        let left = until.map(|until| until.saturating_sub(suspend::now()));
        left.map_or(self.progress.interval(), |left| left.min(self.progress.interval()))
    }

    fn take(&mut self, outcome: Outcome, outcomes: &Outcomes) -> Result<(), WriteError> {
        let outcome = match self.outlets.journal {
            Some(journal) => journal.restore(outcome).map_err(WriteError::Failed)?,
            None => outcome,
        };
        let ended = self.cut == Some(Cut::Signal) || outcomes.broken().is_some();
        if ended && outcome.kind() == Kind::Cancelled {
            self.held.push(outcome);
            return Ok(());
        }
        for held in std::mem::take(&mut self.held) {
            self.put(held, outcomes)?;
        }
        self.put(outcome, outcomes)
    }

    fn put(&mut self, mut outcome: Outcome, outcomes: &Outcomes) -> Result<(), WriteError> {
        self.outlets.write(&mut outcome)?;
        self.drive.run.add(&outcome);
        let lines = self.failures.report(&outcome);
        let printer = &self.drive.talk.printer;
        if let Some(lines) = lines
            && printer.volume() >= Volume::Normal
        {
            printer.lines(&lines);
        }
        let failed = !matches!(outcome.kind(), Kind::Ok | Kind::Cancelled);
        if failed && self.drive.pool_args.fail_fast && self.cut.is_none() {
            self.cut = Some(Cut::FailFast);
            outcomes.cancel();
        }
        Ok(())
    }

    /// Heeds signals and clocks; draws progress.
    fn look(&mut self, outcomes: &Outcomes) {
        let now = suspend::now();
        let urgency = self.drive.listener.map_or(Urgency::None, Listener::urgency);
        if urgency >= Urgency::Drain && self.drain_until.is_none() {
            let grace = self.drive.pool_args.grace;
            self.drain_until = now.checked_add(grace);
            self.cut = Some(Cut::Signal);
            self.drive.gate.shut();
            self.drive.talk.printer.note("finishing what runs; interrupt again to stop at once (--grace)");
            if !self.drive.gate.drains() {
                outcomes.stop();
            }
        }
        if urgency == Urgency::Kill || self.drain_until.is_some_and(|until| now >= until) {
            outcomes.cancel();
        }
        if self.cut.is_none() && self.drive.deadline.is_some_and(|deadline| now >= deadline) {
            self.cut = Some(Cut::Deadline);
            outcomes.cancel();
        }
        if self.cut.is_some() {
            // Said already; what remains is short.
            self.drive.deadline = None;
        }
        let stats = &self.drive.run;
        self.progress.tick(Counts {
            done: stats.items(),
            failed: stats.failed(),
            total: self.drive.total,
            step: self.drive.steps.latest(),
        });
    }
}

/// An error that several share, as one of our own.
#[must_use]
pub fn owned(error: &Arc<Error>) -> Error {
    let text = error.to_string();
    match error.exit_code() {
        2 => Error::Usage(text),
        3 => Error::Module(text),
        _ => Error::Workers(text),
    }
}
