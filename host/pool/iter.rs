//! The reader's end of a job: outcomes as they become due.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::outcome::{Captured, Failure, Form, Kind, Outcome, Usage};
use crate::pool::Shared;
use crate::pool::delivery::{Cursor, Delivery, Given};
use crate::pool::job::Job;

/// Permits given back at a time.
const RELEASE: usize = 32;

/// The outcomes of one call, in order or as they come. Dropping it cancels
/// what is left.
#[derive(Debug)]
pub struct Outcomes {
    job: Arc<Job>,
    shared: Arc<Shared>,
    ready: VecDeque<Delivery>,
    /// A delivery that is being read.
    current: Option<Cursor>,
    owed: usize,
    done: bool,
    /// Somebody else reads the job.
    leave: bool,
    unpulled: Unpulled,
}

/// What is told of the items that a job was ended before it pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unpulled {
    /// Nothing: the caller knows, or has been told.
    Silent,
    /// One outcome for all of them, however many; so many were given before.
    Some { given: u64 },
    /// One for each up to this number.
    Each { given: u64, total: u64 },
}

/// Nothing became due in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no outcome in time")]
pub struct TimedOut;

impl Outcomes {
    pub(crate) fn new(job: Arc<Job>, shared: Arc<Shared>) -> Self {
        Self {
            job,
            shared,
            ready: VecDeque::new(),
            current: None,
            owed: 0,
            done: false,
            leave: false,
            unpulled: Unpulled::Silent,
        }
    }

    /// Items that the job is ended before it pulls end as `cancelled`, too:
    /// each, where the input said how many it has, else one for them all.
    pub(crate) fn with_unpulled(mut self, total: Option<u64>) -> Self {
        self.unpulled = match total {
            Some(total) => Unpulled::Each { given: 0, total },
            None => Unpulled::Some { given: 0 },
        };
        self
    }

