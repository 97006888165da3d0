//! What travels from a feeder to a slot: tasks, and runs of small items that
//! share one buffer and one bookkeeping.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::outcome::{Failure, Kind, Outcome, Tag};
use crate::pool::item::{Body, Supply};
use crate::pool::job::Job;
use crate::wire::integer;
use crate::wire::message::ItemForm;
use crate::wire::run::{MAX_BYTES, MAX_ITEM, MAX_ITEMS, number};

/// Tasks and runs that go to one slot together.
pub type Chunk = Vec<Load>;

/// A task on its way to a worker, or in one.
#[derive(Debug)]
pub struct Task {
    /// The job it belongs to.
    pub job: Arc<Job>,
    /// Its place among the job's outcomes.
    pub position: u64,
    /// Its index in the input.
    pub index: u64,
    /// Its bytes.
    pub body: Body,
    /// What comes back with its outcome.
    pub tag: Option<Box<Tag>>,
    /// How often it was started.
    pub attempts: u32,
    /// How often a worker died while it ran.
    pub deaths: u32,
    /// How often it came back, first in a worker, as if it had not been run.
    pub strays: u32,
}

impl Task {
    /// Ends the task without a worker's report.
    #[must_use]
    pub fn fail(self, failure: Failure) -> (Arc<Job>, u64, Outcome) {
        let tag = self.failed_tag();
        let outcome = Outcome {
            index: self.index,
            result: Err(failure),
            attempts: self.attempts,
            worker: None,
            started: None,
            usage: crate::outcome::Usage::default(),
            captured: crate::outcome::Captured::default(),
            tag: tag.or(self.tag),
        };
        (self.job, self.position, outcome)
    }

    /// What comes back with a failure where the job wants the items that
    /// failed.
    #[must_use]
    pub fn failed_tag(&self) -> Option<Box<Tag>> {
        let small = self.job.keep_input && self.body.bytes.len() <= MAX_ITEM;
        small.then(|| {
            let tag = self.tag.as_deref().cloned().unwrap_or_default();
            Box::new(Tag { item: Some(self.body.bytes.clone()), ..tag })
        })
    }

    /// Ends the task as `cancelled`.
    pub fn cancel(self) {
        let (job, position, outcome) = self.fail(Failure::new(Kind::Cancelled, "the run ended before this item"));
        job.deliver_one(position, outcome);
    }
}

#[derive(Debug)]
struct Packed {
    bytes: Vec<u8>,
    /// Where each item ends in `bytes`.
    ends: Vec<u32>,
}

/// Consecutive small items of one job, none of which was started yet.
#[derive(Debug)]
pub struct Run {
    /// The job they belong to.
    pub job: Arc<Job>,
    /// Each item travels in a frame of its own.
    pub apart: bool,
    /// What the items are.
    pub form: ItemForm,
    /// The items stand in its bytes as numbers, not as their text.
    pub numbers: bool,
    position: u64,
    index: u64,
    packed: Arc<Packed>,
    range: Range<usize>,
}

impl Run {
    /// Items in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Places of its items among the job's outcomes.
    #[must_use]
    pub fn positions(&self) -> Range<u64> {
        self.position..self.position + self.len() as u64
    }

