//! The feeder: one thread per job that pulls items lazily, cuts them into
//! chunks and sends them to the slots' queue, as far as the budget allows.

use std::any::{Any, TypeId};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use crate::outcome::{Failure, Kind};
use crate::pool::Shared;
use crate::pool::item::{Body, Item, Supply};
use crate::pool::job::Job;
use crate::pool::load::{Gathering, Load, Task};
use crate::pool::options::Chunksize;
use crate::wire::run::MAX_ITEMS;

/// Time of all tasks of an automatic chunk, in nanoseconds.
const AUTO_NS: u64 = 200_000;

/// Bytes at which an automatic chunk is sent.
const AUTO_BYTES: usize = 64 << 10;

/// Chunks of one item that reach a slot together, where tasks are so short
/// that waking the slot for each would take longer than the task.
const TOGETHER: usize = 32;

/// Tasks that take longer than this, in nanoseconds, reach a slot one by one.
const SHORT_NS: u64 = 20_000;

/// Permits taken at a time.
const PERMITS: usize = 64;

/// Pulls `items` until they end or the job is stopped; a permit comes before
/// each pull. Items that panic end with a failure of the next position.
pub(crate) fn feed<S: Supply>(
    shared: &Shared,
    job: &Arc<Job>,
    mut items: impl Iterator<Item = S>,
    chunksize: Chunksize,
) {
    shared.feeders().push(Arc::clone(job));
    // After the list has it: the end either sees the job or is seen.
    if shared.is_terminated() {
        job.end_with_pool();
    }
    let mut feeder = Feeder { shared, job, permits: 0, chunksize, open: true, at: None };
    let pulled = catch_unwind(AssertUnwindSafe(|| feeder.pull(&mut items)));
    if let Err(panic) = pulled {
        feeder.fail(panic.as_ref());
    }
    feeder.send();
    shared.feeders().retain(|other| !Arc::ptr_eq(other, job));
    shared.feeding.fetch_sub(1, Ordering::AcqRel);
    job.seal();
}

/// What came of pulling items that are at hand.
enum Pulled<S> {
    /// Some were taken.
    Some,
    /// One is to be taken by itself; it has a permit.
    One(S),
    /// There is none, or there must be none.
    None,
}

struct Feeder<'a> {
    shared: &'a Shared,
    job: &'a Arc<Job>,
    permits: usize,
    chunksize: Chunksize,
    open: bool,
    /// Position of the item that is being taken.
    at: Option<u64>,
}

