//! A bounded queue of values.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::manager::{SharedError, ask, at_once, encode, end_of, fits};
use crate::pool::objects::{Object, Owner};
use crate::wire::objects::{Answer, Request, Wait};

/// A bounded queue that tasks and the program put values into and get them out
/// of; made by [`Manager::queue`](crate::Manager::queue).
///
/// Values are JSON texts, typed here by serde; `put_bytes` and `get_bytes` pass
/// bytes as they are. A value has at most 1 MiB, all together 64 MiB. Who waits
/// is served in the order of asking.
#[derive(Clone, Debug)]
#[doc(alias = "queue.Queue")]
pub struct Queue {
    pub(super) object: Arc<Object>,
}

impl Queue {
    pub(super) fn new(object: Arc<Object>) -> Self {
        Self { object }
    }

    /// Adds a value at the end; waits for room as long as it takes.
    ///
    /// # Errors
    /// [`SharedError::Encode`], and [`SharedError::Refused`] for a value over
    /// 1 MiB.
    ///
    /// ```
    /// let jobs = wpool::Manager::new().queue("jobs", 10)?;
    /// jobs.put(&(1, "one"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), SharedError> {
        self.add(encode(value)?, None, Wait::Ever)
    }

    /// The same; waits for room no longer than `timeout`.
    ///
    /// # Errors
    /// [`SharedError::Full`] where there was none; else as [`Queue::put`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use wpool::{Manager, SharedError};
    ///
    /// let one = Manager::new().queue("one", 1)?;
    /// one.put(&1)?;
    /// let full = one.put_timeout(&2, Duration::from_millis(1));
    /// assert!(matches!(full, Err(SharedError::Full)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put_timeout<T: Serialize + ?Sized>(&self, value: &T, timeout: Duration) -> Result<(), SharedError> {
        let until = end_of(timeout);
        self.add(encode(value)?, until, Wait::Ever)
    }

    /// Adds a value where there is room now.
    ///
    /// # Errors
    /// As [`Queue::put_timeout`].
    ///
    /// ```
    /// let jobs = wpool::Manager::new().queue("jobs", 10)?;
    /// jobs.try_put(&1)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "put_nowait")]
    pub fn try_put<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), SharedError> {
        self.add(encode(value)?, None, Wait::For(0))
    }

    /// Adds bytes as they are; waits for `timeout`, or as long as it takes.
    ///
    /// # Errors
    /// As [`Queue::put_timeout`].
    ///
    /// ```
    /// let jobs = wpool::Manager::new().queue("jobs", 10)?;
    /// jobs.put_bytes(b"\x00\xff", None)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put_bytes(&self, value: &[u8], timeout: Option<Duration>) -> Result<(), SharedError> {
        self.add(fits(value.to_vec())?, timeout.and_then(end_of), Wait::Ever)
    }

    fn add(&self, value: Vec<u8>, until: Option<Instant>, wait: Wait) -> Result<(), SharedError> {
        match ask(&self.object, Owner::new(), Request::Put(value.into(), wait), until) {
            Some(Answer::Yes) => Ok(()),
            Some(Answer::Refused(why)) => Err(SharedError::Refused(why)),
            _ => Err(SharedError::Full),
        }
    }

    /// Takes the first value; waits for one as long as it takes.
    ///
    /// # Errors
    /// [`SharedError::Decode`] where the value is no JSON of a `T`; it is gone
    /// then.
    ///
    /// ```
    /// let jobs = wpool::Manager::new().queue("jobs", 10)?;
    /// jobs.put("C")?;
    /// assert_eq!(jobs.get::<String>()?, "C");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get<T: DeserializeOwned>(&self) -> Result<T, SharedError> {
        decode(&self.first(None, Wait::Ever)?)
    }

    /// The same; waits no longer than `timeout`.
    ///
    /// # Errors
    /// [`SharedError::Empty`] where there was none; else as [`Queue::get`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use wpool::{Manager, SharedError};
    ///
    /// let jobs = Manager::new().queue("jobs", 1)?;
    /// let empty = jobs.get_timeout::<u8>(Duration::from_millis(1));
    /// assert!(matches!(empty, Err(SharedError::Empty)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_timeout<T: DeserializeOwned>(&self, timeout: Duration) -> Result<T, SharedError> {
        decode(&self.first(end_of(timeout), Wait::Ever)?)
    }

    /// Takes the first value, where there is one now.
    ///
    /// # Errors
    /// As [`Queue::get_timeout`].
    ///
    /// ```
    /// let jobs = wpool::Manager::new().queue("jobs", 1)?;
    /// assert!(jobs.try_get::<u8>().is_err());
    /// # Ok::<(), wpool::Error>(())
    /// ```
    #[doc(alias = "get_nowait")]
    pub fn try_get<T: DeserializeOwned>(&self) -> Result<T, SharedError> {
        decode(&self.first(None, Wait::For(0))?)
    }

    /// Takes the first value's bytes; waits for `timeout`, or as long as it
    /// takes.
    ///
    /// # Errors
    /// [`SharedError::Empty`] where there was none in time.
    ///
    /// ```
    /// let jobs = wpool::Manager::new().queue("jobs", 10)?;
    /// jobs.put_bytes(b"raw", None)?;
    /// assert_eq!(jobs.get_bytes(None)?, b"raw");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_bytes(&self, timeout: Option<Duration>) -> Result<Vec<u8>, SharedError> {
        self.first(timeout.and_then(end_of), Wait::Ever).map(Vec::from)
    }

    fn first(&self, until: Option<Instant>, wait: Wait) -> Result<Bytes, SharedError> {
        match ask(&self.object, Owner::new(), Request::Take(wait), until) {
            Some(Answer::Value(value)) => Ok(value),
            Some(Answer::Refused(why)) => Err(SharedError::Refused(why)),
            _ => Err(SharedError::Empty),
        }
    }

    /// Values in it now.
    ///
    /// ```
    /// assert_eq!(wpool::Manager::new().queue("jobs", 10)?.qsize(), 0);
    /// # Ok::<(), wpool::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "empty")]
    #[doc(alias = "full")]
    pub fn qsize(&self) -> usize {
        match at_once(&self.object, Request::Size) {
            Ok(Answer::Number(size)) => usize::try_from(size).unwrap_or(0),
            _ => 0,
        }
    }

    /// One value that was got is dealt with.
    ///
    /// # Errors
    /// [`SharedError::Refused`] where that was said of every value already.
    ///
    /// ```
    /// let jobs = wpool::Manager::new().queue("jobs", 10)?;
    /// jobs.put(&1)?;
    /// jobs.get::<u8>()?;
    /// jobs.task_done()?;
    /// assert!(jobs.task_done().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn task_done(&self) -> Result<(), SharedError> {
        at_once(&self.object, Request::TaskDone).map(drop)
    }

    /// Waits until [`Queue::task_done`] was called for every value that was
    /// put; at once where none was. A task that dies after it got a value does
    /// not say so: [`Queue::join_timeout`] ends anyway.
    ///
    /// ```
    /// let jobs = wpool::Manager::new().queue("jobs", 10)?;
    /// jobs.join();
    /// # Ok::<(), wpool::Error>(())
    /// ```
    pub fn join(&self) {
        let _done = ask(&self.object, Owner::new(), Request::Join(Wait::Ever), None);
    }

    /// The same, for no longer than `timeout`; whether it was so.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let jobs = wpool::Manager::new().queue("jobs", 10)?;
    /// jobs.put(&1)?;
    /// assert!(!jobs.join_timeout(Duration::from_millis(1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        let until = end_of(timeout);
        ask(&self.object, Owner::new(), Request::Join(Wait::Ever), until) == Some(Answer::Yes)
    }
}

pub(super) fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, SharedError> {
    serde_json::from_slice(value).map_err(SharedError::Decode)
}
