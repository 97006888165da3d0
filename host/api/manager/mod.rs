//! Objects that tasks and the program share: Python's
//! `multiprocessing.Manager`, without a process of its own. The objects live
//! in this process; tasks reach them by name through their workers.

mod queue;
mod sync;
mod values;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use queue::Queue;
pub use sync::{Event, Lock, LockGuard, Permit, Semaphore};
pub use values::{Counter, KeyValue};

use crate::capabilities::{SharedGrant, SharedKind};
use crate::error::Error;
use crate::pool::objects::{Asked, Object, Owner};
use crate::wire::objects::{Answer, MAX_VALUE, Request};

/// Makes objects that tasks share with each other and with the program, and
/// finds them again by their names.
///
/// Its objects outlive pools, and several pools and threads may use them at
/// once. Tasks see those that their pool was given by
/// [`PoolBuilder::shared`](crate::PoolBuilder::shared), and open them by name
/// through the interfaces in `wit/pool`.
///
/// ```
/// use wpool::Manager;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = Manager::new();
/// let jobs = manager.queue("jobs", 100)?;
/// jobs.put(&"Python")?;
/// jobs.put(&"C")?;
/// assert_eq!(jobs.qsize(), 2);
/// assert_eq!(jobs.get::<String>()?, "Python");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[doc(alias = "multiprocessing.Manager")]
#[doc(alias = "SyncManager")]
pub struct Manager {
    objects: Arc<Mutex<Vec<Arc<Object>>>>,
}

