//! Counters and key-value stores.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::manager::queue::decode;
use crate::api::manager::{SharedError, at_once, encode};
use crate::pool::objects::Object;
use crate::wire::objects::{Answer, MAX_KEY, Request};

/// A number that tasks and the program change in single steps; made by
/// [`Manager::counter`](crate::Manager::counter).
#[derive(Clone, Debug)]
#[doc(alias = "Value")]
pub struct Counter {
    pub(super) object: Arc<Object>,
}

/// Values by their keys, which guests reach through the standard
/// `wasi:keyvalue`; made by [`Manager::key_value`](crate::Manager::key_value).
///
/// Values are JSON texts, typed here by serde. A key has at most 1024 bytes, a
/// value 1 MiB; all together 65536 keys and 64 MiB.
#[derive(Clone, Debug)]
#[doc(alias = "dict")]
pub struct KeyValue {
    pub(super) object: Arc<Object>,
}

impl Counter {
    pub(super) fn new(object: Arc<Object>) -> Self {
        Self { object }
    }

    /// Adds to it, in one step; what it is then.
    ///
    /// # Errors
    /// [`SharedError::Refused`] where 64 bits do not hold the sum.
    ///
    /// ```
    /// let hits = wpool::Manager::new().counter("hits")?;
    /// assert_eq!(hits.add(-2)?, -2);
    /// assert!(hits.add(i64::MIN).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add(&self, delta: i64) -> Result<i64, SharedError> {
        at_once(&self.object, Request::Add(delta)).map(|answer| number(&answer))
    }

    /// What it is.
    ///
    /// ```
    /// assert_eq!(wpool::Manager::new().counter("hits")?.get(), 0);
    /// # Ok::<(), wpool::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "value")]
    pub fn get(&self) -> i64 {
        at_once(&self.object, Request::Count).map_or(0, |answer| number(&answer))
    }

    /// Makes it `value`; what it was.
    ///
    /// ```
    /// let hits = wpool::Manager::new().counter("hits")?;
    /// assert_eq!((hits.set(5), hits.get()), (0, 5));
    /// # Ok::<(), wpool::Error>(())
    /// ```
    pub fn set(&self, value: i64) -> i64 {
        at_once(&self.object, Request::Reset(value)).map_or(0, |answer| number(&answer))
    }
}

fn number(answer: &Answer) -> i64 {
    if let Answer::Number(number) = answer { *number } else { 0 }
}

impl KeyValue {
    pub(super) fn new(object: Arc<Object>) -> Self {
        Self { object }
    }

    /// The value of a key, if there is one.
    ///
    /// # Errors
    /// [`SharedError::Decode`] where it is no JSON of a `T`.
    ///
    /// ```
    /// let seen = wpool::Manager::new().key_value("seen")?;
    /// assert_eq!(seen.get::<String>("a")?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, SharedError> {
        match at_once(&self.object, Request::Get(key.to_owned()))? {
            Answer::Value(value) => decode(&value).map(Some),
            _ => Ok(None),
        }
    }

    /// Gives a key a value, a new one or instead of the old.
    ///
    /// # Errors
    /// [`SharedError::Encode`], and [`SharedError::Refused`] for a key or a
    /// value that is too long, or where the store is full.
    ///
    /// ```
    /// let seen = wpool::Manager::new().key_value("seen")?;
    /// seen.set("a", &[1, 2])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<(), SharedError> {
        checked(key)?;
        at_once(&self.object, Request::Set(key.to_owned(), encode(value)?.into())).map(drop)
    }

    /// Removes a key; whether it was there.
    ///
    /// ```
    /// assert!(!wpool::Manager::new().key_value("seen")?.delete("a"));
    /// # Ok::<(), wpool::Error>(())
    /// ```
    #[doc(alias = "pop")]
    pub fn delete(&self, key: &str) -> bool {
        matches!(at_once(&self.object, Request::Delete(key.to_owned())), Ok(Answer::Yes))
    }

    /// Whether a key is there.
    ///
    /// ```
    /// assert!(!wpool::Manager::new().key_value("seen")?.contains("a"));
    /// # Ok::<(), wpool::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "__contains__")]
    pub fn contains(&self, key: &str) -> bool {
        matches!(at_once(&self.object, Request::Exists(key.to_owned())), Ok(Answer::Yes))
    }

    /// All keys, sorted. Those that others add or remove meanwhile may be among
    /// them or not.
    ///
    /// ```
    /// let seen = wpool::Manager::new().key_value("seen")?;
    /// seen.set("b", &1)?;
    /// seen.set("a", &1)?;
    /// assert_eq!(seen.keys(), ["a", "b"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut from = Some(0);
        while let Some(position) = from.take() {
            if let Ok(Answer::Keys(keys, next)) = at_once(&self.object, Request::Keys(position)) {
                all.extend(keys);
                from = next;
            }
        }
        all
    }

    /// Adds to the number that a key's value is, in one step; one that is not
    /// there counts as 0. The sum.
    ///
    /// # Errors
    /// [`SharedError::Refused`] where the value is no number, 64 bits do not
    /// hold the sum, or the store is full.
    ///
    /// ```
    /// let seen = wpool::Manager::new().key_value("seen")?;
    /// assert_eq!(seen.increment("a", 2)?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn increment(&self, key: &str, delta: u64) -> Result<u64, SharedError> {
        checked(key)?;
        at_once(&self.object, Request::Increment(key.to_owned(), delta)).map(|sum| number(&sum).cast_unsigned())
    }
}

fn checked(key: &str) -> Result<(), SharedError> {
    if key.len() > MAX_KEY {
        let length = key.len();
        return Err(SharedError::Refused(format!("the key has {length} bytes, more than {MAX_KEY}")));
    }
    Ok(())
}
