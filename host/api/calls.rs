//! The calls of a pool.

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::codec::{self, Composed, Typed};
use crate::api::error::CallError;
use crate::api::functions::{Callee, Take};
use crate::api::options::{CallOptions, at_least_one};
use crate::api::result::{AsyncResult, Call, Completion, read_many, read_one};
use crate::api::results::{Results, reader};
use crate::api::{Inner, Pool};
use crate::pool::item::Item;
use crate::pool::job::Terms;
use crate::pool::{Chunksize, FORESEEN, MapOptions, Outcomes, Room};

/// Undelivered items of a map, whose values are wanted all at once: no bound
/// of its own, for they are kept anyway.
const ALL: NonZeroUsize = NonZeroUsize::new(usize::MAX / 4).unwrap();

/// How the items of a call come and go.
struct Course {
    ordered: bool,
    take: Take,
    /// Outcomes are read by whoever made the call, as they become due.
    streams: bool,
}

impl Pool {
    /// Calls the function once and waits for its value. Where a worker is
    /// free, no other thread is woken.
    ///
    /// `args` is the argument of a function that takes one; for others a
    /// tuple, an array, an object or struct by parameter name, or `()`.
    ///
    /// ```no_run
    /// # fn example(pool: &wpool::Pool) -> Result<(), wpool::CallError> {
    /// let nine: u64 = pool.apply("square", 3)?;
    /// let seven: i32 = pool.apply("add", (3, 4))?;
    /// let same: i32 = pool.apply("add", serde_json::json!({ "a": 3, "b": 4 }))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CallError::Task`] where the task fails, [`CallError::Value`] where its
    /// value is no `R`, [`CallError::Usage`] where the function cannot be
    /// called so, [`CallError::Closed`], [`CallError::Pool`].
    #[doc(alias = "Pool.apply")]
    pub fn apply<'c, R: DeserializeOwned>(
        &self,
        call: impl Into<CallOptions<'c>>,
        args: impl Serialize,
    ) -> Result<R, CallError> {
        let call = call.into();
        let _entered = self.inner.gate.enter()?;
        let callee = self.inner.functions.callee(&call, Take::Either)?;
        let terms = self.inner.terms(&callee, &call)?;
        let outcome = self.inner.engine.apply_on(argument(&callee, &args), terms);
        let outcome = outcome.map_err(CallError::Pool)?;
        match &outcome.result {
            Ok(value) => reader(&callee.name)(outcome.index, value.form, &value.bytes),
            Err(failure) => Err(CallError::failed(&callee.name, &outcome, failure, None)),
        }
    }

    /// Calls the function once and does not wait for its value. Where
    /// [too many](super::PoolBuilder::max_pending) such calls are under way,
    /// it waits until one has ended.
    ///
    /// ```
    /// use wpool::{AsyncResult, CallError, Pool};
    ///
    /// fn both(pool: &Pool) -> Result<(u64, u64), CallError> {
    ///     let one: AsyncResult<u64> = pool.apply_async("square", 3)?;
    ///     let other: AsyncResult<u64> = pool.apply_async("square", 4)?;
    ///     Ok((one.get()?, other.get()?))
    /// }
    /// ```
    ///
    /// # Errors
    /// [`CallError::Usage`] where the function cannot be called so,
    /// [`CallError::Closed`].
    #[doc(alias = "Pool.apply_async")]
    #[doc(alias = "submit")]
    pub fn apply_async<'c, R: DeserializeOwned>(
        &self,
        call: impl Into<CallOptions<'c>>,
        args: impl Serialize,
    ) -> Result<AsyncResult<R>, CallError> {
        self.submit(&call.into(), &args, Room::Wait)
    }

    /// The same without ever waiting.
    ///
    /// ```
    /// use wpool::{AsyncResult, CallError, Pool};
    ///
    /// fn unless_busy(pool: &Pool) -> Result<Option<AsyncResult<u64>>, CallError> {
    ///     match pool.try_apply_async("square", 3) {
    ///         Err(CallError::Saturated) => Ok(None),
    ///         other => other.map(Some),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`CallError::Saturated`] where [`apply_async`](Self::apply_async) would
    /// wait; nothing was sent. Otherwise as there.
    pub fn try_apply_async<'c, R: DeserializeOwned>(
        &self,
        call: impl Into<CallOptions<'c>>,
        args: impl Serialize,
    ) -> Result<AsyncResult<R>, CallError> {
        self.submit(&call.into(), &args, Room::Try)
    }

    fn submit<R: DeserializeOwned>(
        &self,
        call: &CallOptions<'_>,
        args: &impl Serialize,
        room: Room,
    ) -> Result<AsyncResult<R>, CallError> {
        let callee = self.inner.functions.callee(call, Take::Either)?;
        let item = argument(&callee, args);
        self.queue(call, callee, item, room)
    }

    /// Queues one item that is made already.
    pub(super) fn queue<R: DeserializeOwned>(
        &self,
        call: &CallOptions<'_>,
        callee: Callee,
        item: Item,
        room: Room,
    ) -> Result<AsyncResult<R>, CallError> {
        let bytes = item.body.as_ref().map_or(0, |body| body.bytes.len());
        let terms = self.inner.terms(&callee, call)?;
        let entered = self.inner.gate.enter_pending(bytes, room)?;
        let done = Completion::new(entered, Arc::clone(&self.inner.callbacks));
        let terms = Terms { finale: Some(Arc::clone(&done) as _), ..terms };
        let job = self.inner.engine.submit(item, terms, room).map_err(|_full| CallError::Saturated)?;
        let shared = Arc::clone(self.inner.engine.shared());
        let call = Call { job, done, shared, function: callee.name, arrived: OnceLock::new() };
        Ok(AsyncResult::new(call, read_one))
    }

    /// Calls the function with each item and gives the values in the order of
    /// the items. All items end before it returns, failed or not.
    ///
    /// Items are pulled as they are needed, by a thread of the pool's.
    ///
    /// ```no_run
    /// # fn example(pool: &wpool::Pool) -> Result<(), wpool::CallError> {
    /// let squares: Vec<u64> = pool.map("square", [1, 2, 3, 4])?;
    /// assert_eq!(squares, [1, 4, 9, 16]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The first failure that came (in time, not in order), after all items
    /// have ended; [`outcomes`](Self::outcomes) gives each item its own.
    /// Otherwise as [`apply`](Self::apply).
    #[doc(alias = "Pool.map")]
    pub fn map<'c, R, I>(&self, call: impl Into<CallOptions<'c>>, items: I) -> Result<Vec<R>, CallError>
    where
        R: DeserializeOwned,
        I: IntoIterator,
        I::Item: Serialize + Send,
        I::IntoIter: Send + 'static,
    {
        self.inner.values(&call.into(), items.into_iter(), Take::Whole)
    }

    /// Like [`map`](Self::map) for functions of several parameters: each item
    /// is a tuple or an array, or an object or a struct by parameter name.
    ///
    /// ```no_run
    /// # fn example(pool: &wpool::Pool) -> Result<(), wpool::CallError> {
    /// let sums: Vec<i32> = pool.starmap("add", [(1, 2), (3, 4)])?;
    /// assert_eq!(sums, [3, 7]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`map`](Self::map).
    #[doc(alias = "Pool.starmap")]
    pub fn starmap<'c, R, I>(&self, call: impl Into<CallOptions<'c>>, items: I) -> Result<Vec<R>, CallError>
    where
        R: DeserializeOwned,
        I: IntoIterator,
        I::Item: Serialize + Send,
        I::IntoIter: Send + 'static,
    {
        self.inner.values(&call.into(), items.into_iter(), Take::Spread)
    }

    /// [`map`](Self::map) that does not wait: the result has all values. They
    /// are kept as they come, whether or not anybody asks for them.
    ///
    /// ```
    /// use wpool::{CallError, Pool};
    ///
    /// fn squares(pool: &Pool) -> Result<Vec<u64>, CallError> {
    ///     let later = pool.map_async("square", 0..1_000_u64)?;
    ///     // Other things are done here.
    ///     later.get()
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async).
    #[doc(alias = "Pool.map_async")]
    pub fn map_async<'c, R, I>(
        &self,
        call: impl Into<CallOptions<'c>>,
        items: I,
    ) -> Result<AsyncResult<Vec<R>>, CallError>
    where
        R: DeserializeOwned,
        I: IntoIterator,
        I::Item: Serialize + Send,
        I::IntoIter: Send + 'static,
    {
        self.inner.values_async(&call.into(), items.into_iter(), Take::Whole)
    }

    /// [`starmap`](Self::starmap) that does not wait, as
    /// [`map_async`](Self::map_async).
    ///
    /// ```
    /// use wpool::{CallError, Pool};
    ///
    /// fn sums(pool: &Pool) -> Result<Vec<i32>, CallError> {
    ///     pool.starmap_async("add", [(1, 2), (3, 4)])?.get()
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async).
    #[doc(alias = "Pool.starmap_async")]
    pub fn starmap_async<'c, R, I>(
        &self,
        call: impl Into<CallOptions<'c>>,
        items: I,
    ) -> Result<AsyncResult<Vec<R>>, CallError>
    where
        R: DeserializeOwned,
        I: IntoIterator,
        I::Item: Serialize + Send,
        I::IntoIter: Send + 'static,
    {
        self.inner.values_async(&call.into(), items.into_iter(), Take::Spread)
    }

    /// Calls the function with each item and gives the values one by one, in
    /// the order of the items, as they become due. Items are pulled only as
    /// far ahead as the [window](CallOptions::window) allows, so the input may
    /// be endless.
    ///
    /// ```no_run
    /// # fn example(pool: &wpool::Pool) -> Result<(), wpool::CallError> {
    /// for square in pool.imap::<u64, _>("square", 0_u64..)?.take(100) {
    ///     println!("{}", square?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CallError::Usage`], [`CallError::Closed`]; failures of items come at
    /// their places.
    #[doc(alias = "Pool.imap")]
    pub fn imap<'c, R, I>(&self, call: impl Into<CallOptions<'c>>, items: I) -> Result<Results<R>, CallError>
    where
        R: DeserializeOwned,
        I: IntoIterator,
        I::Item: Serialize + Send,
        I::IntoIter: Send + 'static,
    {
        let course = Course { ordered: true, take: Take::Whole, streams: true };
        let (outcomes, callee) = self.inner.stream(&call.into(), items.into_iter(), &course)?;
        Ok(Results::new(outcomes, callee.name))
    }

    /// Like [`imap`](Self::imap), in the order in which the values come.
    ///
    /// ```
    /// use wpool::{CallError, Pool};
    ///
    /// fn any_square(pool: &Pool) -> Result<Option<u64>, CallError> {
    ///     pool.imap_unordered("square", [9, 4, 1])?.next().transpose()
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`imap`](Self::imap).
    #[doc(alias = "Pool.imap_unordered")]
    pub fn imap_unordered<'c, R, I>(&self, call: impl Into<CallOptions<'c>>, items: I) -> Result<Results<R>, CallError>
    where
        R: DeserializeOwned,
        I: IntoIterator,
        I::Item: Serialize + Send,
        I::IntoIter: Send + 'static,
    {
        let course = Course { ordered: false, take: Take::Whole, streams: true };
        let (outcomes, callee) = self.inner.stream(&call.into(), items.into_iter(), &course)?;
        Ok(Results::new(outcomes, callee.name))
    }

    /// Calls the function with each item and gives one
    /// [`Outcome`](crate::outcome::Outcome) for each, in order: its value or
    /// its failure, the worker, times, memory, what it printed. Never fails as
    /// a whole. Pulls ahead as [`imap`](Self::imap) does.
    ///
    /// Where the pool, or the call, is ended before the input is, items that
    /// were not read end as [`cancelled`](crate::outcome::Kind::Cancelled),
    /// too: each of an input that says how many it has, else one outcome
    /// stands for them all.
    ///
    /// ```no_run
    /// # fn example(pool: &wpool::Pool) -> Result<(), wpool::CallError> {
    /// let slow = pool.outcomes("square", 0..1_000)?.filter(|outcome| outcome.usage.wall.as_millis() > 10).count();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CallError::Usage`], [`CallError::Closed`].
    pub fn outcomes<'c, I>(&self, call: impl Into<CallOptions<'c>>, items: I) -> Result<Outcomes, CallError>
    where
        I: IntoIterator,
        I::Item: Serialize + Send,
        I::IntoIter: Send + 'static,
    {
        let course = Course { ordered: true, take: Take::Either, streams: true };
        let items = items.into_iter();
        let (least, most) = items.size_hint();
        let total = most.filter(|most| *most == least).map(|total| total as u64);
        let (outcomes, _callee) = self.inner.stream(&call.into(), items, &course)?;
        Ok(outcomes.with_unpulled(total))
    }
}

