//! Why a call has no value.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::Error;
use crate::escape;
use crate::outcome::{Detail, Failure, Kind, Outcome};

/// Why a call of a [`Pool`](super::Pool) has no value.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The task did not end as `ok`. Python re-raises the task's exception.
    #[error(transparent)]
    Task(Box<TaskError>),
    /// The result is not of the type that the caller takes.
    #[error("item {index} of `{}`: the result is not what was asked for: {message}", escape::name(function))]
    Value {
        /// The item's position in the input, from 0.
        index: u64,
        /// The function that was called.
        function: Arc<str>,
        /// What does not fit.
        message: String,
    },
    /// Nothing came in time; the result may still come. Python's
    /// `TimeoutError`.
    #[error("no result in time")]
    TimedOut,
    /// The pool takes no more calls: it was closed or terminated. Python's
    /// `ValueError("Pool not running")`.
    #[error("the pool is not running: it was closed or terminated")]
    Closed,
    /// The pool still takes calls: close or terminate it before it is joined.
    #[error("the pool is still running: close or terminate it first")]
    Running,
    /// [`try_apply_async`](super::Pool::try_apply_async) found the queue full.
    #[error("the pool's queue is full")]
    Saturated,
    /// The call makes no sense: there is no such function, it cannot be called
    /// so, an option is 0.
    #[error("{0}")]
    Usage(String),
    /// The pool cannot go on.
    #[error("{0}")]
    Pool(Arc<Error>),
}

/// A task that did not end as `ok`: which one, and everything known about it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("item {index} of `{}`: {kind}: {}", escape::name(function), escape::name(message))]
#[non_exhaustive]
pub struct TaskError {
    /// The item's position in the input, from 0.
    pub index: u64,
    /// The item as it was sent, mostly JSON text, where it is no longer than
    /// 4 KiB.
    pub input: Option<Bytes>,
    /// The function that was called.
    pub function: Arc<str>,
    /// How the task ended; never [`Kind::Ok`].
    pub kind: Kind,
    /// For people. It may hold guest text: what [`Display`](std::fmt::Display)
    /// writes is escaped, this is not.
    pub message: String,
    /// For programs: trap code and frames, exit code, signal, the limit that
    /// was hit.
    pub detail: Box<Detail>,
    /// How often the item was started.
    pub attempts: u32,
    /// The slot whose worker ran it last, from 0, where one did.
    pub worker: Option<u32>,
    /// The tail of what the task wrote to standard error.
    pub stderr: Bytes,
}

impl CallError {
    /// The task that failed, where that is the reason.
    ///
    /// ```
    /// use wpool::CallError;
    ///
    /// fn position(error: &CallError) -> Option<u64> {
    ///     error.task().map(|task| task.index)
    /// }
    /// ```
    #[must_use]
    pub fn task(&self) -> Option<&TaskError> {
        match self {
            Self::Task(error) => Some(error),
            _ => None,
        }
    }

    /// How the task ended, where that is the reason.
    ///
    /// ```
    /// use wpool::{CallError, Kind};
    ///
    /// fn was_too_slow(error: &CallError) -> bool {
    ///     error.kind() == Some(Kind::Timeout)
    /// }
    /// ```
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        self.task().map(|error| error.kind)
    }

    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// What a failed outcome means; one that was cancelled because the pool
    /// broke down, the reason for that.
    pub(super) fn failed(
        function: &Arc<str>,
        outcome: &Outcome,
        failure: &Failure,
        broken: Option<Arc<Error>>,
    ) -> Self {
        match broken {
            Some(error) if failure.kind == Kind::Cancelled => Self::Pool(error),
            _ => Self::Task(Box::new(TaskError {
                index: outcome.index,
                input: outcome.tag.as_ref().and_then(|tag| tag.item.clone()),
                function: Arc::clone(function),
                kind: failure.kind,
                message: failure.message.clone(),
                detail: failure.detail.clone(),
                attempts: outcome.attempts,
                worker: outcome.worker,
                stderr: outcome.captured.stderr.clone(),
            })),
        }
    }

    /// A call that ended before its outcomes came, or before its input ended.
    pub(super) fn cancelled(function: &Arc<str>, index: u64) -> Self {
        Self::Task(Box::new(TaskError {
            index,
            input: None,
            function: Arc::clone(function),
            kind: Kind::Cancelled,
            message: "the call was cancelled".to_owned(),
            detail: Box::default(),
            attempts: 0,
            worker: None,
            stderr: Bytes::new(),
        }))
    }
}