    /// Index of its first item in the input.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    fn end(&self, item: usize) -> usize {
        item.checked_sub(1).map_or(0, |before| self.packed.ends[before] as usize)
    }

    /// Where its bytes start, where its items end, and the bytes.
    #[must_use]
    pub fn parts(&self) -> (u32, &[u32], &[u8]) {
        let (start, end) = (self.end(self.range.start), self.end(self.range.end));
        (start as u32, &self.packed.ends[self.range.clone()], &self.packed.bytes[start..end])
    }

    /// Its items' bytes, in order, as they stand.
    pub fn items(&self) -> impl Iterator<Item = &[u8]> {
        self.range.clone().map(|item| &self.packed.bytes[self.end(item)..self.end(item + 1)])
    }

    /// Bytes of all items.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.end(self.range.end) - self.end(self.range.start)
    }

    /// Bytes of the first `count` items, which leave the run.
    pub fn advance(&mut self, count: usize) -> usize {
        let count = count.min(self.len());
        let before = self.bytes();
        self.position += count as u64;
        self.index += count as u64;
        self.range.start += count;
        before - self.bytes()
    }

    /// Splits off the first `count` items.
    #[must_use]
    pub fn split_front(&mut self, count: usize) -> Self {
        let range = self.range.start..(self.range.start + count).min(self.range.end);
        let front = Self { job: Arc::clone(&self.job), packed: Arc::clone(&self.packed), range, ..*self };
        self.advance(count);
        front
    }

    /// The items as tasks, each with bytes of its own.
    pub fn into_tasks(self) -> impl DoubleEndedIterator<Item = Task> + ExactSizeIterator {
        let Self { job, form, numbers, position, index, packed, range, .. } = self;
        let first = range.start;
        range.map(move |item| {
            let start = item.checked_sub(1).map_or(0, |before| packed.ends[before] as usize);
            let bytes = &packed.bytes[start..packed.ends[item] as usize];
            let bytes = match number(bytes) {
                Some(number) if numbers => Bytes::from(number.to_string()),
                _ => Bytes::copy_from_slice(bytes),
            };
            let nth = (item - first) as u64;
            let body = Body { bytes, form, path: None, connection: None };
            Task {
                job: Arc::clone(&job),
                position: position + nth,
                index: index + nth,
                body,
                tag: None,
                attempts: 0,
                deaths: 0,
                strays: 0,
            }
        })
    }
}

/// One unit of a chunk.
#[derive(Debug)]
pub enum Load {
    /// One task.
    One(Task),
    /// A run of small ones.
    Many(Run),
}

impl Load {
    /// The job it belongs to.
    #[must_use]
    pub fn job(&self) -> &Arc<Job> {
        match self {
            Self::One(task) => &task.job,
            Self::Many(run) => &run.job,
        }
    }

    /// Bytes of its items.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::One(task) => task.body.bytes.len(),
            Self::Many(run) => run.bytes(),
        }
    }

    /// How often a worker died of it.
    #[must_use]
    pub fn deaths(&self) -> u32 {
        match self {
            Self::One(task) => task.deaths,
            Self::Many(_) => 0,
        }
    }

    /// Whether it holds the item of this place.
    #[must_use]
    pub fn holds(&self, position: u64) -> bool {
        match self {
            Self::One(task) => task.position == position,
            Self::Many(run) => run.positions().contains(&position),
        }
    }

    /// Ends it as `cancelled`.
    pub fn cancel(self) {
        match self {
            Self::One(task) => task.cancel(),
            Self::Many(run) => run.into_tasks().for_each(Task::cancel),
        }
    }
}

/// A chunk in the making.
#[derive(Debug, Default)]
pub struct Gathering {
    chunk: Chunk,
    open: Open,
    items: usize,
    bytes: usize,
    /// Items at the end that have no positions yet.
    unclaimed: usize,
}

/// The run at a chunk's end, which still grows.
#[derive(Debug)]
struct Open {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    position: u64,
    index: u64,
    form: ItemForm,
    numbers: bool,
    apart: bool,
}

impl Default for Open {
    fn default() -> Self {
        let (bytes, ends) = (Vec::new(), Vec::new());
        Self { bytes, ends, position: 0, index: 0, form: ItemForm::Json, numbers: false, apart: false }
    }
}

