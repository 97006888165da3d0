//! One item, one outcome: without a feeder, and without another thread where a
//! worker is free.

use std::sync::Arc;

use crate::error::Error;
use crate::outcome::Outcome;
use crate::pool::budget::Budget;
use crate::pool::item::Item;
use crate::pool::job::{Job, Terms};
use crate::pool::load::Load;
use crate::pool::{Outcomes, Pool, feed};

/// There is no room in the queue.
#[derive(Clone, Copy, Debug)]
pub struct Full;

/// Whether a full queue is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Waits until there is some.
    Wait,
    /// Does not.
    Try,
}

impl Pool {
    /// Runs one item by the pool's function at position `function` and waits
    /// for its outcome; where a worker is free, without waking a thread.
    ///
    /// # Errors
    /// Why the pool cannot go on.
    pub fn apply(&self, item: Item, function: u16) -> Result<Outcome, Arc<Error>> {
        self.apply_on(item, Terms { function, ..Terms::default() })
    }

    /// As [`Pool::apply`], on these terms.
    pub(crate) fn apply_on(&self, item: Item, terms: Terms) -> Result<Outcome, Arc<Error>> {
        let job = Arc::new(Job::new(Budget::new(1, 1), true, terms));
        let mut outcomes = Outcomes::new(Arc::clone(&job), Arc::clone(&self.shared));
        if let (Some(position), Some(task)) = (job.claim(), feed::task(&self.shared, &job, item, 0)) {
            debug_assert_eq!(position, 0);
            job.seal();
            let free = self.slots.iter().filter_map(|slot| slot.try_lock().ok()).find(|slot| slot.is_free());
            match free {
                Some(mut slot) => slot.carry(task),
                None => {
                    let _open = job.budget.queue(task.body.bytes.len());
                    let unsent = self.shared.queue(vec![Load::One(task)]).err();
                    unsent.into_iter().flatten().for_each(Load::cancel);
                }
            }
        }
        job.seal();
        let outcome = outcomes.next();
        match (outcome, self.shared.broken()) {
            (Some(outcome), None) => Ok(outcome),
            (_, Some(broken)) => Err(broken),
            (None, None) => Err(Arc::new(Error::Workers("the pool has ended".to_owned()))),
        }
    }

    /// Queues one item and does not wait for its outcome.
    pub(crate) fn submit(&self, item: Item, terms: Terms, room: Room) -> Result<Arc<Job>, Full> {
        let job = Arc::new(Job::new(Budget::new(1, 1), true, terms));
        if let (Some(_), Some(task)) = (job.claim(), feed::task(&self.shared, &job, item, 0)) {
            let _open = job.budget.queue(task.body.bytes.len());
            let chunk = vec![Load::One(task)];
            let unsent = match room {
                Room::Wait => self.shared.queue(chunk).err(),
                Room::Try => self.shared.try_queue(chunk)?,
            };
            unsent.into_iter().flatten().for_each(Load::cancel);
        }
        job.seal();
        Ok(job)
    }
}
