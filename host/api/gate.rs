//! Who may still call a pool, and how much of what was called is not done:
//! `close`, `join`, and the bound on calls that nobody waits for yet.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use crate::api::error::CallError;
use crate::pool::Room;
use crate::pool::job::Job;
use crate::pool::listen::WeakStopper;

/// Bit of the count that says that nobody may enter.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// Bytes of arguments that calls of `apply_async` may hold, besides those of
/// one call of any size.
const BYTES: usize = 64 << 20;

/// Streams remembered before those that ended are forgotten.
const STREAMS: usize = 64;

/// The gate of one pool.
#[derive(Debug)]
pub(super) struct Gate {
    /// Calls that are not done, and [`CLOSED`].
    calls: AtomicUsize,
    inside: Mutex<Inside>,
    changed: Condvar,
    /// Calls of `apply_async` that may be under way.
    most: usize,
}

#[derive(Debug, Default)]
struct Inside {
    pending: usize,
    bytes: usize,
    /// Jobs that wait for their readers.
    streams: Vec<Weak<Job>>,
    /// Somebody waits for all of them: nobody need read what comes.
    joined: bool,
    /// What accepts connections.
    services: Vec<WeakStopper>,
}

/// A call that is not done; leaves when dropped.
#[derive(Debug)]
pub(super) struct Entered {
    gate: Arc<Gate>,
    /// Bytes that it holds, where it counts as pending.
    pending: Option<usize>,
}

impl Gate {
    /// An open gate for so many pending calls.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { calls: AtomicUsize::new(0), inside: Mutex::default(), changed: Condvar::new(), most })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Entered, CallError> {
        let before = self.calls.fetch_add(1, Ordering::AcqRel);
        let entered = Entered { gate: Arc::clone(self), pending: None };
        if before & CLOSED == 0 { Ok(entered) } else { Err(CallError::Closed) }
    }

    /// Begins a call that nobody waits for yet, when there is room for it.
    pub(super) fn enter_pending(self: &Arc<Self>, bytes: usize, room: Room) -> Result<Entered, CallError> {
        let mut entered = self.enter()?;
        let mut inside = self.inside();
        while inside.pending >= self.most || (inside.pending > 0 && inside.bytes + bytes > BYTES) {
            if room == Room::Try {
                return Err(CallError::Saturated);
            }
            inside = self.changed.wait(inside).unwrap_or_else(PoisonError::into_inner);
            if self.is_closed() {
                return Err(CallError::Closed);
            }
        }
        inside.pending += 1;
        inside.bytes += bytes;
        entered.pending = Some(bytes);
        Ok(entered)
    }

    /// Remembers a job that waits for its reader.
    pub(super) fn stream(&self, job: &Arc<Job>) {
        let mut inside = self.inside();
        if inside.streams.len() >= STREAMS && inside.streams.len() == inside.streams.capacity() {
            inside.streams.retain(|job| job.strong_count() > 0);
        }
        inside.streams.push(Arc::downgrade(job));
        let joined = inside.joined;
        drop(inside);
        if joined {
            job.read_ahead();
        }
    }

    /// Remembers what accepts connections: each is as a call, and none may
    /// begin when nobody is let in any more.
    pub(super) fn service(&self, stopper: WeakStopper) {
        let mut inside = self.inside();
        inside.services.retain(|service| !service.is_gone());
        inside.services.push(stopper);
        drop(inside);
        // It may have been closed between.
        if self.is_closed() {
            self.stop_services();
        }
    }

    fn stop_services(&self) {
        let services = std::mem::take(&mut self.inside().services);
        services.iter().for_each(WeakStopper::stop);
    }

    /// Lets nobody in any more.
    pub(super) fn close(&self) {
        self.calls.fetch_or(CLOSED, Ordering::AcqRel);
        self.stop_services();
        self.changed.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.calls.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Calls that are not done.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Acquire) & !CLOSED
    }

    /// Waits until all calls are done; false when `until` comes first. Streams
    /// read ahead from now on: who reads them may be the one who waits.
    pub(super) fn wait(&self, until: Option<Instant>) -> bool {
        let mut inside = self.inside();
        inside.joined = true;
        let streams = std::mem::take(&mut inside.streams);
        drop(inside);
        streams.iter().filter_map(Weak::upgrade).for_each(|job| job.read_ahead());
        inside = self.inside();
        while self.calls() > 0 {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            inside = match left {
                None => self.changed.wait(inside).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return false,
                Some(left) => self.changed.wait_timeout(inside, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        true
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(bytes) = self.pending {
            let mut inside = self.gate.inside();
            inside.pending -= 1;
            inside.bytes -= bytes;
            drop(inside);
            self.gate.changed.notify_all();
        }
        let before = self.gate.calls.fetch_sub(1, Ordering::AcqRel);
        if before == CLOSED + 1 {
            // The lock orders this after a waiter's look.
            drop(self.gate.inside());
            self.gate.changed.notify_all();
        }
    }
}