impl Gathering {
    /// Items so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items
    }

    /// Their bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a task.
    pub fn push(&mut self, task: Task) {
        self.close(&task.job);
        self.items += 1;
        self.bytes += task.body.bytes.len();
        self.chunk.push(Load::One(task));
    }

    /// Adds an item of `most` bytes to the run at the end, or to a new one;
    /// false where it has to travel as a task.
    pub fn pack(&mut self, job: &Arc<Job>, item: &impl Supply, position: u64, most: usize, apart: bool) -> bool {
        let index = item.index();
        let open = &self.open;
        let count = open.ends.len() as u64;
        let follows = open.position + count == position && open.index + count == index && open.apart == apart;
        if count > 0 && (!follows || count >= MAX_ITEMS as u64 || open.bytes.len() >= MAX_BYTES) {
            self.close(job);
        }
        let begins = self.open.ends.is_empty();
        let may_be_number = !apart && most >= integer::LONGEST && (begins || self.open.numbers);
        let number = if may_be_number { item.number() } else { None };
        if self.open.numbers && number.is_none() {
            self.close(job);
        }
        let open = &mut self.open;
        let before = open.bytes.len();
        let form = match number {
            Some(number) => {
                open.bytes.extend_from_slice(&number.to_le_bytes());
                Some(ItemForm::Json)
            }
            None => item.pack(&mut open.bytes),
        };
        let size = open.bytes.len() - before;
        let Some(form) = form.filter(|form| size <= MAX_ITEM.min(most) && (open.ends.is_empty() || *form == open.form))
        else {
            open.bytes.truncate(before);
            return false;
        };
        if open.ends.is_empty() {
            (open.position, open.index, open.form, open.apart) = (position, index, form, apart);
            open.numbers = number.is_some();
        }
        open.ends.push(open.bytes.len() as u32);
        self.items += 1;
        self.bytes += size;
        true
    }

    /// Adds items as [`Gathering::pack`] does, up to `most` of them, to one run,
    /// as long as they have positions from `position` on. They are kept only
    /// when [`Gathering::claim`] is told that these are theirs. Gives back the
    /// item that was pulled and not added.
    pub fn pack_many<S: Supply>(
        &mut self,
        job: &Arc<Job>,
        items: &mut impl Iterator<Item = S>,
        position: u64,
        most: usize,
        (most_bytes, apart): (usize, bool),
    ) -> Option<S> {
        let first = items.next()?;
        if most == 0 || !self.pack(job, &first, position, most_bytes, apart) {
            return Some(first);
        }
        self.unclaimed = 1;
        let most_bytes = MAX_ITEM.min(most_bytes);
        let index = first.index();
        for nth in 1..most as u64 {
            let open = &mut self.open;
            let before = open.bytes.len();
            if open.ends.len() >= MAX_ITEMS || before >= MAX_BYTES {
                break;
            }
            let item = items.next()?;
            let form = if open.numbers {
                item.number().map(|number| {
                    open.bytes.extend_from_slice(&number.to_le_bytes());
                    open.form
                })
            } else {
                item.pack(&mut open.bytes)
            };
            let size = open.bytes.len() - before;
            if form != Some(open.form) || size > most_bytes || item.index() != index + nth {
                open.bytes.truncate(before);
                return Some(item);
            }
            open.ends.push(open.bytes.len() as u32);
            self.items += 1;
            self.bytes += size;
            self.unclaimed += 1;
        }
        None
    }

    /// Items that [`Gathering::pack_many`] added last.
    #[must_use]
    pub fn unclaimed(&self) -> usize {
        self.unclaimed
    }

    /// Keeps those items, or takes them out again.
    pub fn claim(&mut self, theirs: bool) {
        let count = std::mem::take(&mut self.unclaimed);
        if !theirs {
            let (before, bytes) = (self.open.ends.len().saturating_sub(count), self.open.bytes.len());
            self.open.ends.truncate(before);
            self.mend();
            self.items -= count;
            self.bytes -= bytes - self.open.bytes.len();
        }
    }

    /// Takes out what an item left that was not added whole.
    pub fn mend(&mut self) {
        let whole = self.open.ends.last().map_or(0, |end| *end as usize);
        self.open.bytes.truncate(whole);
    }

    /// Ends the run at the end.
    fn close(&mut self, job: &Arc<Job>) {
        if self.open.ends.is_empty() {
            return;
        }
        // The next run will be about as large.
        let next = Open {
            bytes: Vec::with_capacity(self.open.bytes.len() + 16),
            ends: Vec::with_capacity(self.open.ends.len()),
            ..Open::default()
        };
        let Open { bytes, ends, position, index, form, numbers, apart } = std::mem::replace(&mut self.open, next);
        let range = 0..ends.len();
        let packed = Arc::new(Packed { bytes, ends });
        let job = Arc::clone(job);
        self.chunk.push(Load::Many(Run { job, apart, form, numbers, position, index, packed, range }));
    }

    /// Takes the chunk and the bytes of its items.
    #[must_use]
    pub fn take(&mut self, job: &Arc<Job>) -> (Chunk, usize) {
        self.close(job);
        self.items = 0;
        (std::mem::take(&mut self.chunk), std::mem::take(&mut self.bytes))
    }
}
