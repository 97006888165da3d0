//! One call of the pool: what its items, the slots that run them and the
//! reader of its outcomes share.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::Tighter;
use crate::outcome::Outcome;
use crate::pool::budget::Budget;
use crate::pool::delivery::{Cursor, Delivery, Finished};
use crate::pool::load::{Gathering, Load};
use crate::pool::options::Rest;
use crate::pool::reorder::{Next, Reorder};

/// Bytes of undelivered outcomes at which slots stop reading, except the one
/// whose worker holds the next item.
const UNDELIVERED_BYTES: usize = 32 << 20;

/// Outcomes for which a reader is always woken.
const WORTH_WAKING: usize = 256;

/// Bit of `issued` that ends it.
const SEALED: u64 = 1 << 63;

/// Told once, when the last outcome of a job has arrived or nobody waits for
/// it any more. On a slot's thread: it neither waits nor panics.
pub trait Finale: Send + Sync + fmt::Debug {
    /// The job is complete.
    fn complete(&self);
}

/// What a job is beside its items.
#[derive(Debug, Default)]
pub struct Terms {
    /// Position of the function in the set-up's targets.
    pub function: u16,
    /// What becomes of unread items when the job is stopped.
    pub rest: Rest,
    /// Wall time of each task, where that is less than the pool's.
    pub timeout: Option<Duration>,
    /// Other limits of each task, where they are below the pool's.
    pub tighter: Tighter,
    /// Failed items come back with their outcome, small ones at least.
    pub keep_input: bool,
    /// Outcomes are kept whatever they weigh, because they are wanted all at
    /// once.
    pub hoard: bool,
    /// Items are started once: the death of the worker that has one ends it.
    pub once: bool,
    /// Its items are pulled without waiting for anything.
    pub at_hand: bool,
    /// Who is told of the end.
    pub finale: Option<Arc<dyn Finale>>,
    /// Who is told every outcome.
    pub observer: Option<Observer>,
}

/// Is told every outcome as soon as it is known, on the thread that knows it:
/// in the order in which items finish.
#[derive(Clone)]
pub struct Observer(Arc<dyn Fn(&Outcome) + Send + Sync>);

