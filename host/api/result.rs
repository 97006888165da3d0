//! The result of a call that nobody waits for yet: Python's `AsyncResult`, and
//! a future.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::api::callbacks::{Callback, Callbacks};
use crate::api::codec;
use crate::api::error::CallError;
use crate::api::gate::Entered;
use crate::outcome::Outcome;
use crate::pool::delivery::{Cursor, Delivery};
use crate::pool::job::{Finale, Job};
use crate::pool::{JobHandle, Shared};

/// The end of a job, for whoever waits for it.
#[derive(Debug)]
pub(super) struct Completion {
    state: Mutex<State>,
    changed: Condvar,
    callbacks: Arc<Callbacks>,
}

#[derive(Default)]
struct State {
    complete: bool,
    /// Leaves the pool's gate with the end.
    entered: Option<Entered>,
    waker: Option<Waker>,
    /// Callbacks that wait for the end.
    due: Vec<(Callback, Arc<Call>)>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("complete", &self.complete).finish_non_exhaustive()
    }
}

impl Completion {
    pub(super) fn new(entered: Entered, callbacks: Arc<Callbacks>) -> Arc<Self> {
        let state = State { entered: Some(entered), ..State::default() };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new(), callbacks })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_complete(&self) -> bool {
        self.state().complete
    }

    /// Waits for the end; false when `until` comes first.
    pub(super) fn wait(&self, until: Option<Instant>) -> bool {
        let mut state = self.state();
        while !state.complete {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            state = match left {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return false,
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        true
    }

    /// Runs `callback` on the callbacks' thread once the end has come.
    fn call_back(&self, call: &Arc<Call>, callback: Callback) {
        self.callbacks.register();
        let mut state = self.state();
        if state.complete {
            drop(state);
            self.callbacks.push(callback, call.weight());
        } else {
            state.due.push((callback, Arc::clone(call)));
        }
    }
}

impl Finale for Completion {
    fn complete(&self) {
        let mut state = self.state();
        state.complete = true;
        let (entered, waker, due) = (state.entered.take(), state.waker.take(), std::mem::take(&mut state.due));
        // Before anyone sees the end: whoever does may cause later callbacks.
        let mut calls = Vec::with_capacity(due.len());
        for (callback, call) in due {
            self.callbacks.push(callback, call.weight());
            calls.push(call);
        }
        drop(state);
        self.changed.notify_all();
        // Not under the lock: their drop is code of the whole pool.
        drop(calls);
        // After the callbacks are queued: who joins the pool waits for them.
        drop(entered);
        if let Some(waker) = waker {
            // Somebody else's code, on a slot's thread.
            let _panicked = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }
}

/// A call whose outcomes are wanted all at once.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) job: Arc<Job>,
    pub(super) done: Arc<Completion>,
    pub(super) shared: Arc<Shared>,
    pub(super) function: Arc<str>,
    /// What came, once it has.
    pub(super) arrived: OnceLock<Vec<Delivery>>,
}

impl Call {
    /// What came; empty where the call was given up.
    fn deliveries(&self) -> &[Delivery] {
        self.arrived.get_or_init(|| {
            let mut all = VecDeque::new();
            let mut some = VecDeque::new();
            while self.job.is_complete() && self.job.collect(&mut some, None) {
                all.append(&mut some);
            }
            all.into()
        })
    }

    fn weight(&self) -> usize {
        self.deliveries().iter().map(Delivery::weight).sum()
    }

    fn failure(&self, outcome: &Outcome) -> Option<CallError> {
        let failure = outcome.result.as_ref().err()?;
        Some(CallError::failed(&self.function, outcome, failure, self.shared.broken()))
    }

    /// The failure that counts: the first that came.
    fn first_failure(&self) -> Option<CallError> {
        if self.job.is_cut() {
            let broken = self.shared.broken().map(CallError::Pool);
            return broken.or_else(|| Some(CallError::cancelled(&self.function, 0)));
        }
        let first = self.job.first_failure()?;
        let mut position = 0;
        for delivery in self.deliveries() {
            match delivery {
                Delivery::One(outcome) if position == first => return self.failure(outcome),
                delivery => position += delivery.len() as u64,
            }
        }
        None
    }

    fn value<R: DeserializeOwned>(&self, outcome: &Outcome) -> Result<R, CallError> {
        match &outcome.result {
            Ok(value) => codec::read(value.form, &value.bytes).map_err(|error| CallError::Value {
                index: outcome.index,
                function: Arc::clone(&self.function),
                message: error.to_string(),
            }),
            Err(failure) => Err(CallError::failed(&self.function, outcome, failure, self.shared.broken())),
        }
    }
}

/// The value of a call of one item.
pub(super) fn read_one<R: DeserializeOwned>(call: &Call) -> Result<R, CallError> {
    if let Some(error) = call.first_failure() {
        return Err(error);
    }
    match call.deliveries().first() {
        Some(Delivery::One(outcome)) => call.value(outcome),
        Some(Delivery::Many(finished)) => match Cursor::new(finished.clone()).next() {
            Some(outcome) => call.value(&outcome),
            None => Err(CallError::Closed),
        },
        None => Err(CallError::Closed),
    }
}

/// The values of a call of many items.
pub(super) fn read_many<R: DeserializeOwned>(call: &Call) -> Result<Vec<R>, CallError> {
    if let Some(error) = call.first_failure() {
        return Err(error);
    }
    let mut values = Vec::with_capacity(call.deliveries().iter().map(Delivery::len).sum());
    for delivery in call.deliveries() {
        match delivery {
            Delivery::One(outcome) => values.push(call.value(outcome)?),
            Delivery::Many(finished) => {
                let mut cursor = Cursor::new(finished.clone());
                while let Some((index, form, bytes)) = cursor.next_bytes() {
                    values.push(codec::read(form, bytes).map_err(|error| CallError::Value {
                        index,
                        function: Arc::clone(&call.function),
                        message: error.to_string(),
                    })?);
                }
            }
        }
    }
    Ok(values)
}

/// The result of a call that goes on by itself: of one item, or of a whole map.
///
/// It is a future too, for any runtime: `pool.apply_async("f", 1)?.await`.
/// Dropping it leaves the call running, as in Python, unless
/// [`cancel_on_drop`](Self::cancel_on_drop) was said. It does not keep its pool
/// alive: when that ends, what is pending ends as
/// [`cancelled`](crate::outcome::Kind::Cancelled).
///
/// ```
/// use wpool::{AsyncResult, CallError, Pool};
///
/// fn ten(pool: &Pool) -> Result<Vec<u64>, CallError> {
///     let calls: Vec<AsyncResult<u64>> =
///         (0..10_u64).map(|n| pool.apply_async("square", n)).collect::<Result<_, _>>()?;
///     calls.iter().map(AsyncResult::get).collect()
/// }
/// ```
#[doc(alias = "ApplyResult")]
#[doc(alias = "MapResult")]
pub struct AsyncResult<T> {
    call: Arc<Call>,
    read: fn(&Call) -> Result<T, CallError>,
    cancels: bool,
    value: PhantomData<fn() -> T>,
}

impl<T> AsyncResult<T> {
    pub(super) fn new(call: Call, read: fn(&Call) -> Result<T, CallError>) -> Self {
        Self { call: Arc::new(call), read, cancels: false, value: PhantomData }
    }

    /// Waits for the value. It can be taken again.
    ///
    /// ```
    /// use wpool::{AsyncResult, CallError};
    ///
    /// fn twice(later: &AsyncResult<u64>) -> Result<u64, CallError> {
    ///     Ok(later.get()? + later.get()?)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`CallError::Task`]: of one item its failure; of a map the first
    /// failure that came, after all items have ended. [`CallError::Value`]
    /// where the value is no `T`; [`CallError::Pool`] where the pool cannot go
    /// on.
    #[doc(alias = "AsyncResult.get")]
    pub fn get(&self) -> Result<T, CallError> {
        self.call.done.wait(None);
        (self.read)(&self.call)
    }

    /// Waits for the value, for at most `timeout`. The task goes on: give the
    /// call a [`timeout`](super::CallOptions::timeout) to end it, or
    /// [`cancel`](Self::cancel) it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wpool::{AsyncResult, CallError};
    ///
    /// fn soon_or_not_at_all(later: &AsyncResult<u64>) -> Result<Option<u64>, CallError> {
    ///     match later.get_timeout(Duration::from_secs(1)) {
    ///         Err(CallError::TimedOut) => {
    ///             later.cancel();
    ///             Ok(None)
    ///         }
    ///         other => other.map(Some),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`CallError::TimedOut`] where it has not come; else as
    /// [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, CallError> {
        if self.wait(timeout) { (self.read)(&self.call) } else { Err(CallError::TimedOut) }
    }

    /// Waits until the call has ended, for at most `timeout`; whether it has.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wpool::AsyncResult;
    ///
    /// fn watch(later: &AsyncResult<u64>) {
    ///     while !later.wait(Duration::from_secs(1)) {
    ///         println!("still at work");
    ///     }
    /// }
    /// ```
    pub fn wait(&self, timeout: Duration) -> bool {
        self.call.done.wait(Instant::now().checked_add(timeout))
    }

    /// Whether the call has ended.
    ///
    /// ```
    /// use wpool::AsyncResult;
    ///
    /// fn done(calls: &[AsyncResult<u64>]) -> usize {
    ///     calls.iter().filter(|call| call.ready()).count()
    /// }
    /// ```
    #[must_use]
    pub fn ready(&self) -> bool {
        self.call.done.is_complete()
    }

    /// Whether the call ended without a failure; `None` while it has not
    /// ended, where Python raises a `ValueError`.
    ///
    /// ```
    /// use wpool::AsyncResult;
    ///
    /// fn tell(later: &AsyncResult<u64>) -> &'static str {
    ///     match later.successful() {
    ///         None => "not ready",
    ///         Some(true) => "done",
    ///         Some(false) => "failed",
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn successful(&self) -> Option<bool> {
        self.ready().then(|| self.call.first_failure().is_none())
    }

    /// Ends the call: what is queued does not start, and a worker that runs
    /// one of its tasks is killed and replaced, at no cost to other calls.
    /// The result is [`cancelled`](crate::outcome::Kind::Cancelled) at once.
    /// False where it had ended before. Python's pool has no such thing.
    ///
    /// ```
    /// use wpool::{AsyncResult, CallError, Kind, Pool};
    ///
    /// fn changed_my_mind(pool: &Pool) -> Result<(), CallError> {
    ///     let later: AsyncResult<u64> = pool.apply_async("spin", 7)?;
    ///     if later.cancel() {
    ///         assert_eq!(later.get().unwrap_err().kind(), Some(Kind::Cancelled));
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn cancel(&self) -> bool {
        let cancelled = self.call.job.give_up();
        if cancelled {
            JobHandle::new(Arc::clone(&self.call.job), Arc::clone(&self.call.shared)).cancel();
        }
        cancelled
    }

    /// The same result, whose drop cancels the call.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wpool::{AsyncResult, CallError, Pool};
    ///
    /// fn at_most_a_second(pool: &Pool) -> Result<u64, CallError> {
    ///     let later: AsyncResult<u64> = pool.apply_async("square", 3)?.cancel_on_drop();
    ///     later.get_timeout(Duration::from_secs(1))
    /// }
    /// ```
    #[must_use]
    pub fn cancel_on_drop(mut self) -> Self {
        self.cancels = true;
        self
    }
}