/// Why something of a shared object did not come about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SharedError {
    /// The queue had no room in time.
    #[error("the queue is full")]
    Full,
    /// The queue had no value in time.
    #[error("the queue is empty")]
    Empty,
    /// The object does not do it, and why.
    #[error("{0}")]
    Refused(String),
    /// The value cannot be written as JSON.
    #[error("cannot write the value: {0}")]
    Encode(#[source] serde_json::Error),
    /// What was there is not the JSON of such a value.
    #[error("cannot read the value: {0}")]
    Decode(#[source] serde_json::Error),
}

impl Manager {
    /// A manager without objects.
    ///
    /// ```
    /// let manager = wpool::Manager::new();
    /// let done = manager.counter("done")?;
    /// # Ok::<(), wpool::Error>(())
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The queue of this name, for at most `capacity` values; a new one where
    /// there is none.
    ///
    /// # Errors
    /// [`Error::Usage`] for a name other than 1 to 64 letters, digits, `-`, `_`
    /// and `.`, for a capacity of 0 or over a million, and where the queue is
    /// there with another capacity.
    ///
    /// ```
    /// let jobs = wpool::Manager::new().queue("jobs", 10)?;
    /// assert_eq!(jobs.qsize(), 0);
    /// # Ok::<(), wpool::Error>(())
    /// ```
    #[doc(alias = "Queue")]
    #[doc(alias = "JoinableQueue")]
    pub fn queue(&self, name: &str, capacity: usize) -> Result<Queue, Error> {
        self.object(SharedKind::Queue, name, capacity as u64).map(Queue::new)
    }

    /// The lock of this name; a new one where there is none.
    ///
    /// # Errors
    /// [`Error::Usage`] for a name that no object has; see [`Manager::queue`].
    ///
    /// ```
    /// let lock = wpool::Manager::new().lock("l")?;
    /// let held = lock.lock();
    /// assert!(lock.try_lock().is_none());
    /// # drop(held);
    /// # Ok::<(), wpool::Error>(())
    /// ```
    #[doc(alias = "Lock")]
    pub fn lock(&self, name: &str) -> Result<Lock, Error> {
        self.object(SharedKind::Lock, name, 1).map(Lock::new)
    }

    /// The semaphore of this name, with `permits`; a new one where there is
    /// none.
    ///
    /// # Errors
    /// [`Error::Usage`] as of [`Manager::queue`].
    ///
    /// ```
    /// let two = wpool::Manager::new().semaphore("two", 2)?;
    /// let (one, other) = (two.acquire(), two.acquire());
    /// assert!(two.try_acquire().is_none());
    /// # drop((one, other));
    /// # Ok::<(), wpool::Error>(())
    /// ```
    #[doc(alias = "Semaphore")]
    #[doc(alias = "BoundedSemaphore")]
    pub fn semaphore(&self, name: &str, permits: usize) -> Result<Semaphore, Error> {
        self.object(SharedKind::Semaphore, name, permits as u64).map(Semaphore::new)
    }

    /// The counter of this name; a new one, at 0, where there is none.
    ///
    /// # Errors
    /// [`Error::Usage`] for a name that no object has; see [`Manager::queue`].
    ///
    /// ```
    /// let hits = wpool::Manager::new().counter("hits")?;
    /// assert_eq!(hits.add(2).ok(), Some(2));
    /// # Ok::<(), wpool::Error>(())
    /// ```
    #[doc(alias = "Value")]
    pub fn counter(&self, name: &str) -> Result<Counter, Error> {
        self.object(SharedKind::Counter, name, 1).map(Counter::new)
    }

    /// The event of this name; a new one, not set, where there is none.
    ///
    /// # Errors
    /// [`Error::Usage`] for a name that no object has; see [`Manager::queue`].
    ///
    /// ```
    /// let go = wpool::Manager::new().event("go")?;
    /// go.set();
    /// assert!(go.is_set());
    /// # Ok::<(), wpool::Error>(())
    /// ```
    #[doc(alias = "Event")]
    pub fn event(&self, name: &str) -> Result<Event, Error> {
        self.object(SharedKind::Event, name, 1).map(Event::new)
    }

    /// The key-value store of this name; a new one where there is none. Guests
    /// open it through the standard `wasi:keyvalue`.
    ///
    /// # Errors
    /// [`Error::Usage`] for a name that no object has; see [`Manager::queue`].
    ///
    /// ```
    /// let seen = wpool::Manager::new().key_value("seen")?;
    /// seen.set("a", &1)?;
    /// assert_eq!(seen.get::<i64>("a")?, Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "dict")]
    pub fn key_value(&self, name: &str) -> Result<KeyValue, Error> {
        self.object(SharedKind::KeyValue, name, 1).map(KeyValue::new)
    }

    fn object(&self, kind: SharedKind, name: &str, bound: u64) -> Result<Arc<Object>, Error> {
        let grant = SharedGrant::new(kind, name, bound).map_err(Error::Usage)?;
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |object: &&Arc<Object>| object.grant().kind == kind && object.grant().name == name;
        match objects.iter().find(same) {
            Some(object) if object.grant().bound == bound => Ok(Arc::clone(object)),
            Some(object) => Err(Error::Usage(format!("{} is there already; {bound} is another size", object.grant()))),
            None => {
                let object = Arc::new(Object::new(grant));
                objects.push(Arc::clone(&object));
                Ok(object)
            }
        }
    }
}

/// What [`PoolBuilder::shared`](crate::PoolBuilder::shared) takes: a
/// [`Manager`] with all its objects, or one of them.
pub trait Shareable: sealed::Sealed {}

impl<T: sealed::Sealed> Shareable for T {}

mod sealed {
    use std::sync::{Arc, PoisonError};

    use super::{Counter, Event, KeyValue, Lock, Manager, Object, Queue, Semaphore};

    /// Kept here, so that no other type has objects.
    pub trait Sealed {
        /// The objects there are now.
        fn objects(&self) -> Vec<Arc<Object>>;
    }

    impl Sealed for Manager {
        fn objects(&self) -> Vec<Arc<Object>> {
            self.objects.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }
    }

    macro_rules! sealed {
        ($($handle:ty),*) => {
            $(impl Sealed for $handle {
                fn objects(&self) -> Vec<Arc<Object>> {
                    vec![Arc::clone(&self.object)]
                }
            })*
        };
    }

    sealed!(Queue, Lock, Semaphore, Counter, Event, KeyValue);
}

/// Asks an object in the program's own name; `until` bounds requests that
/// wait. `None` where the time was over.
fn ask(object: &Object, owner: Owner, request: Request, until: Option<Instant>) -> Option<Answer> {
    match object.ask(owner, request, None) {
        Asked::Now(answer) => Some(answer),
        Asked::Later(waiting) => waiting.wait(until).or_else(|| object.withdraw(&waiting)),
    }
}

/// Asks for something that never waits.
fn at_once(object: &Object, request: Request) -> Result<Answer, SharedError> {
    match ask(object, Owner::new(), request, None) {
        Some(Answer::Refused(why)) => Err(SharedError::Refused(why)),
        answer => Ok(answer.unwrap_or(Answer::No)),
    }
}

/// The end of a wait that begins now; of one that no clock measures, none.
fn end_of(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

fn encode<T: serde::Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, SharedError> {
    fits(serde_json::to_vec(value).map_err(SharedError::Encode)?)
}

fn fits(value: Vec<u8>) -> Result<Vec<u8>, SharedError> {
    if value.len() > MAX_VALUE {
        let length = value.len();
        return Err(SharedError::Refused(format!("the value has {length} bytes, more than {MAX_VALUE}")));
    }
    Ok(value)
}