impl Observer {
    /// Calls `tell`, which must not wait for the job.
    pub fn new(tell: impl Fn(&Outcome) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    fn tell(&self, delivery: &Delivery) {
        match delivery {
            Delivery::One(outcome) => (self.0)(outcome),
            Delivery::Many(finished) => Cursor::new(finished.clone()).for_each(|outcome| (self.0)(&outcome)),
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// A job under way.
#[derive(Debug)]
pub struct Job {
    /// Back-pressure towards the feeder.
    pub budget: Budget,
    /// Position of the function in the set-up's targets.
    pub function: u16,
    /// Wall time of each task, where that is less than the pool's.
    pub timeout: Option<Duration>,
    /// Other limits of each task, where they are below the pool's.
    pub tighter: Tighter,
    /// Failed items come back with their outcome.
    pub keep_input: bool,
    /// Items are started once.
    pub once: bool,
    /// Its items are pulled without waiting for anything.
    pub at_hand: bool,
    finale: Option<Arc<dyn Finale>>,
    /// Slots read whatever the undelivered outcomes weigh.
    hoards: AtomicBool,
    /// The chunk that the feeder has not sent yet; here, because the feeder
    /// may wait for input while a slot starves, or the job is stopped.
    gathering: Mutex<Gathering>,
    rest: Rest,
    observer: Option<Observer>,
    /// Positions given out, and [`SEALED`] once there will be no more.
    issued: AtomicU64,
    inbox: Mutex<Inbox>,
    arrived: Condvar,
    undelivered: AtomicUsize,
    stopped: AtomicBool,
    killed: AtomicBool,
}

#[derive(Debug, Default)]
struct Inbox {
    ordered: bool,
    reorder: Reorder<Outcome, Finished>,
    unordered: VecDeque<Delivery>,
    /// Outcomes here, ready or not.
    held: usize,
    /// How many items there are, once the feeder knows.
    total: Option<u64>,
    /// Outcomes that have come.
    arrived: u64,
    /// Position of the first failure to come.
    failed: Option<u64>,
    /// All outcomes have come, or none are taken any more.
    complete: bool,
    /// Ended before its outcomes came: what comes now is dropped.
    given_up: bool,
    /// Ended before its input did.
    cut: bool,
    delivered: u64,
    /// The reader waits.
    waiting: bool,
}

/// What came of putting outcomes into the inbox.
struct Put {
    /// How many are here, if the reader waits for what is ready now.
    awaited: Option<usize>,
    /// All have come now.
    completes: bool,
}

impl Inbox {
    fn is_ready(&self) -> bool {
        self.reorder.is_ready() || !self.unordered.is_empty() || self.is_done()
    }

    fn is_done(&self) -> bool {
        self.given_up || self.total == Some(self.delivered)
    }

    /// Whether the job became complete just now.
    fn completes(&mut self) -> bool {
        let complete = !self.complete && self.total == Some(self.arrived);
        self.complete |= complete;
        complete
    }
}

impl Job {
    /// A job whose reader gets outcomes in order or as they come.
    #[must_use]
    pub fn new(budget: Budget, ordered: bool, terms: Terms) -> Self {
        Self {
            budget,
            function: terms.function,
            timeout: terms.timeout,
            tighter: terms.tighter,
            keep_input: terms.keep_input,
            once: terms.once,
            at_hand: terms.at_hand,
            finale: terms.finale,
            hoards: AtomicBool::new(terms.hoard),
            gathering: Mutex::default(),
            rest: terms.rest,
            observer: terms.observer,
            issued: AtomicU64::new(0),
            inbox: Mutex::new(Inbox { ordered, ..Inbox::default() }),
            arrived: Condvar::new(),
            undelivered: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            killed: AtomicBool::new(false),
        }
    }

    fn inbox(&self) -> std::sync::MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the feeder has not sent yet.
    pub fn gathering(&self) -> std::sync::MutexGuard<'_, Gathering> {
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands one outcome to the reader.
    pub fn deliver_one(&self, position: u64, outcome: Outcome) {
        self.deliver(std::iter::once((position, Delivery::One(outcome))));
    }

    /// Hands outcomes to the reader, by position. Never waits: permits bound
    /// how many there can be.
    pub fn deliver(&self, deliveries: impl Iterator<Item = (u64, Delivery)>) {
        let put = self.put(deliveries);
        if put.awaited.is_some() {
            self.arrived.notify_all();
        }
        self.end(put.completes);
    }

    /// Tells of the end, where this is it.
    fn end(&self, completes: bool) {
        if let (true, Some(finale)) = (completes, &self.finale) {
            finale.complete();
        }
    }

    /// Like [`Job::deliver`], by a slot that will have more within a
    /// millisecond: a reader who would be woken for little is left waiting
    /// until [`Job::nudge`].
    pub fn deliver_some(&self, deliveries: impl Iterator<Item = (u64, Delivery)>) {
        let put = self.put(deliveries);
        if put.awaited.is_some_and(|held| held >= WORTH_WAKING) {
            self.arrived.notify_all();
        }
        self.end(put.completes);
    }

    /// Wakes the reader if something is ready for it.
    pub fn nudge(&self) {
        let inbox = self.inbox();
        if inbox.waiting && inbox.is_ready() {
            drop(inbox);
            self.arrived.notify_all();
        }
    }

    fn put(&self, deliveries: impl Iterator<Item = (u64, Delivery)>) -> Put {
        let Some(observer) = &self.observer else { return self.insert(deliveries) };
        // Before the lock is taken: others deliver meanwhile.
        let told: Vec<_> = deliveries.inspect(|(_, delivery)| observer.tell(delivery)).collect();
        self.insert(told.into_iter())
    }

    fn insert(&self, deliveries: impl Iterator<Item = (u64, Delivery)>) -> Put {
        let mut weight = 0;
        let mut inbox = self.inbox();
        if inbox.given_up {
            return Put { awaited: None, completes: false };
        }
        for (position, delivery) in deliveries {
            weight += delivery.weight();
            inbox.held += delivery.len();
            inbox.arrived += delivery.len() as u64;
            if matches!(&delivery, Delivery::One(outcome) if outcome.result.is_err()) {
                inbox.failed.get_or_insert(position);
            }
            if inbox.ordered {
                let new = match delivery {
                    Delivery::One(outcome) => inbox.reorder.insert(position, outcome),
                    Delivery::Many(finished) => inbox.reorder.insert_run(position, finished.len(), finished),
                };
                debug_assert!(new, "two outcomes for position {position}");
            } else {
                inbox.unordered.push_back(delivery);
            }
        }
        self.undelivered.fetch_add(weight, Ordering::AcqRel);
        let awaited = (inbox.waiting && inbox.is_ready()).then_some(inbox.held);
        Put { awaited, completes: inbox.completes() }
    }

    /// Feeder: the position of one more item; `None` when there must be none.
    pub fn claim(&self) -> Option<u64> {
        let position = self.issued.fetch_add(1, Ordering::AcqRel);
        (position & SEALED == 0).then_some(position)
    }

    /// Feeder: the position of the next item, unless there must be none.
    pub fn next_claim(&self) -> Option<u64> {
        let issued = self.issued.load(Ordering::Acquire);
        (issued & SEALED == 0).then_some(issued)
    }

    /// Feeder: so many positions more; false where there must be none.
    pub fn claim_many(&self, count: usize) -> bool {
        self.issued.fetch_add(count as u64, Ordering::AcqRel) & SEALED == 0
    }

    /// No items beyond those claimed so far will come.
    pub fn seal(&self) {
        self.seal_as(false);
    }

    /// `cut` says that there would have been more.
    fn seal_as(&self, cut: bool) {
        let issued = self.issued.fetch_or(SEALED, Ordering::AcqRel);
        if issued & SEALED == 0 {
            let mut inbox = self.inbox();
            inbox.total = Some(issued);
            inbox.cut = cut;
            let completes = inbox.completes();
            drop(inbox);
            self.arrived.notify_all();
            self.end(completes);
        }
    }

    /// Whether all outcomes have come, or none are taken any more.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.inbox().complete
    }

    /// Whether it was ended before its input, or its outcomes, were at an end.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        let inbox = self.inbox();
        inbox.given_up || inbox.cut
    }

    /// Position of the first failure to come.
    #[must_use]
    pub fn first_failure(&self) -> Option<u64> {
        self.inbox().failed
    }

    /// Reads ahead of its reader, without bounds.
    pub fn read_ahead(&self) {
        self.hoards.store(true, Ordering::Release);
        self.budget.release(usize::MAX / 4);
    }

    /// Ends the job for its reader, now: what has not come is not waited for.
    /// False when all has come.
    pub fn give_up(self: &Arc<Self>) -> bool {
        let mut inbox = self.inbox();
        if std::mem::replace(&mut inbox.complete, true) {
            return false;
        }
        inbox.given_up = true;
        let dropped = (std::mem::take(&mut inbox.reorder), std::mem::take(&mut inbox.unordered));
        drop(inbox);
        drop(dropped);
        self.kill();
        self.arrived.notify_all();
        self.end(true);
        true
    }

    /// Reader: moves what is ready into `ready`, waiting until `until` for the
    /// first. False when all was delivered; true with nothing moved when the
    /// time is over.
    pub fn collect(&self, ready: &mut VecDeque<Delivery>, until: Option<Instant>) -> bool {
        let mut inbox = self.inbox();
        while !inbox.is_ready() {
            inbox.waiting = true;
            inbox = match until {
                None => self.arrived.wait(inbox).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        inbox.waiting = false;
                        return true;
                    }
                    self.arrived.wait_timeout(inbox, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
            inbox.waiting = false;
        }
        if inbox.is_done() {
            return false;
        }
        if inbox.ordered {
            while let Some(next) = inbox.reorder.pop() {
                ready.push_back(match next {
                    Next::One(outcome) => Delivery::One(outcome),
                    Next::Many(finished) => Delivery::Many(finished),
                });
            }
            self.budget.next.store(inbox.reorder.next(), Ordering::Release);
        } else {
            std::mem::swap(&mut inbox.unordered, ready);
        }
        let moved = ready.iter().map(Delivery::len).sum::<usize>();
        inbox.held -= moved;
        inbox.delivered += moved as u64;
        true
    }

    /// Reader: an outcome has left the pool.
    pub fn unweigh(&self, weight: usize) {
        self.undelivered.fetch_sub(weight, Ordering::AcqRel);
    }

    /// Whether undelivered outcomes fill their share of memory.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.undelivered.load(Ordering::Acquire) > UNDELIVERED_BYTES && !self.hoards.load(Ordering::Acquire)
    }

    /// Nothing more is to be started. Does not wait for the feeder, which may
    /// itself wait for input that never comes.
    pub fn stop(self: &Arc<Self>) {
        self.stopped.store(true, Ordering::Release);
        if self.rest == Rest::Leave {
            self.seal_as(true);
        }
        let (gathered, _bytes) = self.gathering().take(self);
        gathered.into_iter().for_each(Load::cancel);
    }

    /// The pool has ended: its reader is not kept waiting for input.
    pub fn end_with_pool(self: &Arc<Self>) {
        self.stop();
        if self.rest == Rest::Leave {
            self.budget.close();
        }
    }

    /// Whether unread items are left alone now.
    #[must_use]
    pub fn leaves_rest(&self) -> bool {
        self.is_stopped() && self.rest == Rest::Leave
    }

    /// Whether [`Job::stop`] or [`Job::kill`] was called.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// What runs is to be killed.
    pub fn kill(self: &Arc<Self>) {
        self.stop();
        self.killed.store(true, Ordering::Release);
    }

    /// Whether [`Job::kill`] was called.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }
}
