//! Locks, semaphores and events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::api::manager::{ask, at_once, end_of};
use crate::pool::objects::{Object, Owner};
use crate::wire::objects::{Answer, Request, Wait};

/// A lock that one task or one thread of the program at a time holds; made by
/// [`Manager::lock`](crate::Manager::lock). A task that ends or dies with it
/// gives it back.
#[derive(Clone, Debug)]
#[doc(alias = "threading.Lock")]
pub struct Lock {
    pub(super) object: Arc<Object>,
}

/// Permits that tasks and threads of the program hold; made by
/// [`Manager::semaphore`](crate::Manager::semaphore). A task that ends or dies
/// gives its permits back.
#[derive(Clone, Debug)]
#[doc(alias = "threading.BoundedSemaphore")]
pub struct Semaphore {
    pub(super) object: Arc<Object>,
}

/// A flag that tasks and threads of the program wait for; made by
/// [`Manager::event`](crate::Manager::event).
#[derive(Clone, Debug)]
#[doc(alias = "threading.Event")]
pub struct Event {
    pub(super) object: Arc<Object>,
}

/// A lock, held until this is dropped.
#[derive(Debug)]
#[must_use = "the lock is free again when this is dropped"]
pub struct LockGuard {
    _held: Held,
}

/// A permit of a semaphore, held until this is dropped.
#[derive(Debug)]
#[must_use = "the permit is free again when this is dropped"]
pub struct Permit {
    _held: Held,
}

#[derive(Debug)]
struct Held {
    object: Arc<Object>,
    owner: Owner,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.object.release(self.owner);
    }
}

fn acquire(object: &Arc<Object>, wait: Wait, until: Option<Instant>) -> Option<Held> {
    let held = Held { object: Arc::clone(object), owner: Owner::new() };
    let answer = ask(object, held.owner, Request::Acquire(wait), until);
    (answer == Some(Answer::Yes)).then_some(held)
}

impl Lock {
    pub(super) fn new(object: Arc<Object>) -> Self {
        Self { object }
    }

    /// Takes it; waits as long as it takes, also for a guard of the same
    /// thread.
    ///
    /// ```
    /// let lock = wpool::Manager::new().lock("l")?;
    /// drop(lock.lock());
    /// # Ok::<(), wpool::Error>(())
    /// ```
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> LockGuard {
        loop {
            if let Some(held) = acquire(&self.object, Wait::Ever, None) {
                return LockGuard { _held: held };
            }
        }
    }

    /// Takes it, where it is to be had within `timeout`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let lock = wpool::Manager::new().lock("l")?;
    /// let held = lock.lock_timeout(Duration::from_secs(1));
    /// assert!(held.is_some());
    /// # Ok::<(), wpool::Error>(())
    /// ```
    #[must_use]
    pub fn lock_timeout(&self, timeout: Duration) -> Option<LockGuard> {
        acquire(&self.object, Wait::Ever, end_of(timeout)).map(|held| LockGuard { _held: held })
    }

    /// Takes it, where it is free.
    ///
    /// ```
    /// assert!(wpool::Manager::new().lock("l")?.try_lock().is_some());
    /// # Ok::<(), wpool::Error>(())
    /// ```
    #[must_use]
    pub fn try_lock(&self) -> Option<LockGuard> {
        acquire(&self.object, Wait::For(0), None).map(|held| LockGuard { _held: held })
    }
}

impl Semaphore {
    pub(super) fn new(object: Arc<Object>) -> Self {
        Self { object }
    }

    /// Takes a permit; waits as long as it takes.
    ///
    /// ```
    /// let permit = wpool::Manager::new().semaphore("s", 1)?.acquire();
    /// # drop(permit);
    /// # Ok::<(), wpool::Error>(())
    /// ```
    pub fn acquire(&self) -> Permit {
        loop {
            if let Some(held) = acquire(&self.object, Wait::Ever, None) {
                return Permit { _held: held };
            }
        }
    }

    /// Takes a permit, where one is to be had within `timeout`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let semaphore = wpool::Manager::new().semaphore("s", 1)?;
    /// let permit = semaphore.acquire_timeout(Duration::from_secs(1));
    /// assert!(permit.is_some());
    /// # Ok::<(), wpool::Error>(())
    /// ```
    #[must_use]
    pub fn acquire_timeout(&self, timeout: Duration) -> Option<Permit> {
        acquire(&self.object, Wait::Ever, end_of(timeout)).map(|held| Permit { _held: held })
    }

    /// Takes a permit, where one is free.
    ///
    /// ```
    /// assert!(wpool::Manager::new().semaphore("s", 1)?.try_acquire().is_some());
    /// # Ok::<(), wpool::Error>(())
    /// ```
    #[must_use]
    pub fn try_acquire(&self) -> Option<Permit> {
        acquire(&self.object, Wait::For(0), None).map(|held| Permit { _held: held })
    }
}

impl Event {
    pub(super) fn new(object: Arc<Object>) -> Self {
        Self { object }
    }

    /// Sets it: whoever waits goes on.
    ///
    /// ```
    /// wpool::Manager::new().event("go")?.set();
    /// # Ok::<(), wpool::Error>(())
    /// ```
    pub fn set(&self) {
        // An event refuses nothing.
        let _set = at_once(&self.object, Request::Raise);
    }

    /// Clears it.
    ///
    /// ```
    /// wpool::Manager::new().event("go")?.clear();
    /// # Ok::<(), wpool::Error>(())
    /// ```
    pub fn clear(&self) {
        let _cleared = at_once(&self.object, Request::Lower);
    }

    /// Whether it is set.
    ///
    /// ```
    /// assert!(!wpool::Manager::new().event("go")?.is_set());
    /// # Ok::<(), wpool::Error>(())
    /// ```
    #[must_use]
    pub fn is_set(&self) -> bool {
        matches!(at_once(&self.object, Request::IsRaised), Ok(Answer::Yes))
    }

    /// Waits until it is set.
    ///
    /// ```
    /// let go = wpool::Manager::new().event("go")?;
    /// go.set();
    /// go.wait();
    /// # Ok::<(), wpool::Error>(())
    /// ```
    pub fn wait(&self) {
        let _set = ask(&self.object, Owner::new(), Request::Await(Wait::Ever), None);
    }

    /// Waits until it is set, but no longer than `timeout`; whether it is.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let go = wpool::Manager::new().event("go")?;
    /// assert!(!go.wait_timeout(Duration::from_millis(1)));
    /// # Ok::<(), wpool::Error>(())
    /// ```
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        ask(&self.object, Owner::new(), Request::Await(Wait::Ever), end_of(timeout)) == Some(Answer::Yes)
    }
}