/// What one call's argument is on its way to a worker.
pub(super) fn argument(callee: &Callee, args: &impl Serialize) -> Item {
    match &callee.composition {
        Some(composition) => composition.item(0, args),
        None => codec::item(0, args),
    }
}

impl Inner {
    /// How a call goes.
    pub(in crate::api) fn terms(&self, callee: &Callee, call: &CallOptions<'_>) -> Result<Terms, CallError> {
        let tighter = call.tighter(&self.engine.shared().spec.limits)?;
        Ok(Terms { function: callee.target, timeout: call.timeout, tighter, keep_input: true, ..Terms::default() })
    }

    /// Starts a call of many items.
    fn start<T, I>(&self, callee: &Callee, items: I, options: MapOptions, terms: Terms) -> Result<Outcomes, CallError>
    where
        T: Serialize + Send,
        I: Iterator<Item = T> + Send + 'static,
    {
        let items = (0..).zip(items);
        let started = match &callee.composition {
            None => self.engine.outcomes_on(items.map(|(index, value)| Typed { index, value }), options, terms),
            Some(composition) => {
                let by = Arc::clone(composition);
                let items = items.map(move |(index, value)| Composed { index, value, by: Arc::clone(&by) });
                self.engine.outcomes_on(items, options, terms)
            }
        };
        started.map_err(|error| CallError::Pool(Arc::new(error)))
    }