impl Feeder<'_> {
    fn pull<S: Supply>(&mut self, items: &mut impl Iterator<Item = S>) {
        while !self.job.leaves_rest() && self.reserve() {
            let item = if self.job.at_hand {
                match self.take_many(items) {
                    Pulled::Some => continue,
                    Pulled::None => break,
                    Pulled::One(item) => Some(item),
                }
            } else {
                items.next()
            };
            let Some(item) = item else { break };
            let Some(position) = self.job.claim() else { break };
            self.at = Some(position);
            self.take(item, position);
            self.at = None;
            if !self.open && !self.job.is_stopped() {
                break;
            }
        }
    }

    /// Takes items that are at hand, as many as there are permits for, with
    /// one look at what others do.
    fn take_many<S: Supply>(&mut self, items: &mut impl Iterator<Item = S>) -> Pulled<S> {
        let wanted = self.wanted();
        let mut gathering = self.job.gathering();
        let plain = self.open && !self.job.is_stopped() && self.job.tighter.is_none();
        let (Some(position), true) = (self.job.next_claim(), plain) else {
            drop(gathering);
            return items.next().map_or(Pulled::None, Pulled::One);
        };
        let most = wanted.saturating_sub(gathering.len()).min(self.permits + 1);
        let most_bytes = usize::try_from(self.shared.max_item).unwrap_or(usize::MAX);
        let left = gathering.pack_many(self.job, items, position, most, (most_bytes, self.is_apart()));
        let count = gathering.unclaimed();
        if count == 0 {
            drop(gathering);
            return left.map_or(Pulled::None, Pulled::One);
        }
        let theirs = self.job.claim_many(count);
        gathering.claim(theirs);
        // One was reserved for the first of them.
        self.permits -= count - 1;
        self.send_if_due(gathering, wanted);
        match left {
            _ if !theirs || !self.open && !self.job.is_stopped() => Pulled::None,
            None => Pulled::Some,
            Some(item) if self.reserve() => Pulled::One(item),
            Some(_) => Pulled::None,
        }
    }

    /// The input panicked, or the item that was being taken.
    fn fail(&mut self, panic: &(dyn Any + Send)) {
        let mut gathering = self.job.gathering();
        gathering.mend();
        let count = gathering.unclaimed();
        if count > 0 {
            let theirs = self.job.claim_many(count);
            gathering.claim(theirs);
        }
        drop(gathering);
        let Some(position) = self.at.take().or_else(|| self.job.claim()) else { return };
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let failure = Failure::new(Kind::BadInput, format!("the input panicked: {}", text.unwrap_or("no message")));
        let item = Item { index: position, body: Err(failure), tag: None };
        let none = task(self.shared, self.job, item, position);
        debug_assert!(none.is_none(), "what failed is no task");
    }

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
    fn take(&mut self, item: impl Supply, position: u64) {
        let wanted = self.wanted();
        let mut gathering = self.job.gathering();
        // Under the lock, so that a stop either sees the item or is seen.
        let open = self.open && !self.job.is_stopped();
        let most = usize::try_from(self.shared.max_item).unwrap_or(usize::MAX);
        // A frame of many items has no room for limits.
        let plain = open && wanted > 0 && self.job.tighter.is_none();
        let packed = plain && gathering.pack(self.job, &item, position, most, self.is_apart());
        if !packed {
            drop(gathering);
            let Some(task) = task(self.shared, self.job, item.into_item(), position) else { return };
            gathering = self.job.gathering();
            if !open || self.job.is_stopped() {
                drop(gathering);
                task.cancel();
                return;
            }
            gathering.push(task);
        }
        self.send_if_due(gathering, wanted);
    }

    /// Sends the chunk where it has as many items as are wanted, or somebody
    /// has nothing else to do.
    fn send_if_due(&mut self, gathering: MutexGuard<'_, Gathering>, wanted: usize) {
        let full = gathering.len() >= wanted || (!self.is_fixed() && gathering.bytes() >= AUTO_BYTES);
        drop(gathering);
        if full || self.shared.starving.load(Ordering::Acquire) > 0 {
            self.send();
        }
    }

    fn is_apart(&self) -> bool {
        matches!(self.chunksize, Chunksize::Fixed(items) if items.get() == 1)
    }

    /// Whether the chunks have a number of items that was asked for.
    fn is_fixed(&self) -> bool {
        matches!(self.chunksize, Chunksize::Fixed(items) if items.get() > 1)
    }

    /// How many items are sent together; 0 for one that is not to be packed.
    fn wanted(&self) -> usize {
        let task_ns = self.shared.task_ns.load(Ordering::Relaxed);
        if self.shared.spec.capabilities.connections {
            // The next one may never come.
            return 0;
        }
        match self.chunksize {
            Chunksize::Fixed(items) if items.get() > 1 => items.get(),
            Chunksize::Fixed(_) if (1..SHORT_NS).contains(&task_ns) => TOGETHER,
            Chunksize::Auto if (1..AUTO_NS / 2).contains(&task_ns) => {
                usize::try_from(AUTO_NS / task_ns).unwrap_or(MAX_ITEMS).min(MAX_ITEMS)
            }
            Chunksize::Fixed(_) | Chunksize::Auto => 0,
        }
    }

    /// Sends the chunk; where the pool is gone its tasks are cancelled.
    fn send(&mut self) {
        let (chunk, bytes) = self.job.gathering().take(self.job);
        if chunk.is_empty() {
            return;
        }
        let open = self.job.budget.queue(bytes);
        match self.shared.queue(chunk) {
            Ok(()) => self.open = open,
            Err(chunk) => {
                self.open = false;
                chunk.into_iter().for_each(Load::cancel);
            }
        }
    }
}

/// Whether an iterator has its items at hand, so that `next` waits for nothing:
/// of the types that calls are mostly made with it is known.
pub(crate) fn is_at_hand<I: Iterator + 'static>() -> bool {
    let ours = TypeId::of::<I>();
    ours == TypeId::of::<std::vec::IntoIter<I::Item>>()
        || ours == TypeId::of::<std::collections::vec_deque::IntoIter<I::Item>>()
        || [
            TypeId::of::<Range<i32>>(),
            TypeId::of::<Range<u32>>(),
            TypeId::of::<Range<i64>>(),
            TypeId::of::<Range<u64>>(),
            TypeId::of::<Range<usize>>(),
        ]
        .contains(&ours)
}

/// The item as a task; one that cannot run ends here.
pub(crate) fn task(shared: &Shared, job: &Arc<Job>, item: Item, position: u64) -> Option<Task> {
    let (body, failure) = match item.body {
        Ok(body) if body.bytes.len() as u64 > shared.max_item => {
            (Body::empty(), Some(shared.too_large(body.bytes.len())))
        }
        Ok(body) => (body, None),
        Err(failure) => (Body::empty(), Some(failure)),
    };
    let job = Arc::clone(job);
    let task = Task { job, position, index: item.index, body, tag: item.tag, attempts: 0, deaths: 0, strays: 0 };
    let Some(failure) = failure else { return Some(task) };
    let (job, position, outcome) = task.fail(failure);
    job.deliver_one(position, outcome);
    None
}

/// The failure of an item over `--max-item`.
#[must_use]
pub(crate) fn too_large(size: usize, limit: u64) -> Failure {
    let hit = crate::outcome::LimitHit::new("max-item", limit, "bytes", "--max-item");
    Failure::limit(Kind::BadInput, format_args!("item of {size} bytes is over the limit of {limit} bytes"), hit)
}
