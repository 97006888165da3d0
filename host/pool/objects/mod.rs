//! Objects that tasks share: queues, locks, counters and others, kept here, in
//! the host, so that a worker's death leaves none of them half changed.
//!
//! An object answers a request at once, or remembers who waits and answers
//! when it can, in the order of asking. Whoever waits in the host (a slot, for
//! its worker; a thread of the program) is told by a [`Waiting`].

mod content;
mod session;
mod store;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub(crate) use session::Session;

use crate::capabilities::{SharedGrant, check_shared};
use crate::error::Error;
use crate::pool::objects::content::Content;
use crate::wire::objects::{Answer, Request, Wait};

/// Most bytes of a queue's values, and of a store's keys and values.
pub const MAX_BYTES: usize = 64 << 20;

/// Most keys of a store.
pub const MAX_STORED: usize = 1 << 16;

/// Who may hold something: one attempt of a task, or one call of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner(u64);

impl Owner {
    /// One that nothing was given to yet.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// One shared object.
#[derive(Debug)]
pub struct Object {
    grant: SharedGrant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    content: Content,
    /// First come, first served, among those who wait for the same.
    waiters: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    owner: Owner,
    request: Request,
    waiting: Arc<Waiting>,
}

/// Where the answer to a request that had to wait arrives.
#[derive(Debug)]
pub(crate) struct Waiting {
    answer: Mutex<Option<Answer>>,
    changed: Condvar,
    /// Made readable when the answer is there.
    waker: Option<Arc<OwnedFd>>,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Asked {
    /// It was answered.
    Now(Answer),
    /// It waits.
    Later(Arc<Waiting>),
}

impl Waiting {
    fn new(waker: Option<Arc<OwnedFd>>) -> Self {
        Self { answer: Mutex::default(), changed: Condvar::new(), waker }
    }

    fn answer(&self) -> MutexGuard<'_, Option<Answer>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complete(&self, answer: Answer) {
        *self.answer() = Some(answer);
        self.changed.notify_all();
        if let Some(waker) = &self.waker {
            // A full counter is readable already, which is all that is wanted.
            let _full = rustix::io::write(waker, &1_u64.to_ne_bytes());
        }
    }

    /// The answer, if it is there; it is given once.
    pub(crate) fn take(&self) -> Option<Answer> {
        self.answer().take()
    }

    /// Waits on the calling thread, until `until` at the latest.
    pub(crate) fn wait(&self, until: Option<Instant>) -> Option<Answer> {
        let mut answer = self.answer();
        while answer.is_none() {
            answer = match until {
                None => self.changed.wait(answer).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
                    self.changed.wait_timeout(answer, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        answer.take()
    }
}

impl Object {
    /// A new object, as nobody has used it.
    #[must_use]
    pub fn new(grant: SharedGrant) -> Self {
        let content = Content::new(&grant);
        Self { grant, state: Mutex::new(State { content, waiters: VecDeque::new() }) }
    }

    /// What it is and its name.
    #[must_use]
    pub fn grant(&self) -> &SharedGrant {
        &self.grant
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this kind of object has such a request at all.
    pub(crate) fn takes(&self, request: &Request) -> bool {
        content::kind(request, self.grant.kind)
    }

    /// Answers a request, or lets it wait; `waker` is then told.
    pub(crate) fn ask(&self, owner: Owner, request: Request, waker: Option<&Arc<OwnedFd>>) -> Asked {
        let mut state = self.state();
        if let Some(why) = state.content.refuses(owner, &request, &self.grant) {
            return Asked::Now(Answer::Refused(why));
        }
        let wait = content::wait(&request);
        let class = content::class(&request);
        // Who asks later does not overtake who waits for the same.
        let behind = wait.is_some() && state.waiters.iter().any(|waiter| content::class(&waiter.request) == class);
        let answer = if behind { None } else { state.content.attempt(owner, &request) };
        match (answer, wait) {
            (Some(answer), _) => {
                state.serve();
                Asked::Now(answer)
            }
            (None, None | Some(Wait::For(0))) => Asked::Now(Answer::No),
            (None, Some(Wait::Ever | Wait::For(_))) => {
                let waiting = Arc::new(Waiting::new(waker.cloned()));
                state.waiters.push_back(Waiter { owner, request, waiting: Arc::clone(&waiting) });
                Asked::Later(waiting)
            }
        }
    }

    /// Ends a wait. The answer, where it came first.
    pub(crate) fn withdraw(&self, waiting: &Arc<Waiting>) -> Option<Answer> {
        let mut state = self.state();
        let answer = waiting.take();
        if answer.is_none() {
            state.waiters.retain(|waiter| !Arc::ptr_eq(&waiter.waiting, waiting));
            // What it kept waiting may fit.
            state.serve();
        }
        answer
    }

    /// Takes back an answer that nobody will hear. What it gave to hold is
    /// released with all else of its owner.
    pub(crate) fn undo(&self, answer: Answer) {
        let mut state = self.state();
        if let (Answer::Value(value), Content::Queue(queue)) = (answer, &mut state.content) {
            queue.put_back(value);
            state.serve();
        }
    }

    /// Releases everything that `owner` holds.
    pub(crate) fn release(&self, owner: Owner) {
        let mut state = self.state();
        if let Content::Permits(permits) = &mut state.content
            && permits.release_all(owner)
        {
            state.serve();
        }
    }

    /// How many wait.
    #[cfg(test)]
    fn waiters(&self) -> usize {
        self.state().waiters.len()
    }
}

impl State {
    /// Answers whom it can now. Of those who wait for the same, nobody before
    /// the one who came first.
    fn serve(&mut self) {
        let mut served = !self.waiters.is_empty();
        while std::mem::take(&mut served) {
            let mut stuck = [false; content::CLASSES];
            let (content, waiters) = (&mut self.content, &mut self.waiters);
            waiters.retain(|waiter| {
                let stuck = &mut stuck[content::class(&waiter.request)];
                let answer = if *stuck { None } else { content.attempt(waiter.owner, &waiter.request) };
                *stuck |= answer.is_none();
                let Some(answer) = answer else { return true };
                waiter.waiting.complete(answer);
                served = true;
                false
            });
        }
    }
}

/// The objects of a pool in the order of its grants: those that were given,
/// and new ones.
///
/// # Errors
/// [`Error::Usage`] where there are too many, or two of one name and kind.
pub(crate) fn of_grants(grants: &[SharedGrant], given: &[Arc<Object>]) -> Result<Vec<Arc<Object>>, Error> {
    check_shared(grants).map_err(Error::Usage)?;
    let object = |grant: &SharedGrant| {
        let same = |object: &&Arc<Object>| (object.grant.kind, &object.grant.name) == (grant.kind, &grant.name);
        given.iter().find(same).cloned().unwrap_or_else(|| Arc::new(Object::new(grant.clone())))
    };
    Ok(grants.iter().map(object).collect())
}
