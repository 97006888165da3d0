//! A slot's thread: waits for work without holding the slot, then works with
//! it held. A caller of a lone item may hold it in between.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TrySendError, select};

use crate::pool::Shared;
use crate::pool::load::{Chunk, Load};
use crate::pool::slot::{LOOK, Slot};

/// How long a slot finds nothing before it takes what feeders have gathered.
const STARVING: Duration = Duration::from_millis(1);

/// The ends of channels that a slot listens to.
#[derive(Clone, Debug)]
pub(crate) struct Ears {
    /// Chunks from feeders.
    pub(crate) queue: Receiver<Chunk>,
    /// Tasks that other slots gave back.
    pub(crate) urgent: Receiver<Chunk>,
    /// Disconnected when the pool ends.
    pub(crate) closing: Receiver<()>,
    /// Readable when a job or the pool was stopped.
    pub(crate) waker: Arc<OwnedFd>,
}

/// The body of a slot's thread.
pub(crate) fn run(slot: &Mutex<Slot>) {
    let (shared, ears) = {
        let mut slot = lock(slot);
        // The first worker starts before there is work: its refusal is the
        // module's, and nothing has been promised yet.
        while slot.id == 0 && !slot.shared.is_terminated() && !slot.seat() {}
        (Arc::clone(&slot.shared), slot.ears.clone())
    };
    let mut due = None;
    while !shared.is_terminated() {
        let received = ears.wait(&shared, due);
        let mut held = match (slot.try_lock(), received) {
            (Ok(mut held), Some(chunk)) => {
                held.backlog.extend(chunk);
                held
            }
            (Err(TryLockError::WouldBlock), Some(chunk)) => {
                // A caller is at work here: another slot takes it, or this
                // one when it is free.
                let unsent = shared.urgent.try_send(chunk).err();
                let mut held = lock(slot);
                held.backlog.extend(unsent.into_iter().flat_map(TrySendError::into_inner));
                held
            }
            (Ok(held), None) => held,
            (Err(TryLockError::WouldBlock), None) => continue,
            (Err(TryLockError::Poisoned(held)), chunk) => {
                let mut held = held.into_inner();
                held.backlog.extend(chunk.into_iter().flatten());
                held
            }
        };
        held.undelay();
        if !held.backlog.is_empty() {
            held.work();
        }
        due = if held.backlog.is_empty() { held.due() } else { Some(Instant::now()) };
    }
    lock(slot).abandon();
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ears {
    /// Waits for a chunk, for the end, or for a delayed task to be due.
    fn wait(&self, shared: &Shared, due: Option<Instant>) -> Option<Chunk> {
        let timeout = due.map_or(LOOK, |due| due.saturating_duration_since(Instant::now()));
        shared.idle.fetch_add(1, Ordering::AcqRel);
        let received = self.receive(STARVING.min(timeout)).or_else(|error| match error {
            RecvTimeoutError::Timeout if timeout > STARVING => {
                shared.starving.fetch_add(1, Ordering::AcqRel);
                // Counted first: a feeder that adds to its chunk after this
                // look sends it.
                let received = shared.gathered().map_or_else(|| self.receive(timeout - STARVING), Ok);
                shared.starving.fetch_sub(1, Ordering::AcqRel);
                received
            }
            other => Err(other),
        });
        shared.idle.fetch_sub(1, Ordering::AcqRel);
        received.ok()
    }

    fn receive(&self, timeout: Duration) -> Result<Chunk, RecvTimeoutError> {
        select! {
            recv(self.urgent) -> chunk => chunk.map_err(|_| RecvTimeoutError::Disconnected),
            recv(self.queue) -> chunk => chunk.inspect(unqueue).map_err(|_| RecvTimeoutError::Disconnected),
            recv(self.closing) -> _ => Err(RecvTimeoutError::Disconnected),
            default(timeout) => Err(RecvTimeoutError::Timeout),
        }
    }
}

fn unqueue(chunk: &Chunk) {
    if let Some(load) = chunk.first() {
        load.job().budget.unqueue(chunk.iter().map(Load::bytes).sum());
    }
}

/// A chunk that is there now; what others gave back comes first.
pub(crate) fn take(urgent: &Receiver<Chunk>, queue: &Receiver<Chunk>) -> Option<Chunk> {
    urgent.try_recv().ok().or_else(|| queue.try_recv().ok().inspect(unqueue))
}