impl<T: 'static> AsyncResult<T> {
    /// Calls `callback` with the value when the call has succeeded; of a map
    /// once, with all values. It runs on a thread that the pool has for
    /// callbacks: it may wait, be slow or panic, and only other callbacks wait
    /// for it. ([`Stats::callbacks_panicked`](super::Stats) counts panics.)
    ///
    /// Waits while 4096 results, or 64 MiB of them, wait for their callbacks.
    ///
    /// ```
    /// use std::sync::mpsc::Sender;
    /// use wpool::{CallError, Pool};
    ///
    /// fn tell(pool: &Pool, to: Sender<u64>) -> Result<(), CallError> {
    ///     pool.apply_async("square", 7)?
    ///         .callback(move |square| to.send(square).unwrap_or_default())
    ///         .error_callback(|error| eprintln!("{error}"));
    ///     Ok(())
    /// }
    /// ```
    pub fn callback(self, callback: impl FnOnce(T) + Send + 'static) -> Self {
        self.call_back(|value| {
            if let Ok(value) = value {
                callback(value);
            }
        })
    }

    /// Calls `callback` with the error when the call has failed; otherwise as
    /// [`callback`](Self::callback).
    ///
    /// ```
    /// use wpool::{AsyncResult, CallError, Pool};
    ///
    /// fn fire_and_forget(pool: &Pool) -> Result<(), CallError> {
    ///     let later: AsyncResult<u64> = pool.apply_async("square", 3)?;
    ///     let _pending = later.error_callback(|error| eprintln!("{error}"));
    ///     Ok(())
    /// }
    /// ```
    pub fn error_callback(self, callback: impl FnOnce(CallError) + Send + 'static) -> Self {
        self.call_back(|value| {
            if let Err(error) = value {
                callback(error);
            }
        })
    }

    fn call_back(self, callback: impl FnOnce(Result<T, CallError>) + Send + 'static) -> Self {
        let (call, read) = (Arc::clone(&self.call), self.read);
        self.call.done.call_back(&self.call, Box::new(move || callback(read(&call))));
        self
    }
}

impl<T> Future for AsyncResult<T> {
    type Output = Result<T, CallError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.call.done.state();
        if state.complete {
            drop(state);
            return Poll::Ready((self.read)(&self.call));
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            state.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl<T> Drop for AsyncResult<T> {
    fn drop(&mut self) {
        if self.cancels {
            self.cancel();
        }
    }
}

impl<T> fmt::Debug for AsyncResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult").field("function", &self.call.function).field("ready", &self.ready()).finish()
    }
}