    fn stream<T, I>(&self, call: &CallOptions<'_>, items: I, course: &Course) -> Result<(Outcomes, Callee), CallError>
    where
        T: Serialize + Send,
        I: Iterator<Item = T> + Send + 'static,
    {
        let callee = self.functions.callee(call, course.take)?;
        let fixed = self.defaults.chunksize.map(Chunksize::Fixed);
        let alone = if course.streams { Chunksize::Fixed(NonZeroUsize::MIN) } else { Chunksize::Auto };
        let chunksize = call.chunks(fixed.unwrap_or(alone))?;
        let window = call.window.map(|items| at_least_one("window", items)).transpose()?.or(self.defaults.window);
        let ahead = self.processes.saturating_mul(NonZeroUsize::MIN.saturating_add(1));
        let ahead = chunksize.items().and_then(NonZeroUsize::new).map(|items| ahead.saturating_mul(items));
        let window = if course.streams { window.or(ahead) } else { None };
        let options = MapOptions { ordered: course.ordered, chunksize, window, ..MapOptions::default() };
        let terms = self.terms(&callee, call)?;
        let done = Completion::new(self.gate.enter()?, Arc::clone(&self.callbacks));
        let terms = Terms { finale: Some(done), ..terms };
        let outcomes = self.start(&callee, items, options, terms)?;
        if course.streams {
            self.gate.stream(outcomes.job());
        }
        Ok((outcomes, callee))
    }

    /// A map that waits.
    fn values<R, T, I>(&self, call: &CallOptions<'_>, items: I, take: Take) -> Result<Vec<R>, CallError>
    where
        R: DeserializeOwned,
        T: Serialize + Send,
        I: Iterator<Item = T> + Send + 'static,
    {
        let mut values = Vec::with_capacity(items.size_hint().0.min(FORESEEN));
        let course = Course { ordered: true, take, streams: false };
        let (mut outcomes, callee) = self.stream(call, items, &course)?;
        let (mut failed, mut unread) = (None, None);
        let mut position = 0;
        while let Some(next) = outcomes.next_value(reader(&callee.name)) {
            match next {
                Ok(Ok(value)) if unread.is_none() && failed.is_none() => values.push(value),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => unread = unread.or(Some(error)),
                Err(outcome) => {
                    values = Vec::new();
                    // The first to come is known by now, or will be known
                    // before its turn.
                    if failed.is_none() || outcomes.first_failure() == Some(position) {
                        failed = Some(outcome);
                    }
                }
            }
            position += 1;
        }
        if outcomes.job().is_cut() {
            let broken = outcomes.broken().map(CallError::Pool);
            return Err(broken.unwrap_or_else(|| CallError::cancelled(&callee.name, position)));
        }
        match (failed, unread) {
            (Some(outcome), _) => match &outcome.result {
                Err(failure) => Err(CallError::failed(&callee.name, &outcome, failure, outcomes.broken())),
                Ok(_) => Ok(values),
            },
            (None, Some(error)) => Err(error),
            (None, None) => Ok(values),
        }
    }

    /// A map that does not.
    fn values_async<R, T, I>(
        &self,
        call: &CallOptions<'_>,
        items: I,
        take: Take,
    ) -> Result<AsyncResult<Vec<R>>, CallError>
    where
        R: DeserializeOwned,
        T: Serialize + Send,
        I: Iterator<Item = T> + Send + 'static,
    {
        let empty = items.size_hint().1 == Some(0);
        let callee = self.functions.callee(call, take)?;
        let chunksize = call.chunks(self.defaults.chunksize.map_or(Chunksize::Auto, Chunksize::Fixed))?;
        let options = MapOptions { chunksize, window: Some(ALL), ..MapOptions::default() };
        let terms = self.terms(&callee, call)?;
        let done = Completion::new(self.gate.enter()?, Arc::clone(&self.callbacks));
        let terms = Terms { finale: Some(Arc::clone(&done) as _), hoard: true, ..terms };
        let job = self.start(&callee, items, options, terms)?.into_job();
        let shared = Arc::clone(self.engine.shared());
        let call = Call { job, done, shared, function: callee.name, arrived: OnceLock::new() };
        if empty {
            // Ready at once, as Python's; the thread that pulls has only to see it.
            call.done.wait(None);
        }
        Ok(AsyncResult::new(call, read_many))
    }
}
