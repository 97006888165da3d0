//! Values as they become due: what `imap` and `imap_unordered` give.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::api::codec;
use crate::api::error::CallError;
use crate::outcome::{Form, Outcome};
use crate::pool::Outcomes;

/// The values of an [`imap`](super::Pool::imap), in the order of the items, or
/// of an [`imap_unordered`](super::Pool::imap_unordered), as they come.
///
/// An item that fails is an `Err` at its place, and the iterator goes on. After
/// the last value it stays at `None`. Dropping it cancels what is left: what
/// runs is ended, nothing more is pulled from the input.
#[doc(alias = "IMapIterator")]
#[derive(Debug)]
pub struct Results<R> {
    outcomes: Outcomes,
    function: Arc<str>,
    /// Values given.
    given: u64,
    /// The end was told.
    ended: bool,
    value: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> Results<R> {
    pub(super) fn new(outcomes: Outcomes, function: Arc<str>) -> Self {
        Self { outcomes, function, given: 0, ended: false, value: PhantomData }
    }

    /// The next value, waited for at most `timeout`.
    ///
    /// # Errors
    /// [`CallError::TimedOut`] inside, where it has not come: the iterator can
    /// be used on. Else as [`Iterator::next`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use wpool::{CallError, Pool};
    ///
    /// fn first(pool: &Pool) -> Result<Option<u64>, CallError> {
    ///     let mut squares = pool.imap("square", 0..10_u64)?;
    ///     loop {
    ///         match squares.next_timeout(Duration::from_secs(1)) {
    ///             Some(Err(CallError::TimedOut)) => continue,
    ///             other => return other.transpose(),
    ///         }
    ///     }
    /// }
    /// ```
    #[doc(alias = "next")]
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<R, CallError>> {
        if !self.outcomes.wait_ready(timeout) {
            return Some(Err(CallError::TimedOut));
        }
        self.next()
    }

    /// Ends what runs and what is queued; what is left comes as
    /// [`cancelled`](crate::outcome::Kind::Cancelled), and so does the end,
    /// where the input was not at its end.
    ///
    /// ```
    /// use wpool::{CallError, Pool};
    ///
    /// fn until_a_large_one(pool: &Pool) -> Result<Option<u64>, CallError> {
    ///     let mut squares = pool.imap::<u64, _>("square", 0_u64..)?;
    ///     let large = squares.by_ref().filter_map(Result::ok).find(|square| *square > 1_000);
    ///     squares.cancel();
    ///     Ok(large)
    /// }
    /// ```
    pub fn cancel(&self) {
        self.outcomes.cancel();
    }

    fn failed(&self, outcome: &Outcome) -> CallError {
        match &outcome.result {
            Err(failure) => CallError::failed(&self.function, outcome, failure, self.outcomes.broken()),
            Ok(_) => CallError::Closed,
        }
    }
}

/// Reads values of one function.
pub(super) fn reader<R: DeserializeOwned>(
    function: &Arc<str>,
) -> impl Fn(u64, Form, &[u8]) -> Result<R, CallError> + use<'_, R> {
    move |index, form, bytes| codec::read(form, bytes).map_err(|error| unreadable(function, index, &error))
}

/// A value of one function that is none of the caller's type.
pub(super) fn unreadable(function: &Arc<str>, index: u64, error: &serde_json::Error) -> CallError {
    CallError::Value { index, function: Arc::clone(function), message: error.to_string() }
}

impl<R: DeserializeOwned> Iterator for Results<R> {
    type Item = Result<R, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.given += 1;
        match self.outcomes.next_value(reader(&self.function)) {
            Some(Ok(value)) => Some(value),
            Some(Err(outcome)) => Some(Err(self.failed(&outcome))),
            // An end that is none is not passed over in silence.
            None if !std::mem::replace(&mut self.ended, true) && self.outcomes.job().is_cut() => {
                let broken = self.outcomes.broken().map(CallError::Pool);
                Some(Err(broken.unwrap_or_else(|| CallError::cancelled(&self.function, self.given - 1))))
            }
            None => None,
        }
    }
}

impl<R: DeserializeOwned> std::iter::FusedIterator for Results<R> {}
