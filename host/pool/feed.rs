//! The feeder: one thread per job that pulls items lazily, cuts them into
//! chunks and sends them to the slots' queue, as far as the budget allows.

use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::outcome::{Failure, Kind};
use crate::pool::Shared;
use crate::pool::item::{Body, Item};
use crate::pool::job::{Job, Task};

/// Tasks that go to one slot together.
pub type Chunk = Vec<Task>;

/// How items are cut into chunks. A chunk is transport only: every item has
/// its own outcome and its own clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chunksize {
    /// Larger for short tasks, 1 for long ones.
    #[default]
    Auto,
    /// This many items, the last chunk excepted.
    Fixed(NonZeroUsize),
}

/// Items of an automatic chunk of short tasks.
const AUTO_ITEMS: usize = 16;

/// Bytes at which an automatic chunk is sent.
const AUTO_BYTES: usize = 64 << 10;

/// Tasks that take longer than this travel alone, in nanoseconds.
const AUTO_TASK_NS: u64 = 200_000;

/// Permits taken at a time.
const PERMITS: usize = 64;

/// What becomes of items that were not read yet when a job is stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rest {
    /// They are not read.
    #[default]
    Leave,
    /// They are read and end as `cancelled`.
    Cancel,
}

/// A chunk in the making.
#[derive(Debug, Default)]
pub struct Gathering {
    /// Its tasks so far.
    pub chunk: Chunk,
    /// Their items' bytes.
    pub bytes: usize,
}

/// Pulls `items` until they end or the job is stopped; a permit comes before
/// each pull.
pub(crate) fn feed(shared: &Shared, job: &Arc<Job>, mut items: impl Iterator<Item = Item>, chunksize: Chunksize) {
    let mut feeder = Feeder { shared, job, permits: 0, chunksize, open: true };
    while !job.leaves_rest() && feeder.reserve() {
        let Some(item) = items.next() else { break };
        let Some(position) = job.claim() else { break };
        feeder.take(item, position);
        if !feeder.open && !job.is_stopped() {
            break;
        }
    }
    feeder.send();
    shared.feeding.fetch_sub(1, Ordering::AcqRel);
    job.seal();
}

struct Feeder<'a> {
    shared: &'a Shared,
    job: &'a Arc<Job>,
    permits: usize,
    chunksize: Chunksize,
    open: bool,
}

impl Feeder<'_> {
    /// Makes sure of a permit for the next item; sends what is gathered
    /// before it would wait for one.
    fn reserve(&mut self) -> bool {
        if self.permits > 0 {
            self.permits -= 1;
            return true;
        }
        let mut taken = self.job.budget.try_acquire(PERMITS);
        if taken == 0 {
            self.send();
            taken = self.job.budget.acquire(PERMITS);
        }
        self.permits = taken.saturating_sub(1);
        taken > 0
    }

    /// Takes one item.
    fn take(&mut self, item: Item, position: u64) {
        let (body, failure) = match item.body {
            Ok(body) if body.bytes.len() as u64 > self.shared.max_item => {
                (Body::empty(), Some(self.shared.too_large(body.bytes.len())))
            }
            Ok(body) => (body, None),
            Err(failure) => (Body::empty(), Some(failure)),
        };
        let job = Arc::clone(self.job);
        let task = Task { job, position, index: item.index, body, tag: item.tag, attempts: 0, deaths: 0 };
        if let Some(failure) = failure {
            let (job, position, outcome) = task.fail(failure);
            job.deliver(std::iter::once((position, outcome)));
            return;
        }
        if !self.open {
            task.cancel();
            return;
        }
        let mut gathering = self.job.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that a stop either sees the task or is seen.
        if self.job.is_stopped() {
            drop(gathering);
            task.cancel();
            return;
        }
        gathering.bytes += task.body.bytes.len();
        gathering.chunk.push(task);
        let full = gathering.chunk.len() >= self.wanted()
            || (self.chunksize == Chunksize::Auto && gathering.bytes >= AUTO_BYTES);
        drop(gathering);
        if full {
            self.send();
        }
    }

    fn wanted(&self) -> usize {
        match self.chunksize {
            Chunksize::Fixed(items) => items.get(),
            Chunksize::Auto => match self.shared.task_ns.load(Ordering::Relaxed) {
                1..AUTO_TASK_NS => AUTO_ITEMS,
                _ => 1,
            },
        }
    }

    /// Sends the chunk; where the pool is gone its tasks are cancelled.
    fn send(&mut self) {
        let gathered = std::mem::take(&mut *self.job.gathering.lock().unwrap_or_else(PoisonError::into_inner));
        if gathered.chunk.is_empty() {
            return;
        }
        let open = self.job.budget.queue(gathered.bytes);
        match self.shared.queue(gathered.chunk) {
            Ok(()) => self.open = open,
            Err(chunk) => {
                self.open = false;
                chunk.into_iter().for_each(Task::cancel);
            }
        }
    }
}

/// The failure of an item over `--max-item`.
#[must_use]
pub(crate) fn too_large(size: usize, limit: u64) -> Failure {
    let hit = crate::outcome::LimitHit::new("max-item", limit, "bytes", "--max-item");
    Failure::limit(Kind::BadInput, format_args!("item of {size} bytes is over the limit of {limit} bytes"), hit)
}
