//! One item, one outcome: without a feeder, and without another thread where a
//! worker is free.

use std::sync::Arc;

use crate::error::Error;
use crate::outcome::Outcome;
use crate::pool::budget::Budget;
use crate::pool::item::Item;
use crate::pool::job::Job;
use crate::pool::load::Load;
use crate::pool::{Outcomes, Pool, Rest, feed};

impl Pool {
    /// Runs one item by the pool's function at position `function` and waits
    /// for its outcome; where a worker is free, without waking a thread.
    ///
    /// # Errors
    /// Why the pool cannot go on.
    pub fn apply(&self, item: Item, function: u16) -> Result<Outcome, Arc<Error>> {
        let job = Arc::new(Job::new(Budget::new(1, 1), true, function, Rest::Leave));
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
}