    /// The next outcome, waited for at most `timeout`; `None` after the last.
    ///
    /// # Errors
    /// [`TimedOut`]; the iterator can be used again.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Outcome>, TimedOut> {
        self.take(Instant::now().checked_add(timeout))
    }

    /// Whether an outcome is at hand without waiting.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.current.as_ref().is_some_and(|cursor| !cursor.is_empty()) || !self.ready.is_empty()
    }

    /// Waits until the next outcome, or the end, is at hand, for at most
    /// `timeout`; whether it is.
    pub fn wait_ready(&mut self, timeout: Duration) -> bool {
        if self.done || self.is_ready() {
            return true;
        }
        self.finish_current();
        self.release();
        self.done = !self.job.collect(&mut self.ready, Instant::now().checked_add(timeout));
        self.done || !self.ready.is_empty()
    }

    /// The job's first failure to come, by position.
    pub(crate) fn first_failure(&self) -> Option<u64> {
        self.job.first_failure()
    }

    /// Leaves the job to itself.
    pub(crate) fn into_job(mut self) -> Arc<Job> {
        self.leave = true;
        Arc::clone(&self.job)
    }

    /// The job itself.
    pub(crate) fn job(&self) -> &Arc<Job> {
        &self.job
    }

    fn take(&mut self, until: Option<Instant>) -> Result<Option<Outcome>, TimedOut> {
        let outcome = self.take_pulled(until)?;
        match (&outcome, &mut self.unpulled) {
            (Some(_), Unpulled::Some { given } | Unpulled::Each { given, .. }) => *given += 1,
            (None, _) => return Ok(self.take_unpulled()),
            (Some(_), Unpulled::Silent) => {}
        }
        Ok(outcome)
    }

    /// After the last outcome: those of items that were never pulled.
    fn take_unpulled(&mut self) -> Option<Outcome> {
        let index = match &mut self.unpulled {
            Unpulled::Each { given, total } if *given < *total && self.job.is_cut() => {
                *given += 1;
                *given - 1
            }
            Unpulled::Some { given } if self.job.is_cut() => {
                let index = *given;
                self.unpulled = Unpulled::Silent;
                index
            }
            Unpulled::Silent | Unpulled::Some { .. } | Unpulled::Each { .. } => return None,
        };
        Some(Outcome {
            index,
            result: Err(Failure::new(Kind::Cancelled, "the call ended before this item was read")),
            attempts: 0,
            worker: None,
            started: None,
            usage: Usage::default(),
            captured: Captured::default(),
            tag: None,
        })
    }

    fn take_pulled(&mut self, until: Option<Instant>) -> Result<Option<Outcome>, TimedOut> {
        loop {
            if let Some(outcome) = self.current.as_mut().and_then(Cursor::next) {
                self.owe(1);
                return Ok(Some(outcome));
            }
            match self.turn(until)? {
                None => return Ok(None),
                Some(None) => {}
                Some(Some(outcome)) => return Ok(Some(outcome)),
            }
        }
    }

    /// The next delivery: an outcome, or one that is read from now on.
    #[expect(clippy::option_option, reason = "the end, a delivery to read, and an outcome are three answers")]
    fn turn(&mut self, until: Option<Instant>) -> Result<Option<Option<Outcome>>, TimedOut> {
        self.finish_current();
        Ok(match self.advance(until)? {
            None => None,
            Some(Delivery::Many(finished)) => {
                self.current = Some(Cursor::new(finished));
                Some(None)
            }
            Some(Delivery::One(outcome)) => {
                self.job.unweigh(outcome.weight());
                self.owe(1);
                Some(Some(outcome))
            }
        })
    }

    /// The next value of the delivery that is being read.
    pub(crate) fn current_value(&mut self) -> Option<(u64, Form, &[u8])> {
        self.current.as_mut()?.next_bytes()
    }

    /// Gives the values left of that delivery to `take`, until that fails;
    /// how many it took.
    pub(crate) fn current_values<E>(
        &mut self,
        take: impl FnMut(u64, Given<'_>) -> Result<(), E>,
    ) -> (usize, Result<(), E>) {
        self.current.as_mut().map_or((0, Ok(())), |cursor| cursor.give(take))
    }

    /// After the last value of a delivery: the outcome that follows, or the
    /// next delivery's turn. `None` after the last.
    #[expect(clippy::option_option, reason = "as above")]
    pub(crate) fn next_single(&mut self) -> Option<Option<Outcome>> {
        self.turn(None).ok().flatten()
    }

    /// Lets go of a delivery that was read.
    fn finish_current(&mut self) {
        if let Some(cursor) = self.current.take() {
            self.job.unweigh(cursor.weight());
        }
    }

    /// The next delivery.
    fn advance(&mut self, until: Option<Instant>) -> Result<Option<Delivery>, TimedOut> {
        if self.ready.is_empty() {
            self.release();
            if self.done || !self.job.collect(&mut self.ready, until) {
                self.done = true;
                return Ok(None);
            }
        }
        self.ready.pop_front().map(Some).ok_or(TimedOut)
    }

    /// So many permits are to be given back.
    pub(crate) fn owe(&mut self, count: usize) {
        self.owed += count;
        if self.owed >= RELEASE {
            self.release();
        }
    }

    fn release(&mut self) {
        if self.owed > 0 {
            self.job.budget.release(self.owed);
            self.owed = 0;
        }
    }

    /// Starts nothing more. What runs is finished; queued items end as
    /// `cancelled`, and unread ones as the call's [`Rest`](super::Rest) says.
    pub fn stop(&self) {
        self.handle().stop();
    }

    /// Ends what runs, too.
    pub fn cancel(&self) {
        self.handle().cancel();
    }

    /// A handle that stops this job from another thread.
    #[must_use]
    pub fn handle(&self) -> JobHandle {
        JobHandle { job: Arc::clone(&self.job), shared: Arc::clone(&self.shared) }
    }

    /// Why the pool cannot go on, if it cannot.
    #[must_use]
    pub fn broken(&self) -> Option<Arc<Error>> {
        self.shared.broken()
    }
}

impl Iterator for Outcomes {
    type Item = Outcome;

    fn next(&mut self) -> Option<Outcome> {
        self.take(None).ok().flatten()
    }
}

impl std::iter::FusedIterator for Outcomes {}

impl Drop for Outcomes {
    fn drop(&mut self) {
        if self.leave {
            return;
        }
        if !self.done {
            self.cancel();
        }
        self.job.budget.close();
    }
}

/// Stops a job from elsewhere.
#[derive(Clone, Debug)]
pub struct JobHandle {
    job: Arc<Job>,
    shared: Arc<Shared>,
}

impl JobHandle {
    pub(crate) fn new(job: Arc<Job>, shared: Arc<Shared>) -> Self {
        Self { job, shared }
    }

    /// As [`Outcomes::stop`].
    pub fn stop(&self) {
        self.job.stop();
        self.shared.wake();
    }

    /// As [`Outcomes::cancel`].
    pub fn cancel(&self) {
        self.job.kill();
        self.shared.wake();
    }
}
