//! What objects are inside, and what a request does to them. Pure: who waits
//! is not known here.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::capabilities::{SharedGrant, SharedKind};
use crate::pool::objects::store::Store;
use crate::pool::objects::{MAX_BYTES, Owner};
use crate::wire::objects::{Answer, Request, Wait};

/// Things that one may wait for in an object: room, a value, the end.
pub(super) const CLASSES: usize = 3;

/// Which of them a request waits for.
pub(super) fn class(request: &Request) -> usize {
    match request {
        Request::Take(_) => 1,
        Request::Join(_) => 2,
        _ => 0,
    }
}

/// How long a request may wait; `None` for those that never do.
pub(super) fn wait(request: &Request) -> Option<Wait> {
    match request {
        Request::Put(_, wait)
        | Request::Take(wait)
        | Request::Join(wait)
        | Request::Acquire(wait)
        | Request::Await(wait) => Some(*wait),
        _ => None,
    }
}

/// Whether objects of `kind` have such a request.
pub(super) fn kind(request: &Request, kind: SharedKind) -> bool {
    match request {
        Request::Put(..) | Request::Take(_) | Request::Size | Request::TaskDone | Request::Join(_) => {
            kind == SharedKind::Queue
        }
        Request::Acquire(_) | Request::Release => matches!(kind, SharedKind::Lock | SharedKind::Semaphore),
        Request::Add(_) | Request::Count | Request::Reset(_) => kind == SharedKind::Counter,
        Request::Raise | Request::Lower | Request::IsRaised | Request::Await(_) => kind == SharedKind::Event,
        Request::Get(_)
        | Request::Set(..)
        | Request::Delete(_)
        | Request::Exists(_)
        | Request::Keys(_)
        | Request::Increment(..) => kind == SharedKind::KeyValue,
    }
}

/// An object's inside.
#[derive(Debug)]
pub(super) enum Content {
    Queue(Queue),
    /// Of a lock, there is one.
    Permits(Permits),
    Counter(i64),
    Event(bool),
    KeyValue(Store),
}

#[derive(Debug)]
pub(super) struct Queue {
    items: VecDeque<Bytes>,
    capacity: usize,
    bytes: usize,
    /// Values that were put and for which nobody said that they are dealt
    /// with.
    unfinished: u64,
}

#[derive(Debug)]
pub(super) struct Permits {
    free: u64,
    held: HashMap<Owner, u64>,
}

impl Content {
    pub(super) fn new(grant: &SharedGrant) -> Self {
        match grant.kind {
            SharedKind::Queue => Self::Queue(Queue {
                items: VecDeque::new(),
                capacity: usize::try_from(grant.bound).unwrap_or(usize::MAX),
                bytes: 0,
                unfinished: 0,
            }),
            SharedKind::Lock | SharedKind::Semaphore => {
                Self::Permits(Permits { free: grant.bound, held: HashMap::new() })
            }
            SharedKind::Counter => Self::Counter(0),
            SharedKind::Event => Self::Event(false),
            SharedKind::KeyValue => Self::KeyValue(Store::default()),
        }
    }

    /// Why a request can never be answered, if that is so.
    pub(super) fn refuses(&self, owner: Owner, request: &Request, grant: &SharedGrant) -> Option<String> {
        let (kind, name) = (grant.kind, &grant.name);
        match (self, request) {
            (Self::Permits(permits), Request::Release) if !permits.held.contains_key(&owner) => {
                Some(format!("the {kind} {name:?} was released by a task that does not hold it"))
            }
            (Self::Permits(permits), Request::Acquire(Wait::Ever))
                if permits.held.get(&owner).is_some_and(|held| *held == grant.bound) =>
            {
                Some(format!("the {kind} {name:?} was waited for by the task that holds it"))
            }
            (Self::Queue(queue), Request::TaskDone) if queue.unfinished == 0 => {
                Some(format!("task-done was called more often than values were put into the queue {name:?}"))
            }
            (Self::Counter(count), Request::Add(delta)) if count.checked_add(*delta).is_none() => {
                Some(format!("the counter {name:?} has no room for {count} + {delta}"))
            }
            _ => None,
        }
    }

    /// Does what is asked; `None` where that must wait.
    pub(super) fn attempt(&mut self, owner: Owner, request: &Request) -> Option<Answer> {
        match (self, request) {
            (Self::Queue(queue), request) => queue.attempt(request),
            (Self::Permits(permits), Request::Acquire(_)) => permits.acquire(owner).then_some(Answer::Yes),
            (Self::Permits(permits), Request::Release) => Some(yes(permits.release_one(owner))),
            (Self::Counter(count), Request::Add(delta)) => {
                *count = count.wrapping_add(*delta);
                Some(Answer::Number(*count))
            }
            (Self::Counter(count), Request::Count) => Some(Answer::Number(*count)),
            (Self::Counter(count), Request::Reset(value)) => Some(Answer::Number(std::mem::replace(count, *value))),
            (Self::Event(raised), Request::Raise | Request::Lower) => {
                *raised = *request == Request::Raise;
                Some(Answer::Yes)
            }
            (Self::Event(raised), Request::IsRaised) => Some(yes(*raised)),
            (Self::Event(raised), Request::Await(_)) => raised.then_some(Answer::Yes),
            (Self::KeyValue(store), request) => Some(store.answer(request)),
            // Requests are looked at before they come here.
            (Self::Permits(_) | Self::Counter(_) | Self::Event(_), _) => Some(Answer::No),
        }
    }
}

fn yes(so: bool) -> Answer {
    if so { Answer::Yes } else { Answer::No }
}

impl Queue {
    fn attempt(&mut self, request: &Request) -> Option<Answer> {
        match request {
            Request::Put(value, _) => {
                if self.items.len() >= self.capacity || self.bytes + value.len() > MAX_BYTES {
                    return None;
                }
                self.bytes += value.len();
                // Its own: what was received may be part of a larger block.
                self.items.push_back(Bytes::copy_from_slice(value));
                self.unfinished += 1;
                Some(Answer::Yes)
            }
            Request::Take(_) => {
                let value = self.items.pop_front()?;
                self.bytes -= value.len();
                Some(Answer::Value(value))
            }
            Request::Size => Some(Answer::Number(self.items.len() as i64)),
            Request::TaskDone => {
                self.unfinished = self.unfinished.saturating_sub(1);
                Some(Answer::Yes)
            }
            Request::Join(_) => (self.unfinished == 0).then_some(Answer::Yes),
            _ => Some(Answer::No),
        }
    }

    /// A value that was taken and reached nobody is the first again.
    pub(super) fn put_back(&mut self, value: Bytes) {
        self.bytes += value.len();
        self.items.push_front(value);
    }
}

impl Permits {
    fn acquire(&mut self, owner: Owner) -> bool {
        let free = self.free > 0;
        if free {
            self.free -= 1;
            *self.held.entry(owner).or_default() += 1;
        }
        free
    }

    fn release_one(&mut self, owner: Owner) -> bool {
        let Some(held) = self.held.get_mut(&owner) else { return false };
        *held -= 1;
        if *held == 0 {
            self.held.remove(&owner);
        }
        self.free += 1;
        true
    }

    /// Whether there was something to release.
    pub(super) fn release_all(&mut self, owner: Owner) -> bool {
        let held = self.held.remove(&owner).unwrap_or(0);
        self.free += held;
        held > 0
    }
}
