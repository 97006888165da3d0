//! Typed maps: values in as JSON, values out, without an [`Outcome`] in
//! between.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::outcome::{Failure, Form, Kind, Outcome};
use crate::pool::item::{Body, Item, Supply};
use crate::pool::{MapOptions, Outcomes, Pool};
use crate::wire::message::ItemForm;

/// Values that a map makes room for before they come, however many its input
/// promises.
pub(crate) const FORESEEN: usize = 1 << 16;

/// Why a map has no result.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// An item did not end as `ok`; what others gave is dropped.
    #[error("item {}: {}", .0.index, failure_text(.0))]
    Item(Box<Outcome>),
    /// A value is not what the caller takes.
    #[error("item {index}: the result is not what was asked for: {error}")]
    Value {
        /// The item's position.
        index: u64,
        /// What does not fit.
        error: serde_json::Error,
    },
    /// The pool cannot go on.
    #[error("{0}")]
    Pool(String),
}

fn failure_text(outcome: &Outcome) -> &str {
    outcome.result.as_ref().err().map_or("", |failure| failure.message.as_str())
}

/// A value that is an item as its JSON text.
struct Typed<T> {
    index: u64,
    value: T,
}

impl<T: Serialize + Send> Supply for Typed<T> {
    fn index(&self) -> u64 {
        self.index
    }

    fn pack(&self, out: &mut Vec<u8>) -> Option<ItemForm> {
        serde_json::to_writer(out, &self.value).ok().map(|()| ItemForm::Json)
    }

    fn into_item(self) -> Item {
        let body = serde_json::to_vec(&self.value);
        let body = body.map(|bytes| Body { bytes: bytes.into(), form: ItemForm::Json, path: None, connection: None });
        let body = body.map_err(|error| Failure::new(Kind::BadInput, format!("the item has no JSON: {error}")));
        Item { index: self.index, body, tag: None }
    }
}

impl Pool {
    /// Calls the function with each item and gives the results in the order of
    /// the items, as `Pool.map` of Python's `multiprocessing` does. The first
    /// item that fails ends the map, and what still runs is ended.
    ///
    /// ```
    /// use wpool::pool::{MapError, Pool};
    ///
    /// /// By a pool whose function squares its number.
    /// fn squares(pool: &Pool) -> Result<Vec<u64>, MapError> {
    ///     pool.map(0..1_000_u64, Default::default())
    /// }
    /// ```
    ///
    /// # Errors
    /// The first item, in order, that has no value of type `R`.
    pub fn map<T, R, I>(&self, items: I, options: MapOptions) -> Result<Vec<R>, MapError>
    where
        T: Serialize + Send,
        R: DeserializeOwned,
        I: IntoIterator<Item = T>,
        I::IntoIter: Send + 'static,
    {
        let items = items.into_iter();
        let mut results = Vec::with_capacity(items.size_hint().0.min(FORESEEN));
        let typed = (0..).zip(items).map(|(index, value)| Typed { index, value });
        let outcomes = self.outcomes(typed, MapOptions { ordered: true, ..options });
        let mut outcomes = outcomes.map_err(|error: Error| MapError::Pool(error.to_string()))?;
        while let Some(next) = outcomes.next_value(read) {
            results.push(next.map_err(|outcome| MapError::Item(Box::new(outcome)))??);
        }
        match outcomes.broken() {
            Some(error) => Err(MapError::Pool(error.to_string())),
            None => Ok(results),
        }
    }
}

fn read<R: DeserializeOwned>(index: u64, form: Form, bytes: &[u8]) -> Result<R, MapError> {
    let read = match form {
        Form::Json => serde_json::from_slice(bytes),
        // Text and bytes come as they are where the pool was asked for that.
        Form::Text => serde_json::from_value(String::from_utf8_lossy(bytes).into_owned().into()),
        Form::Bytes => serde_json::from_value(bytes.to_vec().into()),
    };
    read.map_err(|error| MapError::Value { index, error })
}

impl Outcomes {
    /// The next value, as `read` takes it; an outcome that is none as it is.
    pub(crate) fn next_value<V>(&mut self, read: impl FnOnce(u64, Form, &[u8]) -> V) -> Option<Result<V, Outcome>> {
        loop {
            if let Some((index, form, bytes)) = self.current_value() {
                let value = read(index, form, bytes);
                self.owe(1);
                return Some(Ok(value));
            }
            if let Some(outcome) = self.next_single()? {
                return Some(match &outcome.result {
                    Ok(value) => Ok(read(outcome.index, value.form, &value.bytes)),
                    Err(_) => Err(outcome),
                });
            }
        }
    }
}
